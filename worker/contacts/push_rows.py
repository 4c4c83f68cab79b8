"""The rows of a push: claimed before a request leaves, written back with its result. All SQL of the push."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, delete, func, not_, or_, select, update

from worker.contacts.answers import RETRY_BY_HAND, WRONG_ANSWERS, wrong_answer_wait
from worker.contacts.merge import wanted_hash
from worker.core.states import PushState
from worker.store.leases import Lease, LeaseColumns, new_lease
from worker.store.sealed import both_forms, is_hash_of
from worker.store.sql import any_of, lock_account
from worker.store.tables import contact, contact_event, remote_contact
from worker.virtualtext.outcomes import RemoteContact

PUSH_LEASE = LeaseColumns(contact)
MOST_WITHOUT_OTHERS = 3

c = contact.c


@dataclass(frozen=True, slots=True)
class Push:
    """One contact claimed for one request. ``virtualtext_id`` None: a create, else an update.

    The other fields are what earlier requests have left in the contact's row, see ``worker.store.models.Contact``.
    """

    contact_id: int
    phone: str
    full_name: str
    email: str
    hash: bytes
    virtualtext_id: str | None
    attempt: int
    pushed_hash: bytes | None = None
    pushed_at: datetime | None = None
    missing_checks: int = 0
    missing_at: datetime | None = None
    former_id: str | None = None
    wrong_answers: int = 0
    followed: bool = False
    """One more update was made already because VirtualText had responded with other fields than these."""

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
    """What to write back for one push. ``pushed_hash`` set: VirtualText has these fields under ``virtualtext_id``.

    ``former_id`` is an id that is given up now, ``unusable_id`` one that the stored list has wrongly. ``adopted`` are
    the name and the email, with what VirtualText had and the CRM leaves empty; ``pushed_hash`` is theirs.
    """

    contact_id: int
    state: PushState
    virtualtext_id: str | None
    pushed_hash: bytes | None = None
    next_attempt_at: datetime | None = None
    error: str = ""
    event: tuple[str, str] | None = None
    missing_checks: int = 0
    missing_at: datetime | None = None
    wrong_answers: int = 0
    followed_hash: bytes | None = None
    former_id: str | None = None
    unusable_id: str | None = None
    adopted: tuple[str, str] | None = None


_CLAIMED = (
    c.id,
    c.phone,
    c.full_name,
    c.email,
    c.wanted_hash,
    c.virtualtext_id,
    c.attempts + 1,
    c.pushed_hash,
    c.pushed_at,
    c.missing_checks,
    c.missing_at,
    c.former_id,
    c.wrong_answers,
    c.followed_hash,
)
"""The fields of a ``Push``, in their order; the last one decides ``followed``."""


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


def has_creates(db: Connection, account: str, only: Collection[str] | None = None) -> bool:
    """Return True if any due contact (``only``: with one of these numbers) is not known to be in VirtualText."""
    due = (c.account == account, c.push_state == PushState.DUE, c.virtualtext_id.is_(None), *_among(only))
    return db.scalar(select(c.id).where(*due).limit(1)) is not None


def claim_pushes(
    db: Connection, account: str, limit: int, seconds: float, now: datetime, only: Collection[str] | None = None
) -> PushClaim:
    """Claim up to ``limit`` due contacts. From here on, a crash means that a request may be on its way.

    ``only``: the numbers that may be written about; the other contacts stay due.

    Contacts that VirtualText's list already holds are adopted instead of created.
    """
    lock_account(db, account)
    lease = new_lease(now, seconds)
    due = and_(c.account == account, _is_due(now, only))
    rows = db.execute(
        select(*_CLAIMED).where(due).order_by(c.next_attempt_at, c.id).limit(limit).with_for_update(skip_locked=True)
    ).all()
    found = [replace(Push(*row), followed=row.followed_hash == row.wanted_hash) for row in rows]
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
        remote = next((one for one in matches if one.id == push.former_id), matches[0])
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
    sent = bindparam("sent", type_=c.pushed_hash.type)
    is_wanted = is_hash_of(c.wanted_hash, "sent")
    statement = (
        update(contact)
        .where(c.id == bindparam("contact"), PUSH_LEASE.is_held_by(owner))
        .values(
            push_state=case((and_(not_(is_wanted), is_synced), PushState.DUE), else_=bindparam("state")),
            virtualtext_id=bindparam("remote"),
            pushed_hash=func.coalesce(sent, c.pushed_hash),
            pushed_at=case((sent.is_not(None), now), else_=c.pushed_at),
            attempts=case((is_synced, 0), else_=c.attempts),
            next_attempt_at=bindparam("next_at", type_=c.next_attempt_at.type),
            last_error=bindparam("error"),
            missing_checks=bindparam("checks"),
            missing_at=bindparam("checked_at", type_=c.missing_at.type),
            wrong_answers=bindparam("wrong"),
            followed_hash=func.coalesce(bindparam("followed", type_=c.followed_hash.type), c.followed_hash),
            former_id=func.coalesce(bindparam("former", type_=c.former_id.type), c.former_id),
            attempted_at=now,  # the request has ended; a lost create is looked up some time after that
            **PUSH_LEASE.released,
        )
    )
    rows = [
        {
            "contact": r.contact_id,
            "state": r.state,
            **both_forms("sent", r.pushed_hash),
            "is_synced": int(r.state == PushState.SYNCED),
            "remote": r.virtualtext_id,
            "next_at": r.next_attempt_at or now,
            "error": r.error,
            "checks": r.missing_checks,
            "checked_at": r.missing_at,
            "wrong": r.wrong_answers,
            "followed": r.followed_hash,
            "former": r.former_id,
        }
        for r in results
    ]
    _keep_adopted(db, owner, [r for r in results if r.adopted])
    written = db.execute(statement, rows).rowcount
    _forget_listed(db, [r for r in results if r.unusable_id])
    _add_events(db, [(r.contact_id, *r.event) for r in results if r.event], now)
    return int(written)


def _keep_adopted(db: Connection, owner: str, results: Iterable[PushResult]) -> None:
    """Keep what VirtualText has and the CRM leaves empty, unless the contact has changed during the request."""
    for result in results:
        name, email = result.adopted or ("", "")
        row = db.execute(select(c.phone, c.full_name, c.email).where(c.id == result.contact_id)).one()
        wanted = wanted_hash(row.phone, row.full_name or name, row.email or email)
        fields = {"full_name": row.full_name or name, "email": row.email or email, "wanted_hash": wanted}
        db.execute(update(contact).where(c.id == result.contact_id, PUSH_LEASE.is_held_by(owner)).values(**fields))


def _forget_listed(db: Connection, results: Iterable[PushResult]) -> None:
    """Delete ids from the stored list that VirtualText does not know, or has for another number."""
    for result in results:
        r = remote_contact.c
        account = select(c.account).where(c.id == result.contact_id).scalar_subquery()
        db.execute(delete(remote_contact).where(r.account == account, r.virtualtext_id == result.unusable_id))


def keep_pushes(db: Connection, lease: Lease, contact_ids: Collection[int]) -> None:
    """Hold contacts longer, until their look-ups have ended."""
    PUSH_LEASE.renew(db, lease, any_of(db, c.id, contact_ids))


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
    if absent:
        _slow_down_wrong_creates(db, absent, now)
    return len(there), len(absent)


def _slow_down_wrong_creates(db: Connection, contact_ids: Sequence[int], now: datetime) -> None:
    """Let creates wait that were answered with something else and not carried out; after some, a person must look."""
    these = any_of(db, c.id, contact_ids)
    for tries in range(2, WRONG_ANSWERS):
        again_at = now + wrong_answer_wait(tries)
        db.execute(update(contact).where(these, c.wrong_answers == tries).values(next_attempt_at=again_at))
    too_many = db.scalars(select(c.id).where(these, c.wrong_answers >= WRONG_ANSWERS)).all()
    if not too_many:
        return
    error = (
        f"VirtualText responded to {WRONG_ANSWERS} creates with something else than the contact, and its list does not"
        f" have it; {RETRY_BY_HAND}"
    )
    values = {"push_state": PushState.REJECTED, "wrong_answers": 0, "last_error": error}
    db.execute(update(contact).where(any_of(db, c.id, too_many)).values(**values))
    _add_events(db, [(contact_id, "push_rejected", error) for contact_id in too_many], now)


def recently_synced_ids(db: Connection, account: str, limit: int) -> Sequence[str]:
    """Return ids of contacts that were pushed recently. Requesting them shows if requests by id are served."""
    known = (c.account == account, c.push_state == PushState.SYNCED, c.virtualtext_id.is_not(None))
    return db.scalars(select(c.virtualtext_id).where(*known).order_by(c.pushed_at.desc()).limit(limit)).all()


def list_can_disprove(db: Connection, account: str, missing: Collection[str]) -> bool:
    """Return True if the stored list may show that these ids are gone.

    It must have another id of ours, since a platform that fails may return an empty list. Where there are no others,
    it may show that for ``MOST_WITHOUT_OTHERS`` ids.
    """
    r = remote_contact.c
    others = select(c.id).where(
        c.account == account, c.virtualtext_id.is_not(None), ~any_of(db, c.virtualtext_id, missing)
    )
    listed = select(r.phone).where(r.account == account, r.virtualtext_id == c.virtualtext_id)
    if db.scalar(others.where(listed.exists()).limit(1)) is not None:
        return True
    return len(missing) <= MOST_WITHOUT_OTHERS and db.scalar(others.limit(1)) is None


def ids_of_others(db: Connection, account: str, found: Mapping[int, str]) -> set[int]:
    """Return which contacts were answered with an id that another contact has. ``found``: contact id -> that id."""
    if not found:
        return set()
    rows = db.execute(
        select(c.id, c.virtualtext_id).where(
            c.account == account, any_of(db, c.virtualtext_id, sorted(set(found.values())))
        )
    ).all()
    owner = {row.virtualtext_id: row.id for row in rows}
    for contact_id, virtualtext_id in found.items():
        owner.setdefault(virtualtext_id, contact_id)
    return {contact_id for contact_id, virtualtext_id in found.items() if owner[virtualtext_id] != contact_id}


def note_working_id(db: Connection, account: str, virtualtext_id: str, phone: str, now: datetime) -> bool:
    """Note that VirtualText uses an id for a phone. An id that was given up is used again. Return True if it is.

    A contact whose request is on its way is left alone; the next text of the conversation comes back to it.
    """
    if not virtualtext_id:
        return False
    this = (c.account == account, c.phone == phone)
    missed = and_(c.virtualtext_id == virtualtext_id, c.missing_checks > 0)
    found = db.execute(select(c.id, c.former_id).where(*this, or_(c.former_id == virtualtext_id, missed))).first()
    if found is None:
        return False
    free = (c.id == found.id, c.push_state.not_in((PushState.CREATING, PushState.UPDATING)))
    if found.former_id != virtualtext_id:
        db.execute(update(contact).where(*free).values(missing_checks=0, missing_at=None))
        return False
    taken = select(c.id).where(c.account == account, c.virtualtext_id == virtualtext_id)
    again = (
        update(contact)
        .where(*free, ~taken.exists())
        .values(
            virtualtext_id=virtualtext_id,
            former_id=None,
            push_state=PushState.DUE,
            next_attempt_at=now,
            last_error="",
            attempts=0,
            missing_checks=0,
            missing_at=None,
        )
    )
    if db.execute(again).rowcount == 0:
        return False
    detail = f"a text of the conversation {virtualtext_id} shows that VirtualText knows this id again"
    _add_events(db, [(found.id, "virtualtext_id_used_again", detail)], now)
    return True


def _add_events(db: Connection, events: Sequence[tuple[int, str, str]], now: datetime) -> None:
    if events:
        db.execute(
            contact_event.insert(),
            [
                {"contact_id": contact_id, "at": now, "kind": kind, "detail": detail}
                for contact_id, kind, detail in events
            ],
        )


def has_due(db: Connection, account: str, now: datetime, only: Collection[str] | None = None) -> bool:
    """Return True if a worker has something to do for the account: push, look up, or take back an ended lease.

    ``only``: the numbers that may be written about; other contacts that are due do not count.
    """
    left = and_(c.push_state.in_((PushState.CREATING, PushState.UPDATING)), PUSH_LEASE.has_ended(now))
    waits = or_(_is_due(now, only), left, c.push_state == PushState.UNKNOWN)
    return db.scalar(select(c.id).where(c.account == account, waits).limit(1)) is not None


def count_due(db: Connection, account: str, now: datetime, only: Collection[str] | None = None) -> int:
    """Count the contacts (``only``: those with one of these numbers) that are due."""
    return db.scalar(select(func.count()).where(c.account == account, _is_due(now, only))) or 0


def oldest_due(db: Connection, account: str, now: datetime, only: Collection[str] | None = None) -> datetime | None:
    """Return when the contact (``only``: with one of these numbers) that has waited longest became due, or None."""
    due = select(c.next_attempt_at).where(c.account == account, _is_due(now, only))
    oldest: datetime | None = db.scalar(due.order_by(c.next_attempt_at).limit(1))
    return oldest


def _is_due(now: datetime, only: Collection[str] | None) -> ColumnElement[bool]:
    return and_(c.push_state == PushState.DUE, c.next_attempt_at <= now, *_among(only))


def _among(only: Collection[str] | None) -> tuple[ColumnElement[bool], ...]:
    return () if only is None else (c.phone.in_(sorted(only)),)
