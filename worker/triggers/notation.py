"""How people of a region write numbers and money, by the Unicode CLDR (Babel). Pure.

A region in which several languages differ, such as Canada or Switzerland, has no single decimal mark.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from worker.core.regions import LANGUAGES

if TYPE_CHECKING:
    from babel import Locale

_BOTH_IN_USE = frozenset({"ZA"})
"""Regions with one mark by law, where many people write the other one."""
_SIGNS = {
    **{"$": "$", "us$": "USD", "$us": "USD", "u$s": "USD", "ca$": "CAD", "c$": "CAD", "a$": "AUD", "au$": "AUD"},
    **{"j$": "JMD", "tt$": "TTD", "bds$": "BBD", "ec$": "XCD", "bz$": "BZD"},
    **{"nz$": "NZD", "hk$": "HKD", "s$": "SGD", "mx$": "MXN", "r$": "BRL", "nt$": "TWD"},
    **{"€": "EUR", "£": "£", "¥": "¥", "₹": "INR", "₽": "RUB", "₺": "TRY", "₩": "KRW", "₪": "ILS", "₫": "VND"},
    **{"₱": "PHP", "₦": "NGN", "₴": "UAH", "฿": "THB", "₡": "CRC", "₲": "PYG", "₵": "GHS"},
    **{"kr": "kr", "rs": "Rs", "fr": "CHF", "sfr": "CHF", "zł": "PLN", "zl": "PLN", "kč": "CZK", "ft": "HUF"},
    **{"円": "JPY", "元": "CNY", "원": "KRW", "руб": "RUB", "грн": "UAH", "лв": "BGN", "lei": "RON"},  # noqa: RUF001
    **{"euro": "EUR", "euros": "EUR", "usdollars": "USD", "canadiandollars": "CAD", "pounds": "£"},
    **{code.lower(): code for code in "USD EUR GBP CAD AUD NZD CHF SEK NOK DKK PLN JPY CNY INR MXN BRL ZAR".split()},
}
"""What people write for a currency, folded, and the currency; for a sign that several currencies have, the sign."""
_SEVERAL = {
    "$": frozenset("USD CAD AUD NZD HKD SGD TWD MXN ARS CLP COP UYU DOP JMD BBD BSD BZD TTD XCD FJD NAD".split()),
    "kr": frozenset("SEK NOK DKK ISK".split()),
    "£": frozenset("GBP EGP FKP GIP SHP SYP LBP SSP SDG".split()),
    "¥": frozenset("JPY CNY".split()),
    "Rs": frozenset("INR PKR LKR NPR MUR SCR".split()),
}
"""Signs that several currencies have."""


@lru_cache(maxsize=512)
def decimal_mark(region: str | None, *, sign_first: bool | None = None) -> str | None:
    """Return "." or ",": what comes before the decimals of a number. None: both are in use, or it is not known.

    ``sign_first``: where a currency stands. English Canadians write ``$1,234.50``, and French ones ``1 234,50 $``.
    """
    if region in _BOTH_IN_USE:
        return None
    marks = {
        locale.number_symbols["latn"]["decimal"]
        for locale in locales_of(region)
        if "latn" in locale.number_symbols and sign_first in (None, _writes_sign_first(locale))
    }
    mark: str | None = marks.pop() if len(marks) == 1 else None
    return mark if mark in (".", ",") else None


def _writes_sign_first(locale: Locale) -> bool:
    before, _, _ = str(locale.currency_formats["standard"].pattern).partition("0")
    return "\u00a4" in before


@lru_cache(maxsize=512)
def currency_of(region: str | None) -> str | None:
    """Return the code of a region's currency, such as ``USD``; None without a region, or if it has several."""
    if region is None:
        return None
    from babel.numbers import get_territory_currencies

    found = get_territory_currencies(region)
    return found[0] if len(found) == 1 else None


def currency_named(text: str, region: str | None) -> str | None:
    """Return the currency that people of a region write as ``text``: its code, or a sign that several have, as "$".

    None if it is no currency.
    """
    bare = "".join(character for character in text if character.isprintable() and not character.isspace())
    return bare if bare in _codes() else _signs(region).get(_folded(bare))


def may_be_currency(sign: str, code: str) -> bool:
    """Return True if ``sign`` is one that several currencies have, and ``code`` is one of them."""
    return code in _SEVERAL.get(sign, ())


@lru_cache(maxsize=512)
def number_locale(region: str | None) -> Locale:
    """Return the locale in which numbers and money are written for the people of a region; English without one."""
    from babel import Locale

    locales = locales_of(region)
    known = (locale for locale in locales if locale.language in LANGUAGES)
    return next(known, locales[0] if locales else Locale.parse("en"))


@lru_cache(maxsize=512)
def date_locale(region: str | None) -> Locale:
    """Return the locale in which dates are written for the people of a region.

    Its language is one of ``LANGUAGES``, else English, since texts are seldom in another.
    """
    from babel import Locale
    from babel.localedata import exists

    for locale in locales_of(region):
        if locale.language in LANGUAGES:
            return locale
    fitting = f"en_{region}" if region else "en"
    return Locale.parse(fitting if exists(fitting) else "en_001")


@lru_cache(maxsize=512)
def _signs(region: str | None) -> Mapping[str, str]:
    """Return the folded signs of currencies, and what each means in a region."""
    found = dict(_SIGNS)
    own, locales = currency_of(region), locales_of(region)
    if locales:
        found |= {_folded(sign): code for code, sign in locales[0].currency_symbols.items() if sign not in _codes()}
    for locale in locales:
        if own is not None and locale.currency_symbols.get(own, own) != own:
            found[_folded(locale.currency_symbols[own])] = own
    return found | {"dollar": found["$"], "dollars": found["$"]}


@cache
def _codes() -> frozenset[str]:
    from babel.numbers import list_currencies

    return frozenset(list_currencies())


def _folded(sign: str) -> str:
    shown = "".join(character for character in sign if character.isprintable() and not character.isspace())
    return unicodedata.normalize("NFKC", shown).casefold().rstrip(".")


@lru_cache(maxsize=512)
def locales_of(region: str | None) -> tuple[Locale, ...]:
    """Return the locales of the official languages of a region, the most spoken one first."""
    from babel import Locale, UnknownLocaleError
    from babel.core import get_global

    languages = get_global("territory_languages").get(region or "", {})
    official = [
        (-about["population_percent"], language)
        for language, about in languages.items()
        if about["official_status"] in ("official", "de_facto_official")
    ]
    found = []
    for _, language in sorted(official):
        with suppress(UnknownLocaleError):
            found.append(Locale.parse(f"{language}_{region}"))
    return tuple(found)
