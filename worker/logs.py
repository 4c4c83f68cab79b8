"""Logs: readable on a terminal, JSON with VTSYNC_LOG=json. Phone numbers are masked, secrets never get here."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from worker.phones import mask

_NUMBER = re.compile(r"\+[1-9]\d{7,14}\b")


def set_up_logging(default: str = "info") -> None:
    """Send our logs and the libraries' to standard error. VTSYNC_LOG_LEVEL: debug, info, warning, error."""
    chosen = getattr(logging, os.environ.get("VTSYNC_LOG_LEVEL", default).upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_numbers,
    ]
    as_json = os.environ.get("VTSYNC_LOG") == "json"
    # Plain tracebacks: local values could hold a text, a number or a credential.
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(chosen),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    final: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        final.append(structlog.processors.format_exc_info)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[*final, renderer], foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(chosen)
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)  # warns that files have no host name
    for noisy in ("celery.worker.strategy", "celery.app.trace", "celery.beat", "alembic", "urllib3", "kombu"):
        logging.getLogger(noisy).setLevel(max(chosen, logging.WARNING))


def mask_numbers(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask whatever looks like a phone number in any value."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _NUMBER.sub(lambda found: mask(found[0]), value)
    return event
