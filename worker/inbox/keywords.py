"""Finds keywords in replies: the opt-out keywords of carriers, and texts that may mean the same. Pure.

A keyword must be the whole text (case and punctuation ignored), as in CTIA's messaging principles and at the carriers.
Since 2025-04-11 the FCC (47 CFR 64.1200(a)(10)) lets people revoke consent in any reasonable words. Any text that may
mean that is reviewed by a person, and the texts to its sender wait meanwhile.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, TypeAlias

Keyword: TypeAlias = Literal["stop", "start", "yes", "help", "review", ""]

STOP = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out", "remove"}
) | {"arret", "arrete", "parar", "alto"}
START = frozenset({"start", "unstop"})
HELP = frozenset({"help", "info", "aide", "ayuda"})

_PLAIN_STOP = STOP - {"cancel", "end", "remove"}
"""The keywords that also count if they are only one sentence or line of the text, such as above a signature."""
MAX_CHECKED = 2000
"""Characters of a text that are checked."""
_PIECES = re.compile(r"[\n.!?,;:]+")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_MAY_MEAN_STOP = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(please |pls |plz |just |ok |okay )*"
        r"stop( stop| please| pls| it| this| now| that| already| thanks| thank you)*$",
        r"\bstop (\w+ ){0,3}(text|texts|texting|message|messages|messaging|msgs?|sms|contact|contacting|sending|spam"
        r"|spamming|bothering|bugging|harassing)\b",
        r"\b(do not|dont|don t|never|quit|cease) (\w+ )?(text|texting|message|messaging|contact|contacting|send|sending"
        r"|sms|spam|spamming|bother|bothering)\b(?! (it|that|the|my|your|a|an)\b)",
        r"\b(take|get) (me|my (number|name|phone)|us|this number) off\b",
        r"\b(remove|delete|unsubscribe|unsub) (me|my (number|name|phone)|us|this number)\b",
        r"\bunsubscribe\b|\bopt (me )?out\b|\bopting out\b|\boptout\b",
        r"\bno more (of )?(these |your )?(text|texts|messages|msgs?|sms|spam)\b",
        r"\bleave me alone\b|\blose (my|this) number\b|\bwrong (number|person)\b",
        r"\b(cancel|end) (all )?(these |your |my )?(texts|messages|alerts|notifications|subscription)\b",
        r"\b(revoke|withdraw) (my )?consent\b|\bnot interested\b|\bno more( please)?$|\bno mas\b",
        r"\bgo away\b|\b(f|fuck|piss) off\b",
    )
)
_FALSE_FRIENDS = re.compile(
    r"\b(dont|don t|do not|never|cant|can t|wont|won t) stop\b|\bnon ?stop\b|\bstop (by|in|over)\b"
)


def keyword(text: str) -> Keyword:
    """Return the keyword in a text; "" if it has none."""
    plain = normalized(text)
    joined = plain.replace(" ", "")
    if plain in STOP or joined in {"stop", "stopall", "optout"}:
        return "stop"
    if plain in START:
        return "start"
    if plain in HELP:
        return "help"
    if plain == "yes":
        return "yes"
    if any(normalized(piece) in _PLAIN_STOP for piece in _PIECES.split(text[:MAX_CHECKED])):
        return "review"
    cleaned = _FALSE_FRIENDS.sub(" ", plain)
    return "review" if any(pattern.search(cleaned) for pattern in _MAY_MEAN_STOP) else ""


def normalized(text: str) -> str:
    """Return the text in lower case, without accents and punctuation, with single spaces."""
    decomposed = unicodedata.normalize("NFKD", text[:MAX_CHECKED]).replace("\u2019", "'")
    letters = "".join(one for one in decomposed if not unicodedata.combining(one))
    return " ".join(_PUNCTUATION.sub(" ", letters.casefold().replace("'", "")).split())
