"""The ways in which APIs cut a list into pages. Each yields ``Batch`` after ``Batch``, and keeps one in memory.

All of them end at the API's own sign, never at a page that is shorter than what was asked for: many APIs cut the size.
A page that comes again, and more than ``MOST_PAGES`` pages, are errors: the list would never end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from crm_adapters.base import SourceInvalid
from crm_adapters.http.api import HttpApi
from crm_adapters.http.records import value_at
from crm_adapters.http.reply import ApiReply

MOST_PAGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of one page, and where the next one starts, for the cursor (None: this is the last one)."""

    items: Sequence[Any]
    next: Any
    reply: ApiReply = field(repr=False)


def items_of(batches: Iterable[Batch]) -> Iterator[Any]:
    """Yield the items of all pages, for a list that is read at once."""
    return (item for batch in batches for item in batch.items)


ByText: TypeAlias = Callable[[str | None], ApiReply]
ByNumber: TypeAlias = Callable[[int], ApiReply]


def cursor_batches(fetch: ByText, items: str, following: str, *, start: str | None = None) -> Iterator[Batch]:
    """Read pages by a token in the body. ``fetch(token)`` gets None for the first page.

    ``items`` and ``following`` are the paths of the list and of the next token. The last page has no token.
    """
    guard = _Guard()
    token: str | None = start
    while True:
        reply = fetch(token)
        token = _token(reply.at(following))
        page = reply.items(items)
        guard.check(reply, page, token)
        yield Batch(page, token, reply)
        if token is None:
            return


def link_batches(
    api: HttpApi, fetch: ByText, items: str, link: str = "", *, start: str | None = None
) -> Iterator[Batch]:
    """Read pages by the address of the next one: from the ``Link`` header, or from the path ``link`` in the body.

    ``fetch(address)`` gets None for the first page. The last page has no link.
    """
    guard = _Guard()
    address: str | None = start
    while True:
        reply = fetch(address)
        address = api.next_link(reply, link)
        page = reply.items(items)
        guard.check(reply, page, address)
        yield Batch(page, address, reply)
        if address is None:
            return


def offset_batches(fetch: ByNumber, items: str, *, more: str = "", total: str = "", start: int = 0) -> Iterator[Batch]:
    """Read pages by the number of items before them. ``fetch(offset)``.

    ``more`` is the path of a flag that there are further items, ``total`` that of their number (negative: not known).
    Without them, the list ends with an empty page.
    """
    guard = _Guard()
    offset = start
    while True:
        reply = fetch(offset)
        page = reply.items(items)
        offset += len(page)
        ends = _ends(reply, page, more, total, offset)
        guard.check(reply, page, offset)
        yield Batch(page, None if ends else offset, reply)
        if ends:
            return


def number_batches(fetch: ByNumber, items: str, *, more: str = "", last: str = "", start: int = 1) -> Iterator[Batch]:
    """Read pages by their number. ``fetch(number)``.

    ``more`` is the path of a flag that there are further pages, ``last`` that of the number of the last page (negative:
    not known). Without them, the list ends with an empty page.
    """
    guard = _Guard()
    number = start
    while True:
        reply = fetch(number)
        page = reply.items(items)
        ends = _ends(reply, page, more, last, number)
        number += 1
        guard.check(reply, page, number)
        yield Batch(page, None if ends else number, reply)
        if ends:
            return


def keyset_batches(
    fetch: Callable[[Any], ApiReply], items: str, key: str, *, start: Any = None, numbered: bool = False
) -> Iterator[Batch]:
    """Read pages in the order of a unique id, each after the last id of the one before. ``fetch(last_id)``.

    ``key`` is the path of the id in an item. The bounds of the run, such as ``modified >= since``, must be the same
    for all pages. Order by the id alone, never by a time of change: CRMs cut its digits, and then the same records
    come again and again. The list ends with an empty page; ``next`` of a page that has items is its last id.
    If the ids are ``numbered``, it is checked that they ascend.
    """
    guard = _Guard()
    last = start
    while True:
        reply = fetch(last)
        page = reply.items(items)
        if not page:
            yield Batch(page, None, reply)
            return
        following = value_at(page[-1], key)
        if following is None or following == "":
            raise SourceInvalid(
                f'{reply.vendor} responds to {reply.request} with a record that has no "{key}", so the next page cannot'
                " be found; check the options of this connection"
            )
        if numbered:
            _check_order(reply, [*([] if last is None else [last]), *(value_at(one, key) for one in page)])
        last = following
        guard.check(reply, page, last)
        yield Batch(page, last, reply)


class _Guard:
    """Notices a list that never ends."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def check(self, reply: ApiReply, page: Sequence[Any], following: Any) -> None:
        """Raise SourceInvalid if the page, or the place after an empty page, came before."""
        if not page and following is None:
            return
        mark = b"page" + _digest(page) if page else b"next" + _digest(following)
        if mark in self._seen:
            raise self.repeated(reply)
        self._seen.add(mark)
        if len(self._seen) > MOST_PAGES:
            raise SourceInvalid(
                f"{reply.vendor} sends more than {MOST_PAGES:,} pages for {reply.request}; report it to the maintainers"
            )

    def repeated(self, reply: ApiReply) -> SourceInvalid:
        """Return the error for a page that came before."""
        return SourceInvalid(
            f"{reply.vendor} sends the same page of {reply.request} again, so the list would never end; the run was"
            " stopped, and no record counts as deleted. Run the sync again; if this stays, report it to the maintainers"
            " of the adapter"
        )


def _ends(reply: ApiReply, page: Sequence[Any], more: str, total: str, position: int) -> bool:
    if not page:
        return True
    flag = reply.at(more) if more else None
    if isinstance(flag, bool):
        return not flag
    count = reply.at(total) if total else None
    return isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= position


def _check_order(reply: ApiReply, ids: Sequence[Any]) -> None:
    """Raise SourceInvalid if ids do not ascend: otherwise, records between the pages would be lost."""
    numbers = [int(one) if str(one).isdecimal() else None for one in ids]
    known = [one for one in numbers if one is not None]
    if numbers[-1] is None or any(first >= second for first, second in pairwise(known)):
        raise SourceInvalid(
            f"{reply.vendor} does not respond to {reply.request} in the order of ids, so records could be lost; the run"
            " was stopped. Run the sync again; if this stays, report it to the maintainers of the adapter"
        )


def _token(value: Any) -> str | None:
    """Return a token as text. Some APIs end with null, "" or false, others leave it out."""
    if value is None or value is False or value == "":
        return None
    return str(value)


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).digest()
