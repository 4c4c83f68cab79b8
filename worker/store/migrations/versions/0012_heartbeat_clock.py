"""The clock of each process, as its heartbeat reports it

The version before leaves the column empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("heartbeat", sa.Column("clock_ahead", sa.Float(), nullable=True))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("heartbeat") as heartbeat:
        heartbeat.drop_column("clock_ahead")
