"""Broken adapters: what they lose from run to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from crm_adapters.base import ContactChange, Cursor, CursorExpired, Page
from tests.adapters.broken.catalogue import caught_by
from tests.adapters.broken.good import Good


@caught_by("cursors_survive_storage", "JSON changes the cursor")
class HasATupleInItsCursor(Good):
    """has a cursor that JSON changes"""

    def end(self, run: Mapping[str, Any]) -> Cursor:
        return {**super().end(run), "window": (1, 2)}


@caught_by("cursors_survive_storage", "the cursor cannot be stored as JSON")
class HasATimeInItsCursor(Good):
    """has a cursor that is not JSON"""

    def end(self, run: Mapping[str, Any]) -> Cursor:
        return {**super().end(run), "at": datetime.now(UTC)}


@caught_by("cursors_survive_storage", "the cursor grows from")
class RemembersIdsInItsCursor(Good):
    """has a cursor that grows with every page"""

    def position(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        self.seen = [*getattr(self, "seen", []), *(row["id"] for row in rows)]
        return super().position(rows) | {"seen": self.seen}


@caught_by("cursors_survive_storage", "a cursor of .* characters")
class KeepsAPageInItsCursor(Good):
    """has a cursor as long as a page"""

    def position(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return super().position(rows) | {"page": "x" * 5000}


@caught_by("resuming_after_any_page_loses_nothing", "resuming after page 1 loses 6")
class SkipsOneOnResuming(Good):
    """leaves out the first record after a resumption"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        skips = {"after": cursor["after"] + 1} if cursor and "after" in cursor else {}
        yield from super().pull(cursor and {**cursor, **skips})


@caught_by("resuming_after_any_page_loses_nothing", "resuming after page 1 loses")
class SavesTheCursorOfTheNextPage(Good):
    """yields the cursor of the page after"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        before: Page | None = None
        for page in super().pull(cursor):
            if before is not None:
                yield Page(before.changes, page.cursor)
            before = page
        if before is not None:
            yield before


@caught_by("runs_of_one_page_each_reach_the_end", "runs of one page never reach")
class StartsAgainAfterEachRun(Good):
    """forgets where an interrupted run was"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().pull(cursor):
            yield Page(page.changes, {"from": None, "generation": 1} if page.changes else page.cursor)


class ReadsInOrderOfTime(Good):
    """reads in the order of time"""

    def new_run(self, cursor: Cursor | None) -> dict[str, Any]:
        return super().new_run(None) | dict(cursor or {}) | {"table": "people"}

    def query(self, run: Mapping[str, Any]) -> dict[str, Any]:
        return super().query(run) | {"order": "time"}

    def position(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"after": rows[-1]["id"], "from": rows[-1]["changed"]}

    def end(self, run: Mapping[str, Any]) -> Cursor:
        return {"from": run["from"], "after": 0, "generation": run["generation"]}


@caught_by("parts_of_a_second_do_not_matter", "the pull repeats page 1")
class TrustsTheTextbook(ReadsInOrderOfTime):
    """pages by time and id where the CRM hides microseconds, and reads the same page without end"""


@caught_by("a_tied_change_is_seen_by_the_next_pull", "a change with the same time as the newest is lost")
class AsksForLaterTimes(Good):
    """asks only for times after the newest one"""

    def bound(self, newest: str) -> str:
        return (datetime.fromisoformat(newest) + timedelta(seconds=1)).isoformat()


@caught_by("a_late_change_is_seen_by_the_next_pull", "committed 5 seconds late is lost")
class HasNoOverlap(Good):
    """asks for times from the newest one on, without an overlap"""

    def bound(self, newest: str) -> str:
        return newest


@caught_by("times_of_change_are_right", "and updated_at is")
class TakesLocalTimeForUtc(Good):
    """takes the CRM's local times for UTC"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        change = super().person(row)
        return change._replace(updated_at=change.updated_at and change.updated_at + timedelta(hours=2))


@caught_by("times_of_change_are_right", "and updated_at is")
class GivesTheTimeOfReading(Good):
    """gives the time of reading as the time of change"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(updated_at=datetime.now(UTC))


@caught_by("a_merged_record_names_its_survivor", "and merged_into is None")
class ForgetsTheSurvivor(Good):
    """does not say into which record another one was merged"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(merged_into=None)


@caught_by("a_merged_record_names_its_survivor", "1 was merged away and is not deleted")
class KeepsTheMerged(Good):
    """lists a record that was merged away as a live one"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        change = super().person(row)
        return change._replace(deleted=change.deleted and change.merged_into is None)


@caught_by("a_page_can_be_replayed", "a replay differs")
class ReadsEachPageOnce(Good):
    """lets the CRM forget a page when it was read"""

    done: frozenset[int] = frozenset()

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        seen = ReadsEachPageOnce.done
        fresh = [row for row in rows if (id(self.services), row["id"]) and row["id"] not in seen]
        ReadsEachPageOnce.done = seen | {row["id"] for row in rows}
        return super().page(run, fresh)


@caught_by("the_next_pull_sees_what_changed", "the change of 3 was not seen")
class SeesNewRecordsOnly(Good):
    """sees new records and no changes"""

    def new_run(self, cursor: Cursor | None) -> dict[str, Any]:
        run = super().new_run(cursor)
        return run | ({"after": cursor["last"]} if cursor else {})

    def end(self, run: Mapping[str, Any]) -> Cursor:
        rows = self.rows({**run, "table": "people", "after": 0, "from": None})
        return {**super().end(run), "last": rows[-1]["id"] if rows else 0}


@caught_by("the_next_pull_sees_what_changed", "the old values of 3 are read")
class RemembersOldValues(Good):
    """keeps the values of the first run"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        names = self.services.memory.setdefault("names", {})
        return super().properties(row) | {"name": names.setdefault(str(row["id"]), row["name"])}


@caught_by("a_change_between_two_pages_is_seen", "a change between two pages is lost")
class TakesItsBoundAtTheEnd(Good):
    """takes the next bound when a run ends"""

    def end(self, run: Mapping[str, Any]) -> Cursor:
        now = datetime.now(UTC) + timedelta(seconds=1)
        return {**super().end(run), "from": now.isoformat()}


@caught_by("a_change_during_a_long_pull_is_seen", "a change during a pull of an hour is lost")
class WatchesTheClockAtTheEnd(Good):
    """takes the next bound from the clock when a run ends, less an overlap of five minutes"""

    def end(self, run: Mapping[str, Any]) -> Cursor:
        return {**super().end(run), "from": (datetime.now(UTC) - timedelta(minutes=5)).isoformat()}


@caught_by("a_change_during_a_long_pull_is_seen", "a change during a pull of an hour is lost")
class AsksForTheNewestAtTheEnd(Good):
    """takes the next bound from the newest change when a run ends"""

    def end(self, run: Mapping[str, Any]) -> Cursor:
        return {**super().end(run), "from": self.bound(self.status()["newest"])}


@caught_by("a_change_before_a_pull_is_resumed_is_seen", "a change before the pull was resumed is lost")
class TakesANewBoundOnResuming(Good):
    """takes a new bound when a run is resumed"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        if cursor and "table" in cursor:
            cursor = {**cursor, "next": self.bound(self.status()["newest"])}
        yield from super().pull(cursor)


class CountsPositions(Good):
    """counts positions"""

    def query(self, run: Mapping[str, Any]) -> dict[str, Any]:
        return super().query(run) | {"after": 0, "offset": run["after"]}

    def rows(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.start = run["after"]
        return super().rows(run)

    def position(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"after": self.start + len(rows)}


@caught_by("a_deletion_between_two_pages_hides_no_record", "a deletion between two pages hides 6")
class PagesByPosition(CountsPositions):
    """pages by position, so that a deletion hides a record"""


@caught_by("deletions_are_told_as_declared", "4 was deleted and not reported")
class HidesDeletions(Good):
    """leaves deletions out"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        return super().page(run, [row for row in rows if not row.get("deleted", False)])


@caught_by("deletions_are_told_as_declared", "4 was deleted and not reported")
class RevivesTheDeleted(Good):
    """lists a deleted record as a live one"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(deleted=False)


@caught_by("a_pull_from_the_top_lists_everything_again", "a second listing leaves out")
@caught_by("deletions_are_told_as_declared", "not deleted and not listed")
class RemembersItsBound(Good):
    """lists only what changed when it is asked for everything, because it remembers the last run"""

    def new_run(self, cursor: Cursor | None) -> dict[str, Any]:
        run = super().new_run(cursor)
        run["from"] = run["from"] or self.services.memory.get("from")
        return run

    def end(self, run: Mapping[str, Any]) -> Cursor:
        self.services.memory["from"] = datetime.now(UTC).isoformat()
        return super().end(run)


@caught_by("its_memory_is_small_json", "services.memory cannot be stored as JSON")
class RemembersATime(Good):
    """puts something into its memory that is not JSON"""

    def end(self, run: Mapping[str, Any]) -> Cursor:
        self.services.memory["at"] = datetime.now(UTC)
        return super().end(run)


@caught_by("its_memory_is_small_json", "services.memory has .* characters, above")
class RemembersEverything(Good):
    """remembers every record from run to run"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        self.services.memory[f"person {row['id']}"] = str(row) * 40
        return super().properties(row)


@caught_by("an_expired_cursor_is_refused", "with an expired cursor, it raises nothing")
class TakesAnExpiredCursorForNoChanges(Good):
    """takes an expired cursor for "no changes" """

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        try:
            yield from super().pull(cursor)
        except CursorExpired:
            yield Page((), cursor)


@caught_by("an_expired_cursor_is_refused", "with an expired cursor, it raises nothing")
class StartsAgainInSilence(Good):
    """starts from the top in silence when its cursor has expired"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        try:
            yield from super().pull(cursor)
        except CursorExpired:
            yield from super().pull(None)


@caught_by("an_expired_cursor_is_refused", "not CursorExpired")
class BlamesTheTokenForItsCursor(Good):
    """takes an expired cursor for a wrong address"""

    def error(self, answer: Any) -> Any:
        answer.status_code = 404 if answer.status_code == 410 else answer.status_code
        return super().error(answer)
