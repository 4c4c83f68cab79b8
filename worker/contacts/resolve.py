"""What people decide about contacts: how a lost create ended, and to try refused contacts again."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, select, update

from worker.core.states import PushState
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import contact, contact_event

c = contact.c


class NotUnknown(ValueError):
    """The contact is not a lost create."""


def resolve_contact(runtime: Runtime, account: str, phone: str, *, virtualtext_id: str | None, actor: str) -> None:
    """Store how a lost create ended: the contact is in VirtualText as ``virtualtext_id``, or (None) it is not.

    Either way the contact is due again: as an update of that id, or as a new create.
    Raises LookupError for an unknown number, NotUnknown when the contact is not a lost create.
    """
    now = utcnow()
    with writing(runtime.engine) as db:
        row = db.execute(select(c.id, c.push_state).where(c.account == account, c.phone == phone)).first()
        if row is None:
            raise LookupError(f"account {account} has no contact {phone}")
        if row.push_state != PushState.UNKNOWN:
            raise NotUnknown(f"contact {phone} is {row.push_state}; only an unknown one can be resolved")
        db.execute(
            update(contact)
            .where(c.id == row.id, c.push_state == PushState.UNKNOWN)
            .values(push_state=PushState.DUE, virtualtext_id=virtualtext_id, next_attempt_at=now, last_error="")
        )
        found = f"{actor} found it as {virtualtext_id}" if virtualtext_id else f"{actor} found that it is not there"
        db.execute(
            contact_event.insert(), {"contact_id": row.id, "at": now, "kind": "create_resolved", "detail": found}
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
