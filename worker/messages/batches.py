"""Batches: the texts of one sync are released together at its end, or held for approval when there are too many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from config.policy import Policy
from worker.core.states import MessageKind, MessageState
from worker.messages import breaker
from worker.messages.policy_facts import state_after
from worker.messages.states import Ground
from worker.messages.transitions import has_reason, move
from worker.policy.decide import PolicyDecision, PolicyFacts, decide
from worker.store.tables import message


@dataclass(frozen=True, slots=True)
class BatchVerdict:
    """The batch would text ``total`` people; ``released`` texts may go now, ``held`` texts wait for approval."""

    released: int
    held: int
    total: int


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
    cannot pass the limit in portions. With a ``policy``, also hold the texts of triggers that fire far more often than
    before (see ``worker.messages.breaker``). ``suspect``: the run was refused, so hold all of them.
    """
    in_batch = (message.c.batch_id == batch_id) & (message.c.kind == MessageKind.SEND)
    people = select(func.count(message.c.to_number.distinct())).where(
        in_batch, message.c.state != MessageState.SUPPRESSED
    )
    total = connection.execute(people).scalar_one()
    waiting = (in_batch, has_reason("run"))
    if suspect or total > limit:
        decision = decide(view_of_held(batch_verdict="refused" if suspect else "over_limit"), now)
        _hold_for(connection, decision, now, *waiting)
    else:
        for trigger, reason in _broken_triggers(connection, policy, now, *waiting):
            decision = decide(view_of_held(breaker=reason), now)
            _hold_for(connection, decision, now, *waiting, message.c.trigger == trigger)
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
    return BatchVerdict(len(released), connection.execute(held).scalar_one(), total)


def view_of_held(**why: Any) -> PolicyFacts:
    """Return the policy facts of a text when only the reason to hold it matters."""
    return PolicyFacts(kind=MessageKind.SEND, expires_at=None, opted_out=None, **why)


def _hold_for(connection: Connection, decision: PolicyDecision, now: datetime, *where: ColumnElement[bool]) -> None:
    """Give held texts another reason to be held."""
    reason = state_after(decision, now)["reason"]
    move(
        connection,
        MessageState.HELD,
        MessageState.HELD,
        *where,
        ground=Ground.POLICY,
        reason=reason,
        actor="sync",
        now=now,
    )


def _broken_triggers(
    connection: Connection, policy: Policy | None, now: datetime, *where: ColumnElement[bool]
) -> list[tuple[str, str]]:
    """Return the triggers whose texts match ``where`` and must be held, each with the reason."""
    if policy is None:
        return []
    triggers = (
        select(message.c.trigger)
        .distinct()
        .where(message.c.state == MessageState.HELD, message.c.trigger.is_not(None), *where)
    )
    names = sorted(connection.execute(triggers).scalars())
    return [(name, reason) for name in names if (reason := breaker.check(connection, name, policy, now)) is not None]
