"""The versions of a record can be led back from the one that is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.contacts.pull_rows import what_was
from worker.rehearsal.history import versions_of

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = st.dictionaries(st.sampled_from("abcde"), st.one_of(st.none(), st.text(max_size=3), st.integers(0, 3)))


def changes(versions: list[dict[str, Any]]) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(revision=number, at=BEGAN + timedelta(days=number), before=what_was(old, new))
        for number, (old, new) in enumerate(pairwise(versions), start=2)
    ]


@given(st.lists(VALUES, min_size=1, max_size=6), st.randoms())
def test_every_version_comes_back(versions: list[dict[str, Any]], shuffled: Any) -> None:
    stored = changes(versions)
    shuffled.shuffle(stored)
    found = versions_of(versions[-1], len(versions), BEGAN, BEGAN, stored)
    assert [one.properties for one in found] == versions
    assert [one.old for one in found] == [None, *versions[:-1]]
    assert [one.revision for one in found] == list(range(1, len(versions) + 1))


def test_the_walk_back_ends_where_a_change_is_missing() -> None:
    versions = [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]
    found = versions_of(versions[-1], 4, BEGAN, BEGAN, [one for one in changes(versions) if one.revision != 3])
    assert [(one.revision, one.properties, one.old) for one in found] == [(3, {"a": 3}, None), (4, {"a": 4}, {"a": 3})]
