"""The policy of a text: the most specific table that has a key wins, key by key."""

from __future__ import annotations

import tomllib
from datetime import time, timedelta

import pytest

from config.fingerprint import fingerprint, source_fingerprint
from config.models import Settings
from config.policy_levels import every_policy, policy_for
from worker.triggers.rules import compile_rules

FILE = """
[policy]
max_per_contact = 10
text_until = "19:00"
holidays = "us"

[accounts.main]
uid = "u"
token = "t"
from_number = "+14155550100"
policy = { max_per_contact = 5, blast_limit = 50, max_per_account = 1000 }

[accounts.other]
uid = "o"
token = "t"
from_number = "+14155550101"

[connections.crm]
adapter = "csv"
account = "main"
policy = { text_until = "18:00", expires_after = "2h" }

[connections.shop]
adapter = "csv"
account = "other"

[triggers.birthday]
connections = ["crm", "shop"]
on = "created"
message = "Happy birthday!"
policy = { max_per_contact = 1, holidays = "none", quiet_hours = "us" }
"""


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.model_validate(tomllib.loads(FILE))


# what is asked, the key, its value, the setting that decides it
ROWS = [
    ({}, "max_per_contact", 10, "policy.max_per_contact"),
    ({}, "holidays", ("US",), "policy.holidays"),
    ({}, "duplicate_window", timedelta(hours=1), "policy.duplicate_window"),
    ({"account": "main"}, "max_per_contact", 5, "accounts.main.policy.max_per_contact"),
    ({"account": "main"}, "text_until", time(19), "policy.text_until"),
    ({"account": "other"}, "max_per_contact", 10, "policy.max_per_contact"),
    ({"connection": "crm"}, "max_per_contact", 5, "accounts.main.policy.max_per_contact"),
    ({"connection": "crm"}, "text_until", time(18), "connections.crm.policy.text_until"),
    ({"connection": "crm"}, "expires_after", timedelta(hours=2), "connections.crm.policy.expires_after"),
    ({"connection": "shop"}, "text_until", time(19), "policy.text_until"),
    ({"connection": "crm", "trigger": "birthday"}, "max_per_contact", 1, "triggers.birthday.policy.max_per_contact"),
    ({"connection": "crm", "trigger": "birthday"}, "holidays", (), "triggers.birthday.policy.holidays"),
    ({"connection": "crm", "trigger": "birthday"}, "text_until", time(18), "connections.crm.policy.text_until"),
    ({"connection": "crm", "trigger": "birthday"}, "blast_limit", 50, "accounts.main.policy.blast_limit"),
    ({"connection": "crm", "trigger": "birthday"}, "quiet_hours", "us", "triggers.birthday.policy.quiet_hours"),
    ({"connection": "shop", "trigger": "birthday"}, "text_until", time(19), "policy.text_until"),
    ({"account": "other", "connection": "crm"}, "max_per_contact", 10, "policy.max_per_contact"),
    ({"account": "gone", "connection": "gone", "trigger": "gone"}, "max_per_contact", 10, "policy.max_per_contact"),
]


@pytest.mark.parametrize(("of", "key", "value", "setting"), ROWS)
def test_the_most_specific_table_decides_each_key(
    settings: Settings, of: dict[str, str], key: str, value: object, setting: str
) -> None:
    policy = policy_for(settings, **of)
    assert getattr(policy, key) == value
    assert policy.setting(key) == setting


def test_every_policy_is_listed_once_for_each_table(settings: Settings) -> None:
    assert [name for name, _ in every_policy(settings)] == [
        "policy",
        "accounts.main.policy",
        "connections.crm.policy",
        "triggers.birthday.policy",
        "triggers.birthday.policy",
    ]


def test_a_changed_policy_reads_nothing_again_and_needs_no_new_baseline(settings: Settings) -> None:
    data = tomllib.loads(FILE)
    for kind, name in (("accounts", "main"), ("connections", "crm"), ("triggers", "birthday")):
        data[kind][name]["policy"] = {"blast_limit": 1, "text_from": "10:00"}
    changed = Settings.model_validate(data)
    before, after = settings.connections["crm"], changed.connections["crm"]
    assert fingerprint(before) == fingerprint(after)
    assert source_fingerprint(before, ["a"]) == source_fingerprint(after, ["a"])
    rules = [compile_rules(one)["crm"][0].fingerprint for one in (settings, changed)]
    assert rules[0] == rules[1]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("none", ()),
        ("us", ("US",)),
        ("US", ("US",)),
        (["us", "ca", "12-24", "2027-01-02"], ("US", "CA", "12-24", "2027-01-02")),
        ("02-29", ("02-29",)),
        ([], ()),
    ],
)
def test_holidays_are_countries_and_dates(written: object, read: tuple[str, ...]) -> None:
    assert Settings.model_validate({"policy": {"holidays": written}}).policy.holidays == read
