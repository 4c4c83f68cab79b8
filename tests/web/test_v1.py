"""What services ask for over HTTP: what each route does, and what it says when it does not."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import insert, select

from config.models import Policy, Store
from tests.conftest import a_night
from tests.messages.conftest import PAST, number
from tests.web.conftest import Site
from worker.core.logs import set_up_logging
from worker.core.states import MessageState
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import open_reviews, opted_out
from worker.messages.requests import InvalidRequest, RecordRequest, SendRequest
from worker.store.db import reading, writing
from worker.store.migrate import StoreOutdated
from worker.store.models import utcnow
from worker.store.number_keys import use_number_keys
from worker.store.tables import api_key, inbound_message, message, number_review
from worker.web.keys import SCOPES

TO = number(0)
JSON = {"Content-Type": "application/json"}
TEXT = {"account": "main", "to": TO, "message": "Your table is ready."}


def in_days(days: int) -> str:
    return (utcnow() + timedelta(days=days)).isoformat()


def test_a_text_is_kept_before_it_is_answered_and_then_sent(site: Site) -> None:
    answer = site.http.post("/v1/messages", json=TEXT)
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.headers["location"] == f"/v1/messages/{answer.json()['id']}"
    assert site.state(answer.json()["id"]) is MessageState.QUEUED
    assert ("vtsync.deliver_messages", "main") in site.hinted
    deliver_due(site.runtime)
    found = site.http.get(answer.headers["location"]).json()
    assert (found["state"], found["message"], found["to"]) == ("accepted", "Your table is ready.", TO)
    assert (found["source"], found["from_number"]) == ("http", "+14155550100")
    moves = [(one["before"], one["after"]) for one in found["events"]]
    assert moves == [(None, "queued"), ("queued", "dispatching"), ("dispatching", "accepted")]
    assert found["events"][0]["actor"] == "key test"


def test_the_answer_says_when_a_text_will_go(site: Site) -> None:
    site.runtime.settings = site.runtime.settings.model_copy(update={"policy": Policy(expires_after="3d")})
    at = a_night()
    opens, night = at + timedelta(hours=7.5), {"to": "+12125550101", "send_at": at.isoformat()}
    taken = site.http.post("/v1/messages", json=TEXT | night).json()
    assert opens <= datetime.fromisoformat(taken["expected_at"]) < opens + timedelta(minutes=15)
    assert "then it is Wed 01:30 in America/New_York" in taken["reason"]
    assert site.http.get(f"/v1/messages/{taken['id']}").json()["expected_at"] == taken["expected_at"]
    late = site.http.post(
        "/v1/messages", json=TEXT | night | {"expires_at": (at + timedelta(hours=3.5)).isoformat()}
    ).json()
    assert (late["state"], late["expected_at"]) == ("queued", None)
    assert "by then it will have expired" in late["reason"]


def test_an_idempotency_key_makes_repeating_harmless(site: Site) -> None:
    key = {"Idempotency-Key": "order-17"}
    first = site.http.post("/v1/messages", json=TEXT, headers=key)
    again = site.http.post("/v1/messages", json=TEXT, headers=key)
    assert again.json() == first.json() | {"duplicate": True}
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    other = site.http.post("/v1/messages", json=TEXT | {"message": "Another"}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency_conflict")
    assert first.json()["id"] in other.json()["detail"]


BAD = [
    (field, value)
    for field in ("account", "to", "message", "from_number", "send_at", "expires_at")
    for value in ("\ud800", "\x00", 10**400, "x" * 5000)
] + [
    ("media", ["\ud800"]),
    ("media", ["https://x.example/" + "y" * 3000]),
    ("send_at", "9999-12-31T23:59:59Z"),
    ("send_at", "0001-01-01T00:00:00+23:00"),
    ("expires_at", "0001-01-01T00:00:00+23:00"),
    ("expires_at", "9999-12-31T23:59:59-23:00"),
    ("urgent", "\ud800"),
    ("\ud800", 1),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_no_value_of_a_field_breaks_it(site: Site, field: str, value: Any) -> None:
    answer = site.http.post("/v1/messages", content=json.dumps(TEXT | {field: value}), headers=JSON)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code in (400, 403, 422)


@pytest.mark.parametrize("sent_at", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
def test_a_record_of_no_time_that_can_be_is_refused(site: Site, sent_at: str) -> None:
    body = {"account": "main", "to": TO, "message": "x", "carrier": "c", "carrier_message_id": "1", "sent_at": sent_at}
    answer = site.http.post("/v1/records", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/sent_at")


def test_two_callers_may_choose_the_same_idempotency_key(site: Site) -> None:
    key = {"Idempotency-Key": "1"}
    ids = {site.http.post("/v1/messages", json=TEXT, headers=key | site.headers()).json()["id"] for _ in range(2)}
    assert len(ids) == 2


def test_the_same_request_many_times_at_once_is_one_text(site: Site) -> None:
    key = {"Idempotency-Key": "at-once"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.http.post("/v1/messages", json=TEXT, headers=key), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(not answer.json()["duplicate"] for answer in answers) == 1


def test_a_scheduled_text_waits_and_can_be_cancelled(site: Site) -> None:
    made = site.http.post("/v1/messages", json=TEXT | {"send_at": in_days(30)}).json()
    deliver_due(site.runtime)
    assert site.client.sent == []
    for _ in range(2):
        answer = site.http.post(f"/v1/messages/{made['id']}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


def test_what_was_sent_cannot_be_cancelled(site: Site) -> None:
    made = site.http.post("/v1/messages", json=TEXT).json()
    deliver_due(site.runtime)
    answer = site.http.post(f"/v1/messages/{made['id']}/cancel")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/too_late")
    assert "accepted" in answer.json()["detail"]


def test_who_opted_out_is_not_texted_and_the_caller_hears_why(site: Site) -> None:
    assert site.http.post("/v1/opt-outs", json={"phone": TO, "reason": "asked"}).json()["opted_out"] is True
    answer = site.http.post("/v1/messages", json=TEXT)
    assert (answer.status_code, answer.json()["state"]) == (202, "suppressed")
    assert answer.json()["reason"].startswith("opted_out")
    standing = site.http.get(f"/v1/opt-outs/{TO}").json()
    assert (standing["source"], standing["detail"]) == ("http", "asked")
    assert site.http.delete(f"/v1/opt-outs/{TO}").status_code == 422, "a reason must be given"
    assert site.http.delete(f"/v1/opt-outs/{TO}", params={"reason": "signed up"}).json()["opted_out"] is False
    with reading(site.engine) as connection:
        assert opted_out(connection, [TO]) == {}


def test_a_record_is_recorded_once_and_never_sent(site: Site) -> None:
    from worker.messages.recording import record_due

    body = {"account": "main", "to": TO, "message": "code 1", "carrier": "twilio", "carrier_message_id": "SM1"}
    ids = {site.http.post("/v1/records", json=body).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    deliver_due(site.runtime)
    record_due(site.runtime)
    assert (len(site.client.sent), len(site.client.recorded)) == (0, 1)
    nameless = site.http.post("/v1/records", json={"account": "main", "to": TO, "message": "code 1"})
    assert nameless.status_code == 422


def test_messages_are_listed_in_pages(site: Site) -> None:
    made = [site.http.post("/v1/messages", json=TEXT | {"to": number(i)}).json()["id"] for i in range(5)]
    seen: list[str] = []
    page: dict[str, Any] = {"next": None}
    while True:
        more = {"before": page["next"]} if page["next"] else {}
        page = site.http.get("/v1/messages", params={"limit": 2} | more).json()
        seen += [one["id"] for one in page["messages"]]
        if not page["next"]:
            break
    assert seen == made[::-1]
    only = site.http.get("/v1/messages", params={"to": number(3), "state": "queued"}).json()["messages"]
    assert [one["id"] for one in only] == [made[3]]


def test_an_address_names_all_methods_that_it_takes(site: Site) -> None:
    assert site.http.put("/v1/messages", json={}).headers["allow"] == "POST, GET"
    assert site.http.post(f"/v1/opt-outs/{TO}", json={}).headers["allow"] == "GET, DELETE"
    assert set(site.http.put("/carriers/twilio/tw").headers["allow"].split(", ")) == {
        "POST",
        "GET",
    }  # of some carriers only


def test_a_number_that_nobody_can_have_is_just_not_known(site: Site) -> None:
    answer = site.http.get("/v1/contacts/+889695641464915")
    assert (answer.status_code, answer.json()["contacts"]) == (200, [])


def test_all_that_is_known_of_a_number(site: Site) -> None:
    site.http.post("/v1/messages", json=TEXT)
    person = site.http.get(f"/v1/contacts/{TO}").json()
    assert (person["opted_out"], person["contacts"], len(person["messages"])) == (False, [], 1)


def test_what_a_number_wrote_is_shown_with_it(site: Site) -> None:
    rows = [
        {"id": f"{i:032x}", "account": account, "from_number": TO, "to_number": "+14155550100", "text": text}
        | {"received_at": PAST + timedelta(hours=i), "keyword": ""}
        for i, (account, text) in enumerate([("main", "first"), ("main", "second"), ("other", "third")])
    ]
    with writing(site.engine) as connection:
        connection.execute(insert(inbound_message), rows)
    person = site.http.get(f"/v1/contacts/{TO}").json()
    assert [one["message"] for one in person["replies"]] == ["third", "second", "first"]
    mine = site.http.get(f"/v1/contacts/{TO}", headers=site.headers(accounts=("main",))).json()
    assert [one["message"] for one in mine["replies"]] == ["second", "first"]


def test_an_opt_out_settles_what_a_person_was_asked_about_the_number(site: Site) -> None:
    with writing(site.engine) as connection:
        connection.execute(insert(number_review), {"phone": TO, "since": PAST, "excerpt": "please no more"})
    site.http.post("/v1/opt-outs", json={"phone": TO, "reason": "meant stop"})
    with reading(site.engine) as connection:
        assert open_reviews(connection) == []


# --- keys

ROUTES = [
    ("POST", "/v1/messages", "messages:write"),
    ("POST", "/v1/messages:batch", "messages:write"),
    ("GET", "/v1/messages", "messages:read"),
    ("GET", f"/v1/messages/{'0' * 32}", "messages:read"),
    ("POST", f"/v1/messages/{'0' * 32}/cancel", "messages:write"),
    ("POST", "/v1/records", "records:write"),
    ("POST", "/v1/opt-outs", "opt-outs:write"),
    ("GET", f"/v1/opt-outs/{TO}", "contacts:read"),
    ("DELETE", f"/v1/opt-outs/{TO}?reason=x", "opt-outs:lift"),
    ("GET", f"/v1/contacts/{TO}", "contacts:read"),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_every_route_asks_for_its_scope(site: Site, method: str, path: str, scope: str) -> None:
    body = {"json": {}} if method == "POST" and "cancel" not in path else {}
    nobody = site.http.request(method, path, headers={"Authorization": ""}, **body)
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    others = site.headers(*(one for one in SCOPES if one != scope))
    refused = site.http.request(method, path, headers=others, **body)
    assert refused.status_code in (403, 422)
    if refused.status_code == 403:
        assert scope in refused.json()["detail"]
    allowed = site.http.request(method, path, headers=site.headers(scope), **body)
    assert allowed.status_code not in (401, 403)


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", "Basic eDp5", f"Bearer vtk_{'0' * 12}_{'A' * 43}"])
def test_wrong_keys(site: Site, given: str) -> None:
    assert site.http.get("/v1/messages", headers={"Authorization": given}).status_code == 401


def test_a_key_with_another_secret_is_wrong_and_no_secret_is_stored(site: Site) -> None:
    whole = site.key()
    wrong = whole[:-1] + ("A" if whole[-1] != "A" else "B")
    assert site.http.get("/v1/messages", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
    with reading(site.engine) as connection:
        stored = str(connection.execute(select(api_key)).all())
    assert whole.split("_", 2)[2] not in stored


def test_a_revoked_key_works_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.web.keys import revoke_key

    monkeypatch.setattr("worker.web.auth.CACHE_SECONDS", 0)
    whole = site.key()
    headers = {"Authorization": f"Bearer {whole}"}
    assert site.http.get("/v1/messages", headers=headers).status_code == 200
    with writing(site.engine) as connection:
        assert revoke_key(connection, whole.split("_")[1], utcnow())
        assert not revoke_key(connection, whole.split("_")[1], utcnow())
    assert site.http.get("/v1/messages", headers=headers).status_code == 401


def test_a_key_of_one_account_sees_and_texts_no_other(site: Site) -> None:
    mine = site.headers(accounts=("other",))
    theirs = site.http.post("/v1/messages", json=TEXT).json()["id"]
    assert site.http.get(f"/v1/messages/{theirs}", headers=mine).status_code == 404
    assert site.http.post(f"/v1/messages/{theirs}/cancel", headers=mine).status_code == 404
    assert site.http.get("/v1/messages", headers=mine).json()["messages"] == []
    assert site.http.get(f"/v1/contacts/{TO}", headers=mine).status_code == 404
    assert site.http.post("/v1/messages", json=TEXT, headers=mine).status_code == 403
    own = site.http.post("/v1/messages", json={"to": TO, "message": "x"}, headers=mine)
    assert own.status_code == 202, "the only account that it may use need not be named"
    with reading(site.engine) as connection:
        assert connection.execute(select(message.c.account).where(message.c.id == own.json()["id"])).scalar() == "other"


def test_an_account_must_be_named_where_there_are_several(site: Site) -> None:
    answer = site.http.post("/v1/messages", json={"to": TO, "message": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/account")


# --- problems


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"to": "4155552671"}, "/to"),
        ({"to": None}, "/to"),
        ({"to": "+19995550123"}, "/to"),
        ({"message": ""}, "/message"),
        ({"message": "x" * 1601}, "/message"),
        ({"media": ["ftp://x"]}, "/media"),
        ({"media": "https://example.com/a.png"}, "/media"),
        ({"send_at": "tomorrow"}, "/send_at"),
        ({"send_at": "2099-01-01T10:00:00"}, "/send_at"),
        ({"mesage": "x"}, "/mesage"),
        ({"to": "+14155550100"}, "/to"),
    ],
)
def test_what_is_wrong_is_pointed_at(site: Site, change: dict[str, Any], pointer: str) -> None:
    answer = site.http.post("/v1/messages", json=TEXT | change)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert pointer in [one["pointer"] for one in answer.json()["errors"]]


@pytest.mark.parametrize(
    "change",
    [
        {"to": "4155552671"},
        {"to": 5},
        {"message": ""},
        {"message": "x" * 1601},
        {"media": ["ftp://x"]},
        {"media": [5]},
        {"urgent": "yes"},
        {"send_at": "tomorrow"},
        {"expires_at": "2099-01-01T10:00:00"},
        {"mesage": "x"},
        {"to": "415", "media": ["ftp://x"], "zzz": 1, "urgent": 1},
    ],
)
def test_a_mistake_has_the_same_text_here_as_in_a_task(site: Site, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as told:
        SendRequest.from_call((), TEXT | change)
    errors = site.http.post("/v1/messages", json=TEXT | change).json()["errors"]
    here = {one["detail"].partition("; the known names")[0] for one in errors}
    assert here == {problem.sentence.partition("; the known names")[0] for problem in told.value.problems}


def test_a_field_of_a_job_is_a_field_here_without_further_ado(site: Site) -> None:
    schemas = site.http.get("/openapi.json").json()["components"]["schemas"]
    for name, model in (("SendBody", SendRequest), ("RecordBody", RecordRequest)):
        assert set(schemas[name]["properties"]) == set(model.model_fields) - {"idempotency_key"}  # which is a header


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", "/v1/messages", 405), ("GET", f"/v1/messages/{'0' * 32}", 404)],
)
def test_other_problems(site: Site, method: str, path: str, status: int) -> None:
    answer = site.http.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 200_000, b'{"to": "\xe9"}', b""])
def test_what_is_not_json_is_told_so(site: Site, body: bytes) -> None:
    answer = site.http.post("/v1/messages", content=body, headers={"Content-Type": "application/json"})
    expected = (400, "/problems/not_json") if body else (422, "/problems/invalid_request")
    assert (answer.status_code, answer.json()["type"]) == expected


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_a_body_of_another_kind_is_not_guessed_at(site: Site, kind: str) -> None:
    answer = site.http.post("/v1/messages", content=orjson.dumps(TEXT), headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["type"]) == (415, "/problems/unsupported_media_type")
    assert site.states() == {}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_by_another_name(site: Site, kind: str) -> None:
    answer = site.http.post("/v1/messages", content=orjson.dumps(TEXT), headers={"Content-Type": kind})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/messages", TEXT | {"message": "a\x00b"}),
        ("POST", "/v1/records", TEXT | {"carrier": "a\x00", "carrier_message_id": "1"}),
        ("POST", "/v1/records", TEXT | {"carrier": "a", "carrier_message_id": "1\x00"}),
        ("POST", "/v1/opt-outs", {"phone": TO, "reason": "a\x00b"}),
        ("POST", "/v1/opt-outs", {"phone": TO, "reason": " "}),
        ("DELETE", f"/v1/opt-outs/{TO}?reason=a%00b", None),
        ("DELETE", f"/v1/opt-outs/{TO}?reason=%20", None),
        ("GET", "/v1/messages?trigger=a%00b", None),
        ("GET", "/v1/messages?limit=0", None),
        ("GET", "/v1/messages?before=x", None),
        ("GET", f"/v1/messages/{'0' * 31}%00", None),
    ],
)
def test_what_no_store_keeps_is_refused_before(site: Site, method: str, path: str, body: Any) -> None:
    answer = site.http.request(method, path, **({} if body is None else {"json": body}))
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid_request")


@pytest.mark.parametrize("path", ["messages?stat=held", f"contacts/{TO}?limit=1", "messages?limit=1&Limit=2"])
def test_a_misspelt_parameter_brings_no_unfiltered_answer(site: Site, path: str) -> None:
    answer = site.http.get(f"/v1/{path}")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid_request")
    (error,) = answer.json()["errors"]
    assert error["pointer"] in ("stat", "limit", "Limit")
    assert error["detail"].startswith(f'"{error["pointer"]}" is unknown; ')


def test_a_store_that_is_away_is_503_and_nothing_is_taken(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("secret of the database"))

    monkeypatch.setattr("worker.web.v1.enqueue_send", away)
    answer = site.http.post("/v1/messages", json=TEXT)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "secret" not in answer.text


def test_a_defect_of_ours_is_in_the_log_and_shows_nothing_of_the_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the inside")

    set_up_logging()
    monkeypatch.setattr("worker.web.v1.enqueue_send", broken)
    answer = site.http.post("/v1/messages", json=TEXT)
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal_error")
    assert "inside" not in answer.text
    log = capsys.readouterr().err
    assert "the inside" in log
    assert (log.count("Traceback"), log.count("status=500")) == (1, 1)


# --- limits


def test_a_body_that_is_too_long(site: Site) -> None:
    answer = site.http.post("/v1/messages", content=b"x" * 300_000)
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too_large")


def test_a_body_whose_length_is_not_said_is_counted(site: Site) -> None:
    answer = site.http.post("/v1/messages", content=(b"x" * 10_000 for _ in range(40)))
    assert answer.status_code == 413


def test_a_key_that_asks_too_often_is_told_to_wait(site: Site) -> None:
    web = site.runtime.settings.web.model_copy(update={"requests_per_minute": 3})
    site.runtime.settings = site.runtime.settings.model_copy(update={"web": web})
    headers = site.headers()
    statuses = [site.http.get("/v1/messages", headers=headers).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert int(site.http.get("/v1/messages", headers=headers).headers["retry-after"]) > 0
    assert site.http.get("/v1/messages").status_code == 200, "others are not kept waiting"


# --- pages


def test_the_documentation_needs_nothing_from_elsewhere(site: Site) -> None:
    page = site.http.get("/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    assert "script" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for path in ("/v1/messages", "/v1/records", "/v1/opt-outs", "/v1/contacts/{phone}"):
        assert path in page.text


def test_health(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.http.get("/health/live", headers={"Authorization": ""}).json()["ready"] is True
    monkeypatch.setattr("worker.web.health.ensure_current", lambda _: None)
    assert site.http.get("/health/ready").status_code == 200

    def outdated(_: object) -> None:
        raise StoreOutdated("has no tables yet")

    monkeypatch.setattr("worker.web.health.ensure_current", outdated)
    answer = site.http.get("/health/ready")
    assert (answer.status_code, answer.json()["problems"]) == (503, [str(StoreOutdated("has no tables yet"))])


def test_a_text_to_another_country_is_answered_with_the_reason(site: Site) -> None:
    answer = site.http.post("/v1/messages", json=TEXT | {"to": "+525512345678", "urgent": True}).json()
    assert answer["state"] == "suppressed"
    assert "the number is in MX (+52), and texts may go only to +1" in answer["reason"]


# --- people

KEY = base64.b64encode(b"k" * 32).decode()


def keep_key(site: Site) -> None:
    site.runtime.settings = site.runtime.settings.model_copy(update={"store": Store(grant_key=KEY)})  # type: ignore[arg-type]
    use_number_keys(site.engine, site.runtime.settings)


def test_a_person_is_exported_and_forgotten(site: Site) -> None:
    keep_key(site)
    phone = TEXT["to"]
    assert site.http.get(f"/v1/people/{phone}/export").status_code == 404
    site.http.post("/v1/messages", json=TEXT)
    copy = site.http.get(f"/v1/people/{phone}/export").json()
    assert (copy["schema"], copy["phone"], len(copy["texts"])) == ("vtsync.person/1", phone, 1)
    assert copy["texts"][0]["text"] == TEXT["message"]
    assert site.http.delete(f"/v1/people/{phone}").status_code == 422, "it must say who asked"
    done = site.http.delete(f"/v1/people/{phone}", params={"reason": "by letter"}).json()
    assert (done["phone"], done["rows"]["texts"], done["opted_out"]) == (phone, 1, False)
    assert any("backups" in place for place in done["not_erased"])
    assert site.http.get("/v1/messages").json()["messages"] == []
    again = site.http.post("/v1/messages", json=TEXT).json()
    assert again["state"] == "suppressed"
    assert "was forgotten on" in again["reason"]


def test_without_a_key_and_while_a_text_is_sent_nobody_is_forgotten(site: Site) -> None:
    site.http.post("/v1/messages", json=TEXT)
    answer = site.http.delete(f"/v1/people/{TEXT['to']}", params={"reason": "by letter"})
    assert (answer.status_code, "openssl rand -base64 32" in answer.json()["detail"]) == (409, True)
    keep_key(site)
    site.change(state="dispatching")
    answer = site.http.delete(f"/v1/people/{TEXT['to']}", params={"reason": "by letter"})
    assert (answer.status_code, "being sent right now" in answer.json()["detail"]) == (409, True)
    assert len(site.states()) == 1


def test_an_opt_in_over_http_is_on_record(site: Site) -> None:
    site.http.post("/v1/opt-outs", json={"phone": TEXT["to"], "reason": "asked"})
    assert site.http.delete(f"/v1/opt-outs/{TEXT['to']}?reason=on%20the%20phone").json()["opted_out"] is False
    (consent,) = site.http.get(f"/v1/people/{TEXT['to']}/export").json()["consents"]
    assert (consent["source"], consent["words"], consent["actor"]) == ("http", "on the phone", "key test")
