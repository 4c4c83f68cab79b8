"""Events of CRMs: verified, and then the sync is due, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select, update

from config.models import Connection
from crm_adapters import registry
from tests.contacts.acme import ADDRESS, NAME, signature
from tests.web.conftest import runtime_over
from worker.contacts.lease import claim_connection
from worker.fleet.crm_events import EVENT_GAP
from worker.fleet.schedule import claim_due, start_slot
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import connection_state
from worker.web.app import create_app

SECRET = "a-webhook-secret-of-24-characters"
BODY = b'{"id": 7}'
URL = f"/crm/crm/{SECRET}"
HOUR = timedelta(hours=1)


@dataclass
class Door:
    """The web server and the store behind it."""

    http: TestClient
    runtime: Runtime
    notified: list[tuple[str, ...]]

    def post(self, url: str = URL, body: bytes = BODY, sign: Any = signature) -> int:
        return self.http.post(url, content=body, headers={"X-Acme-Signature": sign(body)}).status_code

    def next_run(self) -> datetime | None:
        with reading(self.runtime.engine) as db:
            return db.scalar(select(connection_state.c.next_run_at).where(connection_state.c.connection == "crm"))

    def runs_in(self, wait: timedelta) -> None:
        with writing(self.runtime.engine) as db:
            db.execute(
                insert(connection_state), {"connection": "crm", "schedule": "1h", "next_run_at": utcnow() + wait}
            )

    def ticks(self) -> int:
        return self.notified.count(("vtsync.tick",))


@pytest.fixture
def door(engine: Engine, hinted: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setitem(registry.BUILT_IN, NAME, ADDRESS)
    runtime = runtime_over(engine, max_body=2048)
    connections = {
        "crm": Connection(adapter=NAME, account="main", schedule="1h", webhook_secret=SECRET),
        "quiet": Connection(adapter=NAME, account="main", schedule="1h"),
        "files": Connection(adapter="csv", account="main", options={"path": "x.csv"}, webhook_secret=SECRET),
        "broken": Connection(adapter=NAME, account="main", options={"no": "such"}, webhook_secret=SECRET),
        "gone": Connection(adapter="not installed", account="main", webhook_secret=SECRET),
    }
    runtime.settings = runtime.settings.model_copy(update={"connections": connections})
    with TestClient(create_app(runtime), raise_server_exceptions=False) as http:
        yield Door(http, runtime, hinted)


def test_an_event_makes_the_sync_due_now(door: Door) -> None:
    door.runs_in(HOUR)
    assert door.post() == 204
    due = door.next_run()
    assert due is not None
    assert due <= utcnow()
    assert door.ticks() == 1


def test_a_connection_that_has_never_run_is_due_too(door: Door) -> None:
    assert door.post() == 204
    with writing(door.runtime.engine) as db:
        assert [slot.connection for slot in claim_due(db, door.runtime.settings, utcnow())].count("crm") == 1


NOWHERE = {
    "an unknown connection": f"/crm/crn/{SECRET}",
    "a wrong secret": f"/crm/crm/{SECRET[:-1]}",
    "a longer secret": f"/crm/crm/{SECRET}x",
    "another case": f"/crm/crm/{SECRET.upper()}",
    "a connection without a secret": f"/crm/quiet/{SECRET}",
    "a connection without a secret, and none given": "/crm/quiet/%20",
    "an adapter without events": f"/crm/files/{SECRET}",
    "options that do not fit": f"/crm/broken/{SECRET}",
    "an adapter that is not installed": f"/crm/gone/{SECRET}",
}


@pytest.mark.parametrize("url", NOWHERE.values(), ids=NOWHERE)
def test_other_addresses_are_nowhere(door: Door, url: str) -> None:
    door.runs_in(HOUR)
    answer = door.http.post(url, content=BODY, headers={"X-Acme-Signature": signature(BODY)})
    assert answer.status_code == 404
    other = door.http.post("/crm/nothing/at-all", content=BODY)
    assert {**answer.json(), "instance": ""} == {**other.json(), "instance": ""}, "the answer does not say which it was"
    assert door.ticks() == 0


@pytest.mark.parametrize("body", [b"raise", BODY, b""], ids=["the adapter raises", "a wrong signature", "no body"])
def test_what_the_adapter_does_not_verify_changes_nothing(door: Door, body: bytes) -> None:
    door.runs_in(HOUR)
    before = door.next_run()
    assert door.post(body=body, sign=lambda _: "forged") == 401
    assert door.next_run() == before
    assert door.ticks() == 0


@pytest.mark.parametrize(("origin", "status"), [("https://texts.example.com", 204), ("http://testserver", 401)])
def test_a_crm_signs_the_public_url(door: Door, origin: str, status: int) -> None:
    web = door.runtime.settings.web.model_copy(update={"public_url": "https://texts.example.com/"})
    door.runtime.settings = door.runtime.settings.model_copy(update={"web": web})
    signed = signature(f"POST {origin}{URL}".encode() + BODY)
    headers = {"X-Acme-Signature": signed, "X-Acme-Signs-URL": "1"}
    assert door.http.post(URL, content=BODY, headers=headers).status_code == status


def test_limits_of_requests_apply(door: Door) -> None:
    assert door.post(body=b"x" * 4096) == 413
    assert door.http.get(URL).status_code == 405


def test_the_secret_is_in_no_log(
    door: Door, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    door.post()
    door.post(sign=lambda _: "forged")
    door.post(body=b"raise")
    door.post(f"/crm/crm/{SECRET}x")
    printed = capfd.readouterr()
    ours = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert SECRET not in "".join([*ours, printed.out, printed.err])


def test_a_storm_makes_one_run_due_and_takes_no_slot_from_a_worker(door: Door) -> None:
    door.runs_in(HOUR)
    settings = door.runtime.settings
    assert {door.post() for _ in range(20)} == {204}
    assert door.ticks() == 1
    with writing(door.runtime.engine) as db:
        [slot] = [slot for slot in claim_due(db, settings, utcnow()) if slot.connection == "crm"]
    assert {door.post() for _ in range(20)} == {204}
    assert door.ticks() == 1
    with writing(door.runtime.engine) as db:
        assert start_slot(db, settings, slot, utcnow())


def test_an_event_during_a_run_makes_another_run_due_after_it(door: Door) -> None:
    door.runs_in(HOUR)
    settings, engine = door.runtime.settings, door.runtime.engine
    lease = claim_connection(engine, "crm", 600)
    assert lease is not None
    assert {door.post() for _ in range(5)} == {204}
    due = door.next_run()
    assert due == lease.started_at + EVENT_GAP
    later = due + timedelta(seconds=1)
    with writing(engine) as db:
        assert "crm" not in [slot.connection for slot in claim_due(db, settings, later)], "the run is in progress"
        lease.fence(db, lease_owner=None, lease_until=None)
        [slot] = [slot for slot in claim_due(db, settings, later) if slot.connection == "crm"]
        db.execute(update(connection_state).values(lease_owner="other", lease_until=later + HOUR))
        assert not start_slot(db, settings, slot, later), "somebody ran it by hand meanwhile"
        db.execute(update(connection_state).values(lease_owner=None, lease_until=None))
        assert start_slot(db, settings, slot, later)


def test_a_run_that_is_due_soon_is_not_moved(door: Door) -> None:
    door.runs_in(timedelta(seconds=20))
    before = door.next_run()
    assert door.post() == 204
    assert door.next_run() == before
