"""The rows of a pull: reads what is stored about a page of records, and stores the decision. All SQL of the pull."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, case, delete, exists, func, or_, select, update

from crm_adapters.base import CONTACT
from worker.contacts.decide import (
    ConnectionRules,
    ContactDraft,
    MappingDraft,
    PageDecision,
    PageState,
    Precedence,
    RecordChange,
    RecordRejection,
)
from worker.contacts.merge import Contribution
from worker.contacts.records import NormalisedRecord, storable_text
from worker.core.states import MessageState, PushState
from worker.messages.merges import move_texts
from worker.messages.opt_outs import NumberChange, follow_numbers
from worker.store.db import is_postgres
from worker.store.sealed import SealedHash, both_forms, cipher_of, is_hash_of
from worker.store.sql import any_of, insert, insert_many
from worker.store.tables import contact, contact_event, contact_mapping, message, record_change, rejected_record

_WITHOUT_REQUEST = (MessageState.HELD, MessageState.SUPPRESSED, MessageState.CANCELLED, MessageState.EXPIRED)
_HASHES = "SELECT external_id, id, record_hash FROM contact_mapping WHERE connection = {} AND external_id {}"
_BELONGING = "SELECT 1 FROM contact_mapping WHERE connection = {} AND person IS NOT NULL LIMIT 1"


def stored_hashes(connection: Connection, name: str, external_ids: Collection[str]) -> dict[str, tuple[int, bytes]]:
    """Return external id -> (mapping id, record hash) of the records that are stored.

    Uses the driver directly: every record of every sync is looked up here, and most end here.
    """
    if is_postgres(connection):
        found = connection.exec_driver_sql(_HASHES.format("%s", "= ANY(%s::text[])"), (name, list(external_ids)))
    else:
        ids = orjson.dumps(list(external_ids)).decode()
        found = connection.exec_driver_sql(_HASHES.format("?", "IN (SELECT value FROM json_each(?))"), (name, ids))
    # Fetched at once: iterating would call the driver once per row, a million times in an unchanged sync of a million.
    rows = found.cursor.fetchall() if found.cursor else []
    found.close()
    hashes = SealedHash().load_many(cipher_of(connection.dialect), [row[2] for row in rows])
    return {row[0]: (row[1], record_hash) for row, record_hash in zip(rows, hashes, strict=True)}


def load_state(
    connection: Connection,
    rules: ConnectionRules,
    records: Sequence[NormalisedRecord],
    state: PageState | None = None,
    stored: Collection[str] | None = None,
) -> PageState:
    """Return drafts of what is stored about ``records``, and of every contact that they or their phones belong to.

    Adds to ``state`` if given; its drafts take precedence over what is stored. A plan carries one from page to page.
    ``stored`` are the external ids of ``records`` that are stored, if that is known.
    """
    state, name = state or PageState(), rules.connection
    external_ids = [record.external_id for record in records]
    people = {record.change.person for record in records if record.change.person is not None}
    phones = {record.phone for record in records if record.phone}
    looked_for = (external_ids if stored is None else stored, people)
    missing = {external_id for part in looked_for for external_id in part if external_id not in state.mappings}
    waiting = _waiting_rows(connection, name, external_ids)
    mapping_rows = [*_mapping_rows(connection, name, missing), *waiting]
    contact_ids = {row.contact_id for row in mapping_rows if row.contact_id is not None}
    _load_contacts(connection, rules, contact_ids, phones, state)
    for row in mapping_rows:
        if row.external_id in state.mappings:
            continue
        state.mappings[row.external_id] = MappingDraft(
            external_id=row.external_id,
            id=row.id,
            contact=state.by_id.get(row.contact_id),
            record_hash=row.record_hash,
            properties=row.properties,
            full_name=row.full_name,
            email=row.email,
            updated_at=row.updated_at,
            revision=row.revision,
            first_seen_at=row.first_seen_at,
            deleted=row.deleted_at is not None,
            merged_into=row.merged_into,
            kind=row.kind,
            person=row.person,
        )
    for row in waiting:
        draft = state.mappings[row.external_id]
        if draft.contact is None and not draft.record:
            draft.record = orjson.loads(draft.properties)
            state.waiting.setdefault(row.person, []).append(draft)
    r = rejected_record.c
    keys = [*external_ids, *people]
    found = connection.scalars(select(r.key).where(r.connection == name, any_of(connection, r.key, keys)))
    state.rejected.update(set(found) - state.cleared)
    return state


def _mapping_rows(connection: Connection, name: str, external_ids: Collection[str]) -> Sequence[Any]:
    if not external_ids:
        return []
    m = contact_mapping.c
    return connection.execute(
        select(contact_mapping).where(m.connection == name, any_of(connection, m.external_id, external_ids))
    ).all()


def _waiting_rows(connection: Connection, name: str, people: Collection[str]) -> Sequence[Any]:
    """Return the records that belong to these people and have no contact yet."""
    placeholder = "%s" if is_postgres(connection) else "?"
    if connection.exec_driver_sql(_BELONGING.format(placeholder), (name,)).first() is None:
        return []  # the connection has people alone
    m = contact_mapping.c
    return connection.execute(
        select(contact_mapping).where(
            m.connection == name,
            m.person.is_not(None),
            any_of(connection, m.person, people),
            m.contact_id.is_(None),
            m.deleted_at.is_(None),
        )
    ).all()


def _load_contacts(
    connection: Connection, rules: ConnectionRules, ids: Collection[int], phones: Collection[str], state: PageState
) -> None:
    c = contact.c
    columns = (c.id, c.phone, c.full_name, c.email, c.wanted_hash)
    rows = [
        *connection.execute(select(*columns).where(any_of(connection, c.id, ids))),
        *connection.execute(select(*columns).where(c.account == rules.account, any_of(connection, c.phone, phones))),
    ]
    fresh: dict[int, ContactDraft] = {}
    for row in rows:
        if row.id in state.by_id:
            continue
        draft = ContactDraft(
            row.id, row.phone, row.full_name, row.email, stored_phone=row.phone, stored_hash=row.wanted_hash
        )
        state.by_id[row.id] = fresh[row.id] = draft
        state.by_phone.setdefault(row.phone, draft)
    if fresh:
        _load_records_of(connection, fresh, rules.precedence)


def _load_records_of(
    connection: Connection, drafts: Mapping[int, ContactDraft], precedence: Mapping[str, Precedence]
) -> None:
    """Load the records of these contacts. The live, usable ones contribute; all of them count for ``connections``."""
    m = contact_mapping.c
    unusable = select(rejected_record.c.id).where(
        rejected_record.c.connection == m.connection, rejected_record.c.key == m.external_id
    )
    rows = connection.execute(
        select(
            m.contact_id,
            m.connection,
            m.external_id,
            m.full_name,
            m.email,
            m.updated_at,
            m.deleted_at,
            unusable.exists(),
        ).where(any_of(connection, m.contact_id, list(drafts)), m.kind == CONTACT)
    )
    for contact_id, name, external_id, full_name, email, updated_at, deleted_at, is_unusable in rows:
        draft = drafts[contact_id]
        draft.connections.add(name)
        priority, clear_empty = precedence.get(name, (100, False))
        contribution = Contribution(name, external_id, full_name, email, updated_at, priority, clear_empty)
        draft.hold(contribution)
        if deleted_at is None and not is_unusable:
            draft.live[name, external_id] = contribution


def store_decision(connection: Connection, name: str, account: str, decision: PageDecision, now: datetime) -> None:
    """Write the drafts of a page: contacts first, since mappings, events and messages refer to them."""
    _store_contacts(connection, account, decision.contacts.values(), now)
    _store_mappings(connection, name, decision.mappings.values(), now)
    _store_changes(connection, name, decision.changes, now)
    for person, moved_to in decision.moved_people.items():
        m = contact_mapping.c
        connection.execute(
            update(contact_mapping).where(m.connection == name, m.person == person).values(contact_id=moved_to.id)
        )
    move_texts(connection, name, {m.external_id: m.merged_into for m in decision.mappings.values() if m.merged_into})
    if decision.rejections:
        store_rejections(connection, name, decision.rejections.values(), now)
    if decision.cleared:
        clear_rejections(connection, name, decision.cleared)
    if decision.moved_numbers:
        moved = [NumberChange(old, new, f"{name} {external_id}") for old, new, external_id in decision.moved_numbers]
        follow_numbers(connection, moved, account, now)
    if decision.events:
        connection.execute(
            contact_event.insert(),
            [
                {"contact_id": c.id, "at": now, "kind": kind, "detail": storable_text(detail)}
                for c, kind, detail in decision.events
            ],
        )


def _store_contacts(connection: Connection, account: str, drafts: Iterable[ContactDraft], now: datetime) -> None:
    new = [draft for draft in drafts if draft.id is None]
    known = [draft for draft in drafts if draft.id is not None and draft.changed]
    _update_contacts(connection, known, now)
    if not new:
        return
    for draft in new:
        draft.stored_phone, draft.stored_hash = draft.phone, draft.hash
    insert_many(
        connection,
        contact,
        {
            "account": [account] * len(new),
            "phone": [draft.phone for draft in new],
            "full_name": [draft.full_name for draft in new],
            "email": [draft.email for draft in new],
            "wanted_hash": [draft.stored_hash for draft in new],
            "push_state": [PushState.DUE.value] * len(new),
            "next_attempt_at": [now] * len(new),
            "attempts": [0] * len(new),
            "missing_checks": [0] * len(new),
            "wrong_answers": [0] * len(new),
            "last_error": [""] * len(new),
            "created_at": [now] * len(new),
        },
        unique=["account", "phone"],
    )
    c = contact.c
    ids = dict(
        connection.execute(
            select(c.phone, c.id).where(c.account == account, any_of(connection, c.phone, [d.phone for d in new]))
        ).all()
    )
    for draft in new:
        draft.id = ids[draft.phone]


def _update_contacts(connection: Connection, drafts: Sequence[ContactDraft], now: datetime) -> None:
    c = contact.c
    renumbered = [draft for draft in drafts if draft.phone != draft.stored_phone]
    if renumbered:
        # Two contacts may swap numbers in one page. Park both numbers first, so that the unique index never collides.
        connection.execute(
            update(contact).where(c.id == bindparam("contact")).values(phone=bindparam("parked")),
            [{"contact": draft.id, "parked": f"~{draft.id}"} for draft in renumbered],
        )
    if not drafts:
        return
    # No IN list: it cannot be part of a statement that is executed for many rows at once.
    on_its_way = or_(*(c.push_state == state for state in (PushState.CREATING, PushState.UPDATING, PushState.UNKNOWN)))
    state = case(
        (on_its_way, c.push_state),
        (is_hash_of(c.pushed_hash, "hash"), PushState.SYNCED),
        else_=PushState.DUE,
    )
    connection.execute(
        update(contact)
        .where(c.id == bindparam("contact"))
        .values(
            phone=bindparam("phone_"),
            full_name=bindparam("name"),
            email=bindparam("email_"),
            wanted_hash=bindparam("hash", type_=c.wanted_hash.type),
            push_state=state,
            attempts=0,
            next_attempt_at=now,
        ),
        [
            {"contact": d.id, "phone_": d.phone, "name": d.full_name, "email_": d.email, **both_forms("hash", d.hash)}
            for d in drafts
        ],
    )
    for draft in drafts:
        draft.stored_phone, draft.stored_hash = draft.phone, draft.hash


def _store_mappings(connection: Connection, name: str, drafts: Collection[MappingDraft], now: datetime) -> None:
    columns: dict[str, Sequence[Any]] = {
        "connection": [name] * len(drafts),
        "external_id": [draft.external_id for draft in drafts],
        "contact_id": [draft.contact.id if draft.contact else None for draft in drafts],
        "record_hash": [draft.record_hash for draft in drafts],
        "properties": [draft.properties for draft in drafts],
        "full_name": [draft.full_name for draft in drafts],
        "email": [draft.email for draft in drafts],
        "updated_at": [draft.updated_at for draft in drafts],
        "revision": [draft.revision for draft in drafts],
        "first_seen_at": [draft.first_seen_at or now for draft in drafts],
        "changed_at": [now] * len(drafts),
        "deleted_at": [now if draft.deleted else None for draft in drafts],
        "merged_into": [draft.merged_into for draft in drafts],
        "kind": [draft.kind for draft in drafts],
        "person": [draft.person for draft in drafts],
    }
    kept = {"connection", "external_id", "first_seen_at"}
    updated = [key for key in columns if key not in kept]
    insert_many(connection, contact_mapping, columns, unique=["connection", "external_id"], update=updated)


def _store_changes(connection: Connection, name: str, changes: Iterable[RecordChange], now: datetime) -> None:
    """Keep what the records held before. A page that is read again after a crash adds nothing."""
    changed = [(change, change.old) for change in changes if change.old is not None]
    columns: dict[str, Sequence[Any]] = {
        "connection": [name] * len(changed),
        "external_id": [change.mapping.external_id for change, _ in changed],
        "revision": [change.mapping.revision for change, _ in changed],
        "at": [now] * len(changed),
        "before": [what_was(old, change.new) for change, old in changed],
    }
    insert_many(connection, record_change, columns, unique=["connection", "external_id", "revision"])


def what_was(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return what ``record_change.before`` stores, from which ``new`` and it give ``old`` again."""
    was = {key: value for key, value in old.items() if key not in new or new[key] != value}
    return orjson.dumps({"was": was, "new": [key for key in new if key not in old]}).decode()


def store_rejections(connection: Connection, name: str, rejections: Iterable[RecordRejection], now: datetime) -> None:
    """Store rejected records. A known one gets the new reason and keeps its ``since``."""
    rows = [
        {
            "connection": name,
            "key": rejection.key,
            "code": rejection.code,
            "reason": storable_text(rejection.reason),
            "where": storable_text(rejection.where),
            "excerpt": storable_text(rejection.excerpt),
            "since": now,
            "seen_at": now,
        }
        for rejection in rejections
    ]
    statement = insert(connection, rejected_record)
    renewed = ("code", "reason", "where", "excerpt", "seen_at")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["connection", "key"], set_={key: statement.excluded[key] for key in renewed}
        ),
        rows,
    )


def clear_rejections(connection: Connection, name: str, keys: Collection[str]) -> None:
    """Delete the rejections of records that are usable or gone."""
    r = rejected_record.c
    connection.execute(delete(rejected_record).where(r.connection == name, any_of(connection, r.key, keys)))


def clear_unseen_rejections(connection: Connection, name: str, since: datetime) -> None:
    """After a listing, delete the rejections that it did not repeat and that belong to no live record."""
    r, m = rejected_record.c, contact_mapping.c
    own_record = select(m.id).where(m.connection == r.connection, m.external_id == r.key, m.deleted_at.is_(None))
    connection.execute(delete(rejected_record).where(r.connection == name, r.seen_at < since, ~own_record.exists()))


def forget_hashes(connection: Connection, name: str, external_ids: Collection[str]) -> None:
    """Delete the hashes of these records, so that they are read again even if they come back unchanged."""
    m = contact_mapping.c
    connection.execute(
        update(contact_mapping)
        .where(m.connection == name, any_of(connection, m.external_id, external_ids))
        .values(record_hash=b"")
    )


def live_count(connection: Connection, name: str, confirmed_at: datetime | None = None) -> int:
    """Count the records of this connection that are not deleted; with ``confirmed_at``, those first seen until then."""
    m = contact_mapping.c
    count = select(func.count()).where(m.connection == name, m.deleted_at.is_(None))
    return connection.scalar(count if confirmed_at is None else count.where(m.first_seen_at <= confirmed_at)) or 0


def live_kinds(connection: Connection, name: str) -> Collection[str]:
    """Return the kinds of the records of this connection that are not deleted."""
    m = contact_mapping.c
    return connection.scalars(select(m.kind).distinct().where(m.connection == name, m.deleted_at.is_(None))).all()


def live_ids(connection: Connection, name: str, after: int, limit: int) -> Sequence[tuple[int, str, datetime]]:
    """Return the next live records by mapping id: (mapping id, external id, when it was first seen)."""
    m = contact_mapping.c
    rows = connection.execute(
        select(m.id, m.external_id, m.first_seen_at)
        .where(m.connection == name, m.deleted_at.is_(None), m.id > after)
        .order_by(m.id)
        .limit(limit)
    )
    return [(row.id, row.external_id, row.first_seen_at) for row in rows]


def unconfirmed_ids(connection: Connection, name: str, since: datetime, limit: int) -> Sequence[str]:
    """Return external ids of live records that were first seen after ``since``."""
    m = contact_mapping.c
    return connection.scalars(
        select(m.external_id).where(m.connection == name, m.deleted_at.is_(None), m.first_seen_at > since).limit(limit)
    ).all()


def forget_unconfirmed(connection: Connection, name: str, since: datetime) -> None:
    """Delete what a refused listing has left: its new records, and contacts that only they had and nobody has used."""
    m, c, e = contact_mapping.c, contact.c, contact_event.c
    connection.execute(delete(contact_mapping).where(m.connection == name, m.first_seen_at > since))
    unused = (
        c.created_at > since,
        c.virtualtext_id.is_(None),
        c.push_state == PushState.DUE,
        c.attempted_at.is_(None),
        ~exists().where(m.contact_id == c.id),
        ~exists().where(message.c.contact_id == c.id, message.c.state.not_in(_WITHOUT_REQUEST)),
    )
    ids = connection.scalars(select(c.id).where(*unused)).all()
    texts = any_of(connection, message.c.contact_id, ids)
    connection.execute(update(message).where(texts).values(contact_id=None))
    connection.execute(delete(contact_event).where(any_of(connection, e.contact_id, ids)))
    connection.execute(delete(contact).where(any_of(connection, c.id, ids)))
