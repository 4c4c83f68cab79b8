"""Decides which alerts begin, which count, whom to tell, and which have ended. Pure.

An alert is *seen* while its finding is there. Once it has lasted for ``LASTS`` (most kinds: at once), it is *raised*,
and subscribers hear of it. Then people are *told*, once: at once if it is urgent, else when the quiet hours are over.
When its finding has been gone for ``GONE``, it has *ended*, and people are told that, too, if they knew of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from config.alert_kinds import AlertKind
from config.alerts import Alerts, Channel
from worker.core.findings import Finding, Level
from worker.core.log_lines import masked
from worker.doctor.waiting import WAITING

GONE = timedelta(minutes=5)
"""What comes back within this time never ended, so that something that comes and goes is one alert."""
LASTS = {AlertKind.NO_TICK: timedelta(minutes=2), AlertKind.BREAKER_OPEN: timedelta(minutes=2)}
"""A restart of the fleet, or a short outage of VirtualText, wakes nobody."""
_QUOTING = (
    AlertKind.ACCOUNT_STOPPED,
    AlertKind.CONNECTION_STOPPED,
    AlertKind.SYNC_FAILED,
    AlertKind.SYNC_REFUSED,
    AlertKind.BREAKER_OPEN,
)
"""Their findings repeat, after a colon, what a CRM or VirtualText said, which may be about a person."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding as an alert. ``key``: its kind and its subject, which stay the same while counts change."""

    key: str
    kind: AlertKind
    urgent: bool
    found: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Known:
    """A row of the table ``alert``."""

    id: int
    key: str
    kind: str
    urgent: bool
    found: str
    remedy: str
    since: datetime
    seen_at: datetime
    raised_at: datetime | None
    told_at: datetime | None
    told_urgent: bool
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What to store, and what to tell."""

    raised: list[Known] = field(default_factory=list)
    began: list[Known] = field(default_factory=list)
    """People are told that these began, or became urgent."""
    lasts: list[Known] = field(default_factory=list)
    """People are reminded of these."""
    ended: list[Known] = field(default_factory=list)
    over: list[Known] = field(default_factory=list)
    """People are told that these have ended."""
    passed: list[Known] = field(default_factory=list)
    """These were gone before they counted."""


def alerts_of(findings: Iterable[Finding]) -> dict[str, Seen]:
    """Return the findings that people are told of, by key, without what may be about a person."""
    found: dict[str, Seen] = {}
    for one in findings:
        if one.alert is None or one.level is Level.OK:
            continue
        key = f"{one.alert}:{one.command if one.what == WAITING else one.what}"[:200]
        shown = replace(one, found=one.found.partition(": ")[0]) if one.alert in _QUOTING else one
        text = shown.found if one.what == WAITING else f"{one.what}: {shown.found}"
        new = Seen(key, one.alert, one.level is Level.PROBLEM, masked(text), masked(one.do))
        found[key] = _merged(found[key], new) if key in found else new
    return found


def _merged(first: Seen, second: Seen) -> Seen:
    """Make one alert of two findings about the same subject, such as a fleet without a worker and a scheduler."""
    urgent = first.urgent or second.urgent
    return replace(
        first, urgent=urgent, found=f"{first.found}; {second.found}", remedy=f"{first.remedy}; {second.remedy}"
    )


def decide(
    seen: Mapping[str, Seen], known: Sequence[Known], alerts: Alerts, now: datetime, *, complete: bool = True
) -> Changes:
    """Compare what is wrong with what is known, which has it already.

    ``complete``: everything was looked at, so what is not there has ended.
    """
    changes = Changes()
    quiet = is_quiet(alerts, now)
    for one in known:
        if one.ended_at is not None:
            if not quiet:
                changes.over.append(one)
        elif one.key not in seen and complete and now - one.seen_at >= GONE:
            _end(one, changes, quiet=quiet)
        elif one.key in seen:
            _go_on(one, seen[one.key], changes, alerts, now, quiet=quiet)
    return changes


def _end(one: Known, changes: Changes, *, quiet: bool) -> None:
    if one.raised_at is None:
        changes.passed.append(one)
        return
    changes.ended.append(one)
    if one.told_at is not None and not quiet:
        changes.over.append(one)


def _go_on(one: Known, seen: Seen, changes: Changes, alerts: Alerts, now: datetime, *, quiet: bool) -> None:
    if one.raised_at is None:
        if now - one.since < LASTS.get(AlertKind(one.kind), timedelta(0)):
            return
        changes.raised.append(one)
    if quiet and not seen.urgent:
        return
    if one.told_at is None or (seen.urgent and not one.told_urgent):
        changes.began.append(one)
    elif alerts.remind_after is not None and now - one.told_at >= alerts.remind_after:
        changes.lasts.append(one)


def is_quiet(alerts: Alerts, now: datetime) -> bool:
    """Return whether only urgent alerts may be sent now."""
    if alerts.quiet is None:
        return False
    begins, ends = alerts.quiet
    at = now.astimezone(ZoneInfo(alerts.time_zone)).time()
    return begins <= at < ends if begins < ends else at >= begins or at < ends


def next_digest(at: time, time_zone: str, after: datetime) -> datetime:
    """Return the first time after ``after`` at which the digest is due."""
    zone = ZoneInfo(time_zone)
    day = after.astimezone(zone).date()
    while (due := datetime.combine(day, at, zone)).timestamp() <= after.timestamp():
        day += timedelta(days=1)
    return due.astimezone(after.tzinfo)


def wants(channel: Channel, kind: str, *, urgent: bool) -> bool:
    """Return whether a channel gets an alert."""
    return (urgent or not channel.urgent_only) and any(fnmatchcase(kind, pattern) for pattern in channel.events)
