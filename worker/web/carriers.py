"""``/carriers/{carrier}/{name}``: events of carriers, verified and stored before they are answered.

What is stored is what the carrier signed: the fields of a form or a query, as its signature covers them, else the body.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from config.integrations import Carrier
from worker.carriers.provider import Provider, SignatureInvalid, SignedRequest
from worker.carriers.registry import CARRIERS
from worker.inbox.carrier_texts import carrier_numbers
from worker.inbox.events import Incoming
from worker.inbox.payloads import read_payload, without_secrets
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.problems import Problem
from worker.web.public_url import called_url

MAX_EVENTS = 500
"""Events in one request. Carriers send a few at most."""
MAX_FIELDS = 500

log = structlog.get_logger(__name__)


def routes(context: WebContext) -> APIRouter:
    """Return the carriers' routes. They are not in the documented API, because only carriers call them."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/carriers/{carrier}/{name}", methods=["GET", "POST"])
    async def event(carrier: str, name: str, request: Request) -> Response:
        """Store the events of one request. Only some carriers can sign the fields of a query, which come with GET."""
        settings = context.runtime.settings
        config = settings.carriers.get(name)
        if config is None or config.carrier != carrier:
            raise Problem(404, "not_found", "There is nothing here.")
        provider = CARRIERS[config.carrier]
        if request.method == "GET" and not provider.signs_fields:
            raise Problem(
                405, "method_not_allowed", "Events of this carrier come with POST.", headers={"Allow": "POST"}
            )
        body = await request.body()
        fields = _verify(name, config, provider, request, body, settings.web.public_url)
        payload = without_secrets(fields) if fields else read_payload(body, request.headers.get("content-type", ""))
        now = utcnow()
        events = payload if isinstance(payload, list) else [payload]
        if len(events) > MAX_EVENTS:
            raise Problem(413, "too_many_events", f"a request may have {MAX_EVENTS} events, and not {len(events):,}")
        stored = [
            Incoming("carrier", name, orjson.dumps(one).decode(), now, carrier_numbers(config, one)) for one in events
        ]
        await asyncio.gather(*map(context.intake.put, stored))
        return Response(status_code=204)

    return router


def _verify(
    name: str, config: Carrier, provider: Provider, request: Request, body: bytes, public_url: str | None
) -> dict[str, str]:
    """Check the signature. Return the signed fields of the form or the query; none if the body itself is signed."""
    url, fields_in_url = called_url(request, public_url), request.method == "GET"
    try:
        signed = SignedRequest(
            method=request.method,
            url=url,
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body,
            form=() if fields_in_url else _form(body, request.headers.get("content-type", "")),
            now=utcnow(),
        )
        provider.verify(config, signed)
        if not provider.signs_fields:
            return {}
        return _unambiguous(_pairs(urlsplit(url).query.encode()) if fields_in_url else signed.form)
    except SignatureInvalid as reason:
        log.warning(
            "an event of a carrier was refused: check the credentials of [carriers.NAME] and web.public_url",
            carrier=name,
            reason=str(reason),
            url=url.partition("?")[0],
        )
        headers = {"WWW-Authenticate": provider.challenge} if provider.challenge else {}
        message = "the signature or the credential of this request is wrong"
        raise Problem(401, "unauthorized", message, headers=headers) from None


def _form(body: bytes, content_type: str) -> tuple[tuple[str, str], ...]:
    """Return the fields of a form; none for another body. Raises SignatureInvalid for more fields than can be read."""
    if "urlencoded" not in content_type.lower():
        return ()
    return _pairs(body)


def _pairs(encoded: bytes) -> tuple[tuple[str, str], ...]:
    try:
        pairs: Any = parse_qsl(encoded.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise SignatureInvalid(f"it has more than {MAX_FIELDS} fields") from None
    return tuple(pairs)


def _unambiguous(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the fields by name. Signatures sort them, so they do not cover which of two values comes first."""
    fields = dict(pairs)
    if repeated := next((name for name, value in pairs if fields[name] != value), None):
        raise SignatureInvalid(f'the field "{repeated[:40]}" has several values, and the signature does not order them')
    return fields
