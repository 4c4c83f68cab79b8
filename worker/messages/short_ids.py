"""Ids of messages and batches as people type them: the end of a message's id, the beginning of a batch's.

Ids of messages that were made at the same time begin alike; their last characters are random. A batch's id is random
throughout.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, String, literal_column, select

from worker.store.models import ID_END
from worker.store.sql import any_of
from worker.store.tables import message

SHORTEST, WHOLE = 8, 32
MOST_CANDIDATES = 10
_SHORT = re.compile(f"[0-9a-f]{{{SHORTEST},{WHOLE - 1}}}")
_END: ColumnElement[str] = literal_column(ID_END, String)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message, or the texts of a batch, that a short id can mean. Of a batch, its first text is described."""

    id: str
    is_batch: bool
    to_number: str
    state: str
    created_at: datetime


def short_ids(connection: Connection, ids: Collection[str]) -> Mapping[str, str]:
    """Return the shortest end of each message's id that no other message has, of at least 8 characters."""
    sharing: defaultdict[str, list[str]] = defaultdict(list)
    ends = sorted({one[-SHORTEST:] for one in ids})
    for other in connection.scalars(select(message.c.id).where(any_of(connection, _END, ends))):
        sharing[other[-SHORTEST:]].append(other)
    return {one: _shortest_end(one, sharing[one[-SHORTEST:]]) for one in ids}


def _shortest_end(one: str, sharing: Collection[str]) -> str:
    if len(one) != WHOLE:
        return one
    lengths = range(SHORTEST, WHOLE)
    others = [other for other in sharing if other != one]
    return next((one[-n:] for n in lengths if not any(other.endswith(one[-n:]) for other in others)), one)


def candidates(connection: Connection, typed: str, *, batches: bool) -> list[Candidate]:
    """Return what a short id can mean, oldest first; none if ``typed`` has not the form of one. At most ten."""
    typed = typed.lower()
    if _SHORT.fullmatch(typed) is None:
        return []
    m = message.c
    columns = (m.to_number, m.state, m.created_at)
    same_end = any_of(connection, _END, [typed[-SHORTEST:]])
    ending = select(m.id, *columns).where(same_end, m.id.endswith(typed)).order_by(m.id).limit(MOST_CANDIDATES)
    found = [Candidate(row[0], False, *row[1:]) for row in connection.execute(ending)]
    further = m.batch_id >= typed
    while batches and len(found) < MOST_CANDIDATES:  # one step over the index for each batch, however many texts it has
        this = connection.scalar(select(m.batch_id).where(further).order_by(m.batch_id).limit(1))
        if this is None or not this.startswith(typed):
            break
        first = select(m.batch_id, *columns).where(m.batch_id == this).limit(1)
        found += [Candidate(row[0], True, *row[1:]) for row in connection.execute(first)]
        further = m.batch_id > this
    return found
