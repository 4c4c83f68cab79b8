"""Reads any CRM with a JSON API: the options say where its lists are, and how they tell pages, changes and deletions.

The lists are read one after the other, people first. Each keeps its own bounds of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from config.fields import FieldMapping
from crm_adapters.base import (
    CONTACT,
    Adapter,
    CheckReport,
    CrmField,
    Cursor,
    CursorExpired,
    Limit,
    ListsIds,
    Page,
    Removals,
    Services,
)
from crm_adapters.http import HttpApi, quoted
from crm_adapters.oauth import ConnectsByOAuth, OAuthApp
from crm_adapters.rest.checks import check_list
from crm_adapters.rest.credentials import auth_of, oauth_app
from crm_adapters.rest.fields import describe_fields
from crm_adapters.rest.lists import RestList
from crm_adapters.rest.notes import RunNotes
from crm_adapters.rest.options import PersonsConsent, RestOptions
from crm_adapters.rest.records import RecordShape

DESCRIBED = 20
"""Records that ``describe`` asks for."""


class RestAdapter(Adapter, ConnectsByOAuth):
    """Reads a JSON API as a CRM."""

    name = "rest"
    summary = "Any CRM with a JSON API, described by options."
    Options: ClassVar[type[BaseModel]] = RestOptions

    options: RestOptions

    def __new__(cls, options: RestOptions, *_args: Any, **_named: Any) -> Self:
        """Return an adapter that lists ids if the options say how: the engine asks each ``ListsIds`` for them."""
        lists_ids = all(one.ids is not None for one in options.lists.values())
        return super().__new__(RestAdapterWithIds if lists_ids and cls is RestAdapter else cls)  # type: ignore[return-value]

    def __init__(self, options: RestOptions, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        self.limits = tuple(self.limits_for(options))  # type: ignore[misc] # these depend on the options
        self.kinds = tuple(options.lists)  # type: ignore[misc]
        self.page_size = options.page_size  # type: ignore[misc]
        self.removals = _removals(options)  # type: ignore[misc]
        memory = self.services.memory
        self._notes = RunNotes(memory)
        self._api = HttpApi(options.vendor, options.url, auth_of(options, self.services), self.services)
        zone = ZoneInfo(options.timezone)
        self._lists = {
            kind: RestList(
                self._api, options, chosen, RecordShape(options.vendor, kind, chosen, zone), memory, self._notes
            )
            for kind, chosen in options.lists.items()
        }

    def __repr__(self) -> str:
        return f"RestAdapter({self.options.vendor!r})"

    @classmethod
    def limits_for(cls, options: RestOptions) -> Sequence[Limit]:
        """Return the limits that the options name."""
        return tuple(Limit("", one.amount, one.per) for one in options.limits)

    @classmethod
    def kinds_for(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the kinds of the lists that the options name."""
        objects = options.get("objects")
        return (CONTACT, *map(str, objects)) if isinstance(objects, Mapping) else (CONTACT,)

    def oauth(self) -> OAuthApp | None:
        """Return the app if a person must consent."""
        auth = self.options.auth
        return oauth_app(self.options, auth) if isinstance(auth, PersonsConsent) else None

    def check(self) -> CheckReport:
        """Read a few records of each list, and report what was understood. Raises SourceInvalid for what was not."""
        found = [check_list(one, self.fields) for one in self._lists.values()]
        return CheckReport(f"{self.options.vendor} responds; {'; '.join(found)}")

    def describe(self) -> Sequence[CrmField]:
        """Return the fields of some records, and those that earlier runs saw."""
        described = []
        for kind, one in self._lists.items():
            batch = one.first(DESCRIBED)
            described += describe_fields(kind, one.shape, batch.items, one.known_names(batch), self.fields)
        return described

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the pages of each list. The cursor has the list that is being read, and the bounds of each."""
        run: dict[str, Any] = {"at": None, "lists": {}}
        if cursor is not None:
            if not isinstance(cursor.get("lists"), Mapping) or cursor.get("at") not in (None, *self._lists):
                raise CursorExpired("the stored cursor was written with other options")
            run = {"at": cursor["at"], "lists": dict(cursor["lists"])}
        kinds = list(self._lists)
        if run["at"] is None:
            self._notes.begin()
        for kind in kinds[kinds.index(run["at"] or kinds[0]) :]:
            run["at"] = kind
            for page in self._lists[kind].pages(run["lists"].get(kind)):
                run["lists"][kind] = page.cursor
                yield Page(page.changes, {**run, "lists": dict(run["lists"])})
        # Without a filter of changes, the next run starts at the top.
        ends = self.removals is Removals.ABSENT
        yield Page((), None if ends else {"at": None, "lists": dict(run["lists"])})

    def link(self, external_id: str) -> str:
        """Return the address of a person's page in the CRM."""
        is_person = external_id and not external_id.startswith(tuple(f"{kind}-" for kind in self.options.objects))
        return self.options.link.replace("{id}", quoted(external_id)) if is_person else ""

    def close(self) -> None:
        """Close the connections."""
        self._api.close()


class RestAdapterWithIds(RestAdapter, ListsIds):
    """The adapter if the options name a list of ids for each list of records."""

    def live_ids(self) -> Iterator[Sequence[str]]:
        """Yield the ids of all lists."""
        return chain.from_iterable(one.live_ids() for one in self._lists.values())


def _removals(options: RestOptions) -> Removals:
    lists = options.lists.values()
    if all(one.since is None for one in lists):
        return Removals.ABSENT
    return Removals.REPORTED if all(one.deleted is not None for one in lists) else Removals.UNSEEN
