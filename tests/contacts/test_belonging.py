"""Records that belong to a person, such as deals: they have the person's contact, and triggers see each of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from config.triggers import ChangedTrigger, CreatedTrigger, DateTrigger, EnteredTrigger
from crm_adapters.base import Removals, SourceUnavailable
from tests.contacts.conftest import World
from tests.fakes import LogSource, numbers
from worker.core.states import MessageState, RunState
from worker.messages.merges import survivor_of
from worker.messages.people import recipient_of
from worker.messages.record_facts import load_record_facts
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import contact, date_plan

ANNA, BORIS, NEW = numbers(3)


@pytest.fixture
def log(world: World) -> LogSource:
    source = LogSource()
    world.crm["crm"] = source  # type: ignore[assignment]
    world.triggers["won"] = ChangedTrigger(
        connections="crm", record="deal", on="changed", field="stage", to="won", message="{{ title }} is yours"
    )
    world.triggers["opened"] = CreatedTrigger(
        connections="crm", record="deal", on="created", message="We got {{ title }}"
    )
    source.put("ann", ANNA, "Anna")
    source.put("bob", BORIS, "Boris")
    source.put_deal("deal:0", "bob", title="Roof", stage="new")
    return source


def texts(world: World) -> list[tuple[str, str]]:
    return sorted((row.to_number, row.text) for row in world.messages() if row.state != MessageState.SUPPRESSED)


def phone_of(world: World, external_id: str) -> Any:
    contact_id = world.mapping(external_id).contact_id
    return next((row.phone for row in world.rows(contact) if row.id == contact_id), None)


def test_a_deal_makes_no_contact_and_changes_none(world: World, log: LogSource) -> None:
    report, pushed = world.sync_and_push()
    assert (report.added, report.rejected, pushed.created) == (3, 0, 2)
    assert phone_of(world, "deal:0") == BORIS
    assert world.contact(BORIS).full_name == "Boris"
    assert texts(world) == []


def test_each_deal_of_a_known_person_sets_triggers_off(world: World, log: LogSource) -> None:
    world.sync()
    log.put_deal("deal:1", "ann", title="Door", stage="new")
    log.put_deal("deal:2", "ann", title="Gate", stage="new")
    log.put_deal("deal:0", "bob", title="Roof", stage="won")
    world.sync()
    assert texts(world) == [(ANNA, "We got Door"), (ANNA, "We got Gate"), (BORIS, "Roof is yours")]
    log.put_deal("deal:2", "ann", title="Gate", stage="won")
    world.sync()
    assert (ANNA, "Gate is yours") in texts(world)


@pytest.mark.parametrize("page_size", [1, 2, 50])
def test_the_order_of_a_deal_and_its_person_does_not_matter(world: World, log: LogSource, page_size: int) -> None:
    log.page_size = page_size
    world.sync()
    log.put_deal("deal:3", "eve", title="Barn", stage="new")
    log.put("eve", NEW, "Eve")
    report = world.sync()
    assert (report.state, report.rejected) == (RunState.DONE, 0)
    assert phone_of(world, "deal:3") == NEW
    assert texts(world) == [(NEW, "We got Barn")]


def test_a_deal_waits_for_a_person_who_gets_a_number_later(world: World, log: LogSource) -> None:
    world.sync()
    log.put("eve", "", "Eve")
    log.put_deal("deal:3", "eve", title="Barn", stage="new")
    report = world.sync()
    assert report.rejected == 1, "only the person is rejected"
    assert phone_of(world, "deal:3") is None
    log.put("eve", NEW, "Eve")
    world.sync()
    assert phone_of(world, "deal:3") == NEW
    assert texts(world) == [(NEW, "We got Barn")]


def test_deals_follow_their_person_to_another_contact(world: World, log: LogSource) -> None:
    log.put("bob2", BORIS, "Also Boris")
    world.sync()
    log.put("bob", NEW, "Boris")  # the number stays with bob2, so bob has another contact now
    world.sync()
    assert phone_of(world, "deal:0") == NEW
    log.put_deal("deal:0", "bob", title="Roof", stage="won")
    world.sync()
    assert texts(world) == [(NEW, "Roof is yours")]


def test_a_deal_that_moves_to_another_person(world: World, log: LogSource) -> None:
    world.sync()
    log.put_deal("deal:0", "ann", title="Roof", stage="won")
    world.sync()
    assert texts(world) == [(ANNA, "Roof is yours")]


def test_a_deal_without_a_person_is_kept_and_texts_nobody(world: World, log: LogSource) -> None:
    world.sync()
    log.put_deal("deal:4", None, title="Shed", stage="new")
    assert world.sync().rejected == 0
    assert texts(world) == []


def test_what_a_deal_says_is_no_record_of_the_person(world: World, log: LogSource) -> None:
    world.connections["crm"] = {"do_not_text": {"field": "stage"}}
    log.put_deal("deal:0", "bob", title="Roof", stage="yes")
    world.sync()
    with reading(world.engine) as db:
        recipient = recipient_of(db, world.runtime().settings, BORIS)
    assert recipient.do_not_text == ""
    unknown = recipient.permission_unknown(world.runtime().settings, ("crm", "deal:0"))
    assert unknown.startswith('the CRM record crm bob came without the field "stage"')


def test_a_date_of_a_deal_is_planned_for_its_person(world: World, log: LogSource) -> None:
    visit = (utcnow() + timedelta(days=3)).date().isoformat()
    world.triggers["visit"] = DateTrigger(
        connections="crm", record="deal", on="date", field="visit", at="12:00", message="See you"
    )
    world.sync()
    log.put_deal("deal:1", "ann", title="Door", stage="new", visit=visit)
    world.sync()
    assert [row.external_id for row in world.rows(date_plan) if row.due_at] == ["deal:1"]


def test_texts_that_wait_for_a_merged_record_are_about_the_survivor(world: World, log: LogSource) -> None:
    world.triggers["hi"] = CreatedTrigger(connections="crm", on="created", delay=timedelta(hours=2), message="Hi")
    log.removals = Removals.REPORTED
    world.sync()
    log.put("eve", NEW, "Eve")
    world.sync()
    log.put("eva", NEW, "Eva")
    log.report_deleted("eve", merged_into="eva")
    world.sync()
    (text,) = [row for row in world.messages() if row.trigger == "hi" and row.idempotency_key.endswith(":created")]
    assert (text.external_id, text.to_number) == ("eva", NEW)
    with reading(world.engine) as db:
        assert survivor_of(db, "crm", "eve") == "eva"
        assert survivor_of(db, "crm", "ann") == "ann"


def test_deals_that_are_switched_on_later_are_no_new_deals(world: World, log: LogSource) -> None:
    log.kinds = ("contact",)
    world.sync()
    log.kinds = ("contact", "deal")
    world.connections["crm"] = {"options": {"deals": True}}
    log.put_deal("deal:1", "ann", title="Door", stage="new")
    log.put_deal("deal:2", "eve", title="Gate", stage="new")
    log.put("eve", "", "Eve")
    assert [text.text for text in world.plan().texts] == []
    log.error, log.error_after = SourceUnavailable("busy"), 2
    assert world.sync().state is RunState.FAILED
    log.error = None
    assert world.sync().state is RunState.DONE
    log.put("eve", NEW, "Eve")  # the deal of a person who only now has a number existed before, too
    log.put_deal("deal:3", "ann", title="Barn", stage="new")
    assert [text.text for text in world.plan().texts] == ["We got Barn"]
    world.sync()
    assert texts(world) == [(ANNA, "We got Barn")]
    log.put_deal("deal:1", "ann", title="Door", stage="won")
    world.sync()
    assert (ANNA, "Door is yours") in texts(world)


def test_an_adapter_that_learns_to_read_deals_reads_them_all_once(world: World, log: LogSource) -> None:
    log.kinds = ("contact",)
    world.sync()
    log.kinds = ("contact", "deal")
    log.error, log.error_after = SourceUnavailable("busy"), 1
    world.sync()
    log.error = None
    world.sync()
    assert phone_of(world, "deal:0") == BORIS
    assert log.reads == ["all", "all", "all"]
    world.sync()
    assert log.reads[-1] == "changes"
    assert texts(world) == []


def test_the_first_deal_of_all_is_new(world: World, log: LogSource) -> None:
    log.vanish("deal:0")
    world.sync()
    log.put_deal("deal:1", "ann", title="Door", stage="new")
    world.sync()
    assert texts(world) == [(ANNA, "We got Door")]


def test_a_deal_that_goes_or_moves_while_its_person_gets_a_number_texts_nobody_wrong(
    world: World, log: LogSource
) -> None:
    log.page_size, log.removals = 50, Removals.REPORTED
    log.put("eve", "", "Eve")
    world.sync()
    log.put_deal("deal:1", "eve", title="Door", stage="new")
    log.put_deal("deal:2", "eve", title="Gate", stage="new")
    world.sync()
    log.report_deleted("deal:1")
    log.put_deal("deal:2", None, title="Gate", stage="new")
    log.put("eve", NEW, "Eve")
    world.sync()
    assert texts(world) == []
    assert phone_of(world, "deal:2") is None


def test_a_deal_before_its_persons_move_on_a_page_texts_the_new_number(world: World, log: LogSource) -> None:
    log.page_size = 50
    log.put("bob2", BORIS, "Also Boris")
    world.sync()
    log.put_deal("deal:0", "bob", title="Roof", stage="won")
    log.put("bob", NEW, "Boris")
    assert [text.phone for text in world.plan().texts] == [NEW]
    world.sync()
    assert texts(world) == [(NEW, "Roof is yours")]


def test_a_deal_that_was_unreadable_is_no_longer_rejected_when_it_is_read(world: World, log: LogSource) -> None:
    world.sync()
    deal = log.live["deal:0"]
    log.put_deal("deal:0", "bob", title="\ud800", stage="new")
    world.sync()
    assert set(world.rejections()) == {"deal:0"}
    log.log[-1] = deal
    world.sync(full=True)
    assert world.rejections() == {}


@pytest.mark.parametrize("page_size", [1, 50])
@pytest.mark.parametrize("order", ["chain", "backwards", "circle"])
def test_texts_follow_a_chain_of_merges_in_any_order(world: World, log: LogSource, page_size: int, order: str) -> None:
    world.triggers["hi"] = CreatedTrigger(connections="crm", on="created", delay=timedelta(hours=2), message="Hi")
    log.removals, log.page_size = Removals.REPORTED, page_size
    world.sync()
    log.put("a", NEW, "A")
    world.sync()
    log.put("b", NEW, "B")
    log.put("c", NEW, "C")
    world.sync()
    merges = [("a", "b"), ("b", "c"), *([("c", "a")] if order == "circle" else ())]
    for loser, survivor in merges[::-1] if order == "backwards" else merges:
        log.report_deleted(loser, merged_into=survivor)
    assert world.sync().state is RunState.DONE
    (text,) = [row for row in world.messages() if row.trigger == "hi" and row.idempotency_key.endswith(":created")]
    assert order == "circle" or text.external_id == "c"


def test_a_merge_that_is_reported_after_the_deletion_is_followed(world: World, log: LogSource) -> None:
    log.removals = Removals.REPORTED
    world.sync()
    log.report_deleted("ann")
    assert world.sync().removed == 1
    log.report_deleted("ann", merged_into="bob")
    assert world.plan().removed == []
    assert world.sync().removed == 0
    with reading(world.engine) as db:
        assert survivor_of(db, "crm", "ann") == "bob"


def test_a_text_about_a_deal_waits_for_no_person_who_is_gone(world: World, log: LogSource) -> None:
    """The person's record is deleted in the CRM: like a text about the record itself, it is not sent."""
    log.removals = Removals.REPORTED
    world.sync()
    log.put_deal("deal:1", "ann", title="Door", stage="new")
    world.sync()
    log.report_deleted("ann")
    world.sync()
    (row,) = world.messages()
    with reading(world.engine) as db:
        facts = load_record_facts(db, dict(row._mapping), world.runtime().settings, utcnow())
    assert facts.contact_deleted


@pytest.mark.parametrize("same_fields", [True, False])
def test_a_person_that_turns_out_to_be_a_deal_gives_no_name_any_more(
    world: World, log: LogSource, same_fields: bool
) -> None:
    log.put("x", BORIS, "Zed")
    world.sync()
    was = log.live["x"].properties if same_fields else {"title": "Shed", "stage": "new"}
    log.put_deal("x", "ann", **was)
    world.sync()
    assert world.mapping("x").kind == "deal"
    assert world.contact(BORIS).full_name == "Boris"
    log.put("x", NEW, "Zed")
    world.sync()
    assert phone_of(world, "x") == NEW
    assert world.contact(ANNA).full_name == "Anna"
    assert world.contact(BORIS).full_name == "Boris"


def test_a_deal_is_not_new_after_its_person_could_not_be_used(world: World, log: LogSource) -> None:
    world.triggers["entered"] = EnteredTrigger(
        connections="crm", record="deal", on="entered", condition="stage == 'won'", message="Hooray"
    )
    world.sync()
    log.put_deal("deal:1", "ann", title="Door", stage="won")
    world.sync()
    assert (ANNA, "Hooray") in texts(world)
    made = len(world.messages())
    log.put("ann", "12", "Anna")
    world.sync()
    log.put_deal("deal:1", "ann", title="Front door", stage="won")
    world.sync()
    log.put("ann", ANNA, "Anna")
    world.sync()
    assert len(world.messages()) == made, "not even one that the policy suppresses"
    log.put_deal("deal:1", "ann", title="Front door", stage="new")
    world.sync()
    assert phone_of(world, "deal:1") == ANNA
