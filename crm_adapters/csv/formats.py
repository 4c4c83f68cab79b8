"""Recognises files that are no CSV files, by their first bytes, and says what to do with them."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from crm_adapters.base import SourceInvalid

_AS_CSV = "save it as CSV (UTF-8), or as .xlsx"
_BEGINNINGS: list[tuple[bytes, str]] = [
    (b"\xd0\xcf\x11\xe0", f"is an old Excel workbook (.xls) or has a password; open it and {_AS_CSV}"),
    (b"%PDF", "is a PDF document; export the contacts as CSV"),
    (b"\x1f\x8b", "is compressed; give it a name that ends in .csv.gz"),
    (b"Rar!", "is an archive; unpack it"),
    (b"7z\xbc\xaf", "is an archive; unpack it"),
    (b"SQLite format 3", 'is a SQLite database; read it with the "sql" adapter'),
    (b"{\\rtf", f"is a text document; {_AS_CSV}"),
]
_TEXT_BEGINNINGS: list[tuple[bytes, str]] = [
    (b"<!doctype html", f"is a web page; some programs call it .xls. Open it in a spreadsheet and {_AS_CSV}"),
    (b"<html", f"is a web page; some programs call it .xls. Open it in a spreadsheet and {_AS_CSV}"),
    (b"<table", f"is a web page; some programs call it .xls. Open it in a spreadsheet and {_AS_CSV}"),
    (b"<?xml", f"is an XML file; open it in a spreadsheet and {_AS_CSV}"),
    (b"begin:vcard", "is a vCard file; export the contacts as CSV"),
    (b"[{", "is a JSON file; export the contacts as CSV"),
    (b'{"', "is a JSON file; export the contacts as CSV"),
]


def refuse_other_formats(file: BinaryIO, name: str) -> None:
    """Raise SourceInvalid if the file is a workbook, an archive, a web page or the like."""
    file.seek(0)
    start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        raise SourceInvalid(f"{name} {_zip_kind(file)}")
    for beginning, advice in _BEGINNINGS:
        if start.startswith(beginning):
            raise SourceInvalid(f"{name} {advice}")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, advice in _TEXT_BEGINNINGS:
        if text.startswith(beginning):
            raise SourceInvalid(f"{name} {advice}")


def is_zip(file: BinaryIO) -> bool:
    """Return True if the file begins as a zip archive does, which every .xlsx workbook is."""
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


def _zip_kind(file: BinaryIO) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            first = archive.read(names[0])[:80] if names and names[0] == "mimetype" else b""
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, KeyError):
        return "is a damaged Excel workbook or archive; export it again, as CSV"
    if any(name.startswith("xl/") for name in names):
        return "is an Excel workbook; give it a name that ends in .xlsx, or save it as CSV (UTF-8)"
    if b"opendocument" in first:
        return f"is an OpenDocument file; open it and {_AS_CSV}"
    if any(name.startswith("Index/") for name in names):
        return f"is a Numbers document; export it: {_AS_CSV}"
    return "is a zip archive; unpack it, and name the CSV file in it"
