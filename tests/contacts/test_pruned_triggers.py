"""A trigger's text that was pruned is not sent again, whatever is replayed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update

from config.policy import Policy
from config.triggers import ChangedTrigger, CreatedTrigger
from tests.contacts.conftest import World
from worker.messages.delivery import deliver_due
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import contact_mapping
from worker.upkeep.retention import prune

ANNA, BERT = "+14155550101", "+14155550102"


def pruned(world: World) -> list[Any]:
    prune(world.runtime(), utcnow() + timedelta(days=3000))
    found = world.messages()
    assert [row.text for row in found] == [""] * len(found)
    return found


@pytest.fixture
def texted(world: World) -> World:
    """Anna was there before; Bert was welcomed, and told that his order is ready."""
    world.policy = Policy(quiet_hours="none", duplicate_window=timedelta(seconds=1), max_per_contact=None)
    world.triggers = {
        "welcome": CreatedTrigger(connections=("crm",), on="created", message="Welcome"),
        "ready": ChangedTrigger(connections=("crm",), on="changed", field="status", message="Now {{ status }}"),
        "once": ChangedTrigger(connections=("crm",), on="changed", field="status", message="Once", again="never"),
    }
    world.source.put("1", ANNA, "Anna", status="new")
    world.sync_and_push()
    world.source.put("2", BERT, "Bert", status="new")
    world.sync_and_push()
    world.source.put("2", BERT, "Bert", status="ready")
    world.sync_and_push()
    deliver_due(world.runtime(), account="main")
    assert sorted(body.text for body in world.virtualtext.sent) == ["Now ready", "Once", "Welcome"]
    return world


def test_a_version_that_is_read_again_fires_nothing(texted: World) -> None:
    pruned(texted)
    with writing(texted.engine) as db:  # as if the page that fired had never been committed
        mine = update(contact_mapping).where(contact_mapping.c.external_id == "2")
        db.execute(mine.values(revision=1, record_hash=b"old", properties='{"status": "new"}'))
    texted.sync()
    assert texted.mapping("2").revision == 2  # it was read as a change
    deliver_due(texted.runtime(), account="main")
    assert len(texted.virtualtext.sent) == 3


def test_a_record_that_is_forgotten_and_comes_again_is_not_welcomed_again(texted: World) -> None:
    pruned(texted)
    with writing(texted.engine) as db:
        db.execute(delete(contact_mapping).where(contact_mapping.c.external_id == "2"))
    assert texted.sync().added == 1
    deliver_due(texted.runtime(), account="main")
    assert len(texted.virtualtext.sent) == 3


def test_a_text_that_may_come_only_once_came(texted: World) -> None:
    pruned(texted)
    texted.source.put("2", BERT, "Bert", status="shipped")
    texted.sync()
    deliver_due(texted.runtime(), account="main")
    assert sorted(body.text for body in texted.virtualtext.sent)[-3:] == ["Now shipped", "Once", "Welcome"]
