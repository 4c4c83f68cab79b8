"""Re-entry: how often a trigger may text about the same record (the trigger's ``again``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from crm_adapters.base import CONTACT
from worker.core.states import MessageState
from worker.store.sql import any_of
from worker.store.tables import message

if TYPE_CHECKING:
    from worker.triggers.evaluate import TextIntent  # which loads the template engine
    from worker.triggers.rules import TextRule

_NOT_SENT = (MessageState.CANCELLED, MessageState.SUPPRESSED, MessageState.EXPIRED)


def intent_key(intent: TextIntent) -> str:
    """Return the permanent key of an intent: one welcome per contact, one text per version of a record.

    What belongs to a person, such as a deal, is not the person: each new one has a key of its own.
    """
    once_per_contact = intent.occurrence == "created" and intent.contact_id is not None and intent.kind == CONTACT
    who = str(intent.contact_id) if once_per_contact else f"{intent.connection}:{intent.external_id}"
    return f"trigger:{intent.trigger}:{who}:{intent.occurrence}"


def allowed_again(
    connection: Connection, rules: Mapping[str, TextRule], intents: Sequence[TextIntent], now: datetime
) -> list[TextIntent]:
    """Return the intents whose rule allows another text about the same record.

    Earlier texts that were not sent in the end do not count.
    """
    limited = [intent for intent in intents if rules[intent.trigger].again != "always"]
    if not limited:
        return list(intents)
    m = message.c
    ids = sorted({intent.contact_id for intent in limited if intent.contact_id is not None})
    rows = connection.execute(
        select(m.trigger, m.connection, m.external_id, m.idempotency_key, m.created_at).where(
            any_of(connection, m.contact_id, ids),
            m.trigger.in_(sorted({intent.trigger for intent in limited})),
            m.state.not_in(_NOT_SENT),
        )
    ).all()

    def allowed(intent: TextIntent) -> bool:
        again = rules[intent.trigger].again
        if again == "always":
            return True
        record = (intent.trigger, intent.connection, intent.external_id)
        before = [
            row.created_at
            for row in rows
            if (row.trigger, row.connection, row.external_id) == record and row.idempotency_key != intent_key(intent)
        ]
        return not before or (isinstance(again, timedelta) and max(before) + again <= now)

    return [intent for intent in intents if allowed(intent)]
