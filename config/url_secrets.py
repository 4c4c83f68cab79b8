"""Rules for secrets that are part of a URL: those of the Relay and of CRMs that report changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from config.errors import ConfigProblem
from config.redact import HIDDEN

MIN_SECRET_LENGTH = 24
MAKE_ANOTHER = "make another one:  openssl rand -hex 24"

_PART_OF_A_URL = re.compile(r"[A-Za-z0-9._~-]+")


def url_secret_problems(key: str, secret: str) -> Iterator[ConfigProblem]:
    """Yield a problem if the secret ``key`` cannot be part of a URL."""
    if not _PART_OF_A_URL.fullmatch(secret):
        yield ConfigProblem(key, HIDDEN, "has characters that cannot be part of a URL", MAKE_ANOTHER)


def is_short(secret: str) -> bool:
    """Return True if a secret in a URL could be guessed."""
    return len(secret) < MIN_SECRET_LENGTH
