"""A CRM sends the browser back to `vtsync web`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from config.models import Connection, Store
from crm_adapters import registry
from tests.contacts.acme import CLOUD, CLOUD_ADDRESS
from tests.contacts.grant_process import KEY
from tests.contacts.token_server import TokenServer, token_server
from tests.web.conftest import runtime_over
from worker.contacts.connection_gate import stop_values, stored_or_new
from worker.contacts.consent import CALLBACK_PATH, Consent, begin_consent, is_connected
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import connection_state
from worker.web.app import create_app

REDIRECT = f"https://texts.example.com{CALLBACK_PATH}"


@dataclass
class Desk:
    http: TestClient
    runtime: Runtime
    server: TokenServer

    def begin(self) -> Consent:
        return begin_consent(self.runtime, "crm", REDIRECT)

    def comes_back(self, consent: Consent) -> str:
        """The path and query with which the browser comes."""
        url = urlsplit(self.server.consent(consent.link))
        return f"{url.path}?{url.query}"


@pytest.fixture
def desk(engine: Engine, hinted: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setitem(registry.BUILT_IN, CLOUD, CLOUD_ADDRESS)
    runtime = runtime_over(engine)
    with token_server() as server, TestClient(create_app(runtime), raise_server_exceptions=False) as http:
        connections = {"crm": Connection(adapter=CLOUD, account="main", options={"url": server.url})}
        store = Store(grant_key=KEY)  # type: ignore[arg-type]
        runtime.settings = runtime.settings.model_copy(update={"connections": connections, "store": store})
        yield Desk(http, runtime, server)


def test_the_answer_is_stored_and_checked_and_ends_a_stop(desk: Desk) -> None:
    with writing(desk.runtime.engine) as db:
        db.execute(connection_state.insert(), {"connection": "crm", **stop_values("no credential", utcnow())})
    consent = desk.begin()
    answer = desk.http.get(desk.comes_back(consent))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text.startswith("Connected.")
    assert "connection crm: Acme responds; it was stopped or waited, and now resumes" in answer.text
    assert is_connected(desk.runtime, consent)
    assert stored_or_new(desk.runtime.engine, "crm")["stopped_at"] is None
    again = desk.http.get(desk.comes_back(consent))
    assert (again.status_code, "after this link was made" in again.text) == (400, True)


@pytest.mark.parametrize("query", ["", "?code=1", "?code=1&state=guess", "?error=access_denied&state=x", "?state=%ff"])
def test_what_nobody_began_is_refused(desk: Desk, query: str) -> None:
    answer = desk.http.get(f"{CALLBACK_PATH}{query}")
    assert (answer.status_code, "run `vtsync connect` again" in answer.text) == (400, True)


def test_what_the_crm_says_is_text_and_no_page(desk: Desk) -> None:
    consent = desk.begin()
    said = "<script>alert(1)</script>"
    answer = desk.http.get(CALLBACK_PATH, params={"state": consent.state, "error": "x", "error_description": said})
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_code_state_or_token_is_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    consent = desk.begin()
    path = desk.comes_back(consent)
    code = path.partition("code=")[2].partition("&")[0]
    desk.http.get(path)
    desk.http.get(path)
    printed = capfd.readouterr()
    ours = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))
    for secret in (code, consent.state, *desk.server.access, *desk.server.valid):
        assert secret not in ours + printed.out + printed.err
