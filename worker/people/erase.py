"""Erases a person (`vtsync forget`): every row that is about them, and their number in sentences about the work.

First the number is marked as forgotten, as a keyed hash. The same transaction checks that no text is on its way. From
then on nothing brings the person back. Then the rows are deleted, some hundreds at a time; rows by which others are
found go last. What was interrupted is found by the mark, and continued by the next call or by retention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Column, Connection, Row, delete, or_, select, update

from worker.core.phones import mask, without_number
from worker.core.states import MessageState, PushState
from worker.messages.acquaintance import accounts_that_know
from worker.messages.forgotten import forgotten_numbers, keyed_hash, mark_forgotten, note_erased, unfinished_erasures
from worker.messages.opt_outs import opted_out
from worker.people.find import Subject, belongs, find_subject, is_one_of, key_of, mentioning, owned_keys
from worker.people.registry import OWNED, TABLES, PersonalTable
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, is_postgres, overwrite_deleted, reading, writing
from worker.store.leases import LeaseColumns
from worker.store.models import utcnow
from worker.store.sql import lock_account
from worker.store.tables import contact, contact_mapping, message

log = structlog.get_logger(__name__)

PORTION = 200
"""Rows per transaction."""
MOST_PASSES = 20
INSTEAD = "(forgotten)"
NOT_ERASED = (
    "VirtualText itself: its API cannot delete. Delete the contact and the conversation there by hand",
    "the CRM: its records are rejected here from now on. Delete them there, if that was asked for, too",
    "receivers of events, and carriers: they have what was delivered to them or sent through them",
    "backups of the database, and copies of it: what they hold lasts as long as they are kept",
    "jobs in the broker that no worker has accepted yet, and results of jobs, which end with their retention",
    "logs have no numbers or texts, but ids of messages and records",
)
"""What ``forget`` cannot reach, for a person."""


class ForgetRefused(Exception):
    """Nothing was erased. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows were erased (in a rehearsal: would be), by the section of an export. ``other_numbers``: earlier
    numbers of the person, to which texts went."""

    phone: str
    rows: dict[str, int]
    mentions: int
    opted_out: bool
    forgotten_since: datetime | None
    other_numbers: tuple[str, ...]
    named: tuple[str, ...]
    """Rows about other people that mention the number. They stay as they are."""
    not_erased: tuple[str, ...] = NOT_ERASED


def rehearse_forget(runtime: Runtime, phone: str) -> Erased:
    """Count what ``forget`` would erase. Changes nothing. Raises NoNumberKey."""
    with reading(runtime.engine) as connection:
        keyed_hash(connection)
        return _count(connection, phone)


def forget(runtime: Runtime, phone: str, *, why: str, actor: str) -> Erased:
    """Erase the person behind ``phone`` (E.164). Safe to repeat. Raises NoNumberKey, ForgetRefused.

    ``why`` is kept, so it must not tell who the person is.
    """
    found, now = rehearse_forget(runtime, phone), utcnow()  # it reads whole tables, so no lock is held meanwhile
    with writing(runtime.engine) as connection:
        _lock(connection, runtime, phone)
        subject = find_subject(connection, phone)
        _refuse_while_busy(connection, subject, now)
        mark_forgotten(
            connection,
            phone,
            subject.records,
            opted_out=_has_opted_out(connection, phone),
            why=without_number(why, phone, INSTEAD),
            actor=actor,
            now=now,
        )
    finish_erasure(runtime, phone)
    return found


def continue_erasures(runtime: Runtime) -> int:
    """Finish the erasures that were interrupted. Return how many there were."""
    with reading(runtime.engine) as connection:
        phones = unfinished_erasures(connection)
    for phone in phones:
        try:
            finish_erasure(runtime, phone)
        except STORE_AWAY:
            raise
        except Exception:
            log.exception("an interrupted erasure failed; the others go on", number=mask(phone))
    return len(phones)


def finish_erasure(runtime: Runtime, phone: str) -> None:
    """Delete everything about a number that is marked, until nothing is left; then the number in the mark itself."""
    if not any(_erase_once(runtime, phone) == 0 for _ in range(MOST_PASSES)):
        return  # new rows came all the time; the next run of retention goes on
    with writing(runtime.engine) as connection:
        overwrite_deleted(connection)
        note_erased(connection, phone)
    _empty_log(runtime)


def _erase_once(runtime: Runtime, phone: str) -> int:
    """Go through all tables once. Return how many rows were erased or changed."""
    with reading(runtime.engine) as connection:
        subject = find_subject(connection, phone)
    done = 0
    for one in TABLES:
        if one.owner is not None:
            with reading(runtime.engine) as connection:
                owned = owned_keys(connection, one, subject)
            done += _delete(runtime, one, owned)
        if one.on_mention == "name":
            continue
        with reading(runtime.engine) as connection:
            others = list(mentioning(connection, one, phone))
        if one.on_mention == "delete":
            done += _delete(runtime, one, others)
        else:
            done += sum(_replace(runtime, one, row._mapping, phone) for row in others)
    return done


def _delete(runtime: Runtime, one: PersonalTable, keys: Sequence[Sequence[Any]]) -> int:
    for start in range(0, len(keys), PORTION):
        part = keys[start : start + PORTION]
        with writing(runtime.engine) as connection:
            overwrite_deleted(connection)
            for column in _references(one):
                mine = column.in_([key_of(one, row)[0] for row in part])
                detach = update(column.table).values({column.name: None}) if column.nullable else delete(column.table)
                connection.execute(detach.where(mine))
            connection.execute(delete(one.table).where(is_one_of(one, part)))
    return len(keys)


def _references(one: PersonalTable) -> Iterator[Column[Any]]:
    """Yield the columns that refer to rows of a table. A worker may have added a row since the pass began."""
    for table in one.table.metadata.sorted_tables:
        yield from (key.parent for key in table.foreign_keys if key.column.table is one.table)


def _replace(runtime: Runtime, one: PersonalTable, row: Any, phone: str) -> int:
    columns = [one.table.c[name] for name in one.mentions]
    values = {column.name: without_number(row[column], phone, INSTEAD) for column in columns}
    with writing(runtime.engine) as connection:
        overwrite_deleted(connection)
        connection.execute(update(one.table).where(*_is_row(one, row)).values(values))
    return 1


def _is_row(one: PersonalTable, row: Any) -> list[Any]:
    return [column == row[column] for column in one.table.primary_key.columns]


def _count(connection: Connection, phone: str) -> Erased:
    subject = find_subject(connection, phone)
    rows, mentions, named = {}, 0, []
    for one in TABLES:
        mine = {key_of(one, row) for row in owned_keys(connection, one, subject)} if one.owner is not None else set()
        if mine:
            rows[one.section] = len(mine)
        others = [row for row in mentioning(connection, one, phone) if key_of(one, row) not in mine]
        if one.on_mention == "name":
            named += [_name(connection, one, row) for row in others]
        else:
            mentions += len(others)
    known = forgotten_numbers(connection, [phone]).get(phone)
    to = message.c.to_number
    earlier = select(to).where(belongs(connection, _TEXTS, subject), to != phone).distinct().order_by(to)
    return Erased(
        phone,
        rows,
        mentions,
        _has_opted_out(connection, phone),
        None if known is None else known.at,
        tuple(connection.scalars(earlier)),
        tuple(sorted(named)),
    )


def _has_opted_out(connection: Connection, phone: str) -> bool:
    known = forgotten_numbers(connection, [phone]).get(phone)
    return phone in opted_out(connection, [phone]) if known is None else known.opted_out


def _name(connection: Connection, one: PersonalTable, row: Row[Any]) -> str:
    """Name a row about somebody else."""
    if one.table is message:
        return f"message {row.id}"
    m = contact_mapping.c
    found = connection.execute(select(m.connection, m.external_id).where(m.id == row.id)).one()
    return f"CRM record {found.connection} {found.external_id}"


_TEXTS = next(one for one in OWNED if one.table is message)
_push = LeaseColumns(contact)


def _refuse_while_busy(connection: Connection, subject: Subject, now: datetime) -> None:
    """Raise ForgetRefused while a request about the person may be on its way: its result must find its row."""
    sending = select(message.c.id).where(
        belongs(connection, _TEXTS, subject), message.c.state == MessageState.DISPATCHING
    )
    if connection.execute(sending.limit(1)).first() is not None:
        raise ForgetRefused("a text to this number is being sent right now; nothing was erased, try again in a minute")
    writes = contact.c.push_state.in_((PushState.CREATING, PushState.UPDATING))
    writing_now = select(contact.c.id).where(contact.c.phone == subject.phone, or_(writes, ~_push.is_free(now)))
    if connection.execute(writing_now.limit(1)).first() is not None:
        raise ForgetRefused(
            "the contact is being written to VirtualText right now; nothing was erased, try again in a minute"
        )


def _lock(connection: Connection, runtime: Runtime, phone: str) -> None:
    """Wait for the transactions that decide about this number: syncs of its accounts, texts, replies."""
    lock_account(connection, f"to:{phone}", f"number:{phone}", *runtime.settings.accounts)


def _empty_log(runtime: Runtime) -> None:
    """Have SQLite move its log into the file and empty it, as far as no other process reads it now."""
    if not is_postgres(runtime.engine):
        with runtime.engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def accounts_beyond(connection: Connection, runtime: Runtime, phone: str, accounts: Sequence[str]) -> bool:
    """Return True if others than ``accounts`` know the number, so that a key of these may not erase it."""
    if not accounts:
        return False
    others = [name for name in runtime.settings.accounts if name not in accounts]
    out = opted_out(connection, [phone]).get(phone)
    return bool(accounts_that_know(connection, phone, others)) or (out is not None and out.account not in accounts)
