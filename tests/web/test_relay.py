"""The Relay's address: everything with the right secret is stored before it is answered, nothing else is."""

from __future__ import annotations

import base64
import logging
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlmodel import SQLModel

from tests.inbox.conftest import THEM, echo, inbound
from tests.inbox.test_wrappings import BODIES as BODIES_OF_OTHERS
from tests.inbox.test_wrappings import CANARY, WRAPPINGS
from tests.web.conftest import RELAY_SECRET, Site
from worker.core.logs import set_up_logging
from worker.inbox.process import process_due
from worker.inbox.relay import prepare_relay
from worker.messages.opt_outs import opted_out
from worker.store.db import reading
from worker.store.tables import inbound_message, inbox_event

URL = f"/relay/{RELAY_SECRET}"


def stored(site: Site) -> list[Any]:
    with reading(site.engine) as connection:
        return [orjson.loads(one) for one in connection.execute(select(inbox_event.c.payload)).scalars()]


def test_an_event_is_stored_before_it_is_answered(site: Site) -> None:
    answer = site.http.post(URL, json=inbound(), headers={"Authorization": ""})
    assert (answer.status_code, answer.content) == (200, b"")
    assert stored(site) == [inbound()]
    assert ("vtsync.process_inbox",) in site.hinted


@pytest.mark.parametrize("secret", ["", "x", RELAY_SECRET[:-1], RELAY_SECRET.upper(), RELAY_SECRET + "x", "%00", "é"])
def test_a_wrong_secret_finds_nothing(site: Site, secret: str) -> None:
    answer = site.http.post(f"/relay/{secret}", json=inbound())
    assert answer.status_code == 404
    assert stored(site) == []


def test_somebody_who_asks_whether_anybody_is_there(site: Site) -> None:
    assert site.http.get(URL).status_code == 200
    assert site.http.head(URL).status_code == 200
    assert site.http.get("/relay/x").status_code == 404


def test_secrets_never_reach_the_store(site: Site) -> None:
    site.http.post(URL, json=inbound() | {"AccessToken": "hush", "data": {"access_token": "hush"}})
    assert stored(site) == [inbound() | {"data": {}}]


@pytest.mark.parametrize(
    ("body", "content_type", "kept"),
    [
        (b"not json", "application/json", "not json"),
        (b"MessageBody=Hi&ToNumber=%2B1", "application/x-www-form-urlencoded", {"MessageBody": "Hi", "ToNumber": "+1"}),
        (b"\xff\xfe\x00", "text/plain", "\ufffd\ufffd"),
        (b"", "application/json", ""),
        (b'{"MessageBody": "Hi"}', "text/plain", {"MessageBody": "Hi"}),
        (b'"\\u0000"', "application/json", "\x00"),
    ],
)
def test_whatever_comes_is_kept(site: Site, body: bytes, content_type: str, kept: Any) -> None:
    assert site.http.post(URL, content=body, headers={"Content-Type": content_type}).status_code == 200
    assert stored(site) == [kept]
    assert process_due(site.runtime, {"relay": prepare_relay}, 100).failed == 1


@pytest.mark.parametrize("body", BODIES_OF_OTHERS)
@pytest.mark.parametrize("wrapping", ["", *WRAPPINGS])
def test_a_wrapped_stop_counts_and_its_credential_is_nowhere(
    site: Site, wrapping: str, body: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    set_up_logging("debug")
    caplog.set_level(logging.DEBUG)
    payload = inbound("STOP") | {"AccessToken": CANARY, "Authorization": f"Bearer {CANARY}"}
    content, content_type = BODIES_OF_OTHERS[body](WRAPPINGS[wrapping](payload) if wrapping else payload)
    assert site.http.post(URL, content=content, headers={"Content-Type": content_type}).status_code == 200
    assert process_due(site.runtime, {"relay": prepare_relay}, 100).done == 1
    with reading(site.engine) as connection:
        assert THEM in opted_out(connection, [THEM])
        rows = [row for table in SQLModel.metadata.sorted_tables for row in connection.execute(select(table))]
    for shown in (repr(rows), caplog.text, *capsys.readouterr()):
        assert CANARY not in shown
        assert base64.b64encode(CANARY.encode()).decode()[4:-4] not in shown


def test_our_own_secret_is_not_stored_whatever_field_it_is_in(site: Site) -> None:
    site.http.post(URL, json=inbound("STOP") | {"note": f"sent to /relay/{RELAY_SECRET}"})
    assert stored(site) == [inbound("STOP") | {"note": "sent to /relay/[removed]"}]


def test_a_store_that_is_away_is_not_answered_200(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception())

    monkeypatch.setattr("worker.inbox.intake.store_events", away)
    assert site.http.post(URL, json=inbound()).status_code == 503


def test_the_secret_is_in_no_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.http.post(URL, json=inbound())
    site.http.post(URL + "x", json=inbound())
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert not any(RELAY_SECRET in record.getMessage() for record in ours)


def test_only_what_was_not_taken_is_worth_a_line(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    site.http.post(URL, json=inbound())
    assert "route=" not in capsys.readouterr().err
    site.http.post(URL + "x", json=inbound())
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "route=" in one]
    assert "route=relay" in line
    assert "status=404" in line
    assert RELAY_SECRET not in line


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*inbound(), "data", "status", "id", "eventType"]), inner, max_size=5)
    ),
    max_leaves=10,
)
BODIES = st.one_of(
    JSON.map(orjson.dumps),
    st.builds(lambda change: orjson.dumps(inbound() | change), st.dictionaries(st.sampled_from([*inbound()]), JSON)),
    st.binary(max_size=60),
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(bodies=st.lists(BODIES, min_size=1, max_size=8), number=st.integers(1, 10**12))
def test_no_payload_breaks_it_and_no_valid_event_is_lost(site: Site, bodies: list[bytes], number: int) -> None:
    valid = orjson.dumps(inbound(f"a valid one {number}", f"valid-{number}"))
    for body in [*bodies, valid, orjson.dumps(echo())]:
        assert site.http.post(URL, content=body).status_code == 200
    process_due(site.runtime, {"relay": prepare_relay}, 1000)
    with reading(site.engine) as connection:
        mine = inbound_message.c.virtualtext_message_id == f"valid-{number}"
        assert connection.execute(select(func.count()).where(mine)).scalar() == 1
