"""The world of a sync, in which triggers can be tried."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.contacts.conftest import World
from tests.contacts.conftest import world as world_of_a_sync
from tests.fakes import sources

__all__ = ["world_of_a_sync"]


@pytest.fixture
def world(world_of_a_sync: World, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(
        "worker.contacts.find_record.build_adapter",
        lambda settings, name, *services: sources(**world_of_a_sync.crm)(settings, name, *services),
    )
    return world_of_a_sync
