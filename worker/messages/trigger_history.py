"""How much a trigger has texted: in the last 24 hours, and on each of the days before. The guards compare the two."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from worker.core.states import MessageKind, MessageState
from worker.messages.transitions import has_reason
from worker.store.tables import message, message_event

DAY = timedelta(hours=24)
EARLIER_DAYS = 28
"""Four weeks, to include what happens once a week or once a month."""
LEAST_DAYS = 3
"""A trigger with fewer earlier days of texts has too short a past to compare with."""
TEXTS, PEOPLE = message.c.id, message.c.to_number
"""What can be counted."""

_NEVER_SENT = (MessageState.SUPPRESSED, MessageState.CANCELLED, MessageState.EXPIRED)


def texts_of(trigger: str, *, rehearsed: bool = False) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the texts of a trigger that were sent, or may still be.

    ``rehearsed``: the account is in test mode, so what was simulated counts as if it had been sent.
    """
    return (
        message.c.trigger == trigger,
        message.c.kind == MessageKind.SEND,
        message.c.state.not_in(_NEVER_SENT if rehearsed else (*_NEVER_SENT, MessageState.SIMULATED)),
    )


def not_approved_today(
    connection: Connection, trigger: str, now: datetime, *, rehearsed: bool = False
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the trigger's texts of the last 24 hours that no approval covers.

    An approval restarts the count, or every further text of that day would wait for approval, too. What still waits
    counts all the same: who approves one text of many has not approved the others, nor the next ones. A text that a
    sync released after the approval counts as well, even if it was made before. Sending one text again is no approval.
    """
    since = now - DAY
    today = (*texts_of(trigger, rehearsed=rehearsed), message.c.created_at > since)
    approved_at = _approved_at(connection, texts_of(trigger, rehearsed=rehearsed), now)
    if approved_at is None:
        return today
    later = message_event.c.at > approved_at
    released_later = (
        select(message_event.c.id)
        .where(message_event.c.message_id == message.c.id, later, message_event.c.from_state == MessageState.HELD)
        .exists()
    )
    waits = message.c.state == MessageState.HELD
    uncovered = or_(
        message.c.created_at > approved_at, and_(message.c.approved_at.is_(None), or_(waits, released_later))
    )
    return (*today, uncovered)


def _approved_at(connection: Connection, texts: tuple[ColumnElement[bool], ...], now: datetime) -> datetime | None:
    """Return when a person last approved texts of a trigger, if that was in the last 24 hours."""
    statement = (
        select(func.max(message_event.c.at))
        .select_from(message.join(message_event, message_event.c.message_id == message.c.id))
        .where(
            *texts,
            message.c.created_at > now - EARLIER_DAYS * DAY,
            message.c.approved_at > now - DAY,
            has_reason("approved", message_event.c.reason),
        )
    )
    last: datetime | None = connection.execute(statement).scalar_one()
    return last


def earlier_days(
    connection: Connection, trigger: str, what: ColumnElement[str], until: datetime, *, rehearsed: bool = False
) -> list[int] | None:
    """Count ``what`` (TEXTS or PEOPLE) on each of the 28 days before ``until``, with one scan of the index.

    None: the past is too short to compare with.
    """
    first = until - EARLIER_DAYS * DAY
    starts = [first + day * DAY for day in range(EARLIER_DAYS)]
    days = [
        func.count(case((and_(message.c.created_at > start, message.c.created_at <= start + DAY), what)).distinct())
        for start in starts
    ]
    texts = texts_of(trigger, rehearsed=rehearsed)
    counted = select(*days).where(*texts, message.c.created_at > first, message.c.created_at <= until)
    found = [int(one) for one in connection.execute(counted).one()]
    return found if sum(1 for one in found if one) >= LEAST_DAYS else None
