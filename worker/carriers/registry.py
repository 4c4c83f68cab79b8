"""The carriers by name: how each signs, what its events say, what it can be asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from config.integrations import Carrier
from worker.carriers import signatures
from worker.carriers.events import CarrierText, NotYet, SignedRequest, ask, mapping, moment, status_of, text_of

Verify = Callable[[Carrier, SignedRequest], None]
Parse = Callable[[Any], list[CarrierText]]
LookUp = Callable[[requests.Session, Carrier, str], CarrierText | None]
ListSent = Callable[[requests.Session, Carrier, datetime, datetime], Iterator[CarrierText]]

MOST_PAGES = 200


@dataclass(frozen=True, slots=True)
class Api:
    """One carrier. ``look_up`` and ``list_sent`` are None where it never gives a text's words."""

    verify: Verify
    parse: Parse
    base_url: str = ""
    look_up: LookUp | None = None
    list_sent: ListSent | None = None


# --- Twilio: form-encoded status callbacks without the text (twilio.com/docs, track outbound message status)


def _twilio(payload: Any) -> list[CarrierText]:
    event = mapping(payload)
    text_id = text_of(event.get("MessageSid") or event.get("SmsSid"))
    if not text_id:
        raise ValueError("there is no MessageSid")
    status = status_of(text_of(event.get("MessageStatus") or event.get("SmsStatus")))
    body = event.get("Body")
    count = text_of(event.get("NumMedia"))
    media = tuple(
        text_of(event.get(f"MediaUrl{n}")) for n in range(int(count) if count.isdigit() and len(count) < 3 else 0)
    )
    return [
        CarrierText(
            text_id,
            status,
            text_of(event.get("To")),
            text_of(event.get("From")),
            text_of(body) if isinstance(body, str) else None,
            tuple(filter(None, media)),
            detail=text_of(event.get("ErrorCode")),
        )
    ]


def _twilio_resource(session: requests.Session, config: Carrier, row: Mapping[str, Any]) -> CarrierText:
    base, auth = _base(config, "twilio"), _basic(config)
    media: tuple[str, ...] = ()
    if text_of(row.get("num_media")) not in ("", "0"):
        path = text_of(mapping(row.get("subresource_uris")).get("media"))
        listed = mapping(ask(session, "GET", base + path, auth=auth)) if path.startswith("/") else {}
        media = tuple(
            base + text_of(one.get("uri")).removesuffix(".json") for one in map(mapping, listed.get("media_list") or [])
        )
    direction = text_of(row.get("direction"))
    status = "received" if direction == "inbound" else status_of(text_of(row.get("status")))
    return CarrierText(
        text_of(row.get("sid")),
        status,
        text_of(row.get("to")),
        text_of(row.get("from")),
        text_of(row.get("body")),
        media,
        _http_date(row.get("date_sent")),
    )


def _twilio_look_up(session: requests.Session, config: Carrier, text_id: str) -> CarrierText | None:
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", text_id):
        return None
    url = f"{_base(config, 'twilio')}/2010-04-01/Accounts/{config.account_id}/Messages/{text_id}.json"
    row = ask(session, "GET", url, auth=_basic(config))
    return None if row is None else _twilio_resource(session, config, mapping(row))


def _twilio_list(session: requests.Session, config: Carrier, since: datetime, until: datetime) -> Iterator[CarrierText]:
    base = _base(config, "twilio")
    path = f"/2010-04-01/Accounts/{config.account_id}/Messages.json"
    query: dict[str, str] | None = {
        "DateSent>": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "DateSent<": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "PageSize": "500",
    }
    for _ in range(MOST_PAGES):
        page = mapping(ask(session, "GET", base + path, params=query, auth=_basic(config)))
        for row in map(mapping, page.get("messages") or []):
            yield _twilio_resource(session, config, row)
        path, query = text_of(page.get("next_page_uri")), None
        if not path.startswith("/"):
            return
    raise NotYet(f"the carrier's list has more than {MOST_PAGES} pages")


# --- Telnyx: JSON with the text (developers.telnyx.com/docs/messaging/messages/receiving-webhooks)


def _telnyx(payload: Any) -> list[CarrierText]:
    data = mapping(mapping(payload).get("data"))
    event = mapping(data.get("payload"))
    kind, text_id = text_of(data.get("event_type")), text_of(event.get("id"))
    if not text_id:
        raise ValueError("there is no data.payload.id")
    texts = []
    receivers = [mapping(one) for one in event.get("to") or [] if isinstance(event.get("to"), list)]
    for receiver in receivers:
        inbound = text_of(event.get("direction")) == "inbound" or kind == "message.received"
        status = "received" if inbound else status_of(text_of(receiver.get("status")) or kind)
        if not inbound and kind == "message.sent" and status in ("pending", "other"):
            status = "sent"
        number = text_of(receiver.get("phone_number"))
        texts.append(
            CarrierText(
                text_id if len(receivers) == 1 else f"{text_id}/{number}",
                status,
                number,
                text_of(mapping(event.get("from")).get("phone_number")),
                text_of(event.get("text")),
                tuple(filter(None, (text_of(mapping(one).get("url")) for one in event.get("media") or []))),
                moment(event.get("sent_at")),
            )
        )
    return texts


# --- Bandwidth: a JSON list, never with the text (dev.bandwidth.com/docs/messaging/webhooks)


def _bandwidth(payload: Any) -> list[CarrierText]:
    texts = []
    for event in map(mapping, payload if isinstance(payload, list) else [payload]):
        message = mapping(event.get("message"))
        text_id = text_of(message.get("id"))
        if not text_id:
            raise ValueError("there is no message.id")
        inbound = text_of(message.get("direction")) == "in"
        # One id stands for all receivers of a group text; each has an event of its own.
        receiver = text_of(event.get("to"))
        body = message.get("text")
        texts.append(
            CarrierText(
                text_id if _one_receiver(message) else f"{text_id}/{receiver}",
                "received" if inbound else status_of(text_of(event.get("type"))),
                receiver,
                text_of(message.get("from")) or text_of(message.get("owner")),
                text_of(body) if isinstance(body, str) and body else None,
                tuple(filter(None, map(text_of, message.get("media") or []))),
                moment(message.get("time") or event.get("time")),
                text_of(event.get("errorCode")),
            )
        )
    return texts


def _one_receiver(message: Mapping[str, Any]) -> bool:
    return not isinstance(message.get("to"), list) or len(message["to"]) < 2


# --- Vonage: JSON without the text (developer.vonage.com, Messages API, message status)


def _vonage(payload: Any) -> list[CarrierText]:
    event = mapping(payload)
    text_id = text_of(event.get("message_uuid") or event.get("messageId"))
    if not text_id:
        raise ValueError("there is no message_uuid")
    inbound = "text" in event and "status" not in event
    return [
        CarrierText(
            text_id,
            "received" if inbound else status_of(text_of(event.get("status"))),
            _plus(event.get("to")),
            _plus(event.get("from")),
            sent_at=moment(event.get("timestamp")),
        )
    ]


# --- Plivo: form-encoded, without the text (plivo.com/docs/messaging/concepts/message-status)


def _plivo(payload: Any) -> list[CarrierText]:
    event = mapping(payload)
    text_id = text_of(event.get("MessageUUID"))
    if not text_id:
        raise ValueError("there is no MessageUUID")
    inbound = "Text" in event and "Status" not in event
    return [
        CarrierText(
            text_id,
            "received" if inbound else status_of(text_of(event.get("Status"))),
            _plus(event.get("To")),
            _plus(event.get("From")),
            detail=text_of(event.get("ErrorCode")),
        )
    ]


# --- Sinch: one delivery report a recipient, without the text; batches have it (developers.sinch.com/docs/sms)


def _sinch(payload: Any) -> list[CarrierText]:
    event = mapping(payload)
    kind = text_of(event.get("type"))
    if kind.startswith("mo_"):
        return [CarrierText(text_of(event.get("id")), "received", _plus(event.get("to")), _plus(event.get("from")))]
    batch, recipient = text_of(event.get("batch_id")), _plus(event.get("recipient"))
    if not batch or not recipient:
        raise ValueError('there is no batch_id or recipient; ask Sinch for "per_recipient" reports')
    status = status_of(text_of(event.get("status")))
    return [CarrierText(f"{batch}/{recipient}", status, recipient, "", sent_at=moment(event.get("at")))]


def _sinch_batch(row: Mapping[str, Any]) -> Iterator[CarrierText]:
    body = row.get("body")
    if row.get("canceled") is True or not isinstance(body, str):  # MMS batches carry an object
        return
    for receiver in row.get("to") or []:
        number = _plus(receiver)
        yield CarrierText(
            f"{text_of(row.get('id'))}/{number}",
            "sent",
            number,
            _plus(row.get("from")),
            _filled(body, mapping(row.get("parameters")), text_of(receiver)),
            sent_at=moment(row.get("send_at") or row.get("created_at")),
        )


def _filled(body: str, parameters: Mapping[str, Any], receiver: str) -> str:
    """A batch's text with the values of one receiver."""
    for name, values in parameters.items():
        chosen = mapping(values)
        value = text_of(chosen.get(receiver, chosen.get("default")))
        body = body.replace("${" + name + "}", value)
    return body


def _sinch_look_up(session: requests.Session, config: Carrier, text_id: str) -> CarrierText | None:
    batch = text_id.partition("/")[0]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", batch):
        return None
    url = f"{_base(config, 'sinch')}/xms/v1/{config.account_id}/batches/{batch}"
    row = ask(session, "GET", url, headers=_bearer(config))
    return next((one for one in _sinch_batch(mapping(row)) if one.id == text_id), None)


def _sinch_list(session: requests.Session, config: Carrier, since: datetime, until: datetime) -> Iterator[CarrierText]:
    url = f"{_base(config, 'sinch')}/xms/v1/{config.account_id}/batches"
    for number in range(MOST_PAGES):
        query = {"page": number, "page_size": 100, "start_date": since.isoformat(), "end_date": until.isoformat()}
        page = mapping(ask(session, "GET", url, params=query, headers=_bearer(config)))
        rows = page.get("batches") or []
        for row in map(mapping, rows):
            yield from _sinch_batch(row)
        if len(rows) < 100:
            return
    raise NotYet(f"the carrier's list has more than {MOST_PAGES} pages")


API_URLS = {"twilio": "https://api.twilio.com", "sinch": "https://us.sms.api.sinch.com"}


def _from_list(parse: Parse) -> Parse:
    """Also reads what ``worker.carriers.polling`` stores."""

    def either(payload: Any) -> list[CarrierText]:
        row = mapping(payload)
        if row.get("vtsync") != "list":
            return parse(payload)
        media = tuple(text_of(one) for one in row.get("media") or [])
        return [
            CarrierText(
                text_of(row.get("id")),
                "sent",
                text_of(row.get("to")),
                text_of(row.get("from")),
                text_of(row.get("text")),
                media,
                moment(row.get("sent_at")),
            )
        ]

    return either


CARRIERS: dict[str, Api] = {
    "twilio": Api(signatures.twilio, _from_list(_twilio), API_URLS["twilio"], _twilio_look_up, _twilio_list),
    "telnyx": Api(signatures.telnyx, _telnyx),
    "bandwidth": Api(signatures.bandwidth, _bandwidth),
    "vonage": Api(signatures.vonage, _vonage),
    "plivo": Api(signatures.plivo, _plivo),
    "sinch": Api(signatures.sinch, _from_list(_sinch), API_URLS["sinch"], _sinch_look_up, _sinch_list),
}


def _base(config: Carrier, name: str) -> str:
    base = config.api_url or API_URLS[name]
    return base.rstrip("/") if urlsplit(base).scheme else base


def _basic(config: Carrier) -> tuple[str, str]:
    return config.account_id or "", config.auth_token.get_secret_value() if config.auth_token else ""


def _bearer(config: Carrier) -> dict[str, str]:
    return {"Authorization": f"Bearer {config.auth_token.get_secret_value() if config.auth_token else ''}"}


def _plus(value: Any) -> str:
    text = text_of(value).strip()
    return f"+{text}" if text[:1].isdigit() and len(text) > 6 else text


def _http_date(value: Any) -> datetime | None:
    try:
        return parsedate_to_datetime(text_of(value))
    except (ValueError, TypeError):
        return None
