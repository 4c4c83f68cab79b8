"""What an engine asks of its server."""

from __future__ import annotations

import pytest
from sqlalchemy import URL, make_url

from tests.services import postgres_url
from worker.store.db import open_engine


def parameters(url: URL) -> dict[str, str]:
    engine = open_engine(url.render_as_string(hide_password=False))
    try:
        with engine.connect() as connection:
            found: dict[str, str] = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
            return found
    finally:
        engine.dispose()


@pytest.mark.postgres
def test_a_server_that_says_nothing_is_not_waited_for_without_end() -> None:
    found = parameters(make_url(postgres_url()))
    assert (found["connect_timeout"], found["tcp_user_timeout"]) == ("10", "30000")
    assert "idle_in_transaction_session_timeout=60s" in found["options"]


@pytest.mark.postgres
def test_what_the_url_says_counts() -> None:
    url = make_url(postgres_url()).update_query_dict({"connect_timeout": "3", "options": "-cstatement_timeout=5s"})
    found = parameters(url)
    assert found["connect_timeout"] == "3"
    assert found["options"].endswith("-cstatement_timeout=5s")
