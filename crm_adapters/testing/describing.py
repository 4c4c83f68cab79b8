"""Tests of what an adapter says about itself and about its CRM."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from pydantic import ValidationError

from crm_adapters.base import ApiVersion, CheckReport, CrmField, Limit
from crm_adapters.testing.assertions import changes_of, short_list
from crm_adapters.testing.hooks import SPEAKS_HTTP, AdapterHooks, only_if
from crm_adapters.testing.samples import contacts

FIELD_TYPES = frozenset("text number boolean date datetime choice reference phone email".split()) | {""}
STRANGE_IDS = ("1", "no such record", "a/b?c#d", "", "' OR 1=1", "\u00e4\u4f60", "x" * 300, "\n")


class DescribesItself(AdapterHooks):
    """The promises about names, options, fields and links."""

    def test_it_describes_itself(self, tmp_path: Path) -> None:
        """The adapter has a name, a summary of one line, and a description of each option, for `vtsync adapters`."""
        with self._source(tmp_path) as source:
            cls = type(self.adapter(source))
        assert cls.name, "an adapter has a name"
        assert cls.name == cls.name.lower().strip(), f"{cls.name!r} is written in lower case, without spaces"
        assert cls.summary, "an adapter has a summary"
        assert "\n" not in cls.summary, "the summary is one line"
        for name, field in cls.Options.model_fields.items():
            assert field.description, f"the option {name} needs a description"
        assert all(isinstance(limit, Limit) and limit.amount > 0 for limit in cls.limits), "limits are above zero"
        assert cls.api_version is None or isinstance(cls.api_version, ApiVersion), "api_version is an ApiVersion"

    def test_unknown_options_are_refused(self, tmp_path: Path) -> None:
        """A misspelt option is refused."""
        with self._source(tmp_path) as source:
            options = type(self.adapter(source)).Options
        try:
            options.model_validate({"no_such_option": 1})
        except ValidationError as error:
            kinds = {problem["type"] for problem in error.errors(include_input=False, include_url=False)}
            assert "extra_forbidden" in kinds, 'Options needs model_config = ConfigDict(extra="forbid")'
        else:
            raise AssertionError("Options accepts an unknown key")

    def test_check_reports_in_one_line(self, tmp_path: Path) -> None:
        """``check`` reports one line for a person, also about an empty CRM."""
        for count in (3, 0):
            (tmp_path / str(count)).mkdir()
            with self._filled(tmp_path / str(count), count) as crm:
                report = crm.adapter.check()
            assert isinstance(report, CheckReport), "check returns a CheckReport"
            assert report.summary, "the summary says what was found"
            assert "\n" not in report.summary, "the summary is one line"

    @SPEAKS_HTTP
    def test_check_reads_little(self, tmp_path: Path) -> None:
        """``check`` and ``describe`` do not read every record: people run them often."""
        with self._filled(tmp_path) as crm:
            proxy = self._proxy(crm.source)

            def read() -> int:
                before, _ = proxy.passed, list(changes_of(crm.adapter.pull(None)))
                return proxy.passed - before

            whole = read()
            for use in (crm.adapter.check, crm.adapter.describe):
                before = proxy.passed
                use()
                some = proxy.passed - before
                assert some < whole * 2 / 3, f"{use.__name__} reads {some} bytes, a whole pull {whole}"

    def test_fields_are_described(self, tmp_path: Path) -> None:
        """``describe`` names each field once, and every field that a record has; it works for an empty CRM."""
        with self._source(tmp_path) as source:
            with self._open(source) as adapter:
                _assert_fields(adapter.describe())
            self._put_all(source, contacts(3))
            if self._has("put_deal"):
                self.put_deal(source, None)
            with self._open(source) as adapter:
                fields = adapter.describe()
                _assert_fields(fields)
                changes = list(changes_of(adapter.pull(None)))
        described = defaultdict(set)
        for field in fields:
            described[field.kind].add(field.name)
        for change in changes:
            unknown = set(change.properties) - described[change.kind]
            assert not unknown, f"describe does not name {short_list(unknown)} of {change.external_id}"

    @only_if(lambda kit, _facts: bool(kit.labels), "its CRM has no labels besides the names of fields (`labels`)")
    def test_fields_have_the_labels_of_the_crm(self, tmp_path: Path) -> None:
        """``describe`` knows what the CRM calls a field for people."""
        with self._filled(tmp_path, 1) as crm:
            labels = {field.name: field.label for field in crm.adapter.describe()}
        for name, label in self.labels.items():
            assert labels.get(name) == label, f"{name} is {label!r} for people, and described as {labels.get(name)!r}"

    def test_links_are_addresses(self, tmp_path: Path) -> None:
        """``link`` returns an address of its own for each record, makes no request and never raises."""
        with self._filled(tmp_path, 2) as crm:
            ids = [one.external_id for one in crm.people]
            requests = len(self._proxy(crm.source).requests) if self._facts().is_http else 0
            self.break_source(crm.source)
            for external_id in (*ids, *STRANGE_IDS):
                try:
                    link = crm.adapter.link(external_id)
                except Exception as error:
                    raise AssertionError(f"link raises {error!r} for {external_id!r}") from error
                assert isinstance(link, str), "a link is text"
                address = not link or link.startswith(("https://", "http://"))
                assert address, f"{link!r} is no address"
                assert not any(map(str.isspace, link)), f"the link to {external_id!r} needs quoting: {link!r}"
            first, second = map(crm.adapter.link, ids)
            assert not first or first != second, f"two records have the link {first}"
            if self._facts().is_http:
                assert len(self._proxy(crm.source).requests) == requests, "link makes a request"


def _assert_fields(fields: object) -> None:
    assert isinstance(fields, list | tuple), "describe returns a list or a tuple"
    seen = set()
    for field in fields:
        assert isinstance(field, CrmField), f"describe returns {type(field).__name__} instead of CrmField"
        assert isinstance(field.name, str), f"a field's name is text: {field.name!r}"
        assert field.name, "a field has a name"
        assert isinstance(field.label, str), f"the label of {field.name} is text"
        assert field.type in FIELD_TYPES, f"{field.name} has the type {field.type!r}; there are: {sorted(FIELD_TYPES)}"
        texts = isinstance(field.values, tuple) and all(isinstance(value, str) for value in field.values)
        assert texts, f"the values of {field.name} are a tuple of texts"
        assert (field.kind, field.name) not in seen, f"{field.name} is described twice"
        seen.add((field.kind, field.name))
