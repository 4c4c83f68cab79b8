"""Reviews know their account, and each beginning and end of a review has a proof

The version before opens and ends reviews without either. Reviews that are open now get the proof of their beginning.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("number_review", sa.Column("account", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "review_event",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_review_event_phone", "review_event", ["phone", "id"], unique=False)
    op.execute(
        "INSERT INTO review_event (phone, at, opened, detail, actor)"
        " SELECT phone, since, TRUE, excerpt, 'relay' FROM number_review ORDER BY since, phone"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("review_event")
    op.drop_column("number_review", "account")
