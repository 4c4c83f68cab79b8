"""OpenTelemetry traces of tasks, HTTP requests and database statements. Needs the extra `otel`.

The standard OTEL_* variables switch traces on and set their destination. ``ALLOWED`` lists what a span may contain:
paths, parameters, exception messages and other attributes may hold numbers, texts or secrets, and are removed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from worker.core.version import installed_version
from worker.monitoring.liveness import Role

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from sqlalchemy import Engine

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
ALLOWED = frozenset(
    """
    http.method http.request.method http.status_code http.response.status_code http.route http.flavor http.scheme
    network.protocol.version network.protocol.name url.scheme server.address server.port net.peer.name net.peer.port
    http.host net.host.port
    db.system db.system.name db.name db.namespace db.operation db.operation.name db.statement db.query.text db.user
    messaging.destination messaging.destination.name messaging.destination_kind messaging.system messaging.message.id
    messaging.message_id messaging.operation
    celery.action celery.state celery.task_name celery.retries celery.hostname celery.origin celery.routing_key
    error.type exception.type
    """.split()
)


class TelemetryError(Exception):
    """Traces or error reports are configured but cannot be started. The message says what to do."""


def traces_wanted() -> bool:
    """Return whether the OTEL_* variables ask for traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    return exporter != "none" and bool(exporter or any(os.environ.get(name) for name in ENDPOINTS))


def start_tracing(role: Role, engine: Engine, exporter: SpanExporter | None = None) -> TracerProvider:
    """Start tracing this process. Raises TelemetryError. ``exporter`` replaces the environment's, for tests."""
    try:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor
        from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
        from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
        from opentelemetry.metrics import NoOpMeter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        raise TelemetryError(
            "the OTEL_* variables ask for traces, but OpenTelemetry is not installed; run"
            " `pip install 'virtualtext-crm-sync[otel]'`, or set OTEL_SDK_DISABLED=true"
        ) from None
    name = os.environ.get("OTEL_SERVICE_NAME") or f"vtsync-{role}"
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": installed_version()}))
    provider.add_span_processor(_processor(exporter or _exporter()))
    CeleryInstrumentor().instrument(  # type: ignore[no-untyped-call]
        tracer_provider=provider
    )
    URLLib3Instrumentor().instrument(tracer_provider=provider)
    # Not by SQLAlchemyInstrumentor, which requires SQLAlchemy below 2.1 and greenlet; the events are the same.
    unused = NoOpMeter("vtsync").create_up_down_counter("connections")
    EngineTracer(provider.get_tracer("vtsync"), engine, unused)  # type: ignore[no-untyped-call]
    return provider


def trace_app(app: FastAPI, provider: TracerProvider) -> None:
    """Trace the requests to the HTTP API, except probes and scrapes."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, excluded_urls="health/,metrics")


def scrub_span(span: ReadableSpan) -> ReadableSpan:
    """Return the span with only its allowed attributes."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.status import Status

    attributes = {key: value for key, value in (span.attributes or {}).items() if key in ALLOWED}
    name = span.name
    if span.kind is SpanKind.SERVER:  # never the path: it may contain a secret or a number
        method = attributes.get("http.method") or attributes.get("http.request.method") or "HTTP"
        name = f"{method} {attributes.get('http.route', '')}".strip()
    events = [
        Event(one.name, {key: value for key, value in (one.attributes or {}).items() if key in ALLOWED}, one.timestamp)
        for one in span.events
    ]
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _processor(exporter: SpanExporter) -> SpanProcessor:
    """Scrub each span, then batch it in a thread, which is restarted after a fork."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class Scrubbing(BatchSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            super().on_end(scrub_span(span))

    return Scrubbing(exporter)


def _exporter() -> SpanExporter:
    chosen = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if chosen == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if chosen != "otlp" or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") != "http/protobuf":
        raise TelemetryError(
            "traces can only be sent by OTLP over HTTP: set OTEL_TRACES_EXPORTER to otlp, console or none, and"
            " OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf, or unset it"
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
