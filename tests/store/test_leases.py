"""The one mechanism behind every claim, on each kind of store."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, select

from worker.store.db import reading, writing
from worker.store.leases import Lease, LeaseColumns, new_lease
from worker.store.models import utcnow
from worker.store.tables import account_state, carrier_state

LEASES = LeaseColumns(carrier_state)
NOW = utcnow()
C = carrier_state.c


@pytest.fixture
def rows(engine: Engine) -> Engine:
    with writing(engine) as db:
        db.execute(insert(carrier_state), [{"name": name, "last_error": ""} for name in "abc"])
    return engine


def owners(engine: Engine) -> dict[str, str | None]:
    with reading(engine) as db:
        return dict(db.execute(select(C.name, C.lease_owner)).all())


def take(engine: Engine, lease: Lease, name: str) -> bool:
    with writing(engine) as db:
        return LEASES.take(db, lease, NOW, C.name == name)


def test_a_row_is_taken_by_one_owner_until_the_lease_ends(rows: Engine) -> None:
    first, second = new_lease(NOW, 60), new_lease(NOW, 60)
    assert take(rows, first, "a")
    assert not take(rows, second, "a")
    with writing(rows) as db:
        assert LEASES.take(db, second, NOW + timedelta(seconds=60), C.name == "a")
    assert owners(rows) == {"a": second.owner, "b": None, "c": None}


def test_due_rows_are_taken_once_and_what_is_held_is_passed_by(rows: Engine) -> None:
    take(rows, new_lease(NOW, 60), "b")
    due = select(C.name).where(LEASES.is_free(NOW)).order_by(C.name).limit(2)
    lease = new_lease(NOW, 60)
    with writing(rows) as db:
        taken = LEASES.take_due(db, due, lease, C.name, C.last_error, last_error="taken")
        assert sorted(taken) == [("a", "taken"), ("c", "taken")]
    with writing(rows) as db:
        assert LEASES.take_due(db, due, new_lease(NOW, 60), C.name) == []


def test_only_the_owner_renews_and_releases(rows: Engine) -> None:
    mine, other = new_lease(NOW, 60), new_lease(NOW, 60)
    take(rows, mine, "a")
    later = NOW + timedelta(hours=1)
    with writing(rows) as db:
        assert not LEASES.renew(db, Lease(other.owner, later), C.name == "a")
        assert LEASES.release(db, other.owner, C.name == "a") == 0
        assert LEASES.renew(db, Lease(mine.owner, later), C.name == "a", last_error="renewed")
        assert db.execute(select(C.lease_until, C.last_error).where(C.name == "a")).one() == (later, "renewed")
        assert LEASES.release(db, mine.owner, last_error="done") == 1
    assert owners(rows) == {"a": None, "b": None, "c": None}


def test_what_has_ended_is_not_what_was_never_held(rows: Engine) -> None:
    take(rows, new_lease(NOW - timedelta(minutes=2), 60), "a")
    with reading(rows) as db:
        assert db.scalars(select(C.name).where(LEASES.has_ended(NOW))).all() == ["a"]
        assert db.scalars(select(C.name).where(LEASES.is_free(NOW)).order_by(C.name)).all() == ["a", "b", "c"]


def test_a_table_may_have_several_leases(engine: Engine) -> None:
    lists = LeaseColumns(account_state, "list_")
    lease = new_lease(NOW, 60)
    with writing(engine) as db:
        db.execute(insert(account_state), {"account": "main", "stopped_reason": ""})
        assert lists.take(db, lease, NOW, account_state.c.account == "main")
        stored = db.execute(select(account_state.c.list_lease_owner, account_state.c.list_lease_until)).one()
    assert stored == (lease.owner, lease.until)
