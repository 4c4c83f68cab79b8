"""Every line that is written while something is worked on says what it is, and nothing of it stays behind."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine, select

from config.models import Account, Connection, Policy, Settings
from tests.contacts.conftest import FakeRuntime
from tests.fakes import FakeVirtualText, ListSource, sources, unknown
from tests.web.conftest import Site
from worker import tasks
from worker.core.logs import carrying_on, set_up_logging, start_context, working_on
from worker.store.db import reading
from worker.store.tables import contact, message, sync_run
from worker.virtualtext.outcomes import Cause

log = structlog.get_logger("test")


class Lines(io.StringIO):
    """What was written since the last look."""

    def __call__(self) -> list[dict[str, Any]]:
        written = [json.loads(line) for line in self.getvalue().splitlines()]
        self.seek(0)
        self.truncate()
        return written

    def one(self, event: str) -> dict[str, Any]:
        [found] = [line for line in self() if line["event"] == event]
        return found


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    monkeypatch.setenv("VTSYNC_LOG", "json")
    set_up_logging()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client
    [handler] = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    written = Lines()
    handler.setStream(written)
    return written


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> FakeRuntime:
    settings = Settings(
        data_dir=tmp_path,
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},  # type: ignore[arg-type]
        connections={"crm": Connection(adapter="list", account="main", default_region="US")},
        policy=Policy(quiet_hours="none"),
    )
    found = FakeRuntime(engine, FakeVirtualText(), settings)
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: found)
    monkeypatch.setattr(tasks, "open_runtime", lambda: found)
    monkeypatch.setattr(tasks, "wake", lambda *_: True)
    crm = ListSource()
    crm.put("1", "+14155550101", "Anna")
    monkeypatch.setattr("worker.contacts.pull.build_adapter", sources(crm=crm))
    return found


def only(runtime: FakeRuntime, column: Any) -> Any:
    with reading(runtime.engine) as db:
        return db.scalars(select(column)).one()


def test_a_sync_and_a_push_and_a_text_say_what_they_are_about(
    runtime: FakeRuntime, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.sync_connection.apply(args=("crm",), task_id="t-sync")
    synced = lines.one("synced")
    assert (synced["task"], synced["task_id"]) == ("vtsync.sync_connection", "t-sync")
    assert (synced["connection"], synced["run"]) == ("crm", only(runtime, sync_run.c.id))

    create = runtime.fake.create_contact
    monkeypatch.setattr(runtime.fake, "create_contact", lambda body: log.info("creating") or create(body))
    tasks.app.tasks["vtsync.push_contacts"].apply(args=("main",), task_id="t-push")
    said = {line["event"]: line for line in lines()}
    assert said["creating"]["contact"] == only(runtime, contact.c.id)  # from a thread of the pool
    for event in ("creating", "pushed"):
        assert (said[event]["account"], said[event]["task_id"]) == ("main", "t-push")
    assert "contact" not in said["pushed"]

    tasks.send_message.apply(kwargs={"account": "main", "to": "+14155550101", "message": "hello"})
    runtime.fake.fault("send", unknown(Cause.TIMEOUT))
    tasks.app.tasks["vtsync.deliver_messages"].apply(args=("main",), task_id="t-text")
    attempted = lines.one("message attempted")
    assert (attempted["message"], attempted["account"]) == (only(runtime, message.c.id), "main")
    assert attempted["task_id"] == "t-text"

    log.info("afterwards")
    assert not lines.one("afterwards").keys() - {"event", "level", "timestamp"}


def test_a_task_that_fails_leaves_nothing_to_the_next(
    runtime: FakeRuntime, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        log.info("about to fail")
        raise RuntimeError("broken")

    monkeypatch.setattr("worker.contacts.push.push_account", fail)
    tasks.app.tasks["vtsync.push_contacts"].apply(args=("main",), task_id="t-1")
    assert lines.one("about to fail")["account"] == "main"
    tasks.app.tasks["vtsync.poll_carriers"].apply(task_id="t-2")
    log.info("afterwards")
    assert not lines.one("afterwards").keys() - {"event", "level", "timestamp"}


def test_contexts_end_where_they_should(lines: Lines) -> None:
    start_context(task_id="a")
    with working_on(message="m"):
        carried = carrying_on(lambda: log.info("carried"))
    start_context(task_id="b")
    carried()
    assert lines.one("carried")["message"] == "m"
    log.info("after")
    assert lines.one("after").keys() == {"event", "level", "timestamp", "task_id"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [("order-1042.retry", True), ("4155550101", False), ("short", False), ("a b c d e f", False), ("x" * 101, False)],
)
def test_a_request_has_an_id_in_its_lines_and_its_answer(
    site: Site,
    lines: Lines,
    given: str,
    kept: bool,
) -> None:
    answer = site.http.get("/v1/messages", headers={"X-Request-ID": given})
    request_id = answer.headers["X-Request-ID"]
    assert (request_id == given) is kept
    line = lines.one("request")
    assert (line["request"], line["status"], line["route"]) == (request_id, 200, "/v1/messages")


def test_a_request_that_fails_is_found_by_the_id_in_its_answer(
    site: Site,
    lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        log.info("in its thread")
        raise RuntimeError("broken")

    monkeypatch.setattr("worker.web.v1.find_messages", fail)
    answer = site.http.get("/v1/messages", headers={"X-Request-ID": "its-own-id"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (500, "its-own-id")
    said = lines()
    assert {line["event"] for line in said} == {"in its thread", "request", "a request failed"}
    assert {line["request"] for line in said} == {"its-own-id"}
    assert site.http.get("/v1/opt-outs/+14155550101").headers["X-Request-ID"] != "its-own-id"
    assert "its-own-id" not in json.dumps(lines())
