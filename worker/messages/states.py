"""The state machine of a message: every move that is allowed, and what must be so for it. Everything else is refused.

    queued -> dispatching -> accepted -> confirmed -> delivered | failed
       |           |-> rejected | suppressed          (a definite answer)
       |           |-> queued                         (provably not sent)
       |           '-> unknown -> confirmed | queued | cancelled  (an echo settles it, or a person)
       '-> held -> queued;  queued, held -> suppressed | expired | cancelled

A send that may have gone out never goes back to ``queued`` by itself. A record texts nobody, so it is tried again,
a bounded number of times, although a lost answer may have stored it: the price is one more copy in the conversation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker.core.states import MessageKind, MessageState


class Ground(StrEnum):
    """What must be so for a move to be made."""

    POLICY = "policy"
    """``worker.policy.decide`` decided it, or the end of a sync run did."""
    ATTEMPT = "attempt"
    """A worker with a valid lease is about to make the request."""
    ANSWER = "answer"
    """VirtualText gave a definite answer to this very attempt."""
    NOT_SENT = "not_sent"
    """Provably nothing was sent by this very attempt: never connected, 429, the account was refused."""
    LOST = "lost"
    """The answer was lost, or the worker that made the request vanished."""
    ECHO = "echo"
    """VirtualText reported the text itself, or a receipt for it."""
    PERSON = "person"
    """Somebody decided it; the event names them."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One allowed move, for messages of ``kinds``, on any of ``grounds``."""

    before: MessageState
    after: MessageState
    grounds: frozenset[Ground]
    kinds: frozenset[MessageKind]


class IllegalMove(ValueError):
    """A move that is not in the table: a defect of the caller, never of the message."""


_SEND = frozenset({MessageKind.SEND})
_RECORD = frozenset({MessageKind.RECORD})
_BOTH = _SEND | _RECORD


def _edge(before: MessageState, after: MessageState, *grounds: Ground, kinds: frozenset[MessageKind] = _BOTH) -> Edge:
    return Edge(before, after, frozenset(grounds), kinds)


_S, _G = MessageState, Ground

INITIAL: dict[MessageKind, frozenset[MessageState]] = {
    MessageKind.SEND: frozenset({_S.QUEUED, _S.HELD, _S.SUPPRESSED, _S.EXPIRED}),
    MessageKind.RECORD: frozenset({_S.QUEUED}),
}
"""Where a new message starts. A record is never held or suppressed: what it tells of has happened."""

EDGES: tuple[Edge, ...] = (
    # The policy is asked when a text is due and again at each release; its words are the reason.
    _edge(_S.QUEUED, _S.HELD, _G.POLICY, kinds=_SEND),
    _edge(_S.QUEUED, _S.QUEUED, _G.POLICY, kinds=_SEND),  # until a known time: it is due then
    _edge(_S.QUEUED, _S.SUPPRESSED, _G.POLICY, kinds=_SEND),
    _edge(_S.QUEUED, _S.EXPIRED, _G.POLICY, kinds=_SEND),
    # Dropped by a person before anything was started.
    _edge(_S.QUEUED, _S.CANCELLED, _G.PERSON),
    # Committed before the request, with its number and body hash.
    _edge(_S.QUEUED, _S.DISPATCHING, _G.ATTEMPT),
    # A person asked to send an unknown text again (or a record waits for its next attempt), and before that began
    # the first attempt's answer or echo came in after all: it was sent, so the next attempt must not happen.
    _edge(_S.QUEUED, _S.ACCEPTED, _G.ANSWER),
    _edge(_S.QUEUED, _S.CONFIRMED, _G.ECHO),
    # Still held, for another reason: the run that it waited for ended over the limit.
    _edge(_S.HELD, _S.HELD, _G.POLICY, kinds=_SEND),
    # Its run ended within the limit, or a person approved it.
    _edge(_S.HELD, _S.QUEUED, _G.POLICY, _G.PERSON, kinds=_SEND),
    # While it was held: the number opted out, the record was deleted, the time ran out, a person dropped it.
    _edge(_S.HELD, _S.SUPPRESSED, _G.POLICY, kinds=_SEND),
    _edge(_S.HELD, _S.EXPIRED, _G.POLICY, kinds=_SEND),
    _edge(_S.HELD, _S.CANCELLED, _G.PERSON, kinds=_SEND),
    # VirtualText took it.
    _edge(_S.DISPATCHING, _S.ACCEPTED, _G.ANSWER),
    # VirtualText refused it, or could not be reached as often as is reasonable.
    _edge(_S.DISPATCHING, _S.REJECTED, _G.ANSWER, _G.NOT_SENT),
    # 451: the recipient has opted out.
    _edge(_S.DISPATCHING, _S.SUPPRESSED, _G.ANSWER, kinds=_SEND),
    # Provably not sent: it waits for its next attempt.
    _edge(_S.DISPATCHING, _S.QUEUED, _G.NOT_SENT),
    # A record's lost answer is tried again, a few times: it texts nobody.
    _edge(_S.DISPATCHING, _S.QUEUED, _G.LOST, kinds=_RECORD),
    # It may have been sent. For a record: its attempts with lost answers are used up.
    _edge(_S.DISPATCHING, _S.UNKNOWN, _G.LOST),
    # The echo overtook the answer.
    _edge(_S.DISPATCHING, _S.CONFIRMED, _G.ECHO),
    # An echo matched it, or a person found it in the conversation.
    _edge(_S.UNKNOWN, _S.CONFIRMED, _G.ECHO, _G.PERSON),
    # A person asked to send it again; or the answer of a worker that was given up for lost came late and proves that
    # nothing was sent.
    _edge(_S.UNKNOWN, _S.QUEUED, _G.PERSON, _G.NOT_SENT),
    # A person did not find it in the conversation, and does not want it any more.
    _edge(_S.UNKNOWN, _S.CANCELLED, _G.PERSON),
    # The same late answer, with another content.
    _edge(_S.UNKNOWN, _S.ACCEPTED, _G.ANSWER),
    _edge(_S.UNKNOWN, _S.REJECTED, _G.ANSWER, _G.NOT_SENT),
    _edge(_S.UNKNOWN, _S.SUPPRESSED, _G.ANSWER, kinds=_SEND),
    # The echo attaches the message id; receipts may come in any order after it, or without it.
    _edge(_S.ACCEPTED, _S.CONFIRMED, _G.ECHO),
    _edge(_S.ACCEPTED, _S.DELIVERED, _G.ECHO, kinds=_SEND),
    _edge(_S.ACCEPTED, _S.FAILED, _G.ECHO, kinds=_SEND),
    _edge(_S.CONFIRMED, _S.DELIVERED, _G.ECHO, kinds=_SEND),
    _edge(_S.CONFIRMED, _S.FAILED, _G.ECHO, kinds=_SEND),
    # A person saw the reason, put it right and wants it sent.
    _edge(_S.REJECTED, _S.QUEUED, _G.PERSON),
    _edge(_S.FAILED, _S.QUEUED, _G.PERSON, kinds=_SEND),
)

TERMINAL: frozenset[MessageState] = frozenset(
    state for state in _S if all(edge.grounds == {_G.PERSON} for edge in EDGES if edge.before is state)
)
"""States in which nothing more happens by itself; at most a person's retry leaves them."""


def allowed(
    before: MessageState,
    after: MessageState,
    *,
    kind: MessageKind | None = None,
    ground: Ground | None = None,
) -> bool:
    """Whether the table has this move; for any kind and on any ground unless they are given."""
    return any(
        edge.before == before
        and edge.after == after
        and (kind is None or kind in edge.kinds)
        and (ground is None or ground in edge.grounds)
        for edge in EDGES
    )


def check(
    before: MessageState,
    after: MessageState,
    *,
    kind: MessageKind | None = None,
    ground: Ground | None = None,
) -> None:
    """Raise IllegalMove unless ``allowed``."""
    if not allowed(before, after, kind=kind, ground=ground):
        exits = sorted({str(edge.after) for edge in EDGES if edge.before == before})
        where = ", ".join(exits) or "nowhere"
        what = "message" if kind is None else str(kind)
        on = "" if ground is None else f" on the ground of {ground}"
        raise IllegalMove(f"a {what} cannot go from {before} to {after}{on}; from {before} it can go to: {where}")
