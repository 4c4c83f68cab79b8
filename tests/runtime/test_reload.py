"""The configuration file changes while processes run: what counts at once, what does not, and what is said."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from config.models import Account, Broker, Connection, Settings, WorkerSettings
from tests.harness import Fleet, fleet, until
from worker.doctor.status import overview
from worker.runtime import reload
from worker.runtime.reload import Current, FileState, changed_keys, is_settled, with_what_is_fixed
from worker.store.migrate import migrate

ACCOUNT = Account(uid="u", token="t", from_number="+14155550100")
CRM = Connection(adapter="csv", account="main", schedule="15m")
BEFORE = Settings(accounts={"main": ACCOUNT}, connections={"crm": CRM})


@pytest.mark.parametrize(("age", "settled"), [(0.0, False), (1.9, False), (2.1, True), (-5.0, True)])
def test_a_file_that_is_being_written_is_left_alone(age: float, settled: bool) -> None:
    assert is_settled(FileState(int(1e9 * (1_000_000 - age)), 10, 1), 1_000_000) is settled


def test_what_a_process_is_built_on_stays_and_is_named() -> None:
    wanted = Settings(
        data_dir=Path("/elsewhere"),
        accounts={"main": ACCOUNT},
        broker=Broker(url="redis://127.0.0.1:6379/3"),
        worker=WorkerSettings(concurrency=32, time_limit="5m"),
    )
    taken, waiting = with_what_is_fixed(BEFORE, wanted)
    assert waiting == ["data_dir", "broker", "worker.concurrency"]
    assert (taken.data_dir, taken.broker, taken.worker.concurrency) == (BEFORE.data_dir, BEFORE.broker, 8)
    assert (taken.connections, taken.worker.time_limit) == ({}, wanted.worker.time_limit)


def test_changes_are_named_without_their_values() -> None:
    changed = CRM.model_copy(update={"schedule": "5m"})
    after = BEFORE.model_copy(update={"connections": {"crm": changed, "shop": CRM}, "accounts": {}})
    assert changed_keys(BEFORE, after) == ["accounts.main", "connections.crm", "connections.shop"]
    assert changed_keys(BEFORE, BEFORE) == []


FILE = """
data_dir = "data"
[accounts.main]
uid = "u"
token = {{ env = "TEST_TOKEN" }}
from_number = "+14155550100"
{more}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEST_TOKEN", "secret")
    monkeypatch.setattr(reload, "LOOK_EVERY_SECONDS", 0.0)
    path = tmp_path / "vtsync.toml"
    write(path)
    return path


def write(path: Path, more: str = "") -> None:
    path.write_text(FILE.format(more=more), encoding="utf-8")
    _age(path)


def _age(path: Path) -> None:
    """As if it had been written a while ago."""
    past = time.time() - 60
    os.utime(path, (past, past))


def test_work_that_has_begun_keeps_its_settings_and_what_is_shared(file: Path) -> None:
    current = Current(str(file))
    before = current.runtime()
    write(file, "requests_per_second = 5.0")
    after = until("the change", lambda: (now := current.runtime()) is not before and now)
    assert before.settings.accounts["main"].requests_per_second is None
    assert after.settings.accounts["main"].requests_per_second == 5.0
    assert (after.engine, after.limiter, after.stop) == (before.engine, before.limiter, before.stop)
    assert after.failures("main") is before.failures("main")


def test_a_file_with_a_mistake_is_not_used_and_that_is_said_once_and_shown(file: Path) -> None:
    current = Current(str(file))
    before = current.runtime()
    migrate(before.engine)

    def shown() -> list[str]:
        return [f"{one.place}: {one.problem}" for one in overview(current.runtime()).configuration]

    with capture_logs() as logs:
        write(file, "requests_per_second = 'many'")
        (one,) = until("the problem", shown)
        for _ in range(20):
            current.runtime()
            time.sleep(0.01)
    assert str(file) in one
    assert "accounts.main.requests_per_second" in one
    assert current.runtime() is before
    assert [entry["log_level"] for entry in logs] == ["error"]
    write(file, "requests_per_second = 7.0")
    after = until("the correction", lambda: (now := current.runtime()) is not before and now)
    assert after.settings.accounts["main"].requests_per_second == 7.0
    until("the problem to be gone", lambda: not shown())


def test_a_file_that_is_away_changes_nothing(file: Path) -> None:
    current = Current(str(file))
    before = current.runtime()
    migrate(before.engine)
    file.unlink()
    until("that to be shown", lambda: overview(current.runtime()).configuration)
    assert current.runtime() is before


def test_what_is_shown_ends_with_the_process_that_says_it(file: Path) -> None:
    current = Current(str(file))
    engine = current.runtime().engine
    migrate(engine)
    write(file, "nonsense = 1")
    until("the problem", lambda: overview(current.runtime()).configuration)
    with engine.begin() as db:
        db.execute(text("UPDATE configuration_problem SET seen_at = '2026-01-01 00:00:00'"))
    assert not overview(current.runtime()).configuration


CONNECTION = """
[connections.{name}]
adapter = "csv"
account = "main"
schedule = "1s"
default_region = "US"
options = {{ path = "{name}.csv", settle_seconds = 0 }}
"""


def _configure(fleet: Fleet, more: str) -> None:
    fleet.configure(more)
    _age(fleet.folder / "vtsync.toml")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        for number, name in enumerate(("crm", "shop")):
            row = f"1,Anna {name},a@example.org,+1415555010{number}\n"
            (tmp_path / f"{name}.csv").write_text(f"id,name,email,mobile\n{row}", encoding="utf-8")
        made.configure(CONNECTION.format(name="crm"))
        yield made


def test_a_fleet_takes_up_a_new_connection_and_survives_a_broken_file(running: Fleet) -> None:
    worker, _ = running.start("worker"), running.start("beat")
    names = lambda: {contact["fullName"] for contact in running.sandbox.contacts()}  # noqa: E731
    until("the first connection", lambda: names() == {"Anna crm"})
    _configure(running, CONNECTION.format(name="crm") + CONNECTION.format(name="shop"))
    until("the new connection", lambda: names() == {"Anna crm", "Anna shop"})
    _configure(running, CONNECTION.format(name="crm") + "[connections.crm]\n")
    (problem,) = until("the mistake to be shown", lambda: running.query("SELECT problem FROM configuration_problem"))
    assert "is not valid TOML" in problem[0]
    runs = running.query("SELECT count(*) FROM sync_run WHERE connection = 'shop'")[0][0]
    until(
        "another run nevertheless",
        lambda: running.query("SELECT count(*) FROM sync_run WHERE connection = 'shop'")[0][0] > runs,
    )
    _configure(running, CONNECTION.format(name="crm"))
    until("the correction", lambda: not running.query("SELECT 1 FROM configuration_problem"))
    assert running.log(worker).count(b"the changed configuration cannot be used") == 1
    assert worker.poll() is None
