"""``POST /carriers/{carrier}/{name}``: events of carriers, verified and stored before they are answered."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from config.integrations import Carrier
from worker.carriers.provider import SignatureInvalid, SignedRequest
from worker.carriers.registry import CARRIERS
from worker.inbox.events import Incoming
from worker.inbox.payloads import read_payload
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

    @router.post("/carriers/{carrier}/{name}")
    async def event(carrier: str, name: str, request: Request) -> Response:
        """Store the events of one request."""
        settings = context.runtime.settings
        config = settings.carriers.get(name)
        if config is None or config.carrier != carrier:
            raise Problem(404, "not_found", "There is nothing here.")
        body = await request.body()
        _verify(name, config, request, body, settings.web.public_url)
        payload = read_payload(body, request.headers.get("content-type", ""))
        now = utcnow()
        events = payload if isinstance(payload, list) else [payload]
        if len(events) > MAX_EVENTS:
            raise Problem(413, "too_many_events", f"a request may have {MAX_EVENTS} events, and not {len(events):,}")
        await asyncio.gather(
            *(context.intake.put(Incoming("carrier", name, orjson.dumps(one).decode(), now)) for one in events)
        )
        return Response(status_code=204)

    return router


def _verify(name: str, config: Carrier, request: Request, body: bytes, public_url: str | None) -> None:
    provider, url = CARRIERS[config.carrier], called_url(request, public_url)
    try:
        signed = SignedRequest(
            method=request.method,
            url=url,
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body,
            form=_form(body, request.headers.get("content-type", "")),
            now=utcnow(),
        )
        provider.verify(config, signed)
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
    try:
        pairs: Any = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise SignatureInvalid(f"its form has more than {MAX_FIELDS} fields") from None
    return tuple(pairs)
