"""The first link-up: which contacts VirtualText had before ours.

The contact list shows it, and contacts are adopted by it. Where the list cannot be read, contacts that VirtualText has
already would be created again. So an account that was never linked creates nothing until a person decides: to create
everything without the list, or to give an export of VirtualText's contacts instead of it.

An account is linked once its list was read, once a person decided, or if it has contacts with a VirtualText id already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from worker.contacts import push_rows
from worker.contacts.remote_list import list_state, store_other_list
from worker.core.progress import Progress, untold
from worker.core.shown import require_as_shown
from worker.core.states import PushState
from worker.core.text import counted
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import account_state, contact, remote_contact
from worker.virtualtext.outcomes import RemoteContact

LINK_COMMAND = "vtsync link"

a, c = account_state.c, contact.c


class ListBusy(Exception):
    """Another worker is reading the list, or has just failed to."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """How an account was linked. ``waiting``: how many contacts wait to be created. ``how``: ``list``, ``file``,
    ``without list`` or ``contacts`` (it has some with a VirtualText id).
    """

    linked: bool
    waiting: int
    at: datetime | None = None
    how: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class LinkedByFile:
    """What an export of VirtualText's contacts means for the contacts that wait."""

    stored: int
    adopted: int
    created: int


def is_linked(db: Connection, account: str) -> bool:
    """Return True if contacts of the account may be created without its list."""
    decided = select(a.account).where(a.account == account, a.linked_at.is_not(None) | a.listed_at.is_not(None))
    if db.scalar(decided) is not None:
        return True
    has_id = select(c.id).where(c.account == account, c.virtualtext_id.is_not(None)).limit(1)
    return db.scalar(has_id) is not None


def link_state(db: Connection, account: str) -> LinkState:
    """Read how the account was linked, and how many contacts wait to be created."""
    row = db.execute(select(a.linked_at, a.listed_at, a.linked_how, a.linked_by).where(a.account == account)).first()
    waiting = db.scalar(select(func.count()).where(_to_create(account))) or 0
    if not is_linked(db, account):
        return LinkState(False, waiting)
    if row is None or not (row.linked_at or row.listed_at):
        return LinkState(True, waiting, how="contacts")
    return LinkState(True, waiting, row.linked_at or row.listed_at, row.linked_how or "list", row.linked_by)


def _to_create(account: str) -> ColumnElement[bool]:
    return and_(c.account == account, c.push_state == PushState.DUE, c.virtualtext_id.is_(None))


def waiting_for_link(db: Connection, account: str) -> int:
    """Return how many contacts wait until a person has run `vtsync link`."""
    if not list_state(db, account).is_unavailable(utcnow()) or is_linked(db, account):
        return 0
    return db.scalar(select(func.count()).where(_to_create(account))) or 0


def waits_for_link_text(account: str, waiting: int) -> str:
    """Describe that contacts wait for a decision, and what to do."""
    return (
        f"{counted(waiting, 'contact waits', 'contacts wait')} for the first link-up: VirtualText's contact list"
        " cannot be read, and contacts that VirtualText has already would be created twice. Give an export of"
        f" VirtualText's contacts with `{LINK_COMMAND} {account} --from FILE`, or create all of them with"
        f" `{LINK_COMMAND} {account} --without-list`"
    )


def link_without_list(runtime: Runtime, account: str, actor: str, *, shown: int | None = None) -> int:
    """Let contacts be created without VirtualText's list. Return how many wait for it.

    ``shown``: how many the person was shown; where more wait, nothing is done. Raises NotAsShown.
    """
    with writing(runtime.engine) as db:
        waiting = db.scalar(select(func.count()).where(_to_create(account))) or 0
        require_as_shown(waiting, shown, "contact")
        _decide(db, account, "without list", actor)
    return waiting


def link_by_file(
    runtime: Runtime, account: str, contacts: Sequence[RemoteContact], actor: str, progress: Progress = untold
) -> LinkedByFile:
    """Store an export of VirtualText's contacts as if it were the list. The next push adopts the contacts in it.

    Raises ListBusy while another worker reads the list.
    """
    now = utcnow()
    if not store_other_list(runtime, account, contacts, now, progress):
        raise ListBusy("VirtualText's contact list is being read at the moment; run the command again in a minute")
    with writing(runtime.engine) as db:
        _decide(db, account, "file", actor)
        _confirm_lost_creates(db, account, now)
        waiting = db.scalar(select(func.count()).where(_to_create(account))) or 0
        r = remote_contact.c
        other = contact.alias()
        bound = select(other.c.id).where(other.c.account == account, other.c.virtualtext_id == r.virtualtext_id)
        there = exists().where(r.account == account, r.phone == c.phone, ~bound.exists())
        adopted = db.scalar(select(func.count()).where(_to_create(account), there)) or 0
        stored = db.scalar(select(func.count()).where(r.account == account)) or 0
    return LinkedByFile(stored, adopted, waiting - adopted)


def _confirm_lost_creates(db: Connection, account: str, now: datetime) -> None:
    """Adopt the lost creates that the export shows. It proves nothing about the others: it may be older."""
    lost = push_rows.lost_creates(db, account, now)
    there = push_rows.remote_matches(db, account, [phone for _, phone in lost])
    shown = [one for one in lost if one[1] in there]
    push_rows.confirm_or_retry_creates(db, account, shown, now, now)


def _decide(db: Connection, account: str, how: str, actor: str) -> None:
    values = {"linked_at": utcnow(), "linked_how": how, "linked_by": actor[:80]}
    statement = insert(db, account_state).values(account=account, stopped_reason="", **values)
    db.execute(statement.on_conflict_do_update(index_elements=["account"], set_=values))
