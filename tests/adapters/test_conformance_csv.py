"""The CSV adapter keeps the promises that every adapter makes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from config.fields import FieldMapping
from crm_adapters.csv.adapter import CsvAdapter
from crm_adapters.csv.options import CsvOptions
from crm_adapters.testing import AdapterConformance, SampleContact


class TestCsv(AdapterConformance):
    def make_source(self, folder: Path) -> Path:
        path = folder / "contacts.csv"
        path.write_text("Record ID,Full Name,Mobile Phone,Email\n")
        return path

    def put(self, source: Path, contact: SampleContact) -> None:
        self.put_all(source, [contact])

    def put_all(self, source: Path, contacts: Iterable[SampleContact]) -> None:
        rows = self.rows(source)
        rows |= {one.external_id: [one.external_id, one.full_name, one.phone, one.email] for one in contacts}
        self.write(source, rows)

    def delete(self, source: Path, external_id: str) -> None:
        rows = self.rows(source)
        del rows[external_id]
        self.write(source, rows)

    def adapter(self, source: Path) -> CsvAdapter:
        return CsvAdapter(CsvOptions(path=str(source), settle_seconds=0), FieldMapping())

    def break_source(self, source: Path) -> None:
        source.unlink()

    @staticmethod
    def rows(source: Path) -> dict[str, list[str]]:
        with source.open(newline="") as file:
            return {row[0]: row for row in csv.reader(file)}

    @staticmethod
    def write(source: Path, rows: dict[str, list[str]]) -> None:
        with source.open("w", newline="") as file:
            csv.writer(file).writerows(rows.values())
