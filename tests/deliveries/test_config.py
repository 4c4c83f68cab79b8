"""What is configured about handing on is checked before anything is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.event_types import EventType
from worker.runtime.load import load_settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BASE = """
[accounts.main]
uid = "u1"
token = { env = "FORWARD_TOKEN" }
from_number = "+14155550100"
"""
CONNECTION = """
[connections.crm]
account = "main"
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORWARD_TOKEN", "t1")
    monkeypatch.setenv("GOOD", SECRET)
    monkeypatch.setenv("SHORT", "whsec_" + "YWJj" * 3)
    monkeypatch.setenv("NO_BASE64", "whsec_?" + "YWJj" * 10)
    monkeypatch.setenv("NO_PREFIX", SECRET.removeprefix("whsec_"))


def load(text: str, folder: Path) -> None:
    path = folder / "vtsync.toml"
    path.write_text(BASE + text, encoding="utf-8")
    load_settings(str(path))


@pytest.mark.parametrize("event", EventType)
def test_every_event_can_be_asked_for(event: EventType, tmp_path: Path) -> None:
    load(f'[subscribers.shop]\ntask = "shop.on_text"\nevents = "{event}"\n', tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '[subscribers.s]\nurl = "https://s.example/x"\nsecret = { env = "GOOD" }\n'
        'events = ["message.*", "contact.opted_in"]',
        '[subscribers.s]\nurl = "http://127.0.0.1:9/x"\nsecret = { env = "GOOD" }\nevents = "*"\naccounts = "main"',
        '[subscribers.s]\nurl = "http://s.example/x"\nallow_http = true\nsecret = { env = "GOOD" }',
        '[subscribers.s]\ntask = "shop.on_text"\nqueue = "shop"',
        '[callbacks]\nsecret = { env = "GOOD" }\nallow_private = "http://shop:8000"',
        CONNECTION
        + 'adapter = "sql"\nlog_messages = true\noptions = { url = "sqlite:///x", table = "p", log_table = "t",'
        ' log_columns = { text = "body" } }',
    ],
)
def test_what_works_is_accepted(text: str, tmp_path: Path) -> None:
    load(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('[subscribers.s]\nurl = "https://s.example/x"', "subscribers.s.secret", "openssl rand"),
        ("[subscribers.s]\nevents = '*'", "subscribers.s", "either a url or a task"),
        (
            '[subscribers.s]\nurl = "http://s.example/x"\nsecret = { env = "GOOD" }',
            "subscribers.s.url",
            "allow_http = true",
        ),
        ('[subscribers.s]\ntask = "a.b"\nevents = "message.recieved"', "subscribers.s.events", "message.received"),
        ('[subscribers.s]\ntask = "a.b"\naccounts = ["mian"]', "subscribers.s.accounts", "main"),
        *(
            (
                f'[subscribers.s]\nurl = "https://s.example/x"\nsecret = {{ env = "{name}" }}',
                "subscribers.s.secret",
                "at least 24 bytes",
            )
            for name in ("SHORT", "NO_BASE64", "NO_PREFIX")
        ),
        ('[callbacks]\nsecret = { env = "SHORT" }', "callbacks.secret", "at least 24 bytes"),
        ('[callbacks]\nallow_private = "http://shop:8000/texts"', "callbacks.allow_private[0]", "host and port only"),
        (
            CONNECTION + 'adapter = "csv"\noptions = { path = "x.csv" }\nlog_messages = true',
            "connections.crm.log_messages",
            "adapters that write: hubspot, pipedrive, sql",
        ),
        (
            CONNECTION + 'adapter = "csv"\noptions = { path = "x.csv" }\nreport_opt_outs = true\n'
            'do_not_text = { field = "dnt" }',
            "connections.crm.report_opt_outs",
            "only reads",
        ),
        (
            CONNECTION + 'adapter = "sql"\noptions = { url = "sqlite:///x", table = "p" }\nreport_opt_outs = true',
            "connections.crm.do_not_text",
            "which field",
        ),
        (
            CONNECTION
            + 'adapter = "sql"\noptions = { url = "sqlite:///x", table = "p", log_columns = { body = "text" } }',
            "connections.crm.options.log_columns",
            "message_id",
        ),
    ],
)
def test_what_does_not_is_named_with_the_way_out(text: str, key: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    (problem,) = [one for one in caught.value.problems if one.key.startswith(key)]
    assert words in str(problem)
    for secret in (SECRET.removeprefix("whsec_"), "YWJj" * 3):
        assert secret not in str(caught.value)
