"""What an outcome of a push means for its contact. Pure, except for the jitter."""

from __future__ import annotations

import random
from datetime import datetime
from http import HTTPStatus

from worker.contacts.push_rows import Push, PushResult
from worker.core.backoff import Backoff
from worker.core.errors import described
from worker.core.states import PushState
from worker.limits.account_effect import HALTING_CAUSES
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact

PUSH_BACKOFF = Backoff(first=2.0, longest=3600.0)
ID_LOST = "virtualtext_id_lost"


def push_result(push: Push, outcome: Outcome[RemoteContact], now: datetime) -> PushResult:
    """Return what to write back for a contact."""
    error = f"{outcome.detail} (reference {outcome.reference_code})" if outcome.reference_code else outcome.detail
    if outcome.done:
        remote_id = push.virtualtext_id or (outcome.value.id if outcome.value else None)
        return PushResult(push.contact_id, PushState.SYNCED, remote_id, push.hash)
    if outcome.unknown and push.virtualtext_id is None:
        event = ("create_unknown", f"the response was lost: {error}")
        return PushResult(push.contact_id, PushState.UNKNOWN, None, error=error, event=event)
    if outcome.cause in (Cause.REJECTED, Cause.OPTED_OUT):
        event = ("push_rejected", error)
        return PushResult(push.contact_id, PushState.REJECTED, push.virtualtext_id, error=error, event=event)
    # Not done, or an update, which may be repeated without harm. Where the account itself pauses, that pause decides.
    wait = None if outcome.cause in HALTING_CAUSES else PUSH_BACKOFF.wait(push.attempt, random.random())
    next_attempt_at = now if wait is None else now + wait
    return PushResult(push.contact_id, PushState.DUE, push.virtualtext_id, next_attempt_at=next_attempt_at, error=error)


def failed_result(push: Push, error: Exception, now: datetime, *, sent: bool = False) -> PushResult:
    """Return what to write back for a contact whose request raised an error. The error's text may hold secrets.

    A ValueError before anything was ``sent`` is the client's: the contact cannot be sent. After any other error, a
    create may have been carried out.
    """
    if isinstance(error, ValueError) and not sent:
        why = str(error) if type(error) is ValueError else described(error)
        text = f"it cannot be sent ({why}); correct the record in the CRM"
        event = ("push_rejected", text)
        return PushResult(push.contact_id, PushState.REJECTED, push.virtualtext_id, error=text, event=event)
    text = f"its request failed unexpectedly ({described(error)}); the other contacts were pushed"
    if push.virtualtext_id is None:
        return PushResult(push.contact_id, PushState.UNKNOWN, None, error=text, event=("create_unknown", text))
    next_attempt_at = now + PUSH_BACKOFF.wait(push.attempt, random.random())
    return PushResult(push.contact_id, PushState.DUE, push.virtualtext_id, next_attempt_at=next_attempt_at, error=text)


def lost_id_result(push: Push) -> PushResult:
    """Return what to write back for an update of an id that VirtualText does not know any more."""
    event = (ID_LOST, f"VirtualText does not know {push.virtualtext_id} any more; looking the contact up again")
    return PushResult(push.contact_id, PushState.UNKNOWN, None, error="its VirtualText id is gone", event=event)


def may_be_lost_id(push: Push, outcome: Outcome[RemoteContact]) -> bool:
    """Return True if the id of an update may be gone: a 404, or a gateway error, which an outage also causes."""
    if push.virtualtext_id is None:
        return False
    return outcome.cause is Cause.GATEWAY or outcome.http_status == HTTPStatus.NOT_FOUND
