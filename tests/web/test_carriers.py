"""Carriers' events over HTTP: nothing unsigned is taken, everything signed is stored before it is answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from twilio.request_validator import RequestValidator

from config.outside import Carrier
from tests.carriers.test_events import BANDWIDTH, TWILIO
from tests.web.conftest import Site, runtime_over
from worker.carriers.apply import prepare
from worker.inbox.process import process_due
from worker.store.db import reading
from worker.store.tables import inbox_event
from worker.web.app import create_app

PUBLIC = "https://texts.example.com"


@pytest.fixture
def site(engine: Engine, hinted: list[tuple[str, ...]]) -> Iterator[Site]:
    runtime = runtime_over(engine, public_url=PUBLIC)
    carriers = {
        "tw": Carrier(carrier="twilio", account="main", auth_token="hush", account_id="AC1", look_up=False),
        "bw": Carrier(carrier="bandwidth", account="main", username="user", password="hush"),
    }
    runtime.settings = runtime.settings.model_copy(update={"carriers": carriers})
    with TestClient(create_app(runtime), raise_server_exceptions=False) as http:
        yield Site(runtime, runtime.fake, http, hinted)


def twilio(site: Site, form: dict[str, str], path: str = "/carriers/twilio/tw", signed: str = PUBLIC) -> int:
    signature = RequestValidator("hush").compute_signature(signed + path, form)
    return site.http.post(path, data=form, headers={"X-Twilio-Signature": signature}).status_code


def stored(site: Site) -> list[Any]:
    with reading(site.engine) as connection:
        return [orjson.loads(one) for one in connection.execute(select(inbox_event.c.payload)).scalars()]


def test_a_signed_event_is_stored(site: Site) -> None:
    assert twilio(site, TWILIO) == 204
    assert stored(site) == [TWILIO]


def test_the_public_url_is_what_was_signed(site: Site) -> None:
    assert twilio(site, TWILIO, signed="http://testserver") == 401
    assert twilio(site, TWILIO, path="/carriers/twilio/tw?shop=1") == 204
    assert len(stored(site)) == 1


@pytest.mark.parametrize("path", ["/carriers/twilio/bw", "/carriers/twilio/none", "/carriers/none/tw"])
def test_other_addresses_are_nowhere(site: Site, path: str) -> None:
    assert twilio(site, TWILIO, path=path) == 404


def test_an_unsigned_event_is_refused_without_a_hint_why(site: Site) -> None:
    answer = site.http.post("/carriers/twilio/tw", data=TWILIO)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert "hush" not in answer.text
    assert stored(site) == []


def test_each_event_of_a_list_is_one(site: Site) -> None:
    answer = site.http.post("/carriers/bandwidth/bw", json=[BANDWIDTH, BANDWIDTH], auth=("user", "hush"))
    assert answer.status_code == 204
    assert stored(site) == [BANDWIDTH, BANDWIDTH]
    refused = site.http.post("/carriers/bandwidth/bw", json=[BANDWIDTH], auth=("user", "wrong"))
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Basic")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=80) | st.dictionaries(st.text(max_size=8), st.text(max_size=8)).map(orjson.dumps))
def test_no_payload_breaks_it(site: Site, body: bytes) -> None:
    answer = site.http.post("/carriers/bandwidth/bw", content=body, auth=("user", "hush"))
    assert answer.status_code == 204
    process_due(site.runtime, {"carrier": prepare}, 100)
    with reading(site.engine) as connection:
        assert not connection.execute(select(inbox_event).where(inbox_event.c.state == "new")).all()
