"""What changed settings would have decided about the texts that are stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.policy import Policy
from tests.messages.conftest import Outbox, box, client, number
from worker.messages.delivery import deliver_due
from worker.messages.outbox import enqueue_send
from worker.messages.requests import SendRequest
from worker.rehearsal.what_if import InvalidSetting, WhatIf, changed_policy, what_if
from worker.store.models import utcnow

__all__ = ["box", "client"]


def compare(box: Outbox, *changes: str, **more: Any) -> WhatIf:
    return what_if(box.runtime, changed_policy(box.runtime.settings.policy, changes), 30, **more)


@pytest.fixture
def texts(box: Outbox) -> Outbox:
    """Three texts to one person and one to another, and what does not count: a cancelled one, a test."""
    for text in ("a", "b", "c"):
        box.send(number(1), text)
    box.send(number(2), "a")
    deliver_due(box.runtime)
    from worker.messages.decisions import cancel

    cancelled = box.send(number(1), "d", send_at=utcnow() + timedelta(days=1))
    cancel(box.runtime, message_ids=[cancelled], actor="ann")
    request = SendRequest.parse({"account": "main", "to": number(1), "message": "test"})
    enqueue_send(box.runtime, request, source="http", actor="key", test=True)
    return box


def test_the_present_settings_change_nothing(texts: Outbox) -> None:
    found = compare(texts)
    assert (found.texts, found.left_out, dict(found.now), found.now) == (4, 1, {"sent": 4}, found.then)
    assert (found.changed, found.examples, found.sooner, found.later) == ({}, [], 0, 0)


@pytest.mark.parametrize(
    ("changes", "now", "then", "different", "later"),
    [
        (["max_per_contact=2"], {"sent": 4}, {"sent": 4}, {}, 1),
        (["max_per_contact=1", "expires_after=2h"], {"sent": 4}, {"sent": 2, "expired": 2}, {"sent -> expired": 2}, 0),
        (["countries=['FR']"], {"sent": 4}, {"country": 4}, {"sent -> country": 4}, 0),
        (["consent=required"], {"sent": 4}, {"no_consent": 4}, {"sent -> no_consent": 4}, 0),
        (["max_per_account=3"], {"sent": 4}, {"sent": 4}, {}, 1),
    ],
)
def test_what_would_differ(
    texts: Outbox, changes: list[str], now: dict[str, int], then: dict[str, int], different: dict[str, int], later: int
) -> None:
    found = compare(texts, *changes)
    assert (dict(found.now), dict(found.then), dict(found.different), found.later) == (now, then, different, later)
    assert len(found.examples) == later + sum(different.values())


def test_one_number_alone(texts: Outbox) -> None:
    found = compare(texts, "countries=['FR']", to=number(2))
    assert dict(found.then) == {"country": 1}
    assert [one.to_number for one in found.examples] == [number(2)]


def test_the_same_text_again(box: Outbox) -> None:
    box.send(number(1), "a")
    box.send(number(1), "a")
    deliver_due(box.runtime)
    assert dict(compare(box, "duplicate_window=1h").different) == {"sent -> duplicate": 1}


@pytest.mark.parametrize(
    ("change", "setting", "value"),
    [
        ("max_per_contact=2", "max_per_contact", 2),
        ("policy.max_per_contact = none", "max_per_contact", None),
        ("duplicate_window=2h", "duplicate_window", timedelta(hours=2)),
        ("breaker_factor=2.5", "breaker_factor", 2.5),
        ('countries=["US", "MX"]', "countries", ("US", "MX")),
        ("countries=US", "countries", ("US",)),
    ],
)
def test_settings_are_read_as_in_the_file(change: str, setting: str, value: Any) -> None:
    assert getattr(changed_policy(Policy(), [change]), setting) == value
    assert changed_policy(Policy(blast_limit=7), [change]).blast_limit == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("max_per_kontact=2", "is no setting of the policy"),
        ("max_per_contact", "is no setting of the policy"),
        ("max_per_contact=many", "max_per_contact"),
        ("max_per_contact=0", "max_per_contact"),
        ("text_until=99", "text_until"),
    ],
)
def test_a_setting_that_cannot_be(change: str, words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        changed_policy(Policy(), [change])
