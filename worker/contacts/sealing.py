"""Encrypts the credentials that CRMs give us (``store.grant_key``).

Fernet: AES with an HMAC, so a changed value does not decrypt. The name of the connection is encrypted with the values
and compared, so that no row can stand in for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from config.types import encryption_keys
from crm_adapters.base import SourceInvalid

if TYPE_CHECKING:
    from config.models import Settings
    from crm_adapters.services import Values

MAKE_A_KEY = (
    'set store.grant_key = { env = "VTSYNC_GRANT_KEY" } to a key that `openssl rand -base64 32` makes (docs/connect.md)'
)


class GrantCipher:
    """Encrypts with the first of several keys and decrypts with each of them."""

    def __init__(self, keys: str) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        self._first, *others = [Fernet(key) for key in encryption_keys(keys)]
        self._all = MultiFernet([self._first, *others])

    @classmethod
    def of(cls, settings: Settings) -> GrantCipher:
        """Return the cipher of the configuration. Raises SourceInvalid if it has no key."""
        if settings.store.grant_key is None:
            raise SourceInvalid(f"the credential of this connection cannot be stored without a key: {MAKE_A_KEY}")
        return cls(settings.store.grant_key.get_secret_value())

    def encrypt(self, content: Mapping[str, Any]) -> bytes:
        """Encrypt JSON with the first key."""
        return self._first.encrypt(orjson.dumps(dict(content)))

    def decrypt(self, sealed: bytes, seconds: int | None = None) -> dict[str, Any] | None:
        """Decrypt JSON. Return None if no key fits, or if it was encrypted more than ``seconds`` ago."""
        from cryptography.fernet import InvalidToken

        try:
            content: dict[str, Any] = orjson.loads(self._all.decrypt(sealed, seconds))
        except InvalidToken:
            return None
        return content

    def seal(self, connection: str, values: Values) -> bytes:
        """Encrypt the values of a connection."""
        return self.encrypt({"connection": connection, "values": dict(values)})

    def unseal(self, connection: str, sealed: bytes) -> dict[str, Any]:
        """Decrypt the values of a connection. Raises SourceInvalid if no key fits, or if they are of another one."""
        content = self.decrypt(sealed)
        if content is None or content.get("connection") != connection or "values" not in content:
            raise SourceInvalid(
                f'the stored credential of connection "{connection}" does not decrypt with any key of store.grant_key;'
                f" put the key back with which it was encrypted, or run `vtsync connect {connection}` again"
            )
        values: dict[str, Any] = content["values"]
        return values

    def is_current(self, sealed: bytes) -> bool:
        """Return True if the first key encrypted it."""
        from cryptography.fernet import InvalidToken

        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return False
        return True
