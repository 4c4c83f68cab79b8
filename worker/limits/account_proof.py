"""Finds out if VirtualText serves an account now, with calls by id that write nothing.

They are made where a response may be about one request alone: for the contact list, and for `vtsync check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from worker.virtualtext.client import VirtualTextClient
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact

# No contact has this id: with a good credential the gateway answers for an unknown id, with a bad one 401 (observed).
UNKNOWN_CONTACT_ID = "vtsync-check"


@dataclass(frozen=True, slots=True)
class AccountProof:
    """``works``: the credential was accepted, and calls by id are served. ``outcome`` is the last response.

    A proof that neither works nor is ``refused`` shows nothing: a timeout, for example.
    """

    works: bool
    outcome: Outcome[RemoteContact]

    @property
    def refused(self) -> bool:
        """True if the call by id was refused, too: the account itself does not work."""
        return self.outcome.cause in (Cause.CREDENTIALS, Cause.REDIRECTED)


def prove_account(client: VirtualTextClient, known_ids: Sequence[str] = ()) -> AccountProof:
    """Ask for contacts by id, until one call shows if the account works.

    ``known_ids`` are contacts that VirtualText had: one of them must be there. Without any, an id that does not exist
    is asked for. An outage looks like the answer to that, so the platform must also call itself healthy.
    """
    gone: Outcome[RemoteContact] | None = None
    for known in known_ids:
        gone = client.get_contact(known)
        if not _may_be_gone(gone):
            return AccountProof(gone.done, gone)
    if gone is not None:
        return AccountProof(False, gone)
    outcome = client.get_contact(UNKNOWN_CONTACT_ID)
    if outcome.cause is not Cause.GATEWAY:
        return AccountProof(outcome.done or outcome.http_status == HTTPStatus.NOT_FOUND, outcome)
    health = client.health()
    return AccountProof(health.done and health.value != "fail", outcome)


def _may_be_gone(outcome: Outcome[RemoteContact]) -> bool:
    return outcome.cause is Cause.GATEWAY or outcome.http_status == HTTPStatus.NOT_FOUND
