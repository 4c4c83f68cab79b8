"""What depends on replies needs the Relay, and a condition asks only what can be known."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import ConfigError
from worker.runtime.load import load_settings

FILE = """
[accounts.main]
uid = "u"
token = {{ env = "VTSYNC_TOKEN" }}
from_number = "+12025550100"
{relay}

[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = {{ path = "people.csv" }}

[triggers.one]
connections = "crm"
{on}
message = "Hi"
{option}
"""
RELAY = 'relay_secret = { env = "VTSYNC_RELAY_SECRET" }'
CREATED = 'on = "created"'


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSYNC_RELAY_SECRET", "a-long-secret-of-the-relay-0123456789")


def problems(tmp_path: Path, option: str, relay: str = RELAY, on: str = CREATED) -> list[tuple[str, str]]:
    path = tmp_path / "vtsync.toml"
    path.write_text(FILE.format(relay=relay, option=option, on=on))
    try:
        load_settings(str(path))
    except ConfigError as error:
        return [(one.key, f"{one.message}; {one.remedy}") for one in error.problems]
    return []


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("stop_on_reply = true", "stop_on_reply"),
        ("only_if = \"conversation.replied_since['7d'] == false\"", "only_if"),
        ('only_if = "conversation.last_reply_at == nil"', "only_if"),
        ('only_if = "conversation.last_reply contains 2"', "only_if"),
    ],
)
def test_replies_come_from_the_relay(tmp_path: Path, option: str, key: str) -> None:
    assert problems(tmp_path, option) == []
    ((path, text),) = problems(tmp_path, option, relay="")
    assert path == f"triggers.one.{key}"
    assert 'depends on replies, and those of the account "main" do not come in' in text
    assert "set accounts.main.relay_secret" in text


def test_what_we_sent_is_known_without_the_relay(tmp_path: Path) -> None:
    assert problems(tmp_path, 'only_if = "conversation.last_text_at == nil"', relay="") == []
    assert problems(tmp_path, "stop_on_reply = false", relay="") == []


def test_a_wrong_question_is_found(tmp_path: Path) -> None:
    ((path, text),) = problems(tmp_path, 'only_if = "conversation.last_txt == nil"')
    assert path == "triggers.one.only_if"
    assert "conversation has no last_txt; it has last_text_at" in text
    entered = 'on = "entered"\ncondition = "conversation.last_text_at == nil"'
    ((path, text),) = problems(tmp_path, "", on=entered)
    assert path == "triggers.one.condition"
    assert "ask about the conversation in only_if" in text
