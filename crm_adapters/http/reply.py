"""A response of a CRM: its status, headers and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from requests.utils import parse_header_links

from crm_adapters.base import SourceInvalid
from crm_adapters.http.records import value_at
from crm_adapters.http.scrub import field_names

Part = TypeVar("Part", list[Any], dict[str, Any])


@dataclass(frozen=True, slots=True)
class ApiReply:
    """A response. ``headers`` have names in lower case. ``data`` is the JSON, or None if there is no body.

    ``is_empty`` is True if the status is one that the caller takes for an empty page. ``request`` names the request
    for people: ``GET /contacts``.
    """

    vendor: str
    request: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: Any = field(repr=False)
    url: str = field(default="", repr=False)
    is_empty: bool = False

    def at(self, path: str, default: Any = None) -> Any:
        """Return the value at a path of the body, such as ``paging.next.after``; ``default`` if there is none."""
        return value_at(self.data, path, default)

    def items(self, path: str = "") -> list[Any]:
        """Return the list at a path of the body.

        Raises SourceInvalid if there is none: a response without a list must not look like the end of the records.
        """
        return self._part(path, list, "a list")

    def mapping(self, path: str = "") -> dict[str, Any]:
        """Return the object at a path of the body. Raises SourceInvalid if there is none, see ``items``."""
        return self._part(path, dict, "an object")

    def _part(self, path: str, kind: type[Part], what: str) -> Part:
        if self.is_empty:
            return kind()
        found = self.at(path)
        if isinstance(found, kind):
            return found
        where = f'{what} at "{path}"' if path else what
        has = f"it has {self._names()}" if isinstance(self.data, Mapping) else f"it is {_kind(self.data)}"
        raise SourceInvalid(
            f"{self.vendor} responds to {self.request} without {where} ({has}), so nothing of it was used; check the"
            " address and the options of this connection, and whether the CRM reports a problem"
        )

    def link(self, relation: str = "next") -> str | None:
        """Return the address of a relation from the ``Link`` header, or None."""
        links = parse_header_links(self.headers.get("link", ""))
        found = (one.get("url") for one in links if relation in one.get("rel", "").lower().split())
        return next((url for url in found if url), None)

    def sent_at(self) -> datetime | None:
        """Return the server's time when it responded, or None."""
        try:
            moment = parsedate_to_datetime(self.headers.get("date", ""))
        except (ValueError, TypeError, IndexError):
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def _names(self) -> str:
        return ", ".join(field_names(self.data)[:6]) or "no fields"


def _kind(data: Any) -> str:
    return "empty" if data is None else "a list" if isinstance(data, list) else "a single value"
