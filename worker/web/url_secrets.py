"""Secrets that are part of a URL."""

from __future__ import annotations

import hashlib


def secret_digest(secret: str) -> bytes:
    """Return a digest to compare in constant time. All digests have one length, which hides that of the secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
