"""Ids that VirtualText does not know any more, or seems not to know, with and without a list."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.contacts.conftest import World
from tests.fakes import done, numbers, unknown
from worker.contacts.push_outcome import MISSING_CHECKS
from worker.contacts.push_rows import note_working_id
from worker.contacts.resolve import resolve_contact
from worker.core.states import PushState
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import account_state, contact
from worker.virtualtext.outcomes import Cause, RemoteContact

ANNA, BORIS = numbers(2)
SINCE_THE_LAST_CHECK = timedelta(minutes=16)


def people(world: World, count: int, name: str, start: int = 0) -> None:
    for index, phone in enumerate(numbers(start + count)[start:], start):
        world.source.put(f"{index}", phone, f"{name} {index}")
    world.sync()


def linked(world: World, count: int, *, with_list: bool = False) -> None:
    """So many contacts that are there; from now on, the list cannot be read unless ``with_list``."""
    people(world, count, "Person")
    assert world.push().created == count
    world.virtualtext.list_unavailable = not with_list


def later(world: World, by: timedelta = SINCE_THE_LAST_CHECK) -> None:
    """Let time pass: everything is due, and a new check of an id counts."""
    world.everything_is_due()
    with writing(world.engine) as db:
        db.execute(update(contact).values(missing_at=utcnow() - by))
        db.execute(update(account_state).values(list_lease_until=None))


def fails_at_random(world: World, share: float) -> None:
    """Answer this share of the requests by id with the page of a gateway."""
    fake, rng = world.virtualtext, random.Random(1)
    update_contact, get_contact = fake.update_contact, fake.get_contact

    def flaky(call: Any) -> Any:
        return lambda *given: unknown(Cause.GATEWAY, 502) if rng.random() < share else call(*given)

    fake.update_contact, fake.get_contact = flaky(update_contact), flaky(get_contact)  # type: ignore[method-assign]


def states(world: World) -> Counter[str]:
    return Counter(row.push_state for row in world.rows(contact))


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("with_list", [True, False])
def test_502s_by_chance_throw_no_id_away_and_freeze_nobody(world: World, share: float, with_list: bool) -> None:
    linked(world, 60, with_list=with_list)
    fails_at_random(world, share)
    for name in ("Renamed", "Again"):
        people(world, 60, name)
        for _ in range(30):
            world.push()
            later(world)
        assert states(world) == {PushState.SYNCED: 60}
        assert {one.full_name.split()[0] for one in world.virtualtext.contacts.values()} == {name}
    assert world.virtualtext.calls["create"] == 60


def test_a_deleted_contact_is_created_again_once_after_several_checks_over_time(world: World) -> None:
    linked(world, 3)
    gone = world.contact(ANNA).virtualtext_id
    del world.virtualtext.contacts[gone]
    people(world, 3, "Renamed")
    for check in range(1, MISSING_CHECKS):
        world.push()
        row = world.contact(ANNA)
        assert (row.push_state, row.virtualtext_id, row.missing_checks) == (PushState.DUE, gone, check)
        assert f"check {check} of {MISSING_CHECKS}" in row.last_error
        assert row.next_attempt_at > utcnow()
        world.everything_is_due()
        world.push()  # at once: does not count
        assert world.contact(ANNA).missing_checks == check
        later(world)
    world.push()
    world.push()
    row = world.contact(ANNA)
    assert (row.push_state, row.former_id) == (PushState.SYNCED, gone)
    assert row.virtualtext_id != gone
    assert world.virtualtext.by_phone(ANNA).full_name == "Renamed 0"
    assert world.virtualtext.calls["create"] == 4
    assert world.events(ANNA).count("virtualtext_id_lost") == 1


def test_where_the_list_can_be_read_it_decides_at_once(world: World) -> None:
    linked(world, 3, with_list=True)
    del world.virtualtext.contacts[world.contact(ANNA).virtualtext_id]
    people(world, 3, "Renamed")
    world.push()
    assert states(world) == {PushState.SYNCED: 3}
    assert world.virtualtext.phones() == Counter(numbers(3))
    assert "virtualtext_id_lost" in world.events(ANNA)


def test_the_list_decides_also_about_the_only_contact(world: World) -> None:
    linked(world, 1, with_list=True)
    world.virtualtext.contacts.clear()
    people(world, 1, "Renamed")
    for _ in range(4):
        world.push()
        later(world)
    assert states(world) == {PushState.SYNCED: 1}
    assert world.virtualtext.calls["create"] == 2


def test_a_list_that_has_the_id_keeps_it(world: World) -> None:
    linked(world, 3, with_list=True)
    broken, update_contact = world.contact(ANNA).virtualtext_id, world.virtualtext.update_contact
    get_contact = world.virtualtext.get_contact

    def without(call: Any) -> Any:
        return lambda asked, *more: unknown(Cause.GATEWAY, 502) if asked == broken else call(asked, *more)

    world.virtualtext.update_contact = without(update_contact)  # type: ignore[method-assign]
    world.virtualtext.get_contact = without(get_contact)  # type: ignore[method-assign]
    people(world, 3, "Renamed")
    for _ in range(2 * MISSING_CHECKS):
        world.push()
        later(world)
    row = world.contact(ANNA)
    assert (row.push_state, row.virtualtext_id, row.missing_checks) == (PushState.DUE, broken, 0)
    assert world.virtualtext.calls["create"] == 3


def test_a_list_that_may_not_show_a_new_contact_yet_does_not_make_a_second_one(world: World) -> None:
    linked(world, 2, with_list=True)
    world.account = {"lookup_after": timedelta(minutes=1)}
    lagging = [one for one in world.virtualtext.contacts.values() if one.phone != ANNA]
    world.virtualtext.list_contacts = lambda: done(lagging)  # type: ignore[method-assign]
    people(world, 2, "Renamed")
    get_contact, update_contact = world.virtualtext.get_contact, world.virtualtext.update_contact
    anna = world.contact(ANNA).virtualtext_id

    def not_yet(call: Any) -> Any:
        return lambda asked, *more: unknown(Cause.GATEWAY, 502) if asked == anna else call(asked, *more)

    world.virtualtext.update_contact = not_yet(update_contact)  # type: ignore[method-assign]
    world.virtualtext.get_contact = not_yet(get_contact)  # type: ignore[method-assign]
    world.push()
    assert world.contact(ANNA).virtualtext_id == anna


@pytest.mark.parametrize("listed", ["all", "nothing", "408"])
def test_in_an_outage_of_all_requests_by_id_nothing_is_created_again(world: World, listed: str) -> None:
    linked(world, 20, with_list=True)
    before = dict(world.virtualtext.contacts)
    world.virtualtext.contacts = {}
    answers = {"all": done(list(before.values())), "nothing": done([]), "408": unknown(Cause.TIMEOUT, 408)}
    world.virtualtext.list_contacts = lambda: answers[listed]  # type: ignore[method-assign]
    people(world, 20, "Renamed")
    for _ in range(2 * MISSING_CHECKS):
        world.push()
        later(world)
    assert states(world) == {PushState.DUE: 20}
    assert world.virtualtext.calls["create"] == 20
    assert {row.missing_checks for row in world.rows(contact)} == {0}
    world.virtualtext.contacts = before
    world.push()
    assert states(world) == {PushState.SYNCED: 20}
    assert world.virtualtext.calls["create"] == 20


def given_up(world: World) -> str:
    """Anna's id, which was given up, and which VirtualText knows again now."""
    linked(world, 3)
    old = world.contact(ANNA).virtualtext_id
    there = world.virtualtext.contacts.pop(old)
    people(world, 3, "Renamed")
    for _ in range(MISSING_CHECKS):
        world.push()
        later(world)
    world.virtualtext.contacts[old] = there
    return str(old)


def test_an_id_that_was_given_up_is_used_again_when_a_text_shows_it(world: World) -> None:
    old = given_up(world)
    with writing(world.engine) as db:
        assert not note_working_id(db, "main", old, BORIS, utcnow())
        assert not note_working_id(db, "main", "", ANNA, utcnow())
        assert note_working_id(db, "main", old, ANNA, utcnow())
        assert not note_working_id(db, "main", old, ANNA, utcnow())
    world.push()
    row = world.contact(ANNA)
    assert (row.push_state, row.virtualtext_id, row.former_id) == (PushState.SYNCED, old, None)
    assert world.virtualtext.contacts[old].full_name == "Renamed 0"
    assert "virtualtext_id_used_again" in world.events(ANNA)


def test_a_text_shows_that_an_id_is_not_missing(world: World) -> None:
    linked(world, 3)
    anna = world.contact(ANNA).virtualtext_id
    del world.virtualtext.contacts[anna]
    people(world, 3, "Renamed")
    world.push()
    assert world.contact(ANNA).missing_checks == 1
    with writing(world.engine) as db:
        assert not note_working_id(db, "main", anna, ANNA, utcnow())
    assert world.contact(ANNA).missing_checks == 0


def test_the_list_gives_the_old_id_back_to_a_lost_create(world: World) -> None:
    linked(world, 3)
    old = world.contact(ANNA).virtualtext_id
    there = world.virtualtext.contacts.pop(old)
    people(world, 3, "Renamed")
    world.virtualtext.fault("create", unknown(Cause.TIMEOUT), applied=True)
    for _ in range(MISSING_CHECKS):
        world.push()
        later(world)
    assert world.contact(ANNA).push_state == PushState.UNKNOWN
    world.virtualtext.contacts["0"] = RemoteContact("0", ANNA, "Somebody", "")
    world.virtualtext.contacts[old] = there
    world.virtualtext.list_unavailable = False
    with writing(world.engine) as db:
        db.execute(update(account_state).values(list_unavailable_at=None))
    world.push()
    assert (world.contact(ANNA).push_state, world.contact(ANNA).virtualtext_id) == (PushState.SYNCED, old)


@pytest.mark.parametrize("virtualtext_id", [None, "vt9"])
def test_a_person_may_decide_about_an_id_that_seems_to_be_missing(world: World, virtualtext_id: str | None) -> None:
    linked(world, 3)
    del world.virtualtext.contacts[world.contact(ANNA).virtualtext_id]
    people(world, 3, "Renamed")
    world.push()
    world.virtualtext.contacts["vt9"] = RemoteContact("vt9", BORIS, "Boris")
    if virtualtext_id:
        world.virtualtext.contacts["vt9"] = replace(world.virtualtext.contacts["vt9"], phone=ANNA)
    resolve_contact(world.runtime(), "main", ANNA, virtualtext_id=virtualtext_id, actor="test")
    world.push()
    assert world.contact(ANNA).push_state == PushState.SYNCED
    assert world.virtualtext.phones()[ANNA] == 1
