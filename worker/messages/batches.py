"""Batches: the texts of one sync are released together at its end, or held for approval when there are too many.

Too many are more people than the blast guard allows, in one sync or, for a trigger, in a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from config.policy import Policy
from worker.core.states import MessageKind, MessageState
from worker.messages import blast_guard, breaker
from worker.messages.policy_facts import state_after
from worker.messages.states import Ground
from worker.messages.transitions import has_reason, move
from worker.messages.trigger_pause import lock_trigger, why_paused
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
    of_trigger: Mapping[str, Policy] = MappingProxyType({}),
    suspect: bool = False,
    rehearsed: bool = False,
) -> BatchVerdict:
    """At the end of a sync run, release its texts, or hold all of them if they would text more than ``limit`` people.

    The count includes what was released or approved before in the same batch: a run that was interrupted and resumed
    cannot pass the limit in portions. The texts of a trigger that would text more than ``limit`` people in 24 hours
    wait, too, in however many syncs (see ``worker.messages.blast_guard``). With a ``policy``, also hold the texts of
    triggers that fire far more often than before (see ``worker.messages.breaker``). The texts of a paused trigger wait
    in any case. ``suspect``: the run was refused, so hold all of them. ``rehearsed``: see ``texts_of``.

    ``of_trigger``: the policies of triggers with a table of their own. A trigger with a ``blast_limit`` of its own does
    not count with the others: its texts wait for its own limit, in the run and in 24 hours.
    """
    in_batch = (message.c.batch_id == batch_id) & (message.c.kind == MessageKind.SEND)
    alone = {name: own.blast_limit for name, own in of_trigger.items() if own.is_own_of_trigger("blast_limit")}
    together = or_(message.c.trigger.is_(None), message.c.trigger.not_in(list(alone)))
    waiting = (in_batch, has_reason("run"))
    general = policy or Policy()
    reasons = []
    if suspect:
        refused = decide(view_of_held(batch_verdict="refused"), now)
        reasons += _hold_for(connection, refused, now, *waiting)
    elif _people(connection, in_batch, together) > limit:
        over_limit = decide(view_of_held(batch_verdict="over_limit", policy=general), now)
        reasons += _hold_for(connection, over_limit, now, *waiting, together)
    for trigger in _triggers_of(connection, *waiting):
        mine, own = message.c.trigger == trigger, of_trigger.get(trigger, general)
        if trigger in alone and _people(connection, in_batch, mine) > alone[trigger]:
            why: PolicyFacts | None = view_of_held(batch_verdict="over_limit", policy=own)
        else:
            breakers = None if policy is None else own
            why = _guarded(
                *(connection, trigger, alone.get(trigger, limit), own.setting("blast_limit"), breakers, now),
                rehearsed=rehearsed,
            )
        if why is not None:
            reasons += _hold_for(connection, decide(why, now), now, *waiting, mine)
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
    total = _people(connection, in_batch)
    return BatchVerdict(len(released), connection.execute(held).scalar_one(), total, tuple(reasons))


def _people(connection: Connection, *where: ColumnElement[bool]) -> int:
    """Count the people whom the texts reach, except those that are suppressed."""
    reached = (*where, message.c.state != MessageState.SUPPRESSED)
    return connection.execute(select(func.count(message.c.to_number.distinct())).where(*reached)).scalar_one()


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
    connection: Connection,
    trigger: str,
    limit: int,
    setting: str,
    policy: Policy | None,
    now: datetime,
    *,
    rehearsed: bool,
) -> PolicyFacts | None:
    """Return the facts with which the trigger's texts are held; None: they may go."""
    reason = blast_guard.reason_to_hold(connection, trigger, limit, now, setting=setting, rehearsed=rehearsed)
    if reason is not None:
        return view_of_held(over_the_day=reason)
    if policy is not None:
        reason = breaker.check(connection, trigger, policy, now, rehearsed=rehearsed)
        if reason is not None:
            return view_of_held(breaker=reason)
    lock_trigger(connection, trigger)
    paused = why_paused(connection, trigger)
    return view_of_held(paused=paused) if paused else None


def _triggers_of(connection: Connection, *where: ColumnElement[bool]) -> list[str]:
    """Return the triggers of the held texts that match ``where``."""
    triggers = (
        select(message.c.trigger)
        .distinct()
        .where(message.c.state == MessageState.HELD, message.c.trigger.is_not(None), *where)
    )
    return sorted(connection.execute(triggers).scalars())
