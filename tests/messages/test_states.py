from __future__ import annotations

from collections import Counter

import pytest

from worker.core.states import MessageKind, MessageState
from worker.messages.states import EDGES, INITIAL, TERMINAL, Edge, Ground, IllegalMove, allowed, check

SEND, RECORD = MessageKind.SEND, MessageKind.RECORD
S = MessageState
MAY_HAVE_GONE_OUT = {S.DISPATCHING, S.UNKNOWN, S.ACCEPTED, S.CONFIRMED, S.DELIVERED}


def edges(kind: MessageKind) -> list[Edge]:
    return [edge for edge in EDGES if kind in edge.kinds]


def reachable(kind: MessageKind, without: frozenset[Ground] = frozenset()) -> set[MessageState]:
    """States that a message of this kind can be in, when no move is made on one of the grounds ``without``."""
    found = set(INITIAL[kind])
    while True:
        more = {edge.after for edge in edges(kind) if edge.before in found and edge.grounds - without} - found
        if not more:
            return found
        found |= more


def test_a_send_that_may_have_gone_out_is_queued_again_only_on_proof_or_by_a_person() -> None:
    back = [edge for edge in edges(SEND) if edge.before in MAY_HAVE_GONE_OUT and edge.after in {S.QUEUED, S.HELD}]
    assert {(edge.before, edge.after) for edge in back} == {(S.DISPATCHING, S.QUEUED), (S.UNKNOWN, S.QUEUED)}
    for edge in back:
        assert edge.grounds <= {Ground.NOT_SENT, Ground.PERSON}


def test_a_request_is_only_ever_begun_from_queued() -> None:
    assert {edge.before for edge in EDGES if edge.after is S.DISPATCHING} == {S.QUEUED}


def test_a_lost_answer_makes_a_send_unknown_and_nothing_else() -> None:
    assert {(e.before, e.after) for e in edges(SEND) if Ground.LOST in e.grounds} == {(S.DISPATCHING, S.UNKNOWN)}


def test_a_records_lost_answer_may_be_tried_again_since_it_texts_nobody() -> None:
    assert allowed(S.DISPATCHING, S.QUEUED, kind=RECORD, ground=Ground.LOST)
    assert not allowed(S.DISPATCHING, S.QUEUED, kind=SEND, ground=Ground.LOST)


def test_what_has_happened_elsewhere_is_never_held_back() -> None:
    assert reachable(RECORD).isdisjoint({S.HELD, S.SUPPRESSED, S.EXPIRED})


def test_terminal_states_are_left_only_by_a_persons_retry() -> None:
    assert {S.DELIVERED, S.FAILED, S.REJECTED, S.SUPPRESSED, S.EXPIRED, S.CANCELLED} == TERMINAL
    exits = {(edge.before, edge.after) for edge in EDGES if edge.before in TERMINAL}
    assert exits == {(S.REJECTED, S.QUEUED), (S.FAILED, S.QUEUED)}
    assert all(edge.grounds == {Ground.PERSON} for edge in EDGES if edge.before in TERMINAL)


def test_suppressed_expired_and_cancelled_texts_stay_so() -> None:
    assert not [edge for edge in EDGES if edge.before in {S.SUPPRESSED, S.EXPIRED, S.CANCELLED}]


@pytest.mark.parametrize("kind", list(MessageKind))
def test_every_state_of_a_kind_can_be_reached_and_none_is_a_trap(kind: MessageKind) -> None:
    within = reachable(kind)
    ends = TERMINAL if kind is SEND else TERMINAL | {S.CONFIRMED}  # a record has no receipt to wait for
    assert {edge.before for edge in edges(kind)} <= within
    for state in within - ends:
        assert any(edge.before is state and edge.after is not state for edge in edges(kind)), state


def test_every_state_is_somebodys() -> None:
    assert reachable(SEND) | reachable(RECORD) == set(MessageState)


def test_nothing_is_confirmed_without_an_echo_or_a_person() -> None:
    without = frozenset({Ground.ECHO, Ground.PERSON})
    assert reachable(SEND, without).isdisjoint({S.CONFIRMED, S.DELIVERED, S.FAILED})


def test_a_move_is_written_down_once() -> None:
    moves = Counter((edge.before, edge.after, kind) for edge in EDGES for kind in edge.kinds)
    split = {move for move, times in moves.items() if times > 1}
    assert split == {(S.DISPATCHING, S.QUEUED, RECORD)}  # provably not done, or lost and tried again: two reasons


@pytest.mark.parametrize("before", list(MessageState))
@pytest.mark.parametrize("after", list(MessageState))
def test_check_refuses_exactly_what_is_not_in_the_table(before: MessageState, after: MessageState) -> None:
    if any((edge.before, edge.after) == (before, after) for edge in EDGES):
        check(before, after)
    else:
        with pytest.raises(IllegalMove, match=f"from {before} to {after}"):
            check(before, after)


def test_an_illegal_move_says_what_would_be_legal() -> None:
    with pytest.raises(IllegalMove) as caught:
        check(S.UNKNOWN, S.QUEUED, kind=SEND, ground=Ground.LOST)
    assert "a send cannot go from unknown to queued on the ground of lost" in str(caught.value)
    assert "it can go to: accepted, cancelled, confirmed, queued, rejected, suppressed" in str(caught.value)
    with pytest.raises(IllegalMove, match="it can go to: nowhere"):
        check(S.EXPIRED, S.QUEUED)


def test_states_read_from_the_database_as_plain_text_are_understood() -> None:
    assert allowed(MessageState("queued"), "dispatching")  # type: ignore[arg-type]
