"""A server between an adapter and its CRM. It passes requests on, or answers them in one of the wrong ways of CRMs."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from crm_adapters.base import (
    AdapterError,
    CredentialsRejected,
    SourceIncomplete,
    SourceInvalid,
    SourceUnavailable,
)

RETRY_AFTER = 120
_METHODS = "GET HEAD POST PUT PATCH DELETE OPTIONS PROPFIND REPORT MKCOL".split()
_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "host"}
_NO_ANSWER = (SourceUnavailable,)
_WRONG_ANSWER = (SourceUnavailable, SourceIncomplete, SourceInvalid)


@dataclass(frozen=True, slots=True)
class CrmFault:
    """A wrong way to answer. ``name`` completes the sentence "the CRM ..."; ``means`` are the errors that fit it.

    ``how`` is ``answer`` (with ``status``, ``headers`` and ``body``), ``drop`` (close the connection), ``cut`` (close
    it in the middle of the real answer), ``lose`` (pass the request on and drop the answer) or ``hang``.
    """

    name: str
    means: tuple[type[AdapterError], ...]
    how: str = "answer"
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


DROPS = CrmFault("closes the connection", _NO_ANSWER, "drop")
HANGS = CrmFault("does not answer", _NO_ANSWER, "hang")
LOSES = CrmFault("acts, and its answer is lost", _NO_ANSWER, "lose")
BUSY = CrmFault(
    "asks to wait", _NO_ANSWER, status=429, body='{"message": "slow down"}', headers={"Retry-After": str(RETRY_AFTER)}
)


def faults(secrets: Iterable[str]) -> list[CrmFault]:
    """Return the ways in which a CRM fails at once. Its error pages repeat the secrets, as some do."""
    quoted = json.dumps({"error": f"the credential {' '.join(secrets)} was used", "message": "see the manual"})
    page = f"<!doctype html><title>Sorry</title><p>{quoted}</p>"
    html = {"Content-Type": "text/html"}
    return [
        CrmFault("refuses the credential", (CredentialsRejected,), status=401, body=quoted),
        CrmFault("forbids it", (CredentialsRejected, *_WRONG_ANSWER), status=403, body=quoted),
        BUSY,
        CrmFault("fails", _NO_ANSWER, status=500, body=quoted),
        CrmFault("shows a page about maintenance", _NO_ANSWER, status=503, body=page, headers=html),
        DROPS,
        CrmFault("closes the connection in the middle of an answer", _WRONG_ANSWER, "cut"),
        CrmFault("answers with a page for people", _WRONG_ANSWER, body=page, headers=html),
        CrmFault("answers with half a JSON document", _WRONG_ANSWER, body='{"data": [{"id": "1", "na'),
        CrmFault("answers with nothing", _WRONG_ANSWER),
        CrmFault("answers with an error and status 200", _WRONG_ANSWER, body=quoted),
    ]


class ScriptedProxy:
    """Listens on a free port of this machine and stands for ``upstream``, the address of a CRM or of a fake one.

    Addresses of the CRM in headers and text become the proxy's own, so an adapter that follows links stays here.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.requests: list[str] = []
        self.heard: list[str] = []
        """The requests with their headers and bodies."""
        self.passed = 0
        """The number of bytes of the bodies that were passed to the adapter."""
        self._edit: Callable[[bytes], bytes] | None = None
        self._fault: CrmFault | None = None
        self._good, self._bad = 0, 0
        self._lock = threading.Lock()
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_ProxyHandler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = self.origin + self.upstream.path
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def fail(self, fault: CrmFault, *, after: int = 0, times: int | None = None) -> None:
        """Pass ``after`` more requests on. Then fail as told, ``times`` times (None: until ``repair``)."""
        with self._lock:
            self.released.clear()
            self._fault, self._good, self._bad = fault, after, -1 if times is None else times

    def edit(self, change: Callable[[bytes], bytes]) -> None:
        """Pass each body through ``change`` until ``repair``."""
        self._edit = change

    def repair(self) -> None:
        """Pass everything on again, and drop the connections that wait."""
        with self._lock:
            self._fault = self._edit = None
        self.released.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self.repair()
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self, request: str, details: str) -> CrmFault | None:
        """Return how to fail this request; None to pass it on."""
        with self._lock:
            self.requests.append(request)
            self.heard.append(f"{request}\n{details}")
            if self._fault is None or self._bad == 0:
                return None
            if self._good > 0:
                self._good -= 1
                return None
            self._bad -= 1
            return self._fault

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        """Pass a request on to the CRM and return its answer."""
        secure = self.upstream.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self.upstream.hostname or "", self.upstream.port, timeout=30)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in _OF_ONE_CONNECTION}
            kept["Accept-Encoding"] = "gzip"  # as an adapter asks: some CRMs mark their answers wrongly otherwise
            connection.request(method, path, body or None, kept)
            response = connection.getresponse()
            received = response.read()
            if received and response.getheader("Content-Encoding", "").lower() == "gzip":
                received = gzip.decompress(received)
            return _Answer(response.status, list(self._own(response.getheaders())), self._text(received))
        finally:
            connection.close()

    def _own(self, headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for name, value in headers:
            if name.lower() not in {*_OF_ONE_CONNECTION, "content-encoding"}:
                yield name, value.replace(self._theirs, self.origin)

    def _text(self, body: bytes) -> bytes:
        body = body.replace(self._theirs.encode(), self.origin.encode())
        edited = body if self._edit is None else self._edit(body)
        self.passed += len(edited)
        return edited

    @property
    def _theirs(self) -> str:
        return f"{self.upstream.scheme}://{self.upstream.netloc}"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _ProxyHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    proxy: ScriptedProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the adapter closed the connection
            super().handle()

    def answer_request(self) -> None:
        """Answer as the proxy's script says."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.next_fault(f"{self.command} {self.path}", f"{self.headers}{body!r}")
        how = fault.how if fault else "pass"
        if how == "hang":
            self.proxy.released.wait(60)
        if fault and how == "answer":
            self._send(_Answer(fault.status, list(fault.headers.items()), fault.body.encode()))
        elif how in ("pass", "cut", "lose"):
            self._pass_on(body, how)
        if how not in ("pass", "answer"):
            self.close_connection = True

    def _pass_on(self, body: bytes, how: str) -> None:
        try:
            answer = self.proxy.ask(self.command, self.path, dict(self.headers), body)
        except (OSError, EOFError, zlib.error, http.client.HTTPException):
            self.close_connection = True  # the CRM is down
            return
        if how != "lose":
            self._send(answer, cut=how == "cut")

    def _send(self, answer: _Answer, *, cut: bool = False) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body) + cut))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        self.wfile.flush()

    def log_message(self, *_args: Any) -> None:
        """Say nothing: the tests report."""


for _method in _METHODS:
    setattr(_ProxyHandler, f"do_{_method}", _ProxyHandler.answer_request)


def with_odd_record(body: bytes, email: str, external_id: str, odd: Any) -> bytes:
    """Return a JSON document in which every value of one record, except its id, is ``odd``.

    The record is the entry that contains ``email``, in the longest list of objects. The id may lack a prefix.
    """
    try:
        document = json.loads(body)
    except ValueError:
        return body
    entries = max(_lists(document), key=len, default=[])
    ids = {external_id, re.split(r"[^0-9A-Za-z]", external_id)[-1]}
    for position, entry in enumerate(entries):
        if email in _texts(entry):
            entries[position] = _with_odd_values(entry, ids, odd)
            return json.dumps(document).encode()
    return body


def _lists(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _lists(inner)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield str(value)


def _with_odd_values(value: Any, ids: set[str], odd: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_odd_values(inner, ids, odd) for name, inner in value.items()}
    return value if str(value) in ids else odd
