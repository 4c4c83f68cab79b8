"""What cannot be meant is refused in the same words by the Celery task, over HTTP and on the command line.

A table: to try another value, add a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.cli.conftest import Shell
from worker import tasks
from worker.cli.common import open_store_runtime
from worker.inbox.dead_letters import dead_letters
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web.app import create_app
from worker.web.keys import SCOPES, create_key

ANNA, OURS = "+14155550101", "+12025550100"
CONFIGURED = """
[accounts.second]
uid = "second"
token = { env = "CLI_TOKEN" }
from_number = "+12025550111"

[callbacks]
secret = { env = "CALLBACK_SECRET" }
allow_private = "http://127.0.0.1:8000"
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def at(**distance: float) -> timedelta:
    """A time so far from the moment at which the row is tried."""
    return timedelta(**distance)


def job_of(change: dict[str, Any]) -> dict[str, Any]:
    now = utcnow()
    times = {name: (now + one).isoformat() for name, one in change.items() if isinstance(one, timedelta)}
    return {"account": "main", "to": ANNA, "message": "hello"} | change | times


PRIVATE = "which is an address of this machine or of a private network"
UNKNOWN_NAME = "which has a host name that only a private network knows"
LABEL = "which has a host name without a domain, which only a private network knows"
PASSWORD = "which has a user name or password in it"
NEVER_SENT = "the text would never be sent"
INVISIBLE = "message shows nothing but blank or invisible characters and there is no media; give at least one of them"
MEDIA: list[tuple[str, str]] = [  # tests/config/test_public_urls.py has all spellings
    ("http://127.0.0.1/a.png", PRIVATE),
    ("http://169.254.169.254/latest/meta-data", PRIVATE),
    ("http://[::1]/a.png", PRIVATE),
    ("http://localhost:8080/a.png", UNKNOWN_NAME),
    ("http://shop:8000/a.png", LABEL),
]
Row = tuple[dict[str, Any], str]
REFUSED: list[Row] = [
    ({"send_at": at(days=-366, hours=-1)}, r"send_at is 366 days in the past \(.* UTC\); give a time to come"),
    ({"send_at": at(days=401)}, r"send_at is more than 400 days ahead \(.* UTC\); send the job later"),
    ({"send_at": "2099-12-31T00:00:00Z"}, "send_at is more than 400 days ahead"),
    ({"expires_at": at(days=-30, hours=-1)}, rf"expires_at is 30 days in the past \(.* UTC\); {NEVER_SENT}"),
    ({"send_at": at(days=2), "expires_at": at(days=1)}, f"expires_at must be later than send_at, or {NEVER_SENT}"),
    ({"send_at": at(days=2), "expires_at": at(days=2)}, f"expires_at must be later than send_at, or {NEVER_SENT}"),
    ({"to": OURS}, "to and from_number are the same number"),
    ({"to": "+12025550111"}, "to is a number that an account sends from; give the number of a person"),
    ({"to": OURS, "from_number": "+12025550122"}, "to is a number that an account sends from"),
    ({"message": " \n\t"}, "message is empty and there is no media; give at least one of them"),
    *(
        ({"message": text}, INVISIBLE)
        for text in ("\u200b", "\u200d\u2060\ufeff", "\ufe0f", "\u3164", "\u2800\u2800", "\u00ad", "\u202e")
    ),
    *(({"media": [url]}, f"media must be public http or https URLs, not .*, {why}") for url, why in MEDIA),
    ({"media": ["https://user:hush@example.com/a.png"]}, f'.* not "https://…@example.com/a.png", {PASSWORD}'),
    ({"media": ["https://example.com:0/a.png"]}, "media must be public http or https URLs, not"),
    ({"media": ["https://example.com:99999/"]}, "media must be public http or https URLs, not"),
    ({"media": ["http://example.com\\@127.0.0.1/"]}, "media must be public http or https URLs, not"),
    ({"callback_url": "http://shop.example.com/"}, "callback_url must begin with https://"),
    ({"callback_url": "https://127.0.0.1/"}, "callback_url is an address of this machine .*callbacks.allow_private"),
    ({"callback_url": "http://127.0.0.1:8001/"}, "callback_url is an address of this machine"),
    ({"callback_url": "https://user:hush@shop.example.com/"}, "callback_url has a user name or password in it"),
    ({"callback_url": "https://user:hush@127.0.0.1:8000/"}, "callback_url has a user name or password in it"),
    ({"callback_url": "ftp://shop.example.com/"}, "callback_url must be an https URL, not"),
    ({"metadata": {"k" * 41: "x"}}, "metadata must have keys of 1 to 40 printable characters, not"),
    ({"metadata": {f"k{index}": "x" for index in range(51)}}, "metadata has 51 keys, at most 50 are allowed"),
    ({"metadata": {"k": "x" * 2048}}, "metadata has 2,056 bytes as JSON, at most 2,048 are allowed"),
    ({"metadata": {"k": "\x00"}}, "metadata has characters that cannot be sent"),
]
ACCEPTED: list[dict[str, Any]] = [
    {"send_at": at(minutes=-4)},
    {"send_at": at(days=399)},
    {"expires_at": at(hours=1)},
    {"send_at": at(hours=1), "expires_at": at(hours=2)},
    {"message": "\u200d👍\ufe0f"},
    {"message": "\u200b", "media": ["https://example.com/a.png"]},
    {"media": ["https://8.8.8.8/a.png"]},
    {"media": ["https://[2606:4700::1111]/a.png"]},
    {"media": ["HTTPS://Example.COM:8443/a.png?x=y@z"]},
    {"media": ["https://b\u00fccher.example.com/a.png"]},
    {"callback_url": "https://shop.example.com/texts?order=17"},
    {"callback_url": "http://127.0.0.1:8000/texts"},
    {"metadata": {"k" * 40: "x" * 2001}},
]
OPTIONS = {"send_at": "--at", "from_number": "--from"}

Entry = Callable[[dict[str, Any]], list[str]]


@pytest.fixture
def runtime(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.setenv("CALLBACK_SECRET", SECRET)
    shell.configure(CONFIGURED)
    opened = open_store_runtime()
    monkeypatch.setattr(tasks, "open_runtime", lambda: opened)
    for module in ("worker.tasks", "worker.web.app"):
        monkeypatch.setattr(f"{module}.wake", lambda *_: True)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def entries(shell: Shell, runtime: Runtime) -> Iterator[dict[str, Entry]]:
    """Each way to ask for a text. Returns what is wrong with it; nothing, when it is stored."""
    with writing(runtime.engine) as connection:
        key = create_key(connection, "test", SCOPES, [], created_by="test", now=utcnow())

    def celery(job: dict[str, Any]) -> list[str]:
        answer = tasks.send_message.apply(kwargs=job).get()
        problems: list[str] = [] if answer["ok"] else answer["error"]["problems"]
        return problems

    def command_line(job: dict[str, Any]) -> list[str]:
        command = ["send", "--queue"]
        for name, value in job.items():
            option = OPTIONS.get(name, f"--{name.replace('_', '-')}")
            values = value if isinstance(value, list) else [value]
            values = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else values
            command += [part for one in values for part in (option, one)]
        result = shell.run(*command)
        assert result.exit_code in (0, 2), result.output
        return result.stderr.strip().splitlines() if result.exit_code else []

    with TestClient(create_app(runtime)) as http:
        http.headers["Authorization"] = f"Bearer {key}"

        def over_http(job: dict[str, Any]) -> list[str]:
            answer = http.post("/v1/messages", json=job)
            assert answer.status_code in (202, 422), answer.text
            return [one["detail"] for one in answer.json().get("errors", ())]

        def in_a_batch(job: dict[str, Any]) -> list[str]:
            (outcome,) = http.post("/v1/messages:batch", json={"messages": [job]}).json()["outcomes"]
            assert outcome["status"] in (202, 422), outcome
            return [one["detail"] for one in (outcome["problem"] or {"errors": ()})["errors"]]

        yield {"celery": celery, "http": over_http, "batch": in_a_batch, "command line": command_line}


def test_what_cannot_be_meant_is_refused_in_the_same_words_everywhere(
    entries: dict[str, Entry], runtime: Runtime
) -> None:
    wrong: list[Any] = []
    for change, words in REFUSED:
        job = job_of(change)
        said = {name: ask(job) for name, ask in entries.items()}
        sentences = {sentence for one in said.values() for sentence in one}
        matched = len(sentences) == 1 and re.match(words, *sentences) is not None
        if not matched or not all(len(one) == 1 for one in said.values()):
            wrong.append((change, said))
    assert wrong == []
    with reading(runtime.engine) as connection:
        refused = dead_letters(connection, limit=1000)
    assert len(refused) == len(REFUSED), "a refused job of the broker is shown to the operator"
    assert "hush" not in repr(refused)


def test_what_can_be_meant_is_stored(entries: dict[str, Entry]) -> None:
    for change in ACCEPTED:
        job = job_of(change)
        assert {name: ask(job) for name, ask in entries.items()} == {name: [] for name in entries}, change


def test_a_record_of_the_future_is_refused_in_the_same_words_everywhere(shell: Shell, runtime: Runtime) -> None:
    with writing(runtime.engine) as connection:
        key = create_key(connection, "test", SCOPES, [], created_by="test", now=utcnow())
    job = {"account": "main", "to": ANNA, "message": "hello", "carrier": "twilio", "carrier_message_id": "SM1"}
    job |= {"sent_at": "2099-01-01T00:00:00Z"}
    words = ["sent_at is in the future (2099-01-01 00:00:00 UTC); give the time at which the text was sent"]
    assert tasks.record_message.apply(kwargs=job).get()["error"]["problems"] == words
    command = ["record", *(part for name, value in job.items() for part in (f"--{name.replace('_', '-')}", value))]
    assert shell(*command, code=2).stderr.splitlines() == words
    with TestClient(create_app(runtime)) as http:
        answer = http.post("/v1/records", json=job, headers={"Authorization": f"Bearer {key}"})
    assert [one["detail"] for one in answer.json()["errors"]] == words
    soon = job | {"sent_at": (utcnow() + timedelta(minutes=3)).isoformat()}
    assert tasks.record_message.apply(kwargs=soon).get()["ok"] is True, "clocks differ by some minutes"
