"""Compares a response of VirtualText about a contact with the request. Pure.

A response must be about the contact that the request was about: under the same id, with the same phone. Its name and
email may differ from those that were sent, for example because a create was answered with a contact that existed
before, or because VirtualText stores them in its own way.
"""

from __future__ import annotations

from datetime import timedelta

from worker.core.backoff import Backoff
from worker.core.phones import mask, same_number
from worker.virtualtext.classify import clean
from worker.virtualtext.outcomes import RemoteContact

WRONG_ANSWERS = 5
"""After this many responses in a row that were about something else, a person must look."""
_WRONG_ANSWER_BACKOFF = Backoff(first=60.0, longest=3600.0, factor=4.0)
LONGEST_SHOWN_ID = 50
RETRY_BY_HAND = "correct the cause, then run `vtsync retry --contacts`"


def wrong_answer_wait(tries: int, jitter: float = 0.0) -> timedelta:
    """Return how long to wait after so many responses in a row that were about something else. None after the first."""
    return _WRONG_ANSWER_BACKOFF.wait(tries - 1, jitter) if tries > 1 else timedelta(0)


def mismatch(asked_id: str | None, phone: str, remote: RemoteContact) -> str:
    """Return what the response is about instead, for a person; "" if it is about the contact."""
    if asked_id is not None and remote.id != asked_id:
        return f"the contact {clean(remote.id)[:LONGEST_SHOWN_ID]}"
    if not remote.phone:
        return "a contact without a number"
    if not same_number(phone, remote.phone):
        return f"a contact with the number {mask(remote.phone)}"
    return ""


def other_fields(phone: str, full_name: str, email: str, remote: RemoteContact) -> tuple[str, ...]:
    """Return which of the wanted fields ("name", "email") VirtualText has differently.

    Spaces, the case of an email, and the number in place of a missing name make no difference. A field that the
    response leaves out is taken for equal.
    """
    found = []
    if "full_name" not in remote.omitted and not _same_name(phone, full_name, remote.full_name):
        found.append("name")
    if "email" not in remote.omitted and not _same_email(email, remote.email):
        found.append("email")
    return tuple(found)


def given_name(phone: str, remote: RemoteContact) -> str:
    """Return the name that VirtualText has, or "" if it is only the number."""
    return "" if same_number(phone, remote.full_name) else " ".join(remote.full_name.split())


def _same_email(email: str, remote_email: str) -> bool:
    return email == remote_email or email.strip().casefold() == remote_email.strip().casefold()


def _same_name(phone: str, full_name: str, remote_name: str) -> bool:
    if full_name == remote_name:
        return True
    wanted, there = " ".join(full_name.split()), " ".join(remote_name.split())
    if wanted == there:
        return True
    return wanted in ("", phone) and (not there or same_number(phone, there))
