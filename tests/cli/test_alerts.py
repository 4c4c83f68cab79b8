"""`vtsync alerts`: what is open, and whether a channel works."""

from __future__ import annotations

from tests.alerts.conftest import SECRET, Heard, chat, hook
from tests.cli.conftest import Shell

__all__ = ["chat", "hook"]


def channels(shell: Shell, receiver: Heard) -> str:
    (shell.folder / "url").write_text(receiver.url, encoding="utf-8")
    return '[alerts.channels.c0]\nkind = "slack"\nwebhook_url = { file = "url" }\n'


def test_a_test_says_what_each_channel_answered(shell: Shell, chat: Heard) -> None:
    shell.configure(channels(shell, chat))
    assert "c0: accepted" in shell("alerts", "test").output
    assert "This is a test." in chat.bodies[0]["text"]
    chat.status = 500
    assert "c0: the receiver answered HTTP 500" in shell("alerts", "test", "c0", code=1).output
    (one,) = shell.json("alerts", "test", code=1)
    assert one == {"channel": "c0", "accepted": False, "problem": "the receiver answered HTTP 500"}


def test_a_signed_test_is_a_notice_like_any_other(shell: Shell, hook: Heard) -> None:
    (shell.folder / "secret").write_text(SECRET, encoding="utf-8")
    channel = f'kind = "webhook"\nurl = "{hook.url}"\nsecret = {{ file = "secret" }}\n'
    shell.configure(f"[alerts.channels.ops]\n{channel}")
    shell("alerts", "test", "ops")
    assert hook.bodies[0]["type"] == "alert.test"


def test_without_a_channel_the_command_says_how_to_add_one(shell: Shell, chat: Heard) -> None:
    assert "No alert is open." in shell("alerts", "list").output
    assert shell.json("alerts", "list") == []
    assert "[alerts.channels.NAME]" in shell("alerts", "test", code=2).output


def test_a_channel_that_is_not_there_is_named(shell: Shell, chat: Heard) -> None:
    shell.configure(channels(shell, chat))
    assert 'there is no channel "ops"; there are: c0' in shell("alerts", "test", "ops", code=2).output


def test_check_names_the_channels(shell: Shell, chat: Heard) -> None:
    shell.configure(channels(shell, chat))
    assert "alert channel c0" in shell.run("check").output
