"""The shape of a source: which of its fields the configuration uses, and which of those it does not have (now). Pure.

A change of the source's shape is no change of its records. A header in another case or with other punctuation is the
same field. A field that vanishes is unknown, not empty. If a field with the phone, the name or the email vanishes, the
run is refused, because every contact would change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson

from config.fields import FieldMapping, is_expression
from config.fingerprint import source_fingerprint
from config.models import Settings
from crm_adapters.base import CONTACT, Adapter, AdapterError, CrmField, Properties, SourceInvalid
from crm_adapters.described import resolve_labels
from crm_adapters.fields import HEADERS_KEPT, Columns, find_columns, fold
from worker.contacts.mapping import field_names_of
from worker.contacts.records import UnusableRecord, is_identifier
from worker.triggers.values import slug
from worker.triggers.wanted import field_uses, is_wanted

LISTED = 20
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST_NAME = 1000

_ROLES = {"phone": "a phone number", "full_name": "a name", "email": "an email address", "country": "a country"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is remembered from run to run.

    ``fields`` are the stored fields, as they were first written. ``contact`` are the fields with the phone, the name
    and the email. ``missing`` are the names of the configuration that the source does not have. ``kinds`` are the kinds
    of record that a listing has read completely, and since when: what existed before is not new, see ``TriggerWatch``.
    """

    fields: tuple[str, ...] = ()
    contact: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    kinds: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def load(cls, text: str) -> Shape:
        """Read a stored shape."""
        stored = orjson.loads(text)
        contact = {role: tuple(names) for role, names in stored.get("contact", {}).items()}
        kinds = {kind: datetime.fromisoformat(since) for kind, since in stored.get("kinds", {}).items()}
        return cls(tuple(stored.get("fields", ())), contact, tuple(stored.get("missing", ())), kinds)

    def dump(self) -> str:
        """Return the shape as JSON."""
        return orjson.dumps(asdict(self)).decode()


Selection: TypeAlias = tuple[tuple[str, str], ...]
"""What is stored of records with one header: each stored name, and the field that has its value."""


@dataclass
class ShapeWatch:
    """Sees the headers of one run: chooses what is stored of a record, and finds the fields that are not there.

    ``wanted`` are the names that the configuration uses, None: store everything. ``describe`` returns the fields of the
    source; it is called only if a field seems to be missing, since an adapter may leave out fields that are empty, and
    the configuration may name a field by its label. ``named`` are the configured names if ``wanted`` is None.
    """

    before: Shape
    wanted: frozenset[str] | None
    mapping: FieldMapping
    describe: Callable[[], Sequence[CrmField]]
    reads_columns: bool = True
    """The contact is read from fields by the mapping or by usual names, not by the adapter's own rules."""
    named: frozenset[str] = frozenset()
    labels: dict[str, str] = field(default_factory=dict)
    """Label -> name of the fields that the configuration names by their label."""
    _chosen: dict[tuple[str, tuple[str, ...]], Selection] = field(default_factory=dict)
    _last: tuple[tuple[str, ...] | None, str, Selection] = (None, "", ())
    """The header and the kind of the record before, and what was chosen for them."""
    _seen: dict[str, set[str]] = field(default_factory=dict)
    _contact: dict[str, dict[str, None]] = field(default_factory=dict)
    _described: Sequence[CrmField] | None = None
    _judged: bool = True
    _refused: bool = False

    def __post_init__(self) -> None:
        self._names = {fold(name): name for name in self.before.fields}

    def project(self, properties: Properties, kind: str) -> Properties:
        """Return the part of a record that is stored, under names that stay the same."""
        header = tuple(properties)
        last_header, last_kind, chosen = self._last
        if header != last_header or kind != last_kind:  # a comparison costs less than a hash
            known = self._chosen.get((kind, header))
            chosen = self._choose(header, kind) if known is None else known
            self._last = (header, kind, chosen)
        return {stored: properties[name] for stored, name in chosen}

    def labelled(self, properties: Properties) -> Properties:
        """Return a record with the fields that the configuration names by their labels under these labels, too."""
        found = {label: properties[name] for label, name in self.labels.items() if name in properties}
        return {**properties, **found} if found else properties

    def keeps(self, name: str) -> bool:
        """Return True if the value of a field that has vanished is kept."""
        return is_wanted(name, self.wanted)

    def judge(self) -> None:
        """Look at the headers seen so far. Raises SourceInvalid if the phone, the name or the email has vanished."""
        if self._judged or not self.reads_columns or CONTACT not in self._seen:
            return
        self._judged = True
        seen = self._seen[CONTACT]
        gone = [(role, name) for role, names in self.before.contact.items() for name in names if fold(name) not in seen]
        if gone and (gone := [(role, name) for role, name in gone if not self._is_described(name)]):
            role, name = gone[0]
            self._refused = True
            raise SourceInvalid(
                f'the field "{name}", which holds {_ROLES.get(role, role)}, is not there any more. Nothing was '
                f"changed. Put it back, or name the field to read in fields.{role}. There are: {self._listed()}"
            )
        if not self._contact.get("phone") and not find_columns(self._described_names(), self.mapping).phones:
            raise SourceInvalid(
                "there is no field with a usual name for a phone number; name it in the connection's fields.phone. "
                f"There are: {self._listed()}"
            )

    def result(self, *, complete: bool = True) -> Shape:
        """Return what to remember of this run. If it was not ``complete``, no missing name counts as found."""
        if not self._seen:
            return self.before
        everywhere = {name for names in self._seen.values() for name in names}
        absent = [
            name
            for name in sorted(self.wanted or self.named)
            if fold(name) not in everywhere and not is_expression(name) and not self._is_described(name)
        ]
        if not complete:
            configured = self.wanted or self.named
            absent = sorted({*absent, *(name for name in self.before.missing if name in configured)})
        contact = dict(self.before.contact)
        if not self._refused:
            contact |= {role: self._all_of(role) for role, names in self._contact.items() if names}
        fields = tuple(sorted(self._names.values()))
        return replace(self.before, fields=fields, contact=contact, missing=tuple(absent))

    def listed(self, kinds: Iterable[str], now: datetime) -> None:
        """Note that a listing has ended that read all records of these kinds."""
        read = (*kinds, *(kind for kind in self._seen if is_identifier(kind)))
        new = {kind: now for kind in read if kind not in self.before.kinds}
        self.before = replace(self.before, kinds={**self.before.kinds, **new})

    def _all_of(self, role: str) -> tuple[str, ...]:
        """Return the fields of a role that were seen now or before: a record may leave out what is empty."""
        names = {fold(name): name for name in (*self.before.contact.get(role, ()), *self._contact[role])}
        return tuple(names.values())

    def _choose(self, header: tuple[str, ...], kind: str) -> Selection:
        """Choose the fields to store of records with this header, and note the header. Raises UnusableRecord."""
        for name in header:
            _check_name(name)
        self._judged = False
        labels = self._labels_beside(header, kind)
        found = (*header, *labels)
        self._seen.setdefault(kind, set()).update(map(fold, found))
        columns = find_columns(found, self.mapping)
        if kind == CONTACT:
            self._note_contact(columns)
        used = columns.all
        chosen, taken = [], set()
        for name in found:
            if name in used or self.keeps(name):
                stored = self._names.setdefault(fold(name), name)
                if stored in taken or (stored != name and stored in found):
                    stored = name  # two fields differ only in punctuation: both keep their own names
                taken.add(stored)
                chosen.append((stored, labels.get(name, name)))
        if len(self._chosen) >= HEADERS_KEPT:
            self._chosen.clear()
        self._chosen[kind, header] = tuple(chosen)
        return self._chosen[kind, header]

    def _labels_beside(self, header: tuple[str, ...], kind: str) -> dict[str, str]:
        """Return label -> name of the fields of this header that the configuration names by their labels."""
        mapped = (name for role in _ROLES for name in getattr(self.mapping, role))
        there = set(map(fold, header))
        absent = {name for name in (*(self.wanted or self.named), *mapped) if fold(name) not in there}
        by_slug = {slug(name): name for name in sorted(absent, reverse=True) if not is_expression(name)}
        if not by_slug:
            return {}
        self._described_names()
        found = resolve_labels(sorted(by_slug.values()), [one for one in self._described or () if one.kind == kind])
        found = {label: name for label, name in found.items() if name in header}
        self.labels |= found
        return found

    def _note_contact(self, columns: Columns) -> None:
        names = columns.full_name or columns.name_parts or columns.bare_name
        countries = (*columns.country, *(column for _, column in columns.phone_countries))
        parts = {"phone": columns.phones, "full_name": names, "email": columns.emails, "country": countries}
        for role, names in parts.items():
            self._contact.setdefault(role, {}).update(dict.fromkeys(names))

    def _is_described(self, name: str) -> bool:
        return fold(name) in {fold(one) for one in self._described_names()}

    def _described_names(self) -> tuple[str, ...]:
        if self._described is None:
            try:
                self._described = self.describe()
            except AdapterError:
                raise
            except Exception as error:
                # It is a fault of the source, not of the record that is being read.
                raise AdapterError(f"the adapter cannot list its fields ({type(error).__name__})") from error
        return tuple(dict.fromkeys([*(one.name for one in self._described), *(one.label for one in self._described)]))

    def _listed(self) -> str:
        names = [one.name for one in self._described or ()] or sorted(self._seen.get(CONTACT, ()))
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        return ", ".join(f'"{name}"' for name in names[:LISTED]) + more


def _check_name(name: Any) -> None:
    """Refuse a record with a name that cannot be stored. One record must not change the shape of the source so."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise UnusableRecord(f"it has a field whose name is not a text of up to {LONGEST_NAME} characters")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UnusableRecord("it has a field whose name is not valid text") from None


def watch_shape(
    settings: Settings,
    connection: str,
    stored: Mapping[str, Any],
    wanted: frozenset[str] | None,
    adapter: Adapter,
    live_kinds: Callable[[], Iterable[str]],
) -> ShapeWatch:
    """Return the watch of one run. ``stored`` has the columns of ``connection_state``.

    With new settings, the source may have kinds of record that it did not have before. ``live_kinds`` returns those of
    which there are records; they are not read for the first time.
    """
    configured = settings.connections[connection]
    before = Shape.load(stored["shape"])
    if stored["fingerprint"] not in ("", source_fingerprint(configured, wanted)):
        before = replace(before, contact={}, kinds={})  # other fields may hold the phone, the name and the email now
    if not before.kinds:
        known = Shape.load(stored["shape"]).kinds
        before = replace(before, kinds={kind: known.get(kind, LONG_AGO) for kind in (CONTACT, *live_kinds())})
    reads_columns = type(adapter).contact_fields is Adapter.contact_fields
    mapping = field_names_of(configured.fields).or_else(adapter.usual)
    named = frozenset(use.field for use in field_uses(settings, connection))
    return ShapeWatch(before, wanted, mapping, adapter.describe, reads_columns, named)


def carried_forward(old: Mapping[str, Any], new: Properties, keeps: Callable[[str], bool]) -> dict[str, Any]:
    """Return the values of ``old`` that the new version says nothing about: their fields are not there now."""
    if old.keys() <= new.keys():
        return {}
    return {name: value for name, value in old.items() if name not in new and keeps(name)}
