"""How to greet a person, and how to write a name that a CRM has in capitals. Pure.

A title is no first name, nor is what follows a name: ``Dr. Ana Ruiz, PhD`` is Ana. What is certainly no name of a
person (an address, a number, a company, a placeholder) has no first name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from crm_adapters.placeholders import is_no_name

_COURTESY = frozenset(
    """
    mr mrs ms miss mx mister missus sir madam
    herr frau hr fr frl fräulein
    m. mm. mme mlle mmes monsieur madame mademoiselle
    sr sra srta señor señora señorita senhor senhora
    sig. sig.ra sig.na signor signora signorina
    dhr mevr mw mej mevrouw meneer
    familie fam. famille
    pán paní fru bayan
    """.split()
)
"""Titles before a family name: ``Mr. Smith`` says no first name. Those written with a point are names without it."""
_RANKS = frozenset(
    """
    dr dra drs prof profa professor doctor doktor docteur doutor doutora dottore dottoressa dott dott.ssa
    pastor rabbi imam sheikh dame atty engr smt shri hj. dña
    lic lic. licda licdo ing. mag. dipl.-ing dr.-ing dipl. arq. abog. avv. cav. ir. mgr judr mudr phdr
    rev reverend hon. capt captain lt sgt maj. col. gen. cmdr cpl pvt ofc det. doña
    """.split()
)
"""Titles that a whole name follows, and sometimes a first name alone: ``Dr. Ana``."""
_OF_A_DEGREE = frozenset("med. phil. rer. nat. jur. habil. h.c. oec. pol. theol. univ. med phil rer nat jur".split())
"""What follows ``Dr.`` in German."""
_AFTER = frozenset(
    """
    jr sr snr jnr ii iii iv phd md dds dmd do dvm dc od rn lpn np pa esq esquire cpa mba msc bsc ma ba jd llm llb ret
    pe psyd edd rph mph bsn msn cfa cfp mph obe mbe cbe kc qc filho júnior junior senior
    """.split()
)
"""What follows a name, compared without points: ``Ph.D.`` is "phd"."""
_COMPANY = frozenset(
    """
    inc incorporated llc ltd limited gmbh corp corporation llp plc sarl srl bv nv pty ag kg company services solutions
    enterprises associates foundation family household familia
    """.split()
)
"""Words at the end of a name of several people or of none."""
_NOBODY = frozenset("the estate parent parents guardian guardians attn attention".split())
"""Words that no name of a person begins with, if others follow: ``The Smith Family``, ``Estate of John Smith``."""
_LINKS = frozenset(
    "van von vom der den de del della delle degli di da das do dos du des la las le les los ten ter te zu zur zum und "
    "y e i bin ibn al el of the".split()
)
"""Words in small letters between other names."""
_AS_WRITTEN = {"phd": "PhD", "md": "MD", "dds": "DDS", "ii": "II", "iii": "III", "iv": "IV", "rn": "RN", "cpa": "CPA"}
_JOINED = frozenset({"&", "and", "und", "et", "y", "e", "en", "+"})
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|(?<=\s)\"[^\"]*\"|(?<=\s)\u201c[^\u201d]*\u201d")
_PARTS = re.compile(r"([-\u2010'\u2019\u02bc.])")
_VOWELS = frozenset("aeiouyäöüáéíóúàèìòùâêîôûãõåæøœ")
_MARKS = ',;"*!?~_-\u2013\u2014\u2022\u201c\u201d\u2605\u2606'
"""What people write beside a name to find it again: ``Ana*``, ``\u2605Ana``."""
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
_NO_NAME = frozenset("@/\\#&+_=:|")
_LONGEST = 200


def first_name_of(full_name: str) -> str:
    """Return the name to greet a person by; "" if the full name does not say it.

    ``Smith, John`` is John, and ``MARY ANN O'BRIEN`` is Mary. Initials before a name are not the name.
    """
    if is_no_name(full_name):
        return ""
    words = _given_first(_ASIDE.sub(" ", _INVISIBLE.sub("", full_name[:_LONGEST]).strip()))
    titles = _titles(words)
    names = [word for word in words[titles:] if any(map(str.isalpha, word))]
    while len(names) > 1 and _bare(names[-1]) in _AFTER:
        names.pop()
    if not names or (len(names) == 1 and any(map(_is_courtesy, words[:titles]))):
        return ""
    if len(names) > 2 and _is_initial(names[0]) and not _is_initial(names[1]):
        names = names[1:]
    name = names[0].strip(_MARKS)
    if len(names) > 1 and (name.casefold() in _NOBODY or name.casefold().endswith(("'s", "\u2019s"))):
        return ""
    if is_no_name(name) or not _is_name(name) or _is_title(name) or _bare(names[-1]) in _COMPANY:
        return ""
    return _recased(name, always=_is_uniform(" ".join(words)), outer=True)


def written_name(name: str) -> str:
    """Return a name with capitals where people write them: ``MARY ANN O'BRIEN`` is Mary Ann O'Brien.

    A name with small and capital letters stays as it is, apart from words in capitals: whoever typed ``DeShawn`` or
    ``van Dijk`` knew.
    """
    words = name[:_LONGEST].split()
    always = _is_uniform(name)
    last = len(words) - 1
    return " ".join(_recased(word, always=always, outer=number in (0, last)) for number, word in enumerate(words))


def _given_first(name: str) -> list[str]:
    """Return the words of a name, the given names first; none if it is the name of a company."""
    before, *others = [[*_apart(part.split())] for part in name.split(",") if part.strip()] or [[]]
    if any(_bare(part[-1]) in _COMPANY for part in others):
        return []
    given = next((part for part in others if not all(_bare(word) in _AFTER for word in part)), None)
    return before if given is None else given + before


def _apart(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, with a title that is written together with the next word apart: ``Dr.Ana``."""
    for word in words:
        title, _, rest = word.partition(".")
        if rest[:1].isalpha() and len(rest) > 1 and not _is_title(word) and _is_title(f"{title}."):
            yield from (f"{title}.", rest)
        else:
            yield word


def _titles(words: Sequence[str]) -> int:
    """Return how many words at the start are titles: ``Frau Prof. Dr. med. Anna Meier``, ``Mr. and Mrs. Smith``."""
    count = 0
    for number, word in enumerate(words):
        joins = number and word.casefold() in _JOINED and number + 1 < len(words)
        if _is_title(word) or (count and word.casefold() in _OF_A_DEGREE):
            count = number + 1
        elif not (joins and count == number):
            break
    return count


def _is_title(word: str) -> bool:
    return _is_courtesy(word) or _is(word, _RANKS)


def _is_courtesy(word: str) -> bool:
    return _is(word, _COURTESY)


def _is(word: str, titles: frozenset[str]) -> bool:
    written = word.strip(",;").casefold()
    return written in titles or (written.endswith(".") and written[:-1] in titles)


def _is_initial(word: str) -> bool:
    return len(word) == 1 or (word.endswith(".") and all(len(letter) == 1 for letter in word[:-1].split(".")))


def _is_name(word: str) -> bool:
    return word[:1].isalpha() and _NO_NAME.isdisjoint(word)


def _bare(word: str) -> str:
    return word.strip(",;").replace(".", "").casefold()


def _is_uniform(text: str) -> bool:
    """Return True if a text is in capitals, or in small letters, throughout."""
    return text.isupper() or text.islower()


def _recased(word: str, *, always: bool, outer: bool) -> str:
    """Return a word of a name with its capitals. ``outer``: it is the first or the last one."""
    letters = sum(map(str.isalpha, word))
    has_vowel = not _VOWELS.isdisjoint(word.casefold())
    # The first character must be a capital, too: ``4EVER`` would have none afterwards.
    shouts = word.isupper() and word[:1].isupper() and letters > 2 and has_vowel and "." not in word
    if not (always or shouts):
        return word
    bare = _bare(word)
    if bare in _AS_WRITTEN:
        return _AS_WRITTEN[bare] if "." not in word else word.upper()
    if bare in _LINKS and not outer:
        return word.lower()
    parts = _PARTS.split(word)
    return "".join(_capital(part, before=parts[number - 1] if number else "") for number, part in enumerate(parts))


def _capital(part: str, before: str) -> str:
    lower = part.lower().replace("i\u0307", "i")  # Turkish
    if before in ("'", "\u2019") and len(part) == 1:  # St. John's
        return lower
    if len(part) == 2 and part.isupper() and (part[1] == "J" or _VOWELS.isdisjoint(lower)):
        return part if lower not in ("mr", "ms", "dr", "jr", "sr", "st", "fr") else part[0] + lower[1]  # TJ, AJ
    if lower.startswith("mc") and len(lower) > 3:
        return "Mc" + lower[2].upper() + lower[3:]
    first = part[:1] if part[:1].isupper() else part[:1].title()
    return first + lower[1:] if len(lower) == len(part) else part[:1] + part[1:].lower().replace("i\u0307", "i")
