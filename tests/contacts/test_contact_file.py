"""Exports of VirtualText's contacts: which columns and numbers are understood. A row is one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.contacts.contact_file import UnusableFile, read_contact_file
from worker.virtualtext.outcomes import RemoteContact

ANNA = RemoteContact("c1", "+14155550101", "Anna Bell", "anna@example.org")

FILES: dict[str, tuple[str, str]] = {
    "as the API names them": (
        "contacts.csv",
        "id,fullName,phoneNumber,email\nc1,Anna Bell,+14155550101,anna@example.org\n",
    ),
    "other usual names, semicolons": (
        "contacts.csv",
        "Contact ID;Name;Mobile Phone;E-mail\nc1;Anna Bell;+1 (415) 555-0101;anna@example.org\n",
    ),
    "a number without its country": (
        "contacts.csv",
        "ID,First Name,Last Name,Phone,Email\nc1,Anna,Bell,(415) 555-0101,anna@example.org\n",
    ),
    "the id of the conversation": (
        "contacts.csv",
        "Id,ConversationID,Name,Phone,Email\n7,c1,Anna Bell,+14155550101,anna@example.org\n",
    ),
    "tabs": ("contacts.tsv", "id\tname\tphone\temail\nc1\tAnna Bell\t+14155550101\tanna@example.org\n"),
    "the JSON of the list": (
        "contacts.json",
        json.dumps(
            {
                "contacts": [
                    {"id": "c1", "fullName": "Anna Bell", "phoneNumber": "+14155550101", "email": "anna@example.org"}
                ]
            }
        ),
    ),
    "a JSON list, with another ending": (
        "contacts.txt",
        json.dumps(
            [{"id": "c1", "name": "Anna Bell", "phone": "+14155550101", "email": "anna@example.org", "more": 1}]
        ),
    ),
}
UNUSABLE: dict[str, tuple[str, str, str]] = {
    "no id": ("c.csv", "id,phone\n,+14155550102\n", "line 3: it has no id of VirtualText"),
    "no phone": ("c.csv", "id,phone\nc2,\n", "line 3: it has no phone number"),
    "not a number": ("c.csv", "id,phone\nc2,12\n", 'line 3: its phone number "12"'),
    "the same id again": ("c.csv", "id,phone\nc1,+14155550102\n", "line 3: the id c1 stands in an earlier row"),
    "a damaged row": ("c.csv", 'id,phone\n"c"2,+14155550102\n', "line 3: "),
    "no object": ("c.json", "[7]", "entry 2: it is no JSON object"),
    "a JSON entry without an id": ("c.json", '[{"phone": "+14155550102"}]', "entry 2: it has no id"),
}


@pytest.mark.parametrize(("name", "text"), FILES.values(), ids=FILES)
def test_a_file_is_understood(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = read_contact_file(tmp_path / name, "US")
    assert (found.contacts, found.unusable) == ([ANNA], [])


@pytest.mark.parametrize(("name", "text", "problem"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_row_that_cannot_be_used_is_named_and_the_others_are_used(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    good = "c1,+14155550101\n"
    text = text.replace("id,phone\n", f"id,phone\n{good}").replace("[", '[{"id": "c1", "phone": "+14155550101"}, ', 1)
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = read_contact_file(tmp_path / name, None)
    assert [contact.id for contact in found.contacts] == ["c1"]
    assert [": ".join(one)[: len(problem)] for one in found.unusable] == [problem]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("c.csv", "id,phone\n", "no contact that can be used"),
        ("c.csv", "id,phone\nc1,12\n", "no contact that can be used, for example line 2"),
        ("c.csv", "name,phone\nAnna,+14155550101\n", "it has no id of VirtualText"),
        ("c.csv", "id,name\nc1,Anna\n", "call it phone"),
        ("c.csv", "", "is empty"),
        ("c.json", '{"contacts": 7}', "no list of contacts"),
        ("c.json", '{"contacts": [', "not valid JSON"),
        ("c.json", "[]", "no contact that can be used"),
    ],
)
def test_a_file_without_contacts_is_refused(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UnusableFile, match=problem):
        read_contact_file(tmp_path / name, None)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="there is no file"):
        read_contact_file(tmp_path / "c.csv", None)


def test_the_same_contact_twice_is_one(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,phone\nc1,+14155550101\nc1,+1 415 555 0101\n", encoding="utf-8")
    found = read_contact_file(tmp_path / "c.csv", None)
    assert (len(found.contacts), found.unusable) == (1, [])
