"""The first link-up of an account whose contact list cannot be read: nothing is created until a person decides."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.contacts.conftest import World
from tests.fakes import not_done, numbers, unknown
from worker.contacts import resolve
from worker.contacts.linking import (
    ListBusy,
    is_linked,
    link_by_file,
    link_state,
    link_without_list,
    waiting_for_link,
)
from worker.contacts.remote_list import LIST_LEASE
from worker.contacts.resolve import ListNotRead, NotUnknown, resolve_by_list, resolve_contact
from worker.core.states import PushState
from worker.store.db import reading, writing
from worker.store.leases import new_lease
from worker.store.models import utcnow
from worker.store.tables import account_state, contact
from worker.virtualtext.outcomes import Cause, ContactBody, RemoteContact

ANNA, BORIS = "+14155550101", "+14155550102"


def people(world: World, count: int) -> list[str]:
    """So many people in the CRM, all of whom VirtualText has already."""
    phones = list(numbers(count))
    for index, phone in enumerate(phones):
        world.source.put(f"{index}", phone, f"Person {index}")
        world.virtualtext.create_contact(ContactBody(phone, "Earlier", ""))
    world.virtualtext.calls.clear()
    world.sync()
    return phones


def export(world: World) -> list[RemoteContact]:
    return list(world.virtualtext.contacts.values())


def account(world: World) -> Any:
    (row,) = world.rows(account_state)
    return row


def waiting(world: World) -> int:
    with reading(world.engine) as db:
        return waiting_for_link(db, "main")


def test_contacts_wait_for_a_person_and_none_is_there_twice(world: World) -> None:
    people(world, 5)
    world.virtualtext.list_unavailable = True
    for _ in range(3):
        deferred = world.push().deferred
        assert "5 contacts wait for the first link-up" in deferred
        assert "`vtsync link main --from FILE`" in deferred
        assert "`vtsync link main --without-list`" in deferred
    assert (world.virtualtext.calls["create"], world.virtualtext.calls["list"], waiting(world)) == (0, 1, 5)


def test_an_export_counts_as_the_list(world: World) -> None:
    phones = people(world, 5)
    world.virtualtext.list_unavailable = True
    world.source.put("new", BORIS, "Boris")
    world.sync()
    world.push()
    done = link_by_file(world.runtime(), "main", export(world), "kim")
    assert (done.stored, done.adopted, done.created) == (5, 5, 1)
    report = world.push()
    assert (report.adopted, report.created, report.updated) == (5, 1, 5)
    assert world.virtualtext.phones() == Counter([*phones, BORIS])
    assert "adopted" in world.events(phones[0])
    assert (account(world).linked_how, account(world).linked_by) == ("file", "kim")
    assert utcnow() - account(world).linked_at < timedelta(minutes=1)


def test_a_person_may_create_all_of_them(world: World) -> None:
    phones = people(world, 3)
    world.virtualtext.list_unavailable = True
    world.push()
    assert link_without_list(world.runtime(), "main", "kim") == 3
    assert world.push().created == 3
    assert world.virtualtext.phones() == Counter(phones * 2)  # as the command said
    assert (account(world).linked_how, account(world).linked_by, waiting(world)) == ("without list", "kim", 0)


def test_a_list_that_is_read_links_the_account_and_stays_its_link(world: World) -> None:
    people(world, 2)
    assert world.push().adopted == 2
    with writing(world.engine) as db:
        db.execute(update(account_state).values(listed_at=None))  # as `vtsync restored` does
        state = link_state(db, "main")
    assert (state.linked, state.how, state.by) == (True, "list", "")
    world.virtualtext.list_unavailable = True
    world.source.put("new", BORIS, "Boris")
    world.sync()
    assert world.push().created == 1


def test_an_account_that_has_created_contacts_is_not_asked(world: World) -> None:
    """As after an upgrade: nothing is stored about the link."""
    people(world, 1)
    world.push()
    with writing(world.engine) as db:
        db.execute(update(account_state).values(listed_at=None, linked_at=None, linked_how=""))
        assert is_linked(db, "main")
    world.virtualtext.list_unavailable = True
    world.source.put("new", BORIS, "Boris")
    world.sync()
    assert world.push().created == 1
    assert waiting(world) == 0


def test_a_list_that_can_be_read_later_ends_the_wait(world: World) -> None:
    phones = people(world, 2)
    world.virtualtext.list_unavailable = True
    world.push()
    world.virtualtext.list_unavailable = False
    with writing(world.engine) as db:
        db.execute(update(account_state).values(list_unavailable_at=utcnow() - timedelta(days=2)))
    assert world.push().adopted == 2
    assert world.virtualtext.phones() == Counter(phones)


def test_the_export_confirms_a_lost_create_and_disproves_none(world: World) -> None:
    link_without_list(world.runtime(), "main", "kim")
    world.virtualtext.list_unavailable = True
    for index, phone in enumerate((ANNA, BORIS)):
        world.source.put(f"{index}", phone)
    world.sync()
    world.virtualtext.fault("create", unknown(Cause.TIMEOUT), applied=True, times=2)
    world.push()
    link_by_file(world.runtime(), "main", [world.virtualtext.by_phone(ANNA)], "kim")
    world.push()
    assert (world.contact(ANNA).push_state, world.contact(BORIS).push_state) == (PushState.SYNCED, PushState.UNKNOWN)
    assert world.virtualtext.phones() == Counter([ANNA, BORIS])


def test_an_export_waits_for_a_worker_that_reads_the_list(world: World) -> None:
    people(world, 1)
    world.virtualtext.list_unavailable = True
    world.push()
    with writing(world.engine) as db:
        assert LIST_LEASE.take(db, new_lease(utcnow(), 60), utcnow(), account_state.c.account == "main")
    with pytest.raises(ListBusy):
        link_by_file(world.runtime(), "main", export(world), "kim")
    assert not account(world).linked_at


# --- a lost create that a person wants to be created


def lost(world: World, *, applied: bool) -> None:
    world.source.put("1", ANNA, "Anna")
    world.sync()
    world.virtualtext.fault("create", unknown(Cause.TIMEOUT), applied=applied)
    world.push()
    assert world.contact(ANNA).push_state == PushState.UNKNOWN


@pytest.mark.parametrize("applied", [True, False])
def test_a_create_is_looked_up_before_a_person_has_it_repeated(world: World, applied: bool) -> None:
    lost(world, applied=applied)
    found = resolve_by_list(world.runtime(), "main", ANNA, actor="kim")
    assert found == (world.virtualtext.by_phone(ANNA).id if applied else None)
    world.push()
    assert world.virtualtext.phones() == Counter([ANNA])
    assert world.contact(ANNA).push_state == PushState.SYNCED
    assert "create_resolved" in world.events(ANNA)
    with pytest.raises(NotUnknown):
        resolve_by_list(world.runtime(), "main", ANNA, actor="kim")
    with pytest.raises(LookupError):
        resolve_by_list(world.runtime(), "main", BORIS, actor="kim")


def test_two_people_who_decide_at_once_do_not_both_succeed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lost(world, applied=True)
    note, outcome = resolve._note_resolved, []

    def create() -> None:
        try:
            resolve_contact(world.runtime(), "main", ANNA, virtualtext_id=None, actor="lee")
        except NotUnknown:
            outcome.append("too late")

    second = threading.Thread(target=create)

    def note_late(*given: Any) -> None:
        if not second.ident:
            second.start()
            second.join(0.3)  # it waits for the transaction of the first
        note(*given)

    monkeypatch.setattr(resolve, "_note_resolved", note_late)
    found = world.virtualtext.by_phone(ANNA).id
    resolve_contact(world.runtime(), "main", ANNA, virtualtext_id=found, actor="kim")
    second.join(20)
    assert outcome == ["too late"]
    world.push()
    assert world.contact(ANNA).virtualtext_id == found
    assert world.virtualtext.phones() == Counter([ANNA])


@pytest.mark.parametrize(
    "trouble", [unknown(Cause.TIMEOUT, 408), unknown(Cause.SERVER_ERROR, 500), not_done(Cause.UNREACHABLE)]
)
def test_a_list_that_cannot_be_read_decides_nothing(world: World, trouble: Any) -> None:
    link_without_list(world.runtime(), "main", "kim")
    lost(world, applied=True)
    world.virtualtext.fault("list", trouble, times=9)
    with pytest.raises(ListNotRead, match=str(trouble.cause)):
        resolve_by_list(world.runtime(), "main", ANNA, actor="kim")
    assert world.contact(ANNA).push_state == PushState.UNKNOWN
    resolve_contact(world.runtime(), "main", ANNA, virtualtext_id=None, actor="kim")
    assert world.contact(ANNA).push_state == PushState.DUE


def test_a_list_may_lag_behind_a_create_that_was_lost_just_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lost(world, applied=False)
    with writing(world.engine) as db:
        db.execute(update(contact).values(attempted_at=utcnow() + timedelta(seconds=30)))
    with pytest.raises(ListNotRead, match="recently"):
        resolve_by_list(world.runtime(), "main", ANNA, actor="kim")


def test_an_older_list_proves_that_a_contact_is_there(world: World) -> None:
    lost(world, applied=True)
    link_by_file(world.runtime(), "main", [], "kim")
    world.virtualtext.list_unavailable = True
    with writing(world.engine) as db:
        db.execute(update(account_state).values(list_unavailable_at=utcnow()))
    anna = world.virtualtext.by_phone(ANNA)
    with pytest.raises(ListNotRead):
        resolve_by_list(world.runtime(), "main", ANNA, actor="kim")
    link_by_file(world.runtime(), "main", [anna], "kim")
    world.push()
    assert world.contact(ANNA).virtualtext_id == anna.id
