"""`vtsync doctor` on real servers and files: what it finds, that it ends, and what it leaves as it was."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from sqlalchemy import insert, update

from tests.cli.conftest import Shell
from tests.faults.servers import OwnRedis
from tests.services import postgres_url, rabbitmq_url
from worker.app import app
from worker.core.findings import Finding, ok
from worker.doctor import checks
from worker.doctor.checks import Check
from worker.doctor.examine import run_check
from worker.runtime import open_runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import account_state, heartbeat
from worker.web.fleet import fleet_health

RELAY = 'relay_secret = { env = "CLI_RELAY" }'


@pytest.fixture(autouse=True)
def own_celery(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The application reads each test's configuration anew."""
    monkeypatch.setenv("CLI_RELAY", "r" * 30)
    app._conf, app.configured = None, False
    yield
    app._conf, app.configured = None, False


def bad(found: list[dict[str, Any]]) -> dict[str, str]:
    """What is not well, by the words that say what was found; each says why and what to do."""
    worse = [one for one in found if one["level"] != "ok"]
    assert all(one["why"] and one["do"] for one in worse)
    return {f"{one['what']}: {one['found']}": one["level"] for one in worse}


def level_of(words: str, found: dict[str, str]) -> str:
    (level,) = [level for text, level in found.items() if words in text]
    return level


def alive(shell: Shell) -> None:
    runtime = open_runtime()
    now = utcnow()
    row = {"version": "1", "started_at": now, "seen_at": now}
    with writing(runtime.engine) as connection:
        for role in ("worker", "beat", "web", "tick"):
            connection.execute(insert(heartbeat), row | {"id": f"{role}:here:1", "role": role})


def test_all_is_well(shell: Shell) -> None:
    shell.configure(RELAY)
    shell("status")
    alive(shell)
    found = bad(shell.json("doctor"))
    # Tests send at any hour, and may run as root.
    assert {text for text in found if "user:" not in text} == {'policy: quiet_hours is "none"'}
    assert "0 problems" in shell("doctor").stdout


def test_a_configuration_with_mistakes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLI_TOKEN")
    shell.configure("[worker]\nconcurency = 3\n")
    found = shell.json("doctor", code=1)
    words = " ".join(one["found"] + one["do"] for one in found if one["level"] == "problem")
    assert "CLI_TOKEN is not set" in words
    assert "worker.concurency" in words
    assert "disk" in {one["what"] for one in found}  # the machine was looked at all the same


def test_no_configuration_at_all(shell: Shell) -> None:
    (shell.folder / "vtsync.toml").unlink()
    assert any("does not exist" in text for text in bad(shell.json("doctor", code=1)))


def test_secrets_that_everybody_can_read(shell: Shell) -> None:
    (shell.folder / "key").write_text("r" * 30)
    (shell.folder / ".env").write_text("OTHER=1\n")
    shell.configure('relay_secret = { file = "key" }')
    for name in ("key", ".env", "vtsync.toml"):
        (shell.folder / name).chmod(0o666)
    found = bad(shell.json("doctor", code=1))
    assert level_of("/key", found) == "problem"
    assert level_of("/.env", found) == "problem"
    assert level_of("can write ", found) == "problem"


def test_credentials_that_are_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLI_TOKEN", "wrong")
    assert level_of("account main: VirtualText refuses", bad(shell.json("doctor", code=1))) == "problem"


def test_a_crm_that_is_not_there(shell: Shell) -> None:
    shell.configure('[connections.crm]\nadapter = "csv"\naccount = "main"\noptions = { path = "none/*.csv" }\n')
    assert level_of("connection crm", bad(shell.json("doctor", code=1))) == "problem"


def test_a_redis_that_forgets_and_is_shared(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis import Redis

    settings = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no", "--save", "")
    server = OwnRedis(tmp_path, *settings)
    server.start()
    try:
        with Redis.from_url(server.url) as client:
            client.set("session:1", "x")
            client.rpush("celery", *["{}"] * 3)
        monkeypatch.setenv("OWN_BROKER", server.url)
        shell.configure('[broker]\nurl = { env = "OWN_BROKER" }\nlimits_url = "redis://127.0.0.1:1/0"\n')
        found = bad(shell.json("doctor", code=1))
        with Redis.from_url(server.url) as client:
            assert client.llen("celery") == 3  # looked at, not taken
    finally:
        server.kill()
    assert level_of("allkeys-lru", found) == "problem"
    assert level_of("queued jobs are not saved", found) == "warning"
    assert level_of("session:1", found) == "problem"
    assert level_of("celery 3", found) == "problem"
    assert level_of("broker.limits_url cannot be reached", found) == "problem"


@pytest.mark.rabbitmq
def test_a_rabbitmq(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.faults.servers import alone_on_rabbitmq

    monkeypatch.setenv("OWN_BROKER", rabbitmq_url())
    shell.configure(RELAY + '\n[broker]\nurl = { env = "OWN_BROKER" }\n')
    with alone_on_rabbitmq(rabbitmq_url()):
        found = shell.json("doctor", code=0)
    assert not [text for text in bad(found) if text.startswith("broker:")]
    said = [one["found"] for one in found if one["what"] == "broker"]
    assert any(words.startswith("RabbitMQ 3") for words in said)
    assert "queues can be created, written and read" in said


def test_a_broker_and_a_store_that_are_away(shell: Shell) -> None:
    shell.configure(
        '[broker]\nurl = "redis://127.0.0.1:1/0"\n[store]\nurl = "postgresql+psycopg://nobody@127.0.0.1:1/x"\n'
    )
    found = bad(shell.json("doctor", code=1))
    assert level_of("store: postgresql", found) == "problem"
    assert level_of("broker: redis://127.0.0.1:1/0 cannot be used", found) == "problem"
    left_out = (
        "store's server, broker's server, countries, people, account main, store's history, fleet, queues,"
        " shared queues, web"
    )
    assert level_of(f"not checked: {left_out}", found) == "warning"


@pytest.mark.postgres
def test_a_postgresql_without_tables(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.faults.servers import own_schema

    with own_schema(postgres_url()) as url:
        monkeypatch.setenv("OWN_STORE", url)
        shell.configure('[store]\nurl = { env = "OWN_STORE" }\n')
        outdated = shell.json("doctor", code=1)
        assert level_of("has no tables yet", bad(outdated)) == "problem"
        assert any("vtsync migrate" in one["do"] for one in outdated)
        shell("migrate")
        alive(shell)
        found = shell.json("doctor")
        open_runtime().engine.dispose()
    assert any("the same as the store" in one["found"] for one in found)
    assert any("connections in use" in one["found"] for one in found)


def test_a_server_that_never_answers_ends_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_SECONDS", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        port = silent.getsockname()[1]
        shell.configure(f'[store]\nurl = "postgresql+psycopg://nobody@127.0.0.1:{port}/x"\n')
        found = bad(shell.json("doctor", code=1))
    assert level_of("store: no answer within", found) == "problem"


def test_a_check_that_fails_or_hangs_is_a_finding() -> None:
    def fails() -> Iterator[Finding]:
        yield ok("a", "fine")
        raise RuntimeError("no such thing\nand more")

    fine, broken = run_check(Check("it", fails))
    assert (fine.found, broken.level) == ("fine", "problem")
    assert "no such thing" in broken.found
    assert "and more" not in broken.found
    go_on = threading.Event()
    began = time.monotonic()
    (silent,) = run_check(Check("it", lambda: go_on.wait() and [], seconds=0.05))  # type: ignore[arg-type,return-value]
    go_on.set()
    assert "no answer" in silent.found
    assert time.monotonic() - began < 10


def test_a_platform_whose_clock_differs(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from email.utils import format_datetime

    from worker.virtualtext.client import VirtualTextClient

    monkeypatch.setattr(
        VirtualTextClient, "clock", lambda _: format_datetime(utcnow() + timedelta(hours=1), usegmt=True)
    )
    assert level_of("behind that of VirtualText (main)", bad(shell.json("doctor", code=1))) == "problem"


def test_the_platform_s_clock_is_read(shell: Shell) -> None:
    said = [one["found"] for one in shell.json("doctor") if one["what"] == "clock"]
    assert said == [
        "this machine's is the same as the store's",
        "the store's is the same as that of VirtualText (main)",
    ]


def test_a_machine_whose_clock_is_wrong(shell: Shell) -> None:
    shell("status")
    alive(shell)
    with writing(open_runtime().engine) as connection:
        connection.execute(update(heartbeat).where(heartbeat.c.role != "tick").values(clock_ahead=0.2))
        connection.execute(update(heartbeat).where(heartbeat.c.role == "beat").values(clock_ahead=-31.0))
    words = "the clock of here (beat 1) is 31 s behind the store's"
    assert level_of(words, bad(shell.json("doctor"))) == "warning"
    (waiting,) = shell.json("status")["attention"]
    assert words in waiting["what"]
    assert waiting["command"] == "vtsync doctor"
    health = fleet_health(open_runtime())
    assert any(words in problem for problem in health.problems)


def test_an_open_door(shell: Shell) -> None:
    shell.configure('[web]\nhost = "0.0.0.0"\n')
    assert level_of("web: it would listen on 0.0.0.0", bad(shell.json("doctor", code=1))) == "problem"


def test_the_fields_that_scripts_read(shell: Shell) -> None:
    """One kind of finding inside; the JSON of each command stays as it is."""
    shell("migrate")
    with writing(open_runtime().engine) as connection:
        connection.execute(insert(account_state), {"account": "main", "stopped_at": utcnow(), "stopped_reason": "401"})
    status = shell.json("status")
    names = ["connections", "accounts", "test_mode", "attention", "configuration", "paused_triggers", "jobs"]
    assert list(status) == names
    stopped = {"what": "account main is stopped: 401", "count": 1, "oldest": ANY, "command": "vtsync check"}
    stopped |= {"code": "account_stopped", "docs": "docs/findings.md#account_stopped"}
    assert status["attention"] == [stopped]
    assert datetime.fromisoformat(status["attention"][0]["oldest"]).date() == utcnow().date()
    assert {tuple(one) for one in shell.json("check")} == {("what", "ok", "level", "detail", "code", "docs")}
    assert {tuple(one) for one in shell.json("doctor")} == {("what", "level", "found", "why", "do", "code", "docs")}
    assert shell.json("status")["attention"] == []  # the credential was tried, and works
    assert list(shell.json("health", code=1)) == ["status", "problems", "processes"]


def test_dead_letters_are_listed_and_cleared(shell: Shell) -> None:
    assert "No message was refused" in shell("dead-letters").stdout
    with sqlite3.connect(shell.folder / ".vtsync" / "vtsync.sqlite3") as store:
        store.execute(
            "INSERT INTO dead_letter VALUES ('k', 'celery', 'a task', 'an id', 'it is not JSON', 17, ?, ?, 2)",
            ("2026-03-01 10:00:00.000000",) * 2,
        )
    (waiting,) = shell.json("status")["attention"]
    assert (waiting["what"], waiting["command"]) == ("1 message of the broker refused", "vtsync dead-letters")
    (listed,) = shell.json("dead-letters")
    assert (listed["reason"], listed["times"], listed["message_id"]) == ("it is not JSON", 2, "an id")
    assert "it is not JSON" in shell("dead-letters").stdout
    assert "1 dead letter was deleted" in shell("dead-letters", "--clear").stdout
    assert shell.json("status")["attention"] == []
