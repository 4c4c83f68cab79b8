"""What people decide about contacts: how a lost create ended, and to try refused contacts again."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, and_, select, update

from worker.contacts import push_rows
from worker.contacts.remote_list import Listing, is_unavailable, list_state, read_list
from worker.core.states import PushState
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import contact, contact_event

c = contact.c
_Row: TypeAlias = Row[int, PushState, int, datetime | None, str | None]


class NotUnknown(ValueError):
    """The contact is not a lost create, and its updates do not fail."""


class ListNotRead(Exception):
    """VirtualText's list cannot show if the contact is there. The message says why."""


def resolve_contact(runtime: Runtime, account: str, phone: str, *, virtualtext_id: str | None, actor: str) -> None:
    """Store how a lost create ended: the contact is in VirtualText as ``virtualtext_id``, or (None) it is not.

    The same for a contact whose updates fail, because VirtualText may not know its id any more.

    Either way the contact is due again: as an update of that id, or as a new create.
    Raises LookupError for an unknown number, NotUnknown when the contact is not a lost create.
    """
    now = utcnow()
    with writing(runtime.engine) as db:
        row = _unsettled(db, account, phone)
        _make_due(db, row, virtualtext_id, now)
        found = f"{actor} found it as {virtualtext_id}" if virtualtext_id else f"{actor} found that it is not there"
        _note_resolved(db, row.id, now, found)


def resolve_by_list(runtime: Runtime, account: str, phone: str, *, actor: str) -> str | None:
    """Look a lost create up in VirtualText's list, and make it due again: to be adopted if it is there, else created.

    Return its id in VirtualText; None: it is not there, and is created. Raises ListNotRead if the list cannot tell,
    LookupError for an unknown number, NotUnknown when the contact is not a lost create.
    """
    with reading(runtime.engine) as db:
        _unsettled(db, account, phone)
        unavailable = is_unavailable(db, account)
    began = utcnow()
    listing = Listing.UNAVAILABLE if unavailable else read_list(runtime, account)
    with writing(runtime.engine) as db:
        row, now = _unsettled(db, account, phone), utcnow()
        there = push_rows.remote_matches(db, account, [phone]).get(phone)
        shown_by = began - runtime.settings.accounts[account].lookup_after
        is_lost_create = row.push_state == PushState.UNKNOWN
        if not there:
            _require_proof(db, account, listing, row.attempted_at if is_lost_create else None, shown_by)
        if is_lost_create:
            push_rows.confirm_or_retry_creates(db, account, [(row.id, phone)], now, now)
        else:
            _make_due(db, row, there[0].id if there else None, now)
        found = f"{actor} asked for it, and VirtualText's list " + (
            f"has it as {there[0].id}" if there else "does not have it"
        )
        _note_resolved(db, row.id, now, found)
        return there[0].id if there else None


def _require_proof(
    db: Connection, account: str, listing: Listing, attempted_at: datetime | None, shown_by: datetime
) -> None:
    """Raise ListNotRead unless the list was read just now, long enough after a create that was lost."""
    if listing is not Listing.READ:
        error = list_state(db, account).error
        raise ListNotRead(f"VirtualText's contact list cannot be read{f' ({error})' if error else ''}")
    if attempted_at is not None and attempted_at > shown_by:
        raise ListNotRead("the create was lost so recently that VirtualText's contact list may not show it yet")


def _unsettled(db: Connection, account: str, phone: str) -> _Row:
    """Return the contact if it is a lost create, or its updates fail. Raises LookupError or NotUnknown."""
    columns = (c.id, c.push_state, c.attempts, c.attempted_at, c.virtualtext_id)
    row = db.execute(select(*columns).where(c.account == account, c.phone == phone)).first()
    if row is None:
        raise LookupError(f"account {account} has no contact {phone}")
    update_fails = row.push_state == PushState.DUE and row.virtualtext_id is not None and row.attempts > 0
    if row.push_state != PushState.UNKNOWN and not update_fails:
        raise NotUnknown(f"contact {phone} is {row.push_state}; only an unknown one can be resolved")
    return row


def _make_due(db: Connection, row: _Row, virtualtext_id: str | None, now: datetime) -> None:
    """Make the contact due: as an update of this id, or (None) as a new create."""
    db.execute(
        update(contact)
        .where(c.id == row.id, c.push_state == row.push_state)
        .values(
            push_state=PushState.DUE,
            virtualtext_id=virtualtext_id,
            former_id=row.virtualtext_id or c.former_id,
            missing_checks=0,
            next_attempt_at=now,
            last_error="",
        )
    )


def _note_resolved(db: Connection, contact_id: int, now: datetime, detail: str) -> None:
    db.execute(
        contact_event.insert(), {"contact_id": contact_id, "at": now, "kind": "create_resolved", "detail": detail}
    )


def retry_contacts(runtime: Runtime, *, account: str | None = None, phone: str | None = None) -> int:
    """Make refused contacts, and those that wait for their next attempt, due now. Return how many."""
    waiting = and_(c.push_state == PushState.DUE, c.next_attempt_at > utcnow())
    chosen: list[ColumnElement[bool]] = [(c.push_state == PushState.REJECTED) | waiting]
    if account is not None:
        chosen.append(c.account == account)
    if phone is not None:
        chosen.append(c.phone == phone)
    with writing(runtime.engine) as db:
        return int(
            db.execute(
                update(contact).where(*chosen).values(push_state=PushState.DUE, attempts=0, next_attempt_at=utcnow())
            ).rowcount
        )
