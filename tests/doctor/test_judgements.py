"""What `vtsync doctor` makes of facts: every finding, with what is well beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.integrations import Carrier
from config.models import Account, Broker, Policy, Settings, Store
from config.policy import PolicyOverride
from worker.broker.jobs import IntakeUse, foreign_tasks
from worker.broker.unacked import TakenJobs
from worker.contacts.remote_list import ListState
from worker.core.findings import Finding
from worker.doctor.accounts import judge_account_state, judge_contact_list, judge_test_mode
from worker.doctor.broker import RedisFacts, foreign_keys, judge_rabbitmq, judge_redis
from worker.doctor.checks import checks_for, machine_checks, runtime_checks
from worker.doctor.clocks import judge_clock, judge_fleet_clocks, judge_own_clock
from worker.doctor.configuration import check_settings
from worker.doctor.encryption import judge_encryption
from worker.doctor.exposure import check_relay_secrets
from worker.doctor.fleet import FleetProcess, judge_hosts, judge_processes
from worker.doctor.host import (
    format_size,
    judge_data_files,
    judge_free_space,
    judge_open_files,
    judge_packages,
    judge_secret_file,
)
from worker.doctor.queues import judge_queues, judge_taken_jobs
from worker.doctor.sharing import IntakeFacts, judge_sharing
from worker.doctor.status import judge_unused_configuration
from worker.doctor.store import PostgresFacts, file_system, judge_postgres, judge_speed, judge_sqlite
from worker.doctor.work import OverdueWork, judge_work
from worker.monitoring.state import AccountNow
from worker.runtime import Runtime
from worker.store.configuration import UnusedConfiguration
from worker.store.content import Outdated

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATH = Path("/data/vtsync.sqlite3")
SECRET = "a" * 30


def account(**values: Any) -> Account:
    return Account(**{"uid": "u", "token": "t", "from_number": "+14155550100", "relay_secret": SECRET} | values)


def settings(**values: Any) -> Settings:
    return Settings(**{"accounts": {"main": account()}} | values)


def levels(findings: Any) -> list[str]:
    return [one.level.value for one in findings]


def bad(findings: Any) -> list[Finding]:
    """What is not well; each must say why it matters and what to do."""
    found = [one for one in findings if one.level != "ok"]
    assert all(one.found and one.why and one.do for one in found)
    return found


def only(findings: Any, level: str, words: str) -> None:
    (found,) = bad(findings)
    assert (found.level, words in f"{found.found} {found.do}") == (level, True), found


# --- clocks


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [
        (0, "ok", "the same as that of VirtualText"),
        (4, "ok", "the same as that of VirtualText"),
        (-5, "ok", "the same as that of VirtualText"),  # a second may be the Date header's own
        (8, "warning", "8 s behind"),
        (-8, "warning", "7 s ahead of"),
        (31, "problem", "31 s behind"),
        (-3600, "problem", "ahead of"),
    ],
)
def test_clocks(seconds: float, level: str, words: str) -> None:
    found = judge_clock("VirtualText", NOW + timedelta(seconds=seconds), NOW, NOW + timedelta(milliseconds=200))
    assert found.level == level
    assert words in found.found


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert judge_clock("x", NOW + timedelta(seconds=20), NOW, NOW + timedelta(seconds=40)).level == "ok"


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        ({}, "", ""),
        ({"a": [("worker 1", 0.1)], "b": [("worker 2", -4.9)]}, "", ""),
        ({"a": [("worker 1", 300.0), ("beat 2", 0.0)]}, "warning", "the clock of a (worker 1) is 300 s ahead of"),
        (
            {"a": [("worker 1", -30.0), ("web 2", -30.0)], "b": [("beat 3", 0.0)]},
            "warning",
            "a (worker 1, web 2) is 30",
        ),
        ({"a": [("worker 1", 300.0)], "b": [("beat 3", 300.5)]}, "problem", "the store's clock is 300 s behind those"),
        ({"a": [("worker 1", 300.0)], "b": [("beat 3", -300.0)]}, "warning", "the clock of"),
    ],
)
def test_clocks_of_a_fleet(ahead: Any, level: str, words: str) -> None:
    found = list(judge_fleet_clocks(ahead))
    assert {one.level for one in found} == ({level} if level else set())
    assert all(words in one.found and "NTP" in one.do and one.command for one in found)


@pytest.mark.parametrize(("ahead", "level"), [(0.0, "ok"), (-4.9, "ok"), (5.0, "warning"), (-3600.0, "warning")])
def test_the_clock_of_this_machine(ahead: float, level: str) -> None:
    assert judge_own_clock(ahead).level == level


# --- this machine


@pytest.mark.parametrize(
    ("path", "mode", "level"),
    [
        ("/x/.env", 0o600, "ok"),
        ("/x/.env", 0o640, "ok"),
        ("/x/.env", 0o644, "problem"),
        ("/x/.env", 0o602, "problem"),
        ("/run/secrets/token", 0o444, "ok"),  # as Docker mounts it: nobody outside of the container sees it
        ("/run/other/token", 0o444, "problem"),
    ],
)
def test_secrets_that_others_can_read(path: str, mode: int, level: str) -> None:
    assert judge_secret_file(Path(path), mode).level == level


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (["/x"], "problem", "chmod -R go= /x"),
        (["/x", "/x/vtsync.sqlite3"], "problem", "/x and 1 more"),
        (["/x/broker/queue"], "warning", "/x/broker/queue"),
    ],
)
def test_data_that_others_can_use(found: list[str], level: str, words: str) -> None:
    only([judge_data_files(Path("/x"), [Path(one) for one in found])], level, words)


def test_data_that_is_private() -> None:
    assert bad([judge_data_files(Path("/x"), [])]) == []


@pytest.mark.parametrize(("free", "level"), [(1e8, "problem"), (1e9, "warning"), (1e10, "ok")])
def test_room_on_the_disk(free: float, level: str) -> None:
    assert judge_free_space(Path("/x"), free).level == level


@pytest.mark.parametrize(("limit", "level"), [(256, "warning"), (1024, "ok"), (-1, "ok")])
def test_open_files(limit: int, level: str) -> None:
    assert judge_open_files(limit).level == level


@pytest.mark.parametrize("name", ["niquests", "phonenumberslite"])
def test_packages_that_spoil_ours(name: str) -> None:
    only(judge_packages({"celery": "5.6.3", name: "1"}), "problem", f"pip uninstall {name}")


def test_releases_that_are_known_bad() -> None:
    only(judge_packages({"celery": "5.7.0"}), "problem", "celery 5.7.0")
    assert list(judge_packages({"celery": "5.6.3", "phonenumbers": "9"})) == []


# --- the configuration


def test_a_careful_configuration() -> None:
    assert bad(check_settings(settings())) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"accounts": {"main": account(relay_secret=None)}}, "relay_secret"),
        ({"accounts": {"main": account(read_timeout=120.0)}}, "read_timeout"),
        ({"accounts": {"main": account(api_url="http://a.example", allow_http=True)}}, "allow_http"),
        ({"policy": Policy(quiet_hours="none")}, "quiet_hours"),
        ({"policy": Policy(blast_limit=5000)}, "blast_limit"),
        ({"accounts": {"main": account(policy=PolicyOverride(quiet_hours="none"))}}, "quiet_hours"),
        ({"accounts": {"main": account(policy=PolicyOverride(blast_limit=5000))}}, "without approval"),
        ({"policy": Policy(text_from=time(21), text_until=time(23))}, "leaves no hour between 21:00 and 23:00"),
        ({"policy": Policy(text_from=time(18))}, "in Rhode Island"),
        ({"accounts": {"main": account(policy=PolicyOverride(text_from=time(20), text_until=time(21)))}}, "Florida"),
        ({"broker": Broker(url="redis://10.0.0.5:6379/0")}, "password"),
        ({"store": Store(url="postgresql+psycopg://db.example.com/x")}, "password"),
        (
            {"accounts": {"main": account(texts_per_second=1.0)}, "broker": Broker(url="amqp://u:p@mq.internal//")},
            "limits_url",
        ),
    ],
)
def test_what_may_be_meant_otherwise(values: dict[str, Any], words: str) -> None:
    only(check_settings(settings(**values)), "warning", words)


@pytest.mark.parametrize(
    "values",
    [
        {"accounts": {"main": account(api_url="http://127.0.0.1:1", create_url="http://[::1]:2", allow_http=True)}},
        {"broker": Broker(url="redis://:pw@redis.internal:6379/0")},
        {"broker": Broker(url="redis://redis:6379/0")},  # a name of the private network of containers
        {"accounts": {"main": account(texts_per_second=1.0)}, "broker": Broker(url="redis://redis/0")},
    ],
)
def test_what_is_as_it_should_be(values: dict[str, Any]) -> None:
    assert bad(check_settings(settings(**values))) == []


# --- the store


def postgres(**values: Any) -> PostgresFacts:
    facts = {"version": 160004, "max_connections": 100, "reserved": 3, "in_use": 20, "processes": 3, "concurrency": 8}
    return PostgresFacts(**facts | values)


def test_a_good_postgresql() -> None:
    assert bad(judge_postgres(postgres())) == []


@pytest.mark.parametrize(
    ("values", "level", "words"),
    [
        ({"version": 140002}, "warning", "PostgreSQL 14"),
        ({"version": 120002}, "problem", "PostgreSQL 12"),
        ({"processes": 8}, "problem", "may take 112"),
        ({"concurrency": 50}, "problem", "max_connections"),
        ({"in_use": 95}, "problem", "95 of 97"),
        ({"has_limits": False}, "warning", "ALTER ROLE"),
    ],
)
def test_a_postgresql_that_is_old_or_small(values: dict[str, int], level: str, words: str) -> None:
    only(judge_postgres(postgres(**values)), level, words)


def test_a_slow_store() -> None:
    only([judge_speed(0.2)], "warning", "200.0 ms")
    assert judge_speed(0.001).level == "ok"


def test_a_sqlite_file() -> None:
    assert bad(judge_sqlite(PATH, 4e6, "ext4")) == []
    only(judge_sqlite(PATH, 4e6, "nfs4"), "problem", "network file system")
    only(judge_sqlite(PATH, 3e9, "ext4"), "warning", "3.0 GB")


def test_the_file_system_of_a_path_is_known() -> None:
    assert file_system(Path("/proc/self/status")) == "proc"
    assert file_system(Path("/nowhere/at/all")) == file_system(Path("/"))


# --- the broker


def redis(**values: Any) -> RedisFacts:
    facts = {
        "version": "7.2.5",
        "cluster": False,
        "policy": "noeviction",
        "max_memory": 0,
        "used_memory": 10,
        "append_only": True,
        "snapshots": True,
        "foreign": (),
    }
    return RedisFacts(**facts | values)


def test_a_good_redis() -> None:
    assert bad(judge_redis(redis())) == []


@pytest.mark.parametrize(
    ("values", "level", "words"),
    [
        ({"version": "6.2.1"}, "warning", "Redis 6.2.1"),
        ({"version": "5.0.14"}, "problem", "upgrade"),
        ({"cluster": True}, "problem", "cluster"),
        ({"policy": "allkeys-lru", "max_memory": 100}, "problem", "maxmemory-policy noeviction"),
        ({"policy": "allkeys-lru"}, "warning", "allkeys-lru"),
        ({"max_memory": 100, "used_memory": 85}, "problem", "85%"),
        ({"append_only": False}, "warning", "snapshot"),
        ({"append_only": False, "snapshots": False}, "warning", "queued jobs are not saved"),
        ({"foreign": ("session:1",)}, "problem", "session:1"),
    ],
)
def test_a_redis_that_cannot_be_relied_on(values: dict[str, Any], level: str, words: str) -> None:
    only(judge_redis(redis(**values)), level, words)


def test_keys_of_others() -> None:
    ours = ["celery", "celery\x06\x163", "vtsync.messages", "_kombu.binding.celery", "unacked_index", "vtsync:limits:a",
            "celery-task-meta-1", "unacked"]  # fmt: skip
    assert foreign_keys(ours) == ()
    assert foreign_keys(["_kombu.binding.emails"]) == ("_kombu.binding.emails",)
    assert foreign_keys([*ours, "celery-of-another", "rq:1", "a", "b"]) == ("celery-of-another", "rq:1", "a")


@pytest.mark.parametrize(("version", "level"), [("3.13.1", "ok"), ("4.0.2", "ok"), ("3.8.2", "problem")])
def test_releases_of_rabbitmq(version: str, level: str) -> None:
    assert judge_rabbitmq(version).level == level


# --- the fleet


def process(role: str, host: str = "a", version: str = "1", age: float = 10) -> FleetProcess:
    return FleetProcess(role, host, version, NOW - timedelta(seconds=age))


FLEET = (process("worker"), process("beat"), process("web"), process("tick", ""))
IDLE = OverdueWork(None, 0, (), 0)


def test_a_good_fleet() -> None:
    assert bad(judge_processes(FLEET, 0, settings(), NOW)) == []
    assert bad(judge_hosts(FLEET, settings(), NOW)) == []
    assert bad(judge_work(IDLE, NOW)) == []


@pytest.mark.parametrize(
    ("processes", "level", "words"),
    [
        ((), "warning", "no vtsync process is running"),
        ([process("worker", age=200)], "warning", "no vtsync process is running"),
        ([process("web")], "problem", "no worker is running, and no scheduler is running"),
        ([process("beat"), process("web")], "problem", "no worker is running"),
        ([process("worker"), process("web")], "problem", "no scheduler is running"),
        ([process("worker"), process("beat"), process("tick")], "warning", "`vtsync web`"),
        ([process("worker"), process("beat"), process("web")], "problem", "has carried out a tick yet"),
        ([*FLEET[:3], process("tick", age=300)], "problem", "the last tick was 5 minutes ago"),
        ([*FLEET, process("worker", version="2")], "warning", "versions 1 and 2"),
    ],
)
def test_a_fleet_with_gaps(processes: Any, level: str, words: str) -> None:
    only(judge_processes(processes, 0, settings(), NOW), level, words)


def test_nothing_runs_and_texts_wait() -> None:
    only(judge_processes((), 3, settings(), NOW), "problem", "3 queued texts")


def test_a_store_that_may_have_been_restored() -> None:
    stopped, back = bad(judge_processes([process("tick", age=7200)], 0, settings(), NOW))
    assert "no vtsync process is running" in stopped.found
    assert (back.level, "vtsync restored" in back.do) == ("warning", True)


def test_nobody_calls_where_nothing_is_configured() -> None:
    quiet = settings(accounts={"main": account(relay_secret=None)})
    fleet = [process("worker"), process("beat"), process("tick")]
    assert bad(judge_processes(fleet, 0, quiet, NOW)) == []
    called = quiet.model_copy(update={"carriers": {"t": Carrier(carrier="twilio", account="main")}})
    only(judge_processes(fleet, 0, called, NOW), "warning", "carriers")


@pytest.mark.parametrize(
    ("values", "hosts", "level", "words"),
    [
        ({"broker": Broker(url="redis://redis/0")}, "a", "warning", "the broker is a server"),
        ({"broker": Broker(url="redis://redis/0")}, "ab", "problem", "one SQLite file"),
        ({"store": Store(url="postgresql+psycopg://db/x")}, "ab", "problem", "the queue is a folder"),
    ],
)
def test_engines_that_do_not_suit_several_machines(values: dict[str, Any], hosts: str, level: str, words: str) -> None:
    only(judge_hosts([process("worker", host) for host in hosts], settings(**values), NOW), level, words)


@pytest.mark.parametrize(
    "values",
    [
        {"broker": Broker(url="redis://127.0.0.1/0")},
        {"broker": Broker(url="redis://r/0"), "store": Store(url="postgresql+psycopg://db/x")},
    ],
)
def test_engines_that_do(values: dict[str, Any]) -> None:
    assert bad(judge_hosts([process("worker")], settings(**values), NOW)) == []


@pytest.mark.parametrize(
    ("work", "level", "words"),
    [
        (OverdueWork(NOW - timedelta(minutes=6), 0, (), 1), "warning", "6 minutes"),
        (OverdueWork(NOW - timedelta(hours=3), 0, (), 1), "problem", "3 hours"),
        (OverdueWork(None, 2, (), 0), "problem", "2 rows"),
        (OverdueWork(None, 0, ("crm",), 0), "warning", "5 minutes late"),
    ],
)
def test_work_that_is_left_undone(work: OverdueWork, level: str, words: str) -> None:
    only(judge_work(work, NOW), level, words)


@pytest.mark.parametrize(
    ("before", "after", "workers", "level", "words"),
    [
        (0, 0, 0, "ok", "empty"),
        (3, 2, 1, "ok", "celery 2"),
        (0, 3, 1, "ok", "celery 3"),
        (3, 3, 0, "problem", "no worker"),
        (3, 3, 1, "warning", "nothing was taken from celery"),
        (700, 600, 2, "warning", "celery 600"),
    ],
)
def test_queues(before: int, after: int, workers: int, level: str, words: str) -> None:
    found = judge_queues({"celery": before, "vtsync.sync": 0}, {"celery": after, "vtsync.sync": 0}, workers)
    assert (found.level, words in f"{found.found} {found.why}") == (level, True)


@pytest.mark.parametrize(
    ("in_progress", "left_behind", "workers", "level", "words"),
    [
        (0, 0, 0, "ok", "0 jobs in progress"),
        (1, 0, 1, "ok", "1 job in progress"),
        (5, 2, 1, "ok", "take them back within a minute"),
        (5, 2, 0, "problem", "2 of them taken by workers that are gone"),
    ],
)
def test_jobs_that_workers_have_taken(in_progress: int, left_behind: int, workers: int, level: str, words: str) -> None:
    found = judge_taken_jobs(TakenJobs(in_progress, left_behind), workers)
    assert (found.level, words in found.found) == (level, True)


@pytest.mark.parametrize(
    ("intake", "refused", "level", "words"),
    [
        (IntakeUse(2), (), "ok", "no other application"),
        (IntakeUse(None), (), "ok", "no other application"),
        (IntakeUse(3), (), "problem", "1 program takes our jobs"),
        (IntakeUse(4), (), "problem", "2 programs take our jobs"),
        (IntakeUse(1, ("shop.charge",)), (), "problem", "shop.charge"),
        (IntakeUse(None), ("shop.charge", "shop.ship"), "problem", "shop.charge, shop.ship"),
    ],
)
def test_queues_that_another_application_uses(
    intake: IntakeUse, refused: tuple[str, ...], level: str, words: str
) -> None:
    found = judge_sharing(IntakeFacts(intake, refused, workers=2))
    assert (found.level, words in found.found) == (level, True)
    assert ("broker.celery_queue" in found.do) == (level == "problem")


def test_tasks_of_another_application_are_seen_in_the_queue() -> None:
    names = ["vtsync.send_message", "shop.charge", "celery.backend_cleanup", "shop.charge"]
    items = [json.dumps({"body": "", "headers": {"task": name}, "properties": {}}).encode() for name in names]
    assert foreign_tasks([*items, b"no JSON", b'{"headers": {"task": 1}}']) == ("shop.charge",)


@pytest.mark.parametrize(("amount", "words"), [(0, "0 bytes"), (1500, "1.5 KB"), (79e9, "79 GB"), (2e12, "2.0 TB")])
def test_sizes(amount: float, words: str) -> None:
    assert format_size(amount) == words


# --- accounts, and configuration that cannot be used


@pytest.mark.parametrize(
    ("account", "level", "words"),
    [
        (AccountNow(False, False, False, None, ""), "ok", "is active"),
        (AccountNow(False, True, False, None, "429"), "ok", "is paused: 429; `vtsync check` tries now"),
        (AccountNow(False, True, True, None, "429", NOW), "warning", f"is paused until {NOW:%Y-%m-%d %H:%M} UTC: 429"),
        (AccountNow(False, True, True, None, "VirtualText fails"), "warning", "VirtualText fails"),
        (AccountNow(True, False, False, None, "401"), "problem", "is stopped: 401"),
    ],
)
def test_accounts_by_their_stored_state(account: AccountNow, level: str, words: str) -> None:
    found = judge_account_state("main", account)
    assert (found.what, found.level, found.found) == ("account main", level, words)
    assert bool(found.command) == (level == "problem")
    bad([found])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ListState(), ""),
        (ListState(listed_at=NOW), ""),
        (ListState(error="no connection could be made"), ""),  # an outage says so itself
        (ListState(failures=1, error="HTTP 500"), "could not be read (HTTP 500; try 1 of 3)"),
        (ListState(NOW, failures=2, error="HTTP 500"), "could not be read (HTTP 500; try 2 of 3)"),
        (ListState(unavailable_at=NOW, error="HTTP 408"), "cannot be read (HTTP 408), so vtsync works without it"),
        (
            ListState(unavailable_at=NOW - timedelta(days=2), failures=4, error="HTTP 500"),
            "could not be read (HTTP 500; 4 tries)",
        ),
    ],
)
def test_contact_lists_by_their_stored_state(state: ListState, words: str) -> None:
    found = judge_contact_list("main", state, NOW)
    assert [one.level for one in found] == (["warning"] if words else [])
    assert all(words in one.found for one in found)
    bad(found)


def test_whoever_has_forgotten_test_mode_is_told() -> None:
    assert judge_test_mode(settings()) == []
    account = settings().accounts["main"]
    for numbers, said in (((), "for anybody"), (("+14155552671",), "except about 1 number")):
        test = account.model_copy(update={"mode": "test", "test_numbers": numbers})
        only(
            judge_test_mode(settings(accounts={"main": test})),
            "warning",
            f"the account main writes nothing to VirtualText, {said}",
        )


def test_a_changed_file_that_cannot_be_used() -> None:
    file = UnusedConfiguration("a:/etc/vtsync.toml", "It has 1 problem:\n\nworker.x\n    unknown", NOW)
    only([judge_unused_configuration(file)], "warning", "a:/etc/vtsync.toml was changed and cannot be used: It has 1")


# --- the one list of checks


def test_each_check_is_listed_once_after_what_it_needs(tmp_path: Path) -> None:
    runtime = Runtime(settings(data_dir=tmp_path))
    names: list[str] = []
    for check in [*machine_checks(tmp_path / "vtsync.toml"), *runtime_checks(runtime)]:
        assert check.what not in names
        assert set(check.needs) <= set(names)
        names.append(check.what)


@pytest.mark.parametrize(
    ("surface", "names"),
    [
        (
            "check",
            *(
                [
                    "configuration",
                    "test mode",
                    "relay secrets",
                    "store",
                    "broker",
                    "countries",
                    "people",
                    "account main",
                    "web",
                ],
            ),
        ),
        ("health", ["test mode", "store", "broker", "fleet"]),
    ],
)
def test_surfaces_run_a_part_of_the_list(surface: Any, names: list[str], tmp_path: Path) -> None:
    assert [check.what for check in checks_for(Runtime(settings(data_dir=tmp_path)), surface)] == names


SHORT = "s" * 23


@pytest.mark.parametrize(
    ("secret", "web", "level"),
    [
        (None, {"host": "0.0.0.0"}, ""),
        ("s" * 24, {"host": "0.0.0.0"}, ""),
        (SHORT, {"host": "0.0.0.0"}, "problem"),
        (SHORT, {"host": "127.0.0.1", "public_url": "https://texts.example.com"}, "problem"),
        (SHORT, {"host": "127.0.0.1"}, "warning"),
        (SHORT, {"host": "localhost", "public_url": "http://127.0.0.1:8080"}, "warning"),
    ],
)
def test_a_relay_secret_that_can_be_guessed(secret: str | None, web: dict[str, str], level: str) -> None:
    found = list(check_relay_secrets(settings(accounts={"main": account(relay_secret=secret)}, web=web)))
    assert levels(found) == ([level] if level else [])
    assert all(SHORT not in f"{one.found} {one.do}" for one in found)
    assert all("fewer than 24 characters" in one.found for one in bad(found))


@pytest.mark.parametrize(
    ("wanted", "outdated", "found"),
    [
        ("k1", [], [("ok", "all content is encrypted with the key k1")]),
        ("clear", [], [("ok", "off: all content is in clear, and store.encryption_key can be removed")]),
        ("k1", [Outdated("message", 1, 0, 0)], [("warning", "1 row still in clear")]),
        ("k1", [Outdated("message", 3, 3, 0)], [("warning", "3 rows encrypted with an old key")]),
        (
            "k1",
            [Outdated("message", 5, 3, 1), Outdated("contact", 2, 0, 0)],
            [
                ("problem", "1 row encrypted with a key that store.encryption_key does not hold"),
                ("warning", "4 rows still in clear"),
                ("warning", "2 rows encrypted with an old key"),
            ],
        ),
        ("clear", [Outdated("message", 4, 0, 0)], [("warning", "4 rows still encrypted")]),
        (
            "clear",
            [Outdated("message", 4, 1, 1)],
            [
                ("problem", "1 row encrypted with a key that store.encryption_key does not hold"),
                ("warning", "3 rows still encrypted"),
            ],
        ),
    ],
)
def test_encryption_of_content(wanted: str, outdated: list[Outdated], found: list[tuple[str, str]]) -> None:
    assert [(one.level.value, one.found) for one in judge_encryption(wanted, outdated)] == found
