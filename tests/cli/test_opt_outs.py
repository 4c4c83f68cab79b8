"""Who must not be texted, by hand; and what `explain` says of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import worker.messages.decisions
from tests.cli.conftest import Shell

ANNA = "+14155550101"


def test_an_opt_out_by_hand_and_its_end(shell: Shell) -> None:
    assert "is opted out" in shell("opt-out", "+1 (415) 555-0101", "--why", "she called").stdout
    assert "was already opted out" in shell("opt-out", ANNA).stdout
    (listed,) = shell.json("opt-outs")
    assert (listed["phone"], listed["source"], listed["detail"]) == (ANNA, "cli", "she called")
    assert "she called" in shell("opt-outs").stdout
    refused = shell.json("send", "--to", ANNA, "-m", "hello", "--urgent", code=1)
    assert refused["state"] == "suppressed"
    assert refused["reason"].startswith("opted_out:")
    assert "Missing option" in shell("opt-in", ANNA, code=2).stderr
    assert "how the person agreed" in shell("opt-in", ANNA, "--why", " ", code=2).stderr
    assert "may be texted again" in shell("opt-in", ANNA, "--why", "asked at the desk").stdout
    assert "has not opted out" in shell("opt-in", ANNA, "--why", "again").stdout
    assert "Nobody has opted out" in shell("opt-outs").stdout
    assert shell.json("send", "--to", ANNA, "-m", "hello again")["state"] == "accepted"
    told = shell("explain", ANNA).stdout
    assert "opted out (cli," in told
    assert "opted in again (cli," in told
    assert "asked at the desk" in told


LIST = """\ufeffPhone Number;Opted Out At;Source;Reason
(415) 555-0101;5/1/2025;Twilio;STOP
4155550102;someday;;
12;5/1/2025;;
"""


def test_a_list_is_imported_once_and_exported_again(shell: Shell) -> None:
    Path("list.csv").write_text(LIST, encoding="utf-8")
    tried = shell("opt-outs", "import", "list.csv", "--region", "us", "--dry-run", code=1)
    assert "2 opt-outs would be added, 0 known before" in tried.stdout
    assert shell.json("opt-outs") == []
    done = shell("opt-outs", "import", "list.csv", "--region", "US", code=1)
    assert "2 opt-outs added, 0 known before" in done.stdout
    assert 'line 3: its date "someday" cannot be read' in done.stderr
    assert 'line 4: its phone number "12"' in done.stderr
    again = shell.json("opt-outs", "import", "list.csv", "--region", "US", code=1)
    assert (again["new"], again["known"], again["older"], len(again["unusable"])) == (0, 2, 0, 1)
    newest, oldest = shell.json("opt-outs")
    assert (oldest["phone"], oldest["since"][:10], oldest["source"]) == (ANNA, "2025-05-01", "import")
    assert oldest["detail"] == "list.csv, line 2; source: Twilio; reason: STOP"
    assert newest["phone"] == "+14155550102"
    assert rows_of("opt_out_event") == rows_of("public_event") == 2
    told = shell("explain", ANNA).stdout
    assert "2025-05-01" in told
    assert "opted out (import," in told

    shell("opt-outs", "export", "--to", "out.csv")
    exported = Path("out.csv").read_text(encoding="utf-8")
    assert exported == shell("opt-outs", "export").stdout.replace("\r\n", "\n")
    assert exported.splitlines()[:2] == [
        "phone,since,source,reason,account",
        f'{ANNA},2025-05-01T00:00:00+00:00,import,"list.csv, line 2; source: Twilio; reason: STOP",',
    ]
    assert not Path("out.csv.part").exists()
    assert shell.json("opt-outs", "import", "out.csv")["known"] == 2


def rows_of(table: str) -> int:
    with sqlite3.connect(".vtsync/vtsync.sqlite3") as store:
        return int(store.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_an_older_date_counts_and_a_later_opt_in_is_kept(shell: Shell) -> None:
    shell("opt-out", ANNA, "--why", "she called")
    shell("opt-out", "+14155550102")
    shell("opt-in", "+14155550102", "--why", "asked in person")
    Path("list.csv").write_text(f"phone,since\n{ANNA},2025-05-01\n+14155550102,2025-05-01\n", encoding="utf-8")
    found = shell.json("opt-outs", "import", "list.csv")
    assert (found["new"], found["older"], found["opted_in_later"]) == (0, 1, ["+14155550102"])
    (listed,) = shell.json("opt-outs")
    assert (listed["phone"], listed["since"][:10], listed["source"]) == (ANNA, "2025-05-01", "cli")
    assert "opted in again on" in shell("opt-outs", "import", "list.csv").stdout
    Path("list.csv").write_text("phone\n+14155550102\n", encoding="utf-8")
    assert shell.json("opt-outs", "import", "list.csv")["new"] == 1, "without a date, it counts as of today"


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        (("none.csv",), 1, "there is no file none.csv; nothing was changed"),
        (("list.csv", "--region", "Atlantis"), 2, 'region: "Atlantis" is no country'),
        (("list.csv", "--phone-column", "Handy"), 1, 'no column "Handy"'),
    ],
)
def test_an_import_that_cannot_be_done_is_explained(
    shell: Shell, options: tuple[str, ...], code: int, error: str
) -> None:
    Path("list.csv").write_text("phone\n+14155550101\n", encoding="utf-8")
    assert error in shell("opt-outs", "import", *options, code=code).stderr.replace("\n", " ")


@pytest.mark.parametrize("command", [("opt-out",), ("opt-in", "--why", "x"), ("review", "--continue")])
def test_what_is_no_number_is_said(shell: Shell, command: tuple[str, ...]) -> None:
    assert "write it with the country code" in shell(*command, "555-0101", code=2).stderr


def under_review(shell: Shell) -> str:
    """A text that waits for a person to read what its own person wrote."""
    shell("status")  # makes the store
    with sqlite3.connect(shell.folder / ".vtsync" / "vtsync.sqlite3") as store:
        store.execute(
            "INSERT INTO number_review (phone, since, inbound_id, excerpt) VALUES (?, ?, 'i1', 'not now please')",
            (ANNA, "2026-03-01 10:00:00.000000"),
        )
    sent = shell.json("send", "--to", ANNA, "-m", "hello")
    assert (sent["state"], sent["reason"][:7]) == ("held", "review:")
    assert shell.json("review")[0]["excerpt"] == "not now please"
    assert "not now please" in shell("review").stdout
    assert "a person must read its reply" in shell("explain", ANNA).stdout
    return str(sent["message_id"])


def test_what_somebody_wrote_is_read_and_texts_go_on(shell: Shell) -> None:
    held = under_review(shell)
    assert "decide with" in shell("review", ANNA, code=2).stderr
    assert "decide with" in shell("review", ANNA, "--continue", "--opt-out", code=2).stderr
    done = shell.json("review", ANNA, "--continue", "--yes")
    assert (done["released"], done["excerpt"], done["last_at"][:10]) == (1, "not now please", "2026-03-01")
    assert "not under review" in shell("review", ANNA, "--continue", code=1).stderr
    assert {one["id"]: one["state"] for one in shell.json("messages")} == {held: "queued"}
    assert "No reply waits" in shell("review").stdout


def test_a_reply_that_comes_while_the_command_runs_is_not_decided(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_review(shell)
    decide = worker.messages.decisions.decide_review

    def decides(*args: Any, **options: Any) -> int:
        with sqlite3.connect(shell.folder / ".vtsync" / "vtsync.sqlite3") as store:
            store.execute("UPDATE number_review SET excerpt = 'leave me alone', last_at = '2026-03-02 10:00:00.000000'")
        return decide(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("worker.messages.decisions.decide_review", decides)
        assert "wrote again" in shell("review", ANNA, "--continue", "--yes", code=1).stderr
    shown = shell("review").stdout
    assert "leave me alone" in shown
    assert "The last reply, " in shell("review", ANNA, "--continue", "--yes").stdout


DECISIONS = ("--continue", "--opt-out")


@pytest.mark.parametrize("decision", DECISIONS)
def test_nothing_is_decided_that_nobody_has_seen(shell: Shell, decision: str) -> None:
    under_review(shell)
    refused = shell("review", ANNA, decision, code=2).stderr
    assert "--last-at" in refused
    assert "--yes" in refused
    (shown,) = shell.json("review")
    for wrong in ("yesterday", "2026-03-01T10:00:00", "2026-03-01"):
        assert "the last_at of `vtsync review" in shell("review", ANNA, decision, "--last-at", wrong, code=2).stderr
    other = "2026-03-01T10:00:00.000001+00:00"
    assert "another reply than the newest" in shell("review", ANNA, decision, "--last-at", other, code=1).stderr
    assert shell.json("review") == [shown]
    done = shell.json("review", ANNA, decision, "--last-at", shown["last_at"])
    assert (done["last_at"], done["opted_out"]) == (shown["last_at"], decision == "--opt-out")


@pytest.mark.parametrize("decision", DECISIONS)
def test_at_a_terminal_the_reply_is_shown_before_the_question(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    under_review(shell)
    (before,) = shell.json("review")
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True)
    for answer, code in (("", 1), ("n\n", 1), ("y\n", 0)):
        assert shell.json("review") == [before]
        asked = shell.run("review", ANNA, decision, answers=answer)
        assert asked.exit_code == code
        shown, _, question = asked.stderr.partition('"not now please"')
        assert ("The last reply, " in shown, "?" in shown, "? [y/N]" in question) == (True, False, True)
    assert shell.json("review") == []


def test_a_decision_without_a_number_is_refused(shell: Shell) -> None:
    assert "name the number" in shell("review", "--continue", code=2).stderr


def test_what_somebody_wrote_is_read_and_was_a_no(shell: Shell) -> None:
    under_review(shell)
    assert "is opted out" in shell("review", ANNA, "--opt-out", "--yes").stdout
    (listed,) = shell.json("opt-outs")
    assert listed["detail"] == 'read as an opt-out: "not now please"'


NIGHT = '\n[policy]\ntext_from = "03:00"\ntext_until = "04:00"  # never, with the federal hours'


def test_urgent_texts_go_at_any_hour_and_others_wait(shell: Shell) -> None:
    shell.configure(NIGHT)
    waits = shell.json("send", "--to", ANNA, "-m", "a newsletter")
    assert (waits["state"], waits["reason"][:10]) == ("held", "time_zone:")
    assert shell.json("send", "--to", ANNA, "-m", "your code is 1234", "--urgent")["state"] == "accepted"
    assert [message.text for message in shell.sandbox.messages()] == ["your code is 1234"]
    (standing,) = shell.json("explain", ANNA)["standings"]
    assert standing["verdict"].startswith("a text waits for a time zone")
    assert not standing["open_now"]


def test_explain_says_what_becomes_of_a_text_now(shell: Shell) -> None:
    shell("send", "--to", ANNA, "-m", "hello")
    assert "a text is sent at once" in shell("explain", ANNA).stdout
    shell("opt-out", ANNA)
    assert "a text is not sent: +1415•••0101 opted out" in shell("explain", ANNA).stdout
    assert shell.json("explain", ANNA)["messages"][0]["steps"][0]["actor"]


def test_an_unknown_text_can_be_dropped(shell: Shell) -> None:
    shell.sandbox.add_fault(endpoint="send", action="drop", when="before", calls=1)
    unknown = shell.json("send", "--to", ANNA, "-m", "hello", code=1)
    assert "--drop" in unknown["reason"]
    shell("resolve", unknown["message_id"], "--drop")
    (dropped,) = shell.json("messages")
    assert (dropped["state"], dropped["reason"][:8]) == ("cancelled", "dropped:")
    assert "is cancelled" in shell("retry", dropped["id"], code=1).stderr
    assert "is cancelled" in shell("approve", dropped["id"], code=1).stderr
    assert shell.sandbox.messages() == []


def test_nothing_to_decide_about_is_said(shell: Shell) -> None:
    for command in ("approve", "cancel", "retry"):
        assert "there is no message or batch nothing" in shell(command, "nothing", code=1).stderr
