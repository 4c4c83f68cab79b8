"""Checks of credentials: each account at VirtualText, each CRM connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from email.utils import parsedate_to_datetime

from config.alert_kinds import AlertKind
from crm_adapters.base import AdapterError, ApiVersion, CredentialsRejected, SourceUnavailable
from crm_adapters.registry import BUILT_IN
from worker.contacts.connection_gate import note_check_succeeded
from worker.contacts.consent import needs_consent
from worker.contacts.services import open_adapter
from worker.core.clock import utcnow
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.states import PauseKind
from worker.doctor import clocks
from worker.doctor.field_values import judge_values
from worker.doctor.fields import judge_fields, may_name_deleted
from worker.doctor.pauses import judge_pause
from worker.limits.account_gate import clear_stop
from worker.limits.account_proof import AccountProof, prove_account
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.pauses import find_pause
from worker.virtualtext.outcomes import Cause

API_NOTICE = timedelta(days=90)


def check_account(runtime: Runtime, name: str, *, resume: bool) -> Iterator[Finding]:
    """Make a call by id. If it is served and ``resume`` is set, an account that was stopped or paused resumes."""
    proof = prove_account(runtime.client(name))
    trouble = judge_credential(name, proof)
    if trouble is not None:
        yield trouble
        return
    resumed = ""
    if resume:
        with writing(runtime.engine) as db:
            resumed = "; the account was stopped or paused, and now resumes" if clear_stop(db, name) else ""
    yield ok(f"account {name}", f"VirtualText accepts the credential{resumed}")


def judge_credential(name: str, proof: AccountProof) -> Finding | None:
    """Judge the answer to a call by id; None if it shows a working credential. Pure."""
    if proof.works:
        return None
    outcome = proof.outcome
    match outcome.cause:
        case Cause.CREDENTIALS:
            found, do = "VirtualText refuses the credential", f"correct uid and token of [accounts.{name}]"
        case Cause.REDIRECTED:
            found, do = "the address answers with a redirect", f"correct api_url of [accounts.{name}]"
        case Cause.UNREACHABLE:
            found, do = "VirtualText cannot be reached", f"check api_url of [accounts.{name}] and the network"
        case Cause.RATE_LIMITED:
            found, do = "VirtualText still asks to wait", "try again later; vtsync tries by itself, too"
        case _:
            found, do = "VirtualText does not answer as expected at the moment", "try again later"
    why = "vtsync sends no texts and writes no contacts for this account until it works"
    return problem(FindingCode.ACCOUNT_UNUSABLE, f"account {name}", f"{found} ({outcome.detail})", why, do)


def check_account_clock(runtime: Runtime, name: str) -> Iterator[Finding]:
    """Compare this machine's clock with VirtualText's, if VirtualText tells the time."""
    asked = utcnow()
    said = runtime.client(name).clock()
    answered = utcnow()
    try:
        theirs = None if said is None else parsedate_to_datetime(said)
    except ValueError:
        theirs = None
    if theirs is not None:  # an account that does not answer is reported by check_account
        yield clocks.judge_clock(f"VirtualText ({name})", theirs, asked, answered)


def check_connection(runtime: Runtime, name: str) -> Iterator[Finding]:
    """Let the adapter try its credential and its source, and compare the source's fields with the configuration.

    If it succeeds, a connection that was stopped or waits resumes. One that is paused is not asked.
    """
    what = f"connection {name}"
    with reading(runtime.engine) as db:
        pause = find_pause(db, PauseKind.CONNECTION, name)
    if pause is not None:
        yield judge_pause(PauseKind.CONNECTION, name, pause, utcnow())
        return
    try:
        with closing(open_adapter(runtime, name)) as adapter:
            report = adapter.check()
            with writing(runtime.engine) as db:
                resumed = "; it was stopped or waited, and now resumes" if note_check_succeeded(db, name) else ""
            yield ok(what, f"{report.summary}{resumed}")
            if adapter.api_version is not None:
                yield judge_api_version(what, adapter.api_version, utcnow().date())
            deleted = may_name_deleted(adapter.options)
            fields = list(adapter.describe())
            yield from judge_fields(runtime.settings, name, fields, deleted=deleted)
            yield from judge_values(runtime.settings, name, fields)
    except AdapterError as error:
        remedy = _remedy(runtime, name, error)
        yield problem(
            FindingCode.CONNECTION_UNUSABLE,
            what,
            str(error).removesuffix(f"; {remedy}"),
            "changes in this CRM do not arrive",
            remedy,
        )


def judge_api_version(what: str, version: ApiVersion, today: date) -> Finding:
    """Judge how long the vendor keeps the version of its API that the adapter calls. Pure."""
    if version.ends is None or version.ends - today > API_NOTICE:
        return ok(what, f"calls version {version.name} of the API")
    gone = version.ends < today
    level = problem if gone else warning
    return level(
        AlertKind.VERSION_ENDING,
        what,
        f"version {version.name} of the API {'ended' if gone else 'ends'} on {version.ends}",
        "after that day the vendor may switch it off, and changes in this CRM do not arrive",
        "upgrade vtsync, or the package that has the adapter",
    )


def _remedy(runtime: Runtime, name: str, error: AdapterError) -> str:
    """Name the next step; the adapter's own message has the details."""
    if isinstance(error, CredentialsRejected):
        if needs_consent(runtime.settings, name):
            return f"run `vtsync connect {name}`"
        return f"correct the credential of [connections.{name}]{_page(runtime, name)}, then run `vtsync check`"
    if isinstance(error, SourceUnavailable):
        return "vtsync tries again by itself; if it lasts, check the CRM's status and the network"
    return f"correct the source or [connections.{name}]{_page(runtime, name)}, then run `vtsync check`"


def _page(runtime: Runtime, name: str) -> str:
    """Name the page of a built-in adapter."""
    adapter = runtime.settings.connections[name].adapter
    return f" (docs/adapters/{adapter}.md explains it)" if adapter in BUILT_IN else ""
