"""The right to read a connection, and when it ends."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Engine

from tests.harness import until
from worker.contacts.lease import LeaseLost, claim_connection, kept_alive
from worker.store.db import writing


def test_a_run_that_hangs_is_taken_over_and_commits_nothing_more(engine: Engine) -> None:
    held = claim_connection(engine, "crm", 0.3)
    assert held is not None
    with kept_alive(engine, held, 0.3, patience=0.5):
        until("another to take it over", lambda: claim_connection(engine, "crm", 60))
        with pytest.raises(LeaseLost), writing(engine) as db:
            held.fence(db, cursor="{}")


def test_a_run_that_moves_keeps_its_connection_however_slow_it_is(engine: Engine) -> None:
    held = claim_connection(engine, "crm", 0.3)
    assert held is not None
    with kept_alive(engine, held, 0.3, patience=0.5):
        for _ in range(10):
            time.sleep(0.1)
            held.note_progress()
            assert claim_connection(engine, "crm", 60) is None
        with writing(engine) as db:
            held.fence(db, cursor="{}")
