"""Sign-in by a header of a proxy: who may name people, and whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select

from config.sign_in import ProxySignIn
from config.web import Web
from tests.messages.conftest import FakeRuntime
from tests.web.conftest import runtime_over
from worker.doctor.exposure import check_exposure
from worker.doctor.sign_in import check_sign_in
from worker.identity.person import IdentityRefused, identity_of_headers
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import audit_event, web_session, web_user
from worker.web.app import create_app
from worker.web.users import create_user

ORIGIN = {"Origin": "http://testserver"}
PROXY = "10.0.0.7"
PROXY_SIGN_IN: dict[str, Any] = {
    "trusted": ["10.0.0.0/28", "::1"],
    "user_header": "Remote-User",
    "groups_header": "Remote-Groups",
    "roles": {"ops": "operator", "boss": "admin"},
    "sign_out_url": "https://auth.example.com/logout",
}
ANA = [("Remote-User", "ana"), ("Remote-Groups", "staff, ops")]
Headers = list[tuple[str, str | bytes]]
Open = Callable[..., TestClient]


@pytest.fixture
def runtime(engine: Engine, hinted: list[tuple[str, ...]]) -> FakeRuntime:
    made = runtime_over(engine)
    configure(made)
    return made


def configure(runtime: FakeRuntime, **changes: Any) -> None:
    web = Web.model_validate({"proxy_sign_in": PROXY_SIGN_IN | changes})
    runtime.settings = runtime.settings.model_copy(update={"web": web})


def browser(runtime: FakeRuntime, address: str = PROXY) -> TestClient:
    """A browser whose requests reach the pages from this address."""
    return TestClient(create_app(runtime), follow_redirects=False, client=(address, 4711))


def signed_in(runtime: FakeRuntime) -> list[tuple[str, str]]:
    with reading(runtime.engine) as connection:
        return [tuple(row) for row in connection.execute(select(web_user.c.name, web_user.c.role))]


SAID: list[tuple[str, Headers, dict[str, Any], str, str]] = [
    # the address, the headers, what is configured otherwise, the role, what the page says if there is none
    (PROXY, ANA, {}, "operator", ""),
    ("::1", ANA, {}, "operator", ""),
    ("::ffff:10.0.0.7", ANA, {}, "operator", ""),
    (PROXY, [("remote-user", "ana"), ("REMOTE-GROUPS", "boss,ops")], {}, "admin", ""),
    (PROXY, [("Remote-User", "ana")], {"groups_header": None, "roles": {"ana": "viewer"}}, "viewer", ""),
    (PROXY, [("Remote-User", "bo")], {"groups_header": None, "roles": {"ana": "viewer"}}, "", "gives you no role"),
    (PROXY, [("Remote-User", "ana"), ("Remote-Groups", "x|ops")], {"groups_separator": "|"}, "operator", ""),
    (PROXY, [("Remote-User", "ana"), ("Remote-Groups", "x|ops")], {}, "", "gives you no role"),
    (PROXY, [("Remote-User", "bo")], {"other_role": "viewer"}, "viewer", ""),
    (PROXY, [("Remote-User", "Jürgen Maß".encode()), ("Remote-Groups", "ops")], {}, "operator", ""),
    (PROXY, [], {}, "", 'name="password"'),
    (PROXY, [("Remote-User", " "), ("Remote-Groups", "boss")], {}, "", 'name="password"'),
    (PROXY, [("Remote-User", "ana")], {}, "", "gives you no role"),
    (PROXY, [("Remote-User", "ana"), ("Remote-Groups", "Ops,boss2")], {}, "", "gives you no role"),
    (PROXY, [("Remote_User", "ana"), ("Remote-Groups", "ops")], {}, "", 'name="password"'),
    (PROXY, [*ANA, ("Remote-User", "eve")], {}, "", "Remote-User is there twice"),
    (PROXY, [*ANA, ("Remote-Groups", "boss")], {}, "", "Remote-Groups is there twice"),
    (PROXY, [("Remote-User", "eve, ana"), ("Remote-Groups", "boss")], {}, "", "Remote-User is there twice"),
    (PROXY, [("Remote-User", "ana\tx"), ("Remote-Groups", "boss")], {}, "", "no name that can be used"),
    (PROXY, [("Remote-User", "a" * 300), ("Remote-Groups", "boss")], {}, "", "no name that can be used"),
    # From elsewhere, the headers are only what somebody typed.
    ("10.0.0.16", ANA, {}, "", "was ignored: the request comes from 10.0.0.16"),
    ("127.0.0.1", ANA, {}, "", "was ignored"),
    ("192.0.2.1", [*ANA, ("X-Forwarded-For", PROXY)], {}, "", "was ignored"),
    ("192.0.2.1", [*ANA, ("Forwarded", f"for={PROXY}"), ("X-Real-IP", PROXY)], {}, "", "was ignored"),
    ("testclient", ANA, {}, "", "was ignored"),
]


@pytest.mark.parametrize(("address", "headers", "changes", "role", "says"), SAID)
def test_whom_a_header_signs_in(
    runtime: FakeRuntime, address: str, headers: Headers, changes: dict[str, Any], role: str, says: str
) -> None:
    configure(runtime, **changes)
    with browser(runtime, address) as http:
        answer = http.get("/ui/sign-in?next=/ui/reviews", headers=headers)
        if role:
            assert (answer.status_code, answer.headers["location"]) == (303, "/ui/reviews")
            assert [one for _, one in signed_in(runtime)] == [role]
            assert http.get("/ui/me", headers=headers).status_code == 200
        else:
            assert answer.status_code in (200, 403)
            assert says in answer.text
            assert signed_in(runtime) == []
            assert http.get("/ui", headers=headers).status_code == 303


def test_a_header_that_is_no_text_names_nobody() -> None:
    proxy = ProxySignIn.model_validate(PROXY_SIGN_IN)
    with pytest.raises(IdentityRefused, match="no name that can be used"):
        identity_of_headers(proxy, [b"\xff\xfe"], [b"boss"])


CHANGED: list[tuple[str, Headers]] = [
    # another address with the same headers; another person; no person; another role
    ("192.0.2.1", ANA),
    (PROXY, [("Remote-User", "bo"), ("Remote-Groups", "ops")]),
    (PROXY, []),
    (PROXY, [("Remote-User", "ana"), ("Remote-Groups", "boss")]),
    (PROXY, [("Remote-User", "ana")]),
    (PROXY, [*ANA, ("Remote-User", "ana")]),
]


@pytest.mark.parametrize(("address", "headers"), CHANGED)
def test_a_session_counts_only_with_the_same_person_and_role(
    runtime: FakeRuntime, address: str, headers: Headers
) -> None:
    with browser(runtime) as http:
        http.get("/ui/sign-in", headers=ANA)
        assert http.get("/ui/me", headers=ANA).status_code == 200
        cookies = dict(http.cookies)
    with browser(runtime, address) as http:
        http.cookies.update(cookies)
        answer = http.get("/ui/me", headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in?next=/ui/me")


def test_a_role_that_changes_there_changes_here(runtime: FakeRuntime) -> None:
    with browser(runtime) as http:
        http.get("/ui/sign-in", headers=ANA)
        http.get("/ui/sign-in", headers=[("Remote-User", "ana"), ("Remote-Groups", "boss")])
        assert signed_in(runtime) == [("ana", "admin")]
        with reading(runtime.engine) as connection:
            details = connection.scalars(select(audit_event.c.detail).order_by(audit_event.c.id)).all()
        assert details == ["proxy, as operator", "proxy, as admin"]


def test_the_header_opens_nothing_but_the_pages(runtime: FakeRuntime) -> None:
    with browser(runtime) as http:
        assert http.get("/v1/messages", headers=ANA).status_code == 401
        assert http.get("/metrics", headers=ANA).status_code == 401
        assert http.get("/ui", headers=ANA).status_code == 303
        with reading(runtime.engine) as connection:
            assert connection.execute(select(web_session)).all() == []


def test_a_form_needs_the_token_of_the_session(runtime: FakeRuntime) -> None:
    with browser(runtime) as http:
        http.get("/ui/sign-in", headers=ANA)
        forged = http.post("/ui/sign-out", data={"csrf": "0" * 64}, headers=[*ANA, *ORIGIN.items()])
        assert forged.status_code == 403
        csrf = http.get("/ui/me", headers=ANA).text.split('name="csrf" value="')[1][:64]
        answer = http.post("/ui/sign-out", data={"csrf": csrf}, headers=[*ANA, *ORIGIN.items()])
        assert answer.headers["location"] == "/ui/signed-out"
        assert 'href="https://auth.example.com/logout"' in http.get("/ui/signed-out", headers=ANA).text
        with reading(runtime.engine) as connection:
            assert connection.execute(select(web_session)).all() == []


def test_a_password_user_of_the_same_name_is_not_taken_over(runtime: FakeRuntime) -> None:
    with writing(runtime.engine) as connection:
        create_user(connection, "ana", "admin", "correct horse battery", by="test", now=utcnow())
    with browser(runtime) as http:
        refused = http.get("/ui/sign-in", headers=ANA)
        assert refused.status_code == 403
        assert "vtsync users link ana SUBJECT --proxy" in refused.text
    assert signed_in(runtime) == [("ana", "admin")]


def test_the_check_says_who_is_trusted(runtime: FakeRuntime) -> None:
    found = [f"{one.level} {one.found}" for one in check_sign_in(runtime.settings)]
    assert found == ["ok 10.0.0.0/28, ::1/128 may name people in the header Remote-User"]


def test_signing_in_elsewhere_is_a_credential(runtime: FakeRuntime) -> None:
    accounts = {name: one.model_copy(update={"relay_secret": None}) for name, one in runtime.settings.accounts.items()}
    runtime.settings = runtime.settings.model_copy(update={"accounts": accounts})
    check_exposure(runtime, "192.0.2.1")  # raises nothing
