"""What the command line decides, HTTP decides, too: once, while it can be, and never about more than was seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from config.models import Connection as ConnectionSettings
from config.triggers import CreatedTrigger
from tests.messages.conftest import PAST, number
from tests.web.conftest import Site
from worker.contacts.runs import newest_runs
from worker.core.states import MessageState
from worker.messages.claims import expire_leases
from worker.messages.consents import add_consent
from worker.messages.decisions import CODES
from worker.messages.opt_outs import add_opt_out, open_review, opted_out
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import audit_event, contact, delivery, rejected_record, sync_run
from worker.web.keys import SCOPES

NOBODY = "0" * 32
HELD = {"state": MessageState.HELD, "reason": "approval: 3 people, and policy.blast_limit is 2"}
STATES: dict[str, dict[str, Any]] = {
    "queued": {},
    "waits for an approval": HELD,
    "stopped by the breaker": HELD | {"reason": "breaker: the trigger fires unusually often"},
    "held for a review": HELD | {"reason": "review: the reply may mean STOP"},
    "dispatching": {"state": MessageState.DISPATCHING},
    "accepted": {"state": MessageState.ACCEPTED},
    "unknown": {"state": MessageState.UNKNOWN, "reason": "unknown: no response"},
    "rejected": {"state": MessageState.REJECTED, "reason": "refused: 400"},
    "failed": {"state": MessageState.FAILED},
    "rejected, and its text pruned": {"state": MessageState.REJECTED, "text": ""},
    "cancelled": {},
}
BODY = {"sent": {"verdict": "sent"}, "resend": {"verdict": "resend", "attempts": 0}, "drop": {"verdict": "drop"}}


def path_of(decision: str) -> str:
    return "resolve" if decision in BODY else decision


def audit(site: Site) -> list[tuple[str, str, str]]:
    with reading(site.engine) as db:
        a = audit_event.c
        return [tuple(row) for row in db.execute(select(a.actor, a.action, a.about).order_by(a.id))]


def text(site: Site, index: int = 0, **values: Any) -> str:
    """A text of the trigger "ready" in the batch "b1"."""
    return site.trigger_text("ready", number(index), f"{index}", **({"batch_id": "b1"} | values))


def in_state(site: Site, state: str) -> str:
    one = text(site, **STATES[state])
    if state == "cancelled":
        decide(site, "cancel", one)
    return one


def decide(site: Site, decision: str, message_id: str, **more: Any) -> Any:
    body = {"json": BODY[decision]} if decision in BODY else {}
    return site.http.post(f"/v1/messages/{message_id}/{path_of(decision)}", **body, **more)


# One text

MAY: dict[tuple[str, str], str] = {
    # state, decision: the state after it. All others are refused.
    ("queued", "cancel"): "cancelled",
    ("waits for an approval", "approve"): "queued",
    ("waits for an approval", "cancel"): "cancelled",
    ("stopped by the breaker", "approve"): "queued",
    ("stopped by the breaker", "cancel"): "cancelled",
    ("held for a review", "cancel"): "cancelled",
    ("cancelled", "cancel"): "cancelled",
    ("unknown", "sent"): "confirmed",
    ("unknown", "resend"): "queued",
    ("unknown", "drop"): "cancelled",
    ("rejected", "retry"): "queued",
    ("failed", "retry"): "queued",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("decision", CODES)
def test_a_decision_is_possible_in_its_states_only(site: Site, decision: str, state: str) -> None:
    one = in_state(site, state)
    before = site.state(one)
    answer = decide(site, decision, one)
    after = MAY.get((state, decision))
    if after is None:
        assert (answer.status_code, answer.json()["type"], site.state(one)) == (409, "/problems/too_late", before)
        assert f"the message is {before}" in answer.json()["detail"]
    else:
        assert (answer.status_code, answer.json()["state"], site.state(one)) == (200, after, after)
        assert ("key test", decision, one) in audit(site)


@pytest.mark.parametrize(("state", "decision"), sorted(MAY))
def test_repeating_a_decision_does_nothing_twice(site: Site, state: str, decision: str) -> None:
    one = in_state(site, state)
    answers = [decide(site, decision, one) for _ in range(3)]
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, MAY[state, decision])] * 3
    assert len(site.steps(one)) == 2, "it was made, and decided about"


def test_a_repetition_is_known_although_the_text_went_on(site: Site) -> None:
    one = text(site, **HELD)
    decide(site, "approve", one)
    site.change(one, state=MessageState.ACCEPTED)
    answer = decide(site, "approve", one)
    assert (answer.status_code, answer.json()["state"]) == (200, "accepted")
    assert decide(site, "cancel", one).status_code == 409, "which is another decision"


def test_an_unknown_text_has_one_outcome(site: Site) -> None:
    one = text(site, **STATES["unknown"])
    assert decide(site, "drop", one).status_code == 200
    other = decide(site, "resend", one)
    assert (other.status_code, site.state(one)) == (409, MessageState.CANCELLED)
    assert "only an unknown one can be resolved" in other.json()["detail"]


def test_a_repeated_resend_decides_nothing_about_a_later_attempt(site: Site) -> None:
    one = text(site, **STATES["unknown"])
    assert decide(site, "resend", one).status_code == 200
    # It was sent again, and that response was lost, too.
    site.change(one, state=MessageState.DISPATCHING, lease_owner="gone", lease_until=utcnow(), attempts=1)
    with writing(site.engine) as db:
        expire_leases(db, utcnow())
    again = decide(site, "resend", one)
    assert (again.status_code, site.state(one)) == (409, MessageState.UNKNOWN)
    blind = site.http.post(f"/v1/messages/{one}/resolve", json={"verdict": "resend"})
    assert blind.status_code == 422


@pytest.mark.parametrize("decision", CODES)
def test_nobody_decides_about_what_is_not_there(site: Site, decision: str) -> None:
    assert decide(site, decision, NOBODY).status_code == 404


# Many texts


def test_what_waits_for_an_approval_is_listed_and_previewed(site: Site) -> None:
    for index in (0, 1, 1):
        text(site, index, key=new_message_id(), **HELD)
    text(site, 2, **STATES["held for a review"])
    (group,) = site.http.get("/v1/approvals").json()["approvals"]
    assert group == {"account": "main", "batch": "b1", "trigger": "ready", "texts": 3, "people": 2}
    shown = site.http.get("/v1/messages:preview?decision=approve&batch=b1&limit=2").json()
    assert (shown["texts"], shown["people"], len(shown["messages"])) == (3, 2, 2)
    assert {one["to"] for one in shown["messages"]} == {number(1)}, "the newest"
    assert len(site.http.get("/v1/messages?batch=b1").json()["messages"]) == 4
    assert site.http.get("/v1/messages?batch=b2").json()["messages"] == []
    assert {one["batch"] for one in shown["messages"]} == {"b1"}
    every = site.http.get("/v1/messages:preview?decision=cancel&trigger=ready").json()
    assert (every["texts"], every["people"]) == (4, 3)


def test_all_that_was_seen_is_decided_and_no_more(site: Site) -> None:
    ids = [text(site, index, **HELD) for index in range(3)]
    until = site.http.get("/v1/messages:preview?decision=approve&batch=b1").json()["until"]
    assert until == max(ids)
    asked = {"batch": "b1", "texts": 2, "until": until}
    late = site.http.post("/v1/messages:approve", json=asked)
    assert (late.status_code, late.json()["type"]) == (409, "/problems/not_as_shown")
    assert late.json()["detail"].startswith("3 texts match now, and you were shown 2; nothing was done")
    assert {site.state(one) for one in ids} == {MessageState.HELD}
    done = site.http.post("/v1/messages:approve", json=asked | {"texts": 3}).json()
    assert done == {"decided": 3, "outcomes": []}
    assert {site.state(one) for one in ids} == {MessageState.QUEUED}
    newer = text(site, 4, **HELD)
    assert site.http.post("/v1/messages:approve", json=asked).json()["decided"] == 0, "it was not shown"
    assert site.state(newer) == MessageState.HELD
    assert ("vtsync.deliver_messages",) in site.hinted
    assert audit(site)[0] == ("key test", "approve", "b1")
    every = {"trigger": "ready", "texts": 4, "until": newer}
    assert site.http.post("/v1/messages:cancel", json=every).json()["decided"] == 4


def test_each_of_many_ids_has_its_outcome(site: Site) -> None:
    held, sent = text(site, 0, **HELD), text(site, 1, state=MessageState.ACCEPTED)
    done = site.http.post("/v1/messages:approve", json={"ids": [held, sent, NOBODY]}).json()
    outcomes = [(one["id"], one["status"], one["state"]) for one in done["outcomes"]]
    assert outcomes == [(held, 200, "queued"), (sent, 409, "accepted"), (NOBODY, 404, None)]
    assert done["decided"] == 1
    refused = text(site, 2, state=MessageState.REJECTED)
    again = site.http.post("/v1/messages:retry", json={"ids": [refused, held]}).json()
    assert [one["status"] for one in again["outcomes"]] == [200, 409]
    repeated = site.http.post("/v1/messages:approve", json={"ids": [held]}).json()
    assert (repeated["decided"], repeated["outcomes"][0]["status"]) == (0, 200)


def test_a_test_key_decides_about_nothing_real(site: Site) -> None:
    one = text(site, **HELD)
    with writing(site.engine) as db:
        from worker.web.keys import TEST_SCOPES, create_key

        made = create_key(db, "t", TEST_SCOPES, (), created_by="test", now=utcnow(), test=True)
    headers = {"Authorization": f"Bearer {made}"}
    assert decide(site, "approve", one, headers=headers).status_code == 403
    assert decide(site, "cancel", one, headers=headers).status_code == 404
    assert site.state(one) == MessageState.HELD
    assert not {"operate:read", "operate:write"} & set(TEST_SCOPES)


def test_a_key_of_some_accounts_decides_about_theirs(site: Site) -> None:
    mine, theirs = text(site, 0, **HELD), text(site, 1, **HELD, account="other")
    headers = site.headers(accounts=("main",))
    shown = site.http.get("/v1/messages:preview?decision=approve&batch=b1", headers=headers).json()
    assert shown["texts"] == 1
    seen = {"batch": "b1", "texts": 1, "until": shown["until"]}
    done = site.http.post("/v1/messages:approve", json=seen, headers=headers)
    assert done.json()["decided"] == 1
    both = site.http.post("/v1/messages:cancel", json={"ids": [mine, theirs]}, headers=headers).json()
    assert [one["status"] for one in both["outcomes"]] == [200, 404]
    for decision in CODES:
        assert decide(site, decision, theirs, headers=headers).status_code == 404
    assert (site.state(mine), site.state(theirs)) == (MessageState.CANCELLED, MessageState.HELD)


# Reviews


def review(site: Site, index: int = 0, account: str = "main", excerpt: str = "stop it lol") -> str:
    with writing(site.engine) as db:
        open_review(db, number(index), excerpt=excerpt, inbound_id=None, since=PAST, account=account)
    return number(index)


def shown_reviews(site: Site, **headers: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.http.get("/v1/reviews", **headers).json()["reviews"]
    return found


@pytest.mark.parametrize(("verdict", "out"), [("continue", False), ("opt_out", True)])
def test_a_review_is_decided_once(site: Site, verdict: str, out: bool) -> None:
    phone = review(site)
    one = text(site, **STATES["held for a review"])
    (shown,) = shown_reviews(site)
    assert (shown["phone"], shown["excerpt"], shown["account"]) == (phone, "stop it lol", "main")
    read = {"last_at": shown["last_at"]}
    done = [site.http.post(f"/v1/reviews/{phone}", json=read | {"verdict": verdict}).json() for _ in range(2)]
    assert [answer["released"] for answer in done] == [1, 0]
    assert {answer["opted_out"] for answer in done} == {out}
    assert site.state(one) == MessageState.QUEUED
    other = {"continue": "opt_out", "opt_out": "continue"}[verdict]
    late = site.http.post(f"/v1/reviews/{phone}", json=read | {"verdict": other})
    assert (late.status_code, late.json()["type"]) == (409, "/problems/too_late")
    with reading(site.engine) as db:
        assert (phone in opted_out(db, [phone])) is out
    assert site.http.post(f"/v1/reviews/{number(5)}", json=read | {"verdict": verdict}).status_code == 404


def test_to_continue_is_refused_when_the_person_wrote_again(site: Site) -> None:
    phone, held = review(site), text(site, **STATES["held for a review"])
    (shown,) = shown_reviews(site)
    review(site, excerpt="leave me alone")
    body = {"verdict": "continue", "last_at": shown["last_at"]}
    refused = site.http.post(f"/v1/reviews/{phone}", json=body)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not_as_shown")
    assert "decide with its `last_at`" in refused.json()["detail"]
    assert site.state(held) == MessageState.HELD
    (newest,) = shown_reviews(site)
    assert (newest["excerpt"], newest["since"]) == ("leave me alone", shown["since"])
    assert site.http.post(f"/v1/reviews/{phone}", json=body | {"last_at": newest["last_at"]}).json()["released"] == 1


def test_a_reply_to_two_accounts_is_not_waved_through_by_one_of_them(site: Site) -> None:
    phone = review(site)
    text(site)
    mine = site.headers(accounts=("main",))
    assert len(shown_reviews(site, headers=mine)) == 1
    review(site, account="other", excerpt="stop it")
    (shown,) = shown_reviews(site)
    body = {"verdict": "continue", "last_at": shown["last_at"]}
    refused = site.http.post(f"/v1/reviews/{phone}", json=body, headers=mine)
    assert (refused.status_code, "another account" in refused.json()["detail"]) == (403, True)
    assert (shown_reviews(site), shown_reviews(site, headers=mine)) == ([shown], [])
    stopped = site.http.post(f"/v1/reviews/{phone}", json={"verdict": "opt_out"}, headers=mine)
    assert stopped.json()["opted_out"] is True, "to stop is always safe"


def test_a_key_of_all_accounts_of_a_review_decides_about_it(site: Site) -> None:
    phone = review(site)
    review(site, account="other", excerpt="stop it")
    both = site.headers(accounts=("main", "other"))
    (shown,) = shown_reviews(site, headers=both)
    body = {"verdict": "continue", "last_at": shown["last_at"]}
    done = site.http.post(f"/v1/reviews/{phone}", json=body, headers=both)
    assert (done.status_code, done.json()["opted_out"], shown_reviews(site)) == (200, False, [])


# Connections, deliveries, people


@pytest.fixture
def crm(site: Site, tmp_path: Path) -> Site:
    (tmp_path / "people.csv").write_text("id,phone\n")
    connection = ConnectionSettings(adapter="csv", account="main", options={"path": str(tmp_path / "people.csv")})
    trigger = CreatedTrigger(on="created", connections=("people",), message="hello")
    changed = {"connections": {"people": connection}, "triggers": {"welcome": trigger}}
    site.runtime.settings = site.runtime.settings.model_copy(update=changed)
    run = {"connection": "people", "state": "done", "started_at": PAST, "seen": 7}
    with writing(site.engine) as db:
        db.execute(insert(sync_run), [run, run | {"seen": 8}])
        rejected = {"connection": "people", "key": "17", "code": "x", "reason": "has no phone", "where": "row 3"}
        db.execute(insert(rejected_record), rejected | {"excerpt": "", "since": PAST, "seen_at": PAST})
    return site


def test_a_connection_is_looked_at(crm: Site) -> None:
    (one,) = crm.http.get("/v1/connections").json()["connections"]
    assert (one["name"], one["account"], one["seen"], one["rejected_now"]) == ("people", "main", 8, 1)
    page = crm.http.get("/v1/connections/people/runs?limit=1").json()
    assert [run["seen"] for run in page["runs"]] == [8]
    page = crm.http.get(f"/v1/connections/people/runs?limit=1&before={page['next']}").json()
    assert [run["seen"] for run in page["runs"]] == [7]
    (rejected,) = crm.http.get("/v1/connections/people/rejected").json()["rejected"]
    assert (rejected["key"], rejected["reason"], rejected["where"]) == ("17", "has no phone", "row 3")
    with reading(crm.engine) as db:
        assert len(newest_runs(db, "people")) == 2


def test_a_connection_is_read_at_once(crm: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = crm.http.post("/v1/connections/people/sync", json={"full": True})
    assert (answer.status_code, answer.json()) == (202, {"connection": "people", "full": True})
    (told,) = [one for one in crm.hinted if "people" in one]
    assert told == ("vtsync.sync_connection", "people", "('full', True)", "('accept_removals', False)")
    assert audit(crm) == [("key test", "asked_for_full_sync", "people")]
    monkeypatch.setattr("worker.web.connections.wake", lambda *_, **__: False)
    answer = crm.http.post("/v1/connections/people/sync", json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def deliveries(site: Site, *states: str, target: str = "subscriber:shop") -> list[int]:
    row = {"target": target, "type": "message.sent", "payload": "{}", "created_at": PAST, "due_at": PAST}
    with writing(site.engine) as db:
        return [
            db.execute(
                insert(delivery).values(**row, event_id=new_message_id(), state=state).returning(delivery.c.id)
            ).scalar_one()
            for state in states
        ]


def test_deliveries_are_repeated(site: Site) -> None:
    failed, done, due = deliveries(site, "failed", "done", "due")
    page = site.http.get("/v1/forwards?target=subscriber:*&limit=2").json()
    assert ([one["id"] for one in page["forwards"]], page["failed"], page["due"]) == ([due, done], 1, 1)
    following = site.http.get(f"/v1/forwards?before={page['next']}").json()
    assert [one["id"] for one in following["forwards"]] == [failed]
    late = site.http.post("/v1/forwards:retry", json={"target": "subscriber:shop", "deliveries": 1})
    assert (late.status_code, late.json()["type"]) == (409, "/problems/not_as_shown")
    again = site.http.post("/v1/forwards:retry", json={"ids": [failed, done, 999]}).json()
    assert [(one["status"], one["state"]) for one in again["outcomes"]] == [(200, "due"), (409, "done"), (404, None)]
    assert again["retried"] == 1
    (other,) = deliveries(site, "failed")
    every = site.http.post("/v1/forwards:retry", json={"failed": True, "deliveries": 1}).json()
    assert every == {"retried": 1, "outcomes": []}
    assert site.http.get(f"/v1/forwards?state=due&before={other + 1}&limit=1").json()["forwards"][0]["id"] == other
    assert ("vtsync.forward_events",) in site.hinted


def test_a_key_of_some_accounts_repeats_their_deliveries(crm: Site) -> None:
    (ours,) = deliveries(crm, "failed", target="crm:people:17")
    (theirs,) = deliveries(crm, "failed", target="subscriber:shop")
    mine = crm.headers(accounts=("main",))
    page = crm.http.get("/v1/forwards", headers=mine).json()
    assert ([one["id"] for one in page["forwards"]], page["failed"]) == ([ours], 1)
    done = crm.http.post("/v1/forwards:retry", json={"ids": [ours, theirs]}, headers=mine).json()
    assert [one["status"] for one in done["outcomes"]] == [200, 404]
    every = crm.http.post("/v1/forwards:retry", json={"failed": True, "deliveries": 0}, headers=mine)
    assert (every.status_code, every.json()["retried"]) == (200, 0)


def test_a_number_is_explained_as_the_command_line_does(site: Site) -> None:
    one = site.send(text="hello")
    with writing(site.engine) as db:
        add_consent(db, number(0), source="cli", words="at the counter", now=PAST, actor="ann")
        add_opt_out(db, number(0), source="cli", detail="asked", now=utcnow(), actor="ann")
        row = {"account": "main", "phone": number(0), "wanted_hash": b"1", "created_at": PAST, "full_name": "Ada"}
        db.execute(insert(contact), row)
    site.replied()
    found = site.http.get(f"/v1/people/{number(0)}/explain").json()
    assert (found["known"], found["opted_out"]["detail"], found["messages"][0]["id"]) == (True, "asked", one)
    assert [change["actor"] for change in found["opt_out_history"]] == ["ann"]
    assert found["contacts"][0]["full_name"] == "Ada"
    assert found["replies"][0]["message"] == "Yes"
    assert "a text is not sent" in found["standings"][0]["verdict"]
    assert audit(site) == [("key test", "read_person", number(0))]
    (consent,) = site.http.get(f"/v1/people/{number(0)}/consents").json()["consents"]
    assert (consent["words"], consent["actor"]) == ("at the counter", "ann")
    assert site.http.get(f"/v1/people/{number(7)}/explain").json()["known"] is False


def test_all_pages_of_opt_outs_are_all_of_them(site: Site) -> None:
    numbers = [number(index) for index in range(5)]
    with writing(site.engine) as db:
        for phone in numbers:
            add_opt_out(db, phone, source="cli", detail="asked", now=PAST, actor="ann")
    seen, after = [], ""
    while True:
        page = site.http.get("/v1/opt-outs", params={"limit": 2} | ({"after": after} if after else {})).json()
        seen += [one["phone"] for one in page["opt_outs"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == numbers
    assert page["opt_outs"][0]["detail"] == "asked"
    none = site.http.get("/v1/opt-outs", headers=site.headers(accounts=("main",))).json()
    assert none["opt_outs"] == [], "the account knows none of these numbers"
    site.http.post("/v1/messages", json={"account": "main", "to": numbers[0], "message": "x"})
    known = site.http.get("/v1/opt-outs", headers=site.headers(accounts=("main",))).json()
    assert known["opt_outs"] == [
        {"phone": numbers[0], "opted_out": True, "since": None, "source": None, "detail": None}
    ]


def test_the_status_is_what_the_command_prints(crm: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.cli.common import plain
    from worker.doctor.status import overview

    jobs = {"waiting": 2, "in_progress": None, "left_behind": None, "error": ""}
    monkeypatch.setattr("worker.web.status.jobs_in_broker", lambda _: jobs)
    text(crm, **HELD)
    found = crm.http.get("/v1/status").json()
    printed = plain(overview(crm.runtime).as_json() | {"jobs": jobs})
    assert found.keys() == printed.keys()
    assert [one["what"] for one in found["attention"]] == [one["what"] for one in printed["attention"]]
    assert {key: found["connections"][0][key] for key in ("name", "seen")} == {"name": "people", "seen": 8}
    assert found["accounts"][0].keys() == printed["accounts"][0].keys()
    mine = crm.http.get("/v1/status", headers=crm.headers(accounts=("other",))).json()
    assert (mine["connections"], mine["attention"], mine["jobs"]) == ([], [], None)
    assert [one["name"] for one in mine["accounts"]] == ["other"]


# Mistakes

RESOLVE = f"/v1/contacts/{number(0)}/resolve"
MISTAKES = [
    # method, path, body; where, and what the answer suggests
    ("GET", "/v1/messages?state=qued", None, "state", 'did you mean "queued"?'),
    ("GET", "/v1/messages?stat=held", None, "stat", 'did you mean "state"?'),
    ("GET", "/v1/messages?state=%7F", None, "state", "must be one of queued, held, "),
    ("GET", "/v1/forwards?state=faild", None, "state", 'did you mean "failed"?'),
    ("GET", "/v1/forwards?targt=x", None, "targt", 'did you mean "target"?'),
    ("GET", "/v1/messages:preview?decision=aprove&batch=x", None, "decision", 'did you mean "approve"?'),
    ("GET", "/v1/messages:preview?decision=approve", None, "batch", "name a batch or a trigger"),
    ("GET", "/v1/messages:preview?decision=approve&trigger=welcom", None, "trigger", 'did you mean "welcome"?'),
    ("POST", "/v1/messages:approve", {"trigger": "welcom", "texts": 0}, "/trigger", 'did you mean "welcome"?'),
    ("POST", "/v1/messages:approve", {}, "/ids", "name ids, a batch or a trigger"),
    ("POST", "/v1/messages:approve", {"batch": "x"}, "/texts", "say how many texts"),
    ("POST", "/v1/messages:approve", {"batch": "x", "texts": 1}, "/until", "give the until of"),
    ("POST", "/v1/messages:approve", {"ids": [NOBODY], "batch": "x"}, "/ids", "excludes batch"),
    ("POST", "/v1/messages:approve", {"ids": ["x"]}, "/ids/0", "must be an id of 32 hexadecimal digits"),
    ("POST", "/v1/messages:approve", {"id": NOBODY}, "/id", 'did you mean "ids"?'),
    ("POST", "/v1/messages:cancel", {"batch": "x", "texts": "3"}, "/texts", "must be a valid integer"),
    ("POST", f"/v1/messages/{NOBODY}/resolve", {"verdict": "resent"}, "/verdict", 'did you mean "resend"?'),
    ("POST", f"/v1/messages/{NOBODY}/resolve", {"verdct": "sent"}, "/verdct", 'did you mean "verdict"?'),
    ("POST", f"/v1/reviews/{number(0)}", {"verdict": "opt-out"}, "/verdict", 'did you mean "opt_out"?'),
    ("POST", f"/v1/reviews/{number(0)}", {"verdict": "continue"}, "/last_at", "give the last_at of GET /v1/reviews"),
    ("POST", f"/v1/reviews/{number(0)}", {"verdict": "continue", "last_at": "2026-11-02T09:30:00"}, "/last_at", ""),
    ("POST", "/v1/forwards:retry", {}, "/ids", "name ids or a target"),
    ("POST", "/v1/forwards:retry", {"failed": True}, "/deliveries", "say how many GET /v1/forwards counted"),
    ("POST", "/v1/connections/people/sync", {"fll": True}, "/fll", 'did you mean "full"?'),
    ("GET", "/v1/contacts?state=rejectd", None, "state", 'did you mean "rejected"?'),
    ("GET", "/v1/contacts", None, "state", "missing"),
    ("POST", "/v1/contacts:retry", {}, "/contacts", "give the retryable of GET /v1/contacts"),
    ("POST", "/v1/contacts:retry", {"phone": "415"}, "/phone", "E.164"),
    ("POST", RESOLVE, {"verdict": "creat"}, "/verdict", 'did you mean "create"?'),
    ("POST", RESOLVE, {"verdict": "create"}, "/attempted_at", "give the attempted_at of GET /v1/contacts"),
    ("POST", RESOLVE, {"verdict": "found"}, "/virtualtext_id", "give the id that VirtualText shows"),
    ("POST", RESOLVE, {"verdict": "create", "virtualtext_id": "1"}, "/virtualtext_id", "belongs to the verdict found"),
    ("POST", RESOLVE, {"verdict": "found", "virtualtext_id": "1", "without_list": True}, "/without_list", "belongs to"),
    ("POST", "/v1/accounts/main/link", {"contacts": 1}, "/without_list", "missing"),
    ("POST", "/v1/accounts/main/link", {"without_list": True}, "/contacts", "missing"),
    ("POST", "/v1/dead-letters:clear", {}, "/letters", "missing"),
    ("POST", "/v1/dead-letters:clear", {"letters": 1}, "/until", "give the until of GET /v1/dead-letters"),
    ("POST", "/v1/dead-letters:clear", {"leters": 1}, "/leters", 'did you mean "letters"?'),
    ("POST", "/v1/relay/events:retry", {}, "/events", "missing"),
    ("GET", "/v1/relay/events?bfore=1", None, "bfore", 'did you mean "before"?'),
]


@pytest.mark.parametrize(("method", "path", "body", "pointer", "words"), MISTAKES)
def test_a_mistake_is_answered_with_what_was_meant(
    crm: Site, method: str, path: str, body: Any, pointer: str, words: str
) -> None:
    answer = crm.http.request(method, path, **({} if body is None else {"json": body}))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    details = {one["pointer"]: one["detail"] for one in answer.json()["errors"]}
    assert words in details.get(pointer, ""), details


def test_a_misspelt_connection_is_named(crm: Site) -> None:
    answer = crm.http.get("/v1/connections/peple/runs")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not_found")
    assert answer.json()["detail"] == 'the connection "peple" is unknown; did you mean "people"?'
    theirs = crm.http.get("/v1/connections/peple/runs", headers=crm.headers(accounts=("other",)))
    assert theirs.json()["detail"] == 'the connection "peple" is unknown; the known names are: none'


# Whatever is asked, nothing breaks

ADDRESSES = [
    ("GET", "/v1/status"),
    ("GET", "/v1/approvals"),
    ("GET", "/v1/messages:preview"),
    ("POST", "/v1/messages:approve"),
    ("POST", "/v1/messages:cancel"),
    ("POST", "/v1/messages:retry"),
    ("POST", "/v1/messages/{}/approve"),
    ("POST", "/v1/messages/{}/retry"),
    ("POST", "/v1/messages/{}/resolve"),
    ("GET", "/v1/reviews"),
    ("POST", "/v1/reviews/{}"),
    ("GET", "/v1/people/{}/explain"),
    ("GET", "/v1/people/{}/consents"),
    ("GET", "/v1/opt-outs"),
    ("GET", "/v1/connections"),
    ("GET", "/v1/connections/{}/runs"),
    ("GET", "/v1/connections/{}/rejected"),
    ("POST", "/v1/connections/{}/sync"),
    ("POST", "/v1/connections/{}/pause"),
    ("POST", "/v1/connections/{}/resume"),
    ("POST", "/v1/triggers/{}/pause"),
    ("POST", "/v1/triggers/{}/resume"),
    ("GET", "/v1/forwards"),
    ("POST", "/v1/forwards:retry"),
    ("GET", "/v1/contacts"),
    ("POST", "/v1/contacts:retry"),
    ("POST", "/v1/contacts/{}/resolve"),
    ("GET", "/v1/accounts/{}/link"),
    ("POST", "/v1/accounts/{}/link"),
    ("GET", "/v1/connections/{}/unread"),
    ("GET", "/v1/dead-letters"),
    ("POST", "/v1/dead-letters:clear"),
    ("GET", "/v1/relay/events"),
    ("POST", "/v1/relay/events:retry"),
    ("GET", "/v1/alerts"),
]
NAMES = [
    "ids",
    "batch",
    "trigger",
    "texts",
    "until",
    "decision",
    "verdict",
    "full",
    "target",
    "failed",
    "deliveries",
    "state",
    "contacts",
    "letters",
    "events",
    "account",
    "attempted_at",
    "virtualtext_id",
    "without_list",
]
NAMES += ["limit", "before", "after", "brief", "accept_removals", "x", ""]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(["", "\x00", "\ud800"])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
STEPS = ["people", NOBODY, number(0), "%00", "%2e%2e", "a" * 300, "%ed%a0%80", "*", "-1"]


def test_the_addresses_are_all_that_are_for_operating(site: Site) -> None:
    described = site.http.get("/openapi.json").json()["paths"]
    operating = {
        (method.upper(), path)
        for path, methods in described.items()
        for method, operation in methods.items()
        if "operate" in str(operation.get("security"))
    }
    written = {(method, path) for method, path in ADDRESSES}
    assert {(method, re.sub(r"{\w+}", "{}", path)) for method, path in operating} <= written


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    address=st.sampled_from(ADDRESSES),
    step=st.sampled_from(STEPS),
    parameters=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20) | st.integers().map(str), max_size=3),
    body=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4) | VALUES,
)
def test_no_request_of_any_form_is_a_defect(
    crm: Site, address: tuple[str, str], step: str, parameters: dict[str, str], body: Any
) -> None:
    import json

    limits = crm.runtime.settings.web.model_copy(update={"requests_per_minute": 1_000_000})
    crm.runtime.settings = crm.runtime.settings.model_copy(update={"web": limits})
    method, path = address
    more = {"content": json.dumps(body), "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
    asked = {name: value.encode("utf-8", "surrogatepass") for name, value in parameters.items()}
    answer = crm.http.request(method, path.format(step), params=asked if method == "GET" else None, **more)
    assert answer.status_code < 500, answer.text


def test_the_scopes_are_of_use(site: Site) -> None:
    assert {"operate:read", "operate:write"} <= set(SCOPES)
    reader = site.headers("operate:read")
    assert site.http.get("/v1/approvals", headers=reader).status_code == 200
    refused = site.http.post("/v1/messages:retry", json={"ids": [NOBODY]}, headers=reader)
    assert (refused.status_code, "operate:write" in refused.json()["detail"]) == (403, True)
