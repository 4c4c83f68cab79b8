"""Matches outgoing Relay events ("echoes") with the texts that we sent or recorded.

``echo_choice`` decides which of several identical texts an echo reports.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, Row, or_, select, update

from worker.core.states import MessageState
from worker.inbox.echo_choice import EchoCandidate, EchoPending, choose_text
from worker.inbox.relay_shapes import RelayReceipt, RelayText
from worker.messages.states import Ground
from worker.messages.transitions import move, reason_text
from worker.store.tables import message

WINDOW = timedelta(hours=6)
"""How long after its request the echo of a text may arrive."""
CLOCK_SKEW = timedelta(minutes=2)
"""How much the clocks of two of our machines may differ."""

_S = MessageState
_MATCHED = (_S.UNKNOWN, _S.DISPATCHING, _S.ACCEPTED, _S.QUEUED, _S.CONFIRMED, _S.DELIVERED, _S.FAILED)
_CONFIRMS = (_S.UNKNOWN, _S.DISPATCHING, _S.ACCEPTED, _S.QUEUED)


def match_echo(
    connection: Connection, account: str, echo: RelayText, seen_at: datetime, now: datetime
) -> str | Literal[EchoPending.UNDECIDED] | None:
    """Confirm our text that this echo reports. Return its id; None if it is not our text.

    UNDECIDED: nothing was done, because the response to an identical text must arrive first.
    """
    if echo.message_id and (known := _by_remote_id(connection, account, echo.message_id)) is not None:
        _confirm(connection, known, echo, seen_at, now)
        return str(known.id)
    rows = {row.id: row for row in _candidates(connection, account, echo, seen_at) if _same_content(row, echo)}
    chosen = choose_text([_candidate(row) for row in rows.values()], echo.message_id, seen_at)
    if not isinstance(chosen, EchoCandidate):
        return chosen
    _confirm(connection, rows[chosen.id], echo, seen_at, now)
    return chosen.id


def apply_receipt(connection: Connection, account: str, receipt: RelayReceipt, now: datetime) -> str | None:
    """Store the state of a text that was sent. Return our message's id; None if no text of ours has that id (yet)."""
    known = _by_remote_id(connection, account, receipt.message_id)
    if known is None:
        return None
    before = MessageState(known.state)
    after = {"delivered": _S.DELIVERED, "failed": _S.FAILED, "taken": _S.CONFIRMED}[receipt.status]
    allowed = (_S.ACCEPTED, _S.CONFIRMED) if receipt.status != "taken" else (_S.ACCEPTED,)
    if known.kind == "send" and before in allowed:
        report = f'VirtualText reports it as "{receipt.detail[:40]}"'
        reason = reason_text("failed", report) if after is _S.FAILED else ""
        move(
            connection,
            before,
            after,
            message.c.id == known.id,
            ground=Ground.ECHO,
            reason=reason,
            actor="relay",
            now=now,
        )
    return str(known.id)


def is_same_text(one: str, other: str) -> bool:
    """Return whether two texts are the same, apart from how the platform stores characters and spaces."""
    return _normal(one) == _normal(other)


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def _by_remote_id(connection: Connection, account: str, remote_id: str) -> Row[Any] | None:
    mine = select(message).where(message.c.account == account, message.c.virtualtext_message_id == remote_id)
    return connection.execute(mine.order_by(message.c.id).limit(1).with_for_update()).first()


def _candidates(connection: Connection, account: str, echo: RelayText, seen_at: datetime) -> list[Row[Any]]:
    m = message.c
    first, last = seen_at - WINDOW, seen_at + CLOCK_SKEW
    found = (
        select(message)
        .where(
            m.account == account,
            m.to_number == echo.to_number,
            m.from_number == echo.from_number,
            m.state.in_(_MATCHED),
            or_(m.attempted_at.between(first, last), m.unanswered_at.between(first, last)),
        )
        .order_by(m.attempted_at, m.id)
        .with_for_update()
    )
    return list(connection.execute(found))


def _candidate(row: Row[Any]) -> EchoCandidate:
    return EchoCandidate(
        id=row.id,
        state=MessageState(row.state),
        remote_id=row.virtualtext_message_id or "",
        echoed_at=row.echoed_at,
        unanswered=row.unanswered_at is not None,
        repeated=row.unanswered_at is not None and row.unanswered_at < row.attempted_at,
    )


def _same_content(row: Row[Any], echo: RelayText) -> bool:
    media = orjson.loads(row.media)
    # The platform may serve pictures from addresses of its own; only their number stays the same.
    return is_same_text(row.text, echo.text) and len(media) == len(echo.media)


def _confirm(connection: Connection, row: Row[Any], echo: RelayText, seen_at: datetime, now: datetime) -> None:
    learned: dict[str, Any] = {}
    if echo.message_id and not row.virtualtext_message_id:
        learned["virtualtext_message_id"] = echo.message_id
    if row.echoed_at is None:
        learned["echoed_at"] = seen_at
    mine, before = message.c.id == row.id, MessageState(row.state)
    if before in _CONFIRMS:
        reason = "" if before is _S.ACCEPTED else reason_text("echo", "VirtualText shows it in the conversation")
        move(
            connection, before, _S.CONFIRMED, mine, ground=Ground.ECHO, reason=reason, actor="relay", now=now, **learned
        )
    elif learned:
        connection.execute(update(message).where(mine).values(**learned))
