"""Errors for Sentry: every line of the log that is an error, with its traceback. Of the extra `sentry`.

An event is made anew from what may be known outside: which error, where in the code, which task, run or message.
Neither what people wrote, nor arguments, local values, headers or bodies.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from config.models import Settings
from worker.core.logs import masked
from worker.monitoring.heartbeats import release
from worker.monitoring.pulse import Role
from worker.monitoring.tracing import Unusable

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

KEPT = ("event_id", "timestamp", "level", "logger", "platform", "release", "environment", "server_name", "sdk", "tags")
IDS = ("task", "task_id", "connection", "run", "account", "contact", "message", "request", "inbox_event", "receiver")
KEPT_FRAME = ("filename", "abs_path", "function", "module", "lineno", "in_app")
MOST_BREADCRUMBS = 20
LONGEST_WORDS = 500


def dsn_of(settings: Settings) -> str:
    """Where errors go: ``sentry.dsn``, else SENTRY_DSN; empty: nowhere."""
    configured = settings.sentry.dsn
    return configured.get_secret_value() if configured is not None else os.environ.get("SENTRY_DSN", "").strip()


def start_errors(role: Role, dsn: str, transport: type[Transport] | None = None) -> None:
    """Report this process's errors from now on. Raises Unusable. ``transport``: instead of HTTP."""
    try:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.integrations.dedupe import DedupeIntegration
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration
        from sentry_sdk.integrations.logging import LoggingIntegration
        from sentry_sdk.integrations.threading import ThreadingIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError:
        raise Unusable(
            "errors are to go to Sentry (sentry.dsn or SENTRY_DSN), and what sends them is not installed; run"
            " `pip install 'virtualtext-crm-sync[sentry]'`, or take the address away"
        ) from None
    integrations = [LoggingIntegration(), ExcepthookIntegration(), ThreadingIntegration(), DedupeIntegration()]
    try:
        sentry_sdk.init(
            dsn,
            release=f"virtualtext-crm-sync@{release()}",
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[*integrations, AtexitIntegration(callback=lambda *_: None)],
            send_default_pii=False,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=MOST_BREADCRUMBS,
            before_send=scrubbed,  # type: ignore[arg-type] # an event is a dict of the wire's shape
            before_breadcrumb=lambda crumb, hint: _crumb(crumb, hint),
            transport=transport,
        )
    except BadDsn as error:
        raise Unusable(f"the Sentry address is none ({error}); copy the DSN from the project's settings") from None
    sentry_sdk.set_tag("role", role)


def scrubbed(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """The event with nothing but what is allowed."""
    kept = {key: event[key] for key in KEPT if key in event}
    said = _said(hint)
    exceptions = event.get("exception") or _exception(said.get("exc_info"))
    if exceptions:
        kept["exception"] = {"values": [_clean(one) for one in exceptions.get("values") or ()]}
    words = str(said.get("event") or (event.get("logentry") or {}).get("message") or "")
    kept["logentry"] = {"message": _first_line(words)}
    kept["tags"] = dict(event.get("tags") or {}) | {key: str(said[key]) for key in IDS if said.get(key) is not None}
    crumbs = (event.get("breadcrumbs") or {}).get("values") or ()
    kept["breadcrumbs"] = {"values": list(crumbs)}  # each was cleaned when it was made
    return kept


def _said(hint: dict[str, Any]) -> dict[str, Any]:
    """The line of the log as structlog has it: its words, ids and exception."""
    record = hint.get("log_record")
    said = getattr(record, "msg", None)
    return said if isinstance(said, dict) else {}


def _exception(exc_info: Any) -> dict[str, Any] | None:
    import sentry_sdk
    from sentry_sdk.utils import event_from_exception

    found = sys.exc_info() if exc_info is True else exc_info
    if isinstance(found, tuple) and found[0] is None:
        return None
    if not isinstance(found, BaseException | tuple):
        return None
    event, _ = event_from_exception(found, client_options=sentry_sdk.get_client().options)
    return {"values": event.get("exception", {}).get("values", [])}


def _clean(exception: dict[str, Any]) -> dict[str, Any]:
    frames = (exception.get("stacktrace") or {}).get("frames") or ()
    clean = [{key: frame[key] for key in KEPT_FRAME if key in frame} for frame in frames]
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        # The first line: a database's details, after it, quote values.
        "value": _first_line(str(exception.get("value") or "")),
        "mechanism": {"type": (exception.get("mechanism") or {}).get("type", "generic")},
        "stacktrace": {"frames": clean},
    }


def _crumb(crumb: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any] | None:
    """A line of the log before the error: its words, not its values."""
    said = _said(hint)
    if crumb.get("type") != "log":
        return None
    kept = {key: crumb[key] for key in ("type", "level", "category", "timestamp") if key in crumb}
    return kept | {"message": _first_line(str(said.get("event") or ""))}


def _first_line(text: str) -> str:
    return masked(text.partition("\n")[0])[:LONGEST_WORDS]
