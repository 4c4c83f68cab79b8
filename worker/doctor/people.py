"""Checks what the configuration promises to people: consent on record, and that nobody who was forgotten comes back."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, exists, func, select

from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.text import counted
from worker.messages.forgotten import missing_key
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import consent_event, contact


def check_people(runtime: Runtime) -> Iterator[Finding]:
    """Find hashes of forgotten numbers whose key is missing, and people who are not texted for lack of a consent."""
    with reading(runtime.engine) as db:
        if missing := missing_key(db):
            yield problem(
                FindingCode.NUMBER_KEY_MISSING,
                "forgotten numbers",
                missing,
                "no connection is synced, and all texts are held",
                "put the key back",
            )
        if runtime.settings.policy.consent == "required":
            for account in runtime.settings.accounts:
                yield judge_consents(account, *_consents(db, account))


def judge_consents(account: str, contacts: int, without: int) -> Finding:
    """Say how many contacts of an account have no consent on record. Pure."""
    if not without:
        return ok(f"consents of {account}", f"all {contacts:,} contacts have a consent on record")
    return warning(
        FindingCode.CONSENT_MISSING,
        f"consents of {account}",
        f"{without:,} of {counted(contacts, 'contact')} have no consent on record",
        "texts to them are suppressed, because policy.consent is required",
        "name the field of the CRM that holds consents (connections.NAME.consent) and sync, or run"
        " `vtsync consents import FILE`",
    )


def _consents(db: Connection, account: str) -> tuple[int, int]:
    """Count the contacts of an account, and those without a consent. Opt-outs count elsewhere."""
    e, later = consent_event.c, consent_event.alias().c
    superseded = exists().where(
        later.phone == e.phone,
        later.id > e.id,
        later.kind == e.kind,
        later.source == e.source,
        func.coalesce(later.connection, "") == func.coalesce(e.connection, ""),
        func.coalesce(later.external_id, "") == func.coalesce(e.external_id, ""),
    )
    has_one = exists().where(e.phone == contact.c.phone, e.kind == "consent", e.answer == "yes", ~superseded)
    mine = contact.c.account == account
    everybody = db.scalar(select(func.count()).where(mine)) or 0
    return everybody, db.scalar(select(func.count()).where(mine, ~has_one)) or 0
