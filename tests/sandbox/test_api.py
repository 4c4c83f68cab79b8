"""What VirtualText documents and what it was seen to do, request by request."""

from __future__ import annotations

import time
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox.conftest import CUSTOMER, NUMBER, ask, create, send, text
from worker.sandbox import Sandbox, SandboxAccount

OK = {"status": "true"}
MARIA = {"fullName": "Maria Alvarez", "phoneNumber": CUSTOMER, "email": "maria@example.com"}


def missing(*names: str) -> dict[str, Any]:
    return {"errors": [f"Missing parameter '{name}'" for name in names]}


def invalid(name: str, why: str = "") -> dict[str, Any]:
    return {"errors": [f"Invalid parameter '{name}'{why}"]}


NOT_E164 = ": not a phone number in E.164"

# what, host, method, path, body, status, answer
REQUESTS: list[tuple[Any, ...]] = [
    ("send", "api", "POST", "/api/send", text(), 200, OK),
    ("send a picture", "api", "POST", "/api/send", text(message="", media=["https://example.com/a.png"]), 200, OK),
    ("a picture alone", "api", "POST", "/api/send", text(message=None, media=["https://example.com/a.png"]), 200, OK),
    ("no media", "api", "POST", "/api/send", text(media=[]), 200, OK),
    ("record", "api", "POST", "/api/send", text(sendStatus="sent"), 200, OK),
    ("an unknown field", "api", "POST", "/api/send", text(tag="x"), 200, OK),
    ("no recipient", "api", "POST", "/api/send", text(to=None), 400, missing("to")),
    ("nothing", "api", "POST", "/api/send", {}, 400, missing("to", "from", "message")),
    ("no body", "api", "POST", "/api/send", None, 400, missing("to", "from", "message")),
    ("empty message", "api", "POST", "/api/send", text(message=""), 400, missing("message")),
    ("message no string", "api", "POST", "/api/send", text(message=5), 400, invalid("message")),
    ("spaced number", "api", "POST", "/api/send", text(to="+1 415 555 2671"), 400, invalid("to", NOT_E164)),
    ("number no string", "api", "POST", "/api/send", text(to=14155552671), 400, invalid("to", NOT_E164)),
    (
        "a sender of somebody else",
        *("api", "POST", "/api/send", text(**{"from": "+12025550199"}), 400),
        invalid("from", ": the number is not assigned to this user"),
    ),
    (
        "media no list",
        *("api", "POST", "/api/send", text(media="https://example.com/a.png"), 400),
        invalid("media", ": an array of public URLs"),
    ),
    ("other sendStatus", "api", "POST", "/api/send", text(sendStatus="delivered"), 400, invalid("sendStatus")),
    ("null sendStatus", "api", "POST", "/api/send", {**text(), "sendStatus": None}, 400, invalid("sendStatus")),
    (
        "a note, which other brands know",
        *("api", "POST", "/api/send", text(type="note"), 400),
        {"errors": ["Parameter 'type' is not part of VirtualText's documented API"]},
    ),
    ("not JSON", "api", "POST", "/api/send", b"{", 400, {"errors": ["The body is not a JSON object"]}),
    ("a list", "api", "POST", "/api/send", [], 400, {"errors": ["The body is not a JSON object"]}),
    ("create without phone", "create", "POST", "/api/contacts", {"fullName": "A"}, 400, missing("phoneNumber")),
    (
        "create, no number",
        *("create", "POST", "/api/contacts", {"phoneNumber": "4155552671"}, 400),
        invalid("phoneNumber", NOT_E164),
    ),
    (
        "create, name no string",
        *("create", "POST", "/api/contacts", {**MARIA, "fullName": 7}, 400),
        invalid("fullName"),
    ),
    ("empty list", "api", "GET", "/api/contacts", None, 200, {"contacts": []}),
    ("a parameter the list ignores", "api", "GET", "/api/contacts?limit=1&page=2", None, 200, {"contacts": []}),
    ("health", "api", "GET", "/health", None, 200, {"status": "pass", "version": "sandbox"}),
    ("webhook without url", "api", "POST", "/api/users/sandbox/webhook", {}, 400, missing("url")),
    ("webhook no url", "api", "POST", "/api/users/sandbox/webhook", {"url": "x"}, 400, invalid("url")),
    ("webhook", "api", "POST", "/api/users/sandbox/webhook", {"url": "http://127.0.0.1:9/x"}, 200, OK),
]


@pytest.mark.parametrize(
    ("host", "method", "path", "body", "status", "answer"), [row[1:] for row in REQUESTS], ids=[r[0] for r in REQUESTS]
)
def test_an_answer(
    sandbox: Sandbox, host: str, method: str, path: str, body: object, status: int, answer: object
) -> None:
    answered = ask(sandbox.api_url if host == "api" else sandbox.create_url, method, path, body)

    assert (answered.status, answered.json) == (status, answer)
    assert answered.headers["content-type"].startswith("application/json")


# what, host, method, path, status, message
ENVELOPES = [
    ("create on the API host", "api", "POST", "/api/contacts", 404, "Not Found"),
    ("send on the create host", "create", "POST", "/api/send", 404, "Not Found"),
    ("list on the create host", "create", "GET", "/api/contacts", 404, "Not Found"),
    ("no delete", "api", "DELETE", "/api/contacts/1", 404, "Not Found"),
    ("unknown path", "api", "GET", "/api/messages", 404, "Not Found"),
    ("an empty id", "api", "GET", "/api/contacts/", 404, "Not Found"),
    ("somebody else's webhook", "api", "POST", "/api/users/other/webhook", 403, "Forbidden"),
]


@pytest.mark.parametrize(
    ("host", "method", "path", "status", "message"), [row[1:] for row in ENVELOPES], ids=[r[0] for r in ENVELOPES]
)
def test_the_other_envelope(sandbox: Sandbox, host: str, method: str, path: str, status: int, message: str) -> None:
    answered = ask(sandbox.api_url if host == "api" else sandbox.create_url, method, path, MARIA)

    assert answered.status == status
    assert answered.json["_errType"] == "TXBDEV_API_ERROR_V1"
    assert answered.json["message"] == message
    assert answered.json["reason"]
    assert len(answered.json["referenceCode"]) == 36


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        "",
        "Bearer",
        "Bearer sandbox",
        "Bearer sandbox:",
        "Bearer :sandbox-token",
        "Bearer sandbox:wrong",
        "Bearer other:sandbox-token",
        "Basic sandbox:sandbox-token",
    ],
)
@pytest.mark.parametrize(
    ("host", "method", "path"),
    [
        ("api", "POST", "/api/send"),
        ("api", "GET", "/api/contacts"),
        ("api", "GET", "/api/contacts/1"),
        ("api", "POST", "/api/contacts/1"),
        ("api", "POST", "/api/users/sandbox/webhook"),
        ("create", "POST", "/api/contacts"),
    ],
)
def test_bad_credentials(shared: Sandbox, host: str, method: str, path: str, credentials: str | None) -> None:
    url = shared.api_url if host == "api" else shared.create_url

    answered = ask(url, method, path, {**text(), **MARIA, "url": "http://x"}, credentials=credentials)

    assert answered.status == 401
    assert answered.json["message"] == "Invalid API Credentials"
    assert answered.json["_errType"] == "TXBDEV_API_ERROR_V1"
    assert (shared.contacts(), shared.messages()) == ([], [])


@pytest.fixture(scope="module")
def shared() -> Any:
    with Sandbox() as running:
        yield running


def test_a_body_that_is_not_called_json_is_not_read(sandbox: Sandbox) -> None:
    answered = ask(sandbox.create_url, "POST", "/api/contacts", MARIA, content_type="text/plain")

    assert (answered.status, answered.json) == (400, missing("phoneNumber"))


def test_health_needs_no_credentials(sandbox: Sandbox) -> None:
    sandbox.behaviour.health = "warn"

    answered = ask(sandbox.api_url, "GET", "/health", credentials=None)

    assert (answered.status, answered.json["status"]) == (503, "warn")


class TestContacts:
    def test_created_read_updated_and_listed(self, sandbox: Sandbox) -> None:
        created = ask(sandbox.create_url, "POST", "/api/contacts", MARIA).json
        path = f"/api/contacts/{created['id']}"
        assert created == {**MARIA, "id": created["id"]}
        assert ask(sandbox.api_url, "GET", path).json == created

        changed = {"phoneNumber": "+14155552672", "fullName": "Maria B", "email": "b@example.com"}
        updated = ask(sandbox.api_url, "POST", path, changed)

        assert (updated.status, updated.json) == (200, {**changed, "id": created["id"]})
        assert ask(sandbox.api_url, "GET", path).json == updated.json
        assert ask(sandbox.api_url, "GET", "/api/contacts").json == {"contacts": [updated.json]}

    def test_a_name_left_out_becomes_the_number(self, sandbox: Sandbox) -> None:
        contact = create(sandbox, fullName="Maria", email="m@example.com").json
        assert create(sandbox, "+14155552672").json["fullName"] == "+14155552672"

        updated = ask(sandbox.api_url, "POST", f"/api/contacts/{contact['id']}", {"phoneNumber": CUSTOMER}).json

        assert updated == {**contact, "fullName": CUSTOMER}

    def test_an_email_is_emptied_by_an_empty_one_only(self, sandbox: Sandbox) -> None:
        contact = create(sandbox, fullName="Maria", email="m@example.com").json
        path = f"/api/contacts/{contact['id']}"

        assert ask(sandbox.api_url, "POST", path, {"phoneNumber": CUSTOMER}).json["email"] == "m@example.com"
        assert ask(sandbox.api_url, "POST", path, {"phoneNumber": CUSTOMER, "email": ""}).json["email"] == ""

    def test_an_update_needs_the_phone(self, sandbox: Sandbox) -> None:
        contact = create(sandbox).json

        answered = ask(sandbox.api_url, "POST", f"/api/contacts/{contact['id']}", {"fullName": "Maria"})

        assert (answered.status, answered.json) == (400, missing("phoneNumber"))
        assert sandbox.contacts() == [contact]

    def test_the_same_phone_twice_makes_two_contacts(self, sandbox: Sandbox) -> None:
        first, second = create(sandbox).json, create(sandbox).json

        assert first["id"] != second["id"]
        assert sandbox.summary()["duplicate_phones"] == {CUSTOMER: 2}

        ask(sandbox.api_url, "POST", f"/api/contacts/{second['id']}", {"phoneNumber": "+14155552672"})
        assert sandbox.summary()["duplicate_phones"] == {}

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("contact_id", ["nobody", "a%2Fb", "deleted", "somebody else's"])
    def test_an_unknown_id_is_a_gateway_page(self, method: str, contact_id: str) -> None:
        accounts = [SandboxAccount("sandbox", "sandbox-token"), SandboxAccount("other", "token")]
        with Sandbox(accounts=accounts) as sandbox:
            if contact_id == "deleted":
                contact_id = create(sandbox).json["id"]
                sandbox.delete_contact(contact_id)
            if contact_id == "somebody else's":
                [contact_id] = sandbox.seed_contacts([(CUSTOMER, "", "")], account="other")

            answered = ask(sandbox.api_url, method, f"/api/contacts/{contact_id}", MARIA)

        assert answered.status == 502
        assert answered.headers["content-type"].startswith("text/html")
        assert b"502 Bad Gateway" in answered.raw

    def test_an_id_from_before_a_reset_stays_unknown(self, sandbox: Sandbox) -> None:
        old = create(sandbox).json["id"]
        sandbox.reset()

        assert create(sandbox).json["id"] != old
        assert ask(sandbox.api_url, "GET", f"/api/contacts/{old}").status == 502

    @pytest.mark.parametrize(
        ("contacts", "switches", "status"),
        [(2, {"list_limit": 2}, 200), (3, {"list_limit": 2}, 408), (0, {"list_timeout": True}, 408)],
    )
    def test_the_list_of_a_large_account_times_out(
        self, sandbox: Sandbox, contacts: int, switches: dict[str, Any], status: int
    ) -> None:
        sandbox.seed_contacts((f"+1415555{2000 + n}", "", "") for n in range(contacts))
        sandbox.behaviour.switch(switches)

        answered = ask(sandbox.api_url, "GET", "/api/contacts")

        assert answered.status == status
        if status == 408:
            assert answered.json.keys() == {"_errType", "message", "referenceCode"}
            assert answered.json["message"] == "Request timeout"

    def test_the_list_answers_408_only_after_its_time(self, sandbox: Sandbox) -> None:
        sandbox.behaviour.switch({"list_timeout": True, "list_timeout_seconds": 0.2})
        started = time.monotonic()

        assert ask(sandbox.api_url, "GET", "/api/contacts").status == 408
        assert time.monotonic() - started >= 0.2

    def test_the_list_may_lag_behind(self, sandbox: Sandbox) -> None:
        contact = create(sandbox).json
        sandbox.behaviour.list_lag_seconds = 60
        assert ask(sandbox.api_url, "GET", "/api/contacts").json == {"contacts": []}
        assert ask(sandbox.api_url, "GET", f"/api/contacts/{contact['id']}").json == contact

        sandbox.behaviour.list_lag_seconds = 0
        assert ask(sandbox.api_url, "GET", "/api/contacts").json == {"contacts": [contact]}


class TestTexts:
    def test_only_a_text_without_send_status_goes_to_a_phone(self, sandbox: Sandbox) -> None:
        send(sandbox, message="first")
        send(sandbox, message="second", sendStatus="sent", media=["https://example.com/a.png"])

        assert [(m.kind, m.text, m.from_number, m.to, m.media) for m in sandbox.messages()] == [
            ("sent_by_platform", "first", NUMBER, CUSTOMER, ()),
            ("recorded", "second", NUMBER, CUSTOMER, ("https://example.com/a.png",)),
        ]
        assert sandbox.counts() == {"send": {"200": 1}, "record": {"200": 1}}

    def test_a_refused_text_is_not_stored(self, sandbox: Sandbox) -> None:
        send(sandbox, to="nobody")
        send(sandbox, sendStatus="later")

        assert sandbox.messages() == []

    def test_a_number_that_is_no_contact_is_texted_and_stays_none(self, sandbox: Sandbox) -> None:
        assert send(sandbox).status == 200
        assert sandbox.contacts() == []

    @pytest.mark.parametrize(
        ("told", "with_id"),
        [("never", [False, False, False]), ("sometimes", [True, False, True]), ("always", [True, True, True])],
    )
    def test_the_answer_sometimes_holds_an_id(self, sandbox: Sandbox, told: str, with_id: list[bool]) -> None:
        sandbox.behaviour.switch({"message_id": told})

        answers = [send(sandbox).json for _ in range(3)]

        assert ["MessageID" in answer for answer in answers] == with_id
        for answer, message in zip(answers, sandbox.messages(), strict=True):
            assert answer.get("MessageID", message.id) == message.id

    def test_an_account_without_numbers_sends_from_any(self) -> None:
        with Sandbox(accounts=[SandboxAccount("u", "t")]) as sandbox:
            answered = ask(sandbox.api_url, "POST", "/api/send", text(), credentials="Bearer u:t")
        assert answered.status == 200

    def test_any_credentials(self) -> None:
        with Sandbox(any_credentials=True) as sandbox:
            for credentials, status in [
                ("Bearer new:token", 200),
                ("Bearer sandbox:other", 200),
                ("Bearer new:", 401),
                ("Bearer new", 401),
            ]:
                assert ask(sandbox.api_url, "POST", "/api/send", text(), credentials=credentials).status == status
            assert [message.account for message in sandbox.messages()] == ["new", "sandbox"]


class TestOptOut:
    @pytest.mark.parametrize("word", ["STOP", "stop", " Stop. ", "Unsubscribe", "STOP ALL", "opt-out"])
    def test_a_stop_word_refuses_texts(self, sandbox: Sandbox, word: str) -> None:
        sandbox.inbound(CUSTOMER, word)

        answered = send(sandbox)

        assert answered.status == 451
        assert answered.json["_errType"] == "TXBDEV_API_ERROR_V1"
        assert sandbox.messages("sent_by_platform") == []
        assert send(sandbox, to="+14155552672").status == 200
        assert send(sandbox, sendStatus="sent").status == 200

    @pytest.mark.parametrize("words", ["please stop by", "stop texting me", "the end", "YES", ""])
    def test_other_words_do_not(self, sandbox: Sandbox, words: str) -> None:
        sandbox.inbound(CUSTOMER, words, media=["https://example.com/a.png"])

        assert send(sandbox).status == 200

    @pytest.mark.parametrize("word", ["START", "unstop", "Yes"])
    def test_a_start_word_takes_it_back(self, sandbox: Sandbox, word: str) -> None:
        sandbox.opt_out(CUSTOMER)
        assert send(sandbox).status == 451

        sandbox.inbound(CUSTOMER, word)
        assert send(sandbox).status == 200


def test_a_create_may_be_answered_with_the_contact_that_is_there(sandbox: Sandbox) -> None:
    (there,) = sandbox.seed_contacts([(CUSTOMER, "Maria", "maria@example.com")])
    sandbox.behaviour.create_existing = True
    assert create(sandbox, fullName="Somebody Else").json == sandbox.contacts()[0]
    assert [one["id"] for one in sandbox.contacts()] == [there]
    assert create(sandbox, "+14155550102").json["id"] != there


# Host header, whether the sandbox answers. A web page can have a name that leads to this machine.
HOSTS = [
    ("127.0.0.1:8080", True),
    ("localhost", True),
    ("LOCALHOST:8080", True),
    ("localhost.", True),
    ("api.localhost:8080", True),
    ("[::1]:8080", True),
    ("[::ffff:127.0.0.1]", True),
    ("192.168.1.20:8080", True),
    ("sandbox:8080", True),
    ("sandbox.vtsync.svc.cluster.local", True),
    ("sandbox.vtsync.svc", True),
    ("host.docker.internal:8080", True),
    ("", True),
    ("evil.example.com", False),
    ("evil.example.com:8080", False),
    ("evil.example.com.", False),
    ("127.0.0.1.evil.example.com", False),
    ("localhost.evil.example.com", False),
    ("127.0.0.1@evil.example.com", False),
    ("[::1].evil.example.com", False),
    ("1.2.3", False),
]


@pytest.mark.parametrize(("host", "answers"), HOSTS)
@pytest.mark.parametrize("which", ["api", "create"])
def test_it_answers_only_to_names_of_this_machine(sandbox: Sandbox, host: str, answers: bool, which: str) -> None:
    url = urlsplit(sandbox.api_url if which == "api" else sandbox.create_url)
    connection = HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        connection.putrequest("POST", "/api/send", skip_host=True)
        connection.putheader("Host", host)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        response = connection.getresponse()
        response.read()
    finally:
        connection.close()
    assert (response.status != 421) is answers
