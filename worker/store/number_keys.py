"""The keys with which a store's numbers are hashed. They belong to the engine, so that every transaction has them."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from config.models import Settings
from config.types import encryption_keys
from worker.core.keyed_hash import KeyedHash

_OPTION = "vtsync_number_keys"


def use_number_keys(engine: Engine, settings: Settings) -> None:
    """Let the transactions of ``engine`` hash numbers with the keys of ``store.grant_key``."""
    keys = settings.store.grant_key
    hashing = None if keys is None else KeyedHash.of(encryption_keys(keys.get_secret_value()))
    engine.update_execution_options(**{_OPTION: hashing})


def number_hash(connection: Connection) -> KeyedHash | None:
    """Return what hashes the numbers of this store; None without ``store.grant_key``."""
    found = connection.get_execution_options().get(_OPTION)
    return found if isinstance(found, KeyedHash) else None
