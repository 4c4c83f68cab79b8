"""CSV exports as they are found in the world: every good row is read, every bad one is named, none is swallowed."""

from __future__ import annotations

import gzip
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.fields import FieldMapping
from config.types import FromFile
from crm_adapters.base import ContactChange, SourceIncomplete, SourceInvalid, SourceUnavailable, UnreadableRecord
from crm_adapters.csv import text
from crm_adapters.csv.adapter import CsvAdapter
from crm_adapters.csv.options import CsvOptions

HEADER = "Record ID,Name,Phone,Email\n"
GOOD = HEADER + "1,Ann,+14155550101,ann@example.com\n2,Ben,+14155550102,\n"


def adapter(path: Path | list[Path], fields: FieldMapping | None = None, **options: Any) -> CsvAdapter:
    paths = [str(one) for one in path] if isinstance(path, list) else str(path)
    return CsvAdapter(CsvOptions(path=paths, **{"settle_seconds": 0, **options}), fields or FieldMapping())


def records(of: CsvAdapter) -> list[ContactChange | UnreadableRecord]:
    return [record for page in of.pull(None) for record in page.changes]


Reader = Callable[..., list[ContactChange | UnreadableRecord]]


@pytest.fixture
def pull(tmp_path: Path) -> Reader:
    """Write this as contacts.csv and read it."""

    def write_and_read(content: str | bytes, **options: Any) -> list[ContactChange | UnreadableRecord]:
        path = tmp_path / "contacts.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return records(adapter(path, **options))

    return write_and_read


def good(found: list[ContactChange | UnreadableRecord]) -> list[ContactChange]:
    return [record for record in found if isinstance(record, ContactChange)]


def bad(found: list[ContactChange | UnreadableRecord]) -> list[UnreadableRecord]:
    return [record for record in found if isinstance(record, UnreadableRecord)]


def ids(found: list[ContactChange | UnreadableRecord]) -> list[str]:
    return [record.external_id for record in good(found)]


def test_a_row_becomes_a_record_with_all_its_columns(pull: Reader) -> None:
    assert pull(GOOD)[0] == ContactChange(
        "1",
        {"Record ID": "1", "Name": "Ann", "Phone": "+14155550101", "Email": "ann@example.com"},
        where="contacts.csv line 2",
    )


def test_contact_fields_come_from_the_usual_columns_or_the_mapping(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text("id,phone,desk,first_name,last_name\n1,111,222,Ann,Lee\n")
    by_name, mapped = adapter(path), adapter(path, FieldMapping(phone=("desk",), full_name=("last_name",)))
    (record,) = good(records(by_name))
    assert by_name.contact_fields(record.properties).phones == (("phone", "111"),)
    assert by_name.contact_fields(record.properties).full_name == "Ann Lee"
    assert mapped.contact_fields(record.properties).phones == (("desk", "222"),)
    assert mapped.contact_fields(record.properties).full_name == "Lee"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(pull: Reader, end: str) -> None:
    found = pull(GOOD.replace("\n", end))
    assert [(r.external_id, r.properties["Name"], r.where) for r in good(found)] == [
        ("1", "Ann", "contacts.csv line 2"),
        ("2", "Ben", "contacts.csv line 3"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(pull: Reader, delimiter: str) -> None:
    rows = [["id", "name, full", "phone; mobile", "phone"], ["1", "Lee, Ann", "x;y", "111"], ["2", "Ben", "", "222"]]
    text = "".join(delimiter.join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    assert [list(record.properties.values()) for record in good(pull(text))] == rows[1:]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
def test_excels_separator_line_is_obeyed(pull: Reader, line: str) -> None:
    assert ids(pull(f"{line}\nid;phone\n1;111\n")) == ["1"]


@pytest.mark.parametrize(
    "text", [GOOD + "\x1a", GOOD + "\x1a\x1a", "\ufeff\ufeff" + GOOD, '\ufeff\ufeff"' + GOOD[:9] + '"' + GOOD[9:]]
)
def test_marks_at_the_ends_of_a_file_belong_to_no_cell(pull: Reader, text: str) -> None:
    assert pull(text) == pull(GOOD)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "Zoë 🦊 עברית ‏שלום"),
        ("utf-8-sig", "Zoë"),
        ("utf-16", "Zoë 🦊"),
        ("utf-16-be", "\ufeffZoë"),
        ("utf-32", "Zoë"),
        ("cp1252", "José Müller"),
        ("cp1251", "Екатерина Александровна Достоевская, Санкт-Петербург"),
    ],
)
def test_encodings_are_found(pull: Reader, encoding: str, name: str) -> None:
    mark, name = name[: name.startswith("\ufeff")], name.removeprefix("\ufeff")
    found = pull((mark + f'id,name,phone\n1,"{name}",111\n' + "2,Ann,222\n" * 3).encode(encoding))
    assert good(found)[0].properties == {"id": "1", "name": name, "phone": "111"}
    assert not bad(found)


def test_an_encoding_that_is_given_is_used(pull: Reader) -> None:
    found = pull("id,name,phone\n1,Łukasz,111\n".encode("cp1250"), encoding="cp1250")
    assert good(found)[0].properties["name"] == "Łukasz"


def test_text_is_only_data(pull: Reader) -> None:
    cells = ["=cmd|' /C calc'!A0", "@SUM(1+1)", "+1 (415) 555-0101", "\u202eevil", "{{ name }}", "O'Neil; DROP TABLE"]
    header = ",".join(["id", "phone", *"abcdef"])
    (record,) = good(pull(header + '\n1,111,"' + '","'.join(cells) + '"\n'))
    assert [record.properties[name] for name in "abcdef"] == cells


def test_a_cell_over_several_lines_is_one_row_and_lines_still_count(pull: Reader) -> None:
    found = pull(HEADER + '1,"Ann\r\nLee, of\nSpringfield",111,a@b.c\n\n2,Ben,222,\n')
    assert good(found)[0].properties["Name"] == "Ann\r\nLee, of\nSpringfield"
    assert [record.where for record in found] == ["contacts.csv line 2", "contacts.csv line 6"]


@pytest.mark.parametrize(
    "note", ["one\ntwo\nthree", "one, two\n3, 4, 5, 6\nseven", "12 High St,\n,,,\n", "\n\n\n", "Kent\n7\n8\n9"]
)
def test_a_long_note_is_not_taken_for_rows(pull: Reader, note: str) -> None:
    found = pull("Record ID,Phone,Email,Note\n" + f'1,111,a@b.c,"{note}"\n2,222,,\n')
    assert [(record.external_id, record.properties["Note"]) for record in good(found)] == [("1", note), ("2", "")]


def test_short_rows_are_padded_and_empty_ones_skipped(pull: Reader) -> None:
    found = pull(HEADER + "1,Ann\n\n,,,\n   \n2,Ben,222,b@b.c,,\n")
    assert [dict(record.properties) for record in good(found)] == [
        {"Record ID": "1", "Name": "Ann", "Phone": "", "Email": ""},
        {"Record ID": "2", "Name": "Ben", "Phone": "222", "Email": "b@b.c"},
    ]
    assert not bad(found)


def test_columns_without_a_name_of_their_own_get_one(pull: Reader) -> None:
    (record,) = good(pull("id,Phone,Phone,, name \n1,111,222,x,Ann\n"))
    assert list(record.properties) == ["id", "Phone", "Phone (2)", "column 4", "name"]


def test_thousands_of_columns_of_one_name_are_told_apart(pull: Reader) -> None:
    (record,) = good(pull(",".join(["phone"] * 3000) + "\n" + ",".join(["1"] * 3000) + "\n"))
    assert len(record.properties) == 3000


def test_rows_that_repeat_are_passed_on(pull: Reader) -> None:
    assert ids(pull(HEADER + "1,Ann,1,\n1,Ann,1,\n1,Anna,1,\n")) == ["1", "1", "1"]


HOSTILE = {
    "too many cells": (b"{id},Lee, Ann,111,a@b.c\n", "5 cells where the header has 4"),
    "NUL": (b"{id},A\0nn,111,\n", "not text"),
    "not UTF-8": (b"{id},\xff\xfe\x80,111,\n", "not text"),
    "binary": (b"{id},\x89PNG\x00\x01\x02,\xf0\x28,\n", "not text"),
    "misplaced quote": (b'{id},"Ann" Lee,111,\n', "quotation mark"),
    "quoted line": (b'"{id},Ann,111,"\n', "in quotation marks as a whole"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_row_is_named_and_the_others_go_on(pull: Reader, kind: str) -> None:
    line, reason = HOSTILE[kind]
    found = pull(HEADER.encode() + "1,Zoë,1,\n".encode() * 9 + line.replace(b"{id}", b"77") + b"2,Ben,222,\n")
    (record,) = bad(found)
    assert (record.key, record.where) == ("77", "contacts.csv line 11")
    assert reason in record.reason
    assert record.reason[0].isupper()
    assert record.reason.endswith(".")
    assert 0 < len(record.excerpt) <= 200
    assert record.excerpt.isprintable()
    assert ids(found) == ["1"] * 9 + ["2"]


def test_two_hundred_bad_rows_among_good_ones(pull: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK", 1000)  # many chunks
    kinds = list(HOSTILE.values())
    rows = [
        kinds[n // 2 % 5][0].replace(b"{id}", b"%d" % n) if n % 2 else f'{n},"Zoë\n{n}",111,z@b.c\n'.encode()
        for n in range(1, 401)
    ]
    found = pull(HEADER.encode() + b"".join(rows), encoding="utf-8")
    assert ids(found) == [str(n) for n in range(2, 401, 2)]
    assert [record.key for record in bad(found)] == [str(n) for n in range(1, 400, 2)]
    assert [record.where for record in bad(found)] == [f"contacts.csv line {2 + n // 2 * 3}" for n in range(1, 400, 2)]


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("size", [text.FIELD_LIMIT + 1, 9 * text.FIELD_LIMIT])
def test_a_huge_cell_is_a_bad_row(pull: Reader, size: int, quote: str) -> None:
    content = HEADER + "1,Ann,111,\n" + f"2,Ben,222,{quote}{'x' * size}{quote}\n" + "3,Cid,333,\n"
    found = pull(content)
    (record,) = bad(found)
    assert (record.key, record.where) == ("2", "contacts.csv line 3")
    assert "more than 1,048,576 characters" in record.reason
    assert len(record.excerpt) <= 200
    assert [(r.external_id, r.where) for r in good(found)] == [
        ("1", "contacts.csv line 2"),
        ("3", "contacts.csv line 4"),
    ]


def test_a_huge_cell_over_many_lines_is_one_bad_row(pull: Reader) -> None:
    found = pull(HEADER + '2,Ben,222,"' + "lorem ipsum\n" * 200_000 + '"\n3,Cid,333,\n')
    assert [record.key for record in bad(found)] == ["2"]
    assert [(r.external_id, r.where) for r in good(found)] == [("3", "contacts.csv line 200003")]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        pytest.param('2,"Ben,222,\n3,Cid,333,\n', 3, id="until the end"),
        pytest.param('2,"Ben,222,\n3,"Cid",333,\n4,Dan,444,\n', 3, id="until the next quoted cell"),
        pytest.param('2,Ben,222,\n3,"Cid,333,\n4,Dan 6",444,\n', 4, id="until a stray quote that fits"),
        pytest.param('2,"Ben,222,\n3,Cid,of Kent,333,\n4,Dan 6",444,\n', 3, id="over a row with too many cells"),
        pytest.param('2,Ben,222,"x\ny""\n3,Cid,333,a@b.c\n4,Dan,444,c@d.e"\n', 3, id="from a cell over two lines"),
        pytest.param('2,"Ben,222,\n' + "3,Cid,333,\n" * 200_000, 3, id="above the size of a cell"),
        pytest.param('2,"Ben,222,\n' + "3,Cid,333,\n" * 200_000 + '4,Dan",444,\n', 3, id="above it, then closed"),
        pytest.param('2,"Ben\nof Kent","222,\n3,Cid,333,\n', 4, id="in the second line of a row"),
    ],
)
def test_an_open_quote_swallows_no_rows(pull: Reader, rows: str, line: int) -> None:
    with pytest.raises(SourceIncomplete, match=rf"contacts\.csv has a quotation mark in line {line} that"):
        pull(HEADER + "1,Ann,111,\n" + rows)


def test_a_last_line_that_breaks_off_is_an_incomplete_file(pull: Reader) -> None:
    with pytest.raises(
        SourceIncomplete, match=r"breaks off in line 3, its last one: it has 2 of 4 cells.*short_last_row"
    ):
        pull(HEADER + "1,Ann,111,\n2,Be")
    assert ids(pull(HEADER + "1,Ann,111,\n2,Ben,222,b@b.c")) == ["1", "2"], "only the line end is missing"
    assert ids(pull(HEADER + "1,Ann,111,\n2,Ben,222", short_last_row=True)) == ["1", "2"]


def test_a_broken_off_line_is_never_in_a_page(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text(HEADER + "".join(f"{n},A,1,\n" for n in range(999)) + "999,A")
    seen = []
    with pytest.raises(SourceIncomplete):
        seen.extend(page for page in adapter(path).pull(None))
    assert "999" not in {record.external_id for page in seen for record in page.changes}


@pytest.mark.parametrize(("content", "why"), [("", "is empty"), ("\n\n  \n", "has no header")])
def test_an_empty_file_is_incomplete(pull: Reader, content: str, why: str) -> None:
    with pytest.raises(SourceIncomplete, match=why):
        pull(content)


def test_a_header_alone_is_an_export_without_contacts(pull: Reader) -> None:
    assert pull(HEADER) == []


def test_a_file_that_is_still_being_written_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text(GOOD)
    with pytest.raises(SourceIncomplete, match=r"may not be complete yet.*settle_seconds"):
        records(adapter(path, settle_seconds=60))
    os.utime(path, (time.time() - 61,) * 2)
    assert len(records(adapter(path, settle_seconds=60))) == 2


def test_a_file_that_changes_while_it_is_read_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text(HEADER + "".join(f"{n},Ann,111,\n" for n in range(1500)))
    pages = adapter(path).pull(None)
    assert len(next(pages).changes) == 1000
    with path.open("a") as more:
        more.write("1500,Ann,111,\n")
    with pytest.raises(SourceIncomplete, match="changed while it was being read"):
        list(pages)


@pytest.mark.parametrize("row", ["{id},Ben,222,", '{id},"Ben\nLee",222,', "{id},Ben"])
def test_an_id_that_no_index_can_hold_is_a_bad_row(pull: Reader, row: str) -> None:
    found = pull(HEADER + row.format(id="7" * 256) + "\n" + row.format(id="7" * 255) + "\n")
    (record,) = bad(found)
    assert "256 characters, above 255" in record.reason
    assert record.key.startswith("contacts.csv row ")
    assert ids(found) == ["7" * 255]


def test_a_bad_row_with_an_endless_id_has_a_short_key(pull: Reader) -> None:
    (record,) = bad(pull(HEADER + "7" * 5000 + ",Ben,222,,too,many\n"))
    assert len(record.key) < 100


def test_a_row_without_an_id_has_a_key_that_stays(pull: Reader) -> None:
    first = bad(pull(HEADER + "1,Ann,1,\n,Ben,,\n  ,Cid,n/a,\n"))
    later = bad(pull(HEADER + "  ,Cid,n/a,\n7,New,0,\n,Ben,,\n"))
    assert 'no id of its own in "Record ID", and neither an email' in first[0].reason
    assert {record.key for record in first} == {record.key for record in later}
    assert len({record.key for record in first}) == 2


@pytest.mark.parametrize(
    ("header", "options", "expected"),
    [
        ("Email,Phone", {}, "a@b.c"),
        ("Name,Phone", {}, "111"),
        ("Contact ID,Email,Phone", {}, "7"),
        ("Email,Phone,no", {"id": "no"}, "9"),
        ("shop,no,Phone", {"id": ["shop", "no"]}, r"a\|b|9"),
        ("Email,Phone,No", {"id": "NO"}, "9"),
    ],
)
def test_what_identifies_a_record(pull: Reader, header: str, options: dict[str, Any], expected: str) -> None:
    values = {"Email": "a@b.c", "Phone": "111", "Contact ID": "7", "Name": "Ann", "no": "9", "No": "9", "shop": "a|b"}
    row = ",".join(values[name] for name in header.split(","))
    assert ids(pull(f"{header}\n{row}\n", **options)) == [expected]


def test_a_placeholder_in_the_email_column_identifies_nobody(pull: Reader) -> None:
    found = pull("Email,Phone\nn/a,111\na@b.c,222\nnone,333\nnone,-\n")
    assert ids(found) == ["phone 111", "a@b.c", "phone 333"]
    assert len(bad(found)) == 1


@pytest.mark.parametrize(
    ("fields", "options", "text"),
    [
        ({"phone": "Mobil"}, {}, r'no column "Mobil", which fields.phone names; did you mean "Mobile"\?'),
        ({"full_name": ["Nam", "Zip"]}, {}, r'no column "Nam", which fields.full_name names; did you mean "Name"'),
        ({"email": "qqq"}, {}, r'no column "qqq", which fields.email names; there are: "Id", "Mobile", "Name"'),
        ({}, {"id": "Idd"}, r'no column "Idd", which id names; did you mean "Id"'),
    ],
)
def test_a_column_that_does_not_exist_is_named(
    tmp_path: Path, fields: dict[str, Any], options: dict[str, Any], text: str
) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text("Id,Mobile,Name\n1,2,3\n")
    for use in (lambda a: a.check(), records):
        with pytest.raises(SourceInvalid, match=rf"^contacts\.csv has {text}"):
            use(adapter(path, FieldMapping(**fields), **options))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,sku\n1,2\n", r'name it in the connection\'s fields.phone. There are: "id", "sku"$'),
        ("Contacts,,\n\nid,phone,x\n1,111,\n", r"the header seems to be line 3. Remove the lines above it"),
        ("Contacts of May, 2026\nid,phone\n1,111\n", r"the header seems to be line 2"),
        ("id^phone\n1^111\n", r'its first line is one cell, "id\^phone". If another character .* option delimiter'),
        ("Error: no rights\n", r"if this is not the header, export the contacts as CSV"),
        ('"id,phone"\n"1,111"\n', r'is one cell, "id,phone". If each line is in quotation marks .*delimiter, .* ","'),
    ],
)
def test_without_any_phone_column_the_export_is_the_wrong_one(pull: Reader, text: str, words: str) -> None:
    with pytest.raises(SourceInvalid, match=rf"^contacts\.csv has no column with a usual name for a phone .*{words}"):
        pull(text)


SPLIT_HEADER = "id,name,phone,note,stop"
# Lines after this header, the cells of the rows that are read, and the keys of those that are rejected.
SPLIT = [
    # The rest is as long as the row needs.
    ("1,Ann,4155550101,called\nback,yes\n2,Ben,4155550102,,\n", ["2,Ben,4155550102,,"], ["1"]),
    ("1,Ann,4155550101,called\nback,yes\n2,Ben,4155550102,called\nback,yes\n", [], ["1", "2"]),
    ("1,Ann,4155550101,called\r\nback,yes\r\n2,Ben,4155550102,,\r\n", ["2,Ben,4155550102,,"], ["1"]),
    ("1,Ann,4155550101\n2,Ben,4155550102,called\nback,yes\n", ["1,Ann,4155550101,,"], ["2"]),
    ("1,Ann,4155550101,called\n,yes\n", [], ["1"]),
    # Three lines and more, and blank lines.
    ("1,Ann,4155550101,called\n\nback\nand again,yes\n2,Ben,4155550102,,\n", ["2,Ben,4155550102,,"], ["1"]),
    ("1,Ann,4155550101,called\nback, please\nand again,yes\n2,Ben,4155550102,,x\n", ["2,Ben,4155550102,,x"], ["1"]),
    ("1,Ann,4155550101,called\n\n\nback,yes\n", [], ["1"]),
    ("1,Ann,4155550101,called\n,,\nback,yes\n", [], ["1"]),
    # Delimiters in the rest make it longer.
    ("1,Ann,4155550101,called\nback, please,yes\n2,Ben,4155550102,,\n", ["2,Ben,4155550102,,"], ["1"]),
    ("1,Ann,4155550101,called\nback, or not,x,y,yes\n", [], ["1"]),
    ("1,Ann,4155550101,called\nback,a,b,c,d,yes\n", [], ["1"]),
    ("1,Ann,4155550101,called\n2,a,b,c,d,yes\n", [], ["1", "2"]),
    # The rest begins like an id, or has digits in the phone column.
    ("1,Ann,4155550101,called\n2,yes\n", [], ["1", "2"]),
    ("1,Ann,4155550101,called\n2,or,3,yes\n", [], ["1", "2"]),
    ("1,Ann,4155550101,called\nback,at,4155552671,yes\n", [], ["1", "back"]),
    ("1,Ann,4155550101,called\nback,at,4155552671,,yes\n", [], ["1", "back"]),
    # Quotation marks in the rest.
    ('1,Ann,4155550101,called\n"back" again,yes\n2,Ben,4155550102,,\n', ["2,Ben,4155550102,,"], ["1"]),
    ('1,Ann,4155550101,called\n"back\nagain",yes\n2,Ben,4155550102,,\n', ["2,Ben,4155550102,,"], ["1"]),
    # A comma before the break leaves a row of full width.
    ("1,Ann,4155550101,called,\nback,yes\n2,Ben,4155550102,,\n", ["2,Ben,4155550102,,"], ["1"]),
    ("1,Ann,4155550101,called,\n\nback,yes\n", [], ["1"]),
    ("1,Ann,4155550101,called,\nback,a,b,c,d,yes\n", [], ["1"]),
    # In the last column; in the first one, in the name and in the phone number: then no phone goes with half a row.
    ("1,Ann,4155550101,called,\nyes\n2,Ben,4155550102,,\n", ["2,Ben,4155550102,,"], ["1"]),
    ("1,Ann,4155550101,called,\n2\n", [], ["1", "2"]),
    ("1,Ann,4155550101,called,yes\nplease\n", ["1,Ann,4155550101,called,yes", "please,,,,"], []),
    ("1\n7,Ann,4155550101,called,yes\n", ["1,,,,", "7,Ann,4155550101,called,yes"], []),
    ("1,Ann\nLee,4155550101,called,yes\n", ["1,Ann,,,", "Lee,4155550101,called,yes,"], []),
    ("1,Ann,415\n5550101,called,yes\n", [], ["1", "5550101"]),
    # Short, because the cells at the end are empty.
    ("1,Ann,4155550101\n2,Ben,4155550102\n3,Cy,4155550103,,\n",
     ["1,Ann,4155550101,,", "2,Ben,4155550102,,", "3,Cy,4155550103,,"], []),
    ("1,Ann,4155550101\n2,Ben,n/a\n3,Cy,\n", ["1,Ann,4155550101,,", "2,Ben,n/a,,", "3,Cy,,,"], []),
    ("1,Ann,4155550101\n2,Ben\n3,Cy,4155550103,,\n",
     ["1,Ann,4155550101,,", "2,Ben,,,", "3,Cy,4155550103,,"], []),
    ("1,Ann,4155550101\n\n\n2,Ben,4155550102,,\n", ["1,Ann,4155550101,,", "2,Ben,4155550102,,"], []),
    ("1,Ann,4155550101,,\n\n2,Ben\n", [], ["1", "2"]),
    ("1,Ann,4155550101\n", ["1,Ann,4155550101,,"], []),
    # Full rows whose last cell is empty, and what is next to them.
    ("1,Ann,4155550101,,\nguest,Ben,4155550102,,\nx y,Cy,,,\n",
     ["1,Ann,4155550101,,", "guest,Ben,4155550102,,", "x y,Cy,,,"], []),
    ("3f-9b,Ann,4155550101\na1-c3d,Ben,4155550102\n", ["3f-9b,Ann,4155550101,,", "a1-c3d,Ben,4155550102,,"], []),
    (",Ann,4155550101\n,Ben,4155550102\n", [",Ann,4155550101,,", ",Ben,4155550102,,"], []),
    # The last line of some exports is no record.
    ('1,Ann,4155550101,called,\n\n"Copyright (c) 2027 A CRM"\n',
     ["1,Ann,4155550101,called,", "Copyright (c) 2027 A CRM,,,,"], []),
    ("1,Ann,4155550101,x,no\nTotal,1\n", ["1,Ann,4155550101,x,no", "Total,1,,,"], []),
    ("1,Ann,4155550101\nTotal,1\n", [], ["1"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "read", "rejected"), SPLIT)
@pytest.mark.parametrize("last", ["", "9,Zoe,4155550109,,\n"])
def test_a_row_that_a_line_break_splits_is_never_read_in_part(
    pull: Reader, lines: str, read: list[str], rejected: list[str], last: str
) -> None:
    found = pull(f"{SPLIT_HEADER}\n{lines}{last}")
    names = SPLIT_HEADER.split(",")
    expected = [dict(zip(names, row.split(","), strict=True)) for row in [*read, *last.splitlines()]]
    assert [dict(record.properties) for record in good(found)] == expected
    assert [record.key for record in bad(found)] == rejected
    assert all("line break" in record.reason for record in bad(found))


def test_both_lines_of_a_split_row_are_named(pull: Reader) -> None:
    (first, second) = bad(pull(f"{SPLIT_HEADER}\n1,Ann,4155550101,called\n\n2,yes\n"))
    assert (first.where, second.where) == ("contacts.csv line 2", "contacts.csv line 4")
    assert "into the lines 2 to 4" in first.reason
    assert "the rest of the row in line 2" in second.reason


def test_a_program_that_leaves_out_all_empty_cells_is_recognised(pull: Reader) -> None:
    rows = "".join(f"{n},Ann,4155550101,x\n{n + 1},Ben\n" for n in range(1, 41, 2))
    assert ids(pull(f"{SPLIT_HEADER}\n{rows}")) == [str(n) for n in range(1, 41)]
    found = pull(f"{SPLIT_HEADER}\n{rows}50,Ann,4155550101,called\nback,yes\n")
    assert [record.key for record in bad(found)] == ["50"], "a rest that is no row is recognised there, too"


def test_a_block_of_rows_without_the_last_columns_is_read_as_excel_writes_it(pull: Reader) -> None:
    full = "".join(f"{n},Ann,4155550101,{'x' * (n % 2)},\n" for n in range(1, 16))
    short = "".join(f"{n},Ben,{'4155550102' * (n % 3 > 0)}\n" for n in range(16, 32))
    assert ids(pull(f"{SPLIT_HEADER}\n{full}{short}")) == [str(n) for n in range(1, 32)]


@pytest.mark.parametrize(
    "note", ["back", "2,or", "back, please", "x,y,z", ",", "2nd floor", "at 4155552671", "a,b,c,d,e"]
)
@pytest.mark.parametrize("start", ["hello", "hello,", "", "12 High St,", "\r\n"])
def test_nobody_is_texted_for_want_of_a_cell(pull: Reader, start: str, note: str) -> None:
    found = pull(f"id,phone,notes,do not text\n1,+14155552671,{start}\n{note},yes\n3,+14155550103,,\n")
    assert "3" in ids(found)
    for record in good(found)[:-1]:
        assert record.properties["do not text"] or not record.properties["phone"].startswith("+1")
    assert {"1"} <= {record.key for record in bad(found)} | {record.external_id for record in good(found)}


def test_several_files_patterns_and_folders(tmp_path: Path) -> None:
    for folder, number in (("north", 1), ("south", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text(f"id,phone\n{number},111\n")
    (tmp_path / "south" / "~lock.csv").write_text("junk")
    (tmp_path / "south" / "notes.md").write_text("junk")
    (tmp_path / "b.csv").write_text("email;phone;id\n;222;3\n")
    assert ids(records(adapter(tmp_path / "*" / "*a.csv"))) == ["1", "2"]
    assert ids(records(adapter(tmp_path / "south"))) == ["2"]
    assert ids(records(adapter(tmp_path / "**" / "a.csv"))) == ["1", "2"]
    found = records(adapter([tmp_path / "b.csv", tmp_path / "north", tmp_path / "north" / "a.csv"]))
    assert ids(found) == ["3", "1"], "each file once, in the order given"
    both = good(records(adapter([tmp_path / "north", tmp_path / "south"])))
    assert both[0].where == f"{tmp_path / 'north' / 'a.csv'} line 2", "files of one name are told apart"


@pytest.mark.parametrize(
    ("path", "why"), [("gone.csv", "does not exist"), ("*.csv", "does not exist"), (".", "no CSV")]
)
def test_nothing_to_read_is_never_an_empty_export(tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(SourceInvalid, match=why):
        records(adapter(tmp_path / path))


def test_compressed_exports_are_read(tmp_path: Path) -> None:
    (tmp_path / "contacts.csv.gz").write_bytes(gzip.compress(GOOD.encode("utf-16")))
    (tmp_path / "photos.zip.gz").write_bytes(gzip.compress(b"junk"))
    found = records(adapter(tmp_path))
    assert ids(found) == ["1", "2"]
    assert found[1].where == "contacts.csv.gz line 3"


@pytest.mark.parametrize("rows", [3, 40_000])
@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[: len(data) // 2], lambda data: GOOD])
def test_a_half_written_compressed_export_is_incomplete(tmp_path: Path, rows: int, damage: Callable[..., Any]) -> None:
    path = tmp_path / "contacts.csv.gz"
    data = damage(gzip.compress((HEADER + "".join(f"{n},Ann,111,\n" for n in range(rows))).encode()))
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(SourceIncomplete, match="damaged or incomplete"):
        records(adapter(path))


@pytest.mark.parametrize("use", [lambda a: a.check(), records], ids=["check", "pull"])
def test_what_the_system_refuses_is_an_adapter_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[CsvAdapter], Any]
) -> None:
    with pytest.raises(SourceUnavailable, match=r"xxx.* cannot be read \(File name too long\); the next run tries"):
        use(adapter(tmp_path / ("x" * 300)))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(SourceUnavailable, match="Permission denied"):
        use(adapter(tmp_path))


def test_relative_paths_start_at_the_configuration(tmp_path: Path) -> None:
    options = CsvOptions.model_validate({"path": "in/*.csv"}, context=FromFile(tmp_path))
    assert options.path == (tmp_path / "in" / "*.csv",)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": []},
        {"path": "a", "pth": 1},
        {"path": "a", "delimiter": "ab"},
        {"path": "a", "encoding": "latin-99"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CsvOptions.model_validate(options)


def test_check_tells_files_that_are_alike_together_and_a_missing_id(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("Id,Phone\n1,111\n")
    (tmp_path / "d.csv").write_text("Email,Phone\na@b.c,111\n")
    assert adapter(tmp_path).check().summary == (
        '3 files such as a.csv (utf-8, delimiter ,): phone "Phone", name none, email none, id "Id"; '
        'd.csv (utf-8, delimiter ,): phone "Phone", name none, email "Email", id "Email" '
        "(there is no id column: a person whose id changes becomes a new contact)"
    )


def test_check_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_text("Id;Vorname;Name;Handy\n1;Ann;Lee;111\n")
    report = adapter(path, settle_seconds=60).check()
    assert report.summary == (
        'contacts.csv (utf-8, delimiter ;): phone "Handy", name "Vorname", "Name", email none, id "Id"'
    )
    assert [field.name for field in adapter(path).describe()] == ["Id", "Vorname", "Name", "Handy"]


def test_pages_are_lazy_and_memory_is_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK", 1 << 17)
    path = tmp_path / "contacts.csv"
    row = f"Ann,111,{'x' * 200}\n"
    with path.open("w") as file:
        file.write("id,Name,Phone,Email\n")
        file.writelines(f"{n},{row}" for n in range(20_000))  # 4 MB
    tracemalloc.start()
    try:
        sizes = [len(page.changes) for page in adapter(path).pull(None)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes == [1000] * 20
    assert peak < path.stat().st_size * 0.9


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8)


@given(
    rows=st.lists(st.tuples(cell, cell), max_size=6),
    chunk=st.integers(3, 40),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], chunk: int, encoding: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "contacts.csv"
    quoted = [[f"C-{n}", "111", *row] for n, row in enumerate(rows)]
    lines = [
        ",".join('"' + value.replace('"', '""') + '"' for value in row) for row in [["id", "phone", "a", "b"], *quoted]
    ]
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CHUNK", chunk * 2)
        found = records(adapter(path, delimiter=",", encoding=encoding))
    assert [list(record.properties.values()) for record in good(found)] == quoted


fragments = st.sampled_from(
    [
        b'"',
        b'""',
        b",",
        b";",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xfe",
        b"\xef\xbb\xbf",
        b"1",
        b"Ann",
        b" ",
        b"id,phone\n",
    ]
)


@given(
    start=st.sampled_from([b"", b"id,phone\n", b"id;phone;name\r\n1;2;3\r\n", b"\xff\xfe", b"\xfe\xff\0i\0d"]),
    content=st.lists(fragments | st.binary(max_size=4), max_size=40).map(b"".join),
    encoding=st.sampled_from([None, "utf-8", "utf-16", "utf-16-be", "utf-32", "cp932", "ascii", "gb18030"]),
    chunk=st.integers(1, 30),
)
def test_whatever_a_file_holds_the_only_errors_are_ours(
    tmp_path_factory: pytest.TempPathFactory, start: bytes, content: bytes, encoding: str | None, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "contacts.csv"
    path.write_bytes(start + content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CHUNK", chunk)
        try:
            found = records(adapter(path, encoding=encoding))
        except (SourceIncomplete, SourceInvalid):
            return
    for record in found:
        if isinstance(record, ContactChange):
            json.dumps(dict(record.properties)).encode()
            "".join(record.properties.values()).encode()  # no undecodable byte gets through
            assert record.external_id.strip()
        else:
            record.key.encode()
            assert record.key
            assert record.excerpt.isprintable()
