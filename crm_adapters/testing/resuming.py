"""Tests of what an adapter promises from run to run: nothing is lost, whenever a run ends and whatever changes."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crm_adapters.base import AdapterError, ContactChange, Cursor, CursorExpired, Page, Removals
from crm_adapters.testing.assertions import (
    assert_json,
    bounded,
    by_id,
    changes_of,
    error_of,
    last_cursor,
    short_list,
    through_storage,
    whole_second_now,
)
from crm_adapters.testing.clock import own_clock
from crm_adapters.testing.hooks import AdapterHooks, FilledCrm, has_hook, only_if
from crm_adapters.testing.samples import SampleContact, contact, contacts

MOST_OF_A_CURSOR = 4000
MOST_OF_A_MEMORY = 64_000

CHOOSES_TIMES = only_if(has_hook("put_at"), "its records have no time of change that a test can choose (hook `put_at`)")
OWN_CLOCK = only_if(lambda kit, _facts: not kit.clock_of_the_crm, "it takes the time from the CRM (`clock_of_the_crm`)")


class ResumesPulls(AdapterHooks):
    """The promises about cursors, changes and deletions."""

    def test_cursors_survive_storage(self, tmp_path: Path) -> None:
        """Cursors are stored as JSON between runs, and do not grow."""
        size = self._facts().adapter.page_size
        with self._filled(tmp_path, max(3 * size + 1, min(12 * size, 600))) as crm:
            cursors = [page.cursor for page in bounded(crm.adapter.pull(None)) if page.cursor is not None]
        for cursor in cursors:
            assert_json(cursor, "the cursor")
        sizes = [len(json.dumps(dict(cursor))) for cursor in cursors]
        half = len(sizes) // 2
        if half:
            early, late = max(sizes[:half]), max(sizes[half:])
            assert late <= early * 1.25 + 32, f"the cursor grows from {early} to {late} characters"
        assert max(sizes, default=0) <= MOST_OF_A_CURSOR, f"a cursor of {max(sizes)} characters"

    def test_resuming_after_any_page_loses_nothing(self, tmp_path: Path) -> None:
        """A run may end after any page; a new adapter continues from the stored cursor."""
        with self._filled(tmp_path) as crm:
            seen: set[str] = set()
            for number, page in enumerate(list(bounded(crm.adapter.pull(None))), 1):
                seen |= {change.external_id for change in changes_of([page])}
                resumed = {change.external_id for change in self._pull(crm.source, page.cursor)}
                lost = crm.ids - seen - resumed
                assert not lost, f"resuming after page {number} loses {short_list(lost)}"

    def test_runs_of_one_page_each_reach_the_end(self, tmp_path: Path) -> None:
        """Runs that are cut short after one page still make progress, even with more than a page of equal times."""
        with self._filled(tmp_path, at=whole_second_now()) as crm:
            runs = 3 * sum(1 for _page in bounded(crm.adapter.pull(None)))
            missing = set(crm.ids)
            cursor: Cursor | None = None
            for _run in range(runs):
                found, cursor = self._first_page(crm.source, cursor)
                missing -= {change.external_id for change in found}
                if not missing:
                    return
        raise AssertionError(f"{runs} runs of one page never reach {short_list(missing)}")

    @CHOOSES_TIMES
    def test_parts_of_a_second_do_not_matter(self, tmp_path: Path) -> None:
        """Many records that were changed within one second are all listed, also by a CRM that shows whole seconds."""
        second = whole_second_now() - timedelta(seconds=5)
        with self._filled(tmp_path, 0) as crm:
            people, parts = contacts(3 * crm.adapter.page_size + 1), 4
            for part in range(parts):
                moment = second + timedelta(microseconds=200_000 * (part + 1))
                crm.people += self._put_all(crm.source, people[part::parts], moment)
            listed = {change.external_id for change in changes_of(crm.adapter.pull(None))}
        lost = crm.ids - listed
        assert not lost, f"of {len(people)} records that were changed in the same second, {short_list(lost)} are lost"

    @CHOOSES_TIMES
    def test_times_of_change_are_right(self, tmp_path: Path) -> None:
        """``updated_at`` is the time of change, to the second and in the right zone, or None."""
        moment = whole_second_now() - timedelta(days=100)
        with self._filled(tmp_path, 2, at=moment) as crm:
            for change in changes_of(crm.adapter.pull(None)):
                told = change.updated_at is None or abs(change.updated_at - moment) < timedelta(seconds=2)
                assert told, f"{change.external_id} was changed at {moment}, and updated_at is {change.updated_at}"

    def test_a_tied_change_is_seen_by_the_next_pull(self, tmp_path: Path) -> None:
        """The next pull sees a record with the same time as the newest record of the last pull."""
        moment = whole_second_now()
        with self._filled(tmp_path, 3, at=moment) as crm:
            cursor = last_cursor(crm.adapter.pull(None))
            self._assert_seen_after(crm.source, cursor, moment, "a change with the same time as the newest")

    def test_a_late_change_is_seen_by_the_next_pull(self, tmp_path: Path) -> None:
        """The next pull sees a change with an earlier time than the newest one, because it was committed late."""
        moment = whole_second_now()
        with self._filled(tmp_path, 3, at=moment) as crm:
            cursor = last_cursor(crm.adapter.pull(None))
            what = f"a change committed {self.late_by.total_seconds():g} seconds late"
            self._assert_seen_after(crm.source, cursor, moment - self.late_by, what)

    def test_a_page_can_be_replayed(self, tmp_path: Path) -> None:
        """After a crash, the same cursor returns the same records."""
        with self._filled(tmp_path) as crm:
            cursor = next(iter(crm.adapter.pull(None))).cursor
            first = by_id(self._pull(crm.source, cursor))
            assert first == by_id(self._pull(crm.source, cursor)), "a replay differs"

    def test_the_next_pull_sees_what_changed(self, tmp_path: Path) -> None:
        """The next pull sees a changed record and a new one, even right after the last pull."""
        with self._filled(tmp_path, 5) as crm:
            cursor = last_cursor(crm.adapter.pull(None))
            changed = self._put(crm.source, replace(crm.people[2], full_name="Zoe Quill"))
            new = self._put(crm.source, contact(7))
            found = {change.external_id: change for change in self._pull(crm.source, cursor)}
            for one in (changed, new):
                assert one.external_id in found, f"the change of {one.external_id} was not seen"
                fields = crm.adapter.contact_fields(found[one.external_id].properties)
                assert fields.full_name == one.full_name, f"the old values of {one.external_id} are read"

    def test_a_change_between_two_pages_is_seen(self, tmp_path: Path) -> None:
        """A record that changes after its page was read is seen by this run or the next, and hides no other."""
        with self._filled(tmp_path, at=whole_second_now() - timedelta(hours=1)) as crm:
            crm.people.append(self._put(crm.source, contact(9001)))  # the next pull need not look an hour back
            pages = crm.adapter.pull(None)
            first = next(pages)
            changed = _one_of(crm, first)
            self._put(crm.source, replace(changed, full_name="Zoe Quill"))
            rest, cursor = _rest(pages, first.cursor)
            later = self._pull(crm.source, cursor)
            listed = {change.external_id for change in [*changes_of([first]), *rest, *later]}
            assert crm.ids <= listed, f"a change between two pages hides {short_list(crm.ids - listed)}"
            names = {crm.adapter.contact_fields(c.properties).full_name for c in [*rest, *later]}
            assert "Zoe Quill" in names, "a change between two pages is lost"

    @only_if(lambda kit, _facts: not kit.pages_shift, "its CRM can only count positions (`pages_shift`)")
    def test_a_deletion_between_two_pages_hides_no_record(self, tmp_path: Path) -> None:
        """A record that is deleted after its page was read does not move another one out of the next page."""
        with self._filled(tmp_path, at=whole_second_now() - timedelta(hours=1)) as crm:
            crm.people.append(self._put(crm.source, contact(9001)))  # the next pull need not look an hour back
            pages = crm.adapter.pull(None)
            first = next(pages)
            gone = _one_of(crm, first).external_id
            self.delete(crm.source, gone)
            rest, cursor = _rest(pages, first.cursor)
            listed = {change.external_id for change in [*changes_of([first]), *rest, *self._pull(crm.source, cursor)]}
            assert crm.ids <= listed, f"a deletion between two pages hides {short_list(crm.ids - listed)}"

    @OWN_CLOCK
    @CHOOSES_TIMES
    def test_a_change_during_a_long_pull_is_seen(self, tmp_path: Path) -> None:
        """A pull may take an hour: what changes meanwhile is seen, so the next bound is not the time of its end."""
        self._assert_seen_in_a_long_run(tmp_path, resumes=False)

    @OWN_CLOCK
    @CHOOSES_TIMES
    def test_a_change_before_a_pull_is_resumed_is_seen(self, tmp_path: Path) -> None:
        """A pull that is resumed an hour later keeps the bounds with which it began."""
        self._assert_seen_in_a_long_run(tmp_path, resumes=True)

    def _assert_seen_in_a_long_run(self, tmp_path: Path, *, resumes: bool) -> None:
        begins = whole_second_now() - timedelta(hours=2)
        hour, second = timedelta(hours=1), timedelta(seconds=1)
        cls = self._facts().cls
        with own_clock(cls) as clock, self._filled(tmp_path, at=begins - second) as crm:
            clock.set(begins)
            pages = crm.adapter.pull(None)
            first = next(pages)
            changed = replace(_one_of(crm, first), full_name="Zoe Quill")
            self._put_all(crm.source, [changed], begins + second)
            self._put_all(crm.source, [contact(9001)], begins + hour - second)
            clock.set(begins + hour)
            if resumes and first.cursor is not None:
                crm.adapter.close()
                with self._open(crm.source) as another:
                    rest, cursor = _rest(another.pull(through_storage(first.cursor)), first.cursor)
            else:
                rest, cursor = _rest(pages, first.cursor)
            clock.set(begins + hour + second)
            later = self._pull(crm.source, cursor)
            clock.set(datetime.now(UTC))
            names = {crm.adapter.contact_fields(c.properties).full_name for c in [*rest, *later]}
        what = "before the pull was resumed" if resumes else "during a pull of an hour"
        assert "Zoe Quill" in names, f"a change {what} is lost"

    def test_deletions_are_told_as_declared(self, tmp_path: Path) -> None:
        """Deletions are reported in the way that ``removals`` declares, and no listing has the record."""
        with self._filled(tmp_path, 5) as crm:
            cursor = last_cursor(crm.adapter.pull(None))
            gone = crm.people[3].external_id
            self.delete(crm.source, gone)
            if crm.adapter.removals is Removals.REPORTED:
                deleted = {change.external_id for change in self._pull(crm.source, cursor) if change.deleted}
                assert gone in deleted, f"{gone} was deleted and not reported"
            live = {change.external_id for change in self._pull(crm.source, None) if not change.deleted}
            assert gone not in live, f"{gone} was deleted and is still listed"
            rest = crm.ids - {gone}
            assert rest <= live, f"not deleted and not listed: {short_list(rest - live)}"

    @only_if(has_hook("merge"), "its CRM does not merge records, or does not tell of it (hook `merge`)")
    def test_a_merged_record_names_its_survivor(self, tmp_path: Path) -> None:
        """The record that a merge removes is reported as deleted, with the id of the one that stays."""
        with self._filled(tmp_path, 3) as crm:
            cursor = last_cursor(crm.adapter.pull(None))
            gone, stays = crm.people[0].external_id, crm.people[2].external_id
            self.merge(crm.source, gone, stays)
            found = {change.external_id: change for change in self._pull(crm.source, cursor)}
            assert gone in found, f"{gone} was merged away and not reported"
            assert found[gone].deleted, f"{gone} was merged away and is not deleted"
            survivor = found[gone].merged_into
            assert survivor == stays, f"{gone} was merged into {stays}, and merged_into is {survivor!r}"

    def test_a_pull_from_the_top_lists_everything_again(self, tmp_path: Path) -> None:
        """``pull(None)`` lists every live record in any run: the engine treats the others as deleted."""
        with self._filled(tmp_path) as crm:
            cursor = last_cursor(crm.adapter.pull(None))
            self._put(crm.source, replace(crm.people[0], full_name="Zoe Quill"))
            self._pull(crm.source, cursor)
            for run in ("a second", "a third"):
                lost = crm.ids - {change.external_id for change in self._pull(crm.source, None)}
                assert not lost, f"{run} listing leaves out {short_list(lost)}"

    def test_its_memory_is_small_json(self, tmp_path: Path) -> None:
        """What an adapter puts into ``services.memory`` can be stored, and does not grow with the records."""
        with self._filled(tmp_path) as crm:
            list(bounded(crm.adapter.pull(None)))
            assert_json(crm.adapter.services.memory, "services.memory")
            size = len(json.dumps(dict(crm.adapter.services.memory)))
            assert size <= MOST_OF_A_MEMORY, f"services.memory has {size} characters, above {MOST_OF_A_MEMORY}"

    @only_if(has_hook("expire"), "its cursors do not expire (hook `expire`)")
    def test_an_expired_cursor_is_refused(self, tmp_path: Path) -> None:
        """A cursor that the CRM refuses raises CursorExpired: not "no changes", and no silent start from the top."""
        with self._filled(tmp_path) as crm:
            pages = list(bounded(crm.adapter.pull(None)))
            self.expire(crm.source)
            for page in (pages[0], pages[-1]):
                if page.cursor is None:
                    continue
                try:
                    error = error_of(lambda cursor=page.cursor: self._pull(crm.source, cursor))
                except AssertionError as nothing:
                    raise AssertionError(f"with an expired cursor, {nothing}") from nothing
                assert isinstance(error, CursorExpired), f"an expired cursor raises {error!r}, not CursorExpired"
            lost = crm.ids - {change.external_id for change in self._pull(crm.source, None)}
            assert not lost, f"from the top, {short_list(lost)} are lost"


def _one_of(crm: FilledCrm, page: Page) -> SampleContact:
    """Return a person of this page."""
    listed = [change.external_id for change in changes_of([page])]
    return next(one for one in crm.people if one.external_id in listed)


def _rest(pages: Iterator[Page], cursor: Cursor | None) -> tuple[list[ContactChange], Cursor | None]:
    """Read the rest of a pull. Return its changes and where the next pull continues, also if it stops with an error."""
    rest: list[ContactChange] = []
    try:
        for page in bounded(pages):
            cursor = page.cursor
            rest += changes_of([page])
    except AdapterError:
        return rest, cursor  # the source changed while it was being read: the next run reads it again
    return rest, cursor
