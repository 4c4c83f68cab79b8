"""The sandbox's own side: what it tells, what can be done to it, and its page."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.sandbox.conftest import CUSTOMER, NUMBER, ask, create, send
from worker.sandbox import Sandbox, SandboxAccount


def inspect(sandbox: Sandbox, path: str) -> Any:
    return ask(sandbox.api_url, "GET", f"/sandbox/{path}", credentials=None).json


def act(sandbox: Sandbox, path: str, body: object, **other: Any) -> Any:
    return ask(sandbox.api_url, "POST", f"/sandbox/{path}", body, credentials=None, **other)


def test_state_counts_everything(sandbox: Sandbox) -> None:
    create(sandbox)
    create(sandbox)
    create(sandbox, "nobody")
    send(sandbox, message="twice")
    send(sandbox, message="twice")
    send(sandbox, message="once", sendStatus="sent")
    sandbox.inbound(CUSTOMER, "STOP")
    send(sandbox)

    state = inspect(sandbox, "state")

    assert state == {
        "version": state["version"],
        "accounts": [{"uid": "sandbox", "numbers": [NUMBER], "contacts": 2, "webhook": ""}],
        "contacts": 2,
        "conversations": 1,
        "duplicate_phones": {CUSTOMER: 2},
        "messages": {"sent_by_platform": 2, "recorded": 1, "inbound": 1},
        "duplicate_texts": [{"from": NUMBER, "to": CUSTOMER, "text": "twice", "media": [], "times": 2}],
        "opted_out": [CUSTOMER],
        "requests": {
            "create": {"200": 2, "400": 1},
            "record": {"200": 1},
            "send": {"200": 2, "451": 1},
        },
        "in_flight": 0,
        "peak_in_flight": 1,
        "faults": {"in_force": 0, "injected": 0, "written_but_not_told": 0},
        "relay": {"delivered": 0, "failed": 0, "waiting": 0, "last_error": ""},
    }
    assert state == sandbox.summary() | {
        "accounts": state["accounts"],
        "duplicate_texts": state["duplicate_texts"],
    }


def test_contacts_in_pages(sandbox: Sandbox) -> None:
    sandbox.seed_contacts((f"+1415555{2000 + n}", f"Customer {n}", "") for n in range(25))

    page = inspect(sandbox, "contacts?offset=20&limit=10")

    assert page["total"] == 25
    assert [contact["fullName"] for contact in page["contacts"]] == [f"Customer {n}" for n in range(20, 25)]
    assert inspect(sandbox, "contacts?phone=%2B14155552003")["contacts"][0]["fullName"] == "Customer 3"
    assert inspect(sandbox, "contacts?account=other") == {"total": 0, "contacts": []}
    assert inspect(sandbox, "contacts?limit=-1") == {"error": "offset and limit are whole numbers."}


def test_messages_in_pages(sandbox: Sandbox) -> None:
    for n in range(5):
        send(sandbox, message=f"text {n}")
    send(sandbox, to="+14155552672", message="other", sendStatus="sent")

    page = inspect(sandbox, "messages?offset=3&limit=2")

    assert (page["total"], [m["text"] for m in page["messages"]]) == (6, ["text 3", "text 4"])
    [recorded] = inspect(sandbox, "messages?kind=recorded")["messages"]
    assert (recorded["conversation"], recorded["text"], recorded["from"]) == ("+14155552672", "other", NUMBER)
    assert inspect(sandbox, "messages?phone=%2B14155552672")["total"] == 1


def test_requests_hold_bodies_and_no_credentials(sandbox: Sandbox) -> None:
    send(sandbox, sendStatus="sent")
    ask(sandbox.api_url, "GET", "/api/contacts", credentials="Bearer sandbox:wrong-token")

    page = inspect(sandbox, "requests")

    assert [(r["endpoint"], r["outcome"], r["account"]) for r in page["requests"]] == [
        ("record", "200", "sandbox"),
        ("list", "401", ""),
    ]
    assert page["requests"][0]["fields"]["sendStatus"] == "sent"
    assert "token" not in str(page)
    assert [r.endpoint for r in sandbox.requests("list")] == ["list"]


def test_looking_is_not_counted_as_a_call(sandbox: Sandbox) -> None:
    inspect(sandbox, "state")
    ask(sandbox.api_url, "GET", "/")

    assert sandbox.requests() == []


def test_the_sandbox_side_is_on_the_api_host_alone(sandbox: Sandbox) -> None:
    assert ask(sandbox.create_url, "GET", "/sandbox/state").status == 404
    assert ask(sandbox.create_url, "GET", "/").status == 404
    assert ask(sandbox.api_url, "GET", "/sandbox/nothing").json == {"error": "The sandbox has no such URL."}


class TestInbound:
    def test_a_customer_answers_the_number_that_texted_last(self) -> None:
        with Sandbox(accounts=[SandboxAccount("sandbox", "sandbox-token", (NUMBER, "+12025550101"))]) as sandbox:
            assert act(sandbox, "inbound", {"from": CUSTOMER, "text": "Hello"}).json["to"] == NUMBER
            send(sandbox, **{"from": "+12025550101"})

            answered = act(sandbox, "inbound", {"from": CUSTOMER, "text": "Thanks", "media": ["https://x.example/a"]})

            assert answered.json["to"] == "+12025550101"
            assert sandbox.messages("inbound")[1].media == ("https://x.example/a",)

    def test_the_account_is_the_numbers(self) -> None:
        accounts = [SandboxAccount("a", "t", ("+12025550101",)), SandboxAccount("b", "t", ("+12025550102",))]
        with Sandbox(accounts=accounts) as sandbox:
            message = sandbox.inbound(CUSTOMER, "Hello", to="+12025550102")
        assert message.account == "b"

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            ({"text": "x"}, "from: Field required"),
            ({"from": "someone", "text": "x"}, "from: String should match"),
            ({"from": CUSTOMER}, "needs text or media"),
            ({"from": CUSTOMER, "media": ["javascript:alert(1)"]}, "http:// or https://"),
            ({"from": CUSTOMER, "text": "x", "to": "+12025550177"}, "belongs to no account"),
            ({"from": CUSTOMER, "text": "x", "account": "other"}, "no account 'other'"),
            ({"from": CUSTOMER, "text": "x", "extra": 1}, "extra: Extra inputs"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, sandbox: Sandbox, body: object, why: str) -> None:
        answered = act(sandbox, "inbound", body)

        assert answered.status == 400
        assert why in answered.json["error"]
        assert sandbox.messages() == []

    def test_another_web_page_cannot_post(self, sandbox: Sandbox) -> None:
        answered = act(sandbox, "inbound", {"from": CUSTOMER, "text": "x"}, content_type="text/plain")

        assert (answered.status, answered.json) == (415, {"error": "Send Content-Type: application/json."})
        assert sandbox.messages() == []


def test_contacts_seeded_and_deleted_over_http(sandbox: Sandbox) -> None:
    seeded = act(sandbox, "contacts", {"contacts": [{"phoneNumber": CUSTOMER, "fullName": "Maria"}]}).json
    assert seeded["contacts"] == sandbox.contacts()
    path = f"/sandbox/contacts/{seeded['contacts'][0]['id']}"

    assert ask(sandbox.api_url, "DELETE", path).status == 200
    assert ask(sandbox.api_url, "DELETE", path).status == 404
    assert sandbox.contacts() == []


def test_a_contact_edited_in_the_web_app(sandbox: Sandbox) -> None:
    contact = create(sandbox, fullName="Maria", email="m@example.com").json

    sandbox.edit_contact(contact["id"], CUSTOMER, "Maria B")

    assert ask(sandbox.api_url, "GET", f"/api/contacts/{contact['id']}").json == {**contact, "fullName": "Maria B"}
    with pytest.raises(KeyError):
        sandbox.edit_contact("nobody", CUSTOMER)


class TestBehaviour:
    def test_switched_over_http_one_by_one(self, sandbox: Sandbox) -> None:
        act(sandbox, "behaviour", {"message_id": "always"})
        act(sandbox, "behaviour", {"relay": {"shape": "both"}})
        answered = act(sandbox, "behaviour", {"relay": {"delay_seconds": 2}})

        assert answered.json == inspect(sandbox, "behaviour")
        assert (answered.json["message_id"], answered.json["list_timeout"]) == ("always", False)
        assert (answered.json["relay"]["shape"], answered.json["relay"]["delay_seconds"]) == ("both", 2)
        assert "MessageID" in send(sandbox).json

    @pytest.mark.parametrize(
        "body", [{"message_id": "perhaps"}, {"list_limit": -1}, {"colour": 1}, {"relay": {"shape": "round"}}]
    )
    def test_a_wrong_switch_switches_nothing(self, sandbox: Sandbox, body: dict[str, Any]) -> None:
        before = inspect(sandbox, "behaviour")

        assert act(sandbox, "behaviour", {"health": "warn", **body}).status == 400
        assert inspect(sandbox, "behaviour") == before


def test_reset_is_a_fresh_start(sandbox: Sandbox) -> None:
    fresh = {**sandbox.summary(), "version": 0}
    create(sandbox)
    send(sandbox)
    sandbox.opt_out(CUSTOMER)
    sandbox.behaviour.list_timeout = True
    sandbox.behaviour.relay.shape = "both"
    sandbox.add_fault(action="answer")
    ask(sandbox.api_url, "POST", "/api/users/sandbox/webhook", {"url": "http://127.0.0.1:9/"})

    assert act(sandbox, "reset", {}).json == {"reset": True}

    assert {**sandbox.summary(), "version": 0} == fresh
    assert (sandbox.contacts(), sandbox.messages(), sandbox.requests()) == ([], [], [])
    assert (sandbox.behaviour.list_timeout, sandbox.behaviour.relay.shape) == (False, "flat")
    assert send(sandbox).status == 200


class TestConversations:
    def test_the_latest_first_with_what_the_page_needs(self, sandbox: Sandbox) -> None:
        sandbox.seed_contacts([(CUSTOMER, "Maria", "m@example.com"), ("+14155552672", "Bo", "")])
        send(sandbox)

        found = inspect(sandbox, "conversations")["conversations"]

        assert [(c["name"], c["contacts"], c["messages"]) for c in found] == [("Maria", 1, 1), ("Bo", 1, 0)]
        assert (found[0]["last"]["text"], found[1]["last"]) == ("Your order is ready.", None)

    def test_nothing_is_told_twice(self, sandbox: Sandbox) -> None:
        create(sandbox)
        version = inspect(sandbox, "conversations")["version"]
        path = f"/sandbox/conversations?version={version}"
        assert ask(sandbox.api_url, "GET", path).status == 204

        send(sandbox)
        assert ask(sandbox.api_url, "GET", path).status == 200

    @pytest.mark.parametrize(
        ("search", "names"), [("mari", ["Maria"]), ("2672", ["Bo"]), ("x", []), ("", ["Bo", "Maria"])]
    )
    def test_found_by_name_or_number(self, sandbox: Sandbox, search: str, names: list[str]) -> None:
        sandbox.seed_contacts([(CUSTOMER, "Maria", ""), ("+14155552672", "Bo", "")])

        found = inspect(sandbox, f"conversations?q={search}")["conversations"]

        assert [c["name"] for c in found] == names

    def test_a_contact_that_moves_takes_its_empty_conversation_along(self, sandbox: Sandbox) -> None:
        contact_id = create(sandbox).json["id"]
        ask(sandbox.api_url, "POST", f"/api/contacts/{contact_id}", {"phoneNumber": "+14155552672"})

        assert [c["phone"] for c in inspect(sandbox, "conversations")["conversations"]] == ["+14155552672"]

    def test_one_conversation(self, sandbox: Sandbox) -> None:
        send(sandbox, message="<b>bold</b> \u05e9\u05dc\u05d5\u05dd")
        sandbox.inbound(CUSTOMER, "STOP")

        one = inspect(sandbox, "conversation?account=sandbox&phone=%2B14155552671")

        assert [(m["kind"], m["text"]) for m in one["shown"]] == [
            ("sent_by_platform", "<b>bold</b> \u05e9\u05dc\u05d5\u05dd"),
            ("inbound", "STOP"),
        ]
        assert (one["opted_out"], one["contacts"]) == (True, 0)
        assert ask(sandbox.api_url, "GET", "/sandbox/conversation?phone=x").status == 404


class TestPage:
    def test_is_one_file_that_loads_nothing(self, sandbox: Sandbox) -> None:
        answered = ask(sandbox.page_url, "GET", "/", credentials=None)

        assert answered.status == 200
        assert answered.headers["content-type"] == "text/html; charset=utf-8"
        assert answered.headers["content-security-policy"].startswith("default-src 'none'")
        assert not re.search(rb"""(src|href|action)=["']?(https?:|//)|@import|url\(""", answered.raw)

    def test_sets_what_others_wrote_as_text(self, sandbox: Sandbox) -> None:
        page = ask(sandbox.page_url, "GET", "/").raw.decode()

        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)
        assert 'dir: "auto"' in page
