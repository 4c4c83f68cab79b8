"""Metrics: what is counted where it happens, what the store says, who may read it, and processes that share a page."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, insert, update

from tests.fakes import not_done, unknown
from tests.messages.conftest import Outbox
from tests.web.conftest import Site
from worker.contacts.connection_gate import pause_reading
from worker.core import metrics
from worker.core.findings import FindingCode, ok, problem
from worker.core.states import DeliveryState, InboxState, RunState
from worker.messages.delivery import deliver_due
from worker.monitoring import state as state_module
from worker.monitoring.exposition import registry_of, render
from worker.monitoring.heartbeats import TICK_ROLE, write_heartbeat
from worker.monitoring.state import StateCache, read_state
from worker.store.db import after_commit, writing
from worker.store.models import utcnow
from worker.store.tables import (
    account_state,
    connection_state,
    delivery,
    heartbeat,
    inbox_event,
    message,
    rejected_record,
    sync_run,
)
from worker.virtualtext.outcomes import Cause, Outcome, Status

ROOT = Path(__file__).parents[2]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: str) -> Samples:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
    }


def sample(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def counted() -> Samples:
    return samples(render(registry_of("worker"), "")[0].decode())


def grown(before: Samples, name: str, **labels: str) -> float:
    return (sample(counted(), name, **labels) or 0.0) - (sample(before, name, **labels) or 0.0)


def test_moves_are_counted_when_they_are_committed_and_only_then(box: Outbox) -> None:
    before = counted()
    labels = {"account": "main", "kind": "send"}
    box.enqueue()
    deliver_due(box.runtime)
    for start, end in (("new", "queued"), ("queued", "dispatching"), ("dispatching", "accepted")):
        assert grown(before, "vtsync_message_transitions_total", **labels, **{"from": start, "to": end}) == 1
    with contextlib.suppress(RuntimeError), writing(box.engine) as db:
        after_commit(db, lambda: pytest.fail("it was rolled back"))
        raise RuntimeError
    with writing(box.engine):
        pass


def test_a_request_is_counted_by_its_outcome() -> None:
    before = counted()
    metrics.request_ended("main", "send", Cause.TIMEOUT, 31.0)
    labels = {"account": "main", "endpoint": "send"}
    assert grown(before, "vtsync_virtualtext_requests_total", **labels, outcome="timeout") == 1
    assert grown(before, "vtsync_virtualtext_request_duration_seconds_sum", **labels) == 31.0
    assert grown(before, "vtsync_virtualtext_request_duration_seconds_bucket", **labels, le="30.0") == 0
    assert grown(before, "vtsync_virtualtext_request_duration_seconds_bucket", **labels, le="60.0") == 1


def page(site: Site, **headers: str) -> Any:
    return site.http.get("/metrics", headers=headers)


def test_the_store_is_shown_as_it_stands(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "FRESH_SECONDS", -1.0)
    now = utcnow()
    ago = now - timedelta(seconds=100)
    taken = site.http.post("/v1/messages", json={"account": "main", "to": "+14155550101", "message": "hello"}).json()
    held = site.http.post("/v1/messages", json={"account": "main", "to": "+14155550102", "message": "hello"}).json()
    with writing(site.engine) as db:
        db.execute(update(message).where(message.c.id == taken["id"]).values(due_at=ago))
        db.execute(update(message).where(message.c.id == held["id"]).values(state="held", reason="approval: 30 people"))
        stopped = {"account": "main", "stopped_at": now, "stopped_reason": "401", "trips": 2}
        db.execute(insert(account_state), stopped | {"rate_ceiling": 5.0, "rate_lowered_at": now})
        event = {"source": "relay", "name": "main", "received_at": ago, "payload": "{}", "attempts": 0, "detail": ""}
        db.execute(insert(inbox_event), [event | {"state": one, "due_at": ago} for one in (InboxState.NEW, "failed")])
        row = {"event_id": "e", "type": "message.sent", "payload": "{}", "created_at": ago, "due_at": ago}
        row |= {"attempts": 0, "last_error": ""}
        states = (("a", DeliveryState.DUE), ("b", DeliveryState.FAILED), ("c", DeliveryState.DONE))
        db.execute(insert(delivery), [row | {"target": target, "state": one} for target, one in states])
        write_heartbeat(db, TICK_ROLE, TICK_ROLE)
        write_heartbeat(db, "worker:host:1", "worker")
        write_heartbeat(db, "worker:host:2", "worker")
        db.execute(
            update(heartbeat).where(heartbeat.c.id == "worker:host:2").values(seen_at=now - timedelta(minutes=3))
        )
    found = samples(page(site).text)
    assert sample(found, "vtsync_messages_waiting", account="main", kind="send", state="queued") == 1
    assert sample(found, "vtsync_messages_waiting", account="main", kind="send", state="unknown") == 0
    assert sample(found, "vtsync_messages_held", account="main", reason="approval") == 1
    assert 100 <= (sample(found, "vtsync_outbox_lag_seconds", account="main") or 0) < 160
    assert sample(found, "vtsync_outbox_lag_seconds", account="other") == 0
    assert sample(found, "vtsync_account_stopped", account="main") == 1
    assert sample(found, "vtsync_account_stopped", account="other") == 0
    assert sample(found, "vtsync_account_breaker_open", account="main") == 1
    assert 5 <= (sample(found, "vtsync_account_rate_ceiling", account="main") or 0) < 40
    assert sample(found, "vtsync_account_rate_ceiling", account="other") is None
    assert sample(found, "vtsync_inbox_waiting", state="new") == 1
    assert sample(found, "vtsync_inbox_waiting", state="failed") == 1
    assert 100 <= (sample(found, "vtsync_inbox_lag_seconds") or 0) < 160
    assert sample(found, "vtsync_forwards_waiting", state="failed") == 1
    assert sample(found, "vtsync_processes", role="worker") == 1
    assert sample(found, "vtsync_processes", role="beat") == 0
    assert abs((sample(found, "vtsync_last_tick_timestamp_seconds") or 0) - now.timestamp()) < 60
    assert sample(found, "vtsync_store_up") == 1
    route = {"method": "POST", "route": "/v1/messages", "status": "202"}
    assert (sample(found, "vtsync_http_requests_total", **route) or 0) >= 2
    assert "14155550101" not in page(site).text


def test_syncs_are_shown(engine: Engine, site: Site) -> None:
    from config.models import Connection

    now = utcnow()
    connection = Connection(adapter="csv", account="main")
    site.runtime.settings = site.runtime.settings.model_copy(update={"connections": {"crm": connection}})
    with writing(engine) as db:
        run = {"connection": "crm", "started_at": now, "batch_id": "", "error": ""}
        run |= dict.fromkeys(("seen", "unchanged", "added", "changed", "removed", "rejected", "messages"), 0)
        early = now - timedelta(hours=1)
        db.execute(insert(sync_run), run | {"state": RunState.DONE, "finished_at": early})
        db.execute(insert(sync_run), run | {"state": RunState.FAILED, "finished_at": now})
        db.execute(insert(connection_state), {"connection": "crm", "next_run_at": now})
        bad = {"connection": "crm", "key": "1", "code": "phone", "reason": "", "where": "", "excerpt": ""}
        db.execute(insert(rejected_record), bad | {"since": now, "seen_at": now})
    found = read_state(site.runtime)
    assert (found.last_success, found.next_run, found.rejected) == ({"crm": early}, {"crm": now}, {"crm": 1})
    with writing(engine) as db:
        pause_reading(db, "crm", reason="", actor="ana", now=now)
    assert read_state(site.runtime).next_run == {}, "a paused connection is not late"


def test_a_store_that_is_away_is_said_and_not_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(state_module, "read_state", away)
    found = samples(page(site).text)
    assert sample(found, "vtsync_store_up") == 0
    assert sample(found, "vtsync_reviews_waiting") is None


def test_many_scrapes_read_the_store_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = state_module.read_state
    monkeypatch.setattr(state_module, "read_state", lambda runtime: reads.append(1) or real(runtime))
    cache = StateCache(lambda: site.runtime)
    for _ in range(5):
        cache()
    assert len(reads) == 1


def test_only_a_key_with_the_scope_reads_metrics_and_the_fleet_s_health(site: Site) -> None:
    for path in ("/metrics", "/health/fleet"):
        assert site.http.get(path, headers={"Authorization": ""}).status_code == 401
        assert site.http.get(path, headers=site.headers("messages:read")).status_code == 403
        assert site.http.get(path, headers=site.headers("metrics:read")).status_code in (200, 503)
    assert page(site).headers["content-type"].startswith("text/plain")
    assert "openmetrics" in page(site, accept="application/openmetrics-text").headers["content-type"]


def test_the_fleet_s_health_says_what_is_wrong(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.doctor.checks.reach_store", lambda _, **__: ok("store", "here"))
    monkeypatch.setattr("worker.doctor.checks.reach_broker", lambda _: ok("broker", "here"))
    answer = site.http.get("/health/fleet")
    assert "no worker is running" in " ".join(answer.json()["problems"])
    with writing(site.engine) as db:
        write_heartbeat(db, TICK_ROLE, TICK_ROLE)
        for role in ("worker", "beat", "web"):
            write_heartbeat(db, f"{role}:{socket.gethostname()}:1", role)
    answer = site.http.get("/health/fleet")
    assert (answer.status_code, answer.json()["status"], answer.json()["problems"]) == (200, "pass", [])
    with writing(site.engine) as db:
        db.execute(insert(account_state), {"account": "main", "stopped_at": utcnow(), "stopped_reason": "401"})
    monkeypatch.setattr(
        "worker.doctor.checks.reach_broker",
        lambda _: problem(FindingCode.BROKER_UNREACHABLE, "broker", "cannot be reached", "why", "do"),
    )
    answer = site.http.get("/health/fleet")
    assert (answer.status_code, answer.json()["status"]) == (503, "fail")
    assert "broker: cannot be reached" in answer.json()["problems"][0]


def test_processes_that_share_a_folder_are_shown_together(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "shared")}
    count = "from worker.core import metrics; metrics.request_ended('main', 'send', 'done', 0.2)"
    show = f"{count}; from worker.monitoring.exposition import *; print(render(registry_of('worker'), '')[0].decode())"
    for script in (count, count):
        subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, check=True)
    done = subprocess.run(
        [sys.executable, "-c", show], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
    )
    labels = {"account": "main", "endpoint": "send"}
    found = samples(done.stdout)
    assert sample(found, "vtsync_virtualtext_requests_total", **labels, outcome="done") == 3
    assert sample(found, "vtsync_virtualtext_request_duration_seconds_count", **labels) == 3
    assert sample(found, "vtsync_build_info", role="worker", version=_version(done.stdout)) == 1


def _version(text: str) -> str:
    found = re.search(r'vtsync_build_info\{.*version="([^"]+)"', text)
    assert found is not None
    return found[1]


def test_tasks_are_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker import tasks
    from worker.broker import task_signals

    monkeypatch.setattr("worker.runtime.open_runtime", lambda: site.runtime)
    monkeypatch.setattr(tasks, "open_runtime", lambda: site.runtime)
    before = counted()
    tasks.app.tasks["vtsync.push_contacts"].apply(args=("gone",))
    assert grown(before, "vtsync_tasks_total", task="vtsync.push_contacts", outcome="success") == 1
    monkeypatch.setattr(tasks, "_run_work", lambda *_: 1 / 0)
    tasks.app.tasks["vtsync.push_contacts"].apply(args=("main",))
    assert grown(before, "vtsync_tasks_total", task="vtsync.push_contacts", outcome="failure") == 1
    assert grown(before, "vtsync_task_duration_seconds_count", task="vtsync.push_contacts") == 2
    put_off: dict[str, Any] = {"eta": "2030-01-01T00:00:00+00:00"}
    task_signals._note_when_it_was_sent(headers=put_off)
    assert put_off.keys() == {"eta"}  # its wait is meant


@pytest.mark.parametrize(
    "outcome",
    [Outcome(Status.DONE), not_done(Cause.REJECTED, 400), unknown(Cause.TIMEOUT)],
    ids=["done", "rejected", "timeout"],
)
def test_a_client_s_every_call_is_counted(outcome: Outcome[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.virtualtext import client
    from worker.virtualtext.outcomes import ContactBody, Endpoint, MessageBody

    monkeypatch.setattr(client, "classify", lambda *_: outcome)
    where = {"api_url": "http://127.0.0.1:1", "create_url": "http://127.0.0.1:1"}
    made = client.VirtualTextClient(Endpoint("u", "t", account="calls", **where))
    contact, text = ContactBody("+14155550101", "A", ""), MessageBody("+14155550101", "+14155550100", "hi")
    before = counted()
    made.create_contact(contact)
    made.update_contact("1", contact)
    made.get_contact("1")
    made.list_contacts()
    made.send_message(text)
    made.record_message(text)
    made.health()
    made.register_relay("https://example.com/x")
    endpoints = "create_contact update_contact get_contact list_contacts send record health register_relay".split()
    labels = {"account": "calls", "outcome": outcome.cause or "done"}
    for endpoint in endpoints:
        assert grown(before, "vtsync_virtualtext_requests_total", endpoint=endpoint, **labels) == 1, endpoint
