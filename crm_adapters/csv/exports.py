"""Opens the files of an export as tables, and keeps what must be remembered of them from run to run.

The adapter's memory is a JSON mapping: ``sources`` (encoding, id columns and deleted column of each export),
``superseded`` (older versions), ``shared`` (ids that different people share), ``scanned`` (the files in which they were
looked for) and ``notes`` (sentences for people).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import SourceIncomplete
from crm_adapters.csv.encoding import Encoding, remembered
from crm_adapters.csv.files import ExportFile, find_files, is_gzip, open_export
from crm_adapters.csv.identity import Identities, Table, shared_ids
from crm_adapters.csv.layout import Layout, encoding_note, read_layout
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.rows import RowPicker
from crm_adapters.csv.selection import Selection, choose_files

_SHARED_KEPT = 10_000
"""The most shared ids that are remembered."""
_UNPACKED = 8
"""How much larger than a compressed file its content usually is."""


class ExportReader:
    """Reads the files that the options name. Built once per adapter."""

    def __init__(self, options: CsvOptions, fields: FieldMapping, memory: MutableMapping[str, Any]) -> None:
        self.options = options
        self.fields = fields
        self.memory = memory
        self._encodings: dict[tuple[str | int, ...], Encoding | None] = {}
        self._selections: dict[tuple[tuple[str | int, ...], ...], Selection] = {}

    def select(self, *, settled: bool = False) -> Selection:
        """Find the files and choose those that count. ``settled``: raise SourceIncomplete if one changed just now."""
        files = find_files(self.options.path)
        if settled:
            for file in files:
                self._require_settled(file)
        stamps = tuple(tuple(file.stamp) for file in files)
        if stamps not in self._selections:
            superseded = self.memory.get("superseded", [])
            self._selections[stamps] = choose_files(files, self.options.files, superseded, self.open)
        return self._selections[stamps]

    @contextmanager
    def open(self, export: ExportFile, picker: RowPicker | None = None) -> Iterator[Table]:
        """Open a file: how it is written, and its rows after the header. ``picker``: see ``read_rows``."""
        stamp = tuple(export.stamp)
        earlier = self._earlier(export)
        with open_export(export) as file:
            known = self._encodings.get(stamp)
            layout, rows = read_layout(file, export, self.options, self.fields, earlier, known, picker)
            if stamp not in self._encodings:
                self._encodings[stamp] = layout.encoding
                self._remember(export, layout)
            yield layout, rows

    def layouts(self, selection: Selection) -> list[Layout]:
        """Read the headers of the chosen files."""
        found = []
        for file in selection.files:
            with self.open(file) as (layout, _rows):
                found.append(layout)
        return found

    def identities(self, selection: Selection) -> Identities:
        """Find the ids that different people share, unless these very files were looked through before."""
        stamps = [file.stamp for file in selection.files]
        known: dict[str, str] = dict(self.memory.get("shared", {}))
        if self.memory.get("scanned") == stamps:
            return Identities(known)
        size = sum(file.size * (_UNPACKED if is_gzip(file.path) else 1) for file in selection.files)
        found = shared_ids([partial(self.open, file) for file in selection.files], size)
        # Only the first run may let the first person keep a shared id, as the version before did. Later it is not
        # known whose the stored record is.
        first_run = "shared" not in self.memory
        shared = {text: owner if first_run else "" for text, owner in found.items()} | known
        if len(shared) <= _SHARED_KEPT:
            self.memory["shared"], self.memory["scanned"] = shared, stamps
        else:
            self.memory["shared"] = dict(list(shared.items())[:_SHARED_KEPT])
            self.memory.pop("scanned", None)
        return Identities(shared)

    def keep_notes(self, selection: Selection, layouts: Sequence[Layout], identities: Identities) -> None:
        """Replace the notes of the run before, and forget what belongs to files that are gone."""
        notes = [*selection.notes]
        for layout in layouts:
            notes += [*filter(None, [encoding_note(layout)]), *layout.notes]
        if identities.shared:
            examples = ", ".join(f'"{text}"' for text in list(identities.shared)[:3])
            ids = "1 id is" if len(identities.shared) == 1 else f"{len(identities.shared)} ids are"
            notes.append(
                f"{ids} shared by different people, such as {examples}; these people are identified by email address "
                "and name, or by phone. If another column identifies them, name it in options.id"
            )
        self.memory["notes"] = notes
        self.memory["superseded"] = list(selection.superseded)
        keys = {file.key for file in selection.files}
        sources = self.memory.get("sources", {})
        if sources.keys() - keys:
            self.memory["sources"] = {key: value for key, value in sources.items() if key in keys}

    def _earlier(self, export: ExportFile) -> dict[str, Any]:
        """Return what is remembered of the export before."""
        known = dict(self.memory.get("sources", {}).get(export.key, {}))
        return known | {"upgraded": bool(self.memory.get("upgraded"))}

    def _remember(self, export: ExportFile, layout: Layout) -> None:
        sources = dict(self.memory.get("sources", {}))
        known = dict(sources.get(export.key, {}))
        if not self.options.id:
            known["id"] = layout.id_names
        if layout.deleted is not None or self.options.deleted is not None:
            known["deleted"] = layout.deleted_name
        if layout.encoding is not None and (layout.encoding.guess or self.options.encoding):
            known |= remembered(layout.encoding)
        if known != sources.get(export.key):
            self.memory["sources"] = {**sources, export.key: known}

    def _require_settled(self, file: ExportFile) -> None:
        age, least = time.time() - file.changed_ns / 1e9, self.options.settle_seconds
        if 0 <= age < least:
            raise SourceIncomplete(
                f"{file.name} was changed {age:.0f} seconds ago and may not be complete yet; it is read once it "
                f"has not changed for {least:g} seconds (settle_seconds)"
            )
