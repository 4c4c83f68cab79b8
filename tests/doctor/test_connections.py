"""Connections as the store knows them, and the URL for their events."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from config.models import Account, Broker, Connection, Settings, Store, Web
from crm_adapters import registry
from crm_adapters.base import SourceUnavailable
from tests.contacts.acme import ADDRESS, CLOUD, CLOUD_ADDRESS, NAME, AcmeAdapter
from tests.contacts.grant_process import KEY
from worker.contacts.budgets import spend
from worker.contacts.connection_gate import stop_values, wait_values
from worker.contacts.grants import GrantState, save_grant
from worker.contacts.sealing import GrantCipher
from worker.core.findings import Level
from worker.doctor.checks import checks_for
from worker.doctor.configuration import check_settings
from worker.doctor.connections import ConnectionNow, describe_webhook, judge_connection, judge_unused_grant
from worker.doctor.status import overview
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, crm_grant

NOW = utcnow()
SECRET = "a-webhook-secret-of-24-characters"
CONNECTED = GrantState("crm", NOW, None, None)
UNFINISHED = GrantState("crm", NOW, NOW, NOW)

JUDGED: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "nothing special": ({}, [("ok", "may be read", "")]),
    "it waits": ({"waits_until": NOW, "waits_reason": "the budget is spent"}, [("ok", "the budget is spent", "")]),
    "its key was rejected": ({"stopped": "401"}, [("problem", "is stopped: 401", "vtsync check")]),
    "its last run failed": (
        {"failure": "failed", "error": "the file is not there"},
        [("warning", "its last sync failed: the file is not there", "vtsync sync crm")],
    ),
    "its last run failed, and it waits": (
        {"failure": "failed", "error": "429", "waits_until": NOW, "waits_reason": "429"},
        [("ok", "waits until", "")],
    ),
    "its last run failed, and it is stopped": (
        {"failure": "failed", "error": "401", "stopped": "401"},
        [("problem", "is stopped: 401", "vtsync check")],
    ),
    "it was never connected": ({"needs_consent": True}, [("problem", "no credential yet", "vtsync connect crm")]),
    "never connected, and stopped for that": (
        {"needs_consent": True, "stopped": "no credential"},
        [("problem", "no credential yet", "vtsync connect crm")],
    ),
    "it is connected": ({"needs_consent": True, "grant": CONNECTED}, [("ok", "may be read", "")]),
    "its consent was taken back": (
        {"needs_consent": True, "grant": CONNECTED, "stopped": "rejected"},
        [("problem", "is stopped: rejected", "vtsync connect crm")],
    ),
    "a renewal has no result": (
        {"needs_consent": True, "grant": UNFINISHED},
        [("ok", "may be read", ""), ("warning", "may be used up", "vtsync connect crm")],
    ),
    "it needs no consent any longer": ({"grant": UNFINISHED}, [("ok", "may be read", "")]),
}


@pytest.mark.parametrize(("state", "expected"), JUDGED.values(), ids=JUDGED)
def test_a_connection_by_its_stored_state(state: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    found = list(judge_connection(ConnectionNow("crm", **state)))
    assert [(one.level, one.command) for one in found] == [(level, command) for level, _, command in expected]
    for one, (_, words, _) in zip(found, expected, strict=True):
        assert words in one.found
        assert one.what == "connection crm"
        assert one.level == "ok" or (one.why and one.do)


def test_a_credential_that_nothing_uses() -> None:
    found = judge_unused_grant(CONNECTED)
    assert (found.level, found.command) == (Level.WARNING, "vtsync disconnect crm")


@pytest.fixture
def runtime(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setitem(registry.BUILT_IN, NAME, ADDRESS)
    monkeypatch.setitem(registry.BUILT_IN, CLOUD, CLOUD_ADDRESS)
    cloud = Connection(adapter=CLOUD, account="main", options={"url": "http://127.0.0.1:1"})
    connections = dict.fromkeys(("ready", "never", "lost", "spent", "stopped"), cloud)
    settings = Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},  # type: ignore[arg-type]
        connections=connections | {"unknown": Connection(adapter="not installed", account="main")},
        store=Store(grant_key=KEY),  # type: ignore[arg-type]
    )
    return Runtime(settings, engine=engine)


def test_status_shows_what_a_person_must_know(runtime: Runtime) -> None:
    now = utcnow()
    cipher = GrantCipher(KEY)
    with writing(runtime.engine) as db:
        for name in ("ready", "lost", "spent", "stopped", "removed"):
            save_grant(db, name, cipher.seal(name, {"access_token": "x"}), now)
        db.execute(crm_grant.update().where(crm_grant.c.connection == "lost").values(renewing_since=now))
        db.execute(insert(connection_state), {"connection": "stopped", **stop_values("Acme rejects it", now)})
        spend(db, "ready", AcmeAdapter.limits[2:], 4, now)
        spend(db, "spent", AcmeAdapter.limits[2:], 10, now)
        with pytest.raises(SourceUnavailable) as spent:
            spend(db, "spent", AcmeAdapter.limits[2:], 1, now)
        db.execute(insert(connection_state), {"connection": "spent", **wait_values(spent.value, now)})
    found = overview(runtime)
    commands = {one.what: one.command for one in found.attention}
    assert commands == {
        "connection never": "vtsync connect never",
        "connection lost": "vtsync connect lost",
        "connection stopped": "vtsync connect stopped",
        "connection removed": "vtsync disconnect removed",
    }
    shown = {one.name: one for one in found.connections}
    assert shown["ready"].budgets == ["4 of 10 calls in 24h are used"]
    assert "10 of 10 calls in 24h" in shown["spent"].note
    assert shown["stopped"].note == "is stopped: Acme rejects it"
    assert shown["unknown"].note == shown["never"].note == ""


@pytest.mark.parametrize(
    ("public", "words"),
    [
        ("https://texts.example.com/", "https://texts.example.com/crm/crm/SECRET,"),
        (None, "set web.public_url to see the whole URL"),
    ],
)
def test_check_says_which_url_to_enter_in_the_crm(public: str | None, words: str, tmp_path: Path) -> None:
    connection = Connection(adapter=NAME, account="main", webhook_secret=SECRET)  # type: ignore[arg-type]
    without = Connection(adapter=NAME, account="main")
    settings = Settings(
        connections={"crm": connection, "other": without}, web=Web(public_url=public), data_dir=tmp_path
    )
    [found] = describe_webhook(settings, "crm")
    assert words in found.found
    assert SECRET not in found.found
    assert list(describe_webhook(settings, "other")) == []
    names = [check.what for check in checks_for(Runtime(settings), "check")]
    assert [name for name in names if name.startswith("events")] == ["events of connection crm"]


def test_rates_of_a_crm_that_each_process_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, NAME, ADDRESS)
    connections = {
        "crm": Connection(adapter=NAME, account="main"),
        "files": Connection(adapter="csv", account="main"),
    }
    settings = Settings(connections=connections, broker=Broker(url="amqp://rabbit.internal"))  # type: ignore[arg-type]
    [found] = [one for one in check_settings(settings) if "counts the request rates" in one.found]
    assert "rates of crm on" in found.found


def test_the_age_of_a_wait_is_over(engine: Engine) -> None:
    past = utcnow() - timedelta(minutes=1)
    with writing(engine) as db:
        db.execute(insert(connection_state), {"connection": "crm", "waits_until": past, "waits_reason": "429"})
    settings = Settings(connections={"crm": Connection(adapter="csv", account="main")})
    [shown] = overview(Runtime(settings, engine=engine)).connections
    assert shown.note == ""
