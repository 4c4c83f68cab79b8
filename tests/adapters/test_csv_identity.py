"""Who a row is: two people are never one record, an id stays from run to run, and stored records keep theirs."""

from __future__ import annotations

import json
import tracemalloc
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, SourceInvalid, UnreadableRecord
from crm_adapters.csv import text
from crm_adapters.csv.adapter import CsvAdapter
from crm_adapters.csv.identity import SURE_ENDINGS, is_sure_with_zero, plain_text
from crm_adapters.csv.options import CsvOptions
from crm_adapters.fields import clean_text
from crm_adapters.services import LocalServices

HEADER = "Customer ID,Name,Email,Phone\n"


class Export:
    """A file that is written and read again and again, with what the adapter remembers."""

    def __init__(self, path: Path) -> None:
        self.path = path / "contacts.csv"
        self.services = LocalServices()

    def read(self, content: str, **options: Any) -> list[ContactChange | UnreadableRecord]:
        self.path.write_text(content)
        csv = CsvAdapter(
            CsvOptions(path=str(self.path), settle_seconds=0, **options), FieldMapping(), services=self.services
        )
        found = [record for page in csv.pull(None) for record in page.changes]
        self.services.memory = json.loads(json.dumps(self.services.memory))
        return found

    def ids(self, content: str, **options: Any) -> dict[str, str]:
        """Return name -> id."""
        return {
            str(record.properties["Name"]): record.external_id
            for record in self.read(content, **options)
            if isinstance(record, ContactChange)
        }


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


NO_ID = ["", "  ", "0", "00000", "0.0", "-", "-1", "n/a", "NULL", "(none)", "?", '"=""0"""']
NO_ID += ["00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}", "unknown", "#N/A"]


@pytest.mark.parametrize("value", NO_ID)
def test_a_value_that_is_no_id_identifies_nobody(export: Export, value: str) -> None:
    rows = f"{value},Ann,ann@example.com,111\n{value},Ben,,(415) 555-0102\n{value},Cid,,\n7,Dan,,444\n"
    found = export.read(HEADER + rows)
    assert [record.external_id for record in found if isinstance(record, ContactChange)] == [
        "ann@example.com|ann",
        "phone 4155550102",
        "7",
    ]
    assert [record.reason for record in found if isinstance(record, UnreadableRecord)] == [
        'It has no id of its own in "Customer ID", and neither an email address nor a phone number; '
        "fill one of them in."
    ]


IDS = ["1", "10", "100", "A-0", "00a0", "x0", "K-1001", "3f2504e0-4f89-11d3-9a0c-0305e82c3300", "0x10", "1.0", "a b"]


@pytest.mark.parametrize("value", IDS)
def test_any_other_value_is_an_id_as_it_is(export: Export, value: str) -> None:
    assert export.ids(f"{HEADER}{value},Ann,,111\n") == {"Ann": value}


def test_an_address_book_without_emails_is_read(export: Export) -> None:
    google = "Name,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value\n"
    rows = "Ada,ada@example.com,Mobile,111\nBo,,Mobile,+1 415 555-2672\nCy,,Mobile,(415) 555-2673\n"
    assert export.ids(google + rows) == {"Ada": "ada@example.com", "Bo": "phone +14155552672", "Cy": "phone 4155552673"}


def test_emails_that_were_ids_stay_ids(export: Export) -> None:
    content = "Name,Email,Phone\nAnn,Ann@Example.com,111\nBen,ben@example.com,222\nCid,cid@x.y,\n"
    assert export.ids(content) == {"Ann": "Ann@Example.com", "Ben": "ben@example.com", "Cid": "cid@x.y"}


def test_a_family_on_one_mailbox_is_kept_apart_and_the_stored_record_keeps_its_id(export: Export) -> None:
    header, ann = "Name,Email,Phone\n", "Ann Lee,lee@example.com,111222333\n"
    others = ["Bob Lee,lee@example.com,444555666\n", "Cy Lee,lee@example.com,111222333\n"]
    first = export.ids(header + ann + "".join(others))
    assert first == {
        "Ann Lee": "lee@example.com",
        "Bob Lee": "lee@example.com|boblee",
        "Cy Lee": "lee@example.com|cylee",
    }
    for order in permutations([ann, *others]):
        assert export.ids(header + "".join(order)) == first
    assert export.ids(header + others[0]) == {"Bob Lee": "lee@example.com|boblee"}, "never the record of another person"


# (rows with one id, whether they are different people)
PEOPLE = [
    ("7,Ann Lee,a@x.y,111\n7,Bob Ray,b@x.y,222\n", True),
    ("7,Ann Lee,,111\n7,Bob Ray,,222\n", True),
    ("7,,,111222333\n7,,,444555666\n", True),
    ("7,,a@x.y,111\n7,,b@x.y,222\n", True),
    ("7,Ann Lee,lee@x.y,111\n7,Bob Ray,lee@x.y,222\n", True),
    ("7,Ann Lee,a@x.y,111\n7,Ann Lee,a@x.y,111\n", False),
    ("7,Ann Lee,a@x.y,111\n7,Ann Lee,new@x.y,999\n", False),
    ("7,Ann Lee,a@x.y,111\n7,Anne Lee,a@x.y,111\n", False),
    ("7,Ann Lee,a@x.y,(415) 555-2671\n7,A. Lee,a@x.y,+1 415 555 2671\n", False),
    ("7,Ann Lee,,111\n7,,,111\n", False),
]


@pytest.mark.parametrize(("rows", "different"), PEOPLE)
def test_an_id_that_different_people_share_is_no_id(export: Export, rows: str, different: bool) -> None:
    export.read(HEADER + "1,Zoe,,1\n")  # not the first run, so it is not known whose record is stored
    found = [record.external_id for record in export.read(HEADER + "1,Zoe,,1\n" + rows)][1:]
    assert ("7" not in found) is different
    assert (len(set(found)) == 2) is different
    assert ("shared by different people" in " ".join(export.services.memory["notes"])) is different


def test_guests_are_never_each_other_whatever_their_order(export: Export) -> None:
    ann, bob = "9,Ann Lee,ann@x.y,111\n", "9,Bob Ray,bob@x.y,222\n"
    assert export.ids(HEADER + ann) == {"Ann Lee": "9"}
    assert export.ids(HEADER + bob + ann) == {"Ann Lee": "ann@x.y|annlee", "Bob Ray": "bob@x.y|bobray"}
    assert export.ids(HEADER + bob) == {"Bob Ray": "bob@x.y|bobray"}
    assert export.ids(HEADER + ann) == {"Ann Lee": "ann@x.y|annlee"}


def test_of_ids_shared_since_before_the_first_person_keeps_it(export: Export) -> None:
    ann, bob = "9,Ann Lee,ann@x.y,111\n", "9,Bob Ray,bob@x.y,222\n"
    expected = {"Ann Lee": "9", "Bob Ray": "bob@x.y|bobray"}
    assert export.ids(HEADER + ann + bob) == expected
    assert export.ids(HEADER + bob + ann) == expected
    assert export.ids(HEADER + bob) == {"Bob Ray": "bob@x.y|bobray"}


people = st.lists(
    st.tuples(
        st.sampled_from(["", "0", "7", "8", "9"]),
        st.sampled_from(["Ann Lee", "Bob Ray", "Cy Fox", "Di Roe"]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one[1],
)


@given(st.lists(people, min_size=1, max_size=3))
def test_no_order_and_no_history_gives_two_people_one_record(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[str, str]]]
) -> None:
    export, owners = Export(tmp_path_factory.mktemp("csv")), dict[str, str]()
    for run in runs:
        rows = [f"{number},{name},{name[0]}@x.y,{ord(name[0])}00200\n" for number, name in run]
        found = export.ids(HEADER + "".join(rows))
        assert len(set(found.values())) == len(run)
        for name, external_id in found.items():
            if export.services.memory["shared"].get(external_id) or "|" in external_id:
                assert owners.setdefault(external_id, name) == name


# (header and row, options, id): kept from the version before, whatever the id column is called
UPGRADED = [
    ("Codice cliente,Name,Email,Phone", "7,Ann,a@x.y,111", "a@x.y"),
    ("Customer ID,Name,Email,Phone", "7,Ann,a@x.y,111", "7"),
    ("Customer ID,Name,Email,Phone", '"=""007""",Ann,a@x.y,111', '="007"'),
]


@pytest.mark.parametrize(("header", "row", "expected"), UPGRADED)
def test_records_of_the_version_before_keep_their_ids(export: Export, header: str, row: str, expected: str) -> None:
    export.services.memory["upgraded"] = True
    for _ in range(2):
        assert export.ids(f"{header}\n{row}\n") == {"Ann": expected}


def test_a_formula_around_an_id_is_taken_off(export: Export) -> None:
    assert export.ids(HEADER + '"=""007""",Ann,,111\n="008",Ben,,222\n') == {"Ann": "007", "Ben": "008"}


def test_an_id_column_that_is_renamed_is_named(export: Export) -> None:
    export.read(HEADER + "7,Ann,a@x.y,111\n")
    with pytest.raises(
        SourceInvalid,
        match=r'no column "Customer ID" any more, which identified its records so far.*Give the column its name',
    ):
        export.read("Cust. No,Name,Email,Phone\n7,Ann,a@x.y,111\n")
    assert export.ids("Customer-ID:,Name,Email,Phone\n7,Ann,a@x.y,111\n") == {"Ann": "7"}
    assert export.ids("Cust. No,Name,Email,Phone\n8,Ann,a@x.y,111\n", id="Cust. No") == {"Ann": "8"}


def test_another_id_column_does_not_change_who_people_are(export: Export) -> None:
    assert export.ids("Name,Email,Phone\nAnn,a@x.y,111\n") == {"Ann": "a@x.y"}
    assert export.ids("Record ID,Name,Email,Phone\n5,Ann,a@x.y,111\n") == {"Ann": "a@x.y"}
    assert 'set options.id = "Record ID"' in " ".join(export.services.memory["notes"])
    assert export.ids("Record ID,Name,Email,Phone\n5,Ann,a@x.y,111\n", id="Record ID") == {"Ann": "5"}
    export.services.memory = {}
    assert export.ids(HEADER + "7,Ann,a@x.y,111\n") == {"Ann": "7"}
    assert export.ids("Record ID,Customer ID,Name,Phone\n5,7,Ann,111\n") == {"Ann": "7"}


# (row of an id, a name and a phone number)
LINES = [
    "{0},{1},,{2}\n",
    "{0},{1},,{2}\r\n",
    '"{0}","{1}","",{2}\n',
    '{0},"{1}\nof Kent",,{2}\n',
    '{0},{1} 5" tall,,{2}\n',
    "{0},{1},,{2}\r",
]


@pytest.mark.parametrize("line", range(len(LINES)))
@pytest.mark.parametrize("header", [HEADER, "Name,Customer ID,Email,Phone\n"])
def test_repeats_are_found_however_lines_are_written(
    export: Export, monkeypatch: pytest.MonkeyPatch, line: int, header: str
) -> None:
    monkeypatch.setattr(text, "CHUNK", 200)
    numbers = [*range(1, 60), 13, *range(60, 90), 44]
    end = LINES[line][len(LINES[line].rstrip("\r\n")) :]
    rows = [
        LINES[line].format(number, f"{'Ann Zebra'[at % 7 :]}{at}", 5_000_000 + at) for at, number in enumerate(numbers)
    ]
    if header != HEADER:
        rows = [",".join([row.split(",")[1], row.split(",")[0], *row.split(",")[2:]]) for row in rows]
    export.read(header.replace("\n", end) + rows[0])
    found = export.read(header.replace("\n", end) + "".join(rows))
    assert set(export.services.memory["shared"]) == {"13", "44"}
    assert len({record.external_id for record in found if isinstance(record, ContactChange)}) == len(numbers)


def test_a_file_that_did_not_change_is_not_looked_through_again(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HEADER + "9,Ann Lee,,111\n9,Bob Ray,,222\n"
    first = export.ids(content)

    def refuse(*_: object) -> None:
        raise AssertionError("the file is looked through again")

    monkeypatch.setattr("crm_adapters.csv.exports.shared_ids", refuse)
    csv = CsvAdapter(CsvOptions(path=str(export.path), settle_seconds=0), FieldMapping(), services=export.services)
    again = [record for page in csv.pull(None) for record in page.changes]
    assert {record.external_id for record in again if isinstance(record, ContactChange)} == set(first.values())


def test_memory_is_flat_where_ids_are_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK", 1 << 14)
    path = tmp_path / "contacts.csv"
    with path.open("w") as file:
        file.write(HEADER)
        file.writelines(f'{n},"Ann {n}",ann{n}@example.com,+1415{n:07}\n' for n in range(1, 40_001))
    csv = CsvAdapter(CsvOptions(path=str(path), settle_seconds=0), FieldMapping())
    pages = csv.pull(None)
    tracemalloc.start()
    try:
        assert len(next(pages).changes) == 1000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("C-120", True),
        ("10", True),
        ("0010", True),
        ("0", False),
        ("000", False),
        ("0.00", False),
        ("-0", False),
        ("{00000000-0000-0000-0000-000000000000}", False),
        ("#DIV/0", False),
        ("none #DIV/0", False),
    ],
)
def test_an_id_that_ends_with_a_zero_is_an_id_unless_it_is_zero_or_a_placeholder(text: str, sure: bool) -> None:
    assert is_sure_with_zero(text) is sure


@given(
    st.one_of(st.text(), st.text(alphabet='0ac#/. -{}="', max_size=8)), st.sampled_from(["", *SURE_ENDINGS, "0", "a0"])
)
def test_what_is_taken_for_an_id_at_a_glance_is_one(start: str, end: str) -> None:
    text = (start + end).strip()
    if text[-1:] in SURE_ENDINGS or is_sure_with_zero(text):
        assert plain_text(text) == text
        assert clean_text(text) or text[:1] == "="
