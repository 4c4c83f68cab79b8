"""Replaces the generated part of a document, which stands between two marks."""

from __future__ import annotations


def replace_part(document: str, begin: str, end: str, part: str) -> str:
    """Return ``document`` with ``part`` between two marks. Raises ValueError if it lacks one of them."""
    head, found, rest = document.partition(begin)
    _old, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(
            f"the file needs a line {begin} and, below it, a line {end}: these are the marks of what is generated"
        )
    return f"{head}{begin}\n{part}\n{end}{tail}"
