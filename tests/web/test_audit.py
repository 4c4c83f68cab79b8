"""Who did what over HTTP is in the audit trail: for every key, with the address of the caller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select

from config.models import Connection as ConnectionSettings
from config.models import Store
from config.triggers import CreatedTrigger
from tests.messages.conftest import PAST, number
from tests.web.conftest import Site, runtime_over
from tests.web.test_v1 import KEY
from worker.core.phones import mask
from worker.core.states import MessageState
from worker.messages.opt_outs import open_review
from worker.store.db import reading, writing
from worker.store.number_keys import use_number_keys
from worker.store.tables import audit_event, contact
from worker.web.app import create_app

ADA, BOB, ORG, OUT, GONE = (number(index) for index in range(5))
CALLER = "203.0.113.7"
HELD = {"state": MessageState.HELD, "reason": "approval: 3 people", "batch_id": "b1"}
LOST = {"verdict": "found", "virtualtext_id": "5512", "account": "main"}

NOTED: list[tuple[str, str, Any, str, str]] = [
    # method, path, body; the action and what it is about. {id}: a held text, {lost}: an unknown one
    ("POST", "/v1/messages/{id}/approve", None, "approve", "{id}"),
    ("POST", "/v1/messages/{id}/cancel", None, "cancel", "{id}"),
    ("POST", "/v1/messages/{refused}/retry", None, "retry", "{refused}"),
    ("POST", "/v1/messages/{lost}/resolve", {"verdict": "sent"}, "sent", "{lost}"),
    ("POST", "/v1/messages:approve", {"batch": "b1", "texts": 9, "until": "f" * 32}, "approve", "b1"),
    ("POST", "/v1/messages:cancel", {"trigger": "welcome", "texts": 9, "until": "f" * 32}, "cancel", "welcome"),
    ("POST", "/v1/messages:retry", {"ids": ["{refused}"]}, "retry", "{refused}"),
    ("POST", f"/v1/reviews/{ADA}", {"verdict": "opt_out"}, "review_opt_out", ADA),
    ("POST", "/v1/contacts:retry", {"contacts": 9, "account": "main"}, "retry_contacts", "main"),
    ("POST", f"/v1/contacts/{BOB}/resolve", LOST, "contact_found", BOB),
    ("POST", "/v1/accounts/main/link", {"without_list": True, "contacts": 9}, "linked_without_list", "main"),
    ("POST", "/v1/connections/crm/sync", {}, "asked_for_sync", "crm"),
    ("POST", "/v1/connections/crm/pause", {}, "paused_connection", "crm"),
    ("POST", "/v1/connections/crm/resume", None, "resumed_connection", "crm"),
    ("POST", "/v1/triggers/welcome/pause", {}, "paused_trigger", "welcome"),
    ("POST", "/v1/triggers/welcome/resume", None, "resumed_trigger", "welcome"),
    ("POST", "/v1/forwards:retry", {"failed": True, "deliveries": 0}, "retry_forwards", "all failed"),
    ("POST", "/v1/relay/events:retry", {"events": 0}, "retry_events", ""),
    ("POST", "/v1/dead-letters:clear", {"letters": 0}, "clear_dead_letters", ""),
    ("POST", "/v1/opt-outs", {"phone": OUT, "reason": "asked"}, "opt_out", OUT),
    ("DELETE", f"/v1/opt-outs/{OUT}?reason=agreed", None, "opt_in", OUT),
    ("GET", "/v1/opt-outs:export", None, "exported_opt_outs", ""),
    ("GET", f"/v1/people/{ORG}/export", None, "exported_person", ORG),
    ("GET", f"/v1/people/{ORG}/explain", None, "read_person", ORG),
    ("DELETE", f"/v1/people/{GONE}?reason=letter", None, "forgot_person", mask(GONE)),
    ("POST", f"/v1/people/{GONE}/remember", {"reason": "back"}, "remembered_person", GONE),
]
FLEET = ("/v1/dead-letters:clear", f"/v1/people/{GONE}/remember")
BEFORE = {  # what makes the request possible
    "/v1/connections/crm/resume": ("POST", "/v1/connections/crm/pause", {}),
    "/v1/triggers/welcome/resume": ("POST", "/v1/triggers/welcome/pause", {}),
    f"/v1/opt-outs/{OUT}?reason=agreed": ("POST", "/v1/opt-outs", {"phone": OUT, "reason": "asked"}),
    f"/v1/people/{GONE}/remember": ("DELETE", f"/v1/people/{GONE}?reason=letter", None),
}
SILENT = {
    ("POST", "/v1/messages"): "the text names the key",
    ("POST", "/v1/messages:batch"): "each text names the key",
    ("POST", "/v1/records"): "the record names the key",
}
"""Routes that change something, or export, without a line, and where it is on record instead."""


@pytest.fixture
def site(engine: Engine, hinted: list[tuple[str, ...]]) -> Iterator[Site]:
    runtime = runtime_over(engine)
    crm = ConnectionSettings(adapter="csv", account="main", options={"path": "x.csv"})
    trigger = CreatedTrigger(on="created", connections=("crm",), message="Hi")
    store = Store(grant_key=KEY)  # type: ignore[arg-type]
    changed = {"connections": {"crm": crm}, "triggers": {"welcome": trigger}, "store": store}
    runtime.settings = runtime.settings.model_copy(update=changed)
    use_number_keys(engine, runtime.settings)
    with TestClient(create_app(runtime), raise_server_exceptions=False, client=(CALLER, 4711)) as http:
        yield Site(runtime, runtime.fake, http, hinted)


def furnished(site: Site) -> dict[str, str]:
    """Make what the requests are about. Return the ids that they name."""
    ids = {
        "{id}": site.trigger_text("welcome", ADA, "1", **HELD),
        "{lost}": site.trigger_text("welcome", ORG, "2", state=MessageState.UNKNOWN),
        "{refused}": site.trigger_text("welcome", ORG, "3", state=MessageState.REJECTED),
    }
    site.send(OUT)
    site.send(GONE)
    site.change(site.send(GONE, "again"), state=MessageState.ACCEPTED)
    with writing(site.engine) as db:
        open_review(db, ADA, excerpt="stop it lol", inbound_id=None, since=PAST, account="main")
        row = {"account": "main", "phone": BOB, "wanted_hash": b"1", "push_state": "unknown", "created_at": PAST}
        db.execute(insert(contact).values(row))
    return ids


@pytest.mark.parametrize("accounts", [(), ("main",)], ids=["all accounts", "one account"])
@pytest.mark.parametrize(("method", "path", "body", "action", "about"), NOTED, ids=[f"{m} {p}" for m, p, *_ in NOTED])
def test_every_decision_and_export_has_its_line(
    site: Site, method: str, path: str, body: Any, action: str, about: str, accounts: tuple[str, ...]
) -> None:
    ids, headers = furnished(site), site.headers(accounts=accounts)
    if before := BEFORE.get(path):
        assert asked(site, *before, {}, site.headers(accounts=accounts if path not in FLEET else ())).status_code < 300
    a = audit_event.c
    with reading(site.engine) as db:
        known = len(db.execute(select(a.id)).all())
    answer = asked(site, method, path, body, ids, headers)
    with reading(site.engine) as db:
        lines = db.execute(select(a.actor, a.action, a.about, a.address).order_by(a.id)).all()[known:]
    if accounts and path in FLEET:
        assert (answer.status_code, lines) == (403, [])
        return
    assert answer.status_code < 300, answer.text
    assert [tuple(line) for line in lines] == [("key test", action, ids.get(about, about), CALLER)]


def asked(site: Site, method: str, path: str, body: Any, ids: dict[str, str], headers: dict[str, str]) -> Any:
    for name, value in ids.items():
        path = path.replace(name, value)
        if isinstance(body, dict) and body.get("ids") == [name]:
            body = {"ids": [value]}
    return site.http.request(method, path, headers=headers, **({} if body is None else {"json": body}))


def test_the_table_has_every_route_that_decides(site: Site) -> None:
    described = site.http.get("/openapi.json").json()["paths"]
    deciding = {(method.upper(), path) for path, methods in described.items() for method in methods if method != "get"}
    written = {(method, path.partition("?")[0]) for method, path, *_ in NOTED}
    for phone in (ADA, BOB, OUT, GONE):
        written = {(method, path.replace(phone, "{phone}")) for method, path in written}
    names = {"{id}": "{message_id}", "{lost}": "{message_id}", "{refused}": "{message_id}", "/crm/": "/{name}/"}
    names |= {"/welcome/": "/{name}/", "/main/": "/{name}/"}
    for one, name in names.items():
        written = {(method, path.replace(one, name)) for method, path in written}
    assert deciding - written == set(SILENT)
