"""The two CRMs of the demo: a CSV export and a SQL database, always with the same people.

Every number is from the range that is reserved for fiction (555-0100 to 555-0199), every address from example domains.
"""

from __future__ import annotations

import csv
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

EXPORTED, CUSTOMERS, SHARED = 330, 60, 5
BAD_PHONES = ("", "", "555-0199", "(415) 555-0142 / (415) 555-0143", "415-555-0144 x12", "1-800-FLOWERS", "call first")

_AREAS = ("212", "312", "415", "503", "617", "702", "808", "917")
_FIRST = (
    "Aaliyah Amélie Andrés Anna Arjun Björn Chidi Chloé Dmitri Elena Emeka Fatima Femi Giulia Grace Hannah Hiroshi "
    "Ingrid Isabella Jamal Jing José Kenji Khadija Lars Leila Liam Lucía Mateo Mei Mohammed Nadia Noah Nguyễn Olivia "
    "Omar Priya Quinn Rafael Rosa Saoirse Sofía Tariq Thandiwe Uma Viktor Wei Ximena Yusuf Zoë"
).split()
_LAST = (
    "Adeyemi Bauer Castillo Chen Costa Dubois Eriksson Fernández García Haddad Ivanova Jackson Kim Kowalski Larsen "
    "Martínez Müller Nakamura Novák O'Connor Okafor Patel Quispe Rossi Schmidt Silva Singh Tanaka Torres Weber "
    "Williams Yilmaz Zhang"
).split()
_STAGES = ("Lead", "Lead", "Opportunity", "Customer")


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """One record of either CRM. ``phone`` is written as a person typed it."""

    id: str
    first_name: str
    last_name: str
    email: str
    phone: str
    stage: str

    @property
    def full_name(self) -> str:
        """Return first and last name."""
        return f"{self.first_name} {self.last_name}"


def e164(index: int) -> str:
    """Return fictional number n as E.164."""
    area, number = _AREAS[index % len(_AREAS)], index // len(_AREAS)
    return f"+1{area}555{100 + number:04d}"


def exported() -> list[DemoPerson]:
    """Return the people of the CSV export. The phones of the last few are ambiguous or invalid."""
    rng = random.Random(20260301)
    people = [_person(rng, f"{51000 + index}", index) for index in range(EXPORTED - len(BAD_PHONES))]
    strange = [replace(_person(rng, f"{52000 + index}", 0), phone=phone) for index, phone in enumerate(BAD_PHONES)]
    return people + strange


def customers() -> list[DemoPerson]:
    """Return the people of the SQL database. The first ones are also in the export: one phone, two records."""
    rng = random.Random(20260302)
    shared = list(range(SHARED))
    own = list(range(EXPORTED, EXPORTED + CUSTOMERS - SHARED))
    return [_person(rng, f"{index + 1}", number) for index, number in enumerate(shared + own)]


def _person(rng: random.Random, identifier: str, number: int) -> DemoPerson:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    email = "" if rng.random() < 0.08 else f"person{identifier}@example.{rng.choice(('com', 'org', 'net'))}"
    return DemoPerson(identifier, first, last, email, _typed(rng, e164(number)), rng.choice(_STAGES))


def _typed(rng: random.Random, number: str) -> str:
    """Return a number as people type it."""
    area, exchange, line = number[2:5], number[5:8], number[8:]
    forms = (
        number,
        f"({area}) {exchange}-{line}",
        f"{area}-{exchange}-{line}",
        f"{area}.{exchange}.{line}",
        f"+1 {area} {exchange} {line}",
    )
    return rng.choice(forms)


def write_export(path: Path, people: list[DemoPerson]) -> None:
    """Write the CSV export atomically, as a careful exporter does."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["Record ID", "First Name", "Last Name", "Email", "Mobile Phone Number", "Lifecycle Stage", "Contact owner"]
        )
        for one in people:
            writer.writerow([one.id, one.first_name, one.last_name, one.email, one.phone, one.stage, "Dana Reyes"])
    part.replace(path)


def write_database(path: Path, people: list[DemoPerson]) -> None:
    """Create the SQL database."""
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, mobile TEXT, stage TEXT,"
            " updated_at TEXT NOT NULL, is_deleted INTEGER NOT NULL DEFAULT 0)"
        )
        db.execute("CREATE INDEX customers_updated_at ON customers (updated_at)")
        db.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, 0)", _rows(people))
    db.close()


def save_customer(path: Path, person: DemoPerson) -> None:
    """Add or change one customer."""
    with sqlite3.connect(path) as db:
        db.executemany("INSERT OR REPLACE INTO customers VALUES (?, ?, ?, ?, ?, ?, 0)", _rows([person]))
    db.close()


def _rows(people: list[DemoPerson]) -> Iterator[tuple[int, str, str, str, str, str]]:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    for one in people:
        yield int(one.id), one.full_name, one.email, one.phone, one.stage, now
