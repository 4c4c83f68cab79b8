"""Old names of keys: each keeps working, and is named once. A renamed key is one more row."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError
from config.load import settings_from
from config.models import Settings
from config.renamed import RENAMED, with_current_names
from config.schema_walk import keys_of, node_at

ACCOUNT = {"uid": "u", "token": {"env": "VTSYNC_TOKEN"}, "from_number": "+14155550100"}
OLD_TO_NEW = [
    ("accounts.main.settle_after", "lookup_after"),
    ("worker.sweep_every", "tick_every"),
]


def file_with(key: str, value: object) -> dict[str, Any]:
    *table, last = key.split(".")
    data: dict[str, Any] = {"accounts": {"main": dict(ACCOUNT)}}
    inner = data
    for name in table:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return data


def read(settings: Settings, key: str) -> object:
    found: Any = settings
    for name in key.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    return found


@pytest.mark.parametrize(("old", "new"), OLD_TO_NEW)
def test_an_old_name_works_and_is_noted(old: str, new: str) -> None:
    data = file_with(old, "7m")
    settings = settings_from(data, Path("/etc"))
    assert read(settings, f"{old.rpartition('.')[0]}.{new}") == timedelta(minutes=7)
    assert settings.notes == (f"{old} is now called {new}; the old name still works",)
    assert data == file_with(old, "7m"), "the caller's data stays as it was"


@pytest.mark.parametrize(("old", "new"), OLD_TO_NEW)
def test_the_new_name_is_not_noted(old: str, new: str) -> None:
    assert settings_from(file_with(f"{old.rpartition('.')[0]}.{new}", "7m"), Path("/etc")).notes == ()


@pytest.mark.parametrize(("old", "new"), OLD_TO_NEW)
def test_a_mistake_is_reported_under_the_name_in_the_file(old: str, new: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from(file_with(old, "soon"), Path("/etc"))
    assert [problem.key for problem in caught.value.problems] == [old]


@pytest.mark.parametrize(("old", "new"), OLD_TO_NEW)
def test_both_names_together_are_a_problem(old: str, new: str) -> None:
    data = file_with(old, "7m")
    table = data
    for name in old.split(".")[:-1]:
        table = table[name]
    table[new] = "8m"
    with pytest.raises(ConfigError, match=f"is the old name of {new}, which is set too") as caught:
        settings_from(data, Path("/etc"))
    assert [problem.key for problem in caught.value.problems] == [old]


def test_every_renamed_key_is_tested_and_leads_to_a_key_that_exists() -> None:
    assert {(old.replace(".main.", ".*."), new) for old, new in OLD_TO_NEW} == {
        (".".join(old), new) for old, new in RENAMED.items()
    }
    for (*table, old), new in RENAMED.items():
        node = node_at(Settings, table)
        assert node is not None
        assert node.model is not None
        assert new in keys_of(node.model)
        assert old not in keys_of(node.model)


def test_the_documentation_lists_every_renamed_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    for old, new in RENAMED.items():
        assert f"| `{'.'.join(old).replace('*', '<name>')}` | `{new}` |" in page


@pytest.mark.parametrize("data", [{}, {"accounts": 5}, {"accounts": {"a": 5}}, {"worker": []}, {"accounts": [1]}])
def test_odd_data_is_left_to_the_models(data: dict[str, Any]) -> None:
    assert with_current_names(data).data == data
