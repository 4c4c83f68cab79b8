"""Each configuration in the documentation loads: with what its page leaves out, it has no mistake."""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from config.load import settings_from
from config.models import Settings
from worker.runtime.load import adapter_checks

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
OF_ANOTHER_FILE = ("[project", "[build-system]")
_BLOCK = re.compile(r"^([ ]*)```toml\n(.*?)^\1```", re.MULTILINE | re.DOTALL)

# What a page may leave out, because another one explains it.
CONNECTION = {
    "adapter": "hubspot",
    "options": {"token": {"env": "TOKEN"}, "deals": True},
    "do_not_text": {"field": "x"},
}
TRIGGER = {"connections": "crm", "on": "created", "message": "Hello"}
WEB = {"public_url": "https://texts.example.com"}


def account(name: str) -> dict[str, Any]:
    secrets = {key: {"env": f"{name}_{key}"} for key in ("token", "relay_secret")}
    return {"uid": name, "from_number": "+14155550100", **secrets}


def merged(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        key: merged(base[key], one) for key, one in given.items() if isinstance(one, dict) and _is_table(base, key)
    }
    return {**base, **given, **inner}


def _is_table(base: Mapping[str, Any], key: str) -> bool:
    return isinstance(base.get(key), dict) and "env" not in base[key]


def completed(data: dict[str, Any], whole_connection: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with what its page leaves out."""
    if not set(data) & set(Settings.model_fields):  # the keys of one connection
        data = {"connections": {"crm": data}}
    connections = {
        name: one if "adapter" in one else merged(whole_connection, one)
        for name, one in data.get("connections", {}).items()
    }
    triggers = {name: one if "on" in one else TRIGGER | one for name, one in data.get("triggers", {}).items()}
    for trigger in triggers.values():
        named = trigger["connections"]
        connections = dict.fromkeys([named] if isinstance(named, str) else named, CONNECTION) | connections
    connections = {name: {"account": "main"} | one for name, one in connections.items()}
    users = [*connections.values(), *data.get("carriers", {}).values()]
    accounts = {name: account(name) for name in ("main", *(one["account"] for one in users))}
    return data | {
        "accounts": merged(accounts, {name: account(name) | one for name, one in data.get("accounts", {}).items()}),
        "connections": connections,
        "triggers": triggers,
        "web": WEB | data.get("web", {}),
    }


def from_the_environment(value: Any) -> Any:
    """The configuration, with each reference to a file as one to a variable."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"file"}:
        return {"env": value["file"].replace("/", "_")}
    return {key: from_the_environment(one) for key, one in value.items()}


def secrets_in(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The variables that a configuration reads, each with a value that fits its key."""
    for key, value in table.items():
        if isinstance(value, dict) and set(value) == {"env"}:
            yield value["env"], fitting(key, value["env"])
        elif isinstance(value, dict):
            yield from secrets_in(value)


def fitting(key: str, name: str) -> str:
    digest = hashlib.sha256(name.encode())
    in_base64 = base64.b64encode(digest.digest()).decode()
    if key in ("grant_key", "encryption_key"):
        return in_base64
    if key == "secret":
        return f"whsec_{in_base64}"
    if key.endswith("url"):
        return "https://example.com/hook" if key != "url" else "postgresql+psycopg://me:pw@db/shop"
    return digest.hexdigest()


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        if not any(mark in found[2] for mark in OF_ANOTHER_FILE):
            yield text.count("\n", 0, found.start()) + 1, textwrap.dedent(found[2])


EXAMPLES = [
    pytest.param(page, block, id=f"{page.relative_to(ROOT)}:{line}") for page in PAGES for line, block in blocks(page)
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 40


@pytest.mark.parametrize(("page", "block"), EXAMPLES)
def test_an_example_has_no_mistake(page: Path, block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    of_page = (tomllib.loads(one).get("connections", {}) for _line, one in blocks(page) if "adapter = " in one)
    first = next((one for tables in of_page for one in tables.values()), CONNECTION)
    data = from_the_environment(completed(tomllib.loads(block), first))
    for name, value in secrets_in(data):
        monkeypatch.setenv(name, value)
    settings_from(data, tmp_path, adapter_checks())
