"""Indexes of only the rows that are looked for: live records, contacts that VirtualText knows"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")
KNOWN = sa.text("virtualtext_id IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_mapping_live", "contact_mapping", ["connection", "id"], sqlite_where=LIVE, postgresql_where=LIVE
    )
    op.drop_index("ix_mapping_connection_id", "contact_mapping")
    op.drop_index("ix_contact_virtualtext_id", "contact")
    op.create_index(
        "ix_contact_virtualtext_id",
        "contact",
        ["account", "virtualtext_id"],
        sqlite_where=KNOWN,
        postgresql_where=KNOWN,
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_contact_virtualtext_id", "contact")
    op.create_index("ix_contact_virtualtext_id", "contact", ["account", "virtualtext_id"])
    op.create_index("ix_mapping_connection_id", "contact_mapping", ["connection", "id"])
    op.drop_index("ix_mapping_live", "contact_mapping")
