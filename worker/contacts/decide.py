"""Decides what a page of CRM changes means: which contacts it creates, merges, renumbers and releases.

``decide_page`` works on drafts in memory and touches nothing else, so that the same decisions drive a sync (which
stores the drafts) and a plan (which only shows them).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from crm_adapters.base import CONTACT, ContactChange, UnreadableRecord
from worker.contacts.merge import Contribution, merge, wanted_hash
from worker.contacts.records import NormalisedRecord, UnusableRecord, failure_reason, rejection_key
from worker.contacts.shape import carried_forward
from worker.messages.permission import is_permission

if TYPE_CHECKING:
    from config.models import Settings

Key = tuple[str, str]
"""(connection, external id)."""


@dataclass(slots=True, eq=False)
class ContactDraft:
    """A contact as it will be stored. ``id`` is None until then.

    ``live`` are the records that contribute to it, ``connections`` all connections that ever had a record of it.
    ``held`` are the names and emails that records of connections with ``clear_empty`` have or had.
    """

    id: int | None
    phone: str
    full_name: str = ""
    email: str = ""
    live: dict[Key, Contribution] = field(default_factory=dict)
    connections: set[str] = field(default_factory=set)
    stored_phone: str | None = None
    stored_hash: bytes | None = None
    held: frozenset[str] = frozenset()

    def hold(self, contribution: Contribution) -> None:
        """Note what a record says or said, so that it may be cleared when the record says it no longer."""
        if contribution.clear_empty:
            self.held |= {contribution.full_name, contribution.email}

    def remerge(self) -> None:
        """Merge the wanted fields from the live records again."""
        self.full_name, self.email = merge(self.live.values(), self.full_name, self.email, self.held)

    @property
    def hash(self) -> bytes:
        """The hash of the wanted fields."""
        return wanted_hash(self.phone, self.full_name, self.email)

    @property
    def changed(self) -> bool:
        """The draft differs from what is stored."""
        return self.hash != self.stored_hash


@dataclass(slots=True, eq=False)
class MappingDraft:
    """A CRM record as it will be stored. ``contact`` is None as long as it never had a usable phone."""

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
    kind: str = CONTACT
    person: str | None = None


@dataclass(slots=True)
class PageState:
    """Drafts of what is stored about the records of a page and their contacts."""

    mappings: dict[str, MappingDraft] = field(default_factory=dict)
    by_phone: dict[str, ContactDraft] = field(default_factory=dict)
    by_id: dict[int, ContactDraft] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    """Keys of the page that are stored as rejected. A plan adds those that earlier pages reject, see ``follow``."""
    cleared: set[str] = field(default_factory=set)
    """Keys that are stored as rejected, and are no longer after earlier pages of a plan."""
    waiting: dict[str, list[MappingDraft]] = field(default_factory=dict)
    """By person: records that belong to a person of the page, who had no contact yet."""

    def follow(self, rejected: Collection[str], cleared: Collection[str]) -> None:
        """Note what a page rejects and clears, for the pages after it: a plan does not store it."""
        self.cleared = (self.cleared | set(cleared)) - set(rejected)
        self.rejected = (self.rejected | set(rejected)) - self.cleared


@dataclass(frozen=True, slots=True)
class RecordRejection:
    """A record that cannot be used, with the reason and the remedy for a person."""

    key: str
    code: str
    reason: str
    where: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A usable record that is new or changed, for triggers to evaluate. ``old`` is None for a new one.

    ``of_known_person``: it is new, and the connection has another record of the same person already.
    """

    mapping: MappingDraft
    contact: ContactDraft
    old: Mapping[str, Any] | None
    new: Mapping[str, Any]
    of_known_person: bool = False


@dataclass(slots=True)
class PageDecision:
    """What to store for a page."""

    mappings: dict[str, MappingDraft] = field(default_factory=dict)
    contacts: dict[int, ContactDraft] = field(default_factory=dict)
    """By identity, in the order in which they were first changed."""
    rejections: dict[str, RecordRejection] = field(default_factory=dict)
    cleared: set[str] = field(default_factory=set)
    events: list[tuple[ContactDraft, str, str]] = field(default_factory=list)
    changes: list[RecordChange] = field(default_factory=list)
    moved_numbers: list[tuple[str, str, str]] = field(default_factory=list)
    """(old number, new number, external id) of each record whose phone changed: opt-outs and reviews follow."""
    moved_people: dict[str, ContactDraft] = field(default_factory=dict)
    """People whose contact is another one now: the records that belong to them follow."""
    added: int = 0
    changed: int = 0
    removed: list[str] = field(default_factory=list)

    def touch(self, contact: ContactDraft) -> None:
        """Store this contact."""
        self.contacts.setdefault(id(contact), contact)


Precedence = tuple[int, bool]
"""(priority, clear_empty) of a connection, see ``Contribution``."""


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """The settings by which the records of ``connection`` are matched and merged.

    ``precedence`` holds those of every connection, because a contact may have records of several.
    """

    connection: str
    account: str
    precedence: Mapping[str, Precedence]
    keeps: Callable[[str], bool] = lambda _: True
    """Returns True if the value of a field that has vanished is kept, see ``worker.contacts.shape``."""
    lapses: Callable[[str, Any], bool] = lambda _name, _value: False
    """Returns True if a value counts only as long as the source has its field: a permission to text."""
    ids_may_differ: bool = False
    """The settings have changed since the last run. A record with an unknown id may be known under another one, so one
    more record of a known person does not count as new."""

    @classmethod
    def of(cls, settings: Settings, connection: str, keeps: Callable[[str], bool]) -> ConnectionRules:
        """Read the rules of a connection from the configuration."""
        precedence = {name: (c.priority, c.clear_empty) for name, c in settings.connections.items()}
        configured = settings.connections[connection]
        return cls(connection, configured.account, precedence, keeps, partial(is_permission, configured))


def decide_page(
    records: Iterable[NormalisedRecord], state: PageState, rules: ConnectionRules, now: datetime
) -> PageDecision:
    """Decide about changed records in their order. Changes the drafts in ``state``."""
    decision = PageDecision()
    for record in records:
        mapping = state.mappings.get(record.external_id)
        if record.change.deleted:
            if mapping is not None and not mapping.deleted:
                _remove(mapping, record, rules, decision)
            elif mapping is not None and record.change.merged_into is not None:
                _note_survivor(mapping, record, decision)
        else:
            if mapping is None:
                mapping = state.mappings[record.external_id] = MappingDraft(record.external_id, first_seen_at=now)
            if record.change.kind == CONTACT:
                _keep(mapping, record, state, rules, decision)
            else:
                _keep_belonging(mapping, record, state, rules, decision)
    return decision


def reject_unreadable(unreadable: UnreadableRecord) -> RecordRejection:
    """Turn an adapter's unreadable record into a rejection."""
    reason, where, excerpt = str(unreadable.reason), str(unreadable.where), str(unreadable.excerpt)
    return RecordRejection(rejection_key(unreadable.key), "unreadable", reason, where, excerpt)


def reject_failed(change: ContactChange | UnreadableRecord, error: Exception) -> RecordRejection:
    """Reject a record that raised ``error``: it is UnusableRecord, with the reason, or anything unexpected."""
    name, where = (
        text if isinstance(text := getattr(change, part, ""), str) else ""
        for part in ("key" if isinstance(change, UnreadableRecord) else "external_id", "where")
    )
    key = rejection_key(name) or rejection_key(where) or "record without an identifier"
    if isinstance(error, UnusableRecord):
        return RecordRejection(key, "unreadable", str(error), where)
    return RecordRejection(key, "failed", failure_reason(error), where or f"record {key}")


def _note_survivor(mapping: MappingDraft, record: NormalisedRecord, decision: PageDecision) -> None:
    """Note where a record lives on that is known to be gone: the CRM may report the merge after the deletion."""
    mapping.merged_into, mapping.record_hash = record.change.merged_into, record.hash
    decision.mappings[mapping.external_id] = mapping


def _keep(
    mapping: MappingDraft, record: NormalisedRecord, state: PageState, rules: ConnectionRules, decision: PageDecision
) -> None:
    """Keep a record's new version. If it is usable, bind it to its contact and merge."""
    is_new = mapping.revision == 0
    old = None if is_new else orjson.loads(mapping.properties)
    if mapping.kind != CONTACT:  # it belonged to a person until now, and had the contact of that person
        mapping.contact = None
    was_bound = mapping.contact is not None
    if old is not None and _may_have_lost(old, record, rules):
        # The field that is not there any more may have held the name or the email: they are unknown, not empty.
        record = replace(record, full_name=record.full_name or mapping.full_name, email=record.email or mapping.email)
    _write_version(mapping, record, _kept_values(old, record, rules), decision)
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
    before = mapping.contact
    contact = _bind(mapping, record.phone, state, rules, decision)
    _take_along(mapping, before, contact, state, decision)
    first_of_contact = not was_bound and rules.connection not in contact.connections
    contact.connections.add(rules.connection)
    contact.live[rules.connection, mapping.external_id] = contribution = _contribution(mapping, rules)
    contact.hold(contribution)
    contact.remerge()
    decision.touch(contact)
    if record.ignored_email:
        ignored = (
            f'"{record.ignored_email}" of {rules.connection} {mapping.external_id} is not one email address, so it '
        )
        decision.events.append((contact, "email_ignored", f"{ignored}was left out; correct it in the CRM"))
    if is_new or (old is not None and not was_bound):
        # A record that only now gets a usable phone counts as new, and so does one more record of a known person.
        if first_of_contact or not rules.ids_may_differ:
            decision.changes.append(RecordChange(mapping, contact, None, mapping.record, not first_of_contact))
    elif old is not None:
        decision.changes.append(RecordChange(mapping, contact, old, mapping.record))


def _keep_belonging(
    mapping: MappingDraft, record: NormalisedRecord, state: PageState, rules: ConnectionRules, decision: PageDecision
) -> None:
    """Keep a record that belongs to a person, such as a deal. It has the person's contact and adds nothing to it."""
    is_new = mapping.revision == 0
    old = None if is_new else orjson.loads(mapping.properties)
    if mapping.kind == CONTACT:  # it was a person until now, and gives no name or email any more
        _unbind(mapping, rules, decision)
        mapping.contact = None
    before, person_before = mapping.contact, mapping.person
    _write_version(mapping, record, _kept_values(old, record, rules), decision)
    if is_new:
        decision.added += 1
    else:
        decision.changed += 1
    decision.rejections.pop(record.external_id, None)
    if record.external_id in state.rejected:
        decision.cleared.add(record.external_id)
    person = record.change.person
    mapping.contact = _contact_of(person, state, decision)
    if mapping.contact is None:
        if before is not None and person is not None and person == person_before:
            mapping.contact = before  # the person cannot be used just now; the record is no new one afterwards
        elif person is not None:  # the person may come later on this page
            state.waiting.setdefault(person, []).append(mapping)
    else:
        known = old if before is not None else None  # a record whose person only now has a number counts as new
        decision.changes.append(RecordChange(mapping, mapping.contact, known, mapping.record))


def _contact_of(person: str | None, state: PageState, decision: PageDecision) -> ContactDraft | None:
    """Return the contact of a person's record, if that record is live and usable."""
    found = None if person is None else state.mappings.get(person)
    if found is None or found.deleted or found.kind != CONTACT:
        return None
    key = found.external_id
    unusable = key in decision.rejections or (key in state.rejected and key not in decision.cleared)
    return None if unusable else found.contact


def _take_along(
    mapping: MappingDraft, before: ContactDraft | None, contact: ContactDraft, state: PageState, decision: PageDecision
) -> None:
    """Let the records that belong to a person have the person's contact."""
    if before is not None and before is not contact:
        decision.moved_people[mapping.external_id] = contact
        for number, change in enumerate(decision.changes):
            if change.mapping.person == mapping.external_id:  # this page has read it already
                change.mapping.contact = contact
                decision.changes[number] = replace(change, contact=contact)
    for waiting in state.waiting.pop(mapping.external_id, ()) if state.waiting else ():
        if waiting.contact is not None or waiting.deleted or waiting.person != mapping.external_id:
            continue  # this page has read another version of it
        waiting.contact = contact
        decision.mappings[waiting.external_id] = waiting
        decision.changes.append(RecordChange(waiting, contact, None, waiting.record))


def _kept_values(old: Mapping[str, Any] | None, record: NormalisedRecord, rules: ConnectionRules) -> Mapping[str, Any]:
    """Return the values of the version before that still count, though the source does not have their fields now."""
    if not old:
        return {}
    kept = carried_forward(old, record.change.properties, rules.keeps)
    return {name: value for name, value in kept.items() if not rules.lapses(name, value)}


def _may_have_lost(old: Mapping[str, Any], record: NormalisedRecord, rules: ConnectionRules) -> bool:
    """Return True if the record would clear fields, and lacks a field that its version before had filled."""
    _, clear_empty = rules.precedence[rules.connection]
    there = record.change.properties
    return clear_empty and any(name not in there for name, value in old.items() if value not in (None, ""))


def _write_version(
    mapping: MappingDraft, record: NormalisedRecord, kept: Mapping[str, Any], decision: PageDecision
) -> None:
    """Store the new version. ``kept`` are values of the version before whose fields the source does not have now."""
    mapping.record_hash = record.hash
    mapping.properties, mapping.record = record.canonical.decode(), record.change.properties
    if kept:
        mapping.record = {**kept, **mapping.record}
        mapping.properties = orjson.dumps(mapping.record, option=orjson.OPT_SORT_KEYS).decode()
    mapping.full_name, mapping.email = record.full_name, record.email
    mapping.updated_at = record.change.updated_at
    mapping.kind, mapping.person = record.change.kind, record.change.person
    mapping.revision += 1
    mapping.deleted = False
    mapping.merged_into = None
    decision.mappings[mapping.external_id] = mapping


def _reject(mapping: MappingDraft, record: NormalisedRecord, rules: ConnectionRules, decision: PageDecision) -> None:
    """Keep the record with its reason. Its contact, if any, stays as it is, without this record."""
    code, reason = record.problem or ("unusable", "it cannot be used")
    where = record.change.where or f"record {record.external_id}"
    decision.rejections[record.external_id] = RecordRejection(record.external_id, code, reason, where)
    decision.cleared.discard(record.external_id)
    if mapping.contact is not None:
        _unbind(mapping, rules, decision)
        decision.events.append(
            (mapping.contact, "record_rejected", f"{rules.connection} {mapping.external_id}: {reason}")
        )


def _remove(mapping: MappingDraft, record: NormalisedRecord, rules: ConnectionRules, decision: PageDecision) -> None:
    """Remove a record that is gone from the CRM. The contact stays: nothing in VirtualText can be deleted."""
    mapping.deleted = True
    mapping.record_hash = record.hash
    mapping.merged_into = record.change.merged_into
    decision.mappings[mapping.external_id] = mapping
    decision.removed.append(mapping.external_id)
    decision.rejections.pop(mapping.external_id, None)
    decision.cleared.add(mapping.external_id)
    if mapping.contact is not None:
        _unbind(mapping, rules, decision)
        into = f", merged into {mapping.merged_into}" if mapping.merged_into else ""
        decision.events.append((mapping.contact, "record_removed", f"{rules.connection} {mapping.external_id}{into}"))


def _unbind(mapping: MappingDraft, rules: ConnectionRules, decision: PageDecision) -> None:
    contact = mapping.contact
    if contact is None:
        return
    contact.live.pop((rules.connection, mapping.external_id), None)
    if contact.live:
        contact.remerge()
    decision.touch(contact)


def _bind(
    mapping: MappingDraft, phone: str, state: PageState, rules: ConnectionRules, decision: PageDecision
) -> ContactDraft:
    """Return the contact for this record and phone: the one it had, else the one with this phone, else a new one."""
    bound, owner = mapping.contact, state.by_phone.get(phone)
    if bound is not None and bound.phone == phone:
        return bound
    if bound is None:
        contact = owner or _new_contact(phone, state)
        mapping.contact = contact
        return contact
    decision.moved_numbers.append((bound.phone, phone, mapping.external_id))
    others = [key for key in bound.live if key != (rules.connection, mapping.external_id)]
    if owner is None and not others:
        return _renumber(bound, phone, state, rules, mapping, decision)
    # Another contact has the number already, or other records still use the old one: only this record moves.
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
    rules: ConnectionRules,
    mapping: MappingDraft,
    decision: PageDecision,
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


def _contribution(mapping: MappingDraft, rules: ConnectionRules) -> Contribution:
    priority, clear_empty = rules.precedence[rules.connection]
    return Contribution(
        rules.connection,
        mapping.external_id,
        mapping.full_name,
        mapping.email,
        mapping.updated_at,
        priority,
        clear_empty,
    )
