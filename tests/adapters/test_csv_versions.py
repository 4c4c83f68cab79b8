"""Files of one pattern: older versions of an export do not count, parts of one all do, and nobody is lost."""

from __future__ import annotations

import json
import os
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, SourceIncomplete, SourceInvalid
from crm_adapters.csv.adapter import CsvAdapter
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.versions import named_file, newest_first
from crm_adapters.services import LocalServices

# names of one family, the oldest first
ORDERS = [
    ["contacts-2026-11-01", "contacts-2026-11-02", "contacts-2026-11-10"],
    ["contacts_20261101", "contacts_20261102_0730", "contacts_20261102_1530"],
    ["contacts 2026-11-01T23-59-59", "contacts 2026-11-02T00-00-01"],
    ["export 31.10.2026", "export 01.11.2026"],
    ["export 13-01-2026", "export 01-02-2026"],
    ["export 12-31-2026", "export 01-13-2027"],
    ["contacts-oct-31-2026", "contacts-nov-01-2026"],
    ["5 Okt 2026 Kontakte", "1 Nov 2026 Kontakte"],
    ["Kontakte 1 März 2026", "Kontakte 1 Mai 2026"],
    ["2026-10-31/contacts", "2026-11-01/contacts"],
    ["1762000000_contacts", "1764550000_contacts"],
    ["contacts", "contacts (1)", "contacts (2)", "contacts (10)"],
    ["contacts_2", "contacts_9", "contacts_10"],
    ["contacts-2026-11-01", "contacts-2026-11-01 (1)", "contacts-2026-11-02"],
    ["export 2026-11-01 9-05 AM", "export 2026-11-01 12-05 PM", "export 2026-11-01 1-05 PM"],
]


@pytest.mark.parametrize("names", ORDERS, ids=lambda names: names[0])
def test_names_say_which_file_is_the_newest(names: list[str]) -> None:
    files = [named_file(name, 0.0) for name in names]
    assert len({file.family for file in files}) == 1
    for order in permutations(files[:4]):
        assert newest_first(order) == files[:4][::-1]


@pytest.mark.parametrize(
    ("one", "other"),
    [("north", "south"), ("contacts", "contacts-new"), ("customers-2026-11-01", "leads-2026-11-01"), ("a/x", "b/x")],
)
def test_other_words_are_other_exports(one: str, other: str) -> None:
    assert named_file(one, 0.0).family != named_file(other, 0.0).family


# (name, time of change) of the older and the newer file; what is the newest, if anything
UNCERTAIN = [
    (("c 3-4-2026", 1.0), ("c 4-3-2026", 2.0), "c 4-3-2026"),  # the month first, as the times say
    (("c 4-3-2026", 1.0), ("c 3-4-2026", 2.0), "c 3-4-2026"),
    (("c 3-4-2026", 1.0), ("c 4-3-2026", 1.0), None),
    (("c 3-4-2026", 1.0), ("c 3-5-2026", 1.0), "c 3-5-2026"),  # both ways
    (("c (2)", 1.0), ("c (1)", 2.0), None),
    (("c (1)", 5.0), ("c", 9.0), None),  # a new download after the old ones were deleted
    (("c (1)", 5.0), ("c (2)", 5.0), "c (2)"),
]


@pytest.mark.parametrize(("one", "other", "newest"), UNCERTAIN)
def test_what_names_leave_open_the_times_of_change_must_not_contradict(
    one: tuple[str, float], other: tuple[str, float], newest: str | None
) -> None:
    order = newest_first([named_file(*one), named_file(*other)])
    assert (order[0].name if order else None) == newest


class Folder:
    """A folder of exports, and what the adapter remembers of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.services = LocalServices()
        self.written = 1_700_000_000

    def write(self, name: str, people: dict[str, str], *, age: int = 0) -> None:
        """Write a file of people: id -> name."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        rows = "".join(f"{number},{person},+1415555{number:0>4}\n" for number, person in people.items())
        path.write_text("Record ID,Name,Phone\n" + rows)
        self.written += 100
        os.utime(path, (self.written - age, self.written - age))

    def pull(self, pattern: str = "*.csv", **options: Any) -> dict[str, str]:
        """Return id -> name as the first row of each id gives it."""
        csv = CsvAdapter(
            CsvOptions(path=str(self.path / pattern), settle_seconds=0, **options),
            FieldMapping(),
            services=self.services,
        )
        found: dict[str, str] = {}
        for page in csv.pull(None):
            for record in page.changes:
                assert isinstance(record, ContactChange)
                found.setdefault(record.external_id, str(record.properties["Name"]))
        self.services.memory = json.loads(json.dumps(self.services.memory))
        return found

    @property
    def notes(self) -> str:
        return " ".join(self.services.memory["notes"])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def people(*numbers: int, name: str = "Ann") -> dict[str, str]:
    return {str(number): f"{name} {number}" for number in numbers}


def test_of_versions_the_newest_counts_and_is_named(folder: Folder) -> None:
    folder.write("contacts-2026-11-01.csv", people(*range(1, 20)))
    assert folder.pull() == people(*range(1, 20))
    assert folder.notes == ""
    folder.write("contacts-2026-11-02.csv", people(*range(2, 30), name="Anna"))
    folder.write("contacts-2026-10-01.csv", people(*range(1, 9)))
    assert folder.pull() == people(*range(2, 30), name="Anna")
    assert folder.notes == (
        "contacts-2026-11-02.csv is read; contacts-2026-11-01.csv, contacts-2026-10-01.csv are older versions and are "
        'not. If they are parts of one export, set files = "together"'
    )


def test_parts_are_read_together(folder: Folder) -> None:
    for part in (1, 2, 3):
        folder.write(f"contacts-2026-11-01-part{part}.csv", people(*range(part * 100, part * 100 + 50)))
    everybody = folder.pull()
    assert len(everybody) == 150
    for part in (1, 2, 3):
        folder.write(f"contacts-2026-11-02-part{part}.csv", people(*range(part * 100, part * 100 + 60), name="New"))
    assert set(folder.pull().values()) == {f"New {n}" for part in (1, 2, 3) for n in range(part * 100, part * 100 + 60)}


def test_files_of_a_day_that_list_new_people_are_read_together(folder: Folder) -> None:
    for day in range(1, 6):
        folder.write(f"leads-2026-11-0{day}.csv", people(*range(day * 10, day * 10 + 10)))
    assert len(folder.pull()) == 50
    assert folder.notes == ""


def test_ids_that_repeat_for_other_people_do_not_make_a_version(folder: Folder) -> None:
    folder.write("store1.csv", people(*range(1, 20), name="Ann"))
    folder.write("store2.csv", {str(n): f"Zacharias Quint{n}" for n in range(100, 120)})
    assert len(folder.pull()) == 39


def test_some_people_in_both_are_told_and_nobody_is_lost(folder: Folder) -> None:
    folder.write("leads-2026-11-01.csv", people(*range(1, 11)))
    folder.write("leads-2026-11-02.csv", people(*range(8, 18), name="New"))
    assert folder.pull() == people(*range(1, 8)) | people(*range(8, 18), name="New")
    assert folder.notes.startswith("30% of the people in leads-2026-11-01.csv are also in a newer file, whose values")


def test_a_version_stays_one_when_its_people_leave(folder: Folder) -> None:
    folder.write("contacts-1.csv", people(*range(1, 11)))
    folder.write("contacts-2.csv", people(*range(1, 11)))
    folder.pull()
    folder.write("contacts-3.csv", people(*range(1, 7), *range(20, 40)))
    folder.pull()
    folder.write("contacts-4.csv", people(*range(1, 4), *range(20, 40)))
    assert folder.pull() == people(*range(1, 4), *range(20, 40)), "the others would come back from contacts-1"
    for number in (3, 4):
        (folder.path / f"contacts-{number}.csv").unlink()
    assert folder.pull() == people(*range(1, 11)), "the newest file always counts"


def test_an_empty_newest_file_is_no_version_of_the_others(folder: Folder) -> None:
    folder.write("contacts-2026-11-01.csv", people(1, 2, 3))
    folder.write("contacts-2026-11-02.csv", {})
    assert folder.pull() == people(1, 2, 3)


def test_the_wish_decides(folder: Folder) -> None:
    folder.write("contacts-2026-11-01.csv", people(*range(1, 11)))
    folder.write("contacts-2026-11-02.csv", people(*range(1, 9), name="New"))
    assert folder.pull(files="together") == people(*range(1, 9), name="New") | people(9, 10)
    assert folder.pull(files="newest") == people(*range(1, 9), name="New")
    folder.write("contacts-2026-11-03.csv", people(*range(50, 60)))
    assert folder.pull(files="newest") == people(*range(50, 60))


def test_other_names_and_listed_paths_complement_each_other(folder: Folder) -> None:
    folder.write("north.csv", people(1, 2, 3))
    folder.write("south.csv", people(2, 3, 4))
    assert len(folder.pull()) == 4
    folder.write("contacts-1.csv", people(1, 2))
    folder.write("contacts-2.csv", people(1, 2, 3))
    listed = CsvAdapter(
        CsvOptions(path=[str(folder.path / f"contacts-{n}.csv") for n in (1, 2)], settle_seconds=0), FieldMapping()
    )
    assert sum(len(page.changes) for page in listed.pull(None)) == 5


def test_folders_by_date_are_versions(folder: Folder) -> None:
    folder.write("2026-11-01/contacts.csv", people(1, 2, 3))
    folder.write("2026-11-02/contacts.csv", people(1, 2, name="New"))
    assert folder.pull("*/contacts.csv") == people(1, 2, name="New")


def test_versions_without_a_known_order_are_refused_in_words(folder: Folder) -> None:
    folder.write("contacts (1).csv", people(1, 2, 3))
    folder.write("contacts.csv", people(1, 2, 3, name="New"))
    with pytest.raises(SourceInvalid, match=r'do not say which is the newest.*Name the files by date.*"together"'):
        folder.pull()
    with pytest.raises(SourceInvalid, match="do not say which is the newest"):
        folder.pull(files="newest")
    assert len(folder.pull(files="together")) == 3
    folder.write("contacts.csv", people(7, 8, 9))
    assert len(folder.pull()) == 6, "parts need no order"


def test_a_newest_file_that_is_damaged_is_not_replaced_by_an_older_one(folder: Folder) -> None:
    folder.write("contacts-2026-11-01.csv", people(1, 2, 3))
    folder.write("contacts-2026-11-02.csv", people(1, 2, 3))
    with (folder.path / "contacts-2026-11-02.csv").open("a") as file:
        file.write('4,"Dan,')
    with pytest.raises(SourceIncomplete, match=r"contacts-2026-11-02\.csv has a quotation mark"):
        folder.pull()


def test_check_shows_the_file_that_counts(folder: Folder) -> None:
    folder.write("contacts-2026-11-01.csv", people(1, 2, 3))
    folder.write("contacts-2026-11-02.csv", people(1, 2, 3))
    csv = CsvAdapter(CsvOptions(path=str(folder.path / "*.csv")), FieldMapping())
    assert csv.check().summary.startswith("contacts-2026-11-02.csv (utf-8, delimiter ,)")
    assert "contacts-2026-11-01.csv is an older version and is not" in csv.check().summary
