"""A platform that answers with something else than it was asked for: what the contacts become, and what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, update

from tests.conftest import emptied
from tests.contacts.conftest import World
from tests.contacts.test_lost_ids import later, linked, people, states
from tests.fakes import FakeVirtualText, done, not_done, numbers, unknown
from worker.contacts.answers import WRONG_ANSWERS
from worker.contacts.linking import link_without_list
from worker.contacts.merge import wanted_hash
from worker.contacts.resolve import retry_contacts
from worker.core.states import PushState
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import account_state, contact, contact_event, remote_contact
from worker.virtualtext.outcomes import Cause, ContactBody, Outcome, RemoteContact

ANNA, BORIS, CLARA = numbers(3)


def make_due(world: World) -> None:
    later(world)
    with writing(world.engine) as db:
        db.execute(update(account_state).values(listed_at=utcnow() - timedelta(hours=2)))


@pytest.fixture(autouse=True)
def nothing_is_left(sqlite: Engine) -> Iterator[Engine]:
    """The property below has no store of its own."""
    yield from emptied(sqlite)


@pytest.mark.parametrize("known_list", [True, False])
def test_creates_answered_with_contacts_that_were_there_get_the_fields_of_the_crm(
    world: World, known_list: bool
) -> None:
    there = {f"old{n}": RemoteContact(f"old{n}", phone, f"Old {n}", "") for n, phone in enumerate(numbers(10))}
    linked(world, 0, with_list=known_list)
    world.virtualtext.contacts = dict(there)
    create = world.virtualtext.create_contact

    def existing(body: ContactBody) -> Outcome[RemoteContact]:
        found = [one for one in world.virtualtext.contacts.values() if one.phone == body.phone]
        return done(found[0]) if found else create(body)

    world.virtualtext.create_contact = existing  # type: ignore[method-assign]
    world.virtualtext.list_contacts = lambda: done([])  # type: ignore[method-assign]
    people(world, 20, "Person")
    world.push()
    assert states(world) == {PushState.SYNCED: 20}
    assert world.virtualtext.phones() == Counter(numbers(20))
    assert {one.full_name for one in world.virtualtext.contacts.values()} == {f"Person {n}" for n in range(20)}
    assert world.virtualtext.calls["update"] == 10


def test_what_the_crm_leaves_empty_is_kept_as_virtualtext_has_it(world: World) -> None:
    world.virtualtext.create_contact = lambda body: done(  # type: ignore[method-assign]
        RemoteContact("old", body.phone, "Anna Old", "anna@example.org")
    )
    world.virtualtext.contacts["old"] = RemoteContact("old", ANNA, "Anna Old", "anna@example.org")
    world.virtualtext.list_unavailable = True
    link_without_list(world.runtime(), "main", "me")
    world.source.put("1", ANNA)
    world.sync_and_push()
    row = world.contact(ANNA)
    assert (row.push_state, row.full_name, row.email) == (PushState.SYNCED, "Anna Old", "anna@example.org")
    assert row.wanted_hash == row.pushed_hash == wanted_hash(ANNA, "Anna Old", "anna@example.org")
    world.source.put("1", ANNA, "", "new@example.org")
    world.sync_and_push()
    assert world.virtualtext.by_phone(ANNA) == RemoteContact("old", ANNA, "Anna Old", "new@example.org")


def test_a_platform_that_keeps_its_own_name_is_updated_once_more_and_then_left_alone(world: World) -> None:
    update_contact = world.virtualtext.update_contact

    def shouting(virtualtext_id: str, body: ContactBody) -> Outcome[RemoteContact]:
        return update_contact(virtualtext_id, ContactBody(body.phone, body.full_name.upper(), body.email))

    world.virtualtext.update_contact = shouting  # type: ignore[method-assign]
    linked(world, 1)
    for name, updates in (("Ann", 2), ("Anna", 4)):
        world.source.put("0", ANNA, name)
        world.sync()
        for _ in range(4):
            world.push()
            later(world)
        assert states(world) == {PushState.SYNCED: 1}
        assert world.virtualtext.calls["update"] == updates
        assert world.events(ANNA).count("fields_kept") == updates / 2


WRONG: dict[str, Callable[[str], Outcome[RemoteContact]]] = {
    "another contact": lambda _: done(RemoteContact("vt2", BORIS, "Person 1")),
    "another number": lambda asked: done(RemoteContact(asked, BORIS, "Anna")),
    "another id": lambda _: done(RemoteContact("vt2", ANNA, "Anna")),
    "an id that nobody has": lambda _: done(RemoteContact("nobody", BORIS, "Anna")),
    "no number": lambda asked: done(RemoteContact(asked, "", "Anna")),
    "no contact": lambda _: unknown(Cause.UNREADABLE, 200),
}


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_update_that_is_answered_with_something_else(
    world: World, wrong: Callable[[str], Outcome[RemoteContact]], applied: bool
) -> None:
    linked(world, 2)
    anna = world.contact(ANNA).virtualtext_id
    world.virtualtext.fault("update", wrong(anna), applied=applied, times=1000)
    world.source.put("0", ANNA, "Anna")
    world.sync()
    for _ in range(WRONG_ANSWERS + 2):
        world.push()
        later(world)
    row = world.contact(ANNA)
    assert row.virtualtext_id == anna
    assert row.push_state == (PushState.SYNCED if applied else PushState.REJECTED)
    assert world.virtualtext.calls["update"] == (1 if applied else WRONG_ANSWERS)
    assert world.virtualtext.phones() == Counter([ANNA, BORIS])
    if not applied:
        assert "vtsync retry --contacts" in row.last_error
        world.virtualtext.script.clear()
        retry_contacts(world.runtime())
        world.push()
        assert world.virtualtext.by_phone(ANNA).full_name == "Anna"


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("with_list", [True, False])
def test_a_create_that_is_answered_with_something_else(
    world: World, wrong: Callable[[str], Outcome[RemoteContact]], applied: bool, with_list: bool
) -> None:
    people(world, 2, "Person")
    world.push()
    world.virtualtext.list_unavailable = not with_list
    world.virtualtext.fault("create", wrong("vt9"), applied=applied, times=1000)
    world.source.put("9", CLARA, "Clara")
    world.sync()
    for _ in range(2 * WRONG_ANSWERS + 2 if with_list else 4):
        world.push()
        make_due(world)
    row = world.contact(CLARA)
    if not with_list:
        assert (row.push_state, world.virtualtext.calls["create"]) == (PushState.UNKNOWN, 3)
    elif applied:
        assert (row.push_state, world.virtualtext.calls["create"]) == (PushState.SYNCED, 3)
        assert world.virtualtext.contacts[row.virtualtext_id].phone == CLARA
    else:
        assert (row.push_state, world.virtualtext.calls["create"]) == (PushState.REJECTED, 2 + WRONG_ANSWERS)
    assert row.last_error or row.push_state == PushState.SYNCED
    assert world.virtualtext.phones()[CLARA] == applied
    assert {world.contact(phone).virtualtext_id for phone in (ANNA, BORIS)} == {"vt1", "vt2"}


def test_an_id_that_shows_another_number_is_not_used_any_more(world: World) -> None:
    linked(world, 2)
    anna = world.contact(ANNA).virtualtext_id
    moved = world.virtualtext.contacts[anna] = RemoteContact(anna, CLARA, "Clara")
    world.virtualtext.fault("update", done(moved))
    world.source.put("0", ANNA, "Anna")
    world.sync_and_push()
    assert world.virtualtext.contacts[anna] == moved
    row = world.contact(ANNA)
    assert row.push_state == PushState.SYNCED
    assert row.virtualtext_id != anna
    assert "virtualtext_id_of_another" in world.events(ANNA)


class Unreliable(FakeVirtualText):
    """Does what it is asked for, or not, and answers with the truth or with what ``choose`` gives."""

    choose: Callable[[str], int] = staticmethod(lambda _: 0)

    def create_contact(self, body: ContactBody) -> Outcome[RemoteContact]:
        return self._spoilt("create", lambda: super(Unreliable, self).create_contact(body))

    def update_contact(self, virtualtext_id: str, body: ContactBody) -> Outcome[RemoteContact]:
        return self._spoilt("update", lambda: super(Unreliable, self).update_contact(virtualtext_id, body))

    def get_contact(self, virtualtext_id: str) -> Outcome[RemoteContact]:
        return self._spoilt("get", lambda: super(Unreliable, self).get_contact(virtualtext_id))

    def list_contacts(self) -> Outcome[list[RemoteContact]]:
        chosen = self.choose("list")
        if chosen == 0:
            return super().list_contacts()
        return unknown(Cause.TIMEOUT, 408) if chosen % 2 else unknown(Cause.SERVER_ERROR, 500)

    def _spoilt(self, call: str, carry_out: Callable[[], Outcome[RemoteContact]]) -> Outcome[RemoteContact]:
        chosen = self.choose(call)
        others = [one for one in self.contacts.values() if one.phone in (BORIS, CLARA)]
        answers: list[Outcome[Any]] = [
            unknown(Cause.GATEWAY, 502),
            unknown(Cause.TIMEOUT),
            unknown(Cause.UNREADABLE, 200),
            not_done(Cause.REJECTED, 404),
            not_done(Cause.REJECTED, 400),
            not_done(Cause.UNREACHABLE),
            *map(done, others),
        ]
        if call == "get":  # a GET shows the truth, or it shows nothing
            return carry_out() if chosen == 0 else answers[chosen % 4]
        if chosen == 0:
            return carry_out()
        if chosen % 2:
            carry_out()
        return answers[chosen // 2 % len(answers)]


@settings(max_examples=12, phases=[Phase.generate], report_multiple_bugs=False, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 15), max_size=60), st.booleans(), st.sets(st.sampled_from([ANNA, BORIS, CLARA])))
def test_whatever_the_platform_answers_each_contact_ends_or_waits_and_no_id_has_another_number(
    sqlite: Engine, drawn: list[int], with_list: bool, deleted: set[str]
) -> None:
    with writing(sqlite) as db:
        for table in (contact_event, remote_contact, account_state):
            db.execute(delete(table))
        db.execute(delete(contact))
    world = World(sqlite, virtualtext=(fake := Unreliable()))
    put(world, "Person")
    world.push()
    fake.list_unavailable = not with_list
    fake.contacts = {key: one for key, one in fake.contacts.items() if one.phone not in deleted}
    left = list(drawn)
    fake.choose = lambda _: left.pop() if left else 0
    for name in ("Renamed", "Again"):
        put(world, name)
        for _ in range(8):
            world.push()
            check_every_contact(world, fake)
            time_passes(world)
    left.clear()
    for _ in range(8):
        world.push()
        time_passes(world)
    for row in world.rows(contact):
        if row.push_state == PushState.SYNCED and "fields_kept" not in world.events(row.phone):
            assert fake.contacts[row.virtualtext_id].full_name == row.full_name
        # With all ids gone and no list, nothing shows that this is no outage.
        assert row.push_state != PushState.DUE or (deleted and "no request by id" in row.last_error), row.last_error


def time_passes(world: World) -> None:
    """Everything is due, a new check of an id counts, and pauses, the breaker and refused lists are over."""
    later(world)
    with writing(world.engine) as db:
        db.execute(delete(account_state))


def put(world: World, name: str) -> None:
    """Store what a sync of three people would, without a CRM."""
    with writing(world.engine) as db:
        for phone in (ANNA, BORIS, CLARA):
            wanted = {"full_name": f"{name} {phone[-1]}", "wanted_hash": wanted_hash(phone, f"{name} {phone[-1]}", "")}
            changed = update(contact).where(contact.c.phone == phone)
            idle = contact.c.push_state.in_((PushState.SYNCED, PushState.REJECTED))
            if db.execute(changed.values(wanted)).rowcount:
                db.execute(changed.where(idle).values(push_state=PushState.DUE, next_attempt_at=utcnow()))
            else:
                new = {"account": "main", "phone": phone, "push_state": "due", "next_attempt_at": utcnow()}
                db.execute(contact.insert(), {**wanted, **new, "created_at": utcnow()})


def check_every_contact(world: World, fake: FakeVirtualText) -> None:
    for row in world.rows(contact):
        assert row.push_state in (PushState.SYNCED, PushState.DUE, PushState.UNKNOWN, PushState.REJECTED)
        assert row.push_state == PushState.SYNCED or row.last_error or row.push_state == PushState.DUE
        assert row.push_state != PushState.DUE or row.next_attempt_at is not None
        there = fake.contacts.get(row.virtualtext_id)
        assert there is None or there.phone == row.phone
