"""What the CRM says about texts becomes a row of the ledger when it is new, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, update

from config.models import Policy, PropertyRule
from config.triggers import CreatedTrigger
from tests.contacts.conftest import World
from worker.messages.outbox import enqueue_send
from worker.messages.requests import SendRequest
from worker.store.db import writing
from worker.store.tables import consent_event, contact_mapping

ANN, BEN = "+14155550101", "+14155550102"


@pytest.fixture
def asking(world: World) -> World:
    world.connections["crm"] = {"consent": PropertyRule(field="sms"), "do_not_text": PropertyRule(field="dnt")}
    return world


def ledger(world: World) -> list[tuple[str, str, str, str]]:
    """The rows since the last call: (number, rule, answer, words)."""
    rows = world.rows(consent_event)
    seen, world.__dict__["seen"] = world.__dict__.get("seen", 0), len(rows)
    return [(row.phone, row.kind, row.answer, row.words) for row in rows[seen:]]


def test_each_change_of_what_a_record_says_is_one_row(asking: World) -> None:
    put = asking.source.put
    steps: list[tuple[dict[str, Any], list[tuple[str, str, str, str]]]] = [
        ({"sms": "Yes", "dnt": ""}, [(ANN, "consent", "yes", "Yes")]),
        ({"sms": "Yes", "dnt": ""}, []),
        ({"sms": "Yes", "dnt": "", "other": "changed"}, []),
        ({"sms": "Opted in", "dnt": ""}, [(ANN, "consent", "yes", "Opted in")]),
        ({"sms": "no", "dnt": ""}, [(ANN, "consent", "no", "no")]),
        ({"sms": "no", "dnt": "x"}, [(ANN, "do_not_text", "yes", "x")]),
        ({"sms": "", "dnt": "no"}, [(ANN, "consent", "no", ""), (ANN, "do_not_text", "no", "no")]),
    ]
    for values, rows in steps:
        put("17", ANN, "Ann", **values)
        put("18", BEN, "Ben", sms="", dnt="")  # says nothing, and never did
        asking.sync()
        assert ledger(asking) == rows, values
    (first, *_) = asking.rows(consent_event)
    assert (first.source, first.account, first.connection, first.external_id, first.field, first.actor) == (
        *("crm", "main", "crm"),
        *("17", "sms", "sync"),
    )


def test_a_new_number_takes_the_consent_along_and_the_old_one_loses_it(asking: World) -> None:
    asking.source.put("17", ANN, "Ann", sms="yes", dnt="")
    asking.sync()
    ledger(asking)
    asking.source.put("17", BEN, "Ann", sms="yes", dnt="")
    asking.sync()
    assert ledger(asking) == [(ANN, "consent", "gone", ""), (BEN, "consent", "yes", "yes")]
    asking.source.put("17", "12", "Ann", sms="yes", dnt="")
    asking.sync()
    assert ledger(asking) == [(BEN, "consent", "gone", "")]
    asking.source.put("17", BEN, "Ann", sms="yes", dnt="")
    asking.sync()
    assert ledger(asking) == [(BEN, "consent", "yes", "yes")]
    asking.source.records.clear()
    asking.sync(accept_removals=True)
    assert ledger(asking) == [(BEN, "consent", "gone", "")]


def test_a_field_that_vanished_is_not_known_and_a_field_that_is_named_later_is_read(world: World) -> None:
    world.source.put("17", ANN, "Ann", sms="yes")
    world.sync()
    assert ledger(world) == []
    world.connections["crm"] = {"consent": PropertyRule(field="sms")}
    world.sync()
    assert ledger(world) == [(ANN, "consent", "yes", "yes")]
    world.source.put("17", ANN, "Ann", mail="changed")
    world.sync()
    assert ledger(world) == [(ANN, "consent", "unknown", "")]


def test_a_page_that_is_read_again_after_a_crash_adds_nothing(asking: World) -> None:
    asking.source.put("17", ANN, "Ann", sms="yes", dnt="")
    asking.sync()
    ledger(asking)
    with writing(asking.engine) as db:  # the record is read as if it had changed
        db.execute(update(contact_mapping).values(record_hash=b""))
    asking.sync(full=True)
    assert ledger(asking) == []


def statements(world: World) -> list[str]:
    found: list[str] = []
    event.listen(world.engine, "before_cursor_execute", note := lambda *given: found.append(given[2]))
    world.sync()
    event.remove(world.engine, "before_cursor_execute", note)
    return [one for one in found if "consent_event" in one]


def test_unchanged_records_and_connections_without_a_rule_ask_the_ledger_nothing(world: World) -> None:
    for index in range(9):
        world.source.put(str(index), f"+1415555020{index}", "N", sms="yes")
    assert statements(world) == []
    world.connections["crm"] = {"consent": PropertyRule(field="sms")}
    assert len(statements(world)) == 2 * 3, "one question and one insert for each of three pages"
    assert statements(world) == []


REQUIRED = [
    # (the connection's rules, the record, is a text to it sent?)
    ({"consent": PropertyRule(field="sms")}, {"sms": "yes"}, True),
    ({"consent": PropertyRule(field="sms")}, {"sms": "no"}, False),
    ({"consent": PropertyRule(field="sms")}, {"sms": ""}, False),
    ({}, {"sms": "yes"}, False),
    ({"do_not_text": PropertyRule(field="dnt")}, {"dnt": "no"}, False),
]


@pytest.mark.parametrize(("rules", "record", "sent"), REQUIRED)
def test_where_consent_is_required_plan_sync_and_api_agree(
    world: World, rules: dict[str, Any], record: dict[str, Any], sent: bool
) -> None:
    world.policy = Policy(quiet_hours="none", consent="required")
    world.connections["crm"] = rules
    world.triggers["welcome"] = CreatedTrigger(connections="crm", on="created", message="Hi")
    world.source.put("0", BEN, "Ben", **dict.fromkeys(record, ""))
    world.sync()
    world.source.put("17", ANN, "Ann", **record)
    (planned,) = world.plan().texts
    assert (planned.problem == "") is sent
    world.sync()
    asked = SendRequest.parse({"account": "main", "to": ANN, "message": "Your order"})
    enqueue_send(world.runtime(), asked, source="http", actor="test")
    unknown = SendRequest.parse({"account": "main", "to": "+14155550109", "message": "Your order"})
    enqueue_send(world.runtime(), unknown, source="http", actor="test")
    states = {(row.source, row.to_number): row for row in world.messages()}
    assert states["trigger", ANN].state == states["http", ANN].state == ("queued" if sent else "suppressed")
    assert states["http", "+14155550109"].state == "suppressed"
    assert states["http", "+14155550109"].reason.startswith("no_consent: no consent of +1415•••0109 is on record")
    if not sent:
        assert states["trigger", ANN].reason == f"no_consent: {planned.problem}"


def test_a_consent_that_cannot_be_read_holds_the_text_also_where_it_is_required(world: World) -> None:
    world.policy = Policy(quiet_hours="none", consent="required")
    world.connections["crm"] = {"consent": PropertyRule(field="sms")}
    world.source.put("17", ANN, "Ann")
    world.sync()
    asked = SendRequest.parse({"account": "main", "to": ANN, "message": "Your order"})
    held = enqueue_send(world.runtime(), asked, source="http", actor="test")
    assert (held.state, held.reason.partition(":")[0]) == ("held", "permission_unknown")


def test_the_yes_of_another_record_is_enough_for_a_record_without_a_field(world: World) -> None:
    from tests.fakes import ListSource

    world.policy = Policy(quiet_hours="none", consent="required")
    world.crm["shop"] = ListSource()
    world.connections["crm"] = {"consent": PropertyRule(field="sms")}
    world.triggers["bought"] = CreatedTrigger(connections="shop", on="created", message="Thank you")
    world.source.put("17", ANN, "Ann", sms="yes")
    world.sync()
    world.sync("shop")
    world.crm["shop"].put("s1", ANN, "Ann")
    world.crm["shop"].put("s2", BEN, "Ben")
    assert {one.phone: one.problem == "" for one in world.plan("shop").texts} == {ANN: True, BEN: False}
    world.sync("shop")
    assert {row.to_number: row.state for row in world.messages()} == {ANN: "queued", BEN: "suppressed"}


def test_a_deal_of_a_new_person_who_consents_is_texted_about_as_the_plan_says(world: World) -> None:
    from tests.fakes import LogSource

    log = LogSource()
    world.crm["crm"] = log  # type: ignore[assignment]
    world.policy = Policy(quiet_hours="none", consent="required")
    world.connections["crm"] = {"consent": PropertyRule(field="agrees")}
    world.triggers["opened"] = CreatedTrigger(connections="crm", record="deal", on="created", message="We got it")
    log.put("bob", BEN, "Ben", agrees="no")
    log.put_deal("deal:0", "bob", title="Roof")
    world.sync()
    log.put("ann", ANN, "Ann", agrees="yes")
    log.put_deal("deal:1", "ann", title="Door")
    log.put_deal("deal:2", "bob", title="Door")
    planned = {one.phone: one.problem for one in world.plan().texts}
    world.sync()
    made = {row.to_number: row.state for row in world.messages()}
    assert made == {ANN: "queued", BEN: "suppressed"}
    assert {phone: "suppressed" if problem else "queued" for phone, problem in planned.items()} == made
