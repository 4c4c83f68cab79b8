"""Reads any CRM for which there is a Singer tap: a program that writes records and its state to standard output.

A tap promises little, so nothing is taken on trust. The state of a page is one that the tap wrote after all records of
that page. A listing is complete only if the tap ended well and announced the stream, and it cannot be resumed, because
a state in the middle of it may skip records that come later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from config.fields import FieldMapping
from crm_adapters.base import (
    CONTACT,
    Adapter,
    CheckReport,
    CrmField,
    Cursor,
    CursorExpired,
    Page,
    Removals,
    Services,
    SourceInvalid,
)
from crm_adapters.fields import find_columns
from crm_adapters.singer.catalog import Stream, StreamChoice, fields_to_take, find_stream, selected
from crm_adapters.singer.options import SingerOptions
from crm_adapters.singer.process import TapProcess
from crm_adapters.singer.reading import StreamPlan, TapReading

RENEWED = (
    "the tap has changed its configuration file, as taps do whose credentials renew themselves. The change is lost, so "
    "the next run may be refused: use a credential that stays the same, or another adapter"
)


class SingerAdapter(Adapter):
    """Runs a tap in each pull."""

    name = "singer"
    summary = "Any CRM with a Singer tap, which runs as a program of its own."
    Options: ClassVar[type[BaseModel]] = SingerOptions
    removals = Removals.UNSEEN

    options: SingerOptions

    def __init__(self, options: Any, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        if self.options.replication == "full":
            self.removals = Removals.ABSENT  # type: ignore[misc] # it depends on the options
        self.kinds = (CONTACT, *(one.kind for one in self.options.belonging.values()))  # type: ignore[misc]
        self._tap = f"the tap {_program(self.options.tap)}"
        self._running: TapProcess | None = None
        self._known: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"SingerAdapter({self._tap}, {self.options.stream})"

    @classmethod
    def kinds_for(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """See ``Adapter.kinds_for``."""
        belonging = options.get("belonging")
        streams = belonging.values() if isinstance(belonging, Mapping) else ()
        return (CONTACT, *(str(one["kind"]) for one in streams if isinstance(one, Mapping) and "kind" in one))

    def check(self) -> CheckReport:
        """Let the tap list its streams, and read until the first record: most taps list them without logging in."""
        catalog = self._discovered()
        reading = self._reading(catalog, None)
        with self._process() as tap:
            tap.start(self._flags(catalog, reading, None))
            has_records = any(reading.take(line) for line in tap.lines())
            if not has_records:
                tap.finish()
                reading.require_streams()
        keys = ", ".join(f"{one.name} by {' and '.join(one.key)}" for one in reading.plans.values())
        return CheckReport(f"{self._tap} reads {keys}" if has_records else f"{self._tap} reads {keys}; none yet")

    def describe(self) -> Sequence[CrmField]:
        """Return the fields of the streams, by their schemas."""
        return [one for plan in self._plans(self._catalog()).values() for one in plan.stream.fields(plan.kind)]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Run the tap with the state of the last run, and yield what it writes."""
        if cursor is not None and "state" not in cursor:
            raise CursorExpired("the stored cursor was written by another version of the adapter")
        catalog = self._catalog()
        reading = self._reading(catalog, cursor)
        self.services.memory.pop("notes", None)
        with self._process() as tap:
            tap.start(self._flags(catalog, reading, cursor))
            yield from reading.pages(tap.lines())
            tap.finish()
            if tap.has_new_config():
                self.services.memory["notes"] = [RENEWED]
        yield from reading.end()

    def close(self) -> None:
        """Stop a tap that still runs."""
        if self._running is not None:
            self._running.stop()

    def _reading(self, catalog: Mapping[str, Any], cursor: Cursor | None) -> TapReading:
        is_listing = cursor is None or self.options.replication == "full"
        state = None if cursor is None else cursor["state"]
        return TapReading(self._tap, self.options, self._plans(catalog), is_listing=is_listing, state=state)

    def _flags(self, catalog: Mapping[str, Any], reading: TapReading, cursor: Cursor | None) -> dict[str, Any]:
        """Return the arguments of a run."""
        choices = {plan.stream.id: StreamChoice(plan.fields, plan.replication_key) for plan in reading.plans.values()}
        chosen = selected(catalog, choices, full=self.options.replication == "full")
        return {self.options.catalog_flag: chosen} | ({} if cursor is None else {"--state": cursor["state"]})

    def _process(self) -> TapProcess:
        o = self.options
        config = o.config.get_secret_value()
        self._running = TapProcess(o.tap, config, o.environment, o.timeout.total_seconds(), self._tap)
        return self._running

    def _catalog(self) -> Mapping[str, Any]:
        """Return the tap's catalog; a run asks for it once. Raises AdapterError."""
        if self._known is None:
            self._known = self._discovered() if self.options.catalog is None else self._stored(self.options.catalog)
        return self._known

    def _stored(self, path: Path) -> Mapping[str, Any]:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise SourceInvalid(f"the catalog {path} cannot be read ({error.strerror}); correct catalog") from None
        return _catalog_in(text, f"the catalog {path}")

    def _discovered(self) -> Mapping[str, Any]:
        with self._process() as tap:
            tap.start({"--discover": None})
            text = tap.output()
            tap.finish()
        return _catalog_in(text, f"{self._tap} with --discover")

    def _plans(self, catalog: Mapping[str, Any]) -> dict[str, StreamPlan]:
        """Return what to read of each stream, by its configured name. Raises SourceInvalid."""
        o = self.options
        people = find_stream(catalog, o.stream, self._tap)
        plans = {o.stream: self._plan(people, CONTACT, None, o.key, o.replication_key)}
        for name, one in o.belonging.items():
            stream = find_stream(catalog, name, self._tap)
            plans[name] = self._plan(stream, one.kind, one.person, one.key, one.replication_key)
        return plans

    def _plan(
        self, stream: Stream, kind: str, person: str | None, key: tuple[str, ...], replication_key: str | None
    ) -> StreamPlan:
        key, o = key or stream.key, self.options
        if not key:
            raise SourceInvalid(
                f'{self._tap} does not say what identifies a record of "{stream.name}" (key_properties is empty); '
                "name the field in key"
            )
        if replication_key and replication_key not in stream.top_level:
            raise SourceInvalid(
                f'{self._tap} has no field "{replication_key}" in "{stream.name}"; correct replication_key'
            )
        always = {*key, *o.deleted, *filter(None, (o.updated_at, person, replication_key))}
        if kind == CONTACT:
            columns = find_columns(tuple(one.name for one in stream.fields(kind)), self.fields)
            always |= {*columns.phones, *columns.full_name, *columns.name_parts, *columns.emails}
        fields = fields_to_take(stream, self.services.wanted, always)
        return StreamPlan(stream, kind, person, key, fields, replication_key)


def _program(command: Sequence[str]) -> str:
    """Return the name of the program for people: what an interpreter runs, not the interpreter."""
    names = [Path(part).name for part in command]
    plain = [name for name, part in zip(names[1:], command[1:], strict=True) if not part.startswith("-")]
    return plain[0] if plain and names[0].startswith(("python", "sh", "bash", "node")) else names[0]


def _catalog_in(text: bytes, where: str) -> Mapping[str, Any]:
    """Return the JSON object in a tap's output, before and after which it may print other things."""
    found: Any = None
    try:
        decoded = text.decode("utf-8-sig")
        start = 0 if decoded.lstrip().startswith("{") else decoded.find("\n{") + 1
        found, _ = json.JSONDecoder().raw_decode(decoded[start:].lstrip())
    except (ValueError, RecursionError):
        pass
    if not isinstance(found, dict):
        raise SourceInvalid(f"{where} gives no JSON object; check that the program is a Singer tap that can discover")
    return found
