"""Send jobs have metadata and a callback URL

The version before writes messages and deliveries without them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("message", sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("message", sa.Column("callback_url", sa.Text(), nullable=True))
    op.add_column("forward", sa.Column("url", sa.Text(), nullable=True))
    op.create_table(
        "message_metadata",
        sa.Column("message_id", sa.String(), sa.ForeignKey("message.id", ondelete="CASCADE"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "key"),
    )
    op.create_index("ix_message_metadata_entry", "message_metadata", ["key", "value", "message_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("message_metadata")
    op.drop_column("forward", "url")
    op.drop_column("message", "callback_url")
    op.drop_column("message", "metadata")
