"""VirtualText's whole contact list, read in one request.

It lets contacts be adopted instead of created twice, and shows if a create whose response was lost was carried out.
If the platform cannot return it, everything else works without it: after a 408 (large accounts) at once, after other
failures when a few tries have failed while other calls work (``list_answer``). It is asked for again later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Connection, case, delete, func, or_, select, update

from worker.contacts.list_answer import LIST_RETRY_AFTER, LIST_TRIES, ListVerdict, judge_list, needs_proof
from worker.core.backoff import Backoff
from worker.core.phones import PhoneProblem, parse_phone
from worker.core.progress import Progress, untold
from worker.limits.account_gate import Permit, apply_effect, begin_probe, permitted
from worker.limits.account_proof import prove_account
from worker.messages.forgotten import forgotten_numbers, is_anybody_forgotten
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.leases import Lease, LeaseColumns, lease_end, new_lease
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import account_state, contact, remote_contact
from worker.virtualtext.outcomes import Outcome, RemoteContact, outcome_text

ROWS = 1000
ASK_AGAIN_AFTER = timedelta(days=1)
"""After a 408: the account may have shrunk since, or the platform improved."""
ASK_AGAIN = Backoff(first=3600.0, longest=ASK_AGAIN_AFTER.total_seconds())
"""After failures, which may end at any time: wait an hour, then longer each time."""
FRESH_FOR = timedelta(hours=1)
PROVING_CONTACTS = 3
"""A contact that proves that calls by id work may have been deleted, so some more are asked for."""
LONGEST_ID = 255
"""The longest id or phone that is stored: a database refuses an index entry of a few thousand bytes."""
LIST_LEASE = LeaseColumns(account_state, "list_")

log = structlog.get_logger(__name__)


class Listing(StrEnum):
    """The result of asking for the list."""

    READ = "read"
    UNAVAILABLE = "unavailable"
    """The platform cannot return it. Continue without it."""
    LATER = "later"
    """Another worker is reading it, or it failed for now. A create could make a duplicate, so wait."""


@dataclass(frozen=True, slots=True)
class ListState:
    """What is known of an account's list. ``listed_at``: when it was last read; ``unavailable_at``: since when it is
    not asked for; ``failures``: how often in a row it failed; ``error``: how, the last time.
    """

    listed_at: datetime | None = None
    unavailable_at: datetime | None = None
    failures: int = 0
    error: str = ""

    def is_fresh(self, now: datetime) -> bool:
        """True if the stored list is recent enough to create contacts by."""
        return self.listed_at is not None and now - self.listed_at < FRESH_FOR

    def is_unavailable(self, now: datetime) -> bool:
        """True while the list is not asked for."""
        return self.ask_again_at is not None and now < self.ask_again_at

    @property
    def later_text(self) -> str:
        """Describe, for a person, that contacts wait for the list."""
        tries = f", try {self.failures} of {LIST_TRIES}" if 0 < self.failures <= LIST_TRIES else ""
        why = f" ({self.error}{tries})" if self.error else ""
        return (
            f"VirtualText's contact list could not be read yet{why}; to avoid duplicates, no contact is created before"
            f" it is read or has failed {LIST_TRIES} times. The running workers try again by themselves"
        )

    @property
    def ask_again_at(self) -> datetime | None:
        """When an unavailable list is asked for again."""
        if self.unavailable_at is None:
            return None
        given_up = self.failures - LIST_TRIES + 1
        return self.unavailable_at + (ASK_AGAIN.wait(given_up) if given_up > 0 else ASK_AGAIN_AFTER)


def list_state(db: Connection, account: str) -> ListState:
    """Read what is known of the account's list."""
    a = account_state.c
    columns = (a.listed_at, a.list_unavailable_at, a.list_failures, a.list_error)
    row = db.execute(select(*columns).where(a.account == account)).first()
    return ListState() if row is None else ListState(*row)


def is_unavailable(db: Connection, account: str) -> bool:
    """Return True if the account's list counts as unavailable now."""
    return list_state(db, account).is_unavailable(utcnow())


def ensure_list(runtime: Runtime, account: str) -> Listing:
    """Before contacts are created, make sure that the list was read recently or is known to be unavailable.

    People and inbound texts create contacts in VirtualText, too. Before the first reading nothing is created; if a
    later reading fails, the older list is used.
    """
    with reading(runtime.engine) as db:
        state = list_state(db, account)
    if state.is_fresh(utcnow()):
        return Listing.READ
    if state.is_unavailable(utcnow()):
        return Listing.UNAVAILABLE
    listing = read_list(runtime, account)
    return Listing.READ if listing is Listing.LATER and state.listed_at is not None else listing


def read_list(
    runtime: Runtime,
    account: str,
    seen: Callable[[Sequence[RemoteContact]], None] | None = None,
    progress: Progress = untold,
) -> Listing:
    """Read the list into ``remote_contact``, one worker at a time. The request may be the account's probe.

    ``seen`` gets the list, too, if it was read. ``progress`` counts the contacts that are stored.
    """
    permit = permitted(runtime.engine, account, runtime.stop.wait)
    lease = new_lease(utcnow(), runtime.lease_seconds(account))
    if not permit or not _take(runtime, account, lease, permit):
        return Listing.LATER
    began = utcnow()
    outcome = runtime.client(account).list_contacts()
    if outcome.done and not _store(runtime, account, outcome.value or [], began, lease.owner, progress):
        return Listing.LATER
    if outcome.done and seen is not None:
        seen(outcome.value or [])
    with reading(runtime.engine) as db:
        failures = list_state(db, account).failures + 1
    verdict = _judge(runtime, account, outcome, failures, probe=permit.probe)
    rate = runtime.limiter.observed_rate(account) if verdict.effect.lowers_rate else None
    with writing(runtime.engine) as db:
        apply_effect(db, account, verdict.effect, utcnow(), began_at=began, probe=permit.probe, rate=rate)
        if outcome.done:
            return Listing.READ if _note_read(db, account, lease.owner, began) else Listing.LATER
        _note_failure(db, account, lease.owner, began, verdict, outcome_text(outcome), failures)
    _log_failure(account, outcome, verdict, failures)
    return Listing.UNAVAILABLE if verdict.unavailable else Listing.LATER


def store_other_list(
    runtime: Runtime, account: str, contacts: Sequence[RemoteContact], now: datetime, progress: Progress = untold
) -> bool:
    """Replace the stored list by ``contacts``, as they were ``now``. Return False while another worker reads it."""
    lease = new_lease(now, runtime.lease_seconds(account))
    if not _take(runtime, account, lease, Permit(True)):
        return False
    if not _store(runtime, account, contacts, now, lease.owner, progress):
        return False
    with writing(runtime.engine) as db:
        values = {"listed_at": now}
        return LIST_LEASE.release(db, lease.owner, account_state.c.account == account, **values) == 1


def _judge(runtime: Runtime, account: str, outcome: Outcome[Any], failures: int, *, probe: bool) -> ListVerdict:
    """Judge a response. If it may be about the list alone, let a call by id show whether it is."""
    proof = None
    if needs_proof(outcome, failures, probe=probe):
        c = contact.c
        has_id = select(c.virtualtext_id).where(c.account == account, c.virtualtext_id.is_not(None))
        with reading(runtime.engine) as db:
            known = db.scalars(has_id.order_by(c.id.desc()).limit(PROVING_CONTACTS)).all()
        proof = prove_account(runtime.client(account), known)
    return judge_list(outcome, failures, proof=proof, probe=probe)


def _note_read(db: Connection, account: str, owner: str, listed_at: datetime) -> bool:
    """Store that the list was read, and end the lease. Return False when another worker has taken it."""
    a = account_state.c
    known = {"listed_at": listed_at, "list_unavailable_at": None, "list_failures": 0, "list_error": ""}
    linked = {
        "linked_at": func.coalesce(a.linked_at, listed_at),
        "linked_how": case((a.linked_at.is_(None), "list"), else_=a.linked_how),
    }
    return LIST_LEASE.release(db, owner, a.account == account, **known, **linked) == 1


def _note_failure(
    db: Connection, account: str, owner: str, began: datetime, verdict: ListVerdict, error: str, failures: int
) -> None:
    """Store that the list was not read. Until the next try the lease is kept, so that no other worker asks for it.

    It counts even if another worker has the lease by now: where every response takes too long, each of them loses it.
    """
    this = account_state.c.account == account
    if verdict.unavailable or verdict.effect.stop:
        LIST_LEASE.release(db, owner, this)
    else:
        LIST_LEASE.renew(db, Lease(owner, utcnow() + LIST_RETRY_AFTER), this)
    values: dict[str, Any] = {"list_error": error}
    if verdict.unavailable:
        values |= {"list_unavailable_at": began, "list_failures": 0}
    if verdict.failed:
        values["list_failures"] = failures
    listed_at = account_state.c.listed_at
    not_read_since = or_(listed_at.is_(None), listed_at < began)
    db.execute(update(account_state).where(this, not_read_since).values(**values))


def _log_failure(account: str, outcome: Outcome[Any], verdict: ListVerdict, failures: int) -> None:
    why = outcome_text(outcome)
    if verdict.unavailable:
        log.warning(
            "VirtualText cannot return the contact list of this account, so the list is not used; `vtsync status` shows"
            " when it is asked for again. Until then, contacts that people create in VirtualText are not adopted, and a"
            " create whose response is lost needs a person",
            account=account,
            why=why,
        )
    elif not verdict.effect.stop:
        log.warning(
            "VirtualText's contact list could not be read; it is tried again later",
            account=account,
            why=why,
            failures=failures if verdict.failed else None,
        )


def _take(runtime: Runtime, account: str, lease: Lease, permit: Permit) -> bool:
    """Take the list's lease, and the probe if the permit asks for one.

    Return False when another worker has either, or the list failed a moment ago.
    """
    now, this = utcnow(), account_state.c.account == account
    with writing(runtime.engine) as db:
        db.execute(
            insert(db, account_state).on_conflict_do_nothing(index_elements=["account"]),
            {"account": account, "stopped_reason": ""},
        )
        if not LIST_LEASE.take(db, lease, now, this):
            return False
        if permit.probe and not begin_probe(db, account, now, runtime.lease_seconds(account)):
            LIST_LEASE.release(db, lease.owner, this)
            return False
        return True


def _store(
    runtime: Runtime,
    account: str,
    contacts: Sequence[RemoteContact],
    began: datetime,
    owner: str,
    progress: Progress,
) -> bool:
    """Store the list in parts, each only while the lease is held. Return False when another worker took it.

    An older list must not be mixed into a newer one: contacts missing in the mixture would be created twice.
    """
    storable = [as_stored(contact) for contact in contacts if _can_be_stored(contact)]
    for start in range(0, len(storable), ROWS):
        with writing(runtime.engine) as db:
            if not _renew(runtime, db, account, owner):
                return False
            part = storable[start : start + ROWS]
            erased = forgotten_numbers(db, {contact.phone for contact in part}) if is_anybody_forgotten(db) else {}
            rows = [_row(account, contact, began) for contact in part if contact.phone not in erased]
            statement = insert(db, remote_contact)
            if rows:
                db.execute(
                    statement.on_conflict_do_update(
                        index_elements=["account", "virtualtext_id"],
                        set_={key: statement.excluded[key] for key in ("phone", "full_name", "email", "listed_at")},
                    ),
                    rows,
                )
        progress(start + len(part), len(storable))
    with writing(runtime.engine) as db:
        if not _renew(runtime, db, account, owner):
            return False
        r = remote_contact.c
        db.execute(delete(remote_contact).where(r.account == account, r.listed_at < began))
    return True


def _renew(runtime: Runtime, db: Connection, account: str, owner: str) -> bool:
    until = lease_end(utcnow(), runtime.lease_seconds(account))
    return LIST_LEASE.renew(db, Lease(owner, until), account_state.c.account == account)


def as_stored(contact: RemoteContact) -> RemoteContact:
    """Return the contact with its number as E.164, and without a name that is only the number.

    The platform puts the number in place of a name that it was not given (documented).
    """
    parsed = parse_phone(contact.phone, None)
    phone = contact.phone if isinstance(parsed, PhoneProblem) else parsed.e164
    name = "" if contact.full_name in (phone, contact.phone) else contact.full_name
    return RemoteContact(contact.id, phone, name.replace("\0", ""), contact.email.replace("\0", ""))


def _can_be_stored(contact: RemoteContact) -> bool:
    """Return False for an entry that a database refuses and no contact could match; the others still count."""
    return "\0" not in contact.id + contact.phone and len(contact.id) <= LONGEST_ID and len(contact.phone) <= LONGEST_ID


def _row(account: str, contact: RemoteContact, began: datetime) -> dict[str, object]:
    return {
        "account": account,
        "virtualtext_id": contact.id,
        "phone": contact.phone,
        "full_name": contact.full_name,
        "email": contact.email,
        "listed_at": began,
    }
