"""Where a run starts, what it treats as deleted, and when it does not start at all: adapters that report changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from config.triggers import ChangedTrigger, CreatedTrigger
from crm_adapters.base import CredentialsRejected, CursorExpired, Removals, SourceUnavailable
from tests.contacts.conftest import World
from tests.fakes import ListSource, LogSource, numbers
from worker.contacts.connection_gate import note_check_succeeded
from worker.contacts.pull import SyncReport
from worker.core.states import RunState
from worker.fleet.schedule import claim_due, start_slot
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, contact, contact_mapping

PHONES = numbers(12)


@pytest.fixture
def log(world: World) -> LogSource:
    source = LogSource()
    world.crm["crm"] = source  # type: ignore[assignment]
    for index, phone in enumerate(PHONES[:9]):
        source.put(f"{index}", phone, f"Person {index}")
    return source


def live(world: World) -> set[str]:
    return {row.external_id for row in world.rows(contact_mapping) if row.deleted_at is None}


def state(world: World) -> Any:
    (row,) = world.rows(connection_state)
    return row


def set_state(world: World, **values: Any) -> None:
    with writing(world.engine) as db:
        db.execute(update(connection_state).values(**values))


def counts(report: SyncReport) -> tuple[str, int, int, int]:
    return report.state, report.seen, report.added, report.removed


def test_after_the_first_run_only_changes_are_read(world: World, log: LogSource) -> None:
    assert counts(world.sync()) == (RunState.DONE, 9, 9, 0)
    log.put("3", PHONES[3], "Renamed")
    assert counts(world.sync()) == (RunState.DONE, 1, 0, 0)
    assert log.reads == ["all", "changes"]


def test_a_region_that_is_added_later_applies_to_every_record(world: World, log: LogSource) -> None:
    world.connections["crm"] = {"default_region": None}
    for index in range(9):
        log.put(f"{index}", PHONES[index].removeprefix("+1"), f"Person {index}")
    assert world.sync().rejected == 9
    assert world.sync().seen == 0
    world.connections["crm"] = {"default_region": "US"}
    report = world.sync()
    assert (report.seen, report.rejected) == (9, 0)
    assert world.rejections() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"list": "vip"}},
        {"fields": {"phone": ["phone"]}},
        {"store_fields": "all"},
        {"do_not_text": {"field": "stop"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_run_starts_from_the_top_if_records_mean_something_else_now(
    world: World, log: LogSource, change: dict[str, Any]
) -> None:
    world.sync()
    world.connections["crm"] = change
    assert world.sync().seen == 9
    assert world.sync().seen == 0
    assert log.reads == ["all", "all", "changes"]


@pytest.mark.parametrize("change", [{"schedule": "5m"}, {"max_missing_share": 0.5}, {"reconcile": "7d"}])
def test_other_settings_change_no_cursor(world: World, log: LogSource, change: dict[str, Any]) -> None:
    world.sync()
    world.connections["crm"] = change
    assert world.sync().seen == 0


def test_a_store_of_the_version_before_keeps_its_cursor(world: World, log: LogSource) -> None:
    log.kinds = ("contact",)
    world.sync()
    set_state(world, fingerprint="", shape="{}", memory="{}", reconciled_at=utcnow())
    assert world.sync().seen == 0
    assert state(world).fingerprint != ""


def test_full_reads_everything_and_finds_what_vanished(world: World, log: LogSource) -> None:
    world.connections["crm"] = {"reconcile": "never"}
    world.sync()
    log.vanish("4")
    assert counts(world.sync()) == (RunState.DONE, 0, 0, 0)
    assert counts(world.sync(full=True)) == (RunState.DONE, 8, 0, 1)
    assert "4" not in live(world)


def test_an_expired_cursor_starts_from_the_top_in_the_same_run(world: World, log: LogSource) -> None:
    world.sync()
    log.error = CursorExpired("the token has expired")
    log.vanish("7")
    assert counts(world.sync()) == (RunState.DONE, 8, 0, 1)
    assert log.reads == ["all", "changes", "all"]


def test_ids_are_compared_once_in_reconcile_and_exactly_the_missing_are_removed(world: World, log: LogSource) -> None:
    log.lists_ids = True
    world.sync()
    log.vanish("2")
    log.vanish("6")
    log.put("new", PHONES[10], "New")
    assert world.sync().removed == 0  # the listing was a moment ago
    set_state(world, reconciled_at=utcnow() - timedelta(days=2))
    log.put("newer", PHONES[11], "Newer")
    assert counts(world.sync()) == (RunState.DONE, 1, 1, 2)
    assert live(world) == {"0", "1", "3", "4", "5", "7", "8", "new", "newer"}
    assert world.sync().removed == 0
    assert log.reads == ["all", "changes", "changes", "ids", "changes"]


def test_a_comparison_that_misses_too_many_ids_removes_nothing_and_keeps_the_changes(
    world: World, log: LogSource
) -> None:
    log.lists_ids = True
    for index in range(9, 30):
        log.put(f"{index}", f"+1415556{index:04}", f"Person {index}")
    world.sync()
    for index in range(20):
        log.vanish(f"{index}")
    log.put("29", PHONES[8], "Changed")
    set_state(world, reconciled_at=utcnow() - timedelta(days=2))
    report = world.sync()
    assert (report.state, report.changed, report.removed) == (RunState.REFUSED, 1, 0)
    assert "20 of 30" in report.error
    assert world.contact(PHONES[8]).full_name == "Changed"
    assert counts(world.sync(accept_removals=True))[3] == 20


def test_a_crm_that_cannot_list_ids_is_read_whole_once_in_reconcile(world: World, log: LogSource) -> None:
    world.sync()
    log.vanish("2")
    assert world.sync().removed == 0
    set_state(world, reconciled_at=utcnow() - timedelta(days=2))
    assert counts(world.sync()) == (RunState.DONE, 8, 0, 1)
    assert log.reads == ["all", "changes", "all"]


def test_a_crm_that_reports_deletions_is_not_read_whole_again(world: World, log: LogSource) -> None:
    log.removals = Removals.REPORTED
    world.sync()
    log.report_deleted("3")
    set_state(world, reconciled_at=utcnow() - timedelta(days=2))
    assert counts(world.sync()) == (RunState.DONE, 1, 0, 1)
    assert log.reads == ["all", "changes"]


def test_a_listing_survives_interruption_and_still_finds_what_vanished(world: World, log: LogSource) -> None:
    world.sync()
    log.vanish("1")
    log.vanish("8")
    log.error, log.error_after = SourceUnavailable("the CRM is busy; try later"), 2
    assert world.sync(full=True).state is RunState.FAILED
    assert state(world).listing is not None
    log.error = None
    report = world.sync()
    assert (report.state, report.seen, report.removed) == (RunState.DONE, 3, 2)
    assert live(world) == {"0", "2", "3", "4", "5", "6", "7"}
    assert state(world).listing is None
    assert log.reads == ["all", "all", "all"]


def test_what_the_crm_asks_for_is_obeyed(world: World, log: LogSource) -> None:
    world.sync()
    log.error = SourceUnavailable("100 of 100 calls are used; the budget is full again at midnight", retry_after=3600)
    log.put("1", PHONES[1], "Changed")
    assert world.sync().state is RunState.FAILED
    log.error = None
    report = world.sync()
    assert report.state == "waiting"
    assert report.ok
    assert "100 of 100 calls are used" in report.error
    assert log.reads == ["all", "changes"], "no call while it waits"
    set_state(world, waits_until=utcnow() - timedelta(seconds=1))
    assert world.sync().changed == 1


def test_a_wait_is_at_most_a_day(world: World, log: LogSource) -> None:
    log.error = SourceUnavailable("come back in a million years", retry_after=1e15)
    world.sync()
    assert state(world).waits_until < utcnow() + timedelta(days=1, minutes=1)


def test_rejected_credentials_stop_the_connection_until_a_check_succeeds(world: World, log: LogSource) -> None:
    world.sync()
    log.error = CredentialsRejected("the token was revoked; create a new one")
    assert world.sync().state is RunState.FAILED
    assert state(world).stopped_reason == "the token was revoked; create a new one"
    reads = len(log.reads)
    assert world.sync().state is RunState.FAILED
    assert len(log.reads) == reads, "a stopped connection is only checked"
    assert log.checks == 1
    log.error = None
    assert world.sync().state is RunState.DONE
    assert state(world).stopped_at is None


def test_a_successful_check_ends_a_stop_and_a_wait(world: World, log: LogSource) -> None:
    log.error = CredentialsRejected("the token was revoked; create a new one")
    world.sync()
    with writing(world.engine) as db:
        assert note_check_succeeded(db, "crm")
        assert not note_check_succeeded(db, "crm")
    assert (state(world).stopped_at, state(world).waits_until) == (None, None)


def due(runtime: Runtime) -> list[str]:
    now = utcnow()
    with writing(runtime.engine) as db:
        slots = claim_due(db, runtime.settings, now)
        for slot in slots:
            assert start_slot(db, runtime.settings, slot, now)
    return [slot.connection for slot in slots]


def test_the_connection_that_waits_longest_is_first_and_blocked_ones_start_not_at_all(world: World) -> None:
    names = ("a", "b", "c", "d")
    world.crm = {name: ListSource() for name in names}
    world.connections = {name: {"schedule": "5m"} for name in names}
    assert due(world.runtime()) == ["a", "b", "c", "d"]
    now = utcnow()
    with writing(world.engine) as db:
        for minutes, name in enumerate(("c", "a", "d", "b")):
            ago = now - timedelta(minutes=60 - minutes)
            this = connection_state.c.connection == name
            db.execute(update(connection_state).where(this).values(started_at=ago, next_run_at=now))
        waits = connection_state.c.connection == "a"
        db.execute(update(connection_state).where(waits).values(waits_until=now + timedelta(hours=1)))
    assert due(world.runtime()) == ["c", "d", "b"]


def test_a_refused_listing_leaves_nothing_behind(world: World) -> None:
    """The id column is renamed in one export: the same people come with other ids, and the good export works again."""
    source = ListSource()
    world.crm["crm"] = source
    for index, phone in enumerate(PHONES):
        source.put(f"id{index}", phone, f"Person {index}", status="open")
    world.sync_and_push()
    good = dict(source.records)
    world.triggers["changed"] = ChangedTrigger(connections="crm", on="changed", field="status", message="Hi")
    world.triggers["new"] = CreatedTrigger(connections="crm", on="created", message="Welcome")
    world.sync()
    source.records = {f"p{index}@example.org": {**one, "status": "done"} for index, one in enumerate(good.values())}
    source.put("another", "+14155550999", "Another", status="new")
    report = world.sync()
    assert report.state is RunState.REFUSED
    assert live(world) == set(good)
    assert {row.external_id for row in world.rows(contact_mapping)} == set(good)
    assert not world.rows(contact, contact.c.phone == "+14155550999")
    source.records = good
    assert counts(world.sync()) == (RunState.DONE, 12, 0, 0)
    assert all(row.state in ("held", "suppressed") for row in world.messages())


def test_records_of_a_listing_that_broke_off_do_not_count_as_missing(world: World) -> None:
    source = ListSource()
    world.crm["crm"] = source
    for index, phone in enumerate(PHONES):
        source.put(f"id{index}", phone, f"Person {index}")
    world.sync()
    good = dict(source.records)
    source.records = {f"p{index}@example.org": one for index, one in enumerate(good.values())}
    source.error, source.error_after = SourceUnavailable("the disk is gone; try later"), 3
    assert world.sync().state is RunState.FAILED
    source.records, source.error = good, None
    assert world.sync().state is RunState.DONE
    assert live(world) == set(good)
