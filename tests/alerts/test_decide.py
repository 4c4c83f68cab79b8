"""When an alert counts, when people are told, and when it has ended, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from config.alert_kinds import AlertKind
from config.alerts import Alerts
from worker.alerts.decide import Known, Seen, alerts_of, decide, is_quiet, next_digest
from worker.core.findings import Finding, FindingCode, ok, problem, warning

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
QUIET_NOW = Alerts.model_validate({"quiet": "11:00-13:00"})
REMINDS = Alerts.model_validate({"remind_after": "24h"})


def known(kind: AlertKind = AlertKind.SYNC_FAILED, **more: Any) -> Known:
    values: dict[str, Any] = {"since": NOW, "seen_at": NOW, "raised_at": NOW, "told_at": NOW, "ended_at": None}
    return Known(
        **{"id": 1, "key": "k", "kind": kind, "urgent": False, "found": "", "remedy": ""}
        | values
        | {"told_urgent": False}
        | more
    )


def seen(kind: AlertKind = AlertKind.SYNC_FAILED, *, urgent: bool = False) -> Seen:
    return Seen("k", kind, urgent, "", "")


NEW = {"raised_at": None, "told_at": None}


@pytest.mark.parametrize(
    ("before", "now_seen", "alerts", "after"),
    [
        (known(**NEW), seen(), Alerts(), {"raised", "began"}),
        (known(), seen(), Alerts(), set()),
        (known(told_at=None), seen(), Alerts(), {"began"}),
        # quiet: subscribers hear of it, people wait; urgent ones do not wait
        (known(**NEW), seen(), QUIET_NOW, {"raised"}),
        (known(**NEW), seen(urgent=True), QUIET_NOW, {"raised", "began"}),
        (known(), seen(urgent=True), QUIET_NOW, {"began"}),
        (known(told_urgent=True), seen(urgent=True), Alerts(), set()),
        (known(told_urgent=True), seen(), Alerts(), set()),
        # what must last first
        (known(AlertKind.NO_TICK, **NEW), seen(AlertKind.NO_TICK, urgent=True), Alerts(), set()),
        (
            known(AlertKind.NO_TICK, **NEW, since=NOW - 2 * MINUTE),
            seen(AlertKind.NO_TICK, urgent=True),
            Alerts(),
            {"raised", "began"},
        ),
        (known(AlertKind.NO_TICK, **NEW, seen_at=NOW - 5 * MINUTE), None, Alerts(), {"passed"}),
        # the end
        (known(seen_at=NOW - 4 * MINUTE), None, Alerts(), set()),
        (known(seen_at=NOW - 5 * MINUTE), None, Alerts(), {"ended", "over"}),
        (known(seen_at=NOW - 5 * MINUTE), None, QUIET_NOW, {"ended"}),
        (known(seen_at=NOW - 5 * MINUTE, told_at=None), None, Alerts(), {"ended"}),
        (known(ended_at=NOW - MINUTE), None, Alerts(), {"over"}),
        (known(ended_at=NOW - MINUTE), None, QUIET_NOW, set()),
        # reminders
        (known(told_at=NOW - timedelta(hours=23)), seen(), REMINDS, set()),
        (known(told_at=NOW - timedelta(hours=24)), seen(), REMINDS, {"lasts"}),
        (known(told_at=NOW - timedelta(hours=99)), seen(), Alerts(), set()),
    ],
)
def test_one_look(before: Known, now_seen: Seen | None, alerts: Alerts, after: set[str]) -> None:
    changes = decide({} if now_seen is None else {"k": now_seen}, [before], alerts, NOW)
    assert {name for name in changes.__slots__ if getattr(changes, name)} == after


def test_nothing_ends_while_not_everything_could_be_read() -> None:
    changes = decide({}, [known(seen_at=NOW - timedelta(hours=1))], Alerts(), NOW, complete=False)
    assert changes.ended == []


@pytest.mark.parametrize(
    ("quiet", "zone", "at", "expected"),
    [
        (None, "UTC", "03:00", False),
        ("22:00-07:00", "UTC", "21:59", False),
        ("22:00-07:00", "UTC", "22:00", True),
        ("22:00-07:00", "UTC", "06:59", True),
        ("22:00-07:00", "UTC", "07:00", False),
        ("12:00-13:00", "UTC", "12:30", True),
        ("12:00-13:00", "UTC", "13:00", False),
        ("22:00-07:00", "America/Chicago", "05:00", True),  # 23:00 there
        ("22:00-07:00", "America/Chicago", "15:00", False),
    ],
)
def test_quiet_hours(quiet: str | None, zone: str, at: str, expected: bool) -> None:
    alerts = Alerts.model_validate({"time_zone": zone} | ({} if quiet is None else {"quiet": quiet}))
    assert is_quiet(alerts, datetime.combine(NOW.date(), time.fromisoformat(at), UTC)) is expected


@pytest.mark.parametrize(
    ("zone", "after", "expected"),
    [
        ("UTC", "2026-03-04 07:59", "2026-03-04 08:00"),
        ("UTC", "2026-03-04 08:00", "2026-03-05 08:00"),
        ("America/Chicago", "2026-03-07 15:00", "2026-03-08 13:00"),  # clocks go forward in that night
        ("Asia/Tokyo", "2026-03-04 22:00", "2026-03-04 23:00"),
    ],
)
def test_the_next_digest(zone: str, after: str, expected: str) -> None:
    def utc(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert next_digest(time(8), zone, utc(after)) == utc(expected)


@pytest.mark.parametrize(
    ("finding", "found"),
    [
        (
            warning(AlertKind.SYNC_FAILED, "connection crm", "its last sync failed: Ada +14155550123", "w", "d"),
            "connection crm: its last sync failed",
        ),
        (
            problem(AlertKind.ACCOUNT_STOPPED, "account main", "is stopped: Ada Lovelace said no", "w", "d"),
            "account main: is stopped",
        ),
        (
            warning(AlertKind.UNKNOWN_TEXTS, "waiting for you", "3 texts of +14155550123", "w", "d", command="c"),
            "3 texts of ",
        ),
    ],
)
def test_nothing_about_a_person_gets_into_an_alert(finding: Finding, found: str) -> None:
    (one,) = alerts_of([finding]).values()
    assert one.found.startswith(found)
    assert "Ada" not in one.found
    assert "4155550123" not in one.found


def test_a_changed_count_is_the_same_alert_and_what_is_fine_is_none() -> None:
    def waiting(count: int) -> Finding:
        return warning(AlertKind.UNKNOWN_TEXTS, "waiting for you", f"{count} texts", "w", "d", command="c")

    assert alerts_of([waiting(3)]).keys() == alerts_of([waiting(5)]).keys()
    assert alerts_of([ok("fleet", "1 worker"), warning(FindingCode.CLOCK_WRONG, "clock", "is wrong", "w", "d")]) == {}


def test_two_findings_about_the_fleet_are_one_alert() -> None:
    gone = [problem(AlertKind.NO_TICK, "fleet", f"no {what} is running", "w", "d") for what in ("worker", "beat")]
    (one,) = alerts_of(gone).values()
    assert "worker" in one.found
    assert "beat" in one.found
