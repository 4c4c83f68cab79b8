"""docs/openapi.json is what the routes are, and breaks no caller of the last release unless that is meant."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.web.openapi_changes import breaking_changes
from worker.web.document import document, written

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "openapi.json"
RELEASED = Path(__file__).with_name("openapi_released.json")
INTENDED = Path(__file__).with_name("openapi_breaks.toml")
LOCKED = (ROOT / "requirements.lock").read_text("utf-8")
AS_LOCKED = all(f"\n{name}=={version(name)} " in f"\n{LOCKED}" for name in ("fastapi", "pydantic"))


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    return document()


@pytest.mark.skipif(not AS_LOCKED, reason="other versions of FastAPI and Pydantic describe the same in other words")
def test_the_file_is_up_to_date(now: dict[str, Any]) -> None:
    same = written(now) == FILE.read_text("utf-8")
    assert same, "the routes have changed; write the file again: python -m worker.web.document docs/openapi.json"


def test_no_caller_of_the_last_release_breaks_unless_that_is_meant(now: dict[str, Any]) -> None:
    meant = tomllib.loads(INTENDED.read_text("utf-8")).get("breaks", {})
    found = breaking_changes(json.loads(RELEASED.read_text("utf-8")), now)
    unexpected = [one for one in found if not meant.get(one, "").strip()]
    assert unexpected == [], f"callers break; if that is meant, give the reason of each in {INTENDED.name}"
    assert [one for one in meant if one not in found] == [], f"remove these lines from {INTENDED.name}: nothing breaks"


def test_every_route_has_examples_that_fit(now: dict[str, Any]) -> None:
    wrong, seen = [], 0
    for path, methods in now["paths"].items():
        for method, operation in methods.items():
            good = {status: one for status, one in operation["responses"].items() if status.startswith("2")}
            for place, part in {"body": operation.get("requestBody", {}), **good}.items():
                for content in part.get("content", {}).values():
                    seen += 1
                    schema = content["schema"] | {"components": now["components"]}
                    errors = jsonschema_rs.Draft202012Validator(schema).iter_errors(content["example"])
                    wrong += [(method, path, place, error.message) for error in errors]
    assert wrong == []
    assert seen > 40


def test_every_route_of_a_key_names_its_scope(now: dict[str, Any]) -> None:
    nameless = [
        path
        for path, methods in now["paths"].items()
        for operation in methods.values()
        if path.startswith("/v1") and not any(scopes for one in operation["security"] for scopes in one.values())
    ]
    assert nameless == []
