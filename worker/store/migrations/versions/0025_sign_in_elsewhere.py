"""Users who sign in at an OpenID provider or a proxy, and the sign-ins that were begun there

New columns without a value, and a new table: the version before does not know them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from worker.store.models import UTCDateTime

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("web_user", sa.Column("issuer", sa.String(255)))
    op.add_column("web_user", sa.Column("subject", sa.String(255)))
    op.create_index("uq_web_user_subject", "web_user", ["issuer", "subject"], unique=True)
    op.create_table(
        "web_sign_in",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
    )
    op.create_index("ix_web_sign_in_expires_at", "web_sign_in", ["expires_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("web_sign_in")
    op.drop_index("uq_web_user_subject", "web_user")
    op.drop_column("web_user", "subject")
    op.drop_column("web_user", "issuer")
