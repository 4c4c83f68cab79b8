"""A small OpenID provider: discovery, keys, sign-in of one person without asking, and the exchange of codes."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jws import serialize_compact

from worker.store.models import utcnow

CLIENT, SECRET = "vtsync", "a secret + with % signs"


@cache
def rsa_key(kid: str) -> RSAKey:
    """A key of 2048 bits, made once in a run."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


def signed(claims: dict[str, Any], key: RSAKey) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def unsigned(claims: dict[str, Any], _: RSAKey) -> str:
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def signed_with_the_public_key(claims: dict[str, Any], key: RSAKey) -> str:
    content = f"{_part({'alg': 'HS256', 'kid': key.kid})}.{_part(claims)}"
    code = hmac.new(key.as_pem(private=False), content.encode(), sha256).digest()
    return f"{content}.{urlsafe_b64encode(code).decode().rstrip('=')}"


def signed_list(claims: list[dict[str, Any]], key: RSAKey) -> str:
    return serialize_compact({"alg": "RS256", "kid": key.kid}, json.dumps(claims), key)


def _part(content: Any) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@dataclass
class Provider:
    """What the provider does. A test changes one thing."""

    issuer: str = ""
    keys: list[RSAKey] = field(default_factory=lambda: [rsa_key("one")])
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "17", "preferred_username": "ana", "groups": ["ops"]}
    )
    """Claims of the person who signs in."""
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    sign: Callable[[dict[str, Any], RSAKey], str] = signed
    discovery: dict[str, Any] = field(default_factory=dict)
    """What its discovery document says otherwise."""
    token_answer: tuple[int, bytes] | None = None
    key_reads: int = 0
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return (
            {"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in places.items()} | self.discovery
        )

    def published(self) -> dict[str, Any]:
        self.key_reads += 1
        strange = [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}, {"kty": "AKP", "kid": "new"}, {"kty": "RSA"}, "x"]
        return {"keys": [*strange, *(key.as_dict(private=False) for key in self.keys)]}

    def authorize(self, asked: dict[str, str]) -> str:
        """Sign the person in, and return the address that the browser is sent to."""
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert (asked["code_challenge_method"], "openid" in asked["scope"].split()) == ("S256", True)
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, bytes]:
        if self.token_answer is not None:
            return self.token_answer
        pair = b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        if [unquote_plus(half) for half in pair] != [CLIENT, SECRET]:
            return 401, b'{"error": "invalid_client"}'
        asked = self.codes.pop(form["code"], {})
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if (challenge, form["redirect_uri"]) != (asked.get("code_challenge"), asked.get("redirect_uri")):
            return 400, b'{"error": "invalid_grant"}'
        now = int(utcnow().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        } | self.person
        token = self.sign(self.change(claims), self.keys[-1])
        return 200, json.dumps({"access_token": "a", "token_type": "Bearer", "id_token": token}).encode()


@contextmanager
def running_provider() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                place = provider.authorize({name: one[0] for name, one in parse_qs(parts.query).items()})
                self._answer(302, b"", location=place)
                return
            found = {"/.well-known/openid-configuration": provider.document, "/keys": provider.published}.get(
                parts.path
            )
            self._answer(404 if found is None else 200, b"" if found is None else json.dumps(found()).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: one[0] for name, one in parse_qs(body).items()}
            self._answer(*provider.token(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, body: bytes, location: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
