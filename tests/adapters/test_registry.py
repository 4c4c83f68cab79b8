"""Adapters are found by name; third parties' come from installed packages, and a broken one harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_adapters.base import Adapter
from crm_adapters.registry import (
    AdapterInfo,
    BrokenAdapter,
    OptionInfo,
    UnknownAdapter,
    adapter_class,
    adapter_names,
    describe_adapters,
)

GOOD_PLUGIN = """
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from crm_adapters.base import Adapter


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    token: SecretStr = Field(description="The API key.")
    lists: list[str] = Field(default_factory=list, description="Lists to read.")
    region: Literal["eu", "us"] | None = Field(None, description="Where the account lives.")
    pause: float = Field(0.5, description="Seconds between calls.")


class Acme(Adapter):
    name = "acme"
    summary = "Contacts of Acme CRM."
    Options = Options
    check = pull = contact_fields = None


not_an_adapter = 42
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package "vtsync-acme" on the path that brings one good adapter and several bad ones."""
    module = f"acme_plugin_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(GOOD_PLUGIN)
    (tmp_path / f"{module}_exits.py").write_text("raise SystemExit('needs Python 2')")
    metadata = tmp_path / "vtsync_acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vtsync-acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[vtsync.adapters]\n"
        f"acme = {module}:Acme\n"
        "gone = no_such_module_at_all:Adapter\n"
        f"number = {module}:not_an_adapter\n"
        f"exits = {module}_exits:Adapter\n"
        f"csv = {module}:Acme\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def info(name: str) -> AdapterInfo:
    (found,) = [one for one in describe_adapters() if one.name == name]
    return found


def test_built_in_adapters_are_known_by_name() -> None:
    assert {"csv", "sql"} <= set(adapter_names())
    assert issubclass(adapter_class("csv"), Adapter)
    assert adapter_class("csv").name == "csv"


def test_an_unknown_name_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(UnknownAdapter, match=r'there is no adapter "cvs"; there are: .*csv.*sql.*did you mean "csv"\?'):
        adapter_class("cvs")
    with pytest.raises(LookupError) as caught:
        adapter_class("zzzzzz")
    assert "did you mean" not in str(caught.value)


def test_an_installed_package_adds_its_adapter(installed: Path) -> None:
    assert "acme" in adapter_names()
    assert adapter_class("acme").name == "acme"
    assert info("acme") == AdapterInfo(
        "acme",
        "Contacts of Acme CRM.",
        "vtsync-acme",
        (
            OptionInfo("token", "text", "required", "The API key."),
            OptionInfo("lists", "list of text", "", "Lists to read."),
            OptionInfo("region", '"eu" or "us"', "", "Where the account lives."),
            OptionInfo("pause", "number", "0.5", "Seconds between calls."),
        ),
    )


def test_a_package_cannot_take_a_built_in_name(installed: Path) -> None:
    assert adapter_class("csv").__module__ == "crm_adapters.csv.adapter"
    assert info("csv").source == "built in"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "No module named 'no_such_module_at_all'"),
        ("number", "not a subclass of"),
        ("exits", "needs Python 2"),
    ],
)
def test_a_broken_package_is_reported_and_the_others_go_on(installed: Path, name: str, why: str) -> None:
    assert why in info(name).summary
    assert info(name).summary.startswith("cannot be used: ")
    assert info("acme").options
    with pytest.raises(BrokenAdapter, match=why):
        adapter_class(name)


def test_options_are_shown_with_type_default_and_meaning() -> None:
    options = {option.name: option for option in info("csv").options}
    assert list(options) == [
        "path",
        "files",
        "delimiter",
        "encoding",
        "id",
        "deleted",
        "sheet",
        "short_last_row",
        "settle_seconds",
    ]
    assert (options["path"].type, options["path"].default) == ("text or list of text", "required")
    assert (options["settle_seconds"].type, options["settle_seconds"].default) == ("number", "2.0")
    assert all(option.description for option in options.values())
    assert next(option.type for option in info("sql").options if option.name == "url") == "text or secret"
