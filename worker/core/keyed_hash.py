"""Keyed hashes of phone numbers and record ids.

A number has so few digits that a plain hash of it is reversed by trying all numbers. Without the key, this one is not.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field

_LABEL = b"vtsync forgotten numbers 1"
_KEY_ID = b"the id of this key"


@dataclass(frozen=True, slots=True)
class KeyedHash:
    """Hashes with several keys: the first one for new hashes, all of them for looking up.

    The keys are derived from those that encrypt, so that nothing that is known about one use helps with the other.
    """

    keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, keys: Sequence[str]) -> KeyedHash:
        """Derive the keys from encryption keys in base64, as ``config.types.encryption_keys`` returns them."""
        return cls(tuple(_mac(urlsafe_b64decode(key), _LABEL) for key in keys))

    @property
    def key_ids(self) -> list[str]:
        """What names each key, without telling anything about it. The first one makes new hashes."""
        return [_mac(key, _KEY_ID).hex()[:16] for key in self.keys]

    def digest(self, text: str) -> str:
        """Return the hash of ``text`` with the first key."""
        return self.digests(text)[0]

    def digests(self, text: str) -> list[str]:
        """Return the hash of ``text`` with each key."""
        return [_mac(key, text.encode()).hex() for key in self.keys]


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()
