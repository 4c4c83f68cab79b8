"""A run that is interrupted anywhere, by anything: the next runs end where one run would have ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from config.triggers import CreatedTrigger
from crm_adapters.base import (
    AdapterError,
    CredentialsRejected,
    Cursor,
    CursorExpired,
    Page,
    Removals,
    SourceUnavailable,
)
from tests.contacts.conftest import World
from tests.fakes import IdListingAdapter, ListSource, LogAdapter, LogSource, numbers
from worker.contacts import pull
from worker.contacts.lease import ConnectionLease
from worker.contacts.shape import Shape
from worker.core.states import RunState
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, contact_mapping, message

PHONES = numbers(12)


class Killed(BaseException):
    """The process ended here: nothing after it runs."""


@pytest.fixture
def log(world: World) -> LogSource:
    source = LogSource()
    world.crm["crm"] = source  # type: ignore[assignment]
    for index, phone in enumerate(PHONES[:9]):
        source.put(f"{index}", phone, f"Person {index}")
    return source


@pytest.fixture
def every_page_stores_its_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "CURSOR_SECONDS", 0.0)


def live(world: World) -> set[str]:
    return {row.external_id for row in world.rows(contact_mapping) if row.deleted_at is None}


def state(world: World) -> Any:
    (row,) = world.rows(connection_state)
    return row


def replace_pull(monkeypatch: pytest.MonkeyPatch, pages: Callable[[LogAdapter, Cursor | None], Any]) -> None:
    """Let the adapter yield what ``pages`` yields; ``real_pull`` is its own method."""
    monkeypatch.setattr(LogAdapter, "pull", pages)


real_pull = LogAdapter.pull


def kill_at_fence(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Kill the process right before the commit whose fence is the ``number``-th."""
    left = iter(range(number, -1, -1))
    fence = ConnectionLease.fence

    def counted(self: ConnectionLease, *args: Any, **values: Any) -> None:
        if next(left, 1) == 0:
            raise Killed
        fence(self, *args, **values)

    monkeypatch.setattr(ConnectionLease, "fence", counted)


@pytest.mark.usefixtures("every_page_stores_its_cursor")
@pytest.mark.parametrize("number", range(14))
@pytest.mark.parametrize("lists_ids", [False, True])
def test_a_kill_before_any_commit_loses_and_repeats_nothing(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch, number: int, lists_ids: bool
) -> None:
    world.triggers["new"] = CreatedTrigger(connections="crm", on="created", message="Welcome")
    log.lists_ids, log.page_size = lists_ids, 3
    world.sync()
    for key in "258":
        log.vanish(key)
    log.put("1", PHONES[1], "Changed")
    log.put("new", PHONES[10], "New")
    log.put("odd", "12", "Odd")
    with writing(world.engine) as db:
        db.execute(update(connection_state).values(reconciled_at=utcnow() - timedelta(days=2)))
    with monkeypatch.context() as patch:
        kill_at_fence(patch, number)
        try:
            world.sync()
        except Killed:
            world.leases_run_out()
    report = world.sync()
    assert report.state is RunState.DONE
    assert live(world) == {"0", "1", "3", "4", "6", "7", "new", "odd"}
    assert set(world.rejections()) == {"odd"}
    assert [row.to_number for row in world.messages()] == [PHONES[10]]
    assert world.contact(PHONES[1]).full_name == "Changed"


@pytest.mark.parametrize("end", [SourceUnavailable("the CRM is busy; try later"), RuntimeError("a bug")])
def test_a_cursor_that_expires_between_pages_never_leaves_the_old_position_behind(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch, end: Exception
) -> None:
    """The listing that follows ends before its first cursor: the next run must not resume after the expired one."""
    log.removals = Removals.REPORTED
    world.sync()
    log.put("3", PHONES[3], "Renamed")
    log.put("4", PHONES[4], "Renamed")
    log.put("5", PHONES[5], "Renamed")

    def pages(self: LogAdapter, cursor: Cursor | None) -> Any:
        if cursor is None:
            raise end
        yield next(iter(real_pull(self, cursor)))
        raise CursorExpired("the token has expired")

    with monkeypatch.context() as patch:
        replace_pull(patch, pages)
        if isinstance(end, RuntimeError):
            with pytest.raises(RuntimeError):
                world.sync()
        else:
            assert world.sync().state is RunState.FAILED
    assert (state(world).cursor, state(world).listing) == (None, None)
    report = world.sync()
    assert (report.state, report.seen, report.removed) == (RunState.DONE, 9, 0)
    assert live(world) == {f"{index}" for index in range(9)}


def test_an_expired_cursor_is_said_to_have_expired(world: World, log: LogSource) -> None:
    world.sync()
    log.error = CursorExpired("the token has expired")
    (note,) = world.sync().notes
    assert note == "every record was read again: the CRM no longer accepts the stored position (the token has expired)"


def test_a_cursor_that_expires_while_ids_are_compared_starts_a_listing(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: IdListingAdapter) -> Any:
        yield ["0", "1"]
        raise CursorExpired("the token has expired")

    log.lists_ids = True
    world.sync()
    log.vanish("8")
    with writing(world.engine) as db:
        db.execute(update(connection_state).values(reconciled_at=utcnow() - timedelta(days=2)))
    monkeypatch.setattr(IdListingAdapter, "live_ids", broken)
    report = world.sync()
    assert (report.state, report.removed) == (RunState.DONE, 1)
    assert len(live(world)) == 8


@pytest.mark.usefixtures("every_page_stores_its_cursor")
def test_pages_without_a_cursor_in_the_middle_are_read_again(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pages(self: LogAdapter, cursor: Cursor | None) -> Any:
        for number, page in enumerate(real_pull(self, cursor)):
            yield Page(page.changes, None if number % 2 else page.cursor)

    replace_pull(monkeypatch, pages)
    world.sync()
    log.vanish("2")
    for number, pages_read in enumerate((2, 2)):
        log.error, log.error_after = SourceUnavailable("the CRM is busy; try later"), pages_read
        assert world.sync(full=number == 0).state is RunState.FAILED
    log.error = None
    report = world.sync()
    assert (report.state, report.removed) == (RunState.DONE, 1)
    assert live(world) == {f"{index}" for index in range(9)} - {"2"}


def test_a_kill_after_new_settings_were_noted_does_not_compare_with_the_old_fields(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sync()
    log.log = [one._replace(properties={"cell": one.properties["phone"], "name": "A"}) for one in log.live.values()]
    world.connections["crm"] = {"fields": {"phone": ["cell"]}}
    with monkeypatch.context() as patch:
        kill_at_fence(patch, 1)
        with pytest.raises(Killed):
            world.sync()
    world.leases_run_out()
    assert world.sync().state is RunState.DONE


def test_a_memory_that_is_not_json_ends_the_run_in_words(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pages(self: LogAdapter, cursor: Cursor | None) -> Any:
        for page in real_pull(self, cursor):
            self.services.memory["seen"] = {1, 2}
            yield page

    replace_pull(monkeypatch, pages)
    report = world.sync()
    assert report.state is RunState.FAILED
    assert "memory" in report.error
    assert state(world).lease_owner is None


def test_credentials_that_a_check_accepts_end_the_stop_whatever_follows(world: World, log: LogSource) -> None:
    log.error = CredentialsRejected("the token was revoked; create a new one")
    world.sync()
    log.error = SourceUnavailable("the CRM is busy", retry_after=3600)
    assert world.sync().state is RunState.FAILED
    assert state(world).stopped_at is None
    assert world.sync().state == "waiting", "the CRM's wish to wait counts again"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("every_page_stores_its_cursor")
def test_random_interruptions_end_where_one_run_would_have_ended(world: World, log: LogSource, seed: int) -> None:
    rng = random.Random(seed)
    log.removals = rng.choice([Removals.UNSEEN, Removals.REPORTED])
    for _ in range(12):
        key = f"{rng.randint(0, 11)}"
        if rng.random() < 0.3 and len(log.live) > 5:
            log.report_deleted(key) if log.removals is Removals.REPORTED else log.vanish(key)
        else:
            log.put(key, rng.choice(PHONES), rng.choice(["Anna", "Boris"]))
        log.error = rng.choice([None, SourceUnavailable("busy"), CursorExpired("old"), AdapterError("odd")])
        log.error_after = rng.randint(0, 4)
        world.sync(full=rng.random() < 0.2)
    log.error = None
    report = world.sync(full=True)
    while report.state is not RunState.DONE:
        report = world.sync()
    assert live(world) == set(log.live)
    with world.engine.connect() as db:
        shape = Shape.load(db.execute(connection_state.select()).one().shape)
    assert shape.contact["phone"] == ("phone",)
    assert world.rows(message) == []


def test_a_record_that_a_listing_shows_and_then_deletes_hides_no_missing_one(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sync()
    gone = log.live["3"]._replace(properties={}, deleted=True)
    log.vanish("5")

    def pages(self: LogAdapter, cursor: Cursor | None) -> Any:
        yield from real_pull(self, cursor)
        yield Page([gone], {"after": len(log.log)})

    replace_pull(monkeypatch, pages)
    assert world.sync(full=True).removed == 2
    assert live(world) == {f"{index}" for index in range(9)} - {"3", "5"}


def test_an_id_that_the_store_has_as_deleted_hides_no_missing_one(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.lists_ids = True
    world.sync()
    log.report_deleted("3")
    world.sync()
    with writing(world.engine) as db:
        db.execute(update(connection_state).values(reconciled_at=utcnow() - timedelta(days=2)))
    monkeypatch.setattr(IdListingAdapter, "live_ids", lambda self: iter([["0", "1", "2", "3", "4", "6", "7", "8"]]))
    assert world.sync().removed == 1
    assert "5" not in live(world)


@pytest.mark.parametrize("resumes", [False, True])
@pytest.mark.parametrize("number", range(10))
@pytest.mark.usefixtures("every_page_stores_its_cursor")
def test_a_kill_while_a_listing_is_refused_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int, resumes: bool
) -> None:
    source = world.crm["crm"] = ListSource(resumes=resumes)
    for index, phone in enumerate(PHONES):
        source.put(f"id{index}", phone, f"Person {index}")
    world.sync()
    good = dict(source.records)
    source.records = {f"p{index}@example.org": one for index, one in enumerate(good.values())}
    with monkeypatch.context() as patch:
        kill_at_fence(patch, number)
        try:
            world.sync()
        except Killed:
            world.leases_run_out()
    assert world.sync().state is RunState.REFUSED
    assert live(world) == set(good)
    source.records = good
    report = world.sync()
    assert (report.state, report.added, report.removed) == (RunState.DONE, 0, 0)


@pytest.mark.parametrize("page", range(6))
def test_a_worker_that_lost_its_lease_between_pages_changes_nothing_after_the_other(
    world: World, log: LogSource, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    world.triggers["new"] = CreatedTrigger(connections="crm", on="created", message="Welcome")
    world.sync()
    log.vanish("2")
    log.put("new", PHONES[10], "New")
    others: list[str] = []

    def pages(self: LogAdapter, cursor: Cursor | None) -> Any:
        for number, one in enumerate(real_pull(self, cursor)):
            if number == page and not others:
                others.append("begun")
                world.leases_run_out()
                others[0] = world.sync(full=True).state
                log.put("late", PHONES[11], "Late")
            yield one

    replace_pull(monkeypatch, pages)
    report = world.sync(full=True)
    if others:
        assert (others, report.state) == ([RunState.DONE], RunState.INTERRUPTED)
        assert "late" not in live(world)
    assert live(world) == {"0", "1", "3", "4", "5", "6", "7", "8", "new"}
    assert world.sync().state is RunState.DONE
    assert [row.to_number for row in world.messages()][:1] == [PHONES[10]]
    assert ("late" in live(world)) is bool(others)
