"""Parses phone numbers, as people and CRMs write them, into E.164, or returns why it cannot. It never guesses.

A wrong guess texts a stranger, so a text is accepted only if it can mean just one number. Variations that do not
change the meaning are accepted: digits of other scripts, any kind of space or dash, invisible direction marks,
``tel:``, a leading ``00``.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from urllib.parse import unquote

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberType,
    ValidationResult,
)

CACHE_SIZE = 65_536
LONGEST_TEXT = 100

_STRICT = re.compile(r"\+([1-9][0-9]{6,14})")
_TEN_DIGITS = re.compile(
    r"(?:(?P<country>\+?1)[ .-]?)?(?:\((?P<in_brackets>[2-9][0-9]{2})\) ?|(?P<bare>[2-9][0-9]{2})[ .-]?)"
    r"(?P<exchange>[2-9][0-9]{2})[ .-]?(?P<line>[0-9]{4})"
)
_SCIENTIFIC = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?\s*[eE]\s*\+?[0-9]{1,2}")
_DECIMAL = re.compile(r"\+?[0-9]{7,15}[.,]0+")
_EXTENSION = re.compile(
    r"(?:;\s*ext=|[#x*]|\b(?:ext(?:ension|n)?|anexo|int|poste|durchwahl|dw)\b[.:]?)\s*[0-9]{1,7}\s*$|,+\s*[0-9]{1,6}\s*$",
    re.IGNORECASE,
)
_BETWEEN_NUMBERS = re.compile(r"[;,|&\n\r\t/]|\b(?:or|and|oder|und|ou|et|y|o)\b|(?<=[0-9)])\s*(?=\+)", re.IGNORECASE)
# "0171/1234567": a slash after a trunk or country code is how some countries write an area code.
_AREA_SLASH = re.compile(r"(?:\(?0[0-9 ()-]{1,7}|\+[0-9 ()-]{2,10})/[1-9 -][0-9 .-]{3,}")
_WHOLE_NUMBER_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone number that was recognised with certainty."""

    e164: str


@dataclass(frozen=True, slots=True)
class PhoneProblem:
    """The reason why a text is not one certain number. ``reason`` continues 'the field "phone" ...'."""

    code: str
    reason: str


@lru_cache(CACHE_SIZE)
def parse_phone(text: str, default_region: str | None = None) -> Phone | PhoneProblem:
    """Return the number that ``text`` means. ``default_region`` ("US") applies to numbers without a country code."""
    return _north_american(text, default_region) or _strict(text) or _written(text, default_region)


def is_e164(text: str) -> bool:
    """Return True if this is exactly the E.164 form of a number that can be texted."""
    parsed = parse_phone(text, None)
    return isinstance(parsed, Phone) and parsed.e164 == text


def mask(phone: str) -> str:
    """Mask a number for logs: ``+1415•••2671``."""
    if len(phone) >= 12:
        return f"{phone[:5]}•••{phone[-4:]}"
    return f"{phone[:3]}•••{phone[-2:]}" if len(phone) >= 8 else "•••"


def _north_american(text: str, default_region: str | None) -> Phone | None:
    """Take the fastest path: ten digits as written in the US and Canada, of a kind that can be texted.

    Everything else is left to the parser, which gives the same result but is a dozen times slower.
    """
    match = _TEN_DIGITS.fullmatch(text)
    if match is None or (match["country"] != "+1" and default_region not in ("US", "CA")):
        return None
    national = (match["in_brackets"] or match["bare"]) + match["exchange"] + match["line"]
    ordinary, others = _us_patterns()
    if ordinary.fullmatch(national) is None or others.fullmatch(national) is not None:
        return None
    return Phone("+1" + national)


@cache
def _us_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of ordinary US numbers, and of all other kinds (premium rate, toll-free, pagers ...)."""
    us: Any = PhoneMetadata.metadata_for_region("US")  # its type declares every part as optional
    kinds = (us.premium_rate, us.toll_free, us.shared_cost, us.voip, us.personal_number, us.pager, us.uan, us.voicemail)
    others = [kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern]
    return re.compile(us.fixed_line.national_number_pattern), re.compile("|".join(f"(?:{one})" for one in others))


def _strict(text: str) -> Phone | None:
    """Take the fast path: text in E.164 form needs no parsing, only a check that such numbers exist."""
    match = _STRICT.fullmatch(text)
    if match is None:
        return None
    digits = match[1]
    for length in (1, 2, 3):
        if int(digits[:length]) in COUNTRY_CODE_TO_REGION_CODE:
            break
    else:
        return None
    national = digits[length:]
    if not national or national.startswith("0"):  # Italy's zeros and misplaced trunk zeros need the parser
        return None
    number = phonenumbers.PhoneNumber(country_code=int(digits[:length]), national_number=int(national))
    judged = _judge(number)
    return judged if isinstance(judged, Phone) else None


def _written(text: str, default_region: str | None) -> Phone | PhoneProblem:
    cleaned = _clean(text)
    if not cleaned:
        return PhoneProblem("empty", "is empty; add the phone number in the CRM")
    if len(cleaned) > LONGEST_TEXT or not any(character.isdigit() for character in cleaned):
        return PhoneProblem("not_a_number", "does not hold a phone number; put the number alone into the field")
    return _several(cleaned, default_region) or _spoiled(cleaned) or _parse(cleaned, default_region)


def _clean(text: str) -> str:
    """Convert digits to ASCII and spaces and dashes to one kind; remove invisible characters and ``tel:``."""
    characters = []
    for character in text:
        category = unicodedata.category(character)
        if category == "Nd":
            characters.append(str(unicodedata.digit(character)))
        elif category == "Zs":
            characters.append(" ")
        elif category == "Pd" or character == "\u2212":
            characters.append("-")
        elif category != "Cf":
            characters.append(_FULL_WIDTH.get(character, character))
    cleaned = "".join(characters).strip().removeprefix("'").strip()
    if cleaned[:4].lower() == "tel:":
        return unquote(cleaned[4:]).removeprefix("//").strip()
    return cleaned


_FULL_WIDTH = {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)} | {"\u207a": "+"}


def _several(cleaned: str, default_region: str | None) -> Phone | PhoneProblem | None:
    """Return a problem if the field holds more than one number, unless all are the same number."""
    if _AREA_SLASH.fullmatch(cleaned):
        return None
    parts = [part.strip() for part in _BETWEEN_NUMBERS.split(cleaned)]
    parts = [part for part in parts if sum(map(str.isdigit, part)) >= _WHOLE_NUMBER_DIGITS]
    if len(parts) < 2:
        return None
    found = {_spoiled(part) or _parse(part, default_region) for part in parts}
    if len(found) == 1 and isinstance(only := found.pop(), Phone):
        return only
    return PhoneProblem("several", "holds more than one number; leave the one that should be texted")


def _spoiled(cleaned: str) -> PhoneProblem | None:
    """Return a problem for text that the parser would accept but read wrongly."""
    if _SCIENTIFIC.fullmatch(cleaned):
        return PhoneProblem(
            "spreadsheet",
            "was turned into scientific notation by a spreadsheet and lost digits; enter it again, as text",
        )
    if _DECIMAL.fullmatch(cleaned):
        return PhoneProblem(
            "spreadsheet",
            "was turned into a decimal by a spreadsheet (it ends in .0); format the column as text",
        )
    if _EXTENSION.search(cleaned):
        return PhoneProblem("extension", "holds an extension, and extensions cannot be texted; enter a direct number")
    if any(character.isalpha() for character in cleaned):
        if sum(map(str.isdigit, cleaned)) >= _WHOLE_NUMBER_DIGITS:
            return PhoneProblem("words", "holds words next to the number; leave only the number in the field")
        return PhoneProblem("vanity", "spells the number with letters; write it in digits")
    return None


def _parse(cleaned: str, default_region: str | None) -> Phone | PhoneProblem:
    if not re.fullmatch(r"[\[(]*\+?[0-9 ()\[\]./~-]+", cleaned):
        return PhoneProblem("not_a_number", "holds characters that no phone number has; leave only the number")
    number = cleaned.replace("/", " ")
    judged = _parse_as(number, default_region)
    digits = re.sub(r"[^0-9+]", "", number)
    if isinstance(judged, PhoneProblem) and default_region is not None and digits.startswith("00"):
        international = _parse_as("+" + digits[2:], None)
        return international if isinstance(international, Phone) else judged
    return judged


def _parse_as(number: str, region: str | None) -> Phone | PhoneProblem:
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            if "+" in number:
                return PhoneProblem("invalid", "starts with a country code that does not exist; correct the number")
            return PhoneProblem(
                "no_country",
                'has no country code and there is no default_region; write it with "+" and the country code',
            )
        if error.error_type == NumberParseException.TOO_LONG:
            return PhoneProblem("too_long", "has too many digits for one number; correct the number")
        return PhoneProblem("too_short", "has too few digits; enter the whole number with its area code")
    return _judge(parsed)


def _judge(number: phonenumbers.PhoneNumber) -> Phone | PhoneProblem:
    """Check that the number can exist and be texted. Toll-free numbers are allowed: businesses enable texts on them."""
    kind = phonenumbers.number_type(number)  # UNKNOWN exactly if is_valid_number is False
    if kind == PhoneNumberType.PREMIUM_RATE:
        return PhoneProblem("premium", "is a premium-rate number, which is never texted; enter another number")
    if kind != PhoneNumberType.UNKNOWN:
        return Phone(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible in (ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY):
        return PhoneProblem("too_short", "has too few digits; enter the whole number with its area code")
    if possible == ValidationResult.TOO_LONG:
        return PhoneProblem("too_long", "has too many digits for one number; correct the number")
    return PhoneProblem("invalid", "is not a number that exists in its country; correct the number")
