"""Requests that read HubSpot's objects: contacts, deals, communications, and what describes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from crm_adapters.base import ApiVersion, SourceUnavailable
from crm_adapters.http import (
    ApiReply,
    Batch,
    ChangeWindow,
    HttpApi,
    cursor_batches,
    epoch_milliseconds,
    is_number,
    items_of,
    keyset_batches,
    value_at,
)
from crm_adapters.hubspot.properties import CHANGED

VERSION = ApiVersion("2026-09", ends=date(2028, 3, 9))
"""HubSpot supports a dated version for 18 months or more. All addresses have it."""
V = VERSION.name
LISTED, FOUND = 100, 200
"""The largest pages of lists and batches, and those of searches."""
LONGEST_URL = 15_000
"""Characters of an address that HubSpot accepts."""
NEXT = "paging.next.after"


@dataclass
class HubSpotObjects:
    """Reads through ``api``."""

    api: HttpApi

    def listed(self, objects: str, names: Sequence[str] = (), start: Any = None) -> Iterator[Batch]:
        """List all live records, with the properties ``names``.

        If the names are too long for an address, the records of each page are read once more, by their ids.
        """
        if sum(len(name) + len("%2C") for name in names) < LONGEST_URL - 500:
            yield from self._pages(objects, names, start)
            return
        for batch in self._pages(objects, (), start):
            yield Batch(
                self.batch(objects, [str(value_at(one, "id")) for one in batch.items], names), batch.next, batch.reply
            )

    def archived(self, objects: str, start: Any = None) -> Iterator[Batch]:
        """List all deleted records that HubSpot still keeps. It can neither filter nor sort them by time."""
        return self._pages(objects, (), start, archived=True)

    def changed(self, objects: str, names: Sequence[str], window: ChangeWindow, since: datetime) -> Iterator[Batch]:
        """Search for the records that changed in the window, in the order of their ids.

        Each page is a query of its own: HubSpot's search ends with an error after 10,000 records.
        """

        def search(last: Any) -> ApiReply:
            filters = [
                condition(CHANGED[objects], "GTE", epoch_milliseconds(since)),
                condition(CHANGED[objects], "LTE", epoch_milliseconds(window.until)),
                *([] if last is None else [condition("hs_object_id", "GTE", int(last) + 1)]),
            ]
            return self.search(objects, filters, names, FOUND)

        return keyset_batches(search, "results", "id", start=window.after, numbered=True)

    def search(self, objects: str, filters: Sequence[Mapping[str, str]], names: Sequence[str], limit: int) -> ApiReply:
        """Return the first page of the records that fit all conditions, in the order of their ids."""
        groups = [{"filters": filters}] if filters else []
        body = {"filterGroups": groups, "properties": names, "sorts": ["hs_object_id"], "limit": limit, "after": "0"}
        return self.api.search(f"crm/objects/{V}/{objects}/search", body, limit="search")

    def batch(self, objects: str, ids: Sequence[str], names: Sequence[str]) -> list[Any]:
        """Read records by their ids. Those that were deleted meanwhile are left out."""
        more = {"properties": names, "propertiesWithHistory": []}
        return self._by_ids(f"crm/objects/{V}/{objects}/batch/read", ids, "OBJECT_NOT_FOUND", more)

    def people_of(self, deals: Sequence[str]) -> dict[str, str | None]:
        """Return the contact of each deal: the one with the lowest id, which is its oldest."""
        path = f"crm/associations/{V}/deals/contacts/batch/read"
        people = {}
        for one in self._by_ids(path, deals, "NO_ASSOCIATIONS_FOUND", {}):
            numbers = (str(value_at(to, "toObjectId")) for to in value_at(one, "to") or ())
            people[str(value_at(one, "from.id"))] = min(filter(is_number, numbers), key=int, default=None)
        return people

    def texts_of(self, objects: str, number: str, external_id: str) -> list[str]:
        """Return the ids of the communications of a record, oldest first. Raises RecordGone."""
        query = {"properties": "hs_object_id", "associations": "communications"}
        reply = self.api.get(f"crm/objects/{V}/{objects}/{number}", query, record=external_id)
        if not is_number(reply.at("id")):
            raise SourceUnavailable(f"HubSpot responds to {reply.request} without the record; the text is tried again")
        found = reply.at("associations.communications")
        ids = [value_at(one, "id") for one in value_at(found, "results") or ()]
        if value_at(found, NEXT) is not None:
            ids = [value_at(one, "toObjectId") for one in self._all_texts(objects, number)]
        return sorted({str(one) for one in ids if is_number(str(one))}, key=int)

    def names(self, place: str) -> Mapping[str, str]:
        """Return the names of owners, also of former ones, or the labels of pipelines or of their stages."""
        if place == "owners":
            items = [*self._owners(archived=True), *self._owners(archived=False)]
            return {str(value_at(one, "id")): _full_name(one) for one in items}
        items = self.api.get(f"crm/pipelines/{V}/deals").items("results")
        if place == "dealstage":
            items = [stage for one in items for stage in value_at(one, "stages") or ()]
        return {str(value_at(one, "id")): str(value_at(one, "label") or "") for one in items}

    def _owners(self, *, archived: bool) -> Iterator[Any]:
        def fetch(after: str | None) -> ApiReply:
            return self.api.get(f"crm/owners/{V}", {"limit": LISTED, "after": after, "archived": archived})

        return items_of(cursor_batches(fetch, "results", NEXT))

    def _pages(self, objects: str, names: Sequence[str], start: Any, *, archived: bool = False) -> Iterator[Batch]:
        query = {"limit": LISTED, "properties": ",".join(names) or "hs_object_id", "archived": archived}

        def fetch(after: str | None) -> ApiReply:
            return self.api.get(f"crm/objects/{V}/{objects}", {**query, "after": after})

        return cursor_batches(fetch, "results", NEXT, start=start)

    def _by_ids(self, path: str, ids: Sequence[str], fine: str, more: Mapping[str, Any]) -> list[Any]:
        """Read by ids, and check that only what does not exist is left out. ``fine`` is the category of that error."""
        if not ids:
            return []
        reply = self.api.search(path, {"inputs": [{"id": one} for one in ids], **more})
        found, errors = reply.items("results"), reply.at("errors", ())
        said = [f"{value_at(one, 'category')} {value_at(one, 'subCategory')}" for one in errors]
        if len(found) < len(ids) and any(fine not in one for one in said):
            raise SourceUnavailable(f"HubSpot responds to {reply.request} only in part; the next run tries again")
        return found

    def _all_texts(self, objects: str, number: str) -> Iterator[Any]:
        """Yield the communications of a record that has several pages of them."""
        path = f"crm/associations/{V}/{objects}/communications/batch/read"

        def fetch(after: str | None) -> ApiReply:
            return self.api.search(path, {"inputs": [{"id": number, **({} if after is None else {"after": after})}]})

        return items_of(cursor_batches(fetch, "results.0.to", "results.0.paging.next.after"))


def _full_name(owner: Any) -> str:
    names = (value_at(owner, "firstName"), value_at(owner, "lastName"))
    return " ".join(str(name) for name in names if name) or str(value_at(owner, "email") or "")


def condition(name: str, operator: str, value: object) -> dict[str, str]:
    """Return a condition of a search."""
    return {"propertyName": name, "operator": operator, "value": str(value)}
