"""Connections to PostgreSQL through a pooler, such as PgBouncer.

A pooler in transaction mode gives each transaction another server connection. So nothing may be left in a session: no
prepared statements, no settings. Our locks and timeouts belong to transactions, and so work everywhere.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

_REFUSES_OPTIONS = "unsupported startup parameter"
"""What PgBouncer answers if the client sends settings for the session."""


def support_poolers(engine: Engine, *, has_options: bool) -> None:
    """Let the engine connect through a pooler. ``has_options``: the URL has ``options`` of the user's own."""

    def connect(dialect: Any, _record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
        import psycopg

        try:
            connection = dialect.connect(*arguments, **parameters)
        except psycopg.OperationalError as error:
            if _REFUSES_OPTIONS not in str(error):
                raise
            if has_options:  # without them we might write into another schema
                raise psycopg.OperationalError(
                    "the pooler refuses the `options` of store.url; remove them, and set them for the role instead:"
                    " ALTER ROLE ... SET search_path = ..."
                ) from None
            connection = dialect.connect(*arguments, **_without_options(parameters))
        if behind_pooler(connection):
            connection.prepare_threshold = None
        return connection

    event.listen(engine, "do_connect", connect)


def behind_pooler(connection: Any) -> bool:
    """Return whether a psycopg connection ends at a pooler: it invents the process id that it gives to its clients."""
    found = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.rollback()
    return bool(found[0] != connection.info.backend_pid)


def _without_options(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != "options"}
