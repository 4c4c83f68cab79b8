"""What came in and was refused, over HTTP: dead letters, failed events, values that a trigger cannot read, opt-outs."""

from __future__ import annotations

import csv
import io
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from config.models import Carrier, Store
from config.models import Connection as ConnectionSettings
from config.triggers import DateTrigger
from tests.messages.conftest import PAST, number
from tests.web.conftest import Site
from tests.web.test_v1 import KEY
from worker.contacts.opt_out_file import read_opt_out_file
from worker.contacts.pull import sync_connection
from worker.core.states import InboxState
from worker.inbox.dead_letters import RefusedMessage, set_message_aside
from worker.messages.opt_outs import add_opt_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.number_keys import use_number_keys
from worker.store.tables import alert, audit_event, dead_letter, inbox_event


def trail(site: Site) -> list[tuple[str, str, str]]:
    a = audit_event.c
    with reading(site.engine) as db:
        return [tuple(row) for row in db.execute(select(a.action, a.about, a.detail).order_by(a.id))]  # type: ignore[misc]


def refuse(site: Site, *keys: str) -> None:
    for key in keys:
        letter = RefusedMessage(key, "messages", "vtsync.send_message", f"id-{key}", "to is missing", 312)
        set_message_aside(site.runtime, letter)


def letters(site: Site) -> Any:
    answer = site.http.get("/v1/dead-letters")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_dead_letters_are_cleared_as_they_were_shown(site: Site) -> None:
    assert letters(site) == {"dead_letters": [], "letters": 0, "until": None}
    refuse(site, "a", "b")
    shown = letters(site)
    assert (shown["letters"], shown["dead_letters"][0]["reason"]) == (2, "to is missing")
    assert shown["until"] == shown["dead_letters"][0]["last_at"]
    refuse(site, "b", "c")  # once more, and another one
    body = {"letters": shown["letters"], "until": shown["until"]}
    done = [site.http.post("/v1/dead-letters:clear", json=body).json() for _ in range(2)]
    assert done == [{"deleted": 1}, {"deleted": 0}]
    assert {one["id"]: one["times"] for one in letters(site)["dead_letters"]} == {"b": 2, "c": 1}
    with writing(site.engine) as db:
        db.execute(update(dead_letter).values(last_at=PAST))
    refused = site.http.post("/v1/dead-letters:clear", json=body | {"letters": 1})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not_as_shown")
    assert "2 dead letters match now, and you were shown 1" in refused.json()["detail"]
    assert letters(site)["letters"] == 2
    assert trail(site) == [("clear_dead_letters", "", "1 dead letter"), ("clear_dead_letters", "", "0 dead letters")]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/dead-letters", None),
        ("POST", "/v1/dead-letters:clear", {"letters": 0}),
        ("GET", "/v1/alerts", None),
        ("POST", f"/v1/people/{number(0)}/remember", {"reason": "x"}),
    ],
)
def test_what_belongs_to_no_account_needs_a_key_for_all(site: Site, method: str, path: str, body: Any) -> None:
    mine = site.headers(accounts=("main",))
    answer = site.http.request(method, path, headers=mine, **({} if body is None else {"json": body}))
    assert (answer.status_code, "create one for all accounts" in answer.json()["detail"]) == (403, True)


# Events of the Relay and of carriers


def event(site: Site, source: str, name: str, state: InboxState = InboxState.FAILED) -> None:
    row = {"source": source, "name": name, "received_at": PAST, "payload": "{}", "due_at": PAST, "attempts": 3}
    with writing(site.engine) as db:
        db.execute(insert(inbox_event).values(row | {"state": state, "detail": f"bad for {name}"}))


@pytest.fixture
def inbox(site: Site) -> Site:
    carriers = {"tw": Carrier(carrier="twilio", account="other", auth_token="hush", account_id="AC1", look_up=False)}  # type: ignore[arg-type]
    site.runtime.settings = site.runtime.settings.model_copy(update={"carriers": carriers})
    event(site, "relay", "main")
    event(site, "relay", "main", InboxState.DONE)
    event(site, "relay", "other")
    event(site, "carrier", "tw")
    return site


def test_failed_events_are_listed_and_repeated_as_they_were_counted(inbox: Site) -> None:
    shown = inbox.http.get("/v1/relay/events?limit=2").json()
    assert [one["detail"] for one in shown["events"]] == ["bad for tw", "bad for other"]
    assert (shown["failed"], len(shown["counts"])) == (3, 4)
    following = inbox.http.get(f"/v1/relay/events?before={shown['next']}").json()
    assert ([one["name"] for one in following["events"]], following["next"]) == (["main"], None)
    event(inbox, "relay", "main")
    refused = inbox.http.post("/v1/relay/events:retry", json={"events": shown["failed"]})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not_as_shown")
    inbox.hinted.clear()
    done = [inbox.http.post("/v1/relay/events:retry", json={"events": 4}).json() for _ in range(2)]
    assert (done, inbox.hinted) == ([{"retried": 4}, {"retried": 0}], [("vtsync.process_inbox",)])
    with reading(inbox.engine) as db:
        states = db.execute(select(inbox_event.c.state, inbox_event.c.attempts).order_by(inbox_event.c.id)).all()
    assert [tuple(one) for one in states] == [("new", 0), ("done", 3), ("new", 0), ("new", 0), ("new", 0)]
    assert trail(inbox) == [("retry_events", "", "4 events"), ("retry_events", "", "0 events")]


def test_a_key_of_some_accounts_sees_and_repeats_their_events(inbox: Site) -> None:
    theirs = inbox.headers(accounts=("other",))
    shown = inbox.http.get("/v1/relay/events", headers=theirs).json()
    assert [(one["source"], one["name"]) for one in shown["events"]] == [("carrier", "tw"), ("relay", "other")]
    assert (shown["failed"], "main" in str(shown)) == (2, False)
    assert inbox.http.post("/v1/relay/events:retry", json={"events": 2}, headers=theirs).json() == {"retried": 2}
    assert [one["name"] for one in inbox.http.get("/v1/relay/events").json()["events"]] == ["main"]


# What a trigger cannot read, alerts, people


def test_what_a_trigger_cannot_read_is_listed_by_connection(site: Site, tmp_path: Path) -> None:
    rows = "id,phone,visit\n1,+14155552001,soon\n2,+14155552002,2027-04-03\n"
    for name in ("crm", "shop"):
        (tmp_path / f"{name}.csv").write_text(rows)
        os.utime(tmp_path / f"{name}.csv", (PAST.timestamp(), PAST.timestamp()))  # it is complete
    connections = {
        name: ConnectionSettings(adapter="csv", account=account, options={"path": str(tmp_path / f"{name}.csv")})
        for name, account in (("crm", "main"), ("shop", "other"))
    }
    trigger = DateTrigger(on="date", field="visit", connections=("crm", "shop"), message="hello")
    changed = {"connections": connections, "triggers": {"reminder": trigger}}
    site.runtime.settings = site.runtime.settings.model_copy(update=changed)
    for name in connections:
        assert sync_connection(site.runtime, name).ok
    (found,) = site.http.get("/v1/connections/crm/unread").json()["unread"]
    assert {name: found[name] for name in ("connection", "external_id", "trigger", "field", "value")} == {
        "connection": "crm",
        "external_id": "1",
        "trigger": "reminder",
        "field": "visit",
        "value": "soon",
    }
    assert "cannot be read as a date" in found["reason"]
    theirs = site.headers(accounts=("other",))
    assert site.http.get("/v1/connections/crm/unread", headers=theirs).status_code == 404
    (found,) = site.http.get("/v1/connections/shop/unread", headers=theirs).json()["unread"]
    assert found["connection"] == "shop"


def test_open_alerts_are_listed(site: Site) -> None:
    now = utcnow()
    row = {
        "kind": "approval_needed",
        "key": "approval_needed main",
        "urgent": False,
        "found": "3 texts",
        "remedy": "approve",
    }
    with writing(site.engine) as db:
        db.execute(insert(alert).values(row | {"since": PAST, "seen_at": now, "raised_at": now}))
    (one,) = site.http.get("/v1/alerts").json()["alerts"]
    assert (one["kind"], one["found"], one["told_at"]) == ("approval_needed", "3 texts", None)


def test_a_forgotten_person_may_come_back(site: Site) -> None:
    site.runtime.settings = site.runtime.settings.model_copy(update={"store": Store(grant_key=KEY)})  # type: ignore[arg-type]
    use_number_keys(site.engine, site.runtime.settings)
    phone = number(0)
    back = f"/v1/people/{phone}/remember"
    assert site.http.post(back, json={"reason": "a customer again"}).status_code == 404
    site.http.post("/v1/opt-outs", json={"phone": phone, "reason": "asked"})
    reason = f"the owner of {phone} asked by letter"
    assert site.http.delete(f"/v1/people/{phone}", params={"reason": reason}).status_code == 200
    assert phone not in str(trail(site)), "the trail does not bring the number back"
    assert trail(site)[-1][0] == "forgot_person"
    done = site.http.post(back, json={"reason": "a customer again"})
    assert (done.status_code, done.json()) == (200, {"phone": phone, "opted_out": True}), "the opt-out holds"
    assert trail(site)[-1] == ("remembered_person", phone, "a customer again")
    assert site.http.post(back, json={"reason": "a customer again"}).status_code == 404


# All opt-outs as a file


def exported(site: Site, **more: Any) -> list[dict[str, str]]:
    answer = site.http.get("/v1/opt-outs:export", **more)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert 'filename="opt-outs.csv"' in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_opt_outs_are_exported_as_the_command_writes_them(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.messages.opt_out_lists import write_opt_outs

    monkeypatch.setattr("worker.messages.opt_outs.PORTION", 2)
    with writing(site.engine) as db:
        for index, account in enumerate(["main", "other", "", "main", "other"]):
            detail = f'=wrote "STOP", {account}'
            add_opt_out(db, number(index), source="relay", detail=detail, now=PAST, account=account)
    found = exported(site)
    assert [one["phone"] for one in found] == [number(index) for index in range(5)]
    assert found[0] == {
        "phone": number(0),
        "since": PAST.isoformat(),
        "source": "relay",
        "reason": '\'=wrote "STOP", main',
        "account": "main",
    }
    written = io.StringIO(newline="")
    write_opt_outs(site.engine, written)
    assert site.http.get("/v1/opt-outs:export").text == written.getvalue()
    (tmp_path / "list.csv").write_text(written.getvalue(), newline="")
    read = read_opt_out_file(tmp_path / "list.csv", None, utcnow() + timedelta(days=1), None)
    assert (len(read.opt_outs), read.unusable) == (5, [])
    assert trail(site)[0] == ("exported_opt_outs", "", "")


def test_a_key_of_some_accounts_exports_what_it_may_see(site: Site) -> None:
    site.send(number(1))  # main knows this number, which told another account
    with writing(site.engine) as db:
        for index, account in enumerate(["main", "other", "other"]):
            add_opt_out(db, number(index), source="relay", detail="wrote STOP", now=PAST, account=account)
    mine, known = exported(site, headers=site.headers(accounts=("main",)))
    assert (mine["phone"], mine["reason"]) == (number(0), "wrote STOP")
    assert known == {"phone": number(1), "since": "", "source": "", "reason": "", "account": ""}
