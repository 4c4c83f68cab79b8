"""Our signature checks agree with the carriers' own libraries: on what is right, and on whatever was changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from config.integrations import Carrier
from worker.carriers.provider import SignatureInvalid, SignedRequest
from worker.carriers.registry import CARRIERS

SECRET = "a secret key"
WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=12)
NAMES = st.text("abcDEF_1", min_size=1, max_size=6)
FORMS = st.dictionaries(NAMES, WORDS, max_size=5)
ASCII_FORMS = st.dictionaries(
    NAMES, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12), max_size=5
)
"""Plivo's library cannot read other characters in a URL."""
URLS = st.builds(
    lambda scheme, port, path, query: (
        f"{scheme}://texts.example.com{port}/carriers/{path}" + (f"?{query}" if query else "")
    ),
    st.sampled_from(["https", "http"]),
    st.sampled_from(["", ":443", ":8080"]),
    st.text("abc", min_size=1, max_size=5),
    st.dictionaries(NAMES, st.text("xyz", min_size=1, max_size=3), max_size=2).map(urlencode),
)
NOW = datetime.now(UTC)
quick = settings(max_examples=30)


def config(kind: str, **fields: Any) -> Carrier:
    return Carrier(carrier=kind, account="main", **fields)


def request(
    url: str = "https://texts.example.com/carriers/x/y",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    form: dict[str, str] | None = None,
    now: datetime = NOW,
    method: str = "POST",
) -> SignedRequest:
    return SignedRequest(method, url, headers or {}, body, tuple((form or {}).items()), now)


def accepts(carrier: Carrier, asked: SignedRequest) -> bool:
    try:
        CARRIERS[carrier.carrier].verify(carrier, asked)
    except SignatureInvalid:
        return False
    return True


# --- Twilio


@quick
@given(URLS, FORMS, st.booleans(), st.sampled_from(["", "HMAC_SHA1", "HMAC_SHA256"]))
def test_twilio(url: str, form: dict[str, str], tampered: bool, algorithm: str) -> None:
    from twilio.request_validator import RequestValidator

    oracle = RequestValidator(SECRET)
    signature = oracle.compute_signature(url, form, algorithm or None)
    sent = form | ({"More": "1"} if tampered else {})
    headers = {"x-twilio-signature": signature}
    if algorithm:
        headers["x-twilio-webhooks-signature-settings"] = f"key=k,algorithm={algorithm}"
    ours = accepts(config("twilio", auth_token=SECRET), request(url, headers, form=sent))
    assert ours is not tampered
    if not algorithm:
        assert ours == oracle.validate(url, sent, signature)


@quick
@given(WORDS, st.booleans())
def test_twilio_json_bodies(words: str, tampered: bool) -> None:
    from twilio.request_validator import RequestValidator

    body = json.dumps({"words": words}).encode()
    url = f"https://texts.example.com/x?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = RequestValidator(SECRET).compute_signature(url, {})
    sent = body + b" " if tampered else body
    ours = accepts(config("twilio", auth_token=SECRET), request(url, {"x-twilio-signature": signature}, sent))
    assert ours is not tampered
    assert ours == RequestValidator(SECRET).validate(url, sent.decode(), signature)


def test_twilio_shared_keys() -> None:
    from twilio.request_validator import RequestValidator

    url = "https://texts.example.com/x"
    headers = {
        "x-twilio-signature": RequestValidator("shared").compute_signature(url, {"a": "b"}, "HMAC_SHA256"),
        "x-twilio-webhooks-signature-settings": "key=webhooks_sharedkey_1, algorithm=HMAC_SHA256",
    }
    shared = config("twilio", auth_token=SECRET, signing_key="shared")
    assert accepts(shared, request(url, headers, form={"a": "b"}))
    headers["x-twilio-webhooks-signature-settings"] = "key=1,algorithm=HMAC_MD5"
    assert not accepts(shared, request(url, headers, form={"a": "b"}))


# --- What a signature over fields does not cover

URL = "https://texts.example.com/carriers/x/y"
JSON = b'{"MessageSid": "SM1", "MessageStatus": "delivered"}'
FORM = {"MessageSid": "SM1"}
HASHED = f"{URL}?bodySHA256={hashlib.sha256(JSON).hexdigest()}"

# what, carrier, url, body, form, accepted. The signature is right for the URL and the form.
COVERED: list[tuple[str, str, str, bytes, dict[str, str], bool]] = [
    ("a form", "twilio", URL, b"MessageSid=SM1", FORM, True),
    ("no body", "twilio", URL, b"", {}, True),
    ("JSON, and no hash in the URL", "twilio", URL, JSON, {}, False),
    ("JSON, and an empty hash", "twilio", f"{URL}?bodySHA256=", JSON, {}, False),
    ("JSON with its hash", "twilio", HASHED, JSON, {}, True),
    ("other JSON with that hash", "twilio", HASHED, JSON + b" ", {}, False),
    ("bytes that are nothing", "twilio", URL, b"\xff", {}, False),
    ("a form", "plivo", URL, b"MessageSid=SM1", FORM, True),
    ("no body", "plivo", URL, b"", {}, True),
    ("JSON", "plivo", URL, JSON, {}, False),
    ("JSON, and a hash that only Twilio knows", "plivo", HASHED, JSON, {}, False),
]


@pytest.mark.parametrize(
    ("carrier", "url", "body", "form", "accepted"),
    [row[1:] for row in COVERED],
    ids=[f"{row[1]}: {row[0]}" for row in COVERED],
)
def test_a_body_that_is_not_signed_is_refused(
    carrier: str, url: str, body: bytes, form: dict[str, str], accepted: bool
) -> None:
    from plivo.utils.signature_v3 import construct_get_url, construct_post_url, get_signature_v3
    from twilio.request_validator import RequestValidator

    if carrier == "twilio":
        headers = {"x-twilio-signature": RequestValidator(SECRET).compute_signature(url, form)}
    else:
        base = (construct_post_url(url, dict(form)) if form else construct_get_url(url, {})).decode()
        signature = get_signature_v3(SECRET.encode(), base, b"12345").decode()
        headers = {"x-plivo-signature-v3": signature, "x-plivo-signature-v3-nonce": "12345"}
    assert accepts(config(carrier, auth_token=SECRET), request(url, headers, body, form)) is accepted


# --- Telnyx

PRIVATE = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def telnyx_headers(body: bytes, stamp: int) -> dict[str, str]:
    signature = PRIVATE.sign(f"{stamp}|".encode() + body)
    return {"telnyx-timestamp": str(stamp), "telnyx-signature-ed25519": base64.b64encode(signature).decode()}


@quick
@given(WORDS, st.booleans(), st.sampled_from([0, -200, 200, -400, 400]))
def test_telnyx(words: str, tampered: bool, age: int) -> None:
    import time

    from telnyx.lib.webhooks_ed25519 import verify_webhook_signature

    body = json.dumps({"data": {"payload": {"text": words}}}).encode()
    headers = telnyx_headers(body, int(time.time()) - age)
    sent = body + b" " if tampered else body
    ours = accepts(
        config("telnyx", public_key=PUBLIC),
        request(headers=headers, body=sent, now=datetime.now(UTC)),
    )
    try:
        verify_webhook_signature(sent.decode(), headers, PUBLIC)
        theirs = True
    except Exception:
        theirs = False
    assert ours == theirs == (not tampered and abs(age) < 300)


@pytest.mark.parametrize("key", ["", "not base64", base64.b64encode(b"short").decode()])
def test_telnyx_with_a_key_that_is_none(key: str) -> None:
    headers = telnyx_headers(b"{}", int(NOW.timestamp()))
    assert not accepts(config("telnyx", public_key=key), request(headers=headers, body=b"{}"))


# --- Bandwidth: no library has a check; it is HTTP's own


@pytest.mark.parametrize(
    ("given_", "right"),
    [
        ("Basic " + base64.b64encode(b"user:pass:word").decode(), True),
        ("basic " + base64.b64encode(b"user:pass:word").decode(), True),
        ("Basic " + base64.b64encode(b"user:password").decode(), False),
        ("Basic " + base64.b64encode(b"user").decode(), False),
        ("Basic %%%", False),
        ("Bearer x", False),
        ("", False),
    ],
)
def test_bandwidth(given_: str, right: bool) -> None:
    carrier = config("bandwidth", username="user", password="pass:word")
    assert accepts(carrier, request(headers={"authorization": given_})) is right


# --- Vonage


@quick
@given(WORDS, st.sampled_from(["", "body", "key", "hash", "old"]))
def test_vonage(words: str, wrong: str) -> None:
    from vonage_jwt.verify_jwt import verify_signature

    secret = "a signature secret of enough length"
    body = json.dumps({"text": words}).encode()
    issued = NOW - timedelta(seconds=1000 if wrong == "old" else 5)
    claims: dict[str, Any] = {"iat": int(issued.timestamp()), "payload_hash": hashlib.sha256(body).hexdigest()}
    if wrong == "hash":
        del claims["payload_hash"]
    token = jwt.encode(claims, secret + ("x" if wrong == "key" else ""), "HS256")
    sent = body + b" " if wrong == "body" else body
    asked = request(headers={"authorization": f"Bearer {token}"}, body=sent)
    ours = accepts(config("vonage", signing_key=secret), asked)
    assert ours is (wrong == "")
    assert verify_signature(token, secret) is (wrong != "key"), "their check does not look at the body"


def test_vonage_unsigned_tokens() -> None:
    token = jwt.encode({"iat": int(NOW.timestamp()), "payload_hash": hashlib.sha256(b"").hexdigest()}, None, "none")
    carrier = config("vonage", signing_key="a signature secret of enough length")
    assert not accepts(carrier, request(headers={"authorization": f"Bearer {token}"}))


# --- Plivo


@quick
@given(URLS, FORMS, st.booleans())
def test_plivo(url: str, form: dict[str, str], tampered: bool) -> None:
    from plivo.utils.signature_v3 import construct_post_url, get_signature_v3, validate_v3_signature

    nonce = "12345"
    base = construct_post_url(url, dict(form)).decode()
    signature = get_signature_v3(SECRET.encode(), base, nonce.encode()).decode()
    sent = form | ({"More": "1"} if tampered else {})
    headers = {"x-plivo-signature-v3": f"wrong,{signature}", "x-plivo-signature-v3-nonce": nonce}
    ours = accepts(config("plivo", auth_token=SECRET), request(url, headers, form=sent))
    theirs = validate_v3_signature("POST", url, nonce, SECRET, headers["x-plivo-signature-v3"], dict(sent))
    assert ours == theirs
    assert ours is not tampered


@quick
@given(URLS, ASCII_FORMS, st.sampled_from(["x-plivo-signature-v3", "x-plivo-signature-ma-v3"]), st.booleans())
def test_plivo_with_get_and_with_the_token_of_either_account(
    url: str, fields: dict[str, str], header: str, tampered: bool
) -> None:
    from plivo.utils.signature_v3 import construct_get_url, get_signature_v3, validate_v3_signature

    called = f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}" if fields else url
    signature = get_signature_v3(SECRET.encode(), construct_get_url(called, {}).decode(), b"12345").decode()
    sent = called + ("&" if "?" in called else "?") + "More=1" if tampered else called
    headers = {header: f"wrong,{signature}", "x-plivo-signature-v3-nonce": "12345"}
    carrier = config("plivo", auth_token=SECRET)
    ours = accepts(carrier, request(sent, headers, method="GET"))
    assert ours is not tampered
    assert ours == validate_v3_signature("GET", sent, "12345", SECRET, signature, {})
    assert not accepts(carrier, request(sent, headers, b"More=1", method="GET")), "no signature covers this body"


@quick
@given(URLS, FORMS, st.booleans())
def test_twilio_with_get(url: str, fields: dict[str, str], tampered: bool) -> None:
    from twilio.request_validator import RequestValidator

    called = f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}" if fields else url
    headers = {"x-twilio-signature": RequestValidator(SECRET).compute_signature(called, {})}
    sent = called + ("&" if "?" in called else "?") + "More=1" if tampered else called
    carrier = config("twilio", auth_token=SECRET)
    ours = accepts(carrier, request(sent, headers, method="GET"))
    assert ours is not tampered
    assert ours == RequestValidator(SECRET).validate(sent, {}, headers["x-twilio-signature"])
    assert not accepts(carrier, request(sent, headers, b"More=1", method="GET")), "no signature covers this body"


# --- Sinch


@quick
@given(WORDS, st.booleans(), st.sampled_from([0, 1000]))
def test_sinch(words: str, tampered: bool, age: int) -> None:
    from sinch.domains.authentication.sinch_events.v1.authentication_validation import (
        validate_sinch_event_signature_with_nonce,
    )

    body = json.dumps({"text": words})
    stamp = str(int(NOW.timestamp()) - age)
    signed = f"{body}.nonce-1.{stamp}".encode()
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    headers = {
        "x-sinch-webhook-signature": base64.b64encode(digest).decode(),
        "x-sinch-webhook-signature-nonce": "nonce-1",
        "x-sinch-webhook-signature-timestamp": stamp,
        "x-sinch-webhook-signature-algorithm": "HmacSHA256",
    }
    sent = body + " " if tampered else body
    ours = accepts(config("sinch", signing_key=SECRET), request(headers=headers, body=sent.encode()))
    theirs = validate_sinch_event_signature_with_nonce(SECRET, headers, sent)
    assert ours == (theirs and not age)
    assert theirs is not tampered


@pytest.mark.parametrize("kind", sorted(CARRIERS))
def test_without_credential_or_signature_nothing_is_accepted(kind: str) -> None:
    assert not accepts(config(kind), request())
    whole = config(
        kind, auth_token=SECRET, signing_key=SECRET, public_key=PUBLIC, username="user", password=SECRET, account_id="a"
    )
    assert not accepts(whole, request(body=b"{}", form={"a": "b"}))
    assert SECRET not in repr(whole)
