"""The texts that were really sent, in the order of time: a replay counts them for caps and duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import func, select

from worker.core.states import MessageKind
from worker.messages.states import MAY_HAVE_GONE_OUT
from worker.policy.decide import CAP_WINDOW, PolicyFacts
from worker.rehearsal.replay import ReplayedText
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.ids import first_id_at
from worker.store.tables import message

PORTION = 5000
LONGEST_WAIT = timedelta(days=30)
"""A text that was made longer ago than this before the time in question is not looked for."""
_NO_FACTS = PolicyFacts(kind=MessageKind.SEND, expires_at=None, opted_out=None)


class SentTexts:
    """The texts that were sent since a day before ``since``, except those of ``without_trigger``."""

    def __init__(self, runtime: Runtime, since: datetime, without_trigger: str) -> None:
        self._rows = _read(runtime, since - CAP_WINDOW, without_trigger)
        self._next = next(self._rows, None)

    def until(self, moment: datetime) -> Iterator[tuple[ReplayedText, datetime]]:
        """Yield the next texts up to ``moment``, each with the time at which it was sent."""
        while self._next is not None and self._next[1] <= moment:
            yield self._next
            self._next = next(self._rows, None)


def content_of(message_id: str, text: str, media: str) -> int:
    """Return a hash of what a message says. A text whose content was pruned equals no other."""
    return hash((text, media) if text or media != "[]" else message_id)


def _read(runtime: Runtime, since: datetime, without_trigger: str) -> Iterator[tuple[ReplayedText, datetime]]:
    m = message.c
    sent = (
        m.kind == MessageKind.SEND,
        m.account.in_(list(runtime.settings.accounts)),
        m.id >= first_id_at(since - LONGEST_WAIT),
        m.state.in_(MAY_HAVE_GONE_OUT),
        func.coalesce(m.trigger, "") != without_trigger,
    )
    columns = (m.id, m.account, m.to_number, m.text, m.media, m.attempted_at)
    last: tuple[datetime, str] = (since, "")
    while True:
        later = (m.attempted_at > last[0]) | ((m.attempted_at == last[0]) & (m.id > last[1]))
        with reading(runtime.engine) as db:
            rows = db.execute(select(*columns).where(*sent, later).order_by(m.attempted_at, m.id).limit(PORTION)).all()
        for row in rows:
            content = content_of(row.id, row.text, row.media)
            text = ReplayedText(row.id, row.account, row.to_number, content, row.attempted_at, _NO_FACTS)
            yield text, row.attempted_at
        if len(rows) < PORTION:
            return
        last = rows[-1].attempted_at, rows[-1].id
