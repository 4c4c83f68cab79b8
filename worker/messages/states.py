"""The state machine of a message: every allowed move, for which kinds of message and on what grounds.

    queued -> dispatching -> accepted -> confirmed -> delivered | failed
       |           |-> rejected | suppressed          (a definite response)
       |           |-> queued                         (provably not sent)
       |           '-> unknown -> confirmed | queued | cancelled  (resolved by an echo or a person)
       |-> suppressed | expired | cancelled | simulated
       '-> held -> queued | expired | cancelled

``worker.messages.transitions`` makes the moves and enforces this table. A send that may have gone out never goes back
to ``queued`` by itself. A record texts nobody, so it is tried again a limited number of times, even though the request
without a response may have stored it. First it waits for its echo, where the Relay reports records (``echo_wait``).
Elsewhere the conversation may have one more copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.core.states import MessageKind, MessageState

MAY_HAVE_GONE_OUT = (
    MessageState.DISPATCHING,
    MessageState.ACCEPTED,
    MessageState.CONFIRMED,
    MessageState.DELIVERED,
    MessageState.UNKNOWN,
    MessageState.FAILED,
)
"""The states of a text that somebody may have received."""


MEANINGS: Mapping[MessageState, str] = {
    MessageState.QUEUED: "It goes when it is due and the policy allows it. The reason says what it waits for: its time,"
    " the end of quiet hours, a cap.",
    MessageState.HELD: "It waits for a person or an event: an approval, a review, a time zone. The reason names the"
    " command.",
    MessageState.DISPATCHING: "The request is on its way. This state is committed before the request, so that a crash"
    " never loses it.",
    MessageState.ACCEPTED: "VirtualText accepted it.",
    MessageState.CONFIRMED: "VirtualText reported the text itself (its echo), so it is in the conversation.",
    MessageState.DELIVERED: "The carrier delivered it to the phone.",
    MessageState.FAILED: "The carrier could not deliver it. The reason has the carrier's words.",
    MessageState.REJECTED: "VirtualText refused it, or could not be reached in all attempts. Nothing was sent.",
    MessageState.UNKNOWN: "The response was lost: it may have been sent. It is never sent again by itself.",
    MessageState.SUPPRESSED: "It will not be sent: an opt-out, another number, a condition that no longer holds. The"
    " reason says which rule.",
    MessageState.EXPIRED: "It was not sent in time. Late texts are not sent.",
    MessageState.CANCELLED: "A person cancelled it.",
    MessageState.SIMULATED: "It would have gone, and did not: the account is in test mode, or it was made with a test"
    " key.",
}
"""What each state means, for the pages and docs/message-states.md."""


class Ground(StrEnum):
    """The grounds on which a message may be moved."""

    POLICY = "policy"
    """``worker.policy.decide`` decided it, or what the message waited for has ended and the policy decides again."""
    ATTEMPT = "attempt"
    """A worker with a valid lease is about to make the request."""
    ANSWER = "answer"
    """VirtualText gave a definite response to this very attempt."""
    NOT_SENT = "not_sent"
    """This very attempt provably sent nothing: no connection, 429, or the account was refused."""
    LOST = "lost"
    """The response was lost, or the worker that made the request vanished."""
    ECHO = "echo"
    """VirtualText reported the text itself, or a receipt for it."""
    TEST = "test"
    """Everything allows the request, but the account is in test mode, or the message was made with a test key."""
    PERSON = "person"
    """A person decided it; the event names them."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One allowed move, for messages of ``kinds``, on any of ``grounds``."""

    before: MessageState
    after: MessageState
    grounds: frozenset[Ground]
    kinds: frozenset[MessageKind]


class IllegalMove(ValueError):
    """A move that is not in the table. A defect of the caller, never of the message."""


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
"""The states in which a new message may start. A record is never held or suppressed: its text has been sent already."""

EDGES: tuple[Edge, ...] = (
    # The policy decides when a text is due, and again at each release; its reason is kept. A person holds everything
    # after the store was restored from a backup.
    _edge(_S.QUEUED, _S.HELD, _G.POLICY, _G.PERSON, kinds=_SEND),
    _edge(_S.QUEUED, _S.QUEUED, _G.POLICY, kinds=_SEND),  # held until a known time: it is due then
    _edge(_S.QUEUED, _S.SUPPRESSED, _G.POLICY, kinds=_SEND),
    _edge(_S.QUEUED, _S.EXPIRED, _G.POLICY, kinds=_SEND),
    # The response to a record was lost, and VirtualText may still report it: it waits for that before it is repeated.
    _edge(_S.QUEUED, _S.QUEUED, _G.LOST, kinds=_RECORD),
    # Cancelled by a person before anything was started.
    _edge(_S.QUEUED, _S.CANCELLED, _G.PERSON),
    # Committed before the request, with its number and body hash.
    _edge(_S.QUEUED, _S.DISPATCHING, _G.ATTEMPT),
    # Its request would begin now, and is not made. An earlier attempt, made before the account was in test mode, may
    # have been carried out: then nobody knows, and an echo or a person resolves it.
    _edge(_S.QUEUED, _S.SIMULATED, _G.TEST),
    _edge(_S.QUEUED, _S.UNKNOWN, _G.TEST),
    _edge(_S.DISPATCHING, _S.SIMULATED, _G.NOT_SENT),  # the client, as the last check, refused to make the request
    # A person asked to send an unknown text again (or a record waits for its next attempt), and then the response or
    # echo of the first attempt arrived after all. It was sent, so the next attempt must not happen.
    _edge(_S.QUEUED, _S.ACCEPTED, _G.ANSWER),
    _edge(_S.QUEUED, _S.CONFIRMED, _G.ECHO),
    # Still held, for another reason: its run ended over the limit, or the store was restored from a backup.
    _edge(_S.HELD, _S.HELD, _G.POLICY, _G.PERSON, kinds=_SEND),
    # Its run ended within the limit, its review ended, or a person approved it.
    _edge(_S.HELD, _S.QUEUED, _G.POLICY, _G.PERSON, kinds=_SEND),
    # It expired or was cancelled while it was held.
    _edge(_S.HELD, _S.EXPIRED, _G.POLICY, kinds=_SEND),
    _edge(_S.HELD, _S.CANCELLED, _G.PERSON, kinds=_SEND),
    # VirtualText accepted it.
    _edge(_S.DISPATCHING, _S.ACCEPTED, _G.ANSWER),
    # VirtualText refused it, or could not be reached after all attempts.
    _edge(_S.DISPATCHING, _S.REJECTED, _G.ANSWER, _G.NOT_SENT),
    # 451: the recipient has opted out.
    _edge(_S.DISPATCHING, _S.SUPPRESSED, _G.ANSWER, kinds=_SEND),
    # Provably not sent: it waits for its next attempt.
    _edge(_S.DISPATCHING, _S.QUEUED, _G.NOT_SENT),
    # The response to a record was lost. It texts nobody, so it is tried again a few times.
    _edge(_S.DISPATCHING, _S.QUEUED, _G.LOST, kinds=_RECORD),
    # It may have been sent. For a record: all its attempts ended with a lost response.
    _edge(_S.DISPATCHING, _S.UNKNOWN, _G.LOST),
    # The echo arrived before the response.
    _edge(_S.DISPATCHING, _S.CONFIRMED, _G.ECHO),
    # An echo matched it, or a person found it in the conversation.
    _edge(_S.UNKNOWN, _S.CONFIRMED, _G.ECHO, _G.PERSON),
    # A person asked to send it again, or a late response to the attempt proves that nothing was sent.
    _edge(_S.UNKNOWN, _S.QUEUED, _G.PERSON, _G.NOT_SENT),
    # A person did not find it in the conversation and no longer wants it.
    _edge(_S.UNKNOWN, _S.CANCELLED, _G.PERSON),
    # A late response to the attempt, with another content.
    _edge(_S.UNKNOWN, _S.ACCEPTED, _G.ANSWER),
    _edge(_S.UNKNOWN, _S.REJECTED, _G.ANSWER, _G.NOT_SENT),
    _edge(_S.UNKNOWN, _S.SUPPRESSED, _G.ANSWER, kinds=_SEND),
    # The echo brings the message id. Receipts may come in any order after it, or without it.
    _edge(_S.ACCEPTED, _S.CONFIRMED, _G.ECHO),
    _edge(_S.ACCEPTED, _S.DELIVERED, _G.ECHO, kinds=_SEND),
    _edge(_S.ACCEPTED, _S.FAILED, _G.ECHO, kinds=_SEND),
    _edge(_S.CONFIRMED, _S.DELIVERED, _G.ECHO, kinds=_SEND),
    _edge(_S.CONFIRMED, _S.FAILED, _G.ECHO, kinds=_SEND),
    # A person corrected the cause and wants it sent.
    _edge(_S.REJECTED, _S.QUEUED, _G.PERSON),
    _edge(_S.FAILED, _S.QUEUED, _G.PERSON, kinds=_SEND),
)

TERMINAL: frozenset[MessageState] = frozenset(
    state for state in _S if all(edge.grounds == {_G.PERSON} for edge in EDGES if edge.before is state)
)
"""The states that a message leaves only when a person retries it, if at all."""

_KINDS: dict[tuple[MessageState, MessageState, Ground], frozenset[MessageKind]] = {
    (before, after, ground): frozenset[MessageKind]().union(
        *(edge.kinds for edge in EDGES if (edge.before, edge.after) == (before, after) and ground in edge.grounds)
    )
    for before, after in {(edge.before, edge.after) for edge in EDGES}
    for ground in Ground
}


def kinds_that_may(before: MessageState, after: MessageState, ground: Ground) -> frozenset[MessageKind]:
    """Return the kinds of message that may make this move on ``ground``. Raises IllegalMove if none may."""
    kinds = _KINDS.get((before, after, ground))
    if not kinds:
        raise IllegalMove(
            f"a message cannot go from {before} to {after} on the ground of {ground};"
            f" from {before} it can go to: {_exits(before)}"
        )
    return kinds


def check_initial(kind: MessageKind, state: MessageState) -> None:
    """Raise IllegalMove unless a new message of this kind may start in ``state``."""
    if state not in INITIAL[kind]:
        starts = ", ".join(sorted(INITIAL[kind]))
        raise IllegalMove(f"a new {kind} cannot start as {state}; it can start as: {starts}")


def _exits(before: MessageState) -> str:
    exits = {f"{edge.after} ({', '.join(sorted(edge.grounds))})" for edge in EDGES if edge.before == before}
    return ", ".join(sorted(exits)) or "nowhere"
