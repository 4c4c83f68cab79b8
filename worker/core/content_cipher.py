"""Encrypts what people wrote and what a CRM says about them, for the store (``store.encryption_key``). Pure.

* *Content* is encrypted with AES-256-GCM under a random nonce. The column that it belongs to is authenticated with it,
  so that no value can stand in for one of another column. The stored text begins with the key's id.
* *Hashes* of content would reveal short texts to whoever guesses them. A hash of 16 bytes is encrypted as one block of
  AES, so equal hashes stay equal, and the database can compare them. Their key, the *hash key*, is random and stays the
  same when the keys are rotated; the store keeps it, encrypted with a key of the configuration.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from config.types import encryption_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from config.models import Settings

PREFIX = "vts1."
"""How a stored text begins that is encrypted: then the id of its key, a dot, and base64."""
CLEAR_MARK = "="
"""Follows the prefix where a text that is not encrypted begins with the prefix by itself."""
EMPTY = frozenset({"", "[]", "{}"})
"""Values without content. They are stored as they are, so that the database can look for them."""
HASH_BYTES = 16
_NONCE_BYTES, _TAG_BYTES = 12, 16
_HASH_MARK, _HASH_TEXT_MARK = b"\x01", "s"
_SEALED = re.compile(r"vts1\.([0-9a-f]{8})\.[A-Za-z0-9+/]{38,}={0,2}")
_HASH_KEY_PLACE = "hash key"


class ContentUnreadable(Exception):
    """Stored content cannot be decrypted: its key is missing, or it was changed. Never holds a value."""


class KeyMissing(ContentUnreadable):
    """The key with ``key_id`` is not in the configuration."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(
            f"the store is encrypted with the key {key_id}, which store.encryption_key does not hold; put that key back"
            " (docs/operations.md, Encryption of content)"
        )


class _Key:
    def __init__(self, key: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        secret = base64.urlsafe_b64decode(key)
        self.id = _derived(secret, "key id", 4).hex()
        self.cipher: AESGCM = AESGCM(_derived(secret, "content", 32))


def _derived(secret: bytes, purpose: str, length: int) -> bytes:
    """Return a key for one purpose, so that no key serves two."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    return HKDFExpand(SHA256(), length, f"vtsync {purpose}".encode()).derive(secret)


class ContentCipher:
    """Encrypts content with the first of several keys, and decrypts it with each of them. Thread-safe.

    Not ``seals``: everything is stored in clear, and what was encrypted earlier is still read.
    """

    def __init__(self, keys: str, *, seals: bool = True) -> None:
        self._first, *others = [_Key(key) for key in encryption_keys(keys)]
        self._by_id = {key.id: key.cipher for key in (self._first, *others)}
        self.seals = seals
        self.is_open = False
        """Whether the store was asked for its hash key."""
        self.hash_key: HashKey | None = None
        """The store's own; None: it has none."""

    @property
    def key_id(self) -> str:
        """Return the id of the key that encrypts. It reveals nothing of the key."""
        return self._first.id

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Return the ids of all keys."""
        return tuple(self._by_id)

    def seal(self, place: str, texts: Sequence[str | None]) -> list[str | None]:
        """Encrypt the texts of one column; ``place`` is its name."""
        encrypt, about = self._first.cipher.encrypt, place.encode()
        head, nonces = f"{PREFIX}{self._first.id}.", os.urandom(_NONCE_BYTES * len(texts))
        sealed: list[str | None] = []
        for at, text in enumerate(texts):
            if text is None or text in EMPTY:
                sealed.append(text)
                continue
            nonce = nonces[at * _NONCE_BYTES : (at + 1) * _NONCE_BYTES]
            box = nonce + encrypt(nonce, text.encode(), about)
            sealed.append(head + binascii.b2a_base64(box, newline=False).decode())
        return sealed

    def open(self, place: str, key_id: str, sealed: str) -> str:
        """Decrypt a stored text. Raises KeyMissing, ContentUnreadable."""
        from cryptography.exceptions import InvalidTag

        cipher = self._by_id.get(key_id)
        if cipher is None:
            raise KeyMissing(key_id)
        box = binascii.a2b_base64(sealed[len(PREFIX) + len(key_id) + 1 :])
        try:
            return cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise ContentUnreadable(
                f"a value of {place} was changed, or moved from another column: it does not decrypt with its key"
                f" {key_id}; restore the row from a backup"
            ) from None

    def new_hash_key(self) -> str:
        """Return a new hash key, encrypted with the first key."""
        return self.wrap_hash_key(os.urandom(32))

    def wrap_hash_key(self, secret: bytes) -> str:
        """Encrypt a hash key with the first key."""
        (wrapped,) = self.seal(_HASH_KEY_PLACE, [base64.b64encode(secret).decode()])
        return str(wrapped)

    def unwrap_hash_key(self, wrapped: str) -> bytes:
        """Decrypt a hash key. Raises KeyMissing, ContentUnreadable."""
        key_id = sealed_with(wrapped)
        if key_id is None:
            raise ContentUnreadable("the store's hash key is damaged; restore the table store_key from a backup")
        return base64.b64decode(self.open(_HASH_KEY_PLACE, key_id, wrapped))


class HashKey:
    """Encrypts hashes so that equal ones stay equal. A value of another length is no hash, and stays as it is."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._local = threading.local()

    def seal(self, hashes: Sequence[bytes | None]) -> list[bytes | None]:
        """Encrypt the hashes of a column."""
        sealable = [one for one in hashes if one is not None and len(one) == HASH_BYTES]
        blocks = self._context("sealing").update(b"".join(sealable))
        made = iter(range(0, len(blocks), HASH_BYTES))
        return [
            _HASH_MARK + blocks[(at := next(made)) : at + HASH_BYTES]
            if one is not None and len(one) == HASH_BYTES
            else one
            for one in hashes
        ]

    def open(self, stored: Sequence[bytes]) -> list[bytes]:
        """Decrypt the stored hashes of a column, of which some may not be encrypted."""
        blocks = self._context("opening").update(b"".join([one[1:] for one in stored if is_sealed_hash(one)]))
        made = iter(range(0, len(blocks), HASH_BYTES))
        return [blocks[(at := next(made)) : at + HASH_BYTES] if is_sealed_hash(one) else one for one in stored]

    def _context(self, name: str) -> CipherContext:
        # Each thread has its own: making one costs ten times as much as a hash.
        found: CipherContext | None = getattr(self._local, name, None)
        if found is None:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

            # Hashes are random and 16 bytes long, so a single block without a mode is a keyed permutation of them.
            cipher = Cipher(algorithms.AES(self._secret), modes.ECB())  # noqa: S305
            found = cipher.encryptor() if name == "sealing" else cipher.decryptor()
            setattr(self._local, name, found)
        return found


def is_sealed_hash(stored: bytes) -> bool:
    """Return True if ``HashKey.seal`` made this value."""
    return len(stored) == HASH_BYTES + 1 and stored[:1] == _HASH_MARK


def content_cipher(settings: Settings) -> ContentCipher | None:
    """Return the cipher of the configuration; None if it has no key."""
    store = settings.store
    return (
        None
        if store.encryption_key is None
        else ContentCipher(store.encryption_key.get_secret_value(), seals=store.encrypt)
    )


def hash_as_text(stored: bytes) -> str:
    """Return the hexadecimal form of a hash, encrypted or not, for a column of text."""
    return _HASH_TEXT_MARK + stored[1:].hex() if is_sealed_hash(stored) else stored.hex()


def hash_from_text(text: str) -> bytes | None:
    """Return the bytes of a hash that ``hash_as_text`` made; None if the text is no hash."""
    is_sealed = len(text) == 2 * HASH_BYTES + 1 and text.startswith(_HASH_TEXT_MARK)
    if not is_sealed and len(text) != 2 * HASH_BYTES:
        return None
    try:
        return _HASH_MARK + bytes.fromhex(text[1:]) if is_sealed else bytes.fromhex(text)
    except ValueError:
        return None


def sealed_with(stored: str) -> str | None:
    """Return the id of the key with which a stored text is encrypted; None if it is in clear."""
    found = _SEALED.fullmatch(stored)
    return found[1] if found else None


def as_clear(text: str) -> str:
    """Return how a text is stored in clear. One that begins like an encrypted text gets a mark."""
    return f"{PREFIX}{CLEAR_MARK}{text}" if text.startswith(PREFIX) else text


def from_clear(stored: str) -> str:
    """Return the text of which ``stored`` is the clear form."""
    return stored.removeprefix(PREFIX + CLEAR_MARK)
