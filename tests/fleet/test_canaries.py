"""Where secrets, texts and numbers may be after a whole run, and nowhere else.

Each secret is a word that occurs nowhere else, a canary. A fleet of real processes runs with debug logs: it syncs,
sends, receives, delivers, and fails in many ways. Its store is encrypted. Then everything that it has written or shown
is searched for them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import socket
import sqlite3
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, NullPool, create_engine, select

from tests.adapters.rest_crms import CursorCrm
from tests.faults.servers import OwnRedis, own_schema
from tests.harness import Fleet, until
from tests.services import postgres_url
from worker.core.private_files import private_file
from worker.sandbox import Sandbox
from worker.sandbox.state import SandboxAccount

pytestmark = pytest.mark.timeout(300)


def canary(prefix: str = "") -> str:
    return f"{prefix}Canary{secrets.token_hex(12)}"


def number(last: int) -> str:
    return f"+1415555{last:04d}"


STORE, CLI, HTTP, BROKER = "store", "output of commands", "answers of the HTTP API", "broker"
LOGS, FILES, METRICS, ARGUMENTS = "logs", "other files of data_dir", "metrics", "arguments of processes"
PLACES = (STORE, CLI, HTTP, BROKER, LOGS, FILES, METRICS, ARGUMENTS)

ALLOWED: dict[str, set[str]] = {
    # Credentials: nowhere. They are in the environment or in files of the operator's.
    "account token": set(),
    "relay secret": set(),
    "secret of CRM events": set(),
    "CRM token": set(),
    "client secret of OAuth": set(),
    "key of the grants": set(),
    "key of the store": set(),
    "grant of a CRM": set(),  # the store has it encrypted
    "secret of a webhook": set(),
    "token of a carrier": set(),
    "password of the store": set(),
    "password of the broker": set(),
    "API key": {"keys create"},  # once, when it is created
    "AccessToken of a Relay event": set(),
    "a wrong API key": set(),
    "a wrong relay secret": set(),
    # Texts: only where texts are shown. The store has them encrypted.
    "text that is sent": {CLI, HTTP},
    "text that VirtualText repeats in an error": {CLI, HTTP},
    "text of a reply": {CLI, HTTP},
    "text of a job with a misspelt task": set(),
    "text of a job with a misspelt argument": set(),
    "text of a malformed message": set(),
    "value of a bad header": set(),
    "text of a request that is refused": set(),
    "text of a request with a wrong key": set(),
    "field of a CRM that is not used": set(),
    # People: never in the log. Numbers are keys of the store, and in clear.
    "number": {STORE, CLI, HTTP},
    "name of a person": {CLI, HTTP},
}
"""Each canary, and the places in which it may be."""

NUMBERS = (number(101), number(102), number(103), number(104))


class Run:
    """One fleet, the secrets that it uses, and everything that it shows."""

    def __init__(self, folder: Path, store: str | None, redis: bool) -> None:
        self.folder = folder
        self.values = {name: canary() for name in ALLOWED}
        keys = ("key of the grants", "key of the store")
        self.values |= {"number": NUMBERS[0][1:]} | {one: base64.b64encode(os.urandom(32)).decode() for one in keys}
        self.values |= {"secret of a webhook": base64.b64encode(os.urandom(24)).decode()}
        self.values |= {"a wrong API key": f"{secrets.token_hex(22)[:43]}"}
        self.seen: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        """What was found in each place: (where exactly, bytes)."""
        self.store = store and re.sub(r"://([^@/]+)@", rf"://\1:{self.values['password of the store']}@", store)
        self.redis = None
        if redis:
            self.redis = OwnRedis(folder, "--requirepass", self.values["password of the broker"])
        account = SandboxAccount("sandbox", self.values["account token"], ("+12025550100",))
        self.sandbox = Sandbox(accounts=[account])
        self.crm = CursorCrm(key=self.values["CRM token"])
        self.port = free_port()

    def __enter__(self) -> Run:
        broker = None
        if self.redis is not None:
            self.redis.start()
            broker = self.redis.url.replace("://", f"://:{self.values['password of the broker']}@")
        self.sandbox.start()
        self.crm.serve()
        self.crm.put(self.values["name of a person"], NUMBERS[0], "ada@example.com")
        self.crm.people[1].values["secret_note"] = self.values["field of a CRM that is not used"]
        self.fleet = Canaries(self.folder, self.sandbox, broker, self.store)
        self.fleet.more = self.environment()
        self.fleet.configure(more=self.configuration(), account='relay_secret = { file = "relay" }')
        private_file(self.folder / "relay").write_text(self.values["relay secret"])
        return self

    def __exit__(self, *_: object) -> None:
        self.fleet.stop()
        self.sandbox.stop()
        self.crm.stop()
        if self.redis is not None:
            self.redis.kill()

    def environment(self) -> dict[str, str]:
        v = self.values
        return {
            "TEST_TOKEN": v["account token"],
            "CANARY_CRM": v["CRM token"],
            "CANARY_CLIENT": v["client secret of OAuth"],
            "CANARY_GRANTS": v["key of the grants"],
            "CANARY_STORE": v["key of the store"],
            "CANARY_WEBHOOK": f"whsec_{v['secret of a webhook']}",
            "CANARY_CARRIER": v["token of a carrier"],
            "CANARY_CRM_EVENTS": v["secret of CRM events"],
            "VTSYNC_LOG_LEVEL": "debug",
        }

    def configuration(self) -> str:
        """What fails is part of it: a subscriber, a carrier and a CRM that do not answer."""
        dead = f"http://127.0.0.1:{free_port()}"
        grants = 'grant_key = { env = "CANARY_GRANTS" }\nencryption_key = { env = "CANARY_STORE" }'
        return f"""
{grants if self.store else "[store]" + chr(10) + grants}
[connections.crm]
adapter = "rest"
account = "main"
schedule = "2s"
fields = {{ phone = "mobile", full_name = "name" }}
[connections.crm.options]
name = "The CRM"
url = "{self.crm.url}"
path = "people"
records = "data.people"
auth = {{ kind = "bearer", token = {{ env = "CANARY_CRM" }} }}
paging = {{ kind = "cursor", parameter = "cursor", next = "paging.next", size = "page_size" }}
[connections.away]
adapter = "rest"
account = "main"
schedule = "2s"
[connections.away.options]
name = "The other CRM"
url = "{dead}"
path = "people"
records = "data.people"
[connections.away.options.auth]
kind = "oauth"
authorize_url = "{dead}/authorize"
token_url = "{dead}/token"
client_id = "vtsync"
client_secret = {{ env = "CANARY_CLIENT" }}
[connections.hub]
adapter = "hubspot"
account = "main"
schedule = "2s"
webhook_secret = {{ env = "CANARY_CRM_EVENTS" }}
options = {{ token = {{ env = "CANARY_CRM" }}, client_secret = {{ env = "CANARY_CLIENT" }}, api_url = "{dead}" }}
[subscribers.shop]
url = "{dead}/texts"
secret = {{ env = "CANARY_WEBHOOK" }}
events = ["*"]
[carriers.twilio]
carrier = "twilio"
account = "main"
account_id = "AC0123456789abcdef"
auth_token = {{ env = "CANARY_CARRIER" }}
api_url = "{dead}"
poll_every = "1s"
[web]
public_url = "http://127.0.0.1:{self.port}"
"""

    # --- what happens

    def command(self, *words: str) -> str:
        """Run a command and keep what it shows."""
        done = self.fleet.run(*words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        place = "keys create" if words[:2] == ("keys", "create") else CLI
        self.seen[place].append((" ".join(words), done.output.encode()))
        return done.stdout

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """Make a request and keep the answer."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"} | headers
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                found = str(answer.headers).encode() + answer.read()
        except urllib.error.HTTPError as error:
            found = str(error.headers).encode() + error.read()
        self.seen[METRICS if path == "/metrics" else HTTP].append((f"{method} {path}", found))
        return found

    def run(self) -> None:
        assert self.fleet.process("migrate").returncode == 0
        scopes = ("messages:write", "messages:read", "contacts:read", "metrics:read", "opt-outs:write", "operate:read")
        self.key = self.command(
            "keys", "create", "shop", "--all-accounts", *(f"--scope={one}" for one in scopes)
        ).strip()
        self.values["API key"] = self.key.split("_", 2)[2]
        self.put_grant()
        self.sandbox.add_fault(
            **{"endpoint": "send", "phone": NUMBERS[1], "action": "answer", "status": 422},
            body=json.dumps({"errors": [{"message": f"{self.values['text that VirtualText repeats in an error']}"
                                                    f" to {NUMBERS[0]} is no text"}]}),
        )  # fmt: skip
        self.sandbox.add_fault(endpoint="create", action="drop", calls=1)
        for command in (("up",), ("web", "--port", str(self.port))):
            self.fleet.start(*command)
        until("the HTTP API", lambda: answers(self.port))
        self.jobs()
        self.requests()
        until("the text", lambda: self.fleet.states()["accepted"] >= 2, 60)
        until("the refused text", lambda: self.fleet.states()["rejected"] + self.fleet.states()["failed"] >= 1, 60)
        until("the dead letters", lambda: len(self.fleet.query("SELECT 1 FROM dead_letter")) >= 3, 60)
        until("the contact", lambda: self.fleet.query("SELECT 1 FROM contact WHERE push_state = 'synced'"), 60)
        until("the reply", lambda: self.fleet.query("SELECT 1 FROM inbound_message"), 60)
        until("a delivery", lambda: self.fleet.query("SELECT 1 FROM forward WHERE attempts > 0"), 60)
        self.look()

    def put_grant(self) -> None:
        """Store a consent, as `vtsync connect` does."""
        code = (
            "import sys; from worker.contacts.grants import save_grant;"
            "from worker.contacts.sealing import GrantCipher;"
            "from worker.runtime import open_runtime; from worker.store.db import writing;"
            "from worker.store.models import utcnow; runtime = open_runtime(); word = sys.stdin.read();\n"
            "values = {'access_token': word, 'refresh_token': word, 'expires_at': '2020-01-01T00:00:00+00:00'}\n"
            "sealed = GrantCipher.of(runtime.settings).seal('away', values)\n"
            "with writing(runtime.engine) as db: save_grant(db, 'away', sealed, utcnow())"
        )
        self.fleet.python(code, self.values["grant of a CRM"])

    def jobs(self) -> None:
        v, service = self.values, self.fleet.service()
        job = {"account": "main", "to": NUMBERS[0], "message": v["text that is sent"], "idempotency_key": "1"}
        service.send_task("vtsync.send_message", kwargs=job)
        service.send_task("vtsync.send_message", kwargs=job | {"to": NUMBERS[1], "idempotency_key": "2"})
        service.send_task("vtsync.send_mesage", kwargs={"message": v["text of a job with a misspelt task"]})
        wrong = {"account": "main", "to": NUMBERS[0], "mesage": v["text of a job with a misspelt argument"]}
        service.send_task("vtsync.send_message", kwargs=wrong, task_id="wrong")
        with service.connection_for_write() as connection, contextlib.closing(connection.Producer()) as producer:
            producer.publish(
                json.dumps({"args": v["text of a malformed message"]}), routing_key="celery", retry=True,
                content_type="application/json", content_encoding="utf-8",
                headers={"task": "vtsync.send_message", "id": "malformed"},
            )  # fmt: skip
            producer.publish(
                {"account": "main"}, routing_key="celery", retry=True, serializer="json",
                headers={"task": "vtsync.send_message", "id": "header", "eta": v["value of a bad header"]},
            )  # fmt: skip

    def requests(self) -> None:
        v = self.values
        text = {"account": "main", "to": NUMBERS[2], "message": v["text that is sent"]}
        self.request("POST", "/v1/messages", text)
        refused = v["text of a request that is refused"]
        self.request("POST", "/v1/messages", {"account": "main", "to": "1", "mesage": refused, "message": refused})
        self.request("POST", "/v1/messages", f'{{"message": "{refused}'.encode())
        self.request("POST", "/v1/messages", f"message={refused}".encode(), **{"Content-Type": "text/plain"})
        wrong = f"Bearer vtk_0123456789ab_{v['a wrong API key']}"
        self.request("POST", "/v1/messages", {"message": v["text of a request with a wrong key"]}, Authorization=wrong)
        reply = {"MessageID": "in1", "ConversationID": "c1", "ToNumber": "+12025550100", "FromNumber": NUMBERS[0]}
        reply |= {"MessageBody": v["text of a reply"], "MessageDirection": "in", "TextableUserID": "sandbox"}
        reply |= {"AccessToken": v["AccessToken of a Relay event"], "ContactName": "Ada", "ContactEmail": ""}
        self.request("POST", f"/relay/{v['relay secret']}", reply)
        self.request("POST", f"/relay/{v['relay secret']}", b"not an event")
        self.request("POST", f"/relay/{v['a wrong relay secret']}", reply)
        self.request("POST", "/carriers/twilio/twilio", {"Body": refused}, **{"X-Twilio-Signature": "x"})
        self.request("POST", f"/crm/hub/{v['secret of CRM events']}", {"id": refused})
        self.request("GET", f"/v1/contacts/{NUMBERS[0]}")
        self.request("GET", "/connect/callback?code=x&state=y")

    def look(self) -> None:
        """Show everything that can be shown, and collect everything that was written."""
        for pid in descendants(process.pid for process in self.fleet.processes):
            self.seen[ARGUMENTS].append((f"process {pid}", Path(f"/proc/{pid}/cmdline").read_bytes()))
        for path in ("/v1/messages", f"/v1/contacts/{NUMBERS[0]}", "/health/ready", "/health/fleet", "/openapi.json"):
            self.request("GET", path)
        for path in ("/v1/dead-letters", "/v1/relay/events", "/v1/contacts?state=rejected", "/v1/status", "/v1/alerts"):
            self.request("GET", path)
        self.request("GET", "/metrics")
        commands = (
            "status", "status --json", "status --rejected", "status --contacts rejected", "doctor", "doctor --json",
            "check", "messages", "messages --json", "forwards list", "forwards list --json", "relay show --json",
            "relay url", "dead-letters --json", "keys list --json", "opt-outs", "review", "grants", "plan", "health",
            f"explain {NUMBERS[0]}", f"explain {NUMBERS[1]} --json", "sync crm", "sync away", "fields crm", "prune",
        )  # fmt: skip
        for command in commands:
            self.command(*command.split())
        with_mistake = self.folder / "vtsync.toml"
        text = with_mistake.read_text()
        with_mistake.write_text(text.replace('{ env = "TEST_TOKEN" }', f'"{self.values["account token"]}"'))
        self.command("check")
        with_mistake.write_text(text)
        if self.redis is not None:
            self.look_into_redis()
        self.fleet.end()
        for path in self.folder.glob("*.log"):
            self.seen[LOGS].append((path.name, path.read_bytes()))
        for path in (self.folder / "data").rglob("*"):
            if path.is_file():
                is_store = path.name.startswith("vtsync.sqlite3")
                self.seen[STORE if is_store else FILES].append((str(path), path.read_bytes()))
        self.look_into_store()

    def look_into_store(self) -> None:
        """Read every column of every table."""
        if self.store is None:
            with contextlib.closing(sqlite3.connect(self.folder / "data" / "vtsync.sqlite3")) as db:
                self.seen[STORE].append(("dump", "\n".join(db.iterdump()).encode()))
            return
        engine = create_engine(self.store, poolclass=NullPool)
        tables = MetaData()
        with engine.connect() as db:
            tables.reflect(db)
            for table in tables.sorted_tables:
                rows = [tuple(bytes(one) if isinstance(one, memoryview) else one for one in row)
                        for row in db.execute(select(table))]  # fmt: skip
                self.seen[STORE].append((table.name, repr(rows).encode()))
        assert {"message", "api_key", "crm_grant"} <= set(tables.tables)

    def look_into_redis(self) -> None:
        """Read every key. Jobs were in it, but none is left; results and limits may be."""
        from redis import Redis

        assert self.redis is not None
        with Redis.from_url(self.redis.url, password=self.values["password of the broker"]) as client:
            until("the jobs", lambda: not client.llen("celery") and not client.hlen("unacked"))
            for key in client.scan_iter():
                self.seen[BROKER].append((key.decode(), key + b" " + (client.dump(key) or b"")))

    # --- what was found

    def found(self) -> dict[str, set[str]]:
        """Return the places of each canary."""
        return {
            name: {
                place
                for place, pieces in self.seen.items()
                if any(spelling in data for _, data in pieces for spelling in spellings(value))
            }
            for name, value in self.values.items()
        }

    def where(self, name: str, places: set[str]) -> list[str]:
        """Say exactly where a canary is."""
        return [
            f"{place}: {what}: ...{data[max(at - 150, 0) : at + 60]!r}..."
            for place in places
            for what, data in self.seen[place]
            for spelling in spellings(self.values[name])
            if (at := data.find(spelling)) >= 0
        ][:10]


class Canaries(Fleet):
    """A fleet with more variables in its environment."""

    def __init__(self, folder: Path, sandbox: Sandbox, broker: str | None, store: str | None) -> None:
        super().__init__(folder, sandbox, broker, store)
        self.more: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return super().environment() | self.more

    def python(self, code: str, given: str) -> None:
        """Run code in the environment of the fleet; ``given`` is its input."""
        import subprocess
        import sys

        command = [sys.executable, "-c", code]
        subprocess.run(command, input=given, text=True, check=True, env=self.environment(), cwd=self.folder)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2):
        return True
    return False


def descendants(pids: Iterator[int]) -> list[int]:
    """Return these processes and everything that they have started."""
    found = list(pids)
    for pid in found:
        for children in Path("/proc").glob(f"{pid}/task/*/children"):
            with contextlib.suppress(OSError):  # a thread that has just ended
                found += map(int, children.read_text().split())
    return found


def spellings(value: str) -> list[bytes]:
    """Return the ways in which a value may be written: as it is, and in base64 at each of three positions."""
    raw = value.encode()
    encoded = (base64.b64encode(b"\0" * skipped + raw)[4 if skipped else 0 : -4] for skipped in range(3))
    return [raw, *(one[1:] for one in encoded)]


@pytest.fixture(params=["files", pytest.param("servers", marks=[pytest.mark.postgres, pytest.mark.redis])])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    with contextlib.ExitStack() as stack:
        servers = request.param == "servers"
        store = stack.enter_context(own_schema(postgres_url())) if servers else None
        made = stack.enter_context(Run(tmp_path, store, redis=servers))
        try:
            made.run()
        except AssertionError as error:
            error.add_note(made.fleet.ends_of_logs())
            raise
        yield made


def test_every_canary_is_only_where_it_may_be(run: Run) -> None:
    assert {place for place in PLACES if not run.seen[place]} <= {BROKER}
    found = run.found()
    wrong = {name: run.where(name, places - ALLOWED[name]) for name, places in found.items() if places - ALLOWED[name]}
    assert wrong == {}
    # The search finds what is there, so it would find the rest.
    assert found["number"] == {STORE, CLI, HTTP}
    for name in ("text that is sent", "name of a person"):
        assert found[name] == {CLI, HTTP}
    assert found["text of a reply"] == {CLI, HTTP}
    assert CLI in found["text that VirtualText repeats in an error"]
    assert found["API key"] == {"keys create"}
    assert any(b"1415" + "•••".encode() + b"0101" in log for _, log in run.seen[LOGS])


@pytest.mark.parametrize("padding", range(3))
def test_the_search_finds_base64(padding: int) -> None:
    value = canary()
    hidden = base64.b64encode(b"x" * padding + value.encode() + b"yz")
    assert any(spelling in hidden for spelling in spellings(value))
