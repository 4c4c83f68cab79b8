"""Reads what a CRM field says about texts: ``do_not_text`` and ``consent``. Pure.

Both fail closed. A filled do-not-text field forbids texts unless its value is a known "no". A consent field allows them
only if its value is a known "yes". An explicit list of values (``values`` of the rule) replaces these words.

The words are compared without regard to case, accents, punctuation and the kind of spaces: ``Opted-Out`` is ``opted
out``. A field may hold several values: a list, ``a;b``, ``a, b``, a JSON array, or an array of PostgreSQL (``{a,b}``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from crm_adapters.words import SAYS_NO, SAYS_NOTHING, SAYS_YES, plain_word


class Meaning(StrEnum):
    """What one value says by itself."""

    NOTHING = "nothing"
    """The field is empty."""
    YES = "yes"
    NO = "no"
    REFUSAL = "refusal"
    """The person must not be texted, whatever the field is: ``opted out``."""
    PERMISSION = "permission"
    """The person may be texted, whatever the field is: ``opted in``."""
    OTHER = "other"
    """Something else, such as a date, a note, or a word in another language."""


def _words(*lists: str) -> frozenset[str]:
    return frozenset(word.strip() for words in lists for word in words.split("|"))


WORDS: Mapping[Meaning, frozenset[str]] = {
    Meaning.NOTHING: SAYS_NOTHING,
    Meaning.YES: SAYS_YES,
    Meaning.NO: SAYS_NO,
    Meaning.REFUSAL: _words(
        "opted out | opt out | optout | optedout | opted out of sms | sms opt out | unsubscribed | unsubscribe",
        "do not text | do not call | do not contact | do not sms | do not message | do not send | do not allow",
        "dont text | dont call | dont contact | don't text | don't call | don't contact | no sms | no texts",
        "not opted in | not subscribed | no consent | consent withdrawn | consent revoked | dnc | dnt | stop",
        "blacklisted | deceased",
        "abgemeldet | nicht kontaktieren | nicht anrufen | keine sms",
        "desabonne | desinscrit | ne pas contacter | ne pas appeler | pas de sms",
        "desuscrito | dado de baja | no contactar | no llamar | no enviar sms",
        "descadastrado | nao contatar | nao contactar | nao ligar | nao enviar sms",
        "disiscritto | non contattare | non chiamare | niente sms",
        "afgemeld | uitgeschreven | niet contacteren | niet bellen | geen sms",
    ),
    Meaning.PERMISSION: _words(
        "opted in | opt in | optin | optedin | opted in to sms | sms opt in | subscribed | allow | allowed | send",
        "consent given | consent granted | not opted out | double opt in | single opt in",
        "erlaubt | eingewilligt | autorise | autorizado | autorizzato | toegestaan",
    ),
}
"""What values mean, in English, German, French, Spanish, Portuguese, Italian and Dutch.

``NO`` and ``PERMISSION`` in a do-not-text field allow a text, and so do ``YES`` and ``PERMISSION`` in a consent field.
So a word is only here if it cannot mean the opposite. "Active" and "disabled" depend on the field, and so does
"registered": the list may be one of people who want no texts.
"""

_BY_WORD = {word: meaning for meaning, words in WORDS.items() for word in words}
# BIT and BINARY columns, and the ways in which exports and scripts write them.
_ZERO_BYTES = frozenset({"\x00", r"\x00", r"\0", r"b'\x00'", r'b"\x00"', "b'0'", "b'false'", "0x0", "0x00"})
_ONE_BYTES = frozenset({"\x01", r"\x01", r"\1", r"b'\x01'", r'b"\x01"', "b'1'", "b'true'", "0x1", "0x01"})
_ZERO = re.compile(r"[+-]?0+(?:[.,]0*)?(?:e[+-]?\d+)?|0000-00-00(?:[ t]00:00:00(?:\.0+)?)?")
_ONE = re.compile(r"\+?0*1(?:[.,]0*)?(?:e[+-]?0+)?")
_WHOLE_NUMBER = re.compile(r"([0-9]+)[.,]0+")
_SPACES = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")
_AROUND = " \t\"'`\u00b4\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb()[].,;:!=*\u2026\u200b\ufeff"
_SEPARATORS = re.compile(r"[;|\r\n,]")
_ARRAY_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')
_LONGEST_WORD = 64  # characters; longer text is a note
_MARKS = re.compile(r"!+|\*[* ]*|[\"\u201c\u201d\u201e]")
"""A cell that holds only this is marked by hand. One quotation mark repeats what the line above says."""
_FORBIDDING = frozenset({Meaning.YES, Meaning.REFUSAL, Meaning.OTHER})
_ALLOWING = frozenset({Meaning.YES, Meaning.PERMISSION})


def forbids_texts(value: object, values: tuple[str, ...] = ()) -> bool:
    """Return True if a do-not-text field with this value forbids texts.

    Without ``values``: unless the field is empty or every one of its values is a known "no". With ``values``: if one of
    its values is in that list, or refuses texts in any field ("opted out"). If the list has one of the words for yes,
    all of them count (and so with no, where a field says who may be texted).
    """
    found = list(members(value))
    if not values:
        return any(meaning_of(one) in _FORBIDDING for one in found)
    meanings = {meaning_of(one) for one in values} & {Meaning.YES, Meaning.NO} | {Meaning.REFUSAL}
    return any(is_listed(one, values) or meaning_of(one) in meanings for one in (value, *found))


def allows_texts(value: object, values: tuple[str, ...] = ()) -> bool:
    """Return True if a consent field with this value allows texts.

    Without ``values``: if it is filled and every one of its values is a known "yes". With ``values``: if one of its
    values is in that list and no other one refuses texts; if the list has only words for yes or no, all must be in it.
    """
    found = [one for one in members(value) if meaning_of(one) is not Meaning.NOTHING]
    if not values:
        return bool(found) and all(meaning_of(one) in _ALLOWING for one in found)
    if is_listed(value, values):
        return True
    listed = [one for one in found if is_listed(one, values)]
    if all(meaning_of(one) in (Meaning.YES, Meaning.NO) for one in values):
        return bool(found) and len(listed) == len(found)
    return bool(listed) and all(one in listed or meaning_of(one) is not Meaning.REFUSAL for one in found)


def is_empty(value: object) -> bool:
    """Return True if a field with this value says nothing."""
    return all(meaning_of(one) is Meaning.NOTHING for one in members(value))


def is_known_answer(value: object) -> bool:
    """Return True if every value of a field is one of the known words."""
    return all(meaning_of(one) is not Meaning.OTHER for one in members(value))


def meaning_of(value: object) -> Meaning:
    """Return what one value says by itself."""
    if value is None:
        return Meaning.NOTHING
    if isinstance(value, bool):
        return Meaning.YES if value else Meaning.NO
    if isinstance(value, int | float):
        if value == 0:
            return Meaning.NO
        return Meaning.NOTHING if math.isnan(value) else Meaning.YES if value == 1 else Meaning.OTHER
    if isinstance(value, Mapping):  # {"sms": false}: which of its keys is about texts is not known
        every = {meaning_of(one) for one in members(value, whole_mappings=False)}
        return Meaning.NO if every <= {Meaning.NOTHING, Meaning.NO} else Meaning.OTHER
    return _meaning_of_text(value) if isinstance(value, str) else Meaning.OTHER


def members(value: object, *, whole_mappings: bool = True) -> Iterator[object]:
    """Yield the single values of a field, in order. An empty list has none."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and (read := _read_several(one)) is not None:
            one = read
        if isinstance(one, list | tuple):
            waiting += reversed(one)
        elif isinstance(one, Mapping) and not whole_mappings:
            waiting += one.values()
        else:
            yield one


def is_listed(value: object, values: tuple[str, ...]) -> bool:
    """Return True if ``values`` has this single value, in any spelling."""
    return isinstance(value, str | int | float) and _plain(str(value)) in map(_plain, values)


@lru_cache(maxsize=4096)
def _meaning_of_text(text: str) -> Meaning:
    bare = text.strip(" ").casefold()
    if bare in _ZERO_BYTES:
        return Meaning.NO
    if bare in _ONE_BYTES:
        return Meaning.YES
    plain = _plain(text)
    if not plain and _MARKS.fullmatch(bare.strip("()[] ")):
        return Meaning.OTHER
    # An asterisk is a footnote that nobody can read here: it never turns into a permission.
    harmless = Meaning.OTHER if "*" in text else Meaning.NO
    if plain in _BY_WORD:
        found = _BY_WORD[plain]
        return harmless if found is Meaning.NO or ("*" in text and found is Meaning.PERMISSION) else found
    number = bare.strip(_AROUND)
    if _ZERO.fullmatch(number):
        return harmless
    return Meaning.YES if _ONE.fullmatch(number) else Meaning.OTHER


def _plain(text: str) -> str:
    """Return text in the form in which it is compared."""
    if len(text) > _LONGEST_WORD:
        return text.strip().casefold()
    plain = _SPACES.sub(" ", plain_word(text)).strip(_AROUND)
    whole = _WHOLE_NUMBER.fullmatch(plain)
    return whole[1] if whole else plain


def _read_several(text: str) -> list[Any] | dict[str, Any] | None:
    """Return the values in a text that holds several; None if it is one value."""
    stripped = text.strip()
    if stripped[:1] in ("[", "{"):
        try:
            read = orjson.loads(stripped)
        except orjson.JSONDecodeError:
            read = None
        if isinstance(read, list | dict):
            return read
        if stripped[0] == "{" and stripped[-1] == "}":
            return [quoted or bare for quoted, bare in _ARRAY_ITEM.findall(stripped[1:-1])]
    if not _SEPARATORS.search(stripped) or _meaning_of_text(text) is not Meaning.OTHER:
        return None
    parts = [part for part in _SEPARATORS.split(stripped) if part.strip()]
    return parts if len(parts) > 1 else None
