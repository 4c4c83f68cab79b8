"""What replies ask for. ``replies.py`` is the table: add a line there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inbox.replies import REPLIES, ROWS
from worker.inbox.keyword_forms import LANGUAGES, compile_form, keyword_forms
from worker.inbox.keywords import edits, keyword
from worker.inbox.own_words import LONGEST, own_words, plain_words, without_signature

FORMS = keyword_forms()
KEYWORDS = sorted((FORMS.plain | FORMS.alone) - {"stop2end", "stop2quit", "stop2stop"})
ANSWERS = sorted(word for words in FORMS.others.values() for word in words)
INNOCENT = [text for text, _language, expected in ROWS if expected == ""]
OPT_OUTS = [text for text, _language, expected in ROWS if expected == "stop"]


@pytest.mark.parametrize(("language", "expected"), REPLIES)
def test_replies(language: str, expected: str) -> None:
    texts = [text for text, *cell in ROWS if cell == [language, expected]]
    assert {text: found for text in texts if (found := keyword(text)) != expected} == {}


def test_the_table_covers_every_language_and_half_of_its_rest_is_innocent() -> None:
    cells = Counter((language, expected) for _text, language, expected in ROWS)
    assert len(ROWS) >= 300
    for language in LANGUAGES:
        assert min(cells[language, expected] for expected in ("stop", "review", "")) >= 19
    assert len({text for text, _, _ in ROWS}) > 0.99 * len(ROWS)


SPACES = st.text(" \t\n\u00a0\u200b\u2003\ufeff\u2060", max_size=4)
ORNAMENTS = st.text(".!?,;:*\u2026\u00a1\u00bf()👍😡🛑❤️🙏🆗👩‍👧", max_size=4)
ACCENTS = {"a": "aáàâäã", "e": "eéèêë", "i": "iíî", "o": "oóôöõ", "u": "uúùü", "c": "cç", "n": "nñ"}


@st.composite
def disguises(draw: st.DrawFn, words: list[str]) -> tuple[str, str]:
    """A word, and the same in other letters, with accents, zero-width characters, emoji and spaces."""
    word = draw(st.sampled_from(words))
    letters = []
    for letter in word:
        one = draw(st.sampled_from(ACCENTS.get(letter, letter)))
        one = draw(st.sampled_from([one, one.upper(), chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter]))
        letters.append(one + draw(st.sampled_from(["", "", "\u200b", "\u200d", "\u00ad"])))
    around = [draw(SPACES), draw(ORNAMENTS), draw(SPACES)]
    return word, f"{''.join(around)}{''.join(letters)}{''.join(reversed(around))}"


@given(disguises(KEYWORDS))
def test_a_keyword_is_one_in_any_clothes(disguise: tuple[str, str]) -> None:
    assert keyword(disguise[1]) == keyword(disguise[0]) == "stop"


@given(disguises(ANSWERS))
def test_so_are_start_help_and_yes(disguise: tuple[str, str]) -> None:
    assert keyword(disguise[1]) == keyword(disguise[0]) in ("start", "help", "yes")


@pytest.mark.parametrize("form", ["“{}”", '"{}"', "«{}»", "„{}“", "Loved “{}”", "👍 to “{}”", "A aimé « {} »", "> {}"])
def test_what_is_innocent_stays_so_in_quotation_marks(form: str) -> None:
    one_line = [text for text in INNOCENT if "\n" not in text and not set(text) & set('"“”„«»「」')]
    assert len(one_line) > 150
    assert [text for text in one_line if keyword(form.format(text)) not in ("", "yes")] == []


@pytest.mark.parametrize("form", ["Loved “{}”", "You wrote “{}”, why?", "Thanks\n> {}"])
def test_an_opt_out_that_is_only_quoted_is_a_doubt(form: str) -> None:
    one_line = [text for text in OPT_OUTS if "\n" not in text and not set(text) & set('"“”„«»「」')]
    assert {keyword(form.format(text)) for text in one_line} == {"review"}


@pytest.mark.parametrize(
    "tail", [" - Ana", " – Ana Lopez", "\nAna", "\n\nSent from my iPhone", "\n--\nAcme Inc", " 415-555-2671"]
)
@pytest.mark.parametrize("word", sorted(FORMS.plain))
def test_a_signature_changes_no_plain_keyword(word: str, tail: str) -> None:
    assert keyword(word.upper() + tail) == "stop"


@pytest.mark.parametrize("before", ["", "please ", "Hi, "])
@pytest.mark.parametrize("word", sorted(FORMS.alone))
def test_a_keyword_with_other_meanings_is_one_only_alone(word: str, before: str) -> None:
    assert keyword(before + word) == ("review" if before else "stop")


@given(st.text(max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    assert keyword(text) in ("stop", "start", "yes", "help", "review", "")


def test_a_long_text_is_read_from_both_ends() -> None:
    middle = "we waited for an hour and nobody came " * 100
    assert keyword(f"Stop texting me. {middle}") == "stop"
    assert keyword(middle) == ""
    assert keyword(f"{middle}. Stop texting me") == "stop"
    assert len(own_words(middle).text) <= LONGEST + 1


ADVERSARIAL = """
for piece in ["stop ", "dont ", "no me ", '"', "“", '“"', "> ", "on 1 ", "From: a\\n", "El 1 ", "- A", "Aa ", "1 ", "(",
              "please ", "a.", "~", "\\n", "i dont want to receive any of your ", "ne me ", "-- ", "415 ",
              "\\u200b", "é"]:
    for times in (500, 100_000):
        keyword(piece * times)
        keyword("On 1" + piece * times)
"""


def test_no_text_keeps_the_reader_busy() -> None:
    """A regular expression that backtracks without end would take minutes."""
    code = f"from worker.inbox.keywords import keyword\n{ADVERSARIAL}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=os.environ)


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("stop", "stop", 0),
        ("stip", "stop", 1),
        ("stpo", "stop", 1),
        ("stopp", "stop", 1),
        ("", "stop", 4),
        ("sotp", "stop", 1),
    ],
)
def test_edits(one: str, other: str, distance: int) -> None:
    assert edits(one, other) == edits(other, one) == distance


@pytest.mark.parametrize(
    ("text", "own", "quoted"),
    [
        ("hello", "hello", 0),
        ('he said "stop" twice', "he said   twice", 1),
        ('Liked "Text "STOP" to quit"', "Liked  ", 1),
        ("Loved “a “b” c", "Loved  ", 1),
        ('5" pipe', '5" pipe', 0),
        ('"all of it"', " all of it", 0),
        ("mine\n> yours\nmine", "mine\n\nmine", 1),
        ("mine\nOn Tue, Mar 3, 2026 at 5 PM\nAcme Inc <a@b.co> wrote:\nyours", "mine\n", 1),
    ],
)
def test_own_words(text: str, own: str, quoted: int) -> None:
    assert (own_words(text).text, len(own_words(text).quoted)) == (own, quoted)


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("STOP - Ana", "STOP"),
        ("stop - it", "stop - it"),
        ("Ana", "Ana"),
        ("ok\nSent from my iPad", "ok"),
        ("a\n\nAna B.", "a"),
    ],
)
def test_signatures(text: str, without: str) -> None:
    assert without_signature(text) == without


def test_plain_words() -> None:
    assert plain_words("  Don’t   TEXT\u200b—me, Zoë! 👍 #") == "dont text me zoe number"


@pytest.mark.parametrize("form", ["a [b (c)]", "a (b [c])", "a) b"])
def test_nested_brackets_in_the_forms_are_refused(form: str) -> None:
    with pytest.raises(ValueError, match="nested"):
        compile_form(form, {})


def test_forms() -> None:
    assert compile_form("a [b|{c} d] (e|f)", {"c": ["x", "x y"]}) == "(?:a )(?:b |(?:x\\ y |x )d )?(?:e |f )"
