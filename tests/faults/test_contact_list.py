"""A contact list that fails, in every way and on each kind of store, against whole fleets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import contact_list
from tests.faults.servers import own_schema
from tests.harness import Fleet, fleet
from tests.services import postgres_url

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on each kind of store."""
    if request.param == "sqlite":
        with fleet(tmp_path) as one:
            yield one
        return
    with own_schema(postgres_url()) as store, fleet(tmp_path, store=store) as one:
        yield one


@pytest.mark.parametrize("fault", contact_list.ANSWERS.values(), ids=contact_list.ANSWERS)
def test_whatever_the_list_answers_all_contacts_are_created_once(made: Fleet, fault: dict[str, Any]) -> None:
    figures = contact_list.failing_list(made, fault, contacts=40)
    assert (figures["contacts created"], figures["there twice"]) == (40, 0)


@pytest.mark.parametrize(("decision", "doubles"), [("file", 0), ("without list", 25)])
def test_a_first_link_up_without_the_list_waits_for_a_person(made: Fleet, decision: str, doubles: int) -> None:
    figures = contact_list.first_link_up(made, contacts=50, decision=decision)
    assert (figures["in VirtualText before"], figures["there twice"]) == (25, doubles)


def test_in_an_outage_nothing_is_created_and_the_list_is_not_given_up(made: Fleet) -> None:
    figures = contact_list.outage(made, contacts=40, seconds=60)
    assert figures["contacts created"] == 40
