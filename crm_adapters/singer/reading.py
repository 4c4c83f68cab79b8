"""The messages of one run of a tap, as pages of changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from crm_adapters.base import CONTACT, ContactChange, Page, SourceIncomplete, SourceInvalid, UnreadableRecord
from crm_adapters.http.changes import moment_of
from crm_adapters.http.records import flatten, value_at
from crm_adapters.singer.catalog import Stream, flat_fields
from crm_adapters.singer.options import SingerOptions
from crm_adapters.singer.process import LONGEST_LINE, TooLong
from crm_adapters.sql.values import external_id, is_true

PAGE_BYTES = 32 << 20
"""A page ends when the lines of its records are this long."""
LONGEST_NUMBER = 300
"""Digits."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """A stream that is read, and how. ``person`` is the field with the id of the person that a record belongs to."""

    stream: Stream
    kind: str
    person: str | None
    key: tuple[str, ...]
    fields: AbstractSet[str] | None
    replication_key: str | None = None

    @property
    def name(self) -> str:
        """The stream's name for people."""
        return self.stream.name

    def names(self, schema: Any) -> list[str]:
        """Return the fields that records have by this schema, if they were asked for."""
        return [one.name for one in flat_fields(schema) if self.fields is None or one.top in self.fields]


@dataclass
class TapReading:
    """What a run has written so far. ``state`` is the last one that a later run can continue from."""

    tap: str
    options: SingerOptions
    plans: Mapping[str, StreamPlan]
    is_listing: bool
    state: Any
    changes: list[ContactChange | UnreadableRecord] = field(default_factory=list)
    size: int = 0
    announced: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    names: dict[str, list[str]] = field(default_factory=dict)
    objects: dict[str, set[str]] = field(default_factory=dict)
    line: int = 0

    def __post_init__(self) -> None:
        """Note under which names the messages of each stream may come."""
        self.configured: dict[str, str] = {}
        for name, plan in self.plans.items():
            self.configured |= dict.fromkeys(plan.stream.spellings, name)
            self._note_names(name, plan.names(plan.stream.schema))
        self.configured |= {plan.stream.id: name for name, plan in self.plans.items()}

    def pages(self, lines: Iterator[bytes | TooLong | None]) -> Iterator[Page]:
        """Yield a page whenever enough records have come, and an empty one while the tap is quiet.

        After each page the engine can stop the run.
        """
        for line in lines:
            if line is None:
                yield Page((), self._cursor() if not self.changes else None)
                continue
            self.take(line)
            if len(self.changes) >= self.options.page_size or self.size >= PAGE_BYTES:
                changes, self.changes, self.size = self.changes, [], 0
                yield Page(changes, self._cursor())

    def end(self) -> Iterator[Page]:
        """After the tap has ended well, yield the rest. Raises SourceIncomplete if a listing cannot be complete."""
        self.require_streams()
        self.is_listing = False
        cursor = self._cursor()
        if self.changes or cursor is not None:
            yield Page(self.changes, cursor)

    def require_streams(self) -> None:
        """Raise SourceIncomplete if a listing lacks a stream: the tap has not read it, whatever its exit code says."""
        missing = sorted(set(self.plans) - self.announced)
        if not missing or not self.is_listing:
            return
        other = "--properties" if self.options.catalog_flag == "--catalog" else "--catalog"
        wrote = f"; it wrote {', '.join(sorted(self.others)[:5])}" if self.others else ""
        raise SourceIncomplete(
            f"{self.tap} ended without a word about its stream {missing[0]}, so nothing was read{wrote}. If it "
            f'is an old tap, set catalog_flag = "{other}"'
        )

    def take(self, line: bytes | TooLong | None) -> bool:
        """Take in a line of output. Return True if it was a record."""
        if line is None:
            return False
        self.line += 1
        before = len(self.changes)
        if isinstance(line, TooLong):
            self._reject("a record", line.start, f"The tap wrote a line of more than {LONGEST_LINE:,} bytes.")
        else:
            self.size += len(line)
            self._read(line)
        return len(self.changes) > before

    def _read(self, line: bytes) -> None:
        broken = ""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):  # taps and their libraries also print other things
            message, broken = _repaired(line)
        if not isinstance(message, dict):
            if broken:
                self._reject("a record", line, broken)
            return
        stream = message.get("stream")
        if message.get("type") == "STATE":
            self._note_state(message.get("value"))
            return
        if not isinstance(stream, str) or stream not in self.configured:
            if isinstance(stream, str) and message.get("type") in ("SCHEMA", "RECORD", "BATCH"):
                self.others.add(stream)
            return
        self._take_message(self.configured[stream], message, line, broken)

    def _take_message(self, name: str, message: Mapping[str, Any], line: bytes, broken: str) -> None:
        kind, plan = message.get("type"), self.plans[name]
        if kind == "SCHEMA":
            self.announced.add(name)
            self._note_names(name, plan.names(message.get("schema")) or self.names[name])
        elif kind == "RECORD":
            self.announced.add(name)
            self._take_record(name, message.get("record"), line, broken)
        elif kind == "BATCH":
            raise SourceInvalid(
                f"{self.tap} writes the records of {plan.name} to files (BATCH), which are not read; remove "
                "batch_config from config"
            )

    def _note_state(self, state: Any) -> None:
        """Keep a state that a later run can continue from: not an empty one, and none with ``progress_markers``."""
        if isinstance(state, dict) and state and not _in_progress(state):
            self.state = state

    def _cursor(self) -> dict[str, Any] | None:
        """Return the cursor after all records so far. A listing has none before its end."""
        return None if self.is_listing or self.state is None else {"state": self.state}

    def _take_record(self, name: str, record: Any, line: bytes, broken: str) -> None:
        plan = self.plans[name]
        if not isinstance(record, Mapping):
            self._reject(plan.name, line, "The tap wrote a record that is no object.")
            return
        properties = self._properties(name, record)
        key = tuple(_key_part(_value(record, properties, part)) for part in plan.key)
        if None in key or "" in key:
            fields = " and ".join(plan.key)
            self._reject(plan.name, line, f"It has no usable value in {fields}, which identifies a record.")
            return
        identifier = external_id(key)
        where = f"{plan.name} {identifier}"
        if plan.kind != CONTACT:
            identifier = f"{plan.kind}:{identifier}"
        if broken:
            self.changes.append(UnreadableRecord(identifier, broken, where))
            return
        o = self.options
        person = None if plan.person is None else _key_part(_value(record, properties, plan.person))
        self.changes.append(
            ContactChange(
                identifier,
                properties,
                moment_of(_value(record, properties, o.updated_at)) if o.updated_at else None,
                any(is_true(_value(record, properties, one)) for one in o.deleted),
                where=where,
                kind=plan.kind,
                person=None if person in (None, "") else external_id((person,)),
            )
        )

    def _properties(self, name: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record flat, with None for the fields that the tap announced and left out."""
        names, flat = self.names[name], flatten(record)
        for one in names:
            if one not in flat:  # None, or an object whose fields the tap does not announce
                inside = value_at(record, one)
                flat[one] = json.dumps(inside, ensure_ascii=False) if inside and isinstance(inside, Mapping) else None
        if len(flat) == len(names):
            return flat
        objects = self.objects[name]
        return {one: value for one, value in flat.items() if value is not None or one not in objects}

    def _note_names(self, name: str, names: list[str]) -> None:
        """Note which fields records have. Objects are not among them: an empty one must not look like a field."""
        inside = {one[:end] for one in names for end, letter in enumerate(one) if letter == "."}
        self.names[name], self.objects[name] = names, inside - set(names)

    def _reject(self, what: str, line: bytes, reason: str) -> None:
        """Note a record without an id. Its key is made of the line: the same line has the same key in each run."""
        digest = hashlib.blake2b(line, digest_size=6).hexdigest()
        where = f"{self.tap}, line {self.line} of its output"
        self.changes.append(UnreadableRecord(f"{what} without id {digest}", reason, where))


def _repaired(line: bytes) -> tuple[Any, str]:
    """Return the message in a line that is no JSON in UTF-8, and why it cannot be used; "" if it is no record."""
    if not line.lstrip().startswith(b"{") or b'"RECORD"' not in line:
        return None, ""
    try:
        text = line.decode("utf-8")
        broken = "The tap wrote a record that is no JSON."
    except UnicodeDecodeError:
        text = line.decode("utf-8", "replace")
        broken = "The tap wrote a record that is not encoded in UTF-8."
    try:
        return json.loads(text, parse_int=_integer), broken
    except (ValueError, RecursionError):
        return None, broken


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits


def _value(record: Mapping[str, Any], properties: Mapping[str, Any], name: str) -> Any:
    """Return a field, which may be nested (``a.b``), or one that only the flat record has (``owner_id``)."""
    found = value_at(record, name)
    return properties.get(name) if found is None else found


def _key_part(value: Any) -> str | int | None:
    """Return a value as a part of an id: of a list the first, of an object its ``id``, of a number no zero decimals."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, Mapping):
        value = value.get("id")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _in_progress(state: Any) -> bool:
    """Return True if a state has ``progress_markers`` anywhere: its run was not finished, and cannot be resumed."""
    if isinstance(state, dict):
        return "progress_markers" in state or any(map(_in_progress, state.values()))
    return isinstance(state, list) and any(map(_in_progress, state))
