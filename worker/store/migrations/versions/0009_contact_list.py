"""Accounts whose contact list cannot be read, and how their contacts were linked

All columns may be null or have defaults, so the version before works on beside it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


TEXTS = {"list_error": sa.Text(), "linked_how": sa.String(), "linked_by": sa.String(length=80)}


def upgrade() -> None:
    """Apply."""
    op.add_column("account_state", sa.Column("list_failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("account_state", sa.Column("linked_at", sa.DateTime(timezone=True), nullable=True))
    for name, kind in TEXTS.items():
        op.add_column("account_state", sa.Column(name, kind, nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    for name in (*reversed(TEXTS), "linked_at", "list_failures"):
        op.drop_column("account_state", name)
