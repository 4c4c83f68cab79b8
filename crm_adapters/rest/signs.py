"""What a response says about further pages, by the names that APIs use. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_adapters.fields import fold
from crm_adapters.http import ApiReply

_FLAGS = frozenset("hasmore hasnext hasnextpage hasmoreitems morerecords more moreitemsincollection".split())
_TOKENS = frozenset(
    """
    next nextcursor nextpagecursor nextpagetoken nextpage nextlink nexturl nextpageurl nexttoken nextpagelink
    odatanextlink
    """.split()
)
_LAST_TOKENS = frozenset(("endcursor",))
"""These also stand on the last page, and count only with a flag."""
_TOTALS = frozenset("total totalcount totalrecords totalitems totalresults totalsize recordstotal numfound".split())
_PAGES = frozenset("totalpages pagecount lastpage pages numpages".split())
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class PagingSigns:
    """The signs in one response, by their paths. ``link``: the Link header names a next page."""

    flags: Mapping[str, bool] = field(default_factory=dict)
    tokens: Mapping[str, Any] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    pages: Mapping[str, int] = field(default_factory=dict)
    link: bool = False

    def further(self, seen: int, *, totals: bool = True) -> str:
        """Return the sign that there is more than the ``seen`` records, for people; "" if there is none."""
        if self.link:
            return 'the "Link" header names a next page'
        for path, more in self.flags.items():
            if more:
                return f'"{path}" is true'
        if not self.flags:
            for path in self.tokens:
                return f'"{path}" is not empty'
        for path, total in self.totals.items() if totals else ():
            if total > seen:
                return f'"{path}" is {total}'
        return ""


def paging_signs(reply: ApiReply) -> PagingSigns:
    """Return the signs of a response. Lists, which hold the records, are not looked into."""
    flags, tokens, totals, pages = {}, {}, {}, {}
    found = list(_named(reply.data, "", 1))
    for path, name, value in found:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if name in _FLAGS and isinstance(value, bool):
            flags[path] = value
        elif name in _TOTALS and is_number:
            totals[path] = value
        elif name in _PAGES and is_number:
            pages[path] = value
        elif (name in _TOKENS or _is_after(path)) and value not in (None, "", False) and not isinstance(value, bool):
            tokens[path] = value
    if flags:
        tokens |= {path: value for path, name, value in found if name in _LAST_TOKENS and value not in (None, "")}
    return PagingSigns(flags, tokens, totals, pages, reply.link() is not None)


def _is_after(path: str) -> bool:
    """Return True for a token inside a table that is called next, such as ``paging.next.after``."""
    parent, _, name = path.rpartition(".")
    return fold(parent.rpartition(".")[2]) == "next" and fold(name) in {"after", "cursor", "href", "link", "url"}


def _named(data: Any, path: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    if not isinstance(data, Mapping) or depth > _DEEPEST:
        return
    for key, value in data.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _named(value, here, depth + 1)
        elif not isinstance(value, list):
            yield here, fold(str(key)), value
