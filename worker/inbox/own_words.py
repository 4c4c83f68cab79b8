"""Separates what a person wrote from what the text only repeats: quotations, reactions, quoted mail, signatures. Pure.

Phones send a reaction as a text that quotes ours: ``Loved “Your order is ready. Reply STOP to opt out.”``. So words in
quotation marks, and lines that a mail program quotes, are somebody's earlier words. A text that is one quotation is
read as the person's own.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LONGEST = 2000
"""Characters of a text that are read. Of a longer one, the first and the last thousand."""

_INVISIBLE = "\u115f\u1160\u3164\uffa0"
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc\u00b4`]")
_NUMBER_SIGN = re.compile(r"#(?!\w)")
_PHONE = re.compile(r"\+?\(?\d(?:[ .()/-]{0,2}\d){6,14}")
_NO_WORD = re.compile(r"[^\w\s]|_")
_WHITE_ON_BLACK = (0x1F150, 0x1F170)
"""Where the letters A to Z in black circles and squares begin. Unicode does not say which letters they are."""
_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")

_QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_MAIL_BELOW = re.compile(
    r"(?:^|[ \t])(?:on|le|el|em) (?=[^\n]{0,60}\d)[^\n]{1,160}(?:\n[^\n]{0,80})?"
    r"\b(?:wrote|a [e\u00e9]crit|escribi[o\u00f3]|escreveu)[ \u00a0]?:"
    r"|^[ \t]*-{2,}[ ]?(?:original message|forwarded message|mensaje original|message d.origine|mensagem original)"
    r"|^[ \t]*(?:from|de)[ \u00a0]?: [^\n]{1,160}\n[ \t]*(?:sent|to|date|subject|enviado|para|fecha|asunto|envoy\u00e9"
    r"|\u00e0|objet|data|assunto)[ \u00a0]?:",
    re.IGNORECASE | re.MULTILINE,
)
_SENT_FROM = re.compile(
    r"^[ \t]*(?:sent (?:from|via|with) |get outlook for |envoy\u00e9 (?:de|depuis|\u00e0 partir de) "
    r"|enviado (?:desde|do|de|a partir) |--[ \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_NAME_BELOW = re.compile(r"[ \t]*(?:[-\u2010-\u2015~]+|\n)\s*((?:[^\W\d_][\w.'\u2019]*[ ]?){1,4})\s*$")

_CLOSES = {
    **{"\u201c": "\u201d", "\u201e": "\u201c\u201d", "\u00ab": "\u00bb", "\u2039": "\u203a"},
    **{"\u300c": "\u300d", "\u300e": "\u300f"},
}
_MOST_MARKS = 40
"""A text with more quotation marks than this is read as the person's own."""
_MARKS = frozenset('"\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f')


@dataclass(frozen=True, slots=True)
class OwnWords:
    """What a person wrote (``text``), and what they only quoted."""

    text: str
    quoted: tuple[str, ...] = ()


def own_words(text: str) -> OwnWords:
    """Separate a text. Nothing of it is lost: what is not the person's own is in ``quoted``."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]}\n{text[-LONGEST // 2 :]}"
    visible = "".join(one for one in text if unicodedata.category(one) != "Cf" and one not in _INVISIBLE)
    written, mail = _without_mail(visible.replace("\r\n", "\n").replace("\r", "\n"))
    own, quotations = _without_quotations(written)
    if not _has_content(own):  # the whole text is a quotation
        return OwnWords(own + " ".join(quotations) if quotations else "", mail)
    return OwnWords(own, (*quotations, *mail))


def without_signature(text: str) -> str:
    """Return a text without "Sent from my phone" and without a name after a dash or in the last line."""
    sent_from = _SENT_FROM.search(text)
    if sent_from is not None and sent_from.start() > 0:
        text = text[: sent_from.start()].rstrip()
    name = _NAME_BELOW.search(text)
    if name is None or not all(word[0].isupper() for word in name[1].split()):
        return text
    return text[: name.start()] or text


def plain_words(text: str) -> str:
    """Return the words of a text in lower case, without accents and punctuation, with single spaces.

    A letter that is written three times or more counts once: ``STOPPPP`` is "stop".
    """
    letters = "".join(map(_letters, _APOSTROPHES.sub("", text)))
    decomposed = unicodedata.normalize("NFKD", _PHONE.sub(" this number ", _NUMBER_SIGN.sub(" number ", letters)))
    bare = "".join(one for one in decomposed if not unicodedata.combining(one) and unicodedata.category(one) != "Cf")
    return _STRETCHED.sub(r"\1", " ".join(_NO_WORD.sub(" ", bare.casefold()).split()))


def _letters(character: str) -> str:
    """Return a space for an emoji, which may stand for letters ("OK"), but not for a letter in a circle."""
    if unicodedata.category(character) != "So":
        return character
    code = ord(character)
    start = next((one for one in _WHITE_ON_BLACK if one <= code < one + 26), None)
    meant = unicodedata.normalize("NFKC", character) if start is None else chr(ord("A") + code - start)
    return meant if len(meant) == 1 and meant.isalpha() else " "


def _has_content(text: str) -> bool:
    """Return whether there are words, or an emoji, as in a reaction."""
    return any(one.isalnum() or unicodedata.category(one) == "So" for one in text)


def _without_mail(text: str) -> tuple[str, tuple[str, ...]]:
    quoted = []
    below = _MAIL_BELOW.search(text)
    if below is not None:
        quoted.append(text[below.end() :])
        text = text[: below.start()]
    lines = _QUOTED_LINE.findall(text)
    if lines:
        quoted.append("\n".join(line.strip().lstrip("> ") for line in lines))
        text = _QUOTED_LINE.sub("", text)
    return text, tuple(quoted)


def _without_quotations(text: str) -> tuple[str, list[str]]:
    """Return a text without what is in quotation marks, and that. A curly mark that is never closed quotes the rest."""
    if not 0 < sum(one in _MARKS for one in text) <= _MOST_MARKS:
        return text, []
    own: list[str] = []
    quotations: list[str] = []
    at = 0
    while at < len(text):
        end = _end_of_quotation(text, at)
        if end is None:
            own.append(text[at])
            at += 1
        else:
            quotations.append(text[at + 1 : end])
            own.append(" ")
            at = end + 1
    return "".join(own), quotations


def _end_of_quotation(text: str, start: int) -> int | None:
    """Return where the quotation ends that begins at ``start``; None if none begins there."""
    mark = text[start]
    if mark in _CLOSES:
        depth = 0
        for at in range(start, len(text)):
            if text[at] in _CLOSES[mark] and at > start:
                depth -= 1
                if depth == 0:
                    return at
            elif text[at] == mark:
                depth += 1
        return len(text)
    if mark != '"' or (start and text[start - 1].isalnum()):
        return None
    depth = 1
    for at in range(start + 1, len(text)):
        if text[at] == '"':
            opens = text[at - 1].isspace() and at + 1 < len(text) and not text[at + 1].isspace()
            depth += 1 if opens else -1
            if depth == 0:
                return at
    return None
