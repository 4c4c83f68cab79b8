from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from config.adapter_options import AdapterChecks
from config.errors import ConfigError
from config.load import load

UID, TOKEN = "uid-of-the-account", "token-never-to-be-seen"


def checks(
    options_model_of: Callable[[str], type[BaseModel]],
    check_template: Callable[[str], list[str]] = lambda _template: [],
    adapter_names: Callable[[], list[str]] = list,
) -> AdapterChecks:
    """Checks with these functions; whatever is left out accepts everything."""
    return AdapterChecks(
        options_model_of=options_model_of,
        check_template=check_template,
        check_expression=check_template,
        check_condition=lambda _condition: [],
        check_only_if=lambda _condition: [],
        adapter_names=adapter_names,
        kinds_of=lambda adapter, _options: {"csv": ("contact",), "sql": ("contact", "deal")}.get(adapter, ()),
        known_carriers=dict,
        can_write=lambda _adapter: True,
        can_wake=lambda adapter: adapter != "csv",
    )


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both credentials set, no configuration named, working in an empty folder."""
    monkeypatch.setenv("VTSYNC_UID", UID)
    monkeypatch.setenv("VTSYNC_SLASHES", "a/b")
    monkeypatch.setenv("VTSYNC_TOKEN", TOKEN)
    monkeypatch.delenv("VTSYNC_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def error_of(tmp_path: Path) -> Callable[[str], ConfigError]:
    """What loading a file with this text complains of."""

    def run(text: str) -> ConfigError:
        path = tmp_path / "vtsync.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load(path)
        return caught.value

    return run
