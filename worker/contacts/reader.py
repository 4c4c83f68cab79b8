"""The first half of a run: finds the records of an adapter's page that need a decision.

The sync and the plan share it. An unchanged record costs one hash and one look-up here, and nothing after that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias

from sqlalchemy import Engine

from config.models import Settings
from crm_adapters.base import Adapter, AdapterError, ContactChange, Page, Properties, UnreadableRecord
from worker.contacts import pull_rows
from worker.contacts.adapters import reading_salt
from worker.contacts.decide import MappingDraft, RecordRejection, reject_failed, reject_unreadable
from worker.contacts.mapping import RecordMapping
from worker.contacts.records import NormalisedRecord, digest_record, normalise
from worker.contacts.seen import SeenRecords
from worker.contacts.shape import ShapeWatch
from worker.messages.people import own_numbers
from worker.store.db import reading

CHUNK = 1000
_UNKNOWN: tuple[None, bytes] = (None, b"")


HashedRecord: TypeAlias = tuple[ContactChange, Properties, bytes, bytes]
"""A record, the part of it that is stored, the same as canonical JSON, and its hash."""


class MissingRecord(NamedTuple):
    """A stored record that a listing did not show, as a deletion, and when it was first seen."""

    record: NormalisedRecord
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class ReadPage:
    """The records of a page that need a decision. ``seen`` counts all its records, ``unchanged`` the unchanged ones."""

    records: Sequence[NormalisedRecord]
    rejections: Sequence[RecordRejection]
    seen: int
    unchanged: int
    stored: Collection[str] | None = None
    """The external ids that are stored, of these records; None: not known."""


@dataclass
class PageReader:
    """Reads one connection's pages in one run.

    ``listing`` is set when this run lists every record. ``strict``: an id that the listing shows twice, with different
    values, is rejected; it is False for adapters that report changes, whose listings may show a record again.
    """

    engine: Engine
    settings: Settings
    connection: str
    adapter: Adapter
    shape: ShapeWatch
    listing: SeenRecords | None
    strict: bool = False
    drafts: Mapping[str, MappingDraft] = field(default_factory=dict)
    """What a plan has read so far, by external id: it counts as stored."""
    repeats: dict[str, int] = field(init=False, default_factory=dict)
    _ignored_emails: int = 0
    _ignored_email_of: str = ""

    def __post_init__(self) -> None:
        self.salt = reading_salt(self.settings, self.connection)
        configured = self.settings.connections[self.connection]
        own = own_numbers(self.settings)
        self.mapping = RecordMapping.of(configured.fields, self.adapter, configured.default_region, own)

    def read(self, page: Page) -> ReadPage:
        """Hash the records, skip those that are stored with that hash, and normalise the others.

        Raises SourceInvalid if a field that holds the phone, the name or the email has vanished.
        """
        rejections, hashed = self._hash(page.changes)
        self.shape.judge()
        ids = [record[0][0] for record in hashed] + [rejection.key for rejection in rejections]
        stored = self._stored(ids)
        fresh = self._fresh(ids, hashed, stored, rejections)
        unchanged = len(page.changes) - len(fresh) - len(rejections)
        records = [found for record in fresh if (found := self._normalised(record, rejections)) is not None]
        if self.listing is not None:
            self.listing.doubt(len(fresh) - len(records))  # they may be stored as deleted
        known = [one for one in ids if stored.get(one, _UNKNOWN)[0] is not None] if records else []
        return ReadPage(records, rejections, len(page.changes), unchanged, known)

    def _fresh(
        self,
        ids: Sequence[str],
        hashed: Sequence[HashedRecord],
        stored: Mapping[str, tuple[int | None, bytes]],
        rejections: list[RecordRejection],
    ) -> list[HashedRecord]:
        """Return the records that are new or changed, and note in the listing what it shows.

        ``ids`` are those of the records, then the keys of the rejections, to which repeated records are added.
        """
        listing = self.listing
        if listing is not None:  # a record that became unreadable is not a missing one
            for mapping_id, _ in (stored.get(rejection.key, _UNKNOWN) for rejection in rejections):
                if mapping_id is not None:
                    listing.add(mapping_id, live=False)
        fresh: list[HashedRecord] = []
        changed: dict[str, bytes] = {}
        known = stored.get
        for external_id, record in zip(ids, hashed, strict=False):
            change, _, _, digest = record
            mapping_id, known_hash = known(external_id, _UNKNOWN)
            if known_hash == digest and external_id not in changed:  # nearly every record of nearly every run
                if listing is not None and mapping_id is not None:
                    listing.add(mapping_id, not change[3])
                continue
            earlier = changed.get(external_id)
            same = (earlier or known_hash) == digest
            if listing is not None:
                again = earlier is not None
                if mapping_id is not None and self._has_shown(listing, mapping_id, change):
                    again = True
                if again and self.strict:
                    # A strict listing shows this id for the second time. In any other, the later version counts.
                    if not same:
                        rejections.append(self.repeated(change))
                    continue
            if not same:
                changed[external_id] = digest
                fresh.append(record)
        return fresh

    @property
    def email_note(self) -> str:
        """How many of the records that were read have an email that is not an address, for a person; "" if none has."""
        if not self._ignored_emails:
            return ""
        records = "1 record" if self._ignored_emails == 1 else f"{self._ignored_emails} records"
        return (
            f"the email of {records} is not one email address, so it was left out: correct it in the CRM, for example "
            f"in the record {self._ignored_email_of}"
        )

    def note_stored(self, records: Sequence[NormalisedRecord]) -> None:
        """Mark the records that this run stored as listed. Call it after their commit."""
        if self.listing is None or not records:
            return
        live = {record.external_id: not record.change.deleted for record in records}
        with reading(self.engine) as db:
            stored = pull_rows.stored_hashes(db, self.connection, list(live))
        for external_id, (mapping_id, _) in stored.items():
            self.listing.add(mapping_id, live=live[external_id])

    def list_ids(self, external_ids: Sequence[str]) -> None:
        """Mark records as listed by their ids alone."""
        if self.listing is None:
            self.listing = SeenRecords()
        with reading(self.engine) as db:
            for mapping_id, _ in pull_rows.stored_hashes(db, self.connection, external_ids).values():
                self.listing.add(mapping_id)

    def missing(self, before: datetime | None = None) -> Iterator[list[MissingRecord]]:
        """After a listing, yield the stored records that it did not show, in chunks.

        ``before``: only those that were first seen before then. The ids of the CRM were compared then, and it is not
        known which of them are stored as deleted.
        """
        if self.listing is None:
            return
        with reading(self.engine) as db:
            if before is None and pull_rows.live_count(db, self.connection) == self.listing.live:
                return  # the usual case: nothing is missing, so there is nothing to look through
        after = 0
        while True:
            with reading(self.engine) as db:
                rows = pull_rows.live_ids(db, self.connection, after, CHUNK)
            if not rows:
                return
            after = rows[-1][0]
            gone = [
                MissingRecord(self.deletion(external_id), first_seen_at)
                for mapping_id, external_id, first_seen_at in rows
                if mapping_id not in self.listing and (before is None or first_seen_at < before)
            ]
            if gone:
                yield gone

    def deletion(self, external_id: str) -> NormalisedRecord:
        """Return the record as a deletion."""
        change = ContactChange(external_id, {}, deleted=True)
        return NormalisedRecord(change, *digest_record(change, change.properties, self.salt))

    def repeated(self, change: ContactChange) -> RecordRejection:
        """Reject a record whose id this listing has shown before, with other values."""
        external_id = change.external_id
        number = self.repeats[external_id] = self.repeats.get(external_id, 1) + 1
        return RecordRejection(
            f"{external_id} (repeated, {number})",
            "duplicate_id",
            f'the id "{external_id}" is in this listing more than once, with different values; the first one '
            "counts. Give each record its own id",
            change.where or f"record {external_id}",
        )

    def _stored(self, ids: Sequence[str]) -> Mapping[str, tuple[int | None, bytes]]:
        """Return external id -> (mapping id, record hash) of the records that are stored or planned."""
        with reading(self.engine) as db:
            stored = pull_rows.stored_hashes(db, self.connection, ids)
        if not self.drafts:
            return stored
        planned = {key: (draft.id, draft.record_hash) for key in ids if (draft := self.drafts.get(key)) is not None}
        return {**stored, **planned}

    @staticmethod
    def _has_shown(listing: SeenRecords, mapping_id: int, change: ContactChange) -> bool:
        """Mark a stored record as listed. Return True if the listing has shown it before."""
        if listing.add(mapping_id, live=not change.deleted):
            return False
        if change.deleted:
            listing.doubt()  # it was shown as live before
        return True

    def _normalised(self, record: HashedRecord, rejections: list[RecordRejection]) -> NormalisedRecord | None:
        try:
            normalised = normalise(*record, self.mapping)
        except Exception as error:  # noqa: BLE001 - nothing in one record stops another
            rejections.append(reject_failed(record[0], error))
            return None
        if normalised.ignored_email and normalised.phone is not None:
            self._ignored_emails += 1
            self._ignored_email_of = self._ignored_email_of or normalised.external_id
        return normalised

    def _hash(
        self, changes: Sequence[ContactChange | UnreadableRecord]
    ) -> tuple[list[RecordRejection], list[HashedRecord]]:
        """Return what cannot be used, and the others with their stored part, as it is and canonical, and its hash."""
        rejections: list[RecordRejection] = []
        hashed: list[HashedRecord] = []
        salt, shape = self.salt, self.shape
        project, add = shape.project, hashed.append
        for change in changes:
            try:
                if isinstance(change, UnreadableRecord):
                    rejections.append(reject_unreadable(change))
                    continue
                _, properties, _, deleted, _, _, kind, _ = change
                if not deleted:
                    properties = project(properties, kind)
                if shape.labels:
                    change = change._replace(properties=shape.labelled(change.properties))
                canonical, digest = digest_record(change, properties, salt)
                add((change, properties, canonical, digest))
            except AdapterError:  # the fields of the source cannot be listed
                raise
            except Exception as error:  # noqa: BLE001 - nothing in one record stops another
                rejections.append(reject_failed(change, error))
        return rejections, hashed
