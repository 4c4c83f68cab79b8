"""The first half of a run: finds the records of an adapter's page that need a decision.

The sync and the plan share it. An unchanged record costs one hash and one look-up here, and nothing after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from config.models import Settings
from crm_adapters.base import Adapter, ContactChange, Page, Removals, UnreadableRecord
from worker.contacts import pull_rows
from worker.contacts.adapters import reading_salt
from worker.contacts.decide import RecordRejection, reject_unreadable
from worker.contacts.records import (
    NormalisedRecord,
    UnusableRecord,
    digest_record,
    normalise,
    rejection_key,
)
from worker.contacts.seen import SeenRecords
from worker.store.db import reading

CHUNK = 1000
_UNKNOWN: tuple[None, None] = (None, None)


@dataclass(frozen=True, slots=True)
class ReadPage:
    """The records of a page that need a decision. ``seen`` counts all its records, ``unchanged`` the unchanged ones."""

    records: Sequence[NormalisedRecord]
    rejections: Sequence[RecordRejection]
    seen: int
    unchanged: int


@dataclass
class PageReader:
    """Reads one connection's pages in one run. ``listing`` is set when this run lists every record."""

    engine: Engine
    settings: Settings
    connection: str
    adapter: Adapter
    resumes: bool = False
    """The run continues from a cursor, so it does not see everything."""
    listing: SeenRecords | None = field(init=False, default=None)
    stored_before: int = field(init=False, default=0)
    repeats: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.salt = reading_salt(self.settings, self.connection)
        self.default_region = self.settings.connections[self.connection].default_region
        if self.lists_everything and not self.resumes:
            self.listing = SeenRecords()
            with reading(self.engine) as db:
                self.stored_before = pull_rows.live_count(db, self.connection)

    @property
    def lists_everything(self) -> bool:
        """True if a complete pull lists every record, so that a record that it does not list is gone."""
        return self.adapter.removals is Removals.ABSENT

    def read(self, page: Page) -> ReadPage:
        """Hash the records, skip those that are stored with that hash, and normalise the others."""
        rejections, hashed = self._hash(page.changes)
        ids = [change.external_id for change, _, _ in hashed] + [rejection.key for rejection in rejections]
        with reading(self.engine) as db:
            stored = pull_rows.stored_hashes(db, self.connection, ids)
        listing = self.listing
        if listing is not None:  # a record that became unreadable is not a missing one
            for rejection in rejections:
                if rejection.key in stored:
                    listing.add(stored[rejection.key][0], live=False)
        fresh: list[tuple[ContactChange, bytes, bytes]] = []
        changed: dict[str, bytes] = {}
        for external_id, record in zip(ids, hashed, strict=False):
            change, _, digest = record
            mapping_id, known_hash = stored.get(external_id, _UNKNOWN)
            earlier = changed.get(external_id)
            same = (earlier or known_hash) == digest
            if listing is not None and (
                earlier is not None or (mapping_id is not None and not listing.add(mapping_id))
            ):
                # A complete listing shows this id for the second time. In any other pull, the later version counts.
                if not same:
                    rejections.append(self.repeated(change))
            elif not same:
                changed[external_id] = digest
                fresh.append(record)
        records = [normalise(*record, self.adapter.contact_fields, self.default_region) for record in fresh]
        unchanged = len(page.changes) - len(fresh) - len(rejections)
        return ReadPage(records, rejections, len(page.changes), unchanged)

    def note_stored(self, records: Sequence[NormalisedRecord]) -> None:
        """Mark the records that this run stored as listed. Call it after their commit."""
        if self.listing is None or not records:
            return
        with reading(self.engine) as db:
            for mapping_id, _ in pull_rows.stored_hashes(
                db, self.connection, [r.external_id for r in records]
            ).values():
                self.listing.add(mapping_id)

    def missing(self) -> Iterator[list[NormalisedRecord]]:
        """After a complete pull, yield the stored records that it did not list, as deletions, in chunks."""
        if self.listing is None:
            return
        with reading(self.engine) as db:
            if pull_rows.live_count(db, self.connection) == self.listing.live:
                return  # the usual case: nothing is missing, so there is nothing to look through
        after = 0
        while True:
            with reading(self.engine) as db:
                rows = pull_rows.live_ids(db, self.connection, after, CHUNK)
            if not rows:
                return
            after = rows[-1][0]
            gone = [self._deletion(external_id) for mapping_id, external_id in rows if mapping_id not in self.listing]
            if gone:
                yield gone

    def _deletion(self, external_id: str) -> NormalisedRecord:
        change = ContactChange(external_id, {}, deleted=True)
        return NormalisedRecord(change, *digest_record(change, self.salt))

    def repeated(self, change: ContactChange) -> RecordRejection:
        """Reject a record whose id this complete listing has shown before, with other values."""
        external_id = change.external_id
        number = self.repeats[external_id] = self.repeats.get(external_id, 1) + 1
        return RecordRejection(
            f"{external_id} (repeated, {number})",
            "duplicate_id",
            f'the id "{external_id}" is in this listing more than once, with different values; the first one '
            "counts. Give each record its own id",
            change.where or f"record {external_id}",
        )

    def _hash(
        self, changes: Sequence[ContactChange | UnreadableRecord]
    ) -> tuple[list[RecordRejection], list[tuple[ContactChange, bytes, bytes]]]:
        """Return what cannot be used, and the others with their canonical properties and hash."""
        rejections: list[RecordRejection] = []
        hashed: list[tuple[ContactChange, bytes, bytes]] = []
        salt = self.salt
        for change in changes:
            if isinstance(change, UnreadableRecord):
                rejections.append(reject_unreadable(change))
                continue
            try:
                hashed.append((change, *digest_record(change, salt)))
            except UnusableRecord as error:
                key = rejection_key(change.external_id) or change.where or "record without an identifier"
                rejections.append(RecordRejection(key, "unreadable", str(error), change.where))
        return rejections, hashed
