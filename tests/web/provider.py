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

AUTH_METHODS = "token_endpoint_auth_methods_supported"
CLIENT, SECRET = "vtsync", "a secret + with % signs"
REFUSED = {"/nothing": 404, "/moved": 301}
"""Paths that no document leads to in good order."""
ACCESS_TOKEN = "an-access.token~"


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
    userinfo: dict[str, Any] | None = None
    """What its userinfo endpoint says. None: it has none."""
    scope_of: dict[str, str] = field(default_factory=dict)
    """Claims that are sent only if this scope was asked for."""
    client: str = CLIENT
    key_reads: int = 0
    asked: dict[str, str] = field(default_factory=dict)
    """What the last sign-in asked for."""
    before_token: Callable[[], None] = lambda: None
    """Called when a code comes, before it is exchanged."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        if self.userinfo is not None:
            places["userinfo_endpoint"] = "userinfo"
        return (
            {"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in places.items()} | self.discovery
        )

    def published(self) -> dict[str, Any]:
        self.key_reads += 1
        strange = [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}, {"kty": "AKP", "kid": "new"}, {"kty": "RSA"}, "x"]
        return {"keys": [*strange, *(key.as_dict(private=False) for key in self.keys)]}

    def authorize(self, asked: dict[str, str]) -> str:
        """Sign the person in, and return the address that the browser is sent to."""
        self.asked = asked
        assert (asked["client_id"], asked["response_type"]) == (self.client, "code")
        assert (asked["code_challenge_method"], "openid" in asked["scope"].split()) == ("S256", True)
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def end_session(self, asked: dict[str, str]) -> str:
        """End the person's session, and return the address that the browser is sent to."""
        assert asked["client_id"] == self.client
        return f"{asked['post_logout_redirect_uri']}?{urlencode({'state': asked['state']})}"

    def sent(self, claims: dict[str, Any]) -> dict[str, Any]:
        scopes = self.asked["scope"].split()
        return {name: one for name, one in claims.items() if self.scope_of.get(name, "openid") in scopes}

    def get(self, place: str, authorization: str) -> tuple[int, bytes, str]:
        """Return status, content and the address that the browser is sent to."""
        parts, document = urlsplit(place), self.document()
        asked = {name: one[0] for name, one in parse_qs(parts.query).items()}
        at = {name: urlsplit(found).path for name, found in document.items() if isinstance(found, str)}
        if parts.path == f"{urlsplit(self.issuer).path.rstrip('/')}/.well-known/openid-configuration":
            return 200, json.dumps(document).encode(), ""
        if parts.path in REFUSED:
            return REFUSED[parts.path], b"", f"{self.issuer}/keys"
        if parts.path == at.get("authorization_endpoint"):
            return 302, b"", self.authorize(asked)
        if parts.path == at.get("end_session_endpoint"):
            return 302, b"", self.end_session(asked)
        if parts.path == at.get("jwks_uri"):
            return 200, json.dumps(self.published()).encode(), ""
        if parts.path == at.get("userinfo_endpoint") and authorization == f"Bearer {ACCESS_TOKEN}":
            return 200, json.dumps(self.sent(self.userinfo or {})).encode(), ""
        return 404, b"", ""

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, bytes]:
        if self.token_answer is not None:
            return self.token_answer
        self.before_token()
        pair = [form.get("client_id", ""), form.get("client_secret", "")]
        if "client_secret_basic" in self.document().get(AUTH_METHODS, ["client_secret_basic"]):
            halves = b64decode(authorization.removeprefix("Basic ")).decode().split(":")
            pair = [unquote_plus(half) for half in halves]
        if pair != [self.client, SECRET]:
            return 401, b'{"error": "invalid_client"}'
        asked = self.codes.pop(form["code"], {})
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if (challenge, form["redirect_uri"]) != (asked.get("code_challenge"), asked.get("redirect_uri")):
            return 400, b'{"error": "invalid_grant"}'
        now = int(utcnow().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self.client,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        } | self.sent(self.person)
        token = self.sign(self.change(claims), self.keys[-1])
        return 200, json.dumps({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": token}).encode()


@contextmanager
def running_provider() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*provider.get(self.path, self.headers.get("Authorization", "")))

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
