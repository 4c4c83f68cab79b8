"""Sends error reports to Sentry: each error in the log, with its traceback. Needs the extra `sentry`.

An event is rebuilt from an allow-list: the type of the error, the position in the code, and ids such as task, run or
message. It contains no texts, arguments, local variables, headers or bodies.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from config.models import Settings
from worker.core.log_lines import masked
from worker.core.version import installed_version
from worker.monitoring.liveness import Role
from worker.monitoring.tracing import TelemetryError

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

KEPT = ("event_id", "timestamp", "level", "logger", "platform", "release", "environment", "server_name", "sdk", "tags")
IDS = ("task", "task_id", "connection", "run", "account", "contact", "message", "request", "inbox_event", "receiver")
KEPT_FRAME = ("filename", "abs_path", "function", "module", "lineno", "in_app")
MAX_BREADCRUMBS = 20
MAX_MESSAGE_LENGTH = 500


def dsn_of(settings: Settings) -> str:
    """Return the address for error reports: ``sentry.dsn``, else SENTRY_DSN, else an empty string."""
    configured = settings.sentry.dsn
    return configured.get_secret_value() if configured is not None else os.environ.get("SENTRY_DSN", "").strip()


def start_errors(role: Role, dsn: str, transport: type[Transport] | None = None) -> None:
    """Start reporting this process's errors. Raises TelemetryError. ``transport`` replaces HTTP, for tests."""
    try:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.integrations.dedupe import DedupeIntegration
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration
        from sentry_sdk.integrations.logging import LoggingIntegration
        from sentry_sdk.integrations.threading import ThreadingIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError:
        raise TelemetryError(
            "a Sentry address is set (sentry.dsn or SENTRY_DSN), but the Sentry client is not installed; run"
            " `pip install 'virtualtext-crm-sync[sentry]'`, or remove the address"
        ) from None
    integrations = [LoggingIntegration(), ExcepthookIntegration(), ThreadingIntegration(), DedupeIntegration()]
    try:
        sentry_sdk.init(
            dsn,
            release=f"virtualtext-crm-sync@{installed_version()}",
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[*integrations, AtexitIntegration(callback=lambda *_: None)],
            send_default_pii=False,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=MAX_BREADCRUMBS,
            before_send=scrub_event,  # type: ignore[arg-type] # Sentry's Event is a TypedDict
            before_breadcrumb=lambda crumb, hint: _crumb(crumb, hint),
            transport=transport,
        )
    except BadDsn as error:
        raise TelemetryError(
            f"the Sentry address is not valid ({error}); copy the DSN from the project's settings"
        ) from None
    sentry_sdk.set_tag("role", role)


def scrub_event(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """Return the event with only its allowed fields."""
    kept = {key: event[key] for key in KEPT if key in event}
    line = _log_line(hint)
    exceptions = event.get("exception") or _exception(line.get("exc_info"))
    if exceptions:
        kept["exception"] = {"values": [_clean(one) for one in exceptions.get("values") or ()]}
    message = str(line.get("event") or (event.get("logentry") or {}).get("message") or "")
    kept["logentry"] = {"message": _first_line(message)}
    kept["tags"] = dict(event.get("tags") or {}) | {key: str(line[key]) for key in IDS if line.get(key) is not None}
    crumbs = (event.get("breadcrumbs") or {}).get("values") or ()
    kept["breadcrumbs"] = {"values": list(crumbs)}  # each was scrubbed when it was added
    return kept


def _log_line(hint: dict[str, Any]) -> dict[str, Any]:
    """Return the log line as structlog has it: message, ids and exception."""
    record = hint.get("log_record")
    line = getattr(record, "msg", None)
    return line if isinstance(line, dict) else {}


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
        # Only the first line: a database quotes values in the lines after it.
        "value": _first_line(str(exception.get("value") or "")),
        "mechanism": {"type": (exception.get("mechanism") or {}).get("type", "generic")},
        "stacktrace": {"frames": clean},
    }


def _crumb(crumb: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any] | None:
    """Return a log line from before the error: its message without its values."""
    line = _log_line(hint)
    if crumb.get("type") != "log":
        return None
    kept = {key: crumb[key] for key in ("type", "level", "category", "timestamp") if key in crumb}
    return kept | {"message": _first_line(str(line.get("event") or ""))}


def _first_line(text: str) -> str:
    return masked(text.partition("\n")[0])[:MAX_MESSAGE_LENGTH]
