"""Sinch: a delivery report for each receiver, without the text; batches contain it (developers.sinch.com/docs/sms)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from config.integrations import Carrier
from worker.carriers import api, signing
from worker.carriers.channels import channel_named
from worker.carriers.provider import CarrierText, OptOutCode, Provider, SignatureInvalid, SignedRequest
from worker.carriers.reading import Statuses, as_list, as_mapping, as_number, as_text, as_time, status_of

if TYPE_CHECKING:
    import requests

API_URL = "https://us.sms.api.sinch.com"
STATUSES: Statuses = {"dispatched": "sent", "aborted": "failed", "deleted": "failed", "unknown": "failed"}
PAGE_SIZE = 100
OPT_OUT_CODES = {
    "Deleted": OptOutCode(
        "deleted by a remote SMSC: the number is invalid, or its owner has opted out",
        "https://developers.sinch.com/docs/sms/api-reference/sms/tag/Delivery-reports/",
        certain=False,
    ),
}


def verify(config: Carrier, request: SignedRequest) -> None:
    """Check the HMAC-SHA256 over ``body.nonce.timestamp`` (developers.sinch.com, SMS webhooks)."""
    nonce = request.headers.get("x-sinch-webhook-signature-nonce", "")
    timestamp = request.headers.get("x-sinch-webhook-signature-timestamp", "")
    signing.require_recent(timestamp, request)
    if not nonce:
        raise SignatureInvalid("the nonce is missing")
    key = signing.secret_of(config.signing_key, "signing_key")
    expected = signing.hmac_base64(key, request.body + f".{nonce}.{timestamp}".encode())
    signing.require_one_of([request.headers.get("x-sinch-webhook-signature", "")], [expected])


def parse(payload: Any) -> list[CarrierText]:
    """Read a delivery report or an inbound message."""
    event = as_mapping(payload)
    if as_text(event.get("type")).startswith("mo_"):
        return [
            CarrierText(as_text(event.get("id")), "received", as_number(event.get("to")), as_number(event.get("from")))
        ]
    batch, receiver = as_text(event.get("batch_id")), as_number(event.get("recipient"))
    if not batch or not receiver:
        raise ValueError('there is no batch_id or recipient; ask Sinch for "per_recipient" reports')
    status = status_of(event.get("status"), STATUSES)
    word = as_text(event.get("status"))
    return [
        CarrierText(
            f"{batch}/{receiver}",
            status,
            receiver,
            "",
            sent_at=as_time(event.get("at")),
            detail=word if word in OPT_OUT_CODES else as_text(event.get("code")),
            channel=channel_named(event.get("channel")),
        )
    ]


def look_up(session: requests.Session, config: Carrier, text_id: str) -> CarrierText | None:
    """Ask for the batch of a text."""
    batch = text_id.partition("/")[0]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", batch):
        return None
    row = api.ask(session, f"{_batches_url(config)}/{batch}", headers=api.bearer_auth(config))
    return next((one for one in _from_batch(as_mapping(row)) if one.id == text_id), None)


def list_sent(session: requests.Session, config: Carrier, since: datetime, until: datetime) -> Iterator[CarrierText]:
    """Ask for the list of batches."""
    for number in range(api.MAX_PAGES):
        query = {
            "page": number,
            "page_size": PAGE_SIZE,
            "start_date": since.isoformat(),
            "end_date": until.isoformat(),
        }
        page = as_mapping(api.ask(session, _batches_url(config), params=query, headers=api.bearer_auth(config)))
        rows = as_list(page.get("batches"))
        for row in map(as_mapping, rows):
            yield from _from_batch(row)
        if len(rows) < PAGE_SIZE:
            return
    raise api.too_many_pages()


def _batches_url(config: Carrier) -> str:
    return f"{api.base_url(config, API_URL)}/xms/v1/{config.account_id}/batches"


def _from_batch(row: Mapping[str, Any]) -> Iterator[CarrierText]:
    body = row.get("body")
    if row.get("canceled") is True or not isinstance(body, str):  # the body of an MMS batch is an object
        return
    for receiver in as_list(row.get("to")):
        number = as_number(receiver)
        yield CarrierText(
            f"{as_text(row.get('id'))}/{number}",
            "sent",
            number,
            as_number(row.get("from")),
            _filled(body, as_mapping(row.get("parameters")), as_text(receiver)),
            sent_at=as_time(row.get("send_at") or row.get("created_at")),
        )


def _filled(body: str, parameters: Mapping[str, Any], receiver: str) -> str:
    """Return the text of a batch with the values of one receiver."""
    for name, values in parameters.items():
        chosen = as_mapping(values)
        value = as_text(chosen.get(receiver, chosen.get("default")))
        body = body.replace("${" + name + "}", value)
    return body


PROVIDER = Provider(
    verify,
    parse,
    ("signing_key",),
    look_up,
    list_sent,
    list_needs=("account_id", "auth_token"),
    opt_out_codes=OPT_OUT_CODES,
)
