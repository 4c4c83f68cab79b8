"""When a queued text will go, as far as that is known now.

The policy decides again when its time has come: the CRM, the configuration or another text may change it until then.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from config.models import Settings
from worker.core.states import MessageKind, MessageState
from worker.messages.policy_facts import load_facts
from worker.policy.decide import PolicyFacts
from worker.policy.look_ahead import look_ahead
from worker.store.sql import any_of
from worker.store.tables import account_state, message


def expected_time(connection: Connection, account: str, facts: PolicyFacts, now: datetime) -> datetime | None:
    """Return when a queued text of ``account`` will go: the time at which it was due, if nothing keeps it now.

    None: it waits for somebody, or expires before it may go.
    """
    state = select(account_state.c.stopped_at, account_state.c.paused_until).where(account_state.c.account == account)
    stopped_at, paused_until = connection.execute(state).first() or (None, None)
    if stopped_at is not None:
        return None
    at = look_ahead(facts, max(now, paused_until or now)).at
    return facts.due_at if at == now else at


def expected_times(
    connection: Connection, settings: Settings, message_ids: Collection[str], now: datetime
) -> dict[str, datetime | None]:
    """Return when those of the messages that are queued texts will go, by id."""
    queued = (message.c.kind == MessageKind.SEND, message.c.state == MessageState.QUEUED)
    rows = connection.execute(select(message).where(any_of(connection, message.c.id, message_ids), *queued)).all()
    return {
        row.id: expected_time(connection, row.account, load_facts(connection, row._asdict(), settings, now), now)
        for row in rows
    }
