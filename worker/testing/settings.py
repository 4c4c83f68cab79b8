"""The configuration of a test's fleet: ours, with the test's settings over it."""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from config.errors import ConfigError
from worker.sandbox import SandboxAccount

FROM_NUMBER = "+12025550100"
TOKEN = "sandbox-token"  # noqa: S105 - of the sandbox: no secret
CALLBACK_SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdCBmbGVldCwgMzI="  # noqa: S105 - the same
OURS = ("data_dir", "store", "broker")
"""What a test cannot set: each fleet has a folder of its own, and is emptied there."""

_BASE: dict[str, Any] = {
    "data_dir": "data",
    "accounts": {"main": {}},
    "policy": {"quiet_hours": "none"},  # tests run at any hour
    "callbacks": {"secret": {"file": "callback.secret"}},
    "web": {"requests_per_minute": 1_000_000},
    "worker": {"tick_every": "1s"},
}


class BadSettings(Exception):
    """The settings of a test cannot be used. The message says why, for the person who wrote them."""

    def __init__(self, why: object) -> None:
        super().__init__(f"vtsync_settings: {why}")


def read_settings(text: str) -> dict[str, Any]:
    """Return the whole configuration but the addresses of the sandbox. Raises BadSettings."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"not valid TOML: {error}") from None
    for name in OURS:
        if name in given:
            raise BadSettings(f"{name} belongs to the fixture, which has a folder of its own; remove it")
    return _merged(_BASE, given)


def sandbox_accounts(settings: Mapping[str, Any]) -> list[SandboxAccount]:
    """Return the accounts of the configuration as the sandbox knows them: each may send from any number."""
    return [SandboxAccount(name, TOKEN) for name in _table(settings["accounts"], "accounts")]


def write_settings(path: Path, settings: Mapping[str, Any], api_url: str, create_url: str) -> None:
    """Write the configuration and its secrets, with every account in the sandbox at these addresses.

    Raises BadSettings if vtsync cannot use it.
    """
    from config.load import load

    _write_secret(path, "callback", CALLBACK_SECRET)
    accounts = {}
    for name, given in settings["accounts"].items():
        ours = {"uid": name, "token": _write_secret(path, "token", TOKEN), "api_url": api_url, "create_url": create_url}
        relay = {"relay_secret": _write_secret(path, f"relay-{name}", secrets.token_hex(16))}
        accounts[name] = {"from_number": FROM_NUMBER} | _table(given, f"accounts.{name}") | ours | relay
    whole = {**settings, "accounts": accounts}
    path.write_text("".join(f"{_written(name)} = {_written(value)}\n" for name, value in whole.items()), "utf-8")
    try:
        load(path)
    except ConfigError as error:
        raise BadSettings(error) from None


def _write_secret(config: Path, name: str, value: str) -> dict[str, str]:
    """Write a secret to a file beside the configuration, and return how the configuration names it."""
    file = config.with_name(f"{name}.secret")
    file.write_text(value, "utf-8")
    file.chmod(0o600)
    return {"file": file.name}


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadSettings(f"{name} must be a table")
    return value


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        under = merged.get(name)
        merged[name] = _merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _written(value: Any) -> str:
    """Return a value as TOML: strings, numbers and booleans as in JSON, tables in one line."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_written(name)} = {_written(one)}' for name, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, float):
        return str(value)  # JSON has other names for infinity
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
