"""What a test does with its fleet: look at the phones, answer as a customer, wait until nothing is left to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from celery import Celery
from sqlalchemy import Column, Connection, Table, select
from sqlmodel import SQLModel

from config.models import Settings
from worker.broker.settings import TICK as TICK_QUEUE
from worker.broker.settings import embedded_settings
from worker.core.clock import utcnow
from worker.messages.read_models import MessageSummary, find_messages
from worker.runtime import Runtime
from worker.sandbox import Sandbox, SandboxMessage
from worker.sandbox.state import ContactJson
from worker.store.db import reading, writing
from worker.store.tables import api_key, configuration_problem, heartbeat, maintenance_lock, store_key
from worker.testing.processes import SandboxProcess
from worker.testing.settings import CALLBACK_SECRET
from worker.work.registry import DELIVERIES, INBOX, PUSH, RECORDS, SENDS

PATIENCE_SECONDS = 10.0
SYNC_SECONDS = 60.0
EMPTYING_SECONDS = 30.0
KEPT = (api_key, configuration_problem, heartbeat, maintenance_lock, store_key)
"""Tables about the fleet itself, which stay when it is emptied."""
T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class FleetUnderTest:
    """A fleet for tests. ``vtsync_testing.VtsyncSandbox`` has the same methods, and says what they are for."""

    phones: Sandbox
    runtime: Runtime
    config: Path
    url: str
    key: str
    test_key: str
    processes: Sequence[SandboxProcess]

    def facts(self) -> dict[str, Any]:
        """Return what does not change."""
        return {
            "url": self.url,
            "key": self.key,
            "test_key": self.test_key,
            "account": "main",
            "from_number": self.runtime.settings.accounts["main"].from_number,
            "callback_secret": CALLBACK_SECRET,
            "page_url": self.phones.page_url,
            "config": str(self.config),
            "celery_settings": self._broker,
        }

    def calls(self) -> tuple[Callable[..., Any], ...]:
        """Return what a test may call."""
        looks = (self.texts, self.records, self.contacts, self.messages, self.wait_for_text, self.settle)
        return (*looks, self.sync, self.reply, self.add_fault, self.empty)

    def sync(self, connection: str, full: bool) -> dict[str, Any]:
        """Read a connection, and return its report once its texts have been sent."""
        job = self._celery.send_task("vtsync.sync_connection", kwargs={"connection": connection, "full": full})
        report: dict[str, Any] = job.get(timeout=SYNC_SECONDS, interval=0.01)
        self.settle()
        return report

    # what the phones show

    def texts(self) -> list[SandboxMessage]:
        """Return the texts that were sent, oldest first."""
        return self.phones.messages("sent_by_platform")

    def records(self) -> list[SandboxMessage]:
        """Return the texts that were recorded, and sent to nobody, oldest first."""
        return self.phones.messages("recorded")

    def contacts(self) -> list[ContactJson]:
        """Return the contacts of VirtualText."""
        return self.phones.contacts()

    def messages(self, number: str | None) -> list[MessageSummary]:
        """Return what vtsync has stored, with state and reason, newest first."""
        return find_messages(self.runtime, number=number, limit=1000)

    def wait_for_text(self, to: str, containing: str, timeout: float) -> SandboxMessage:
        """Return the first text to a number. Raises AssertionError that says what happened instead."""

        def arrived() -> SandboxMessage | None:
            return next((one for one in self.texts() if one.to == to and containing in one.text), None)

        if (found := self._until(arrived, timeout)) is not None:
            return found
        wanted = f"no text to {to}" + (f" that contains {containing!r}" if containing else "")
        raise AssertionError(f"{wanted} in {timeout:g} s; {self._instead(to)}")

    # the customer

    def reply(self, from_: str, text: str, to: str, media: Sequence[str]) -> SandboxMessage:
        """Let a customer write. Return once vtsync has processed it."""
        account = self._account_of(to, from_)
        known = any(one.phone == from_ for one in self.phones.messages())
        number = to or ("" if known else self.runtime.settings.accounts[account].from_number)
        message = self.phones.inbound(from_, text, to=number, media=media, account=account)
        self.settle()
        return message

    def add_fault(self, **fields: Any) -> int:
        """Let VirtualText fail."""
        return self.phones.add_fault(**fields)

    def _account_of(self, number: str, customer: str) -> str:
        """Return whose number it is; without a number, who texted the customer last, else the first account."""
        if not number:
            accounts = [one.account for one in self.phones.messages() if one.phone == customer]
            return accounts[-1] if accounts else next(iter(self.runtime.settings.accounts))
        owners = (name for name, one in self.runtime.settings.accounts.items() if one.from_number == number)
        return next(owners, "")

    # waiting and emptying

    def settle(self, timeout: float = PATIENCE_SECONDS) -> None:
        """Return once nothing is left to do now. What comes later, such as ``send_at``, stays. Raises AssertionError.

        Use it before you assert that something was *not* sent.
        """
        self.phones.wait_for_relay(timeout)
        if not self._until(self._is_idle, timeout, meanwhile=self._wake):
            raise AssertionError(f"vtsync is still at work after {timeout:g} s; {self._instead(None)}")

    def empty(self) -> None:
        """Make the fleet as new: no contact, text, job, opt-out or fault. Raises AssertionError."""
        self.phones.remove_faults()
        self.settle(EMPTYING_SECONDS)
        if not self._until(self._without_rows, EMPTYING_SECONDS):
            raise AssertionError(f"vtsync is still at work after {EMPTYING_SECONDS:g} s; {self._instead(None)}")
        self.phones.reset()
        for account in self.runtime.settings.accounts.values():
            if account.relay_secret is not None:
                relay = f"{self.url}/relay/{account.relay_secret.get_secret_value()}"
                self.phones.state.webhooks[account.uid.get_secret_value()] = relay

    def _without_rows(self) -> bool:
        """Delete what tests leave in the store. False: a worker has taken a row meanwhile, and must end first."""
        with writing(self.runtime.engine) as db:
            if any(_is_leased(db, one, utcnow()) for one in _LEASED):
                return False
            for table in reversed(SQLModel.metadata.sorted_tables):
                if table not in KEPT:
                    db.execute(table.delete())
            return True

    @cached_property
    def _celery(self) -> Celery:
        app = Celery("another-service", set_as_current=False)
        app.conf.update(self._broker)
        return app

    @cached_property
    def _broker(self) -> dict[str, Any]:
        return embedded_settings(self.runtime.settings.data_dir)

    def _until(self, condition: Callable[[], T], seconds: float, meanwhile: Callable[[], object] = lambda: None) -> T:
        """Return what the condition gives once it is true, or when the time is up. Raises FleetFailed."""
        began, looks = time.monotonic(), 0
        while not (found := condition()) and time.monotonic() < began + seconds:
            looks += 1
            if looks % 10 == 0:
                meanwhile()
                for process in self.processes:
                    process.check()
            time.sleep(0.01)
        return found

    def _wake(self) -> None:
        """Do what the next tick would do, a second later: say that there is work."""
        with reading(self.runtime.engine) as db:
            due = [(kind, kind.waiting(db, self.runtime.settings, utcnow())) for kind in _WORK]
        for kind, calls in due:
            for call in calls:
                self._celery.send_task(call.task, args=call.arguments, queue=kind.queue, ignore_result=True)

    def _is_idle(self) -> bool:
        # Rows before and after the broker: a worker may take a row while the broker is looked at.
        return self._no_rows() and self._no_jobs() and self._no_rows()

    def _no_rows(self) -> bool:
        now = utcnow()
        with reading(self.runtime.engine) as db:
            return not _is_due(db, self.runtime.settings) and not any(_is_leased(db, table, now) for table in _LEASED)

    def _no_jobs(self) -> bool:
        folder = Path(self._broker["broker_transport_options"]["data_folder_in"])
        jobs = [*folder.glob("*.msg"), *folder.parent.glob("taken/*/*.msg")]
        return all(job.name.endswith(f".{TICK_QUEUE}.msg") for job in jobs)

    def _instead(self, number: str | None) -> str:
        """Return what has been sent and decided, for the person who reads a failure."""
        known = [
            f"{one.text!r} to {one.to_number}: {one.state}{f' ({one.reason})' if one.reason else ''}"
            for one in self.messages(number)[:10]
        ]
        return f"vtsync has: {'; '.join(known)}" if known else "vtsync has got no job for it"


_WORK = (PUSH, SENDS, RECORDS, INBOX, DELIVERIES)
_LEASED = [
    (table, table.c[name])
    for table in SQLModel.metadata.sorted_tables
    if table not in KEPT
    for name in table.c.keys()  # noqa: SIM118 - iterating gives columns
    if name.endswith("lease_until")
]


def _is_due(db: Connection, settings: Settings) -> bool:
    now = utcnow()
    return any(kind.waiting(db, settings, now) for kind in _WORK)


def _is_leased(db: Connection, leased: tuple[Table, Column[Any]], now: datetime) -> bool:
    table, until = leased
    return db.execute(select(table).where(until > now).limit(1)).first() is not None
