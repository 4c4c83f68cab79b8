"""The adapter for CSV exports: one or more files that together list every contact."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice

from crm_adapters.base import (
    Adapter,
    CheckReport,
    ContactFields,
    Cursor,
    Page,
    Properties,
    Removals,
    SourceIncomplete,
)
from crm_adapters.csv.files import find_files, open_export, readable
from crm_adapters.csv.layout import read_layout, summary_of
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.records import CsvRecord, read_records
from crm_adapters.fields import find_columns, read


class CsvAdapter(Adapter):
    """Reads whole exports: every pull lists every row."""

    name = "csv"
    summary = "CSV exports of any CRM: files, patterns or folders, read completely each time."
    Options = CsvOptions
    removals = Removals.ABSENT

    options: CsvOptions

    def check(self) -> CheckReport:
        """Read the header of every file. Raises SourceInvalid, SourceIncomplete, SourceUnavailable."""
        layouts = []
        with readable():
            for path, name in find_files(self.options.path):
                with open_export(path, name) as file:
                    layouts.append(read_layout(file, name, self.options, self.fields)[0])
        fields = dict.fromkeys(column for layout in layouts for column in layout.names)
        return CheckReport(summary_of(layouts), tuple(fields))

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:  # noqa: ARG002 - there is nothing to resume
        """Yield all rows of all files, in order. Raises SourceInvalid, SourceIncomplete, SourceUnavailable."""
        records = self._records()
        while True:
            with readable():
                page = list(islice(records, self.page_size))
            if not page:
                return
            yield Page(page)

    def contact_fields(self, properties: Properties) -> ContactFields:
        """Read the columns that the mapping names, or else the columns with usual names."""
        return read(find_columns(tuple(properties), self.fields), properties)

    def _records(self) -> Iterator[CsvRecord]:
        for path, name in find_files(self.options.path):
            with open_export(path, name) as file:
                before = os.fstat(file.fileno())
                age = time.time() - before.st_mtime
                if 0 <= age < self.options.settle_seconds:
                    raise SourceIncomplete(
                        f"{name} was changed {age:.0f} seconds ago and may not be complete yet; it is read once it "
                        f"has not changed for {self.options.settle_seconds:g} seconds (settle_seconds)"
                    )
                layout, rows = read_layout(file, name, self.options, self.fields)
                yield from read_records(layout, rows)
                after = os.fstat(file.fileno())
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise SourceIncomplete(f"{name} changed while it was being read; the next run reads it again")
