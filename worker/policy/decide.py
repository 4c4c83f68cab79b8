"""May this text go now? One pure function, asked when a text is queued and again right before it is sent.

The first rule that applies decides; those that end a text come before those that only delay it:

1. A record texts nobody: it always goes.
2. Opted out: suppressed, whatever else is so.
3. The CRM says not to text this person, or does not say that one may where that is asked for: suppressed.
4. Too late (``now >= expires_at``): expired.
5. Its CRM record is gone, its person has another number by now or none, its date was moved, or its trigger's condition
   has ended: suppressed.
6. The same text went to the same number a short while ago: suppressed, also when a person approved this one.
7. Its sync run is still open, or would text too many people: held until the run ends or a person approves.
8. Its trigger fires far more often than it used to: held until a person approves.
9. Its person may have asked to be left alone, in words of their own: held until a person has read them.
10. Not due yet: held until then.
11. Quiet hours where the person may be: held until they end; an urgent text goes all the same. So that texts stay in
    their order, one waits with an earlier one to the same number that still waits for this.
12. The person, or the account, had its day's number of texts: held until the first of them is a day old.

Whether the account may be called at all is decided after this, where the request is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from worker.core.phones import mask
from worker.core.states import MessageKind
from worker.policy.locations import Places, zone_info
from worker.policy.quiet_hours import Rules, next_window, release_time

CAP_WINDOW = timedelta(hours=24)
"""Caps count over this long, at any time: not from midnight on, which would allow twice as many in one evening."""

BatchState: TypeAlias = Literal["none", "open", "over_limit", "approved"]


@dataclass(frozen=True, slots=True)
class OptedOut:
    """Since when, and who said so (``virtualtext``, ``relay``, ``crm``, ``cli``, ``http``)."""

    since: datetime
    source: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The hours that hold where the number may be. ``jitter``: over how long texts that waited are spread."""

    rules: Rules
    places: Places
    jitter: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class FullCap:
    """A day's number of texts that is used up: ``limit`` of ``whom``, in words; ``until`` when one is free again."""

    whom: str
    setting: str
    limit: int
    until: datetime


@dataclass(frozen=True, slots=True)
class MessageView:
    """What the policy needs to know of a message and its world, read fresh.

    ``batch_verdict``: ``none`` (belongs to no sync run), ``open`` (its run has not ended), ``over_limit`` (its run
    would text more people than allowed), ``approved`` (within the limit, or approved by a person).
    ``phone_changed``: the CRM record it is about has another number now than the text is addressed to, or none.
    ``unwanted``: (code, words) when what called for the text is so no more: its date moved, its condition ended.
    ``do_not_text``, ``no_consent``: the CRM record that says so, or that does not say yes; "" when nothing forbids it.
    ``approved``: a person let it go, or asked to send it again. ``breaker``: why its trigger is held, "" when not.
    ``duplicate_of``: the id of the message that said the same to the same number a short while ago.
    ``quiet_hours``: None when texts go at any hour. ``behind``: until when an earlier text to the same number waits
    for quiet hours.
    """

    kind: MessageKind
    expires_at: datetime | None
    opted_out: OptedOut | None
    batch_verdict: BatchState = "none"
    due_at: datetime | None = None
    phone_changed: bool = False
    contact_deleted: bool = False
    unwanted: tuple[str, str] | None = None
    to_number: str = ""
    approved: bool = False
    urgent: bool = False
    do_not_text: str = ""
    no_consent: str = ""
    duplicate_of: str = ""
    breaker: str = ""
    review_since: datetime | None = None
    quiet_hours: QuietHours | None = None
    behind: datetime | None = None
    full_caps: tuple[FullCap, ...] = ()


@dataclass(frozen=True, slots=True)
class Go:
    """It may go now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now. ``until``: ask again then; None: what ``reason`` names releases it (see ``RELEASED_BY``)."""

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

RELEASED_BY = {
    "run": "the end of its sync run",
    "approval": "vtsync approve",
    "breaker": "vtsync approve",
    "review": "a person's decision about the number, or its opt-out",
    "time_zone": "a time zone in the configuration or the CRM; asked about again every hour",
}
"""What ends each hold that has no time. All of them also end when the text expires, or by `vtsync cancel`."""


def decide(view: MessageView, now: datetime) -> Decision:
    """Whether the message may go at ``now``, else why not, in words for a person."""
    if view.kind == MessageKind.RECORD:
        return Go()
    return _never(view, now) or _not_unasked(view) or _not_yet(view, now) or Go()


def _never(view: MessageView, now: datetime) -> Suppress | Expire | None:
    if view.opted_out is not None:
        return Suppress("opted_out", _opted_out_words(view.to_number, view.opted_out))
    if view.do_not_text:
        return Suppress("do_not_text", f"{view.do_not_text} says not to text this person")
    if view.no_consent:
        return Suppress("no_consent", f"{view.no_consent} does not say that this person may be texted")
    if view.expires_at is not None and now >= view.expires_at:
        return Expire(f"it was to be sent before {_time(view.expires_at)} and was not; a late text is not sent")
    if view.contact_deleted:
        return Suppress(
            "record_deleted", "the CRM record that it is about was deleted or merged away before it could be sent"
        )
    if view.phone_changed:
        return Suppress(
            "phone_changed",
            "the CRM record that it is about has another phone number now, or none that can be used; this one may be"
            " somebody else's",
        )
    if view.unwanted is not None:
        return Suppress(*view.unwanted)
    if view.duplicate_of:
        return Suppress(
            "duplicate",
            f"message {view.duplicate_of} said the same to the same number less than policy.duplicate_window before",
        )
    return None


def _not_unasked(view: MessageView) -> Hold | None:
    """What waits for somebody or something without a time."""
    if view.batch_verdict == "open":
        return Hold(None, "run", "it waits for the end of its sync run, which decides whether it texts too many people")
    if view.batch_verdict == "over_limit" and not view.approved:
        return Hold(
            None,
            "approval",
            "its sync would text more people than policy.blast_limit allows without asking;"
            " look at the texts, then `vtsync approve` or `vtsync cancel` them",
        )
    if view.breaker and not view.approved:
        return Hold(None, "breaker", view.breaker)
    if view.review_since is not None:
        return Hold(
            None,
            "review",
            f"its person wrote something on {view.review_since:%Y-%m-%d} that may mean to be left alone; read it, then"
            " go on or opt the number out",
        )
    return None


def _not_yet(view: MessageView, now: datetime) -> Hold | None:
    if view.due_at is not None and now < view.due_at:
        return Hold(view.due_at, "scheduled", f"it is due at {_time(view.due_at)}")
    if view.quiet_hours is not None and not view.urgent:
        held = _quiet(view, view.quiet_hours, now)
        if held is not None:
            return held
        if view.behind is not None and now < view.behind and not _expires_by(view, view.behind):
            return _until(view.behind, "order", "an earlier text to this number still waits for quiet hours", view)
    if view.full_caps:
        full = max(view.full_caps, key=lambda cap: cap.until)
        words = f"{full.whom} had {full.limit} texts within 24 hours, all that policy.{full.setting} allows"
        return _until(full.until, "cap", words, view)
    return None


def _quiet(view: MessageView, quiet: QuietHours, now: datetime) -> Hold | None:
    window = next_window(quiet.places, quiet.rules, now)
    if window is None:
        why = (
            "no hour of the day is open in all places where this number may be"
            if quiet.places.zones
            else "nothing says in which time zone this number is"
        )
        return Hold(
            None,
            "time_zone",
            f"{why}; set time_zone in the account's table, or fields.time_zone (or fields.state) in the connection's"
            f" (texts go from {quiet.rules})",
        )
    if window[0] <= now:
        return None
    # By the number, not by the message: several texts to one person go in their order.
    until = release_time(view.to_number, window, quiet.jitter, view.expires_at)
    return _until(until, "quiet_hours", f"it is {_clocks(quiet.places, now)}; texts go from {quiet.rules}", view)


def _until(until: datetime, code: str, words: str, view: MessageView) -> Hold:
    end = ""
    if view.expires_at is not None and _expires_by(view, until):
        end = f"; by then it will have expired, at {_time(view.expires_at)}"
    return Hold(until, code, f"{words}, so it waits until {_time(until)}{end}")


def _expires_by(view: MessageView, at: datetime) -> bool:
    return view.expires_at is not None and at >= view.expires_at


def _clocks(places: Places, now: datetime) -> str:
    """What the clocks show, at most three of them: ``07:15 in America/New_York``."""
    shown = [f"{now.astimezone(zone_info(zone)):%a %H:%M} in {zone}" for zone in places.zones[:3]]
    more = len(places.zones) - len(shown)
    return " and ".join(shown) + (f" and {more} more zones" if more else "") + f" (known from {places.source})"


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
