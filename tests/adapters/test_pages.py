"""Each adapter has a page of the same form, and what is generated in the pages is up to date."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from config.schema_walk import keys_of
from crm_adapters.document import documents
from crm_adapters.registry import BUILT_IN, adapter_class

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = [
    "What it syncs",
    "What you need",
    "Set it up",
    "Options",
    "Fields",
    "Changes and deletions",
    "What it writes back",
    "Limits",
    "Try it",
    "What goes wrong",
]


def page(name: str) -> str:
    return (DOCS / "adapters" / f"{name}.md").read_text("utf-8")


def test_what_is_generated_is_up_to_date() -> None:
    for path, text in documents(DOCS).items():
        assert path.read_text("utf-8") == text, "run: python -m crm_adapters.document docs"


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_page_has_all_sections_in_this_order(name: str) -> None:
    found = re.findall(r"^## (.+)$", page(name), re.MULTILINE)
    assert [section for section in found if section in SECTIONS] == SECTIONS


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_page_shows_the_configuration_and_is_in_the_contents(name: str) -> None:
    assert f'adapter = "{name}"' in page(name)
    assert f"- adapters/{name}.md\n" in (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    assert f"](docs/adapters/{name}.md)" in (DOCS.parent / "README.md").read_text("utf-8")


def models_in(annotation: Any) -> set[type[BaseModel]]:
    """The models that a type names, anywhere in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple, list, dict):
        return set().union(*map(models_in, get_args(annotation)))
    return set()


def nested_keys(model: type[BaseModel]) -> set[str]:
    """The keys of the tables in the options, at any depth."""
    inner = set().union(*(models_in(field.annotation) for field in keys_of(model).values()))
    return {key for one in inner for key in keys_of(one)} | set().union(*map(nested_keys, inner))


NESTED = [(name, key) for name in BUILT_IN for key in sorted(nested_keys(adapter_class(name).Options))]


def test_there_are_nested_keys() -> None:
    assert ("rest", "client_auth") in NESTED


@pytest.mark.parametrize(("name", "key"), NESTED)
def test_a_page_names_the_keys_of_tables_in_options(name: str, key: str) -> None:
    assert re.search(rf"\b{key}\b", page(name))
