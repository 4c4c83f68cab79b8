"""The fault scenarios, small: real processes, real kills. ``bench/survival.py`` runs them in full."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.fleet import fleet
from tests.services import postgres_url, redis_url
from tests.survival import hostile, scenarios

pytestmark = pytest.mark.timeout(180)


def test_a_worker_that_is_killed_again_and_again(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        figures = scenarios.kill(made, contacts=900, texts=40, kills=3)
    assert figures["contacts in VirtualText"] == 941


@pytest.mark.redis
@pytest.mark.postgres
def test_two_workers_and_two_syncs_at_once_on_servers(tmp_path: Path) -> None:
    schema = f"faults_{uuid.uuid4().hex[:12]}"
    admin = create_engine(postgres_url())
    with admin.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    store = f"{postgres_url()}?options=-csearch_path%3D{schema}"
    broker = f"{redis_url().rsplit('/', 1)[0]}/8"
    with fleet(tmp_path, store=store, broker=broker) as made:
        scenarios.two(made, contacts=600, texts=30)
    with admin.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


def test_two_workers_and_two_syncs_at_once_on_files(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        scenarios.two(made, contacts=600, texts=30)


def test_answers_that_are_lost_after_the_write(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        figures = scenarios.dropped_answers(made, contacts=300, texts=60)
    assert int(str(figures["answers lost to create"])) > 0
    assert int(str(figures["answers lost to send"])) > 0


def test_a_stop_in_the_middle_gives_everything_back(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        scenarios.warm_stop(made, contacts=400)


def test_hostile_rows_lose_nothing(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        figures = hostile.hostile_rows(made)
    assert figures["rejected with a reason and a line"] == 100
