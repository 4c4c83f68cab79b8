"""One reader of booleans and names, for triggers, conditions and templates alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.conditions import holds
from worker.triggers.context import text_context
from worker.triggers.templates import TemplateProblem, compile_template
from worker.triggers.values import alike, property_named, read_boolean


@pytest.mark.parametrize(
    "source",
    [
        *[
            f"{{{{ x | {name}: 1 }}}}"
            for name in ("plus", "minus", "times", "divided_by", "modulo", "at_least", "at_most")
        ],
        *[f"{{{{ x | {name} }}}}" for name in ("abs", "ceil", "floor", "round")],
        *[f"{{{{ 5 | {name}: x }}}}" for name in ("plus", "times", "at_least", "round")],
    ],
)
def test_no_arithmetic_takes_what_it_cannot_read_for_zero(source: str) -> None:
    with pytest.raises(TemplateProblem, match='"about 5" is not a number that can be read without doubt'):
        compile_template(source).render({"x": "about 5"})


ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(ANY)
def test_any_value_is_read_or_not_and_never_an_error(value: object) -> None:
    assert read_boolean(value) in (True, False, None)
    assert holds("x > 5", {"x": value}) in (True, False)


@given(st.permutations(["Order Status", "order_status", "ORDER-STATUS", "name"]))
def test_of_two_fields_with_one_name_the_choice_does_not_depend_on_their_order(names: list[str]) -> None:
    record = {name: name for name in names}
    assert property_named("order status", record) == "ORDER-STATUS"
    assert text_context(record, None, {})["order_status"] == "ORDER-STATUS"


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("Status", ["Status:"], "Status:"),
        ("order_status", ["OrderStatus", "x"], "OrderStatus"),
        ("order_status", ["OrderStatus", "orderstatus"], None),  # two, so neither
        ("Größe", ["GROESSE", "grosse"], "grosse"),
        ("%", ["#"], None),
        ("status", ["states"], None),
    ],
)
def test_a_name_that_differs_in_punctuation_is_found_if_it_is_the_only_one(
    name: str, names: list[str], expected: str | None
) -> None:
    record = dict.fromkeys(names, "v")
    assert alike(name, names) == property_named(name, record) == expected
    if expected is not None and name.isidentifier():
        assert rendered_of(f"{{{{ {name.lower()} }}}} {{{{ record['{name}'] }}}}", record) == "v v"


def rendered_of(source: str, record: dict[str, Any]) -> str:
    return compile_template(source).render(text_context(record, None, {}))


def test_an_empty_field_is_not_filled_from_one_with_another_name() -> None:
    with pytest.raises(TemplateProblem, match="order_status is empty or missing"):
        rendered_of("{{ order_status }}", {"Order Status": "", "OrderStatus": "x"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(one, True) for one in (True, "TRUE", "true", "t", "1", 1, 1.0, "Yes", " y ", "WAHR", "VRAI", "on")],
        *[(one, False) for one in (False, "FALSE", "f", "0", 0, "No", "n", "FALSCH", "FAUX", "off")],
        *[(one, None) for one in ("", None, "maybe", 2, "10", ["true"])],
    ],
)
def test_booleans(value: object, expected: bool | None) -> None:
    assert read_boolean(value) is expected
