"""Databases of each kind, each with a place of its own for a test's tables."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, Page
from crm_adapters.services import LocalServices
from crm_adapters.sql.adapter import SqlAdapter
from crm_adapters.sql.options import SqlOptions
from tests.services import mariadb_url, postgres_url

KINDS = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]


class Database:
    """An empty database. ``run`` takes statements as the database's own client does."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url, self.engine = kind, url, create_engine(url)

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            if self.kind == "mariadb":
                connection.exec_driver_sql("SET sql_mode = ''")
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%") if self.kind != "sqlite" else statement)

    def adapter(self, fields: dict[str, Any] | None = None, services: Any = None, **options: Any) -> SqlAdapter:
        given = SqlOptions.model_validate({"url": self.url, **options})
        return SqlAdapter(given, FieldMapping.model_validate(fields or {}), services=services or LocalServices())


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    """Return an empty database of this kind, which is removed afterwards."""
    name = f"crm_{uuid.uuid4().hex[:12]}"
    if kind == "sqlite":
        made = Database(kind, f"sqlite:///{folder / f'{name}.sqlite3'}")
        yield made
        made.engine.dispose()
        return
    url = postgres_url() if kind == "postgres" else mariadb_url()
    admin: Engine = create_engine(url)
    with admin.begin() as connection:
        connection.exec_driver_sql(f"CREATE {'SCHEMA' if kind == 'postgres' else 'DATABASE'} {name}")
    if kind == "postgres":
        url += f"{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
    else:
        url = admin.url.set(database=name).render_as_string(hide_password=False)
    made = Database(kind, url)
    yield made
    made.engine.dispose()
    with admin.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE" if kind == "postgres" else f"DROP DATABASE {name}")
    admin.dispose()


def read(adapter: SqlAdapter, cursor: Any = None) -> tuple[dict[str, ContactChange], list[Page]]:
    """Return the records of a pull by id, and its pages. No record may come twice."""
    pages = list(adapter.pull(cursor))
    changes = [change for page in pages for change in page.changes if isinstance(change, ContactChange)]
    found = {change.external_id: change for change in changes}
    assert len(found) == len(changes)
    return found, pages
