"""The conformance kit passes good adapters and catches broken ones, each at the promise that it breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_adapters.testing.resuming import ResumesPulls
from tests.adapters.broken.catalogue import Caught, catalogue
from tests.adapters.broken.good import Good, GoodByItsClock, Kit, kit

TESTS = sorted(name for name in dir(Kit) if name.startswith("test_"))
BROKEN = catalogue()


@pytest.mark.parametrize(
    ("adapter", "test"),
    [(Good, test) for test in TESTS] + [(GoodByItsClock, test) for test in TESTS if test in vars(ResumesPulls)],
)
def test_a_good_adapter_passes(adapter: type[Good], test: str, tmp_path: Path) -> None:
    getattr(kit(adapter), test)(tmp_path)


@pytest.mark.parametrize("one", BROKEN, ids=lambda one: f"{one.adapter.__name__}-{one.test}")
def test_a_broken_adapter_is_caught(one: Caught, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=one.complaint) as caught:
        getattr(kit(one.adapter, patience=1.5), one.test)(tmp_path)
    assert not isinstance(caught.value, pytest.skip.Exception)


def test_every_test_of_the_kit_can_fail() -> None:
    assert {one.test for one in BROKEN} == set(TESTS)


def test_each_broken_adapter_says_what_it_does_wrong() -> None:
    ideas = [one.idea for one in BROKEN]
    assert all(ideas)
    assert len(set(ideas)) == len({one.adapter for one in BROKEN})
