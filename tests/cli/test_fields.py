"""Who may be texted, as an operator sees it: a CSV export whose columns and words change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell

CRM = """
[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = {{ path = "export.csv", settle_seconds = 0 }}
{rules}

[triggers.renamed]
connections = "crm"
on = "changed"
field = "First Name"
message = "Hi {{{{ contact.first_name }}}}"
"""
DO_NOT_TEXT = 'do_not_text = { field = "Do Not Text" }'


@pytest.fixture
def crm(shell: Shell) -> Shell:
    shell.configure(CRM.format(rules=DO_NOT_TEXT))
    return shell


def write(folder: Path, header: str, *rows: str) -> None:
    (folder / "export.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def texts(shell: Shell) -> dict[str, Any]:
    return {one["to_number"][-4:]: one for one in shell.json("messages")}


def test_a_column_that_is_left_out_holds_the_texts_and_everything_says_so(crm: Shell) -> None:
    write(
        crm.folder,
        "Record ID,First Name,Mobile,Do Not Text",
        "1,Ann,(415) 555-0101,Yes",
        "2,Bob,(415) 555-0102,No",
        "3,Cy,(415) 555-0103,",
    )
    assert 'reads "Do Not Text"' in crm("check").stdout or "every field" in crm("check").stdout
    crm("sync")
    write(
        crm.folder,
        "Record ID,First Name,Mobile",
        "1,Anna,(415) 555-0101",
        "2,Bobby,(415) 555-0102",
        "3,Cyrus,(415) 555-0103",
    )
    said = 'the source has no field "Do Not Text" now (connections.crm.do_not_text.field)'
    checked = crm("check", code=1).stdout
    assert "FAILED connection crm: connections.crm.do_not_text.field: the source has no field" in checked
    assert any(said in note for note in crm.json("plan")[0]["notes"])
    assert said in crm("sync").stdout
    assert crm.sandbox.messages() == []
    found = texts(crm)
    assert {number: one["state"] for number, one in found.items()} == {
        "0101": "suppressed",  # what was read last forbids it
        "0102": "held",
        "0103": "held",
    }
    assert found["0102"]["reason"].startswith(f"permission_unknown: {said}")
    status = crm.json("status")["attention"]
    assert [(one["count"], one["command"]) for one in status] == [
        (1, "vtsync fields crm"),
        (2, "vtsync messages --state held"),
    ]
    assert said in status[0]["what"]
    assert said in crm("explain", "+14155550102").stdout
    # The column is back: the sync that reads it looks at what is held, and sends what may go.
    write(
        crm.folder,
        "Record ID,First Name,Mobile,do_not_text",
        "1,Anna,(415) 555-0101,Yes",
        "2,Bobby,(415) 555-0102,No",
        "3,Cyrus,(415) 555-0103,ja",
    )
    assert said not in crm("sync").stdout
    assert crm.json("status")["attention"] == []
    assert {number: one["state"] for number, one in texts(crm).items()} == {
        "0101": "suppressed",
        "0102": "accepted",
        "0103": "suppressed",
    }
    assert "a text is sent at once" in crm("explain", "+14155550102").stdout
    assert 'the field "Do Not Text" of the CRM record crm 3 says not to text' in crm("explain", "+14155550103").stdout


def test_a_row_without_the_column_holds_the_texts_to_its_person_alone(crm: Shell) -> None:
    crm.configure(CRM.format(rules=DO_NOT_TEXT).replace('"export.csv"', '["export.csv", "south.csv"]'))
    header = "Record ID,First Name,Mobile,Do Not Text"
    write(crm.folder, header, "1,Ann,(415) 555-0101,no")
    (crm.folder / "south.csv").write_text(f"{header}\n2,Bob,(415) 555-0102,no\n", encoding="utf-8")
    crm("sync")
    write(crm.folder, header, "1,Anna,(415) 555-0101,no")
    (crm.folder / "south.csv").write_text("Record ID,First Name,Mobile\n2,Bobby,(415) 555-0102\n", encoding="utf-8")
    crm("sync")
    found = texts(crm)
    assert {number: one["state"] for number, one in found.items()} == {"0101": "accepted", "0102": "held"}
    assert 'the CRM record crm 2 came without the field "Do Not Text"' in found["0102"]["reason"]


def test_words_for_yes_in_any_language_suppress_texts(crm: Shell) -> None:
    words = ["Yes", "t", "WAHR", "Oui", "opted out", "Checked", "unsubscribed", "maybe", "No", "", "Nein", "0"]
    header = "Record ID,First Name,Mobile,Do Not Text"
    for names in ("P", "Q"):
        rows = [f"{i},{names}{i},(415) 555-01{i:02},{word}" for i, word in enumerate(words)]
        write(crm.folder, header, *rows)
        crm("sync")
    found = texts(crm)
    states = [found[f"01{i:02}"]["state"] for i in range(len(words))]
    assert dict(zip(words, states, strict=True)) == {
        word: "accepted" if word in ("No", "", "Nein", "0") else "suppressed" for word in words
    }
    assert '("maybe" is no known word for no;' in found["0107"]["reason"]


def test_check_names_what_is_misspelt(crm: Shell) -> None:
    crm.configure(CRM.format(rules='do_not_text = { field = "DoNot Texxt" }'))
    write(crm.folder, "Record ID,First Name,Mobile,Do Not Text,SMS Consent", "1,Ann,(415) 555-0101,Yes,Yes")
    shown = crm("check", code=1).stdout
    assert 'connections.crm.do_not_text.field: the source has no field "DoNot Texxt"; similar fields: Do Not' in shown


def test_check_names_what_is_not_used_and_warnings_alone_are_no_failure(crm: Shell) -> None:
    crm.configure(CRM.format(rules=""))
    write(crm.folder, "Record ID,First Name,Mobile,Do Not Text,SMS Consent", "1,Ann,(415) 555-0101,Yes,Yes")
    shown = " ".join(crm("check").stdout.split())
    assert 'WARN connection crm: "Do Not Text" says by its name who must not be texted, and is not used' in shown
    assert 'add to [connections.crm]: do_not_text = { field = "Do Not Text" }' in shown
    assert 'add to [connections.crm]: consent = { field = "SMS Consent" }' in shown
    levels = {one["level"] for one in crm.json("check") if one["what"] == "connection crm"}
    assert levels == {"ok", "warning"}


def test_fields_lists_what_the_source_has_and_what_it_is_used_for(crm: Shell) -> None:
    write(crm.folder, "Record ID,First Name,Mobile,Do Not Text", "1,Ann,(415) 555-0101,Yes")
    found = {one["name"]: one for one in crm.json("fields", "crm")}
    assert list(found) == ["Record ID", "First Name", "Mobile", "Do Not Text"]
    assert found["Do Not Text"]["used_for"] == ["connections.crm.do_not_text.field"]
    assert found["First Name"]["used_for"] == ["triggers.renamed.field", "full_name, by its usual name"]
    assert found["Mobile"]["used_for"] == ["phone, by its usual name"]
    shown = crm("fields", "crm").stdout
    assert "triggers.renamed.field" in shown
    assert "555-0101" not in shown
    assert 'there is no connection "cmr"' in crm("fields", "cmr", code=2).stderr
    (crm.folder / "export.csv").unlink()
    assert crm("fields", "crm", code=1).stderr.startswith("crm: ")
