"""Contacts: checks of an id that is missing, the id that was given up, responses about something else

Only new columns with defaults, so the version before works on with the new tables. That version gave up an id after one
check, and such a contact waited for a person where the contact list cannot be read. These contacts get their ids back.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TOLD, TOLD_AFTER = "VirtualText does not know ", " any more; "
"""How the version before wrote an id that it gave up into the history."""
FROZEN = sa.text("""
    SELECT contact.id, contact.account, contact_event.detail FROM contact
    JOIN contact_event ON contact_event.id = (
        SELECT MAX(id) FROM contact_event
        WHERE contact_event.contact_id = contact.id AND contact_event.kind = 'virtualtext_id_lost'
    )
    WHERE contact.push_state = 'unknown' AND contact.last_error = 'its VirtualText id is gone'
    AND contact.virtualtext_id IS NULL
""")
BOUND = sa.text("SELECT 1 FROM contact WHERE account = :account AND virtualtext_id = :found")
RESTORE = sa.text("""
    UPDATE contact SET virtualtext_id = :found, push_state = 'due', next_attempt_at = CURRENT_TIMESTAMP, last_error = ''
    WHERE id = :contact
""")


def upgrade() -> None:
    """Apply."""
    for name in ("missing_checks", "wrong_answers"):
        op.add_column("contact", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("contact", sa.Column("missing_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("contact", sa.Column("former_id", sa.String(), nullable=True))
    op.add_column("contact", sa.Column("followed_hash", sa.LargeBinary(), nullable=True))
    _restore_ids()


def _restore_ids() -> None:
    connection = op.get_bind()
    for contact, account, detail in connection.execute(FROZEN).all():
        found = detail.removeprefix(TOLD).partition(TOLD_AFTER)[0]
        values = {"account": account, "found": found}
        if detail.startswith(TOLD) and found and connection.execute(BOUND, values).first() is None:
            connection.execute(RESTORE, {"contact": contact, "found": found})


def downgrade() -> None:
    """Take back."""
    for name in ("followed_hash", "former_id", "missing_at", "wrong_answers", "missing_checks"):
        op.drop_column("contact", name)
