"""What a key may do is what its scopes name, for its accounts. No answer shows another account's people."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from config.models import Connection as ConnectionSettings
from tests.messages.conftest import PAST, number
from tests.web.conftest import Site
from worker.messages.consents import add_consent
from worker.messages.opt_outs import add_opt_out, open_review, opted_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import (
    api_key,
    contact,
    contact_mapping,
    delivery,
    inbound_message,
    inbox_event,
    rejected_record,
    sync_run,
)
from worker.web.keys import FLEET_SCOPES, SCOPES, create_key
from worker.web.status_schemas import JobsOut

OURS, THEIRS, SHARED, STRANGER, BY_HAND, OUT = (number(i) for i in range(6))
"""Known to the account "main", to "other", to both, to nobody; opted out by a person; opted out by our own key."""
CANARY = "canary-of-the-other-account"

MESSAGE = "0" * 32
FOUND = {"verdict": "found", "virtualtext_id": "5512"}
ERROR = {"error": ""}
ROUTES: dict[str, tuple[str, str, Any]] = {
    "send": ("POST", "/v1/messages", {"account": "main", "to": OURS, "message": "x"}),
    "send urgently": ("POST", "/v1/messages", {"account": "main", "to": OURS, "message": "x", "urgent": True}),
    "send for other": ("POST", "/v1/messages", {"account": "other", "to": OURS, "message": "x"}),
    "send from other's number": ("POST", "/v1/messages", {"account": "main", "to": OURS, "message": "x"}
                                 | {"from_number": "+14155550199"}),
    "send a batch": ("POST", "/v1/messages:batch", {"messages": [{"account": "main", "to": OURS, "message": "x"}]}),
    "list": ("GET", "/v1/messages", None),
    "find by metadata": ("GET", "/v1/messages?metadata.order=17", None),
    "read": ("GET", f"/v1/messages/{MESSAGE}", None),
    "cancel": ("POST", f"/v1/messages/{MESSAGE}/cancel", None),
    "record": ("POST", "/v1/records", {"account": "main", "to": OURS, "message": "x", "carrier": "c"}
               | {"carrier_message_id": "1"}),
    "record for other": ("POST", "/v1/records", {"account": "other", "to": OURS, "message": "x", "carrier": "c"}
                         | {"carrier_message_id": "2"}),
    "opt out": ("POST", "/v1/opt-outs", {"phone": STRANGER, "reason": "asked"}),
    "opt-out of ours": ("GET", f"/v1/opt-outs/{OURS}", None),
    "opt-out of theirs": ("GET", f"/v1/opt-outs/{THEIRS}", None),
    "lift ours": ("DELETE", f"/v1/opt-outs/{OURS}?reason=x", None),
    "lift theirs": ("DELETE", f"/v1/opt-outs/{THEIRS}?reason=x", None),
    "lift theirs, of a person of both": ("DELETE", f"/v1/opt-outs/{SHARED}?reason=x", None),
    "lift one made by hand": ("DELETE", f"/v1/opt-outs/{BY_HAND}?reason=x", None),
    "contact of ours": ("GET", f"/v1/contacts/{OURS}", None),
    "contact of theirs": ("GET", f"/v1/contacts/{THEIRS}", None),
    "export ours": ("GET", f"/v1/people/{OURS}/export", None),
    "export theirs": ("GET", f"/v1/people/{THEIRS}/export", None),
    "forget theirs": ("DELETE", f"/v1/people/{THEIRS}?reason=x", None),
    "forget a person of both": ("DELETE", f"/v1/people/{SHARED}?reason=x", None),
    "forget one opted out by hand": ("DELETE", f"/v1/people/{BY_HAND}?reason=x", None),
    "forget ours": ("DELETE", f"/v1/people/{OURS}?reason=x", None),
    "remember ours": ("POST", f"/v1/people/{OURS}/remember", {"reason": "x"}),
    "list opt-outs": ("GET", "/v1/opt-outs", None),
    "export opt-outs": ("GET", "/v1/opt-outs:export", None),
    "approve": ("POST", f"/v1/messages/{MESSAGE}/approve", None),
    "retry": ("POST", f"/v1/messages/{MESSAGE}/retry", None),
    "resolve": ("POST", f"/v1/messages/{MESSAGE}/resolve", {"verdict": "sent"}),
    "approvals": ("GET", "/v1/approvals", None),
    "preview": ("GET", "/v1/messages:preview?decision=cancel&batch=x", None),
    "approve many": ("POST", "/v1/messages:approve", {"ids": [MESSAGE]}),
    "cancel many": ("POST", "/v1/messages:cancel", {"batch": "x", "texts": 0}),
    "retry many": ("POST", "/v1/messages:retry", {"ids": [MESSAGE]}),
    "reviews": ("GET", "/v1/reviews", None),
    "end a review of ours": ("POST", f"/v1/reviews/{OURS}", {"verdict": "opt_out"}),
    "end a review of theirs": ("POST", f"/v1/reviews/{THEIRS}", {"verdict": "opt_out"}),
    "contacts that wait": ("GET", "/v1/contacts?state=due", None),
    "retry contacts": ("POST", "/v1/contacts:retry", {"contacts": 1000}),
    "resolve a contact of ours": ("POST", f"/v1/contacts/{OURS}/resolve", {"account": "main", **FOUND}),
    "resolve a contact of theirs": ("POST", f"/v1/contacts/{THEIRS}/resolve", {"account": "other", **FOUND}),
    "link of ours": ("GET", "/v1/accounts/main/link", None),
    "link of theirs": ("GET", "/v1/accounts/other/link", None),
    "link ours": ("POST", "/v1/accounts/main/link", {"without_list": True, "contacts": 1000}),
    "link theirs": ("POST", "/v1/accounts/other/link", {"without_list": True, "contacts": 1000}),
    "dead letters": ("GET", "/v1/dead-letters", None),
    "clear dead letters": ("POST", "/v1/dead-letters:clear", {"letters": 0}),
    "events": ("GET", "/v1/relay/events", None),
    "retry events": ("POST", "/v1/relay/events:retry", {"events": 1000}),
    "alerts": ("GET", "/v1/alerts", None),
    "explain ours": ("GET", f"/v1/people/{OURS}/explain", None),
    "explain theirs": ("GET", f"/v1/people/{THEIRS}/explain", None),
    "consents of ours": ("GET", f"/v1/people/{OURS}/consents", None),
    "consents of theirs": ("GET", f"/v1/people/{THEIRS}/consents", None),
    "connections": ("GET", "/v1/connections", None),
    "runs of ours": ("GET", "/v1/connections/main-crm/runs", None),
    "runs of theirs": ("GET", "/v1/connections/other-crm/runs", None),
    "rejected of ours": ("GET", "/v1/connections/main-crm/rejected", None),
    "rejected of theirs": ("GET", "/v1/connections/other-crm/rejected", None),
    "unread of ours": ("GET", "/v1/connections/main-crm/unread", None),
    "unread of theirs": ("GET", "/v1/connections/other-crm/unread", None),
    "sync ours": ("POST", "/v1/connections/main-crm/sync", {}),
    "sync theirs": ("POST", "/v1/connections/other-crm/sync", {}),
    "forwards": ("GET", "/v1/forwards", None),
    "retry forwards": ("POST", "/v1/forwards:retry", {"ids": [1, 2, 3]}),
    "status": ("GET", "/v1/status", None),
    "pause a connection": ("POST", "/v1/connections/{name}/pause", {"reason": "x"}),
    "resume a connection": ("POST", "/v1/connections/{name}/resume", None),
    "pause a trigger": ("POST", "/v1/triggers/{name}/pause", {"reason": "x"}),
    "resume a trigger": ("POST", "/v1/triggers/{name}/resume", None),
    "metrics": ("GET", "/metrics", None),
    "fleet": ("GET", "/health/fleet", None),
}  # fmt: skip
NEEDS = {
    "send": "messages:write",
    "send urgently": "messages:write messages:urgent",
    "send for other": "messages:write",
    "send from other's number": "messages:write",
    "send a batch": "messages:write",
    "list": "messages:read",
    "find by metadata": "messages:read",
    "read": "messages:read",
    "cancel": "messages:write",
    "record": "records:write",
    "record for other": "records:write",
    "opt out": "opt-outs:write",
    "opt-out of ours": "contacts:read",
    "opt-out of theirs": "contacts:read",
    "lift ours": "opt-outs:lift",
    "lift theirs": "opt-outs:lift",
    "lift theirs, of a person of both": "opt-outs:lift",
    "lift one made by hand": "opt-outs:lift",
    "contact of ours": "contacts:read",
    "contact of theirs": "contacts:read",
    "export ours": "people:read",
    "export theirs": "people:read",
    "forget theirs": "people:forget",
    "forget a person of both": "people:forget",
    "forget one opted out by hand": "people:forget",
    "forget ours": "people:forget",
    "remember ours": "people:forget",
    "list opt-outs": "contacts:read",
    "export opt-outs": "contacts:read",
    "approve": "operate:write",
    "retry": "operate:write",
    "resolve": "operate:write",
    "approvals": "operate:read",
    "preview": "operate:read",
    "approve many": "operate:write",
    "cancel many": "operate:write",
    "retry many": "operate:write",
    "reviews": "operate:read",
    "end a review of ours": "operate:write",
    "end a review of theirs": "operate:write",
    "contacts that wait": "operate:read",
    "retry contacts": "operate:write",
    "resolve a contact of ours": "operate:write",
    "resolve a contact of theirs": "operate:write",
    "link of ours": "operate:read",
    "link of theirs": "operate:read",
    "link ours": "operate:write",
    "link theirs": "operate:write",
    "dead letters": "operate:read",
    "clear dead letters": "operate:write",
    "events": "operate:read",
    "retry events": "operate:write",
    "alerts": "operate:read",
    "explain ours": "operate:read",
    "explain theirs": "operate:read",
    "consents of ours": "contacts:read",
    "consents of theirs": "contacts:read",
    "connections": "operate:read",
    "runs of ours": "operate:read",
    "runs of theirs": "operate:read",
    "rejected of ours": "operate:read",
    "rejected of theirs": "operate:read",
    "unread of ours": "operate:read",
    "unread of theirs": "operate:read",
    "sync ours": "operate:write",
    "sync theirs": "operate:write",
    "forwards": "operate:read",
    "retry forwards": "operate:write",
    "status": "operate:read",
    "pause a connection": "operate:write",  # tests/web/test_pauses.py: only those of the key's accounts
    "resume a connection": "operate:write",
    "pause a trigger": "operate:write",
    "resume a trigger": "operate:write",
    "metrics": "metrics:read",
    "fleet": "metrics:read",
}
BEYOND_MAIN = {  # what a key of the account "main" gets in place of an answer, even with every scope
    "send for other": 403,
    "send from other's number": 403,
    "record for other": 403,
    "opt-out of theirs": 404,
    "lift theirs": 404,
    "lift theirs, of a person of both": 403,
    "lift one made by hand": 403,
    "contact of theirs": 404,
    "export theirs": 404,
    "forget theirs": 404,
    "forget a person of both": 403,
    "forget one opted out by hand": 403,
    "end a review of theirs": 404,
    "resolve a contact of theirs": 403,
    "link of theirs": 404,
    "link theirs": 404,
    "dead letters": 403,
    "clear dead letters": 403,
    "alerts": 403,
    "remember ours": 403,
    "explain theirs": 404,
    "consents of theirs": 404,
    "runs of theirs": 404,
    "rejected of theirs": 404,
    "unread of theirs": 404,
    "sync theirs": 404,
    "pause a connection": 404,
    "resume a connection": 404,
    "pause a trigger": 404,
    "resume a trigger": 404,
    "metrics": 403,
    "fleet": 403,
}
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # scopes, accounts
    "all": (SCOPES, ()),
    "main, all scopes": (SCOPES, ("main",)),
    **{f"all, {scope}": ((scope,), ()) for scope in SCOPES},
    **{f"main, {scope}": ((scope,), ("main",)) for scope in SCOPES},
    "main, urgent": (("messages:write", "messages:urgent"), ("main",)),
}


def stored_key(site: Site, scopes: tuple[str, ...], accounts: tuple[str, ...]) -> dict[str, str]:
    """A key as earlier versions made them, too: with any scopes for any accounts."""
    with writing(site.engine) as db:
        made = create_key(db, "test", scopes, (), created_by="test", now=utcnow())
        mine = api_key.c.id == made.split("_")[1]
        db.execute(api_key.update().where(mine).values(accounts=json.dumps(accounts)))
    return {"Authorization": f"Bearer {made}"}


def put_contact(db: Any, account: str, phone: str, canary: str) -> None:
    person = {"full_name": canary, "email": f"{canary}@example.com"}
    row = {"account": account, "phone": phone, "wanted_hash": b"1", "virtualtext_id": f"{canary}{phone}"}
    row |= {"last_error": canary, "created_at": PAST}
    made = db.execute(insert(contact).values(row | person).returning(contact.c.id)).scalar_one()
    mapping = {"connection": f"{account}-crm", "external_id": f"{canary}{phone}", "contact_id": made}
    mapping |= {"record_hash": b"1", "first_seen_at": PAST, "changed_at": PAST}
    db.execute(insert(contact_mapping).values(mapping | person))


def put_reply(db: Any, account: str, phone: str, text: str) -> None:
    row = {"id": uuid.uuid4().hex, "account": account, "from_number": phone, "to_number": "+14155550100"}
    db.execute(insert(inbound_message), row | {"text": text, "received_at": PAST})


def put_work(db: Any, account: str, phone: str, canary: str) -> None:
    """What an account's connection and its people leave behind for those who operate the service."""
    crm = f"{account}-crm"
    db.execute(insert(sync_run), {"connection": crm, "state": "failed", "started_at": PAST, "error": canary})
    rejected = {"connection": crm, "key": canary, "code": "x", "reason": canary, "where": canary, "excerpt": canary}
    db.execute(insert(rejected_record), rejected | {"since": PAST, "seen_at": PAST})
    event = {"event_id": uuid.uuid4().hex, "type": "message.sent", "payload": "{}", "state": "failed"}
    event |= {"last_error": canary, "created_at": PAST, "due_at": PAST}
    for target in (f"crm:{crm}:{canary}", f"subscriber:{canary}" if canary == CANARY else "subscriber:ours"):
        db.execute(insert(delivery), event | {"target": target})
    failed = {"source": "relay", "name": account, "payload": canary, "state": "failed", "detail": canary}
    db.execute(insert(inbox_event), failed | {"received_at": PAST, "due_at": PAST})
    open_review(db, phone, excerpt=canary, inbound_id=None, since=PAST, account=account)
    add_consent(db, phone, source="http", words=canary, now=PAST, actor="test", account=account)
    add_consent(db, SHARED, source="http", words=canary, now=PAST, actor="test", account=account)


def crm(account: str, folder: Path) -> ConnectionSettings:
    (folder / "people.csv").write_text("id,phone\n")
    return ConnectionSettings(adapter="csv", account=account, options={"path": str(folder / "people.csv")})


@pytest.fixture
def people(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """People of two accounts. Everything of the second account has the canary."""
    monkeypatch.setattr("worker.web.status.jobs_in_broker", lambda _: dict.fromkeys(JobsOut.model_fields, 0) | ERROR)
    crms = {f"{account}-crm": crm(account, tmp_path) for account in ("main", "other")}
    site.runtime.settings = site.runtime.settings.model_copy(update={"connections": crms})
    later = utcnow() - timedelta(minutes=1)
    with writing(site.engine) as db:
        for account, phones, canary in (("main", (OURS, SHARED, BY_HAND), "ours"), ("other", (THEIRS, SHARED), CANARY)):
            for phone in phones:
                put_contact(db, account, phone, canary)
                put_reply(db, account, phone, canary)
        for phone, account in ((OURS, "main"), (THEIRS, "other"), (SHARED, "other"), (BY_HAND, "")):
            detail = f"{CANARY} wrote STOP" if account != "main" else "wrote STOP"
            source = "relay" if account else "cli"
            add_opt_out(db, phone, source=source, detail=detail, now=later, account=account)
        put_work(db, "main", OURS, "ours")
        put_work(db, "other", THEIRS, CANARY)
    texts = [("main", OURS, "ours"), ("other", THEIRS, CANARY), ("other", SHARED, CANARY), ("main", SHARED, "ours")]
    for account, phone, text in texts:
        body = {"account": account, "to": phone, "message": text, "metadata": {"order": "17", "of": text}}
        site.http.post("/v1/messages", json=body)
    return site


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_does_what_it_names_and_nothing_else(people: Site, kind: str) -> None:
    scopes, accounts = KINDS[kind]
    headers = stored_key(people, scopes, accounts)
    wrong: dict[str, Any] = {}
    for route, (method, path, body) in ROUTES.items():
        answer = people.http.request(method, path, headers=headers, **({} if body is None else {"json": body}))
        if not set(NEEDS[route].split()) <= set(scopes):
            right = answer.status_code == 403
        elif accounts and route in BEYOND_MAIN:
            right = answer.status_code == BEYOND_MAIN[route]
        else:
            right = answer.status_code not in (401, 403)
        if not right or (accounts and CANARY in answer.text):
            wrong[route] = (answer.status_code, answer.text)
    assert wrong == {}


def test_the_table_has_every_route_and_scope(site: Site) -> None:
    described = site.http.get("/openapi.json").json()["paths"]
    known = {
        (method.upper(), path) for path, routes in described.items() for method in routes if "/health/" not in path
    }
    for phone in (OURS, THEIRS, SHARED, BY_HAND):
        rows = {(m, p.partition("?")[0].replace(phone, "{phone}")) for m, p, _ in ROUTES.values()}
        placed = {(m, p.replace(MESSAGE, "{message_id}").replace("main-crm", "{name}")) for m, p in rows}
        known -= {(m, p.replace("/accounts/main", "/accounts/{name}")) for m, p in placed}
    assert known == set()
    assert {scope for needs in NEEDS.values() for scope in needs.split()} == set(SCOPES)
    assert NEEDS.keys() == ROUTES.keys()


def test_no_answer_to_a_key_of_one_account_has_data_of_another(people: Site) -> None:
    headers = people.headers(accounts=("main",))
    ids = [one["id"] for one in people.http.get("/v1/messages").json()["messages"]]
    asked: list[tuple[str, str, Any]] = [
        (method, path, body) for method, path, body in ROUTES.values() if "DELETE" not in method
    ]
    for phone in (OURS, THEIRS, SHARED, STRANGER, BY_HAND):
        asked += [("GET", f"/v1/{part}/{phone}", None) for part in ("contacts", "opt-outs")]
        asked += [("GET", f"/v1/people/{phone}/{part}", None) for part in ("export", "explain", "consents")]
        asked += [("POST", f"/v1/contacts/{phone}/resolve", {"account": one, **FOUND}) for one in ("main", "other")]
        asked += [("POST", f"/v1/reviews/{phone}", {"verdict": "continue", "last_at": PAST.isoformat()})]
        asked += [("GET", f"/v1/messages?to=%2B{phone[1:]}", None)]
        asked += [("POST", "/v1/messages", {"to": phone, "message": "x", "account": "main"})]
        batch = [{"to": phone, "message": "x", "account": account} for account in ("main", "other")]
        asked += [("POST", "/v1/messages:batch", {"messages": batch})]
        asked += [("POST", "/v1/opt-outs", {"phone": phone, "reason": "x"})]
        asked += [("DELETE", f"/v1/{part}/{phone}?reason=x", None) for part in ("opt-outs", "people")]
    for one in ids:
        asked += [("GET", f"/v1/messages/{one}", None), ("POST", f"/v1/messages/{one}/cancel", None)]
        asked += [("POST", f"/v1/messages/{one}/{what}", None) for what in ("approve", "retry")]
        asked += [("POST", f"/v1/messages/{one}/resolve", {"verdict": "drop"})]
        asked += [("POST", f"/v1/messages:{what}", {"ids": [one]}) for what in ("approve", "cancel", "retry")]
        asked += [("GET", f"/v1/messages?before={one}", None)]
    seen = ""
    for method, path, body in asked:
        answer = people.http.request(method, path, headers=headers, **({} if body is None else {"json": body}))
        assert answer.status_code < 500
        seen += answer.text
        assert CANARY not in answer.text, (method, path, answer.text)
        assert "other-crm" not in answer.text or "other-crm" in path, (method, path, answer.text)
    assert "ours" in seen
    everything = "".join(people.http.get(f"/v1/contacts/{phone}").text for phone in (THEIRS, SHARED))
    assert CANARY in everything  # a key for all accounts does see it


def test_a_stop_counts_for_all_accounts_and_its_proof_is_shown_to_its_own(people: Site) -> None:
    mine = people.headers(accounts=("main",))
    sent = people.http.post("/v1/messages", json={"to": THEIRS, "message": "x"}, headers=mine).json()
    assert sent["state"] == "suppressed"
    shared = people.http.get(f"/v1/opt-outs/{SHARED}", headers=mine).json()
    assert shared == {"phone": SHARED, "opted_out": True, "since": None, "source": None, "detail": None}
    assert people.http.get(f"/v1/opt-outs/{OURS}", headers=mine).json()["detail"] == "wrote STOP"


def test_a_key_lifts_what_it_has_stopped_itself(people: Site) -> None:
    mine = people.headers(accounts=("main",))
    people.http.post("/v1/opt-outs", json={"phone": OUT, "reason": "asked"}, headers=mine)
    assert people.http.get(f"/v1/opt-outs/{OUT}", headers=mine).json()["detail"] == "asked"
    assert people.http.delete(f"/v1/opt-outs/{OUT}?reason=x", headers=mine).json()["opted_out"] is False


def test_who_told_two_accounts_to_stop_is_not_texted_because_one_of_them_lifts_it(people: Site) -> None:
    mine = people.headers(accounts=("main",))
    theirs = people.headers(accounts=("other",))
    people.http.post("/v1/opt-outs", json={"phone": SHARED, "reason": "told us too"}, headers=mine)
    for key in (mine, theirs):
        assert people.http.delete(f"/v1/opt-outs/{SHARED}?reason=x", headers=key).status_code == 403
    with reading(people.engine) as db:
        assert SHARED in opted_out(db, [SHARED])
    assert people.http.delete(f"/v1/opt-outs/{SHARED}?reason=x").json()["opted_out"] is False


@given(scopes=st.lists(st.sampled_from(SCOPES), unique=True), limited=st.booleans())
def test_a_new_key_has_exactly_the_scopes_that_were_named(scopes: list[Any], limited: bool) -> None:
    from sqlalchemy import create_engine

    from worker.web.keys import all_keys

    engine = create_engine("sqlite://")
    api_key.create(engine)
    accounts = ["main"] if limited else []
    with engine.begin() as db:
        if not scopes or (limited and set(scopes) & set(FLEET_SCOPES)):
            with pytest.raises(ValueError, match=r"scope|all accounts"):
                create_key(db, "x", scopes, accounts, created_by="x", now=utcnow())
            assert all_keys(db) == []
        else:
            create_key(db, "x", scopes, accounts, created_by="x", now=utcnow())
            (made,) = all_keys(db)
            assert [scope for scope in SCOPES if made.has(scope)] == [scope for scope in SCOPES if scope in scopes]
            assert made.may_use("other") is not limited
