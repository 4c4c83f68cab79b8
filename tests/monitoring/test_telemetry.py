"""Traces and error reports: what they hold, what they must never hold, and what is said when they cannot be made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
import structlog
import typer
from fastapi.testclient import TestClient
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.web.conftest import RELAY_SECRET, Site
from worker import tasks
from worker.cli import common
from worker.core.logs import set_up_logging, start_context
from worker.monitoring import tracing
from worker.monitoring.errors import start_errors
from worker.monitoring.telemetry import TelemetryError, start_telemetry
from worker.monitoring.tracing import ALLOWED, start_tracing, trace_app
from worker.sandbox import Sandbox
from worker.virtualtext.client import VirtualTextClient
from worker.virtualtext.outcomes import Endpoint, MessageBody
from worker.web.app import create_app

ROOT = Path(__file__).parents[2]
NUMBER, TEXT, TOKEN = "+14155550101", "words-of-a-person", "t0ken-of-an-account"
SECRETS = (NUMBER, NUMBER[1:], TEXT, TOKEN, RELAY_SECRET, "vtk_")


class Spans:
    """What would have been sent."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider, self._exporter = provider, exporter

    def __call__(self) -> list[ReadableSpan]:
        self.provider.force_flush()
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        found = [span for span in self() if span.name == name]
        assert found, [span.name for span in self()]
        return found[-1]


@pytest.fixture
def spans(site: Site) -> Iterator[Spans]:
    exporter = InMemorySpanExporter()
    provider = start_tracing("web", site.engine, exporter)
    yield Spans(provider, exporter)
    for one in (CeleryInstrumentor, URLLib3Instrumentor):
        one().uninstrument()
    EngineTracer.remove_all_event_listeners()
    provider.shutdown()


def test_requests_tasks_and_statements_are_traced_and_nothing_private_is(
    site: Site, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(site.runtime)
    trace_app(app, spans.provider)
    with TestClient(app, raise_server_exceptions=False) as http:
        http.headers.update(site.headers())
        assert http.post("/v1/messages", json={"account": "main", "to": NUMBER, "message": TEXT}).status_code == 202
        http.get(f"/v1/contacts/{NUMBER}")
        http.post(f"/relay/{RELAY_SECRET}", json={"MessageBody": TEXT})
        http.get(f"/nothing/{NUMBER}?q={TEXT}")
        http.get("/health/live")
    taken = spans.named("POST /v1/messages")
    assert taken.attributes is not None
    statements = [span for span in spans() if span.attributes and "db.statement" in span.attributes]
    inserts = [span for span in statements if "INSERT INTO message " in str(span.attributes)]
    assert inserts[0].context.trace_id == taken.context.trace_id  # one trace from the request to its statements

    monkeypatch.setattr("worker.runtime.open_runtime", lambda: site.runtime)
    monkeypatch.setattr(tasks, "open_runtime", lambda: site.runtime)
    monkeypatch.setattr(tasks, "wake", lambda *_: True)
    tasks.send_message.apply(kwargs={"account": "main", "to": NUMBER, "message": TEXT})

    def fail(*_: Any) -> None:
        raise RuntimeError(f"{TEXT} for {NUMBER}")

    monkeypatch.setattr(tasks, "_run_work", fail)
    tasks.app.tasks["vtsync.push_contacts"].apply(args=("main",))
    assert not spans.named("run/vtsync.push_contacts").status.is_ok
    with Sandbox() as sandbox:
        client = VirtualTextClient(Endpoint("sandbox", "sandbox-token", sandbox.api_url, sandbox.create_url))
        assert client.send_message(MessageBody(NUMBER, "+12025550100", TEXT)).done
    sent = spans.named("POST")
    assert (sent.attributes or {}).get("http.status_code") == 200
    assert {"GET /v1/contacts/{phone}", "POST /relay/{secret}", "GET", "run/vtsync.send_message"} <= {
        span.name for span in spans()
    }
    assert not any("health" in span.name for span in spans())
    for span in spans():
        shown = span.to_json()
        assert not [secret for secret in SECRETS if secret in shown], shown
        assert set(span.attributes or {}) <= ALLOWED


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_the_environment_decides(environment: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", *tracing.ENDPOINTS):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracing.traces_wanted() is wanted


class Kept(Transport):
    """Takes events instead of sending them."""

    events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(dict(event))


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    Kept.events = []
    set_up_logging()
    start_errors("worker", "https://key@sentry.example/1", Kept)
    yield Kept.events
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


def test_an_error_is_reported_with_where_and_about_what_and_nothing_private(
    events: list[dict[str, Any]], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = structlog.get_logger("vtsync")
    start_context(task="vtsync.push_contacts", task_id="t-1", message="m-1")
    log.info("working", to=NUMBER, text=TEXT)
    try:
        local = TEXT + TOKEN
        raise ValueError(f"cannot text {NUMBER}\nDETAIL: {local}")  # noqa: TRY301
    except ValueError:
        log.exception("it failed", to=NUMBER, text=TEXT)
    [event] = events
    [exception] = event["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("ValueError", "cannot text +1415•••0101")
    assert exception["stacktrace"]["frames"][-1]["function"].startswith("test_an_error")
    assert event["logentry"]["message"] == "it failed"
    assert event["tags"] == {"role": "worker", "task": "vtsync.push_contacts", "task_id": "t-1", "message": "m-1"}
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["working"]

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"no way to {NUMBER}")

    monkeypatch.setattr("worker.web.v1.enqueue_send", fail)
    site.http.post("/v1/messages", json={"account": "main", "to": NUMBER, "message": TEXT})
    monkeypatch.setattr("worker.runtime.open_runtime", lambda: site.runtime)
    monkeypatch.setattr(tasks, "_run_work", fail)
    tasks.app.tasks["vtsync.push_contacts"].apply(args=(NUMBER,), kwargs={})
    assert {one["exception"]["values"][0]["type"] for one in events} == {"ValueError", "RuntimeError"}
    assert len(events) >= 2
    shown = json.dumps(events, default=str)
    assert not [secret for secret in SECRETS if secret in shown], shown


@pytest.mark.parametrize(
    ("module", "extra", "variable", "value"),
    [
        ("opentelemetry.sdk.trace", "otel", "OTEL_TRACES_EXPORTER", "console"),
        ("sentry_sdk", "sentry", "SENTRY_DSN", "https://key@sentry.example/1"),
    ],
)
def test_a_missing_extra_ends_the_command_with_what_to_do(
    module: str,
    extra: str,
    variable: str,
    value: str,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    monkeypatch.setenv(variable, value)
    common.error_console.cache_clear()
    with pytest.raises(typer.Exit) as ended:
        common.enable_telemetry(site.runtime, "worker")
    assert ended.value.exit_code == common.USAGE
    assert f"pip install 'virtualtext-crm-sync[{extra}]'" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SENTRY_DSN", "sentry", "copy the DSN"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp, console or none"),
    ],
)
def test_what_cannot_be_used_is_said(
    variable: str, value: str, words: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(TelemetryError, match=words):
        start_telemetry(site.runtime, "worker")


def test_nothing_is_loaded_that_nobody_asked_for() -> None:
    program = (
        "import sys, worker.monitoring.telemetry, worker.web.serve, worker.monitoring.exposition;"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'sentry_sdk'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
