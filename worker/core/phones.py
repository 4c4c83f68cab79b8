"""Parses phone numbers, as people and CRMs write them, into E.164, or returns why it cannot. It never guesses.

A wrong guess texts a stranger, so a text is accepted only if it can mean just one number. Variations that do not
change the meaning are accepted: digits of other scripts, any kind of space or dash, invisible direction marks,
``tel:``, a leading ``00``.

A number without "+" can mean two things: a number of the country, or an international one whose "+" is missing.

* Written exactly as people in the country write it, with its leading zero if it has one, it is a number of the country.
* Otherwise both readings are tried, and if both give a number, they must give the same one. There is one exception:
  ``491711234567`` in Germany is the mobile number ``+491711234567``, because the other reading is a landline.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
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

from worker.core.numbering import has_new_area_code

CACHE_SIZE = 65_536
LONGEST_TEXT = 100
LONGEST_FIELD = 1000  # invisible characters included

_STRICT = re.compile(r"\+([1-9][0-9]{6,14})")
_TEN_DIGITS = re.compile(
    r"(?:(?P<country>\+?1)[ .-]?)?(?:\((?P<in_brackets>[2-9][0-9]{2})\) ?|(?P<bare>[2-9][0-9]{2})[ .-]?)"
    r"(?P<exchange>[2-9][0-9]{2})[ .-]?(?P<line>[0-9]{4})"
)
_PLUSES = re.compile(r"^\+[ +]*\+")
_SCIENTIFIC = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?\s*[eE]\s*\+?[0-9]{1,2}")
_DECIMAL = re.compile(r"\+?[0-9]{7,15}[.,]0+")
_EXTENSION = re.compile(
    r"(?:;\s*ext=|[#x*]|\b(?:ext(?:ension|n)?|anexo|int|poste|durchwahl|dw)\b[.:]?)\s*[0-9]{1,7}\s*$|,+\s*[0-9]{1,6}\s*$",
    re.IGNORECASE,
)
_BETWEEN_NUMBERS = re.compile(
    r"[;,|&\n\r\t/\\~\u3001]|\b(?:or|and|oder|und|ou|et|y|o|e|en)\b|(?<=[0-9)])\s*(?=\+)", re.IGNORECASE
)
# A slash after an area code: "0171/1234567", "+49 (0)171/1234567", "333/1234567". The part before it is too short to be
# a number, the part after it too long to be the end of another one.
_AREA_SLASH = re.compile(
    r"(?:\(?0[0-9]{1,5}\)?|(?:\+|00)[1-9][0-9]{0,2}[ -]?(?:\(0\))?[ -]?\(?[0-9]{2,5}\)?) ?/(?: ?[0-9][ .-]?){4,}"
    r"|\(?[1-9][0-9]{1,3}\)? ?/(?: ?[0-9][ .-]?){6,}"
)
_PAIRS = re.compile(r"0[0-9](?:/[0-9]{2}){4}")  # "06/12/34/56/78", as in France and Belgium
_LAST_BRACKET = re.compile(r"[0-9] ?[(\[][0-9 ]+[)\]]$")
_LAST_DASH = re.compile(r" ?-+ ?[0-9]{1,2}$")
"""Landlines of Germany and Austria end so with a direct-dial number; after a mobile number it is the end of another."""
_ZERO_IN_BRACKETS = re.compile(r"[(\[] ?0 ?[)\]]")
"""Not dialled from abroad, except for landlines of Italy: "+39 (0) 312 3456789" may be one, or a mobile number."""
_THOUSANDS = re.compile(r"\+?[0-9]{1,3}(?:,[0-9]{3}){2,}(?:\.0+)?")
_SCHEME = re.compile(r"(?:tel|sms|smsto|callto|whatsapp):(?://)?", re.IGNORECASE)
_LARGEST_INTEGER = str(2**31 - 1)
"""What MySQL stores in an integer column in place of any larger number. It looks like a number of Dallas."""
_WHOLE_NUMBER_DIGITS = 7
LONGEST_E164 = 15
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone number that was recognised with certainty."""

    e164: str


@dataclass(frozen=True, slots=True)
class PhoneProblem:
    """The reason why a text is not one certain number. ``reason`` continues 'the field "phone" ...'."""

    code: str
    reason: str


_NOT_A_NUMBER = PhoneProblem("not_a_number", "does not hold a phone number; put the number alone into the field")


def parse_phone(text: str, default_region: str | None = None, country: str | None = None) -> Phone | PhoneProblem:
    """Return the number that ``text`` means.

    For numbers without a country code: ``country`` ("MX") is the person's own, ``default_region`` ("US") that of
    everybody whose country is not known.
    """
    if len(text) > LONGEST_FIELD:
        return _NOT_A_NUMBER
    return _parsed(text, default_region, country)


@lru_cache(CACHE_SIZE)
def _parsed(text: str, default_region: str | None, country: str | None) -> Phone | PhoneProblem:
    region = country or default_region
    other = default_region if default_region != region else None
    if other is not None:
        return _strict(text) or _written(text, region, other)
    return _north_american(text, region) or _strict(text) or _written(text, region)


def is_e164(text: str) -> bool:
    """Return True if this is exactly the E.164 form of a number that can be texted."""
    parsed = parse_phone(text, None)
    return isinstance(parsed, Phone) and parsed.e164 == text


def same_number(e164: str, written: str) -> bool:
    """Return True if ``written`` is the number ``e164``, in any format, also without its country code."""
    if written == e164:
        return True
    digits = _digits(written)
    if not digits or any(character.isalpha() for character in written):
        return False
    if digits.removeprefix("00") == e164[1:]:
        return True
    try:
        home = phonenumbers.parse(e164, None)
    except NumberParseException:
        return False
    national = phonenumbers.national_significant_number(home)
    return "+" not in written and digits.removeprefix("0") == national


def mentions_number(text: str, e164: str) -> bool:
    """Return True if a number occurs in ``text``, in any format, with or without its country code."""
    return any(_mentions(text, e164))


def without_number(text: str, e164: str, instead: str) -> str:
    """Replace a number in ``text``, in whatever format it occurs."""
    for match in reversed(list(_mentions(text, e164))):
        before = text[: match.start()].removesuffix("(") if ")" in match[0] else text[: match.start()]
        text = before.removesuffix("+") + instead + text[match.end() :]
    return text


def _mentions(text: str, e164: str) -> Iterator[re.Match[str]]:
    pattern, code = _mentioned(e164)
    for match in pattern.finditer(text):
        other = _OTHER_CODE.search(text, 0, match.start())
        if other is None or other[1] == code:
            yield match


_OTHER_CODE = re.compile(r"\+(\d{1,3})\W{0,3}\Z")


@lru_cache(64)
def _mentioned(e164: str) -> tuple[re.Pattern[str], str]:
    """Return a pattern for the digits of a number, in any format, and its country code."""
    try:
        parsed = phonenumbers.parse(e164, None)
    except NumberParseException:
        return re.compile(rf"(?<!\d){re.escape(e164.lstrip('+'))}(?!\d)"), ""
    code, national = str(parsed.country_code), phonenumbers.national_significant_number(parsed)
    prefix = rf"(?:(?:(?:00|011)\W{{0,3}})?{code}\W{{0,3}}(?:0\W{{0,2}})?|0)?"
    digits = r"\W{0,3}".join(national)
    return re.compile(rf"(?<!\d){prefix}{digits}(?!\d)"), code


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
    if match is None or text == _LARGEST_INTEGER or (match["country"] != "+1" and default_region not in ("US", "CA")):
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
    return judged.phone if isinstance(judged, _Reading) else None


def _written(text: str, region: str | None, other: str | None = None) -> Phone | PhoneProblem:
    """Take the long path. ``region`` decides about numbers without a country code; ``other`` can only cast doubt."""
    cleaned = _clean(text)
    if not cleaned:
        return PhoneProblem("empty", "is empty; add the phone number in the CRM")
    if len(cleaned) > LONGEST_TEXT or not any(character.isdigit() for character in cleaned):
        return _NOT_A_NUMBER
    return _several(cleaned, region, other) or _spoiled(cleaned) or _parse(cleaned, region, other)


def _clean(text: str) -> str:
    """Convert digits to ASCII and spaces and dashes to one kind; remove invisible characters and a URI's scheme."""
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
    if scheme := _SCHEME.match(cleaned):
        cleaned = unquote(cleaned[scheme.end() :]).strip()
    return _PLUSES.sub("+", cleaned)


_FULL_WIDTH = {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)} | {"\u207a": "+"}


def _several(cleaned: str, region: str | None, other: str | None) -> Phone | PhoneProblem | None:
    """Return a problem if the field holds more than one number, unless all are the same number.

    "0664 123456/68" are two numbers, too.
    """
    if any(form.fullmatch(cleaned) for form in (_AREA_SLASH, _PAIRS, _SCIENTIFIC, _DECIMAL, _THOUSANDS)):
        return None
    if _EXTENSION.search(cleaned):
        return None
    parts = [part.strip() for part in _BETWEEN_NUMBERS.split(cleaned)]
    parts = [part for part in parts if any(map(str.isdigit, part))]
    if len(parts) < 2:
        return None
    found = {_spoiled(part) or _parse(part, region, other) for part in parts}
    if len(found) == 1 and isinstance(only := found.pop(), Phone):
        return only
    return PhoneProblem("several", "holds more than one number; leave the one that should be texted")


def _spoiled(cleaned: str) -> PhoneProblem | None:
    """Return a problem for text that the parser would accept but read wrongly."""
    if _SCIENTIFIC.fullmatch(cleaned):
        return PhoneProblem(
            "spreadsheet",
            "is in scientific notation and has lost digits; store phone numbers as text and enter it again",
        )
    if _DECIMAL.fullmatch(cleaned):
        return PhoneProblem(
            "spreadsheet",
            "was turned into a decimal by a spreadsheet (it ends in .0); format the column as text",
        )
    if cleaned == _LARGEST_INTEGER:
        return PhoneProblem(
            "spreadsheet",
            "is the largest number that a column of 32-bit integers can hold; store phone numbers as text",
        )
    if _THOUSANDS.fullmatch(cleaned):
        return PhoneProblem(
            "spreadsheet",
            "was turned into an amount with commas by a spreadsheet; format the column as text",
        )
    if _EXTENSION.search(cleaned):
        return PhoneProblem("extension", "holds an extension, and extensions cannot be texted; enter a direct number")
    if any(character.isalpha() for character in cleaned):
        if sum(map(str.isdigit, cleaned)) >= _WHOLE_NUMBER_DIGITS:
            return PhoneProblem("words", "holds words next to the number; leave only the number in the field")
        return PhoneProblem("vanity", "spells the number with letters; write it in digits")
    return None


def _parse(cleaned: str, region: str | None, other: str | None) -> Phone | PhoneProblem:
    cleaned = cleaned.rstrip(" ,;/|&")
    if not re.fullmatch(r"[\[(]*\+?[0-9 ()\[\]./-]+", cleaned):
        return PhoneProblem("not_a_number", "holds characters that no phone number has; leave only the number")
    if _LAST_BRACKET.search(cleaned):
        return PhoneProblem("several", "ends with digits in brackets; leave only the number that should be texted")
    number = cleaned.replace("/", " ")
    found = _read(number, region, other)
    for part in (_LAST_DASH, _ZERO_IN_BRACKETS):
        shorter = part.sub("", number)
        without = _read(shorter, region, other) if shorter != number and isinstance(found, Phone) else found
        if isinstance(found, Phone) and isinstance(without, Phone) and without != found:
            if part is _ZERO_IN_BRACKETS:
                return _ambiguous(found, without)
            if _is_mobile(without):
                return PhoneProblem("several", "ends with digits of another number; leave the one to be texted")
    return found


def _is_mobile(phone: Phone) -> bool:
    return phonenumbers.number_type(phonenumbers.parse(phone.e164)) in _MOBILE


def _read(number: str, region: str | None, other: str | None) -> Phone | PhoneProblem:
    if "+" in number:
        return _international(number, region, other)
    return _national(number, region, other)


def _international(number: str, region: str | None, other: str | None) -> Phone | PhoneProblem:
    """Read a number with "+". In doubt, if "+" seems to stand before an area code: "+(415) 555-2671" is in the US."""
    judged = _parse_as(number, None)
    if not isinstance(judged, _Reading):
        return judged
    bare = number.replace("+", "", 1)
    for place in (region, other) if judged.splits_a_group(number) else ():
        home = None if place is None else _parse_as(bare, place)
        if isinstance(home, _Reading) and home.as_at_home(bare) and home.phone != judged.phone:
            return _ambiguous(judged.phone, home.phone)
    return judged.phone


def _national(number: str, region: str | None, other: str | None) -> Phone | PhoneProblem:
    """Read a number without "+": as one of the region, and as an international one."""
    digits = re.sub(r"[^0-9]", "", number)
    home = _parse_as(number, region)
    if isinstance(home, _Reading) and home.as_at_home(number):
        return home.phone
    abroad = _parse_as("+" + digits.removeprefix("00"), None) if region is not None else home
    elsewhere = _parse_as(number, other) if other is not None else home
    if not isinstance(home, _Reading):
        if isinstance(abroad, _Reading) and digits.startswith("00"):
            return abroad.phone
        return home
    if isinstance(elsewhere, _Reading) and elsewhere.phone != home.phone and elsewhere.as_at_home(number):
        return _ambiguous(home.phone, elsewhere.phone)
    if isinstance(abroad, _Reading) and abroad.phone != home.phone:
        own_mobile = abroad.country_code == home.country_code and abroad.is_mobile and not home.is_mobile
        return abroad.phone if own_mobile else _ambiguous(home.phone, abroad.phone)
    return home.phone


def _ambiguous(one: Phone, another: Phone) -> PhoneProblem:
    return PhoneProblem(
        "ambiguous",
        f'can mean {mask(one.e164)} or {mask(another.e164)}; write it with "+" and the country code',
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read a text."""

    phone: Phone
    number: phonenumbers.PhoneNumber
    kind: int

    @property
    def country_code(self) -> int:
        return int(self.number.country_code or 0)

    @property
    def is_mobile(self) -> bool:
        """True for a number that can be a mobile one; in some countries, nobody can tell."""
        return self.kind in _MOBILE

    def as_at_home(self, written: str) -> bool:
        """Return True if people in the number's country write it with exactly these digits."""
        national = phonenumbers.format_number(self.number, phonenumbers.PhoneNumberFormat.NATIONAL)
        return _digits(national) == _digits(written)

    def splits_a_group(self, written: str) -> bool:
        """Return True if the country code is only a part of the first group of digits: "+(415) 555-2671"."""
        groups = re.findall(r"[0-9]+", written)
        return len(groups) > 1 and len(groups[0]) > len(str(self.country_code)) and len(groups[0]) <= 4


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def _parse_as(number: str, region: str | None) -> _Reading | PhoneProblem:
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


def _judge(number: phonenumbers.PhoneNumber) -> _Reading | PhoneProblem:
    """Check that the number can exist and be texted. Toll-free numbers are allowed: businesses enable texts on them.

    A country may allow numbers that are too long for E.164, which nobody can text.
    """
    kind = phonenumbers.number_type(number)  # UNKNOWN exactly if is_valid_number is False
    if kind == PhoneNumberType.PREMIUM_RATE:
        return PhoneProblem("premium", "is a premium-rate number, which is never texted; enter another number")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if len(e164) > 1 + LONGEST_E164:
        return PhoneProblem("too_long", "has too many digits for one number; correct the number")
    if kind != PhoneNumberType.UNKNOWN:
        return _Reading(Phone(e164), number, kind)
    if has_new_area_code(e164):
        return _Reading(Phone(e164), number, PhoneNumberType.FIXED_LINE_OR_MOBILE)
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible in (ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY):
        return PhoneProblem("too_short", "has too few digits; enter the whole number with its area code")
    if possible == ValidationResult.TOO_LONG:
        return PhoneProblem("too_long", "has too many digits for one number; correct the number")
    return PhoneProblem("invalid", "is not a number that exists in its country; correct the number")
