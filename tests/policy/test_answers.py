"""What the cells of do-not-text and consent fields mean. To add a case, add a row."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.policy.answers import WORDS, allows_texts, forbids_texts, meaning_of

# Cells, and if they forbid texts in a do-not-text field and allow them in a consent field.
CELLS: list[tuple[bool, bool, list[Any]]] = [
    # what means yes everywhere
    (True, True, [
        "yes", " YES ", "Yes.", "y", "true", "TRUE", "t", "T", "on", "x", "X", "1",
        True, 1, 1.0, "1.0", "1,0", "01", '="1"', "Checked", "ticked", "✓", "☑", "✔",
        "ja", "J", "WAHR", "Oui", "VRAI", "sí", "Si", "SIM", "vero", "verdadeiro", "Waar",
        "\x01", r"\x01", "b'\\x01'", "b'1'", "0x01", "'Yes'", "“yes”", "yes\u200b", "ｙｅｓ",
        ["yes", "ja"], ("x",), "yes;true", "yes, ja", '["yes"]', "{t,t}", [["yes"]],
    ]),
    # what means no everywhere
    (False, False, [
        "no", "No.", "(no)", "N", "false", "FALSE", "f", "off", "0", "0.0", "0,00", "-0",
        False, 0, 0.0, "00", "unchecked", "☐", "nein", "FALSCH", "non", "Faux", "falso",
        "não", "NAO", "nee", "onwaar", "uit", "aus", "na\u0303o", "0e0", '="No"', "no!",
        "\x00", r"\x00", r"\0", "b'\\x00'", "b'0'", "0x0", "0000-00-00", "0000-00-00 00:00:00",
        ["no", False], "no;false", "No, nein", '["no", 0]', "{f,false}", {"sms": False}, "[no",
    ]),
    # empty
    (False, False, [
        None, "", " ", "-", "--", "–", "n/a", "N/A", "#N/A", "null", "None", r"\N", "nan",
        float("nan"), [], {}, "[]", "{}", "{NULL}", "[null]", ";", [None, ""], "keine Angabe",
        "[ ]", "( )", ".", "…", '""', "''", "=",
    ]),
    # a refusal, or a permission, in words
    (True, False, [
        "opted out", "Opted-Out", "OPT_OUT", "opt out", "unsubscribed", "Do not text", "DNC",
        "STOP", "Do Not Allow", "don't call", "Dont Text", "abgemeldet", "désabonné",
        "Ne pas contacter", "dado de baja", "disiscritto", "descadastrado", "uitgeschreven",
    ]),
    # a refusal, or a permission, in words
    (False, True, [
        "opted in", "Opted-In", "OPTIN", "subscribed", "Allow", "allowed", "double opt-in",
    ]),
    # everything else forbids, and allows nothing
    (True, False, [
        "maybe", "unknown", "?", "tbd", "2026-05-01", "call first", "ask Jane", "2", "-1",
        2, -1, 0.5, "No, thanks", "yes, but only emails", "no;yes", "active", "disabled",
        "inscrit", "registered", "#REF!", "x y", "да", "はい", "🚫", "A" * 5000, "[" * 500,
        ["no", "yes"], "{no,yes}", '["no", "maybe"]', {"sms": True}, {"a": "yes"}, '{"a": 1}',
        "no\nyes", "no|yes", "{broken", ["no", ["no", ["perhaps"]]], "nope", "never",
        "*", "**", "!", "* *", "[*]", "(*)", "∞", "infinity", '"', "”", "no;*", "No*", "*no*", "0*",
        "opted in*",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "forbids", "allows"), [(cell, forbids, allows) for forbids, allows, cells in CELLS for cell in cells]
)
def test_a_cell(cell: Any, forbids: bool, allows: bool) -> None:
    assert forbids_texts(cell) is forbids
    assert allows_texts(cell) is allows


# The list of values, a cell, and if it forbids and allows texts.
LISTED: list[tuple[tuple[str, ...], Any, bool, bool]] = [
    # a status: only what is listed, in any spelling
    (("Do not contact",), "Do not contact", True, True),
    (("Do not contact",), "do-not-contact", True, True),
    (("Do not contact",), " DO NOT CONTACT. ", True, True),
    (("Do not contact",), "Customer", False, False),
    (("Do not contact",), "Lead;Do not contact", True, True),
    (("Do not contact",), "", False, False),
    (("Do not contact",), None, False, False),
    (("Do not contact",), "yes", False, False),
    (("Sperre",), "SPERRE", True, True),
    (("Sperre",), ["Kunde", "Sperre"], True, True),
    (("Sperre",), "{Kunde,Sperre}", True, True),
    (("Sperre",), '["Kunde"]', False, False),
    (("Opted out, SMS",), "opted out, sms", True, True),
    (("Désinscrit du SMS",), "desinscrit du sms", True, True),
    (("A" * 80,), "a" * 80, True, True),
    # a refusal that is not listed is one all the same
    (("Sperre",), "Opted out", True, False),
    (("sms",), "sms;opted out", True, False),
    # an asterisk changes no refusal, and makes no permission
    (("Lost",), "Lost*", True, True),
    (("Lost",), "*Lost", True, True),
    (("Lost",), "**DO NOT TEXT**", True, False),
    (("Lost",), "opted out*", True, False),
    (("Lost",), "*** STOP ***", True, False),
    (("SMS",), "SMS; *opted out*", True, False),
    (("yes",), "yes*", True, True),
    (("yes",), "y*", True, False),
    (("Customer",), "unsubscribed", True, False),
    # a code
    (("2",), 2, True, True),
    (("2",), "2.0", True, True),
    (("2",), 2.0, True, True),
    (("2",), "1", False, False),
    (("2",), 0, False, False),
    # words for yes: the others forbid, too, and do not allow
    (("yes", "true"), "yes", True, True),
    (("yes",), "t", True, False),
    (("yes",), True, True, False),
    (("true",), True, True, True),
    (("1",), "WAHR", True, False),
    (("1",), 1, True, True),
    (("yes",), "maybe", False, False),
    (("yes",), "yes, but only emails", True, False),
    (("yes", "true"), "yes; true", True, True),
    (("yes",), "no", False, False),
    # words for no, in a field that says who may be texted
    (("no",), "no", True, True),
    (("no",), "FALSCH", True, False),
    (("no",), False, True, False),
    (("no",), "yes", False, False),
    (("no",), "", False, False),
]  # fmt: skip


@pytest.mark.parametrize(("values", "cell", "forbids", "allows"), LISTED)
def test_a_cell_and_a_list_of_values(values: tuple[str, ...], cell: Any, forbids: bool, allows: bool) -> None:
    assert forbids_texts(cell, values) is forbids
    assert allows_texts(cell, values) is allows


def test_no_word_means_two_things_and_each_is_found_as_it_is_written() -> None:
    every = [word for words in WORDS.values() for word in words]
    assert len(every) == len(set(every))
    for meaning, words in WORDS.items():
        assert {meaning_of(word) for word in words} == {meaning}
        assert {meaning_of(f" {word.upper()}. ") for word in words} == {meaning}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
VALUES = st.lists(st.text(min_size=1, max_size=8), max_size=2).map(tuple)


@given(JSON, VALUES)
def test_any_value_is_read_and_reading_its_json_gives_the_same(value: Any, values: tuple[str, ...]) -> None:
    for says in (forbids_texts, allows_texts):
        assert says(value, values) in (True, False)
        if isinstance(value, list):
            text = orjson.dumps(value).decode()
            # A list of values may name the text itself, which no list in a field can be.
            assert values or says(text) is says(value)


@given(st.lists(JSON, max_size=4))
def test_a_list_forbids_if_one_of_its_values_does_and_allows_only_if_none_forbids_it(found: list[Any]) -> None:
    assert forbids_texts(found) is any(map(forbids_texts, found))
    if allows_texts(found):
        assert not any(forbids_texts(one) and not allows_texts(one) for one in found)


def test_deep_nesting_is_read() -> None:
    deep: Any = "yes"
    for _ in range(5000):
        deep = [deep]
    assert forbids_texts(deep)
    deep = {"a": "no"}
    for _ in range(5000):
        deep = {"a": deep}
    assert not forbids_texts(deep)
