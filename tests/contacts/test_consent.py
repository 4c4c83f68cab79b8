"""The consent of a person: from the link to a connection that syncs."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from sqlalchemy import Engine

from config.models import Account, Connection, Settings, Store
from crm_adapters import registry
from crm_adapters.base import AdapterError, CredentialsRejected, SourceInvalid
from tests.contacts.acme import ADDRESS, CLIENT_SECRET, CLOUD, CLOUD_ADDRESS, NAME
from tests.contacts.grant_process import KEY
from tests.contacts.token_server import TokenServer, token_server
from worker.contacts import consent as consents
from worker.contacts.connection_gate import read_connection
from worker.contacts.consent import (
    Consent,
    ConsentFailed,
    begin_consent,
    finish_consent,
    is_connected,
    needs_consent,
    read_answer,
)
from worker.contacts.consent_listener import CallbackListener, is_here
from worker.contacts.grants import StoredGrant
from worker.contacts.pull import sync_connection
from worker.core.findings import Level
from worker.doctor.credentials import check_connection
from worker.runtime import Runtime

ELSEWHERE = "https://texts.example.com/connect/callback"


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with token_server() as running:
        yield running


@pytest.fixture
def runtime(engine: Engine, server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setitem(registry.BUILT_IN, NAME, ADDRESS)
    monkeypatch.setitem(registry.BUILT_IN, CLOUD, CLOUD_ADDRESS)
    return Runtime(settings(server), engine=engine)


def settings(server: TokenServer, key: str | None = KEY) -> Settings:
    def cloud(**options: str) -> Connection:
        return Connection(adapter=CLOUD, account="main", default_region="US", options={"url": server.url, **options})

    return Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},  # type: ignore[arg-type]
        connections={
            "crm": cloud(),
            "fixed": cloud(token="a token that does not change"),
            "plain": Connection(adapter=NAME, account="main"),
            "wrong": cloud(no="such option"),
        },
        store=Store(grant_key=key),  # type: ignore[arg-type]
    )


def agreed(server: TokenServer, consent: Consent) -> dict[str, str]:
    """What the CRM answers when a person has agreed."""
    return dict(parse_qsl(urlsplit(server.consent(consent.link)).query))


def connect(runtime: Runtime, server: TokenServer) -> None:
    finish_consent(runtime, agreed(server, begin_consent(runtime, "crm", ELSEWHERE)))


def stored(runtime: Runtime) -> Any:
    return StoredGrant(runtime, "crm").current()


def test_a_person_agrees(runtime: Runtime, server: TokenServer) -> None:
    consent = begin_consent(runtime, "crm", ELSEWHERE)
    asked = parse_qs(urlsplit(consent.link).query)
    assert asked["redirect_uri"] == [ELSEWHERE]
    assert asked["state"] == [consent.state]
    assert not is_connected(runtime, consent)
    assert finish_consent(runtime, agreed(server, consent)) == "crm"
    assert is_connected(runtime, consent)
    assert stored(runtime)["refresh_token"] in server.valid
    assert CLIENT_SECRET not in consent.link
    assert consent.state not in repr(consent)


def test_a_connection_without_consent_stops_until_a_person_agrees(runtime: Runtime, server: TokenServer) -> None:
    report = sync_connection(runtime, "crm")
    assert report.state == "failed"
    assert "run `vtsync connect crm`" in report.error
    assert "vtsync connect crm" in read_connection(runtime.engine, "crm")["stopped_reason"]
    found, *_ = check_connection(runtime, "crm")
    assert (found.level, found.do) == (Level.PROBLEM, "run `vtsync connect crm`")
    connect(runtime, server)
    found, *_ = check_connection(runtime, "crm")
    assert found.level is Level.OK
    assert "resumes" in found.found
    report = sync_connection(runtime, "crm")
    assert (report.state, report.seen) == ("done", 1)


def test_an_expired_token_is_renewed_and_a_dead_one_stops_the_connection(runtime: Runtime, server: TokenServer) -> None:
    connect(runtime, server)
    server.access.clear()
    assert sync_connection(runtime, "crm").state == "done"
    assert len(server.refreshed) == 1
    server.access.clear()
    server.valid.clear()
    assert sync_connection(runtime, "crm").state == "failed"
    assert read_connection(runtime.engine, "crm")["stopped_at"] is not None


def test_a_spent_budget_makes_the_connection_wait(runtime: Runtime, server: TokenServer) -> None:
    connect(runtime, server)
    reports = [sync_connection(runtime, "crm") for _ in range(12)]
    assert [report.state for report in reports] == ["done"] * 10 + ["failed", "waiting"]
    assert all("10 of 10 calls in 24h are used" in report.error for report in reports[10:])
    assert read_connection(runtime.engine, "crm")["stopped_at"] is None


def test_a_link_works_once(runtime: Runtime, server: TokenServer) -> None:
    consent = begin_consent(runtime, "crm", ELSEWHERE)
    earlier = begin_consent(runtime, "crm", ELSEWHERE)
    finish_consent(runtime, agreed(server, consent))
    before = stored(runtime)
    for used in (consent, earlier):
        with pytest.raises(ConsentFailed, match="after this link was made"):
            finish_consent(runtime, agreed(server, used))
    assert stored(runtime) == before


def test_of_two_links_that_are_used_at_once_one_counts(runtime: Runtime, server: TokenServer) -> None:
    slow, fast = begin_consent(runtime, "crm", ELSEWHERE), begin_consent(runtime, "crm", ELSEWHERE)
    given: list[Any] = []

    def meanwhile() -> None:
        server.before_answer = lambda: None
        finish_consent(runtime, agreed(server, fast))
        given.append(stored(runtime))

    server.before_answer = meanwhile
    with pytest.raises(ConsentFailed, match="after this link was made"):
        finish_consent(runtime, agreed(server, slow))
    assert [stored(runtime)] == given


def foreign(runtime: Runtime, server: TokenServer, consent: Consent) -> dict[str, str]:
    other = Runtime(settings(server, "0jNYcO7TNGIBdoQNGYmGVGJ0QuVxXjEtAIEeAHBsWwg="), engine=runtime.engine)
    return agreed(server, begin_consent(other, "crm", ELSEWHERE))


def a_grant(runtime: Runtime, server: TokenServer, consent: Consent) -> dict[str, str]:
    """Something that is encrypted with the same key, and is no state."""
    sealed = consents.GrantCipher.of(runtime.settings).seal("crm", {"refresh_token": "x"})
    return {"code": "1", "state": sealed.decode()}


REFUSED = {
    "nothing": (lambda *_: {}, "not from here"),
    "no state": (lambda _, s, c: {"code": agreed(s, c)["code"]}, "not from here"),
    "a changed state": (lambda _, s, c: agreed(s, c) | {"state": c.state[:-9] + "A" * 9}, "not from here"),
    "a state that is no text": (lambda *_: {"code": "1", "state": "\udce9é"}, "not from here"),
    "a state of another key": (foreign, "not from here"),
    "another thing with this key": (a_grant, "not from here"),
    "no code": (lambda _, s, c: {"state": c.state}, "sent no code"),
    "a refusal": (lambda _, s, c: {"state": c.state, "error": "access_denied"}, 'did not agree ("access_denied")'),
    "a refusal in words": (
        lambda _, s, c: {"state": c.state, "error": "x", "error_description": "The user\x1b[31m said no" + "." * 999},
        "The user [31m said no",
    ),
    "a code that the CRM does not know": (lambda _, s, c: {"state": c.state, "code": "guess"}, "not accepted"),
}


@pytest.mark.parametrize(("answer", "said"), REFUSED.values(), ids=REFUSED)
def test_an_answer_that_is_not_good_stores_nothing(
    runtime: Runtime, server: TokenServer, answer: Any, said: str
) -> None:
    consent = begin_consent(runtime, "crm", ELSEWHERE)
    with pytest.raises(AdapterError) as caught:
        finish_consent(runtime, answer(runtime, server, consent))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500
    assert stored(runtime) is None


def test_a_link_ends(runtime: Runtime, server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    consent = begin_consent(runtime, "crm", ELSEWHERE)
    monkeypatch.setattr(consents, "CONSENT_SECONDS", -5)
    with pytest.raises(ConsentFailed, match="older than"):
        finish_consent(runtime, agreed(server, consent))


def test_a_connection_that_was_removed_meanwhile(runtime: Runtime, server: TokenServer) -> None:
    answer = agreed(server, begin_consent(runtime, "crm", ELSEWHERE))
    without = runtime.settings.model_copy(update={"connections": {}})
    with pytest.raises(ConsentFailed, match="any longer; nothing was stored"):
        finish_consent(runtime.but(settings=without), answer)


@pytest.mark.parametrize("connection", ["fixed", "plain"])
def test_a_connection_that_needs_no_consent(runtime: Runtime, connection: str) -> None:
    assert not needs_consent(runtime.settings, connection)
    with pytest.raises(SourceInvalid, match="needs no consent"):
        begin_consent(runtime, connection, ELSEWHERE)


def test_options_that_do_not_fit_and_a_key_that_is_missing(runtime: Runtime, server: TokenServer) -> None:
    assert not needs_consent(runtime.settings, "wrong")
    with pytest.raises(SourceInvalid, match="do not fit"):
        begin_consent(runtime, "wrong", ELSEWHERE)
    with pytest.raises(SourceInvalid, match="openssl rand -base64 32"):
        begin_consent(runtime.but(settings=settings(server, None)), "crm", ELSEWHERE)


PASTED = {
    "the code": "{code}",
    "the code with spaces": "  {code}\n",
    "the address": "http://127.0.0.1:8912/connect/callback?code={code}&state={state}",
    "the address in quotes": '"http://127.0.0.1:8912/connect/callback?state={state}&code={code}"',
    "with a fragment": "https://texts.example.com/connect/callback?code={code}&state={state}#_=_",
    "the query": "?code={code}&state={state}",
    "without a state": "https://texts.example.com/connect/callback?code={code}",
    "with more": "https://x.example.com/?scope=a%20b&code={code}&state={state}&realm=5",
}


@pytest.mark.parametrize("pasted", PASTED.values(), ids=PASTED)
def test_what_people_paste(runtime: Runtime, server: TokenServer, pasted: str) -> None:
    consent = begin_consent(runtime, "crm", ELSEWHERE)
    answer = agreed(server, consent)
    assert finish_consent(runtime, read_answer(pasted.format(**answer), consent)) == "crm"


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        return int(one.getsockname()[1])


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_browser_comes_back_to_this_machine(runtime: Runtime, server: TokenServer, host: str) -> None:
    redirect = f"http://{host}:{free_port()}/connect/callback"
    consent = begin_consent(runtime, "crm", redirect)
    with CallbackListener(runtime, consent) as listener:
        origin = redirect.removesuffix("/connect/callback")
        for other in (
            f"{origin}/favicon.ico",
            redirect,
            f"{redirect}?code=1&state=2",
            f"{origin}/?state={consent.state}",
        ):
            assert get(other)[0] == 404
        assert not listener.wait(0)
        status, page = get(server.consent(consent.link))
        assert (status, "Connected" in page) == (200, True)
        assert listener.wait(20)
    assert stored(runtime) is not None


def test_a_code_that_the_crm_rejects_is_reported_on_both_ends(runtime: Runtime, server: TokenServer) -> None:
    consent = begin_consent(runtime, "crm", f"http://127.0.0.1:{free_port()}/connect/callback")
    with CallbackListener(runtime, consent) as listener:
        status, page = get(f"{consent.redirect}?code=guess&state={consent.state}")
        assert (status, "not accepted" in page) == (400, True)
        with pytest.raises(CredentialsRejected):
            listener.wait(20)


def test_a_port_that_is_taken(runtime: Runtime) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        consent = begin_consent(runtime, "crm", f"http://127.0.0.1:{taken.getsockname()[1]}/")
        with pytest.raises(OSError, match="in use"):
            CallbackListener(runtime, consent)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:8912/connect/callback", True),
        ("http://localhost:8912/", True),
        ("http://[::1]:8912/x", True),
        ("https://127.0.0.1:8912/x", False),
        ("https://texts.example.com/connect/callback", False),
        ("http://10.0.0.1/x", False),
        ("urn:ietf:wg:oauth:2.0:oob", False),
    ],
)
def test_which_addresses_are_here(address: str, expected: bool) -> None:
    assert is_here(address) is expected
