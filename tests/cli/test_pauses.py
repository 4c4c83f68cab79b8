"""Pause and resume on the command line, and the commands that say that something is paused."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from tests.cli.conftest import Shell
from tests.cli.test_sync import CRM, add, write
from worker.runtime import open_runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import audit_event, pause

WHY = ("--reason", "the CRM is moved")


@pytest.fixture
def crm(shell: Shell) -> Shell:
    shell.configure(CRM)
    write(shell.folder, "1,Anna,anna@example.org,(415) 555-0101,lead")
    shell("sync")
    return shell


def said(shell: Shell, *command: str, code: int = 0) -> str:
    result = shell(*command, code=code)
    return " ".join((result.stdout + result.stderr).split())


def test_a_paused_connection_is_not_read_and_everything_says_so(crm: Shell) -> None:
    shown = said(crm, "pause", "connection", "crm", *WHY)
    assert "(the CRM is moved)" in shown
    assert "`vtsync resume connection crm`" in shown
    add(crm.folder, "2,Boris,,415-555-0102,lead")
    for command, code in ((("plan",), 1), (("sync",), 0), (("fields", "crm"), 1), (("status",), 0), (("check",), 0)):
        shown = said(crm, *command, code=code)
        assert "paused since" in shown, command
        assert "(the CRM is moved)" in shown, command
        assert "`vtsync resume connection crm`" in shown, command
    assert "the connection crm is paused since" in said(crm, "explain", "+14155550101")
    assert crm.json("sync", "crm")["syncs"][0]["state"] == "paused"
    (status,) = crm.json("status")["connections"]
    assert status["pause"]["reason"] == "the CRM is moved"
    assert crm.sandbox.messages() == []
    assert "It is read again" in said(crm, "resume", "connection", "crm")
    crm("sync")
    assert [one.text for one in crm.sandbox.messages()] == ["Hi Boris"]
    assert "is not paused" in said(crm, "resume", "connection", "crm")


@pytest.mark.parametrize(
    ("option", "states"),
    [((), {"held"}), (("--approve",), {"accepted"}), (("--cancel",), {"cancelled"})],
    ids=["keep", "approve", "cancel"],
)
def test_what_becomes_of_the_texts_of_a_paused_trigger(crm: Shell, option: tuple[str, ...], states: set[str]) -> None:
    shown = said(crm, "pause", "trigger", "welcome", *WHY)
    assert "0 texts are held" in shown
    add(crm.folder, "2,Boris,,415-555-0102,lead")
    planned = crm.json("plan")[0]
    assert planned["texts"][0]["held"] is True
    assert "The texts of welcome would wait: its trigger was paused since" in " ".join(planned["notes"])
    assert "its trigger was paused since" in said(crm, "sync")
    assert crm.sandbox.messages() == []
    (held,) = crm.json("messages", "--state", "held")
    assert held["reason"].startswith("paused: its trigger was paused since ")
    for command in (("status",), ("triggers", "list"), ("explain", "+14155550102")):
        shown = said(crm, *command)
        assert "paused since" in shown, command
        assert "(the CRM is moved)" in shown, command
    shown = said(crm, "status")
    assert re.search(
        r"1 text held because the trigger welcome is paused \([^)]+\): `vtsync resume trigger welcome`", shown
    )
    assert crm.json("status")["paused_triggers"]["welcome"]["reason"] == "the CRM is moved"
    assert [one["state"] for one in crm.json("triggers", "list")] == ["paused"]
    assert "the trigger welcome is paused since" in said(crm, "approve", "--trigger", "welcome", code=1)
    done = crm.json("resume", "trigger", "welcome", *option)
    assert done["held"] + done["approved"] + done["cancelled"] == 1
    crm("sync")
    assert {one["state"] for one in crm.json("messages", "--trigger", "welcome")} == states
    if not option:
        again = said(crm, "resume", "trigger", "welcome")
        assert "welcome is not paused. 1 text held by the pause." in again
        assert "vtsync approve --trigger welcome" in said(crm, "status")


def test_a_trial_says_that_the_trigger_is_paused(crm: Shell) -> None:
    add(crm.folder, "2,Boris,,415-555-0102,lead")
    crm("sync", "--no-texts")
    crm("pause", "trigger", "welcome", *WHY)
    shown = said(crm, "triggers", "test", "welcome", "--record", "2")
    assert "waits for `vtsync resume trigger`, and then `vtsync approve`" in shown


def test_a_long_pause_is_among_what_waits_and_the_audit_trail_keeps_who_paused(crm: Shell) -> None:
    for what, name in (("connection", "crm"), ("trigger", "welcome")):
        crm("pause", what, name, *WHY)
    assert crm.json("status")["attention"] == []
    with writing(open_runtime().engine) as db:
        db.execute(update(pause).values(since=utcnow() - timedelta(days=3)))
    found = {one["command"] for one in crm.json("status")["attention"]}
    assert found == {"vtsync resume connection crm", "vtsync resume trigger welcome"}
    assert said(crm, "doctor", "--json", code=crm.run("doctor").exit_code).count("paused since") >= 2
    for what, name in (("connection", "crm"), ("trigger", "welcome")):
        crm("resume", what, name)
    with reading(open_runtime().engine) as db:
        trail = db.execute(select(audit_event.c.action, audit_event.c.about).order_by(audit_event.c.id)).all()
    assert trail == [
        ("paused_connection", "crm"),
        ("paused_trigger", "welcome"),
        ("resumed_connection", "crm"),
        ("resumed_trigger", "welcome"),
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("pause", "connection", "nothing"), 'there is no connection "nothing"; there are: crm'),
        (("pause", "trigger", "nothing"), 'there is no trigger "nothing"; there are: welcome'),
        (("resume", "connection", "nothing"), 'there is no connection "nothing"; there are: crm'),
        (("resume", "trigger", "welcome", "--approve", "--cancel"), "not both"),
        (("pause", "connection", "crm", "--reason", "x" * 501), "Nothing was done."),
    ],
)
def test_what_is_refused(crm: Shell, command: tuple[str, ...], words: str) -> None:
    assert words in said(crm, *command, code=2)
    assert crm.json("status")["attention"] == []


def test_what_is_not_configured_any_more_can_be_resumed(crm: Shell) -> None:
    crm("pause", "trigger", "welcome")
    crm.configure(CRM.replace("[triggers.welcome]", "[triggers.hello]"))
    assert "It texts again" in said(crm, "resume", "trigger", "welcome")
