"""What the outcome of a request means for its message. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.core.states import MessageState
from worker.messages.transitions import reason_text
from worker.virtualtext.outcomes import Cause, Outcome, Receipt, Status

DEFAULT_RATE_LIMIT_SECONDS = 30.0
BACKOFF_FIRST_SECONDS = 30.0
BACKOFF_LONGEST_SECONDS = 1800.0
SEND_ATTEMPTS = 10
RECORD_ATTEMPTS = 50  # about a day: a record is never late enough to be dropped sooner
RECORD_UNKNOWN_ATTEMPTS = 5  # each of them may leave one more copy in the conversation


@dataclass(frozen=True, slots=True)
class Result:
    """The next state of a message, and what its outcome says about the account and the number.

    ``due_at``: when to try again, for ``queued``. ``stop``: why the account must be stopped. ``pause_until``:
    the platform asked the account to wait. ``opted_out``: the platform refuses this number. ``proves_access``:
    the credential was good enough for an answer about the message itself. ``failed``: the platform did not serve, in
    ``words``.
    """

    state: MessageState
    reason: str
    due_at: datetime | None = None
    stop: str = ""
    pause_until: datetime | None = None
    opted_out: bool = False
    proves_access: bool = False
    failed: bool = False
    words: str = ""
    virtualtext_message_id: str | None = None
    reference_code: str = ""

    @property
    def definite(self) -> bool:
        """Whether this says for certain that the text was sent, or that it was not."""
        return self.state is not MessageState.UNKNOWN


def backoff(attempt: int, jitter: float) -> timedelta:
    """How long to wait after attempt ``attempt`` (from 1); ``jitter`` (0 to 1) takes off up to half."""
    seconds = min(BACKOFF_FIRST_SECONDS * 2 ** min(attempt - 1, 20), BACKOFF_LONGEST_SECONDS)
    return timedelta(seconds=seconds * (1 - jitter / 2))


def send_result(
    outcome: Outcome[Receipt],
    *,
    message_id: str,
    attempt: int,
    expires_at: datetime | None,
    now: datetime,
    jitter: float,
) -> Result:
    """What becomes of a send. Only what provably was not sent is ever tried again."""
    if outcome.status is Status.UNKNOWN:
        words = f"it may or may not have been sent ({_said(outcome)}); {settle_advice(message_id)}"
        return _unknown(outcome, words)
    if outcome.cause is Cause.UNREACHABLE:
        due_at = now + backoff(attempt, jitter)
        if expires_at is not None and due_at >= expires_at:
            return _unreachable(outcome, "before it expired")
        if attempt % SEND_ATTEMPTS == 0:  # the number only grows; `vtsync retry` gives another ten
            return _unreachable(outcome, f"in {SEND_ATTEMPTS} attempts")
        return _again(outcome, due_at)
    return _common(outcome, now)


def record_result(outcome: Outcome[Receipt], *, attempt: int, now: datetime, jitter: float) -> Result:
    """What becomes of a record. It texts nobody, so a lost answer may be tried again, a few times."""
    if outcome.status is Status.UNKNOWN:
        if attempt % RECORD_UNKNOWN_ATTEMPTS == 0:
            words = (
                f"it may or may not be in the conversation ({_said(outcome)}, {RECORD_UNKNOWN_ATTEMPTS} attempts);"
                " look at the conversation in VirtualText"
            )
            return _unknown(outcome, words)
        return replace(_again(outcome, now + backoff(attempt, jitter)), failed=outcome.failed, words=_said(outcome))
    if outcome.cause is Cause.UNREACHABLE:
        if attempt % RECORD_ATTEMPTS == 0:
            return _unreachable(outcome, f"in {RECORD_ATTEMPTS} attempts")
        return _again(outcome, now + backoff(attempt, jitter))
    result = _common(outcome, now)
    if result.state is MessageState.SUPPRESSED:  # the text itself went out elsewhere: nothing was kept from anybody
        return replace(_rejected(outcome), opted_out=True)
    return result


def _unknown(outcome: Outcome[Receipt], words: str) -> Result:
    reason = reason_text(_code(outcome), words)
    return Result(
        MessageState.UNKNOWN, reason, reference_code=outcome.reference_code, failed=outcome.failed, words=_said(outcome)
    )


def _common(outcome: Outcome[Receipt], now: datetime) -> Result:
    if outcome.status is Status.DONE:
        message_id = outcome.value.message_id if outcome.value is not None else ""
        return Result(MessageState.ACCEPTED, "", proves_access=True, virtualtext_message_id=message_id or None)
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
            words = f"VirtualText says that this number has opted out ({_said(outcome)})"
            return Result(
                MessageState.SUPPRESSED,
                reason_text("opted_out", words),
                opted_out=True,
                proves_access=True,
                reference_code=outcome.reference_code,
            )
        case _:
            return _rejected(outcome)


def _again(outcome: Outcome[Receipt], due_at: datetime, pause_until: datetime | None = None) -> Result:
    words = f"not done ({_said(outcome)}); tried again at {due_at:%H:%M:%S} UTC"
    return Result(
        MessageState.QUEUED,
        reason_text(_code(outcome), words),
        due_at=due_at,
        pause_until=pause_until,
        reference_code=outcome.reference_code,
    )


def _stopped(outcome: Outcome[Receipt], why: str, now: datetime) -> Result:
    words = f"waits until the account works again: {why}"
    return Result(
        MessageState.QUEUED,
        reason_text(_code(outcome), words),
        due_at=now,
        stop=why,
        reference_code=outcome.reference_code,
    )


def _rejected(outcome: Outcome[Receipt]) -> Result:
    words = f"VirtualText refused it ({_said(outcome)}); correct it and run `vtsync retry`, or leave it"
    return Result(
        MessageState.REJECTED,
        reason_text(_code(outcome), words),
        proves_access=True,
        reference_code=outcome.reference_code,
    )


def _unreachable(outcome: Outcome[Receipt], how_long: str) -> Result:
    words = f"could not reach VirtualText {how_long} ({_said(outcome)}); `vtsync retry` tries again"
    return Result(MessageState.REJECTED, reason_text(_code(outcome), words))


def _code(outcome: Outcome[Receipt]) -> str:
    return str(outcome.cause) if outcome.cause is not None else "unclear"


def _said(outcome: Outcome[Receipt]) -> str:
    """The platform's words, the HTTP status and the code that its support asks for."""
    parts = [outcome.detail or _code(outcome)]
    if outcome.http_status is not None and str(outcome.http_status) not in outcome.detail:
        parts.append(f"HTTP {outcome.http_status}")
    if outcome.reference_code and outcome.reference_code not in outcome.detail:
        parts.append(f"reference {outcome.reference_code}")
    return ", ".join(parts)


def vanished_reason(message_id: str, attempted_at: datetime) -> str:
    """What a person should know and do about a send whose worker vanished."""
    return reason_text(
        "vanished",
        f"the worker that began to send this at {attempted_at:%H:%M:%S} UTC vanished; it may or may not have been"
        f" sent; {settle_advice(message_id)}",
    )


def settle_advice(message_id: str) -> str:
    """How a person settles an unknown send."""
    return (
        f"look at the conversation in VirtualText, then `vtsync resolve {message_id} --sent`"
        f" or `vtsync resolve {message_id} --resend` (or `--drop`)"
    )
