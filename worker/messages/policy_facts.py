"""Load the facts that the policy needs about a message, and turn its decision into columns of the message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import ColumnElement, Connection, Select, bindparam, false, func, or_, select

from config.models import Settings
from config.policy import Policy
from config.policy_levels import policy_for
from worker.core.phones import mask
from worker.core.states import MessageKind, MessageState
from worker.messages.consents import consent_gap
from worker.messages.forgotten import missing_key
from worker.messages.opt_outs import opted_out
from worker.messages.people import Recipient, own_numbers, recipient_of
from worker.messages.record_facts import load_record_facts
from worker.messages.simulation import is_rehearsed
from worker.messages.states import MAY_HAVE_GONE_OUT
from worker.messages.transitions import has_reason, reason_text
from worker.messages.trigger_pause import why_paused
from worker.policy.countries import country_problem
from worker.policy.decide import (
    CAP_WINDOW,
    Expire,
    FullCap,
    Go,
    Hold,
    PolicyDecision,
    PolicyFacts,
    QuietHours,
    Suppress,
)
from worker.policy.locations import Locations, locations_of
from worker.policy.quiet_hours import rules_for
from worker.store.sql import lock_account
from worker.store.tables import message, number_review


def load_facts(connection: Connection, row: Mapping[str, Any], settings: Settings, now: datetime) -> PolicyFacts:
    """Load the facts for a send (``row``: its columns), as they are in this transaction.

    The account's own state is not among them: it is checked where the request begins (``worker.messages.attempts``).
    """
    policy, phone = policy_of(settings, row), row["to_number"]
    person = recipient_of(connection, settings, phone)
    record = load_record_facts(connection, row, settings, now)
    counted = _counted(row, settings)
    about = None if row.get("connection") is None else (row["connection"], row["external_id"])
    return PolicyFacts(
        kind=MessageKind.SEND,
        expires_at=row["expires_at"],
        opted_out=opted_out(connection, [phone]).get(phone),
        batch_verdict="none" if row.get("batch_id") is None else "approved",  # a queued text was released
        due_at=row["due_at"],
        phone_changed=record.phone_changed,
        contact_deleted=record.contact_deleted,
        unwanted=record.unwanted or _own_number(settings, phone),
        paused=why_paused(connection, row.get("trigger")),
        to_number=phone,
        approved=row.get("approved_at") is not None,
        urgent=bool(row.get("urgent")),
        do_not_text=person.do_not_text,
        no_consent=person.no_consent(settings, about),
        consent_missing=consent_gap(connection, settings, phone, person, about, now),
        country=country_problem_of(settings, row["account"], phone, policy),
        permission_unknown=missing_key(connection) or person.permission_unknown(settings, about),
        duplicate_of=_duplicate(connection, row, policy, now, counted),
        review_since=connection.execute(_REVIEW, {"phone": phone}).scalar_one_or_none(),
        quiet_hours=quiet_hours_for(settings, row["account"], phone, person, policy),
        behind=_behind(connection, row, now, counted),
        full_caps=_full_caps(connection, row, policy, now, counted),
        policy=policy,
    )


def _own_number(settings: Settings, phone: str) -> tuple[str, str] | None:
    if phone not in own_numbers(settings):
        return None
    return "own_number", "it is addressed to a number that an account sends from; give the number of a person"


def policy_of(settings: Settings, row: Mapping[str, Any]) -> Policy:
    """Return the policy of a text (``row``: its columns)."""
    return policy_for(settings, account=row["account"], connection=row.get("connection"), trigger=row.get("trigger"))


def country_problem_of(settings: Settings, account: str, phone: str, policy: Policy) -> str:
    """Return why ``account`` may not text the country of ``phone``; "" when it may.

    The sender of the text does not count: whoever asks for a text could name any number.
    """
    found = settings.accounts.get(account)
    return country_problem(phone, "" if found is None else found.from_number, policy)


def quiet_hours_for(
    settings: Settings, account: str, phone: str, person: Recipient, policy: Policy
) -> QuietHours | None:
    """Return the quiet hours for ``phone``; None when texts go at any hour."""
    if policy.quiet_hours == "none" and not policy.holidays:
        return None
    locations = locations_for(settings, account, phone, person)
    rules = rules_for(policy, locations)
    return None if rules is None else QuietHours(rules, locations, policy.release_jitter)


def locations_for(settings: Settings, account: str, phone: str, person: Recipient) -> Locations:
    """Return where the person may be, from the CRM, the number and the account."""
    found = settings.accounts.get(account)
    return locations_of(phone, person.places, None if found is None else found.time_zone)


def recipient_lock(phone: str) -> str:
    """Return the name of the lock under which texts to ``phone`` are decided about."""
    return f"to:{phone}"


def lock_recipient(connection: Connection, account: str, phone: str, policy: Policy) -> None:
    """Let one transaction at a time decide about texts to ``phone``; with an account cap, about texts of the account.

    Without the lock two workers could both use the last text that a cap allows, or both send the same text. Take it
    before anything is read; it is held until the transaction ends.
    """
    lock_account(connection, recipient_lock(phone))
    if policy.max_per_account is not None:
        lock_account(connection, f"sends:{account}")


def state_after(decision: PolicyDecision, due_at: datetime) -> dict[str, Any]:
    """Return the message columns for a decision. A hold until a known time is a queued message that is due then."""
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
    """Count the texts to ``phone`` that may have gone out after ``since``, from all accounts."""
    counted = select(func.count()).where(message.c.to_number == phone, *_WENT_OUT)
    return connection.execute(counted, {"since": since} | _REALLY).scalar_one()


# Used twice for every text. Built once, because building a statement takes as long as running it.
_WENT_OUT = (
    message.c.kind == MessageKind.SEND,
    message.c.attempted_at > bindparam("since"),
    message.c.state.in_(bindparam("states", expanding=True)),
    or_(message.c.test == false(), bindparam("tests", type_=message.c.test.type)),
)
_REALLY: dict[str, Any] = {"states": MAY_HAVE_GONE_OUT, "tests": False}
_REVIEW = select(number_review.c.since).where(number_review.c.phone == bindparam("phone"))
_RECENT = (
    select(message.c.id, message.c.text, message.c.media)
    .where(message.c.to_number == bindparam("to_number"), message.c.id != bindparam("id"), *_WENT_OUT)
    .order_by(message.c.attempted_at.desc())
)
_BEHIND = select(func.max(message.c.due_at)).where(
    message.c.to_number == bindparam("to_number"),
    message.c.account == bindparam("account"),
    message.c.kind == MessageKind.SEND,
    # With coalesce, SQLite does not use the index on the state, which would visit all texts that wait for the morning.
    func.coalesce(message.c.state, "") == MessageState.QUEUED,
    message.c.id < bindparam("id"),  # ids are ordered by time
    or_(message.c.test == false(), bindparam("tests", type_=message.c.test.type)),
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


def _counted(row: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return which earlier texts count for this one. Nothing that was simulated delays or ends a real text.

    For a text of an account in test mode, simulated texts count as if they had been sent; for one that was made with a
    test key, those of test keys count, too.
    """
    if not is_rehearsed(settings, row):
        return _REALLY
    return {"states": (*MAY_HAVE_GONE_OUT, MessageState.SIMULATED), "tests": bool(row.get("test"))}


def _full_caps(
    connection: Connection, row: Mapping[str, Any], policy: Policy, now: datetime, counted: dict[str, Any]
) -> tuple[FullCap, ...]:
    whom = {"max_per_contact": mask(row["to_number"]), "max_per_account": f"the account {row['account']}"}
    full = []
    for setting, nth_newest in _CAPS.items():
        limit = getattr(policy, setting)
        if limit is None:
            continue
        # The limit-th newest text within the window decides: once it is a day old, one more text is allowed.
        values = _of(row, "to_number", "account", "id") | {"since": now - CAP_WINDOW, "before": limit - 1}
        decisive = connection.execute(nth_newest, values | counted).scalar_one_or_none()
        if decisive is not None:
            full.append(FullCap(whom[setting], setting, limit, decisive + CAP_WINDOW))
    return tuple(full)


def _duplicate(
    connection: Connection, row: Mapping[str, Any], policy: Policy, now: datetime, counted: dict[str, Any]
) -> str:
    """Return the id of the newest message with the same text to the same number; "" when there is none."""
    if not policy.duplicate_window:
        return ""
    values = _of(row, "to_number", "id") | {"since": now - policy.duplicate_window} | counted
    # Compared here, because the database may hold texts encrypted. A person gets few texts within the window.
    recent = connection.execute(_RECENT, values).all()
    return next((one.id for one in recent if (one.text, one.media) == (row["text"], row["media"])), "")


def _behind(connection: Connection, row: Mapping[str, Any], now: datetime, counted: dict[str, Any]) -> datetime | None:
    """Return until when earlier texts of this conversation wait for quiet hours; a new text must not overtake them."""
    until: datetime | None = connection.execute(
        _BEHIND, _of(row, "to_number", "account", "id") | {"now": now, "tests": counted["tests"]}
    ).scalar_one()
    return until


def _of(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}
