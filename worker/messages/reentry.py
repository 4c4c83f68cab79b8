"""Re-entry: how often a trigger may text about the same record (the trigger's ``again``).

A contact that retention has deleted comes back as a new one. Its earlier texts have no contact then, and are found by
the number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from crm_adapters.base import CONTACT
from worker.core.states import MessageKind, MessageState
from worker.store.sql import any_of
from worker.store.tables import message

if TYPE_CHECKING:
    from worker.triggers.evaluate import TextIntent  # which loads the template engine
    from worker.triggers.rules import TextRule

ANOTHER_RECORD = "r1"
"""The occurrence of a text for a new record of somebody who had that text about another record."""
_NEW_PERSON = ":created"
"""The end of the keys of texts that a contact gets only once."""
_NOT_SENT = (MessageState.CANCELLED, MessageState.SUPPRESSED, MessageState.EXPIRED)


def intent_key(intent: TextIntent) -> str:
    """Return the permanent key of an intent: one welcome per contact, one text per version of a record.

    What belongs to a person, such as a deal, is not the person: each new one has a key of its own.
    """
    who = (
        str(intent.contact_id)
        if _welcomes(intent) and intent.contact_id is not None
        else f"{intent.connection}:{intent.external_id}"
    )
    return f"trigger:{intent.trigger}:{who}:{intent.occurrence}"


def may_text_again(again: Literal["always", "never"] | timedelta, last: datetime | None, now: datetime) -> bool:
    """Return True if a rule may make another text about the same record. ``last``: when it made one. Pure."""
    return again == "always" or last is None or (isinstance(again, timedelta) and last + again <= now)


def for_each_record(connection: Connection, account: str, intents: Sequence[TextIntent]) -> list[TextIntent]:
    """Give the text of a new record a key of its own if its person has had that text about another record."""
    first = {
        intent_key(intent)
        for intent in intents
        if intent.occurrence == "created" and intent.contact_id is not None and intent.kind == CONTACT
    }
    if not first:
        return list(intents)
    m = message.c
    mine = (m.account == account, m.kind == MessageKind.SEND, any_of(connection, m.idempotency_key, first))
    rows = connection.execute(select(m.idempotency_key, m.connection, m.external_id).where(*mine))
    about = {row.idempotency_key: (row.connection, row.external_id) for row in rows}

    def own(intent: TextIntent) -> TextIntent:
        record = (intent.connection, intent.external_id)
        return intent if about.get(intent_key(intent), record) == record else replace(intent, occurrence=ANOTHER_RECORD)

    return [own(intent) for intent in intents]


def allowed_again(
    connection: Connection,
    rules: Mapping[str, TextRule],
    intents: Sequence[TextIntent],
    now: datetime,
    *,
    rehearsed: bool = False,
) -> list[TextIntent]:
    """Return the intents whose rule allows another text about the same record.

    Earlier texts that were not sent in the end do not count. ``rehearsed``: the account is in test mode, so what was
    simulated counts as if it had been sent.
    """
    intents = _never_welcomed(connection, intents)
    limited = [intent for intent in intents if rules[intent.trigger].again != "always"]
    if not limited:
        return list(intents)
    m = message.c
    ids = sorted({intent.contact_id for intent in limited if intent.contact_id is not None})
    rows = connection.execute(
        select(m.trigger, m.connection, m.external_id, m.idempotency_key, m.created_at).where(
            or_(any_of(connection, m.contact_id, ids), _of_deleted_contact(connection, limited)),
            m.trigger.in_(sorted({intent.trigger for intent in limited})),
            m.state.not_in(_NOT_SENT if rehearsed else (*_NOT_SENT, MessageState.SIMULATED)),
        )
    ).all()

    def allowed(intent: TextIntent) -> bool:
        again = rules[intent.trigger].again
        record = (intent.trigger, intent.connection, intent.external_id)
        before = [
            row.created_at
            for row in rows
            if (row.trigger, row.connection, row.external_id) == record and row.idempotency_key != intent_key(intent)
        ]
        return may_text_again(again, max(before, default=None), now)

    return [intent for intent in intents if allowed(intent)]


def _never_welcomed(connection: Connection, intents: Sequence[TextIntent]) -> Sequence[TextIntent]:
    """Leave out the texts for a new person whose number got the same text before its contact was deleted."""
    new = [intent for intent in intents if _welcomes(intent)]
    if not new:
        return intents
    m = message.c
    before = connection.execute(
        select(m.trigger, m.to_number).where(
            _of_deleted_contact(connection, new),
            m.trigger.in_(sorted({intent.trigger for intent in new})),
            m.idempotency_key.endswith(_NEW_PERSON),
            m.state.not_in((*_NOT_SENT, MessageState.HELD)),
        )
    ).all()
    known = {(row.trigger, row.to_number) for row in before}
    return [one for one in intents if not (_welcomes(one) and (one.trigger, one.phone) in known)]


def _welcomes(intent: TextIntent) -> bool:
    return intent.occurrence == "created" and intent.kind == CONTACT


def _of_deleted_contact(connection: Connection, intents: Sequence[TextIntent]) -> ColumnElement[bool]:
    phones = sorted({intent.phone for intent in intents})
    return and_(any_of(connection, message.c.to_number, phones), message.c.contact_id.is_(None))
