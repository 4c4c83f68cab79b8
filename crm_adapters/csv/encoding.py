"""Finds out how a CSV file is encoded. Pure, apart from reading the file.

A byte order mark and UTF-8 are certain. Everything else is a guess, and is shown as one. The guess prefers the encoding
of the export before: names that are read in another way look like changed names, and would text people.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from crm_adapters.csv.languages import ENCODINGS, LANGUAGES, WRITING, Language
from crm_adapters.csv.text import line_chunks

_SAMPLE = 1 << 16
_WORDS = 1500
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # first, because it begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BY_NAME = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_UNDECODABLE = re.compile("[\ud800-\udfff]")
_ASCII = bytes(range(128))
_HALF = 4096  # bytes that are looked at for UTF-16 without its mark

# What a wrong character costs. An encoding that needs none of these is plausible.
_UNDEFINED, _MIXED, _OUT_OF_PLACE, _ODD_CASE, _CROWDED = 8.0, 10.0, 6.0, 4.0, 4.0
_WRONG = 4.0
"""A word that costs as much is not what a person wrote."""
_PLAUSIBLE, _IMPOSSIBLE = 0.1, 0.5
"""With fewer wrong words than the first share an encoding is plausible, with more than the second it is not."""
_FOREIGN, _FOREIGN_MOST = 1.5, 6.0
"""What a letter costs that the languages of the file do not have, and all of them in one word."""
_SIGNED = 0.3
"""If this share of lines shows the countries of a language, the language costs nothing."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file is encoded. ``guess`` says if that is not certain, ``words`` are examples as they are read."""

    name: str
    guess: bool = False
    words: tuple[str, ...] = ()
    seen: bytes = b""
    """The bytes above 127 in the file, each once; only for a guess."""
    instead_of: str = ""
    """The encoding of the export before, which does not fit any more."""
    likelier: str = ""
    """An encoding that looks likelier now. That of the export before is kept."""
    alternative: str = ""
    """The likeliest plausible encoding that reads other words."""


def detect_encoding(file: BinaryIO, earlier: Mapping[str, Any] | None = None) -> Encoding:
    """Return the encoding: that of a byte order mark, else UTF-8 if most non-ASCII bytes are valid UTF-8, else a guess.

    ``earlier`` is what ``remembered`` returned for the export before. Reads the whole file.
    """
    certain = marked_encoding(file) or _unmarked_utf16(file)
    if certain:
        return Encoding(certain)
    for_utf8, against, sample, seen = 0, 0, b"", set[int]()
    for data, _last in line_chunks(file, "utf-8"):
        if data.isascii():
            continue
        text = data.decode("utf-8", "surrogateescape")
        for_utf8 += len(data) - len(text)  # bytes that continue a well-formed character
        invalid = len(_UNDECODABLE.findall(text))
        against += invalid
        if invalid:
            seen.update(data.translate(None, _ASCII))
            if len(sample) < _SAMPLE:
                sample += b"".join(line for line in data.splitlines(keepends=True) if not line.isascii())
    if for_utf8 >= against:
        return Encoding("utf-8")
    return guess_encoding(sample[:_SAMPLE], bytes(sorted(seen)), earlier)


def resolve_encoding(name: str, file: BinaryIO) -> Encoding:
    """Return the configured encoding. If its name does not give the byte order, the byte order mark does."""
    name = codecs.lookup(name).name
    if name in _BY_NAME:
        return Encoding(marked_encoding(file) or _BY_NAME[name])
    return Encoding(name)


def remembered(encoding: Encoding) -> dict[str, Any]:
    """Return what to remember of a guess, as JSON."""
    return {"encoding": encoding.name, "bytes": encoding.seen.hex()}


def marked_encoding(file: BinaryIO) -> str | None:
    """Return the encoding that the byte order mark names."""
    file.seek(0)
    start = file.read(4)
    return next((encoding for mark, encoding in _BOMS if start.startswith(mark)), None)


def guess_encoding(sample: bytes, seen: bytes, earlier: Mapping[str, Any] | None = None) -> Encoding:
    """Return the likeliest encoding of some lines that are not UTF-8.

    The encoding of the export before is kept, unless it makes most words impossible. It is also given up where that
    changes nothing: every byte of the export before means the same in the new one.
    """
    readings = {name: _Reading.of(sample, name) for name in ENCODINGS}
    best = min(readings, key=lambda name: readings[name].cost)
    before = str((earlier or {}).get("encoding", ""))
    if before not in readings or before == best:
        return Encoding(best, True, readings[best].words, seen, alternative=_alternative(readings, best))
    other = _alternative(readings, before)
    known = bytes.fromhex(str((earlier or {}).get("bytes", "")))
    both = bytes(sorted({*known, *seen}))
    if known and _same_text(known, before, best):
        return Encoding(best, True, readings[best].words, both, alternative=_alternative(readings, best))
    if readings[before].wrong_share > _IMPOSSIBLE and readings[best].wrong_share < _PLAUSIBLE:
        return Encoding(best, True, readings[best].words, seen, instead_of=before, alternative=before)
    different = readings[before].words != readings[best].words
    likelier = best if different else ""
    return Encoding(before, True, readings[before].words, both, likelier=likelier, alternative=likelier or other)


def _alternative(readings: Mapping[str, _Reading], chosen: str) -> str:
    """Return the likeliest encoding that reads other words without making most of them impossible, or ""."""
    words = readings[chosen].words
    others = [name for name, one in readings.items() if one.words not in ((), words) and one.wrong_share < _PLAUSIBLE]
    return min(others, key=lambda name: readings[name].cost, default="")


@dataclass(frozen=True, slots=True)
class _Reading:
    """The words of a sample in one encoding: what they cost together, and which share of them is wrong."""

    cost: float
    wrong_share: float
    words: tuple[str, ...]

    @classmethod
    def of(cls, sample: bytes, encoding: str) -> _Reading:
        text = sample.decode(encoding, "surrogateescape" if encoding not in WRITING else "replace")
        words = list(dict.fromkeys(_WORD.findall(text)))[:_WORDS]
        if not words:
            return cls(_UNDEFINED, 1.0, ())
        costs = [_oddities(word) + _rarities(word, encoding) for word in words]
        wrong = sum(cost >= _WRONG for cost in costs)
        letters = [frozenset(_letters(word)) for word in words]
        languages = _languages_cost(letters, encoding, text.splitlines())
        cost = ENCODINGS[encoding][0] + sum(costs) + languages
        shown = [word for word in words if any(letter.isalpha() and not letter.isascii() for letter in word)]
        return cls(cost, wrong / len(words), tuple(dict.fromkeys(shown))[:3])


_WORD = re.compile(r"[\w'\x80-\U0010ffff]*[\x80-\U0010ffff][\w'\x80-\U0010ffff]*")
_CONSONANTS = re.compile("[бвгджзклмнпрстфхцчшщ]+|[βγδζθκλμνξπρσςτφχψ]+")
_APOSTROPHES = frozenset("\u2019\u2018\u00b4")
_QUOTES = frozenset("\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a\u2013\u2014\u2026\u2022\u00a0\u00b7\u00ad")
_OPENING = frozenset("\u201a\u00bf\u00a1")
_MONEY = frozenset("\u20ac\u00a3\u00a5\u00a2")
_AFTER = frozenset("\u2122\u00ae\u00a9\u00b0\u00ba\u00aa\u00b2\u00b3\u00b9\u2030\u2020\u2021")


def _oddities(word: str) -> float:
    """Return what is wrong with a word whatever its language is."""
    cost = 0.0
    scripts = {_is_latin(letter) for letter in word if letter.isalpha() or _is_mark(letter)}
    if len(scripts) > 1:
        cost += _MIXED
    for index, character in enumerate(word):
        if character.isascii():
            continue
        before, after = word[index - 1 : index] if index else "", word[index + 1 : index + 2]
        if "\ud800" <= character <= "\udfff" or character == "\ufffd" or "\x80" <= character < "\xa0":
            cost += _UNDEFINED
        elif character in "\u00aa\u00ba" or not (character.isalpha() or _is_mark(character)):
            cost += _symbol(character, before, after)
        elif (character.isupper() and before.islower()) or (
            character.islower() and before.isupper() and after.isupper()
        ):
            cost += _ODD_CASE
        elif character.isupper() and index and before.isupper() and after.islower():
            cost += _ODD_CASE / 2
    if scripts == {False}:
        cost += _other_script(word)
    letters = [letter for letter in word if letter.isalpha()]
    foreign = sum(not letter.isascii() for letter in letters)
    if scripts == {True} and len(letters) > 2 and foreign > 0.6 * len(letters):
        cost += _CROWDED
    return cost


def _other_script(word: str) -> float:
    """Return what a word of another alphabet costs that no name looks like: in small letters, or without vowels."""
    bare = unicodedata.normalize("NFD", word.lower())
    consonants = max((len(run) for run in _CONSONANTS.findall(bare)), default=0)
    return (0.4 if word.islower() else 0.0) + (1.0 if consonants > 3 else 0.0) + (2.0 if _is_mark(word[0]) else 0.0)


def _symbol(symbol: str, before: str, after: str) -> float:
    """Return what a character costs that is no letter: little where people write it, much inside a word."""
    inside = before.isalpha() and after.isalpha()
    if symbol in _APOSTROPHES:
        return 0.2
    if symbol in _QUOTES:
        return _OUT_OF_PLACE / 2 if inside and symbol not in "\u00b7\u00ad\u00a0" else 0.2
    if symbol in _OPENING:
        return 0.5 if not before else _OUT_OF_PLACE
    if symbol in _MONEY:
        return _OUT_OF_PLACE if before.isalpha() or after.isalpha() else 0.2
    if symbol in _AFTER:
        return _OUT_OF_PLACE if after.isalpha() or (symbol == "\u2030" and before.isalpha()) else 0.7
    return _OUT_OF_PLACE if before.isalpha() or after.isalpha() else 1.5


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "\u1e00" <= letter <= "\u1eff"


def _is_mark(character: str) -> bool:
    return "\u0591" <= character <= "\u05c7" or "\u064b" <= character <= "\u0652" or "\u0e31" <= character <= "\u0e4e"


def _letters(word: str) -> Iterable[str]:
    return (_lower(letter) for letter in word if not letter.isascii() and letter.isalpha() and letter not in "ªº")


def _lower(letter: str) -> str:
    lower = letter.lower()
    return lower if len(lower) == 1 else letter


def _rarities(word: str, encoding: str) -> float:
    """Return what the characters of a word cost in an encoding of Chinese, Japanese or Korean: rare ones cost more."""
    if encoding not in WRITING:
        return 0.0
    rare = sum(_rarity(character, encoding) for character in word if not character.isascii())
    return rare if word[0] in WRITING[encoding].surnames else rare + 0.3


@lru_cache(maxsize=8192)
def _rarity(character: str, encoding: str) -> float:
    if character.isalpha() and _is_latin(character):
        return _OUT_OF_PLACE
    if "\u3040" <= character <= "\u30ff":
        return 0.0 if encoding == "cp932" else _OUT_OF_PLACE / 2
    if "\uff61" <= character <= "\uff9f" or not character.isalpha():
        return 3.0 if character.isalpha() else 1.0
    writing = WRITING[encoding]
    try:
        lead = character.encode(writing.standard)[0]
    except UnicodeEncodeError:
        return 3.0
    return 0.0 if writing.first <= lead <= writing.last else 1.5


def _languages_cost(words: Sequence[frozenset[str]], encoding: str, lines: Sequence[str]) -> float:
    """Return the least that languages and unexplained words cost: the languages that explain most words are chosen."""
    if encoding in WRITING:
        return _price(WRITING[encoding].language, lines)
    open_words = [word for word in words if word]
    cost = 0.0
    left = [language for language in LANGUAGES if encoding in language.encodings]
    prices = {language.name: _price(language, lines) for language in left}
    while open_words and left:
        gains = {
            language.name: sum(_foreign_cost(word) for word in open_words if word <= language.letters)
            - prices[language.name]
            for language in left
        }
        best = max(left, key=lambda language: gains[language.name])
        if gains[best.name] <= 0:
            break
        cost += prices[best.name]
        open_words = [word for word in open_words if not word <= best.letters]
        left.remove(best)
    return cost + sum(map(_foreign_cost, open_words))


def _foreign_cost(letters: frozenset[str]) -> float:
    return min(_FOREIGN_MOST, _FOREIGN * (len(letters) + 1))


def _price(language: Language, lines: Sequence[str]) -> float:
    """Return what a language costs: nothing if the lines show that the people live where it is spoken."""
    signed = sum(language.sign.search(line) is not None for line in lines[:500])
    return 0.0 if signed >= _SIGNED * min(len(lines), 500) else language.cost


def _same_text(data: bytes, one: str, other: str) -> bool:
    try:
        return data.decode(one) == data.decode(other)
    except UnicodeDecodeError:
        return False


def _unmarked_utf16(file: BinaryIO) -> str | None:
    """Return UTF-16 if the file is that without a byte order mark: every second byte of its header is NUL."""
    file.seek(0)
    start = file.read(_HALF).split(b"\n")[0]
    if len(start) < 8 or b"\0" not in start:
        return None
    even, odd = start[0:-1:2], start[1::2]
    if not odd.strip(b"\0") and all(even):
        return "utf-16-le"
    return "utf-16-be" if not even.strip(b"\0") and all(odd) else None
