"""Tests of what an adapter lists: every record once, whole, and as plain values."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, Properties, UnreadableRecord
from crm_adapters.fields import find_column
from crm_adapters.testing.assertions import (
    assert_flat,
    assert_json,
    assert_readable,
    bounded,
    by_id,
    changes_of,
    live_changes,
    short_list,
)
from crm_adapters.testing.hooks import AdapterHooks, FilledCrm, has_hook, only_if
from crm_adapters.testing.proxy import with_odd_record
from crm_adapters.testing.samples import JSON_VALUES, NAMES, ODD_VALUES, contact

BYTES_PER_PULL, BYTES_PER_PAGED_RECORD, BYTES_PER_RECORD = 2_000_000, 4_000, 50
"""What the first page may need. An adapter that reads everything first needs more."""
BLOCKS_PER_PAGED_RECORD = 100
"""Blocks of memory for each record of a page: names, values, the record itself."""
ODD_IN_JSON: tuple[Any, ...] = (None, {"a": [1]}, [], "garbage", -1)


class ListsRecords(AdapterHooks):
    """The promises about one complete pull."""

    def test_a_pull_lists_every_record(self, tmp_path: Path) -> None:
        """A pull over several pages lists every record, with a text id."""
        with self._filled(tmp_path) as crm:
            ids = [change.external_id for change in changes_of(crm.adapter.pull(None))]
        assert all(isinstance(external_id, str) and external_id for external_id in ids), "ids are non-empty text"
        missing, foreign = crm.ids - set(ids), set(ids) - crm.ids
        assert not missing and not foreign, f"missing: {short_list(missing)}; not in the CRM: {short_list(foreign)}"  # noqa: PT018

    def test_full_pages_are_listed(self, tmp_path: Path) -> None:
        """A pull of exactly one page, or of two, lists every record, and ends."""
        for pages in (1, 2):
            (tmp_path / str(pages)).mkdir()
            with self._filled(tmp_path / str(pages), pages * self._facts().adapter.page_size) as crm:
                ids = {change.external_id for change in changes_of(crm.adapter.pull(None))}
                lost = crm.ids - ids
                assert not lost, f"of {len(crm.ids)} records, {short_list(lost)} are missing"

    def test_an_empty_crm_is_read(self, tmp_path: Path) -> None:
        """A CRM without records has no changes, and the next pull sees the first one."""
        with self._filled(tmp_path, 0) as crm:
            pages = list(bounded(crm.adapter.pull(None)))
            found = [change for page in pages for change in page.changes]
            assert not found, f"an empty CRM lists {short_list(found)}"
            first = self._put(crm.source, contact(1))
            seen = {change.external_id for change in self._pull(crm.source, pages[-1].cursor if pages else None)}
            assert first.external_id in seen, "the first record is lost"

    def test_a_pull_lists_each_record_once(self, tmp_path: Path) -> None:
        """A pull lists no id twice: two records with the same id would overwrite each other in every run."""
        with self._filled(tmp_path) as crm:
            ids = [change.external_id for change in changes_of(crm.adapter.pull(None))]
        twice = {external_id for external_id, count in Counter(ids).items() if count > 1}
        assert self.repeats or not twice, f"listed more than once: {short_list(twice)}"

    def test_pages_keep_to_their_size(self, tmp_path: Path) -> None:
        """No page is longer than ``page_size``: the engine commits one page at a time."""
        with self._filled(tmp_path) as crm:
            most = max(len(page.changes) for page in bounded(crm.adapter.pull(None)))
            assert most <= crm.adapter.page_size, f"a page holds {most} changes, above {crm.adapter.page_size}"

    def test_values_are_plain(self, tmp_path: Path) -> None:
        """Properties are scalars that can be stored as JSON; times have a zone; kinds are declared."""
        with self._filled(tmp_path, 3) as crm:
            if self._has("put_deal"):
                self.put_deal(crm.source, crm.people[0].external_id)
            changes = list(changes_of(crm.adapter.pull(None)))
        for change in changes:
            assert_flat(change.properties, change.external_id)
            assert_json(change.properties, f"the properties of {change.external_id}")
            zone = change.updated_at is None or change.updated_at.utcoffset() is not None
            assert zone, f"updated_at of {change.external_id} has no time zone"
            known = change.kind in crm.adapter.kinds
            assert known, f"{change.external_id} is a {change.kind}, which is not among {crm.adapter.kinds}"
            assert isinstance(change.where, str), "where is text"
            assert change.deleted in (True, False), "deleted is True or False"

    def test_empty_fields_are_named(self, tmp_path: Path) -> None:
        """A record without phone, name or email is listed with the same fields as a full one: a field that is not
        there would be unknown.
        """
        with self._filled(tmp_path, 1) as crm:
            empty = [
                self._put(crm.source, replace(contact(number), **{name: ""}))
                for number, name in enumerate(("phone", "full_name", "email"), 2)
            ]
            found = {change.external_id: change for change in changes_of(crm.adapter.pull(None))}
            full = set(found[crm.people[0].external_id].properties)
            for one in empty:
                assert one.external_id in found, f"a record without one of its fields is not listed: {one}"
                properties = found[one.external_id].properties
                absent = full - set(properties)
                assert not absent, f"{short_list(absent)} of {one.external_id} is absent instead of empty"
                fields = crm.adapter.contact_fields(properties)
                assert (fields.full_name, fields.email) == (one.full_name, one.email), "an empty field is not empty"
                assert bool(fields.phones) == bool(one.phone), f"the phones of {one} are {fields.phones}"

    @only_if(lambda kit, _facts: bool(kit.references), "its records point to no other records (`references`)")
    def test_references_are_labels(self, tmp_path: Path) -> None:
        """A field that points to another record holds its label, and ``NAME_id`` its id."""
        with self._filled(tmp_path, 1) as crm:
            (change,) = changes_of(crm.adapter.pull(None))
        for name, label in self.references.items():
            assert change.properties.get(name) == label, f"{name} is {change.properties.get(name)!r}, not {label!r}"
            assert change.properties.get(f"{name}_id") not in (None, "", label), f"there is no id in {name}_id"

    def test_an_unchanged_source_reads_the_same(self, tmp_path: Path) -> None:
        """Two pulls of an unchanged CRM give the same properties: otherwise every record would look changed."""
        with self._filled(tmp_path, 5) as crm:
            first = by_id(changes_of(crm.adapter.pull(None)))
            assert first == by_id(self._pull(crm.source, None)), "two pulls differ"

    def test_contact_fields_are_found(self, tmp_path: Path) -> None:
        """The phone, the name and the email of a plain record are found without a mapping."""
        with self._filled(tmp_path, 3) as crm:
            fields = crm.adapter.contact_fields(_record(crm, 1).properties)
        digits = ["".join(filter(str.isdigit, text)) for _name, text in fields.phones]
        assert contact(1).phone.lstrip("+") in digits, f"the phone is not among {digits}"
        found, wanted = (fields.full_name, fields.email), (contact(1).full_name, contact(1).email)
        assert found == wanted, f"the name and the email are {found}, not {wanted}"

    def test_text_of_all_languages_is_read(self, tmp_path: Path) -> None:
        """Names keep their accents, scripts, emoji and quotation marks."""
        with self._filled(tmp_path, 0) as crm:
            people = [replace(contact(number), full_name=name) for number, name in enumerate(NAMES)]
            wanted = {self._put(crm.source, one).external_id: one.full_name for one in people}
            changes = changes_of(crm.adapter.pull(None))
            found = {change.external_id: crm.adapter.contact_fields(change.properties).full_name for change in changes}
            for external_id, name in wanted.items():
                assert found.get(external_id) == name, f"the name {name!r} is read as {found.get(external_id)!r}"

    def test_a_mapping_decides(self, tmp_path: Path) -> None:
        """``fields`` of the connection decides which fields hold the phone, the name and the email."""
        with self._filled(tmp_path, 3) as crm:
            properties = _record(crm, 1).properties
            email = next((name for name, value in properties.items() if value == contact(1).email), None)
            assert email is not None, "no property holds the email address"
            phone = crm.adapter.contact_fields(properties).phones[0][0]
            mapping = FieldMapping(phone=(email.upper(),), full_name=(email,), email=(phone,))
            with self._open(crm.source, mapping) as mapped:
                changed = {c.external_id: c for c in changes_of(mapped.pull(None))}[crm.people[1].external_id]
                fields = mapped.contact_fields(changed.properties)
        found = ([text for _name, text in fields.phones], fields.full_name, fields.email)
        wanted = ([contact(1).email], contact(1).email, str(properties[phone]))
        assert found == wanted, f"with phone = {email!r}, full_name = {email!r}, email = {phone!r}, it reads {found}"

    def test_wanted_fields_are_read(self, tmp_path: Path) -> None:
        """With ``services.wanted``, the wanted fields and those of the contact are there, whatever else is left out."""
        with self._filled(tmp_path, 3) as crm:
            full = _record(crm, 1).properties
            some = sorted(full)[0]
            services = self._services(crm.source, wanted=frozenset({some.upper(), "no such field"}))
            with self._open(crm.source, services=services) as picky:
                found = {c.external_id: c for c in changes_of(picky.pull(None))}
                assert set(found) == crm.ids, "with wanted fields, records are missing"
                properties = found[crm.people[1].external_id].properties
                name = find_column(properties, some)
                assert name is not None, f"{some} is wanted and not there"
                assert properties[name] == full[some], f"{some} is {properties[name]!r} and was {full[some]!r}"
                wanted = crm.adapter.contact_fields(full)
                assert picky.contact_fields(properties) == wanted, "a field of the contact is not read"

    def test_contact_fields_never_raise(self, tmp_path: Path) -> None:
        """``contact_fields`` accepts any value in any field, and missing fields."""
        with self._filled(tmp_path, 1) as crm:
            properties = dict(next(changes_of(crm.adapter.pull(None))).properties)
            variants: list[Properties] = [{}, {"nothing": "usual"}]
            variants += [{**properties, name: odd} for name in properties for odd in ODD_VALUES]
            variants += [dict.fromkeys(properties, odd) for odd in ODD_VALUES]
            for variant in variants:
                assert_readable(crm.adapter, variant)

            @settings(
                max_examples=50,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            )
            @given(st.dictionaries(st.sampled_from(sorted(properties)), JSON_VALUES, max_size=6))
            def any_json_is_read(values: dict[str, Any]) -> None:
                assert_readable(crm.adapter, {**properties, **values})

            any_json_is_read()

    @only_if(
        lambda kit, facts: facts.is_http or kit._has("put_unreadable"),
        "no record of it can be unreadable as a whole (hook `put_unreadable`)",
    )
    def test_an_unreadable_record_stops_no_other(self, tmp_path: Path) -> None:
        """A record with strange values is listed, or reported as unreadable; all others are listed."""
        if self._has("put_unreadable"):
            with self._filled(tmp_path, 5) as crm:
                self.put_unreadable(crm.source)
                self._put(crm.source, contact(8))
                _assert_others_are_listed(crm, "")
            return
        with self._filled(tmp_path, 5) as crm:
            second = crm.people[1]
            for odd in ODD_IN_JSON:
                changed: set[bool] = set()

                def edit(body: bytes, odd: Any = odd, changed: set[bool] = changed) -> bytes:
                    edited = with_odd_record(body, second.email, second.external_id, odd)
                    changed.add(edited != body)
                    return edited

                self._proxy(crm.source).edit(edit)
                _assert_others_are_listed(crm, second.external_id)
                assert True in changed, f"no JSON list of the CRM has {second.email}: fill in the hook put_unreadable"

    def test_pages_are_read_when_they_are_asked_for(self, tmp_path: Path) -> None:
        """Records are made one page at a time."""
        with self._filled(tmp_path) as crm:
            pages = crm.adapter.pull(None)
            assert isinstance(pages, Iterator), "pull yields its pages"
            gc.collect()
            before = live_changes()
            first = next(pages)
            held = live_changes() - before
            limit = max(2 * len(first.changes), crm.adapter.page_size)
            assert held <= limit, f"after the first page of {len(first.changes)}, {held} records are held"

    @only_if(has_hook("make_large_source"), "not measured (hook `make_large_source`)")
    def test_memory_is_flat(self, tmp_path: Path) -> None:
        """Memory does not grow with the number of records."""
        source = self.make_large_source(tmp_path, self.large)
        try:
            with self._open(source) as adapter:
                begins = _blocks()
                tracemalloc.start()
                try:
                    pages = adapter.pull(None)
                    first = next(pages)
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
                limit = BYTES_PER_PULL + BYTES_PER_PAGED_RECORD * adapter.page_size + BYTES_PER_RECORD * self.large
                assert peak < limit, f"the first page of a pull needs {peak:,} bytes, above {limit:,}"
                limit = BLOCKS_PER_PAGED_RECORD * adapter.page_size + self.large // 4
                count, measured = len(first.changes), 0
                for page in pages:
                    count += len(page.changes)
                    if count - measured >= self.large // 4:
                        measured, held = count, _blocks() - begins
                        assert held < limit, f"after {count} records, {held:,} blocks of memory are held, not {limit:,}"
            assert count == self.large, f"{count} of {self.large} records were listed"
        finally:
            self._close(source)


def _blocks() -> int:
    """Return the number of blocks of memory in use. Unlike tracing, counting them costs nothing."""
    gc.collect()
    return sys.getallocatedblocks()


def _record(crm: FilledCrm, number: int) -> ContactChange:
    """Read the person with this number."""
    wanted = crm.people[number].external_id
    return next(change for change in changes_of(crm.adapter.pull(None)) if change.external_id == wanted)


def _assert_others_are_listed(crm: FilledCrm, odd: str) -> None:
    """Fail if a record other than ``odd`` is not listed, or ``odd`` is neither listed nor reported."""
    try:
        changes = [change for page in islice(bounded(crm.adapter.pull(None)), 50) for change in page.changes]
    except Exception as error:
        raise AssertionError(f"one strange record stops the pull: {error!r}") from error
    listed = {change.external_id for change in changes if isinstance(change, ContactChange)}
    unreadable = [change for change in changes if isinstance(change, UnreadableRecord)]
    lost = crm.ids - {odd} - listed
    assert not lost, f"one strange record hides {short_list(lost)}"
    assert odd in listed or unreadable, "a strange record is left out in silence"
    for one in unreadable:
        assert one.key.strip(), "an unreadable record has a key"
        assert one.where.strip(), f"the unreadable record {one.key} does not say where it is"
        assert " " in one.reason.strip(), f"the reason of the unreadable record {one.key} is no sentence: {one.reason}"
        assert len(one.excerpt) <= 200, f"the excerpt of {one.key} is longer than 200 characters"
        assert one.excerpt.isprintable(), f"the excerpt of {one.key} is not printable"
