"""The names of owners, stages and other records that records refer to by an id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crm_adapters.http.values import ApiField, Names

MOST_NAMES = 10_000
"""The number of names that are kept in memory for each kind of record, about."""


@dataclass
class Lookups:
    """Asks for names by id, once in a run.

    ``fetch`` gets a place (``ApiField.refers_to``) and at most as many ids as ``sizes`` says for it. For other places,
    it gets no ids, and returns the names of all records. ``shows_ids``: an id without a name is shown as it is;
    otherwise its name is unknown.
    """

    fetch: Callable[[str, Sequence[Any]], Mapping[Any, str]]
    sizes: Mapping[str, int] = field(default_factory=dict)
    shows_ids: bool = False
    _known: dict[str, dict[Any, str | None]] = field(default_factory=dict, repr=False)

    def names_for(self, fields: Iterable[ApiField], records: Sequence[Mapping[str, Any]]) -> dict[str, Names]:
        """Return the names that these records need for these references, by place and id."""
        found: dict[str, Names] = {}
        for one in fields:
            ids = dict.fromkeys(number for record in records for number in one.referred(record))
            names = self._names(one.refers_to, [*ids]) if ids else {}
            shown = {number: names.get(number) or (number if self.shows_ids else None) for number in ids}
            found[one.refers_to] = {**found.get(one.refers_to, {}), **shown}
        return found

    def every(self, place: str) -> Mapping[Any, str | None]:
        """Return the names of all records of a place that has no size."""
        return self._names(place, ())

    def _names(self, place: str, ids: Sequence[Any]) -> dict[Any, str | None]:
        size = self.sizes.get(place, 0)
        if not size:
            if place not in self._known:
                self._known[place] = dict(self.fetch(place, ()))
            return self._known[place]
        known = self._known.setdefault(place, {})
        if len(known) > MOST_NAMES:
            known.clear()
        missing = [one for one in ids if one not in known]
        for first in range(0, len(missing), size):
            some = missing[first : first + size]
            known |= dict.fromkeys(some) | dict(self.fetch(place, some))
        return known
