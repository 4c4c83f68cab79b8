"""Decides when a record may be repeated whose response was lost: VirtualText may have stored it, and may report it.

A repeated record stands in the conversation twice if the first request was carried out. Where the Relay reports the
records of an account, the report ("echo") settles the lost one, so the repetition waits for it. Records of other people
do not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, exists, select

from config.accounts import Account
from worker.core.states import InboxState, MessageKind
from worker.store.event_numbers import events_with_number
from worker.store.tables import inbox_event, message

ECHOES_KNOWN_FOR = timedelta(days=7)
"""An account's records are known to be reported for this long after the last report of one of them."""
LOOK_AGAIN = timedelta(seconds=10)
MAX_BACKLOG_WAIT = timedelta(minutes=15)
"""How long after its request a record waits at most for events that were received and are not processed yet."""
_ENDING = 4
"""Digits by which an unprocessed event is recognised: they stand together in every spelling of a number."""


@dataclass(frozen=True, slots=True)
class EchoOutlook:
    """``expected``: the Relay reports the account's records. ``arrived``: an unprocessed event may be the echo."""

    expected: bool
    arrived: bool


def repeat_at(unanswered_at: datetime, now: datetime, wait: timedelta, outlook: EchoOutlook) -> datetime:
    """Return when a record may be repeated whose last request without a response began at ``unanswered_at``. Pure.

    ``now`` or earlier: it may be repeated now.
    """
    if outlook.expected and now < unanswered_at + wait:
        return unanswered_at + wait
    if outlook.arrived and now < unanswered_at + MAX_BACKLOG_WAIT:
        return now + LOOK_AGAIN
    return now


def echo_outlook(
    connection: Connection, account: str, config: Account, to_number: str, since: datetime, now: datetime
) -> EchoOutlook:
    """Look up whether an echo of a record to ``to_number`` may still come, or has come since ``since``."""
    if config.relay_secret is None:
        return EchoOutlook(expected=False, arrived=False)
    m, e = message.c, inbox_event.c
    reported = select(m.id).where(
        m.account == account, m.kind == MessageKind.RECORD, m.echoed_at > now - ECHOES_KNOWN_FOR
    )
    unprocessed = events_with_number(
        connection,
        to_number[-_ENDING:],
        e.state == InboxState.NEW,
        e.source == "relay",
        e.name == account,
        e.received_at >= since,
    )
    expected = bool(connection.scalar(select(exists(reported))))
    return EchoOutlook(expected, arrived=any(True for _ in unprocessed))
