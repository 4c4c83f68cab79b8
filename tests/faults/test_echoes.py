"""The scenarios of lost responses and echoes, small, on each kind of store. ``bench/faults.py`` runs them in full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import echoes
from tests.faults.servers import own_schema
from tests.harness import Fleet, fleet
from tests.services import postgres_url

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on a store of each kind."""
    with ExitStack() as stack:
        store = stack.enter_context(own_schema(postgres_url())) if request.param == "postgres" else None
        yield stack.enter_context(fleet(tmp_path, store=store))


def test_records_whose_responses_are_lost_stand_in_the_conversation_once(made: Fleet) -> None:
    figures = echoes.lost_records(made, people=60, texts=2, share=0.1, kills=2)
    assert figures["responses lost after the record was stored"] != 0


def test_the_echo_of_one_text_does_not_confirm_its_twin(made: Fleet) -> None:
    echoes.twins(made, pairs=15)
