"""The configuration changes while the HTTP side runs: the next request works with the new one."""

from __future__ import annotations

from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine

from tests.web.conftest import RELAY_SECRET, runtime_over
from worker.store.db import writing
from worker.store.models import utcnow
from worker.web.app import create_app
from worker.web.keys import SCOPES, create_key

OTHER_SECRET = "another-secret-of-24-characters"


def test_a_request_works_with_the_configuration_of_now(engine: Engine, hinted: list[tuple[str, ...]]) -> None:
    before, after = runtime_over(engine), runtime_over(engine)
    account = after.settings.accounts["main"].model_copy(update={"relay_secret": SecretStr(OTHER_SECRET)})
    after.settings = after.settings.model_copy(update={"accounts": {"new": account}})
    now = [before]
    with writing(engine) as connection:
        key = create_key(connection, "test", SCOPES, [], created_by="test", now=utcnow())
    with TestClient(create_app(before, lambda: now[0]), headers={"Authorization": f"Bearer {key}"}) as http:

        def answers() -> list[int]:
            body = {"to": "+14155550101", "message": "hello"}
            sent = [http.post("/v1/messages", json=body | {"account": name}).status_code for name in ("main", "new")]
            return sent + [http.get(f"/relay/{secret}").status_code for secret in (RELAY_SECRET, OTHER_SECRET)]

        assert answers() == [202, 403, 200, 404]
        now[0] = after
        assert answers() == [403, 202, 404, 200]
