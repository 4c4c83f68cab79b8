"""Tests of another service, which has only the fixture. test_plugin.py runs them in a session of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import celery
import pytest
import requests
from documented import ROOT, block

from vtsync_testing import VtsyncSandbox

ADA, BOB = "+14155552671", "+14155552672"


class Answering(BaseHTTPRequestHandler):
    """Answers as its server is told, and remembers what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((dict(self.headers), body))  # type: ignore[attr-defined]
        status = self.server.script.pop(0) if self.server.script else 200  # type: ignore[attr-defined]
        if status == 0:
            self.close_connection = True
            self.connection.close()
            return
        answer = json.dumps({"id": "1", "errors": []}).encode()
        self.send_response(status)
        for name, value in (("Retry-After", "0"), ("Content-Length", str(len(answer)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server that is told what to answer, on a free port or on the one that gets callbacks."""
    port = urlsplit(os.environ["CALLBACK_ORIGIN"]).port if "callback" in request.node.name else 0
    server = HTTPServer(("127.0.0.1", port or 0), Answering)
    server.script, server.heard = [], []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


# the examples


def run(program: str, *arguments: str, **environment: str) -> tuple[int, str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def in_python(url: str, key: str, to: str) -> tuple[bool, str]:
    names = over_http(url, key)
    try:
        return True, json.dumps(names["send_text"](to, "Your order 1042 is ready for pick-up.", "order-1042-ready"))
    except (ValueError, requests.RequestException) as error:
        return False, str(error)


def over_http(url: str, key: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSYNC_URL", url)
        patch.setenv("VTSYNC_KEY", key)
        for words in ("vtsync = requests.Session()", "def send_texts(", "def wait_until_ended("):
            exec(block("python", words), names)
    return names


def in_node(url: str, key: str, to: str) -> tuple[bool, str]:
    text = json.dumps({"to": to, "message": "Your order 1042 is ready for pick-up."})
    code = block("js", "async function sendText(")
    code += f"sendText({text}, 'order-1042-ready').then((answer) => console.log(JSON.stringify(answer)));"
    status, output = run("node", "-e", code, VTSYNC_URL=url, VTSYNC_KEY=key)
    return status == 0, output


def in_php(url: str, key: str, to: str) -> tuple[bool, str]:
    code = block("php", "function send_text(")
    text = f"['to' => '{to}', 'message' => 'Your order 1042 is ready for pick-up.']"
    status, output = run(
        "php", "-r", f"{code} echo json_encode(send_text({text}, 'order-1042-ready'));", VTSYNC_URL=url, VTSYNC_KEY=key
    )
    return status == 0, output


def in_curl(url: str, key: str, to: str) -> tuple[bool, str]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    status, output = run("sh", "-c", block("sh", "curl ").replace(ADA, to), VTSYNC_URL=url, VTSYNC_KEY=key)
    return status == 0, output


LANGUAGES = pytest.mark.parametrize("send", [in_python, in_node, in_php, in_curl])


@LANGUAGES
def test_the_example_sends_one_text(vtsync_sandbox: VtsyncSandbox, send: Any) -> None:
    for duplicate in ("false", "true"):
        done, output = send(vtsync_sandbox.url, vtsync_sandbox.key, ADA)
        assert done, output
        assert f'"duplicate":{duplicate}' in output.replace(" ", "")
    vtsync_sandbox.wait_for_text(to=ADA)
    vtsync_sandbox.settle()
    assert vtsync_sandbox.sent_to(ADA) == ["Your order 1042 is ready for pick-up."]
    done, output = send(vtsync_sandbox.url, vtsync_sandbox.key, "+1999")
    assert not done
    assert "E.164" in output


@pytest.mark.parametrize(
    ("send", "script"),
    [
        (in_python, [0, 503, 429, 502, 202]),
        (in_node, [0, 503, 429, 502, 202]),
        (in_php, [503, 429, 502, 202]),
        (in_curl, [503, 202]),  # it waits a second for each
    ],
)
def test_the_example_repeats_with_the_same_key_what_may_be_repeated(
    other: Any, send: Any, script: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # urllib3 takes Retry-After: 0 for none
    other.script += script
    done, output = send(f"http://127.0.0.1:{other.server_port}", "key", ADA)
    assert done, output
    assert [headers["Idempotency-Key"] for headers, _ in other.heard] == ["order-1042-ready"] * len(script)
    assert len({body for _, body in other.heard}) == 1


@LANGUAGES
@pytest.mark.parametrize("status", [401, 422])
def test_the_example_does_not_repeat_what_is_refused(other: Any, send: Any, status: int) -> None:
    other.script += [status, 202]
    done, output = send(f"http://127.0.0.1:{other.server_port}", "key", ADA)
    assert not done, output
    assert len(other.heard) == 1, output


def test_the_example_for_celery(vtsync_sandbox: VtsyncSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", vtsync_sandbox.broker_url)
    names: dict[str, Any] = {}
    exec(block("python", "vtsync = Celery(").replace("backend=", "set_as_current=False, backend="), names)
    assert isinstance(names["vtsync"], celery.Celery)
    names["vtsync"].conf.update(vtsync_sandbox.celery_settings)  # a folder has no URL that says it all
    assert names["send_text"](ADA, "hello", "a") == names["send_text"](ADA, "hello", "a")
    assert vtsync_sandbox.wait_for_text(to=ADA).text == "hello"
    with pytest.raises(ValueError, match=r"E\.164"):
        names["send_text"]("555", "hello", "b")


def test_many_texts_and_their_end(vtsync_sandbox: VtsyncSandbox) -> None:
    names = over_http(vtsync_sandbox.url, vtsync_sandbox.key)
    texts = [{"to": to, "message": "hello", "idempotency_key": to} for to in (ADA, "415", BOB)]
    (refused,) = names["send_texts"](texts)
    assert (refused["text"]["to"], refused["errors"][0]["pointer"]) == ("415", "/to")
    taken = names["send_text"](ADA, "hello", ADA)
    assert taken["duplicate"] is True
    assert names["wait_until_ended"](taken["id"])["state"] in ("accepted", "confirmed")


@pytest.mark.parametrize("words", ["standardwebhooks", "def verified("])
def test_a_callback_comes_and_is_verified(vtsync_sandbox: VtsyncSandbox, other: Any, words: str) -> None:
    url = os.environ["CALLBACK_ORIGIN"] + "/texts"
    over_http(vtsync_sandbox.url, vtsync_sandbox.key)["send_text"](
        ADA, "hello", "a", callback_url=url, metadata={"order": 1}
    )
    vtsync_sandbox.wait_for_text(to=ADA)
    vtsync_sandbox.settle()
    ((headers, body),) = other.heard
    headers = {name.lower(): value for name, value in headers.items()}
    names: dict[str, Any] = {
        "secret": vtsync_sandbox.callback_secret,
        "request": SimpleNamespace(body=body, headers=headers),
    }
    exec(block("python", words), names)
    event = names["event"] if words == "standardwebhooks" else names["verified"](names["secret"], headers, body)
    assert (event["type"], event["data"]["metadata"]) == ("message.sent", {"order": 1})


def test_the_example_makes_a_key(vtsync_sandbox: VtsyncSandbox) -> None:
    command, _, _ = block("sh", "vtsync keys create").partition("#")
    environment = {"VTSYNC_CONFIG": str(vtsync_sandbox.config), "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-P", "-m", "vtsync"]  # without this service's modules of the same names
    status, output = run(*program, *command.split()[1:], **environment)
    assert status == 0, output
    key = next(word for word in output.split() if word.startswith("vtk_"))
    assert over_http(vtsync_sandbox.url, key)["send_text"](ADA, "hello", "a")["state"] == "queued"


# the fixture


def test_settings_of_the_service(vtsync_sandbox: VtsyncSandbox) -> None:
    assert vtsync_sandbox.sync("crm")["ok"] is True
    assert [(one["phoneNumber"], one["fullName"]) for one in vtsync_sandbox.contacts()] == [(ADA, "Ada")]


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_begins_empty(vtsync_sandbox: VtsyncSandbox, time: str) -> None:
    assert (vtsync_sandbox.messages(), vtsync_sandbox.texts(), vtsync_sandbox.contacts()) == ([], [], [])
    send = over_http(vtsync_sandbox.url, vtsync_sandbox.key)["send_text"]
    assert send(ADA, "hello", "a")["duplicate"] is False
    vtsync_sandbox.wait_for_text(to=ADA)
    vtsync_sandbox.reply(ADA, "STOP")
    assert send(ADA, "hello again", "c")["state"] == "suppressed"
    vtsync_sandbox.add_fault(endpoint="send", action="answer", status=500)


def test_a_test_key_reaches_no_phone(vtsync_sandbox: VtsyncSandbox) -> None:
    over_http(vtsync_sandbox.url, vtsync_sandbox.test_key)["send_text"](ADA, "hello", "a")
    vtsync_sandbox.settle()
    assert ([one["state"] for one in vtsync_sandbox.messages(ADA)], vtsync_sandbox.texts()) == (["simulated"], [])


def test_a_text_that_does_not_come_is_explained(vtsync_sandbox: VtsyncSandbox) -> None:
    with pytest.raises(AssertionError, match=r"no text to \+14155552671 in 0 s; vtsync has got no job for it"):
        vtsync_sandbox.wait_for_text(to=ADA, timeout=0)
    vtsync_sandbox.reply(ADA, "STOP")
    over_http(vtsync_sandbox.url, vtsync_sandbox.key)["send_text"](ADA, "hello", "a")
    with pytest.raises(AssertionError, match=r"'hello' to \+14155552671: suppressed \(opted_out"):
        vtsync_sandbox.wait_for_text(to=ADA, timeout=0)


def test_records_are_seen_apart(vtsync_sandbox: VtsyncSandbox) -> None:
    job = {"account": "main", "to": ADA, "message": "booked", "carrier": "twilio", "carrier_message_id": "SM1"}
    vtsync_sandbox.celery.send_task("vtsync.record_message", kwargs=job).get(timeout=10, interval=0.01)
    vtsync_sandbox.settle()
    assert ([one.text for one in vtsync_sandbox.records()], vtsync_sandbox.texts()) == (["booked"], [])


def test_the_service_has_modules_of_its_own_with_our_names(vtsync_sandbox: VtsyncSandbox) -> None:
    import config
    import worker

    assert (config.OURS, worker.OURS) == (False, False)
    assert not [name for name in sys.modules if name.startswith(("worker.", "config."))]


def test_a_call_that_was_interrupted_does_not_confuse_the_next(vtsync_sandbox: VtsyncSandbox) -> None:
    agent = vtsync_sandbox._agent
    agent._input.write(b'{"number": -1, "call": "texts", "arguments": {}}\n')  # its answer is never read
    assert vtsync_sandbox.contacts() == []
    vtsync_sandbox.reply(ADA, "hello")
    assert [one["state"] for one in vtsync_sandbox.messages()] == []


class TestSettingsThatCannotBeUsed:
    @pytest.fixture
    def vtsync_settings(self) -> str:
        return "[accounts.main]\nnubmer = 1"

    def test_they_are_explained(self, request: pytest.FixtureRequest) -> None:
        with pytest.raises(pytest.fail.Exception, match=r"(?s)vtsync_settings: .*accounts\.main\.nubmer"):
            request.getfixturevalue("vtsync_sandbox")
