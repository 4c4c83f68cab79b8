"""Batches: the texts of one sync are released together at its end, or held for approval when there are too many.

Too many are more people than the blast guard allows, in one sync or, for a trigger, in a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from config.policy import Policy
from worker.core.states import MessageKind, MessageState
from worker.messages import blast_guard, breaker
from worker.messages.policy_facts import state_after
from worker.messages.states import Ground
from worker.messages.transitions import has_reason, move
from worker.policy.decide import Hold, PolicyDecision, PolicyFacts, decide
from worker.store.tables import message


@dataclass(frozen=True, slots=True)
class BatchVerdict:
    """The batch would text ``total`` people; ``released`` texts may go now, ``held`` texts wait for approval.

    ``reasons``: why texts of this run wait, for a person.
    """

    released: int
    held: int
    total: int
    reasons: tuple[str, ...] = ()


def release_or_hold_batch(
    connection: Connection,
    batch_id: str,
    limit: int,
    now: datetime,
    policy: Policy | None = None,
    *,
    suspect: bool = False,
) -> BatchVerdict:
    """At the end of a sync run, release its texts, or hold all of them if they would text more than ``limit`` people.

    The count includes what was released or approved before in the same batch: a run that was interrupted and resumed
    cannot pass the limit in portions. The texts of a trigger that would text more than ``limit`` people in 24 hours
    wait, too, in however many syncs (see ``worker.messages.blast_guard``). With a ``policy``, also hold the texts of
    triggers that fire far more often than before (see ``worker.messages.breaker``). ``suspect``: the run was refused,
    so hold all of them.
    """
    in_batch = (message.c.batch_id == batch_id) & (message.c.kind == MessageKind.SEND)
    people = select(func.count(message.c.to_number.distinct())).where(
        in_batch, message.c.state != MessageState.SUPPRESSED
    )
    total = connection.execute(people).scalar_one()
    waiting = (in_batch, has_reason("run"))
    reasons = []
    if suspect or total > limit:
        decision = decide(view_of_held(batch_verdict="refused" if suspect else "over_limit"), now)
        reasons += _hold_for(connection, decision, now, *waiting)
    else:
        for trigger in _triggers_of(connection, *waiting):
            if why := _guarded(connection, trigger, limit, policy, now):
                reasons += _hold_for(connection, decide(why, now), now, *waiting, message.c.trigger == trigger)
    # Texts that now wait for something else have another reason, so ``waiting`` no longer includes them.
    released = move(
        connection,
        MessageState.HELD,
        MessageState.QUEUED,
        *waiting,
        ground=Ground.POLICY,
        reason="",
        actor="sync",
        now=now,
    )
    held = select(func.count()).where(in_batch, message.c.state == MessageState.HELD)
    return BatchVerdict(len(released), connection.execute(held).scalar_one(), total, tuple(reasons))


def view_of_held(**why: Any) -> PolicyFacts:
    """Return the policy facts of a text when only the reason to hold it matters."""
    return PolicyFacts(kind=MessageKind.SEND, expires_at=None, opted_out=None, **why)


def _hold_for(
    connection: Connection, decision: PolicyDecision, now: datetime, *where: ColumnElement[bool]
) -> list[str]:
    """Give held texts another reason to be held. Return the reason for a person, if there were such texts."""
    reason = state_after(decision, now)["reason"]
    moved = move(
        connection,
        MessageState.HELD,
        MessageState.HELD,
        *where,
        ground=Ground.POLICY,
        reason=reason,
        actor="sync",
        now=now,
    )
    return [decision.reason] if moved and isinstance(decision, Hold) else []


def _guarded(
    connection: Connection, trigger: str, limit: int, policy: Policy | None, now: datetime
) -> PolicyFacts | None:
    """Return the facts with which the trigger's texts are held; None: they may go."""
    if (reason := blast_guard.reason_to_hold(connection, trigger, limit, now)) is not None:
        return view_of_held(over_the_day=reason)
    if policy is not None and (reason := breaker.check(connection, trigger, policy, now)) is not None:
        return view_of_held(breaker=reason)
    return None


def _triggers_of(connection: Connection, *where: ColumnElement[bool]) -> list[str]:
    """Return the triggers of the held texts that match ``where``."""
    triggers = (
        select(message.c.trigger)
        .distinct()
        .where(message.c.state == MessageState.HELD, message.c.trigger.is_not(None), *where)
    )
    return sorted(connection.execute(triggers).scalars())
