"""Decide if a text may go now. One pure function, called when a text is queued and again right before it is sent.

The first rule that applies decides. The rules that end a text come before the rules that only delay it:

1. A record texts nobody: it always goes.
2. The number opted out: the text is suppressed, whatever else is true.
3. The CRM says not to text this person, or its consent field does not say yes, or consent is required and none is on
   record: suppressed.
4. Its number is in a country that may not be texted: suppressed.
5. It is too late (``now >= expires_at``): expired.
6. Its CRM record is gone, its person has another number or none, its date was moved, or its trigger's condition no
   longer holds: suppressed.
7. The same text went to the same number a short while ago: suppressed, even if a person approved this one.
8. Its trigger is paused: held, even if a person approved it. Its sync run is still open, or would text too many people,
   or its trigger would in 24 hours: held until the run ends or a person approves.
9. Its trigger fires far more often than it used to: held until a person approves.
10. Its person may have asked, in their own words, to be left alone: held until somebody has read the reply.
11. The CRM should say if this person may be texted, and that cannot be read: held until it can.
12. It is not due yet: held until then.
13. Quiet hours or a holiday where the person may be: held until they end. An urgent text goes anyway. To keep the order
    of texts, a text also waits while an earlier one to the same number waits for quiet hours.
14. The person, or the account, had its number of texts for a day: held until the first of them is a day old.

The account's own state (stopped, paused) is checked after this, where the request is made.
``worker.policy.look_ahead`` says when a text will go, as far as that is known now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from config.policy import Policy
from worker.core.phones import mask
from worker.core.states import MessageKind
from worker.policy.locations import Locations, zone_info
from worker.policy.quiet_hours import QuietHoursRules, next_window, release_time

CAP_WINDOW = timedelta(hours=24)
"""Caps count over the last 24 hours, not from midnight on, which would allow twice as many in one evening."""

_DEFAULT_POLICY = Policy()
BatchState: TypeAlias = Literal["none", "open", "over_limit", "refused", "approved"]


FORGOTTEN = "forgotten"
"""The source of numbers that were erased: nobody knows whether they had opted out."""


@dataclass(frozen=True, slots=True)
class OptedOut:
    """When a number opted out and where that came from.

    ``source``: ``virtualtext``, ``virtualtext_list``, ``relay``, ``carrier``, ``cli``, ``http``, ``page``, ``import``,
    ``number_changed``, ``forgotten`` or ``remembered``.
    """

    since: datetime
    source: str
    detail: str = ""
    account: str = ""
    """The account through which alone it became known; empty: several, or none."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The hours in which the number may be texted. ``jitter``: the span over which waiting texts are spread."""

    rules: QuietHoursRules
    locations: Locations
    jitter: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class FullCap:
    """A cap that is used up: ``whom`` had ``limit`` texts in 24 hours. ``until``: when one more is allowed.

    ``setting`` is its key in the policy.
    """

    whom: str
    setting: str
    limit: int
    until: datetime


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What the policy needs to know about a message and its surroundings.

    ``batch_verdict``: ``none`` (no sync run), ``open`` (its run has not ended), ``over_limit`` (its run would text more
    people than allowed), ``refused`` (its run was refused, because the source looked wrong), ``approved`` (within the
    limit, or approved by a person).
    ``phone_changed``: the CRM record it is about now has another number than the text is addressed to, or none.
    ``unwanted``: (code, text) when the reason for the text is gone: its date moved, its condition no longer holds.
    ``country``: why its number's country may not be texted; "" when it may.
    ``do_not_text``, ``no_consent``: the CRM record that says so, or that does not say yes; "" when nothing forbids it.
    ``consent_missing``: why no consent is on record, where one is required; "" when one is, or none is required.
    ``permission_unknown``: why it is not known what the CRM says about that, and what to do; "" when it is known.
    ``paused``: that a person has paused its trigger, and what to do; "" when it is not paused.
    ``approved``: a person approved it, or asked to send it again. ``over_the_day``: why its trigger would text too many
    people in 24 hours; "" when it would not. ``breaker``: why its trigger is held; "" when it is not.
    ``duplicate_of``: the id of the message with the same text that went to the same number a short while ago.
    ``quiet_hours``: None when texts go at any hour. ``behind``: until when an earlier text to the same number waits
    for quiet hours. ``policy`` is the one that applies to the text: reasons name its settings.
    """

    kind: MessageKind
    expires_at: datetime | None
    opted_out: OptedOut | None
    batch_verdict: BatchState = "none"
    due_at: datetime | None = None
    phone_changed: bool = False
    contact_deleted: bool = False
    unwanted: tuple[str, str] | None = None
    paused: str = ""
    to_number: str = ""
    approved: bool = False
    urgent: bool = False
    do_not_text: str = ""
    no_consent: str = ""
    consent_missing: str = ""
    country: str = ""
    permission_unknown: str = ""
    duplicate_of: str = ""
    over_the_day: str = ""
    breaker: str = ""
    review_since: datetime | None = None
    quiet_hours: QuietHours | None = None
    behind: datetime | None = None
    full_caps: tuple[FullCap, ...] = ()
    policy: Policy = _DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class Go:
    """The text may go now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The text has to wait. ``until``: decide again then. None: ``RELEASED_BY[code]`` says what releases it."""

    until: datetime | None
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suppress:
    """The text is never sent."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expire:
    """The text is too late."""

    reason: str


PolicyDecision: TypeAlias = Go | Hold | Suppress | Expire

RELEASED_BY = {
    "paused": "`vtsync resume trigger`, and then `vtsync approve`",
    "run": "the end of its sync run",
    "approval": "`vtsync approve`",
    "breaker": "`vtsync approve`",
    "review": "`vtsync review`, or STOP or START from the person",
    "permission_unknown": "the CRM to say if this person may be texted; this is checked again every hour",
    "time_zone": "a time zone in the configuration or the CRM; this is checked again every hour",
}
"""What ends each hold without a time. Expiry and `vtsync cancel` end all of them, too."""


def decide(facts: PolicyFacts, now: datetime) -> PolicyDecision:
    """Return what to do with the message at ``now``. Every decision except ``Go`` has a reason for a person."""
    if facts.kind == MessageKind.RECORD:
        return Go()
    return _never(facts, now) or _wait_for_event(facts) or _wait_for_time(facts, now) or Go()


def _never(facts: PolicyFacts, now: datetime) -> Suppress | Expire | None:
    if facts.opted_out is not None:
        return Suppress("opted_out", _opted_out_text(facts.to_number, facts.opted_out))
    if facts.do_not_text:
        return Suppress("do_not_text", f"{facts.do_not_text} says not to text this person")
    if facts.no_consent:
        return Suppress("no_consent", f"{facts.no_consent} does not say that this person may be texted")
    if facts.consent_missing:
        return Suppress("no_consent", facts.consent_missing)
    if facts.country:
        return Suppress("country", facts.country)
    if facts.expires_at is not None and now >= facts.expires_at:
        return Expire(f"it had to be sent before {_time(facts.expires_at)} and was not; late texts are not sent")
    if facts.contact_deleted:
        return Suppress("record_deleted", "its CRM record was deleted or merged into another before the text was sent")
    if facts.phone_changed:
        return Suppress(
            "phone_changed",
            "its CRM record now has another phone number, or none that can be used; this number may belong to"
            " somebody else",
        )
    if facts.unwanted is not None:
        return Suppress(*facts.unwanted)
    if facts.duplicate_of:
        return Suppress(
            "duplicate",
            f"message {facts.duplicate_of} sent the same text to the same number within"
            f" {facts.policy.setting('duplicate_window')}",
        )
    return None


def _wait_for_event(facts: PolicyFacts) -> Hold | None:
    """Hold a text that waits for a person or an event. Such a hold has no end time."""
    if facts.paused:
        return Hold(None, "paused", facts.paused)
    if facts.batch_verdict == "open":
        return Hold(None, "run", "it waits for the end of its sync run, which decides if it texts too many people")
    if facts.batch_verdict == "over_limit" and not facts.approved:
        return Hold(
            None,
            "approval",
            f"its sync would text more people than {facts.policy.setting('blast_limit')} allows without approval;"
            " look at the texts, then run `vtsync approve` or `vtsync cancel`",
        )
    if facts.batch_verdict == "refused" and not facts.approved:
        return Hold(
            None,
            "approval",
            "its sync was refused, because the source looked wrong; look at the texts, then run `vtsync approve` or"
            " `vtsync cancel`",
        )
    if facts.over_the_day and not facts.approved:
        return Hold(None, "approval", facts.over_the_day)
    if facts.breaker and not facts.approved:
        return Hold(None, "breaker", facts.breaker)
    if facts.review_since is not None:
        return Hold(
            None,
            "review",
            f"a reply of {facts.review_since:%Y-%m-%d} may ask not to be texted any more; read it with `vtsync review`,"
            " then continue or opt the number out",
        )
    if facts.permission_unknown:
        return Hold(None, "permission_unknown", facts.permission_unknown)
    return None


def _wait_for_time(facts: PolicyFacts, now: datetime) -> Hold | None:
    if facts.due_at is not None and now < facts.due_at:
        return Hold(facts.due_at, "scheduled", f"it is due at {_time(facts.due_at)}{_when_due(facts, facts.due_at)}")
    if facts.quiet_hours is not None and not facts.urgent:
        held = _wait_for_hours(facts, facts.quiet_hours, now)
        if held is not None:
            return held
        if facts.behind is not None and now < facts.behind and not _expires_by(facts, facts.behind):
            return _hold_until(facts.behind, "order", "an earlier text to this number waits for quiet hours", facts)
    full_then = [cap for cap in facts.full_caps if cap.until > now]
    if full_then:
        full = max(full_then, key=lambda cap: cap.until)
        why = (
            f"{full.whom} had {full.limit} texts within 24 hours, all that {facts.policy.setting(full.setting)} allows"
        )
        return _hold_until(full.until, "cap", why, facts)
    return None


def _when_due(facts: PolicyFacts, due_at: datetime) -> str:
    """Say what a text that is not due yet will wait for then; "" if it goes when it is due, as far as is known."""
    if facts.expires_at is not None and due_at >= facts.expires_at:
        return f"; by then it will have expired, at {_time(facts.expires_at)}"
    then = _wait_for_time(facts, due_at)
    return "" if then is None else f"; then {then.reason}"


def _wait_for_hours(facts: PolicyFacts, quiet: QuietHours, now: datetime) -> Hold | None:
    window = next_window(quiet.locations, quiet.rules, now)
    if window is None:
        why = (
            "no hour of the day is allowed in all places where this number may be"
            if quiet.locations.zones
            else "the time zone of this number is not known"
        )
        return Hold(
            None,
            "time_zone",
            f"{why}; set time_zone in the account's table, or fields.time_zone (or fields.state) in the connection's"
            f" (texts go from {quiet.rules}{_own_hours(facts.policy)})",
        )
    if window[0] <= now:
        return None
    # The time depends on the number, not on the message: several texts to one person keep their order.
    until = release_time(facts.to_number, window, quiet.jitter, facts.expires_at)
    holiday = next((f"; {why}" for zone in quiet.locations.zones if (why := _holiday(quiet, zone, now))), "")
    why = f"it is {_clocks(quiet.locations, now)}{holiday}; texts go from {quiet.rules}{_own_hours(facts.policy)}"
    return _hold_until(until, "quiet_hours", why, facts)


def _holiday(quiet: QuietHours, zone: str, now: datetime) -> str:
    return quiet.rules.closed.on(now.astimezone(zone_info(zone)).date())


def _own_hours(policy: Policy) -> str:
    """Name the settings of the hours that are not those of `[policy]`."""
    named = [policy.setting(key) for key in ("text_from", "text_until", "sunday_from")]
    own = [name for name in named if not name.startswith("policy.")]
    return f" ({', '.join(own)})" if own else ""


def _hold_until(until: datetime, code: str, why: str, facts: PolicyFacts) -> Hold:
    end = ""
    if facts.expires_at is not None and _expires_by(facts, until):
        end = f"; by then it will have expired, at {_time(facts.expires_at)}"
    return Hold(until, code, f"{why}, so it waits until {_time(until)}{end}")


def _expires_by(facts: PolicyFacts, at: datetime) -> bool:
    return facts.expires_at is not None and at >= facts.expires_at


def _clocks(locations: Locations, now: datetime) -> str:
    """Return the local times, at most three: ``Tue 07:15 in America/New_York``."""
    shown = [f"{now.astimezone(zone_info(zone)):%a %H:%M} in {zone}" for zone in locations.zones[:3]]
    more = len(locations.zones) - len(shown)
    return " and ".join(shown) + (f" and {more} more zones" if more else "") + f" (known from {locations.source})"


_BY_OPT_IN = "until `vtsync opt-in` lifts it"
_OPT_OUT_SOURCES = {
    "virtualtext": ("VirtualText answered 451", "until the person sends START"),
    "relay": ("the person asked for it by text", "until the person sends START"),
    "carrier": ("a carrier reported it", "until the person sends START, or `vtsync opt-in` lifts it"),
    "cli": ("entered by hand", _BY_OPT_IN),
    "http": ("entered through the HTTP API", _BY_OPT_IN),
    "page": ("entered in the pages", _BY_OPT_IN),
    "import": ("imported from the list of another system", _BY_OPT_IN),
    "virtualtext_list": ("VirtualText's contact list shows it", "until the person sends START"),
    "number_changed": ("its CRM record had another number, which had opted out", _BY_OPT_IN),
    "remembered": ("it had opted out before it was forgotten", _BY_OPT_IN),
}


def opt_out_reason(source: str) -> str:
    """Return where an opt-out comes from, for a person."""
    return _OPT_OUT_SOURCES.get(source, (source, ""))[0]


def _opted_out_text(to_number: str, opted_out: OptedOut) -> str:
    who = mask(to_number) if to_number else "this number"
    if opted_out.source == "number_changed":
        return (
            f"{who} follows an opt-out since {opted_out.since:%Y-%m-%d}: {opt_out_reason(opted_out.source)}; if the"
            f' opt-out does not apply here, lift it with `vtsync opt-in NUMBER --why "..."`'
        )
    if opted_out.source == FORGOTTEN:
        return (
            f"{who} was forgotten on {opted_out.since:%Y-%m-%d}, as its owner asked; no account texts it until the"
            ' person sends START, or until `vtsync remember NUMBER --why "..."`'
        )
    how, until = _OPT_OUT_SOURCES.get(opted_out.source, (opted_out.source, _BY_OPT_IN))
    return f"{who} opted out on {opted_out.since:%Y-%m-%d} ({how}); no account texts it {until}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} {at.tzname() or ''}".rstrip()
