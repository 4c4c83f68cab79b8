"""Logging: readable text on a terminal, JSON with VTSYNC_LOG=json.

The finished line is masked, so phone numbers and credentials are also hidden in tracebacks, lists and messages of
libraries.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import structlog

from worker.core.phones import mask

_about: ContextVar[dict[str, Any]] = ContextVar("about", default={})  # noqa: B039 - never changed in place
P = ParamSpec("P")
T = TypeVar("T")

_NUMBER = re.compile(r"\+[1-9]\d{7,14}\b")
_URL_PASSWORD = re.compile(r"(://[^\s:/@\"']*:)[^\s/@\"']+(?=@)")
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s\"',\\]+")


def set_up_logging(default: str = "info") -> None:
    """Send our logs and those of libraries to standard error. VTSYNC_LOG_LEVEL: debug, info, warning, error."""
    chosen = getattr(logging, os.environ.get("VTSYNC_LOG_LEVEL", default).upper(), logging.INFO)
    shared: list[Any] = [
        _add_context,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = os.environ.get("VTSYNC_LOG") == "json"
    # Plain tracebacks: local variables may hold a text, a phone number or a credential.
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
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)  # it warns that files have no host name
    # It warns that jobs with a short delay wait in the worker. That is intended, and takes a minute at most.
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


class MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Masks phone numbers and credentials in the finished line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record and mask what must not be in a log."""
        return masked(super().format(record))


def masked(text: str) -> str:
    """Return the text with phone numbers, passwords in URLs and bearer credentials made unreadable."""
    text = _NUMBER.sub(lambda found: mask(found[0]), text)
    return _BEARER.sub(r"\1***", _URL_PASSWORD.sub(r"\1***", text))
