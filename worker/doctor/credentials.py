"""Checks of credentials: each account at VirtualText, each CRM connection."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from crm_adapters.base import AdapterError, CredentialsRejected, SourceUnavailable
from worker.contacts.adapters import build_adapter
from worker.core.findings import Finding, ok, problem
from worker.doctor import clocks
from worker.limits.account_gate import clear_stop
from worker.runtime import Runtime
from worker.store.db import writing
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact

# No contact has this id: with a good credential the gateway answers for an unknown id, with a bad one 401 (observed).
UNKNOWN_CONTACT_ID = "vtsync-check"


def check_account(runtime: Runtime, name: str) -> Iterator[Finding]:
    """Ask VirtualText for an unknown contact and for its health. Resumes a stopped account whose credential works."""
    client = runtime.client(name)
    outcome = client.get_contact(UNKNOWN_CONTACT_ID)
    health = client.health() if outcome.cause is Cause.GATEWAY else None
    trouble = judge_credential(name, outcome, None if health is None else health.done)
    if trouble is not None:
        yield trouble
        return
    with writing(runtime.engine) as db:
        resumed = "; the account was stopped and now resumes" if clear_stop(db, name) else ""
    yield ok(f"account {name}", f"VirtualText accepts the credential{resumed}")


def judge_credential(name: str, outcome: Outcome[RemoteContact], healthy: bool | None) -> Finding | None:
    """Judge the answer to an unknown id; None if it shows a working credential. Pure."""
    if outcome.done or outcome.http_status == 404 or (outcome.cause is Cause.GATEWAY and healthy):
        return None
    match outcome.cause:
        case Cause.CREDENTIALS:
            found, do = "VirtualText refuses the credential", f"correct uid and token of [accounts.{name}]"
        case Cause.REDIRECTED:
            found, do = "the address answers with a redirect", f"correct api_url of [accounts.{name}]"
        case Cause.UNREACHABLE:
            found, do = "VirtualText cannot be reached", f"check api_url of [accounts.{name}] and the network"
        case _:
            found, do = "VirtualText does not answer as expected at the moment", "try again later"
    why = "vtsync sends no texts and writes no contacts for this account until it works"
    return problem(f"account {name}", f"{found} ({outcome.detail})", why, do)


def check_account_clock(runtime: Runtime, name: str) -> Iterator[Finding]:
    """Compare this machine's clock with VirtualText's, if VirtualText tells the time."""
    asked = datetime.now(UTC)
    said = runtime.client(name).clock()
    answered = datetime.now(UTC)
    try:
        theirs = None if said is None else parsedate_to_datetime(said)
    except ValueError:
        theirs = None
    if theirs is not None:  # an account that does not answer is reported by check_account
        yield clocks.judge_clock(f"VirtualText ({name})", theirs, asked, answered)


def check_connection(runtime: Runtime, name: str) -> Iterator[Finding]:
    """Let the adapter try its credential and its source."""
    what = f"connection {name}"
    try:
        adapter = build_adapter(runtime.settings, name)
        try:
            report = adapter.check()
        finally:
            adapter.close()
    except AdapterError as error:
        yield problem(what, str(error), "changes in this CRM do not arrive", _remedy(name, error))
    else:
        yield ok(what, report.summary)


def _remedy(name: str, error: AdapterError) -> str:
    """Name the next step; the adapter's own message has the details."""
    if isinstance(error, CredentialsRejected):
        return f"correct the credential of [connections.{name}], then run `vtsync check`"
    if isinstance(error, SourceUnavailable):
        return "vtsync tries again by itself; if it lasts, check the CRM's status and the network"
    return f"correct the source or [connections.{name}], then run `vtsync check`"
