"""The bounds of a run that reads changes, and times as APIs write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from crm_adapters.base import Cursor, CursorExpired
from crm_adapters.clock import current_time
from crm_adapters.http.reply import ApiReply
from crm_adapters.sql.datetimes import parse_time

OVERLAP = timedelta(minutes=5)
_UTC = ZoneInfo("UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_NUMBER = 20


def moment_of(value: Any, zone: ZoneInfo = _UTC) -> datetime | None:
    """Return a time that an API sent as an aware time in UTC; None if it is none.

    ISO 8601 with or without an offset, a date, and seconds or milliseconds since 1970, as a number or as text. Times
    without an offset are in ``zone``.
    """
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isdecimal() and 8 < len(text) <= _LONGEST_NUMBER else text
    return parse_time(value, zone)


def iso_time(moment: datetime, digits: int = 0) -> str:
    """Write a time for a query, as ``2026-11-28T10:00:00Z``. ``digits`` of the second are kept, the rest is cut off."""
    utc = moment.astimezone(UTC)
    fraction = f".{utc.microsecond:06d}"[: digits + 1] if digits else ""
    return f"{utc:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def epoch_milliseconds(moment: datetime) -> int:
    """Write a time for a query, as milliseconds since 1970. The rest is cut off."""
    return max((moment - _EPOCH) // timedelta(milliseconds=1), 0)


@dataclass(frozen=True, slots=True)
class ChangeWindow:
    """The bounds of one run, which stay the same when it is interrupted and resumed.

    ``since`` is the inclusive lower bound of the times of change; None: a listing, which reads all records. ``until``
    is the upper bound. Use it where the API has such a filter, but **never in a listing**: a record that changes during
    the listing would be left out, and would count as deleted. ``after`` is where to continue.

        window = ChangeWindow.of(cursor)
        for batch in keyset_batches(partial(self._fetch, window), "results", "id", start=window.after):
            window = window.read(batch.reply, (person["updatedAt"] for person in batch.items), batch.next)
            yield Page([...], window.cursor())

    The next run starts at the newest time of change that this run saw, but not after the moment when this run started
    by the CRM's own clock: a record that changes behind the reader's back is read by the next run.
    """

    floor: datetime | None
    until: datetime
    overlap: timedelta = OVERLAP
    after: Any = None
    newest: datetime | None = None
    is_complete: bool = False
    is_started: bool = False

    @classmethod
    def of(cls, cursor: Cursor | None, overlap: timedelta = OVERLAP, *, now: datetime | None = None) -> ChangeWindow:
        """Return the window of a new run, or of the interrupted run that the cursor belongs to.

        Raises CursorExpired for a cursor that another version of the adapter wrote.
        """
        now = current_time() if now is None else now
        if cursor is None:
            return cls(None, now, overlap)
        try:
            floor = _read(cursor["floor"])
            if "until" not in cursor:
                return cls(floor, now, overlap)
            until, newest = datetime.fromisoformat(cursor["until"]), _read(cursor["newest"])
            return cls(floor, until, overlap, cursor["after"], newest, is_started=True)
        except (KeyError, ValueError, TypeError):
            raise CursorExpired("the stored cursor was written by another version of the adapter") from None

    @property
    def since(self) -> datetime | None:
        """Return the inclusive lower bound of the times of change; None: read all records."""
        try:
            return None if self.floor is None else self.floor - self.overlap
        except OverflowError:
            return self.floor

    def read(self, reply: ApiReply, times: Iterable[Any], after: Any) -> ChangeWindow:
        """Return the window after a page. ``times`` are the records' times of change, ``after`` is None at the end."""
        until = self.until if self.is_started else min(self.until, reply.sent_at() or self.until)
        moments = [moment for value in times if (moment := moment_of(value)) is not None]
        newest = max([*moments, *([] if self.newest is None else [self.newest])], default=None)
        return replace(self, until=until, newest=newest, after=after, is_started=True, is_complete=after is None)

    def cursor(self) -> Mapping[str, Any]:
        """Return the cursor after the page that was read last."""
        if self.is_complete:
            return {"floor": self._next_floor().isoformat()}
        return {
            "floor": _write(self.floor),
            "until": self.until.isoformat(),
            "after": self.after,
            "newest": _write(self.newest),
        }

    def _next_floor(self) -> datetime:
        if self.newest is None:
            return self.until if self.floor is None else self.floor
        bound = min(self.newest, self.until)
        return bound if self.floor is None else max(bound, self.floor)


def _read(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _write(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
