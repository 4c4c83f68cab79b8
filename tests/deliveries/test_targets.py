"""Who hears of what: a table."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.integrations import Subscriber
from config.models import Account, Connection, Settings
from worker.deliveries.claims import Delivery
from worker.deliveries.deliver import THREADS_A_RECEIVER, divided
from worker.deliveries.outcome import SCHEDULE, Again, next_try
from worker.deliveries.targets import CrmRecord, Event, targets

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE = "+12125550123"
RULE = {"field": "do_not_text"}


def event(type_: str, account: str = "main", **data: Any) -> Event:
    return Event("e1", type_, NOW, account, PHONE, data)


def told(
    what: Event, *records: CrmRecord, connections: dict[str, dict[str, Any]] | None = None, **subscribers: Any
) -> list[str]:
    account = Account(uid="u", token="t", from_number="+14155550100")
    settings = Settings(
        accounts={"main": account, "other": account},
        connections={
            name: Connection(adapter="sql", **{"account": "main"} | one) for name, one in (connections or {}).items()
        },
        subscribers={
            name: Subscriber(url="https://x.example", secret="whsec_eA==", **one) for name, one in subscribers.items()
        },
    )
    found: dict[str, list[CrmRecord]] = defaultdict(list)
    found[PHONE] = list(records)
    return targets(what, settings, found)


@pytest.mark.parametrize(
    ("subscription", "type_", "account", "hears"),
    [
        ({}, "message.received", "main", True),
        ({}, "contact.opted_out", "", True),
        ({}, "message.sent", "main", False),
        ({"events": ("*",)}, "message.unknown", "main", True),
        ({"events": ("message.*",)}, "message.delivered", "main", True),
        ({"events": ("message.*",)}, "contact.opted_in", "main", False),
        ({"accounts": ("main",)}, "message.received", "main", True),
        ({"accounts": ("main",)}, "message.received", "other", False),
        ({"accounts": ("main",)}, "contact.opted_out", "", True),
    ],
)
def test_subscribers(subscription: dict[str, Any], type_: str, account: str, hears: bool) -> None:
    assert told(event(type_, account), shop=subscription) == (["subscriber:shop"] if hears else [])


ONE, TWO = CrmRecord("people", "1", "main"), CrmRecord("people", "2", "main")
LOGS = {"people": {"log_messages": True}}


@pytest.mark.parametrize(
    ("what", "records", "connections", "expected"),
    [
        (event("message.received"), [ONE], LOGS, ["crm:people:1"]),
        (event("message.sent"), [ONE], LOGS, ["crm:people:1"]),
        (event("message.recorded"), [ONE], LOGS, ["crm:people:1"]),
        (event("message.delivered"), [ONE], LOGS, []),
        (event("message.received"), [ONE], {"people": {}}, []),
        (event("message.received", "other"), [ONE], LOGS, []),
        (event("message.received"), [], LOGS, []),
        (event("message.received"), [ONE, TWO], LOGS, ["crm:people:1", "crm:people:2"]),
        (event("message.received"), [ONE, TWO], {"people": {"log_messages": True, "shared_number": "none"}}, []),
        (
            event("message.received"),
            [ONE],
            {"people": {"log_messages": True, "shared_number": "none"}},
            ["crm:people:1"],
        ),
        (event("message.sent", record={"connection": "people", "id": "2"}), [ONE, TWO], LOGS, ["crm:people:2"]),
        (
            event("message.sent", record={"connection": "people", "id": "2"}),
            [ONE, TWO],
            {"people": {"log_messages": True, "shared_number": "none"}},
            ["crm:people:2"],
        ),
        (
            event("message.sent", record={"connection": "people", "id": "1"}),
            [ONE, CrmRecord("shop", "9", "main")],
            LOGS | {"shop": {"log_messages": True}},
            ["crm:people:1", "crm:shop:9"],
        ),
        (
            event("contact.opted_out", source="relay"),
            [ONE, TWO],
            {"people": {"report_opt_outs": True, "do_not_text": RULE}},
            ["crm:people:1", "crm:people:2"],
        ),
        (
            event("contact.opted_out", source="relay"),
            [ONE, TWO],
            {"people": {"report_opt_outs": True, "do_not_text": RULE, "shared_number": "none"}},
            [],
        ),
        (event("contact.opted_in", source="cli"), [ONE], {"people": {"report_opt_outs": True}}, ["crm:people:1"]),
        (event("contact.opted_out", source="relay"), [ONE], LOGS, []),
    ],
)
def test_crm_records(
    what: Event, records: list[CrmRecord], connections: dict[str, dict[str, Any]], expected: list[str]
) -> None:
    assert told(what, *records, connections=connections) == expected


def test_a_connections_work_is_divided_by_record() -> None:
    made = [Delivery(number, "me", f"e{number}", f"crm:people:{number % 7}", "{}", 1) for number in range(40)]
    made += [Delivery(number, "me", f"e{number}", "subscriber:shop", "{}", 1) for number in range(40, 50)]
    parts = divided(made)
    assert sorted(one.id for part in parts for one in part) == list(range(50))
    assert all(len({one.receiver for one in part}) == 1 for part in parts)
    assert [
        len([part for part in parts if part[0].receiver == name]) for name in ("crm:people", "subscriber:shop")
    ] == [
        THREADS_A_RECEIVER,
        THREADS_A_RECEIVER,
    ]
    for record in range(7):
        (together,) = [part for part in parts if any(one.target == f"crm:people:{record}" for one in part)]
        ids = [one.id for one in together]
        assert ids == sorted(ids)


def test_the_schedule_of_tries() -> None:
    again = Again("away")
    waits = [next_try(again, attempt, NOW, 0.0) for attempt in range(1, len(SCHEDULE) + 2)]
    assert [None if one is None else one - NOW for one in waits] == [*SCHEDULE, None]
    assert next_try(Again("busy", timedelta(hours=1)), 1, NOW, 0.0) == NOW + timedelta(hours=1)
    assert next_try(again, 2, NOW, 1.0) == NOW + SCHEDULE[1] * 1.1
