"""Takes the CRM's answer to a consent on this machine (`vtsync connect`)."""

from __future__ import annotations

import ipaddress
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from crm_adapters.base import AdapterError
from worker.contacts.consent import Consent, finish_consent
from worker.runtime import Runtime

HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
CONNECTED = "Connected. You can close this page; the result of the check is where you ran `vtsync connect`.\n"
SOCKET_SECONDS = 10.0


def is_here(redirect: str) -> bool:
    """Return True if the address is on this machine and unencrypted, so that this process can take the answer."""
    parts = urlsplit(redirect)
    if parts.scheme != "http":
        return False
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


class CallbackListener:
    """Listens on loopback until the CRM sends the browser back. Raises OSError if the port is taken."""

    def __init__(self, runtime: Runtime, consent: Consent) -> None:
        self._done = threading.Event()
        self._error: AdapterError | None = None
        expected, listener = urlsplit(consent.redirect), self

        class Handler(BaseHTTPRequestHandler):
            timeout = SOCKET_SECONDS

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                answer = dict(parse_qsl(url.query))
                # Other pages, and requests of others, change nothing: only the CRM knows the state.
                if url.path != (expected.path or "/") or answer.get("state") != consent.state:
                    self._say(404, "There is nothing here.\n")
                    return
                try:
                    self._finish(answer)
                finally:  # also if the browser does not wait for the page
                    listener._done.set()

            def _finish(self, answer: dict[str, str]) -> None:
                try:
                    finish_consent(runtime, answer)
                except AdapterError as error:
                    listener._error = error
                    self._say(400, f"{error}\n")
                else:
                    self._say(200, CONNECTED)

            def _say(self, status: int, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                for name, value in {**HEADERS, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing: the address contains the code."""

        host = "127.0.0.1" if expected.hostname == "localhost" else expected.hostname or "127.0.0.1"
        self._server = _server_class(host)((host, expected.port or 80), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="consent", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> bool:
        """Wait for the answer. Return False if none arrives in time. Raises what ``finish_consent`` raises."""
        arrived = self._done.wait(seconds)
        if self._error is not None:
            raise self._error
        return arrived


def _server_class(host: str) -> type[ThreadingHTTPServer]:
    import socket

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    return Server
