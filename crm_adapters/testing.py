"""The promises of ``base`` as tests. Every adapter, ours and third parties', inherits and passes them.

    from crm_adapters.testing import AdapterConformance, Contact

    class TestAcme(AdapterConformance):
        def make_source(self, folder): ...          # an empty CRM: a file, a database, a fake server
        def put(self, source, contact): ...         # create the record, or write over the one with its id
        def delete(self, source, external_id): ...
        def adapter(self, source): ...              # a new adapter that reads it
        def break_source(self, source): ...         # from now on reading it fails

Three more hooks have a default: ``put_at`` for CRMs with a time of change, ``secrets``, and ``names_of``.

An adapter that also writes (``WritesMessages``) inherits ``WritesConformance`` beside it:

    class TestAcme(AdapterConformance, WritesConformance):
        def logged(self, source, external_id): ...  # the texts in the record's history, as CrmMessage
        flag = "do_not_text"                        # a field that opt-outs can be written to
        def do_not_text(self, source, external_id): ...   # what stands in it, as bool or None

Run it with pytest; Hypothesis must be installed too. The tests use the adapter only in the ways in which the engine
does. They see that pages are *built* one at a time, not what an adapter holds besides: measure that yourself.
"""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import gc
import inspect
import json
import re
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from crm_adapters.base import (
    Adapter,
    AdapterError,
    CheckReport,
    ContactChange,
    ContactFields,
    CrmMessage,
    Cursor,
    Page,
    Properties,
    RecordGone,
    Removals,
    WritesMessages,
)

ODD_VALUES: tuple[Any, ...] = (
    *(None, "", " ", "\0", "n/a", "🦊" * 300, "\ud800", True, 0, -1, 10**400, 1.5, float("nan"), float("inf")),
    *([], ["x"], {}, {"a": [1]}, b"\xff", object()),
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@dataclass(frozen=True, slots=True)
class Contact:
    """A person to put into the CRM; ``phone`` is E.164."""

    external_id: str
    phone: str
    full_name: str
    email: str


def contact(number: int) -> Contact:
    """The contact with this number, always the same."""
    return Contact(f"{1000 + number}", f"+1415555{number:04}", f"Ann Lee{number}", f"ann{number}@example.com")


def contacts(count: int) -> list[Contact]:
    """So many different contacts."""
    return [contact(number) for number in range(count)]


class AdapterConformance(ABC):
    """Inherit as ``class Test...`` and fill in the hooks."""

    repeats: ClassVar[bool] = False
    """Set it where the CRM itself lists a record twice in one complete pull."""
    late_by: ClassVar[timedelta] = timedelta(seconds=2)
    """How long after the time that it bears a change may be committed and must still be seen by the next pull."""

    @abstractmethod
    def make_source(self, folder: Path) -> Any:
        """An empty CRM; ``folder`` is an empty folder to use freely."""

    @abstractmethod
    def put(self, source: Any, contact: Contact) -> None:
        """Create the record, or write over the one that has its id."""

    def put_all(self, source: Any, contacts: Iterable[Contact]) -> None:
        """Many at once; override it where one at a time is slow."""
        for one in contacts:
            self.put(source, one)

    def put_at(self, source: Any, contacts: Iterable[Contact], moment: datetime) -> None:  # noqa: ARG002 - see below
        """Create the records as changed at this moment. Override it where the CRM keeps a time of change."""
        self.put_all(source, contacts)

    @abstractmethod
    def delete(self, source: Any, external_id: str) -> None:
        """Remove the record."""

    @abstractmethod
    def adapter(self, source: Any) -> Adapter:
        """A new adapter that reads this source."""

    @abstractmethod
    def break_source(self, source: Any) -> None:
        """Make every later reading fail: remove the file, stop the server, revoke the token."""

    def secrets(self, source: Any) -> tuple[str, ...]:  # noqa: ARG002 - for those that override it
        """The secrets in the adapter's options, which must never be shown."""
        return ()

    def names_of(self, source: Any) -> tuple[str, ...]:
        """What a person knows this source by. One of them is in every error, in any case of letters."""
        return (self.adapter(source).name,)

    def test_it_describes_itself(self, tmp_path: Path) -> None:
        """Name, summary and the meaning of each option are what `vtsync adapters` shows."""
        cls = type(self.adapter(self.make_source(tmp_path)))
        assert cls.name, "an adapter has a name"
        assert cls.name == cls.name.lower().strip(), f"{cls.name!r} is written in lower case, without spaces"
        assert cls.summary, "an adapter has a summary"
        assert "\n" not in cls.summary, "the summary is one line"
        for name, field in cls.Options.model_fields.items():
            assert field.description, f"the option {name} needs a description"

    def test_unknown_options_are_refused(self, tmp_path: Path) -> None:
        """A misspelt option must not pass silently."""
        options = type(self.adapter(self.make_source(tmp_path))).Options
        try:
            options.model_validate({"no_such_option": 1})
        except ValidationError as error:
            kinds = {problem["type"] for problem in error.errors(include_input=False, include_url=False)}
            assert "extra_forbidden" in kinds, 'Options needs model_config = ConfigDict(extra="forbid")'
        else:
            raise AssertionError("Options accepts an unknown key")

    def test_check_reports_in_one_line(self, tmp_path: Path) -> None:
        """What ``check`` found is for a person."""
        with self._filled(tmp_path, 3) as (_source, adapter):
            report = adapter.check()
        assert isinstance(report, CheckReport)
        assert report.summary, "the summary says what was found"
        assert "\n" not in report.summary, "the summary is one line"

    def test_a_pull_lists_every_record(self, tmp_path: Path) -> None:
        """Over several pages, each record, with an id that is text."""
        with self._filled(tmp_path) as (_source, adapter):
            ids = [change.external_id for change in _changes(adapter.pull(None))]
            wanted = {one.external_id for one in contacts(self._many(adapter))}
        assert all(isinstance(external_id, str) and external_id for external_id in ids), "ids are non-empty text"
        assert set(ids) == wanted, f"missing: {_few(wanted - set(ids))}; not in the CRM: {_few(set(ids) - wanted)}"

    def test_a_pull_lists_each_record_once(self, tmp_path: Path) -> None:
        """While nothing changes; two records under one id would overwrite each other in every run."""
        with self._filled(tmp_path) as (_source, adapter):
            ids = [change.external_id for change in _changes(adapter.pull(None))]
        twice = {external_id for external_id, count in Counter(ids).items() if count > 1}
        assert self.repeats or not twice, f"listed more than once: {_few(twice)}"

    def test_pages_keep_to_their_size(self, tmp_path: Path) -> None:
        """The engine commits a page at a time."""
        with self._filled(tmp_path) as (_source, adapter):
            sizes = [len(page.changes) for page in adapter.pull(None)]
            assert max(sizes) <= adapter.page_size, f"a page holds {max(sizes)} changes, above {adapter.page_size}"

    def test_properties_are_json(self, tmp_path: Path) -> None:
        """They are stored and hashed as JSON, by text names; times carry their zone."""
        with self._filled(tmp_path, 3) as (_source, adapter):
            changes = list(_changes(adapter.pull(None)))
        for change in changes:
            assert all(isinstance(name, str) for name in change.properties), "names of properties are text"
            _assert_json(change.properties, f"the properties of {change.external_id}")
            zone = change.updated_at is None or change.updated_at.utcoffset() is not None
            assert zone, f"updated_at of {change.external_id} has no time zone"

    def test_cursors_survive_storage(self, tmp_path: Path) -> None:
        """They are kept as JSON between runs."""
        with self._filled(tmp_path) as (_source, adapter):
            for page in adapter.pull(None):
                if page.cursor is not None:
                    _assert_json(page.cursor, "the cursor")

    def test_resuming_after_any_page_loses_nothing(self, tmp_path: Path) -> None:
        """A run may end after any page; a new adapter goes on from what was stored."""
        with self._filled(tmp_path) as (source, adapter):
            pages = list(adapter.pull(None))
            wanted = {one.external_id for one in contacts(self._many(adapter))}
            seen: set[str] = set()
            for number, page in enumerate(pages, 1):
                seen |= {change.external_id for change in _changes([page])}
                resumed = {change.external_id for change in self._pull(source, page.cursor)}
                lost = wanted - seen - resumed
                assert not lost, f"resuming after page {number} loses {_few(lost)}"

    def test_runs_of_one_page_each_reach_the_end(self, tmp_path: Path) -> None:
        """Runs that are cut short again and again still get on, also over more than a page of equal times."""
        with self._filled(tmp_path, 0) as (source, adapter):
            wanted = contacts(self._many(adapter))
            self.put_at(source, wanted, _now())
            runs = 3 * sum(1 for _page in adapter.pull(None))
        missing = {one.external_id for one in wanted}
        cursor: Cursor | None = None
        for _run in range(runs):
            found, cursor = self._first_page(source, cursor)
            missing -= {change.external_id for change in found}
            if not missing:
                return
        raise AssertionError(f"{runs} runs of one page never get to {_few(missing)}")

    def test_a_tied_change_is_seen_by_the_next_pull(self, tmp_path: Path) -> None:
        """A record with the very time of the newest that the last pull saw."""
        with self._filled(tmp_path, 0) as (source, adapter):
            moment = _now()
            self.put_at(source, contacts(3), moment)
            cursor = _last_cursor(adapter.pull(None))
            self._assert_seen_after(source, cursor, moment, "a change with the same time as the newest")

    def test_a_late_change_is_seen_by_the_next_pull(self, tmp_path: Path) -> None:
        """A change that bears an earlier time than the newest, because it was committed late."""
        with self._filled(tmp_path, 0) as (source, adapter):
            moment = _now()
            self.put_at(source, contacts(3), moment)
            cursor = _last_cursor(adapter.pull(None))
            what = f"a change committed {self.late_by.total_seconds():g} seconds late"
            self._assert_seen_after(source, cursor, moment - self.late_by, what)

    def test_a_page_can_be_replayed(self, tmp_path: Path) -> None:
        """After a crash, the same cursor gives the same records again."""
        with self._filled(tmp_path) as (source, adapter):
            cursor = next(iter(adapter.pull(None))).cursor
            assert _by_id(self._pull(source, cursor)) == _by_id(self._pull(source, cursor)), "a replay differs"

    def test_an_unchanged_source_reads_the_same(self, tmp_path: Path) -> None:
        """Otherwise every record would look changed in every run."""
        with self._filled(tmp_path, 5) as (source, adapter):
            assert _by_id(_changes(adapter.pull(None))) == _by_id(self._pull(source, None)), "two pulls differ"

    def test_the_next_pull_sees_what_changed(self, tmp_path: Path) -> None:
        """A changed record and a new one, also right after the last pull."""
        with self._filled(tmp_path, 5) as (source, adapter):
            cursor = _last_cursor(adapter.pull(None))
            changed, new = replace(contact(2), full_name="Zoe Quill"), contact(7)
            self.put(source, changed)
            self.put(source, new)
            found = {change.external_id: change for change in self._pull(source, cursor)}
            for one in (changed, new):
                assert one.external_id in found, f"the change of {one.external_id} was not seen"
                fields = adapter.contact_fields(found[one.external_id].properties)
                assert fields.full_name == one.full_name, f"{one.external_id} is read as it was before"

    def test_deletions_are_told_as_declared(self, tmp_path: Path) -> None:
        """``removals`` says how the engine learns of them."""
        with self._filled(tmp_path, 5) as (source, adapter):
            cursor = _last_cursor(adapter.pull(None))
            gone = contact(3).external_id
            self.delete(source, gone)
            if adapter.removals is Removals.REPORTED:
                deleted = {change.external_id for change in self._pull(source, cursor) if change.deleted}
                assert gone in deleted, f"{gone} was deleted and not reported"
            live = {change.external_id for change in self._pull(source, None) if not change.deleted}
            if adapter.removals is not Removals.UNSEEN:
                assert gone not in live, f"{gone} was deleted and is still listed"
            rest = {one.external_id for one in contacts(5)} - {gone}
            assert rest <= live, f"not deleted and not listed: {_few(rest - live)}"

    def test_pages_are_read_when_they_are_asked_for(self, tmp_path: Path) -> None:
        """Memory must not grow with the number of records."""
        with self._filled(tmp_path) as (_source, adapter):
            pages = adapter.pull(None)
            assert isinstance(pages, Iterator), "pull yields its pages"
            gc.collect()
            before = _live_changes()
            first = next(pages)
            held = _live_changes() - before
            limit = max(2 * len(first.changes), adapter.page_size)
            assert held <= limit, f"after the first page of {len(first.changes)}, {held} records are held"

    def test_contact_fields_are_found(self, tmp_path: Path) -> None:
        """Phone, name and email of a plain record."""
        with self._filled(tmp_path, 3) as (_source, adapter):
            (record,) = [change for change in _changes(adapter.pull(None)) if change.external_id == "1001"]
            fields = adapter.contact_fields(record.properties)
        digits = ["".join(filter(str.isdigit, text)) for _name, text in fields.phones]
        assert contact(1).phone.lstrip("+") in digits, f"the phone is not among {digits}"
        assert (fields.full_name, fields.email) == (contact(1).full_name, contact(1).email)

    def test_contact_fields_never_raise(self, tmp_path: Path) -> None:
        """Whatever stands in a field, and whichever field is missing."""
        with self._filled(tmp_path, 1) as (_source, adapter):
            properties = dict(next(_changes(adapter.pull(None))).properties)
            variants: list[Properties] = [{}, {"nothing": "usual"}]
            variants += [{**properties, name: odd} for name in properties for odd in ODD_VALUES]
            variants += [dict.fromkeys(properties, odd) for odd in ODD_VALUES]
            for variant in variants:
                _assert_readable(adapter, variant)

            @settings(
                max_examples=50,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            )
            @given(st.dictionaries(st.sampled_from(sorted(properties)), JSON_VALUES, max_size=6))
            def any_json_is_read(values: dict[str, Any]) -> None:
                _assert_readable(adapter, {**properties, **values})

            any_json_is_read()

    def test_a_broken_source_is_an_adapter_error_for_people(self, tmp_path: Path) -> None:
        """The class says what the engine should do; the text, which source it is and what to do about it."""
        with self._filled(tmp_path, 1) as (source, _adapter):
            names = self.names_of(source)
            for error in self._errors(source):
                text = str(error)
                assert type(error) is not AdapterError, "raise the subclass that says what should be done"
                named = any(name.casefold() in text.casefold() for name in names)
                assert named, f"the error names none of {_few(names)}: {text!r}"
                remedy = re.search(r"\w[;:,.(] ?.*\w", text)
                assert remedy, f"the error says what happened and not what to do now: {text!r}"

    def test_secrets_are_never_shown(self, tmp_path: Path) -> None:
        """In no repr, no error, no traceback, and not where an option is refused."""
        with self._filled(tmp_path, 1) as (source, adapter):
            secrets = self.secrets(source)
            shown = [repr(adapter), str(adapter), repr(adapter.options), str(adapter.options)]
            shown += [_refusal(type(adapter).Options, secret) for secret in secrets]
            shown += ["".join(traceback.format_exception(error)) for error in self._errors(source)]
        for secret in secrets:
            for text in shown:
                before, found, after = text.partition(secret)
                assert not found, f"a secret can be read: {before[-200:]}[the secret]{after[:200]}"

    def test_closing_is_harmless(self, tmp_path: Path) -> None:
        """Before the first pull, in the middle of one, and again."""
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

    def _many(self, adapter: Adapter) -> int:
        """Enough for three full pages and one more record."""
        return 3 * adapter.page_size + 1

    @contextmanager
    def _filled(self, folder: Path, count: int | None = None) -> Iterator[tuple[Any, Adapter]]:
        source = self.make_source(folder)
        with self._open(source) as adapter:
            self.put_all(source, contacts(self._many(adapter) if count is None else count))
            yield source, adapter

    @contextmanager
    def _open(self, source: Any) -> Iterator[Adapter]:
        adapter = self.adapter(source)
        try:
            yield adapter
        finally:
            adapter.close()

    def _errors(self, source: Any) -> list[AdapterError]:
        """What an adapter raises, in each of its uses, after its source broke."""
        with self._open(source) as adapter:
            self.break_source(source)
            return [_error_of(adapter.check), _error_of(lambda: list(adapter.pull(None)))]

    def _assert_seen_after(self, source: Any, cursor: Cursor | None, moment: datetime, what: str) -> None:
        new = contact(7)
        self.put_at(source, [new], moment)
        seen = {change.external_id for change in self._pull(source, cursor)}
        assert new.external_id in seen, f"{what} is lost"

    def _first_page(self, source: Any, cursor: Cursor | None) -> tuple[list[ContactChange], Cursor | None]:
        """The first page of a run and where the next goes on. Pages without a cursor cannot end a run: all of them."""
        with self._open(source) as adapter:
            pages = adapter.pull(_stored(cursor))
            first = next(pages, Page((), cursor))
            if first.cursor is None:
                return list(_changes(chain([first], pages))), None
            return list(_changes([first])), first.cursor

    def _pull(self, source: Any, cursor: Cursor | None) -> list[ContactChange]:
        """All changes after a stored cursor, read by a new adapter."""
        with self._open(source) as adapter:
            return list(_changes(adapter.pull(_stored(cursor))))


LOGGED_TEXTS: tuple[str, ...] = (
    *("Hello", "", " two  spaces ", "line one\nline two\ttab", "👋🏽 İstanbul 你好 \u202eright", "x" * 1600),
    *("O'Brien; DROP TABLE texts; --", '"quoted" \\ back', "<b>&amp;</b>", "{{ liquid }} %s %(x)s :name ${y}"),
)
"""Texts as people write them: a CRM must have them just so."""


def crm_message(number: int = 1, text: str = "Hello", direction: str = "in") -> CrmMessage:
    """The text with this number, always the same."""
    moment = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
    media = ("https://example.com/a.png?b=1&c=2",) if number % 2 else ()
    return CrmMessage(f"m{number:08}", direction, moment, text, media, "+14155550101", "+14155550100")


class WritesConformance(ABC):
    """What an adapter promises that is a ``WritesMessages``; inherited beside ``AdapterConformance``."""

    flag: ClassVar[str] = "do_not_text"
    """A field that opt-outs can be written to."""
    deletes: ClassVar[bool] = True
    """Whether ``delete`` really removes the record; False where it only marks it."""

    @abstractmethod
    def logged(self, source: Any, external_id: str) -> list[CrmMessage]:
        """The texts in the record's history, in any order; times with their zone."""

    @abstractmethod
    def do_not_text(self, source: Any, external_id: str) -> bool | None:
        """What the field ``flag`` of the record says; None: nothing was ever written."""

    def test_a_text_is_logged_as_it_is(self: Any, tmp_path: Path) -> None:
        """Every part of it, in both directions, whatever its words are, to the right record."""
        with self._filled(tmp_path, 2) as (source, adapter):
            texts = [crm_message(number, text, "out") for number, text in enumerate(LOGGED_TEXTS)]
            texts.append(crm_message(len(texts), "an answer", "in"))
            for one in texts:
                _writes(adapter).log_message("1000", one)
            found = {one.id: one for one in self.logged(source, "1000")}
            for one in texts:
                assert one.id in found, f"the text {one.text[:40]!r} was not logged"
                assert found[one.id] == one, f"logged is {found[one.id]}, not {one}"
            assert self.logged(source, "1001") == [], "a text stands in another record's history"

    def test_a_text_is_logged_once(self: Any, tmp_path: Path) -> None:
        """Its answer may have been lost: the same adapter, or another, writes it again."""
        with self._filled(tmp_path, 1) as (source, adapter):
            for number in (1, 2, 1):
                _writes(adapter).log_message("1000", crm_message(number))
            with self._open(source) as another:
                _writes(another).log_message("1000", crm_message(1))
            ids = sorted(one.id for one in self.logged(source, "1000"))
            assert ids == ["m00000001", "m00000002"], f"logged are {', '.join(ids) or 'none'}"

    def test_several_adapters_log_a_text_once(self: Any, tmp_path: Path) -> None:
        """Two workers may write the same text at the same moment."""
        with self._filled(tmp_path, 1) as (source, _adapter):

            def log(_number: int) -> None:
                with self._open(source) as adapter:
                    _writes(adapter).log_message("1000", crm_message(1))

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(log, range(4)))
            count = len(self.logged(source, "1000"))
            assert count == 1, f"four writers at once logged it {count} times"

    def test_opt_outs_are_written_and_taken_back(self: Any, tmp_path: Path) -> None:
        """Each may be repeated, and touches one record only."""
        with self._filled(tmp_path, 2) as (source, adapter):
            other = self.do_not_text(source, "1001")
            for value in (True, True, False, False, True):
                _writes(adapter).set_do_not_text("1000", self.flag, value)
                found = self.do_not_text(source, "1000")
                assert found is value, f"after writing {value} the field says {found}"
            assert self.do_not_text(source, "1001") == other, "another record was written to"

    def test_a_record_that_is_not_there_is_gone(self: Any, tmp_path: Path) -> None:
        """It was deleted, or never existed; the error names it, and nothing is written."""
        with self._filled(tmp_path, 2) as (source, adapter):
            self.delete(source, "1001")
            for external_id in ("no-such-record", "1001") if self.deletes else ("no-such-record",):
                _assert_gone(external_id, lambda key=external_id: _writes(adapter).log_message(key, crm_message()))
                _assert_gone(
                    external_id, lambda key=external_id: _writes(adapter).set_do_not_text(key, self.flag, True)
                )
                assert self.logged(source, external_id) == [], f"a text was logged for {external_id}"

    def test_writing_to_a_broken_source_is_an_adapter_error(self: Any, tmp_path: Path) -> None:
        """So that the worker knows whether to try again; secrets are not in it."""
        with self._filled(tmp_path, 1) as (source, adapter):
            self.break_source(source)
            errors = [
                _error_of(lambda: _writes(adapter).log_message("1000", crm_message())),
                _error_of(lambda: _writes(adapter).set_do_not_text("1000", self.flag, True)),
            ]
            for error in errors:
                assert type(error) is not AdapterError, "raise the subclass that says what should be done"
                shown = "".join(traceback.format_exception(error))
                for secret in self.secrets(source):
                    assert secret not in shown, "a secret can be read in the error of a write"


def _writes(adapter: Any) -> WritesMessages:
    assert isinstance(adapter, WritesMessages), "the adapter class must also inherit WritesMessages"
    return adapter


def _assert_gone(external_id: str, write: Any) -> None:
    error = _error_of(write)
    assert isinstance(error, RecordGone), f"writing to {external_id} raises {error!r}, not RecordGone"
    assert external_id in str(error), f"the error does not name the record: {str(error)!r}"


def _changes(pages: Iterable[Page]) -> Iterator[ContactChange]:
    for page in pages:
        for change in page.changes:
            assert isinstance(change, ContactChange), f"a good record was not readable: {change.reason}"
            yield change


def _by_id(changes: Iterable[ContactChange]) -> dict[str, tuple[dict[str, Any], bool]]:
    return {change.external_id: (dict(change.properties), change.deleted) for change in changes}


def _stored(cursor: Cursor | None) -> Cursor | None:
    """The cursor as it comes back from the database."""
    return None if cursor is None else dict(json.loads(json.dumps(dict(cursor))))


def _now() -> datetime:
    """In whole seconds: many CRMs keep no more."""
    return datetime.now(UTC).replace(microsecond=0)


def _last_cursor(pages: Iterable[Page]) -> Cursor | None:
    cursor: Cursor | None = None
    for page in pages:
        cursor = page.cursor
    return cursor


def _live_changes() -> int:
    # By exact type: asking a lazy proxy of some library for its class would make it load.
    return sum(type(one) is ContactChange for one in gc.get_objects())


def _assert_json(value: Mapping[str, Any], what: str) -> None:
    try:
        stored = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what} cannot be stored as JSON: {error}") from error
    assert stored == value, f"{what} read back from JSON are others: {_few(value.items())}"


def _assert_contact_fields(fields: ContactFields) -> None:
    assert isinstance(fields.full_name, str), "full_name is text"
    assert isinstance(fields.email, str), "email is text"
    for name, text in fields.phones:
        assert isinstance(name, str), "a phone names its field"
        assert isinstance(text, str), "a phone is text"
        assert text.strip(), "empty phones are left out"


def _assert_readable(adapter: Adapter, properties: Properties) -> None:
    try:
        fields = adapter.contact_fields(properties)
    except Exception as error:
        raise AssertionError(f"contact_fields raises {error!r} for {_few(properties.items())}") from error
    _assert_contact_fields(fields)


def _error_of(use: Any) -> AdapterError:
    try:
        use()
    except AdapterError as error:
        return error
    except Exception as error:
        raise AssertionError(f"it raises {error!r}, which is no AdapterError") from error
    raise AssertionError("it raises nothing")


def _refusal(options: type[BaseModel], secret: str) -> str:
    """What is said when each option holds the secret in a wrong form."""
    wrong: dict[str, Any] = {name: {"wrong": [secret]} for name in options.model_fields}
    try:
        options.model_validate(wrong)
    except ValidationError as error:
        return str(error)
    return ""


def _few(things: Iterable[Any]) -> str:
    listed = sorted(str(thing)[:100] for thing in things)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") or "none"
