"""A secret is never shown: not in settings, not in errors, not when it was put in the wrong place."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from config.errors import ConfigError
from config.load import load
from config.models import Account, Settings
from config.types import Secret, holds_password
from tests.config.conftest import checks

SECRET = "sk-live-4f9aQ2xZ7"
GOOD = """
[accounts.main]
uid = { env = "VTSYNC_UID" }
token = { env = "VTSYNC_TOKEN" }
from_number = "+14155550100"
[connections.crm]
adapter = "hub"
account = "main"
"""


class HubOptions(BaseModel):
    """An adapter whose author was careless: input is quoted in errors, and a check repeats the value."""

    model_config = ConfigDict(extra="forbid")
    api_token: Secret | None = None
    portal: str = ""
    limit: int = 1

    @field_validator("portal")
    @classmethod
    def _known(cls, value: str) -> str:
        if value.startswith("sk-"):
            raise ValueError(f"there is no portal {value}")
        return value


MISPLACED = {
    "token in plain text": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'"{SECRET}"'),
    "token in a list": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'["{SECRET}"]'),
    "token in a strange table": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'{{ value = "{SECRET}" }}'),
    "token as a variable's name": GOOD.replace("VTSYNC_TOKEN", SECRET),
    "token as a file's name": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'{{ file = "{SECRET}" }}'),
    "both references": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'{{ env = "{SECRET}", file = "{SECRET}" }}'),
    "whole credential as uid": GOOD.replace('{ env = "VTSYNC_UID" }', f'"abc:{SECRET}"'),
    "misspelt key": GOOD.replace("token =", "tokn =").replace('{ env = "VTSYNC_TOKEN" }', f'"{SECRET}"'),
    "in the section itself": GOOD + f'[accounts]\ntoken = "{SECRET}"',
    "instead of the account": f'accounts.main = "{SECRET}"',
    "instead of the accounts": f'accounts = "{SECRET}"',
    "instead of the phone number, which is also the token": GOOD.replace(
        '{ env = "VTSYNC_TOKEN" }', f'"{SECRET}"'
    ).replace("+14155550100", SECRET),
    "long token instead of the phone number": GOOD.replace("+14155550100", SECRET + SECRET),
    "in a base URL": GOOD + f'[accounts.b]\napi_url = "https://me:{SECRET}@example.com"',
    "in the store's URL": GOOD + f'[store]\nurl = "postgresql+psycopg://me:{SECRET}@db/x"',
    "in a parameter of the store's URL": GOOD + f'[store]\nurl = "postgresql+psycopg://db/x?password={SECRET}"',
    "in a broker's URL of another kind": GOOD + f'[broker]\nurl = "kafka://me:{SECRET}@host"',
    "plain option": GOOD + f'options = {{ api_token = "{SECRET}" }}',
    "misspelt option": GOOD + f'options = {{ api_tokn = "{SECRET}" }}',
    "option of another type": GOOD + f'options = {{ limit = "{SECRET}", api_token = "{SECRET}" }}',
    "repeated by a third party": GOOD + f'options = {{ portal = "{SECRET}", api_token = "{SECRET}" }}',
    "resolved, and repeated by a third party": GOOD
    + f'options = {{ portal = "{SECRET}", api_token = {{ env = "HUB_TOKEN" }} }}',
    "options are the secret": GOOD + f'options = "{SECRET}"',
    "syntax error behind it": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'"{SECRET}" oops'),
    "quote never closed": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'"{SECRET}'),
    "syntax error on the line after": GOOD.replace('{ env = "VTSYNC_TOKEN" }', f'[\n  "{SECRET}" oops\n]'),
    "syntax error in an inline table": f'accounts.main = {{ uid = "u", token = "{SECRET}" oops }}',
    "syntax error behind a URL": f'[crm]\nhome = "redis://:{SECRET}@x" oops',
}


@pytest.mark.parametrize("case", MISPLACED)
def test_an_error_never_shows_a_secret(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", SECRET)
    path = tmp_path / "vtsync.toml"
    path.write_text(MISPLACED[case], encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, checks(lambda _name: HubOptions))
    for text in (str(caught.value), repr(caught.value), repr(caught.value.problems), repr(caught.value.args)):
        assert SECRET not in text


def _everything_said_of(settings: Settings) -> list[str]:
    account = settings.accounts["main"]
    return [
        str(settings),
        repr(settings),
        f"{settings!s:>10}",
        settings.model_dump_json(),
        settings.model_dump_json(by_alias=True, indent=1),
        str(settings.model_dump()),
        str(settings.model_dump(mode="json")),
        repr(account),
        repr(account.token),
        str([*account]),
        logging.makeLogRecord({"msg": "%s", "args": (settings,)}).getMessage(),
    ]


def test_settings_never_show_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VTSYNC_UID", "VTSYNC_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("STORE", f"postgresql+psycopg://me:{SECRET}@db/x")
    monkeypatch.setenv("BROKER", f"redis://:{SECRET}@host/0")
    path = tmp_path / "vtsync.toml"
    options = (
        f'options = {{ api_token = "{SECRET}", url = "mysql://me:{SECRET}@crm/x", deep = [{{ Password = "{SECRET}" }}],'
        ' page = 5, key = { env = "HUB" } }\n'
    )
    path.write_text(GOOD + options + 'store.url = { env = "STORE" }\nbroker.url = { env = "BROKER" }\n'.replace(
        "store.url", "[store]\nurl", 1).replace("broker.url", "[broker]\nurl", 1), encoding="utf-8")  # fmt: skip
    settings = load(path)
    assert SECRET in settings.database_url()
    assert settings.accounts["main"].token.get_secret_value() == SECRET
    for text in _everything_said_of(settings):
        assert SECRET not in text
    shown = settings.model_dump(mode="json")["connections"]["crm"]["options"]
    assert shown == {
        "api_token": "(hidden)",
        "url": "mysql://***@crm/x",
        "deep": [{"Password": "(hidden)"}],
        "page": 5,
        "key": {"env": "HUB"},
    }


def test_settings_survive_pickling(tmp_path: Path) -> None:
    path = tmp_path / "vtsync.toml"
    path.write_text(GOOD, encoding="utf-8")
    settings = load(path)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert pickle.loads(pickle.dumps(settings))._file == settings._file


def test_a_validation_error_in_code_does_not_quote_its_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Account.model_validate({"uid": SECRET, "token": SECRET, "from_number": SECRET, "x": SECRET})
    assert SECRET not in str(caught.value)


def test_a_token_that_could_be_a_variables_name_is_not_shown_as_one(tmp_path: Path) -> None:
    path = tmp_path / "vtsync.toml"
    path.write_text(GOOD.replace("VTSYNC_TOKEN", "sk_live_4f9aQ2xZ7"), encoding="utf-8")
    with pytest.raises(ConfigError, match="may be the secret itself") as caught:
        load(path)
    assert "sk_live" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("redis://127.0.0.1:6379/0", False),
        ("postgresql+psycopg://me@db/x?sslmode=require&sslkey=/etc/key.pem", False),
        ("sqlite:///x.db", False),
        ("redis://:pw@host", True),
        ("amqp://me:pw@host//", True),
        ("amqp://me:p@w@host//", True),
        ("https://host/x?api_key=1", True),
        ("postgresql+psycopg:///x?user=a&PASSWORD=b", True),
        ("http://[broken", True),
    ],
)
def test_which_urls_hold_a_password(url: str, holds: bool) -> None:
    assert holds_password(url) is holds


def test_a_secret_given_as_one_stays_as_it_is() -> None:
    token = SecretStr("t")
    account = Account.model_validate({"uid": SecretStr("u"), "token": token, "from_number": "+14155550100"})
    assert account.token == token
