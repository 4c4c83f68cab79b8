"""Runs checks, each with its own time limit: one that fails or hangs does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from config.errors import ConfigError, ConfigProblem
from worker.core.findings import Finding, FindingCode, Level, problem, warning
from worker.doctor.checks import Check, fleet_checks, machine_checks, runtime_checks
from worker.runtime import Runtime


def examine(
    config_file: Path, load: Callable[[], Runtime], recall: Callable[[], tuple[Runtime, str] | None]
) -> Iterator[Finding]:
    """Check this machine, the configuration, everything that it names, and the fleet.

    ``load`` may raise ConfigError: each mistake becomes a finding. Then the fleet is checked with the configuration
    that was last in use: ``recall`` returns its runtime and a sentence about it, or None if there is none.
    """
    try:
        checks = runtime_checks(load())
    except ConfigError as error:
        recalled = recall()
        if recalled is not None:
            yield _fallen_back(recalled[1])
        yield from run_checks(machine_checks(config_file))
        yield from (_mistake(one, config_file) for one in error.problems)
        if recalled is not None:
            yield from run_checks(fleet_checks(recalled[0]))
        return
    yield from run_checks([*machine_checks(config_file), *checks])


def _mistake(one: ConfigProblem, config_file: Path) -> Finding:
    return problem(
        FindingCode.CONFIGURATION_MISTAKE,
        "configuration",
        f"{one.key or config_file}: {one.message}",
        "no process starts while the configuration has a mistake",
        one.remedy,
    )


def _fallen_back(found: str) -> Finding:
    return warning(
        FindingCode.CONFIGURATION_MISTAKE,
        "configuration",
        found,
        "running processes keep it, so the store, the broker and the fleet are checked with it; accounts and"
        " connections are not checked",
        "correct the mistakes below",
    )


def run_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run the checks in order. Skip those that need a check which found a problem, and say so at the end."""
    failed: set[str] = set()
    skipped: list[str] = []
    for check in checks:
        if failed.intersection(check.needs):
            skipped.append(check.what)
            continue
        findings = run_check(check)
        if any(one.level is Level.PROBLEM for one in findings):
            failed.add(check.what)
        yield from findings
    if skipped:
        yield warning(
            FindingCode.NOT_CHECKED,
            "not checked",
            ", ".join(skipped),
            "what they depend on does not work; they may have problems of their own",
            "fix the problems above, then run `vtsync doctor` again",
        )


def run_check(check: Check) -> list[Finding]:
    """Return what the check finds within its time. A failure or a time-out is a finding too."""
    found: list[Finding] = []
    raised: list[Exception] = []

    def look() -> None:
        try:
            found.extend(check.look())
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks still run
            raised.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(check.seconds)
    if thread.is_alive():
        return [*found, _timed_out(check)]
    return [*found, *(_failed(check, error) for error in raised)]


def _timed_out(check: Check) -> Finding:
    return problem(
        FindingCode.CHECK_TIMED_OUT,
        check.what,
        f"no answer within {check.seconds:.0f} s",
        "workers wait for it just as long and do nothing else meanwhile",
        "check that the server runs and that no firewall drops connections to it",
    )


def _failed(check: Check, error: Exception) -> Finding:
    first = (str(getattr(error, "orig", None) or error).strip() or type(error).__name__).splitlines()[0]
    return problem(
        FindingCode.CHECK_FAILED,
        check.what,
        f"the check failed: {first[:200]}",
        "it may fail for the workers as well",
        "fix what the message says, then run `vtsync doctor` again",
    )
