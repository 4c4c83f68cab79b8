"""The conformance kit passes a good adapter and catches broken ones, each at the promise that it breaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from config.fields import FieldMapping
from crm_adapters.base import (
    Adapter,
    AdapterError,
    CheckReport,
    ContactChange,
    ContactFields,
    Cursor,
    Page,
    Properties,
    Removals,
    SourceUnavailable,
)
from crm_adapters.fields import find_columns, read
from crm_adapters.testing import AdapterConformance, SampleContact

TOKEN = "tok-3f9a"
PEOPLE = "test_a_broken_source_is_an_adapter_error_for_people"
TESTS = sorted(name for name in vars(AdapterConformance) if name.startswith("test_"))


@dataclass
class Crm:
    """Records by id, each with the number of its last change; None stands for a deleted one."""

    records: dict[str, tuple[int, SampleContact | None]] = field(default_factory=dict)
    moments: dict[str, datetime] = field(default_factory=dict)
    changes: int = 0
    down: bool = False

    def write(self, external_id: str, contact: SampleContact | None, moment: datetime | None = None) -> None:
        self.changes += 1
        self.moments[external_id] = moment or datetime.now(UTC)
        self.records[external_id] = (self.changes, contact)


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    token: SecretStr = Field(SecretStr(TOKEN), description="The API token.")


class Good(Adapter):
    """Changes in order of their number; the cursor is the last number."""

    name = "crm"
    summary = "A CRM in memory."
    Options = Options
    removals = Removals.REPORTED
    page_size = 5

    def __init__(self, crm: Crm) -> None:
        super().__init__(Options(), FieldMapping())
        self.crm = crm

    def rows(self, after: int) -> list[tuple[int, str, SampleContact | None]]:
        if self.crm.down:
            raise SourceUnavailable("the CRM is down; try later")
        numbered = sorted((number, key, one) for key, (number, one) in self.crm.records.items())
        return [row for row in numbered if row[0] > after]

    def check(self) -> CheckReport:
        return CheckReport(f"{len(self.rows(0))} records")

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        rows = self.rows(cursor["after"] if cursor else 0)
        for start in range(0, len(rows), self.page_size):
            page = rows[start : start + self.page_size]
            yield Page([self.change(*row) for row in page], {"after": page[-1][0]})

    def change(self, number: int, key: str, one: SampleContact | None) -> ContactChange:
        if one is None:
            return ContactChange(key, {}, deleted=True)
        return ContactChange(key, {"id": key, "phone": one.phone, "name": one.full_name, "email": one.email})

    def contact_fields(self, properties: Properties) -> ContactFields:
        return read(find_columns(tuple(properties), self.fields), properties)


class SkipsOneOnResuming(Good):
    def rows(self, after: int) -> list[tuple[int, str, SampleContact | None]]:
        return [row for row in super().rows(after) if row[0] != after + 1 or after == 0]


class AsksForLaterTimes(Good):
    """The textbook watermark: what shares the newest time, or is committed late, is never read."""

    def rows_since(self, moment: str) -> list[tuple[str, int, str, SampleContact | None]]:
        return [row for row in self.by_time() if row[0] > moment]

    def by_time(self) -> list[tuple[str, int, str, SampleContact | None]]:
        return sorted((self.crm.moments[key].isoformat(), number, key, one) for number, key, one in self.rows(0))

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        rows = self.rows_since(cursor["at"] if cursor else "")
        for start in range(0, len(rows), self.page_size):
            page = rows[start : start + self.page_size]
            yield Page([self.change(*row[1:]) for row in page], {"at": page[-1][0]})


class AsksForTheSameTimesAgain(AsksForLaterTimes):
    """Inclusive, but a page of equal times leads to itself for ever, and a late change is still lost."""

    def rows_since(self, moment: str) -> list[tuple[str, int, str, SampleContact | None]]:
        return [row for row in self.by_time() if row[0] >= moment]


class ListsTheFirstAgain(Good):
    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        first = None
        for page in super().pull(cursor):
            first = first or page
            yield page
        if first is not None:
            yield first


class NeverTellsOfDeletions(Good):
    def change(self, number: int, key: str, one: SampleContact | None) -> ContactChange:
        return super().change(number, key, one or SampleContact(key, "+14155550000", "Ghost", ""))


class ReadsEverythingFirst(Good):
    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        yield from list(super().pull(cursor))


class ReturnsAList(Good):
    def pull(self, cursor: Cursor | None) -> Any:
        return list(super().pull(cursor))


class IgnoresItsPageSize(Good):
    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        rows = self.rows(cursor["after"] if cursor else 0)
        yield Page([self.change(*row) for row in rows], {"after": self.crm.changes})


class StumblesOverOddValues(Good):
    def contact_fields(self, properties: Properties) -> ContactFields:
        return ContactFields((("phone", properties["phone"].strip()),), properties["name"], properties["email"])


class KeepsTheTimeInItsProperties(Good):
    def change(self, number: int, key: str, one: SampleContact | None) -> ContactChange:
        self.crm.changes += 1
        plain = super().change(number, key, one)
        return ContactChange(key, {**plain.properties, "read": self.crm.changes}, deleted=plain.deleted)


class HasATupleInItsCursor(Good):
    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().pull(cursor):
            yield Page(page.changes, {"after": page.cursor["after"], "window": (1, 2)} if page.cursor else None)


class GivesNumbersAsIds(Good):
    def change(self, number: int, key: str, one: SampleContact | None) -> ContactChange:
        plain = super().change(number, key, one)
        return ContactChange(int(key), plain.properties, deleted=plain.deleted)  # type: ignore[arg-type]


class ShowsItsToken(Good):
    def check(self) -> CheckReport:
        if self.crm.down:
            raise SourceUnavailable(f"the CRM refused {self.options.token.get_secret_value()}")
        return super().check()


class ShowsItsTokenInTheCause(Good):
    def check(self) -> CheckReport:
        try:
            return super().check()
        except SourceUnavailable as error:
            raise error from ConnectionError(f"GET /?token={self.options.token.get_secret_value()}")


class ShowsRefusedOptions(Good):
    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid")
        token: SecretStr = Field(SecretStr(TOKEN), description="The API token.")


def failing_with(error: AdapterError) -> type[Good]:
    class Fails(Good):
        def rows(self, after: int) -> list[tuple[int, str, SampleContact | None]]:
            if self.crm.down:
                raise error
            return super().rows(after)

    return Fails


class LetsForeignErrorsThrough(Good):
    def rows(self, after: int) -> list[tuple[int, str, SampleContact | None]]:
        if self.crm.down:
            raise ConnectionError("reset by peer")
        return super().rows(after)


class AcceptsAnyOption(Good):
    class Options(BaseModel):
        token: SecretStr = Field(SecretStr(TOKEN), description="The API token.")


class HasAnOptionWithoutMeaning(Good):
    class Options(Options):
        pause: float = 1.0


class ChecksAtLength(Good):
    def check(self) -> CheckReport:
        return CheckReport("1. connected\n2. read")


class GivesTimesWithoutZone(Good):
    def change(self, number: int, key: str, one: SampleContact | None) -> ContactChange:
        return super().change(number, key, one)._replace(updated_at=datetime(2026, 1, 2))  # noqa: DTZ001


class GivesBytes(Good):
    def change(self, number: int, key: str, one: SampleContact | None) -> ContactChange:
        return super().change(number, key, one)._replace(properties={"phone": b"+1415"})


class SkipsTheLastPage(Good):
    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        yield from list(super().pull(cursor))[:-1]


class FindsNoPhone(Good):
    def contact_fields(self, properties: Properties) -> ContactFields:
        return super().contact_fields(properties)._replace(phones=())


class ClosesOnlyOnce(Good):
    def close(self) -> None:
        del self.crm


def kit(adapter: type[Good]) -> AdapterConformance:
    class Kit(AdapterConformance):
        def make_source(self, folder: Path) -> Crm:
            return Crm()

        def put(self, source: Crm, contact: SampleContact) -> None:
            source.write(contact.external_id, contact)

        def put_at(self, source: Crm, contacts: Iterable[SampleContact], moment: datetime) -> None:
            for one in contacts:
                source.write(one.external_id, one, moment)

        def delete(self, source: Crm, external_id: str) -> None:
            source.write(external_id, None)

        def adapter(self, source: Crm) -> Adapter:
            return adapter(source)

        def break_source(self, source: Crm) -> None:
            source.down = True

        def secrets(self, source: Crm) -> tuple[str, ...]:
            return (TOKEN,)

    return Kit()


@pytest.mark.parametrize("test", TESTS)
def test_a_good_adapter_passes(test: str, tmp_path: Path) -> None:
    getattr(kit(Good), test)(tmp_path)


CAUGHT: list[tuple[type[Good], str, str]] = [
    (SkipsOneOnResuming, "test_resuming_after_any_page_loses_nothing", "resuming after page 1 loses 1005"),
    (SkipsOneOnResuming, "test_the_next_pull_sees_what_changed", "the change of 1002 was not seen"),
    (NeverTellsOfDeletions, "test_deletions_are_told_as_declared", "1003 was deleted and not reported"),
    (ReadsEverythingFirst, "test_pages_are_read_when_they_are_asked_for", "16 records are held"),
    (ReturnsAList, "test_pages_are_read_when_they_are_asked_for", "pull yields its pages"),
    (IgnoresItsPageSize, "test_pages_keep_to_their_size", "a page holds 16 changes, above 5"),
    (StumblesOverOddValues, "test_contact_fields_never_raise", "contact_fields raises KeyError"),
    (KeepsTheTimeInItsProperties, "test_an_unchanged_source_reads_the_same", "two pulls differ"),
    (KeepsTheTimeInItsProperties, "test_a_page_can_be_replayed", "a replay differs"),
    (HasATupleInItsCursor, "test_cursors_survive_storage", "JSON changes the cursor"),
    (GivesNumbersAsIds, "test_a_pull_lists_every_record", "ids are non-empty text"),
    (AsksForLaterTimes, "test_a_tied_change_is_seen_by_the_next_pull", "the same time as the newest is lost"),
    (AsksForLaterTimes, "test_runs_of_one_page_each_reach_the_end", "12 runs of one page never reach 1005"),
    (AsksForTheSameTimesAgain, "test_a_late_change_is_seen_by_the_next_pull", "committed 2 seconds late is lost"),
    (AsksForTheSameTimesAgain, "test_runs_of_one_page_each_reach_the_end", "never reach 1005"),
    (SkipsOneOnResuming, "test_runs_of_one_page_each_reach_the_end", "never reach 1005"),
    (ListsTheFirstAgain, "test_a_pull_lists_each_record_once", "listed more than once: 1000, 1001"),
    (ShowsItsToken, "test_secrets_are_never_shown", r"(?s)a secret can be read: .*refused \[the secret\]"),
    (ShowsItsTokenInTheCause, "test_secrets_are_never_shown", r"(?s)a secret can be read: .*token=\[the secret\]"),
    (ShowsRefusedOptions, "test_secrets_are_never_shown", r"(?s)a secret can be read: .*input_value"),
    (LetsForeignErrorsThrough, PEOPLE, "is not an AdapterError"),
    (failing_with(SourceUnavailable("it is down; try later")), PEOPLE, "names none of crm: 'it is down"),
    (failing_with(SourceUnavailable("the CRM is down")), PEOPLE, "does not say what to do: 'the CRM is down'"),
    (failing_with(AdapterError("the CRM is down; try later")), PEOPLE, "raise the subclass"),
    (AcceptsAnyOption, "test_unknown_options_are_refused", "Options accepts an unknown key"),
    (HasAnOptionWithoutMeaning, "test_it_describes_itself", "the option pause needs a description"),
    (ChecksAtLength, "test_check_reports_in_one_line", "the summary is one line"),
    (GivesTimesWithoutZone, "test_properties_are_json", "updated_at of 1000 has no time zone"),
    (GivesBytes, "test_properties_are_json", "cannot be stored as JSON"),
    (SkipsTheLastPage, "test_a_pull_lists_every_record", "missing: 1015"),
    (FindsNoPhone, "test_contact_fields_are_found", "the phone is not among"),
    (ClosesOnlyOnce, "test_closing_is_harmless", "crm"),
]


@pytest.mark.parametrize(("broken", "test", "complaint"), CAUGHT)
def test_a_broken_adapter_is_caught(broken: type[Good], test: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, AttributeError), match=complaint):
        getattr(kit(broken), test)(tmp_path)


def test_every_test_of_the_kit_can_fail() -> None:
    assert {test for _broken, test, _complaint in CAUGHT} == set(TESTS)


def test_odd_json_is_found_by_search(tmp_path: Path) -> None:
    """A fault that no value of the table shows."""

    class CannotReadLists(Good):
        def contact_fields(self, properties: Properties) -> ContactFields:
            if isinstance(properties.get("email"), list) and len(properties["email"]) > 1:
                raise TypeError("only one of several")
            return super().contact_fields(properties)

    with pytest.raises(AssertionError, match="only one of several"):
        kit(CannotReadLists).test_contact_fields_never_raise(tmp_path)
