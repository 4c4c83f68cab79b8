"""Starts traces and error reports if they are configured. Otherwise it loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from worker.monitoring import errors, tracing
from worker.monitoring.liveness import Role
from worker.monitoring.tracing import TelemetryError
from worker.runtime import Runtime

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["TelemetryError", "start_telemetry"]

log = structlog.get_logger("vtsync")


def start_telemetry(runtime: Runtime, role: Role) -> TracerProvider | None:
    """Start what is configured, and return the provider of traces, if any. Raises TelemetryError."""
    if dsn := errors.dsn_of(runtime.settings):
        errors.start_errors(role, dsn)
        log.info("errors are reported to Sentry")
    if not tracing.traces_wanted():
        return None
    provider = tracing.start_tracing(role, runtime.engine)
    log.info("traces are sent by OpenTelemetry")
    return provider
