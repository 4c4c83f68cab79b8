"""Applies Relay events: confirms our sends, stores each reply once, and acts on STOP and START."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never

import orjson
from sqlalchemy import Connection, and_, exists, insert, or_, select, update

from config.event_types import EventType
from worker.contacts.push_rows import note_working_id
from worker.core.phones import is_e164
from worker.core.states import InboxState
from worker.inbox.echo import apply_receipt, is_same_text, match_echo
from worker.inbox.echo_choice import EchoPending
from worker.inbox.events import Apply, ClaimedEvent, Handled, always, weightiest
from worker.inbox.keywords import Keyword, keyword
from worker.inbox.process import RETRY_WAIT
from worker.inbox.relay_shapes import RelayEvent, RelayReceipt, RelayText, UnreadableEvent, parse_relay
from worker.messages.decisions import opt_in_number
from worker.messages.events import publish
from worker.messages.opt_outs import add_opt_out, end_review, open_review, opted_out
from worker.messages.policy_facts import recipient_lock
from worker.runtime import Runtime
from worker.store.event_numbers import written_numbers
from worker.store.ids import new_message_id
from worker.store.tables import inbound_message

TWINS = timedelta(minutes=2)
"""How far apart the two formats of one inbound event may arrive."""
REPEATED_SMS = timedelta(seconds=10)
"""How far apart the same words under two ids are one text. Carriers deliver a text twice where its receipt got lost; a
person hardly writes and sends the same again as fast, and if so, the second says nothing new."""
RECEIPT_ATTEMPTS = 5
UNDECIDED_WAIT = timedelta(seconds=2)
"""How long an echo waits before the response to a text in flight is looked for again."""
MAX_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class RelayEffects:
    """The effects of one payload, for the transaction that finishes its event."""

    account: str
    event: ClaimedEvent
    parsed: list[RelayEvent]

    @property
    def locks(self) -> set[str]:
        """Return the locks that let only one worker at a time process the texts of a number.

        While a reply is stored, nobody decides about texts to its sender: a text goes before the reply, or knows of it.
        """
        texts = [one for one in self.parsed if isinstance(one, RelayText)]
        replies = [one for one in texts if one.direction == "in"]
        return {_lock(one) for one in texts} | {recipient_lock(one.from_number) for one in replies}

    def __call__(self, connection: Connection, now: datetime) -> Handled:
        """Apply all parts of the payload. The weightiest result is the result of the event."""
        return weightiest([_handle(connection, self.account, self.event, one, now) for one in self.parsed])


def prepare_relay(runtime: Runtime, event: ClaimedEvent) -> Apply:
    """Parse the payload."""
    if event.name not in runtime.settings.accounts:
        return always(Handled(InboxState.FAILED, f'the configuration no longer has the account "{event.name}"'))
    return RelayEffects(event.name, event, parse_relay(orjson.loads(event.payload)))


def _lock(text: RelayText) -> str:
    return f"number:{_customer(text)}"


def _customer(text: RelayText) -> str:
    return text.from_number if text.direction == "in" else text.to_number


def _handle(connection: Connection, account: str, event: ClaimedEvent, one: RelayEvent, now: datetime) -> Handled:
    if isinstance(one, RelayText):
        note_working_id(connection, account, one.conversation_id, _customer(one), now)
    match one:
        case RelayText(direction="in"):
            return _inbound(connection, account, event, one, now)
        case RelayText():
            ours = match_echo(connection, account, one, event.received_at, now)
            if ours is EchoPending.UNDECIDED:
                reason = "waits for the response to the same text, which is being sent now"
                return Handled(InboxState.NEW, reason, again_at=now + UNDECIDED_WAIT)
            if ours is None:
                return Handled(InboxState.IGNORED, "a text that vtsync did not send, such as one typed in the app")
            return Handled(InboxState.DONE, "the echo of our text", ours)
        case RelayReceipt():
            ours = apply_receipt(connection, account, one, now)
            if ours is not None:
                return Handled(InboxState.DONE, f'receipt "{one.detail[:40]}"', ours)
            if event.attempts < RECEIPT_ATTEMPTS:  # it may have come before the echo that contains the id
                again_at = now + RETRY_WAIT.wait(event.attempts)
                return Handled(InboxState.NEW, "a receipt whose text is not known yet", again_at=again_at)
            return Handled(InboxState.IGNORED, "a receipt for a text that vtsync did not send")
        case UnreadableEvent():
            return Handled(InboxState.FAILED, f"it could not be read: {one.reason}")
        case _:
            assert_never(one)


def _inbound(connection: Connection, account: str, event: ClaimedEvent, text: RelayText, now: datetime) -> Handled:
    asked = keyword(text.text)
    twin = _twin(connection, account, event.received_at, text, asked)
    if twin is not None:
        twin_id, remote_id = twin
        if text.message_id and not remote_id:
            own = update(inbound_message).where(inbound_message.c.id == twin_id)
            connection.execute(own.values(virtualtext_message_id=text.message_id))
        return Handled(InboxState.IGNORED, "already stored: the same text came in another event", twin_id)
    inbound_id = new_message_id()
    row = {
        "id": inbound_id,
        "account": account,
        "from_number": text.from_number,
        "to_number": text.to_number,
        "text": text.text,
        "media": orjson.dumps(text.media).decode(),
        "keyword": asked,
        "virtualtext_message_id": text.message_id or None,
        "received_at": event.received_at,
    }
    connection.execute(insert(inbound_message), row)
    _publish(connection, row, text, now)
    reply = _Reply(account, inbound_id, event.received_at, text.from_number, text.text)
    return Handled(InboxState.DONE, _act(connection, asked, reply, now), inbound_id)


def _publish(connection: Connection, row: Mapping[str, Any], text: RelayText, now: datetime) -> None:
    data = {
        "from": text.from_number,
        "to": text.to_number,
        "text": text.text,
        "media": list(text.media),
        "keyword": row["keyword"],
        "received_at": row["received_at"].isoformat(),
    }
    publish(
        connection,
        EventType.MESSAGE_RECEIVED,
        account=row["account"],
        phone=text.from_number,
        now=now,
        message_id=row["id"],
        data=data,
    )


def _twin(
    connection: Connection, account: str, received_at: datetime, text: RelayText, asked: Keyword
) -> tuple[str, str] | None:
    """Return (id, VirtualText's id) of the same text: by that id, or by content.

    Content counts if one of the two events has no id, or if the other id came within seconds and it asks for nothing.
    """
    i = inbound_message.c
    near = and_(
        i.from_number == text.from_number,
        i.to_number == text.to_number,
        i.received_at.between(received_at - TWINS, received_at + TWINS),
    )
    maybe = or_(near, i.virtualtext_message_id == text.message_id) if text.message_id else near
    found = select(i.id, i.virtualtext_message_id, i.text, i.media, i.received_at).where(i.account == account, maybe)
    rows = connection.execute(found.order_by(i.received_at)).all()
    for row in rows:
        if text.message_id and row.virtualtext_message_id == text.message_id:
            return row.id, row.virtualtext_message_id
    for row in rows:
        if not is_same_text(row.text, text.text) or len(orjson.loads(row.media)) != len(text.media):
            continue
        one_has_no_id = not (text.message_id and row.virtualtext_message_id)
        # Two pictures without words may be two pictures. Of STOP, START, STOP the last one counts.
        plain = asked == "" and not text.media
        repeated = plain and abs(received_at - row.received_at) <= REPEATED_SMS
        if one_has_no_id or repeated:
            return row.id, row.virtualtext_message_id or ""
    return None


@dataclass(frozen=True, slots=True)
class _Reply:
    """A text that was stored just now."""

    account: str
    id: str
    received_at: datetime
    phone: str
    text: str


def _act(connection: Connection, asked: Keyword, reply: _Reply, now: datetime) -> str:
    """Do what the text asks for. Return a short description of it."""
    match asked:
        case "stop" if is_e164(reply.phone):
            return _stop(connection, reply, now)
        case "start":
            return _start(connection, reply, now)
        case "yes" if _is_out(connection, reply.phone):  # for all others it is the answer to a question
            return _start(connection, reply, now)
        case "review" if is_e164(reply.phone) and not _is_out(connection, reply.phone):
            return _review(connection, reply)
        case "help":
            return "HELP: subscribers of message.received can answer it"
        case _:
            return "a reply"


def _is_out(connection: Connection, phone: str) -> bool:
    return phone in opted_out(connection, [phone])


def _stop(connection: Connection, reply: _Reply, now: datetime) -> str:
    if _decided_later(connection, reply):
        return "STOP, revoked by a later START"
    _end_review(connection, reply.phone, now)
    detail = f'wrote "{reply.text[:MAX_EXCERPT]}"'
    add_opt_out(connection, reply.phone, source="relay", detail=detail, now=now, actor="relay", account=reply.account)
    return "STOP: opted out"


def _start(connection: Connection, reply: _Reply, now: datetime) -> str:
    if _decided_later(connection, reply):
        return "START, revoked by a later STOP"
    _end_review(connection, reply.phone, now)
    detail = f'wrote "{reply.text[:MAX_EXCERPT]}"'
    opt_in_number(connection, reply.phone, source="relay", detail=detail, now=now, actor="relay", account=reply.account)
    return "START: opted in again"


def _review(connection: Connection, reply: _Reply) -> str:
    excerpt = reply.text[:MAX_EXCERPT]
    open_review(
        connection,
        reply.phone,
        excerpt=excerpt,
        inbound_id=reply.id,
        since=reply.received_at,
        account=reply.account,
    )
    return "may mean stop: texts to this number wait until a person reads it (`vtsync review`)"


def _decided_later(connection: Connection, reply: _Reply) -> bool:
    """Return whether a newer STOP or START of this number was processed first, by another worker."""
    i = inbound_message.c
    newer = select(i.id).where(
        i.from_number == reply.phone,
        i.keyword.in_(("stop", "start")),
        i.received_at > reply.received_at,
        i.id != reply.id,
    )
    return bool(connection.execute(select(exists(newer))).scalar())


def _end_review(connection: Connection, phone: str, now: datetime) -> None:
    """End the review, because the person answered clearly, and have the held texts checked again."""
    end_review(connection, phone, why="the person answered clearly", actor="relay", now=now)


def relay_numbers(payload: Any) -> str | None:
    """Return the numbers of the texts in an event, as ``InboxEvent.numbers`` stores them; None if a part is unclear."""
    events = parse_relay(payload)
    if any(isinstance(one, UnreadableEvent) for one in events):
        return None
    texts = [one for one in events if isinstance(one, RelayText)]
    return written_numbers(*(number for text in texts for number in (text.to_number, text.from_number)))
