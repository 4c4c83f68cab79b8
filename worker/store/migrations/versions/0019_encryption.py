"""The key of encrypted hashes, and the phone numbers of stored events

Content may be encrypted, so events are found by their numbers in a column of its own. The version before writes events
without it; those are read one by one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.store.models import UTCDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "store_key",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("rewritten_to", sa.String(40), nullable=True),
        sa.Column("rewritten_at", UTCDateTime(), nullable=True),
    )
    op.add_column("inbox_event", sa.Column("numbers", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("inbox_event", "numbers")
    op.drop_table("store_key")
