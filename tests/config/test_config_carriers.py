"""The tables of carriers are checked against what each carrier's module says that it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.schema import json_schema
from worker.carriers.registry import CARRIERS
from worker.runtime.load import load_settings

ACCOUNT = """
[accounts.main]
uid = "u"
token = { env = "VTSYNC_TOKEN" }
from_number = "+14155550100"
[carriers.shop]
account = "main"
"""
VALUES = {
    "account_id": '"AC1"',
    "auth_token": '{ env = "VTSYNC_TOKEN" }',
    "signing_key": '{ env = "VTSYNC_TOKEN" }',
    "public_key": '"a"',
    "username": '"a"',
    "password": '{ env = "VTSYNC_TOKEN" }',
}

Check = Callable[[str], dict[str, str]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The problems of a carrier's table: key -> message and remedy."""
    monkeypatch.setenv("VTSYNC_TOKEN", "secret")

    def run(lines: str) -> dict[str, str]:
        path = tmp_path / "vtsync.toml"
        path.write_text(ACCOUNT + lines, encoding="utf-8")
        try:
            load_settings(str(path))
        except ConfigError as error:
            return {problem.key: f"{problem.message}; {problem.remedy}" for problem in error.problems}
        return {}

    return run


def lines(carrier: str, keys: tuple[str, ...]) -> str:
    return "\n".join([f'carrier = "{carrier}"', *(f"{key} = {VALUES[key]}" for key in keys)])


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_what_a_carrier_needs_is_enough_and_each_key_is_missed(check: Check, carrier: str) -> None:
    needs = CARRIERS[carrier].needs
    assert check(lines(carrier, needs)) == {}
    for key in needs:
        problems = check(lines(carrier, tuple(one for one in needs if one != key)))
        assert list(problems) == [f"carriers.shop.{key}"]
        assert carrier in problems[f"carriers.shop.{key}"]


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_a_list_is_read_only_where_there_is_one(check: Check, carrier: str) -> None:
    provider = CARRIERS[carrier]
    keys = tuple(dict.fromkeys((*provider.needs, *provider.list_needs)))
    problems = check(lines(carrier, keys) + '\npoll_every = "10m"')
    assert ("carriers.shop.poll_every" in problems) is (provider.list_sent is None)
    if provider.list_sent is None:
        assert "twilio, sinch" in problems["carriers.shop.poll_every"] or "sinch, twilio" in str(problems)
    for key in set(provider.list_needs) - set(provider.needs):
        without = check(lines(carrier, provider.needs) + '\npoll_every = "10m"')
        assert "poll_every needs it" in without[f"carriers.shop.{key}"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://api.example.com", ""),
        ("http://127.0.0.1:9000", ""),
        ("http://localhost:9000", ""),
        ("http://[::1]:9000", ""),
        ("http://api.example.com", "unencrypted"),
        ("http://10.0.0.5:9000", "unencrypted"),
        ("http://127.0.0.1.example.com", "unencrypted"),
        ("HTTP://api.example.com", "unencrypted"),
    ],
)
def test_credentials_never_go_unencrypted_to_another_machine(check: Check, url: str, problem: str) -> None:
    problems = check(lines("twilio", CARRIERS["twilio"].needs) + f'\napi_url = "{url}"')
    assert (problem in problems.get("carriers.shop.api_url", "")) is True
    assert set(problems) == ({"carriers.shop.api_url"} if problem else set())


def test_an_unknown_carrier_is_named_and_the_nearest_proposed(check: Check) -> None:
    assert 'did you mean "twilio"' in check('carrier = "twillio"')["carriers.shop.carrier"]


def test_the_schema_offers_the_carriers_that_exist() -> None:
    carrier = json_schema(CARRIERS)["$defs"]["Carrier"]["properties"]["carrier"]
    assert carrier["enum"] == sorted(CARRIERS)
    assert "enum" not in json_schema()["$defs"]["Carrier"]["properties"]["carrier"]
