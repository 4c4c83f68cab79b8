"""The adapter for JSON APIs keeps the promises that every adapter makes, with three APIs of different manner."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from config.fields import FieldMapping
from crm_adapters.rest.adapter import RestAdapter
from crm_adapters.rest.options import RestOptions
from crm_adapters.testing import AdapterConformance, SampleContact
from tests.adapters.rest_crms import KEY, OPTIONS, CursorCrm, JsonCrm, LinkCrm, OffsetCrm, Stored


class RestKit(AdapterConformance):
    """The hooks that the three have in common."""

    patience = 1.5
    size = 6

    @abstractmethod
    def crm(self) -> type[JsonCrm]: ...

    def make_source(self, folder: Path) -> JsonCrm:
        source = self.crm()()
        source.serve()
        return source

    def close_source(self, source: JsonCrm) -> None:
        source.stop()

    def put(self, source: JsonCrm, contact: SampleContact) -> str:
        return self.put_at(source, [contact], datetime.now(UTC))[0]

    def put_at(self, source: JsonCrm, contacts: Iterable[SampleContact], moment: datetime) -> list[str]:
        found = []
        for one in contacts:
            known = one.external_id.isdigit() and int(one.external_id) in source.people
            number = int(one.external_id) if known else None
            found.append(str(source.put(one.full_name, one.phone, one.email, number, moment)))
        return found

    def delete(self, source: JsonCrm, external_id: str) -> None:
        source.delete(int(external_id))

    def upstream(self, source: JsonCrm) -> str:
        return source.url

    def adapter(self, source: JsonCrm) -> RestAdapter:
        options = {**OPTIONS[self.crm()], "url": self.url(source), "page_size": self.size}
        return RestAdapter(RestOptions.model_validate(options), FieldMapping())

    def break_source(self, source: JsonCrm) -> None:
        source.key = "another"

    def secrets(self, source: JsonCrm) -> tuple[str, ...]:
        return (KEY,)

    def names_of(self, source: JsonCrm) -> tuple[str, ...]:
        return (OPTIONS[self.crm()]["name"],)


class TestRestWithOffsets(RestKit):
    pages_shift = True

    large = 5000

    def crm(self) -> type[JsonCrm]:
        return OffsetCrm

    def make_large_source(self, folder: Path, count: int) -> JsonCrm:
        self.size = 100
        source = self.make_source(folder)
        for number in range(count):
            source.put(f"Ann Lee{number}", f"+1415555{number:04}", f"ann{number}@example.com")
        return source


class TestRestWithCursors(RestKit):
    references: ClassVar = {"owner": "Sam Seller"}

    def crm(self) -> type[JsonCrm]:
        return CursorCrm

    def put_deal(self, source: JsonCrm, person: str | None) -> str:
        number = len(source.deals) + 1
        contact = None if person is None else {"id": int(person)}
        source.deals[number] = Stored(number, {"title": "A new roof", "contact": contact}, datetime.now(UTC))
        return f"deal-{number}"

    def delete(self, source: JsonCrm, external_id: str) -> None:
        if external_id.startswith("deal-"):
            row = source.deals[int(external_id.removeprefix("deal-"))]
            row.deleted, row.changed = True, datetime.now(UTC)
        else:
            super().delete(source, external_id)


class TestRestWithLinks(RestKit):
    references: ClassVar = {"agent": "Sam Seller"}

    def crm(self) -> type[JsonCrm]:
        return LinkCrm
