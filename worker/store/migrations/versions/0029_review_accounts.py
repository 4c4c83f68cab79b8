"""The proof of each reply under review names the account to which it was written

So people of several accounts may decide about a review whose replies were written to these accounts only.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("review_event", sa.Column("account", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    op.drop_column("review_event", "account")
