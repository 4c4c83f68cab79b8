"""May this text go now? One pure function, asked when a text is queued and again right before it is sent.

The first rule that applies decides; those that end a text come before those that only delay it:

1. A record texts nobody: it always goes.
2. Opted out: suppressed, whatever else is so.
3. Too late (``now >= expires_at``): expired.
4. Its CRM record is gone, or its person has another number by now: suppressed.
5. Its sync run is still open, or would text too many people: held until the run ends or a person approves.
6. Not due yet: held until then.
7. The account is stopped: held, and asked about again soon.

Rules about the hour, the day's number of texts and consent belong between 5 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from worker.phones import mask
from worker.store.models import MessageKind

if TYPE_CHECKING:
    from worker.messages.opt_outs import OptedOut

STOPPED_ACCOUNT_RECHECK = timedelta(minutes=1)

BatchState: TypeAlias = Literal["none", "open", "over_limit", "approved"]


@dataclass(frozen=True, slots=True)
class MessageView:
    """What the policy needs to know of a message and its world, read fresh.

    ``batch_verdict``: ``none`` (belongs to no sync run), ``open`` (its run has not ended), ``over_limit`` (its run
    would text more people than allowed), ``approved`` (within the limit, or approved by a person).
    ``phone_changed``: the CRM record it is about has another number now than the text is addressed to.
    ``account_stopped``: the account may not be called now, not even to probe it.
    """

    kind: MessageKind
    expires_at: datetime | None
    opted_out: OptedOut | None
    batch_verdict: BatchState = "none"
    account_stopped: bool = False
    due_at: datetime | None = None
    phone_changed: bool = False
    contact_deleted: bool = False
    to_number: str = ""


@dataclass(frozen=True, slots=True)
class Go:
    """It may go now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now. ``until``: ask again then; None: the end of its run or a person releases it."""

    until: datetime | None
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suppress:
    """Never."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Too late."""

    reason: str


Decision: TypeAlias = Go | Hold | Suppress | Expire


def decide(view: MessageView, now: datetime) -> Decision:
    """Whether the message may go at ``now``, else why not, in words for a person."""
    if view.kind == MessageKind.RECORD:
        return Go()
    return _never(view, now) or _not_yet(view, now) or Go()


def _never(view: MessageView, now: datetime) -> Suppress | Expire | None:
    if view.opted_out is not None:
        return Suppress("opted_out", _opted_out_words(view.to_number, view.opted_out))
    if view.expires_at is not None and now >= view.expires_at:
        return Expire(f"it was to be sent before {_time(view.expires_at)} and was not; a late text is not sent")
    if view.contact_deleted:
        return Suppress(
            "record_deleted", "the CRM record that it is about was deleted or merged away before it could be sent"
        )
    if view.phone_changed:
        return Suppress(
            "phone_changed",
            "the CRM record that it is about has another phone number now, and this one may be somebody else's",
        )
    return None


def _not_yet(view: MessageView, now: datetime) -> Hold | None:
    if view.batch_verdict == "open":
        return Hold(None, "run", "it waits for the end of its sync run, which decides whether it texts too many people")
    if view.batch_verdict == "over_limit":
        return Hold(
            None,
            "approval",
            "its sync would text more people than policy.blast_limit allows without asking;"
            " look at the texts, then `vtsync approve` or `vtsync cancel` them",
        )
    if view.due_at is not None and now < view.due_at:
        return Hold(view.due_at, "scheduled", f"it is due at {_time(view.due_at)}")
    if view.account_stopped:
        return Hold(
            now + STOPPED_ACCOUNT_RECHECK,
            "account_stopped",
            "its VirtualText account is stopped or asked to wait; it goes out once the account works again",
        )
    return None


_OPT_OUT_SOURCES = {
    "virtualtext": ("VirtualText answered 451", "the person sends START"),
    "relay": ("the person wrote so", "the person sends START"),
    "crm": ("the CRM says so", "the CRM says otherwise"),
    "cli": ("entered by hand", "that is taken back by hand"),
}


def _opted_out_words(to_number: str, opted_out: OptedOut) -> str:
    how, until = _OPT_OUT_SOURCES.get(opted_out.source, (opted_out.source, "that is taken back"))
    who = mask(to_number) if to_number else "this number"
    return f"{who} opted out on {opted_out.since:%Y-%m-%d} ({how}); nobody can text it until {until}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname() or ''}".rstrip()
