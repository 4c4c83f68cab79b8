"""Accounts that make no requests: stopped, paused, or held back by the breaker."""

from __future__ import annotations

from worker.core.findings import Finding, ok, problem, warning
from worker.monitoring.state import AccountNow


def judge_account_state(name: str, account: AccountNow) -> Finding:
    """Judge an account by its stored state, without asking VirtualText. Pure."""
    what = f"account {name}"
    if account.stopped:
        return problem(
            what,
            f"is stopped: {account.reason}",
            "vtsync syncs and sends nothing for it",
            f"correct [accounts.{name}], then run `vtsync check`",
            command="vtsync check",
        )
    if account.breaker_open:
        return warning(
            what,
            account.reason,
            "texts and contacts for it wait",
            "check VirtualText's own status; vtsync tries again by itself",
        )
    return ok(what, "is paused" if account.paused else "is active")
