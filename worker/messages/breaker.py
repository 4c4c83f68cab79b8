"""The breaker stops a trigger that suddenly texts far more than it used to, until a person has looked at it.

The blast guard counts the people in one sync. The breaker counts a trigger's texts over a day, in any number of syncs.
It compares with the trigger's past, so a trigger with fewer than three earlier days of texts has only the blast guard.
If its texts do not come from a sync, the limit of the blast guard then applies to its texts in a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from config.policy import Policy
from worker.core.states import MessageKind, MessageState
from worker.messages.transitions import has_reason
from worker.store.tables import message, message_event

DAY = timedelta(hours=24)
EARLIER_DAYS = 28
"""Four weeks, to include what happens once a week or once a month."""
LEAST_DAYS = 3

_NOT_COUNTED = (MessageState.SUPPRESSED, MessageState.CANCELLED, MessageState.EXPIRED)


def trips(
    fired_last_24h: int, busiest_earlier_day: int | None, policy: Policy, first_limit: int | None = None
) -> str | None:
    """Return why the trigger must be held, for a person; None: it need not be held.

    ``busiest_earlier_day``: the most texts on one of the 28 days before; None while its past is too short. Until then
    ``first_limit`` is the limit (None: no limit, because the blast guard counts its texts).
    """
    if busiest_earlier_day is not None:
        most = max(policy.breaker_floor, policy.breaker_factor * busiest_earlier_day)
        why = f"and {busiest_earlier_day} on its busiest earlier day (policy.breaker_factor allows up to {most:.0f})"
    elif first_limit is not None:
        most = first_limit
        why = f"and has no earlier days to compare with (policy.blast_limit allows up to {most})"
    else:
        return None
    if fired_last_24h <= most:
        return None
    return (
        f"its trigger made {fired_last_24h} texts in 24 hours, {why}; look at the texts, then run"
        " `vtsync approve --trigger NAME` or `vtsync cancel --trigger NAME`"
    )


def check(
    connection: Connection,
    trigger: str,
    policy: Policy,
    now: datetime,
    *,
    more: int = 0,
    first_limit: int | None = None,
) -> str | None:
    """Return why further texts of ``trigger`` must be held now; None: they need not be held.

    ``more``: texts that are about to be added and not stored yet. ``first_limit``: see ``trips``. An approval restarts
    the count, or else every further text of that day would wait for approval, too. Sending one text again does not.
    """
    since = now - DAY
    approved_at = connection.execute(
        select(func.max(message_event.c.at))
        .select_from(message.join(message_event, message_event.c.message_id == message.c.id))
        .where(*_texts(trigger), message.c.created_at > since, has_reason("approved", message_event.c.reason))
    ).scalar_one()
    reason = trips(
        _fired(connection, trigger, max(since, approved_at or since)) + more,
        _busiest_earlier_day(connection, trigger, since),
        policy,
        first_limit,
    )
    return None if reason is None else reason.replace("--trigger NAME", f"--trigger {trigger}")


def _fired(connection: Connection, trigger: str, since: datetime) -> int:
    counted = select(func.count()).where(*_texts(trigger), message.c.created_at > since)
    return connection.execute(counted).scalar_one()


def _busiest_earlier_day(connection: Connection, trigger: str, until: datetime) -> int | None:
    """Return the most texts on one of the days before ``until``, with one scan of the index."""
    first = until - EARLIER_DAYS * DAY
    starts = [first + day * DAY for day in range(EARLIER_DAYS)]
    days = [
        func.coalesce(
            func.sum(case((and_(message.c.created_at > start, message.c.created_at <= start + DAY), 1), else_=0)), 0
        )
        for start in starts
    ]
    counted = select(*days).where(*_texts(trigger), message.c.created_at > first, message.c.created_at <= until)
    found = [int(one) for one in connection.execute(counted).one()]
    return max(found) if sum(1 for one in found if one) >= LEAST_DAYS else None


def _texts(trigger: str) -> tuple[ColumnElement[bool], ...]:
    return (
        message.c.trigger == trigger,
        message.c.kind == MessageKind.SEND,
        message.c.state.not_in(_NOT_COUNTED),
    )
