"""Checks that the store and the broker can be reached. Imports little: every command asks for the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.findings import Finding, ok, problem

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

    from worker.runtime import Runtime

WITHOUT_STORE = "all data is in the store: without it vtsync accepts, syncs and sends nothing"
WITHOUT_BROKER = "workers get no work, and services cannot send jobs"


def reach_store(runtime: Runtime) -> Finding:
    """Connect to the store and compare its tables with this version's. A SQLite file is migrated first."""
    from sqlalchemy.exc import DBAPIError

    from worker.store.migrate import StoreOutdated, ensure_current

    try:
        ensure_current(runtime.engine)
    except StoreOutdated as error:
        return problem("store", f"{store_url(runtime)} {error.state}", WITHOUT_STORE, error.do)
    except DBAPIError as error:
        return store_unreachable(runtime, error)
    return ok("store", store_url(runtime))


def store_unreachable(runtime: Runtime, error: DBAPIError, what: str = "reached") -> Finding:
    """Explain an error of the database's driver: the store cannot be ``what``."""
    reason = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
    found = f"{store_url(runtime)} cannot be {what} ({reason})"
    return problem("store", found, WITHOUT_STORE, "start it, or correct store.url")


def store_url(runtime: Runtime) -> str:
    """Return the store's address without its password."""
    return runtime.engine.url.render_as_string(hide_password=True)


def reach_broker(runtime: Runtime) -> Finding:
    """Connect to the broker."""
    from kombu.exceptions import OperationalError

    from worker.app import app
    from worker.broker.settings import describe

    where = describe(runtime.settings)
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
        except (OSError, OperationalError, *connection.recoverable_connection_errors) as error:
            found = f"{where} cannot be reached ({str(error) or type(error).__name__})"
            return problem("broker", found, WITHOUT_BROKER, "start it, or correct broker.url")
    return ok("broker", where)
