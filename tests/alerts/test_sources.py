"""From what is in the store to the alerts: with `vtsync web` alone, when no worker is left."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from config.alert_kinds import AlertKind
from config.models import Account, Connection, Settings
from crm_adapters.base import ApiVersion
from tests.alerts.conftest import Heard, Watch, webhook_to
from tests.deliveries.conftest import on_sqlite
from worker import tasks
from worker.alerts.evaluate import evaluate
from worker.alerts.sources import check_versions
from worker.contacts.budgets import BudgetState
from worker.core.findings import Finding, Level
from worker.doctor.accounts import judge_account_state
from worker.doctor.connections import ConnectionNow, judge_connection, judge_rejects
from worker.doctor.credentials import judge_api_version
from worker.doctor.work import OverdueWork, judge_work
from worker.monitoring.state import read_account
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import account_state, alert, heartbeat, maintenance_lock, public_event
from worker.upkeep import rollback_guard
from worker.web.alerts import AlertWatch, watch_alerts

DAY = date(2026, 3, 4)


def wide(watch: Watch, hook: Heard) -> None:
    watch.configure({"hook": webhook_to(hook)})
    account = Account(uid="u", token="t", from_number="+14155550100")
    watch.runtime.settings = watch.runtime.settings.model_copy(update={"accounts": {"main": account}})


def beats(watch: Watch, role: str, ago: timedelta = timedelta(0)) -> None:
    at = utcnow() - ago
    with writing(watch.runtime.engine) as db:
        db.execute(insert(heartbeat).values(id=f"{role}:host:1", role=role, version="1", started_at=at, seen_at=at))


def minutes_pass(watch: Watch, minutes: int) -> None:
    """As if the alerts that are there were older, and it was time to look again."""
    past = timedelta(minutes=minutes)
    with writing(watch.runtime.engine) as db:
        for row in watch.rows(alert):
            values = {"since": row.since - past, "seen_at": row.seen_at - past}
            db.execute(update(alert).where(alert.c.id == row.id).values(values))
        db.execute(update(maintenance_lock).values(next_run_at=None))


def test_web_alone_notices_that_nobody_carries_out_the_tick_and_says_so(watch: Watch, hook: Heard) -> None:
    wide(watch, hook)
    beats(watch, "web")
    watch_alerts(watch.runtime)
    assert hook.bodies == [], "a restart of the fleet takes a moment"
    minutes_pass(watch, 2)
    for _ in range(3):
        watch_alerts(watch.runtime)
    (body,) = hook.bodies
    (one,) = body["data"]["began"]
    assert (one["kind"], one["urgent"]) == ("no_tick", True)
    assert "no worker is running" in one["found"]
    for role in ("worker", "beat", "tick"):
        beats(watch, role)
    minutes_pass(watch, 5)
    watch_alerts(watch.runtime)
    assert [one["kind"] for one in hook.bodies[1]["data"]["ended"]] == ["no_tick"]


@on_sqlite
def test_web_leaves_other_deliveries_to_the_workers(watch: Watch, hook: Heard) -> None:
    wide(watch, hook)
    with writing(watch.runtime.engine) as db:
        values = {"id": "1", "type": "message.sent", "at": utcnow(), "account": "main", "phone": "+14155550123"}
        db.execute(insert(public_event).values(**values, payload="{}"))
    watch_alerts(watch.runtime)
    assert len(watch.rows(public_event)) == 1


@on_sqlite
def test_the_watch_of_web_goes_on_after_a_failure(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    looked, tries = Event(), []

    def look(_: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError
        looked.set()

    monkeypatch.setattr("worker.web.alerts.EVERY_SECONDS", 0.01)
    monkeypatch.setattr("worker.web.alerts.watch_alerts", look)
    thread = AlertWatch(lambda: watch.runtime)
    thread.start()
    assert looked.wait(30)
    thread.stop()


@on_sqlite
def test_a_stopped_account_is_an_urgent_alert_without_what_virtualtext_said(watch: Watch, hook: Heard) -> None:
    wide(watch, hook)
    for role in ("worker", "beat", "web", "tick"):
        beats(watch, role)
    with writing(watch.runtime.engine) as db:
        reason = "VirtualText refuses Ada"
        db.execute(insert(account_state).values(account="main", stopped_at=utcnow(), stopped_reason=reason))
    assert evaluate(watch.runtime, utcnow())
    watch.deliver()
    (one,) = hook.bodies[0]["data"]["began"]
    assert (one["kind"], one["urgent"]) == ("account_stopped", True)
    assert one["found"] == "account main: is stopped"


def kinds(findings: Any) -> list[AlertKind | None]:
    return [one.alert for one in findings if one.level is not Level.OK]


FULL = BudgetState("", 100, timedelta(days=1), 100, utcnow())
FREE = BudgetState("", 100, timedelta(days=1), 99, utcnow())


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (ConnectionNow("crm"), []),
        (ConnectionNow("crm", stopped="401"), [AlertKind.CONNECTION_STOPPED]),
        (ConnectionNow("crm", failure="failed", error="x"), [AlertKind.SYNC_FAILED]),
        (ConnectionNow("crm", failure="was refused", error="x"), [AlertKind.SYNC_REFUSED]),
        (ConnectionNow("crm", budgets=[FULL]), [AlertKind.BUDGET_USED_UP]),
        (ConnectionNow("crm", budgets=[FREE]), []),
        (ConnectionNow("crm", rejected_lately=9, records=10), [AlertKind.REJECTS_UP]),
    ],
)
def test_the_alerts_of_a_connection(connection: ConnectionNow, expected: list[AlertKind]) -> None:
    assert kinds(judge_connection(connection)) == expected


@pytest.mark.parametrize(
    ("rejected", "records", "expected"),
    [(4, 0, False), (5, 0, True), (5, 95, True), (5, 96, False), (500, 9_500, True), (100, 9_900, False)],
)
def test_when_many_records_are_rejected(rejected: int, records: int, expected: bool) -> None:
    assert bool(list(judge_rejects("connection crm", rejected, records))) is expected


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (None, []),
        (DAY + timedelta(days=91), []),
        (DAY + timedelta(days=90), [AlertKind.VERSION_ENDING]),
        (DAY - timedelta(days=1), [AlertKind.VERSION_ENDING]),
    ],
)
def test_the_end_of_a_version(ends: date | None, expected: list[AlertKind]) -> None:
    assert kinds([judge_api_version("connection crm", ApiVersion("v1", ends), DAY)]) == expected


@on_sqlite
def test_versions_are_those_of_the_adapters_in_use(watch: Watch) -> None:
    connections = {
        "one": Connection(adapter="hubspot", account="main"),
        "two": Connection(adapter="gone", account="main"),
        "three": Connection(adapter="csv", account="main"),
    }
    watch.runtime.settings = Settings.model_construct(connections=connections)
    found: list[Finding] = list(check_versions(watch.runtime))
    assert [one.what for one in found] == ["connection one"]


@on_sqlite
def test_an_open_breaker_and_late_work(watch: Watch) -> None:
    until = utcnow() + timedelta(minutes=5)
    with writing(watch.runtime.engine) as db:
        db.execute(insert(account_state).values(account="main", paused_until=until, pause_reason="5xx", trips=1))
    with reading(watch.runtime.engine) as db:
        account = read_account(db, "main", utcnow())
    assert judge_account_state("main", account).alert is AlertKind.BREAKER_OPEN
    now = utcnow()
    late = OverdueWork(now - timedelta(hours=1), 0, ("crm", "shop"), 1)
    assert kinds(judge_work(late, now)) == [AlertKind.TEXTS_LATE, AlertKind.SYNC_LATE, AlertKind.SYNC_LATE]


def test_the_tick_of_a_worker_wakes_the_evaluation_and_that_the_deliveries(
    watch: Watch, hook: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []

    def wake(task: str, *_: str) -> None:
        woken.append(task)

    for name, value in (("open_runtime", lambda: watch.runtime), ("wake", wake)):
        monkeypatch.setattr(tasks, name, value)
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: watch.runtime)  # the application reads it, too
    monkeypatch.setattr(rollback_guard, "guard", lambda _: True)
    monkeypatch.setattr(rollback_guard, "remember_tick", lambda *_: None)
    wide(watch, hook)
    beats(watch, "worker")
    with writing(watch.runtime.engine) as db:
        values = {"account": "main", "stopped_at": utcnow(), "stopped_reason": "401"}
        db.execute(insert(account_state).values(values))
    tasks.tick()
    assert "vtsync.check_alerts" in woken
    tasks.check_alerts()
    assert woken[-1] == "vtsync.forward_events"
    assert [row.kind for row in watch.rows(alert) if row.told_at] == ["account_stopped"]
    minutes_pass(watch, 0)
    woken.clear()
    tasks.check_alerts()
    assert woken == [], "people know already"
