"""Translate the outcome of a request into the next state of its message. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.core.backoff import Backoff
from worker.core.states import MessageState
from worker.messages.states import Ground
from worker.messages.transitions import reason_text
from worker.virtualtext.outcomes import Cause, Outcome, Receipt, Status

DEFAULT_RATE_LIMIT_SECONDS = 30.0
RETRIES = Backoff(first=30.0, longest=1800.0)
SEND_ATTEMPTS = 10
RECORD_ATTEMPTS = 50  # about a day: a record is never late enough to be dropped sooner
RECORD_UNKNOWN_ATTEMPTS = 5  # each of them may leave one more copy in the conversation


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The next state of a message, and what the outcome says about its account and its number.

    ``due_at``: the time of the next attempt, for ``queued``. ``stop``: why the account must be stopped.
    ``pause_until``: VirtualText asked the account to wait. ``opted_out``: VirtualText refuses this number.
    ``proves_access``: the credential was accepted, because the answer is about the message itself. ``failed``:
    VirtualText did not serve the request. ``outcome``: what it answered, for a person.
    """

    state: MessageState
    ground: Ground
    reason: str
    due_at: datetime | None = None
    stop: str = ""
    pause_until: datetime | None = None
    opted_out: bool = False
    proves_access: bool = False
    failed: bool = False
    outcome: str = ""
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
        return _unknown(outcome, f"it may or may not have been sent ({_said(outcome)}); {resolve_advice(message_id)}")
    if outcome.cause is Cause.UNREACHABLE:
        due_at = now + RETRIES.wait(attempt, jitter)
        if expires_at is not None and due_at >= expires_at:
            return _unreachable(outcome, "before it expired")
        if attempt % SEND_ATTEMPTS == 0:  # attempts only count up; after `vtsync retry` it gets ten more
            return _unreachable(outcome, f"in {SEND_ATTEMPTS} attempts")
        return _again(outcome, due_at)
    return _common(outcome, now)


def record_result(outcome: Outcome[Receipt], *, attempt: int, now: datetime, jitter: float) -> AttemptResult:
    """Return the result of a record. It texts nobody, so it is also tried again a few times after a lost answer."""
    if outcome.status is Status.UNKNOWN:
        if attempt % RECORD_UNKNOWN_ATTEMPTS == 0:
            return _unknown(
                outcome,
                f"it may or may not be in the conversation ({_said(outcome)}, {RECORD_UNKNOWN_ATTEMPTS} attempts);"
                " look at the conversation in VirtualText",
            )
        again = _again(outcome, now + RETRIES.wait(attempt, jitter))
        return replace(again, ground=Ground.LOST, failed=outcome.failed, outcome=_said(outcome))
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
        failed=outcome.failed,
        outcome=_said(outcome),
    )


def _common(outcome: Outcome[Receipt], now: datetime) -> AttemptResult:
    if outcome.status is Status.DONE:
        message_id = outcome.value.message_id if outcome.value is not None else ""
        return AttemptResult(
            MessageState.ACCEPTED, Ground.ANSWER, "", proves_access=True, virtualtext_message_id=message_id or None
        )
    match outcome.cause:
        case Cause.CREDENTIALS:
            return _stopped(outcome, f"VirtualText refused the credential ({_said(outcome)})", now)
        case Cause.REDIRECTED:
            return _stopped(outcome, f"VirtualText is not at the configured URL ({_said(outcome)})", now)
        case Cause.RATE_LIMITED:
            seconds = DEFAULT_RATE_LIMIT_SECONDS if outcome.retry_after is None else outcome.retry_after
            until = now + timedelta(seconds=max(seconds, 0))
            return _again(outcome, until, pause_until=until)
        case Cause.OPTED_OUT:
            explanation = f"VirtualText says that this number has opted out ({_said(outcome)})"
            return AttemptResult(
                MessageState.SUPPRESSED,
                Ground.ANSWER,
                reason_text("opted_out", explanation),
                opted_out=True,
                proves_access=True,
                reference_code=outcome.reference_code,
            )
        case _:
            return _rejected(outcome)


def _again(outcome: Outcome[Receipt], due_at: datetime, pause_until: datetime | None = None) -> AttemptResult:
    return AttemptResult(
        MessageState.QUEUED,
        Ground.NOT_SENT,
        reason_text(_code(outcome), f"not done ({_said(outcome)}); tried again at {due_at:%H:%M:%S} UTC"),
        due_at=due_at,
        pause_until=pause_until,
        reference_code=outcome.reference_code,
    )


def _stopped(outcome: Outcome[Receipt], why: str, now: datetime) -> AttemptResult:
    return AttemptResult(
        MessageState.QUEUED,
        Ground.NOT_SENT,
        reason_text(_code(outcome), f"waits until the account works again: {why}"),
        due_at=now,
        stop=why,
        reference_code=outcome.reference_code,
    )


def _rejected(outcome: Outcome[Receipt]) -> AttemptResult:
    explanation = f"VirtualText refused it ({_said(outcome)}); correct the cause and run `vtsync retry`, or leave it"
    return AttemptResult(
        MessageState.REJECTED,
        Ground.ANSWER,
        reason_text(_code(outcome), explanation),
        proves_access=True,
        reference_code=outcome.reference_code,
    )


def _unreachable(outcome: Outcome[Receipt], how_long: str) -> AttemptResult:
    explanation = f"could not reach VirtualText {how_long} ({_said(outcome)}); `vtsync retry` tries again"
    return AttemptResult(MessageState.REJECTED, Ground.NOT_SENT, reason_text(_code(outcome), explanation))


def _code(outcome: Outcome[Receipt]) -> str:
    return str(outcome.cause) if outcome.cause is not None else "unclear"


def _said(outcome: Outcome[Receipt]) -> str:
    """Return VirtualText's own message, the HTTP status and the code that its support asks for."""
    parts = [outcome.detail or _code(outcome)]
    if outcome.http_status is not None and str(outcome.http_status) not in outcome.detail:
        parts.append(f"HTTP {outcome.http_status}")
    if outcome.reference_code and outcome.reference_code not in outcome.detail:
        parts.append(f"reference {outcome.reference_code}")
    return ", ".join(parts)


def vanished_reason(message_id: str, attempted_at: datetime) -> str:
    """Return the reason of a send whose worker vanished, with what a person can do."""
    return reason_text(
        "vanished",
        f"the worker that began to send this at {attempted_at:%H:%M:%S} UTC vanished; it may or may not have been"
        f" sent; {resolve_advice(message_id)}",
    )


def resolve_advice(message_id: str) -> str:
    """Return how a person resolves an unknown send."""
    return (
        f"look at the conversation in VirtualText, then run `vtsync resolve {message_id} --sent`"
        f" or `vtsync resolve {message_id} --resend` (or `--drop`)"
    )
