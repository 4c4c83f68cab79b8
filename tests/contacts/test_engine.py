"""A sync from the CRM's list to VirtualText's contacts, on each kind of store."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from config.models import Policy
from config.triggers import ChangedTrigger, CreatedTrigger, EnteredTrigger, Trigger
from crm_adapters.base import ContactChange, Removals, SourceIncomplete, SourceUnavailable, UnreadableRecord
from tests.contacts.conftest import OURS, World
from tests.fakes import ListSource, numbers
from tests.messages.conftest import FakeClient
from worker.contacts import lease, pull_rows
from worker.contacts.decide import PageDecision
from worker.contacts.linking import link_without_list
from worker.contacts.pull import sync_connection
from worker.core.states import MessageState, RunState
from worker.messages.delivery import deliver_due
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, contact, contact_mapping, opt_out, rejected_record, sync_run
from worker.virtualtext.outcomes import RemoteContact

ANNA, BORIS, CLARA = "+14155550101", "+14155550102", "+14155550103"


def fill(world: World, count: int = 10) -> None:
    for index, phone in enumerate(numbers(count)):
        world.source.put(f"{index}", phone, f"Person {index}", f"p{index}@example.org")


def test_new_records_become_contacts_once(world: World) -> None:
    fill(world)
    synced, pushed = world.sync_and_push()
    assert (synced.state, synced.seen, synced.added) == (RunState.DONE, 10, 10)
    assert pushed.created == 10
    assert world.virtualtext.phones() == Counter(numbers(10))
    assert world.virtualtext.by_phone(numbers(10)[3]).full_name == "Person 3"


def test_an_unchanged_source_costs_no_request_at_all(world: World) -> None:
    fill(world)
    world.sync_and_push()
    world.virtualtext.calls.clear()
    synced, _ = world.sync_and_push()
    assert (synced.seen, synced.unchanged, synced.changed) == (10, 10, 0)
    assert world.virtualtext.calls == Counter()


def test_a_changed_record_is_one_update_with_all_three_fields(world: World) -> None:
    fill(world)
    world.sync_and_push()
    world.virtualtext.bodies.clear()
    world.source.put("4", numbers(10)[4], "Renamed", "p4@example.org")
    _, pushed = world.sync_and_push()
    assert pushed.updated == 1
    ((call, body),) = world.virtualtext.bodies
    assert (call, body.phone, body.full_name, body.email) == ("update", numbers(10)[4], "Renamed", "p4@example.org")


def test_a_contact_without_a_name_is_sent_its_number_as_the_platform_would(world: World) -> None:
    world.source.put("1", ANNA, "", "")
    world.sync_and_push()
    assert world.virtualtext.bodies[0][1].full_name == ANNA


def test_first_link_up_adopts_contacts_that_exist_and_keeps_what_only_virtualtext_knows(world: World) -> None:
    world.virtualtext.create_contact(_body(ANNA, "Anna as texted", "anna@example.org"))
    world.virtualtext.create_contact(_body(BORIS, "Boris", ""))
    world.virtualtext.calls.clear()
    world.source.put("1", ANNA, "", "")
    world.source.put("2", BORIS, "Boris", "boris@example.org")
    _, pushed = world.sync_and_push()
    assert (pushed.adopted, pushed.settled, pushed.created, pushed.updated) == (2, 1, 0, 1)
    assert world.virtualtext.calls == Counter(list=1, update=1)
    assert world.virtualtext.by_phone(ANNA).full_name == "Anna as texted"
    assert world.contact(ANNA).full_name == "Anna as texted"
    assert "adopted" in world.events(ANNA)


def test_an_account_that_cannot_list_goes_on_without(world: World) -> None:
    link_without_list(world.runtime(), "main", "me")
    world.virtualtext.list_unavailable = True
    fill(world)
    assert world.sync_and_push()[1].created == 10
    world.source.put("99", CLARA, "Clara")
    world.sync_and_push()
    assert world.virtualtext.calls["list"] == 1


def test_a_changed_phone_updates_the_same_virtualtext_contact(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.sync_and_push()
    world.source.put("1", BORIS, "Anna")
    world.sync_and_push()
    assert world.virtualtext.phones() == Counter([BORIS])
    assert world.events(BORIS) == ["phone_changed"]


def test_two_records_swap_their_numbers(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", BORIS, "Boris")
    world.sync_and_push()
    world.source.put("1", BORIS, "Anna")
    world.source.put("2", ANNA, "Boris")
    world.sync_and_push()
    assert {c.phone: c.full_name for c in world.virtualtext.contacts.values()} == {ANNA: "Boris", BORIS: "Anna"}


def test_renumbering_into_a_number_that_is_freed_in_the_same_page(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", BORIS, "Boris")
    world.sync_and_push()
    world.source.put("1", CLARA, "Anna")
    world.source.put("2", ANNA, "Boris")
    world.sync_and_push()
    assert {c.phone: c.full_name for c in world.virtualtext.contacts.values()} == {CLARA: "Anna", ANNA: "Boris"}


def test_records_of_two_connections_share_one_contact_by_priority(world: World) -> None:
    world.crm["billing"] = ListSource()
    world.connections = {"crm": {"priority": 1}, "billing": {"priority": 2}}
    world.crm["billing"].put("77", ANNA, "A. Smith", "billing@example.org")
    world.source.put("1", ANNA, "Anna Smith", "")
    world.sync("billing")
    world.sync()
    world.push()
    anna = world.virtualtext.by_phone(ANNA)
    assert (anna.full_name, anna.email) == ("Anna Smith", "billing@example.org")


def test_a_missing_record_is_deleted_here_and_stays_there(world: World) -> None:
    fill(world)
    world.sync_and_push()
    del world.source.records["3"]
    synced, pushed = world.sync_and_push()
    assert (synced.removed, pushed.updated) == (1, 0)
    assert world.mapping("3").deleted_at is not None
    assert len(world.virtualtext.contacts) == 10


def test_a_half_empty_listing_is_refused_and_nothing_is_deleted(world: World) -> None:
    fill(world, 20)
    world.sync_and_push()
    world.source.records = dict(list(world.source.records.items())[:8])
    report = world.sync()
    assert report.state == RunState.REFUSED
    assert "12 of 20" in report.error
    assert report.removed == 0
    assert world.sync(accept_removals=True).removed == 12


def test_an_incomplete_source_removes_nothing(world: World) -> None:
    fill(world, 9)
    world.sync_and_push()
    world.source.records = dict(list(world.source.records.items())[:6])
    world.source.error, world.source.error_after = SourceIncomplete("half-written"), None
    report = world.sync()
    assert (report.state, report.removed, report.error) == (RunState.REFUSED, 0, "half-written")


def test_a_failing_source_keeps_what_was_read_and_goes_on_next_time(world: World) -> None:
    fill(world, 9)
    world.source.error, world.source.error_after = SourceUnavailable("away"), 2
    report = world.sync()
    assert (report.state, report.added) == (RunState.FAILED, 6)
    world.source.error = None
    assert world.sync().added == 3


def test_bad_records_are_kept_with_reasons_and_cleared_when_they_become_good(world: World) -> None:
    world.source.put("1", "", "Nobody")
    world.source.put("2", "12345", "Short")
    world.source.put("3", ANNA, "Anna")
    world.source.unreadable = [UnreadableRecord("line-x", "it has no identifier", "list line 9")]
    report = world.sync()
    assert report.rejected == 3
    assert set(world.rejections()) == {"1", "2", "line-x"}
    assert "no phone" in world.rejections()["1"]
    assert world.sync().rejected == 1  # the unreadable one is met again, the others are unchanged
    world.source.put("1", BORIS, "Somebody")
    world.source.unreadable = []
    world.sync_and_push()
    assert set(world.rejections()) == {"2"}
    assert world.virtualtext.phones() == Counter([ANNA, BORIS])


def test_a_record_that_becomes_unreadable_is_not_taken_for_deleted_and_recovers(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", BORIS, "Boris")
    world.sync()
    world.source.unreadable = [UnreadableRecord("1", "it is not valid UTF-8", "list line 1")]
    kept = world.source.records.pop("1")
    assert world.sync().removed == 0
    assert set(world.rejections()) == {"1"}
    world.source.unreadable, world.source.records["1"] = [], kept
    world.sync()
    assert world.rejections() == {}


def test_an_id_that_stands_twice_with_different_values_is_rejected_once(world: World) -> None:
    world.source.page_size = 2
    for external_id, phone in (("1", ANNA), ("2", BORIS)):
        world.source.put(external_id, phone, "first")
    world.source.extra = [ContactChange("1", {"phone": CLARA, "name": "second"}, where="line 3")]
    for _ in range(2):
        world.sync_and_push()
        assert world.virtualtext.phones() == Counter([ANNA, BORIS])
        assert list(world.rejections()) == ["1 (repeated, 2)"]
    world.source.extra = []
    world.sync()
    assert world.rejections() == {}


def test_an_identical_repeat_is_no_problem(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.source.extra = [ContactChange("1", dict(world.source.records["1"]))]
    assert world.sync().rejected == 0


def test_deleted_and_merged_records_are_told_by_the_crm(world: World) -> None:
    world.source.removals = Removals.REPORTED
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", ANNA, "Anna S.")
    world.sync()
    world.source.extra = [ContactChange("1", {}, deleted=True, merged_into="2")]
    world.source.records.pop("1")
    world.sync()
    assert (world.mapping("1").deleted_at is None, world.mapping("1").merged_into) == (False, "2")
    assert world.mapping("2").deleted_at is None


def test_an_opt_out_goes_along_with_a_changed_number(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.sync()
    with writing(world.engine) as db:
        db.execute(opt_out.insert(), {"phone": ANNA, "since": utcnow(), "source": "stop", "detail": ""})
    world.source.put("1", BORIS, "Anna")
    world.sync()
    assert {row.phone for row in world.rows(opt_out)} == {ANNA, BORIS}


def test_other_reading_rules_look_at_every_record_again(world: World) -> None:
    world.connections = {"crm": {"default_region": None}}
    world.source.put("1", "(415) 555-0101", "Anna")
    assert world.sync().rejected == 1
    world.connections = {"crm": {"default_region": "US"}}
    world.sync_and_push()
    assert world.virtualtext.phones() == Counter([ANNA])


def test_a_second_sync_of_the_same_connection_is_busy(world: World) -> None:
    fill(world)
    held = lease.claim_connection(world.engine, "crm", 60)
    assert held is not None
    assert world.sync().state == "busy"
    world.leases_run_out()
    assert world.sync().state == RunState.DONE
    assert [row.state for row in world.rows(sync_run)] == [RunState.INTERRUPTED, RunState.DONE]


def test_a_run_that_lost_its_lease_commits_nothing_more(world: World) -> None:
    fill(world, 9)

    def steal(*_: object) -> None:
        with writing(world.engine) as db:
            db.execute(update(connection_state).values(lease_owner="another"))

    report = world.sync(after_page=steal)
    assert report.state == RunState.INTERRUPTED
    assert len(world.rows(contact_mapping)) == 3


def test_a_stop_ends_at_a_page_and_the_next_run_completes(world: World) -> None:
    fill(world, 9)
    runtime = world.runtime()
    report = sync_connection(runtime, "crm", after_page=lambda *_: runtime.stop.set())
    assert (report.state, report.added) == (RunState.INTERRUPTED, 3)
    assert world.sync().added == 6
    assert world.rows(connection_state)[0].run_id is None


def start_over(world: World) -> None:
    with writing(world.engine) as db:
        db.execute(update(connection_state).values(cursor=None))


def test_the_cursor_after_unchanged_pages_is_stored_when_a_run_ends_early(world: World) -> None:
    world.source.removals, world.source.resumes = Removals.UNSEEN, True
    fill(world, 12)
    world.sync()
    start_over(world)
    world.source.error, world.source.error_after = SourceUnavailable("away"), 3
    assert world.sync().unchanged == 9
    assert world.rows(connection_state)[0].cursor == '{"after":9}'


def test_the_cursor_never_passes_a_page_that_could_not_be_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.source.removals, world.source.resumes = Removals.UNSEEN, True
    fill(world, 12)
    world.sync()
    start_over(world)
    world.source.put("7", numbers(1, 7)[0], "New name")  # in the third page, after two that are as they were

    def fail(_db: object, _name: str, _account: str, decision: PageDecision, _now: object) -> None:
        if decision.mappings:
            raise OperationalError("the store is away", None, Exception())

    with monkeypatch.context() as broken:
        broken.setattr(pull_rows, "store_decision", fail)
        with pytest.raises(OperationalError):
            world.sync()
    assert world.rows(connection_state)[0].cursor == '{"after":6}'
    assert world.sync().changed == 1


def test_two_connections_meet_the_same_new_phones_at_once(world: World) -> None:
    world.crm["other"] = ListSource()
    for source in world.crm.values():
        for index, phone in enumerate(numbers(60)):
            source.put(f"{index}", phone, f"Person {index}")
    runtime = world.runtime()
    threads = [threading.Thread(target=world.sync, args=(name,)) for name in world.crm]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.rows(contact)) == 60
    assert len(world.rows(contact_mapping)) == 120
    del runtime


# Texts that changes call for


def welcome(**more: object) -> dict[str, Trigger]:
    return {"welcome": CreatedTrigger(connections=("crm",), on="created", message="Hi {{ name }}", **more)}  # type: ignore[arg-type]


def booked() -> dict[str, Trigger]:
    return {
        "booked": ChangedTrigger.model_validate(
            {"connections": "crm", "on": "changed", "field": "stage", "to": "booked", "message": "See you, {{ name }}"}
        )
    }


def test_a_first_sync_texts_nobody_and_later_records_are_welcomed(world: World) -> None:
    world.triggers = welcome()
    fill(world)
    assert world.sync().messages == 0
    world.source.put("new", ANNA, "Anna")
    report = world.sync()
    (message,) = world.messages()
    assert (report.messages, report.held) == (1, 0)
    assert (message.state, message.to_number, message.text) == (MessageState.QUEUED, ANNA, "Hi Anna")
    assert world.sync().messages == 0


def test_a_newly_enabled_trigger_texts_nobody_for_what_already_was_so(world: World) -> None:
    world.source.put("1", ANNA, "Anna", stage="lead")
    world.sync()
    world.triggers = booked()
    world.source.put("1", ANNA, "Anna", stage="booked")  # before the trigger's first sync: its baseline
    assert world.sync().messages == 0
    world.source.put("1", ANNA, "Anna", stage="lead")
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="booked")
    world.sync()
    assert [message.text for message in world.messages()] == ["See you, Anna"]


def test_a_trigger_that_was_off_for_a_while_starts_over(world: World) -> None:
    world.triggers = booked()
    world.source.put("1", ANNA, "Anna", stage="lead")
    world.sync()
    world.triggers = {}
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="booked")
    world.triggers = booked()
    world.sync()
    assert world.messages() == []


def test_a_record_that_was_there_without_a_phone_is_not_welcomed_when_it_gets_one(world: World) -> None:
    world.triggers = welcome()
    world.source.put("1", "", "Anna")
    world.sync()
    world.source.put("1", ANNA, "Anna")
    assert world.sync().messages == 0


def test_a_new_record_that_gets_its_phone_later_is_welcomed_then(world: World) -> None:
    world.triggers = welcome()
    world.source.put("0", BORIS, "Boris")
    world.sync()
    world.source.put("1", "", "Anna")
    world.sync()
    world.source.put("1", ANNA, "Anna")
    assert world.sync().messages == 1


def test_triggers_fire_for_each_record_of_a_person(world: World) -> None:
    """As for the rows of an export of deals, in which a person has one row for each."""
    world.triggers = welcome() | {
        "ready": EnteredTrigger(connections="crm", on="entered", condition="stage == 'ready'", message="{{ title }}!"),
    }
    world.source.put("1", ANNA, "Anna", title="Roof", stage="ready")
    world.sync()
    world.source.put("2", ANNA, "Anna", title="Door", stage="ready")
    world.source.put("3", ANNA, "Anna", title="Gate", stage="new")
    assert world.plan().texts != []
    assert world.sync().messages == 3
    assert world.sync().messages == 0
    world.source.put("3", ANNA, "Anna", title="Gate", stage="ready")
    assert world.sync().messages == 1
    by_record = sorted((row.external_id, row.trigger, row.text) for row in world.messages())
    assert by_record == [
        ("2", "ready", "Door!"),
        ("2", "welcome", "Hi Anna"),
        ("3", "ready", "Gate!"),
        ("3", "welcome", "Hi Anna"),
    ]


def test_the_same_words_to_a_person_with_two_new_records_go_once(world: World) -> None:
    world.triggers = welcome()
    world.source.put("0", BORIS, "Boris")
    world.sync()
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", ANNA, "Anna")
    world.sync()
    client = FakeClient()
    runtime = world.runtime()
    runtime.fake = client  # type: ignore[assignment]
    deliver_due(runtime)
    assert [body.text for body in client.sent] == ["Hi Anna"]
    (other,) = [row for row in world.messages() if row.state == MessageState.SUPPRESSED]
    assert other.reason.startswith("duplicate")


@pytest.mark.parametrize("page_size", [1, 50])
def test_a_new_record_with_the_number_that_another_one_had_sets_triggers_off(world: World, page_size: int) -> None:
    world.triggers, world.source.page_size = welcome(), page_size
    world.source.put("0", CLARA, "Clara")
    world.sync()
    world.source.put("1", ANNA, "Anna")
    world.sync()
    world.source.put("1", BORIS, "Anna")
    world.source.put("2", ANNA, "Dan")
    planned = [(text.phone, text.text) for text in world.plan().texts]
    assert (planned, world.sync().messages) == ([(ANNA, "Hi Dan")], 1)
    assert [row.text for row in world.messages()] == ["Hi Anna", "Hi Dan"]


def test_a_record_that_may_have_a_new_id_is_no_new_record(world: World) -> None:
    world.triggers = welcome()
    world.source.put("1", ANNA, "Anna")
    world.sync()
    del world.source.records["1"]
    world.source.put("id-1", ANNA, "Anna")
    world.connections = {"crm": {"priority": 7}}  # any change of the settings: it may be that of the id's field
    assert world.sync(accept_removals=True).messages == 0


@pytest.mark.parametrize("whose", ["account", "owner", "trigger"])
def test_a_record_with_a_number_of_our_own_is_rejected(world: World, whose: str) -> None:
    own = {"account": OURS, "owner": "+16505550101", "trigger": "+16505550102"}[whose]
    world.connections = {"crm": {"owner_numbers": {"ann": "+16505550101"}}}
    world.triggers = welcome(from_number="+16505550102")
    world.source.put("1", ANNA, "Anna")
    world.sync()
    world.source.put("2", own, "Shop")
    report = world.sync()
    assert (report.rejected, report.messages) == (1, 0)
    assert world.rejections() == {
        "2": 'the field "phone" holds a number that an account sends from; give the number of a person'
    }
    assert [row.code for row in world.rows(rejected_record)] == ["own_number"]


def test_a_record_that_was_read_before_its_number_became_ours_is_not_texted(world: World) -> None:
    world.triggers = {"won": ChangedTrigger(connections="crm", on="changed", field="stage", message="Hi")}
    world.source.put("1", ANNA, "Anna", stage="a")
    world.source.put("2", BORIS, "Boris", stage="a")
    world.sync()
    world.source.put("1", ANNA, "Anna", stage="b")
    world.sync()
    world.account = {"from_number": ANNA}
    client, runtime = FakeClient(), world.runtime()
    runtime.fake = client  # type: ignore[assignment]
    deliver_due(runtime)
    assert client.sent == []
    assert [row.reason.partition(":")[0] for row in world.messages()] == ["own_number"]


def test_too_many_texts_wait_for_approval_all_of_them(world: World) -> None:
    world.triggers, world.policy = welcome(), Policy(blast_limit=5, quiet_hours="none")
    fill(world, 1)
    world.sync()
    for index, phone in enumerate(numbers(6, start=100)):
        world.source.put(f"new{index}", phone, "N")
    report = world.sync()
    assert (report.messages, report.held) == (6, 6)
    assert {message.state for message in world.messages()} == {MessageState.HELD}


def test_the_blast_guard_counts_an_interrupted_run_and_its_continuation_together(world: World) -> None:
    world.triggers, world.policy = welcome(), Policy(blast_limit=4, quiet_hours="none")
    fill(world, 1)
    world.sync()
    for index, phone in enumerate(numbers(6, start=100)):
        world.source.put(f"new{index}", phone, "N")
    world.source.error, world.source.error_after = SourceUnavailable("away"), 1
    first = world.sync()
    assert (first.messages, first.held) == (2, 0)
    world.source.error = None
    second = world.sync()
    assert (second.messages, second.held) == (4, 4)


def test_a_text_that_cannot_be_written_is_kept_and_never_sent(world: World) -> None:
    world.triggers = welcome()
    fill(world, 1)
    world.sync()
    world.source.put("1000", ANNA, "")
    world.sync()
    (message,) = world.messages()
    assert message.state == MessageState.SUPPRESSED
    assert "name" in message.reason


def _body(phone: str, name: str, email: str):  # type: ignore[no-untyped-def]
    from worker.virtualtext.outcomes import ContactBody

    return ContactBody(phone, name, email)


@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_the_size_of_pages_does_not_matter(world: World, page_size: int) -> None:
    world.source.page_size = page_size
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", ANNA, "", "anna@example.org")
    world.source.put("3", BORIS, "Boris")
    world.sync_and_push()
    assert world.virtualtext.phones() == Counter([ANNA, BORIS])
    assert world.virtualtext.by_phone(ANNA).email == "anna@example.org"


def test_clear_empty_clears_what_the_crm_held_and_keeps_what_it_never_held(world: World) -> None:
    world.connections["crm"] = {"clear_empty": True}
    anna, boris = numbers(2)
    world.virtualtext.contacts = {"old": RemoteContact("old", anna, "Anna in VirtualText", "anna@example.org")}
    world.source.put("1", anna, city="Rome")
    world.source.put("2", boris, "Boris", "boris@example.org")
    world.sync_and_push()
    world.source.put("1", anna, city="Oslo")
    world.source.put("2", boris, "Boris")
    world.sync_and_push()
    assert world.virtualtext.by_phone(anna) == RemoteContact("old", anna, "Anna in VirtualText", "anna@example.org")
    assert (world.virtualtext.by_phone(boris).full_name, world.virtualtext.by_phone(boris).email) == ("Boris", "")
