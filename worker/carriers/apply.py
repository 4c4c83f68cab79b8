"""What a carrier's event does: a text that another system sent is recorded once; ours, and VirtualText's, are not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import requests
from sqlalchemy import Connection, select

from config.integrations import Carrier
from worker.carriers.events import CarrierText, NotYet
from worker.carriers.registry import CARRIERS
from worker.core.phones import Phone, mask, parse_phone
from worker.core.states import InboxState, MessageKind
from worker.inbox.echo import AHEAD, WINDOW, same_words
from worker.inbox.events import Apply, Claimed, Handled
from worker.inbox.process import ATTEMPTS, wait_before
from worker.inbox.relay_shapes import Text, parse
from worker.messages.outbox import insert_record
from worker.messages.policy_facts import MAY_HAVE_GONE_OUT
from worker.messages.requests import IdempotencyConflict, InvalidRequest, RecordRequest
from worker.runtime import Runtime
from worker.store.tables import inbox_event, message

RELAY_SECONDS = 20
"""How long VirtualText's own echo of a text is waited for before the text is taken for another system's."""
ECHO_WINDOW = timedelta(minutes=15)
AFTER_EARLIER = timedelta(seconds=1)

_session = requests.Session()
_session.trust_env = True


def prepare(runtime: Runtime, event: Claimed) -> Apply:
    """Read the event, ask the carrier for what it does not carry; what is returned is to be run in a transaction."""
    config = runtime.settings.carriers.get(event.name)
    if config is None:
        return _always(Handled(InboxState.FAILED, f'there is no carrier "{event.name}" in the configuration any more'))
    if config.account not in runtime.settings.accounts:
        return _always(Handled(InboxState.FAILED, f'there is no account "{config.account}" any more'))
    try:
        texts = CARRIERS[config.carrier].parse(orjson.loads(event.payload))
    except ValueError as error:
        return _always(Handled(InboxState.FAILED, f"not understood: {error}"))
    if not texts:
        return _always(Handled(InboxState.IGNORED, "it tells of no text"))
    steps = [_prepare_one(runtime, config, event, text) for text in texts]

    def apply(connection: Connection, now: datetime) -> Handled:
        order = (InboxState.IGNORED, InboxState.DONE, InboxState.FAILED, InboxState.NEW)
        return max((step(connection, now) for step in steps), key=lambda handled: order.index(handled.state))

    return apply


def _prepare_one(runtime: Runtime, config: Carrier, event: Claimed, text: CarrierText) -> Apply:
    if text.status == "received":
        return _always(Handled(InboxState.IGNORED, "a text that was received; VirtualText gets it itself"))
    if text.status != "sent":
        return _always(
            Handled(InboxState.IGNORED, f"not sent, or not yet ({text.status} {text.detail})".strip(" )") + ")")
        )
    try:
        whole = _with_words(config, text)
    except NotYet as error:
        reason = str(error)
        if event.attempts >= ATTEMPTS:
            return _always(Handled(InboxState.FAILED, f"{reason}; after correcting that, `vtsync relay retry`"))
        return lambda _, now: Handled(InboxState.NEW, reason, again_at=now + wait_before(event.attempts))
    if whole is None:
        return _always(
            Handled(
                InboxState.FAILED,
                f"the event of {config.carrier} {text.id} does not carry the text, and it cannot be looked up; the"
                " system that sent it must report it itself, by POST /v1/records or vtsync.record_message",
            )
        )
    return lambda connection, now: _record(connection, runtime, config, event, whole, now)


def _with_words(config: Carrier, text: CarrierText) -> CarrierText | None:
    """The text with its words, from the event or from the carrier. Never an empty one."""
    if text.text or text.media:
        return text
    look_up = CARRIERS[config.carrier].look_up
    if look_up is None or not config.look_up:
        return None
    found = look_up(_session, config, text.id)
    return found if found is not None and (found.text or found.media) else None


def _record(
    connection: Connection, runtime: Runtime, config: Carrier, event: Claimed, text: CarrierText, now: datetime
) -> Handled:
    to, sender = parse_phone(text.to_number, "US"), parse_phone(text.from_number, "US")
    if not isinstance(to, Phone) or not isinstance(sender, Phone):
        what = "to" if not isinstance(to, Phone) else "from"
        return Handled(InboxState.FAILED, f"{config.carrier} {text.id}: the number that it went {what} is not one")
    known = _known(connection, config, text)
    if known is not None:
        return Handled(InboxState.IGNORED, "recorded before", known)
    sent_at = text.sent_at or event.received_at
    ours = _ours(connection, config.account, to.e164, sender.e164, text, sent_at)
    if ours is not None:
        return Handled(InboxState.IGNORED, "a text that was sent from here; VirtualText has it", ours)
    earlier_due_at = _earlier(connection, event, to.e164)
    if earlier_due_at is not None:
        words = "waits for an earlier text to the same number, which the carrier could not be asked for yet"
        return Handled(InboxState.NEW, words, again_at=max(earlier_due_at, now) + AFTER_EARLIER)
    has_relay = runtime.settings.accounts[config.account].relay_secret is not None
    if has_relay and now - event.received_at < timedelta(seconds=RELAY_SECONDS):
        again = event.received_at + timedelta(seconds=RELAY_SECONDS)
        return Handled(InboxState.NEW, "waits a moment for VirtualText's own echo", again_at=again)
    if _echoed(connection, config.account, to.e164, sender.e164, text, event.received_at):
        return Handled(InboxState.IGNORED, "a text that VirtualText sent itself, such as one typed in the app")
    values = {
        "account": config.account,
        "to": to.e164,
        "message": text.text or "",
        "media": text.media,
        "from_number": sender.e164,
        "carrier": config.carrier,
        "carrier_message_id": text.id,
        "sent_at": sent_at,
    }
    try:
        request = RecordRequest.parse(values)
        recorded = insert_record(connection, runtime, request, source="carrier", actor=f"carrier {event.name}", now=now)
    except InvalidRequest as error:
        return Handled(InboxState.FAILED, f"{config.carrier} {text.id}: {error}")
    except IdempotencyConflict as error:
        return Handled(InboxState.IGNORED, "recorded before, with other words", error.message_id)
    return Handled(InboxState.DONE, f"recorded for {mask(to.e164)}", recorded.message_id)


def _known(connection: Connection, config: Carrier, text: CarrierText) -> str | None:
    found = select(message.c.id).where(
        message.c.account == config.account,
        message.c.kind == MessageKind.RECORD,
        message.c.idempotency_key == f"{config.carrier}:{text.id}",
    )
    return connection.execute(found).scalar_one_or_none()


def _ours(
    connection: Connection, account: str, to: str, sender: str, text: CarrierText, sent_at: datetime
) -> str | None:
    """Our own send of these words: VirtualText may use the same carrier account, which then tells of it here."""
    m = message.c
    near = select(m.id, m.text, m.media).where(
        m.account == account,
        m.kind == MessageKind.SEND,
        m.to_number == to,
        m.from_number == sender,
        m.state.in_(MAY_HAVE_GONE_OUT),
        m.attempted_at.between(sent_at - WINDOW, sent_at + AHEAD),
    )
    for row in connection.execute(near.order_by(m.attempted_at)):
        if same_words(row.text, text.text or "") and len(orjson.loads(row.media)) == len(text.media):
            return str(row.id)
    return None


def _echoed(connection: Connection, account: str, to: str, sender: str, text: CarrierText, at: datetime) -> bool:
    """Whether VirtualText's Relay told of the same outgoing text, which so is in the conversation already."""
    e = inbox_event.c
    near = select(e.payload).where(
        e.source == "relay",
        e.name == account,
        e.message_id.is_(None),  # else it is the echo of a text or record of ours: the same words may be sent again
        e.received_at.between(at - ECHO_WINDOW, at + ECHO_WINDOW),
        e.payload.contains(to.removeprefix("+"), autoescape=True),
    )
    for payload in connection.execute(near).scalars():
        for told in parse(orjson.loads(payload)):
            if (
                isinstance(told, Text)
                and told.direction == "out"
                and (told.to_number, told.from_number) == (to, sender)
                and same_words(told.text, text.text or "")
            ):
                return True
    return False


def _earlier(connection: Connection, event: Claimed, to: str) -> datetime | None:
    """When the last event that came earlier, tells of the same number and still waits is due: a recorded text takes
    its place in the conversation when it is stored. Those that are worked on together are in their order anyway."""
    e = inbox_event.c
    earlier = select(e.due_at).where(
        e.state == InboxState.NEW,
        e.source == "carrier",
        e.name == event.name,
        e.id < event.id,
        e.lease_owner.is_distinct_from(event.owner),
        e.payload.contains(to.removeprefix("+"), autoescape=True),
    )
    return connection.execute(earlier.order_by(e.due_at.desc()).limit(1)).scalar()


def _always(handled: Handled) -> Apply:
    return lambda *_: handled


def as_payload(text: CarrierText) -> Mapping[str, Any]:
    """A text from a carrier's list, as an event that needs no further look-up."""
    return {
        "vtsync": "list",
        "id": text.id,
        "status": text.status,
        "to": text.to_number,
        "from": text.from_number,
        "text": text.text,
        "media": list(text.media),
        "sent_at": text.sent_at.isoformat() if text.sent_at else None,
    }
