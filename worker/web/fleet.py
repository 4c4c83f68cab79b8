"""``/health/fleet``: whether the fleet does its work, by the checks of `vtsync doctor` that ask nobody outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from worker.doctor.checks import CheckResult, check_broker, check_store
from worker.doctor.findings import Finding, Level, ok, problem, warning
from worker.doctor.fleet import check_fleet
from worker.monitoring.state import FleetState, StateCache
from worker.runtime import Runtime

Status: TypeAlias = Literal["pass", "warn", "fail"]
_STATUS: dict[Level, Status] = {Level.OK: "pass", Level.WARNING: "warn", Level.PROBLEM: "fail"}


class CheckOut(BaseModel):
    """One thing that was looked at: what is so, why it matters and what to do (both empty when all is well)."""

    what: str
    status: Status
    found: str
    why: str
    do: str


class FleetOut(BaseModel):
    """The worst of the checks, and in words what is wrong."""

    status: Status
    problems: list[str]
    checks: list[CheckOut]


def fleet_health(runtime: Runtime, state: StateCache) -> FleetOut:
    """Look at the store, the broker and the fleet."""
    store = check_store(runtime)
    findings = [_tried(store), _tried(check_broker(runtime))]
    if store.ok:
        try:
            findings += [*check_fleet(runtime), *judge_accounts(state())]
        except SQLAlchemyError as error:  # away since
            why = "nothing can be synced or sent"
            findings.append(problem("store", f"it cannot be read ({type(error).__name__})", why, "start it"))
    checks = [CheckOut(what=f.what, status=_STATUS[f.level], found=f.found, why=f.why, do=f.do) for f in findings]
    worst: Status = max((one.status for one in checks), key=("pass", "warn", "fail").index)
    problems = [f"{one.what}: {one.found}; {one.do}" for one in checks if one.status != "pass"]
    return FleetOut(status=worst, problems=problems, checks=checks)


def judge_accounts(state: FleetState) -> Iterator[Finding]:
    """Whether VirtualText takes what is for it. Pure."""
    for name, account in state.accounts.items():
        what = f"account {name}"
        if account.stopped:
            do = f"correct [accounts.{name}], then `vtsync check`"
            yield problem(what, f"is stopped: {account.reason}", "nothing is synced or sent for it", do)
        elif account.breaker_open:
            do = "look at VirtualText's own status; it is tried again by itself"
            yield warning(what, account.reason, "texts and contacts for it wait", do)
        else:
            yield ok(what, "pauses" if account.paused else "is called")


def _tried(result: CheckResult) -> Finding:
    if result.ok:
        return ok(result.what, result.detail)
    return problem(result.what, result.detail, "nothing goes on without it", "see `vtsync doctor`")
