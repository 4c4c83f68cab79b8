"""Chooses the files that count. Of several versions of one export, the newest does; parts of one export all do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice

from crm_adapters.base import SourceInvalid
from crm_adapters.csv.files import ExportFile
from crm_adapters.csv.identity import Person, Table, given_id
from crm_adapters.csv.versions import newest_first

_SAMPLE = 100
"""The number of people of an older file that are looked for in newer ones."""
_VERSION, _PART = 0.5, 0.1
"""With this share of its people in newer files a file is a version; with less than the other, it is a part."""

OpenFile = Callable[[ExportFile], AbstractContextManager[Table]]


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to read, in order, those that are older versions, and notes for people."""

    files: tuple[ExportFile, ...]
    superseded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_files(
    files: Sequence[ExportFile], wish: str | None, superseded: Collection[str], open_table: OpenFile
) -> Selection:
    """Choose among files that may be versions of each other. ``wish`` is the option ``files``.

    ``superseded`` are files that were older versions before: they stay so, or their people would come back. Raises
    SourceInvalid if the names do not say which file is the newest, and that matters.
    """
    groups: dict[tuple[int, str], list[ExportFile]] = {}
    for file in files:
        groups.setdefault((file.entry, file.named.family), []).append(file)
    chosen = [_Group(group, superseded, open_table).choose(wish) for group in groups.values()]
    return Selection(
        tuple(file for one in chosen for file in one.files),
        tuple(name for one in chosen for name in one.superseded),
        tuple(note for one in chosen for note in one.notes),
    )


@dataclass
class _Group:
    """Files whose names differ only in a date or number."""

    files: Sequence[ExportFile]
    known: Collection[str]
    open_table: OpenFile
    samples: dict[str, dict[str, Person]] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    def choose(self, wish: str | None) -> Selection:
        if len(self.files) == 1:
            return Selection(tuple(self.files))
        ordered = self._ordered()
        by_time = sorted(self.files, key=lambda file: (file.changed_ns, file.name), reverse=True)
        if wish == "together":
            return Selection(tuple(ordered or by_time))
        if wish == "newest":
            if ordered is None:
                raise self._no_order("")
            return Selection((ordered[0],), (), (_read_note(ordered[0], ordered[1:], ""),))
        return self._by_people(ordered or by_time, certain=ordered is not None)

    def _by_people(self, ordered: Sequence[ExportFile], *, certain: bool) -> Selection:
        kept, older, notes = [ordered[0]], list[ExportFile](), list[str]()
        undecided = [file for file in ordered[1:] if not (certain and file.name in self.known)]
        for file in undecided:
            self.samples[file.name] = self._sample(file)
        for file in ordered[1:]:
            if file not in undecided:
                older.append(file)
                continue
            self._look_in(kept[-1])
            share = self._share(file)
            if share >= _VERSION:
                if not certain:
                    raise self._no_order("list mostly the same people, and ")
                older.append(file)
                continue
            if share >= _PART:
                notes.append(
                    f"{share:.0%} of the people in {file.name} are also in a newer file, whose values count; both are "
                    f'read. If only the newest file counts, set files = "newest"; if not, set files = "together"'
                )
            kept.append(file)
        if older:
            notes.append(_read_note(kept[0], older, 'If they are parts of one export, set files = "together"'))
        return Selection(tuple(kept), tuple(file.name for file in older), tuple(notes))

    def _ordered(self) -> list[ExportFile] | None:
        by_name = {id(file.named): file for file in self.files}
        ordered = newest_first([file.named for file in self.files])
        return None if ordered is None else [by_name[id(named)] for named in ordered]

    def _sample(self, file: ExportFile) -> dict[str, Person]:
        with self.open_table(file) as (layout, rows):
            first = list(islice((cells for _, _, cells in rows if isinstance(cells, list)), _SAMPLE))
            people = ((given_id(layout, cells), Person.of(layout, cells)) for cells in first)
            return {text: person for text, person in people if text}

    def _look_in(self, newer: ExportFile) -> None:
        """Look for the sampled people in a file that counts. Each file is looked through once."""
        wanted: dict[str, list[tuple[str, Person]]] = {}
        for name, sample in self.samples.items():
            for text, person in sample.items():
                wanted.setdefault(text, []).append((name, person))
        if newer.name in self.found or not wanted:
            return
        self.found.setdefault(newer.name, 0)
        with self.open_table(newer) as (layout, rows):
            for _, _, cells in rows:
                if isinstance(cells, list) and (text := given_id(layout, cells)) in wanted:
                    self._note(wanted.pop(text), Person.of(layout, cells))

    def _note(self, people: Iterable[tuple[str, Person]], found: Person) -> None:
        for name, person in people:
            if not person.differs_from(found):
                self.found[name] = self.found.get(name, 0) + 1

    def _share(self, file: ExportFile) -> float:
        sample = self.samples.pop(file.name)
        return self.found.pop(file.name, 0) / len(sample) if sample else 0.0

    def _no_order(self, same: str) -> SourceInvalid:
        names = ", ".join(file.name for file in self.files[:5])
        return SourceInvalid(
            f"{names} {same}the names and the times of the last change do not say which is the newest. Nothing was "
            "changed. Name the files by date, such as contacts-2026-11-30.csv, or remove the older ones; if they are "
            'parts of one export, set files = "together"'
        )


def _read_note(newest: ExportFile, older: Sequence[ExportFile], remedy: str) -> str:
    names = ", ".join(file.name for file in older[:3])
    more = f" and {len(older) - 3} more" if len(older) > 3 else ""
    is_older = "is an older version and is" if len(older) == 1 else "are older versions and are"
    return f"{newest.name} is read; {names}{more} {is_older} not. {remedy}".strip()
