"""Records texts that another system sent through a carrier. Our own texts and VirtualText's are not recorded again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import requests
from sqlalchemy import Connection, select

from config.integrations import Carrier
from worker.carriers.channels import not_in_virtualtext
from worker.carriers.provider import CarrierText, CarrierUnavailable, Provider
from worker.carriers.reading import as_list, as_mapping, as_text, as_time
from worker.carriers.registry import CARRIERS
from worker.core.phones import Phone, mask, parse_phone
from worker.core.states import InboxState, MessageKind
from worker.inbox.carrier_opt_outs import apply_opt_out, opt_out_code
from worker.inbox.echo import CLOCK_SKEW, WINDOW, is_same_text
from worker.inbox.events import LEASE, Apply, ClaimedEvent, Handled, always, weightiest
from worker.inbox.process import ATTEMPTS, RETRY_WAIT
from worker.inbox.relay_shapes import RelayText, parse_relay
from worker.messages.outbox import insert_record
from worker.messages.requests import IdempotencyConflict, InvalidRequest, RecordRequest
from worker.messages.states import MAY_HAVE_GONE_OUT
from worker.runtime import Runtime
from worker.store.event_numbers import events_with_number, written_numbers
from worker.store.tables import inbox_event, message

RELAY_SECONDS = 20
"""How long to wait for VirtualText's own echo before a text counts as sent by another system."""
ECHO_WINDOW = timedelta(minutes=15)
AFTER_EARLIER = timedelta(seconds=1)

_session = requests.Session()
_session.trust_env = True


def prepare_carrier(runtime: Runtime, event: ClaimedEvent) -> Apply:
    """Read the event and ask the carrier for the text if the event does not contain it."""
    config = runtime.settings.carriers.get(event.name)
    if config is None:
        return _failed(f'the configuration no longer has the carrier "{event.name}"')
    if config.account not in runtime.settings.accounts:
        return _failed(f'the configuration no longer has the account "{config.account}"')
    try:
        texts = _texts_in(CARRIERS[config.carrier], orjson.loads(event.payload))
    except ValueError as error:
        return _failed(f"it could not be read: {error}")
    if not texts:
        return _ignored("it contains no text")
    steps = [_prepare_one(runtime, config, event, text) for text in texts]

    def apply(connection: Connection, now: datetime) -> Handled:
        return weightiest([step(connection, now) for step in steps])

    return apply


def _prepare_one(runtime: Runtime, config: Carrier, event: ClaimedEvent, text: CarrierText) -> Apply:
    code = opt_out_code(config, text)
    if code is not None:
        return lambda connection, now: apply_opt_out(connection, config, event, text, code, now)
    if why := not_in_virtualtext(text):
        return _ignored(why)
    if text.status == "received":
        return _ignored("a text that was received; VirtualText receives it itself")
    if text.status != "sent":
        return _ignored(f"not sent, or not yet ({f'{text.status} {text.detail}'.strip()})")
    try:
        whole = _with_content(config, text)
    except CarrierUnavailable as error:
        reason = str(error)
        if event.attempts >= ATTEMPTS:
            return _failed(f"{reason}; correct that, then run `vtsync relay retry`")
        return lambda _, now: Handled(InboxState.NEW, reason, again_at=now + RETRY_WAIT.wait(event.attempts))
    if whole is None:
        return lambda connection, _: _reported(connection, config, text)
    if why := not_in_virtualtext(whole):  # the event of some carriers does not name the sender
        return _ignored(why)
    return lambda connection, now: _record(connection, runtime, config, event, whole, now)


def _reported(connection: Connection, config: Carrier, text: CarrierText) -> Handled:
    """Return the result of an event whose content is not known here: the sending system reports it."""
    known = _known(connection, config, text)
    if known is not None:
        return Handled(InboxState.DONE, "recorded before", known)
    return Handled(
        InboxState.FAILED,
        f"the event of {config.carrier} {text.id} does not contain the text, and it cannot be looked up; the system"
        " that sent it must report it itself, by POST /v1/records or vtsync.record_message",
    )


def _with_content(config: Carrier, text: CarrierText) -> CarrierText | None:
    """Return the text with its content, from the event or from the carrier; None if neither has it."""
    if text.text or text.media:
        return text
    look_up = CARRIERS[config.carrier].look_up
    if look_up is None or not config.look_up:
        return None
    found = look_up(_session, config, text.id)
    return found if found is not None and (found.text or found.media) else None


def _record(
    connection: Connection, runtime: Runtime, config: Carrier, event: ClaimedEvent, text: CarrierText, now: datetime
) -> Handled:
    to, sender = parse_phone(text.to_number, "US"), parse_phone(text.from_number, "US")
    if not isinstance(to, Phone) or not isinstance(sender, Phone):
        which = "receiver" if not isinstance(to, Phone) else "sender"
        return Handled(InboxState.FAILED, f"{config.carrier} {text.id}: the {which} is not a phone number")
    known = _known(connection, config, text)
    if known is not None:
        return Handled(InboxState.IGNORED, "already recorded", known)
    sent_at = text.sent_at or event.received_at
    ours = _ours(connection, config.account, to.e164, sender.e164, text, sent_at)
    if ours is not None:
        return Handled(InboxState.IGNORED, "a text that was sent from here; VirtualText has it", ours)
    earlier_due_at = _earlier(connection, event, to.e164)
    if earlier_due_at is not None:
        reason = "waits for an earlier text to the same number, which could not be looked up yet"
        return Handled(InboxState.NEW, reason, again_at=max(earlier_due_at, now) + AFTER_EARLIER)
    has_relay = runtime.settings.accounts[config.account].relay_secret is not None
    if has_relay and now - event.received_at < timedelta(seconds=RELAY_SECONDS):
        again = event.received_at + timedelta(seconds=RELAY_SECONDS)
        return Handled(InboxState.NEW, f"waits {RELAY_SECONDS} s for VirtualText's own echo", again_at=again)
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
        return Handled(InboxState.IGNORED, "already recorded, with another text", error.message_id)
    return Handled(InboxState.DONE, f"recorded for {mask(to.e164)}", recorded.message_id)


def _known(connection: Connection, config: Carrier, text: CarrierText) -> str | None:
    """Return the id of the record of this text.

    The sending system may report one receiver of a group under the id of the whole group.
    """
    m, whole = message.c, f"{config.carrier}:{text.id}"
    to = parse_phone(text.to_number, "US")
    of_group = f"{config.carrier}:{text.id.removesuffix(f'/{text.to_number}')}"
    keys = (whole, of_group) if isinstance(to, Phone) else (whole,)
    found = connection.execute(
        select(m.id, m.idempotency_key, m.to_number).where(
            m.account == config.account, m.kind == MessageKind.RECORD, m.idempotency_key.in_(keys)
        )
    )
    for row in found:
        if row.idempotency_key == whole or (isinstance(to, Phone) and row.to_number == to.e164):
            return str(row.id)
    return None


def _ours(
    connection: Connection, account: str, to: str, sender: str, text: CarrierText, sent_at: datetime
) -> str | None:
    """Return the id of our own send of this text: VirtualText may use the same carrier account."""
    m = message.c
    near = select(m.id, m.text, m.media).where(
        m.account == account,
        m.kind == MessageKind.SEND,
        m.to_number == to,
        m.from_number == sender,
        m.state.in_(MAY_HAVE_GONE_OUT),
        m.attempted_at.between(sent_at - WINDOW, sent_at + CLOCK_SKEW),
    )
    for row in connection.execute(near.order_by(m.attempted_at)):
        if is_same_text(row.text, text.text or "") and len(orjson.loads(row.media)) == len(text.media):
            return str(row.id)
    return None


def _echoed(connection: Connection, account: str, to: str, sender: str, text: CarrierText, at: datetime) -> bool:
    """Return whether the Relay reported the same outgoing text, so that it is already in the conversation."""
    e = inbox_event.c
    near = events_with_number(
        connection,
        to.removeprefix("+"),
        e.source == "relay",
        e.name == account,
        e.message_id.is_(None),  # else it is the echo of a text of ours: the same text may be sent again
        e.received_at.between(at - ECHO_WINDOW, at + ECHO_WINDOW),
    )
    for row in near:
        for echo in parse_relay(orjson.loads(row.payload)):
            if (
                isinstance(echo, RelayText)
                and echo.direction == "out"
                and (echo.to_number, echo.from_number) == (to, sender)
                and is_same_text(echo.text, text.text or "")
            ):
                return True
    return False


def _earlier(connection: Connection, event: ClaimedEvent, to: str) -> datetime | None:
    """Return when the last waiting earlier event for the same number is due; None if there is none.

    VirtualText orders a conversation by the time at which texts are recorded, so the order matters. Events that one
    worker has claimed together are processed in order anyway.
    """
    e = inbox_event.c
    earlier = events_with_number(
        connection,
        to.removeprefix("+"),
        e.state == InboxState.NEW,
        e.source == "carrier",
        e.name == event.name,
        e.id < event.id,
        LEASE.owner.is_distinct_from(event.owner),
        columns=(e.due_at,),
    )
    return next((row.due_at for row in earlier), None)


def _failed(reason: str) -> Apply:
    return always(Handled(InboxState.FAILED, reason))


def _ignored(reason: str) -> Apply:
    return always(Handled(InboxState.IGNORED, reason))


def carrier_numbers(config: Carrier, payload: Any) -> str | None:
    """Return the numbers of the texts in an event, as ``InboxEvent.numbers`` stores them; None if one has none."""
    try:
        texts = _texts_in(CARRIERS[config.carrier], payload)
    except Exception:  # noqa: BLE001 - whatever the event holds, it is stored first and judged later
        return None
    if not texts or not all(text.to_number for text in texts):
        return None
    return written_numbers(*(number for text in texts for number in (text.to_number, text.from_number)))


def as_payload(text: CarrierText) -> Mapping[str, Any]:
    """Return the payload of an inbox event for a text of a carrier's list. It needs no look-up."""
    payload = {
        "vtsync": "list",
        "id": text.id,
        "status": text.status,
        "to": text.to_number,
        "from": text.from_number,
        "text": text.text,
        "media": list(text.media),
        "sent_at": text.sent_at.isoformat() if text.sent_at else None,
    }
    # Left out if they are empty, so that a text of a list has the same payload in every version.
    return payload | {name: value for name in ("detail", "channel") if (value := getattr(text, name))}


def _texts_in(provider: Provider, payload: Any) -> list[CarrierText]:
    """Return the texts of an event of the carrier, or of a payload that ``as_payload`` made."""
    row = as_mapping(payload)
    if provider.list_sent is None or row.get("vtsync") != "list":
        return provider.parse(payload)
    return [
        CarrierText(
            as_text(row.get("id")),
            "failed" if row.get("status") == "failed" else "sent",
            as_text(row.get("to")),
            as_text(row.get("from")),
            as_text(row.get("text")),
            tuple(map(as_text, as_list(row.get("media")))),
            as_time(row.get("sent_at")),
            as_text(row.get("detail")),
            as_text(row.get("channel")),
        )
    ]
