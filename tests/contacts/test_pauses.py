"""A paused connection is not read by anybody, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from config.models import Account, Connection, Settings
from config.triggers import CreatedTrigger
from crm_adapters.base import Cursor, SourceUnavailable
from tests.contacts.conftest import World
from tests.fakes import ListAdapter, numbers
from worker.contacts import pull
from worker.contacts.connection_gate import PausedConnection, pause_reading, resume_reading
from worker.contacts.find_record import find_record
from worker.contacts.lease import ConnectionPaused, claim_connection
from worker.core.findings import Level
from worker.core.states import PauseKind, RunState
from worker.doctor.connections import read_connections
from worker.doctor.fields import report_fields
from worker.doctor.pauses import LONG_PAUSE, judge_pause
from worker.doctor.work import read_work
from worker.fleet.crm_events import make_due
from worker.fleet.schedule import abandoned, claim_due, start_slot
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.pauses import Pause
from worker.store.tables import connection_state, contact_mapping, sync_run

PHONES = numbers(9)
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SCHEDULED = Settings(
    accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},
    connections={"crm": Connection(adapter="csv", account="main", schedule="15m")},
)


def pause(world: World, name: str = "crm") -> PausedConnection:
    with writing(world.engine) as db:
        return pause_reading(db, name, reason="the CRM is moved", actor="ana", now=utcnow())


def resume(world: World, name: str = "crm") -> Pause | None:
    with writing(world.engine) as db:
        return resume_reading(db, name, utcnow())


@pytest.fixture
def crm(world: World) -> World:
    for index, phone in enumerate(PHONES):
        world.source.put(str(index), phone, f"Person {index}")
    return world


READERS: dict[str, Callable[[World], object]] = {
    "plan": lambda world: world.plan(),
    "one record": lambda world: find_record(world.runtime(), "crm", "1", lambda _: None),
    "fields": lambda world: report_fields(world.runtime(), "crm"),
}


@pytest.mark.parametrize("reader", READERS)
def test_nobody_reads_a_paused_connection(crm: World, reader: str) -> None:
    pause(crm)
    with pytest.raises(SourceUnavailable, match=r"by ana \(the CRM is moved\).*`vtsync resume connection crm`"):
        READERS[reader](crm)


def test_a_sync_of_a_paused_connection_says_so_and_reads_nothing(crm: World) -> None:
    pause(crm)
    report = crm.sync()
    assert (report.state, report.ok, report.seen) == ("paused", True, 0)
    assert "`vtsync resume connection crm`" in report.error
    assert crm.rows(sync_run) == []
    with pytest.raises(ConnectionPaused):
        claim_connection(crm.engine, "crm", 60)
    (row,) = crm.rows(connection_state)
    assert row.lease_owner is None
    assert resume(crm) is not None
    assert crm.sync().added == len(PHONES)


def test_no_schedule_and_no_event_starts_a_run_and_what_was_due_stays_due(crm: World) -> None:
    now = utcnow()
    with writing(crm.engine) as db:
        (slot,) = claim_due(db, SCHEDULED, now)  # a worker is about to start it
    pause(crm)
    with writing(crm.engine) as db:
        assert start_slot(db, SCHEDULED, slot, now) is False
        ended = now + 2 * SCHEDULED.worker.lease  # nobody has started the slot: it is due again
        assert claim_due(db, SCHEDULED, ended) == []
    resume(crm)
    with writing(crm.engine) as db:
        assert [one.connection for one in claim_due(db, SCHEDULED, ended)] == ["crm"]
        db.execute(update(connection_state).values(next_run_at=None))
    pause(crm)
    assert make_due(crm.engine, SCHEDULED, "crm", now) is True
    with writing(crm.engine) as db:
        assert claim_due(db, SCHEDULED, ended) == []
    resume(crm)
    with writing(crm.engine) as db:
        assert [one.connection for one in claim_due(db, SCHEDULED, ended)] == ["crm"]


def test_a_paused_connection_is_not_late_neither_before_nor_after_its_end(crm: World) -> None:
    with writing(crm.engine) as db:
        claim_due(db, SCHEDULED, utcnow())
        db.execute(update(connection_state).values(next_run_at=utcnow() - timedelta(hours=5)))
    with reading(crm.engine) as db:
        assert read_work(db, SCHEDULED, utcnow()).late_syncs == ("crm",)
    pause(crm)
    with reading(crm.engine) as db:
        assert read_work(db, SCHEDULED, utcnow()).late_syncs == ()
    resume(crm)
    with reading(crm.engine) as db:
        assert read_work(db, SCHEDULED, utcnow()).late_syncs == ()


@pytest.mark.parametrize("resumes", [True, False], ids=["with a cursor", "from the top"])
@pytest.mark.parametrize("page", [0, 1, 2])
def test_a_run_ends_at_its_next_safe_point_and_the_next_one_continues(
    crm: World, monkeypatch: pytest.MonkeyPatch, page: int, resumes: bool
) -> None:
    monkeypatch.setattr(pull, "CURSOR_SECONDS", 0.0)
    crm.source.resumes = resumes
    real, done, read = ListAdapter.pull, list[PausedConnection](), list[int]()

    def pages(self: ListAdapter, cursor: Cursor | None) -> Any:
        for number, one in enumerate(real(self, cursor)):
            read.append(number)
            if number == page and not done:
                done.append(pause(crm))
            yield one

    monkeypatch.setattr(ListAdapter, "pull", pages)
    report = crm.sync()
    assert (report.state, report.ok, report.added) == (RunState.INTERRUPTED, True, 3 * (page + 1))
    assert "after `vtsync resume connection crm` the next run continues from here" in report.error
    assert done[0].being_read is True
    assert len(read) == page + 1, "the page in progress is stored, and none is read after it"
    with reading(crm.engine) as db:
        assert abandoned(db, SCHEDULED, utcnow() + timedelta(days=1)) == []
    assert crm.sync().state == "paused"
    read.clear()
    resume(crm)
    last = crm.sync()
    assert (last.state, last.added) == (RunState.DONE, len(PHONES) - 3 * (page + 1))
    assert len(read) == (2 - page if resumes else 3)
    assert len(crm.rows(contact_mapping)) == len(PHONES)


def test_a_run_left_by_a_dead_worker_waits_for_the_end_of_the_pause(crm: World) -> None:
    lease = claim_connection(crm.engine, "crm", 60)
    assert lease is not None
    assert pause(crm).being_read is True
    crm.leases_run_out()
    later = utcnow() + timedelta(minutes=10)
    with reading(crm.engine) as db:
        assert abandoned(db, SCHEDULED, later) == []
    assert pause(crm).being_read is False
    resume(crm)
    with reading(crm.engine) as db:
        assert abandoned(db, SCHEDULED, later) == ["crm"]


def test_its_texts_that_wait_are_counted_and_still_go(crm: World) -> None:
    crm.triggers = {"welcome": CreatedTrigger(on="created", connections=["crm"], message="Hi")}
    crm.sync()
    crm.source.put("new", numbers(10)[9], "Clara")
    crm.sync()
    assert (pause(crm).texts_going, pause(crm).texts_of_run) == (1, 0)
    assert [row.state for row in crm.messages()] == ["queued"]


def test_a_second_pause_keeps_the_first(crm: World) -> None:
    first, second = pause(crm), pause(crm)
    assert (first.changed, second.changed, second.pause) == (True, False, first.pause)
    assert (resume(crm), resume(crm)) == (first.pause, None)


@pytest.mark.parametrize(
    ("kind", "age", "level", "why"),
    [
        (PauseKind.CONNECTION, timedelta(0), Level.OK, "it was paused just now"),
        (PauseKind.CONNECTION, LONG_PAUSE - timedelta(seconds=1), Level.OK, "not long yet"),
        (PauseKind.CONNECTION, LONG_PAUSE, Level.WARNING, "somebody may have forgotten it"),
        (PauseKind.TRIGGER, timedelta(0), Level.OK, "it was paused just now"),
        (PauseKind.TRIGGER, timedelta(days=9), Level.WARNING, "its texts expire meanwhile"),
    ],
)
def test_a_long_pause_waits_for_a_person(kind: PauseKind, age: timedelta, level: Level, why: str) -> None:
    found = judge_pause(kind, "it", Pause(NOW - age, "ana", "moved"), NOW)
    assert (found.level, found.what) == (level, f"{kind} it"), why
    assert "by ana (moved)" in found.found
    assert f"`vtsync resume {kind} it`" in found.detail
    assert found.command == ("" if level is Level.OK else f"vtsync resume {kind} it"), why
    assert found.alert is None, "who pauses something knows it"


def test_a_paused_connection_says_so_and_not_what_else_is_wrong(crm: World) -> None:
    pause(crm)
    with reading(crm.engine) as db:
        (found,) = read_connections(db, crm.runtime().settings, utcnow())
    assert found.note.startswith("is paused since ")
    assert "by ana (the CRM is moved); `vtsync resume connection crm`" in found.note
