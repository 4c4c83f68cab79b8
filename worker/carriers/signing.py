"""Helpers of the carriers' signature checks. Tests compare each check with the carrier's own library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from worker.carriers.provider import SignatureInvalid, SignedRequest

MAX_AGE = timedelta(seconds=300)


def secret_of(value: Any, key: str) -> str:
    """Return the secret that the configuration has under ``key``. Raises SignatureInvalid if it is empty."""
    secret = value.get_secret_value() if value is not None else ""
    if not secret:
        raise SignatureInvalid(f"{key} is not configured")
    return str(secret)


def require_recent(timestamp: str, request: SignedRequest) -> None:
    """Raise SignatureInvalid unless the request was signed in the last five minutes (``timestamp``: seconds)."""
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise SignatureInvalid("the time of the signature is missing")
    age = abs(request.now.timestamp() - int(timestamp))
    if age > MAX_AGE.total_seconds():
        raise SignatureInvalid(f"it was signed {age:.0f} s ago, or the clock of this machine is wrong")


def require_body_hash(given: str, request: SignedRequest) -> None:
    """Raise SignatureInvalid unless ``given`` is the SHA-256 of the body, in hex."""
    if not is_same(given.lower(), hashlib.sha256(request.body).hexdigest()):
        raise SignatureInvalid("the body is not the one that was signed")


def require_covered_body(request: SignedRequest) -> None:
    """Raise SignatureInvalid if there is a body that is no form: the signature covers the fields of forms alone."""
    if request.body and not request.form:
        raise SignatureInvalid("the signature does not cover the body, because it is no form")


def require_one_of(given: Iterable[str], expected: Iterable[str]) -> None:
    """Raise SignatureInvalid unless one of the ``given`` signatures is one of the ``expected``."""
    right = list(expected)
    if not any(is_same(one, other) for one in given for other in right):
        raise SignatureInvalid("the signature is wrong")


def hmac_base64(key: str, signed: bytes, algorithm: str = "sha256") -> str:
    """Return the HMAC of ``signed`` in base64."""
    return base64.b64encode(hmac.new(key.encode(), signed, algorithm).digest()).decode()


def is_same(given: str, expected: str) -> bool:
    """Compare two signatures in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
