"""A store in which every command has something to show: each state, each list, with long names, reasons and links."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Table, insert

from tests.cli.conftest import Shell
from worker.core.states import MessageState
from worker.messages.consents import add_consent
from worker.messages.opt_outs import add_opt_out, open_review
from worker.runtime import open_runtime
from worker.store.db import writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import (
    alert,
    dead_letter,
    delivery,
    inbound_message,
    inbox_event,
    message,
    message_event,
    pause,
)
from worker.web.keys import create_key
from worker.web.users import create_user

ANNA, BORIS = "+14155550101", "+14155550102"
BATCH = "446d5e8fccc24889ab8d2374f8294e5d"
CRM = "customers-of-the-northern-branch"
TRIGGER = "congratulations-on-the-first-order"
REMINDER = "reminder-of-the-visit"
"""A trigger that is paused."""
CONFIGURATION = f"""
[connections.{CRM}]
adapter = "csv"
account = "main"
default_region = "US"
options = {{ path = "export.csv", settle_seconds = 0 }}

[triggers.{TRIGGER}]
connections = "{CRM}"
on = "changed"
field = "Lifecycle stage"
to = "Won"
message = "Congratulations, {{{{ contact.first_name }}}}! We will call you about the next steps. Reply here any time."

[triggers.{REMINDER}]
connections = "{CRM}"
on = "date"
field = "Date of the visit"
message = "See you tomorrow"

[policy]
quiet_hours = "none"

[alerts.channels.operations-of-the-northern-branch]
kind = "webhook"
url = "http://127.0.0.1:9/hooks/alerts"
secret = {{ file = "secret" }}
"""
WORDS = "Congratulations! We will call you about the next steps, and tell you when your order waits at the desk."
WHY = (
    "approval: its sync would text more people than policy.blast_limit allows without approval; look at the texts, then"
    " run `vtsync approve` or `vtsync cancel`"
)


def fill(shell: Shell) -> None:
    """Configure a fleet, sync it twice, and put a row of each kind into the store."""
    (shell.folder / "secret").write_text("whsec_c2VjcmV0LW9mLWV4YWN0bHktMzItYnl0ZXMtb2YtdXM=", encoding="utf-8")
    shell.configure(CONFIGURATION)
    write(shell, "Lead")
    shell("sync")
    write(shell, "Won")
    shell("sync", "--no-texts")
    with writing(open_runtime().engine) as connection:
        for table, row in rows():
            connection.execute(insert(table).values(row))
        people(connection)


def write(shell: Shell, stage: str) -> None:
    """Write the CRM's export. Two of its records cannot be used."""
    lines = [
        "Record ID,Full name,Email,Mobile phone number,Lifecycle stage,Date of the visit",
        f"51000,Anna Maria Magdalena Nováková-Lindqvist,anna.maria@northern-branch.example,(415) 555-0101,{stage},x",
        f"51001,Boris 山田太郎,,415-555-0102,{stage},2031-04-03",
        f"51002,Clara,clara@example.org,415-555-0103,{stage},the day after the holidays",
        "51003,Nobody,nobody@example.org,,Lead,",
        "51004,Dmitri,dmitri@example.org,555-01,Lead,",
    ]
    (shell.folder / "export.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")


def rows() -> Iterator[tuple[Table, dict[str, Any]]]:
    """Return rows of tables that only other systems, or a running fleet, fill."""
    now = utcnow()
    for number, state in enumerate(MessageState):
        one = new_message_id()
        why = WHY if state == MessageState.HELD else f"{state}: look at it, then `vtsync resolve {one} --sent`"
        row = {"id": one, "account": "main", "kind": "send", "state": state, "idempotency_key": one}
        row |= {"to_number": (ANNA, BORIS)[number % 2], "from_number": "+12025550100", "text": WORDS, "segments": 1}
        row |= {"source": "trigger", "trigger": TRIGGER, "connection": CRM, "external_id": "51000", "batch_id": BATCH}
        row |= {
            "reason": "" if state == MessageState.ACCEPTED else why,
            "payload_hash": "",
            "attempts": 1,
            "attempted_at": now,
        }
        row |= {"created_at": now - timedelta(hours=3 * number), "due_at": now, "expires_at": now + timedelta(days=1)}
        yield message, row
        step = {"at": now, "from_state": None, "to_state": state, "reason": why, "actor": "operator-of-the-night"}
        yield message_event, {"message_id": one, "attempt": 1} | step
    for number, state in enumerate(("failed", "due", "done")):
        target = f"crm:{CRM}:51000" if number else "subscriber:warehouse-of-the-northern-branch"
        error = {"last_error": "the receiver answered HTTP 500: it is being maintained until tomorrow morning"}
        event = {"event_id": f"e{number}", "target": target, "type": "message.delivery_failed", "payload": "{}"}
        yield delivery, event | error | {"created_at": now, "state": state, "due_at": now, "attempts": 10 - number}
    for state in ("failed", "done"):
        event = {"source": "relay", "name": "main", "received_at": now, "payload": "{}", "state": state, "due_at": now}
        yield inbox_event, event | {"detail": "the event names no number that was texted: look at it in VirtualText"}
    heard = {"account": "main", "from_number": ANNA, "text": "Thank you! And when?", "keyword": "", "received_at": now}
    yield inbound_message, heard | {"id": new_message_id(), "to_number": "+12025550100"}
    letter = {"queue": "messages", "task": "vtsync.send_message", "size": 1_048_577, "first_at": now, "last_at": now}
    letter |= {"message_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "times": 3}
    yield dead_letter, letter | {"id": "d" * 32, "reason": "its body is larger than 1 MiB, so it is not read"}
    why = {"actor": "operator-of-the-night", "reason": "the address of the office in its text is not the right one"}
    yield pause, {"kind": "trigger", "name": REMINDER, "since": now - timedelta(days=3)} | why
    found = {"key": "k", "kind": "messages_unknown", "urgent": True, "found": "1 text may or may not have been sent"}
    times = {"since": now, "seen_at": now, "raised_at": now, "told_urgent": True}
    yield alert, found | times | {"remedy": "look into the conversation in VirtualText, then `vtsync resolve`"}


def people(connection: Connection) -> None:
    """Add opt-outs, reviews, consents, users and keys."""
    now = utcnow()
    add_opt_out(connection, "+14155550109", source="reply", detail='they wrote "please stop texting me"', now=now)
    open_review(connection, BORIS, excerpt="stop it lol, see you there", inbound_id=None, since=now, account="main")
    add_consent(connection, ANNA, words="the form of the website, box ticked", source="cli", actor="ann", now=now)
    name, scopes = "anna-maria.novakova@northern-branch.example", ["messages:write", "messages:read"]
    create_user(connection, name, "operator", "correct horse battery", by="x", now=now)
    create_key(connection, "shop-of-the-northern-branch", scopes, ["main"], created_by="x", now=now)
