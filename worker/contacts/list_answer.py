"""What the response to the contact list means. Pure.

The list is an optimisation. It may be refused, too large or broken while everything else works, so it must never keep
an account from working, and must never be mistaken for an outage.

==========================================  ================================================================
the response to the list                    meaning
==========================================  ================================================================
a list                                      read
408                                         unavailable: it is too large, says the platform
unreachable                                 an outage; the list is asked for again
401, 403, "must be admin", redirected       refused. If a call by id is refused, too, the account stops; else failed
anything else: 404, 429, 5xx, cut, no JSON  failed. After ``LIST_TRIES`` in a row, and if a call by id works (or was not
                                            allowed: 429), unavailable
==========================================  ================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from worker.limits.account_effect import NO_EFFECT, AccountEffect, account_effect
from worker.limits.account_proof import AccountProof
from worker.virtualtext.outcomes import Cause, Outcome

LIST_TRIES = 3
"""After this many failures in a row the list counts as unavailable."""
LIST_RETRY_AFTER = timedelta(seconds=30)
"""The least time between two tries, so the tries take a minute or a little longer."""


class ListAnswer(StrEnum):
    """The kinds of response."""

    READ = "read"
    TOO_LARGE = "too large"
    OUTAGE = "outage"
    REFUSED = "refused"
    FAILED = "failed"


def list_answer(outcome: Outcome[Any]) -> ListAnswer:
    """Return the kind of a response."""
    if outcome.done and outcome.value is not None:
        return ListAnswer.READ
    if outcome.http_status == HTTPStatus.REQUEST_TIMEOUT:
        return ListAnswer.TOO_LARGE
    match outcome.cause:
        case Cause.UNREACHABLE:
            return ListAnswer.OUTAGE
        case Cause.CREDENTIALS | Cause.REDIRECTED:
            return ListAnswer.REFUSED
    return ListAnswer.FAILED


def needs_proof(outcome: Outcome[Any], failures: int, *, probe: bool) -> bool:
    """Return True if a call by id must show whether the response is about the account or about the list alone.

    ``failures`` counts this one, too. ``probe``: the request was to find out if the account works again.
    """
    answer = list_answer(outcome)
    if answer is ListAnswer.REFUSED:
        return True
    # After a 429, no call is allowed; whatever is called later is told so itself.
    return answer is ListAnswer.FAILED and outcome.cause is not Cause.RATE_LIMITED and (probe or failures >= LIST_TRIES)


@dataclass(frozen=True, slots=True)
class ListVerdict:
    """``unavailable``: work without the list. ``failed``: count it. ``effect`` is the effect on the account."""

    unavailable: bool
    failed: bool
    effect: AccountEffect


def judge_list(outcome: Outcome[Any], failures: int, *, proof: AccountProof | None, probe: bool) -> ListVerdict:
    """Judge a response, with what ``needs_proof`` asked for.

    ``failures`` counts this one, too. ``proof``: what a call by id showed; None: none was made.
    """
    answer = list_answer(outcome)
    own = account_effect(outcome, "list", probe=probe)
    if answer in (ListAnswer.READ, ListAnswer.TOO_LARGE):
        return ListVerdict(answer is ListAnswer.TOO_LARGE, False, own)
    refused = answer is ListAnswer.REFUSED
    if answer is ListAnswer.OUTAGE or (refused and (proof is None or proof.refused)):
        return ListVerdict(False, False, own)
    if proof is not None and proof.works:
        effect = AccountEffect(works_again=True) if probe else NO_EFFECT
        return ListVerdict(failures >= LIST_TRIES, True, effect)
    # A proof that was lost, as by a timeout, does not make a refused list a refused account.
    effect = account_effect(proof.outcome, "update", probe=probe) if refused and proof is not None else own
    return ListVerdict(failures >= LIST_TRIES and outcome.cause is Cause.RATE_LIMITED, True, effect)
