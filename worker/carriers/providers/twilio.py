"""Twilio: form-encoded status callbacks without the text (twilio.com/docs, track outbound message status)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from config.integrations import Carrier
from worker.carriers import api, signing
from worker.carriers.channels import channel_named, channel_of_address
from worker.carriers.provider import CarrierText, OptOutCode, Provider, SignatureInvalid, SignedRequest
from worker.carriers.reading import Statuses, as_http_time, as_list, as_mapping, as_text, status_of

if TYPE_CHECKING:
    import requests

API_URL = "https://api.twilio.com"
STATUSES: Statuses = {"partiallydelivered": "pending"}

_SIGNATURE_SETTINGS = "x-twilio-webhooks-signature-settings"
_ALGORITHMS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


def verify(config: Carrier, request: SignedRequest) -> None:
    """Check the HMAC over the URL, with its port or without, and the sorted fields (twilio.com/docs/usage/security)."""
    parts = request.headers.get(_SIGNATURE_SETTINGS, "").split(",")
    settings = dict(part.strip().partition("=")[::2] for part in parts)
    algorithm = settings.get("algorithm", "").strip().upper() or "HMAC_SHA1"
    if algorithm not in _ALGORITHMS:
        raise SignatureInvalid(f"the algorithm of the signature, {algorithm[:40]}, is not known")
    shared = config.signing_key if settings.get("key") and config.signing_key is not None else config.auth_token
    body_hash = parse_qs(urlsplit(request.url).query).get("bodySHA256", [""])[0]
    if body_hash:
        signing.require_body_hash(body_hash, request)
    else:
        signing.require_covered_body(request)
    values: dict[str, set[str]] = defaultdict(set)
    for name, value in () if body_hash else request.form:
        values[name].add(value)
    fields = "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    key = signing.secret_of(shared, "auth_token")
    expected = [
        signing.hmac_base64(key, (url + fields).encode(), _ALGORITHMS[algorithm])
        for url in _with_and_without_port(request.url)
    ]
    signing.require_one_of([request.headers.get("x-twilio-signature", "")], expected)


def parse(payload: Any) -> list[CarrierText]:
    """Read a status callback."""
    event = as_mapping(payload)
    text_id = as_text(event.get("MessageSid") or event.get("SmsSid"))
    if not text_id:
        raise ValueError("there is no MessageSid")
    to, sender = as_text(event.get("To")), as_text(event.get("From"))
    body, count = event.get("Body"), as_text(event.get("NumMedia"))
    media = (as_text(event.get(f"MediaUrl{n}")) for n in range(int(count) if re.fullmatch("[0-9]{1,2}", count) else 0))
    return [
        CarrierText(
            text_id,
            status_of(event.get("MessageStatus") or event.get("SmsStatus"), STATUSES),
            to,
            sender,
            as_text(body) if isinstance(body, str) else None,
            tuple(filter(None, media)),
            detail=as_text(event.get("ErrorCode")),
            channel=channel_named(event.get("ChannelPrefix")) or channel_of_address(to) or channel_of_address(sender),
        )
    ]


def look_up(session: requests.Session, config: Carrier, text_id: str) -> CarrierText | None:
    """Ask for one message."""
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", text_id):
        return None
    url = f"{_base(config)}/2010-04-01/Accounts/{config.account_id}/Messages/{text_id}.json"
    row = api.ask(session, url, auth=api.basic_auth(config))
    return None if row is None else _from_resource(session, config, as_mapping(row))


def list_sent(session: requests.Session, config: Carrier, since: datetime, until: datetime) -> Iterator[CarrierText]:
    """Ask for the list of messages."""
    path = f"/2010-04-01/Accounts/{config.account_id}/Messages.json"
    query: dict[str, str] | None = {
        "DateSent>": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "DateSent<": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "PageSize": "500",
    }
    for _ in range(api.MAX_PAGES):
        page = as_mapping(api.ask(session, _base(config) + path, params=query, auth=api.basic_auth(config)))
        for row in map(as_mapping, as_list(page.get("messages"))):
            yield _from_resource(session, config, row)
        path, query = as_text(page.get("next_page_uri")), None
        if not path.startswith("/"):
            return
    raise api.too_many_pages()


def _from_resource(session: requests.Session, config: Carrier, row: Mapping[str, Any]) -> CarrierText:
    inbound = as_text(row.get("direction")) == "inbound"
    to, sender = as_text(row.get("to")), as_text(row.get("from"))
    return CarrierText(
        as_text(row.get("sid")),
        "received" if inbound else status_of(row.get("status"), STATUSES),
        to,
        sender,
        as_text(row.get("body")),
        _media(session, config, row),
        as_http_time(row.get("date_sent")),
        as_text(row.get("error_code")),
        channel_of_address(to) or channel_of_address(sender),
    )


def _media(session: requests.Session, config: Carrier, row: Mapping[str, Any]) -> tuple[str, ...]:
    path = as_text(as_mapping(row.get("subresource_uris")).get("media"))
    if as_text(row.get("num_media")) in ("", "0") or not path.startswith("/"):
        return ()
    base = _base(config)
    listed = as_mapping(api.ask(session, base + path, auth=api.basic_auth(config)))
    rows = map(as_mapping, as_list(listed.get("media_list")))
    return tuple(base + as_text(one.get("uri")).removesuffix(".json") for one in rows)


def _base(config: Carrier) -> str:
    return api.base_url(config, API_URL)


def _with_and_without_port(url: str) -> list[str]:
    parts = urlsplit(url)
    port = 443 if parts.scheme == "https" else 80
    host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    with_port = parts.netloc if parts.port else f"{parts.netloc}:{port}"
    return [parts._replace(netloc=netloc).geturl() for netloc in (host, with_port)]


_CREDENTIALS = ("account_id", "auth_token")
OPT_OUT_CODES = {
    "21610": OptOutCode("attempt to send to an unsubscribed recipient", "https://www.twilio.com/docs/api/errors/21610"),
}
PROVIDER = Provider(
    verify,
    parse,
    _CREDENTIALS,
    look_up,
    list_sent,
    list_needs=_CREDENTIALS,
    opt_out_codes=OPT_OUT_CODES,
    signs_fields=True,
)
