"""Broken adapters: ids, events, and records that belong to a person."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crm_adapters.base import CONTACT, AdapterError, ContactChange, Cursor, Page
from tests.adapters.broken.catalogue import caught_by
from tests.adapters.broken.good import Good

EVENTS = "only_genuine_events_wake"
PERSON = "records_of_a_person_name_the_person"


@caught_by("live_ids_are_those_of_a_pull", "before a deletion, live_ids leaves out")
class ListsTheFirstIds(Good):
    """lists the ids of the first page only"""

    def live_ids(self) -> Iterator[Sequence[str]]:
        yield next(iter(super().live_ids()))


@caught_by("live_ids_are_those_of_a_pull", "after a deletion, live_ids lists 2, which pull does not")
class ListsDeletedIds(Good):
    """lists the ids of deleted records"""

    def live_ids(self) -> Iterator[Sequence[str]]:
        yield from super().live_ids()
        run = {"table": "people", "after": 0, "from": "2000-01-01T00:00:00+00:00", "generation": 1}
        yield [str(row["id"]) for row in self.rows(run) if row["deleted"]]


@caught_by("live_ids_are_those_of_a_pull", "live_ids leaves out deal-1")
class ListsTheIdsOfPeopleOnly(Good):
    """lists no ids of deals"""

    def live_ids(self) -> Iterator[Sequence[str]]:
        for some in super().live_ids():
            yield [external_id for external_id in some if "-" not in external_id]


@caught_by("live_ids_are_those_of_a_pull", "live_ids leaves out")
class ListsIdsInAnotherForm(Good):
    """lists ids in another form than pull"""

    def live_ids(self) -> Iterator[Sequence[str]]:
        for some in super().live_ids():
            yield [f"person-{external_id}" for external_id in some]


@caught_by("live_ids_are_those_of_a_pull", "live_ids yields its parts")
class ListsAllIdsAtOnce(Good):
    """returns all ids at once"""

    def live_ids(self) -> Any:
        parts = list(super().live_ids())
        return [[external_id for some in parts for external_id in some]]


@caught_by("live_ids_that_break_off_are_an_error", "live_ids ended without 11 ids")
class SwallowsAFailureOfIds(Good):
    """ends the list of ids when the CRM fails"""

    def live_ids(self) -> Iterator[Sequence[str]]:
        try:
            yield from super().live_ids()
        except AdapterError:
            return


@caught_by(EVENTS, "an event without headers is accepted")
class AcceptsEveryEvent(Good):
    """accepts every event"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        return True


@caught_by(EVENTS, "a genuine event is not recognised")
class AcceptsNoEvent(Good):
    """accepts no event"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        return False


@caught_by(EVENTS, "a genuine event is not recognised, or the result is not True")
class AnswersWithTheSignature(Good):
    """returns a text instead of True"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> Any:
        return super().wakes(headers, body) and headers["x-signature"]


@caught_by(EVENTS, "an event with the signature of another body .* wakes")
class SignsNoBody(Good):
    """does not verify the body"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        return super().wakes(headers, b'{"changed": [1, 2]}')


@caught_by(EVENTS, "wrong characters in x-signature")
class ComparesTheBeginning(Good):
    """compares only as much of the signature as was sent"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        sent = headers.get("x-signature", "")
        return bool(sent) and self.signature(body).startswith(sent)


@caught_by(EVENTS, "wrong characters in x-signature")
class ComparesEightCharacters(Good):
    """compares the first characters of the signature"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        return hmac.compare_digest(headers.get("x-signature", "")[:8].encode(), self.signature(body)[:8].encode())


@caught_by(EVENTS, "wakes raises KeyError")
class NeedsTheHeader(Good):
    """raises when the signature is missing"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        return hmac.compare_digest(headers["x-signature"], self.signature(body))


@caught_by("no_event_raises", "wakes raises")
class ReadsTheEventFirst(Good):
    """raises for a body that is not JSON"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        json.loads(body)
        return super().wakes(headers, body)


@caught_by("no_event_raises", "wakes raises TypeError")
class ComparesText(Good):
    """raises for a signature that is not ASCII"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        return hmac.compare_digest(headers.get("x-signature", ""), self.signature(body))


@caught_by("no_event_raises", "wakes raises CredentialsRejected")
class AsksWhoSentIt(Good):
    """asks the CRM about each event"""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        self.status()
        return super().wakes(headers, body)


@caught_by(PERSON, "deal-1 belongs to 2, and names None")
class ForgetsThePerson(Good):
    """does not say whose a deal is"""

    def deal(self, row: Mapping[str, Any]) -> ContactChange:
        return super().deal(row)._replace(person=None)


@caught_by(PERSON, "deal-2 belongs to None, and names None|belongs to None, and names")
class InventsAPerson(Good):
    """gives a deal of nobody to somebody"""

    def deal(self, row: Mapping[str, Any]) -> ContactChange:
        return super().deal(row)._replace(person=str(row["person"]))


@caught_by(PERSON, "deal-1 belongs to 2, and names 3")
class NamesTheWrongPerson(Good):
    """names the owner of a deal as its person"""

    def deal(self, row: Mapping[str, Any]) -> ContactChange:
        return super().deal(row)._replace(person=None if row["person"] is None else "3")


@caught_by(PERSON, "records of different kinds have the same id: 1")
class NumbersDealsLikePeople(Good):
    """gives people and deals the same ids"""

    def deal_id(self, row: Mapping[str, Any]) -> str:
        return str(row["id"])


@caught_by(PERSON, "deal-1 is listed as a person")
class ListsDealsAsPeople(Good):
    """lists deals as people"""

    def deal(self, row: Mapping[str, Any]) -> ContactChange:
        return super().deal(row)._replace(kind=CONTACT)


@caught_by(PERSON, "has the phone of its person, not")
class CopiesThePhoneIntoDeals(Good):
    """gives a deal a phone of its own"""

    def deal(self, row: Mapping[str, Any]) -> ContactChange:
        deal = super().deal(row)
        return deal._replace(properties={**deal.properties, "phone": "+14155550199"})


@caught_by(PERSON, "has the email of its person, not")
class CopiesTheEmailIntoDeals(Good):
    """gives a deal an email address of its own"""

    def deal(self, row: Mapping[str, Any]) -> ContactChange:
        deal = super().deal(row)
        return deal._replace(properties={**deal.properties, "email": "ann@example.com"})


@caught_by(PERSON, "belongs to a person")
class MakesPeopleBelongToPeople(Good):
    """gives a person to people"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(person=str(row["id"]))


@caught_by("changes_of_deals_are_seen", "the new record deal-2 was not seen")
class ReadsDealsOnce(Good):
    """reads deals in the first run only"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().pull(cursor):
            if cursor is None or "table" in cursor or not any("deal" in str(change) for change in page.changes):
                yield page


@caught_by("changes_of_deals_are_seen", "loses deal-1")
class ForgetsDealsWhenResumed(Good):
    """reads no deals in a run that is resumed"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().pull(cursor):
            if not (cursor and "table" in cursor and any("deal" in str(change) for change in page.changes)):
                yield page


@caught_by("changes_of_deals_are_seen", "deal-1 was deleted and not reported")
class KeepsLostDeals(Good):
    """does not report deleted deals"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        return super().page(run, [row for row in rows if run["table"] == "people" or not row["deleted"]])
