"""Accounts that make no requests (stopped, paused, held back by the breaker), and those whose list cannot be read."""

from __future__ import annotations

from datetime import datetime

from config.alert_kinds import AlertKind
from config.models import Settings
from worker.contacts.list_answer import LIST_TRIES
from worker.contacts.remote_list import ListState
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.messages.simulation import notes_on_test_mode
from worker.monitoring.state import AccountNow


def judge_account_state(name: str, account: AccountNow) -> Finding:
    """Judge an account by its stored state, without asking VirtualText. Pure."""
    what = f"account {name}"
    if account.stopped:
        return problem(
            AlertKind.ACCOUNT_STOPPED,
            what,
            f"is stopped: {account.reason}",
            "vtsync syncs and sends nothing for it",
            f"correct [accounts.{name}], then run `vtsync check`",
            command="vtsync check",
            since=account.stopped_at,
        )
    until = f" until {account.paused_until:%Y-%m-%d %H:%M} UTC" if account.paused and account.paused_until else ""
    if account.breaker_open:
        return warning(
            AlertKind.BREAKER_OPEN,
            what,
            f"is paused{until}: {account.reason}" if until else account.reason,
            "texts and contacts for it wait",
            "check VirtualText's own status; vtsync tries again by itself, and `vtsync check` tries now",
        )
    if account.paused:
        return ok(what, f"is paused{until}: {account.reason}; `vtsync check` tries now")
    return ok(what, "is active")


def judge_test_mode(settings: Settings) -> list[Finding]:
    """Warn of accounts in test mode: whoever has forgotten it waits for texts that never go. Pure."""
    return [
        warning(
            FindingCode.TEST_MODE,
            "TEST MODE",
            note.removeprefix("TEST MODE: "),
            "texts are decided about and shown, and not sent; contacts that changed wait",
            'set mode = "live" when you have seen enough; what was simulated is not sent then',
        )
        for note in notes_on_test_mode(settings)
    ]


def list_note(state: ListState, now: datetime) -> str:
    """Describe a contact list that cannot be read, for a person; "" if nothing is wrong with it. Pure."""
    if state.is_unavailable(now):
        return (
            f"VirtualText's contact list cannot be read ({state.error}), so vtsync works without it;"
            f" it asks for it again at {state.ask_again_at:%Y-%m-%d %H:%M} UTC"
        )
    if state.failures:
        tries = f"try {state.failures} of {LIST_TRIES}" if state.failures < LIST_TRIES else f"{state.failures} tries"
        return f"VirtualText's contact list could not be read ({state.error}; {tries}); vtsync tries again by itself"
    return ""


def judge_contact_list(name: str, state: ListState, now: datetime) -> list[Finding]:
    """Judge whether the account's contact list can be read. Pure."""
    if not (note := list_note(state, now)):
        return []
    return [
        warning(
            FindingCode.LIST_UNAVAILABLE,
            f"account {name}",
            note,
            "contacts that people create in VirtualText are not adopted, and a create whose response is lost needs a"
            " person",
            "if the list should work, ask VirtualText's support; vtsync asks for it again by itself",
        )
    ]
