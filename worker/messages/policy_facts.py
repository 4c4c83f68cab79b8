"""What the policy is shown of a message, read fresh, and how its decision is written down."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from config.models import Settings
from config.policy import Policy
from worker.core.phones import mask
from worker.core.states import MessageKind, MessageState
from worker.messages.opt_outs import opted_out
from worker.messages.people import Recipient, lost_its_phone, recipient_of
from worker.messages.revalidate import still_unwanted
from worker.messages.transitions import has_reason, reason_text
from worker.policy.decide import CAP_WINDOW, Decision, Expire, FullCap, Go, Hold, MessageView, QuietHours, Suppress
from worker.policy.locations import Places, places_of
from worker.policy.quiet_hours import rules_for
from worker.store.sql import lock_account
from worker.store.tables import contact, contact_mapping, message, number_review

MAY_HAVE_GONE_OUT = (
    MessageState.DISPATCHING,
    MessageState.ACCEPTED,
    MessageState.CONFIRMED,
    MessageState.DELIVERED,
    MessageState.UNKNOWN,
    MessageState.FAILED,
)
"""The states of a text that somebody may have got."""


def fresh_view(connection: Connection, row: Mapping[str, Any], settings: Settings, now: datetime) -> MessageView:
    """A send (``row``: its columns) as things are in this transaction.

    Whether the account may be called is decided by ``begin``, which also takes the probe of a stopped one.
    """
    policy, phone = settings.policy, row["to_number"]
    person = recipient_of(connection, settings, phone)
    phone_changed, contact_deleted = _record_changes(connection, row)
    about = None if row.get("connection") is None else (row["connection"], row["external_id"])
    return MessageView(
        kind=MessageKind.SEND,
        expires_at=row["expires_at"],
        opted_out=opted_out(connection, [phone]).get(phone),
        batch_verdict="none" if row.get("batch_id") is None else "approved",  # a queued one was released
        due_at=row["due_at"],
        phone_changed=phone_changed,
        contact_deleted=contact_deleted,
        unwanted=None if contact_deleted else still_unwanted(connection, row, settings),
        to_number=phone,
        approved=row.get("approved_at") is not None,
        urgent=bool(row.get("urgent")),
        do_not_text=person.do_not_text,
        no_consent=person.no_consent(settings, about),
        duplicate_of=_duplicate(connection, row, policy, now),
        review_since=connection.execute(_REVIEW, {"phone": phone}).scalar_one_or_none(),
        quiet_hours=quiet_hours(settings, row["account"], phone, person),
        behind=_behind(connection, row, now),
        full_caps=_full_caps(connection, row, policy, now),
    )


def quiet_hours(settings: Settings, account: str, phone: str, person: Recipient) -> QuietHours | None:
    """The hours that hold for ``phone``; None when texts go at any hour."""
    if settings.policy.quiet_hours == "none":
        return None
    places = where(settings, account, phone, person)
    rules = rules_for(settings.policy, places.states)
    return None if rules is None else QuietHours(rules, places, settings.policy.release_jitter)


def where(settings: Settings, account: str, phone: str, person: Recipient) -> Places:
    """Where the person may be, as far as the CRM, the number and the account tell."""
    found = settings.accounts.get(account)
    return places_of(phone, person.places, None if found is None else found.time_zone)


def lock_recipient(connection: Connection, account: str, phone: str, policy: Policy) -> None:
    """Let one text to ``phone`` at a time be decided on, and with a cap for the account one of the account.

    Two workers would otherwise both see the last free place under a cap, or no text that says the same. Taken before
    anything is read, held until the transaction ends.
    """
    lock_account(connection, f"to:{phone}")
    if policy.max_per_account is not None:
        lock_account(connection, f"sends:{account}")


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


def texts_since(connection: Connection, phone: str, since: datetime) -> int:
    """How many texts to ``phone`` may have gone out after ``since``, of all accounts."""
    counted = select(func.count()).where(message.c.to_number == phone, *_WENT_OUT)
    return connection.execute(counted, {"since": since}).scalar_one()


# Asked of every text, twice: built once, since building a statement costs as much as carrying it out.
_WENT_OUT = (
    message.c.kind == MessageKind.SEND,
    message.c.attempted_at > bindparam("since"),
    message.c.state.in_(MAY_HAVE_GONE_OUT),
)
_REVIEW = select(number_review.c.since).where(number_review.c.phone == bindparam("phone"))
_DUPLICATE = (
    select(message.c.id)
    .where(
        message.c.to_number == bindparam("to_number"),
        message.c.text == bindparam("text"),
        message.c.media == bindparam("media"),
        message.c.id != bindparam("id"),
        *_WENT_OUT,
    )
    .order_by(message.c.attempted_at.desc())
    .limit(1)
)
_BEHIND = select(func.max(message.c.due_at)).where(
    message.c.to_number == bindparam("to_number"),
    message.c.account == bindparam("account"),
    message.c.kind == MessageKind.SEND,
    # Not the column alone: SQLite would walk everybody's texts that wait for the morning, for each of them.
    func.coalesce(message.c.state, "") == MessageState.QUEUED,
    message.c.id < bindparam("id"),  # ids are in the order of time
    message.c.due_at > bindparam("now"),
    has_reason("quiet_hours"),
)


def _nth_newest(mine: ColumnElement[bool]) -> Select[Any]:
    return (
        select(message.c.attempted_at)
        .where(mine, *_WENT_OUT, message.c.id != bindparam("id"))
        .order_by(message.c.attempted_at.desc())
        .offset(bindparam("before"))
        .limit(1)
    )


_CAPS = {
    "max_per_contact": _nth_newest(message.c.to_number == bindparam("to_number")),
    "max_per_account": _nth_newest(message.c.account == bindparam("account")),
}


def _full_caps(connection: Connection, row: Mapping[str, Any], policy: Policy, now: datetime) -> tuple[FullCap, ...]:
    whom = {"max_per_contact": mask(row["to_number"]), "max_per_account": f"the account {row['account']}"}
    full = []
    for setting, nth_newest in _CAPS.items():
        limit = getattr(policy, setting)
        if limit is None:
            continue
        # The limit-th newest: when it is a day old, there is room for one more.
        values = _of(row, "to_number", "account", "id") | {"since": now - CAP_WINDOW, "before": limit - 1}
        decisive = connection.execute(nth_newest, values).scalar_one_or_none()
        if decisive is not None:
            full.append(FullCap(whom[setting], setting, limit, decisive + CAP_WINDOW))
    return tuple(full)


def _duplicate(connection: Connection, row: Mapping[str, Any], policy: Policy, now: datetime) -> str:
    """The newest message that said the same to the same number; "" when there is none."""
    if not policy.duplicate_window:
        return ""
    values = _of(row, "to_number", "text", "media", "id") | {"since": now - policy.duplicate_window}
    return connection.execute(_DUPLICATE, values).scalar_one_or_none() or ""


def _behind(connection: Connection, row: Mapping[str, Any], now: datetime) -> datetime | None:
    """Until when earlier texts of this conversation wait for quiet hours; a new one would overtake them."""
    until: datetime | None = connection.execute(
        _BEHIND, _of(row, "to_number", "account", "id") | {"now": now}
    ).scalar_one()
    return until


def _of(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _record_changes(connection: Connection, row: Mapping[str, Any]) -> tuple[bool, bool]:
    """(its person has another number by now or none, its CRM record is gone); False for a text about no record."""
    if row.get("connection") is None or row.get("external_id") is None:
        return False, False
    record = connection.execute(
        select(contact_mapping.c.deleted_at, contact.c.phone, lost_its_phone().label("lost_its_phone"))
        .select_from(contact_mapping.outerjoin(contact, contact.c.id == contact_mapping.c.contact_id))
        .where(contact_mapping.c.connection == row["connection"], contact_mapping.c.external_id == row["external_id"])
    ).one_or_none()
    if record is None:
        return False, True
    return record.lost_its_phone or record.phone != row["to_number"], record.deleted_at is not None
