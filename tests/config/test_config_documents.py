"""The starter file, the reference and the editors' schema say what the models say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.load import load
from config.models import Settings
from config.reference import reference, with_reference
from config.schema import json_schema
from config.schema_walk import keys_of, node_at
from config.starter import starter_text, write_starter

PROJECT = Path(__file__).parents[2]
TABLES = {
    "": [],
    "accounts.<name>": ["accounts", "x"],
    "connections.<name>": ["connections", "x"],
    "connections.<name>.fields": ["connections", "x", "fields"],
    "triggers.<name>": ["triggers", "x"],
    "policy": ["policy"],
    "retention": ["retention"],
    "store": ["store"],
    "broker": ["broker"],
    "worker": ["worker"],
}
KEYS = [
    (table, key)
    for table, steps in TABLES.items()
    for place in [node_at(Settings, steps)]
    if place is not None and place.model is not None
    for key in keys_of(place.model)
]


def uncommented(text: str) -> str:
    """The starter with its commented examples switched on: lines such as ``# key = value`` and ``# [table]``."""
    return re.sub(r"^# (?=\[[a-z_.]+\]$|[a-z_]+ = )", "", text, flags=re.MULTILINE)


def test_the_starter_loads_once_two_variables_are_set(tmp_path: Path) -> None:
    write_starter(tmp_path / "vtsync.toml")
    settings = load()
    assert list(settings.accounts) == ["main"]
    assert list(settings.connections) == ["crm"]
    assert settings.triggers == {}
    assert settings.policy == Settings().policy


def test_the_starter_says_what_to_do_without_the_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VTSYNC_UID")
    monkeypatch.delenv("VTSYNC_TOKEN")
    write_starter(tmp_path / "vtsync.toml")
    with pytest.raises(ConfigError) as caught:
        load()
    assert [problem.key for problem in caught.value.problems] == ["accounts.main.uid", "accounts.main.token"]


def test_the_commented_examples_of_the_starter_are_good_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql+psycopg://me:pw@db/shop")
    monkeypatch.setenv("VTSYNC_STORE_URL", "postgresql+psycopg://me:pw@db/vtsync")
    monkeypatch.setenv("VTSYNC_BROKER_URL", "redis://:pw@host:6379/0")
    (tmp_path / "vtsync.toml").write_text(uncommented(starter_text()), encoding="utf-8")
    settings = load()
    assert list(settings.connections) == ["crm", "shop"]
    assert list(settings.triggers) == ["order_ready", "welcome"]
    assert settings.accounts["main"].create_url == "https://example-txb.textable.app"
    assert settings.store.url is not None
    assert settings.broker.url is not None


def test_the_starter_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vtsync.toml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="exists already"):
        write_starter(path)
    assert path.read_text(encoding="utf-8") == "mine"


def test_the_starter_says_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        write_starter(tmp_path / "nowhere" / "vtsync.toml")


def test_the_example_environment_names_the_variables_of_the_starter() -> None:
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    for name in re.findall(r'env = "(VTSYNC_\w+)"', starter_text()):
        assert re.search(rf"^(# )?{name}=", example, flags=re.MULTILINE), name


def test_the_reference_in_the_docs_is_up_to_date() -> None:
    document = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert with_reference(document) == document, "run: python -m config.reference docs/configuration.md"


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_the_reference_has_every_key_in_its_table_with_its_meaning(table: str, key: str) -> None:
    title = f"### `[{table}]`\n" if table else "### Top of the file\n"
    section = reference().partition(title)[2].partition("\n### ")[0]
    [row] = [line for line in section.splitlines() if line.startswith(f"| `{key}` |")]
    assert len(row.split(" | ")[2]) > 15


def test_a_document_without_marks_is_not_touched() -> None:
    with pytest.raises(ValueError, match="marks"):
        with_reference("# Configuration\n")


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_the_schema_has_every_key(table: str, key: str) -> None:
    schema = json_schema()
    here = schema
    for step in filter(None, table.split(".")):
        here = here["additionalProperties"] if step == "<name>" else here["properties"][step]
        here = schema["$defs"][here["$ref"].rpartition("/")[2]] if "$ref" in here else here
    kinds = [schema["$defs"][one["$ref"].rpartition("/")[2]] for one in here.get("oneOf", ())] or [here]
    assert any(key in kind["properties"] for kind in kinds)
    assert all(kind["additionalProperties"] is False for kind in kinds)


def test_the_schema_shows_values_as_they_are_written() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Policy"]["properties"]["expires_after"]["default"] == "24h"
    assert definitions["Policy"]["properties"]["expires_after"]["type"] == "string"
    assert definitions["Account"]["properties"]["token"]["anyOf"][0]["required"] == ["env"]
    assert {"type": "string"} not in definitions["Account"]["properties"]["token"]["anyOf"]
    assert {"type": "string"} in definitions["CreatedTrigger"]["properties"]["connections"]["anyOf"]
    assert definitions["CreatedTrigger"]["required"] == ["connections", "on", "message"]
    assert definitions["DateTrigger"]["properties"]["on"]["const"] == "date"


def test_the_patterns_of_the_schema_accept_the_starter() -> None:
    schema = json_schema()["$defs"]
    account = tomllib.loads(starter_text())["accounts"]["main"]
    assert re.search(schema["Account"]["properties"]["from_number"]["pattern"], account["from_number"])
    assert re.search(schema["Policy"]["properties"]["expires_after"]["pattern"], "24h")


SIGN_IN = [
    example
    for page in ("pages.md", "openid-connect.md")
    for example in re.findall(r"```toml\n(.*?)```", (PROJECT / "docs" / page).read_text("utf-8"), re.DOTALL)
]


def test_there_are_examples_of_signing_in() -> None:
    assert len(SIGN_IN) > 9


@pytest.mark.parametrize("example", SIGN_IN)
def test_each_example_of_signing_in_loads(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "hush")
    if "public_url" not in example:
        example = f'[web]\npublic_url = "https://texts.example.com"\n{example}'
    (tmp_path / "vtsync.toml").write_text(example, encoding="utf-8")
    web = load().web
    assert web.oidc or web.proxy_sign_in
