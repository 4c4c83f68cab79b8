"""Sending, recording and deciding by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.cli.conftest import Shell
from tests.conftest import a_night
from worker.store.models import utcnow

ANNA = "+14155550101"


def test_a_text_goes_out_at_once_and_is_explained(shell: Shell) -> None:
    sent = shell.json("send", "--to", ANNA, "--message", "hello")
    assert sent["state"] == "accepted"
    assert [message.text for message in shell.sandbox.messages()] == ["hello"]
    shown = shell("explain", ANNA).stdout
    assert sent["message_id"][-8:] in shown
    assert "dispatching" in shown
    assert "accepted" in shown


def test_a_text_for_the_night_is_said_to_wait_for_the_morning(shell: Shell) -> None:
    shell.configure("[policy]\nquiet_hours = 'us'\nexpires_after = '3d'\n")
    night = a_night()
    at, opens = night.isoformat(), night + timedelta(hours=7.5)
    said = shell("send", "--to", "+12125550101", "-m", "see you", "--at", at).stdout
    assert f"it is due at {night:%Y-%m-%d %H:%M:%S} UTC; then it is Wed 01:30 in America/New_York" in " ".join(
        said.split()
    )
    assert f"it will go at {night:%Y-%m-%d}" in said
    sent = shell.json("send", "--to", "+12125550101", "-m", "see you again", "--at", at)
    assert sent["state"] == "queued"
    assert opens <= datetime.fromisoformat(sent["expected_at"]) < opens + timedelta(minutes=15)
    assert f"it will go at {night:%Y-%m-%d}" in shell("explain", "+12125550101").stdout
    late = shell("send", "--to", "+12125550101", "-m", "soon", "--at", (night - timedelta(hours=1)).isoformat()).stdout
    assert "it will go at" in late


def test_the_same_key_texts_once(shell: Shell) -> None:
    first = shell.json("send", "--to", ANNA, "-m", "hello", "--key", "k1")
    again = shell.json("send", "--to", ANNA, "-m", "hello", "--key", "k1")
    assert (again["message_id"], again["duplicate"]) == (first["message_id"], True)
    assert len(shell.sandbox.messages()) == 1
    assert "was used before" in shell("send", "--to", ANNA, "-m", "other", "--key", "k1", code=1).stderr


def test_a_record_texts_nobody_and_is_kept_once(shell: Shell) -> None:
    for _ in range(2):
        shell("record", "--to", ANNA, "-m", "sent by us", "--carrier", "twilio", "--carrier-message-id", "SM1")
    (stored,) = shell.sandbox.messages()
    assert stored.kind == "recorded"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("send", "--to", "415", "-m", "hello"), "E.164"),
        (("send", "--to", ANNA, "-m", ""), "message is empty"),
        (("send", "--to", ANNA, "-m", "x", "--account", "nobody"), 'no account "nobody"'),
        (("record", "--to", ANNA, "-m", "x", "--sent-at", "yesterday"), "must be an ISO 8601 time with a time zone"),
        (
            ("record", "--to", ANNA, "-m", "x", "--sent-at", "2026-03-01T10:00:00"),
            "must be an ISO 8601 time with a time zone",
        ),
        (("messages", "--state", "lost"), 'no state "lost"'),
        (("messages", "--number", "hello"), "phone number"),
        (("send", "--to", ANNA, "-m", "x", "--at", "tomorrow"), "must be an ISO 8601 time with a time zone"),
        (("explain", "hello"), "phone number"),
        (("approve",), "give a batch"),
        (("resolve", "x"), "give exactly one"),
        (("resolve", "x", "--sent", "--resend"), "give exactly one"),
        (("retry",), "give message ids"),
        (("sync", "nothing"), 'no connection "nothing"'),
        (("plan",), "no enabled connection"),
    ],
)
def test_wrong_use_is_said_and_exits_with_2(shell: Shell, command: tuple[str, ...], words: str) -> None:
    assert words in shell(*command, code=2).stderr


def test_all_that_is_wrong_with_a_text_is_said_at_once_in_the_words_of_the_api(shell: Shell) -> None:
    wrong = shell("send", "--to", "415", "-m", "x", "--media", "ftp://x", "--at", "tomorrow", code=2).stderr
    assert wrong.splitlines() == [
        'to must be a phone number in E.164, such as "+14155552671", not "415"',
        'media must be public http or https URLs, not "ftp://x"',
        'send_at must be an ISO 8601 time with a time zone, such as "2026-03-01T14:30:00Z", not "tomorrow"',
    ]


def test_a_lost_answer_waits_for_a_person_and_is_settled_by_one(shell: Shell) -> None:
    shell.sandbox.add_fault(endpoint="send", action="drop", when="after", calls=1)
    unknown = shell.json("send", "--to", ANNA, "-m", "hello", code=1)
    assert unknown["state"] == "unknown"
    assert "vtsync resolve" in unknown["reason"]
    status = shell("status").stdout
    assert "may or may not have been sent" in status
    (listed,) = shell.json("messages", "--state", "unknown")
    shell("resolve", listed["id"], "--sent")
    assert shell.json("messages", "--state", "unknown") == []
    assert "only an unknown one" in shell("resolve", listed["id"], "--resend", code=1).stderr
    assert len(shell.sandbox.messages()) == 1


def test_texts_are_found_by_their_number_as_people_write_it_and_by_trigger(shell: Shell) -> None:
    sent = shell.json("send", "--to", ANNA, "-m", "hello")["message_id"]
    shell("send", "--to", "+14155550102", "-m", "hello")
    assert [one["id"] for one in shell.json("messages", "--number", "+1 (415) 555-0101")] == [sent]
    assert shell.json("messages", "--trigger", "welcome", "--state", "accepted") == []
    assert shell.json("messages", "--number", ANNA, "--state", "held") == []


def test_a_text_for_later_waits_and_can_be_cancelled(shell: Shell) -> None:
    at = (utcnow() + timedelta(days=30)).replace(microsecond=0)
    later = shell.json("send", "--to", ANNA, "-m", "see you", "--at", at.isoformat())
    assert (later["state"], later["reason"]) == ("queued", f"scheduled: it is due at {at:%Y-%m-%d %H:%M:%S} UTC")
    assert shell.sandbox.messages() == []
    assert shell.json("cancel", later["message_id"])["count"] == 1
    assert "cancelled: by " in shell("explain", ANNA).stdout
    assert "is cancelled" in shell("cancel", later["message_id"], code=1).stderr


def test_a_picture_goes_along_and_is_shown_with_the_number_that_sent_it(shell: Shell) -> None:
    url = "https://example.org/ticket.png"
    shell("send", "--to", ANNA, "-m", "your ticket", "--media", url, "--from", "+12025550101", code=1)
    shell("send", "--to", ANNA, "-m", "your ticket", "--media", url)
    (sent,) = shell.sandbox.messages()
    assert sent.media == (url,)
    shown = shell("explain", ANNA).stdout
    assert f"with {url}" in shown
    assert "rejected (cli, from +12025550101)" in shown
    assert "accepted (cli, from +12025550100)" in shown


def test_deciding_about_a_trigger_that_has_nothing_says_so(shell: Shell) -> None:
    assert "there is no trigger welcom" in shell("approve", "--trigger", "welcom", code=1).stderr


def test_an_opted_out_number_is_noted_and_not_tried_again(shell: Shell) -> None:
    shell.sandbox.opt_out(ANNA)
    assert shell.json("send", "--to", ANNA, "-m", "hello", code=1)["state"] == "suppressed"
    before = shell.sandbox.counts()
    assert shell.json("send", "--to", ANNA, "-m", "again", code=1)["state"] == "suppressed"
    assert shell.sandbox.counts() == before


def test_a_refused_text_can_be_tried_again(shell: Shell) -> None:
    shell.sandbox.add_fault(endpoint="send", action="answer", status=400, message="no", calls=1)
    refused = shell.json("send", "--to", ANNA, "-m", "hello", code=1)
    assert refused["state"] == "rejected"
    assert shell.json("retry", refused["message_id"])["count"] == 1
    assert shell.json("messages")[0]["state"] == "queued"
    assert shell.json("cancel", refused["message_id"])["count"] == 1
    shell("retry", "nothing", code=1)


def test_scripts_find_each_message_under_the_same_names(shell: Shell) -> None:
    shell("send", "--to", ANNA, "-m", "hello")
    names = "id account kind state reason to_number from_number text segments source trigger batch_id created_at due_at"
    listed = {*names.split(), "test", "attempts", "virtualtext_message_id", "reference_code", "metadata"}
    assert set(shell.json("messages")[0]) == listed
    (explained,) = shell.json("explain", ANNA)["messages"]
    assert set(explained) == listed | {
        *("media", "callback_url", "expires_at", "sent_at", "expected_at", "carrier", "carrier_message_id"),
        *("about", "steps"),
    }
    assert set(explained["steps"][0]) == {"at", "before", "after", "reason", "actor", "attempt"}


def test_messages_are_shown_as_a_table_with_short_ids(shell: Shell) -> None:
    sent = shell.json("send", "--to", ANNA, "-m", "[bold]not markup[/bold]")
    shown = shell("messages").stdout
    assert sent["message_id"][-8:] in shown
    assert sent["message_id"] not in shown
    assert "[bold]not markup[/bold]" in shown


def test_a_text_to_another_country_is_not_sent_and_every_command_says_why(shell: Shell) -> None:
    shell.configure()
    abroad, words = "+525512345678", "the number is in MX (+52), and texts may go only to +1"
    assert words in shell("explain", abroad, code=1).stdout.replace("\n", " ").replace("    ", "")
    answer = shell.json("send", "--to", abroad, "-m", "hola", "--urgent", code=1)
    assert answer["state"] == "suppressed"
    assert words in answer["reason"]


def test_a_text_to_a_country_that_is_allowed_is_sent(shell: Shell) -> None:
    shell.configure('[policy]\nquiet_hours = "none"\ncountries = ["US", "MX"]\n')
    assert shell.json("send", "--to", "+525512345678", "-m", "hola")["state"] == "accepted"
