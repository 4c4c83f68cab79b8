"""Reads the rows of an Excel workbook (.xlsx) as text, as a CSV export of it would have them."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

from crm_adapters.base import SourceIncomplete, SourceInvalid
from crm_adapters.csv.formats import is_zip, refuse_other_formats
from crm_adapters.csv.rows import Row

# SyntaxError: what the XML parser raises is one.
_DAMAGED = (zipfile.BadZipFile, KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError, SyntaxError)
_LEADING_ZEROS = re.compile(r"0{2,}")


def read_workbook(file: BinaryIO, name: str, sheet: str | None) -> Iterator[Row]:
    """Yield the rows of a sheet: that with this name, else the first one that is not hidden.

    Numbers keep all their digits, dates are ISO 8601. Raises SourceInvalid, SourceIncomplete.
    """
    if not is_zip(file):
        refuse_other_formats(file, name)
        raise SourceInvalid(f"{name} is not an Excel workbook; if it is a CSV file, give it a name that ends in .csv")
    try:
        import openpyxl
    except ImportError:
        raise SourceInvalid(
            f"{name} is an Excel workbook, and openpyxl, which reads it, is not installed; install vtsync with "
            "the extra xlsx, or save the file as CSV (UTF-8)"
        ) from None
    file.seek(0)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        yield from _rows(_sheet(book, name, sheet))
    except _DAMAGED as error:
        raise SourceIncomplete(
            f"{name} is damaged or incomplete ({type(error).__name__} in the workbook); export it again"
        ) from error


def _sheet(book: Any, name: str, wanted: str | None) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if wanted is not None:
        if wanted in sheets:
            return sheets[wanted]
        listed = ", ".join(f'"{title}"' for title in sheets)
        raise SourceInvalid(f'{name} has no sheet "{wanted}", which options.sheet names; there are: {listed}')
    visible = [sheet for sheet in sheets.values() if sheet.sheet_state == "visible"]
    if not visible:
        raise SourceInvalid(f"{name} has no visible sheet; name one in options.sheet")
    return visible[0]


def _rows(sheet: Any) -> Iterator[Row]:
    sheet.reset_dimensions()  # some programs write wrong ones
    for number, cells in enumerate(sheet.iter_rows(), 1):
        texts = [cell_text(cell.value, str(cell.number_format or "")) for cell in cells]
        while texts and not texts[-1]:
            texts.pop()
        yield number, number, texts


def cell_text(value: Any, number_format: str) -> str:
    """Return a cell as text: what people see, but with all digits, and dates as ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        digits = _digits(value)
        return digits.zfill(len(number_format)) if _LEADING_ZEROS.fullmatch(number_format) else digits
    if isinstance(value, datetime):
        has_time = value.time() != time() or "h" in number_format.lower()
        return value.isoformat(sep=" ") if has_time else value.date().isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value.total_seconds()) if isinstance(value, timedelta) else str(value)


def _digits(value: float) -> str:
    if not math.isfinite(value):
        return ""
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
