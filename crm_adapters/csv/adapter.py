"""The adapter for CSV exports: one or more files that together list every contact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import Adapter, CheckReport, CrmField, Cursor, Page, Removals, Services, SourceIncomplete
from crm_adapters.csv.exports import ExportReader
from crm_adapters.csv.files import ExportFile, readable
from crm_adapters.csv.identity import Identities
from crm_adapters.csv.layout import summary_of
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.records import CsvRecord, read_records

_EXAMPLES = 3
_EXAMPLE_ROWS, _EXAMPLE_LENGTH = 50, 40


class CsvAdapter(Adapter):
    """Reads whole exports: every pull lists every row."""

    name = "csv"
    summary = "CSV and Excel exports of any CRM: files, patterns or folders, read completely each time."
    Options = CsvOptions
    removals = Removals.ABSENT

    options: CsvOptions

    def __init__(self, options: Any, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        self._exports = ExportReader(self.options, self.fields, self.services.memory)

    def check(self) -> CheckReport:
        """Read the header of every file that counts. Raises SourceInvalid, SourceIncomplete, SourceUnavailable."""
        with readable():
            selection = self._exports.select()
            layouts = self._exports.layouts(selection)
            self._exports.keep_notes(selection, layouts, Identities())
        return CheckReport(". ".join([summary_of(layouts), *self.services.memory["notes"]]))

    def describe(self) -> Sequence[CrmField]:
        """Return the columns of all files, with some values. Raises the same errors as ``check``."""
        values: dict[str, dict[str, None]] = {}
        with readable():
            for export in self._exports.select().files:
                with self._exports.open(export) as (layout, rows):
                    for name in layout.names:
                        values.setdefault(name, {})
                    for _, _, cells in islice(rows, _EXAMPLE_ROWS):
                        for name, cell in zip(layout.names, cells, strict=False) if isinstance(cells, list) else ():
                            if cell.strip() and len(values[name]) < _EXAMPLES:
                                values[name][cell.strip()[:_EXAMPLE_LENGTH]] = None
        return [CrmField(name, values=tuple(examples)) for name, examples in values.items()]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:  # noqa: ARG002 - there is nothing to resume
        """Yield all rows of all files, in order. Raises SourceInvalid, SourceIncomplete, SourceUnavailable."""
        with readable():
            selection = self._exports.select(settled=True)
            identities = self._exports.identities(selection)
            self._exports.keep_notes(selection, self._exports.layouts(selection), identities)
        records = self._records(selection.files, identities)
        first = True
        while True:
            with readable():
                page = list(islice(records, self.page_size))
            if not page and not first:
                return
            yield Page(page)  # an export without rows is a page, too: the memory is stored with it
            first = False

    def _records(self, files: Sequence[ExportFile], identities: Identities) -> Iterator[CsvRecord]:
        for export in files:
            with self._exports.open(export) as (layout, rows):
                yield from read_records(layout, rows, identities)
            after = export.path.stat()
            if (after.st_size, after.st_mtime_ns) != (export.size, export.changed_ns):
                raise SourceIncomplete(f"{export.name} changed while it was being read; the next run reads it again")
