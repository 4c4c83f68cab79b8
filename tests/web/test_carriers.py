"""Carriers' events over HTTP: nothing unsigned is taken, everything signed is stored before it is answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from twilio.request_validator import RequestValidator

from config.integrations import Carrier
from tests.carriers.samples.bandwidth import EVENT as BANDWIDTH
from tests.carriers.samples.twilio import EVENT as TWILIO
from tests.web.conftest import Site, runtime_over
from worker.inbox.carrier_texts import prepare_carrier
from worker.inbox.process import process_due
from worker.store.db import reading
from worker.store.tables import inbox_event
from worker.web.app import create_app
from worker.web.carriers import MAX_EVENTS

PUBLIC = "https://texts.example.com"


@pytest.fixture
def site(engine: Engine, hinted: list[tuple[str, ...]]) -> Iterator[Site]:
    runtime = runtime_over(engine, public_url=PUBLIC)
    carriers = {
        "tw": Carrier(carrier="twilio", account="main", auth_token="hush", account_id="AC1", look_up=False),
        "pl": Carrier(carrier="plivo", account="main", auth_token="hush"),
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


@pytest.mark.parametrize(("events", "status"), [(MAX_EVENTS, 204), (MAX_EVENTS + 1, 413), (20_000, 413)])
def test_a_list_is_bounded_and_stored_as_a_whole_or_not_at_all(site: Site, events: int, status: int) -> None:
    answer = site.http.post("/carriers/bandwidth/bw", json=[{}] * events, auth=("user", "hush"))
    assert answer.status_code == status
    assert len(stored(site)) == (events if status == 204 else 0)


def signed_by_twilio(fields: dict[str, str]) -> dict[str, str]:
    return {"X-Twilio-Signature": RequestValidator("hush").compute_signature(f"{PUBLIC}/carriers/twilio/tw", fields)}


@pytest.mark.parametrize(
    ("what", "content_type", "body", "signed"),
    [
        ("JSON", "application/json", b'{"MessageSid": "SM1"}', {}),
        ("JSON that says it has several parts", "multipart/form-data; boundary=x", b'{"MessageSid": "SM1"}', {}),
        ("no type", "", b"MessageSid=SM1", {}),
        ("more fields than are read", "application/x-www-form-urlencoded", b"&".join([b"a=1"] * 501), {"a": "1"}),
        ("more fields, of which none is signed", "application/x-www-form-urlencoded", b"&".join([b"a=1"] * 501), {}),
    ],
)  # fmt: skip
def test_a_signature_that_does_not_cover_the_body_is_refused(
    site: Site, what: str, content_type: str, body: bytes, signed: dict[str, str]
) -> None:
    headers = signed_by_twilio(signed) | ({"Content-Type": content_type} if content_type else {})
    answer = site.http.post("/carriers/twilio/tw", content=body, headers=headers)
    assert answer.status_code == 401, what
    assert stored(site) == []


@pytest.mark.parametrize(
    ("what", "body", "signed", "status"),
    [
        ("a field that is there twice, with one value", b"MessageSid=SM1&MessageSid=SM1", {"MessageSid": "SM1"}, 204),
        ("a field with two values", b"MessageSid=SM1&MessageStatus=sent&MessageStatus=failed",
         {"MessageSid": "SM1", "MessageStatus": "failedMessageStatussent"}, 401),
        ("the same in the other order", b"MessageSid=SM1&MessageStatus=failed&MessageStatus=sent",
         {"MessageSid": "SM1", "MessageStatus": "failedMessageStatussent"}, 401),
        ("a field in the body that only the URL has", b"MessageSid=SM1&shop=1", {"MessageSid": "SM1"}, 401),
    ],
)  # fmt: skip
def test_only_fields_whose_order_does_not_matter_are_taken(
    site: Site, what: str, body: bytes, signed: dict[str, str], status: int
) -> None:
    headers = signed_by_twilio(signed) | {"Content-Type": "application/x-www-form-urlencoded"}
    answer = site.http.post("/carriers/twilio/tw", content=body, headers=headers)
    assert answer.status_code == status, what
    assert len(stored(site)) == (status == 204)


def test_the_signed_form_is_stored_and_not_another_reading_of_the_body(site: Site) -> None:
    """JSON is a form with one strange field, which the signature covers as such."""
    body = b'{"MessageSid": "SM1"}'
    headers = signed_by_twilio({body.decode(): ""}) | {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.http.post("/carriers/twilio/tw", content=body, headers=headers).status_code == 204
    (payload,) = stored(site)
    assert "MessageSid" not in payload


def plivo_headers(url: str, form: dict[str, str] | None, header: str) -> dict[str, str]:
    from plivo.utils.signature_v3 import construct_get_url, construct_post_url, get_signature_v3

    base = construct_get_url(url, {}) if form is None else construct_post_url(url, dict(form))
    return {
        header: get_signature_v3(b"hush", base.decode(), b"7").decode(),
        "X-Plivo-Signature-V3-Nonce": "7",
    }


PLIVO_FIELDS = {"MessageUUID": "p1", "To": "12125550123", "From": "14155550100", "Status": "sent", "Units": "1"}


@pytest.mark.parametrize("header", ["X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_plivo_signs_for_either_account_and_calls_with_either_method(site: Site, method: str, header: str) -> None:
    path = "/carriers/plivo/pl"
    if method == "POST":
        headers = plivo_headers(PUBLIC + path, PLIVO_FIELDS, header)
        answer = site.http.post(path, data=PLIVO_FIELDS, headers=headers)
        assert site.http.post(path, data=PLIVO_FIELDS | {"More": "1"}, headers=headers).status_code == 401
    else:
        called = f"{path}?{urlencode(PLIVO_FIELDS)}"
        headers = plivo_headers(PUBLIC + called, None, header)
        answer = site.http.get(called, headers=headers)
        assert site.http.get(f"{called}&More=1", headers=headers).status_code == 401
        assert site.http.request("GET", called, content=b'{"MessageUUID": "p2"}', headers=headers).status_code == 401
    assert answer.status_code == 204
    assert stored(site) == [PLIVO_FIELDS]


def test_twilio_may_call_with_get(site: Site) -> None:
    called = f"/carriers/twilio/tw?{urlencode(TWILIO)}"
    signature = RequestValidator("hush").compute_signature(PUBLIC + called, {})
    assert site.http.get(called, headers={"X-Twilio-Signature": signature}).status_code == 204
    assert stored(site) == [TWILIO]
    assert site.http.get(called).status_code == 401


def test_a_carrier_that_cannot_sign_a_query_is_told_to_post(site: Site) -> None:
    answer = site.http.get("/carriers/bandwidth/bw?a=b", auth=("user", "hush"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-URLEncoded"]
)
def test_a_form_is_known_by_its_type_in_any_spelling(site: Site, content_type: str) -> None:
    headers = signed_by_twilio({"MessageSid": "SM1"}) | {"Content-Type": content_type}
    assert site.http.post("/carriers/twilio/tw", content=b"MessageSid=SM1", headers=headers).status_code == 204


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=80) | st.dictionaries(st.text(max_size=8), st.text(max_size=8)).map(orjson.dumps))
def test_no_payload_breaks_it(site: Site, body: bytes) -> None:
    answer = site.http.post("/carriers/bandwidth/bw", content=body, auth=("user", "hush"))
    assert answer.status_code == 204
    process_due(site.runtime, {"carrier": prepare_carrier}, 100)
    with reading(site.engine) as connection:
        assert not connection.execute(select(inbox_event).where(inbox_event.c.state == "new")).all()


ASKED = {
    "telnyx": ("telnyx-timestamp", "telnyx-signature-ed25519"),
    "bandwidth": ("authorization",),
    "vonage": ("authorization",),
    "plivo": ("x-plivo-signature-v3", "x-plivo-signature-ma-v3", "x-plivo-signature-v3-nonce"),
    "sinch": (
        "x-sinch-webhook-signature",
        "x-sinch-webhook-signature-nonce",
        "x-sinch-webhook-signature-timestamp",
    ),
    "twilio": ("x-twilio-signature", "x-twilio-webhooks-signature-settings"),
}
VALUES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.encode),
    st.sampled_from([b"9" * 400, b"-1", b"1_0", b"1e9", b"\xe9", b"key=\xe9"]),
    st.sampled_from([b"Bearer a.b.c", b"Basic \xe9", b"Bearer \xe9.\xe9.\xe9"]),
)
HOSTS = st.sampled_from([b"x", b"[", b"[::1", b"a:99999999", b"\xe9", b""])
QUERIES = st.sampled_from(["", "?bodySHA256=%C3%A9", "?bodySHA256=a&bodySHA256=b", "?%00", "?a=%FF"])


@pytest.fixture
def unsigned(engine: Engine, hinted: list[tuple[str, ...]]) -> TestClient:
    """All carriers, each under its own name."""
    secrets = {"auth_token": "hush", "signing_key": "hush", "username": "u", "password": "hush", "account_id": "AC1"}
    runtime = runtime_over(engine)
    carriers = {
        kind: Carrier(carrier=kind, account="main", public_key="A" * 43 + "=", **secrets)  # type: ignore[arg-type]
        for kind in ASKED
    }
    runtime.settings = runtime.settings.model_copy(update={"carriers": carriers})
    return TestClient(create_app(runtime), raise_server_exceptions=False)  # whose inbox is not open


@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(sorted(ASKED)), HOSTS, QUERIES, st.sampled_from([b"", b"a=b", b"{}", b"\xff"]))
def test_no_head_breaks_it_and_nothing_unsigned_is_taken(
    unsigned: TestClient, data: st.DataObject, kind: str, host: bytes, query: str, body: bytes
) -> None:
    heads = [(name.encode(), data.draw(VALUES)) for name in ASKED[kind]]
    form = (b"content-type", b"application/x-www-form-urlencoded")
    answer = unsigned.post(f"/carriers/{kind}/{kind}{query}", content=body, headers=[(b"host", host), form, *heads])
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
