"""The CSV adapter keeps the promises that every adapter makes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from config.fields import FieldMapping
from crm_adapters.csv.adapter import CsvAdapter
from crm_adapters.csv.options import CsvOptions
from crm_adapters.testing import AdapterConformance, SampleContact
from crm_adapters.testing.samples import contacts

HEADER = ["Record ID", "Full Name", "Mobile Phone", "Email"]


class SmallPages(CsvAdapter):
    """Four pages of it are written and read in no time."""

    page_size = 50


class TestCsv(AdapterConformance):
    large = 200_000

    def make_source(self, folder: Path) -> Path:
        path = folder / "contacts.csv"
        self.write(path, {"header": HEADER})
        return path

    def make_large_source(self, folder: Path, count: int) -> Path:
        path = folder / "contacts.csv"
        self.write(path, {"header": HEADER} | {one.external_id: self.row(one) for one in contacts(count)})
        return path

    def put(self, source: Path, contact: SampleContact) -> str:
        return self.put_all(source, [contact])[0]

    def put_all(self, source: Path, contacts: Iterable[SampleContact]) -> list[str]:
        changed = {one.external_id: self.row(one) for one in contacts}
        self.write(source, self.rows(source) | changed)
        return list(changed)

    def put_unreadable(self, source: Path) -> None:
        self.write(
            source, self.rows(source) | {"odd": ["1900", "Ann Lee", "+14155550900", "ann@example.com", "x", "y"]}
        )

    def delete(self, source: Path, external_id: str) -> None:
        rows = self.rows(source)
        del rows[external_id]
        self.write(source, rows)

    def adapter(self, source: Path) -> CsvAdapter:
        return SmallPages(CsvOptions(path=str(source), settle_seconds=0), FieldMapping())

    def break_source(self, source: Path) -> None:
        source.unlink()

    @staticmethod
    def row(one: SampleContact) -> list[str]:
        return [one.external_id, one.full_name, one.phone, one.email]

    @staticmethod
    def rows(source: Path) -> dict[str, list[str]]:
        with source.open(newline="") as file:
            return {row[0]: row for row in csv.reader(file)}

    @staticmethod
    def write(source: Path, rows: dict[str, list[str]]) -> None:
        with source.open("w", newline="") as file:
            csv.writer(file).writerows(rows.values())
