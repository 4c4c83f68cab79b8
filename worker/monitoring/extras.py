"""Switches on what a process was asked to report beyond logs and metrics: traces, errors. Costs nothing otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from worker.monitoring import errors, tracing
from worker.monitoring.pulse import Role
from worker.monitoring.tracing import Unusable
from worker.runtime import Runtime

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["Unusable", "start_extras"]

log = structlog.get_logger("vtsync")


def start_extras(runtime: Runtime, role: Role) -> TracerProvider | None:
    """Start what is wanted. Raises Unusable, with what to do. Returns what traces are made with, if any are."""
    if dsn := errors.dsn_of(runtime.settings):
        errors.start_errors(role, dsn)
        log.info("errors go to Sentry")
    if not tracing.wanted():
        return None
    provider = tracing.start_tracing(role, runtime.engine)
    log.info("traces go to OpenTelemetry")
    return provider
