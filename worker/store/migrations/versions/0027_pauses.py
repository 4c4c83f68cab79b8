"""Pauses: connections that are not read and triggers whose texts are held, because a person said so

A new table only: the version before does not know it, and goes on reading and sending.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.store.models import Code, UTCDateTime

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pause",
        sa.Column("kind", Code(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("since", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.String(80), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("pause")
