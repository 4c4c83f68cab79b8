"""A world for a sync: a store of each kind, a CRM that is a list, a VirtualText that remembers the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, select, update

from config.models import Account, Connection, Policy, Settings
from config.triggers import Trigger
from tests.fakes import FakeVirtualText, ListSource, sources
from worker.contacts.plan import Plan, plan_connection
from worker.contacts.pull import SyncReport, sync_connection
from worker.contacts.push import PushReport, push_account
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, contact, contact_event, contact_mapping, message, rejected_record

OURS = "+16505550100"
"""The account's own number: none of ``numbers``, since a record with it is rejected."""


class FakeRuntime(Runtime):
    """A runtime with a given store and a fake client."""

    def __init__(self, engine: Engine, client: FakeVirtualText, settings: Settings) -> None:
        super().__init__(settings, engine=engine)
        self.fake = client

    def client(self, account: str) -> Any:
        return self.fake


@dataclass
class World:
    """Both sides and the store between them."""

    engine: Engine
    crm: dict[str, ListSource] = field(default_factory=lambda: {"crm": ListSource()})
    virtualtext: FakeVirtualText = field(default_factory=FakeVirtualText)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    policy: Policy = field(default_factory=lambda: Policy(quiet_hours="none"))
    account: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> ListSource:
        return self.crm["crm"]

    def runtime(self) -> FakeRuntime:
        settings = Settings(
            accounts={
                "main": Account(
                    **(
                        {
                            "uid": "u1",
                            "token": "secret",
                            "from_number": OURS,
                            "concurrency": 4,
                            "lookup_after": timedelta(0),
                        }
                        | self.account
                    )
                )
            },
            connections={
                name: Connection(
                    **({"adapter": "list", "account": "main", "default_region": "US"} | self.connections.get(name, {}))
                )
                for name in self.crm
            },
            triggers=self.triggers,
            policy=self.policy,
        )
        return FakeRuntime(self.engine, self.virtualtext, settings)

    def sync(self, name: str = "crm", **more: Any) -> SyncReport:
        return sync_connection(self.runtime(), name, **more)

    def push(self) -> PushReport:
        return push_account(self.runtime(), "main")

    def plan(self, name: str = "crm") -> Plan:
        return plan_connection(self.runtime(), name)

    def sync_and_push(self) -> tuple[SyncReport, PushReport]:
        return self.sync(), self.push()

    def rows(self, table: Any, *where: Any) -> list[Row[Any]]:
        with reading(self.engine) as db:
            return list(db.execute(select(table).where(*where).order_by(*table.primary_key.columns)))

    def contact(self, phone: str) -> Row[Any]:
        (row,) = self.rows(contact, contact.c.phone == phone)
        return row

    def mapping(self, external_id: str, name: str = "crm") -> Row[Any]:
        m = contact_mapping.c
        (row,) = self.rows(contact_mapping, m.connection == name, m.external_id == external_id)
        return row

    def rejections(self) -> dict[str, str]:
        return {row.key: row.reason for row in self.rows(rejected_record)}

    def messages(self) -> list[Row[Any]]:
        return self.rows(message)

    def events(self, phone: str) -> list[str]:
        return [row.kind for row in self.rows(contact_event, contact_event.c.contact_id == self.contact(phone).id)]

    def everything_is_due(self) -> None:
        with writing(self.engine) as db:
            db.execute(update(contact).values(next_attempt_at=utcnow() - timedelta(seconds=1)))

    def leases_run_out(self) -> None:
        past = utcnow() - timedelta(seconds=1)
        with writing(self.engine) as db:
            db.execute(update(contact).where(contact.c.lease_until.is_not(None)).values(lease_until=past))
            db.execute(
                update(connection_state).where(connection_state.c.lease_until.is_not(None)).values(lease_until=past)
            )


@pytest.fixture
def world(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(engine)
    build: Callable[..., Any] = lambda settings, name, *services: sources(**made.crm)(settings, name, *services)  # noqa: E731
    for module in ("pull", "plan"):
        monkeypatch.setattr(f"worker.contacts.{module}.build_adapter", build)
    return made
