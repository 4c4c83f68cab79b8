"""Translate the outcome of a request into the next state of its message. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from worker.core.backoff import Backoff
from worker.core.states import MessageState
from worker.messages.states import Ground
from worker.messages.transitions import reason_text
from worker.virtualtext.outcomes import Cause, Outcome, Receipt, Status, outcome_text

RETRIES = Backoff(first=30.0, longest=1800.0)
SEND_ATTEMPTS = 10
RECORD_ATTEMPTS = 50  # about a day: a record is never late enough to be dropped sooner
RECORD_UNKNOWN_ATTEMPTS = 5  # each of them may leave one more copy in the conversation


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The next state of a message. ``due_at``: the time of the next attempt, for ``queued``.

    ``opted_out``: VirtualText refuses this number. What the outcome means for the account is decided elsewhere
    (``worker.limits.account_effect``).
    """

    state: MessageState
    ground: Ground
    reason: str
    due_at: datetime | None = None
    opted_out: bool = False
    virtualtext_message_id: str | None = None
    reference_code: str = ""

    @property
    def definite(self) -> bool:
        """True when it is certain that the text was sent, or that it was not."""
        return self.ground is not Ground.LOST


def send_result(
    outcome: Outcome[Receipt],
    *,
    message_id: str,
    attempt: int,
    expires_at: datetime | None,
    now: datetime,
    jitter: float,
) -> AttemptResult:
    """Return the result of a send. It is tried again only if it was provably not sent."""
    if outcome.status is Status.UNKNOWN:
        return _unknown(
            outcome, f"it may or may not have been sent ({outcome_text(outcome)}); {resolve_advice(message_id)}"
        )
    if outcome.cause is Cause.UNREACHABLE:
        due_at = now + RETRIES.wait(attempt, jitter)
        if expires_at is not None and due_at >= expires_at:
            return _unreachable(outcome, "before it expired")
        if attempt % SEND_ATTEMPTS == 0:  # attempts only count up; after `vtsync retry` it gets ten more
            return _unreachable(outcome, f"in {SEND_ATTEMPTS} attempts")
        return _again(outcome, due_at)
    return _common(outcome, now)


def record_result(outcome: Outcome[Receipt], *, attempt: int, now: datetime, jitter: float) -> AttemptResult:
    """Return the result of a record. It texts nobody, so it is also tried again a few times after a lost response."""
    if outcome.status is Status.UNKNOWN:
        if attempt % RECORD_UNKNOWN_ATTEMPTS == 0:
            return _unknown(
                outcome,
                f"it may or may not be in the conversation ({outcome_text(outcome)},"
                f" {RECORD_UNKNOWN_ATTEMPTS} attempts); look at the conversation in VirtualText",
            )
        again = _again(outcome, now + RETRIES.wait(attempt, jitter))
        return replace(again, ground=Ground.LOST)
    if outcome.cause is Cause.UNREACHABLE:
        if attempt % RECORD_ATTEMPTS == 0:
            return _unreachable(outcome, f"in {RECORD_ATTEMPTS} attempts")
        return _again(outcome, now + RETRIES.wait(attempt, jitter))
    result = _common(outcome, now)
    if result.state is MessageState.SUPPRESSED:  # a record is not suppressed: its text was sent elsewhere
        return replace(_rejected(outcome), opted_out=True)
    return result


def _unknown(outcome: Outcome[Receipt], explanation: str) -> AttemptResult:
    return AttemptResult(
        MessageState.UNKNOWN,
        Ground.LOST,
        reason_text(_code(outcome), explanation),
        reference_code=outcome.reference_code,
    )


def _common(outcome: Outcome[Receipt], now: datetime) -> AttemptResult:
    if outcome.status is Status.DONE:
        message_id = outcome.value.message_id if outcome.value is not None else ""
        return AttemptResult(MessageState.ACCEPTED, Ground.ANSWER, "", virtualtext_message_id=message_id or None)
    match outcome.cause:
        case Cause.CREDENTIALS:
            return _stopped(outcome, f"VirtualText refused the credential ({outcome_text(outcome)})", now)
        case Cause.REDIRECTED:
            return _stopped(outcome, f"VirtualText is not at the configured URL ({outcome_text(outcome)})", now)
        case Cause.RATE_LIMITED:
            return _stopped(outcome, f"VirtualText asked to wait ({outcome_text(outcome)})", now)
        case Cause.TEST_MODE:
            return AttemptResult(MessageState.SIMULATED, Ground.NOT_SENT, simulated_reason(now, outcome.detail))
        case Cause.OPTED_OUT:
            explanation = f"VirtualText says that this number has opted out ({outcome_text(outcome)})"
            return AttemptResult(
                MessageState.SUPPRESSED,
                Ground.ANSWER,
                reason_text("opted_out", explanation),
                opted_out=True,
                reference_code=outcome.reference_code,
            )
        case _:
            return _rejected(outcome)


def _again(outcome: Outcome[Receipt], due_at: datetime) -> AttemptResult:
    return AttemptResult(
        MessageState.QUEUED,
        Ground.NOT_SENT,
        reason_text(_code(outcome), f"not done ({outcome_text(outcome)}); tried again at {due_at:%H:%M:%S} UTC"),
        due_at=due_at,
        reference_code=outcome.reference_code,
    )


def _stopped(outcome: Outcome[Receipt], why: str, now: datetime) -> AttemptResult:
    """Return the result where the account itself stops or pauses: that decides when the message goes."""
    return AttemptResult(
        MessageState.QUEUED,
        Ground.NOT_SENT,
        reason_text(_code(outcome), f"waits until the account may be called again: {why}"),
        due_at=now,
        reference_code=outcome.reference_code,
    )


def _rejected(outcome: Outcome[Receipt]) -> AttemptResult:
    explanation = (
        f"VirtualText refused it ({outcome_text(outcome)}); correct the cause and run `vtsync retry`, or leave it"
    )
    return AttemptResult(
        MessageState.REJECTED,
        Ground.ANSWER,
        reason_text(_code(outcome), explanation),
        reference_code=outcome.reference_code,
    )


def _unreachable(outcome: Outcome[Receipt], how_long: str) -> AttemptResult:
    explanation = f"could not reach VirtualText {how_long} ({outcome_text(outcome)}); `vtsync retry` tries again"
    return AttemptResult(MessageState.REJECTED, Ground.NOT_SENT, reason_text(_code(outcome), explanation))


def _code(outcome: Outcome[Receipt]) -> str:
    return str(outcome.cause) if outcome.cause is not None else "unclear"


def simulated_reason(now: datetime, why: str) -> str:
    """Return the reason of a message that would have been requested now."""
    return reason_text("test", f"it would have gone at {now:%Y-%m-%d %H:%M:%S} UTC; nothing was sent: {why}")


def vanished_reason(message_id: str, attempted_at: datetime | None) -> str:
    """Return the reason of a send whose worker vanished, with what a person can do.

    ``attempted_at`` is None only in a row that something else has changed; it must not stop the others.
    """
    when = "at an unknown time" if attempted_at is None else f"at {attempted_at:%H:%M:%S} UTC"
    return reason_text(
        "vanished",
        f"the worker that began to send this {when} vanished; it may or may not have been sent;"
        f" {resolve_advice(message_id)}",
    )


def resolve_advice(message_id: str) -> str:
    """Return how a person resolves an unknown send."""
    return (
        f"look at the conversation in VirtualText, then run `vtsync resolve {message_id} --sent`"
        f" or `vtsync resolve {message_id} --resend` (or `--drop`)"
    )
