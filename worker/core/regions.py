"""Reads the country of a person, as CRMs and people write it, into the region of a phone number. Never guesses.

Accepted are ISO codes of two and three letters, names in seven languages, a calling code with "+", and a flag. The
names come from the Unicode CLDR (Babel); ``_ALSO`` has the ones that people write besides.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from functools import cache, lru_cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, SUPPORTED_REGIONS

LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "nl")

_ALSO = """
    US: U.S., U.S.A., United States of America, America, EEUU, EE.UU., Estados Unidos de América, Etats Unis d'Amérique
    GB: Great Britain, Britain, England, Scotland, Wales, Northern Ireland, Grossbritannien, Schottland, Angleterre
    GB: Grande Bretagne, Inglaterra, Inghilterra, Gran Bretaña, Gran Bretagna, Engeland, Groot Brittannië
    AE: U.A.E., Emirates
    AT: Oesterreich
    BA: Bosnia, Bosnien
    BE: België, Belgie
    BG: България
    CH: Helvetia
    CI: Ivory Coast, Cote d'Ivoire
    CZ: Czech Republic, Tschechische Republik, République tchèque, República Checa, Česko, Česká republika
    DE: BRD, Bundesrepublik Deutschland, Federal Republic of Germany
    DK: Danmark
    EE: Eesti
    FI: Suomi
    GR: Hellas, Ελλάδα
    HK: Hong Kong, Hongkong
    HR: Hrvatska
    HU: Magyarország
    IE: Republic of Ireland, Éire
    KR: South Korea, Korea, Republic of Korea
    LT: Lietuva
    LV: Latvija
    MK: Macedonia, Mazedonien, Makedonien
    MM: Myanmar, Burma
    MO: Macau, Macao
    NL: Holland, The Netherlands, Nederland, Holanda, Olanda, Hollande
    NO: Norge
    PL: Polska
    PS: Palestine
    RO: România
    RU: Russian Federation, Russische Föderation, Россия
    SE: Sverige
    SI: Slovenija
    SK: Slovensko, Slovak Republic
    SZ: Swaziland
    TR: Turkey, Türkiye
    TW: Taiwan, Republic of China
    UA: Україна
    VN: Viet Nam
"""
_SEVERAL_OR_OTHER = frozenset({"congo", "zar"})
"""Names of several countries, and an old code (Zaire) that today means a currency."""
_LINKS = re.compile(r"\b(?:and|und|et|y|e|en|the)\b|\bsaint\b(?=.)")
_CALLING_CODE = re.compile(r"\+\s*([1-9][0-9]{0,2})")
_PARTS = re.compile(r"[()\[\]/|,;\u2013\u2014]| - ")
_FIRST_FLAG_LETTER, _LAST_FLAG_LETTER = 0x1F1E6, 0x1F1FF


@lru_cache(4096)
def region_of(country: str) -> str | None:
    """Return the region ("MX") that ``country`` names; None if it names none, or could be several.

    ``Mexico (MX)`` and ``DE - Germany`` are read if both parts name the same country.
    """
    text = country.strip()
    if (found := _named(text)) is not None:
        return found
    parts = {_named(part.strip()) for part in _PARTS.split(text) if part.strip()}
    return parts.pop() if len(parts) == 1 else None


def _named(text: str) -> str | None:
    if match := _CALLING_CODE.fullmatch(text):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(match[1]), ())
        return regions[0] if regions and regions[0] in SUPPORTED_REGIONS else None  # the main one: all parse alike
    if len(text) == 2 and all(_FIRST_FLAG_LETTER <= ord(letter) <= _LAST_FLAG_LETTER for letter in text):
        text = "".join(chr(ord(letter) - _FIRST_FLAG_LETTER + ord("A")) for letter in text)
    return _regions().get(_folded(text))


def _folded(text: str) -> str:
    linked = _LINKS.sub(lambda word: "st" if word[0] == "saint" else "", text.casefold())
    decomposed = unicodedata.normalize("NFKD", linked)
    return "".join(character for character in decomposed if character.isalnum())


@cache
def _regions() -> dict[str, str]:
    """Map each code and each name that means exactly one country to its region."""
    from babel import Locale  # loaded by connections with a country column alone
    from babel.core import get_global

    found: dict[str, set[str]] = defaultdict(set)
    for language in LANGUAGES:
        for region, name in Locale.parse(language).territories.items():
            found[_folded(name)].add(region)
    for line in _ALSO.strip().splitlines():
        region, _, names = line.strip().partition(": ")
        for name in names.split(", "):
            found[_folded(name)].add(region)
    for code, regions in get_global("territory_aliases").items():
        if len(code) == 3 and code.isalpha() and len(regions) == 1:
            found[code.casefold()].add(regions[0])
    names_of_one = {
        name: one for name, (one, *others) in found.items() if name and not others and name not in _SEVERAL_OR_OTHER
    }
    codes = {region.casefold(): region for region in SUPPORTED_REGIONS} | {"uk": "GB"}
    return {name: region for name, region in (names_of_one | codes).items() if region in SUPPORTED_REGIONS}
