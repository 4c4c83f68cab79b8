"""Broken adapters: what they list in one pull."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, ContactFields, Cursor, Page, Properties, UnreadableRecord
from crm_adapters.fields import find_columns, read
from tests.adapters.broken.catalogue import caught_by
from tests.adapters.broken.good import Good


@caught_by("a_pull_lists_every_record", "missing: 16")
class SkipsTheLastPage(Good):
    """leaves out the last page"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        before = None
        for page in super().pull(cursor):
            if before is not None and page.changes:
                yield before
            before = page


@caught_by("a_pull_lists_every_record", "missing: 16")
class StopsAtAShortPage(Good):
    """takes a page that is not full for the last one and does not read it"""

    def rows(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows = super().rows(run)
        return rows if len(rows) == self.page_size else []


@caught_by("a_pull_lists_every_record", "ids are non-empty text")
class GivesNumbersAsIds(Good):
    """gives ids that are not text"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(external_id=row["id"])


@caught_by("a_pull_lists_every_record", "not in the CRM: ann0@example.com")
class NamesPeopleByTheirEmail(Good):
    """takes the email address as the id"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(external_id=row["email"])


@caught_by("full_pages_are_listed", "there is no such page")
class ExpectsAShortPage(Good):
    """fails when the last page is full"""

    def rows(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows = super().rows(run)
        if not rows and run["table"] == "people" and run["after"] % self.page_size == 0 and run["after"]:
            raise LookupError("there is no such page")
        return rows


@caught_by("text_of_all_languages_is_read", "is read as")
class DecodesAsLatin(Good):
    """takes UTF-8 for Latin-1"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        found = super().properties(row)
        return found | {"name": found["name"] and found["name"].encode().decode("latin-1")}


@caught_by("text_of_all_languages_is_read", "is read as")
class KeepsLettersOnly(Good):
    """removes what it does not know from names"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        fields = super().contact_fields(properties)
        return fields._replace(full_name=fields.full_name.encode("ascii", "ignore").decode())


@caught_by("an_empty_crm_is_read", "IndexError|out of range")
class ExpectsARecord(Good):
    """fails when the CRM is empty"""

    def new_run(self, cursor: Cursor | None) -> dict[str, Any]:
        run = super().new_run(cursor)
        return run | {"after": self.rows(run)[0]["id"] - 1}


@caught_by("a_pull_lists_each_record_once", "listed more than once: 1, 2")
class ListsTheFirstAgain(Good):
    """lists the first page twice"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        first = None
        for page in super().pull(cursor):
            first = first or page
            yield page
        if first is not None:
            yield first


@caught_by("pages_keep_to_their_size", "a page holds 16 changes, above 5")
class IgnoresItsPageSize(Good):
    """yields one page with everything"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        pages = list(super().pull(cursor))
        yield Page([change for page in pages for change in page.changes], pages[-1].cursor)


@caught_by("pages_are_read_when_they_are_asked_for", "16 records are held")
class ReadsEverythingFirst(Good):
    """reads all records before its first page"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        yield from list(super().pull(cursor))


@caught_by("memory_is_flat", "the first page of a pull needs .* bytes")
class AsksForTheWholeCrm(Good):
    """reads all raw rows before its first page"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        run = self.new_run(cursor)
        self.everything = self.get("people", {**self.query(run), "limit": 10**6})
        yield from super().pull(cursor)


@caught_by("pages_are_read_when_they_are_asked_for", "pull yields its pages")
class ReturnsAList(Good):
    """returns a list of pages"""

    def pull(self, cursor: Cursor | None) -> Any:
        return list(super().pull(cursor))


@caught_by("a_pull_lists_every_record", "the changes of a page are a list or a tuple")
class YieldsChangesLazily(Good):
    """puts a generator into a page"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        page = super().page(run, rows)
        return Page((change for change in page.changes), page.cursor)  # type: ignore[arg-type]


@caught_by("memory_is_flat", "blocks of memory are held")
class KeepsRawRows(Good):
    """holds all raw rows in memory"""

    def rows(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        rows = super().rows(run)
        self.kept = [*getattr(self, "kept", []), rows]
        return rows


@caught_by("memory_is_flat", "blocks of memory are held")
class RemembersEveryRecord(Good):
    """remembers a text for each record, to list none twice"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        self.seen = getattr(self, "seen", {})
        self.seen[f"{row['id']}"] = repr(row)
        return super().person(row)


@caught_by("values_are_plain", "cannot be stored as JSON|is a bytes")
class GivesBytes(Good):
    """gives values that are not JSON"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return super().properties(row) | {"mobile": b"+1415"}


@caught_by("values_are_plain", "cannot be stored as JSON")
class GivesNotANumber(Good):
    """gives a number that JSON does not have"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return super().properties(row) | {"score": float("nan")}


@caught_by("values_are_plain", "is a dict")
class GivesNestedValues(Good):
    """gives nested values"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return super().properties(row) | {"owner": row["owner"]}


@caught_by("values_are_plain", "is a list")
class GivesReferencesAsPairs(Good):
    """gives a reference as its id and label"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return super().properties(row) | {"owner": [3, "Sam Seller"]}


@caught_by("references_are_labels", "owner is 3, not 'Sam Seller'")
class GivesReferencesAsIds(Good):
    """gives the id of a reference instead of its label"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return super().properties(row) | {"owner": row["owner"]["id"]}


@caught_by("references_are_labels", "there is no id in owner_id")
class ForgetsTheIdsOfReferences(Good):
    """gives the label of a reference without its id"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return super().properties(row) | {"owner_id": None}


@caught_by("values_are_plain", "updated_at of 1 has no time zone")
class GivesTimesWithoutZone(Good):
    """gives times without a zone"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(updated_at=datetime(2026, 1, 2))  # noqa: DTZ001


@caught_by("values_are_plain", "is a lead, which is not among")
class HasAnUndeclaredKind(Good):
    """lists a kind that it does not declare"""

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        return super().person(row)._replace(kind="lead")


@caught_by("empty_fields_are_named", "a record without one of its fields is not listed")
class DropsPeopleWithoutAName(Good):
    """leaves out people without a name"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        return super().page(run, [row for row in rows if row.get("name", "-")])


@caught_by("empty_fields_are_named", "a record without one of its fields is not listed")
class DropsPeopleWithoutAnEmail(Good):
    """leaves out people without an email address"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        return super().page(run, [row for row in rows if row.get("email", "-")])


@caught_by("empty_fields_are_named", "a record without one of its fields is not listed")
class DropsPeopleWithoutAPhone(Good):
    """leaves out people without a phone number"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        return super().page(run, [row for row in rows if row.get("mobile", "-")])


@caught_by("empty_fields_are_named", "mobile.* of 2 is absent instead of empty")
class LeavesEmptyFieldsOut(Good):
    """leaves out fields that are empty"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in super().properties(row).items() if value is not None}


@caught_by("empty_fields_are_named", "the phones of .* are|an empty field is not empty")
class WritesNoneAsText(Good):
    """writes None as text"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: str(value).replace("None", "Unknown Person") for name, value in super().properties(row).items()}


@caught_by("an_unchanged_source_reads_the_same", "two pulls differ")
class KeepsTheTimeInItsProperties(Good):
    """puts the time of reading into the properties"""

    reads = 0

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        KeepsTheTimeInItsProperties.reads += 1
        return super().properties(row) | {"read": self.reads}


@caught_by("contact_fields_are_found", "the phone is not among")
class FindsNoPhone(Good):
    """does not find the phone"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        return super().contact_fields(properties)._replace(phones=(("fax", "+14155550000"),))


@caught_by("contact_fields_are_found", "the name and the email are")
class ReadsTheFirstNameOnly(Good):
    """reads a part of the name"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        fields = super().contact_fields(properties)
        return fields._replace(full_name=fields.full_name.split(" ")[0])


@caught_by("contact_fields_never_raise", "contact_fields raises KeyError")
class StumblesOverOddValues(Good):
    """raises for odd values"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        return ContactFields((("mobile", properties["mobile"].strip()),), properties["name"], properties["email"])


@caught_by("contact_fields_never_raise", "only one of several")
class CannotReadLists(Good):
    """raises for a value that only a search finds"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        if isinstance(properties.get("email"), list) and len(properties["email"]) > 1:
            raise TypeError("only one of several")
        return super().contact_fields(properties)


@caught_by("contact_fields_never_raise", "empty phones are left out")
class ListsEmptyPhones(Good):
    """lists a phone that is empty"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        fields = super().contact_fields(properties)
        return fields if fields.phones else fields._replace(phones=(("mobile", ""),))


@caught_by("a_mapping_decides", "it reads")
class IgnoresTheMapping(Good):
    """finds contact fields by usual names only"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        return read(find_columns(tuple(properties), FieldMapping()), properties)


@caught_by("a_mapping_decides", "it reads")
class MapsTheExactSpellingOnly(Good):
    """takes a mapped name in another spelling for a missing field"""

    def contact_fields(self, properties: Properties) -> ContactFields:
        fields = super().contact_fields(properties)
        mapped = self.fields.phone
        return fields._replace(phones=()) if mapped and mapped[0] not in properties else fields


@caught_by("wanted_fields_are_read", "a field of the contact is not read")
class ReadsWantedFieldsOnly(Good):
    """leaves out the contact's fields because the configuration does not name them"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        wanted = self.services.wanted
        found = super().properties(row)
        return found if wanted is None else {name: found[name] for name in found if name.upper() in wanted}


@caught_by("wanted_fields_are_read", "email is wanted and not there|is not read|is wanted and not there")
class ComparesWantedNamesExactly(Good):
    """leaves out wanted fields whose names are spelt otherwise"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        wanted, found = self.services.wanted, super().properties(row)
        kept = {"id", "name", "mobile"} | (wanted or set(found))
        return {name: found[name] for name in found if name in kept}


@caught_by("wanted_fields_are_read", "KeyError|no such field")
class InsistsOnWantedFields(Good):
    """fails when the configuration names a field that the CRM does not have"""

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        for name in self.services.wanted or ():
            if name.lower() not in row:
                raise LookupError(name)
        return super().properties(row)


@caught_by("an_unreadable_record_stops_no_other", "one strange record stops the pull")
class StopsAtAStrangeRecord(Good):
    """stops at a record that it cannot read"""

    def record(self, table: str, row: Any) -> ContactChange | UnreadableRecord:
        return self.person(row) if table == "people" else self.deal(row)


@caught_by("an_unreadable_record_stops_no_other", "one strange record hides")
class EndsThePageAtAStrangeRecord(Good):
    """ends the page at a record that it cannot read"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        page, good = super().page(run, rows), []
        for change in page.changes:
            if isinstance(change, UnreadableRecord):
                break
            good.append(change)
        return Page(good, page.cursor)


@caught_by("an_unreadable_record_stops_no_other", "a strange record is left out in silence")
class LeavesStrangeRecordsOut(Good):
    """leaves out a record that it cannot read, in silence"""

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        page = super().page(run, rows)
        return Page([change for change in page.changes if isinstance(change, ContactChange)], page.cursor)


@caught_by("an_unreadable_record_stops_no_other", "has a key|does not say where")
class RejectsWithoutNaming(Good):
    """reports an unreadable record without saying which"""

    def record(self, table: str, row: Any) -> ContactChange | UnreadableRecord:
        found = super().record(table, row)
        return UnreadableRecord("", "It cannot be read", "") if isinstance(found, UnreadableRecord) else found


@caught_by("an_unreadable_record_stops_no_other", "is longer than 200 characters")
class QuotesWholeRecords(Good):
    """quotes more of an unreadable record than is stored"""

    def record(self, table: str, row: Any) -> ContactChange | UnreadableRecord:
        found = super().record(table, row)
        if isinstance(found, UnreadableRecord):
            return UnreadableRecord(found.key, found.reason, found.where, str(row) * 9)
        return found
