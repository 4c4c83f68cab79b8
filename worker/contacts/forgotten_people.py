"""Keeps people who were forgotten out of the store: their CRM records are rejected, without a copy of their content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection as Database

from crm_adapters.base import CONTACT, SourceInvalid
from worker.contacts.decide import PageDecision, PageState, RecordRejection
from worker.contacts.records import NormalisedRecord
from worker.core.phones import mentions_number
from worker.messages.forgotten import (
    forgotten_numbers,
    forgotten_records,
    is_anybody_forgotten,
    missing_key,
    remembered_records,
)

CODE = "forgotten"


def require_number_key(db: Database) -> None:
    """Raise SourceInvalid if it is not known who was forgotten: a sync could bring them back."""
    if problem := missing_key(db):
        raise SourceInvalid(problem)


def set_aside_forgotten(
    db: Database, name: str, records: Sequence[NormalisedRecord], state: PageState
) -> tuple[Sequence[NormalisedRecord], dict[str, RecordRejection]]:
    """Return the records of a page without those of forgotten people, and the rejections of these.

    A record counts if it has a forgotten number, was itself erased, or belongs to a person whose record was. One that
    is stored, because it had another number, stays with the rest without its new content, and is rejected there.
    """
    if not records or not is_anybody_forgotten(db):
        return records, {}
    numbers = forgotten_numbers(db, [record.phone for record in records if record.phone])
    keys = {key for record in records for key in (record.external_id, record.change.person) if key is not None}
    erased = forgotten_records(db, name, keys)
    kept: list[NormalisedRecord] = []
    rejections: dict[str, RecordRejection] = {}
    for record in records:
        number = numbers.get(record.phone or "")
        since = number.at if number else erased.get(record.external_id) or erased.get(record.change.person or "")
        if since is None or record.change.deleted:
            kept.append(record)
            continue
        stored = state.mappings.get(record.external_id)
        if stored is not None and record.change.kind == CONTACT:
            kept.append(_without_content(record, since))
        else:
            rejection = _rejection(record, since)
            rejections[rejection.key] = rejection
    return kept, rejections


def text_no_remembered(db: Database, name: str, decision: PageDecision) -> None:
    """Let people who were forgotten come back without a text: what called for one, they may have got before."""
    fresh = [change.mapping.external_id for change in decision.changes if change.old is None]
    if fresh and is_anybody_forgotten(db):
        back = remembered_records(db, name, fresh)
        decision.changes = [
            change for change in decision.changes if change.old is not None or change.mapping.external_id not in back
        ]


def _without_content(record: NormalisedRecord, since: datetime) -> NormalisedRecord:
    change = record.change._replace(properties={})
    problem = (CODE, _reason(since))
    return replace(
        record, change=change, canonical=b"{}", hash=b"", phone=None, problem=problem, full_name="", email=""
    )


def _rejection(record: NormalisedRecord, since: datetime) -> RecordRejection:
    """Return the rejection. Some CRMs use the number or the email as the id, which must not be stored again."""
    has_number = record.phone is not None and mentions_number(record.external_id, record.phone)
    if has_number or "@" in record.external_id:
        key = f"a {record.change.kind} whose id is its number or email"
        return RecordRejection(key, CODE, _reason(since), "")
    where = record.change.where or f"record {record.external_id}"
    return RecordRejection(record.external_id, CODE, _reason(since), where)


def _reason(since: datetime) -> str:
    return (
        f"its person was forgotten on {since:%Y-%m-%d}; delete the record in the CRM, or, if they are a customer again,"
        ' run `vtsync remember NUMBER --why "..."`, then `vtsync sync --full`'
    )
