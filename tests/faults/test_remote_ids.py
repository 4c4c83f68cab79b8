"""Ids that fail or are gone, and answers about other contacts, on an account that cannot list its contacts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import remote_ids
from tests.faults.servers import own_schema
from tests.harness import Fleet, fleet
from tests.services import postgres_url

pytestmark = pytest.mark.timeout(240)
CONTACTS = 200
RIGHT = {
    "contacts": CONTACTS,
    "waiting for a person": 0,
    "missing in VirtualText": 0,
    "in VirtualText twice": 0,
    "with another name in VirtualText": 0,
}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        store = stack.enter_context(own_schema(postgres_url())) if request.param == "postgres" else None
        yield stack.enter_context(fleet(tmp_path, store=store))


def test_502s_by_chance_freeze_nobody(made: Fleet) -> None:
    figures = remote_ids.random_502s(made, CONTACTS)
    assert figures.items() >= RIGHT.items(), figures
    assert figures["answered with 502"] != 0


def test_contacts_that_people_deleted_are_created_again_once(made: Fleet) -> None:
    figures = remote_ids.deleted_contacts(made, CONTACTS, gone=20)
    assert figures.items() >= (RIGHT | {"created again": 20}).items(), figures


def test_in_an_outage_of_requests_by_id_nothing_is_created_again(made: Fleet) -> None:
    figures = remote_ids.outage_by_id(made, CONTACTS)
    assert figures.items() >= (RIGHT | {"created during the outage": 0}).items(), figures


def test_creates_answered_with_existing_contacts_end_with_the_fields_of_the_crm(made: Fleet) -> None:
    figures = remote_ids.existing_contacts(made, CONTACTS, existing=100)
    assert figures.items() >= RIGHT.items(), figures
