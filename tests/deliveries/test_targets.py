"""Who hears of what: a table."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from config.integrations import Subscriber
from config.models import Account, Connection, Settings
from worker.core.states import DeliveryState
from worker.deliveries.claims import ClaimedDelivery
from worker.deliveries.outcome import SCHEDULE, RetryLater, next_attempt_at
from worker.deliveries.run import THREADS_PER_RECEIVER, divided
from worker.deliveries.targets import CrmRecord, OutgoingEvent, Receiver, Target, targets_of
from worker.store.db import writing
from worker.store.tables import delivery

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE = "+12125550123"
RULE = {"field": "do_not_text"}


def event(type_: str, account: str = "main", **data: Any) -> OutgoingEvent:
    return OutgoingEvent("e1", type_, NOW, account, PHONE, data)


def told(
    what: OutgoingEvent, *records: CrmRecord, connections: dict[str, dict[str, Any]] | None = None, **subscribers: Any
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
    return [str(target) for target in targets_of(what, settings, found)]


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
DEAL, OTHER_DEAL = CrmRecord("people", "d1", "main", "deal"), CrmRecord("people", "d2", "main", "deal")
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
        # A deal is told only of our own texts about it, and its person is not told of these.
        (event("message.received"), [ONE, DEAL], LOGS, ["crm:people:1"]),
        (event("message.sent"), [ONE, DEAL], LOGS, ["crm:people:1"]),
        (
            event("message.sent", record={"connection": "people", "id": "d1"}),
            [ONE, DEAL, OTHER_DEAL],
            LOGS,
            ["crm:people:d1"],
        ),
        (
            event("contact.opted_out", source="relay"),
            [ONE, DEAL],
            {"people": {"report_opt_outs": True, "do_not_text": RULE}},
            ["crm:people:1"],
        ),
    ],
)
def test_crm_records(
    what: OutgoingEvent, records: list[CrmRecord], connections: dict[str, dict[str, Any]], expected: list[str]
) -> None:
    assert told(what, *records, connections=connections) == expected


PEOPLE, SHOP = Receiver("crm", "people"), Receiver("subscriber", "shop")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("subscriber:shop", Target(SHOP)),
        ("crm:people:17", Target(PEOPLE, "17")),
        ("crm:people:", Target(PEOPLE, "")),
        ("crm:people:a:b", Target(PEOPLE, "a:b")),
        ("crm:people::", Target(PEOPLE, ":")),
        ("crm:people:Ada-1_x", Target(PEOPLE, "Ada-1_x")),
        ("crm:crm:crm:x", Target(Receiver("crm", "crm"), "crm:x")),
        ("crm:a_B-9:\u00e9\U0001f600", Target(Receiver("crm", "a_B-9"), "\u00e9\U0001f600")),
    ],
)
def test_a_target_is_read_as_it_is_written_and_the_store_finds_its_receiver(
    engine: Engine, text: str, target: Target
) -> None:
    assert Target.from_text(text) == target
    assert str(target) == text
    row = {"event_id": "e1", "type": "t", "payload": "{}", "created_at": NOW, "due_at": NOW, "attempts": 0}
    with writing(engine) as connection:
        connection.execute(insert(delivery), row | {"target": text, "state": DeliveryState.DUE, "last_error": ""})
        assert connection.scalar(select(delivery.c.receiver)) == str(target.receiver)


def test_a_connections_work_is_divided_by_record() -> None:
    made = [
        ClaimedDelivery(number, "me", f"e{number}", Target(PEOPLE, str(number % 7)), "{}", 1) for number in range(40)
    ]
    made += [ClaimedDelivery(number, "me", f"e{number}", Target(SHOP), "{}", 1) for number in range(40, 50)]
    parts = divided(made)
    assert sorted(one.id for part in parts for one in part) == list(range(50))
    assert all(len({one.receiver for one in part}) == 1 for part in parts)
    for receiver in (PEOPLE, SHOP):
        assert len([part for part in parts if part[0].receiver == receiver]) == THREADS_PER_RECEIVER
    for record in range(7):
        (together,) = [part for part in parts if any(one.target == Target(PEOPLE, str(record)) for one in part)]
        ids = [one.id for one in together]
        assert ids == sorted(ids)


def test_the_schedule_of_tries() -> None:
    again = RetryLater("away")
    waits = [next_attempt_at(again, attempt, NOW, 0.0) for attempt in range(1, len(SCHEDULE) + 2)]
    assert [None if one is None else one - NOW for one in waits] == [*SCHEDULE, None]
    assert next_attempt_at(RetryLater("busy", timedelta(hours=1)), 1, NOW, 0.0) == NOW + timedelta(hours=1)
    assert next_attempt_at(again, 2, NOW, 1.0) == NOW + SCHEDULE[1] * 1.1
