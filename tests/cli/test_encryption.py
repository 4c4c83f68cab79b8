"""`vtsync encrypt` as an operator meets it: switch on, rotate, switch off, lose the key."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from config.load import load_scheduler
from tests.cli.conftest import Shell
from worker.core.content_cipher import ContentCipher
from worker.runtime import Runtime, current, open_runtime
from worker.store.migrate import StoreEncrypted, ensure_current

KEY, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
ID, NEW_ID = ContentCipher(KEY).key_id, ContentCipher(NEW).key_id
TEXT = "Your order is ready"


@pytest.fixture
def keys(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the keys of the store, as before a restart of everything."""

    def restart(value: str | None, encrypt: bool = True) -> None:
        for one in current._runtimes.values():
            one.runtime().engine.dispose()
        current._runtimes.clear()
        monkeypatch.setenv("CLI_STORE_KEY", value or "")
        lines = ["[store]", 'encryption_key = { env = "CLI_STORE_KEY" }', f"encrypt = {str(encrypt).lower()}"]
        shell.configure("" if value is None else "\n".join(lines))

    return restart


def stored() -> list[str]:
    with open_runtime().engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT text FROM message ORDER BY id")]


def shown(shell: Shell) -> list[str]:
    return [one["text"] for one in shell.json("messages")]


def attention(shell: Shell) -> list[str]:
    return [f"{one['what']}: {one['command']}" for one in shell.json("status")["attention"]]


def test_encryption_is_switched_on_rotated_and_switched_off(shell: Shell, keys: Any) -> None:
    shell("send", "--to", "+14155552671", "-m", TEXT, "--queue")
    assert "set store.encryption_key" in shell("encrypt", code=2).stderr.replace("\n", " ")

    keys(KEY)
    assert stored() == [TEXT]
    assert any("still in clear: vtsync encrypt" in one for one in attention(shell))
    assert [one["table"] for one in shell.json("encrypt", "--dry-run")["left"]] == ["message"]
    done = shell.json("encrypt", "--vacuum")
    assert (done["key"], done["left"], done["rewritten"]["message"]) == (ID, [], 1)
    assert stored()[0].startswith(f"vts1.{ID}.")
    assert attention(shell) == []
    assert shown(shell) == [TEXT]
    assert f"all content is encrypted with the key {ID}" in shell("doctor", code=1).stdout.replace("\n", " ")

    keys(f"{NEW},{KEY}")
    assert any("encrypted with an old key: vtsync encrypt" in one for one in attention(shell))
    assert f"You can remove the key {ID} from the configuration." in shell("encrypt").stdout
    keys(NEW)
    assert shown(shell) == [TEXT]

    keys(NEW, encrypt=False)
    assert any("still encrypted: vtsync encrypt" in one for one in attention(shell))
    assert "You can remove store.encryption_key." in shell("encrypt").stdout
    assert stored() == [TEXT]
    keys(None)
    assert shown(shell) == [TEXT]


@pytest.mark.parametrize("command", ["messages", "status", "worker", "encrypt", "send --to +14155552671 -m x"])
def test_without_the_key_every_command_says_which_one_is_missing(shell: Shell, keys: Any, command: str) -> None:
    keys(KEY)
    shell("send", "--to", "+14155552671", "-m", TEXT, "--queue")
    for wrong in (NEW, None):
        keys(wrong)
        told = shell(*command.split(), code=1).stderr.replace("\n", " ")
        assert f"encrypted with the key {ID}, which store.encryption_key does not hold" in told
        assert KEY not in told
        assert NEW not in told
    keys(KEY)
    assert shown(shell) == [TEXT]


def test_a_row_that_cannot_be_read_is_no_traceback(shell: Shell, keys: Any) -> None:
    keys(NEW)
    shell("send", "--to", "+14155552671", "-m", TEXT, "--queue")
    with open_runtime().engine.begin() as connection:
        (lost,) = ContentCipher(KEY).seal("message.text", [TEXT])
        connection.exec_driver_sql("UPDATE message SET text = ?", (lost,))
    for command in ("messages", "encrypt"):
        assert f"encrypted with the key {ID}" in shell(command, code=1).stderr.replace("\n", " ")
    assert "1 row encrypted with a key that store.encryption_key does not hold" in shell("doctor", code=1).stdout


def test_a_migration_and_the_scheduler_need_no_key(shell: Shell, keys: Any) -> None:
    keys(KEY)
    shell("send", "--to", "+14155552671", "-m", TEXT, "--queue")
    keys("")
    shell("migrate")
    runtime = Runtime(load_scheduler())
    ensure_current(runtime.engine, reads_content=False)
    with pytest.raises(StoreEncrypted):
        ensure_current(runtime.engine)


@pytest.mark.parametrize("key", ["short", base64.b64encode(b"1" * 31).decode(), f"{KEY},x", f"{KEY},"])
def test_check_refuses_a_key_of_another_length(shell: Shell, keys: Any, key: str) -> None:
    keys(key)
    told = shell("check", code=2).output.replace("\n", " ")
    assert "store.encryption_key" in told
    assert "32 bytes in base64" in told
    assert key not in told


def test_a_key_that_is_not_set_is_named(shell: Shell, keys: Any) -> None:
    keys("")
    assert "CLI_STORE_KEY is set but empty" in shell("check", code=2).output.replace("\n", " ")
