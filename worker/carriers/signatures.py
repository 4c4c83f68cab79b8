"""The carriers' signatures. Each is small; the tests compare them with the carriers' own libraries."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from config.integrations import Carrier
from worker.carriers.events import Refused, SignedRequest

TOLERANCE = timedelta(seconds=300)
_TWILIO_HASHES: dict[str, Callable[..., Any]] = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}


def twilio(config: Carrier, request: SignedRequest) -> None:
    """HMAC over the URL and the sorted parameters, with the port or without (twilio.com/docs/usage/security)."""
    given = request.headers.get("x-twilio-signature", "")
    settings = dict(part.strip().partition("=")[::2] for part in request.headers.get(_TWILIO_SETTINGS, "").split(","))
    algorithm = settings.get("algorithm", "").strip().upper() or "HMAC_SHA1"
    if algorithm not in _TWILIO_HASHES:
        raise Refused(f"the signature's algorithm {algorithm[:40]} is not known")
    shared = config.signing_key if settings.get("key") and config.signing_key is not None else config.auth_token
    body_hash = parse_qs(urlsplit(request.url).query).get("bodySHA256", [""])[0]
    if body_hash and not _same(body_hash.lower(), hashlib.sha256(request.body).hexdigest()):
        raise Refused("the body is not the one that was signed")
    values: dict[str, set[str]] = defaultdict(set)
    for name, value in () if body_hash else request.form:
        values[name].add(value)
    parameters = "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    key = _secret(shared, "auth_token").encode()
    expected = [
        base64.b64encode(hmac.new(key, (url + parameters).encode(), _TWILIO_HASHES[algorithm]).digest()).decode()
        for url in _with_and_without_port(request.url)
    ]
    _one_of(given, expected)


_TWILIO_SETTINGS = "x-twilio-webhooks-signature-settings"


def telnyx(config: Carrier, request: SignedRequest) -> None:
    """Ed25519 over ``timestamp|body`` (developers.telnyx.com, webhook fundamentals)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    stamp = request.headers.get("telnyx-timestamp", "")
    _recent(stamp, request)
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(config.public_key or "", validate=True))
        signature = base64.b64decode(request.headers.get("telnyx-signature-ed25519", ""), validate=True)
        key.verify(signature, stamp.encode() + b"|" + request.body)
    except (InvalidSignature, ValueError, binascii.Error):
        raise Refused("the signature is not right") from None


def bandwidth(config: Carrier, request: SignedRequest) -> None:
    """HTTP basic authentication, as set for the application's callbacks (dev.bandwidth.com, callbacks)."""
    expected = f"{config.username or ''}:{_secret(config.password, 'password')}".encode()
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        credentials = base64.b64decode(given.strip(), validate=True)
    except (ValueError, binascii.Error):
        credentials = b""
    if scheme.casefold() != "basic" or not hmac.compare_digest(credentials, expected):
        raise Refused("user name or password is not right")


def vonage(config: Carrier, request: SignedRequest) -> None:
    """A JWT (HS256) whose ``payload_hash`` is the body's; Vonage's own library does not look at the hash."""
    import jwt

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "bearer":
        raise Refused("there is no token")
    try:
        claims = jwt.decode(
            token.strip(),
            _secret(config.signing_key, "signing_key"),
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
        )
    except jwt.PyJWTError as error:
        raise Refused(f"the token is not right ({type(error).__name__})") from None
    _recent(str(claims.get("iat", "")), request)
    given = str(claims.get("payload_hash", ""))
    if not _same(given.lower(), hashlib.sha256(request.body).hexdigest()):
        raise Refused("the body is not the one that was signed")


def plivo(config: Carrier, request: SignedRequest) -> None:
    """Signature V3: HMAC-SHA256 over URL, sorted parameters and nonce (plivo.com/docs, signature validation)."""
    nonce = request.headers.get("x-plivo-signature-v3-nonce", "")
    given = request.headers.get("x-plivo-signature-v3", "").split(",")
    signed = f"{_plivo_url(request)}.{nonce}".encode()
    digest = hmac.new(_secret(config.auth_token, "auth_token").encode(), signed, hashlib.sha256).digest()
    expected = base64.b64encode(digest).decode()
    if not nonce or not any(_same(one.strip(), expected) for one in given):
        raise Refused("the signature is not right")


def sinch(config: Carrier, request: SignedRequest) -> None:
    """HMAC-SHA256 over ``body.nonce.timestamp`` (developers.sinch.com, SMS webhooks)."""
    nonce = request.headers.get("x-sinch-webhook-signature-nonce", "")
    stamp = request.headers.get("x-sinch-webhook-signature-timestamp", "")
    _recent(stamp, request)
    signed = request.body + f".{nonce}.{stamp}".encode()
    digest = hmac.new(_secret(config.signing_key, "signing_key").encode(), signed, hashlib.sha256).digest()
    if not nonce:
        raise Refused("there is no nonce")
    _one_of(request.headers.get("x-sinch-webhook-signature", ""), [base64.b64encode(digest).decode()])


def _plivo_url(request: SignedRequest) -> str:
    parts = urlsplit(request.url)
    base = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    query = _plivo_sorted(_pairs(parse_qs(parts.query, keep_blank_values=True)), "=", "&")
    if not request.form:
        return f"{base}?{query}" if query else base
    form: dict[str, list[str]] = defaultdict(list)
    for name, value in request.form:
        form[name].append(value)
    # A dot parts query and parameters, and stands there without a query, too.
    return f"{base}?{query}." * bool(query) + f"{base}?" * (not query) + _plivo_sorted(_pairs(form), "", "")


def _plivo_sorted(pairs: Iterable[tuple[str, str]], between: str, after: str) -> str:
    return after.join(f"{name}{between}{value}" for name, value in pairs)


def _pairs(values: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name in sorted(values) for value in sorted(values[name])]


def _with_and_without_port(url: str) -> list[str]:
    parts = urlsplit(url)
    port = 443 if parts.scheme == "https" else 80
    host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    with_port = parts.netloc if parts.port else f"{parts.netloc}:{port}"
    return [parts._replace(netloc=netloc).geturl() for netloc in (host, with_port)]


def _recent(stamp: str, request: SignedRequest) -> None:
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise Refused("there is no time that it was signed at")
    age = abs(request.now.timestamp() - int(stamp))
    if age > TOLERANCE.total_seconds():
        raise Refused(f"it was signed {age:.0f} s ago, or the clock of this machine is wrong")


def _secret(value: Any, name: str) -> str:
    secret = value.get_secret_value() if value is not None else ""
    if not secret:
        raise Refused(f"{name} is not configured")
    return str(secret)


def _one_of(given: str, expected: Iterable[str]) -> None:
    if not any(_same(given, one) for one in expected):
        raise Refused("the signature is not right")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
