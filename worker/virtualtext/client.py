"""The calls of the VirtualText API. No other module calls VirtualText.

Every method makes one request and returns an ``Outcome``, whatever the network or the server does. What to do about it
is up to the caller. ValueError means that the arguments cannot be sent. Sending and recording a text are separate
methods on purpose: a record without ``sendStatus`` would text the customer, so a caller can neither leave it off a
record nor add it to a send.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

from worker.core.http import HttpResponse, HttpTransport, Origin
from worker.core.metrics import request_ended
from worker.virtualtext import wire
from worker.virtualtext.classify import classify
from worker.virtualtext.outcomes import (
    Cause,
    ContactBody,
    Endpoint,
    MessageBody,
    Outcome,
    Receipt,
    RemoteContact,
    Status,
    may_reach,
)

T = TypeVar("T")

MAX_ANSWER_BYTES = 1 << 20
MAX_LIST_BYTES = 512 << 20
LIST_SECONDS = 300.0

NOT_IN_TEST_MODE = "the account is in test mode, and the number is not in its test_numbers"

_HEADER_TEXT = re.compile(r"[!-~]+")


class VirtualTextClient:
    """The calls of one account over pooled connections. Safe for threads, but not after a fork.

    Raises ValueError when the credentials are not valid in an HTTP header.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        if not (_HEADER_TEXT.fullmatch(endpoint.uid) and _HEADER_TEXT.fullmatch(endpoint.token)):
            raise ValueError(
                "The account's uid and token must be plain text without spaces; copy both from VirtualText again."
            )
        self.endpoint = endpoint
        self._transport = HttpTransport(
            connect_timeout=endpoint.connect_timeout,
            read_timeout=endpoint.read_timeout,
            connections=endpoint.concurrency,
        )
        self._api = self._transport.origin(endpoint.api_url)
        self._create = self._transport.origin(endpoint.create_url)
        credentials = f"{endpoint.uid}:{endpoint.token}"
        self._secrets = (credentials, endpoint.token)
        self._open_headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "virtualtext-crm-sync",
        }
        self._headers = {**self._open_headers, "Authorization": f"Bearer {credentials}"}
        self._json_headers = {**self._headers, "Content-Type": "application/json"}

    def __repr__(self) -> str:
        return f"VirtualTextClient({self.endpoint!r})"

    def create_contact(self, contact: ContactBody) -> Outcome[RemoteContact]:
        """Create a contact, on the host that only creates. Not idempotent."""
        return self._post(
            *("create_contact", self._create, "/api/contacts"),
            *(wire.contact_fields(contact), wire.read_contact),
            about=contact.phone,
        )

    def update_contact(self, virtualtext_id: str, contact: ContactBody) -> Outcome[RemoteContact]:
        """Overwrite all three fields of a contact."""
        path, fields = wire.contact_path(virtualtext_id), wire.contact_fields(contact)
        read = wire.contact_reader(virtualtext_id)
        return self._post("update_contact", self._api, path, fields, read, about=contact.phone)

    def get_contact(self, virtualtext_id: str) -> Outcome[RemoteContact]:
        """Get one contact. An id that does not exist gives ``GATEWAY``, as an outage does."""
        return self._get("get_contact", wire.contact_path(virtualtext_id), wire.contact_reader(virtualtext_id))

    def list_contacts(
        self, *, max_bytes: int = MAX_LIST_BYTES, seconds: float = LIST_SECONDS
    ) -> Outcome[list[RemoteContact]]:
        """List every contact in one response, without entries that lack an id or a phone.

        Large accounts give ``TIMEOUT``. ``seconds`` limits the whole transfer, ``max_bytes`` its size.
        """
        return self._get("list_contacts", "/api/contacts", wire.read_contacts, max_bytes=max_bytes, seconds=seconds)

    def send_message(self, message: MessageBody) -> Outcome[Receipt]:
        """Text the recipient. Not idempotent."""
        fields = wire.send_fields(message)
        return self._post("send", self._api, "/api/send", fields, wire.read_receipt, about=message.to)

    def record_message(self, message: MessageBody) -> Outcome[Receipt]:
        """Store a text that was sent elsewhere in its conversation. Texts nobody."""
        fields = wire.record_fields(message)
        return self._post("record", self._api, "/api/send", fields, wire.read_receipt, about=message.to)

    def health(self) -> Outcome[str]:
        """Ask for the platform's own state: "pass", "warn" (still serving) or "fail". Sends no credentials."""
        began = time.perf_counter()
        answer = self._transport.exchange(self._api, "GET", "/health", self._open_headers, max_bytes=MAX_ANSWER_BYTES)
        outcome = self._counted("health", began, classify(answer, wire.read_health, self._secrets))
        if (
            isinstance(answer, HttpResponse) and answer.status == 503
        ):  # a valid response: the state may be a warning, which still serves
            with suppress(ValueError):
                return Outcome(Status.DONE, wire.read_health(answer.body), http_status=503)
        return outcome

    def clock(self) -> str | None:
        """Return the Date header of the platform, or None if it does not respond. Sends no credentials."""
        answer = self._transport.exchange(self._api, "GET", "/health", self._open_headers, max_bytes=MAX_ANSWER_BYTES)
        return answer.headers.get("Date") if isinstance(answer, HttpResponse) else None

    def register_relay(self, url: str) -> Outcome[None]:
        """Have the platform post each message of this user to ``url``, which may contain a secret."""
        if not url.startswith(("http://", "https://")):
            raise ValueError("The relay URL must start with http:// or https://.")
        path = f"/api/users/{quote(self.endpoint.uid, safe='')}/webhook"
        fields = {"url": url}
        return self._post("register_relay", self._api, path, fields, wire.read_nothing, about=None, secrets=(url,))

    def close(self) -> None:
        """Close idle connections. Later calls give ``UNREACHABLE``."""
        self._transport.close()

    def _post(
        self,
        endpoint: str,
        origin: Origin,
        path: str,
        fields: dict[str, Any],
        read: Callable[[bytes], T],
        *,
        about: str | None,
        secrets: tuple[str, ...] = (),
    ) -> Outcome[T]:
        """Make a request that writes. ``about``: the number of the person whom it concerns; None: it concerns nobody.

        Every write passes here, so this is where test mode ends it, whatever the caller has checked.
        """
        if about is not None and not may_reach(about, self.endpoint.only_numbers):
            return Outcome(Status.NOT_DONE, cause=Cause.TEST_MODE, detail=NOT_IN_TEST_MODE)
        body = wire.encode(fields)
        began = time.perf_counter()
        answer = self._transport.exchange(origin, "POST", path, self._json_headers, body, max_bytes=MAX_ANSWER_BYTES)
        return self._counted(endpoint, began, classify(answer, read, self._secrets + secrets))

    def _get(
        self,
        endpoint: str,
        path: str,
        read: Callable[[bytes], T],
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
        seconds: float | None = None,
    ) -> Outcome[T]:
        began = time.perf_counter()
        answer = self._transport.exchange(self._api, "GET", path, self._headers, max_bytes=max_bytes, seconds=seconds)
        return self._counted(endpoint, began, classify(answer, read, self._secrets))

    def _counted(self, endpoint: str, began: float, outcome: Outcome[T]) -> Outcome[T]:
        request_ended(self.endpoint.account, endpoint, outcome.cause or "done", time.perf_counter() - began)
        return outcome


_clients: dict[tuple[int, Endpoint], VirtualTextClient] = {}


def client_for(endpoint: Endpoint) -> VirtualTextClient:
    """Return this process's client for ``endpoint``. A forked process gets its own, so that no socket is shared."""
    key = (os.getpid(), endpoint)
    client = _clients.get(key)
    # Two threads may both build one. setdefault lets one win; the other has not opened a connection yet.
    return client or _clients.setdefault(key, VirtualTextClient(endpoint))
