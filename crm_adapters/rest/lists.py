"""Reads one list of a JSON API: page by page, whole or what changed, and notices an API that does not do as told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, assert_never
from zoneinfo import ZoneInfo

from crm_adapters.base import Cursor, CursorExpired, Page, SourceInvalid
from crm_adapters.clock import current_time
from crm_adapters.http import (
    ApiReply,
    Batch,
    ChangeWindow,
    HttpApi,
    cursor_batches,
    keyset_batches,
    link_batches,
    number_batches,
    offset_batches,
)
from crm_adapters.rest.asking import Asking, changes_params
from crm_adapters.rest.notes import RunNotes
from crm_adapters.rest.options import (
    ChangesFilter,
    CursorPaging,
    KeysetPaging,
    LinkPaging,
    ListOptions,
    NumberPaging,
    OffsetPaging,
    OnePage,
    RestOptions,
)
from crm_adapters.rest.records import RecordShape, UnreadableItem
from crm_adapters.rest.signs import paging_signs

SLACK = timedelta(minutes=1)
"""A record that is older than what was asked for by more than this shows that the API ignores the filter."""
PROBED = 5
"""Records that are read to find out if a filter of changes works."""
MOST_NAMES = 1000
"""Names of fields that are remembered for each list."""


@dataclass
class PagedList:
    """Reads a list by the paging of the options. ``items`` and ``key`` are the paths of the list and of the ids."""

    api: HttpApi
    options: RestOptions
    asking: Asking
    items: str
    key: str

    def batches(self, period: Mapping[str, Any], start: Any, size: int, *, is_whole: bool) -> Iterator[Batch]:
        """Yield the pages from ``start`` on. ``period`` are the parameters that ask for changes.

        ``is_whole``: everything was asked for, so a number of all records must agree. Raises SourceInvalid if the API
        shows that there is more than what the paging of the options leads to.
        """
        seen, is_first = 0, start is None
        for batch in self._resumed(self._pages(dict(period), start, size), start):
            seen += len(batch.items)
            ended = batch if not self._says_last(batch) else replace(batch, next=None)
            if is_first and not batch.reply.is_empty:
                self._check_first(ended, seen, is_whole=is_whole)
            elif ended.next is None and batch.items and any(paging_signs(batch.reply).flags.values()):
                raise self._overlooked(batch.reply, seen, "a flag says so")
            is_first = False
            yield ended
            if ended.next is None:
                return

    def _resumed(self, pages: Iterator[Batch], start: Any) -> Iterator[Batch]:
        """Yield the pages. If the API refuses the place where an interrupted run stopped, that place has expired."""
        if start is not None:
            try:
                yield next(pages)
            except StopIteration:
                return
            except SourceInvalid as refused:
                raise CursorExpired(
                    f"the place where the last run stopped is not accepted any more: {refused}"
                ) from None
        yield from pages

    def _pages(self, period: dict[str, Any], start: Any, size: int) -> Iterator[Batch]:
        paging, send = self.options.paging, self.asking.send
        if paging.size is not None:
            period[paging.size] = size
        match paging:
            case OnePage():
                return iter([self._only(send(period))])
            case OffsetPaging(parameter=name, total=total, more=more):
                return offset_batches(
                    lambda offset: send(period | {name: offset}), self.items, more=more, total=total, start=start or 0
                )
            case NumberPaging(parameter=name, first=first, last=last, more=more):
                begin = first if start is None else start
                return number_batches(
                    lambda number: send(period | {name: number}), self.items, more=more, last=last, start=begin
                )
            case CursorPaging(parameter=name, next=following):
                return cursor_batches(lambda token: send(period | {name: token}), self.items, following, start=start)
            case LinkPaging(next=link):
                fetch: Callable[[str | None], ApiReply] = lambda address: (  # noqa: E731 - it belongs to this case
                    send(period) if address is None else self.asking.follow(address)
                )
                return link_batches(self.api, fetch, self.items, link, start=start)
            case KeysetPaging(parameter=name):
                return keyset_batches(lambda last: send(period | {name: last}), self.items, self.key, start=start)
        assert_never(paging)

    def _only(self, reply: ApiReply) -> Batch:
        return Batch(reply.items(self.items), None, reply)

    def _says_last(self, batch: Batch) -> bool:
        """Return True if a flag says that this page is the last one: some APIs name a next page all the same."""
        paging = self.options.paging
        return isinstance(paging, CursorPaging) and bool(paging.more) and batch.reply.at(paging.more) is False

    def _check_first(self, batch: Batch, seen: int, *, is_whole: bool) -> None:
        """Compare the first page with the signs of further pages that APIs usually give."""
        reply, paging = batch.reply, self.options.paging
        if isinstance(paging, OffsetPaging) and paging.total:
            total = reply.at(paging.total)
            if isinstance(total, int) and not isinstance(total, bool) and 0 <= total < seen:
                raise SourceInvalid(
                    f'{reply.vendor} sends {seen} records to {reply.request}, and "{paging.total}" is {total}: it is'
                    " not the number of all records. Correct paging.total in the options of this connection"
                )
        if batch.next is not None:
            return
        counts = is_whole and isinstance(paging, OnePage | CursorPaging | LinkPaging)
        if sign := paging_signs(reply).further(seen, totals=counts):
            raise self._overlooked(reply, seen, sign)

    def _overlooked(self, reply: ApiReply, seen: int, sign: str) -> SourceInvalid:
        return SourceInvalid(
            f"{reply.vendor} has more records than the {seen} that it sent for {reply.request} ({sign}), and paging of"
            f' kind "{self.options.paging.kind}" does not lead to them. Correct paging in the options of this'
            " connection; no record counts as deleted"
        )


class RestList:
    """Reads the records of one kind. Its part of the cursor has the bounds of its run, and of its deleted records."""

    def __init__(
        self,
        api: HttpApi,
        options: RestOptions,
        chosen: ListOptions,
        shape: RecordShape,
        memory: MutableMapping[str, Any],
        notes: RunNotes,
    ) -> None:
        self.api = api
        self.options = options
        self.chosen = chosen
        self.shape = shape
        self.notes = notes
        self._memory = memory
        self._zone = ZoneInfo(options.timezone)
        self._list = PagedList(api, options, Asking.of(api, options, chosen), chosen.records, chosen.id)

    @property
    def where(self) -> str:
        """What the list is called for people."""
        return f"{self.options.vendor} {self.chosen.path or 'list'}"

    def first(self, size: int, since: datetime | None = None) -> Batch:
        """Return one page, to see what the records are like."""
        period = {} if since is None else self._period(since, current_time())
        return next(self._list.batches(period, None, min(size, self.options.page_size), is_whole=since is None))

    def known_names(self, batch: Batch) -> list[str]:
        """Return the names of all fields that the list is known to have: those of this page, and the remembered ones.

        A field that no record of the last listing had is forgotten, so that it is unknown and not empty.
        """
        return sorted({*chain.from_iterable(map(self.shape.properties, batch.items)), *self._remembered()})

    def pages(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the pages of a run. The cursors are those of this list alone."""
        own = dict(cursor or {})
        if self._lists_deleted:
            yield from self._deleted_pages(own)
        yield from self._record_pages(own)

    def live_ids(self) -> Iterator[Sequence[str]]:
        """Yield the ids of all records, by the list of ids."""
        ids = self.chosen.ids
        if ids is None:
            raise SourceInvalid(f"{self.where} has no list of ids; set ids in the options of this connection")
        asking = Asking(self.api, self.options, ids.path, params=ids.params)
        listed = PagedList(self.api, self.options, asking, ids.records, ids.id)
        for batch in listed.batches({}, None, self.options.page_size, is_whole=True):
            try:
                yield [
                    self.shape.external_id(item, ids.id)
                    for item in batch.items
                    if not isinstance(item, Mapping) or not self.shape.is_deleted(item, strict=False)
                ]
            except UnreadableItem as problem:
                raise SourceInvalid(
                    f"{self.where}: an entry of the list of ids cannot be read, so nothing counts as deleted. {problem}"
                ) from None

    @property
    def _lists_deleted(self) -> bool:
        return self.chosen.deleted is not None and self.chosen.deleted.path is not None

    def _record_pages(self, own: dict[str, Any]) -> Iterator[Page]:
        since = self.chosen.since
        begun = own.get("records")
        window = ChangeWindow.of(begun, timedelta() if since is None else since.overlap)
        if since is None and "until" not in (begun or {}):
            window = replace(window, floor=None)  # without a filter, every run reads everything
        if window.after is None:
            self._memory.setdefault("listed", {}).pop(self.shape.kind, None)
        is_listing = window.since is None
        period = self._period(window.since, window.until)
        expected = not is_listing and bool((begun or {}).get("seen"))
        for batch in self._list.batches(period, window.after, self.options.page_size, is_whole=is_listing):
            if expected and not batch.items and batch.next is None and not self._is_proved:
                self._prove_filter()
            expected = expected and not batch.items
            found = list(map(self.shape.properties, batch.items))
            known = self._learn(set().union(*found), is_listing=is_listing, is_last=batch.next is None)
            before = window.cursor()
            times = [moment for item in batch.items if (moment := self.shape.changed(item)) is not None]
            window = window.read(batch.reply, times, batch.next)
            if not is_listing:
                self._judge_filter(window, times)
            if is_listing and self._lists_deleted:
                own["deleted"] = {"floor": window.until.isoformat()}
            changes = [
                self.shape.change(item, properties, known, f"{self.where}, entry {number} of a page")
                for number, (item, properties) in enumerate(zip(batch.items, found, strict=True), 1)
            ]
            yield from self._cut(changes, own, before, self._after(window))

    def _after(self, window: ChangeWindow) -> dict[str, Any]:
        cursor = dict(window.cursor())
        if window.is_complete and window.newest is not None:
            # A record has this time, so asking for changes since then must find it.
            cursor["seen"] = window.newest <= window.until
        return cursor

    def _cut(
        self, changes: Sequence[Any], own: dict[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> Iterator[Page]:
        """Yield a page in parts of the size that the engine commits: some APIs send more than what was asked for."""
        size = self.options.page_size
        for start in range(0, max(len(changes), 1), size):
            is_last = start + size >= len(changes)
            own["records"] = dict(after if is_last else before)
            yield Page(changes[start : start + size], dict(own))

    def _deleted_pages(self, own: dict[str, Any]) -> Iterator[Page]:
        """Yield what was deleted since the last run. A listing needs none of it: what it does not list is deleted."""
        deleted, since = self.chosen.deleted, self.chosen.since
        if deleted is None or deleted.path is None or since is None:
            return
        if "until" in own.get("records", {"until": ""}):
            return  # it is a listing, or the run was interrupted after this part
        window = ChangeWindow.of(own.get("deleted"), since.overlap)
        period = dict(deleted.params)
        if deleted.since is not None and window.since is not None:
            asked = ChangesFilter(parameter=deleted.since, field=since.field, format=since.format)
            period |= changes_params(asked, window.since, window.until, self._zone)
        asking = Asking(self.api, self.options, deleted.path)
        listed = PagedList(self.api, self.options, asking, deleted.records, deleted.id)
        for batch in listed.batches(period, window.after, self.options.page_size, is_whole=False):
            before = dict(own)
            window = window.read(batch.reply, map(self.shape.changed, batch.items), batch.next)
            own["deleted"] = dict(window.cursor())
            yield from self._removed(batch, deleted.id, before, own)

    def _removed(self, batch: Batch, key: str, before: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Page]:
        changes = [self.shape.removal(item, key, f"{self.where}, deleted records") for item in batch.items]
        size = self.options.page_size
        for start in range(0, max(len(changes), 1), size):
            yield Page(changes[start : start + size], dict(own if start + size >= len(changes) else before))

    def _period(self, start: datetime | None, until: datetime | None) -> dict[str, Any]:
        deleted = self.chosen.deleted
        if self.chosen.since is None or start is None or until is None:
            return {}
        marked = dict(deleted.params) if deleted is not None and deleted.field is not None else {}
        return marked | changes_params(self.chosen.since, start, until, self._zone)

    def _remembered(self) -> Sequence[str]:
        names: Sequence[str] = self._memory.get("fields", {}).get(self.shape.kind, ())
        return names

    def _learn(self, here: set[str], *, is_listing: bool, is_last: bool) -> list[str]:
        """Remember the names of the fields of a page. After a listing, forget those that no record had."""
        kind, fields = self.shape.kind, self._memory.setdefault("fields", {})
        known = sorted(here | set(self._remembered()))
        fields[kind] = known[:MOST_NAMES]
        if is_listing:
            listed = self._memory.setdefault("listed", {})
            seen = sorted(here | set(listed.get(kind, ())))
            listed[kind] = seen[:MOST_NAMES]
            if is_last:
                fields[kind] = listed.pop(kind)
        return known

    @property
    def _is_proved(self) -> bool:
        """True if the filter of changes has found a record before."""
        return self.shape.kind in self._memory.get("filters", ())

    def _judge_filter(self, window: ChangeWindow, times: Sequence[datetime]) -> None:
        if window.since is None or not times or self.chosen.since is None:
            return
        if any(moment >= window.since for moment in times) and not self._is_proved:
            self._remember_proof()
        if older := sum(map(partial(is_older, self.chosen.since, window.since), times)):
            self.notes.count_ignored(self.where, self.chosen.since.parameter, older)

    def _prove_filter(self) -> None:
        """Find out why there is no change: the newest record is gone, or the API does not understand the filter."""
        items = self.first(PROBED).items
        times = [moment for item in items if (moment := self.shape.changed(item)) is not None]
        if not times or self.chosen.since is None:
            return  # there is no record that the filter could find
        if self.first(PROBED, max(times)).items:
            self._remember_proof()
            return
        reason = (
            f'{self.where}: "{self.chosen.since.parameter}" finds nothing since {max(times):%Y-%m-%d %H:%M} UTC'
            " although a record changed then, so everything was read again; correct since in the options"
        )
        self.notes.say_again(reason)
        raise CursorExpired(reason)

    def _remember_proof(self) -> None:
        self._memory["filters"] = [*self._memory.get("filters", ()), self.shape.kind]


def is_older(since: ChangesFilter, start: datetime, moment: datetime) -> bool:
    """Return True if a record is clearly older than what was asked for."""
    return moment < start - (timedelta(days=2) if since.format == "date" else SLACK)
