"""Moves are made by the table only: on a ground that it has, and for the kinds that it names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.messages.conftest import Outbox, number
from worker.core.states import MessageKind, MessageState
from worker.messages.states import EDGES, Ground, IllegalMove
from worker.messages.transitions import Moved, add_first_events, move
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import message

S = MessageState
# On SQLite alone: what the delivery tests do asks the same statements of PostgreSQL.
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def moved(box: Outbox, before: S, after: S, ground: Ground) -> list[str]:
    with writing(box.engine) as connection:
        made = move(connection, before, after, ground=ground, reason="", actor="test", now=utcnow())
    return [one.id for one in made]


@pytest.mark.parametrize(
    ("before", "after", "ground"),
    [
        (S.UNKNOWN, S.QUEUED, Ground.LOST),
        (S.QUEUED, S.DISPATCHING, Ground.PERSON),
        (S.DISPATCHING, S.ACCEPTED, Ground.LOST),
        (S.SUPPRESSED, S.QUEUED, Ground.PERSON),
    ],
)
def test_a_move_on_another_ground_is_refused_and_changes_nothing(
    box: Outbox, before: S, after: S, ground: Ground
) -> None:
    one = box.send()
    box.change(state=before)
    with pytest.raises(IllegalMove):
        moved(box, before, after, ground)
    assert (box.state(one), box.steps(one)) == (before, [(None, "queued")])


@pytest.mark.parametrize(
    ("before", "after", "ground"),
    sorted({(one.before, one.after, next(iter(sorted(one.grounds)))) for one in EDGES if len(one.kinds) == 1}),
)
def test_a_message_of_another_kind_stays_as_it_is(box: Outbox, before: S, after: S, ground: Ground) -> None:
    send, record = box.send(), box.record("SM1", number(1))
    kinds = {edge.kinds for edge in EDGES if (edge.before, edge.after) == (before, after) and ground in edge.grounds}
    allowed = frozenset[MessageKind]().union(*kinds)
    box.change(state=before)
    expected = [one for one, kind in ((send, MessageKind.SEND), (record, MessageKind.RECORD)) if kind in allowed]
    assert moved(box, before, after, ground) == expected
    assert {box.state(one) for one in expected} == {after}


def test_a_record_cannot_be_stored_as_held(box: Outbox) -> None:
    record = box.record("SM1")
    row: Any = Moved(record, 0, "main", MessageKind.RECORD)
    with pytest.raises(IllegalMove), writing(box.engine) as connection:
        add_first_events(connection, [row], S.HELD, reason="", actor="test", now=utcnow())


def test_a_move_ends_the_lease_unless_it_is_kept(box: Outbox) -> None:
    one = box.send()
    box.change(lease_owner="me", lease_until=utcnow())
    with writing(box.engine) as connection:
        more: dict[str, Any] = {"reason": "", "actor": "test", "now": utcnow()}
        move(connection, S.QUEUED, S.DISPATCHING, ground=Ground.ATTEMPT, keep_lease=True, **more)
        assert box_owner(connection) == "me"
        move(connection, S.DISPATCHING, S.QUEUED, ground=Ground.NOT_SENT, **more)
        assert box_owner(connection) is None
    assert box.state(one) is S.QUEUED


def box_owner(connection: Any) -> Any:
    return connection.scalar(message.select().with_only_columns(message.c.lease_owner))
