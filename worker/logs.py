"""Logs: readable on a terminal, JSON with VTSYNC_LOG=json. Phone numbers and credentials are masked in whole lines, so
also in tracebacks, in lists and in what libraries say."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import structlog

from worker.phones import mask

P = ParamSpec("P")
T = TypeVar("T")

_NUMBER = re.compile(r"\+[1-9]\d{7,14}\b")
_URL_PASSWORD = re.compile(r"(://[^\s:/@\"']*:)[^\s/@\"']+(?=@)")
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s\"',\\]+")


def set_up_logging(default: str = "info") -> None:
    """Send our logs and the libraries' to standard error. VTSYNC_LOG_LEVEL: debug, info, warning, error."""
    chosen = getattr(logging, os.environ.get("VTSYNC_LOG_LEVEL", default).upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
    handler.setFormatter(MaskingFormatter(processors=[*final, renderer], foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(chosen)
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)  # warns that files have no host name
    # Warns that jobs put back for a moment wait in the worker: that is meant, and a minute at most.
    logging.getLogger("kombu.transport.native_delayed_delivery").setLevel(logging.ERROR)
    for noisy in (
        "celery.worker.strategy",
        "celery.app.trace",
        "celery.apps.worker",
        "celery.beat",
        "alembic",
        "urllib3",
        "kombu",
    ):
        logging.getLogger(noisy).setLevel(max(chosen, logging.WARNING))


def start_context(**ids: object) -> None:
    """From here on every line of this thread (or asyncio task) carries ``ids``, and none of what was before."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**ids)


def end_context() -> None:
    """What was worked on is done; the thread's next lines are about something else."""
    structlog.contextvars.clear_contextvars()


def working_on(**ids: object) -> AbstractContextManager[None]:
    """Every line that this thread writes in the block carries ``ids``, and what it carried before."""
    return structlog.contextvars.bound_contextvars(**ids)


def carrying_on(work: Callable[P, T]) -> Callable[P, T]:
    """``work`` for another thread of a pool, whose lines carry what this thread's do."""
    ids = structlog.contextvars.get_contextvars()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        with working_on(**ids):
            return work(*args, **kwargs)

    return carried


class MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Masks the finished line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without what must not be in a log."""
        return masked(super().format(record))


def masked(text: str) -> str:
    """The text with phone numbers, passwords in URLs and bearer credentials made unreadable."""
    text = _NUMBER.sub(lambda found: mask(found[0]), text)
    return _BEARER.sub(r"\1***", _URL_PASSWORD.sub(r"\1***", text))
