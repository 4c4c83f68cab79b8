"""What a page of CRM changes means: the one place where contacts are matched, merged, moved and let go.

``decide`` works on drafts in memory and touches nothing else, so the same decisions drive a sync (which stores the
drafts) and a plan (which only shows them). Read top to bottom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from crm_adapters.base import UnreadableRecord
from worker.contacts.merge import Contribution, Wanted, merge, wanted_hash
from worker.contacts.records import NormalisedRecord, rejection_key

Key = tuple[str, str]
"""(connection, external id)."""


@dataclass(slots=True, eq=False)
class ContactDraft:
    """A contact as it is about to be. ``id`` is None until it is stored. ``live`` are the records that speak for it;
    ``connections`` every connection that ever had a record of it.
    """

    id: int | None
    phone: str
    full_name: str = ""
    email: str = ""
    live: dict[Key, Contribution] = field(default_factory=dict)
    connections: set[str] = field(default_factory=set)
    stored_phone: str | None = None
    stored_hash: bytes | None = None

    def remerge(self) -> None:
        """Take the wanted fields from the live records again."""
        wanted = merge(self.live.values(), Wanted(self.full_name, self.email))
        self.full_name, self.email = wanted.full_name, wanted.email

    @property
    def hash(self) -> bytes:
        """Of the wanted fields."""
        return wanted_hash(self.phone, self.full_name, self.email)

    @property
    def changed(self) -> bool:
        """Whether there is something to store."""
        return self.hash != self.stored_hash


@dataclass(slots=True, eq=False)
class MappingDraft:
    """A CRM record as it is about to be stored. ``contact`` is None while it never had a usable phone."""

    external_id: str
    id: int | None = None
    contact: ContactDraft | None = None
    record_hash: bytes = b""
    properties: str = "{}"
    """As they are stored, JSON. ``record`` has them as they were read in this run."""
    record: Mapping[str, Any] = field(default_factory=dict)
    full_name: str = ""
    email: str = ""
    updated_at: datetime | None = None
    revision: int = 0
    first_seen_at: datetime | None = None
    deleted: bool = False
    merged_into: str | None = None


@dataclass(slots=True)
class PageState:
    """What is stored about the records of a page and the contacts they touch, as drafts."""

    mappings: dict[str, MappingDraft] = field(default_factory=dict)
    by_phone: dict[str, ContactDraft] = field(default_factory=dict)
    by_id: dict[int, ContactDraft] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    """Keys of the page that are rejected so far."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot be used, and what a person can do about it."""

    key: str
    code: str
    reason: str
    where: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A good record that is new or different: what triggers look at. ``old`` is None for a new one."""

    mapping: MappingDraft
    contact: ContactDraft
    old: Mapping[str, Any] | None
    new: Mapping[str, Any]


@dataclass(slots=True)
class Decision:
    """What is to be stored for a page."""

    mappings: dict[str, MappingDraft] = field(default_factory=dict)
    contacts: dict[int, ContactDraft] = field(default_factory=dict)
    """By identity, in the order of first touch."""
    rejections: dict[str, Rejection] = field(default_factory=dict)
    cleared: set[str] = field(default_factory=set)
    events: list[tuple[ContactDraft, str, str]] = field(default_factory=list)
    changes: list[RecordChange] = field(default_factory=list)
    moved_numbers: list[tuple[str, str]] = field(default_factory=list)
    """(old, new) numbers of a record whose phone changed: an opt-out goes along."""
    added: int = 0
    changed: int = 0
    removed: int = 0

    def touch(self, contact: ContactDraft) -> None:
        """Store this contact."""
        self.contacts.setdefault(id(contact), contact)


@dataclass(frozen=True, slots=True)
class Rules:
    """The connection's settings that decide."""

    connection: str
    priority: int
    clear_empty: bool


def decide(records: Iterable[NormalisedRecord], state: PageState, rules: Rules, now: datetime) -> Decision:
    """Decide about changed records in their order. The drafts in ``state`` are changed as it goes."""
    decision = Decision()
    for record in records:
        mapping = state.mappings.get(record.external_id)
        if record.hashed.change.deleted:
            if mapping is not None and not mapping.deleted:
                _remove(mapping, record, rules, decision)
        else:
            if mapping is None:
                mapping = state.mappings[record.external_id] = MappingDraft(record.external_id, first_seen_at=now)
            _keep(mapping, record, state, rules, decision)
    return decision


def reject_unreadable(unreadable: UnreadableRecord) -> Rejection:
    """An adapter's unreadable record as a rejection."""
    return Rejection(
        rejection_key(unreadable.key), "unreadable", unreadable.reason, unreadable.where, unreadable.excerpt
    )


def _keep(mapping: MappingDraft, record: NormalisedRecord, state: PageState, rules: Rules, decision: Decision) -> None:
    """Store a record's new version; if it is usable, bind it to its contact and merge."""
    is_new = mapping.revision == 0
    old = None if is_new else orjson.loads(mapping.properties)
    was_bound = mapping.contact is not None
    _write_version(mapping, record, decision)
    if is_new:
        decision.added += 1
    else:
        decision.changed += 1
    if record.phone is None:
        _reject(mapping, record, rules, decision)
        return
    decision.rejections.pop(record.external_id, None)
    if record.external_id in state.rejected:
        decision.cleared.add(record.external_id)
    contact = _bind(mapping, record.phone, state, rules, decision)
    first_of_contact = not was_bound and rules.connection not in contact.connections
    contact.connections.add(rules.connection)
    contact.live[rules.connection, mapping.external_id] = _contribution(mapping, rules)
    contact.remerge()
    decision.touch(contact)
    if record.ignored_email:
        decision.events.append((contact, "email_ignored", f'"{record.ignored_email}" is not an email address'))
    if is_new or (old is not None and not was_bound):
        # A record that only now has a usable phone counts as new; one more record of a known person does not.
        if first_of_contact:
            decision.changes.append(RecordChange(mapping, contact, None, record.hashed.change.properties))
    elif old is not None:
        decision.changes.append(RecordChange(mapping, contact, old, record.hashed.change.properties))


def _write_version(mapping: MappingDraft, record: NormalisedRecord, decision: Decision) -> None:
    mapping.record_hash = record.hashed.hash
    mapping.properties, mapping.record = record.hashed.json, record.hashed.change.properties
    mapping.full_name, mapping.email = record.full_name, record.email
    mapping.updated_at = record.updated_at
    mapping.revision += 1
    mapping.deleted = False
    mapping.merged_into = None
    decision.mappings[mapping.external_id] = mapping


def _reject(mapping: MappingDraft, record: NormalisedRecord, rules: Rules, decision: Decision) -> None:
    """Keep the record with its reason. A contact it had stays as it is, and no longer hears from it."""
    code, reason = record.problem or ("unusable", "it cannot be used")
    where = record.hashed.change.where or f"record {record.external_id}"
    decision.rejections[record.external_id] = Rejection(record.external_id, code, reason, where)
    decision.cleared.discard(record.external_id)
    if mapping.contact is not None:
        _unbind(mapping, rules, decision)
        decision.events.append(
            (mapping.contact, "record_rejected", f"{rules.connection} {mapping.external_id}: {reason}")
        )


def _remove(mapping: MappingDraft, record: NormalisedRecord, rules: Rules, decision: Decision) -> None:
    """The record is gone from the CRM: the contact stays in VirtualText (nothing there can be deleted)."""
    mapping.deleted = True
    mapping.record_hash = record.hashed.hash
    mapping.merged_into = record.hashed.change.merged_into
    decision.mappings[mapping.external_id] = mapping
    decision.removed += 1
    decision.rejections.pop(mapping.external_id, None)
    decision.cleared.add(mapping.external_id)
    if mapping.contact is not None:
        _unbind(mapping, rules, decision)
        into = f", merged into {mapping.merged_into}" if mapping.merged_into else ""
        decision.events.append((mapping.contact, "record_removed", f"{rules.connection} {mapping.external_id}{into}"))


def _unbind(mapping: MappingDraft, rules: Rules, decision: Decision) -> None:
    contact = mapping.contact
    if contact is None:
        return
    contact.live.pop((rules.connection, mapping.external_id), None)
    if contact.live:
        contact.remerge()
    decision.touch(contact)


def _bind(mapping: MappingDraft, phone: str, state: PageState, rules: Rules, decision: Decision) -> ContactDraft:
    """The contact for this record and phone: by mapping, then by phone, else a new one."""
    bound, owner = mapping.contact, state.by_phone.get(phone)
    if bound is not None and bound.phone == phone:
        return bound
    if bound is None:
        contact = owner or _new_contact(phone, state)
        mapping.contact = contact
        return contact
    decision.moved_numbers.append((bound.phone, phone))
    others = [key for key in bound.live if key != (rules.connection, mapping.external_id)]
    if owner is None and not others:
        return _renumber(bound, phone, state, rules, mapping, decision)
    # The number is another contact's already, or others still use the old one: only this record moves.
    _unbind(mapping, rules, decision)
    contact = owner or _new_contact(phone, state)
    contact.connections.update(bound.connections)
    decision.events.append((bound, "record_moved", f"{rules.connection} {mapping.external_id} now has {phone}"))
    decision.events.append((contact, "record_moved", f"{rules.connection} {mapping.external_id} had {bound.phone}"))
    mapping.contact = contact
    return contact


def _renumber(
    contact: ContactDraft,
    phone: str,
    state: PageState,
    rules: Rules,
    mapping: MappingDraft,
    decision: Decision,
) -> ContactDraft:
    decision.events.append(
        (
            contact,
            "phone_changed",
            f"{rules.connection} {mapping.external_id}: {contact.phone} is now {phone}",
        )
    )
    state.by_phone.pop(contact.phone, None)
    contact.phone = phone
    state.by_phone[phone] = contact
    return contact


def _new_contact(phone: str, state: PageState) -> ContactDraft:
    contact = state.by_phone[phone] = ContactDraft(None, phone)
    return contact


def _contribution(mapping: MappingDraft, rules: Rules) -> Contribution:
    return Contribution(
        rules.connection,
        mapping.external_id,
        mapping.full_name,
        mapping.email,
        mapping.updated_at,
        rules.priority,
        rules.clear_empty,
    )
