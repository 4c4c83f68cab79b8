"""What carriers' events say, as their documentation shows them: the tables of tests/carriers/samples."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.carriers.samples import Cases
from worker.carriers.provider import CarrierText
from worker.carriers.providers.bandwidth import STATUSES as BANDWIDTH
from worker.carriers.providers.telnyx import STATUSES as TELNYX
from worker.carriers.reading import status_of
from worker.carriers.registry import CARRIERS

SAMPLES: dict[str, Cases] = {name: import_module(f"tests.carriers.samples.{name}").CASES for name in CARRIERS}
KEYS = sorted({key for cases in SAMPLES.values() for event, _ in cases if isinstance(event, dict) for key in event})


@pytest.mark.parametrize(
    ("carrier", "event", "texts"), [(name, *case) for name, cases in SAMPLES.items() for case in cases]
)
def test_events(carrier: str, event: Any, texts: list[CarrierText]) -> None:
    assert CARRIERS[carrier].parse(event) == texts


@pytest.mark.parametrize(
    ("carrier", "code"), [(name, code) for name, provider in CARRIERS.items() for code in provider.opt_out_codes]
)
def test_each_code_of_an_opt_out_has_its_source_and_a_sample(carrier: str, code: str) -> None:
    known = CARRIERS[carrier].opt_out_codes[code]
    assert known.source.startswith("https://")
    assert known.meaning
    samples = [text for _, texts in SAMPLES[carrier] for text in texts]
    assert code in [text.detail for text in samples if text.status == "failed"]


def test_every_carrier_has_a_code_of_opt_outs() -> None:
    assert [name for name, provider in CARRIERS.items() if not provider.opt_out_codes] == []


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
@pytest.mark.parametrize("payload", [{}, [], None, "words", 7, {"data": None}, {"message": "x"}, [None]])
def test_what_is_no_event_says_so(carrier: str, payload: Any) -> None:
    try:
        assert CARRIERS[carrier].parse(payload) == []
    except ValueError as error:
        assert "there is no" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("sent", "sent"),
        ("delivery_unconfirmed", "sent"),
        ("message-failed", "failed"),
        ("sending", "pending"),
        ("?", "other"),
    ],
)
def test_words(word: str, status: str) -> None:
    assert status_of(word, {**TELNYX, **BANDWIDTH}) == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*KEYS, "data", "payload", "id", "to", "from", "media", "NumMedia"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(CARRIERS)), JSON)
def test_nothing_that_json_can_say_breaks_it(carrier: str, payload: Any) -> None:
    try:
        texts = CARRIERS[carrier].parse(payload)
    except ValueError:
        return
    assert all(text.status in ("sent", "pending", "failed", "received", "other") for text in texts)
