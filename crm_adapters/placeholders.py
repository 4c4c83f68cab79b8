"""What forms, exports and people write in place of a missing value: the one list of placeholders.

Names know all of them (``is_no_name``). The phone and the email of a contact know fewer (``is_placeholder``), and other
fields fewer again (``says_nothing``): "unknown" and "tbd" are statuses that conditions ask for, and "x" is a tick.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def _phrases(*lists: str) -> frozenset[str]:
    return frozenset(phrase.strip() for phrases in lists for phrase in phrases.split("|"))


_NOTHING = frozenset(
    r"""
    n/a n.a n\a \n \\n none null nil nan ∞ undefined unspecified k.a n/d n.d n.v.t s/d
    #n/a #name #ref #value #div/0 #null #num #spill #calc #error #field #blocked #connect #busy #unknown
    #getting_data #nv #bezug #wert #zahl #nom #valeur #nombre #nul #¡ref #¡valor #¿nombre #¡div/0 #¡num #¡nulo
    """.split()
) | _phrases(
    "n / a | object object | not provided | not available | not applicable | not specified | not set | not given",
    "not entered | not disclosed | keine angabe | keine angaben | nicht angegeben | nicht verfügbar | ohne angabe",
    "non disponible | non renseigné | non renseignée | non communiqué | non communiquée | non précisé | sans objet",
    "no disponible | no especificado | no especificada | sin especificar | no proporcionado | no aplica | sin datos",
    "no informado | no informada | não informado | não informada | nao informado | não disponível | não se aplica",
    "não especificado | sem informação | non disponibile | non fornito | non specificato | non indicato",
    "niet beschikbaar | niet opgegeven | niet ingevuld | niet van toepassing | ej angivet | ikke angivet",
    "ikke oppgitt | brak danych | nie podano | neuvedeno | не указано | не указан | 未入力 | 未提供",
)
"""Placeholders for a value of any kind."""
_NAMES_TOO = frozenset("null nil na nan x".split())
"""Placeholders that are also names of people: written like a name (``Null``, ``Na``), they are one."""
_PLACEHOLDERS = (
    _NOTHING
    | _NAMES_TOO
    | frozenset(
        """
        unknown tbd tba tbc xxx anonymous fnu lnu
        desconhecido desconhecida nenhum sconosciuto sconosciuta nessuno
        anonimo anónimo onbekend geen anoniem unbekannt n.n keine anonym inconnu inconnue aucun aucune anonyme
        desconocido desconocida ninguno ninguna okänd ukendt ukjent nieznany nieznana brak neznámý neznámá bilinmiyor
        неизвестно нет 不明 未知
        """.split()
    )
    | _phrases(
        "| not known | no name | no first name | no last name | no phone | no email | no number | name unknown",
        "name not provided | unknown name | unknown caller | to be determined | to be advised | to be confirmed",
        "kein name | ohne name | nicht bekannt | sans nom | sin nombre | por definir | sem nome | a definir",
        "senza nome | da definire | à définir | à confirmer | por confirmar | a confirmar | geen naam | nog onbekend",
    )
)
"""What stands in place of a value, in small letters and without the punctuation around it.

``\\N`` is the NULL of MySQL's exports; ``#REF!`` and the like are spreadsheet errors, in four languages; FNU and LNU
are "first name unknown" and "last name unknown" on US forms.
"""
_NO_NAMES = frozenset(
    """
    fname lname firstname lastname first_name last_name full_name
    noname unavailable private blocked restricted withheld redacted declined refused dnc
    """.split()
) | _phrases(
    "| first name | last name | full name | your name",
    "wireless caller | private caller | private number | blocked caller | blocked number | no caller id",
    "caller unknown | unknown number | out of area | toll free call | scam likely | spam risk",
    "potential spam | telemarketer",
    "not listed | not on file | declined to state | prefer not to say | sir or madam | to whom it may concern",
    "valued customer | dear customer | walk in | walk-in | walk in customer | walk-in customer",
    "do not call | do not text | do not use",
)
"""What stands in place of a name only. In the field of a phone, it is a reason to text nobody of the record: the number
in another field must not be taken instead."""
_SURROUNDING = " \t\r\n\u00a0\u200b\ufeff()[]{}<>\"'`.,:;!?-_/\u2013\u2014\u2026\u201c\u201d\u2018\u2019"
_MERGE_FIELD = re.compile(
    r"\{\{.*\}\}|\{%.*%\}|\*\|.*\|\*|%%?[a-z_.][\w.]*%?%|<<.+>>|\[\[.+\]\]", re.IGNORECASE | re.DOTALL
)
"""What a form letter or a form shows in place of a value that nobody filled in: ``{{first_name}}``, ``*|FNAME|*``."""
_MERGE_FIELD_OF_NAME = re.compile(r"\$?\{[\w .-]+\}|[\[<][\w .-]*name[\w .-]*[\]>]", re.IGNORECASE)
"""The same in forms that other values have, too: ``{vip}`` is an array of PostgreSQL."""
_ENDINGS = frozenset(word[-2:] for word in _PLACEHOLDERS)
_NO_NAME_ENDINGS = _ENDINGS | frozenset(word[-2:] for word in _NO_NAMES)
_LONGEST = 64  # characters; longer text, such as a note, is not split into words


def is_no_name(text: str) -> bool:
    """Return True if ``text`` stands in place of a name: a placeholder, "Wireless Caller", "Declined", ``{name}``."""
    if text[:1].isdigit() or "@" in text:
        return False
    if is_placeholder(text):
        return True
    ending = text[-2:]
    if ending.isalnum() and len(ending) == 2 and ending.casefold() not in _NO_NAME_ENDINGS:  # most names
        return False
    stripped = text.strip()
    if _is_merge_field(stripped) or (stripped[-1:] in ("}", "]", ">") and _MERGE_FIELD_OF_NAME.fullmatch(stripped)):
        return True
    lower = stripped.strip(_SURROUNDING).casefold()
    return lower in _NO_NAMES or (" " in lower and len(lower) <= _LONGEST and _all_no_names(lower.split()))


def _all_no_names(words: Iterable[str]) -> bool:
    return all(word.strip(_SURROUNDING) in _NO_NAMES or is_placeholder(word) for word in words)


def is_placeholder(text: str) -> bool:
    """Return True if ``text`` stands for a missing value: ``n/a``, ``(none)``, ``N/A N/A``, ``#REF!``, ``?``, nothing.

    Case and the punctuation around each word do not matter. Every word must be a placeholder, or the whole text a known
    phrase, so no real name is lost: ``Unknown Pleasures`` is a value, and so are the names ``Null`` and ``Na``.
    """
    if text[:1].isdigit() or "@" in text:  # a number or an address: most of what is asked about
        return False
    ending = text[-2:]
    if ending.isalnum() and len(ending) == 2 and ending.casefold()[-2:] not in _ENDINGS:  # most names
        return False
    bare = text.strip(_SURROUNDING)
    lower = bare.casefold()
    if lower in _PLACEHOLDERS:
        return not (lower in _NAMES_TOO and bare.istitle())
    return " " in bare and len(bare) <= _LONGEST and all(map(is_placeholder, bare.split()))


def says_nothing(text: str) -> bool:
    """Return True if ``text`` stands for a missing value of any kind: ``n/a``, ``(none)``, ``not provided``, ``--``."""
    if len(text) > _LONGEST:
        return False
    bare = text.strip(_SURROUNDING)
    return not bare or bare.casefold() in _NOTHING or _is_merge_field(text)


def _is_merge_field(text: str) -> bool:
    text = text.strip()
    return text[-1:] in ("}", "*", "%", "]", ">") and _MERGE_FIELD.fullmatch(text) is not None
