"""Workbooks, other formats with the name of a CSV file, and columns that mark rows as deleted."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, SourceIncomplete, SourceInvalid, UnreadableRecord
from crm_adapters.csv.adapter import CsvAdapter
from crm_adapters.csv.files import find_files, open_export
from crm_adapters.csv.options import CsvOptions
from crm_adapters.services import LocalServices


def pull(path: Path, services: LocalServices | None = None, **options: Any) -> list[ContactChange | UnreadableRecord]:
    csv = CsvAdapter(
        CsvOptions(path=str(path), settle_seconds=0, **options), FieldMapping(), services=services or LocalServices()
    )
    return [record for page in csv.pull(None) for record in page.changes]


def workbook(path: Path, rows: list[list[Any]], formats: dict[str, str] | None = None) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(row)
    for cell, number_format in (formats or {}).items():
        sheet[cell].number_format = number_format
    book.save(path)
    return path


# (value in the workbook, its number format, text)
CELLS = [
    ("(415) 555-2671", "General", "(415) 555-2671"),
    (14155552671, "General", "14155552671"),
    (14155552671.0, "General", "14155552671"),
    (6123456789010, "0", "6123456789010"),
    (123456789012345, "0.00E+00", "123456789012345"),
    (501, "00000", "00501"),
    (3.5, "General", "3.5"),
    (1e20, "General", "100000000000000000000"),
    (0.1, "0%", "0.1"),
    (True, "General", "true"),
    (date(2027, 4, 3), "dd/mm/yyyy", "2027-04-03"),
    (datetime.fromisoformat("2027-04-03"), "yyyy-mm-dd", "2027-04-03"),
    (datetime.fromisoformat("2027-04-03T10:30"), "m/d/yy h:mm", "2027-04-03 10:30:00"),
    (datetime.fromisoformat("2027-04-03"), "m/d/yy h:mm", "2027-04-03 00:00:00"),
    ("Zoë 🦊", "General", "Zoë 🦊"),
    (None, "General", ""),
]


@pytest.mark.parametrize(("value", "number_format", "expected"), CELLS)
def test_a_cell_of_a_workbook_becomes_text(tmp_path: Path, value: Any, number_format: str, expected: str) -> None:
    path = workbook(tmp_path / "c.xlsx", [["Id", "Phone", "Value"], [1, 111, value]], {"C2": number_format})
    (record,) = pull(path)
    assert isinstance(record, ContactChange)
    assert dict(record.properties) == {"Id": "1", "Phone": "111", "Value": expected}
    assert record.where == "c.xlsx row 2"


def test_a_workbook_is_checked_and_described_like_a_csv_file(tmp_path: Path) -> None:
    rows = [[], ["Id", "Name", "Mobile"], [1, "Ann", 4155552671], [None, None, None], [2, "Ben", "", "more"]]
    path = workbook(tmp_path / "contacts.xlsx", rows)
    csv = CsvAdapter(CsvOptions(path=str(path)), FieldMapping())
    assert csv.check().summary == 'contacts.xlsx (workbook): phone "Mobile", name "Name", email none, id "Id"'
    assert [(field.name, field.values) for field in csv.describe()] == [
        ("Id", ("1", "2")),
        ("Name", ("Ann", "Ben")),
        ("Mobile", ("4155552671",)),
    ]
    good, bad = pull(path)
    assert isinstance(good, ContactChange)
    assert isinstance(bad, UnreadableRecord)
    assert (bad.key, bad.where) == ("2", "contacts.xlsx row 5")


def test_the_first_visible_sheet_is_read_or_the_one_that_is_named(tmp_path: Path) -> None:
    path, book = tmp_path / "contacts.xlsx", openpyxl.Workbook()
    hidden, first, second = book.active, book.create_sheet("People"), book.create_sheet("Old")
    hidden.sheet_state = "hidden"
    for number, sheet in enumerate((hidden, first, second)):
        sheet.append(["Id", "Phone"])
        sheet.append([f"s{number}", 111])
    book.save(path)
    assert [getattr(record, "external_id", "") for record in pull(path)] == ["s1"]
    assert [getattr(record, "external_id", "") for record in pull(path, sheet="Old")] == ["s2"]
    with pytest.raises(SourceInvalid, match=r'no sheet "Peple", which options.sheet names; there are: "Sheet",'):
        pull(path, sheet="Peple")


def test_a_folder_is_read_for_its_workbooks_if_it_has_no_csv_file(tmp_path: Path) -> None:
    workbook(tmp_path / "contacts.xlsx", [["Id", "Phone"], ["book", 111]])
    (tmp_path / "~$contacts.xlsx").write_bytes(b"the lock file of Excel")
    assert [getattr(record, "external_id", "") for record in pull(tmp_path)] == ["book"]
    (tmp_path / "contacts.csv").write_text("Id,Phone\ntext,111\n")
    assert [getattr(record, "external_id", "") for record in pull(tmp_path)] == ["text"]


def test_a_damaged_workbook_is_incomplete(tmp_path: Path) -> None:
    path = workbook(tmp_path / "contacts.xlsx", [["Id", "Phone"], *[[n, n] for n in range(500)]])
    whole = path.read_bytes()
    for damaged in (whole[:-30], whole[: len(whole) // 2], whole[:40] + b"\0" * 400 + whole[440:]):
        path.write_bytes(damaged)
        with pytest.raises(SourceIncomplete, match=r"contacts\.xlsx is damaged or incomplete .*export it again"):
            pull(path)


def test_without_openpyxl_a_workbook_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "contacts.xlsx", [["Id", "Phone"], [1, 2]])
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "openpyxl":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceInvalid, match="openpyxl, which reads it, is not installed; install"):
        pull(path)


def zipped(*names: str, mimetype: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "<x/>")
    return data.getvalue()


# (name, content, what is said)
OTHERS = [
    ("c.csv", zipped("xl/workbook.xml"), "is an Excel workbook; give it a name that ends in .xlsx, or save it as CSV"),
    ("c.csv", zipped("x", mimetype="application/vnd.oasis.opendocument.spreadsheet"), "is an OpenDocument file"),
    ("c.csv", zipped("contacts.csv"), "is a zip archive; unpack it"),
    ("c.csv", zipped("Index/Document.iwa"), "is a Numbers document"),
    ("c.csv", b"PK\x03\x04 and nothing else", "is a damaged Excel workbook or archive"),
    ("c.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel workbook"),
    ("c.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel workbook .* or has a password"),
    ("c.xlsx", b"Id,Phone\n1,111\n", "is not an Excel workbook; if it is a CSV file, give it a name that ends in .csv"),
    ("c.xls", b"<html><table><tr><td>Id</td></tr></table>", "is a web page; some programs call it .xls"),
    ("c.csv", b"\xef\xbb\xbf <!DOCTYPE html><p>Please log in", "is a web page"),
    ("c.csv", b'<?xml version="1.0"?>', "is an XML file"),
    ("c.csv", b"BEGIN:VCARD\nFN:Ann\n", "is a vCard file"),
    ("c.csv", b'[{"id": 1}]', "is a JSON file"),
    ("c.csv", b"%PDF-1.7", "is a PDF document"),
    ("c.csv", gzip.compress(b"Id,Phone\n1,111\n", mtime=0), "is compressed; give it a name that ends in .csv.gz"),
    ("c.csv", b"SQLite format 3\0", 'is a SQLite database; read it with the "sql" adapter'),
]


@pytest.mark.parametrize(("name", "content", "words"), OTHERS)
def test_a_file_of_another_format_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceInvalid, match=rf"^{name} {words}"):
        pull(tmp_path / name)


# (value, deleted)
MARKS = [
    ("true", True),
    ("TRUE", True),
    ("1", True),
    ("Yes", True),
    ("t", True),
    ("wahr", True),
    ("oui", True),
    ("2027-04-03", True),
    ("2027-04-03T10:30:00Z", True),
    ("3/4/2027 10:30", True),
    ("1764550000", True),
    ("", False),
    ("false", False),
    ("FALSE", False),
    ("0", False),
    ("No", False),
    ("n", False),
    ("NULL", False),
    ("f", False),
]


@pytest.mark.parametrize("column", ["IsDeleted", "deleted_at", "Archived", "is deleted", "Gelöscht", "Eliminado"])
@pytest.mark.parametrize(("value", "deleted"), MARKS)
def test_rows_that_are_marked_as_deleted_count_as_deleted(
    tmp_path: Path, column: str, value: str, deleted: bool
) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text(f"Id,Phone,{column}\n1,111,{value}\n")
    (record,) = pull(path)
    assert isinstance(record, ContactChange)
    assert record.deleted is deleted
    assert (
        f'anything but no in "{column}" count as deleted'
        in CsvAdapter(CsvOptions(path=str(path)), FieldMapping()).check().summary
    )


def test_a_column_of_another_meaning_deletes_nobody_and_is_told(tmp_path: Path) -> None:
    path, services = tmp_path / "contacts.csv", LocalServices()
    path.write_text("Id,Phone,Archived\n1,111,\n2,222,Box 12\n")
    assert [getattr(record, "deleted", None) for record in pull(path, services)] == [False, False]
    assert services.memory["notes"] == [
        'contacts.csv has a column "Archived", but "Box 12" in it is neither a yes or no nor a time, so no row counts '
        "as deleted. If it marks deleted records, name it in options.deleted; if not, set that to false"
    ]
    assert [getattr(record, "deleted", None) for record in pull(path, deleted="archived")] == [False, True]
    assert pull(path, services, deleted=False)
    assert services.memory["notes"] == []


def test_a_value_that_is_not_understood_later_counts_as_deleted(tmp_path: Path) -> None:
    path, services = tmp_path / "contacts.csv", LocalServices()
    path.write_text("Id,Phone,Deleted\n1,111,no\n")
    pull(path, services)
    path.write_text("Id,Phone,Deleted\n1,111,gone since May\n")
    assert [getattr(record, "deleted", None) for record in pull(path, services)] == [True]


def test_a_deleted_column_that_vanishes_brings_nobody_back(tmp_path: Path) -> None:
    path, services = tmp_path / "contacts.csv", LocalServices()
    path.write_text("Id,Phone,IsDeleted\n1,111,true\n")
    pull(path, services)
    services.memory = json.loads(json.dumps(services.memory))
    path.write_text("Id,Phone\n1,111\n")
    with pytest.raises(SourceInvalid, match=r'no column "IsDeleted" any more, which marked deleted .*would come back'):
        pull(path, services)
    assert [getattr(record, "deleted", None) for record in pull(path, services, deleted=False)] == [False]
    with pytest.raises(SourceInvalid, match='no column "gone", which deleted names'):
        pull(path, deleted="gone")


# --- links

SECRET_FILE = "id,phone\n1,+14155550199\n"


def linked(folder: Path, *, target: str, link: str) -> None:
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    (folder / target).write_text(SECRET_FILE)
    (folder / link).parent.mkdir(parents=True, exist_ok=True)
    (folder / link).symlink_to(folder / target)


# what, where the file is, where the link to it is, the path in the options, readable
LINKS: list[tuple[str, str, str, str, bool]] = [
    ("in the folder, to another file", "private/users.csv", "exports/users.csv", "exports", False),
    ("in the folder, to a file of the folder", "exports/2026/users.csv", "exports/latest.csv", "exports/*.csv", True),
    ("in a pattern, to another file", "private/users.csv", "exports/users.csv", "exports/*.csv", False),
    ("in a folder below", "private/users.csv", "exports/2026/users.csv", "exports/**/*.csv", False),
    ("a folder that is a link, in a pattern", "private/a/users.csv", "exports/x/users.csv", "exports/*/*.csv", False),
    ("the file of the options is a link itself", "private/users.csv", "exports/users.csv", "exports/users.csv", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "link", "path", "readable"), [row[1:] for row in LINKS], ids=[row[0] for row in LINKS]
)
def test_a_link_never_shows_a_file_from_elsewhere(
    tmp_path: Path, target: str, link: str, path: str, readable: bool
) -> None:
    linked(tmp_path, target=target, link=link)
    if readable:
        assert [record.properties["phone"] for record in pull(tmp_path / path)] == ["+14155550199"]
        return
    with pytest.raises(SourceInvalid, match="is a link to a file outside of") as caught:
        pull(tmp_path / path)
    assert "+14155550199" not in str(caught.value)


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.csv").write_text(SECRET_FILE)
    (tmp_path / "exports").symlink_to(tmp_path / "real")
    assert len(pull(tmp_path / "exports")) == 1


def test_a_file_that_becomes_a_link_after_it_was_found_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "a.csv").write_text(SECRET_FILE)
    (tmp_path / "private.csv").write_text(SECRET_FILE)
    (export,) = find_files([tmp_path / "exports"])
    (tmp_path / "exports" / "a.csv").unlink()
    (tmp_path / "exports" / "a.csv").symlink_to(tmp_path / "private.csv")
    with pytest.raises(SourceInvalid, match="become a link"), open_export(export):
        pass
