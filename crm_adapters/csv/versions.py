"""Finds the files that may be versions of one export, by their names, and their order. Pure.

``contacts-2026-11-01.csv`` and ``contacts-2026-11-02.csv`` differ only in a date, ``contacts.csv`` and
``contacts (1).csv`` only in a number. ``north.csv`` and ``south.csv`` are different exports.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_MONTHS = {
    name: number
    for number, names in enumerate(
        """jan january januar janvier ene enero gennaio januari janeiro|feb february februar fevrier febrero febbraio
        februari fevereiro|mar march marz maerz mars marzo maart marco|apr april avril abril aprile|may mai mayo maggio
        mei maio|jun june juni juin junio giugno junho|jul july juli juillet julio luglio julho|aug august aout agosto
        augustus|sep sept september septembre septiembre settembre setembro|oct october okt oktober octobre octubre
        ottobre outubro|nov november novembre noviembre novembro|dec december dez dezember decembre diciembre dicembre
        dezembro""".split("|"),
        1,
    )
    for name in names.split()
}
_TOKEN = re.compile(r"\d+|[^\W\d_]+")
_DOTTED = re.compile(r"(?<!\d)\d{1,2}\.\d{1,2}\.\d{4}(?!\d)")
"""A date with points, which has the day first."""
_DAY_LENGTH, _TIME_LENGTHS, _EPOCH_LENGTHS = 8, (4, 6), (10, 13)
_HALVES = {"am": 0, "pm": 12}
_COUNTING = frozenset("copy kopie copie copia part teil partie parte v version t z at um utc am pm".split())


@dataclass(frozen=True, slots=True)
class NamedFile:
    """What a file's name says: the words in it, its numbers, and its date and time, once for each way to read it."""

    name: str
    family: str
    moments: tuple[tuple[int, ...], ...]
    """The moment with the day first and with the month first; empty where the name has no such date."""
    numbers: tuple[int, ...]
    """All numbers in the name, in order."""
    changed: float


def named_file(name: str, changed: float) -> NamedFile:
    """Read the name of a file, without its suffix. ``changed`` is the time of its last change."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    tokens = _TOKEN.findall(plain)
    words = [token for token in tokens if not _is_counting(token)]
    numbers = tuple(_MONTHS.get(token) or int(token) for token in tokens if token.isdecimal() or token in _MONTHS)
    moments = (_moment(tokens, day_first=True), () if _DOTTED.search(plain) else _moment(tokens, day_first=False))
    return NamedFile(name, " ".join(words), moments, numbers, changed)


def newest_first(files: Iterable[NamedFile]) -> list[NamedFile] | None:
    """Return the versions of an export, the newest first; None if the names do not say which one that is.

    Dates in the names count first, then other numbers. If the names have no whole dates, or such as can be read in two
    ways, the times of the last change must not contradict them.
    """
    files = list(files)
    ways = [way for way in (0, 1) if all(file.moments[way] for file in files)]
    orders = [
        sorted(files, key=lambda file: (file.moments[way], file.numbers, file.changed), reverse=True) for way in ways
    ]
    if orders and all(order == orders[0] for order in orders):
        return orders[0]
    orders = orders or [sorted(files, key=lambda file: (file.numbers, file.changed), reverse=True)]
    fitting = [order for order in orders if all(one.changed >= other.changed for one, other in pairwise(order))]
    return fitting[0] if len(fitting) == 1 else None


def _is_counting(token: str) -> bool:
    return token.isdecimal() or token in _MONTHS or token in _COUNTING


def _moment(tokens: Sequence[str], *, day_first: bool) -> tuple[int, ...]:
    """Return the date in a name, and the time after it, as numbers that sort by time."""
    for index, token in enumerate(tokens):
        if token.isdecimal() and len(token) in _EPOCH_LENGTHS and 1 <= int(token[:10]) // 10**9 <= 4:
            return (int(token[:10]),)
        if token.isdecimal() and len(token) in (_DAY_LENGTH, 12, 14):
            day = _day(token[:4], token[4:6], token[6:8]) or _day(token[4:8], token[2:4], token[:2])
            if day:
                return (*day, *_time(tokens[index + 1 :] if len(token) == _DAY_LENGTH else [token[8:]]))
        three = tokens[index : index + 3]
        if day := _day_of(three, day_first=day_first):
            return (*day, *_time(tokens[index + 3 :]))
    return ()


def _day_of(tokens: Sequence[str], *, day_first: bool) -> tuple[int, ...]:
    """Return the day that three parts of a name give, in any usual order."""
    if len(tokens) < 3:
        return ()
    first, second, third = tokens
    if len(first) == 4:
        return _day(first, second, third)
    if len(third) != 4:
        return ()
    if first in _MONTHS or second in _MONTHS:
        return _day(third, *((first, second) if first in _MONTHS else (second, first)))
    return _day(third, second, first) if day_first else _day(third, first, second)


def _day(year: str, month: str, day: str) -> tuple[int, ...]:
    months: Mapping[str, int] = _MONTHS
    number = months.get(month) or (int(month) if month.isdecimal() and len(month) <= 2 else 0)
    if not (year.isdecimal() and day.isdecimal() and len(day) <= 2):
        return ()
    fits = 1990 <= int(year) <= 2100 and 1 <= number <= 12 and 1 <= int(day) <= 31
    return (int(year), number, int(day)) if fits else ()


def _time(tokens: Sequence[str]) -> tuple[int, ...]:
    """Return the time of day at the beginning of the rest of a name."""
    digits = ""
    for token in tokens:
        if token in ("t", "at", "um"):
            continue
        if token in _HALVES and len(digits) in _TIME_LENGTHS:
            digits = f"{int(digits[:2]) % 12 + _HALVES[token]:02}{digits[2:]}"
        if not token.isdecimal() or (digits and len(token) != 2) or len(digits + token) > max(_TIME_LENGTHS):
            break
        digits += token.zfill(2) if not digits else token
    if len(digits) not in _TIME_LENGTHS or int(digits[:2]) > 23 or int(digits[2:4]) > 59:
        return ()
    return tuple(int(digits[at : at + 2]) for at in range(0, len(digits), 2))
