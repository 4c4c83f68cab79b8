"""Each carrier has a page of the same form that names its keys, and what is generated in the pages is up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.integrations import Carrier
from worker.carriers.document import documents
from worker.carriers.registry import CARRIERS

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS = ["What you need", "Set it up", "Signature", "What is recorded", "Opt-outs", "Limits", "What goes wrong"]


def page(name: str) -> str:
    return (DOCS / "carriers" / f"{name}.md").read_text("utf-8")


def keys_of_the_table(name: str) -> set[str]:
    """The keys that "What you need" explains."""
    section = page(name).partition("## What you need")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_what_is_generated_is_up_to_date() -> None:
    for path, text in documents(DOCS).items():
        assert path.read_text("utf-8") == text, "run: python -m worker.carriers.document docs"


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_a_page_has_the_sections_in_this_order_and_is_in_the_contents(carrier: str) -> None:
    assert re.findall(r"^## (.+)$", page(carrier), re.MULTILINE) == SECTIONS
    assert f"- carriers/{carrier}.md\n" in (DOCS.parent / "mkdocs.yml").read_text("utf-8")


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_a_page_explains_the_keys_that_its_carrier_needs_and_none_that_does_not_exist(carrier: str) -> None:
    provider = CARRIERS[carrier]
    keys = keys_of_the_table(carrier)
    assert keys >= {*provider.needs, *provider.list_needs}
    assert keys <= set(Carrier.model_fields)
    assert provider.list_opt_outs is None or "auth_token" in keys


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_a_page_shows_the_url_and_the_configuration(carrier: str) -> None:
    assert f"/carriers/{carrier}/shop" in page(carrier)
    assert f'carrier = "{carrier}"' in page(carrier)
    assert ("poll_every" in page(carrier)) is (CARRIERS[carrier].list_sent is not None)
    assert ("POST /v1/records" in page(carrier)) is (CARRIERS[carrier].look_up is None and carrier != "telnyx")
