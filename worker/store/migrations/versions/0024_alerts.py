"""Alerts: what waits for a person or does not work, and who was told

A new table only: the version before does not know it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.store.models import Code, RowId, UTCDateTime

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alert",
        sa.Column("id", RowId(), primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("kind", Code(), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("since", UTCDateTime(), nullable=False),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.Column("raised_at", UTCDateTime()),
        sa.Column("told_at", UTCDateTime()),
        sa.Column("told_urgent", sa.Boolean(), nullable=False),
        sa.Column("ended_at", UTCDateTime()),
        sa.Column("end_told_at", UTCDateTime()),
    )
    still_open = sa.text("ended_at IS NULL")
    op.create_index(
        "uq_alert_open", "alert", ["key"], unique=True, sqlite_where=still_open, postgresql_where=still_open
    )
    op.create_index("ix_alert_ended_at", "alert", ["ended_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("alert")
