"""The rows of a push: claimed before a request leaves, written back by what came of it. All SQL of the push."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select, update

from worker.contacts.merge import wanted_hash
from worker.core.states import PushState
from worker.store.db import new_lease_owner
from worker.store.leases import LeaseColumns
from worker.store.sql import any_of, lock_account
from worker.store.tables import contact, contact_event, remote_contact

c = contact.c


@dataclass(frozen=True, slots=True)
class Push:
    """One contact claimed for one request. ``virtualtext_id`` None: create, else update."""

    contact_id: int
    phone: str
    full_name: str
    email: str
    hash: bytes
    virtualtext_id: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Contacts that are ours until ``until``; ``settled`` of them needed no request after all (adopted as they are)."""

    owner: str
    until: datetime
    pushes: Sequence[Push]
    adopted: int = 0
    settled: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What to write back for one push. ``pushed_hash`` set: VirtualText has these fields under ``virtualtext_id``."""

    contact_id: int
    state: PushState
    virtualtext_id: str | None
    pushed_hash: bytes | None = None
    next_attempt_at: datetime | None = None
    error: str = ""
    event: tuple[str, str] | None = None


def expire_claims(db: Connection, account: str, now: datetime) -> tuple[int, int]:
    """Claims whose worker vanished: (creates that are unknown now, updates that are due again)."""
    lapsed = and_(c.account == account, c.lease_until < now)
    free: dict[str, Any] = {"lease_owner": None, "lease_until": None}
    unknown = db.execute(
        update(contact)
        .where(lapsed, c.push_state == PushState.CREATING)
        .values(
            push_state=PushState.UNKNOWN,
            last_error="the worker that was creating it vanished",
            attempted_at=c.lease_until,  # its request may have ended as late as that
            **free,
        )
    ).rowcount
    due = db.execute(
        update(contact)
        .where(lapsed, c.push_state == PushState.UPDATING)
        .values(push_state=PushState.DUE, next_attempt_at=now, **free)
    ).rowcount
    return unknown, due


def has_work(db: Connection, account: str, now: datetime) -> bool:
    """Whether anything is due or waits to be settled."""
    due = and_(c.push_state == PushState.DUE, c.next_attempt_at <= now)
    found = select(c.id).where(c.account == account, or_(due, c.push_state == PushState.UNKNOWN)).limit(1)
    return db.scalar(found) is not None


def has_creates(db: Connection, account: str) -> bool:
    """Whether any contact that is due is not in VirtualText, as far as is known."""
    found = select(c.id).where(c.account == account, c.push_state == PushState.DUE, c.virtualtext_id.is_(None)).limit(1)
    return db.scalar(found) is not None


def claim(db: Connection, account: str, limit: int, seconds: float, now: datetime) -> Claim:
    """Take up to ``limit`` due contacts: from here on a crash means "maybe on the wire".

    Contacts that VirtualText's list already holds are adopted instead of created; those that are there exactly as
    wanted need no request.
    """
    lock_account(db, account)
    owner, until = new_lease_owner(), now + timedelta(seconds=seconds)
    due = and_(c.account == account, c.push_state == PushState.DUE, c.next_attempt_at <= now)
    rows = db.execute(
        select(c.id, c.phone, c.full_name, c.email, c.wanted_hash, c.virtualtext_id, c.attempts)
        .where(due)
        .order_by(c.next_attempt_at, c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    pushes = [Push(*row[:6], row.attempts + 1) for row in rows]
    adopted = _adopt(db, account, [push for push in pushes if push.virtualtext_id is None], now)
    pushes = [adopted.get(push.contact_id, push) for push in pushes]
    settled = {push.contact_id for push in adopted.values() if push.attempt == 0}
    pushes = [push for push in pushes if push.contact_id not in settled]
    if pushes:
        db.execute(
            update(contact)
            .where(any_of(db, c.id, [push.contact_id for push in pushes]))
            .values(
                push_state=case((c.virtualtext_id.is_(None), PushState.CREATING), else_=PushState.UPDATING),
                lease_owner=owner,
                lease_until=until,
                attempted_at=now,
                attempts=c.attempts + 1,
            )
        )
    return Claim(owner, until, pushes, len(adopted), len(settled))


def _adopt(db: Connection, account: str, pushes: Sequence[Push], now: datetime) -> dict[int, Push]:
    """Bind contacts that VirtualText already has. The result's ``attempt`` is 0 where nothing is left to say."""
    found = remote_matches(db, account, [push.phone for push in pushes])
    adopted: dict[int, Push] = {}
    for push in pushes:
        matches = found.get(push.phone)
        if not matches:
            continue
        remote_id, remote_name, remote_email = matches[0]
        # What the CRM leaves empty VirtualText may know: adopting never erases it.
        name, email = push.full_name or remote_name, push.email or remote_email
        wanted = wanted_hash(push.phone, name, email)
        there = wanted_hash(push.phone, remote_name, remote_email)
        same = wanted == there
        db.execute(
            update(contact)
            .where(c.id == push.contact_id)
            .values(
                virtualtext_id=remote_id,
                full_name=name,
                email=email,
                wanted_hash=wanted,
                pushed_hash=there,
                pushed_at=now,
                last_error="",
                **({"push_state": PushState.SYNCED, "attempts": 0} if same else {}),
            )
        )
        detail = f"VirtualText already had it as {remote_id}"
        if len(matches) > 1:
            detail += f", and {len(matches) - 1} more with the same number"
        _note(db, [(push.contact_id, "adopted", detail)], now)
        adopted[push.contact_id] = Push(
            push.contact_id, push.phone, name, email, wanted, remote_id, 0 if same else push.attempt
        )
    return adopted


def remote_matches(db: Connection, account: str, phones: Collection[str]) -> dict[str, list[tuple[str, str, str]]]:
    """Phone -> [(id, name, email)] in VirtualText's list as last read, without ids that are bound already."""
    if not phones:
        return {}
    r = remote_contact.c
    bound = select(c.id).where(c.account == account, c.virtualtext_id == r.virtualtext_id)
    rows = db.execute(
        select(r.phone, r.virtualtext_id, r.full_name, r.email)
        .where(r.account == account, any_of(db, r.phone, phones), ~bound.exists())
        .order_by(r.virtualtext_id)
    )
    matches: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for phone, virtualtext_id, full_name, email in rows:
        matches[phone].append((virtualtext_id, full_name, email))
    return matches


def write_back(db: Connection, owner: str, results: Sequence[Result], now: datetime) -> int:
    """Store results of contacts that are still ours; returns how many were. The rest is found again by its lease.

    A contact whose wanted fields changed while the request was on the wire is due again at once.
    """
    if not results:
        return 0
    moved_on = and_(
        c.wanted_hash != bindparam("sent", type_=contact.c.wanted_hash.type),
        bindparam("is_synced", type_=c.attempts.type) == 1,
    )
    statement = (
        update(contact)
        .where(c.id == bindparam("contact"), c.lease_owner == owner)
        .values(
            push_state=case((moved_on, PushState.DUE), else_=bindparam("state")),
            virtualtext_id=bindparam("remote"),
            pushed_hash=func.coalesce(bindparam("sent", type_=c.wanted_hash.type), c.pushed_hash),
            pushed_at=case((bindparam("is_synced", type_=c.attempts.type) == 1, now), else_=c.pushed_at),
            attempts=case((bindparam("is_synced", type_=c.attempts.type) == 1, 0), else_=c.attempts),
            next_attempt_at=bindparam("next_at", type_=c.next_attempt_at.type),
            last_error=bindparam("error"),
            attempted_at=now,  # the request has ended: the list is asked for so long after that
            lease_owner=None,
            lease_until=None,
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
    _note(db, [(r.contact_id, *r.event) for r in results if r.event], now)
    return int(written)


def release(db: Connection, owner: str, contact_ids: Collection[int], now: datetime) -> None:
    """Give back contacts for which no request was begun."""
    if contact_ids:
        db.execute(
            update(contact)
            .where(any_of(db, c.id, contact_ids), c.lease_owner == owner)
            .values(
                push_state=PushState.DUE,
                lease_owner=None,
                lease_until=None,
                next_attempt_at=now,
                attempts=c.attempts - 1,
            )
        )


def unsettled(db: Connection, account: str, before: datetime) -> Sequence[tuple[int, str]]:
    """Creates whose answer was lost before ``before``: (contact id, phone)."""
    old = or_(c.attempted_at.is_(None), c.attempted_at <= before)
    return db.execute(select(c.id, c.phone).where(c.account == account, c.push_state == PushState.UNKNOWN, old)).all()


def settle(
    db: Connection, account: str, unknown: Iterable[tuple[int, str]], before: datetime, now: datetime
) -> tuple[int, int]:
    """With a list that was asked for afterwards: of the creates that were ``unknown`` and lost ``before``, (those that
    were carried out, those that were not).

    Both become due; the next claim adopts the ones that the list holds. One that another worker has settled and lost
    again meanwhile is left: the list may be older than its second request.
    """
    lock_account(db, account)
    known = {contact_id for contact_id, _ in unknown}
    contacts = [one for one in unsettled(db, account, before) if one[0] in known]
    found = remote_matches(db, account, [phone for _, phone in contacts])
    there = [contact_id for contact_id, phone in contacts if phone in found]
    absent = [contact_id for contact_id, phone in contacts if phone not in found]
    for ids, kind, detail in (
        (there, "create_confirmed", "the lost answer was a success: VirtualText's list has it"),
        (
            absent,
            "create_disproved",
            "the lost create was not carried out: VirtualText's list does not have it",
        ),
    ):
        if ids:
            db.execute(
                update(contact)
                .where(any_of(db, c.id, ids), c.push_state == PushState.UNKNOWN)
                .values(push_state=PushState.DUE, next_attempt_at=now, last_error="")
            )
            _note(db, [(contact_id, kind, detail) for contact_id in ids], now)
    return len(there), len(absent)


def a_synced_id(db: Connection, account: str) -> str | None:
    """The id of some contact that VirtualText was told of lately: asking for it tells whether by-id calls work."""
    return db.scalar(
        select(c.virtualtext_id)
        .where(
            c.account == account,
            c.push_state == PushState.SYNCED,
            c.virtualtext_id.is_not(None),
        )
        .order_by(c.pushed_at.desc())
        .limit(1)
    )


def _note(db: Connection, events: Sequence[tuple[int, str, str]], now: datetime) -> None:
    if events:
        db.execute(
            contact_event.insert(),
            [
                {"contact_id": contact_id, "at": now, "kind": kind, "detail": detail}
                for contact_id, kind, detail in events
            ],
        )


def has_due(db: Connection, account: str, now: datetime) -> bool:
    """Return whether a worker has something to do for the account: push, look up, or take back an ended lease."""
    due = and_(c.push_state == PushState.DUE, c.next_attempt_at <= now)
    left = and_(c.push_state.in_((PushState.CREATING, PushState.UPDATING)), LeaseColumns(contact).has_ended(now))
    waits = or_(due, left, c.push_state == PushState.UNKNOWN)
    return db.scalar(select(c.id).where(c.account == account, waits).limit(1)) is not None


def oldest_due(db: Connection, account: str, now: datetime) -> datetime | None:
    """Return since when the contact is due that has waited longest; None: none is due."""
    due = select(c.next_attempt_at).where(c.account == account, c.push_state == PushState.DUE, c.next_attempt_at <= now)
    oldest: datetime | None = db.scalar(due.order_by(c.next_attempt_at).limit(1))
    return oldest
