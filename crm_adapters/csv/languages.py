"""Languages, their letters and the encodings that write them: what the guess of an encoding knows.

To teach it a language, add a row. ``python -m pytest tests/adapters/test_csv_encoding.py`` shows what it changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

ENCODINGS: dict[str, tuple[float, str]] = {
    "cp1252": (0.0, "Windows, Western Europe"),
    "cp1250": (0.3, "Windows, Central Europe"),
    "cp1251": (0.3, "Windows, Cyrillic"),
    "cp1254": (0.3, "Windows, Turkish"),
    "cp1257": (0.4, "Windows, Baltic"),
    "cp1253": (0.4, "Windows, Greek"),
    "cp1255": (0.4, "Windows, Hebrew"),
    "cp1256": (0.4, "Windows, Arabic"),
    "cp874": (1.0, "Windows, Thai"),
    "cp932": (0.5, "Japanese, Shift JIS"),
    "gb18030": (0.5, "Chinese, GBK"),
    "big5": (0.5, "Chinese, Big5"),
    "cp949": (0.5, "Korean"),
    "iso8859-2": (0.8, "ISO, Central Europe"),
    "iso8859-15": (0.9, "ISO, Western Europe"),
    "cp850": (1.0, "DOS, Western Europe"),
    "cp852": (1.2, "DOS, Central Europe"),
    "cp437": (1.3, "DOS, United States"),
    "cp866": (1.0, "DOS, Cyrillic"),
    "koi8-u": (1.0, "KOI8, Cyrillic"),
    "cp857": (1.4, "DOS, Turkish"),
    "cp775": (1.5, "DOS, Baltic"),
    "cp737": (1.5, "DOS, Greek"),
    "mac_roman": (1.5, "Macintosh"),
}
"""The encodings that are tried, each with its cost (how unusual it is) and its name for people."""


class _Row(NamedTuple):
    name: str
    cost: float
    letters: str
    signs: str


_ROWS = [
    _Row("German", 1.0, "äöüß", "+49 +43 +41 .de .at .ch"),
    _Row("French", 1.0, "àâçéèêëîïôùûœ", "+33 +32 .fr .be"),
    _Row("Spanish", 1.0, "áéíóúñü", "+34 +52 +54 +57 +56 +51 .es .mx .ar"),
    _Row("Portuguese", 1.2, "áâãàçéêíóôõú", "+351 +55 .pt .br"),
    _Row("Italian", 1.2, "àèéìòù", "+39 .it"),
    _Row("Dutch", 1.3, "éëïöüè", "+31 .nl"),
    _Row("Catalan", 1.5, "àçèéíïòóúü·", ".cat"),
    _Row("Swedish, Finnish", 1.2, "åäöé", "+46 +358 .se .fi"),
    _Row("Danish, Norwegian", 1.2, "æøåé", "+45 +47 .dk .no"),
    _Row("Icelandic", 3.5, "áðéíóúýþæö", "+354 .is"),
    _Row("Estonian", 2.0, "õäöüšž", "+372 .ee"),
    _Row("Hungarian", 1.3, "áéíóöőúüű", "+36 .hu"),
    _Row("Polish", 1.3, "ąćęłńóśźż", "+48 .pl"),
    _Row("Czech", 1.4, "áčďéěíňóřšťúůýž", "+420 .cz"),
    _Row("Slovak", 1.6, "áäčďéíĺľňóôŕšťúýž", "+421 .sk"),
    _Row("Romanian", 1.6, "ăâîşţ", "+40 .ro"),
    _Row("Croatian, Slovenian, Bosnian", 1.5, "čćđšž", "+385 +386 +387 .hr .si .ba"),
    _Row("Turkish", 1.3, "çğıİöşüâî", "+90 .tr"),
    _Row("Lithuanian", 1.6, "ąčęėįšųūž", "+370 .lt"),
    _Row("Latvian", 1.6, "āčēģīķļņšūž", "+371 .lv"),
    _Row("Russian, Bulgarian", 1.0, "абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "+7 +359 .ru .bg"),
    _Row("Ukrainian", 1.2, "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "+380 .ua"),
    _Row("Belarusian", 1.6, "абвгдеёжзійклмнопрстуўфхцчшыьэюя", "+375 .by"),
    _Row("Serbian, Macedonian", 1.6, "абвгдђѓежзѕијклљмнњопрстћќуфхцчџш", "+381 +389 .rs .mk"),
    _Row("Greek", 1.0, "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ", "+30 +357 .gr .cy"),
    _Row("Hebrew", 1.0, "אבגדהוזחטיךכלםמןנסעףפץצקרשת", "+972 .il"),
    _Row("Arabic", 1.0, "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىي", "+20 +966 +971 +212 .sa .ae .eg"),
    _Row("Persian", 1.8, "آابپتثجچحخدذرزژسشصضطظعغفقکگلمنهویي", "+98 .ir"),
    _Row("Thai", 1.0, "".join(map(chr, [*range(0x0E01, 0x0E3B), *range(0x0E40, 0x0E4F)])), "+66 .th"),
]


@dataclass(frozen=True)
class Language:
    """A language that an address book may be written in. ``cost`` is lower for those that are more usual."""

    name: str
    cost: float
    letters: frozenset[str]
    signs: str

    @cached_property
    def encodings(self) -> frozenset[str]:
        """The encodings that have all of its letters."""
        return frozenset(name for name in ENCODINGS if _can_write(name, "".join(sorted(self.letters))))

    @cached_property
    def sign(self) -> re.Pattern[str]:
        """What a line of this language's countries holds: a calling code, or the domain of an address."""
        codes = "|".join(sign[1:] for sign in self.signs.split() if sign[0] == "+")
        domains = "|".join(sign[1:] for sign in self.signs.split() if sign[0] == ".")
        return re.compile(rf"(?<![\w.])(?:\+|00)(?:{codes or '-'})(?=[\d (/-])|@[\w.-]+\.(?:{domains})\b")


LANGUAGES = tuple(Language(row.name, row.cost, frozenset(row.letters), row.signs) for row in _ROWS)


@dataclass(frozen=True)
class Writing:
    """A language whose characters are no alphabet.

    The characters that ``standard`` has, and begins with a byte between ``first`` and ``last``, are common.
    ``surnames`` are the characters that many names begin with.
    """

    language: Language
    standard: str
    first: int
    last: int
    surnames: str


def _written(name: str, signs: str) -> Language:
    return Language(name, 1.2, frozenset(), signs)


WRITING: dict[str, Writing] = {
    "gb18030": Writing(
        _written("Chinese", "+86 .cn"), "gb2312", 0xB0, 0xD7, "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯"
    ),
    "big5": Writing(
        _written("Chinese", "+886 +852 .tw .hk"), "big5", 0xA4, 0xC6, "王李張劉陳楊趙黃周吳徐孫胡朱高林何郭馬羅梁宋鄭"
    ),
    "cp932": Writing(
        _written("Japanese", "+81 .jp"), "shift_jis", 0x88, 0x97, "佐鈴高田伊渡山中小加吉松井木林清斎石前藤岡橋"
    ),
    "cp949": Writing(_written("Korean", "+82 .kr"), "euc_kr", 0xB0, 0xC8, "김이박최정강조윤장임한오서신권황안송류홍"),
}
"""The encodings of Chinese, Japanese and Korean."""


def _can_write(encoding: str, letters: str) -> bool:
    try:
        letters.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
