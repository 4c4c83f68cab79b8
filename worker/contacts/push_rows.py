"""The rows of a push: claimed before a request leaves, written back with its result. All SQL of the push."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, or_, select, update

from worker.contacts.merge import wanted_hash
from worker.core.states import PushState
from worker.store.leases import Lease, LeaseColumns, new_lease
from worker.store.sql import any_of, lock_account
from worker.store.tables import contact, contact_event, remote_contact
from worker.virtualtext.outcomes import RemoteContact

PUSH_LEASE = LeaseColumns(contact)

c = contact.c


@dataclass(frozen=True, slots=True)
class Push:
    """One contact claimed for one request. ``virtualtext_id`` None: a create, else an update."""

    contact_id: int
    phone: str
    full_name: str
    email: str
    hash: bytes
    virtualtext_id: str | None
    attempt: int

    @property
    def kind(self) -> Literal["create", "update"]:
        """The kind of request."""
        return "create" if self.virtualtext_id is None else "update"


@dataclass(frozen=True, slots=True)
class PushClaim:
    """Contacts that one worker holds for a while.

    ``adopted`` contacts were found in VirtualText's list; ``in_sync`` of them are there exactly as wanted, so they need
    no request and are not among ``pushes``.
    """

    lease: Lease
    pushes: Sequence[Push]
    adopted: int = 0
    in_sync: int = 0


@dataclass(frozen=True, slots=True)
class PushResult:
    """What to write back for one push. ``pushed_hash`` set: VirtualText has these fields under ``virtualtext_id``."""

    contact_id: int
    state: PushState
    virtualtext_id: str | None
    pushed_hash: bytes | None = None
    next_attempt_at: datetime | None = None
    error: str = ""
    event: tuple[str, str] | None = None


def expire_push_claims(db: Connection, account: str, now: datetime) -> tuple[int, int]:
    """Free the contacts whose worker vanished. Return (creates that are unknown now, updates that are due again)."""
    lapsed = and_(c.account == account, PUSH_LEASE.has_ended(now))
    unknown = db.execute(
        update(contact)
        .where(lapsed, c.push_state == PushState.CREATING)
        .values(
            push_state=PushState.UNKNOWN,
            last_error="the worker that was creating it vanished",
            attempted_at=PUSH_LEASE.until,  # its request may have ended as late as that
            **PUSH_LEASE.released,
        )
    ).rowcount
    due = db.execute(
        update(contact)
        .where(lapsed, c.push_state == PushState.UPDATING)
        .values(push_state=PushState.DUE, next_attempt_at=now, **PUSH_LEASE.released)
    ).rowcount
    return unknown, due


def has_creates(db: Connection, account: str) -> bool:
    """Return True if any due contact is not known to be in VirtualText."""
    found = select(c.id).where(c.account == account, c.push_state == PushState.DUE, c.virtualtext_id.is_(None)).limit(1)
    return db.scalar(found) is not None


def claim_pushes(db: Connection, account: str, limit: int, seconds: float, now: datetime) -> PushClaim:
    """Claim up to ``limit`` due contacts. From here on, a crash means that a request may be on its way.

    Contacts that VirtualText's list already holds are adopted instead of created.
    """
    lock_account(db, account)
    lease = new_lease(now, seconds)
    due = and_(c.account == account, _is_due(now))
    rows = db.execute(
        select(c.id, c.phone, c.full_name, c.email, c.wanted_hash, c.virtualtext_id, c.attempts)
        .where(due)
        .order_by(c.next_attempt_at, c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    found = [Push(*row[:6], row.attempts + 1) for row in rows]
    adopted = _adopt(db, account, [push for push in found if push.virtualtext_id is None], now)
    pushes = [push for one in found if (push := adopted.get(one.contact_id, one)) is not None]
    if pushes:
        db.execute(
            update(contact)
            .where(any_of(db, c.id, [push.contact_id for push in pushes]))
            .values(
                push_state=case((c.virtualtext_id.is_(None), PushState.CREATING), else_=PushState.UPDATING),
                attempted_at=now,
                attempts=c.attempts + 1,
                **PUSH_LEASE.held(lease),
            )
        )
    return PushClaim(lease, pushes, len(adopted), len(found) - len(pushes))


def _adopt(db: Connection, account: str, pushes: Sequence[Push], now: datetime) -> dict[int, Push | None]:
    """Bind contacts to the ones that VirtualText already has.

    Return, by contact id, the update that is left to push; None: VirtualText has the contact exactly as wanted.
    """
    found = remote_matches(db, account, [push.phone for push in pushes])
    adopted: dict[int, Push | None] = {}
    events = []
    for push in pushes:
        matches = found.get(push.phone)
        if not matches:
            continue
        remote = matches[0]
        # Adopting never erases what VirtualText knows and the CRM leaves empty.
        name, email = push.full_name or remote.full_name, push.email or remote.email
        wanted = wanted_hash(push.phone, name, email)
        there = wanted_hash(push.phone, remote.full_name, remote.email)
        in_sync = wanted == there
        db.execute(
            update(contact)
            .where(c.id == push.contact_id)
            .values(
                virtualtext_id=remote.id,
                full_name=name,
                email=email,
                wanted_hash=wanted,
                pushed_hash=there,
                pushed_at=now,
                last_error="",
                **({"push_state": PushState.SYNCED, "attempts": 0} if in_sync else {}),
            )
        )
        detail = f"VirtualText already had it as {remote.id}"
        if len(matches) > 1:
            detail += f", and {len(matches) - 1} more with the same number"
        events.append((push.contact_id, "adopted", detail))
        update_left = replace(push, full_name=name, email=email, hash=wanted, virtualtext_id=remote.id)
        adopted[push.contact_id] = None if in_sync else update_left
    _add_events(db, events, now)
    return adopted


def remote_matches(db: Connection, account: str, phones: Collection[str]) -> dict[str, list[RemoteContact]]:
    """Return the contacts of VirtualText's stored list by phone, without those that are bound to a contact already."""
    if not phones:
        return {}
    r = remote_contact.c
    bound = select(c.id).where(c.account == account, c.virtualtext_id == r.virtualtext_id)
    rows = db.execute(
        select(r.virtualtext_id, r.phone, r.full_name, r.email)
        .where(r.account == account, any_of(db, r.phone, phones), ~bound.exists())
        .order_by(r.virtualtext_id)
    )
    matches: dict[str, list[RemoteContact]] = defaultdict(list)
    for row in rows:
        matches[row.phone].append(RemoteContact(*row))
    return matches


def write_back(db: Connection, owner: str, results: Sequence[PushResult], now: datetime) -> int:
    """Store the results of contacts that ``owner`` still holds. Return how many that were.

    A contact whose wanted fields changed during its request is due again at once. Contacts of an ended lease are left
    to ``expire_push_claims``.
    """
    if not results:
        return 0
    is_synced = bindparam("is_synced", type_=c.attempts.type) == 1
    sent = bindparam("sent", type_=c.wanted_hash.type)
    statement = (
        update(contact)
        .where(c.id == bindparam("contact"), PUSH_LEASE.is_held_by(owner))
        .values(
            push_state=case((and_(c.wanted_hash != sent, is_synced), PushState.DUE), else_=bindparam("state")),
            virtualtext_id=bindparam("remote"),
            pushed_hash=func.coalesce(sent, c.pushed_hash),
            pushed_at=case((is_synced, now), else_=c.pushed_at),
            attempts=case((is_synced, 0), else_=c.attempts),
            next_attempt_at=bindparam("next_at", type_=c.next_attempt_at.type),
            last_error=bindparam("error"),
            attempted_at=now,  # the request has ended; a lost create is looked up some time after that
            **PUSH_LEASE.released,
        )
    )
    rows = [
        {
            "contact": r.contact_id,
            "state": r.state,
            "sent": r.pushed_hash,
            "is_synced": int(r.state == PushState.SYNCED),
            "remote": r.virtualtext_id,
            "next_at": r.next_attempt_at or now,
            "error": r.error,
        }
        for r in results
    ]
    written = db.execute(statement, rows).rowcount
    _add_events(db, [(r.contact_id, *r.event) for r in results if r.event], now)
    return int(written)


def release_pushes(db: Connection, owner: str, contact_ids: Collection[int], now: datetime) -> None:
    """Give back contacts for which no request was begun."""
    PUSH_LEASE.release(
        db,
        owner,
        any_of(db, c.id, contact_ids),
        push_state=PushState.DUE,
        next_attempt_at=now,
        attempts=c.attempts - 1,
    )


def lost_creates(db: Connection, account: str, before: datetime) -> Sequence[tuple[int, str]]:
    """Return the creates whose response was lost before ``before``: (contact id, phone)."""
    old = or_(c.attempted_at.is_(None), c.attempted_at <= before)
    return db.execute(select(c.id, c.phone).where(c.account == account, c.push_state == PushState.UNKNOWN, old)).all()


def confirm_or_retry_creates(
    db: Connection, account: str, lost: Iterable[tuple[int, str]], before: datetime, now: datetime
) -> tuple[int, int]:
    """Make lost creates due again, once VirtualText's list was read after them.

    ``lost`` are the creates that were lost ``before`` the list was asked for. Those that the list holds are adopted by
    the next claim, the others are created again. One that another worker has repeated and lost again is left alone:
    the list may be older than its second request. Return (creates that were carried out, creates that were not).
    """
    lock_account(db, account)
    known = {contact_id for contact_id, _ in lost}
    contacts = [one for one in lost_creates(db, account, before) if one[0] in known]
    found = remote_matches(db, account, [phone for _, phone in contacts])
    there = [contact_id for contact_id, phone in contacts if phone in found]
    absent = [contact_id for contact_id, phone in contacts if phone not in found]
    for ids, kind, detail in (
        (there, "create_confirmed", "the create whose response was lost had succeeded: VirtualText's list has it"),
        (
            absent,
            "create_disproved",
            "the create whose response was lost had failed: VirtualText's list does not have it",
        ),
    ):
        if ids:
            db.execute(
                update(contact)
                .where(any_of(db, c.id, ids), c.push_state == PushState.UNKNOWN)
                .values(push_state=PushState.DUE, next_attempt_at=now, last_error="")
            )
            _add_events(db, [(contact_id, kind, detail) for contact_id in ids], now)
    return len(there), len(absent)


def recently_synced_id(db: Connection, account: str) -> str | None:
    """Return the id of a contact that was pushed recently. Requesting it shows if calls by id work."""
    return db.scalar(
        select(c.virtualtext_id)
        .where(c.account == account, c.push_state == PushState.SYNCED, c.virtualtext_id.is_not(None))
        .order_by(c.pushed_at.desc())
        .limit(1)
    )


def _add_events(db: Connection, events: Sequence[tuple[int, str, str]], now: datetime) -> None:
    if events:
        db.execute(
            contact_event.insert(),
            [
                {"contact_id": contact_id, "at": now, "kind": kind, "detail": detail}
                for contact_id, kind, detail in events
            ],
        )


def has_due(db: Connection, account: str, now: datetime) -> bool:
    """Return True if a worker has something to do for the account: push, look up, or take back an ended lease."""
    left = and_(c.push_state.in_((PushState.CREATING, PushState.UPDATING)), PUSH_LEASE.has_ended(now))
    waits = or_(_is_due(now), left, c.push_state == PushState.UNKNOWN)
    return db.scalar(select(c.id).where(c.account == account, waits).limit(1)) is not None


def oldest_due(db: Connection, account: str, now: datetime) -> datetime | None:
    """Return when the contact that has waited longest became due; None: none is due."""
    due = select(c.next_attempt_at).where(c.account == account, _is_due(now))
    oldest: datetime | None = db.scalar(due.order_by(c.next_attempt_at).limit(1))
    return oldest


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(c.push_state == PushState.DUE, c.next_attempt_at <= now)
