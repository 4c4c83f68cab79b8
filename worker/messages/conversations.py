"""Reads the conversations that conditions ask about, and that ``stop_on_reply`` watches.

A conversation is all texts with one number: from all accounts, and to all of our numbers, as an opt-out is. A text
that another system sent counts if it was recorded; one that was typed in VirtualText's app is not known here. Every
text that the person sent counts as a reply, a keyword, a reaction or an automatic answer included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, and_, func, select

from config.models import Settings
from worker.core.states import MessageKind
from worker.messages.states import MAY_HAVE_GONE_OUT
from worker.store.sql import any_of
from worker.store.tables import inbound_message, message
from worker.triggers.conversation import ConversationFacts


def load_conversations(connection: Connection, phones: Collection[str], now: datetime) -> dict[str, ConversationFacts]:
    """Return the conversation with each of ``phones``, for texts that are called for now. Takes three queries."""
    texts, replies = _last_texts(connection, phones), _last_replies(connection, phones)
    return {phone: ConversationFacts(now, now, texts.get(phone), *replies.get(phone, (None, ""))) for phone in phones}


def conversation_about(
    connection: Connection, row: Mapping[str, Any], settings: Settings, now: datetime
) -> ConversationFacts:
    """Return the conversation with the receiver of a text that a trigger made (``row``: its columns)."""
    phone = row["to_number"]
    found = load_conversations(connection, [phone], now)[phone]
    return replace(found, since=_called_for_at(connection, row, settings))


def _called_for_at(connection: Connection, row: Mapping[str, Any], settings: Settings) -> datetime:
    """Return the moment from which a reply answers this text: its trigger fired, or its sequence began.

    A sequence is the texts about the same occurrence of one record, of all triggers with ``stop_on_reply``: the texts
    before one appointment, for example. It begins when the first of them goes out. The texts that one change of the
    record calls for begin at the same moment, when the triggers fire.
    """
    m, made_at = message.c, cast(datetime, row["created_at"])
    triggers = [name for name, trigger in settings.triggers.items() if trigger.stop_on_reply]
    prefixes = [f"{row['connection']}:{row['external_id']}", str(row["contact_id"])]
    key = str(row["idempotency_key"])
    occurrence = next(
        (key.removeprefix(start) for who in prefixes if key.startswith(start := f"trigger:{row['trigger']}:{who}:")), ""
    )
    if not occurrence or row["trigger"] not in triggers:
        return made_at
    keys = [f"trigger:{name}:{who}:{occurrence}" for name in triggers for who in prefixes]
    first = connection.scalar(
        select(func.min(m.attempted_at)).where(
            m.account == row["account"],
            m.kind == MessageKind.SEND,
            any_of(connection, m.idempotency_key, keys),
            m.to_number == row["to_number"],
            m.state.in_(MAY_HAVE_GONE_OUT),
        )
    )
    return made_at if first is None else min(made_at, first)


def _last_texts(connection: Connection, phones: Collection[str]) -> dict[str, datetime]:
    """Return when the last text to each number may have gone out."""
    m = message.c
    sent = (m.kind == MessageKind.SEND, m.state.in_(MAY_HAVE_GONE_OUT), m.attempted_at.is_not(None))
    last: dict[str, datetime] = {}
    for at, where in ((m.attempted_at, sent), (m.sent_at, (m.kind == MessageKind.RECORD, m.sent_at.is_not(None)))):
        newest = select(m.to_number, func.max(at)).where(any_of(connection, m.to_number, phones), *where)
        for phone, when in connection.execute(newest.group_by(m.to_number)):
            last[phone] = max(when, last.get(phone, when))
    return last


def _last_replies(connection: Connection, phones: Collection[str]) -> dict[str, tuple[datetime, str]]:
    """Return when each number wrote last, and what."""
    i = inbound_message.c
    newest = (
        select(i.from_number, func.max(i.received_at).label("at"))
        .where(any_of(connection, i.from_number, phones))
        .group_by(i.from_number)
        .subquery()
    )
    same = and_(i.from_number == newest.c.from_number, i.received_at == newest.c.at)
    rows = connection.execute(
        select(i.from_number, i.received_at, i.text).select_from(inbound_message.join(newest, same)).order_by(i.id)
    )
    return {row.from_number: (row.received_at, row.text) for row in rows}
