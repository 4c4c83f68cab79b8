"""A running sandbox, and a client that adds nothing of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from worker.sandbox import Sandbox

NUMBER = "+12025550100"
CUSTOMER = "+14155552671"
CREDENTIALS = "Bearer sandbox:sandbox-token"


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


def ask(
    url: str,
    method: str,
    path: str,
    body: object = None,
    *,
    credentials: str | None = CREDENTIALS,
    content_type: str = "application/json",
    timeout: float = 10,
) -> Answered:
    """One request on a connection of its own. ``bytes`` go as they are, everything else as JSON."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    headers = {"Content-Type": content_type}
    if credentials is not None:
        headers["Authorization"] = credentials
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, sent, headers)
        response = connection.getresponse()
        return Answered(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def until(condition: Callable[[], object]) -> None:
    """Return when ``condition`` holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def text(**other: Any) -> dict[str, Any]:
    """A send's body; None leaves a field out."""
    fields = {"to": CUSTOMER, "from": NUMBER, "message": "Your order is ready.", **other}
    return {name: value for name, value in fields.items() if value is not None}


def send(sandbox: Sandbox, **other: Any) -> Answered:
    return ask(sandbox.api_url, "POST", "/api/send", text(**other))


def create(sandbox: Sandbox, phone: str = CUSTOMER, **other: Any) -> Answered:
    return ask(sandbox.create_url, "POST", "/api/contacts", {"phoneNumber": phone, **other})
