"""The ledger of consents: who said that a person agrees to texts, when and in which words. Rows are only added.

This module is the only writer of ``consent_event`` (erasure aside). Changes of an opt-out have their own proof in
``opt_out_event`` (``messages/opt_outs``), and end every consent that the person gave before. ``policy.consent =
"required"`` asks both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from config.models import Settings
from worker.core.phones import mask
from worker.core.states import MessageState
from worker.messages.people import Recipient, recipients_of
from worker.policy.consent import CRM, ConsentStatement, consent_at
from worker.store.sql import any_of, by_column, insert_many
from worker.store.tables import consent_event, opt_out_event

if TYPE_CHECKING:
    from worker.triggers.evaluate import TextIntent  # which loads the template engine

LONGEST_WORDS = 500
_EMPTY = {"given_at": None, "account": "", "connection": None, "external_id": None, "field": "", "words": ""}
_e, _o = consent_event.c, opt_out_event.c
_COLUMNS = [_e[field.name] for field in fields(ConsentStatement)]


def add_consent(
    connection: Connection,
    phone: str,
    *,
    source: str,
    words: str,
    now: datetime,
    actor: str,
    account: str = "",
    given_at: datetime | None = None,
) -> None:
    """Put into the ledger that the person behind ``phone`` (E.164) agreed to texts. ``words``: the proof."""
    row = {"phone": phone, "at": now, "given_at": given_at, "kind": "consent", "answer": "yes", "source": source}
    add_statements(connection, [row | {"words": words, "actor": actor, "account": account}])


def add_statements(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows to the ledger. Columns that a row does not name are empty."""
    stored = [{**_EMPTY, **row, **_short(row)} for row in rows]
    insert_many(connection, consent_event, by_column(stored), unique=["id"])


def _short(row: Mapping[str, Any]) -> dict[str, str]:
    return {"words": str(row.get("words", ""))[:LONGEST_WORDS], "actor": str(row["actor"])[:80]}


def latest_statements(
    connection: Connection, name: str, external_ids: Collection[str]
) -> dict[tuple[str, str], tuple[str, ConsentStatement]]:
    """Return what each of these CRM records said last, by external id and kind, with the number that it was about."""
    rows = select(_e.phone, *_COLUMNS).where(_e.connection == name, any_of(connection, _e.external_id, external_ids))
    found = (_read(row) for row in connection.execute(rows.order_by(_e.id)))
    return {(str(one.external_id), one.kind): (phone, one) for phone, one in found}


def consents_of(connection: Connection, phones: Collection[str]) -> dict[str, tuple[ConsentStatement, ...]]:
    """Return everything that the ledger has about each of ``phones``, oldest first."""
    rows = select(_e.phone, *_COLUMNS).where(any_of(connection, _e.phone, phones)).order_by(_e.at, _e.id)
    found: defaultdict[str, list[ConsentStatement]] = defaultdict(list)
    for phone, one in map(_read, connection.execute(rows)):
        found[phone].append(one)
    return {phone: tuple(several) for phone, several in found.items()}


def consents_known_to(
    connection: Connection, settings: Settings, phone: str, accounts: Collection[str]
) -> tuple[ConsentStatement, ...]:
    """Return what the ledger has about ``phone`` that became known through ``accounts`` (empty: any), oldest first."""
    crms = {name for name, one in settings.connections.items() if one.account in accounts}
    found = consents_of(connection, [phone]).get(phone, ())
    return tuple(one for one in found if not accounts or one.account in accounts or one.connection in crms)


def opt_out_times(connection: Connection, phones: Collection[str]) -> dict[str, list[datetime]]:
    """Return when each of ``phones`` opted out, which ended the consents before."""
    rows = select(_o.phone, _o.at).where(any_of(connection, _o.phone, phones), _o.opted_out)
    found: defaultdict[str, list[datetime]] = defaultdict(list)
    for phone, at in connection.execute(rows):
        found[phone].append(at)
    return found


def given_consents(connection: Connection, phones: Collection[str], now: datetime) -> dict[str, ConsentStatement]:
    """Return the consent that people gave themselves, and did not withdraw, for those of ``phones`` that have one.

    Without what the CRM says: that counts only as long as the record says it, so it is read from the record.
    """
    outs = opt_out_times(connection, phones)
    found = {
        phone: consent_at([one for one in several if one.source != CRM], outs.get(phone, ()), now)
        for phone, several in consents_of(connection, phones).items()
    }
    return {phone: one for phone, one in found.items() if one is not None}


def consent_gap(
    connection: Connection,
    settings: Settings,
    phone: str,
    person: Recipient,
    about: tuple[str, str] | None,
    now: datetime,
) -> str:
    """Explain why no consent is on record for ``phone``; "" if one is, if none is asked for, or if that is not known.

    ``person``: what the CRMs say now. ``about``: the record that the text is about.
    """
    if settings.policy.consent != "required":
        return ""
    given = not _says_yes(settings, person) and bool(given_consents(connection, [phone], now))
    return gap_of(settings, phone, person, about, given=given)


def gap_of(settings: Settings, phone: str, person: Recipient, about: tuple[str, str] | None, *, given: bool) -> str:
    """Do the work of ``consent_gap`` without the store. ``given``: ``given_consents`` has one. Pure."""
    if settings.policy.consent != "required" or given or _says_yes(settings, person):
        return ""
    return "" if person.permission_unknown(settings, about) else no_consent_on_record(phone)


def require_consents(
    connection: Connection,
    settings: Settings,
    intents: Sequence[TextIntent],
    consenting: Collection[str],
    now: datetime,
) -> list[TextIntent]:
    """Note on the texts of a sync which of their people have no consent on record.

    ``consenting``: the numbers whose CRM records give consent as this sync has read them; a plan stores none of them.
    """
    if settings.policy.consent != "required":
        return list(intents)
    asked = {intent.phone for intent in intents} - set(consenting)
    without = asked - given_consents(connection, asked, now).keys()
    people = recipients_of(connection, settings, without)
    gaps = {phone: gap_of(settings, phone, people[phone], None, given=False) for phone in without}
    return [replace(intent, consent_missing=gaps.get(intent.phone, "")) for intent in intents]


def decided_at(steps: Sequence[tuple[datetime, str]], created_at: datetime) -> datetime:
    """Return when the policy decided about a text for the last time: when it was sent, else when it ended. Pure.

    ``steps``: the times and new states of its history.
    """
    sent = [at for at, after in steps if after == MessageState.DISPATCHING]
    return sent[-1] if sent else steps[-1][0] if steps else created_at


def no_consent_on_record(phone: str) -> str:
    """Say that no consent is on record, and what to do."""
    return (
        f"no consent of {mask(phone)} is on record (policy.consent is required): no CRM record with this number says"
        ' yes, and none was given by START, by hand or by an import; enter it with `vtsync opt-in NUMBER --why "..."`'
        " or `vtsync consents import FILE`"
    )


def _says_yes(settings: Settings, person: Recipient) -> bool:
    return any(record.gives_consent(settings) for record in person.records)


def _read(row: Any) -> tuple[str, ConsentStatement]:
    phone, *values = row
    return phone, ConsentStatement(*values)
