"""A CRM's OAuth server on this machine, of the strict kind: a refresh token works once, and a used one is rejected."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

PERSON = {"id": "1", "phone": "+14155550123", "name": "Ann"}


@dataclass
class TokenServer:
    """Gives codes and tokens. ``refreshed`` holds the refresh tokens that were used, in order.

    ``before_answer`` is called when new tokens are valid and the answer is not sent yet.
    """

    url: str = ""
    refreshed: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    access: set[str] = field(default_factory=set)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    before_answer: Callable[[], object] = field(default=lambda: None)
    status: int = 200
    """What the token endpoint answers instead, without doing anything."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_values(self) -> dict[str, Any]:
        """Values as a consent gives them."""
        with self._lock:
            refresh, access = f"refresh-{secrets.token_hex(12)}", f"access-{secrets.token_hex(12)}"
            self.valid.add(refresh)
            self.access.add(access)
        return {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 3600}

    def consent(self, link: str) -> str:
        """What the browser is sent to when a person agrees."""
        asked = {name: value for name, [value] in parse_qs(urlsplit(link).query).items()}
        code = f"code-{secrets.token_hex(8)}"
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if self.status != 200:
            return self.status, {"error": "temporarily_unavailable"}
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], None)
            if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
                return 400, {"error": "invalid_grant"}
            answer = self.new_values()
            self.before_answer()
            return 200, answer
        with self._lock:
            given = form["refresh_token"]
            if given not in self.valid:
                self.rejected.append(given)
                return 400, {"error": "invalid_grant"}
            self.valid.remove(given)
            self.refreshed.append(given)
        answer = self.new_values()
        self.before_answer()
        return 200, answer


@contextmanager
def token_server() -> Iterator[TokenServer]:
    made = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*made.token({name: value for name, [value] in parse_qs(body.decode()).items()}))

        def do_GET(self) -> None:
            known = self.headers.get("Authorization", "").removeprefix("Bearer ") in made.access
            self._answer(200 if known else 401, {"people": [PERSON]} if known else {})

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
