"""Runs every check, each in its own time: one that hangs or fails ends none of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

from config.errors import ConfigError
from worker.doctor import broker, checks, clocks, configuration, fleet, host, store
from worker.doctor.findings import Finding, ok, problem, warning
from worker.runtime import Runtime

SECONDS = 20.0
"""The longest that one check may take; VirtualText itself is given its own time-outs."""
SLACK_SECONDS = 5.0

Look = Callable[[], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. ``after``: what must be well for it to make sense."""

    what: str
    look: Look
    after: tuple[str, ...] = ()
    seconds: float = field(default_factory=lambda: SECONDS)


def examine(config_file: Path, load: Callable[[], Runtime]) -> Iterator[Finding]:
    """Everything about this machine, the configuration, what it names, and the fleet.

    ``load`` may raise ConfigError: each mistake is a finding, and the rest is left out.
    """
    yield from _all(_of_machine(config_file))
    try:
        runtime = load()
    except ConfigError as error:
        for one in error.problems:
            yield problem(
                "configuration",
                f"{one.key or config_file}: {one.message}",
                "nothing starts with a configuration that has a mistake",
                one.remedy,
            )
        return
    yield from _all(_of_runtime(runtime))


def _of_machine(file: Path) -> list[Check]:
    looks = {
        "packages": host.check_packages,
        "files": host.check_files,
        "disk": host.check_data_dir,
        "limits": host.check_limits,
    }
    return [Check(what, partial(look, file)) for what, look in looks.items()]


def _of_runtime(runtime: Runtime) -> list[Check]:
    settings = runtime.settings
    asked = {name: runtime.request_seconds(name) + SLACK_SECONDS for name in settings.accounts}
    return [
        Check("configuration", lambda: configuration.check_settings(settings)),
        Check("store", lambda: [_tried(checks.check_store(runtime))]),
        Check("store's server", lambda: store.check_store(runtime), ("store",)),
        Check("broker", lambda: [_tried(checks.check_broker(runtime))]),
        Check("broker's server", lambda: broker.check_broker(runtime), ("broker",)),
        Check("broker's companions", lambda: broker.check_companions(runtime)),
        *(
            Check(f"account {name}", partial(_account, runtime, name), ("store",), 2 * seconds)
            for name, seconds in asked.items()
        ),
        *(
            Check(f"clock of VirtualText for {name}", partial(_platform_clock, runtime, name), (), seconds)
            for name, seconds in asked.items()
        ),
        *(
            Check(f"connection {name}", partial(_connection, runtime, name), (), 3 * SECONDS)
            for name in settings.connections
        ),
        Check("store's past", lambda: fleet.check_past(runtime), ("store", "broker")),
        Check("fleet", lambda: fleet.check_fleet(runtime), ("store",)),
        Check("queues", lambda: fleet.check_queues(runtime), ("store", "broker")),
        Check("web", lambda: _exposure(runtime), ("store",)),
    ]


def _all(several: Iterable[Check]) -> Iterator[Finding]:
    failed: set[str] = set()
    left_out: list[str] = []
    for check in several:
        if failed.intersection(check.after):
            left_out.append(check.what)
            continue
        findings = within(check)
        if any(one.level == "problem" for one in findings):
            failed.add(check.what)
        yield from findings
    if left_out:
        yield warning(
            "not looked at",
            ", ".join(left_out),
            "what they need does not work, and something may be wrong with them, too",
            "put the problems above right, then run `vtsync doctor` again",
        )


def within(check: Check) -> list[Finding]:
    """What the check finds in its time; that it failed or took too long is a finding, too."""
    found: list[Finding] = []
    raised: list[Exception] = []

    def look() -> None:
        try:
            found.extend(check.look())
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
            raised.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(check.seconds)
    if thread.is_alive():
        return [*found, _silent(check)]
    return [*found, *(_broken(check, error) for error in raised)]


def _silent(check: Check) -> Finding:
    return problem(
        check.what,
        f"no answer within {check.seconds:.0f} s",
        "workers wait for it just as long, and do nothing else meanwhile",
        "see whether the server runs, and whether a firewall swallows connections to it",
    )


def _broken(check: Check, error: Exception) -> Finding:
    first = (str(getattr(error, "orig", None) or error).strip() or type(error).__name__).splitlines()[0]
    return problem(
        check.what,
        f"it could not be looked at: {first[:200]}",
        "what cannot be asked may not work for the workers either",
        "put right what the message says, then run `vtsync doctor` again",
    )


_WHY = {
    "store": "it is where everything is kept: without it nothing is taken, synced or sent",
    "broker": "workers hear of no work, and services cannot hand over jobs",
    "account": "nothing is sent and no contact is written for this account; it all waits",
    "connection": "changes in this CRM do not arrive",
}


def _tried(result: checks.CheckResult) -> Finding:
    """What ``vtsync check`` says, which names what to do in its own words."""
    if result.ok:
        return ok(result.what, result.detail)
    found, _, do = result.detail.partition("; ")
    kind = result.what.partition(" ")[0]
    return problem(result.what, found, _WHY[kind], do or "correct it in the configuration, then `vtsync check`")


def _account(runtime: Runtime, name: str) -> list[Finding]:
    return [_tried(checks.check_account(runtime, name))]


def _connection(runtime: Runtime, name: str) -> list[Finding]:
    return [_tried(checks.check_connection(runtime, name))]


def _platform_clock(runtime: Runtime, name: str) -> list[Finding]:
    asked = datetime.now(UTC)
    said = runtime.client(name).clock()
    answered = datetime.now(UTC)
    try:
        theirs = None if said is None else parsedate_to_datetime(said)
    except ValueError:
        theirs = None
    if theirs is None:
        return []  # whether it answers at all is said elsewhere
    return [clocks.judge_clock(f"VirtualText ({name})", theirs, asked, answered)]


def _exposure(runtime: Runtime) -> list[Finding]:
    from worker.doctor.exposure import Unprotected, check_exposure

    web = runtime.settings.web
    try:
        check_exposure(runtime, web.host)
    except Unprotected as error:
        found, _, do = str(error).partition("; ")
        return [problem("web", found, "anybody who reaches it could send texts in your name", do)]
    if web.public_url is not None and web.public_url.startswith("http://"):
        return [
            warning(
                "web",
                "web.public_url is http://",
                "keys, numbers and texts travel in clear",
                "put a proxy with TLS before `vtsync web`, and write its https:// address",
            )
        ]
    return [ok("web", f"listens on {web.host}:{web.port} where it runs")]
