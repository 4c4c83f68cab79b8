"""Text from outside, as a terminal may show it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.text import visible, visible_json

SHOWN = [
    ("Ann Lee", "Ann Lee"),
    ("one\ttwo\nthree", "one\ttwo\nthree"),
    ("\x1b[2Jgone", "\\x1b[2Jgone"),
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("\x9b31mred", "\\x9b31mred"),
    ("paid\rdue", "paid\\x0ddue"),
    ("a\x08b\x7f", "a\\x08b\\x7f"),
    ("\u202egpj.exe", "\\u202egpj.exe"),
    ("\u2066hidden\u2069", "\\u2066hidden\\u2069"),
    ("\ud83d", "\\ud83d"),
    ("\u200fשלום", "\u200fשלום"),
    ("👩\u200d👧 e\u0301", "👩\u200d👧 e\u0301"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_nothing_that_is_shown_controls_a_terminal(text: str) -> None:
    shown = visible(text)
    assert not any(ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0 for one in shown if one not in "\n\t")
    assert visible(shown) == shown


@given(st.text(st.characters()))
def test_json_means_the_same_with_its_control_characters_written_out(text: str) -> None:
    document = json.dumps({"text": text}, ensure_ascii=False)
    assert json.loads(visible_json(document)) == {"text": text}
    assert not any(0x7F <= ord(one) < 0xA0 for one in visible_json(document))
