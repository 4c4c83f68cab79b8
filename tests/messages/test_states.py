from __future__ import annotations

from collections import Counter

import pytest

from worker.core.states import MessageKind, MessageState
from worker.messages.states import (
    EDGES,
    INITIAL,
    TERMINAL,
    Edge,
    Ground,
    IllegalMove,
    check_initial,
    kinds_that_may,
)

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
    assert kinds_that_may(S.DISPATCHING, S.QUEUED, Ground.LOST) == {RECORD}


def test_what_has_happened_elsewhere_is_never_held_back() -> None:
    assert reachable(RECORD).isdisjoint({S.HELD, S.SUPPRESSED, S.EXPIRED})


def test_terminal_states_are_left_only_by_a_persons_retry() -> None:
    assert {S.DELIVERED, S.FAILED, S.REJECTED, S.SUPPRESSED, S.EXPIRED, S.CANCELLED, S.SIMULATED} == TERMINAL
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
def test_exactly_what_is_in_the_table_may_be(before: MessageState, after: MessageState) -> None:
    edges = [edge for edge in EDGES if (edge.before, edge.after) == (before, after)]
    for ground in Ground:
        kinds = {kind for edge in edges if ground in edge.grounds for kind in edge.kinds}
        if kinds:
            assert kinds_that_may(before, after, ground) == kinds
        else:
            with pytest.raises(IllegalMove, match=f"from {before} to {after}"):
                kinds_that_may(before, after, ground)


def test_an_illegal_move_says_what_would_be_legal() -> None:
    with pytest.raises(IllegalMove) as caught:
        kinds_that_may(S.UNKNOWN, S.QUEUED, Ground.LOST)
    assert "a message cannot go from unknown to queued on the ground of lost" in str(caught.value)
    assert "it can go to: accepted (answer), cancelled (person), confirmed (echo, person)" in str(caught.value)
    with pytest.raises(IllegalMove, match="it can go to: nowhere"):
        kinds_that_may(S.EXPIRED, S.QUEUED, Ground.PERSON)


@pytest.mark.parametrize("kind", list(MessageKind))
@pytest.mark.parametrize("state", list(MessageState))
def test_a_new_message_starts_only_where_its_kind_may(kind: MessageKind, state: MessageState) -> None:
    if state in INITIAL[kind]:
        check_initial(kind, state)
    else:
        with pytest.raises(IllegalMove, match=f"a new {kind} cannot start as {state}"):
            check_initial(kind, state)


def test_states_read_from_the_database_as_plain_text_are_understood() -> None:
    assert kinds_that_may(MessageState("queued"), "dispatching", Ground.ATTEMPT)  # type: ignore[arg-type]
