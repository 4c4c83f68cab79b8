"""Everything that is stored about one person, as JSON (`vtsync export`). docs/privacy.md describes the schema.

The sections are the tables of the registry. Each text also says who asked for it, by which rule, and which consent was
on record then.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, or_, select

from config.models import Settings
from worker.messages.consents import consents_of, decided_at, opt_out_times
from worker.messages.forgotten import forgotten_numbers
from worker.messages.opt_outs import opted_out
from worker.messages.people import recipient_of
from worker.messages.standing import account_standing
from worker.people.find import Subject, belongs, find_subject, is_one_of, mentioning
from worker.people.registry import OWNED, Holds, PersonalTable
from worker.policy.consent import ConsentStatement, consent_at
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.models import utcnow

SCHEMA = "vtsync.person/1"
"""Changes when a reader of the export could misunderstand it. New keys may come without that."""


def export_person(runtime: Runtime, phone: str, accounts: Collection[str] = ()) -> dict[str, Any]:
    """Return all that is known about the person behind ``phone`` (E.164). ``accounts``: only theirs; empty: all."""
    now, settings = utcnow(), runtime.settings
    with reading(runtime.engine) as connection:
        subject = find_subject(connection, phone, accounts)
        sections = {one.section: _rows(connection, one, subject) for one in OWNED}
        forgotten = forgotten_numbers(connection, [phone]).get(phone)
        statements = consents_of(connection, [phone]).get(phone, ())
        outs = opt_out_times(connection, [phone]).get(phone, [])
        head = {
            "schema": SCHEMA,
            "phone": phone,
            "exported_at": as_json(now),
            "accounts": sorted(accounts) or None,
            "opted_out": phone in opted_out(connection, [phone]),
            "forgotten_at": None if forgotten is None else as_json(forgotten.at),
            # The reasons may come from another account's conversation.
            "may_be_texted": None if accounts else _verdicts(connection, settings, phone, now),
        }
    history = sections.pop("text_history")
    shown = [one for one in statements if not accounts or one.account in accounts]
    texts = [_text(settings, row, history, shown, outs) for row in sections.pop("texts")]
    return head | {"texts": texts, **sections}


def is_known(exported: dict[str, Any]) -> bool:
    """Return True if an export shows that anything is stored about its person."""
    sections = (value for name, value in exported.items() if name != "accounts" and isinstance(value, list))
    return bool(exported["opted_out"] or exported["forgotten_at"] or any(sections))


def _verdicts(connection: Connection, settings: Settings, phone: str, now: datetime) -> dict[str, str]:
    person = recipient_of(connection, settings, phone)
    return {
        name: account_standing(connection, settings, name, phone, person, now).verdict for name in settings.accounts
    }


def as_json(value: Any) -> Any:
    """Return a value of a column as JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.hex() if isinstance(value, bytes) else value


def _rows(connection: Connection, one: PersonalTable, subject: Subject) -> list[dict[str, Any]]:
    """Return the person's rows of a table, oldest first, without the columns that are about the work on them.

    An event belongs to the person if it names their number. Only keys for all accounts get those.
    """
    mine = belongs(connection, one, subject)
    if one.on_mention == "delete" and not subject.accounts:
        mine = or_(mine, is_one_of(one, [tuple(row) for row in mentioning(connection, one, subject.phone)]))
    shown = [column for column in one.table.columns if one.holds[column.name] is not Holds.WORK]
    rows = connection.execute(select(*shown).where(mine).order_by(*one.table.primary_key.columns)).all()
    return [{str(column.name): _value(one, column.name, row) for column in shown} for row in rows]


def _value(one: PersonalTable, name: str, row: Any) -> Any:
    value = row._mapping[name]
    if name not in one.json or not isinstance(value, str):
        return as_json(value)
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _text(
    settings: Settings,
    row: dict[str, Any],
    history: list[dict[str, Any]],
    statements: Collection[ConsentStatement],
    opt_outs: Collection[datetime],
) -> dict[str, Any]:
    """Return a text with its history, who asked for it, and the consent that was on record when it was decided."""
    steps = [step for step in history if step["message_id"] == row["id"]]
    mine = [{key: step[key] for key in step if key not in ("id", "message_id")} for step in steps]
    times = [(datetime.fromisoformat(step["at"]), step["to_state"]) for step in mine]
    at = decided_at(times, datetime.fromisoformat(row["created_at"]))
    consent = consent_at(list(statements), opt_outs, at)
    return row | {
        "asked_by": asked_by(row["trigger"], row["source"], mine[0]["actor"] if mine else ""),
        "rule": rule_of(settings, row["trigger"]),
        "consent": None if consent is None else consent_as_json(consent),
        "history": mine,
    }


def asked_by(trigger: str | None, source: str, actor: str) -> str:
    """Say in words who asked for a text."""
    if trigger:
        return f"trigger {trigger}"
    how = {"http": "the HTTP API", "task": "a Celery task", "cli": "the command line", "carrier": "a carrier"}
    return f"{how.get(source, source)}{f' ({actor})' if actor else ''}"


def rule_of(settings: Settings, trigger: str | None) -> dict[str, Any] | None:
    """Return the trigger as it is configured now; None if the text has none, or it is not configured any more."""
    found = settings.triggers.get(trigger or "")
    return None if found is None else found.model_dump(mode="json", exclude_defaults=True)


def consent_as_json(one: ConsentStatement) -> dict[str, Any]:
    """Return a row of the ledger as an export shows it with a text."""
    names = ("at", "given_at", "answer", "source", "connection", "external_id", "field", "words", "actor")
    return {name: as_json(getattr(one, name)) for name in names}
