"""Tests of what every adapter promises when it reads its CRM."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import gc
import inspect
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crm_adapters.base import (
    AdapterError,
    CheckReport,
    Cursor,
    Properties,
    Removals,
)
from crm_adapters.testing.assertions import (
    assert_json,
    assert_readable,
    by_id,
    changes_of,
    last_cursor,
    live_changes,
    refusal_text,
    short_list,
    whole_second_now,
)
from crm_adapters.testing.hooks import AdapterHooks
from crm_adapters.testing.samples import JSON_VALUES, ODD_VALUES, contact, contacts


class AdapterConformance(AdapterHooks):
    """Inherit as ``class Test...`` and fill in the hooks."""

    def test_it_describes_itself(self, tmp_path: Path) -> None:
        """`vtsync adapters` shows the name, the summary and the description of each option."""
        cls = type(self.adapter(self.make_source(tmp_path)))
        assert cls.name, "an adapter has a name"
        assert cls.name == cls.name.lower().strip(), f"{cls.name!r} is written in lower case, without spaces"
        assert cls.summary, "an adapter has a summary"
        assert "\n" not in cls.summary, "the summary is one line"
        for name, field in cls.Options.model_fields.items():
            assert field.description, f"the option {name} needs a description"

    def test_unknown_options_are_refused(self, tmp_path: Path) -> None:
        """A misspelt option is an error."""
        options = type(self.adapter(self.make_source(tmp_path))).Options
        try:
            options.model_validate({"no_such_option": 1})
        except ValidationError as error:
            kinds = {problem["type"] for problem in error.errors(include_input=False, include_url=False)}
            assert "extra_forbidden" in kinds, 'Options needs model_config = ConfigDict(extra="forbid")'
        else:
            raise AssertionError("Options accepts an unknown key")

    def test_check_reports_in_one_line(self, tmp_path: Path) -> None:
        """``check`` reports one line for a person."""
        with self._filled(tmp_path, 3) as (_source, adapter):
            report = adapter.check()
        assert isinstance(report, CheckReport)
        assert report.summary, "the summary says what was found"
        assert "\n" not in report.summary, "the summary is one line"

    def test_a_pull_lists_every_record(self, tmp_path: Path) -> None:
        """A pull over several pages lists every record, with a text id."""
        with self._filled(tmp_path) as (_source, adapter):
            ids = [change.external_id for change in changes_of(adapter.pull(None))]
            wanted = {one.external_id for one in contacts(self._many(adapter))}
        assert all(isinstance(external_id, str) and external_id for external_id in ids), "ids are non-empty text"
        assert set(ids) == wanted, (
            f"missing: {short_list(wanted - set(ids))}; not in the CRM: {short_list(set(ids) - wanted)}"
        )

    def test_a_pull_lists_each_record_once(self, tmp_path: Path) -> None:
        """Two records with the same id would overwrite each other in every run."""
        with self._filled(tmp_path) as (_source, adapter):
            ids = [change.external_id for change in changes_of(adapter.pull(None))]
        twice = {external_id for external_id, count in Counter(ids).items() if count > 1}
        assert self.repeats or not twice, f"listed more than once: {short_list(twice)}"

    def test_pages_keep_to_their_size(self, tmp_path: Path) -> None:
        """No page is longer than ``page_size``: the engine commits one page at a time."""
        with self._filled(tmp_path) as (_source, adapter):
            sizes = [len(page.changes) for page in adapter.pull(None)]
            assert max(sizes) <= adapter.page_size, f"a page holds {max(sizes)} changes, above {adapter.page_size}"

    def test_properties_are_json(self, tmp_path: Path) -> None:
        """Properties are stored and hashed as JSON; times have a time zone."""
        with self._filled(tmp_path, 3) as (_source, adapter):
            changes = list(changes_of(adapter.pull(None)))
        for change in changes:
            assert all(isinstance(name, str) for name in change.properties), "names of properties are text"
            assert_json(change.properties, f"the properties of {change.external_id}")
            zone = change.updated_at is None or change.updated_at.utcoffset() is not None
            assert zone, f"updated_at of {change.external_id} has no time zone"

    def test_cursors_survive_storage(self, tmp_path: Path) -> None:
        """Cursors are stored as JSON between runs."""
        with self._filled(tmp_path) as (_source, adapter):
            for page in adapter.pull(None):
                if page.cursor is not None:
                    assert_json(page.cursor, "the cursor")

    def test_resuming_after_any_page_loses_nothing(self, tmp_path: Path) -> None:
        """A run may end after any page; a new adapter continues from the stored cursor."""
        with self._filled(tmp_path) as (source, adapter):
            pages = list(adapter.pull(None))
            wanted = {one.external_id for one in contacts(self._many(adapter))}
            seen: set[str] = set()
            for number, page in enumerate(pages, 1):
                seen |= {change.external_id for change in changes_of([page])}
                resumed = {change.external_id for change in self._pull(source, page.cursor)}
                lost = wanted - seen - resumed
                assert not lost, f"resuming after page {number} loses {short_list(lost)}"

    def test_runs_of_one_page_each_reach_the_end(self, tmp_path: Path) -> None:
        """Runs that are cut short after one page still make progress, even with more than a page of equal times."""
        with self._filled(tmp_path, 0) as (source, adapter):
            wanted = contacts(self._many(adapter))
            self.put_at(source, wanted, whole_second_now())
            runs = 3 * sum(1 for _page in adapter.pull(None))
        missing = {one.external_id for one in wanted}
        cursor: Cursor | None = None
        for _run in range(runs):
            found, cursor = self._first_page(source, cursor)
            missing -= {change.external_id for change in found}
            if not missing:
                return
        raise AssertionError(f"{runs} runs of one page never reach {short_list(missing)}")

    def test_a_tied_change_is_seen_by_the_next_pull(self, tmp_path: Path) -> None:
        """The next pull sees a record with the same time as the newest record of the last pull."""
        with self._filled(tmp_path, 0) as (source, adapter):
            moment = whole_second_now()
            self.put_at(source, contacts(3), moment)
            cursor = last_cursor(adapter.pull(None))
            self._assert_seen_after(source, cursor, moment, "a change with the same time as the newest")

    def test_a_late_change_is_seen_by_the_next_pull(self, tmp_path: Path) -> None:
        """The next pull sees a change with an earlier time than the newest one, because it was committed late."""
        with self._filled(tmp_path, 0) as (source, adapter):
            moment = whole_second_now()
            self.put_at(source, contacts(3), moment)
            cursor = last_cursor(adapter.pull(None))
            what = f"a change committed {self.late_by.total_seconds():g} seconds late"
            self._assert_seen_after(source, cursor, moment - self.late_by, what)

    def test_a_page_can_be_replayed(self, tmp_path: Path) -> None:
        """After a crash, the same cursor returns the same records."""
        with self._filled(tmp_path) as (source, adapter):
            cursor = next(iter(adapter.pull(None))).cursor
            assert by_id(self._pull(source, cursor)) == by_id(self._pull(source, cursor)), "a replay differs"

    def test_an_unchanged_source_reads_the_same(self, tmp_path: Path) -> None:
        """Otherwise every record would look changed in every run."""
        with self._filled(tmp_path, 5) as (source, adapter):
            assert by_id(changes_of(adapter.pull(None))) == by_id(self._pull(source, None)), "two pulls differ"

    def test_the_next_pull_sees_what_changed(self, tmp_path: Path) -> None:
        """The next pull sees a changed record and a new one, even right after the last pull."""
        with self._filled(tmp_path, 5) as (source, adapter):
            cursor = last_cursor(adapter.pull(None))
            changed, new = replace(contact(2), full_name="Zoe Quill"), contact(7)
            self.put(source, changed)
            self.put(source, new)
            found = {change.external_id: change for change in self._pull(source, cursor)}
            for one in (changed, new):
                assert one.external_id in found, f"the change of {one.external_id} was not seen"
                fields = adapter.contact_fields(found[one.external_id].properties)
                assert fields.full_name == one.full_name, f"the old values of {one.external_id} are read"

    def test_deletions_are_told_as_declared(self, tmp_path: Path) -> None:
        """Deletions are reported in the way that ``removals`` declares."""
        with self._filled(tmp_path, 5) as (source, adapter):
            cursor = last_cursor(adapter.pull(None))
            gone = contact(3).external_id
            self.delete(source, gone)
            if adapter.removals is Removals.REPORTED:
                deleted = {change.external_id for change in self._pull(source, cursor) if change.deleted}
                assert gone in deleted, f"{gone} was deleted and not reported"
            live = {change.external_id for change in self._pull(source, None) if not change.deleted}
            if adapter.removals is not Removals.UNSEEN:
                assert gone not in live, f"{gone} was deleted and is still listed"
            rest = {one.external_id for one in contacts(5)} - {gone}
            assert rest <= live, f"not deleted and not listed: {short_list(rest - live)}"

    def test_pages_are_read_when_they_are_asked_for(self, tmp_path: Path) -> None:
        """Memory does not grow with the number of records."""
        with self._filled(tmp_path) as (_source, adapter):
            pages = adapter.pull(None)
            assert isinstance(pages, Iterator), "pull yields its pages"
            gc.collect()
            before = live_changes()
            first = next(pages)
            held = live_changes() - before
            limit = max(2 * len(first.changes), adapter.page_size)
            assert held <= limit, f"after the first page of {len(first.changes)}, {held} records are held"

    def test_contact_fields_are_found(self, tmp_path: Path) -> None:
        """Phone, name and email of a plain record."""
        with self._filled(tmp_path, 3) as (_source, adapter):
            (record,) = [change for change in changes_of(adapter.pull(None)) if change.external_id == "1001"]
            fields = adapter.contact_fields(record.properties)
        digits = ["".join(filter(str.isdigit, text)) for _name, text in fields.phones]
        assert contact(1).phone.lstrip("+") in digits, f"the phone is not among {digits}"
        assert (fields.full_name, fields.email) == (contact(1).full_name, contact(1).email)

    def test_contact_fields_never_raise(self, tmp_path: Path) -> None:
        """``contact_fields`` accepts any value in any field, and missing fields."""
        with self._filled(tmp_path, 1) as (_source, adapter):
            properties = dict(next(changes_of(adapter.pull(None))).properties)
            variants: list[Properties] = [{}, {"nothing": "usual"}]
            variants += [{**properties, name: odd} for name in properties for odd in ODD_VALUES]
            variants += [dict.fromkeys(properties, odd) for odd in ODD_VALUES]
            for variant in variants:
                assert_readable(adapter, variant)

            @settings(
                max_examples=50,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            )
            @given(st.dictionaries(st.sampled_from(sorted(properties)), JSON_VALUES, max_size=6))
            def any_json_is_read(values: dict[str, Any]) -> None:
                assert_readable(adapter, {**properties, **values})

            any_json_is_read()

    def test_a_broken_source_is_an_adapter_error_for_people(self, tmp_path: Path) -> None:
        """The error's class says what the engine should do; its text names the source and the remedy."""
        with self._filled(tmp_path, 1) as (source, _adapter):
            names = self.names_of(source)
            for error in self._errors(source):
                text = str(error)
                assert type(error) is not AdapterError, "raise the subclass that says what should be done"
                named = any(name.casefold() in text.casefold() for name in names)
                assert named, f"the error names none of {short_list(names)}: {text!r}"
                remedy = re.search(r"\w[;:,.(] ?.*\w", text)
                assert remedy, f"the error does not say what to do: {text!r}"

    def test_secrets_are_never_shown(self, tmp_path: Path) -> None:
        """Secrets are in no repr, error or traceback, and not in the text that refuses an option."""
        with self._filled(tmp_path, 1) as (source, adapter):
            secrets = self.secrets(source)
            shown = [repr(adapter), str(adapter), repr(adapter.options), str(adapter.options)]
            shown += [refusal_text(type(adapter).Options, secret) for secret in secrets]
            shown += ["".join(traceback.format_exception(error)) for error in self._errors(source)]
        for secret in secrets:
            for text in shown:
                before, found, after = text.partition(secret)
                assert not found, f"a secret can be read: {before[-200:]}[the secret]{after[:200]}"

    def test_closing_is_harmless(self, tmp_path: Path) -> None:
        """``close`` works before the first pull, in the middle of one, and twice."""
        with self._filled(tmp_path, 3) as (source, _adapter):
            unused = self.adapter(source)
            unused.close()
            used = self.adapter(source)
            pages = used.pull(None)
            next(pages)
            if inspect.isgenerator(pages):
                pages.close()
            used.close()
            used.close()
