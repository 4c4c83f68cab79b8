"""The receiver of a delivery as a column, computed from its target, and its index

The database computes it, so the version before, which writes only the target, works on with the new table.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
RECEIVER = (
    "CASE WHEN substr(target, 1, 4) = 'crm:'"
    f" THEN substr(target, 1, length(target) - length(ltrim(substr(target, 5), '{NAME}')))"
    " ELSE target END"
)


def upgrade() -> None:
    """Apply."""
    # SQLite adds a stored column only by copying the table; PostgreSQL rewrites it, some seconds for a million rows.
    recreate: Literal["always", "never"] = "always" if op.get_bind().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("forward", recreate=recreate) as batch:
        batch.add_column(sa.Column("receiver", sa.String(), sa.Computed(RECEIVER, persisted=True), nullable=True))
        batch.create_index("ix_forward_receiver", ["receiver", "state", "due_at"], unique=False)


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("forward") as batch:
        batch.drop_index("ix_forward_receiver")
        batch.drop_column("receiver")
