"""Runs the whole product and compares every number with the sandbox's own log.

Sandbox, worker and scheduler are separate processes. "Another service" sends its jobs through the broker, by the
names of the tasks. Nothing is left running at the end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from worker.core.isolated import isolated
from worker.demo import people
from worker.demo.people import DemoPerson
from worker.demo.setting import Setting

PATIENCE_SECONDS = 90.0
PAGES_PORT = 8765


class DemoFailed(Exception):
    """Something did not happen in time. The message says what."""


@dataclass
class Fact:
    """One number of the summary, as we count it and as the sandbox counts it."""

    what: str
    ours: int
    theirs: int

    @property
    def agrees(self) -> bool:
        """Return whether both counts are the same."""
        return self.ours == self.theirs


def run_demo(keep: bool = False) -> int:
    """Run the demo and return the exit code: 0 only if the sandbox confirms every number."""
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="vtsync-demo-"))
    try:
        with contextlib.ExitStack() as stack:
            demo = Demo(console, Setting(folder), stack)
            return demo.run()
    except DemoFailed as error:
        console.print(f"The demo failed: {error}", style="red", markup=False)
        _show_logs(console, folder)
        return 1
    finally:
        if keep:
            console.print(f"The demo's files are in {folder}")
            _offer_pages(console, Setting(folder))
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _offer_pages(console: Console, setting: Setting) -> None:
    """Create a user of the pages, and say how to look at them."""
    password = secrets.token_urlsafe(12)
    command = isolated("vtsync", "users", "create", "demo", "--role", "admin")
    created = subprocess.run(
        command, input=password, text=True, capture_output=True, env=setting.environment(), check=False
    )
    if created.returncode:  # the demo failed before there was a configuration or a store
        return
    setting.keep_token()
    prefix = _command_prefix()
    console.print("To look at all of it as pages, start this:")
    console.print(f"  VTSYNC_CONFIG={setting.configuration} {prefix}vtsync web --port {PAGES_PORT}", markup=False)
    console.print(f"Then sign in at http://127.0.0.1:{PAGES_PORT}/ui", markup=False)
    console.print(f"  name demo, password {password}", markup=False)
    console.print("The demo has stopped its worker and scheduler; the first page says so.")


@dataclass
class Demo:
    """The demo, step by step."""

    console: Console
    setting: Setting
    stack: contextlib.ExitStack
    exported: list[DemoPerson] = field(default_factory=people.exported)
    customers: list[DemoPerson] = field(default_factory=people.customers)
    facts: list[Fact] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Run all steps. Return 0 if every number agrees."""
        self._prepare()
        self._first_sync()
        self._changes()
        self._jobs_of_another_service()
        self._a_mass_change()
        self._nothing_to_do()
        return self._summary()

    # the steps

    def _prepare(self) -> None:
        self._say("Starting a VirtualText sandbox, a worker and a scheduler (SQLite, a folder as broker, no server)")
        people.write_export(self.setting.export, self.exported)
        people.write_database(self.setting.database, self.customers)
        self._start("sandbox", self.setting.sandbox_command())
        self.setting.connect(self._until("the sandbox to listen", self.setting.sandbox_address))
        self.setting.configure()
        for person in self.exported[:20]:  # contacts that exist in VirtualText already
            self._create_by_hand(person)
        self.stopping_up = self._start("up", self.setting.up_command())
        self.celery = self.setting.plain_celery()
        self.before = self._record()

    def _first_sync(self) -> None:
        self._say(f"First sync: {len(self.exported)} records of a CSV export, {len(self.customers)} of a SQL database")
        seen = added = rejected = 0
        for connection in ("export", "customers"):
            report = self._call("vtsync.sync_connection", connection=connection)
            seen, added, rejected = seen + report["seen"], added + report["added"], rejected + report["rejected"]
        usable = {p.e164 for p in self._phones()}
        self._until(
            "all contacts to be pushed", lambda: self._pushed() == len(usable), show=self._pushed, of=len(usable)
        )
        record = self._record()
        created = self._pushed() - self.setting.contacts_adopted()
        self._detail(f"{added} records stored, {rejected} rejected with reasons, {len(usable)} contacts in VirtualText")
        self._fact("contacts in VirtualText", len(usable), record["contacts"])
        self._fact("phones with two contacts", len(usable) - self._pushed(), len(record["duplicate_phones"]))
        self._fact("contacts created", created, record["contacts"] - self.before["contacts"])
        self._fact("texts sent by the first sync", self._texts_sent(), self._sent(record))

    def _changes(self) -> None:
        self._say("In the CRMs, one name is corrected, one deal is won and one customer is new. Syncing again")
        before, mark = self._record(), datetime.now(UTC)
        renamed = replace(self.exported[40], last_name="Corrected-Name")
        won = replace(self.exported[41], stage="Won")
        self.exported[40:42] = [renamed, won]
        people.write_export(self.setting.export, self.exported)
        new = DemoPerson("9001", "Nia", "Newcomer", "nia@example.org", people.e164(700), "Lead")
        people.save_customer(self.setting.database, new)
        for connection in ("export", "customers"):
            self._call("vtsync.sync_connection", connection=connection)
        self._until("the update and two texts", lambda: self._texts_sent() == 2 and self._waiting() == 0)
        record = self._record()
        self._detail("1 contact updated, 1 created, 2 texts sent: one welcome, one congratulation")
        created, updated = self.setting.pushed_since(mark)
        self._fact("contacts updated after one change", updated, _calls(record, "update") - _calls(before, "update"))
        self._fact("contacts created after one addition", created, _calls(record, "create") - _calls(before, "create"))
        self._fact("texts because of these changes", self._texts_sent(), self._sent(record))

    def _jobs_of_another_service(self) -> None:
        self._say("Another service sends a text and records one that a carrier has sent. It sends each job twice")
        before = self._record()
        text = {
            "account": "demo",
            "to": people.e164(3),
            "message": "Your order 1042 is ready for pick-up.",
            "idempotency_key": "order-1042-ready",
        }
        sent_elsewhere = {
            "account": "demo",
            "to": people.e164(4),
            "message": "Your table is booked for 19:30.",
            "carrier": "twilio",
            "carrier_message_id": "SM0000000000000000000000000000demo",
        }
        jobs = [("vtsync.send_message", text), ("vtsync.record_message", sent_elsewhere)] * 2
        answers = [self._call(task, **arguments) for task, arguments in jobs]
        self._until("the text and the record", lambda: self._texts_sent() == 3 and self._texts_recorded() == 1)
        record = self._record()
        self._detail("1 text sent, 1 recorded. Each repeated job got the result of the first one")
        repeated = sum(answer["duplicate"] for answer in answers)
        reached = self._sent(record) - self._sent(before) + _recorded(record) - _recorded(before)
        self._fact("texts sent so far", self._texts_sent(), self._sent(record))
        self._fact("texts recorded, not sent", self._texts_recorded(), _recorded(record))
        self._fact("repeated jobs without an effect", repeated, len(jobs) - reached)

    def _a_mass_change(self) -> None:
        self._say("Somebody imports a list: 40 deals are won at once")
        sent = self._sent(self._record())
        self.exported[100:140] = [replace(person, stage="Won") for person in self.exported[100:140]]
        people.write_export(self.setting.export, self.exported)
        report = self._call("vtsync.sync_connection", connection="export")
        if report["held"] != 40:
            raise DemoFailed(f"{report['held']} texts were held for approval instead of 40")
        self._detail(f"{report['held']} texts wait for approval (`vtsync approve`), nobody was texted")
        self._fact("texts sent because of the import", self._texts_sent() - sent, self._sent(self._record()) - sent)

    def _nothing_to_do(self) -> None:
        self._say("One more sync of everything")
        before = self._record()
        mark, unchanged = datetime.now(UTC), 0
        for connection in ("export", "customers"):
            unchanged += self._call("vtsync.sync_connection", connection=connection)["unchanged"]
        self._detail(f"{unchanged} records read, no request to VirtualText")
        pushed = sum(self.setting.pushed_since(mark))
        self._fact("requests for unchanged records", pushed, _all_calls(self._record()) - _all_calls(before))

    def _summary(self) -> int:
        table = Table(title="\nWhat happened", title_justify="left", title_style="bold", box=None, pad_edge=False)
        for column, justify in (("", "left"), ("vtsync says", "right"), ("the sandbox says", "right"), ("", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for fact in self.facts:
            table.add_row(fact.what, str(fact.ours), str(fact.theirs), "" if fact.agrees else "[red]differs[/]")
        self.console.print(table)
        agreed = all(fact.agrees for fact in self.facts)
        seconds = time.monotonic() - self.began
        self.console.print(f"\nDone in {seconds:.0f} s; {'every number agrees' if agreed else 'the numbers differ'}.\n")
        self.console.print("To use it on your own data:")
        prefix = _command_prefix()
        next_steps = Table.grid(padding=(0, 2))
        for command, what in (
            ("init", "asks for your CRM and account, tries both, and writes vtsync.toml"),
            ("check", "tries every credential and names every mistake"),
            ("plan", "shows what a sync would create, update and text, and changes nothing"),
            ("up", "runs worker and scheduler"),
            ("sandbox", "runs a local VirtualText to try it against; its page shows the phones"),
        ):
            next_steps.add_row(f"  {prefix}vtsync {command}", what)
        self.console.print(next_steps, soft_wrap=False)
        return 0 if agreed else 1

    # helpers

    def _say(self, text: str) -> None:
        step = Table.grid(padding=(0, 2))
        step.add_row(f"[bold]{time.monotonic() - self.began:4.0f} s[/]", text)
        self.console.print(step, soft_wrap=False)

    def _detail(self, text: str) -> None:
        self.console.print(Padding(Text(text), (0, 0, 0, 8)), soft_wrap=False)

    def _fact(self, what: str, ours: int, theirs: int) -> None:
        self.facts.append(Fact(what, ours, theirs))

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        log = self.stack.enter_context((self.setting.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=self.setting.environment(), start_new_session=True
        )
        self.stack.callback(_stop, process)
        return process

    def _call(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Send a task by name and wait for its result, as another service does."""
        result = self.celery.send_task(task, kwargs=arguments)
        try:
            answer: dict[str, Any] = result.get(timeout=PATIENCE_SECONDS, interval=0.05)
        except Exception as error:  # noqa: BLE001 - without an answer the demo has failed
            raise DemoFailed(f"the task {task} gave no result ({type(error).__name__})") from None
        if not answer["ok"]:
            raise DemoFailed(f"the task {task} answered {answer['error']}")
        return answer

    def _until(
        self,
        what: str,
        condition: Callable[[], Any],
        show: Callable[[], int] | None = None,
        of: int = 0,
    ) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._progress(what) as progress:
            while time.monotonic() < deadline:
                if value := condition():
                    return value
                if show is not None:
                    progress(f"{show()} of {of}")
                time.sleep(0.1)
        raise DemoFailed(f"waited {PATIENCE_SECONDS:.0f} s for {what}")

    @contextlib.contextmanager
    def _progress(self, what: str) -> Iterator[Callable[[str], None]]:
        if not self.console.is_terminal:
            yield lambda _: None
            return
        with self.console.status(f"waiting for {what}") as status:
            yield lambda text: status.update(f"waiting for {what}: {text}")

    def _create_by_hand(self, person: DemoPerson) -> None:
        body = {"phoneNumber": self._parsed(person), "fullName": person.full_name, "email": person.email}
        answer = requests.post(
            f"{self.setting.create_url}/api/contacts", json=body, headers=self.setting.authorization(), timeout=10
        )
        answer.raise_for_status()

    def _phones(self) -> list[Any]:
        from worker.core.phones import Phone, parse_phone

        parsed = (parse_phone(person.phone, "US") for person in [*self.exported, *self.customers])
        return [phone for phone in parsed if isinstance(phone, Phone)]

    def _parsed(self, person: DemoPerson) -> str:
        from worker.core.phones import Phone, parse_phone

        phone = parse_phone(person.phone, "US")
        if not isinstance(phone, Phone):
            raise DemoFailed(f"{person.phone} is not a phone number")
        return phone.e164

    # counts of the store

    def _pushed(self) -> int:
        return self.setting.contacts_in_state("synced")

    def _waiting(self) -> int:
        return sum(map(self.setting.contacts_in_state, ("due", "creating", "updating")))

    def _texts_sent(self) -> int:
        return self.setting.messages("send", "accepted")

    def _texts_recorded(self) -> int:
        return self.setting.messages("record", "accepted")

    # counts of the sandbox

    def _record(self) -> dict[str, Any]:
        answer = requests.get(f"{self.setting.api_url}/sandbox/state", timeout=10)
        answer.raise_for_status()
        record: dict[str, Any] = answer.json()
        return record

    @staticmethod
    def _sent(record: dict[str, Any]) -> int:
        return int(record["messages"]["sent_by_platform"])


def _recorded(record: dict[str, Any]) -> int:
    return int(record["messages"]["recorded"])


def _calls(record: dict[str, Any], endpoint: str) -> int:
    return sum(record["requests"].get(endpoint, {}).values())


def _all_calls(record: dict[str, Any]) -> int:
    return sum(sum(counts.values()) for counts in record["requests"].values())


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _show_logs(console: Console, folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-15:]
        console.print(f"--- the end of {log.name}", markup=False)
        for line in lines:
            console.print(line, markup=False)


def _command_prefix() -> str:
    """Return the path of the running command, if it is not on PATH."""
    if shutil.which("vtsync"):
        return ""
    with contextlib.suppress(ValueError):
        return f"{Path(sys.executable).parent.relative_to(Path.cwd())}/"
    return f"{Path(sys.executable).parent}/"
