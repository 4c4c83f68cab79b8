"""VirtualText's whole contact list, read in one request.

It lets contacts be adopted instead of created twice, and shows if a create whose response was lost was carried out.
If the platform cannot return it (408 on large accounts), everything else works without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

import structlog
from sqlalchemy import Connection, delete, select

from worker.core.phones import PhoneProblem, parse_phone
from worker.limits.account_effect import account_effect
from worker.limits.account_gate import Permit, apply_effect, begin_probe, permitted
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.leases import Lease, LeaseColumns, new_lease
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import account_state, remote_contact
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact

ROWS = 1000
ASK_AGAIN_AFTER = timedelta(days=1)
"""Wait this long after a refusal: the account may have shrunk since, or the platform improved."""
FRESH_FOR = timedelta(hours=1)
RETRY_AFTER = timedelta(seconds=30)
LIST_LEASE = LeaseColumns(account_state, "list_")

log = structlog.get_logger(__name__)


class Listing(StrEnum):
    """The result of asking for the list."""

    READ = "read"
    UNAVAILABLE = "unavailable"
    """The platform cannot return it. Continue without it."""
    LATER = "later"
    """Another worker is reading it, or it failed for now. A create could make a duplicate, so wait."""


def ensure_list(runtime: Runtime, account: str) -> Listing:
    """Before contacts are created, make sure that the list was read recently or is known to be unavailable.

    People and inbound texts create contacts in VirtualText, too. Before the first reading nothing is created; if a
    later reading fails, the older list is used.
    """
    now = utcnow()
    with reading(runtime.engine) as db:
        row = db.execute(select(account_state).where(account_state.c.account == account)).mappings().first()
    listed_at = None if row is None else row["listed_at"]
    if listed_at is not None and now - listed_at < FRESH_FOR:
        return Listing.READ
    if row is not None and _known_unavailable(row["list_unavailable_at"], now):
        return Listing.UNAVAILABLE
    listing = read_list(runtime, account)
    return Listing.READ if listing is Listing.LATER and listed_at is not None else listing


def is_unavailable(db: Connection, account: str) -> bool:
    """Return True if the platform recently refused this account's list."""
    since = db.scalar(select(account_state.c.list_unavailable_at).where(account_state.c.account == account))
    return _known_unavailable(since, utcnow())


def _known_unavailable(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since < ASK_AGAIN_AFTER


def read_list(runtime: Runtime, account: str) -> Listing:
    """Read the list into ``remote_contact``, one worker at a time. The request may be the account's probe."""
    permit = permitted(runtime.engine, account, runtime.stop.wait)
    lease = new_lease(utcnow(), runtime.lease_seconds(account))
    if not permit or not _take(runtime, account, lease, permit):
        return Listing.LATER
    began = utcnow()
    outcome = runtime.client(account).list_contacts()
    values: dict[str, datetime | None] = {}
    until: datetime | None = None
    listing = _listing(outcome)
    if listing is Listing.READ:
        if not _store(runtime, account, outcome.value or [], began, lease.owner):
            return Listing.LATER
        values = {"listed_at": began, "list_unavailable_at": None}
    elif listing is Listing.UNAVAILABLE:
        log.warning(
            "VirtualText cannot list the contacts of this account (408), so the list is not used. Contacts that exist"
            " there already cannot be adopted, and a create whose response is lost needs a person",
            account=account,
        )
        values = {"list_unavailable_at": began}
    elif outcome.cause not in (Cause.CREDENTIALS, Cause.REDIRECTED):
        log.warning(
            "VirtualText's contact list could not be read; it is tried again later", account=account, why=outcome.detail
        )
        # Holding the lease keeps every worker from asking again before then.
        until = utcnow() + (timedelta(seconds=outcome.retry_after) if outcome.retry_after else RETRY_AFTER)
    effect = account_effect(outcome, "list", probe=permit.probe)
    rate = runtime.limiter.observed_rate(account) if effect.lowers_rate else None
    with writing(runtime.engine) as db:
        apply_effect(db, account, effect, utcnow(), began_at=began, probe=permit.probe, rate=rate)
        this = account_state.c.account == account
        if until is not None:
            held = LIST_LEASE.renew(db, Lease(lease.owner, until), this)
        else:
            held = LIST_LEASE.release(db, lease.owner, this, **values) == 1
    return listing if held else Listing.LATER


def _listing(outcome: Outcome[list[RemoteContact]]) -> Listing:
    if outcome.done and outcome.value is not None:
        return Listing.READ
    return Listing.UNAVAILABLE if outcome.http_status == HTTPStatus.REQUEST_TIMEOUT else Listing.LATER


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


def _store(runtime: Runtime, account: str, contacts: Sequence[RemoteContact], began: datetime, owner: str) -> bool:
    """Store the list in parts, each only while the lease is held. Return False when another worker took it.

    An older list must not be mixed into a newer one: contacts missing in the mixture would be created twice.
    """
    rows = [_row(account, as_stored(contact), began) for contact in contacts]
    for start in range(0, len(rows), ROWS):
        with writing(runtime.engine) as db:
            if not _renew(runtime, db, account, owner):
                return False
            statement = insert(db, remote_contact)
            db.execute(
                statement.on_conflict_do_update(
                    index_elements=["account", "virtualtext_id"],
                    set_={key: statement.excluded[key] for key in ("phone", "full_name", "email", "listed_at")},
                ),
                rows[start : start + ROWS],
            )
    with writing(runtime.engine) as db:
        if not _renew(runtime, db, account, owner):
            return False
        r = remote_contact.c
        db.execute(delete(remote_contact).where(r.account == account, r.listed_at < began))
    return True


def _renew(runtime: Runtime, db: Connection, account: str, owner: str) -> bool:
    until = utcnow() + timedelta(seconds=runtime.lease_seconds(account))
    return LIST_LEASE.renew(db, Lease(owner, until), account_state.c.account == account)


def as_stored(contact: RemoteContact) -> RemoteContact:
    """Return the contact with its number as E.164, and without a name that is only the number.

    The platform puts the number in place of a name that it was not given (documented).
    """
    parsed = parse_phone(contact.phone, None)
    phone = contact.phone if isinstance(parsed, PhoneProblem) else parsed.e164
    name = "" if contact.full_name in (phone, contact.phone) else contact.full_name
    return RemoteContact(contact.id, phone, name, contact.email)


def _row(account: str, contact: RemoteContact, began: datetime) -> dict[str, object]:
    return {
        "account": account,
        "virtualtext_id": contact.id,
        "phone": contact.phone,
        "full_name": contact.full_name,
        "email": contact.email,
        "listed_at": began,
    }
