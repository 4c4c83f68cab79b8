"""Logging: readable text on a terminal, JSON with VTSYNC_LOG=json.

Every value and the finished line are masked and cut (``worker.core.log_lines``), so phone numbers and credentials are
also hidden in tracebacks, lists and messages of libraries. ``debug`` is for our own lines: there, libraries write whole
messages and requests.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import structlog

from worker.core.log_lines import BoundedRenderer, masked

_about: ContextVar[dict[str, Any]] = ContextVar("about", default={})  # noqa: B039 - never changed in place
P = ParamSpec("P")
T = TypeVar("T")

OURS = ("vtsync", "worker", "crm_adapters", "config")
"""The loggers of this project. Adapters of others are libraries here."""
_NOISY = ("celery.worker.strategy", "celery.app.trace", "celery.apps.worker", "celery.beat", "alembic", "urllib3",
          "kombu")  # fmt: skip


def set_up_logging(default: str = "info") -> None:
    """Send our logs and those of libraries to standard error. VTSYNC_LOG_LEVEL: debug, info, warning, error.

    Errors that nobody catches are logged too, because Python would print them with whatever they quote.
    """
    chosen = getattr(logging, os.environ.get("VTSYNC_LOG_LEVEL", default).upper(), logging.INFO)
    shared: list[Any] = [
        _add_context,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = os.environ.get("VTSYNC_LOG") == "json"
    # Plain tracebacks: local variables may hold a text, a phone number or a credential.
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
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
    handler = _Handler(sys.stderr)
    final: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    processors = [*final, BoundedRenderer(renderer)]
    handler.setFormatter(MaskingFormatter(processors=processors, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(chosen, logging.INFO))
    for ours in OURS:
        logging.getLogger(ours).setLevel(chosen)
    sys.excepthook, threading.excepthook = _log_uncaught, _log_uncaught_in_thread
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)  # it warns that files have no host name
    # It warns that jobs with a short delay wait in the worker. That is intended, and takes a minute at most.
    logging.getLogger("kombu.transport.native_delayed_delivery").setLevel(logging.ERROR)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(chosen, logging.WARNING))


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("vtsync").critical("ended with an error", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread is not None else "unknown"
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger("vtsync").error("the thread %s ended with an error", name, exc_info=error)


def start_context(**ids: object) -> None:
    """Add ``ids``, and nothing else, to each further line of this thread (or asyncio task)."""
    _about.set(ids)


def end_context() -> None:
    """Remove all ids from further lines of this thread."""
    _about.set({})


class working_on:  # noqa: N801 - used like a function; a generator-based one is ten times slower
    """Add ``ids`` to the ids of each line that this thread logs inside the block."""

    __slots__ = ("_ids", "_token")

    def __init__(self, **ids: object) -> None:
        self._ids = ids

    def __enter__(self) -> None:
        self._token = _about.set(_about.get() | self._ids)

    def __exit__(self, *_: object) -> None:
        _about.reset(self._token)


def carrying_on(work: Callable[P, T]) -> Callable[P, T]:
    """Wrap ``work`` for another thread of a pool, so that its lines carry this thread's ids."""
    ids = _about.get()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        with working_on(**ids):
            return work(*args, **kwargs)

    return carried


def _add_context(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    return _about.get() | event


class _Handler(logging.StreamHandler):  # type: ignore[type-arg] # it writes to a stream of text
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is Python's
        """Say that a line was lost. Python itself would print the line's arguments as they are."""
        with suppress(OSError, ValueError):
            self.stream.write(f"a line of the logger {record.name} could not be written\n")


class MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Masks phone numbers and credentials in the finished line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record and mask what must not be in a log."""
        return masked(super().format(record))
