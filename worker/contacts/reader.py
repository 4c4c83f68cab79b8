"""The first half of a run: from an adapter's page to the records of it that need a decision.

Shared by the sync and the plan. An unchanged record ends here, after a hash and a look-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from config.models import Settings
from crm_adapters.base import Adapter, ContactChange, Page, Removals, UnreadableRecord
from worker.contacts import pull_rows
from worker.contacts.adapters import reading_salt
from worker.contacts.decide import Rejection, reject_unreadable
from worker.contacts.records import (
    HashedRecord,
    NormalisedRecord,
    UnusableRecord,
    digest_record,
    hash_record,
    normalise,
    rejection_key,
)
from worker.contacts.seen import SeenRecords
from worker.store.db import reading

CHUNK = 1000
_UNKNOWN: tuple[None, None] = (None, None)


@dataclass(frozen=True, slots=True)
class ReadPage:
    """What is left of a page. ``seen`` counts all its records, ``unchanged`` those that ended here."""

    records: Sequence[NormalisedRecord]
    rejections: Sequence[Rejection]
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
    """Whether the run goes on from a cursor, and so does not see everything."""
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
        """Whether a record that a whole pull does not show is gone."""
        return self.adapter.removals is Removals.ABSENT

    def read(self, page: Page) -> ReadPage:
        """Hash, skip what is stored with that hash, normalise the rest."""
        rejections, hashed = self._hash(page.changes)
        ids = [change.external_id for change, _, _ in hashed] + [rejection.key for rejection in rejections]
        with reading(self.engine) as db:
            stored = pull_rows.stored_hashes(db, self.connection, ids)
        listing = self.listing
        if listing is not None:  # a record that became unreadable is not a missing one
            for rejection in rejections:
                if rejection.key in stored:
                    listing.add(stored[rejection.key][0], live=False)
        fresh: list[HashedRecord] = []
        changed: dict[str, bytes] = {}
        for external_id, (change, canonical, digest) in zip(ids, hashed, strict=False):
            mapping_id, known_hash = stored.get(external_id, _UNKNOWN)
            earlier = changed.get(external_id)
            same = (earlier or known_hash) == digest
            if listing is not None and (
                earlier is not None or (mapping_id is not None and not listing.add(mapping_id))
            ):
                # A complete listing shows this id for the second time. Elsewhere the later version simply counts.
                if not same:
                    rejections.append(self.repeated(change))
            elif not same:
                changed[external_id] = digest
                fresh.append(HashedRecord(change, canonical, digest))
        records = [normalise(record, self.adapter.contact_fields, self.default_region) for record in fresh]
        unchanged = len(page.changes) - len(fresh) - len(rejections)
        return ReadPage(records, rejections, len(page.changes), unchanged)

    def note_stored(self, records: Sequence[NormalisedRecord]) -> None:
        """Records that this run stored are listed, too. Call it after their commit."""
        if self.listing is None or not records:
            return
        with reading(self.engine) as db:
            for mapping_id, _ in pull_rows.stored_hashes(
                db, self.connection, [r.external_id for r in records]
            ).values():
                self.listing.add(mapping_id)

    def missing(self) -> Iterator[list[NormalisedRecord]]:
        """After a whole pull: the stored records that it did not list, as deletions, in chunks."""
        if self.listing is None:
            return
        with reading(self.engine) as db:
            if pull_rows.live_count(db, self.connection) == self.listing.live:
                return  # nearly always: nothing is missing, and nothing needs to be looked through
        after = 0
        while True:
            with reading(self.engine) as db:
                rows = pull_rows.live_ids(db, self.connection, after, CHUNK)
            if not rows:
                return
            after = rows[-1][0]
            gone = [
                NormalisedRecord(hash_record(ContactChange(external_id, {}, deleted=True), self.salt), None, None)
                for mapping_id, external_id in rows
                if mapping_id not in self.listing
            ]
            if gone:
                yield gone

    def repeated(self, change: ContactChange) -> Rejection:
        """The rejection of a record whose id a complete listing showed before, with other values."""
        external_id = change.external_id
        number = self.repeats[external_id] = self.repeats.get(external_id, 1) + 1
        return Rejection(
            f"{external_id} (repeated, {number})",
            "duplicate_id",
            f'the id "{external_id}" stands in this listing more than once with different values; the first one '
            "counts. Give each record an id of its own",
            change.where or f"record {external_id}",
        )

    def _hash(
        self, changes: Sequence[ContactChange | UnreadableRecord]
    ) -> tuple[list[Rejection], list[tuple[ContactChange, bytes, bytes]]]:
        """What cannot be used, and the others with their canonical properties and hash."""
        rejections: list[Rejection] = []
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
                rejections.append(Rejection(key, "unreadable", str(error), change.where))
        return rejections, hashed
