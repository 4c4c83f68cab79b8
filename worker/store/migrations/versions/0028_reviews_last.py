"""Reviews know when a further reply was noted, so that a person decides about all that was written

Where another account got such a reply during an open review, the review belongs to no account alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.store.models import UTCDateTime

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("number_review", sa.Column("last_at", UTCDateTime(), nullable=True))
    op.execute(
        "UPDATE number_review SET account = '' WHERE EXISTS (SELECT 1 FROM inbound_message AS i"
        " WHERE i.from_number = number_review.phone AND i.keyword = 'review'"
        " AND i.received_at >= number_review.since AND i.account <> number_review.account)"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("number_review", "last_at")
