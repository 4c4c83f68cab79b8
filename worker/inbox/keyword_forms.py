"""The words and sentences of ``data/keywords.toml``, compiled. The file says what its lists mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "es", "fr", "pt")
GAP = " | "
"""Stands where an innocent phrase was, so that the words around it do not become a sentence."""

ANY = "*"
"""Stands for one word of any kind in a form."""
_PART = re.compile(r"\[[^\]]*\]|\([^)]*\)|\S+")


@dataclass(frozen=True, slots=True)
class KeywordForms:
    """What is recognised. The patterns are for plain words with a space before and after them."""

    plain: frozenset[str]
    alone: frozenset[str]
    others: Mapping[str, frozenset[str]]
    """``start``, ``help`` and ``yes``."""
    edges: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    request: tuple[str, ...]
    clear: re.Pattern[str]
    doubt_first: re.Pattern[str]
    doubt: re.Pattern[str]
    innocent: re.Pattern[str]
    innocent_first: re.Pattern[str]
    doubt_whole: frozenset[str]
    typing_errors: Mapping[str, int]
    no_typing_errors: frozenset[str]
    stop_signs: frozenset[str]
    reactions: frozenset[str]
    """The words around the emoji of a reaction."""


@cache
def keyword_forms() -> KeywordForms:
    """Read the file. Raises KeyError or ValueError if it has a mistake."""
    data = tomllib.loads(files("worker.inbox").joinpath("data/keywords.toml").read_text("utf-8"))
    return KeywordForms(
        plain=frozenset(word for row in data["stop"] for word in row["plain"]),
        alone=frozenset(word for row in data["stop"] for word in row["alone"]),
        others={name: frozenset(words) for name, words in data["other"].items()},
        edges=tuple(data["edges"]["words"]),
        before=_longest_first(data["polite"]["before"]),
        after=_longest_first(data["polite"]["after"]),
        request=_longest_first(data["polite"]["request"]),
        clear=_pattern(data, "clear"),
        doubt_first=_pattern(data, "doubt_first"),
        doubt=_pattern(data, "doubt"),
        innocent=_pattern(data, "innocent"),
        innocent_first=_pattern(data, "innocent_first"),
        doubt_whole=frozenset(phrase for language in LANGUAGES for phrase in data[language]["doubt_whole"]),
        typing_errors=data["typing_errors"]["words"],
        no_typing_errors=frozenset(data["typing_errors"]["innocent"]),
        stop_signs=frozenset(data["signs"]["stop"]),
        reactions=frozenset(data["signs"]["reactions"]),
    )


def compile_form(form: str, slots: Mapping[str, Sequence[str]]) -> str:
    """Return the regular expression of a form. It has no repetitions, so it takes linear time on any text.

    Raises ValueError for brackets inside brackets, KeyError for a slot that is not defined.
    """
    parts = _PART.findall(form)
    if any(set(part[1:-1] if part[0] in "[(" else part) & set("[]()") for part in parts):
        raise ValueError(f'brackets cannot be nested: "{form}"')
    return "".join(_group(part, slots) for part in parts)


def _group(part: str, slots: Mapping[str, Sequence[str]]) -> str:
    inside = part[1:-1].split("|") if part[0] in "[(" else [part]
    choices = "|".join("".join(_word(word, slots) for word in choice.split()) for choice in inside)
    return f"(?:{choices}){'?' if part[0] == '[' else ''}"


def _word(word: str, slots: Mapping[str, Sequence[str]]) -> str:
    if word == ANY:
        return r"\S+ "
    if not word.startswith("{"):
        return f"{re.escape(word)} "
    return f"(?:{'|'.join(re.escape(phrase) + ' ' for phrase in _longest_first(slots[word[1:-1]]))})"


def _pattern(data: Mapping[str, Any], kind: str) -> re.Pattern[str]:
    """Return one pattern for the forms of all languages. It matches from a word's first letter to its last space."""
    forms = [
        compile_form(form, data[language]["slots"]) for language in LANGUAGES for form in data[language].get(kind, ())
    ]
    return re.compile(f"(?<= )(?:{'|'.join(forms)})")


def _longest_first(phrases: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(phrases, key=len, reverse=True))
