"""Keys for tests: their jobs are decided about like real ones and never leave; they see and change nothing real."""

from __future__ import annotations

import pytest

from tests.messages.conftest import number
from tests.web.conftest import Site
from worker.messages.delivery import deliver_due
from worker.messages.recording import record_due
from worker.store.db import writing
from worker.store.models import utcnow
from worker.web.keys import SCOPES, TEST_SCOPES, create_key

TEXT = {"account": "main", "to": number(1), "message": "hello"}


@pytest.fixture
def test_key(site: Site) -> dict[str, str]:
    with writing(site.engine) as db:
        made = create_key(db, "shop", TEST_SCOPES, (), created_by="ann", now=utcnow(), test=True)
    assert made.startswith("vtk_test_")
    return {"Authorization": f"Bearer {made}"}


def test_its_jobs_are_taken_and_never_leave(site: Site, test_key: dict[str, str]) -> None:
    taken = site.http.post("/v1/messages", json=TEXT, headers=test_key).json()
    assert (taken["state"], taken["test"], taken["duplicate"]) == ("queued", True, False)
    record = TEXT | {"carrier": "x", "carrier_message_id": "1"}
    assert site.http.post("/v1/records", json=record, headers=test_key).json()["test"] is True
    assert (deliver_due(site.runtime).simulated, record_due(site.runtime).simulated) == (1, 1)
    assert (site.client.sent, site.client.recorded) == ([], [])
    shown = site.http.get(f"/v1/messages/{taken['id']}", headers=test_key).json()
    assert (shown["state"], shown["test"]) == ("simulated", True)
    assert "it was made with a test key" in shown["reason"]


def test_it_validates_like_a_real_one(site: Site, test_key: dict[str, str]) -> None:
    for wrong in ({"to": "555"}, {"message": ""}, {"send_at": "tomorrow"}, {"account": "nobody"}):
        real = site.http.post("/v1/messages", json=TEXT | wrong)
        test = site.http.post("/v1/messages", json=TEXT | wrong, headers=test_key)
        assert (test.status_code, test.json().get("errors")) == (real.status_code, real.json().get("errors"))
        assert test.status_code in (403, 422)


def test_its_idempotency_keys_are_its_own(site: Site, test_key: dict[str, str]) -> None:
    key = {"Idempotency-Key": "order-17"}
    test = site.http.post("/v1/messages", json=TEXT, headers=test_key | key).json()
    again = site.http.post("/v1/messages", json=TEXT, headers=test_key | key).json()
    real = site.http.post("/v1/messages", json=TEXT, headers=key).json()
    assert (again["id"], again["duplicate"]) == (test["id"], True)
    assert (real["duplicate"], real["test"]) == (False, False)
    assert deliver_due(site.runtime).accepted == 1


def test_it_neither_sees_nor_cancels_what_is_real(site: Site, test_key: dict[str, str]) -> None:
    real = site.http.post("/v1/messages", json=TEXT).json()["id"]
    test = site.http.post("/v1/messages", json=TEXT, headers=test_key).json()["id"]
    listed = site.http.get("/v1/messages", headers=test_key).json()["messages"]
    assert [one["id"] for one in listed] == [test]
    assert site.http.get("/v1/messages?test=false", headers=test_key).status_code == 403
    for method, path in (("GET", f"/v1/messages/{real}"), ("POST", f"/v1/messages/{real}/cancel")):
        assert site.http.request(method, path, headers=test_key).status_code == 404
    assert site.http.post(f"/v1/messages/{test}/cancel", headers=test_key).json()["state"] == "cancelled"
    assert {one["id"]: one["test"] for one in site.http.get("/v1/messages").json()["messages"]} == {
        real: False,
        test: True,
    }
    assert [one["id"] for one in site.http.get("/v1/messages?test=false").json()["messages"]] == [real]


def test_a_key_is_used_as_it_was_given(site: Site, test_key: dict[str, str]) -> None:
    as_real = {"Authorization": test_key["Authorization"].replace("vtk_test_", "vtk_")}
    as_test = {"Authorization": f"Bearer {site.key().replace('vtk_', 'vtk_test_')}"}
    for headers in (as_real, as_test):
        assert site.http.post("/v1/messages", json=TEXT, headers=headers).status_code == 401


@pytest.mark.parametrize("scope", sorted(set(SCOPES) - set(TEST_SCOPES)))
def test_it_cannot_have_a_scope_that_reads_or_changes_what_is_real(site: Site, scope: str) -> None:
    with writing(site.engine) as db, pytest.raises(ValueError, match="a test key cannot have"):
        create_key(db, "shop", [scope], (), created_by="ann", now=utcnow(), test=True)
