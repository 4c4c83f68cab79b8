"""Contacts that wait for a person, over HTTP: nobody is created twice, and nothing is decided that was not seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.fakes import FakeVirtualText, unknown
from tests.messages.conftest import PAST, number
from tests.web.conftest import Site
from worker.contacts.linking import link_state
from worker.contacts.push import push_account
from worker.core.states import PushState
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import account_state, audit_event, contact, contact_event
from worker.virtualtext.outcomes import Cause, ContactBody

ADA, BOB = number(0), number(1)
BODY = ContactBody(phone=ADA, full_name="Ada Lovelace", email="")


@pytest.fixture
def crm(site: Site) -> Site:
    """A site whose VirtualText remembers contacts, and can be asked for its list at once."""
    site.runtime.fake = FakeVirtualText()
    settings = site.runtime.settings
    accounts = {name: one.model_copy(update={"lookup_after": timedelta(0)}) for name, one in settings.accounts.items()}
    site.runtime.settings = settings.model_copy(update={"accounts": accounts})
    return site


def put(site: Site, phone: str, state: str, account: str = "main", **more: Any) -> None:
    row = {"account": account, "phone": phone, "wanted_hash": b"1", "push_state": state, "created_at": PAST}
    row |= {"full_name": "Ada Lovelace", "email": "", "attempts": 1, "attempted_at": PAST, "last_error": "400: no"}
    with writing(site.engine) as db:
        db.execute(insert(contact).values(row | more))


def state_of(site: Site, phone: str, account: str = "main") -> tuple[str, str | None]:
    c = contact.c
    with reading(site.engine) as db:
        row = db.execute(select(c.push_state, c.virtualtext_id).where(c.phone == phone, c.account == account)).one()
        return row[0], row[1]


def listed(site: Site, state: str, query: str = "", **more: Any) -> Any:
    answer = site.http.get(f"/v1/contacts?state={state}{query}", **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def trail(site: Site) -> list[tuple[str, str, str]]:
    a = audit_event.c
    with reading(site.engine) as db:
        return [tuple(row) for row in db.execute(select(a.action, a.about, a.detail).order_by(a.id))]  # type: ignore[misc]


def resolve(site: Site, phone: str = ADA, **body: Any) -> Any:
    headers = body.pop("headers", None)
    return site.http.post(f"/v1/contacts/{phone}/resolve", json={"account": "main"} | body, headers=headers)


# The list, and to try again


def test_contacts_are_listed_by_state_with_their_reasons(site: Site) -> None:
    for index in range(3):
        put(site, number(index), "rejected")
    put(site, number(3), "rejected", account="other")
    put(site, number(4), "due", next_attempt_at=utcnow() + timedelta(hours=1), virtualtext_id="9", attempts=5)
    put(site, number(5), "due", next_attempt_at=PAST)
    page = listed(site, "rejected", "&limit=3&account=main")
    assert [one["phone"] for one in page["contacts"]] == [number(0), number(1), number(2)]
    assert (page["contacts"][0]["error"], page["contacts"][0]["attempts"], page["retryable"]) == ("400: no", 1, 4)
    assert listed(site, "rejected", f"&after={page['next']}")["contacts"][0]["phone"] == number(3)
    assert [one["phone"] for one in listed(site, "due", "&failing=true")["contacts"]] == [number(4)]
    theirs = listed(site, "rejected", headers=site.headers(accounts=("other",)))
    assert ([one["account"] for one in theirs["contacts"]], theirs["retryable"]) == (["other"], 1)
    assert listed(site, "unknown") == {"contacts": [], "retryable": 5, "next": None}


def test_a_key_for_operating_lists_nobody_of_whom_nothing_waits(site: Site) -> None:
    put(site, ADA, "synced")
    refused = site.http.get("/v1/contacts?state=synced", headers=site.headers("operate:read"))
    assert (refused.status_code, '"contacts:read"' in refused.json()["detail"], ADA in refused.text) == (
        403,
        True,
        False,
    )
    reader = site.headers("operate:read", "contacts:read")
    assert [one["phone"] for one in listed(site, "synced", headers=reader)["contacts"]] == [ADA]


def test_contacts_are_retried_as_they_were_counted(site: Site) -> None:
    put(site, ADA, "rejected")
    put(site, ADA, "rejected", account="other")
    shown = listed(site, "rejected")["retryable"]
    put(site, BOB, "rejected")
    refused = site.http.post("/v1/contacts:retry", json={"contacts": shown})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not_as_shown")
    assert "3 contacts match now, and you were shown 2" in refused.json()["detail"]
    assert state_of(site, BOB)[0] == PushState.REJECTED
    main = site.headers(accounts=("main",))
    done = [site.http.post("/v1/contacts:retry", json={"contacts": 2}, headers=main).json() for _ in range(2)]
    assert done == [{"retried": 2}, {"retried": 0}]
    assert (state_of(site, ADA)[0], state_of(site, ADA, "other")[0]) == (PushState.DUE, PushState.REJECTED)
    one = site.http.post("/v1/contacts:retry", json={"phone": ADA, "account": "other"})
    assert (one.json(), state_of(site, ADA, "other")[0]) == ({"retried": 1}, PushState.DUE)
    assert ("vtsync.push_contacts",) in site.hinted
    assert trail(site) == [
        ("retry_contacts", "", "2 contacts"),
        ("retry_contacts", "", "0 contacts"),
        ("retry_contacts", ADA, "1 contact"),
    ]


# A create whose response was lost


@pytest.mark.parametrize("there", [True, False])
def test_a_lost_create_is_looked_up_before_it_is_repeated(crm: Site, there: bool) -> None:
    put(crm, ADA, "unknown")
    if there:
        crm.runtime.fake.fault("create", unknown(Cause.TIMEOUT), applied=True)
        crm.runtime.fake.create_contact(BODY)
    (shown,) = listed(crm, "unknown")["contacts"]
    answers = [resolve(crm, verdict="create", attempted_at=shown["attempted_at"]) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == {
        "phone": ADA,
        "account": "main",
        "verdict": "create",
        "state": "due",
        "adopted_as": "vt1" if there else None,
    }
    assert crm.runtime.fake.calls["list"] == 1, "a repetition asks for nothing"
    assert trail(crm) == [("contact_create", ADA, "account main")]
    push_account(crm.runtime, "main")
    assert crm.runtime.fake.phones() == {ADA: 1}
    again = resolve(crm, verdict="create", attempted_at=shown["attempted_at"])
    assert (again.status_code, again.json()["state"]) == (200, "synced")
    other = resolve(crm, verdict="found", virtualtext_id="vt9")
    assert (other.status_code, other.json()["type"]) == (409, "/problems/too_late")
    assert "only an unknown one can be resolved" in other.json()["detail"]


def test_nothing_is_decided_about_a_later_attempt(crm: Site) -> None:
    put(crm, ADA, "unknown", attempted_at=None)
    (shown,) = listed(crm, "unknown")["contacts"]
    assert shown["attempted_at"] is None
    with writing(crm.engine) as db:
        db.execute(update(contact).values(attempted_at=utcnow()))
    for more in ({}, {"without_list": True}):
        refused = resolve(crm, verdict="create", attempted_at=None, **more)
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not_as_shown")
    assert resolve(crm, verdict="found", virtualtext_id="vt9", attempted_at=None).status_code == 409
    assert state_of(crm, ADA) == (PushState.UNKNOWN, None)
    (shown,) = listed(crm, "unknown")["contacts"]
    done = resolve(crm, verdict="create", attempted_at=shown["attempted_at"], without_list=True)
    assert (done.status_code, state_of(crm, ADA)[0]) == (200, PushState.DUE)
    assert crm.runtime.fake.calls["list"] == 0


def test_a_list_that_cannot_be_read_decides_nothing(crm: Site) -> None:
    put(crm, ADA, "unknown", attempted_at=PAST)
    crm.runtime.fake.list_unavailable = True
    refused = resolve(crm, verdict="create", attempted_at=PAST.isoformat())
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/list_not_read")
    assert "`without_list` creates it anyway" in refused.json()["detail"]
    assert state_of(crm, ADA)[0] == PushState.UNKNOWN
    done = [
        resolve(crm, verdict="create", attempted_at=PAST.isoformat(), without_list=True).status_code for _ in range(2)
    ]
    assert (done, state_of(crm, ADA)[0]) == ([200, 200], PushState.DUE)


def test_a_contact_that_somebody_found_gets_its_id(crm: Site) -> None:
    put(crm, ADA, "due", virtualtext_id="old", attempts=6, next_attempt_at=utcnow() + timedelta(hours=1))
    for _ in range(2):
        answer = resolve(crm, verdict="found", virtualtext_id="5512")
        assert (answer.status_code, answer.json()["adopted_as"]) == (200, None)
    with reading(crm.engine) as db:
        assert db.execute(select(contact.c.virtualtext_id, contact.c.former_id)).one() == ("5512", "old")
        assert set(db.scalars(select(contact_event.c.detail))) == {"key test found it as 5512"}


def test_an_id_of_another_contact_is_refused(crm: Site) -> None:
    crm.runtime.fake.create_contact(BODY)
    (remote,) = crm.runtime.fake.contacts
    put(crm, ADA, "synced", virtualtext_id=remote)
    put(crm, BOB, "unknown")
    refused = resolve(crm, BOB, verdict="found", virtualtext_id=remote)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["pointer"]) == (422, "/virtualtext_id")
    assert f"vt1 is the contact {ADA} in VirtualText" in error["detail"]
    push_account(crm.runtime, "main")
    assert crm.runtime.fake.phones()[ADA] == 1, "the other person's contact keeps its number"
    put(crm, BOB, "unknown", account="other")
    assert resolve(crm, BOB, account="other", verdict="found", virtualtext_id=remote).status_code == 200


def test_a_key_decides_about_contacts_of_its_accounts(crm: Site) -> None:
    put(crm, ADA, "unknown")
    put(crm, BOB, "rejected")
    theirs = crm.headers(accounts=("other",))
    body = {"verdict": "found", "virtualtext_id": "vt9", "headers": theirs}
    assert resolve(crm, **body).status_code == 403
    assert resolve(crm, account="other", **body).status_code == 404
    assert crm.http.post("/v1/contacts:retry", json={"phone": BOB}, headers=theirs).json() == {"retried": 0}
    refused = crm.http.post("/v1/contacts:retry", json={"phone": BOB, "account": "main"}, headers=theirs)
    listing = crm.http.get("/v1/contacts?state=due&account=main", headers=theirs)
    assert (refused.status_code, listing.status_code) == (403, 403)
    assert (state_of(crm, ADA)[0], state_of(crm, BOB)[0]) == (PushState.UNKNOWN, PushState.REJECTED)
    assert trail(crm)[1:] == [], "what was refused is in no history"


# The first link-up


def test_an_account_is_linked_without_the_list_as_it_was_shown(crm: Site) -> None:
    put(crm, ADA, "due", attempts=0, attempted_at=None)
    with writing(crm.engine) as db:
        db.execute(
            insert(account_state).values(
                account="main", stopped_reason="", list_unavailable_at=utcnow(), list_failures=3
            )
        )
    shown = crm.http.get("/v1/accounts/main/link").json()
    assert (shown["linked"], shown["waiting"]) == (False, 1)
    put(crm, BOB, "due", attempts=0, attempted_at=None)
    body = {"without_list": True, "contacts": shown["waiting"]}
    refused = crm.http.post("/v1/accounts/main/link", json=body)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not_as_shown")
    with reading(crm.engine) as db:
        assert not link_state(db, "main").linked
    body["contacts"] = 2
    theirs = crm.headers(accounts=("other",))
    assert crm.http.post("/v1/accounts/main/link", json=body, headers=theirs).status_code == 404
    done = [crm.http.post("/v1/accounts/main/link", json=body).json() for _ in range(2)]
    assert done == [
        {"account": "main", "changed": True, "created": 2},
        {"account": "main", "changed": False, "created": 0},
    ]
    assert trail(crm) == [("linked_without_list", "main", "2 contacts")]
    after = crm.http.get("/v1/accounts/main/link").json()
    assert (after["linked"], after["how"], after["by"]) == (True, "without list", "key test")
    misspelt = crm.http.get("/v1/accounts/mian/link")
    assert (misspelt.status_code, 'did you mean "main"?' in misspelt.json()["detail"]) == (404, True)
