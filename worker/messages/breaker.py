"""The breaker: a trigger that suddenly texts far more than it used to is stopped until a person has looked.

The blast guard counts the people of one sync; this counts a trigger's texts over a day, in however many syncs they
come. It needs a past to compare with: a trigger with fewer than three earlier days of texts has only the blast guard,
or where no sync causes its texts the same number of texts in a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from config.policy import Policy
from worker.core.states import MessageKind, MessageState
from worker.store.tables import message, message_event

DAY = timedelta(hours=24)
EARLIER_DAYS = 28
"""Four weeks: also what happens once a week, or once a month, is seen."""
LEAST_DAYS = 3

_NOT_COUNTED = (MessageState.SUPPRESSED, MessageState.CANCELLED, MessageState.EXPIRED)


def trips(
    fired_last_24h: int, busiest_earlier_day: int | None, policy: Policy, first_limit: int | None = None
) -> str | None:
    """Why the trigger must be held, in words for a person; None when it need not.

    ``busiest_earlier_day``: its most texts in 24 hours of the 28 days before; None while its past is too short. Until
    it is long enough, ``first_limit`` is the most (None: the blast guard counts them).
    """
    if busiest_earlier_day is not None:
        most = max(policy.breaker_floor, policy.breaker_factor * busiest_earlier_day)
        why = f"and {busiest_earlier_day} on its busiest earlier day (policy.breaker_factor allows up to {most:.0f})"
    elif first_limit is not None:
        most = first_limit
        why = f"and has no past to compare with yet (policy.blast_limit allows up to {most})"
    else:
        return None
    if fired_last_24h <= most:
        return None
    return (
        f"its trigger made {fired_last_24h} texts in 24 hours, {why}; look at the texts, then"
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
    """Why further texts of ``trigger`` must be held now; None when they need not.

    ``more``: texts that are about to be added, and are not in the store yet. ``first_limit``: see ``trips``. What a
    person has approved starts the count anew, or every further text of that day would wait for a person, too. Sending
    one text again does not.
    """
    since = now - DAY
    approved_at = connection.execute(
        select(func.max(message_event.c.at))
        .select_from(message.join(message_event, message_event.c.message_id == message.c.id))
        .where(*_texts(trigger), message.c.created_at > since, message_event.c.reason.startswith("approved:"))
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
    """In one walk over the index: the texts of each of the days before ``until``."""
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
