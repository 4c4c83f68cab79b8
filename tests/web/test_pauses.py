"""Pausing and resuming over HTTP and in the pages: what it does, who may do it, and what the audit trail keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, update

from config.models import Connection
from config.triggers import CreatedTrigger
from tests.messages.conftest import crm_record_of, number
from tests.web.conftest import Site, runtime_over
from tests.web.test_pages import Pages, cheap_passwords  # noqa: F401 - used by the tests below
from worker.core.states import MessageState, PauseKind
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.pauses import find_pause
from worker.store.tables import audit_event, pause
from worker.web.app import create_app

WHY = "the CRM is moved"
NAMES = {"connections": "crm", "triggers": "welcome"}
OF_OTHER = {"connections": "shop", "triggers": "sale"}


@dataclass
class Paused(Pages, Site):
    """A browser and a key, with connections and triggers of two accounts behind them."""

    def paused(self, what: str) -> bool:
        kind = PauseKind.CONNECTION if what == "connections" else PauseKind.TRIGGER
        with reading(self.engine) as connection:
            return find_pause(connection, kind, NAMES[what]) is not None

    def trail(self) -> list[tuple[str, str, str, str]]:
        a = audit_event.c
        with reading(self.engine) as connection:
            rows = connection.execute(select(a.actor, a.action, a.about, a.detail).order_by(a.id))
            return [tuple(row) for row in rows if row.action != "signed_in"]  # type: ignore[misc]

    def text(self, index: int, **more: Any) -> str:
        return self.trigger_text("welcome", number(index), str(index), **more)


@pytest.fixture
def site(engine: Engine, hinted: list[tuple[str, ...]]) -> Iterator[Paused]:
    runtime = runtime_over(engine)
    connections = {
        name: Connection(adapter="csv", account=account, default_region="US", options={"path": "x.csv"})
        for name, account in (("crm", "main"), ("shop", "other"))
    }
    triggers = {
        name: CreatedTrigger(on="created", connections=[one], message="Hi")
        for name, one in (("welcome", "crm"), ("sale", "shop"), ("both", "crm"))
    }
    triggers["both"] = triggers["both"].model_copy(update={"connections": ("crm", "shop")})
    runtime.settings = runtime.settings.model_copy(update={"connections": connections, "triggers": triggers})
    for index in range(3):
        crm_record_of(engine, "crm", str(index), number(index))
    with TestClient(create_app(runtime), raise_server_exceptions=False, follow_redirects=False) as http:
        made = Paused(runtime, runtime.fake, http, hinted)
        http.headers.update(made.headers())
        yield made


def test_a_connection_over_http(site: Paused) -> None:
    answer = site.http.post("/v1/connections/crm/pause", json={"reason": WHY})
    assert answer.status_code == 200
    found = answer.json()
    assert found.pop("since") is not None
    assert found == {
        **{"name": "crm", "paused": True, "changed": True, "actor": "key test", "reason": WHY},
        **{"being_read": False, "texts_going": 0, "texts_of_run": 0},
    }
    again = site.http.post("/v1/connections/crm/pause", json={"reason": "another"}).json()
    assert (again["changed"], again["reason"]) == (False, WHY)
    ended = site.http.post("/v1/connections/crm/resume").json()
    assert (ended["paused"], ended["changed"], ended["reason"]) == (False, True, WHY)
    assert site.http.post("/v1/connections/crm/resume").json()["changed"] is False
    assert [line[:3] for line in site.trail()] == [
        ("key test", "paused_connection", "crm"),
        ("key test", "resumed_connection", "crm"),
    ]


def test_a_trigger_over_http(site: Paused) -> None:
    texts = [site.text(index) for index in (0, 1)]
    going = site.text(2, state=MessageState.DISPATCHING)
    paused = site.http.post("/v1/triggers/welcome/pause", json={"reason": WHY}).json()
    assert (paused["paused"], paused["held"], paused["going"]) == (True, 2, 1)
    ended = site.http.post("/v1/triggers/welcome/resume").json()
    assert (ended["paused"], ended["held"], ended["held_otherwise"]) == (False, 2, 0)
    assert {site.state(one) for one in texts} == {MessageState.HELD}
    assert site.state(going) is MessageState.DISPATCHING
    assert len(site.trail()) == 2


def test_a_reason_is_stored_on_one_line(site: Paused) -> None:
    found = site.http.post("/v1/connections/crm/pause", json={"reason": " the CRM\n is being moved "}).json()
    assert found["reason"] == "the CRM is being moved"


@pytest.mark.parametrize("do", ["pause", "resume"])
def test_a_trigger_whose_texts_wait_in_another_account_is_not_for_a_key_of_one(site: Paused, do: str) -> None:
    one = site.text(0)
    site.change(one, account="other")  # as after a connection has got another account
    body: dict[str, Any] = {"json": {}} if do == "pause" else {}
    answer = site.http.post(f"/v1/triggers/welcome/{do}", headers=site.headers(accounts=("main",)), **body)
    assert (answer.status_code, site.state(one)) == (403, MessageState.QUEUED)
    assert site.http.post(f"/v1/triggers/welcome/{do}", **body).status_code == 200


@pytest.mark.parametrize("what", NAMES)
@pytest.mark.parametrize("do", ["pause", "resume"])
def test_a_key_of_an_account_pauses_only_what_is_its_own(site: Paused, what: str, do: str) -> None:
    mine = site.headers(accounts=("main",))
    body: dict[str, Any] = {"json": {"reason": WHY}} if do == "pause" else {}
    assert site.http.post(f"/v1/{what}/{NAMES[what]}/{do}", headers=mine, **body).status_code == 200
    for name in (OF_OTHER[what], "nothing", "both"):  # `both` texts from another account, too
        answer = site.http.post(f"/v1/{what}/{name}/{do}", headers=mine, **body)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not_found"), name
    assert site.http.post(f"/v1/triggers/both/{do}", **body).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"reason": "x" * 501}, "/reason"), ({"reason": "\x00"}, "/reason"), ({"why": "x"}, "/why"), ([], "")],
)
def test_what_is_refused_over_http(site: Paused, body: Any, pointer: str) -> None:
    answer = site.http.post("/v1/connections/crm/pause", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert site.http.post("/v1/connections/crm/pause", content=b"reason=x").status_code == 415
    assert not site.paused("connections")


@pytest.mark.parametrize("what", NAMES)
def test_a_person_pauses_and_resumes_on_the_page(site: Paused, what: str) -> None:
    site.text(0)
    place = f"/ui/{what}/{NAMES[what]}"
    site.as_("operator")
    assert ">Pause<" in site.http.get(place).text
    assert site.post(place, what="pause", reason=f"  {WHY}  ").headers["location"] == place
    assert site.paused(what)
    shown = site.http.get(place).text
    assert f"by operator ({WHY})" in shown
    assert ">Resume<" in shown
    assert ">Pause<" not in shown
    for also in ("/ui", f"/ui/{what}"):
        assert f"by operator ({WHY})" in site.http.get(also).text, also
    assert site.post(place, what="resume").status_code == 303
    assert not site.paused(what)
    kind = what.removesuffix("s")
    (first, second) = site.trail()
    assert first == ("operator", f"paused_{kind}", NAMES[what], WHY)
    assert second[:3] == ("operator", f"resumed_{kind}", NAMES[what])


def test_a_viewer_sees_a_pause_and_changes_nothing(site: Paused) -> None:
    site.as_("operator")
    site.post("/ui/connections/crm", what="pause", reason=WHY)
    site.post("/ui/triggers/both", what="pause", reason=WHY)
    site.as_("viewer")
    for place in ("/ui/connections/crm", "/ui/triggers/both"):
        shown = site.http.get(place).text
        assert f"by operator ({WHY})" in shown, place
        assert ">Resume<" not in shown, place
    assert ">Pause<" not in site.http.get("/ui/triggers/welcome").text
    for place in ("/ui/connections/crm", "/ui/triggers/welcome"):
        for do in ("pause", "resume"):
            assert site.post(place, what=do).status_code == 403
    assert site.paused("connections")
    assert not site.paused("triggers")


def test_sync_now_says_that_the_connection_is_paused(site: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("worker.web.pages.connections.wake", lambda *what, **how: asked.append(what) or True)
    site.as_("operator")
    site.post("/ui/connections/crm", what="pause")
    assert "Sync now" not in site.http.get("/ui/connections/crm").text
    answer = site.post("/ui/connections/crm", what="changes")
    assert answer.status_code == 409
    assert "crm was not read: it is paused since" in answer.text
    assert "vtsync resume connection crm" in answer.text
    assert asked == []
    assert "has been paused since" in site.http.get("/ui/connections/crm?fields").text


def test_what_is_paused_over_http(site: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("worker.web.connections.wake", lambda *what, **how: asked.append(what) or True)
    text = site.text(0)
    for what, name in NAMES.items():
        site.http.post(f"/v1/{what}/{name}/pause", json={"reason": WHY})
    answer = site.http.post("/v1/connections/crm/sync", json={})
    assert (answer.status_code, answer.json()["type"], asked) == (409, "/problems/paused", [])
    assert "vtsync resume connection crm" in answer.json()["detail"]
    assert site.http.post(f"/v1/messages/{text}/approve").status_code == 409
    assert site.http.get("/v1/approvals").json()["approvals"] == []
    explained = site.http.get(f"/v1/people/{number(0)}/explain").json()["paused"]
    assert [what for what, why in explained if WHY in why] == ["connection crm", "trigger welcome"]
    states = {one["name"]: one["pause"] for one in site.http.get("/v1/connections").json()["connections"]}
    assert (states["crm"]["reason"], states["crm"]["actor"], states["shop"]) == (WHY, "key test", None)
    with writing(site.engine) as connection:
        connection.execute(update(pause).values(since=utcnow() - timedelta(days=2)))
    for accounts, paused in (((), {"welcome"}), (("main",), {"welcome"}), (("other",), set())):
        status = site.http.get("/v1/status", headers=site.headers(accounts=accounts)).json()
        assert set(status["paused_triggers"]) == paused
        commands = [one["command"] for one in status["attention"]]
        assert ("vtsync resume connection crm" in commands) is bool(paused), accounts
        assert ("vtsync resume trigger welcome" in commands) is bool(paused), accounts


def test_what_a_pause_has_held_is_decided_after_it(site: Paused) -> None:
    text = site.text(0)
    site.as_("operator")
    site.post("/ui/triggers/welcome", what="pause")
    waits = "/ui/messages/all?what=approve&trigger=welcome"
    assert "Its texts wait until you have resumed the trigger" in site.http.get(waits).text
    assert 'value="approve"' not in site.http.get(f"/ui/messages/{text}").text
    assert "nothing was done" in site.post(f"/ui/messages/{text}", what="approve").text
    site.post("/ui/triggers/welcome", what="resume")
    assert "1 text has been held since a pause that has ended" in site.http.get("/ui/triggers/welcome").text
    assert "Approve 1 text to 1 person?" in site.http.get(waits).text
    assert "1 text held because the trigger welcome was paused" in site.http.get("/ui").text
    site.post("/ui/messages/all", what="approve", trigger="welcome", shown="1")
    assert site.state(text) is MessageState.QUEUED


def test_a_pause_that_lasts_is_among_what_waits(site: Paused) -> None:
    site.as_("operator")
    site.post("/ui/connections/crm", what="pause", reason=WHY)
    assert "Nothing waits for you." in site.http.get("/ui").text
    with writing(site.engine) as connection:
        connection.execute(update(pause).values(since=utcnow() - timedelta(days=2)))
    site.post("/ui/connections/crm", what="pause")  # so that the page is read again
    shown = site.http.get("/ui").text
    assert "Nothing waits for you." not in shown
    assert 'aria-label="Look: connection crm is paused since' in shown


def test_a_reason_that_is_too_long_is_not_cut_in_silence(site: Paused) -> None:
    site.as_("operator")
    for place in ("/ui/connections/crm", "/ui/triggers/welcome"):
        answer = site.post(place, what="pause", reason="x" * 501)
        assert (answer.status_code, "Nothing was done" in answer.text) == (400, True)
    assert site.post("/ui/triggers/welcome", what="dance").status_code == 400
    assert site.trail() == []
