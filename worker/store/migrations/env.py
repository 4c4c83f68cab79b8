"""Run by Alembic, always on a connection that ``worker.store.migrate`` passes."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import worker.store.models  # noqa: F401 - fills the metadata
from worker.store.migrate import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    target_metadata=SQLModel.metadata,
    # SQLite cannot alter a column in place; batch mode copies the table, on PostgreSQL it is a plain ALTER.
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
