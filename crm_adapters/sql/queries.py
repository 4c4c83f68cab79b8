"""The operator's query as a table: run as written, whatever colons, percent signs and comments it has."""

from __future__ import annotations

import re

from sqlalchemy import Dialect, column, table
from sqlalchemy.sql import FromClause, quoted_name

_QUOTED = r'"(?:[^"]|"")*"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$'
_COMMENTS = r"--[^\n]*|/\*.*?\*/"
# PostgreSQL's E'...' and all strings of MySQL use the backslash.
_STANDARD = re.compile(rf"[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|{_QUOTED}|{_COMMENTS}|\s+|.", re.DOTALL)
_MYSQL = re.compile(rf"'(?:[^'\\]|\\.|'')*'|{_QUOTED}|{_COMMENTS}|#[^\n]*|\s+|.", re.DOTALL)


def without_end(query: str, *, mysql: bool = False) -> str:
    """Return the query without the semicolon at its end, after which only comments may follow."""
    end = len(query)
    for found in (_MYSQL if mysql else _STANDARD).finditer(query):
        part = found[0]
        if part == ";":
            end = min(end, found.start())
        elif not (part.isspace() or part.startswith(("--", "/*")) or (mysql and part.startswith("#"))):
            end = len(query)
    return query[:end]


def as_table(query: str, names: list[str], dialect: Dialect) -> FromClause:
    """Return the query as a table with these columns."""
    written = without_end(query, mysql=dialect.name in ("mysql", "mariadb"))
    if getattr(dialect.identifier_preparer, "_double_percents", False):  # the driver's parameters begin with "%"
        written = written.replace("%", "%%")
    # Not text(), which takes ":name" for a parameter. The line break ends a comment in the last line.
    return table(quoted_name(f"(\n{written}\n)", quote=False), *map(column, names)).alias("source")
