"""Tries everything that the configuration names: store, broker, every account's and every CRM's credential."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crm_adapters.base import AdapterError
from worker.contacts.adapters import build_adapter
from worker.limits.account_gate import clear_stop
from worker.runtime import Runtime
from worker.store.db import writing
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact

# No contact has this id: good credentials get the gateway's answer for an unknown id, bad ones get 401 (observed).
NOBODY = "vtsync-check"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried. ``detail`` says what was found, or what to do."""

    what: str
    ok: bool
    detail: str


def check_everything(runtime: Runtime) -> Iterator[CheckResult]:
    """Try each in turn; one failure does not keep the others from being tried."""
    yield check_store(runtime)
    yield check_broker(runtime)
    for name in runtime.settings.accounts:
        yield check_account(runtime, name)
    for name in runtime.settings.connections:
        yield check_connection(runtime, name)


def check_store(runtime: Runtime) -> CheckResult:
    """Reach the store and compare its tables with this version's."""
    from sqlalchemy.exc import DBAPIError

    from worker.store.db import unreachable
    from worker.store.migrate import StoreOutdated, ensure_current

    where = runtime.engine.url.render_as_string(hide_password=True)
    try:
        ensure_current(runtime.engine)
    except StoreOutdated as error:
        return CheckResult("store", False, f"{where}: {error}")
    except DBAPIError as error:
        return CheckResult("store", False, unreachable(runtime.engine, error))
    return CheckResult("store", True, where)


def check_broker(runtime: Runtime) -> CheckResult:
    """Connect to the broker."""
    from kombu.exceptions import OperationalError

    from worker.app import app
    from worker.broker.settings import describe

    where = describe(runtime.settings)
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
        except (OSError, OperationalError, *connection.recoverable_connection_errors) as error:
            reason = str(error) or type(error).__name__
            return CheckResult(
                "broker", False, f"{where} cannot be reached ({reason}); start it, or correct broker.url"
            )
    return CheckResult("broker", True, where)


def check_account(runtime: Runtime, name: str) -> CheckResult:
    """Ask VirtualText for a contact that nobody has, and for its health. A stopped account that works goes on."""
    client = runtime.client(name)
    outcome = client.get_contact(NOBODY)
    health = client.health() if outcome.cause is Cause.GATEWAY else None
    ok, detail = judge_account(name, outcome, None if health is None else health.done)
    if ok:
        with writing(runtime.engine) as db:
            if clear_stop(db, name):
                detail += "; the account was stopped and goes on now"
    return CheckResult(f"account {name}", ok, detail)


def judge_account(name: str, outcome: Outcome[RemoteContact], healthy: bool | None) -> tuple[bool, str]:
    """What the answer to an unknown id says about the credential. Pure."""
    if outcome.done or outcome.http_status == 404 or (outcome.cause is Cause.GATEWAY and healthy):
        return True, "VirtualText accepts the credential"
    if outcome.cause is Cause.CREDENTIALS:
        return (
            False,
            f"VirtualText refuses the credential ({outcome.detail}); correct uid and token of [accounts.{name}]",
        )
    if outcome.cause is Cause.REDIRECTED:
        return False, f"the address answers with a redirect ({outcome.detail}); correct api_url of [accounts.{name}]"
    if outcome.cause is Cause.UNREACHABLE:
        return (
            False,
            f"VirtualText cannot be reached ({outcome.detail}); check api_url of [accounts.{name}] and the network",
        )
    return False, f"VirtualText does not answer properly just now ({outcome.detail}); try again later"


def check_connection(runtime: Runtime, name: str) -> CheckResult:
    """Let the adapter try its credential and source."""
    what = f"connection {name}"
    try:
        adapter = build_adapter(runtime.settings, name)
        try:
            report = adapter.check()
        finally:
            adapter.close()
    except AdapterError as error:
        return CheckResult(what, False, str(error))
    return CheckResult(what, True, report.summary)
