"""Decides which of several identical texts a Relay event ("echo") reports. Pure.

The platform has no idempotency key, so texts with the same numbers and content cannot be told apart. An echo is proof
of one text that went out, and each text that is known to have gone out has an echo of its own. So an echo belongs first
to a text that VirtualText accepted and that has no echo yet. Only a surplus echo settles a text whose outcome is
unknown. The platform may report a text in two formats, seconds apart, one of them without an id. The second report is
no surplus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal, TypeAlias

from worker.core.states import MessageState

SECOND_FORMAT: Final = timedelta(minutes=10)
"""How far apart the two formats of one echo may arrive."""

_S = MessageState
_WENT_OUT = frozenset({_S.ACCEPTED, _S.CONFIRMED, _S.DELIVERED, _S.FAILED})
_MAY_HAVE_GONE_OUT = frozenset({_S.UNKNOWN, _S.DISPATCHING})
"""So may a queued text with an unanswered attempt."""


class EchoPending(Enum):
    """``UNDECIDED``: the response to an identical text that is being sent now decides whose echo it is."""

    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class EchoCandidate:
    """A text of ours that an echo may report, because numbers and content are the same.

    ``remote_id`` is VirtualText's id ("" if it is not known). ``echoed_at`` is when its first echo was received.
    ``unanswered``: an attempt at it may have been carried out, although the response was lost. ``repeated``: that was
    not its last attempt, so it may have more than one echo.
    """

    id: str
    state: MessageState
    remote_id: str = ""
    echoed_at: datetime | None = None
    unanswered: bool = False
    repeated: bool = False


EchoChoice: TypeAlias = EchoCandidate | Literal[EchoPending.UNDECIDED] | None


def choose_text(candidates: Sequence[EchoCandidate], echo_id: str, seen_at: datetime) -> EchoChoice:
    """Return the text that the echo reports; None if it is none of them.

    ``candidates`` are in the order of their requests. ``echo_id`` is "" if the echo has no id, and ``seen_at`` is when
    it was received. In doubt an unknown text stays unknown, because a person can still decide about it.
    """
    for one in candidates:
        if echo_id and one.remote_id == echo_id:
            return one
    reported = _reported_in_the_other_format(candidates, echo_id, seen_at)
    if reported is not None and not echo_id:
        return reported
    # A text with another id is reported by that id.
    waiting = [one for one in candidates if one.echoed_at is None and not (echo_id and one.remote_id)]
    in_flight = any(one.state is _S.DISPATCHING for one in waiting)
    if in_flight and (reported or len(waiting) > 1):
        return EchoPending.UNDECIDED  # its response may name this id, or prove that it went out
    if reported is not None:
        return reported
    went_out = [one for one in waiting if one.state in _WENT_OUT]
    reported_twice = [one for one in candidates if one.repeated and one.echoed_at is not None]
    may_have = [one for one in waiting if one.state in _MAY_HAVE_GONE_OUT or one.unanswered]
    return next(iter(went_out or reported_twice or may_have), None)


def _reported_in_the_other_format(
    candidates: Sequence[EchoCandidate], echo_id: str, seen_at: datetime
) -> EchoCandidate | None:
    """Return the text that was reported a moment ago in the other format: one of the two reports has no id."""
    recent = [one for one in candidates if one.echoed_at and abs(seen_at - one.echoed_at) <= SECOND_FORMAT]
    return next((one for one in recent if not (echo_id and one.remote_id)), None)
