"""A replay decides as the outbox does, and forgets what no rule looks back to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.policy import Policy
from worker.core.states import MessageKind
from worker.policy.decide import OptedOut, PolicyFacts, QuietHours
from worker.policy.locations import Locations
from worker.policy.quiet_hours import rules_for
from worker.rehearsal.guards import TriggerLoad
from worker.rehearsal.replay import PolicyReplay, ReplayedText

TUESDAY = datetime(2026, 3, 10, 17, 0, tzinfo=UTC)  # one o'clock in New York
NEW_YORK = Locations(("America/New_York",))


def text(number: int, at: datetime, to: str = "+12125550101", content: int = 0, **facts: Any) -> ReplayedText:
    known = {"kind": MessageKind.SEND, "expires_at": at + timedelta(hours=24), "opted_out": None} | facts
    return ReplayedText(str(number), "main", to, content or number, at, PolicyFacts(**known))


def under(policy: Policy, one: ReplayedText) -> ReplayedText:
    return replace(one, facts=replace(one.facts, policy=policy))


def fates(*texts: ReplayedText) -> dict[str, tuple[str, datetime, tuple[str, ...]]]:
    replay = PolicyReplay()
    found = {}
    for one in texts:
        found |= {ended.id: (fate.code, fate.at, fate.held) for ended, fate in replay.until(one.due_at)}
        replay.add(one)
    return found | {ended.id: (fate.code, fate.at, fate.held) for ended, fate in replay.until(None)}


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


@pytest.mark.parametrize(
    ("policy", "second", "expected"),
    [
        (Policy(), text(2, TUESDAY + hours(1)), ("sent", TUESDAY + hours(1), ())),
        (Policy(), text(2, TUESDAY + hours(0.5), content=1), ("duplicate", TUESDAY + hours(0.5), ())),
        (Policy(), text(2, TUESDAY + hours(1.5), content=1), ("sent", TUESDAY + hours(1.5), ())),
        (Policy(max_per_contact=1), text(2, TUESDAY + hours(1)), ("sent", TUESDAY + hours(24), ("cap",))),
        (Policy(max_per_account=1), text(2, TUESDAY + hours(1), to="+12125550102"),
         ("sent", TUESDAY + hours(24), ("cap",))),
        (Policy(max_per_contact=1), text(2, TUESDAY + hours(1), expires_at=TUESDAY + hours(5)),
         ("expired", TUESDAY + hours(24), ("cap",))),
        (Policy(), text(2, TUESDAY, opted_out=OptedOut(TUESDAY, "relay")), ("opted_out", TUESDAY, ())),
        (Policy(), text(2, TUESDAY, do_not_text="the field"), ("do_not_text", TUESDAY, ())),
        (Policy(), text(2, TUESDAY, batch_verdict="over_limit"), ("approval", TUESDAY, ())),
        (Policy(), text(2, TUESDAY, batch_verdict="over_limit", approved=True), ("sent", TUESDAY, ())),
    ],
)  # fmt: skip
def test_what_becomes_of_a_text_after_another(policy: Policy, second: ReplayedText, expected: Any) -> None:
    assert fates(text(1, TUESDAY), under(policy, second))["2"] == expected


def test_a_text_at_night_goes_in_the_morning() -> None:
    policy = Policy(release_jitter=timedelta(0))
    rules = rules_for(policy, NEW_YORK)
    assert rules is not None
    night = TUESDAY + hours(10)
    found = fates(text(1, night, quiet_hours=QuietHours(rules, NEW_YORK)))
    assert found["1"] == ("sent", datetime(2026, 3, 11, 13, 0, tzinfo=UTC), ("quiet_hours",))


def test_memory_holds_a_day() -> None:
    replay = PolicyReplay()
    for hour in range(2000):
        replay.add(text(hour, TUESDAY + hours(hour), to=f"+1212555{hour:04}"))
        list(replay.until(TUESDAY + hours(hour)))
    kept = (replay._sent, replay._by_number, replay._by_account["main"], replay._last_same)
    assert max(map(len, kept)) <= 26


def test_the_guards_count_people_of_a_day_and_of_a_sync() -> None:
    load = TriggerLoad()
    for day in range(6):
        for person in range(10):
            load.add("t", f"sync {day}", f"+1212555{person:04}", TUESDAY + timedelta(days=day, minutes=person))
    last = TUESDAY + timedelta(days=5, minutes=9)
    assert (load.people["t", "sync 5"], load.texts["t", "sync 5"], load.of_batch["sync 5"]) == (10, 10, 10)
    assert load.held("t", "sync 5", last, Policy(blast_limit=10), planned=False) == ("", "")
    over, _ = load.held("t", "sync 5", last, Policy(blast_limit=9), planned=False)
    assert over == "", "it usually reaches that many people"
    fresh = TriggerLoad()
    for person in range(10):
        fresh.add("t", "sync", f"+1212555{person:04}", TUESDAY)
    assert "would text 10 people" in fresh.held("t", "sync", TUESDAY, Policy(blast_limit=9), planned=False)[0]
    assert "no earlier days" in fresh.held("t", "sync", TUESDAY, Policy(blast_limit=9), planned=True)[1]
