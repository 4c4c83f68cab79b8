"""Translates a response of VirtualText into its effect on the account, for every kind of request. Pure.

``worker.limits.account_gate.apply_effect`` stores the effect.

==========================================  ================================================================
the response                                the account
==========================================  ================================================================
credentials refused, redirected             stops: only probes are made until one succeeds
rate limited                                pauses as long as it says, at most ``LONGEST_PAUSE``; its rate is lowered
unreachable                                 pauses for a moment
5xx, or no complete response                the breaker opens if this was the probe, or after repeated failures
served: done, rejected, opted out           if this was the probe, the account works again
unreadable                                  nothing
==========================================  ================================================================

Two responses have no effect on the account: a 408 on the contact list (the list is too large), and a 404 (the contact's
id is gone, or the URL is wrong). What refuses only the list is decided with a second call, see
``worker.contacts.list_answer``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from worker.core.text import duration
from worker.virtualtext.outcomes import Cause, Outcome, outcome_text

RequestKind: TypeAlias = Literal["create", "update", "text", "list"]

RATE_LIMITED_PAUSE_SECONDS = 30.0
"""For a 429 that does not say how long to wait."""
SHORTEST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=15)
"""A 429 may ask for a day, by mistake or for one kind of request. After this long, one request finds out."""
UNREACHABLE_PAUSE_SECONDS = 10.0
HALTING_CAUSES = frozenset({Cause.CREDENTIALS, Cause.REDIRECTED, Cause.RATE_LIMITED, Cause.UNREACHABLE})
"""After these the account may not be called for a while, so no further request is begun."""


@dataclass(frozen=True, slots=True)
class AccountEffect:
    """The effect on an account. All texts are for people and hold no secrets."""

    stop: str = ""
    """Why the account stops; empty: it does not."""
    pause: timedelta | None = None
    pause_reason: str = ""
    probe_after: bool = False
    """The pause is shorter than VirtualText asked for, so only one request follows it."""
    lowers_rate: bool = False
    opens_breaker: str = ""
    """How VirtualText failed; empty: the breaker stays as it is."""
    works_again: bool = False
    """The probe was served: the stop and the breaker end."""


NO_EFFECT = AccountEffect()


def counts_as_failure(outcome: Outcome[Any], kind: RequestKind) -> bool | None:
    """Return what the failure counter counts: True for a failure, False for a success, None for neither.

    The list counts as neither: if only the list fails, texts and contacts must continue. A gateway error on an update
    counts as neither, since VirtualText responds to a contact id that is gone in the same way.
    """
    if kind == "list" or (kind == "update" and outcome.cause is Cause.GATEWAY):
        return None
    if outcome.failed:
        return True
    return False if _served(outcome) else None


def account_effect(
    outcome: Outcome[Any], kind: RequestKind, *, probe: bool = False, opens_breaker: bool = False
) -> AccountEffect:
    """Translate the outcome of a request into its effect on the account.

    ``probe``: the request was the one that finds out if the account works again. ``opens_breaker``: the failure
    counter reached its limit.
    """
    match outcome.cause:
        case Cause.CREDENTIALS:
            return AccountEffect(stop=f"VirtualText refused the credentials ({outcome_text(outcome)})")
        case Cause.REDIRECTED:
            return AccountEffect(stop=f"VirtualText is not at the configured URL ({outcome_text(outcome)})")
        case Cause.RATE_LIMITED:
            return _asked_to_wait(outcome)
        case Cause.UNREACHABLE:
            reason = f"VirtualText could not be reached ({outcome_text(outcome)})"
            return AccountEffect(pause=timedelta(seconds=UNREACHABLE_PAUSE_SECONDS), pause_reason=reason)
    if outcome.failed:
        fails = (probe or opens_breaker) and not _list_is_too_large(outcome, kind)
        return AccountEffect(opens_breaker=outcome_text(outcome)) if fails else NO_EFFECT
    return AccountEffect(works_again=True) if probe and _served(outcome) else NO_EFFECT


def _asked_to_wait(outcome: Outcome[Any]) -> AccountEffect:
    """Pause as long as a 429 asks for, within reason."""
    asked = timedelta(seconds=RATE_LIMITED_PAUSE_SECONDS if outcome.retry_after is None else outcome.retry_after)
    pause = min(max(asked, SHORTEST_PAUSE), LONGEST_PAUSE)
    wish = limit = ""
    if asked > pause:
        wish = " for a day or longer" if asked >= timedelta(days=1) else f" for {duration(asked)}"
        limit = f"; after {duration(pause)}, one request finds out if it accepts requests again"
    return AccountEffect(
        pause=pause,
        pause_reason=f"VirtualText asked to wait{wish} ({outcome_text(outcome)}){limit}",
        probe_after=asked > pause,
        lowers_rate=True,
    )


def combined(effects: Iterable[AccountEffect]) -> AccountEffect:
    """Combine the effects of several responses: a stop overrides all others; otherwise the longest pause counts."""
    told = [effect for effect in effects if effect is not NO_EFFECT]
    if stop := next((effect for effect in told if effect.stop), None):
        return stop
    longest = max((effect for effect in told if effect.pause is not None), key=_pause, default=NO_EFFECT)
    return AccountEffect(
        pause=longest.pause,
        pause_reason=longest.pause_reason,
        probe_after=longest.probe_after,
        lowers_rate=any(effect.lowers_rate for effect in told),
        opens_breaker=next((effect.opens_breaker for effect in reversed(told) if effect.opens_breaker), ""),
        works_again=any(effect.works_again for effect in told),
    )


def _pause(effect: AccountEffect) -> timedelta:
    return effect.pause or timedelta(0)


def _served(outcome: Outcome[Any]) -> bool:
    """Return True if the platform accepted the credentials and responded to the request itself."""
    if outcome.http_status == HTTPStatus.NOT_FOUND:
        return False
    return outcome.done or outcome.cause in (Cause.REJECTED, Cause.OPTED_OUT)


def _list_is_too_large(outcome: Outcome[Any], kind: RequestKind) -> bool:
    return kind == "list" and outcome.http_status == HTTPStatus.REQUEST_TIMEOUT
