"""The key of encrypted hashes: made when encryption is switched on, and kept in the store, encrypted itself.

Its row also says that the store is encrypted. So a process without the right key finds out before it works.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TypeAlias

from sqlalchemy import Connection, Engine, Row, inspect, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.core.clock import utcnow
from worker.core.content_cipher import ContentCipher, ContentUnreadable, HashKey, sealed_with
from worker.core.version import installed_version
from worker.store.sealed import cipher_of
from worker.store.tables import heartbeat, store_key

CLEAR = "clear"
"""``rewritten_to`` of a store in which everything is in clear again."""
_NAME = "hashes"
_ALIVE = timedelta(seconds=90)
_this = store_key.c.name == _NAME
_lock = threading.Lock()
_Row: TypeAlias = Row[tuple[str, str, str | None, datetime | None]]


class OlderProcess(ContentUnreadable):
    """Another version of vtsync runs beside this one, and could not read what this one encrypts."""


def unlock(engine: Engine) -> None:
    """Give the cipher of a store the key of its hashes. Make that key if there is none and the cipher encrypts.

    Call it before a transaction begins. Raises ContentUnreadable.
    """
    cipher = cipher_of(engine.dialect)
    if cipher is None or cipher.is_open:
        return
    with _lock:
        with engine.connect() as connection, connection.begin():
            if not inspect(connection).has_table(store_key.name):
                return
            row = _row(connection)
        if _must_write(row, cipher):
            with engine.connect().execution_options(vtsync_writing=True) as connection, connection.begin():
                row = _prepare(connection, cipher)
        if row is not None and not _is_unneeded(row, cipher):
            cipher.hash_key = HashKey(cipher.unwrap_hash_key(row.sealed))
        cipher.is_open = True


def lock_out(connection: Connection) -> str | None:
    """Return the id of the key that a store needs and this process does not have; None if it can read everything."""
    if cipher_of(connection.dialect) is not None or not inspect(connection).has_table(store_key.name):
        return None
    row = _row(connection)
    return None if row is None or row.rewritten_to == CLEAR else sealed_with(row.sealed)


def rewritten(connection: Connection) -> tuple[str | None, datetime | None]:
    """Return how all rows are stored (the id of a key, or ``CLEAR``; None: in several ways), and since when."""
    row = _row(connection)
    return (None, None) if row is None else (row.rewritten_to, row.rewritten_at)


def note_rewritten(connection: Connection, cipher: ContentCipher, now: datetime) -> None:
    """Note that all rows are stored as the cipher stores them. From now on its first key alone is enough."""
    row = _row(connection)
    if row is None:
        return
    values: dict[str, object] = {"rewritten_to": _form(cipher), "rewritten_at": now}
    if cipher.seals and sealed_with(row.sealed) != cipher.key_id:
        values["sealed"] = cipher.wrap_hash_key(cipher.unwrap_hash_key(row.sealed))
    connection.execute(update(store_key).where(_this).values(values))


def _row(connection: Connection) -> _Row | None:
    return connection.execute(select(store_key).where(_this)).first()


def _form(cipher: ContentCipher) -> str:
    return cipher.key_id if cipher.seals else CLEAR


def _is_unneeded(row: _Row, cipher: ContentCipher) -> bool:
    """Return True if nothing is encrypted with this key any more, and it cannot be read either."""
    return row.rewritten_to == CLEAR and sealed_with(row.sealed) not in cipher.key_ids


def _must_write(row: _Row | None, cipher: ContentCipher) -> bool:
    if row is None or _is_unneeded(row, cipher):
        return cipher.seals
    return row.rewritten_to not in (None, _form(cipher))


def _prepare(connection: Connection, cipher: ContentCipher) -> _Row | None:
    """Store a new key, unless another process has just done so, and note that rows are stored in several ways."""
    row = _row(connection)
    if row is None or _is_unneeded(row, cipher):
        _refuse_beside_others(connection)
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        made = {"sealed": cipher.new_hash_key(), "rewritten_to": None, "rewritten_at": None}
        statement = dialect.insert(store_key).values(name=_NAME, **made)
        unneeded = store_key.c.rewritten_to == CLEAR
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=made, where=unneeded))
    else:
        connection.execute(update(store_key).where(_this).values(rewritten_to=None))
    return _row(connection)


def _refuse_beside_others(connection: Connection) -> None:
    h, own = heartbeat.c, installed_version()
    alive = select(h.id, h.version).where(h.role != "tick", h.seen_at > utcnow() - _ALIVE, h.version != own)
    row = connection.execute(alive.order_by(h.id).limit(1)).first()
    if row is not None:
        raise OlderProcess(
            f"encryption cannot be switched on while {row.id} runs vtsync {row.version}, and this is vtsync {own}: it"
            " could not read what is encrypted; upgrade every process, then set store.encryption_key"
        )
