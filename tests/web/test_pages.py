"""The pages: who may see and do what, how one signs in, and that a form of another site does nothing."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine, insert, select, update

from config.sign_in import ROLES, Role
from config.web import Web
from tests.alerts.conftest import SECRET, hears
from tests.messages.conftest import PAST, Outbox, crm_record_of, number
from tests.web.conftest import furnish, runtime_over
from worker.core.states import MessageState
from worker.deliveries.notices import NOTICE, NotedAlert, Notice
from worker.doctor.exposure import Unprotected, check_exposure, check_web
from worker.messages.opt_outs import open_review, opted_out
from worker.messages.states import MEANINGS
from worker.rehearsal.backtest import Backtest, backtest
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import (
    alert,
    audit_event,
    contact,
    dead_letter,
    delivery,
    inbox_event,
    message,
    rejected_record,
    web_session,
    web_user,
)
from worker.web.app import create_app
from worker.web.audit import note
from worker.web.pages.entrance import inside
from worker.web.pages.gate import BACKGROUND
from worker.web.pages.overview import page_of
from worker.web.pages.queries import DAY, states_of_all, texts_by_state
from worker.web.pages.render import about, bars, breakable, browser, schedule, sentence
from worker.web.users import UserRefused, _network, create_user, set_disabled, set_role, set_totp

PASSWORD = "correct horse battery"
ORIGIN = {"Origin": "http://testserver"}
PHONE = number(1)
KEY = "c2VjcmV0LW9mLWV4YWN0bHktMzItYnl0ZXMtb2YtdXM="


@dataclass
class Pages(Outbox):
    """A browser, and the outbox behind it."""

    http: TestClient

    def user(self, name: str, role: Role) -> None:
        with writing(self.engine) as connection:
            create_user(connection, name, role, PASSWORD, by="test", now=utcnow())

    def sign_in(self, name: str, **fields: str) -> Any:
        self.http.cookies.clear()
        values = {"name": name, "password": PASSWORD} | fields
        return self.http.post("/ui/sign-in", data=values, headers=ORIGIN)

    def as_(self, role: Role) -> None:
        self.user(role, role)
        assert self.sign_in(role).status_code == 303

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.http.get("/ui/me").text)
        assert found is not None
        return found[1]

    def post(self, place: str, **fields: str) -> Any:
        return self.http.post(place, data={"csrf": self.csrf()} | fields, headers=ORIGIN)

    def actions(self) -> list[str]:
        with reading(self.engine) as connection:
            return list(connection.scalars(select(audit_event.c.action).order_by(audit_event.c.id)))


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same algorithm, without the memory and time that it takes on purpose."""
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    nobody = hasher.hash("nobody has this password")
    monkeypatch.setattr("worker.web.users._hasher", lambda: hasher)
    monkeypatch.setattr("worker.web.users._nobody", lambda: nobody)


@pytest.fixture
def pages(engine: Engine, hinted: list[tuple[str, ...]]) -> Iterator[Pages]:
    runtime = runtime_over(engine)
    runtime.settings = runtime.settings.model_copy(
        update={"store": runtime.settings.store.model_copy(update={"grant_key": SecretStr(KEY)})}
    )
    furnish(runtime, ops={"kind": "webhook", "url": "http://127.0.0.1:9/", "secret": SECRET})
    with TestClient(create_app(runtime), raise_server_exceptions=False, follow_redirects=False) as http:
        yield Pages(runtime, runtime.fake, http)


# Who may see what

READ = [
    # place, the least role
    ("/ui", "viewer"),
    ("/ui/find?q=x", "viewer"),
    ("/ui/connections", "viewer"),
    ("/ui/messages", "viewer"),
    ("/ui/messages?state=held", "viewer"),
    ("/ui/connections/crm", "viewer"),
    ("/ui/triggers", "viewer"),
    ("/ui/triggers/won", "viewer"),
    ("/ui/triggers/won?record=1", "viewer"),
    ("/ui/reviews", "viewer"),
    ("/ui/alerts", "viewer"),
    ("/ui/failures", "viewer"),
    ("/ui/me", "viewer"),
    (f"/ui/people/{PHONE}", "operator"),
    ("/ui/messages/all?what=approve&trigger=x", "operator"),
    (f"/ui/people/{PHONE}/forget", "admin"),
    ("/ui/users", "admin"),
    ("/ui/audit", "admin"),
    ("/ui/audit?export=1", "admin"),
]


@pytest.mark.parametrize(("place", "least"), READ)
def test_a_page_needs_its_role(pages: Pages, place: str, least: Role) -> None:
    answer = pages.http.get(place)
    assert (answer.status_code, answer.headers["location"][:16]) == (303, "/ui/sign-in?next")
    for role in ROLES:
        pages.as_(role)
        allowed = ROLES.index(role) >= ROLES.index(least)
        assert pages.http.get(place).status_code == (200 if allowed else 403), role


FORMS = [
    "/ui/sign-in",
    "/ui/sign-out",
    "/ui/me/password",
    "/ui/me/second-factor",
    "/ui/me/second-factor/remove",
    "/ui/me/sessions/end",
    "/ui/messages/all",
    "/ui/messages/x",
    f"/ui/people/{PHONE}",
    f"/ui/people/{PHONE}/export",
    f"/ui/people/{PHONE}/forget",
    "/ui/connections/crm",
    "/ui/triggers/won",
    "/ui/alerts",
    "/ui/failures",
    "/ui/users",
]


def test_every_form_refuses_other_sites_and_other_sessions(pages: Pages) -> None:
    pages.as_("admin")
    source = "".join(path.read_text("utf-8") for path in (Path(__file__).parents[2] / "worker/web/pages").glob("*.py"))
    assert len(FORMS) == source.count("@router.post(")
    for path in FORMS:
        fields = {"csrf": pages.csrf()}
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
            answer = pages.http.post(path, data=fields, headers=headers)
            assert answer.status_code == 403, (path, headers)
        if path != "/ui/sign-in":
            assert pages.http.post(path, data={"csrf": "0" * 64}, headers=ORIGIN).status_code == 403, path
            assert pages.http.post(path, headers=ORIGIN).status_code == 403, path


def test_a_viewer_sees_no_number_and_no_text(pages: Pages) -> None:
    sent = pages.send(to=PHONE, text="a very private text", metadata={"note": "very private, too"})
    pages.change(sent, reason='opted_out: read as an opt-out: "a very private reply"')
    pages.as_("viewer")
    assert pages.http.get(f"/ui/messages?number={PHONE}".replace("+", "%2B")).status_code == 403
    with writing(pages.engine) as connection:
        rows = {"key": "very private", "code": "no_phone", "reason": "very private", "excerpt": "very private"}
        moment = {"since": utcnow(), "seen_at": utcnow()}
        connection.execute(insert(rejected_record).values(connection="crm", where="very private", **rows, **moment))
        connection.execute(update(contact).values(push_state="rejected", last_error="very private"))
    for place in (*(place for place, least in READ if least == "viewer"), f"/ui/messages/{sent}", "/ui/find?q=private"):
        shown = pages.http.get(place).text
        assert PHONE not in shown, place
        assert "very private" not in shown, place
        assert "Ada" not in shown, place
    shown = pages.http.get("/ui/messages").text
    assert "•••" in shown
    assert "opted out" in shown


def test_the_search_goes_to_the_message_or_batch_that_a_short_id_means(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter([f"01a229b075d8759d8000000{n}0e279310" for n in range(2)])
    monkeypatch.setattr("worker.messages.outbox.new_message_id", lambda: next(ids))
    batch = "446d5e8fccc24889ab8d2374f8294e5d"
    sent = pages.send(to=PHONE, text="x")
    pages.change(sent, batch_id=batch)
    pages.as_("viewer")
    for words, place in (
        (sent, f"/ui/messages/{sent}"),
        (sent[-8:], f"/ui/messages/{sent}"),
        (batch[:8], f"/ui/messages?batch={batch}"),
    ):
        answer = pages.http.get("/ui/find", params={"q": words})
        assert (answer.status_code, answer.headers["location"]) == (303, place)
    pages.send(to=PHONE, text="y")  # its id ends alike
    assert pages.http.get("/ui/find", params={"q": sent[-8:]}).status_code == 200


def test_a_viewer_decides_nothing(pages: Pages) -> None:
    sent = pages.send(to=PHONE, text="x")
    pages.as_("viewer")
    assert pages.post(f"/ui/messages/{sent}", what="cancel").status_code == 403
    assert pages.state(sent) == MessageState.QUEUED


def test_pages_are_self_contained(pages: Pages) -> None:
    pages.as_("admin")
    for place, _ in READ:
        answer = pages.http.get(place)
        assert "default-src 'none'" in answer.headers["content-security-policy"], place
        assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text), place
        assert not re.search(r"<script>|\son\w+=|style=", answer.text), place
        assert len(answer.content) < 100_000


def test_what_people_write_is_never_markup(pages: Pages) -> None:
    sent = pages.send(to=PHONE, text="<script>alert(1)</script>\"'>&")
    pages.as_("operator")
    for place in ("/ui/messages", f"/ui/messages/{sent}", f"/ui/people/{PHONE}"):
        shown = pages.http.get(place).text
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown


# Signing in


@pytest.mark.parametrize(
    "fields",
    [{"password": "wrong horse battery"}, {"name": "nobody"}, {"password": ""}, {"name": ""}, {"password": "x" * 5000}],
    ids=str,
)
def test_who_may_not_sign_in(pages: Pages, fields: dict[str, str]) -> None:
    pages.user("ana", "admin")
    answer = pages.sign_in(**{"name": "ana"} | fields)
    assert answer.status_code == 403
    assert "the name, the password or the code is wrong" in answer.text
    assert not pages.http.cookies


def test_a_name_that_must_wait_looks_like_one_that_nobody_has(pages: Pages) -> None:
    pages.user("ana", "admin")
    for _ in range(5):
        pages.sign_in("ana", password="a wrong password")
    waiting, unknown = pages.sign_in("ana"), pages.sign_in("nobody")
    assert (waiting.status_code, waiting.text) == (unknown.status_code, unknown.text)


def test_who_types_the_password_as_the_name_does_not_find_it_in_the_audit_trail(pages: Pages) -> None:
    pages.user("ana", "admin")
    assert pages.sign_in(PASSWORD, password="ana").status_code == 403
    with reading(pages.engine) as connection:
        assert PASSWORD not in str(connection.execute(select(audit_event)).all())
    assert pages.actions() == ["sign_in_refused"]


def test_a_flood_of_sign_ins_is_refused_at_once(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    pages.user("ana", "admin")
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr("worker.web.users._IN_LINE", full)
    refused = pages.sign_in("ana")
    assert refused.status_code == 429
    assert "try again in a few seconds" in refused.text
    assert pages.actions() == []  # a flood does not fill the trail either
    full.release()
    assert pages.sign_in("ana").status_code == 303


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (_network(one) == _network(other)) is same


def test_a_second_factor_without_its_key_is_named(pages: Pages) -> None:
    pages.user("ana", "admin")
    with writing(pages.engine) as connection:
        set_totp(connection, "ana", b"sealed with another key")
    refused = pages.sign_in("ana", code="123456")
    assert refused.status_code == 403
    assert "store.grant_key" in refused.text
    assert "store.grant_key" not in pages.sign_in("ana", password="a wrong password").text


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        # The browser says it, whatever name a proxy has put into Host.
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://texts.example.com"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, False),
        ({"Origin": "http://testserver"}, True),
        ({"Origin": "http://testserver.evil.example"}, False),
        ({"Origin": "http://["}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({}, False),
    ],
    ids=str,
)
def test_which_forms_are_ours(pages: Pages, headers: dict[str, str], ours: bool) -> None:
    pages.user("ana", "admin")
    answer = pages.http.post("/ui/sign-in", data={"name": "ana", "password": PASSWORD}, headers=headers)
    assert answer.status_code == (303 if ours else 403)


def test_with_tls_the_cookie_is_bound_to_this_host(pages: Pages) -> None:
    web = pages.runtime.settings.web.model_copy(update={"public_url": "https://testserver"})
    pages.runtime.settings = pages.runtime.settings.model_copy(update={"web": web})
    pages.user("ana", "admin")
    cookie = pages.sign_in("ana").headers["set-cookie"]
    assert cookie.startswith("__Host-vtsync_session=")
    for part in ("HttpOnly", "Secure", "Path=/", "SameSite=lax"):
        assert part in cookie
    assert "Domain" not in cookie


def test_a_page_that_is_only_open_keeps_no_session(pages: Pages) -> None:
    pages.as_("viewer")
    then = utcnow() - timedelta(hours=11)
    with writing(pages.engine) as connection:
        connection.execute(update(web_session).values(seen_at=then))
    seen = select(web_session.c.seen_at)
    pages.http.get("/ui", headers={BACKGROUND: "1"})
    with reading(pages.engine) as connection:
        assert connection.scalar(seen) == then
    pages.http.get("/ui")
    with reading(pages.engine) as connection:
        assert connection.scalar(seen) != then


def test_signing_in_again_ends_the_session_before(pages: Pages) -> None:
    pages.as_("viewer")
    values = {"name": "viewer", "password": PASSWORD}
    assert pages.http.post("/ui/sign-in", data=values, headers=ORIGIN).status_code == 303
    with reading(pages.engine) as connection:
        assert len(connection.execute(select(web_session)).all()) == 1


def test_guesses_are_slowed_down(pages: Pages) -> None:
    pages.user("ana", "admin")
    for _ in range(5):
        pages.sign_in("ana", password="a wrong password")
    assert pages.sign_in("ana").status_code == 403
    with writing(pages.engine) as connection:
        connection.execute(update(web_user).values(failed_at=utcnow() - timedelta(minutes=20)))
    assert pages.sign_in("ana").status_code == 303
    assert pages.sign_in("ana").status_code == 303  # a success ends the count


def test_a_second_factor_is_asked_for_and_no_code_works_twice(pages: Pages) -> None:
    pages.as_("viewer")
    shown = pages.post("/ui/me/second-factor").text
    found = re.search(r"<pre>([A-Z2-7]+)</pre>", shown)
    assert found is not None
    app = pyotp.TOTP(found[1])
    now = utcnow()
    wrong = pages.post("/ui/me/second-factor", secret=found[1], code="000000")
    assert wrong.status_code == 422
    assert pages.post("/ui/me/second-factor", secret=found[1], code=app.at(now)).status_code == 303
    replaced = pages.post("/ui/me/second-factor")
    assert (replaced.status_code, "remove it first" in replaced.text) == (422, True)
    other = pyotp.random_base32()
    again = pages.post("/ui/me/second-factor", secret=other, code=pyotp.TOTP(other).at(utcnow()))
    assert (again.status_code, "remove it first" in again.text) == (422, True)
    assert pages.sign_in("viewer").status_code == 403
    code = app.at(utcnow())
    assert pages.sign_in("viewer", code=code).status_code == 303
    assert pages.sign_in("viewer", code=code).status_code == 403
    with reading(pages.engine) as connection:
        stored = connection.scalar(select(web_user.c.totp))
    assert stored is not None
    assert found[1].encode() not in stored


def test_a_changed_password_ends_every_session(pages: Pages) -> None:
    pages.as_("viewer")
    new = "another long password"
    assert pages.post("/ui/me/password", old="not it at all", new=new, again=new).status_code == 422
    assert pages.post("/ui/me/password", old=PASSWORD, new=new, again=new).status_code == 303
    assert pages.http.get("/ui").status_code == 303
    assert pages.sign_in("viewer").status_code == 403
    assert pages.sign_in("viewer", password=new).status_code == 303


def test_pages_without_tls_are_found(pages: Pages) -> None:
    def found(**web: str) -> list[str]:
        changed = Web.model_validate({"host": "192.0.2.1"} | web)
        pages.runtime.settings = pages.runtime.settings.model_copy(update={"web": changed})
        return [f"{one.level} {one.found}" for one in check_web(pages.runtime)]

    assert found() == ["ok `vtsync web` listens on 192.0.2.1:8080"]
    pages.user("ana", "admin")
    assert found() == ["warning people sign in to its pages at 192.0.2.1, and web.public_url is not set"]
    assert found(public_url="https://texts.example.com")[0].startswith("ok")
    assert found(host="127.0.0.1")[0].startswith("ok")


def test_a_user_is_a_credential(pages: Pages) -> None:
    accounts = {
        name: one.model_copy(update={"relay_secret": None}) for name, one in pages.runtime.settings.accounts.items()
    }
    pages.runtime.settings = pages.runtime.settings.model_copy(update={"accounts": accounts})
    with pytest.raises(Unprotected):
        check_exposure(pages.runtime, "192.0.2.1")
    pages.user("ana", "admin")
    check_exposure(pages.runtime, "192.0.2.1")


@pytest.mark.parametrize("ago", [timedelta(hours=13), timedelta(days=8)])
def test_sessions_end(pages: Pages, ago: timedelta) -> None:
    pages.as_("viewer")
    with writing(pages.engine) as connection:
        then = utcnow() - ago
        connection.execute(update(web_session).values(seen_at=then, expires_at=then + timedelta(days=7)))
    assert pages.http.get("/ui").status_code == 303


def test_a_disabled_user_is_out_at_once(pages: Pages) -> None:
    pages.user("boss", "admin")
    pages.as_("operator")
    with writing(pages.engine) as connection:
        set_disabled(connection, "operator", utcnow())
    assert pages.http.get("/ui").status_code == 303
    assert pages.sign_in("operator").status_code == 403


def test_one_admin_remains(pages: Pages) -> None:
    pages.user("boss", "admin")
    with writing(pages.engine) as connection:
        with pytest.raises(UserRefused, match="only admin"):
            set_role(connection, "boss", "viewer")
        with pytest.raises(UserRefused, match="only admin"):
            set_disabled(connection, "boss", utcnow())


@pytest.mark.parametrize(
    ("name", "password", "says"),
    [
        ("ana", "short", "12 to 200"),
        ("ana", "a" * 20, "easy to guess"),
        ("ana", "my name is ana!!", "easy to guess"),
        ("a b", PASSWORD, "a name has"),
        ("", PASSWORD, "a name has"),
    ],
)
def test_users_that_are_refused(pages: Pages, name: str, password: str, says: str) -> None:
    with writing(pages.engine) as connection, pytest.raises(UserRefused, match=says):
        create_user(connection, name, "viewer", password, by="test", now=utcnow())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/ui/messages?state=held", True),
        ("//evil.example", False),
        ("https://evil.example/ui", False),
        ("/\\evil.example", False),
        ("/ui\\@evil.example", False),
        ("javascript:alert(1)", False),
        ("/v1/messages", False),
        ("", False),
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(given: str, kept: bool) -> None:
    assert inside(given) == (given if kept else "")


# Decisions


def test_a_message_is_cancelled_once(pages: Pages) -> None:
    sent = pages.send(to=PHONE, text="x")
    pages.as_("operator")
    assert pages.post(f"/ui/messages/{sent}", what="cancel").status_code == 303
    assert pages.state(sent) == MessageState.CANCELLED
    again = pages.post(f"/ui/messages/{sent}", what="cancel")
    assert again.status_code == 409
    assert "another state now" in again.text
    assert pages.actions()[-1] == "cancel"


def test_an_opt_out_needs_a_reason_and_leaves_its_proof(pages: Pages) -> None:
    pages.as_("operator")
    assert pages.post(f"/ui/people/{PHONE}", what="opt_out", why=" ").status_code == 422
    assert pages.post(f"/ui/people/{PHONE}", what="opt_out", why="she called").status_code == 303
    with reading(pages.engine) as connection:
        found = opted_out(connection, [PHONE])[PHONE]
    assert (found.source, found.detail) == ("page", "she called")
    assert "she called" in pages.http.get(f"/ui/people/{PHONE}").text
    assert pages.actions()[-2:] == ["opt_out", "read_person"]


@pytest.mark.parametrize("cell", ["=1+1", "@x", "-1+1", "+1+1", "\t=1", "\r=1", "+cmd|' /C calc'!A0"])
def test_an_exported_cell_is_no_formula(pages: Pages, cell: str) -> None:
    with writing(pages.engine) as connection:
        note(connection, cell, "x", now=utcnow(), about=PHONE)
    pages.as_("admin")
    rows = list(csv.DictReader(io.StringIO(pages.http.get("/ui/audit?export=1").text, newline="")))
    mine = next(row for row in rows if row["action"] == "x")
    assert (mine["actor"], mine["about"]) == (f"'{cell}", PHONE)


# Decisions about many


def decide(pages: Pages, what: str, shown: str, **filters: str) -> Any:
    return pages.post("/ui/messages/all", what=what, shown=shown, **filters)


def test_a_page_decides_about_the_reply_that_it_showed(pages: Pages) -> None:
    def writes(excerpt: str) -> None:
        with writing(pages.engine) as connection:
            open_review(connection, PHONE, excerpt=excerpt, inbound_id=None, since=PAST)

    def shown() -> str:
        found = re.search(r'name="last_at" value="([^"]+)"', pages.http.get("/ui/reviews").text)
        assert found is not None
        return found[1]

    pages.as_("operator")
    writes("stop it lol")
    read, what = shown(), {"what": "review_continue"}
    writes("leave me alone")
    refused = pages.post(f"/ui/people/{PHONE}", last_at=read, **what)
    assert (refused.status_code, "read the newest reply" in refused.text) == (409, True)
    assert pages.post(f"/ui/people/{PHONE}", **what).status_code == 400
    assert "leave me alone" in pages.http.get("/ui/reviews").text
    assert pages.post(f"/ui/people/{PHONE}", last_at=shown(), **what).status_code == 303
    assert "No reply waits" in pages.http.get("/ui/reviews").text
    writes("enough")
    assert pages.post(f"/ui/people/{PHONE}", what="review_opt_out").status_code == 303
    assert pages.actions()[-2:] == ["review_continue", "review_opt_out"]


def test_many_are_approved_after_their_preview(pages: Pages) -> None:
    waiting = [pages.trigger_text("hello", number(n), str(n), state="held", reason="approval: x") for n in range(3)]
    elsewhere = pages.trigger_text("hello", number(4), "4", state="held", reason="time_zone: it is not known")
    pages.as_("operator")
    shown = pages.http.get("/ui/messages/all?what=approve&trigger=hello").text
    assert "Approve 3 texts to 3 people?" in shown  # the fourth waits for something else
    assert decide(pages, "approve", "3", trigger="hello").status_code == 303
    assert {pages.state(one) for one in waiting} == {MessageState.QUEUED}
    assert pages.state(elsewhere) == MessageState.HELD
    assert "Approve it" not in pages.http.get(f"/ui/messages/{elsewhere}").text


@pytest.mark.parametrize("shown", ["2", "", "x", "-1"])
def test_more_than_were_shown_are_not_decided_about(pages: Pages, shown: str) -> None:
    waiting = [pages.trigger_text("hello", number(n), str(n), state="held", reason="approval: x") for n in range(3)]
    pages.as_("operator")
    again = decide(pages, "approve", shown, trigger="hello")
    assert again.status_code == 409
    assert "Nothing was done" in again.text
    assert {pages.state(one) for one in waiting} == {MessageState.HELD}


def test_a_filter_that_a_decision_cannot_keep_is_refused(pages: Pages) -> None:
    waiting = pages.trigger_text("hello", number(2), state="held", reason="approval: x")
    pages.as_("operator")
    assert decide(pages, "cancel", "9", trigger="hello", number=PHONE).status_code == 400
    assert pages.state(waiting) == MessageState.HELD


def test_counts_of_many_messages_stop_somewhere(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.web.pages.queries.COUNTED", 3)
    pages.trigger_text("hello", number(0), "0", state="held", reason="approval: x", created_at=utcnow() - DAY)
    for n in range(1, 6):
        pages.trigger_text("hello", number(n), str(n))
    with reading(pages.engine) as connection:
        assert states_of_all(connection, {}) == {"queued": 4, "held": 1}
        assert states_of_all(connection, {"trigger": "hello"}) == {"queued": 4, "held": 1}
        assert states_of_all(connection, {"number": number(1)}) == {"queued": 1}
    assert (about(3, 3), about(4, 3), about(12_345)) == ("3", "3+", "10,000+")


WORDS = [
    (browser("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), "Firefox on Linux"),
    (browser("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140 Safari/537.36 Edg/140.0"), "Edge on Windows"),
    (browser("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Safari/604.1"), "Safari on iPhone"),
    (
        browser("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140 Mobile Safari/537.36"),
        "Chrome on Android",
    ),
    (browser("curl/8.5.0"), "curl/8.5.0"),
    (schedule("15m"), "every 15m"),
    (schedule("0 */2 * * *"), "cron 0 */2 * * *"),
    (schedule("by hand"), "by hand"),
    (sentence("there is no <page>"), "There is no &lt;page&gt;."),
    (sentence("Look again."), "Look again."),
    (sentence("`vtsync up` starts it"), "<code>vtsync up</code> starts it."),
    (sentence(""), ""),
    (breakable("a_name<"), "a_<wbr>name&lt;"),
]


@pytest.mark.parametrize(("shown", "expected"), WORDS)
def test_words_of_the_pages(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_run_beside_one_that_read_everything_is_still_seen() -> None:
    heights = [
        int(one) for one in re.findall(r'height="(\d+)"', bars([("done", n, "") for n in (0, 40, 4000, 1_234_567)]))
    ]
    assert heights == sorted(heights)
    assert heights[0] == 3 < heights[1] < heights[2] < heights[3] == 24


def test_a_message_leads_to_its_trigger_connection_and_record(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = "https://crm.example/1"
    monkeypatch.setattr("worker.contacts.links.RecordLinks.of", lambda *_: crm)
    known, removed = pages.trigger_text("won", number(1)), pages.trigger_text("hello", number(2), connection="gone")
    for role, sees_record in (("operator", True), ("viewer", False)):
        pages.as_(role)  # type: ignore[arg-type]
        shown = pages.http.get(f"/ui/messages/{known}").text
        assert MEANINGS[MessageState.QUEUED] in shown
        assert all(f'href="{place}"' in shown for place in ("/ui/triggers/won", "/ui/connections/crm"))
        assert (f'href="{crm}"' in shown) is sees_record
        shown = pages.http.get(f"/ui/messages/{removed}").text  # the configuration has neither any more
        assert not any(place in shown for place in ('"/ui/triggers/hello', '"/ui/connections/gone', crm))


def test_a_review_shows_what_was_sent_before_the_reply(pages: Pages) -> None:
    now = utcnow()
    for hours, text, state in (
        (5, "an old one", "delivered"),
        (3, "your order is ready", "confirmed"),
        (2, "held", "held"),
    ):
        at = now - timedelta(hours=hours)
        pages.change(
            pages.send(to=PHONE, text=text), state=state, created_at=at, sent_at=at if state != "held" else None
        )
    late = pages.send(to=PHONE, text="sent after the reply")
    pages.change(late, state="delivered", sent_at=now)
    with writing(pages.engine) as connection:
        open_review(connection, PHONE, excerpt="enough", inbound_id=None, since=now - timedelta(hours=1))
    pages.as_("operator")
    shown = pages.http.get("/ui/reviews").text
    assert all(words in shown for words in ("Ada Lovelace", "your order is ready", "enough"))
    assert not any(words in shown for words in ("an old one", "held", "sent after the reply"))
    pages.as_("viewer")
    shown = pages.http.get("/ui/reviews").text
    assert not any(words in shown for words in ("Ada Lovelace", "your order is ready", "enough"))


def test_messages_are_shown_up_to_a_day(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    now = utcnow()
    with monkeypatch.context() as three_days_ago:
        three_days_ago.setattr("worker.store.ids.utcnow", lambda: now - timedelta(days=3))
        three_days_ago.setattr("worker.store.ids._last", 0)
        pages.send(text="the old one")
    pages.send(text="the new one")
    pages.as_("operator")
    for days, shown in ((-4, ()), (-3, ("old",)), (-2, ("old",)), (1, ("old", "new")), (None, ("old", "new"))):
        day = "" if days is None else (now + timedelta(days=days)).date().isoformat()
        text = pages.http.get(f"/ui/messages?day={day}").text
        assert tuple(one for one in ("old", "new") if f"the {one} one" in text) == shown, day
        assert f'value="{day}"' in text
    pages.trigger_text("hello", number(3), state="held", reason="approval: x")
    assert "Approve all that wait" in pages.http.get("/ui/messages?trigger=hello").text
    assert (
        "Approve all that wait" not in pages.http.get("/ui/messages?trigger=hello&day=2099-01-01").text
    )  # it is of all
    for wrong in ("yesterday", "2027-02-30", "9999-12-31", "0001"):
        assert pages.http.get(f"/ui/messages?day={wrong}").status_code == 400, wrong


def test_the_audit_trail_is_filtered_by_what_it_shows(pages: Pages) -> None:
    pages.as_("admin")
    pages.http.get(f"/ui/people/{PHONE}")
    shown = pages.http.get("/ui/audit?action=read+person").text
    assert PHONE in shown
    assert 'value="read person"' in shown
    assert "Nothing yet" in pages.http.get("/ui/audit?action=approve").text


def test_texts_are_counted_by_the_day_on_which_they_were_due(pages: Pages) -> None:
    now = utcnow()
    for hours, state in ((1, "delivered"), (23, "delivered"), (25, "delivered"), (47, "failed"), (49, "failed")):
        pages.trigger_text("won", number(hours), str(hours), state=state, due_at=now - timedelta(hours=hours))
    pages.trigger_text("won", number(1), "later", due_at=now + timedelta(hours=1))
    with reading(pages.engine) as connection:
        assert texts_by_state(connection, ["main"], now) == ({"delivered": 2}, {"delivered": 1, "failed": 1})
        assert texts_by_state(connection, ["other"], now) == ({}, {})


# The rights of a person


def test_a_person_is_exported_and_forgotten(pages: Pages) -> None:
    pages.send(to=PHONE, text="something personal")
    pages.as_("admin")
    exported = pages.post(f"/ui/people/{PHONE}/export")
    assert "attachment" in exported.headers["content-disposition"]
    assert exported.json()["texts"][0]["text"] == "something personal"
    preview = pages.http.get(f"/ui/people/{PHONE}/forget").text
    assert "texts: 1" in preview
    assert "VirtualText itself: its API cannot delete" in preview
    assert pages.post(f"/ui/people/{PHONE}/forget", why=" ").status_code == 422
    assert pages.post(f"/ui/people/{PHONE}/forget", why="the person asked by letter").status_code == 200
    with reading(pages.engine) as connection:
        stored = str(connection.execute(select(audit_event)).all()) + str(connection.execute(select(message)).all())
    assert PHONE not in stored
    assert "something personal" not in stored
    assert pages.actions()[-1] == "forgot_person"


def test_an_operator_exports_but_does_not_forget(pages: Pages) -> None:
    pages.as_("operator")
    assert pages.post(f"/ui/people/{PHONE}/export").status_code == 200
    assert pages.post(f"/ui/people/{PHONE}/forget", why="x").status_code == 403
    assert pages.actions()[-1] == "refused"


def test_an_opt_in_on_the_page_is_a_consent(pages: Pages) -> None:
    pages.as_("operator")
    pages.post(f"/ui/people/{PHONE}", what="opt_out", why="she called")
    pages.post(f"/ui/people/{PHONE}", what="opt_in", why="she signed at the counter")
    shown = pages.http.get(f"/ui/people/{PHONE}").text
    assert "entered on a page (operator): &#34;she signed at the counter&#34;" in shown


# What programs and browsers get


@pytest.mark.parametrize(
    ("accept", "status"), [("text/html,application/xhtml+xml,*/*;q=0.8", 303), ("application/json", 404), ("*/*", 404)]
)
def test_the_root_leads_browsers_to_the_pages(pages: Pages, accept: str, status: int) -> None:
    answer = pages.http.get("/", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 404:
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_api_does_not_describe_the_pages(pages: Pages) -> None:
    assert not [path for path in pages.http.get("/openapi.json").json()["paths"] if path.startswith("/ui")]


def test_errors_are_pages_for_browsers_and_problems_for_programs(pages: Pages) -> None:
    pages.as_("viewer")
    assert "There is no such page." in pages.http.get("/ui/nothing").text
    assert "Sign out" in pages.http.get("/ui/nothing").text
    assert pages.http.get("/ui/me/password").headers["content-type"].startswith("text/html")
    assert pages.http.get("/v1/nothing").headers["content-type"] == "application/problem+json"


def test_a_test_text_is_marked(pages: Pages) -> None:
    sent = pages.send(to=PHONE, text="x", metadata={"order": "A-17"})
    pages.change(sent, test=True)
    pages.as_("operator")
    shown = pages.http.get(f"/ui/messages/{sent}").text
    assert "made with a test key" in shown
    assert "A-17" in shown
    assert "Expected to go" in shown
    assert ">test<" in pages.http.get("/ui/messages").text


NONSENSE = [
    ("GET", "/ui/messages?number=%00", 404),
    ("GET", "/ui/messages/%00", 404),
    ("GET", "/ui/find?q=%00", 404),
    ("GET", "/ui/triggers/nothing", 404),
    ("GET", "/ui/triggers/won?record=%00", 404),
    ("GET", "/ui/triggers/won?record=1&connection=nothing", 200),
    ("POST", "/ui/triggers/nothing", 404),
    ("POST", "/ui/triggers/won", 400),
    ("POST", "/ui/alerts", 404),
    ("POST", "/ui/failures", 400),
    ("POST", "/ui/failures?id=x", 400),
    ("GET", "/ui/people/12/forget", 404),
    ("POST", "/ui/people/12/export", 404),
    ("GET", "/ui/messages/nothing", 404),
    ("GET", "/ui/messages?state=nothing", 404),
    ("GET", "/ui/connections/nothing", 404),
    ("POST", "/ui/connections/nothing", 404),
    ("POST", "/ui/triggers/nothing", 404),
    ("GET", "/ui/people/12", 404),
    ("GET", "/ui/static/..%2fapp.py", 404),
    ("GET", "/ui/audit?before=x", 200),
    ("GET", "/ui/sign-in/oidc", 404),
    ("GET", "/ui/sign-in/oidc/answer?code=x&state=y", 404),
    ("GET", "/ui/signed-out", 200),
    ("GET", "/ui/signed-out/oidc?state=x", 404),
    ("GET", "/ui/sign-out/oidc", 404),
    ("GET", "/ui/messages/all?what=approve", 400),
    ("POST", "/ui/messages/all", 400),
    ("POST", "/ui/users", 400),
    ("POST", f"/ui/people/{PHONE}", 400),
]


@pytest.mark.parametrize(("method", "place", "status"), NONSENSE)
def test_nonsense_gets_an_answer(pages: Pages, method: str, place: str, status: int) -> None:
    pages.as_("admin")
    answer = pages.http.get(place) if method == "GET" else pages.post(place)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("vtsync approve 0123", "/ui/messages?state=held&batch=0123"),
        ("vtsync approve --trigger hello", "/ui/messages?state=held&trigger=hello"),
        ("vtsync messages --state unknown", "/ui/messages?state=unknown"),
        ("vtsync review", "/ui/reviews"),
        ("vtsync sync crm", "/ui/connections/crm"),
        ("vtsync fields crm", "/ui/connections/crm?fields#fields"),
        ("vtsync status --contacts rejected", "/ui/failures#contacts"),
        ("vtsync status --unread", "/ui/triggers#unread"),
        ("vtsync forwards list --failed", "/ui/failures#deliveries"),
        ("vtsync dead-letters", "/ui/failures#messages"),
        ("vtsync relay show", "/ui/failures#events"),
        ("vtsync resume connection crm", "/ui/connections/crm"),
        ("vtsync resume trigger hello", "/ui/triggers/hello"),
        ("vtsync check", ""),
    ],
)
def test_commands_have_pages(command: str, place: str) -> None:
    assert page_of(command) == place


# What waits, and alerts


def test_what_waits_says_how_long_and_where_it_is_decided(pages: Pages) -> None:
    for hours in (3, 50):
        pages.trigger_text("won", number(hours), str(hours), state="held", reason="approval: many")
        pages.change(created_at=utcnow() - timedelta(hours=hours), batch_id="b1")
    pages.as_("viewer")
    shown = " ".join(pages.http.get("/ui").text.split())
    assert re.search(
        r"2 texts of one sync waiting for approval</b> .{0,60}the oldest for <time [^>]+>2 d</time>", shown
    )
    assert 'href="/ui/messages?state=held&amp;batch=b1"' in shown


def test_alerts_are_shown_with_what_each_channel_was_told(pages: Pages) -> None:
    now = utcnow()
    row = {"kind": "sync_failed", "urgent": True, "remedy": "run `vtsync sync crm`", "since": now, "seen_at": now}
    told = Notice(NOTICE, now, [NotedAlert("sync_failed", True, "x", "", now.isoformat())])
    with writing(pages.engine) as connection:
        for key, found, more in (
            ("a", "crm failed now", {"raised_at": now, "told_at": now}),
            ("b", "crm failed before", {"raised_at": now, "told_at": now, "ended_at": now}),
            ("c", "crm did not count", {}),
        ):
            connection.execute(insert(alert).values(row | {"key": key, "found": found, "told_urgent": False} | more))
        times = {"created_at": now, "due_at": now}
        what = {"target": "alert:ops", "type": NOTICE, "payload": told.as_payload()}
        result = {"state": "failed", "attempts": 8, "last_error": "410: gone"}
        connection.execute(insert(delivery).values(event_id="e", **what, **times, **result))
    pages.as_("operator")
    shown = pages.http.get("/ui/alerts").text
    above, below = shown.split("Who is told")
    assert ("crm failed now" in above, "crm failed before" in above) == (True, False)
    assert 'href="/ui/connections/crm"' in above
    assert ("crm failed now" in below, "crm failed before" in below) == (False, True)
    assert "crm did not count" not in shown
    assert "vtsync: 1 new alert (sync failed)" in below
    assert "given up" in below
    assert "410: gone" in below
    assert "1 alert open" in pages.http.get("/ui").text


def test_without_a_channel_the_page_says_that_nothing_is_looked_for(pages: Pages) -> None:
    silent = pages.runtime.settings.alerts.model_copy(update={"channels": {}})
    pages.runtime.settings = pages.runtime.settings.model_copy(update={"alerts": silent})
    pages.as_("viewer")
    assert "No channel is configured" in pages.http.get("/ui/alerts").text


@pytest.mark.parametrize(("status", "says"), [(200, "accepted the test"), (404, "failed: ")])
def test_a_channel_is_tried_from_the_page(pages: Pages, status: int, says: str) -> None:
    with hears(signed=True) as hook:
        hook.status = status
        options = pages.runtime.settings.alerts.channels["ops"].model_copy(update={"url": hook.url})
        alerts = pages.runtime.settings.alerts.model_copy(update={"channels": {"ops": options}})
        pages.runtime.settings = pages.runtime.settings.model_copy(update={"alerts": alerts})
        pages.as_("viewer")
        assert pages.post("/ui/alerts", channel="ops").status_code == 403
        assert hook.bodies == []
        pages.as_("operator")
        assert says in pages.post("/ui/alerts", channel="ops").text
        assert [body["type"] for body in hook.bodies] == ["alert.test"]
    assert pages.actions()[-1] == "tested_alert_channel"


# One record, and the last days


TRIED = [
    # words, what an operator sees, what a viewer sees
    ("record=1", "Well done, Ada", "does not fire"),
    ("record=1&connection=crm", "Well done, Ada", "does not fire"),
    ("record=%2B14155552001", "Well done, Ada", "Viewers cannot look people up"),
    ("record=(415) 555-2001", "Well done, Ada", "Viewers cannot look people up"),
    ("record=2", "has stored a record 2", "has stored a record 2"),
    ("record=%2B14155552009", "no record of crm or shop has the number", "Viewers cannot look people up"),
    ("record=7", "Several records match", "Several records match"),
    ("record=7&connection=shop", "Well done, Grace", "does not fire"),
]


@pytest.mark.parametrize(("words", "operator", "viewer"), TRIED)
def test_a_trigger_is_tried_on_one_record(pages: Pages, words: str, operator: str, viewer: str) -> None:
    for name, phone in (("crm", number(7)), ("shop", number(8))):
        crm_record_of(pages.engine, name, "7", phone, properties='{"stage": "won"}')
    with writing(pages.engine) as connection:
        connection.execute(update(contact).where(contact.c.phone == number(8)).values(full_name="Grace Hopper"))
    pages.as_("operator")
    assert operator in pages.http.get(f"/ui/triggers/won?{words}").text
    assert pages.actions()[-1] == "tried_trigger"
    with reading(pages.engine) as connection:
        about = connection.scalars(select(audit_event.c.about).order_by(audit_event.c.id)).all()[-1]
    assert about in ("1", "2", "7", PHONE, number(9))  # a number as it is stored, however it was typed
    pages.as_("viewer")
    shown = pages.http.get(f"/ui/triggers/won?{words}").text
    assert viewer in shown
    assert "Well done, Ada" not in shown
    assert pages.states() == {}  # nothing was made


def test_a_backtest_runs_beside_the_requests(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> Backtest:
        begun.set()
        assert may_end.wait(20)
        return backtest(*arguments)

    monkeypatch.setattr("worker.web.pages.backtests.backtest", slowly)
    pages.as_("operator")
    assert pages.post("/ui/triggers/won", days="3").headers["location"] == "/ui/triggers/won#backtest"
    assert begun.wait(20)
    assert "data-live" in pages.http.get("/ui/triggers/won").text
    assert pages.post("/ui/triggers/won", days="3").status_code == 429
    may_end.set()
    for thread in threading.enumerate():
        if thread.name == "backtest":
            thread.join(20)
    shown = pages.http.get("/ui/triggers/won").text
    assert "operator tried the last 3 days" in shown
    assert "data-live" not in shown
    assert "crm was never read completely" in shown
    assert pages.actions()[-1] == "backtest"


# What failed

DECIDED = [
    # what, its fields, what must have changed afterwards
    ("retry_contacts", {}, select(contact.c.push_state), "rejected", "due"),
    ("retry_delivery", {"id": "1"}, select(delivery.c.state), "failed", "due"),
    ("retry_delivery", {"id": "2"}, select(delivery.c.state), "failed", "failed"),
    ("retry_events", {}, select(inbox_event.c.state), "failed", "new"),
    ("clear_dead_letters", {}, select(dead_letter.c.id), "k", None),
]


@pytest.mark.parametrize(("what", "fields", "row", "before", "after"), DECIDED)
def test_what_failed_is_tried_again(
    pages: Pages, what: str, fields: dict[str, str], row: Any, before: str, after: str | None
) -> None:
    now = utcnow()
    with writing(pages.engine) as connection:
        connection.execute(update(contact).values(push_state="rejected", last_error="400: not valid"))
        times = {"created_at": now, "due_at": now}
        connection.execute(
            insert(delivery).values(
                id=1, event_id="e", target="subscriber:shop", type="x", payload="{}", state="failed", **times
            )
        )
        connection.execute(
            insert(inbox_event).values(
                source="relay", name="main", received_at=now, payload="{}", state="failed", due_at=now, detail="bad"
            )
        )
        letter = {"id": "k", "task": "t", "reason": "no JSON", "first_at": now, "last_at": now}
        connection.execute(insert(dead_letter).values(letter))

    def state() -> Any:
        with reading(pages.engine) as connection:
            return connection.scalar(row)

    pages.as_("viewer")
    assert pages.post("/ui/failures", what=what, **fields).status_code == 403
    assert state() == before
    pages.as_("operator")
    shown = pages.http.get("/ui/failures").text
    assert all(words in shown for words in ("400: not valid", "subscriber:shop", "bad", "no JSON"))
    assert pages.post("/ui/failures", what=what, **fields).status_code == 303
    assert state() == after
    assert pages.actions()[-1] == what


# Connections


def test_a_connection_shows_fields_beside_what_they_are_used_for(pages: Pages) -> None:
    pages.as_("operator")
    shown = " ".join(pages.http.get("/ui/connections/crm?fields").text.split())
    used, unused = shown.split("<b>stage</b>")[1], shown.split("<b>id</b>")[1]
    assert "triggers.won.field" in used[:300]
    assert ">won<" in used[:400]
    assert "nothing" in unused[:100]
    pages.as_("viewer")
    shown = " ".join(pages.http.get("/ui/connections/crm?fields").text.split())
    assert "triggers.won.field" in shown
    assert ">won<" not in shown


@pytest.mark.parametrize(
    ("link", "followed"), [("https://crm.example/1", True), ("javascript:alert(1)", False), ("", False)]
)
def test_a_rejected_record_leads_to_the_crm(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, link: str, followed: bool
) -> None:
    monkeypatch.setattr("worker.web.pages.connections.RecordLinks.of", lambda *_: link)
    row = {"connection": "crm", "key": "77", "code": "no_phone", "reason": "it has no phone", "where": "row 3"}
    with writing(pages.engine) as connection:
        connection.execute(insert(rejected_record).values(**row, since=utcnow(), seen_at=utcnow()))
    pages.as_("operator")
    shown = pages.http.get("/ui/connections/crm").text
    assert "it has no phone" in shown
    assert "<b>1</b> no phone" in shown
    assert (f'href="{link}"' in shown) is followed
    pages.as_("viewer")
    assert "Open it in the CRM" not in pages.http.get("/ui/connections/crm").text
