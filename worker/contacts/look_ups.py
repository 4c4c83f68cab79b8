"""Looks up what responses to a push left open: by the contact's id, by other ids, and in VirtualText's list.

An unknown id and an outage look the same. So an id counts as missing only if the requests by this id fail again each
time, and either requests by other ids are served, before and after it, or VirtualText's list lacks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property

from sqlalchemy import select

from worker.contacts import push_rows
from worker.contacts.push_outcome import NO_LOOK_UP, LookUp, OpenQuestion, id_in_question, is_missing, open_question
from worker.contacts.push_rows import Push
from worker.contacts.records import is_identifier
from worker.contacts.remote_list import Listing, is_unavailable, read_list
from worker.core.logs import carrying_on
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import remote_contact
from worker.virtualtext.client import VirtualTextClient
from worker.virtualtext.outcomes import Outcome, RemoteContact

REQUESTS_PER_ID = 3
"""Request an id up to this often before it counts as missing in one check."""
OTHER_IDS = 3
"""Request up to this many other ids to see if requests by id are served."""
LIST_FROM_ATTEMPT = 3
"""While no id is served, read the list only after some failed updates, not for every outage of a moment."""
AT_ONCE = 4

Answered = Sequence[tuple[Push, Outcome[RemoteContact]]]


@dataclass
class LookUps:
    """The look-ups after the requests of one batch. ``may_request`` waits for a turn; False: make no more requests."""

    runtime: Runtime
    account: str
    answered: Answered
    may_request: Callable[[], bool]
    questions: dict[int, OpenQuestion] = field(init=False)
    """By contact id: what the responses leave open."""

    def __post_init__(self) -> None:
        self._client: VirtualTextClient = self.runtime.client(self.account)
        self._taken = self._with_ids_of_others()
        self.questions = {}
        for push, outcome in self.answered:
            is_taken = push.contact_id in self._taken
            question = OpenQuestion.WHAT_IS_THERE if is_taken else open_question(push, outcome)
            if question is not None:
                self.questions[push.contact_id] = question

    def results(self) -> Mapping[int, LookUp]:
        """Return what was found out about the open questions, by contact id."""
        opened = [one for one in self.answered if one[0].contact_id in self.questions]
        unclear = {key for key, question in self.questions.items() if question is OpenQuestion.IS_ID_MISSING}
        works = bool(unclear) and self._others_work(unclear)
        if unclear and not works:  # an outage, unless a list shows that the ids are gone
            opened = [one for one in opened if one[0].contact_id not in unclear or self._may_ask_list(one[0])]
        if not opened:
            return {}
        with ThreadPoolExecutor(AT_ONCE, "look-up") as pool:
            responses = list(pool.map(carrying_on(self._by_id), opened))
        found = {
            push.contact_id: LookUp(by_id=response, id_taken=push.contact_id in self._taken)
            for (push, _), response in zip(opened, responses, strict=True)
        }
        missing = [push for push, _ in opened if push.contact_id in unclear and _is_missing(found[push.contact_id])]
        if missing:
            works = works and self._others_work({push.contact_id for push in missing}, again=True)
            found |= self._in_list(missing, found, works=works)
        return found

    def _may_ask_list(self, push: Push) -> bool:
        return push.attempt >= LIST_FROM_ATTEMPT and not self._list_is_unavailable

    @cached_property
    def _list_is_unavailable(self) -> bool:
        with reading(self.runtime.engine) as db:
            return is_unavailable(db, self.account)

    def _with_ids_of_others(self) -> set[int]:
        """Return the contacts whose create was answered with the id of another contact."""
        created = {
            push.contact_id: outcome.value.id
            for push, outcome in self.answered
            if push.virtualtext_id is None and outcome.done and outcome.value and is_identifier(outcome.value.id)
        }
        with reading(self.runtime.engine) as db:
            return push_rows.ids_of_others(db, self.account, created)

    def _by_id(self, one: tuple[Push, Outcome[RemoteContact]]) -> Outcome[RemoteContact] | None:
        """Request the id in question, several times if it seems to be missing."""
        virtualtext_id = id_in_question(*one) or ""
        response = None
        for _ in range(REQUESTS_PER_ID):
            response = self._get(virtualtext_id)
            if response is None or not is_missing(response):
                break
        return response

    def _get(self, virtualtext_id: str) -> Outcome[RemoteContact] | None:
        try:
            return self._client.get_contact(virtualtext_id) if self.may_request() else None
        except ValueError:  # an id that cannot be requested
            return None

    def _others_work(self, unclear: set[int], *, again: bool = False) -> bool:
        """Return True if requests by other ids are served. ``again``: earlier responses do not count."""
        served = [
            push.virtualtext_id
            for push, outcome in self.answered
            if push.virtualtext_id is not None and outcome.done and push.contact_id not in unclear
        ]
        if served and not again:
            return True
        with reading(self.runtime.engine) as db:
            synced = push_rows.recently_synced_ids(db, self.account, OTHER_IDS)
        others = list(dict.fromkeys([*served[-OTHER_IDS:], *synced]))[:OTHER_IDS]
        return any((response := self._get(one)) is not None and response.done for one in others)

    def _in_list(self, missing: Sequence[Push], found: Mapping[int, LookUp], *, works: bool) -> dict[int, LookUp]:
        """Look for the missing ids in a new list, if the account has one. ``works``: other ids are served."""
        before = utcnow() - self.runtime.settings.accounts[self.account].lookup_after
        listing = Listing.UNAVAILABLE if self._list_is_unavailable else read_list(self.runtime, self.account)
        listed, disproves = set[str](), False
        if listing is Listing.READ:
            r, ids = remote_contact.c, [push.virtualtext_id for push in missing if push.virtualtext_id]
            with reading(self.runtime.engine) as db:
                named = select(r.virtualtext_id).where(r.account == self.account, any_of(db, r.virtualtext_id, ids))
                listed = set(db.scalars(named))
                disproves = push_rows.list_can_disprove(db, self.account, ids)
        decided: dict[int, LookUp] = {}
        for push in missing:
            there = push.virtualtext_id in listed
            # The list lags behind: it may lack a contact that was written just now.
            is_old = push.pushed_at is None or push.pushed_at <= before
            decided[push.contact_id] = replace(
                found.get(push.contact_id, NO_LOOK_UP),
                others_work=works,
                listed=True if there else False if disproves and is_old else None,
                list_unavailable=listing is Listing.UNAVAILABLE,
            )
        return decided


def _is_missing(found: LookUp) -> bool:
    return found.by_id is not None and is_missing(found.by_id)
