"""Test keys, the messages that they make, and what each version of a CRM record changed

Only new columns with defaults, and a new table: what the version before writes is no test, and changes of records are
stored from now on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TABLES = ("message", "api_key")


def upgrade() -> None:
    """Apply."""
    for table in TABLES:
        op.add_column(table, sa.Column("test", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "record_change",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("connection", "external_id", "revision", name="uq_record_change_revision"),
    )
    op.create_index("ix_record_change_at", "record_change", ["at"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("record_change")
    for table in TABLES:
        op.drop_column(table, "test")
