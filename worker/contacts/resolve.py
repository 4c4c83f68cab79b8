"""What people decide about contacts: how a lost create ended, and to try refused contacts again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select, update

from worker.contacts import push_rows
from worker.contacts.remote_list import Listing, is_unavailable, list_state, read_list
from worker.core.shown import require_as_shown
from worker.core.states import PushState
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.sql import lock_account
from worker.store.tables import contact, contact_event

RESOLVED = "create_resolved"
c = contact.c
_Row: TypeAlias = Row[int, PushState, int, datetime | None, str | None]


class NotUnknown(ValueError):
    """The contact is not a lost create, and its updates do not fail."""


class AttemptNotAsShown(ValueError):
    """Another attempt was made since the one that the person was shown. Nothing was decided."""


class IdTaken(ValueError):
    """Another contact has this id: VirtualText would get the values of one person for another. Nothing was decided."""


class ListNotRead(Exception):
    """VirtualText's list cannot show if the contact is there. The message says why."""


class ShownAttempt(NamedTuple):
    """When the last attempt was made, as the person who decides was shown it. None: none was made."""

    at: datetime | None


def resolve_contact(
    runtime: Runtime,
    account: str,
    phone: str,
    *,
    virtualtext_id: str | None,
    actor: str,
    shown: ShownAttempt | None = None,
) -> None:
    """Store how a lost create ended: the contact is in VirtualText as ``virtualtext_id``, or (None) it is not.

    The same for a contact whose updates fail, because VirtualText may not know its id any more.

    Either way the contact is due again: as an update of that id, or as a new create. ``shown``: only if no attempt was
    made since; None: in any case.
    Raises LookupError for an unknown number, NotUnknown when the contact is not a lost create, AttemptNotAsShown,
    IdTaken.
    """
    now = utcnow()
    with writing(runtime.engine) as db:
        row = _lock_unsettled(db, account, phone, shown)
        if virtualtext_id is not None:
            _require_free(db, account, virtualtext_id, row.id)
        _make_due(db, row, virtualtext_id, now)
        _note_resolved(db, row.id, now, _found(actor, virtualtext_id))


def resolve_by_list(
    runtime: Runtime, account: str, phone: str, *, actor: str, shown: ShownAttempt | None = None
) -> str | None:
    """Look a lost create up in VirtualText's list, and make it due again: to be adopted if it is there, else created.

    Return its id in VirtualText; None: it is not there, and is created. ``shown``: see ``resolve_contact``. Raises
    ListNotRead if the list cannot tell, LookupError for an unknown number, NotUnknown when the contact is not a lost
    create, AttemptNotAsShown.
    """
    with reading(runtime.engine) as db:
        _unsettled(db, account, phone, shown)
        unavailable = is_unavailable(db, account)
    began = utcnow()
    listing = Listing.UNAVAILABLE if unavailable else read_list(runtime, account)
    with writing(runtime.engine) as db:
        row, now = _lock_unsettled(db, account, phone, shown), utcnow()
        there = push_rows.remote_matches(db, account, [phone]).get(phone)
        shown_by = began - runtime.settings.accounts[account].lookup_after
        is_lost_create = row.push_state == PushState.UNKNOWN
        if not there:
            _require_proof(db, account, listing, row.attempted_at if is_lost_create else None, shown_by)
        if is_lost_create:
            push_rows.confirm_or_retry_creates(db, account, [(row.id, phone)], now, now)
        else:
            _make_due(db, row, there[0].id if there else None, now)
        answer = f"has it as {there[0].id}" if there else "does not have it"
        _note_resolved(db, row.id, now, f"{_asked(actor)} {answer}")
        return there[0].id if there else None


def was_resolved(db: Connection, account: str, phone: str, *, virtualtext_id: str | None, actor: str) -> bool:
    """Return whether ``actor`` was the last to resolve this contact, and in this way, so that it need not be repeated.

    ``virtualtext_id``: where they found it; None: they wanted it to be created.
    """
    e = contact_event.c
    resolved = (c.account == account, c.phone == phone, e.kind == RESOLVED)
    newest = select(e.detail).join(contact, c.id == e.contact_id).where(*resolved).order_by(e.id.desc()).limit(1)
    detail = db.scalar(newest) or ""
    return detail == _found(actor, virtualtext_id) or (virtualtext_id is None and detail.startswith(_asked(actor)))


def _found(actor: str, virtualtext_id: str | None) -> str:
    return f"{actor} found it as {virtualtext_id}" if virtualtext_id else f"{actor} found that it is not there"


def _asked(actor: str) -> str:
    return f"{actor} asked for it, and VirtualText's list"


def _require_proof(
    db: Connection, account: str, listing: Listing, attempted_at: datetime | None, shown_by: datetime
) -> None:
    """Raise ListNotRead unless the list was read just now, long enough after a create that was lost."""
    if listing is not Listing.READ:
        error = list_state(db, account).error
        raise ListNotRead(f"VirtualText's contact list cannot be read{f' ({error})' if error else ''}")
    if attempted_at is not None and attempted_at > shown_by:
        raise ListNotRead("the create was lost so recently that VirtualText's contact list may not show it yet")


def _require_free(db: Connection, account: str, virtualtext_id: str, contact_id: int) -> None:
    """Raise IdTaken if another contact of the account has this id."""
    of_another = (c.account == account, c.virtualtext_id == virtualtext_id, c.id != contact_id)
    if (phone := db.scalar(select(c.phone).where(*of_another).limit(1))) is not None:
        raise IdTaken(f"{virtualtext_id} is the contact {phone} in VirtualText; nothing was decided")


def _lock_unsettled(db: Connection, account: str, phone: str, shown: ShownAttempt | None) -> _Row:
    """Return the contact as ``_unsettled`` does, and keep workers and other people from changing it meanwhile."""
    lock_account(db, account)  # before the row, as workers do; otherwise they would wait for each other
    return _unsettled(db, account, phone, shown, lock=True)


def _unsettled(db: Connection, account: str, phone: str, shown: ShownAttempt | None, *, lock: bool = False) -> _Row:
    """Return the contact if it is a lost create, or its updates fail.

    Raises LookupError, NotUnknown or AttemptNotAsShown.
    """
    columns = (c.id, c.push_state, c.attempts, c.attempted_at, c.virtualtext_id)
    chosen = select(*columns).where(c.account == account, c.phone == phone)
    row = db.execute(chosen.with_for_update() if lock else chosen).first()
    if row is None:
        raise LookupError(f"account {account} has no contact {phone}")
    update_fails = row.push_state == PushState.DUE and row.virtualtext_id is not None and row.attempts > 0
    if row.push_state != PushState.UNKNOWN and not update_fails:
        raise NotUnknown(f"contact {phone} is {row.push_state}; only an unknown one can be resolved")
    if shown is not None and row.attempted_at != shown.at:
        raise AttemptNotAsShown(f"another attempt was made for the contact {phone} since; nothing was decided")
    return row


def _make_due(db: Connection, row: _Row, virtualtext_id: str | None, now: datetime) -> None:
    """Make the contact due: as an update of this id, or (None) as a new create."""
    db.execute(
        update(contact)
        .where(c.id == row.id)
        .values(
            push_state=PushState.DUE,
            virtualtext_id=virtualtext_id,
            attempts=0,  # so that a decision by somebody who saw the contact before this one does not replace it
            former_id=c.former_id if row.virtualtext_id in (None, virtualtext_id) else row.virtualtext_id,
            missing_checks=0,
            next_attempt_at=now,
            last_error="",
        )
    )


def _note_resolved(db: Connection, contact_id: int, now: datetime, detail: str) -> None:
    db.execute(contact_event.insert(), {"contact_id": contact_id, "at": now, "kind": RESOLVED, "detail": detail})


def retry_contacts(
    runtime: Runtime, *, phone: str | None = None, accounts: Collection[str] = (), shown: int | None = None
) -> int:
    """Make refused contacts, and those that wait for their next attempt, due now. Return how many.

    ``phone``: only those with this number. ``accounts``: only of these; empty: of all. ``shown``: how many the person
    was shown; where more match, none is retried. Raises NotAsShown.
    """
    with writing(runtime.engine) as db:
        due = {"push_state": PushState.DUE, "attempts": 0, "next_attempt_at": utcnow()}
        count = db.execute(update(contact).where(*_retryable(phone, accounts)).values(due)).rowcount
        require_as_shown(count, shown, "contact")
        return count


def count_retryable(db: Connection, accounts: Collection[str] = ()) -> int:
    """Return how many contacts ``retry_contacts`` would make due."""
    return db.scalar(select(func.count()).select_from(contact).where(*_retryable(None, accounts))) or 0


def _retryable(phone: str | None, accounts: Collection[str]) -> list[ColumnElement[bool]]:
    waiting = and_(c.push_state == PushState.DUE, c.next_attempt_at > utcnow())
    chosen: list[ColumnElement[bool]] = [(c.push_state == PushState.REJECTED) | waiting]
    if phone is not None:
        chosen.append(c.phone == phone)
    if accounts:
        chosen.append(c.account.in_(accounts))
    return chosen
