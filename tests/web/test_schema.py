"""The description that other services generate their clients from is what the routes do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from sqlmodel import SQLModel

from tests.messages.conftest import number
from tests.web.conftest import runtime_over
from worker.store.db import open_engine, writing
from worker.store.models import utcnow
from worker.web.app import create_app
from worker.web.keys import SCOPES, create_key

NO_MORE = {"left_behind": None, "error": ""}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path: Path = tmp_path_factory.mktemp("schema") / "store.sqlite3"
    engine = open_engine(f"sqlite:///{path}")
    SQLModel.metadata.create_all(engine)
    runtime = runtime_over(engine, requests_per_minute=1_000_000)
    with writing(engine) as connection:
        key = create_key(connection, "schema", SCOPES, [], created_by="test", now=utcnow())
    patch = pytest.MonkeyPatch()
    patch.setattr("worker.web.app.wake", lambda *_: True)
    patch.setattr("worker.web.connections.wake", lambda *_, **__: True)
    patch.setattr("worker.web.status.jobs_in_broker", lambda _: {"waiting": 0, "in_progress": None} | NO_MORE)
    yield create_app(runtime), key
    patch.undo()
    engine.dispose()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_whatever_is_asked_is_answered_as_described(served: Any, mode: GenerationMode) -> None:
    app, key = served
    config = schemathesis.Config()
    config.projects.default.generation.with_security_parameters = False  # ours are right, and are given below
    described = schemathesis.openapi.from_asgi("/openapi.json", app, config=config).exclude(path_regex="^/health")
    asked = 0
    for result in described.get_all_operations():

        @settings(max_examples=10, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=result.ok().as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if isinstance(case.body, dict) and isinstance(case.body.get("to"), str):
                case.body["to"] = number(0)  # a number that exists, or most requests would end early
            # Some rules a schema cannot say: the account's own number, text or media, what a record is known by.
            excluded: list[Any] = [positive_data_acceptance]
            if case.path.endswith(":batch"):  # a bad text is refused in the answer, and stops no other
                excluded.append(negative_data_rejection)
            case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, excluded_checks=excluded)

        try:
            ask()
        except Unsatisfiable:  # nothing about this request can be wrong
            continue
        asked += 1
    assert asked >= 8
