"""Decides what a reply asks for: to stop, to start again, for help, or perhaps to stop. Pure.

Since 2025-04-11 people may revoke consent in any reasonable words (47 CFR 64.1200(a)(10)). So

* a keyword, or a sentence that clearly says the same and nothing else, is an opt-out;
* a text that may mean it goes to a person, and the texts to its sender wait meanwhile;
* everything else is an ordinary reply, and so is what a text only quotes.

``data/keywords.toml`` has the words and sentences, with their sources.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from worker.inbox.keyword_forms import GAP, KeywordForms, keyword_forms
from worker.inbox.own_words import own_words, plain_words, without_signature

Keyword: TypeAlias = Literal["stop", "start", "yes", "help", "review", ""]

_SENTENCE = re.compile(r"[^.!?\n;\u2026]+[.!?\n;\u2026]*")
_PIECE = re.compile(r"[^.!?\n;\u2026,:()]+")
_LONGEST_TYPING_ERROR = 20


def keyword(text: str) -> Keyword:
    """Return what a reply asks for; "" for an ordinary one."""
    words = own_words(text)
    asked = _asked(words.text, bool(words.quoted))
    if asked == "" and any(_asked(one, False) == "stop" for one in words.quoted):
        return "review"  # it repeats an opt-out, which no text of ours says: perhaps the person's own
    return asked


def _asked(text: str, quotes: bool) -> Keyword:
    """Return what the words ask for. ``quotes``: the text also quotes something."""
    forms = keyword_forms()
    plain = plain_words(text)
    if plain in forms.plain or plain in forms.alone or plain.replace(" ", "") in forms.plain:
        return "stop"
    for name in ("start", "help", "yes"):
        if plain in forms.others[name]:
            return name
    if _is_clear(text, forms):
        return "stop"
    if plain == "" or (quotes and plain in forms.reactions):  # an emoji, alone or as a reaction
        return "" if forms.stop_signs.isdisjoint(text) else "review"
    return "review" if _may_mean_stop(text, plain, forms) else ""


def _is_clear(text: str, forms: KeywordForms) -> bool:
    """Return whether the text is a plain keyword beside politeness or a name, or a sentence of it clearly says it."""
    signed = without_signature(text)
    bare, requested = _bare(plain_words(signed), forms)
    if not requested and (bare in forms.plain or (bare and all(word in forms.plain for word in bare.split()))):
        return True
    return any(_is_clear_sentence(one, forms) for one in (signed, *_SENTENCE.findall(signed)))


def _is_clear_sentence(sentence: str, forms: KeywordForms) -> bool:
    plain = plain_words(sentence)
    bare, requested = _bare(plain, forms)
    if sentence.rstrip().endswith("?") and not requested:
        return False
    return any(forms.clear.fullmatch(f" {one} ", 1) is not None for one in (plain, bare))


def _may_mean_stop(text: str, plain: str, forms: KeywordForms) -> bool:
    if forms.doubt_first.search(forms.innocent_first.sub(GAP, f" {plain} ")) is not None:
        return True
    signed = plain_words(without_signature(text))
    bare, _requested = _bare(_without_innocent(signed, forms), forms)
    if any(bare in words for words in (forms.doubt_whole, forms.alone, forms.plain)):
        return True
    if _bare(signed, forms)[0] in forms.alone or forms.doubt.search(f" {_without_innocent(plain, forms)} ") is not None:
        return True
    return _is_typing_error(bare, forms) or any(_is_edge(piece, forms) for piece in _PIECE.findall(text))


def _without_innocent(plain: str, forms: KeywordForms) -> str:
    """Return the words without what means no opt-out."""
    return " ".join(forms.innocent.sub(GAP, forms.innocent_first.sub(GAP, f" {plain} ")).split())


def _is_edge(piece: str, forms: KeywordForms) -> bool:
    """Return whether a part of a sentence begins or ends with a plain keyword."""
    left = _without_innocent(plain_words(piece), forms)
    return any(left == word or left.startswith(f"{word} ") or left.endswith(f" {word}") for word in forms.edges)


def _bare(plain: str, forms: KeywordForms) -> tuple[str, bool]:
    """Return the words without politeness at both ends, and whether a request was among it ("could you")."""
    requested = False
    while True:
        request = next((one for one in forms.request if plain.startswith(f"{one} ")), None)
        before = request or next((one for one in forms.before if plain.startswith(f"{one} ")), None)
        after = next((one for one in forms.after if plain.endswith(f" {one}")), None)
        if before is None and after is None:
            return plain, requested
        requested = requested or request is not None
        if before is not None:
            plain = plain[len(before) + 1 :]
        elif after is not None:
            plain = plain[: -len(after) - 1]


def _is_typing_error(bare: str, forms: KeywordForms) -> bool:
    joined = bare.replace(" ", "")
    if len(joined) > _LONGEST_TYPING_ERROR or bare.count(" ") > 2 or bare in forms.no_typing_errors:
        return False
    return any(0 < edits(joined, word) <= most for word, most in forms.typing_errors.items())


def edits(one: str, other: str) -> int:
    """Return how many letters must be added, left out, changed or swapped with the next to turn one into the other."""
    rows: list[list[int]] = [list(range(len(other) + 1))]
    for row, letter in enumerate(one, 1):
        now = [row]
        for column, wanted in enumerate(other, 1):
            cost = min(rows[-1][column] + 1, now[-1] + 1, rows[-1][column - 1] + (letter != wanted))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == wanted:
                cost = min(cost, rows[-2][column - 2] + 1)
            now.append(cost)
        rows.append(now)
    return rows[-1][-1]
