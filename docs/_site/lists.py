"""Indents lists as the site's Markdown needs it: four columns for each level. The repository's needs two or three."""

from __future__ import annotations

import re

_ITEM = re.compile(r"[ ]*(?:[*+-]|\d+\.)[ ]+(?=\S)")
_FENCE = re.compile(r"[ ]*```")
STEP = 4


def indented(markdown: str) -> str:
    """Return Markdown in which all that belongs to an item of a list is four columns deeper than the item.

    An item that has paragraphs ends with an empty line: otherwise the next item would be part of its last paragraph.
    """
    shown: list[str] = []
    columns: list[int] = []  # where the content of each open item begins
    has_paragraphs: list[bool] = []
    in_code = False
    for line in markdown.split("\n"):
        if not line.strip():
            shown.append(line)
            has_paragraphs = [True] * len(columns)
            continue
        column = len(line) - len(line.lstrip(" "))
        while columns and column < columns[-1] and not in_code:
            columns.pop()
            if has_paragraphs.pop() and shown[-1].strip():
                shown.append("")
        inner = column - (columns[-1] if columns else 0)
        shown.append(" " * (STEP * len(columns) + max(inner, 0)) + line.lstrip(" "))
        if _FENCE.match(line):
            in_code = not in_code
        elif not in_code and (item := _ITEM.match(line)):
            columns.append(len(item[0]))
            has_paragraphs.append(False)
    return "\n".join(shown)
