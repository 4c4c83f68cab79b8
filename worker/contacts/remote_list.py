"""VirtualText's whole contact list, read in one answer: to adopt contacts at the first link-up and to settle creates
whose answer was lost. An optimisation: where the platform cannot give it (408 on large accounts), all else goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

import structlog
from sqlalchemy import Connection, and_, delete, or_, select, update

from worker.core.phones import PhoneProblem, parse_phone
from worker.limits.account_gate import (
    Permit,
    begin_probe,
    clear_stop,
    close_breaker,
    may_call,
    open_breaker,
    pause_account,
    stop_account,
)
from worker.runtime import Runtime
from worker.store.db import new_lease_owner, reading, writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import account_state, remote_contact
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact

ROWS = 1000
ASK_AGAIN_AFTER = timedelta(days=1)
"""An account whose list was refused once is asked again after this long: it may have shrunk, or the platform grown."""
FRESH_FOR = timedelta(hours=1)
RETRY_AFTER = timedelta(seconds=30)

log = structlog.get_logger(__name__)


class Listing(StrEnum):
    """What came of asking for the list."""

    READ = "read"
    UNAVAILABLE = "unavailable"
    """The platform cannot give it; go on without."""
    LATER = "later"
    """Somebody else is reading it, or it failed for now: creating could make duplicates, so wait."""


def link(runtime: Runtime, account: str) -> Listing:
    """Before anything is created: make sure that the list was read, and not long ago, or is known to be unavailable.

    People and inbound texts make contacts in VirtualText, too. Without a first reading nothing is created; a later
    one that fails is done without.
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
    """Whether the platform said lately that it cannot give this account's list."""
    since = db.scalar(select(account_state.c.list_unavailable_at).where(account_state.c.account == account))
    return _known_unavailable(since, utcnow())


def _known_unavailable(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since < ASK_AGAIN_AFTER


def read_list(runtime: Runtime, account: str) -> Listing:
    """Read the list into ``remote_contact``. One worker at a time; where one single request may be made, it is that."""
    owner = new_lease_owner()
    permit = _take(runtime, account, owner)
    if not permit:
        return Listing.LATER
    began = utcnow()
    outcome = runtime.client(account).list_contacts()
    values: dict[str, datetime | None] = {"list_lease_until": None}
    if outcome.done and outcome.value is not None:
        if not _store(runtime, account, outcome.value, began, owner):
            return Listing.LATER
        values |= {"listed_at": began, "list_unavailable_at": None}
        listing = Listing.READ
    elif outcome.http_status == HTTPStatus.REQUEST_TIMEOUT:
        log.warning(
            "VirtualText cannot list the contacts of this account (408); going on without. Contacts that exist there "
            "already cannot be adopted, and a create whose answer is lost needs a person",
            account=account,
        )
        values |= {"list_unavailable_at": began}
        listing = Listing.UNAVAILABLE
    elif outcome.cause in (Cause.CREDENTIALS, Cause.REDIRECTED):
        listing = Listing.LATER
    else:
        # Not asked again before this, and nothing is created meanwhile: creating blindly could make duplicates.
        wait = timedelta(seconds=outcome.retry_after) if outcome.retry_after else RETRY_AFTER
        values |= {"list_lease_until": utcnow() + wait}
        listing = Listing.LATER
        log.warning(
            "VirtualText's contact list could not be read; tried again later", account=account, why=outcome.detail
        )
    with writing(runtime.engine) as db:
        _judge_account(db, account, outcome, began, probe=permit.probe)
        held = _keep(db, account, owner, list_lease_owner=None, **values)
    return listing if held else Listing.LATER


def _keep(db: Connection, account: str, owner: str, **values: object) -> bool:
    """Store ``values`` with the lease; False when another worker reads the list meanwhile."""
    held = and_(account_state.c.account == account, account_state.c.list_lease_owner == owner)
    return db.execute(update(account_state).where(held).values(**values)).rowcount == 1


def _judge_account(
    db: Connection, account: str, outcome: Outcome[list[RemoteContact]], began: datetime, *, probe: bool
) -> None:
    """What the answer says of the account; ``probe``: it was the one request that tries whether it works again."""
    now = utcnow()
    if outcome.cause in (Cause.CREDENTIALS, Cause.REDIRECTED):
        stop_account(db, account, outcome.detail, now)
    elif outcome.retry_after is not None:
        pause_account(db, account, now + timedelta(seconds=outcome.retry_after), outcome.detail)
    elif probe and outcome.done:
        clear_stop(db, account, began)
        close_breaker(db, account)
    elif probe and outcome.failed and outcome.http_status != HTTPStatus.REQUEST_TIMEOUT:
        open_breaker(db, account, now, outcome.detail, probe=True)


def _take(runtime: Runtime, account: str, owner: str) -> Permit:
    """A refusal: another worker reads it, it failed a moment ago, or the account may not be called."""
    now = utcnow()
    a = account_state.c
    seconds = runtime.lease_seconds(account)
    with writing(runtime.engine) as db:
        db.execute(
            insert(db, account_state).on_conflict_do_nothing(index_elements=["account"]),
            {"account": account, "stopped_reason": ""},
        )
        permit = may_call(db, account, now)
        free = and_(a.account == account, or_(a.list_lease_until.is_(None), a.list_lease_until < now))
        values = {"list_lease_owner": owner, "list_lease_until": now + timedelta(seconds=seconds)}
        if not permit or db.execute(update(account_state).where(free).values(**values)).rowcount != 1:
            return Permit(False)
        if permit.probe and not begin_probe(db, account, now, seconds):
            db.execute(update(account_state).where(a.account == account).values(list_lease_until=None))
            return Permit(False)
        return permit


def _store(runtime: Runtime, account: str, contacts: Sequence[RemoteContact], began: datetime, owner: str) -> bool:
    """Each part is stored only while the lease is held: of two lists, the older one must not lie over the newer.

    What is missing in a mixture of both would be created a second time. False: another worker reads it meanwhile.
    """
    seconds = runtime.lease_seconds(account)
    rows = [_row(account, contact, began) for contact in contacts]
    for start in range(0, len(rows), ROWS):
        with writing(runtime.engine) as db:
            if not _keep(db, account, owner, list_lease_until=utcnow() + timedelta(seconds=seconds)):
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
        r = remote_contact.c
        if not _keep(db, account, owner, list_lease_until=utcnow() + timedelta(seconds=seconds)):
            return False
        db.execute(delete(remote_contact).where(r.account == account, r.listed_at < began))
    return True


def _row(account: str, contact: RemoteContact, began: datetime) -> dict[str, object]:
    parsed = parse_phone(contact.phone, None)
    phone = contact.phone if isinstance(parsed, PhoneProblem) else parsed.e164
    # The platform puts the number in place of a name it was not given (documented): that is no name.
    name = "" if contact.full_name in (phone, contact.phone) else contact.full_name
    return {
        "account": account,
        "virtualtext_id": contact.id,
        "phone": phone,
        "full_name": name,
        "email": contact.email,
        "listed_at": began,
    }
