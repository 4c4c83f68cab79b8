"""Builds the requests for a list: parameters in the address or in the JSON body, and times as the API reads them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from crm_adapters.http import ApiReply, HttpApi, iso_time
from crm_adapters.rest.options import ChangesFilter, ListOptions, RestOptions


@dataclass(frozen=True, slots=True)
class Asking:
    """Sends requests for one list. ``path`` and ``params`` may be those of a list beside it, such as of its ids."""

    api: HttpApi
    options: RestOptions
    path: str
    method: str = "GET"
    params: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, api: HttpApi, options: RestOptions, chosen: ListOptions) -> Asking:
        """Return the requests for a list of records."""
        return cls(api, options, chosen.path, chosen.method, chosen.params, chosen.body)

    def send(self, extra: Mapping[str, Any]) -> ApiReply:
        """Ask for a page. ``extra`` are the parameters of this page and period; those that are None are left out."""
        asked = {**(self.params or {}), **{name: value for name, value in extra.items() if value is not None}}
        if self.method == "GET":
            return self.api.get(self.path, asked, empty=self.options.empty)
        body = copy.deepcopy(dict(self.body or {}))
        for name, value in asked.items():
            _put(body, name, value)
        return self.api.search(self.path, body, empty=self.options.empty)

    def follow(self, address: str) -> ApiReply:
        """Ask for the page at an address that a response named. It has all parameters in it."""
        if self.method == "GET":
            return self.api.get(address, empty=self.options.empty)
        return self.api.search(address, dict(self.body or {}), empty=self.options.empty)


def changes_params(since: ChangesFilter, start: datetime, until: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """Return the parameters that ask for the changes of a period.

    Its end is written a little later, because times are cut: a record that changed in this second belongs to it.
    """
    end = until + timedelta(minutes=1)
    bounds = {"since": written_time(start, since.format, zone), "until": written_time(end, since.format, zone)}
    value: Any = bounds["since"]
    if since.template is not None:
        value = since.template.replace("{since}", str(bounds["since"])).replace("{until}", str(bounds["until"]))
    params = {**since.params, since.parameter: value}
    return params if since.until is None else params | {since.until: bounds["until"]}


def written_time(moment: datetime, form: str, zone: ZoneInfo) -> str | int:
    """Write a time for a query. It is cut, never rounded up: an earlier start only reads a few more records."""
    if form == "iso":
        return iso_time(moment)
    if form in ("epoch", "epoch_ms"):
        return math.floor(moment.timestamp()) * (1000 if form == "epoch_ms" else 1)
    local = moment.astimezone(zone)
    return local.date().isoformat() if form == "date" else local.strftime(form)


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    """Put a value into nested tables, such as at ``filter.updated_at.$gte``."""
    *outer, last = path.split(".")
    table = body
    for name in outer:
        inner = table.get(name)
        if not isinstance(inner, dict):
            inner = table[name] = {}
        table = inner
    table[last] = value
