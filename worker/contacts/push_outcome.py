"""What an outcome of a push means for its contact. Pure, except for the jitter.

Some responses leave open what VirtualText has. ``open_question`` says which, ``worker.contacts.look_ups`` looks it up,
and ``push_result`` decides:

==================================  ==============================================================================
the response                        the contact
==================================  ==============================================================================
done, the fields as sent            synced
done, other fields                  one more update; if VirtualText keeps its fields, synced with a note
done, but about something else      what a request by its id shows; else a lost create, or an update to repeat
2xx that cannot be read             the same
update: 502 with HTML, 404, 410     the id may be missing: checked again, given up after ``MISSING_CHECKS`` checks
create: no response                 a lost create, see ``worker.contacts.push_rows.confirm_or_retry_creates``
refused                             rejected, until it changes or a person decides
anything else                       repeated later
==================================  ==============================================================================
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

from worker.contacts.answers import (
    RETRY_BY_HAND,
    WRONG_ANSWERS,
    given_name,
    mismatch,
    other_fields,
    wrong_answer_wait,
)
from worker.contacts.merge import wanted_hash
from worker.contacts.push_rows import Push, PushResult
from worker.core.backoff import Backoff
from worker.core.errors import described
from worker.core.states import PushState
from worker.limits.account_effect import HALTING_CAUSES
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact, outcome_text

PUSH_BACKOFF = Backoff(first=2.0, longest=3600.0)
MISSING_CHECKS = 5
"""Where the contact list cannot be read: give an id up after this many checks in a row found it missing.

After twice as many where the list should be readable, but fails or shows nothing.
"""
RECREATE_AFTER = timedelta(hours=1)
ID_LOST = "virtualtext_id_lost"
_MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class OpenQuestion(StrEnum):
    """What a response leaves open."""

    IS_ID_MISSING = "is_id_missing"
    WHAT_IS_THERE = "what_is_there"


@dataclass(frozen=True, slots=True)
class LookUp:
    """What was found out after a response that left a question open."""

    by_id: Outcome[RemoteContact] | None = None
    """The response to a request by the id in question. None: there was no such request."""
    others_work: bool = False
    """Requests by other ids were served, before and after it."""
    listed: bool | None = None
    """Whether VirtualText's list, read afterwards, has the id. None: there is no such list."""
    list_unavailable: bool = False
    """VirtualText cannot return the account's list."""
    id_taken: bool = False
    """Another contact of ours has the id that a create was answered with."""


NO_LOOK_UP = LookUp()


def open_question(push: Push, outcome: Outcome[RemoteContact]) -> OpenQuestion | None:
    """Return what must be looked up by id before ``push_result`` can decide; None: nothing."""
    if push.virtualtext_id is not None and is_missing(outcome):
        return OpenQuestion.IS_ID_MISSING
    return OpenQuestion.WHAT_IS_THERE if _wrong_answer(push, outcome) and id_in_question(push, outcome) else None


def id_in_question(push: Push, outcome: Outcome[RemoteContact]) -> str | None:
    """Return the id to look up: the contact's own, or the one that a create was answered with."""
    return push.virtualtext_id or (outcome.value.id if outcome.done and outcome.value else None)


def is_missing(outcome: Outcome[RemoteContact]) -> bool:
    """Return True if a request by id was answered as for an unknown id: 502 with HTML (as in an outage), 404, 410."""
    return outcome.cause is Cause.GATEWAY or outcome.http_status in _MISSING


def push_result(
    push: Push,
    outcome: Outcome[RemoteContact],
    now: datetime,
    found: LookUp = NO_LOOK_UP,
    recreate_after: timedelta = RECREATE_AFTER,
) -> PushResult:
    """Return what to write back for a contact. ``recreate_after`` is the account's setting."""
    if push.virtualtext_id is not None and is_missing(outcome):
        return _maybe_missing(push, push.virtualtext_id, outcome, found, now, recreate_after)
    if wrong := _wrong_answer(push, outcome) or (found.id_taken and "a contact that has another number here"):
        return _wrong_update(push, wrong, found, now) if push.virtualtext_id else _wrong_create(push, wrong, found, now)
    if outcome.done and outcome.value is not None:
        return _written(push, outcome.value, now)
    error = outcome_text(outcome)
    if outcome.unknown and push.virtualtext_id is None:
        return _lost_create(push, f"the response was lost: {error}")
    if outcome.cause in (Cause.REJECTED, Cause.OPTED_OUT):
        return _rejected(push, error)
    # Not done, or an update, which may be repeated without harm. Where the account itself pauses, that pause decides.
    return _again(push, now if outcome.cause in HALTING_CAUSES else _backed_off(push, now), error)


def failed_result(push: Push, error: Exception, now: datetime, *, sent: bool = False) -> PushResult:
    """Return what to write back for a contact whose request raised an error. The error's text may hold secrets.

    A ValueError before anything was ``sent`` is the client's: the contact cannot be sent. After any other error, a
    create may have been carried out.
    """
    if isinstance(error, ValueError) and not sent:
        why = str(error) if type(error) is ValueError else described(error)
        return _rejected(push, f"it cannot be sent ({why}); correct the record in the CRM")
    text = f"its request failed unexpectedly ({described(error)}); the other contacts were pushed"
    if push.virtualtext_id is None:
        return _lost_create(push, text)
    return _again(push, _backed_off(push, now), text)


def missing_check_interval(recreate_after: timedelta) -> timedelta:
    """Return how far apart two checks must be that both count."""
    return recreate_after / (MISSING_CHECKS - 1)


def _wrong_answer(push: Push, outcome: Outcome[RemoteContact]) -> str:
    """Return what a success is about instead of this contact, for a person; "" if it is about it, or is no success."""
    if outcome.done:
        return mismatch(push.virtualtext_id, push.phone, outcome.value) if outcome.value else "nothing"
    return outcome_text(outcome) if outcome.cause is Cause.UNREADABLE else ""


def _written(push: Push, remote: RemoteContact, now: datetime) -> PushResult:
    """VirtualText has the contact as ``remote``: synced, or one more update if its fields are not those sent."""
    adopted = None
    if push.virtualtext_id is None:
        # A create may be answered with a contact that existed. What the CRM leaves empty is not erased there.
        name, email = push.full_name or given_name(push.phone, remote), push.email or remote.email
        if (name, email) != (push.full_name, push.email):
            adopted = (name, email)
            push = replace(push, full_name=name, email=email, hash=wanted_hash(push.phone, name, email))
    result = PushResult(push.contact_id, PushState.SYNCED, remote.id, push.hash, adopted=adopted)
    if remote.id == push.former_id:
        result = replace(result, event=("virtualtext_id_used_again", f"VirtualText knows {remote.id} again"))
    differing = " and ".join(other_fields(push.phone, push.full_name or push.phone, push.email, remote))
    if not differing:
        return result
    if push.followed:
        note = f"VirtualText keeps another {differing} than the one that was sent, twice; the contact counts as synced"
        return replace(result, event=("fields_kept", note))
    why = f"VirtualText responded with another {differing} than the one that was sent; it is updated once more"
    return replace(
        result,
        state=PushState.DUE,
        pushed_hash=wanted_hash(push.phone, remote.full_name, remote.email),
        followed_hash=push.hash,
        wrong_answers=push.wrong_answers,  # a wrong id would otherwise be bound and dropped again without end
        next_attempt_at=now,
        error=why,
        event=("fields_differ", why),
    )


def _maybe_missing(
    push: Push,
    virtualtext_id: str,
    outcome: Outcome[RemoteContact],
    found: LookUp,
    now: datetime,
    recreate_after: timedelta,
) -> PushResult:
    """Decide about an update that was answered as one of an unknown id. One such response proves nothing."""
    error = outcome_text(outcome)
    if found.by_id is not None and found.by_id.done and found.by_id.value is not None:
        settled = _as_found(push, found.by_id.value, now)
        return settled or _again(push, _backed_off(push, now), error, missing_checks=0)
    failed_again = found.by_id is not None and is_missing(found.by_id)
    if failed_again and found.listed:
        return _again(push, _backed_off(push, now), f"{error}; VirtualText's list has its id", missing_checks=0)
    if failed_again and found.listed is False:
        return _id_given_up(push, now, f"VirtualText does not know {virtualtext_id} any more, and its list lacks it")
    if not (failed_again and found.others_work):
        why = (
            f"{error}; VirtualText responds to no request by id now, so it is not known if it still has"
            f" {virtualtext_id}; the update is repeated. If the contact was deleted there, run `vtsync resolve`"
        )
        return _again(push, _backed_off(push, now), why)
    interval = missing_check_interval(recreate_after)
    counts = push.missing_at is None or push.missing_checks == 0 or now - push.missing_at >= interval
    checks = push.missing_checks + 1 if counts else push.missing_checks
    if checks >= (MISSING_CHECKS if found.list_unavailable else 2 * MISSING_CHECKS):
        why = f"{checks} checks in a row found that VirtualText does not know {virtualtext_id} any more"
        return _id_given_up(push, now, why)
    why = (
        f"VirtualText does not know its id {virtualtext_id} (check {checks} of {MISSING_CHECKS}); it is checked again"
        " before the contact is created again"
    )
    return _again(
        push,
        min(_backed_off(push, now), now + max(interval, timedelta(seconds=PUSH_BACKOFF.first))),
        why,
        missing_checks=checks,
        missing_at=now if counts else push.missing_at,
    )


def _as_found(push: Push, remote: RemoteContact, now: datetime) -> PushResult | None:
    """Return the result of an update by what a request by its id shows. None: the update was not carried out."""
    wrong = mismatch(push.virtualtext_id, push.phone, remote)
    if not wrong and not other_fields(push.phone, push.full_name or push.phone, push.email, remote):
        return _written(push, remote, now)
    if not wrong or not remote.phone or remote.id != push.virtualtext_id or _is_as_pushed(push, remote):
        return None
    tries = push.wrong_answers + 1
    why = f"{remote.id} is {wrong} in VirtualText now, so it is not used for this contact any more"
    return PushResult(
        push.contact_id,
        PushState.DUE if tries < WRONG_ANSWERS else PushState.REJECTED,
        None,
        next_attempt_at=now + wrong_answer_wait(tries, random.random()),
        error=why if tries < WRONG_ANSWERS else f"{why}, and that happened {tries} times; {RETRY_BY_HAND}",
        event=("virtualtext_id_of_another", why),
        wrong_answers=tries % WRONG_ANSWERS,
        unusable_id=remote.id,
    )


def _is_as_pushed(push: Push, remote: RemoteContact) -> bool:
    """Return True if it is the contact as it was last pushed: its number has changed here, and not there yet."""
    names = {remote.full_name, given_name(remote.phone, remote)}
    return any(wanted_hash(remote.phone, name, remote.email) == push.pushed_hash for name in names)


def _wrong_update(push: Push, wrong: str, found: LookUp, now: datetime) -> PushResult:
    """Decide about an update that was answered with something else, by what a request by its id shows."""
    said = f"VirtualText responded to the update with {wrong}"
    if found.by_id is None or not found.by_id.done or found.by_id.value is None:
        return _again(push, _backed_off(push, now), f"{said}; what it has could not be looked up")
    if (settled := _as_found(push, found.by_id.value, now)) is not None:
        return settled
    tries = push.wrong_answers + 1
    if tries >= WRONG_ANSWERS:
        return _rejected(push, f"{said}, {tries} times, and the contact stays as it was; {RETRY_BY_HAND}")
    return _again(
        push,
        now + wrong_answer_wait(tries, random.random()),
        f"{said}, and the contact is as before; update {tries} of {WRONG_ANSWERS}",
        wrong_answers=tries,
    )


def _wrong_create(push: Push, wrong: str, found: LookUp, now: datetime) -> PushResult:
    """Decide about a create that was answered with something else. Whether it was carried out is not known."""
    said = f"VirtualText responded to the create with {wrong}"
    tries = push.wrong_answers + 1
    remote = found.by_id.value if found.by_id is not None and found.by_id.done else None
    if remote is not None and not mismatch(None, push.phone, remote):
        if not found.id_taken:
            return _written(push, remote, now)
        # Nothing was created: the contact is one that was there before.
        if tries >= WRONG_ANSWERS:
            return _rejected(
                push, f"{said}, {tries} times; correct the contact {remote.id} in VirtualText, then {RETRY_BY_HAND}"
            )
        next_attempt_at = now + wrong_answer_wait(tries, random.random())
        return _again(push, next_attempt_at, f"{said}; create {tries} of {WRONG_ANSWERS}", wrong_answers=tries)
    return replace(_lost_create(push, said), wrong_answers=tries)


def _lost_create(push: Push, error: str) -> PushResult:
    return PushResult(
        push.contact_id,
        PushState.UNKNOWN,
        None,
        error=error,
        event=("create_unknown", error),
        wrong_answers=push.wrong_answers,
    )


def _rejected(push: Push, error: str) -> PushResult:
    return PushResult(
        push.contact_id, PushState.REJECTED, push.virtualtext_id, error=error, event=("push_rejected", error)
    )


def _id_given_up(push: Push, now: datetime, why: str) -> PushResult:
    detail = f"{why}; the contact is looked up or created again. If {push.virtualtext_id} works again, it is used again"
    return PushResult(
        push.contact_id,
        PushState.DUE,
        None,
        next_attempt_at=now,
        error="its VirtualText id is gone",
        event=(ID_LOST, detail),
        former_id=push.virtualtext_id,
        unusable_id=push.virtualtext_id,
    )


def _again(
    push: Push,
    next_attempt_at: datetime,
    error: str,
    *,
    missing_checks: int | None = None,
    missing_at: datetime | None = None,
    wrong_answers: int | None = None,
) -> PushResult:
    """Repeat the request later. What is not given stays as it is."""
    return PushResult(
        push.contact_id,
        PushState.DUE,
        push.virtualtext_id,
        next_attempt_at=next_attempt_at,
        error=error,
        missing_checks=push.missing_checks if missing_checks is None else missing_checks,
        missing_at=push.missing_at if missing_checks is None else missing_at,
        wrong_answers=push.wrong_answers if wrong_answers is None else wrong_answers,
    )


def _backed_off(push: Push, now: datetime) -> datetime:
    return now + PUSH_BACKOFF.wait(push.attempt, random.random())
