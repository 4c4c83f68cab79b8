"""What each outcome means for a message: the one table that decides whether a text is ever tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.states import MessageState
from worker.messages.results import RETRIES, record_result, send_result
from worker.virtualtext.outcomes import Cause, Outcome, Receipt, Status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOMORROW = NOW + timedelta(days=1)
ID = "0" * 32

NOT_DONE = (
    Cause.REJECTED,
    Cause.CREDENTIALS,
    Cause.OPTED_OUT,
    Cause.RATE_LIMITED,
    Cause.UNREACHABLE,
    Cause.REDIRECTED,
)
UNKNOWN = tuple(cause for cause in Cause if cause not in NOT_DONE)


def not_done(cause: Cause, **more: object) -> Outcome[Receipt]:
    return Outcome(Status.NOT_DONE, cause=cause, **{"detail": "as it said", **more})  # type: ignore[arg-type]


def send(outcome: Outcome[Receipt], attempt: int = 1, expires_at: datetime | None = TOMORROW):
    return send_result(outcome, message_id=ID, attempt=attempt, expires_at=expires_at, now=NOW, jitter=0.0)


def record(outcome: Outcome[Receipt], attempt: int = 1):
    return record_result(outcome, attempt=attempt, now=NOW, jitter=0.0)


@pytest.mark.parametrize(
    ("cause", "sent", "recorded"),
    [
        (Cause.REJECTED, MessageState.REJECTED, MessageState.REJECTED),
        (Cause.CREDENTIALS, MessageState.QUEUED, MessageState.QUEUED),
        (Cause.OPTED_OUT, MessageState.SUPPRESSED, MessageState.REJECTED),
        (Cause.RATE_LIMITED, MessageState.QUEUED, MessageState.QUEUED),
        (Cause.UNREACHABLE, MessageState.QUEUED, MessageState.QUEUED),
        (Cause.REDIRECTED, MessageState.QUEUED, MessageState.QUEUED),
    ],
)
def test_provably_not_done(cause: Cause, sent: MessageState, recorded: MessageState) -> None:
    for result, state in ((send(not_done(cause)), sent), (record(not_done(cause)), recorded)):
        assert result.state is state
        assert result.reason.startswith(f"{cause}: ")
        assert "as it said" in result.reason
        assert result.opted_out is (cause is Cause.OPTED_OUT)


@pytest.mark.parametrize("cause", UNKNOWN)
def test_a_lost_answer_to_a_send_is_never_repeated_and_to_a_record_is(cause: Cause) -> None:
    lost: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=cause, detail="no answer", reference_code="ref-1")
    unknown = send(lost)
    assert unknown.state is MessageState.UNKNOWN
    assert unknown.due_at is None
    assert f"vtsync resolve {ID} --resend" in unknown.reason
    assert unknown.reference_code == "ref-1"
    again = record(lost)
    assert (again.state, again.due_at) == (MessageState.QUEUED, NOW + timedelta(seconds=30))
    assert record(lost, attempt=5).state is MessageState.UNKNOWN


def test_done() -> None:
    for result in (send(Outcome(Status.DONE, Receipt("m1"))), record(Outcome(Status.DONE, Receipt("m1")))):
        assert (result.state, result.virtualtext_message_id) == (MessageState.ACCEPTED, "m1")
    assert send(Outcome(Status.DONE, Receipt())).virtualtext_message_id is None


def test_a_rate_limited_text_is_due_and_waits_for_its_account() -> None:
    result = send(not_done(Cause.RATE_LIMITED, retry_after=120.0))
    assert result.due_at == NOW
    assert "VirtualText asked to wait" in result.reason


def test_a_rejection_keeps_the_platforms_words_and_its_reference() -> None:
    result = send(not_done(Cause.REJECTED, detail="Missing parameter 'to'", http_status=400, reference_code="ref-7"))
    assert "Missing parameter 'to', HTTP 400, reference ref-7" in result.reason
    assert result.reference_code == "ref-7"


@pytest.mark.parametrize(
    ("attempt", "expires_at", "state", "words"),
    [
        (1, TOMORROW, MessageState.QUEUED, "tried again at 12:00:30 UTC"),
        (9, TOMORROW, MessageState.QUEUED, "tried again at 12:30:00 UTC"),
        (10, TOMORROW, MessageState.REJECTED, "could not reach VirtualText in 10 attempts"),
        (11, TOMORROW, MessageState.QUEUED, "tried again"),  # after a person's retry
        (1, NOW + timedelta(seconds=30), MessageState.REJECTED, "could not reach VirtualText before it expired"),
        (1, None, MessageState.QUEUED, "tried again"),
    ],
)
def test_unreachable_is_bounded(attempt: int, expires_at: datetime | None, state: MessageState, words: str) -> None:
    result = send(not_done(Cause.UNREACHABLE), attempt, expires_at)
    assert result.state is state
    assert words in result.reason


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_grows_to_half_an_hour_and_jitter_takes_off_at_most_half(attempt: int, jitter: float) -> None:
    wait = RETRIES.wait(attempt, jitter)
    assert timedelta(seconds=15) <= wait <= timedelta(minutes=30)
    assert RETRIES.wait(attempt) <= RETRIES.wait(attempt + 1) <= 2 * RETRIES.wait(attempt)


@given(
    st.sampled_from(Cause),
    st.sampled_from([Status.NOT_DONE, Status.UNKNOWN]),
    st.integers(1, 60),
    st.none() | st.floats(0, 1e6),
)
def test_whatever_happens_only_what_was_not_sent_is_queued_again(
    cause: Cause, status: Status, attempt: int, retry_after: float | None
) -> None:
    result = send(Outcome(status, cause=cause, retry_after=retry_after), attempt)
    if status is Status.UNKNOWN:
        assert result.state is MessageState.UNKNOWN
    if result.state is MessageState.QUEUED:
        assert status is Status.NOT_DONE
        assert result.due_at is not None
