"""The versions of CRM records that the store knows: the one it holds, and those that ``record_change`` leads back to.

Changes are stored since the version that added ``record_change``, for ``retention.history``. A version in between that
could not be used (a record without a phone) left no change, so the versions before it are not known, either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, func, or_, select

from worker.messages.people import lost_its_phone, person_is_gone
from worker.store.db import reading
from worker.store.sql import any_of
from worker.store.tables import contact, contact_mapping, record_change

PORTION = 1000
NEWEST = 1000
"""Examples are chosen among this many of the newest records."""


@dataclass(frozen=True, slots=True)
class RecordVersion:
    """One version of a record. ``old``: the one before; None for the first, and for the oldest that is known."""

    properties: Mapping[str, Any]
    old: Mapping[str, Any] | None
    at: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class RecordWithHistory:
    """A stored record with its known versions, oldest first. ``phone``: "" if it is gone or has no usable number.

    The person's number, name and email are those of today: their history is not stored.
    """

    mapping_id: int
    connection: str
    external_id: str
    kind: str
    contact_id: int | None
    phone: str
    full_name: str
    email: str
    first_seen_at: datetime
    changed_at: datetime
    versions: tuple[RecordVersion, ...]

    @property
    def newest(self) -> RecordVersion:
        """The version that is stored now."""
        return self.versions[-1]

    def is_known_since(self, since: datetime) -> bool:
        """Return True if every version that was current after ``since`` is known."""
        oldest = self.versions[0]
        return oldest.revision == 1 or oldest.at <= since


def read_record(db: Connection, connection: str, external_id: str) -> RecordWithHistory | None:
    """Return a stored record; None if there is none with this id."""
    m = contact_mapping.c
    found = _read(db, m.connection == connection, m.external_id == external_id)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class RecordName:
    """A stored record, for a person who chooses one."""

    connection: str
    external_id: str
    full_name: str


def records_named(
    db: Connection, connections: Mapping[str, str], *, external_id: str | None = None, phone: str | None = None
) -> list[RecordName]:
    """Return the live records with this id or number. ``connections``: the kind of record that each is asked for."""
    m = contact_mapping.c
    found = select(m.connection, m.external_id, m.full_name, m.kind).where(
        m.connection.in_(list(connections)), m.deleted_at.is_(None)
    )
    if external_id is not None:
        found = found.where(m.external_id == external_id)
    if phone is not None:
        found = found.where(m.contact_id.in_(select(contact.c.id).where(contact.c.phone == phone)))
    rows = db.execute(found.order_by(m.id.desc()).limit(PORTION))
    return [RecordName(*row[:3]) for row in rows if connections[row.connection] == row.kind]


def newest_records(db: Connection, connection: str, kind: str, limit: int) -> list[RecordName]:
    """Return the records of a connection that were stored last, as examples."""
    m = contact_mapping.c
    live = (m.connection == connection, m.deleted_at.is_(None))
    newest = select(m.id, m.kind, m.connection, m.external_id, m.full_name).where(*live)
    some = newest.order_by(m.id.desc()).limit(NEWEST).subquery().c
    chosen = select(some.connection, some.external_id, some.full_name).where(some.kind == kind)
    return [RecordName(*row) for row in db.execute(chosen.order_by(some.id.desc()).limit(limit))]


def first_change_at(db: Connection, connection: str) -> datetime | None:
    """Return the time of the first stored change of a record of the connection; None: none is stored."""
    c = record_change.c
    found: datetime | None = db.scalar(select(c.at).where(c.connection == connection).order_by(c.at).limit(1))
    return found


def count_stored(db: Connection, connection: str, kind: str) -> int:
    """Count the records that ``stored_records`` yields."""
    m = contact_mapping.c
    live = (m.connection == connection, m.deleted_at.is_(None), m.kind == kind)
    return db.scalar(select(func.count()).where(*live)) or 0


def stored_records(engine: Engine, connection: str, kind: str) -> Iterator[Sequence[RecordWithHistory]]:
    """Yield the live records of a connection in portions, each from a transaction of its own."""
    m = contact_mapping.c
    last = 0
    while True:
        with reading(engine) as db:
            found = _read(db, m.connection == connection, m.deleted_at.is_(None), m.kind == kind, m.id > last)
        if not found:
            return
        last = found[-1].mapping_id
        yield found


def versions_of(
    properties: Mapping[str, Any],
    revision: int,
    changed_at: datetime,
    first_seen_at: datetime,
    changes: Collection[Any],
) -> tuple[RecordVersion, ...]:
    """Lead back from the version that is stored, change by change. Pure.

    ``changes``: rows of ``record_change``, in any order. The walk ends where a change is missing.
    """
    by_revision = {row.revision: row for row in changes}
    newest_first = []
    while (change := by_revision.get(revision)) is not None:
        old = _before(properties, orjson.loads(change.before))
        newest_first.append(RecordVersion(properties, old, change.at, revision))
        properties, revision, changed_at = old, revision - 1, change.at
    # Nothing says when the oldest known version came, unless it is the first, or was never changed by a known change.
    at = first_seen_at if revision == 1 else changed_at
    newest_first.append(RecordVersion(properties, None, at, revision))
    return tuple(reversed(newest_first))


def _before(new: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    added = set(change["new"])
    return {**{key: value for key, value in new.items() if key not in added}, **change["was"]}


def _read(db: Connection, *where: ColumnElement[bool]) -> list[RecordWithHistory]:
    m = contact_mapping.c
    gone = or_(lost_its_phone(), person_is_gone()).label("gone")
    columns = (m.id, m.connection, m.external_id, m.kind, m.contact_id, m.properties, m.revision, m.first_seen_at)
    rows = db.execute(
        select(*columns, m.changed_at, m.deleted_at, gone, contact.c.phone, contact.c.full_name, contact.c.email)
        .select_from(contact_mapping.outerjoin(contact, contact.c.id == m.contact_id))
        .where(*where)
        .order_by(m.id)
        .limit(PORTION)
    ).all()
    changes = _changes(db, rows)
    return [
        RecordWithHistory(
            mapping_id=row.id,
            connection=row.connection,
            external_id=row.external_id,
            kind=row.kind,
            contact_id=row.contact_id,
            phone="" if row.gone or row.deleted_at is not None else row.phone or "",
            full_name=row.full_name or "",
            email=row.email or "",
            first_seen_at=row.first_seen_at,
            changed_at=row.changed_at,
            versions=versions_of(
                orjson.loads(row.properties), row.revision, row.changed_at, row.first_seen_at, changes[row.external_id]
            ),
        )
        for row in rows
    ]


def _changes(db: Connection, rows: Sequence[Any]) -> Mapping[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    c = record_change.c
    changed = [row.external_id for row in rows if row.revision > 1]
    if changed:
        mine = (c.connection == rows[0].connection, any_of(db, c.external_id, changed))
        for change in db.execute(select(c.external_id, c.revision, c.at, c.before).where(*mine)):
            found[change.external_id].append(change)
    return found
