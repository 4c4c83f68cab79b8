"""What CRM records say about texts to their people, for the ledger: a row when it is first seen, or changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection as Database

from config.models import PropertyRule, Settings
from crm_adapters.base import CONTACT
from worker.contacts.decide import MappingDraft, PageDecision
from worker.messages.consents import add_statements, latest_statements
from worker.messages.permission import Answer, LiveRecord
from worker.policy.consent import CRM, ConsentStatement

RULES = ("consent", "do_not_text")


def record_statements(db: Database, settings: Settings, name: str, decision: PageDecision, now: datetime) -> None:
    """Add to the ledger what the changed records of a page say, where that is new. In the transaction of the page.

    Unchanged records do not come here, and a connection without a rule writes nothing.
    """
    configured = settings.connections[name]
    rules = {kind: rule for kind in RULES if (rule := getattr(configured, kind)) is not None}
    drafts = [draft for draft in decision.mappings.values() if draft.kind == CONTACT] if rules else []
    if not drafts:
        return
    before = latest_statements(db, name, [draft.external_id for draft in drafts])
    same = {"at": now, "source": CRM, "account": configured.account, "connection": name, "actor": "sync"}
    rows = _changes(name, rules, drafts, decision.rejections, before)
    add_statements(db, [same | row for row in rows])


def _changes(
    name: str,
    rules: Mapping[str, PropertyRule],
    drafts: Collection[MappingDraft],
    rejected: Collection[str],
    before: Mapping[tuple[str, str], tuple[str, ConsentStatement]],
) -> Iterator[dict[str, Any]]:
    """Yield the rows for what has changed. Pure. ``before``: what each record said last, and about which number."""
    for draft in drafts:
        usable = draft.contact is not None and not draft.deleted and draft.external_id not in rejected
        phone = draft.contact.phone if usable and draft.contact is not None else None
        record = LiveRecord(name, draft.external_id, draft.record)
        for kind, rule in rules.items():
            old_phone, old = before.get((draft.external_id, kind), (None, None))
            now = None if phone is None else _said(record, kind, rule)
            was = None if old is None or old.answer == "gone" else (old.answer, old.words)
            about = {"kind": kind, "external_id": draft.external_id, "field": rule.field}
            if was is not None and phone != old_phone:
                yield about | {"phone": old_phone, "answer": "gone", "words": ""}
                was = None
            if now is None or phone is None or now == was or (was is None and _says_nothing(kind, *now)):
                continue
            yield about | {"phone": phone, "answer": now[0], "words": now[1]}


def _said(record: LiveRecord, kind: str, rule: PropertyRule) -> tuple[str, str]:
    answer = record.consents(rule) if kind == "consent" else record.forbids(rule)
    return str(answer), record.words(rule)


def _says_nothing(kind: str, answer: str, words: str) -> bool:
    """Return True for an empty field, and for a do-not-text field that forbids nothing: no news about a new person."""
    return answer == Answer.NO and (not words or kind == "do_not_text")
