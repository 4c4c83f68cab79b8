"""CRM records that were merged into another: what waits for them goes on with the survivor."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select, update

from worker.core.states import MessageState
from worker.store.tables import contact_mapping, message

LONGEST_CHAIN = 20
"""Merges of merged records are followed this far, in case a CRM's merges form a circle."""


def survivor_of(db: Connection, connection: str, external_id: str) -> str:
    """Return the record that a merged record lives on in; the record itself if it was not merged."""
    m = contact_mapping.c
    for _ in range(LONGEST_CHAIN):
        merged_into = select(m.merged_into).where(m.connection == connection, m.external_id == external_id)
        survivor = db.scalar(merged_into.where(m.deleted_at.is_not(None)))
        if survivor is None:
            break
        external_id = survivor
    return external_id


def move_texts(db: Connection, connection: str, merged: Mapping[str, str]) -> None:
    """Let the texts that wait for merged records be about the survivors. The policy decides about them as always.

    Call it when the merges are stored: a survivor may have been merged, too. Date triggers need no move: the survivor
    has its own plans, for the dates that it has now.
    """
    waiting = message.c.state.in_((MessageState.HELD, MessageState.QUEUED))
    for loser in merged:
        survivor = survivor_of(db, connection, loser)
        about = (message.c.connection == connection, message.c.external_id == loser)
        db.execute(update(message).where(*about, waiting).values(external_id=survivor))
