"""Checks that the store and the broker can be reached. Imports little: every command asks for the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.findings import Finding, FindingCode, ok, problem

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

    from worker.runtime import Runtime
    from worker.store.migrate import StoreOutdated

WITHOUT_STORE = "all data is in the store: without it vtsync accepts, syncs and sends nothing"
WITHOUT_BROKER = "workers get no work, and services cannot send jobs"


def reach_store(runtime: Runtime, *, writable: bool = False, reads_content: bool = True) -> Finding:
    """Check that the store has this version's tables, and takes writes if ``writable``. A SQLite file is migrated.

    With ``reads_content``, its content must be readable with the keys of the configuration, too.
    """
    from sqlalchemy.exc import DBAPIError

    from worker.store.migrate import StoreOutdated, ensure_current, ensure_writable

    try:
        ensure_current(runtime.engine, reads_content=reads_content)
        if writable:
            ensure_writable(runtime.engine)
    except (StoreOutdated, OSError) as error:
        return store_problem(runtime, error)
    except DBAPIError as error:
        return store_unreachable(runtime, error)
    return ok("store", store_url(runtime))


def store_problem(runtime: Runtime, error: StoreOutdated | OSError) -> Finding:
    """Explain why the store cannot be used: its tables are not those of this version, or its folder cannot be used."""
    if isinstance(error, OSError):
        why = "this is a file, and no folder" if isinstance(error, FileExistsError) else error.strerror
        found = f"cannot be opened ({error.filename}: {why})"
        remedy = "make the folder writable for this user, or correct data_dir or store.url"
        return problem(FindingCode.STORE_UNUSABLE, "store", found, WITHOUT_STORE, remedy)
    return problem(FindingCode.STORE_UNUSABLE, "store", f"{store_url(runtime)} {error.state}", WITHOUT_STORE, error.do)


def store_unreachable(runtime: Runtime, error: DBAPIError, what: str = "used") -> Finding:
    """Explain an error of the database's driver: the store cannot be ``what``."""
    reason = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
    found = f"{store_url(runtime)} cannot be {what} ({reason})"
    remedy = next((do for part, do in _REMEDIES if part in str(error.orig).lower()), "start it, or correct store.url")
    return problem(FindingCode.STORE_UNUSABLE, "store", found, WITHOUT_STORE, remedy)


_REMEDIES = (
    ("read-only transaction", "it is a standby, or set to read-only: name the primary in store.url, or promote it"),
    ("session is read-only", "it is a standby, or set to read-only: name the primary in store.url, or promote it"),
    ("readonly database", "let this user write the file and its folder, and mount the disk writable"),
    ("unable to open", "let this user write the file and its folder"),
    ("no space left", "make room on the disk of the store"),
    ("is full", "make room on the disk of the store"),
    ("disk i/o error", "look at the disk of the store: it may be full or damaged"),
    ("too many clients", "raise max_connections, lower worker.concurrency, or use fewer workers"),
    ("connection slots", "raise max_connections, lower worker.concurrency, or use fewer workers"),
    ("lock timeout", "find out who holds the lock (pg_stat_activity), and end that session"),
    ("is locked", "close the other programs that have the file open"),
    ("pooler refuses", "do what the message says"),
    ("unsupported startup parameter", "name this parameter in ignore_startup_parameters of pgbouncer.ini"),
    ("password authentication failed", "correct the user and the password in store.url"),
    ("no password supplied", "add the password to store.url, in a variable: it must not be in the file"),
    ("no pg_hba.conf entry", "let this user connect from this machine in the server's pg_hba.conf"),
    ("permission denied for database", "let this user connect: GRANT CONNECT ON DATABASE ... TO ..."),
    ("permission denied", "let this user own the tables, or use the user in store.url that created them"),
    ("must be owner", "use the user in store.url that created the tables"),
    ("role", "create the user on the server, or correct it in store.url"),
    ("does not exist", "create the database on the server with `createdb`, or correct its name in store.url"),
    ("invalid connection option", "remove that option from store.url"),
    ("could not translate host name", "correct the host in store.url"),
    ("failed to resolve host", "correct the host in store.url"),
    (
        "file is not a database",
        "move that file away, or correct store.url: it is no file of vtsync",
    ),
)
"""What an error of the database says, and what to do. The first that fits counts."""


def store_url(runtime: Runtime) -> str:
    """Return the store's address without its password."""
    return runtime.engine.url.render_as_string(hide_password=True)


def reach_broker(runtime: Runtime) -> Finding:
    """Connect to the broker, and on Redis store a key that expires at once."""
    from kombu.exceptions import OperationalError

    from worker.app import app
    from worker.broker.broker_state import remedy
    from worker.broker.settings import describe

    where = describe(runtime.settings)
    with app.connection_for_write() as connection:
        errors = (OSError, OperationalError, *connection.recoverable_connection_errors, *connection.channel_errors)
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
            with connection.channel() as channel:
                if hasattr(channel, "check_writable"):
                    channel.check_writable()
        except errors as error:
            found = f"{where} cannot be used ({str(error) or type(error).__name__})"
            return problem(FindingCode.BROKER_UNREACHABLE, "broker", found, WITHOUT_BROKER, remedy(error))
    return ok("broker", where)
