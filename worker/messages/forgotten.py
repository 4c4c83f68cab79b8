"""Who was forgotten: numbers that were erased, as keyed hashes. Their people do not come back by themselves.

A forgotten number counts as opted out, and CRM records with it are rejected, until somebody says otherwise (`vtsync
remember`, `vtsync opt-in`) or the person sends START. ``worker.people`` erases; this module knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, or_, select, true, update

from worker.core.keyed_hash import KeyedHash
from worker.store.number_keys import number_hash
from worker.store.sql import any_of, insert
from worker.store.tables import forgotten

MAKE_A_KEY = (
    'set store.grant_key = { env = "VTSYNC_GRANT_KEY" } to a key that `openssl rand -base64 32` makes (docs/privacy.md)'
)
_f = forgotten.c
_RECORD = "record\0{}\0{}"


class NoNumberKey(Exception):
    """Numbers cannot be hashed, because the configuration has no key, or lacks one that was used before."""


@dataclass(frozen=True, slots=True)
class ForgottenNumber:
    """A number that was forgotten. ``opted_out``: it had opted out before."""

    at: datetime
    opted_out: bool


def keyed_hash(connection: Connection) -> KeyedHash:
    """Return what hashes numbers. Raises NoNumberKey."""
    found = number_hash(connection)
    if found is None:
        raise NoNumberKey(f"without a key, the hash of a phone number can be guessed: {MAKE_A_KEY}")
    return found


def is_anybody_forgotten(connection: Connection) -> bool:
    """Return True if any number was ever forgotten. Nothing else here needs to be asked if not."""
    return connection.scalar(select(exists().select_from(forgotten))) is True


def missing_key(connection: Connection) -> str:
    """Explain why it is not known who was forgotten, for a person; "" if it is known."""
    found = number_hash(connection)
    known = [] if found is None else found.key_ids
    if not connection.scalar(_with_other_keys(tuple(known))):
        return ""
    return (
        "numbers were forgotten with a key that store.grant_key does not have now, so it is not known whose they are;"
        " put that key back, behind a comma if there is a new one"
    )


@lru_cache(maxsize=16)
def _with_other_keys(known: tuple[str, ...]) -> Select[Any]:
    """Return the statement of ``missing_key``, which every decision about a text runs: building it takes longer."""
    return select(exists().where(_between(known), _f.lifted_at.is_(None)))


def _between(known: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition for a key that is none of these, as ranges, which an index finds at once."""
    bounds = ["", *sorted(known), None]
    return or_(
        *(
            and_(_f.key_id > below, true() if above is None else _f.key_id < above)
            for below, above in pairwise(bounds)
            if below is not None
        )
    )


def forgotten_numbers(connection: Connection, phones: Collection[str]) -> dict[str, ForgottenNumber]:
    """Return those of ``phones`` (E.164) that were forgotten, and that nobody has let back."""
    rows = _find(connection, {phone: phone for phone in phones}, _f.lifted_at.is_(None))
    return {phone: ForgottenNumber(row.at, row.opted_out) for phone, row in rows.items()}


def forgotten_records(connection: Connection, name: str, external_ids: Iterable[str]) -> dict[str, datetime]:
    """Return which of these records of the connection ``name`` belong to a forgotten person, and since when."""
    rows = _find(connection, _records(name, external_ids), _f.lifted_at.is_(None))
    return {external_id: row.at for external_id, row in rows.items()}


def remembered_records(connection: Connection, name: str, external_ids: Iterable[str]) -> set[str]:
    """Return which of these records belong to a person who was forgotten, and whom somebody has let back."""
    return set(_find(connection, _records(name, external_ids), _f.lifted_at.is_not(None)))


def mark_forgotten(
    connection: Connection,
    phone: str,
    records: Iterable[tuple[str, str]],
    *,
    opted_out: bool,
    why: str,
    actor: str,
    now: datetime,
) -> None:
    """Remember, as hashes, that ``phone`` and its CRM records are to be erased. Raises NoNumberKey."""
    hashing = keyed_hash(connection)
    subject = hashing.digest(phone)
    same = {"subject": subject, "key_id": hashing.key_ids[0], "at": now, "opted_out": opted_out}
    same |= {"why": why, "actor": actor[:80], "lifted_at": None}
    rows = [same | {"digest": subject, "kind": "number", "phone": phone}]
    rows += [
        same | {"digest": hashing.digest(_RECORD.format(*record)), "kind": "record", "phone": None}
        for record in sorted(records)
    ]
    again = insert(connection, forgotten)
    renewed = ("subject", "lifted_at", "phone", "at", "why", "actor")
    changed = {name: again.excluded[name] for name in renewed} | {"opted_out": _f.opted_out | again.excluded.opted_out}
    connection.execute(again.on_conflict_do_update(index_elements=["digest"], set_=changed), rows)
    mine = any_of(connection, _f.subject, hashing.digests(phone))
    connection.execute(update(forgotten).where(mine).values(lifted_at=None))


def note_erased(connection: Connection, phone: str) -> None:
    """Delete the number itself: everything about it is erased."""
    connection.execute(update(forgotten).where(_f.phone == phone).values(phone=None))


def unfinished_erasures(connection: Connection) -> list[str]:
    """Return the numbers whose erasure was interrupted."""
    return list(connection.scalars(select(_f.phone).where(_f.phone.is_not(None)).order_by(_f.at)))


def let_back(connection: Connection, phone: str, now: datetime) -> ForgottenNumber | None:
    """Let a forgotten number, and its records, come back. None: it was not forgotten."""
    before = forgotten_numbers(connection, [phone]).get(phone)
    hashing = number_hash(connection)
    if before is not None and hashing is not None:
        mine = any_of(connection, _f.subject, hashing.digests(phone))
        connection.execute(update(forgotten).where(mine).values(lifted_at=now, opted_out=False))
    return before


def _records(name: str, external_ids: Iterable[str]) -> dict[str, str]:
    return {external_id: _RECORD.format(name, external_id) for external_id in external_ids}


def _find(connection: Connection, texts: dict[str, str], *where: Any) -> dict[str, Row[Any]]:
    """Return the row of each of ``texts`` (what is hashed, by what the caller calls it) that has one."""
    hashing = number_hash(connection)
    if hashing is None or not texts:
        return {}
    names = {digest: name for name, text in texts.items() for digest in hashing.digests(text)}
    rows = connection.execute(select(forgotten).where(any_of(connection, _f.digest, list(names)), *where))
    return {names[row.digest]: row for row in rows}
