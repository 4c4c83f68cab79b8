"""The HTTP side over a store, without a broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, update

from config.models import Account, Settings
from config.web import Web
from tests.conftest import emptied
from tests.messages.conftest import AT_ANY_HOUR, FakeClient, FakeRuntime, Outbox, crm_record_of
from tests.web.provider import CLIENT, SECRET, Provider, running_provider
from worker.core.findings import ok
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import audit_event, contact, web_user
from worker.web.app import create_app
from worker.web.keys import FLEET_SCOPES, SCOPES, create_key
from worker.web.notifier import Notifier

RELAY_SECRET = "a-secret-of-at-least-24-characters"


@dataclass
class Site(Outbox):
    """A client with a key that may do everything, and the outbox behind it."""

    http: TestClient
    hinted: list[tuple[str, ...]]

    def key(self, *scopes: str, accounts: tuple[str, ...] = ()) -> str:
        with writing(self.engine) as connection:
            everything = [scope for scope in SCOPES if not (accounts and scope in FLEET_SCOPES)]
            return create_key(connection, "test", scopes or everything, accounts, created_by="test", now=utcnow())

    def headers(self, *scopes: str, accounts: tuple[str, ...] = ()) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key(*scopes, accounts=accounts)}"}


def runtime_over(engine: Engine, **web: Any) -> FakeRuntime:
    """Two accounts, one of them with a Relay."""
    runtime = FakeRuntime(engine, FakeClient())
    account = {"uid": "u", "token": "t", "from_number": "+14155550100"}
    accounts = {
        "main": Account(**account, relay_secret=RELAY_SECRET),  # type: ignore[arg-type]
        "other": Account(**account | {"from_number": "+14155550199"}),  # type: ignore[arg-type]
    }
    folder = Path(str(engine.url.database)).parent
    runtime.settings = Settings(data_dir=folder, accounts=accounts, policy=AT_ANY_HOUR, web=web)  # type: ignore[arg-type]
    return runtime


def furnish(runtime: FakeRuntime, **channels: Any) -> None:
    """Give it what the pages show: a connection with a record, a trigger that watches it, and channels of alerts."""
    folder = runtime.settings.data_dir
    (folder / "crm.csv").write_text("id,phone,name,stage\n1,+14155552001,Ada,won\n", encoding="utf-8")
    won = {"on": "changed", "field": "stage", "to": "won", "message": "Well done, {{ contact.first_name }}"}
    made = Settings.model_validate(
        {
            "accounts": {"main": {"uid": "u", "token": "t", "from_number": "+14155550100"}},
            "connections": {
                "crm": {"adapter": "csv", "account": "main", "options": {"path": str(folder / "crm.csv")}},
                "shop": {"adapter": "csv", "account": "main", "options": {"path": str(folder / "shop.csv")}},
            },
            "triggers": {"won": {"connections": ["crm", "shop"], **won}},
            "alerts": {"channels": channels},
        }
    )
    parts = {name: getattr(made, name) for name in ("connections", "triggers", "alerts")}
    runtime.settings = runtime.settings.model_copy(update=parts)
    record = {"properties": '{"stage": "won"}', "full_name": "Ada Lovelace"}
    crm_record_of(runtime.engine, "crm", "1", "+14155552001", **record)
    with writing(runtime.engine) as connection:
        connection.execute(update(contact).values(full_name="Ada Lovelace"))


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What workers are to be told."""
    told: list[tuple[str, ...]] = []

    def hint(*what: str) -> bool:
        told.append(what)
        return True

    monkeypatch.setattr("worker.web.app.wake", hint)
    monkeypatch.setattr("worker.web.connections.wake", lambda *what, **how: hint(*what, *map(str, how.items())))
    monkeypatch.setattr("worker.doctor.checks.reach_broker", lambda _: ok("broker", "is not asked here"))
    monkeypatch.setattr(Notifier, "notify", lambda _, *what: told.append(what))  # at once, not from its thread
    return told


@pytest.fixture
def site(engine: Engine, hinted: list[tuple[str, ...]]) -> Iterator[Site]:
    runtime = runtime_over(engine)
    with TestClient(create_app(runtime), raise_server_exceptions=False) as http:
        made = Site(runtime, runtime.fake, http, hinted)
        http.headers.update(made.headers())
        yield made


@pytest.fixture
def engine(sqlite: Engine) -> Iterator[Engine]:
    """SQLite alone: what the routes call is tested on each kind of store where it lives."""
    yield from emptied(sqlite)


ORIGIN = {"Origin": "http://testserver"}
ROLES = {"ops": "operator", "boss": "admin", "all": "viewer"}


@dataclass
class Staff(Outbox):
    """A browser, the pages behind it, and the provider where people sign in."""

    http: TestClient
    provider: Provider

    def configure(self, **changes: Any) -> None:
        oidc = {"issuer": self.provider.issuer, "client_id": CLIENT, "client_secret": SECRET, "roles": ROLES} | changes
        web = Web.model_validate({"public_url": "http://testserver", "oidc": oidc})
        self.runtime.settings = self.runtime.settings.model_copy(update={"web": web})

    def begin(self, following: str = "") -> str:
        """Go to the provider, and return the address to which it sends the browser back."""
        asked = self.http.get("/ui/sign-in/oidc", params={"next": following} if following else None)
        assert asked.status_code == 303, asked.text
        answer = requests.get(asked.headers["location"], allow_redirects=False, timeout=10)
        return answer.headers["location"].removeprefix("http://testserver")

    def sign_out(self) -> str:
        """Sign out, and return the page after that."""
        csrf = self.http.get("/ui/me").text.split('name="csrf" value="')[1][:64]
        answer = self.http.post("/ui/sign-out", data={"csrf": csrf}, headers=ORIGIN)
        page: str = self.http.get(answer.headers["location"]).text
        return page

    def sign_in(self, following: str = "") -> Any:
        return self.http.get(self.begin(following))

    def users(self) -> list[tuple[Any, ...]]:
        u = web_user.c
        with reading(self.engine) as connection:
            return [
                tuple(row) for row in connection.execute(select(u.name, u.role, u.issuer, u.subject).order_by(u.name))
            ]

    def audit(self) -> list[tuple[str, str, str]]:
        a = audit_event.c
        with reading(self.engine) as connection:
            return [tuple(row) for row in connection.execute(select(a.actor, a.action, a.about).order_by(a.id))]


@pytest.fixture(scope="session")
def shared_provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def staff(engine: Engine, hinted: list[tuple[str, ...]], shared_provider: Provider) -> Iterator[Staff]:
    issuer = f"http://{urlsplit(shared_provider.issuer).netloc}"
    shared_provider.__init__()  # type: ignore[misc]
    shared_provider.issuer = issuer
    runtime = runtime_over(engine)
    with TestClient(create_app(runtime), raise_server_exceptions=False, follow_redirects=False) as http:
        made = Staff(runtime, runtime.fake, http, shared_provider)
        made.configure()
        yield made
