"""Messages are found by the end of their id, which is its short form

An index only: the version before does not know it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_message_id_end", "message", [sa.text("substr(id, 25)")])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_message_id_end", "message")
