"""Who a row is: its id, or what stands for it.

A row without an id of its own is identified by its email address and name, or else by its phone number. Ids are not a
row's own if they are empty, ``0`` or a placeholder, or if different people share them, as guests of a shop and families
on one mailbox do. Two people never become one record because of their order in a file.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

from crm_adapters.csv.layout import Layout
from crm_adapters.csv.rows import Row, RowPicker
from crm_adapters.fields import clean_text, fold

Table: TypeAlias = tuple[Layout, Iterator[Row]]
OpenTable: TypeAlias = Callable[[RowPicker | None], AbstractContextManager[Table]]

ID_LIMIT = 255
"""The longest id, in characters: ids are indexed, and a database refuses an index entry of a few thousand bytes."""
SURE_ENDINGS = frozenset("123456789")
"""An id that ends with one of these is neither empty, nor zero, nor a placeholder."""
NO_IDS = frozenset({"-1"})

_FORMULA = re.compile(r'=\s*"(.*)"', re.DOTALL)
_NOTHING = re.compile(r"[0{}.,\-]*")
_PEOPLE_KEPT = 4
_ALIKE = 0.75
_MOST_BITS = 1 << 28  # 32 MB


@dataclass(frozen=True, slots=True)
class Identities:
    """Gives rows their ids. ``shared`` maps ids that different people share to the one person who keeps it, or ""."""

    shared: Mapping[str, str] = field(default_factory=dict)

    @property
    def unsure(self) -> Collection[str]:
        """The ids that need a closer look."""
        return {*self.shared, *NO_IDS}

    def external_id(self, layout: Layout, cells: Sequence[str]) -> str:
        """Return the id of a row; "" if nothing identifies it."""
        text = given_id(layout, cells)
        if not text or text in NO_IDS or text not in self.shared:
            return text if text and text not in NO_IDS else contact_id(layout, cells)
        instead = contact_id(layout, cells)
        return text if instead and self.shared[text] == digest(instead) else instead


def given_id(layout: Layout, cells: Sequence[str]) -> str:
    """Return what the id columns hold, or "" if that is no id. Several columns are joined, and never collide."""
    read = str.strip if layout.raw_ids else plain_text
    parts = [read(cells[column]) if column < len(cells) else "" for column in layout.ids]
    if layout.by_contact:
        return clean_text(parts[0])
    if not any(not _is_nothing(part) for part in parts):
        return ""
    if len(parts) == 1:
        return parts[0]
    return "|".join(part.replace("\\", r"\\").replace("|", r"\|") for part in parts)


def is_sure_with_zero(text: str) -> bool:
    """Return True for an id that ends with a zero, and is neither zero nor a placeholder, such as ``C-120``."""
    return text[-1:] == "0" and text[-2:-1].isalnum() and text.strip("0{}.,-") != ""


def contact_id(layout: Layout, cells: Sequence[str]) -> str:
    """Return the id of a row by its email address and name, or else by its phone number; "" if it has neither."""
    email, phone = _first(layout.emails, cells).casefold(), _digits(_first(layout.phones, cells))
    if email:
        found = f"{email}|{fold(_name(layout, cells)) or phone}"
        return found if len(found) <= ID_LIMIT else f"{found[:200]}... {digest(found)}"
    return f"phone {phone}"[:ID_LIMIT] if phone else ""


def shared_ids(tables: Sequence[OpenTable], size: int) -> dict[str, str]:
    """Return the ids that different people share, each with the digest of the person who has it first.

    Reads the tables once, and a second time if an id may repeat. Memory depends on ``size`` (bytes) and on the number
    of repeats, not on the number of rows.
    """
    repeats = _Repeats(size)
    for table in tables:
        repeats.read(table)
    if not repeats.found:
        return {}
    people = _People(repeats.found)
    for table in tables:
        people.read(table)
    return people.shared()


@dataclass
class _TableReader(ABC):
    """Reads the ids of a table: many rows at once where each line is a row, the others one by one."""

    layout: Layout | None = None

    def read(self, table: OpenTable) -> None:
        """Read a whole table."""
        self.layout = None
        with table(self) as (layout, rows):
            self.layout = layout
            last = max(layout.ids)
            for _first, _last, cells in rows:
                if type(cells) is list and len(cells) > last:
                    self.take(layout, cells)

    def pick(self, text: str) -> Iterable[list[str]]:
        """See ``RowPicker``."""
        layout, lines = self.layout, text.split("\n")
        if layout is None or len(layout.ids) > 1:
            return csv.reader(lines, delimiter=layout.delimiter if layout else ",")
        column, delimiter = layout.ids[0], layout.delimiter
        rows: Iterable[list[str]] = (line.split(delimiter, column + 1) for line in lines)
        ids = [cells[column].strip() if len(cells) > column else "" for cells in rows]
        if '"' in ("".join(ids) if column == 0 else text):
            rows = csv.reader(lines, delimiter=delimiter)
            ids = [cells[column].strip() if len(cells) > column else "" for cells in rows]
        wanted = self.take_ids(ids)
        return csv.reader((line for line, one in zip(lines, ids, strict=False) if one in wanted), delimiter=delimiter)

    @abstractmethod
    def take(self, layout: Layout, cells: list[str]) -> None:
        """Take one row."""

    @abstractmethod
    def take_ids(self, ids: list[str]) -> Collection[str]:
        """Take what the id column holds in many rows. Return the ids whose rows are taken one by one after that."""


class _Repeats(_TableReader):
    """Finds the ids that may be there more than once. One bit for each hash: a few are found by chance."""

    def __init__(self, size: int) -> None:
        super().__init__()
        bits = 1 << 20
        while bits < min(size // 2, _MOST_BITS):
            bits *= 2
        self.bits, self.mask = bytearray(bits >> 3), bits - 1
        self.found: set[str] = set()

    def take(self, layout: Layout, cells: list[str]) -> None:
        text = cells[layout.ids[0]].strip() if len(layout.ids) == 1 else given_id(layout, cells)
        self.take_ids([text])

    def take_ids(self, ids: list[str]) -> Collection[str]:
        bits, mask, found = self.bits, self.mask, self.found
        for one in ids:
            at = hash(one) & mask
            if bits[at >> 3] & 1 << (at & 7):
                found.add(one)
            else:
                bits[at >> 3] |= 1 << (at & 7)
        return ()


class _People(_TableReader):
    """Compares the people behind ids that repeat."""

    def __init__(self, repeated: set[str]) -> None:
        super().__init__()
        self.repeated = repeated
        self.people: dict[str, list[Person]] = {}
        self.firsts: dict[str, str] = {}

    def take(self, layout: Layout, cells: list[str]) -> None:
        raw = cells[layout.ids[0]].strip() if len(layout.ids) == 1 else given_id(layout, cells)
        text = given_id(layout, cells) if raw in self.repeated else ""
        if not text:
            return
        person, known = Person.of(layout, cells), self.people.setdefault(text, [])
        if not known:
            self.firsts[text] = digest(contact_id(layout, cells))
        if person not in known and len(known) < _PEOPLE_KEPT:
            known.append(person)

    def take_ids(self, ids: list[str]) -> Collection[str]:  # noqa: ARG002 - the rows of all ids that repeat
        return self.repeated

    def shared(self) -> dict[str, str]:
        """Return the ids that different people share."""
        return {
            text: self.firsts[text]
            for text, known in self.people.items()
            if any(one.differs_from(other) for index, one in enumerate(known) for other in known[:index])
        }


def plain_text(text: str) -> str:
    """Return a cell without the formula that keeps it text in a spreadsheet: ``="00123"``."""
    text = text.strip()
    match = _FORMULA.fullmatch(text) if text[:1] == "=" else None
    return match[1].strip() if match else text


def digest(text: str) -> str:
    """Return a short fingerprint of a text, or ""."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest() if text else ""


@dataclass(frozen=True, slots=True)
class Person:
    """What tells people with one id apart."""

    name: str
    phone: str
    email: str
    by_mailbox: bool = False
    """The id is the email address: a mailbox, not a person."""

    @classmethod
    def of(cls, layout: Layout, cells: Sequence[str]) -> Person:
        """Read it from a row."""
        return cls(
            fold(_name(layout, cells)),
            _digits(_first(layout.phones, cells))[-9:],
            _first(layout.emails, cells).casefold(),
            layout.by_contact,
        )

    def differs_from(self, other: Person) -> bool:
        """Return True for two people. One person may have another phone or address, or a mistyped name."""
        pairs = [(self.name, other.name), (self.phone, other.phone), (self.email, other.email)]
        known = [one == another for one, another in pairs if one and another]
        if self.name and self.name == other.name:
            return False
        if self.by_mailbox and self.name and other.name and not _alike(self.name, other.name):
            return True
        return known.count(False) > 1 or (False in known and True not in known)


def _alike(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one, other).ratio() > _ALIKE


def _name(layout: Layout, cells: Sequence[str]) -> str:
    if not layout.columns.full_name:
        return " ".join(text for column in layout.full_name if (text := _cell(cells, column)))
    return _first(layout.full_name, cells)


def _first(columns: Iterable[int], cells: Sequence[str]) -> str:
    return next((text for column in columns if (text := _cell(cells, column))), "")


def _cell(cells: Sequence[str], column: int) -> str:
    return clean_text(plain_text(cells[column])) if column < len(cells) else ""


def _digits(phone: str) -> str:
    digits = "".join(character for character in phone if character.isdecimal())
    return f"+{digits}" if digits and phone.lstrip("( ")[:1] == "+" else digits


def _is_nothing(text: str) -> bool:
    text = plain_text(text)
    return not clean_text(text) or _NOTHING.fullmatch(text) is not None
