"""Proofs that a webhook comes from the CRM, for ``WakesOnEvents.wakes``. Each returns False for whatever is not one.

Comparisons take the same time for every wrong value.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from typing import Literal

from pydantic import SecretStr

from crm_adapters.clock import current_time
from crm_adapters.http.auth import plain
from crm_adapters.http.changes import moment_of

WINDOW = timedelta(minutes=5)


def is_signed(
    secret: SecretStr | str,
    message: bytes,
    signature: str,
    *,
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256",
    encoding: Literal["hex", "base64"] = "hex",
) -> bool:
    """Return True if ``signature`` is the HMAC of ``message``. A prefix such as ``sha256=`` is allowed.

    ``message`` is what the CRM signs: the body, or the body with a time before it. Check that time with ``is_recent``,
    or an old request can be sent again.
    """
    key = plain(secret)
    if not key:
        return False
    digest = hmac.new(key.encode(), message, algorithm).digest()
    wanted = digest.hex() if encoding == "hex" else b64encode(digest).decode()
    given = signature.strip().removeprefix(f"{algorithm}=")
    return same_text(given.lower() if encoding == "hex" else given, wanted)


def is_recent(moment: str, *, window: timedelta = WINDOW, now: datetime | None = None) -> bool:
    """Return True if a request's time (ISO 8601, or seconds or milliseconds since 1970) is at most ``window`` away."""
    at = moment_of(moment)
    return at is not None and abs((current_time() if now is None else now) - at) <= window


def has_basic_credential(authorization: str, user: str, password: SecretStr | str) -> bool:
    """Return True if the ``Authorization`` header has this user and password."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic" or not plain(password):
        return False
    try:
        given = b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return False
    return same_text(given, f"{user}:{plain(password)}")


def same_text(given: str, wanted: SecretStr | str) -> bool:
    """Return True if a header's value is the secret. An empty secret matches nothing."""
    secret = plain(wanted)
    return bool(secret) and hmac.compare_digest(given.encode(errors="replace"), secret.encode())
