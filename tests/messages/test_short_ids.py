"""A message is found by the end of its id, a batch by the beginning, and never another one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, text

from worker.messages.short_ids import SHORTEST, WHOLE, candidates, short_ids
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import message

# Made in one millisecond, as a sync makes them; the last two also end alike.
ONE, TWO, THREE = (
    f"01a229b075d87{rest}" for rest in ("59db673051cc8ce0000", "568a5588bca70e27931", "5680000bbca70e27931")
)
BATCH, LIKE_IT = "446d5e8fccc24889ab8d2374f8294e5d", "446d5e8f00000000000000000000000a"


@pytest.fixture
def store(engine: Engine) -> Engine:
    add(engine, {ONE: BATCH, TWO: BATCH, THREE: LIKE_IT})
    return engine


def add(engine: Engine, batch_of: dict[str, str]) -> None:
    now = utcnow()
    row = {"account": "main", "kind": "send", "to_number": "+14155550101", "from_number": "+12025550100", "text": "x"}
    row |= {"payload_hash": "", "due_at": now}
    rows = [
        row | {"id": one, "batch_id": batch, "idempotency_key": one, "created_at": now + timedelta(seconds=n)}
        for n, (one, batch) in enumerate(batch_of.items())
    ]
    with writing(engine) as connection:
        connection.execute(insert(message), rows)


def test_ids_are_as_short_as_they_can_be(store: Engine) -> None:
    with reading(store) as connection:
        shown = short_ids(connection, [ONE, TWO])
        assert shown == {ONE: ONE[-8:], TWO: TWO[-12:]}
        assert [one.id for one in candidates(connection, shown[TWO], batches=False)] == [TWO]


MEANT = {
    # what is typed: (with batches, without)
    ONE[-8:]: ([ONE], [ONE]),
    ONE[-8:].upper(): ([ONE], [ONE]),
    ONE[-20:]: ([ONE], [ONE]),
    TWO[-8:]: ([THREE, TWO], [THREE, TWO]),
    TWO[-11:]: ([THREE, TWO], [THREE, TWO]),
    TWO[-12:]: ([TWO], [TWO]),
    BATCH[:8]: ([LIKE_IT, BATCH], []),
    BATCH[:9]: ([BATCH], []),
    ONE[-7:]: ([], []),
    ONE[:12]: ([], []),
    f"%{ONE[-8:]}": ([], []),
    f"_{ONE[-8:]}": ([], []),
    "0" * 8: ([], []),
    "": ([], []),
}


@pytest.mark.parametrize("typed", MEANT)
def test_what_is_typed_means_these(store: Engine, typed: str) -> None:
    with_batches, without = MEANT[typed]
    with reading(store) as connection:
        assert [one.id for one in candidates(connection, typed, batches=True)] == with_batches
        assert [one.id for one in candidates(connection, typed, batches=False)] == without


def test_a_batch_of_many_texts_is_one_candidate(store: Engine) -> None:
    add(store, {new_message_id(): BATCH for _ in range(30)})
    with reading(store) as connection:
        (found,) = candidates(connection, BATCH[:9], batches=True)
    assert (found.id, found.is_batch) == (BATCH, True)


def test_the_ends_of_ids_are_looked_up_in_their_index(store: Engine) -> None:
    add(store, {new_message_id(): BATCH for _ in range(500)})
    explain = "EXPLAIN " if store.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    with reading(store) as connection:
        if store.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text(f"{explain}SELECT id FROM message WHERE substr(id, 25) = :end"), {"end": "x"})
        assert "ix_message_id_end" in str(plan.all())
    assert len(ONE) - SHORTEST == 24
    assert len(ONE) == WHOLE
