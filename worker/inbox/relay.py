"""What a Relay event does: it settles our sends, keeps replies once, and hears STOP and START."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never

import orjson
from sqlalchemy import Connection, and_, exists, insert, or_, select, update

from worker.core.phones import is_e164
from worker.core.states import InboxState
from worker.inbox.echo import same_words, settle_echo, settle_receipt
from worker.inbox.events import Apply, Claimed, Handled
from worker.inbox.keywords import Keyword, keyword
from worker.inbox.process import wait_before
from worker.inbox.relay_shapes import Receipt, RelayEvent, Text, Unreadable, parse
from worker.messages.events import EventType, publish
from worker.messages.opt_outs import add_opt_out, end_review, open_review, opted_out, remove_opt_out
from worker.runtime import Runtime
from worker.store.ids import new_message_id
from worker.store.tables import inbound_message

TWINS = timedelta(minutes=2)
"""How far apart the two shapes of one inbound event may come."""
RECEIPT_ATTEMPTS = 5
LONGEST_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class Effects:
    """What is to be done about one payload, in the transaction that ends its event."""

    account: str
    event: Claimed
    parsed: list[RelayEvent]

    @property
    def locks(self) -> set[str]:
        """One worker at a time decides about a customer's texts."""
        return {_lock(one) for one in self.parsed if isinstance(one, Text)}

    def __call__(self, connection: Connection, now: datetime) -> Handled:
        """Do it. What becomes of the event is what its weightiest part came to."""
        return max((_handle(connection, self.account, self.event, one, now) for one in self.parsed), key=_weight)


def prepare(runtime: Runtime, event: Claimed) -> Apply:
    """Read the payload."""
    if event.name not in runtime.settings.accounts:
        gone = Handled(InboxState.FAILED, f'there is no account "{event.name}" any more')
        return lambda *_: gone
    return Effects(event.name, event, parse(orjson.loads(event.payload)))


def _lock(text: Text) -> str:
    return f"number:{text.from_number if text.direction == 'in' else text.to_number}"


def _weight(handled: Handled) -> int:
    """Of several events in one payload, the one that decides what becomes of it."""
    order = (InboxState.IGNORED, InboxState.DONE, InboxState.FAILED, InboxState.NEW)
    return order.index(handled.state)


def _handle(
    connection: Connection, account: str, event: Claimed, one: Text | Receipt | Unreadable, now: datetime
) -> Handled:
    match one:
        case Text(direction="in"):
            return _inbound(connection, account, event, one, now)
        case Text():
            ours = settle_echo(connection, account, one, event.received_at, now)
            if ours is None:
                return Handled(InboxState.IGNORED, "a text that did not come from here, such as one typed in the app")
            return Handled(InboxState.DONE, "the echo of our text", ours)
        case Receipt():
            ours = settle_receipt(connection, account, one, now)
            if ours is not None:
                return Handled(InboxState.DONE, f'receipt "{one.detail[:40]}"', ours)
            if event.attempts < RECEIPT_ATTEMPTS:  # it may have overtaken the echo that names the id
                words = "a receipt whose text is not known yet"
                return Handled(InboxState.NEW, words, again_at=now + wait_before(event.attempts))
            return Handled(InboxState.IGNORED, "a receipt for a text that did not come from here")
        case Unreadable():
            return Handled(InboxState.FAILED, f"not understood: {one.reason}")
        case _:
            assert_never(one)


def _inbound(connection: Connection, account: str, event: Claimed, text: Text, now: datetime) -> Handled:
    twin = _twin(connection, account, event.received_at, text)
    if twin is not None:
        twin_id, remote_id = twin
        if text.message_id and not remote_id:
            own = update(inbound_message).where(inbound_message.c.id == twin_id)
            connection.execute(own.values(virtualtext_message_id=text.message_id))
        return Handled(InboxState.IGNORED, "known already: the same text in another event", twin_id)
    asked = keyword(text.text)
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
    _announce(connection, row, text, now)
    reply = _Reply(account, inbound_id, event.received_at, text.from_number, text.text)
    return Handled(InboxState.DONE, _act(connection, asked, reply, now), inbound_id)


def _announce(connection: Connection, row: Mapping[str, Any], text: Text, now: datetime) -> None:
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


def _twin(connection: Connection, account: str, received_at: datetime, text: Text) -> tuple[str, str] | None:
    """(id, VirtualText's id) of the same text: by that id, or by contents where one of the two events has none."""
    i = inbound_message.c
    near = and_(
        i.from_number == text.from_number,
        i.to_number == text.to_number,
        i.received_at.between(received_at - TWINS, received_at + TWINS),
    )
    maybe = or_(near, i.virtualtext_message_id == text.message_id) if text.message_id else near
    found = select(i.id, i.virtualtext_message_id, i.text, i.media).where(i.account == account, maybe)
    rows = connection.execute(found.order_by(i.received_at)).all()
    for row in rows:
        if text.message_id and row.virtualtext_message_id == text.message_id:
            return row.id, row.virtualtext_message_id
    for row in rows:
        one_has_no_id = not (text.message_id and row.virtualtext_message_id)
        if one_has_no_id and same_words(row.text, text.text) and len(orjson.loads(row.media)) == len(text.media):
            return row.id, row.virtualtext_message_id or ""
    return None


@dataclass(frozen=True, slots=True)
class _Reply:
    """A text that was kept just now."""

    account: str
    id: str
    received_at: datetime
    phone: str
    text: str


def _act(connection: Connection, asked: Keyword, reply: _Reply, now: datetime) -> str:
    """Do what the text asks for. Returns what that was, in words."""
    match asked:
        case "stop" if is_e164(reply.phone):
            return _stop(connection, reply, now)
        case "start":
            return _start(connection, reply, now)
        case "yes" if _is_out(connection, reply.phone):  # for all others it answers a question
            return _start(connection, reply, now)
        case "review" if is_e164(reply.phone) and not _is_out(connection, reply.phone):
            return _review(connection, reply)
        case "help":
            return "HELP: for the subscribers of message.received to answer"
        case _:
            return "a reply"


def _is_out(connection: Connection, phone: str) -> bool:
    return phone in opted_out(connection, [phone])


def _stop(connection: Connection, reply: _Reply, now: datetime) -> str:
    if _decided_later(connection, reply):
        return "STOP, which a later START has taken back"
    _end_review(connection, reply.phone, now)
    detail = f'wrote "{reply.text[:LONGEST_EXCERPT]}"'
    add_opt_out(connection, reply.phone, source="relay", detail=detail, now=now, actor="relay", account=reply.account)
    return "STOP: texted no more"


def _start(connection: Connection, reply: _Reply, now: datetime) -> str:
    if _decided_later(connection, reply):
        return "START, which a later STOP has taken back"
    _end_review(connection, reply.phone, now)
    detail = f'wrote "{reply.text[:LONGEST_EXCERPT]}"'
    remove_opt_out(
        connection, reply.phone, source="relay", detail=detail, now=now, actor="relay", account=reply.account
    )
    return "START: may be texted again"


def _review(connection: Connection, reply: _Reply) -> str:
    excerpt = reply.text[:LONGEST_EXCERPT]
    open_review(connection, reply.phone, excerpt=excerpt, inbound_id=reply.id, since=reply.received_at)
    return "may mean stop: its texts wait until a person has read it (`vtsync review`)"


def _decided_later(connection: Connection, reply: _Reply) -> bool:
    """Whether a newer STOP or START of this number was worked through first: two workers may overtake each other."""
    i = inbound_message.c
    newer = select(i.id).where(
        i.from_number == reply.phone,
        i.keyword.in_(("stop", "start")),
        i.received_at > reply.received_at,
        i.id != reply.id,
    )
    return bool(connection.execute(select(exists(newer))).scalar())


def _end_review(connection: Connection, phone: str, now: datetime) -> None:
    """They have said it plainly now; what waited is asked about again."""
    end_review(connection, phone, why="the person wrote plainly what they want", actor="relay", now=now)
