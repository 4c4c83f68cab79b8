"""Whatever stands in the file: settings, or a ConfigError. Never another error."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from config.adapter_options import adapter_problems
from config.errors import ConfigError
from config.load import load, settings_from
from config.models import Settings
from config.schema_walk import keys_of, node_at
from config.types import ConfigPath, DatabaseUrl, Secret
from tests.config.conftest import checks

WORDS = st.sampled_from([
    *[key for steps in ([], ["accounts", "x"], ["connections", "x"], ["triggers", "x"], ["policy"], ["worker"])
      for place in [node_at(Settings, steps)] if place and place.model for key in keys_of(place.model)],
    "env", "file", "main", "crm", "created", "changed", "24h", "* * * * *", "0 0 30 2 *", "US", "+14155550100", "HOME",
    "sqlite:///x.db", "sqlite:///", "redis://:p@h", "http://[", "https://h:99999999", "~", "~x/y",
    "\0", "", "://", "a.b",
])  # fmt: skip
SCALARS = (
    WORDS
    | st.text(max_size=12)
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(2**63), 0x7FFFFFFFFFFFFFFF])
    | st.floats()
    | st.datetimes()
    | st.dates()
    | st.times()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
TABLES = st.dictionaries(WORDS | st.text(max_size=8), VALUES, max_size=7)
NAMED = st.dictionaries(st.sampled_from(["main", "crm", "a b", ""]), TABLES | VALUES, max_size=3)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "accounts": NAMED | VALUES,
        "connections": NAMED | VALUES,
        "triggers": NAMED | VALUES,
        "policy": TABLES | VALUES,
        "store": TABLES | VALUES,
        "broker": TABLES | VALUES,
        "worker": TABLES | VALUES,
        "data_dir": VALUES,
        "colour": VALUES,
    },
)


def outcome(load_it: Callable[[], Settings]) -> Settings | ConfigError:
    try:
        return load_it()
    except ConfigError as error:
        return error


class AnyOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    env: ConfigPath | None = None
    file: Secret | None = None
    main: DatabaseUrl | None = None
    crm: dict[str, list[int]] = {}


@given(FILES)
@settings(max_examples=150)
def test_any_data_gives_settings_or_a_config_error(data: dict[str, Any]) -> None:
    found = outcome(lambda: settings_from(data, Path("/etc/vtsync")))
    assert str(found)
    assert isinstance(found, Settings) or all(problem.message for problem in found.problems)


@given(st.dictionaries(st.sampled_from(["env", "file", "main", "crm", "x"]), VALUES, max_size=4))
@settings(max_examples=100)
def test_any_options_give_options_or_a_config_error(options: dict[str, Any]) -> None:
    connection = {"adapter": "any", "account": "main", "options": options}
    data = {"connections": {"crm": connection}}
    assert all(problem.message for problem in adapter_problems(data, checks(lambda _name: AnyOptions), None))
    configured = Settings.model_validate(data)
    assert repr(configured)
    assert configured.model_dump()


@given(st.binary(max_size=60) | st.text(alphabet="[]{}=\"'.#\n\\ae1-:T", max_size=60).map(str.encode))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_give_settings_or_a_config_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vtsync.toml"
    path.write_bytes(content)
    found = outcome(lambda: load(path))
    assert isinstance(found, Settings) or str(path) in str(found)


def test_a_path_of_thousands_of_keys_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "vtsync.toml"
    path.write_text(f"connections.crm.options.{'.'.join(['a'] * 3000)} = 1", encoding="utf-8")
    found = outcome(lambda: load(path))
    assert isinstance(found, ConfigError)
    assert "connections.crm.adapter" in [problem.key for problem in found.problems]


def test_a_date_is_shown_as_written() -> None:
    found = outcome(lambda: settings_from({"policy": {"expires_after": dt.date(2024, 5, 1)}}, Path("/")))
    assert isinstance(found, ConfigError)
    assert found.problems[0].value == "2024-05-01"
