"""The singer adapter keeps the promises that every adapter makes, with a tap that does nothing wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from config.fields import FieldMapping
from crm_adapters.singer.adapter import SingerAdapter
from crm_adapters.singer.options import SingerOptions
from crm_adapters.testing import AdapterConformance, SampleContact

TAP = (sys.executable, "-I", "-S", str(Path(__file__).with_name("tap.py")))
TOKEN = "tap-token-4711"


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def row_of(one: SampleContact, moment: datetime | None = None) -> dict[str, Any]:
    changed = (moment or datetime.now(UTC)).isoformat()
    names = {"full_name": one.full_name or None, "mobile": one.phone or None, "email": one.email or None}
    return {
        "id": one.external_id,
        **names,
        "note": None,
        "owner": {"id": 6, "name": "Olga"},
        "address": None,
        "changed": changed,
        "is_deleted": False,
    }


class SmallPages(SingerAdapter):
    """Pages that fill quickly."""

    page_size = 5


class TestSinger(AdapterConformance):
    large = 10_000
    references: ClassVar[Mapping[str, str]] = {"owner": "Olga"}
    labels: ClassVar[Mapping[str, str]] = {"note": "Notes"}
    late_by = timedelta(0)  # a state belongs to the tap alone: nobody else can move it back

    def make_source(self, folder: Path) -> Path:
        path = folder / "people.jsonl"
        path.write_text("")
        path.with_name("deals.jsonl").write_text("")
        return path

    def make_large_source(self, folder: Path, count: int) -> Path:
        path = self.make_source(folder)
        one = json.dumps(row_of(SampleContact("ID", "+14155550100", "Ann Lee", "ann@example.com")))
        with path.open("w") as file:
            file.writelines(one.replace('"ID"', f'"{number}"') + "\n" for number in range(count))
        return path

    def rows(self, source: Path) -> dict[str, dict[str, Any]]:
        lines = (json.loads(line) for line in source.read_text().splitlines())
        return {str(row.get("id", row)): row for row in lines}

    def put(self, source: Path, contact: SampleContact) -> None:
        self.put_at(source, [contact], datetime.now(UTC))

    def put_all(self, source: Path, contacts: Iterable[SampleContact]) -> None:
        self.put_at(source, contacts, datetime.now(UTC))

    def put_at(self, source: Path, contacts: Iterable[SampleContact], moment: datetime) -> None:
        write(source, (self.rows(source) | {one.external_id: row_of(one, moment) for one in contacts}).values())

    def put_unreadable(self, source: Path) -> None:
        write(source, [*self.rows(source).values(), {"broken": {"full_name": "No Id"}}])

    def delete(self, source: Path, external_id: str) -> None:
        path = source.with_name("deals.jsonl") if external_id.startswith("deal:") else source
        rows = self.rows(path)
        del rows[external_id.removeprefix("deal:")]
        write(path, rows.values())

    def adapter(self, source: Path) -> SingerAdapter:
        config = {"path": str(source), "token": TOKEN, "deals": str(source.with_name("deals.jsonl"))}
        options = SingerOptions.model_validate(
            {
                "tap": TAP,
                "config": config,
                "stream": "contacts",
                "belonging": {"deals": {"kind": "deal", "person": "contact_id"}},
                "updated_at": "changed",
                "page_size": 5,
            }
        )
        return SmallPages(options, FieldMapping())

    def put_deal(self, source: Path, person: str | None) -> str:
        deals = source.with_name("deals.jsonl")
        number = len(deals.read_text().splitlines()) + 1
        moment = datetime.now(UTC).isoformat()
        with deals.open("a") as file:
            file.write(json.dumps({"id": number, "title": "Roof", "contact_id": person, "changed": moment}) + "\n")
        return f"deal:{number}"

    def expire(self, source: Path) -> None:
        source.with_name("people.jsonl.expired").touch()

    def break_source(self, source: Path) -> None:
        source.unlink()

    def secrets(self, source: Path) -> tuple[str, ...]:
        return (TOKEN,)

    def names_of(self, source: Path) -> tuple[str, ...]:
        return ("the tap",)
