"""What the policy is shown of a message, read fresh, and how its decision is written down."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import Connection, Row, select

from worker.messages.moves import reason_text
from worker.messages.opt_outs import opted_out
from worker.messages.policy import Decision, Expire, Go, Hold, MessageView, Suppress
from worker.store.models import MessageKind, MessageState
from worker.store.tables import contact, contact_mapping


def fresh_view(connection: Connection, row: Row[Any]) -> MessageView:
    """A send as things are in this transaction: the opt-out, the CRM record that it is about.

    Whether the account may be called is decided by ``begin``, which also takes the probe of a stopped one.
    """
    phone_changed, contact_deleted = _record_changes(connection, row)
    return MessageView(
        kind=MessageKind.SEND,
        expires_at=row.expires_at,
        opted_out=opted_out(connection, [row.to_number]).get(row.to_number),
        batch_verdict="none" if row.batch_id is None else "approved",  # a queued one was released
        due_at=row.due_at,
        phone_changed=phone_changed,
        contact_deleted=contact_deleted,
        to_number=row.to_number,
    )


def state_after(decision: Decision, due_at: datetime) -> dict[str, Any]:
    """The columns that say so. A hold until a known time is a message that is due then."""
    match decision:
        case Go():
            return {"state": MessageState.QUEUED, "reason": "", "due_at": due_at}
        case Hold(until=None):
            reason = reason_text(decision.code, decision.reason)
            return {"state": MessageState.HELD, "reason": reason, "due_at": due_at}
        case Hold():
            reason = reason_text(decision.code, decision.reason)
            return {"state": MessageState.QUEUED, "reason": reason, "due_at": decision.until}
        case Suppress():
            reason = reason_text(decision.code, decision.reason)
            return {"state": MessageState.SUPPRESSED, "reason": reason, "due_at": due_at}
        case Expire():
            return {
                "state": MessageState.EXPIRED,
                "reason": reason_text("expired", decision.reason),
                "due_at": due_at,
            }
        case _:
            assert_never(decision)


def _record_changes(connection: Connection, row: Row[Any]) -> tuple[bool, bool]:
    """(its person has another number by now, its CRM record is gone); both False for a text about no record."""
    if row.connection is None or row.external_id is None:
        return False, False
    record = connection.execute(
        select(contact_mapping.c.deleted_at, contact.c.phone)
        .select_from(contact_mapping.outerjoin(contact, contact.c.id == contact_mapping.c.contact_id))
        .where(contact_mapping.c.connection == row.connection, contact_mapping.c.external_id == row.external_id)
    ).one_or_none()
    if record is None:
        return False, True
    return record.phone != row.to_number, record.deleted_at is not None
