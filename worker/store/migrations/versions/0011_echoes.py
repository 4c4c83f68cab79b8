"""Messages: when a response was lost, and when the Relay reported the text

Columns that may be null, so the version before works on with them. What is unknown had no response at its last attempt.
A record that waits for another attempt may have been stored by an earlier one, unless its reason proves the opposite.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ECHOED = sa.text("echoed_at IS NOT NULL")
UNANSWERED = """
    UPDATE message SET unanswered_at = attempted_at
    WHERE state = 'unknown'
    OR (state = 'queued' AND attempted_at IS NOT NULL AND EXISTS (
        SELECT 1 FROM message_event
        WHERE message_event.message_id = message.id AND message_event.to_state = 'unknown'))
    OR (state = 'queued' AND kind = 'record' AND attempted_at IS NOT NULL
        AND reason NOT LIKE 'unreachable:%' AND reason NOT LIKE 'rate_limited:%'
        AND reason NOT LIKE 'credentials:%' AND reason NOT LIKE 'redirected:%')
"""


def upgrade() -> None:
    """Apply."""
    op.add_column("message", sa.Column("unanswered_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("message", sa.Column("echoed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(UNANSWERED)
    op.create_index(
        "ix_message_echoed",
        "message",
        ["account", "kind", "echoed_at"],
        sqlite_where=ECHOED,
        postgresql_where=ECHOED,
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_message_echoed", "message")
    op.drop_column("message", "echoed_at")
    op.drop_column("message", "unanswered_at")
