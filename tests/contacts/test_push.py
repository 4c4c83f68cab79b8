"""The push under every outcome that VirtualText can have, with crashes and with several workers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from tests.contacts.conftest import World
from tests.fakes import not_done, numbers, unknown
from worker.contacts import push_rows
from worker.contacts.linking import link_without_list
from worker.contacts.push_outcome import PUSH_BACKOFF, push_result
from worker.contacts.remote_list import Listing, read_list
from worker.contacts.resolve import NotUnknown, resolve_contact, retry_contacts
from worker.core.states import PushState
from worker.limits.account_gate import clear_stop
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import account_state, contact, remote_contact
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact, Status

ANNA, BORIS = "+14155550101", "+14155550102"


def one(world: World, name: str = "Anna") -> None:
    world.source.put("1", ANNA, name)
    world.sync()


def states(world: World) -> Counter[str]:
    return Counter(row.push_state for row in world.rows(contact))


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize(
    "cause", [Cause.TIMEOUT, Cause.CONNECTION_LOST, Cause.SERVER_ERROR, Cause.GATEWAY, Cause.UNREADABLE]
)
def test_a_create_whose_answer_is_lost_is_looked_up_and_never_doubled(
    world: World, applied: bool, cause: Cause
) -> None:
    one(world)
    world.virtualtext.fault("create", unknown(cause), applied=applied)
    assert world.push().unknown == 1
    assert states(world) == {PushState.UNKNOWN: 1}
    world.push()  # the list tells: it is there, or it is not
    assert world.virtualtext.phones() == Counter([ANNA])
    assert world.contact(ANNA).push_state == PushState.SYNCED
    assert world.contact(ANNA).virtualtext_id == world.virtualtext.by_phone(ANNA).id
    expected = "create_confirmed" if applied else "create_disproved"
    assert expected in world.events(ANNA)


def test_a_lost_create_waits_for_a_person_where_the_list_cannot_be_read(world: World) -> None:
    link_without_list(world.runtime(), "main", "me")
    one(world)
    world.virtualtext.list_unavailable = True
    world.virtualtext.fault("create", unknown(Cause.TIMEOUT), applied=True)
    for _ in range(3):
        world.push()
    assert states(world) == {PushState.UNKNOWN: 1}
    assert world.virtualtext.phones() == Counter([ANNA])
    resolve_contact(world.runtime(), "main", ANNA, virtualtext_id="vt1", actor="test")
    world.push()
    assert (world.contact(ANNA).push_state, world.virtualtext.calls["create"]) == (PushState.SYNCED, 1)
    with pytest.raises(NotUnknown):
        resolve_contact(world.runtime(), "main", ANNA, virtualtext_id="vt1", actor="test")


def test_a_contact_that_somebody_made_in_virtualtext_meanwhile_is_adopted(world: World) -> None:
    one(world)
    world.push()
    world.virtualtext.create_contact(_body(BORIS))
    world.source.put("2", BORIS, "Boris")
    world.sync()
    with writing(world.engine) as db:
        db.execute(account_state.update().values(listed_at=utcnow() - timedelta(hours=2)))
    world.push()
    assert world.virtualtext.phones() == Counter([ANNA, BORIS])
    assert world.virtualtext.by_phone(BORIS).full_name == "Boris"


def test_a_later_list_that_fails_is_done_without(world: World) -> None:
    one(world)
    world.push()
    world.source.put("2", BORIS, "Boris")
    world.sync()
    with writing(world.engine) as db:
        db.execute(account_state.update().values(listed_at=utcnow() - timedelta(hours=2)))
    world.virtualtext.fault("list", unknown(Cause.SERVER_ERROR, 500))
    assert world.push().created == 1


def test_a_first_list_that_fails_lets_nothing_be_created(world: World) -> None:
    one(world)
    world.virtualtext.fault("list", unknown(Cause.SERVER_ERROR, 500))
    assert world.push().deferred
    assert world.push().deferred
    assert world.virtualtext.calls == Counter(list=1)


@pytest.mark.parametrize(
    ("outcome", "pause", "slower"),
    [
        (not_done(Cause.RATE_LIMITED, 429, retry_after=120.0), 120, True),
        (not_done(Cause.UNREACHABLE), 10, False),
    ],
)
def test_the_account_pauses_after_the_list_as_after_any_request(
    world: World, outcome: Outcome[None], pause: int, slower: bool
) -> None:
    one(world)
    world.virtualtext.fault("list", outcome)
    assert "pauses: VirtualText" in world.push().deferred
    (account,) = world.rows(account_state)
    assert timedelta(seconds=pause - 5) < account.paused_until - utcnow() <= timedelta(seconds=pause)
    assert (account.rate_ceiling is not None) is slower


def test_a_lost_update_is_simply_repeated(world: World) -> None:
    one(world)
    world.push()
    one(world, "Anna Maria")
    world.virtualtext.fault("update", unknown(Cause.TIMEOUT), applied=True)
    assert world.push().retrying == 1
    world.everything_is_due()
    assert world.push().updated == 1
    assert world.virtualtext.by_phone(ANNA).full_name == "Anna Maria"


def test_a_refused_contact_is_kept_with_the_reason_and_tried_again_when_it_changes(world: World) -> None:
    one(world)
    world.virtualtext.fault("create", not_done(Cause.REJECTED, 400))
    assert world.push().rejected == 1
    assert (world.push().created, world.contact(ANNA).push_state) == (0, PushState.REJECTED)
    one(world, "Anna Maria")
    assert world.push().created == 1


def test_a_refused_contact_is_tried_again_when_a_person_says_so(world: World) -> None:
    one(world)
    world.virtualtext.fault("create", not_done(Cause.REJECTED, 400))
    world.push()
    assert retry_contacts(world.runtime()) == 1
    assert world.push().created == 1


@pytest.mark.parametrize("cause", [Cause.CREDENTIALS, Cause.REDIRECTED])
def test_bad_credentials_stop_the_account_not_just_the_contact(world: World, cause: Cause) -> None:
    for index, phone in enumerate(numbers(40)):
        world.source.put(f"{index}", phone)
    world.sync()
    world.virtualtext.fault("create", not_done(cause, 401), times=100)
    report = world.push()
    assert report.deferred
    assert world.virtualtext.calls["create"] <= 8  # the ones in flight, not all forty
    assert states(world) == {PushState.DUE: 40}
    before = world.virtualtext.calls["create"]
    assert world.push().deferred
    assert world.virtualtext.calls["create"] == before


def test_a_stopped_account_is_probed_with_one_request_and_goes_on_when_it_works(world: World) -> None:
    for index, phone in enumerate(numbers(10)):
        world.source.put(f"{index}", phone)
    world.sync()
    world.virtualtext.fault("create", not_done(Cause.CREDENTIALS, 401), times=5)
    world.push()
    world.virtualtext.script.clear()
    with writing(world.engine) as db:
        db.execute(account_state.update().values(paused_until=utcnow() - timedelta(seconds=1)))
    assert world.push().created == 10
    with writing(world.engine) as db:
        assert clear_stop(db, "main") is False


def test_too_many_requests_pause_the_account_as_long_as_told(world: World) -> None:
    one(world)
    world.virtualtext.fault("create", not_done(Cause.RATE_LIMITED, 429, retry_after=120.0))
    assert world.push().retrying == 1
    assert world.push().deferred
    (account,) = world.rows(account_state)
    assert timedelta(seconds=100) < account.paused_until - utcnow() <= timedelta(seconds=120)


def test_an_unreachable_server_loses_nothing(world: World) -> None:
    one(world)
    world.virtualtext.fault("create", not_done(Cause.UNREACHABLE))
    world.push()
    with writing(world.engine) as db:
        db.execute(account_state.update().values(paused_until=None))
    assert world.push().created == 1


def test_an_id_that_is_gone_is_confirmed_looked_up_and_created_again(world: World) -> None:
    world.source.put("2", BORIS, "Boris")
    one(world)
    world.push()
    del world.virtualtext.contacts[world.contact(ANNA).virtualtext_id]
    one(world, "Anna Maria")
    world.push()
    world.push()
    assert world.virtualtext.phones() == Counter([ANNA, BORIS])
    assert "virtualtext_id_lost" in world.events(ANNA)


def test_in_an_outage_nothing_is_taken_for_gone_or_created_again(world: World) -> None:
    world.source.put("2", BORIS, "Boris")
    one(world)
    world.push()
    world.virtualtext.fault("update", unknown(Cause.GATEWAY, 502), times=2)
    world.virtualtext.get_contact = lambda _: unknown(Cause.GATEWAY, 502)  # type: ignore[method-assign]
    one(world, "Anna Maria")
    world.push()
    assert world.contact(ANNA).push_state == PushState.DUE
    assert world.contact(ANNA).virtualtext_id == "vt1" or world.contact(ANNA).virtualtext_id == "vt2"
    world.everything_is_due()
    world.virtualtext.script.clear()
    world.push()
    assert len(world.virtualtext.contacts) == 2


def test_a_worker_that_vanished_while_creating_leaves_an_unknown(world: World) -> None:
    one(world)
    with writing(world.engine) as db:
        claim = push_rows.claim_pushes(db, "main", 10, 60, utcnow())
    assert [push.phone for push in claim.pushes] == [ANNA]
    assert world.push().created == 0  # still leased to the vanished worker
    world.virtualtext.create_contact(_body(ANNA))
    world.leases_run_out()
    world.push()
    assert world.virtualtext.phones() == Counter([ANNA])
    assert world.contact(ANNA).push_state == PushState.SYNCED


def test_a_worker_that_vanished_while_updating_is_followed_by_another(world: World) -> None:
    one(world)
    world.push()
    one(world, "Anna Maria")
    with writing(world.engine) as db:
        push_rows.claim_pushes(db, "main", 10, 60, utcnow())
    world.leases_run_out()
    assert world.push().updated == 1


def test_a_contact_that_changes_while_it_is_pushed_is_due_again(world: World) -> None:
    one(world)
    with writing(world.engine) as db:
        claim = push_rows.claim_pushes(db, "main", 10, 60, utcnow())
    one(world, "Changed meanwhile")
    result = push_result(claim.pushes[0], Outcome(Status.DONE, RemoteContact("vt1", ANNA)), utcnow())
    with writing(world.engine) as db:
        assert push_rows.write_back(db, claim.lease.owner, [result], utcnow()) == 1
    row = world.contact(ANNA)
    assert (row.push_state, row.virtualtext_id, row.full_name) == (PushState.DUE, "vt1", "Changed meanwhile")


def test_results_of_a_lost_claim_are_not_written(world: World) -> None:
    one(world)
    with writing(world.engine) as db:
        claim = push_rows.claim_pushes(db, "main", 10, 60, utcnow())
    world.leases_run_out()
    with writing(world.engine) as db:
        assert push_rows.expire_push_claims(db, "main", utcnow()) == (1, 0)
        result = push_result(claim.pushes[0], Outcome(Status.DONE, RemoteContact("vt1", ANNA)), utcnow())
        assert push_rows.write_back(db, claim.lease.owner, [result], utcnow()) == 0
    assert world.contact(ANNA).push_state == PushState.UNKNOWN


def test_several_workers_push_each_contact_once(world: World) -> None:
    for index, phone in enumerate(numbers(200)):
        world.source.put(f"{index}", phone)
    world.sync()
    threads = [threading.Thread(target=world.push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.push()
    assert world.virtualtext.phones() == Counter(numbers(200))
    assert states(world) == {PushState.SYNCED: 200}


def crowd(world: World, monkeypatch: pytest.MonkeyPatch, contacts: int, batch: int) -> None:
    """So many new contacts, pushed in batches of that size."""
    for index, phone in enumerate(numbers(contacts)):
        world.source.put(f"{index:03d}", phone)
    world.sync()
    monkeypatch.setattr("worker.contacts.push_batch.batch_size", lambda _: batch)


def test_the_next_batch_begins_while_the_last_requests_of_one_are_on_their_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(world, monkeypatch, 30, batch=10)
    create, following = world.virtualtext.create_contact, threading.Event()

    def slow_one(body: Any) -> Outcome[RemoteContact]:
        if body.phone == numbers(30)[9]:
            assert following.wait(20), "nothing of the next batch was asked meanwhile"
        elif body.phone in numbers(30)[10:]:
            following.set()
        return create(body)

    world.virtualtext.create_contact = slow_one  # type: ignore[method-assign]
    assert world.push().created == 30
    assert states(world) == {PushState.SYNCED: 30}
    assert world.virtualtext.phones() == Counter(numbers(30))


def test_answers_are_kept_where_the_store_is_away_when_the_next_batch_is_claimed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(world, monkeypatch, 30, batch=10)
    claim, claims = push_rows.claim_pushes, Counter[str]()

    def away_once(*args: Any) -> push_rows.PushClaim:
        claims["made"] += 1
        if claims["made"] == 2:
            raise OperationalError("claim", {}, Exception("the server closed the connection"))
        return claim(*args)

    monkeypatch.setattr(push_rows, "claim_pushes", away_once)
    with pytest.raises(OperationalError):
        world.push()
    assert states(world) == {PushState.SYNCED: 10, PushState.DUE: 20}
    assert world.push().created == 20
    assert world.virtualtext.phones() == Counter(numbers(30))


def test_what_stops_one_batch_stops_the_one_that_has_begun_beside_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(world, monkeypatch, 60, batch=20)
    create, following = world.virtualtext.create_contact, threading.Event()

    def refused(body: Any) -> Outcome[RemoteContact]:
        """The last of the first batch, once the second has begun."""
        if body.phone == numbers(60)[19]:
            assert following.wait(20), "nothing of the next batch was asked meanwhile"
            return not_done(Cause.CREDENTIALS, 401)
        if body.phone in numbers(60)[20:]:
            following.set()
            time.sleep(0.05)  # longer than the answer to the other one takes
        return create(body)

    world.virtualtext.create_contact = refused  # type: ignore[method-assign]
    assert world.push().deferred
    assert world.virtualtext.calls["create"] < 19 + 20
    found = states(world)
    assert found == {PushState.SYNCED: world.virtualtext.calls["create"], PushState.DUE: 60 - found[PushState.SYNCED]}


@given(st.integers(1, 10_000))
def test_back_off_grows_and_is_bounded(attempt: int) -> None:
    assert timedelta(seconds=2) <= PUSH_BACKOFF.wait(attempt) <= timedelta(seconds=3600)


def _body(phone: str):  # type: ignore[no-untyped-def]
    from worker.virtualtext.outcomes import ContactBody

    return ContactBody(phone, phone, "")


def test_a_list_that_was_asked_for_before_the_second_request_settles_nothing(world: World) -> None:
    one(world)
    world.virtualtext.fault("create", unknown(Cause.TIMEOUT), applied=False)
    assert world.push().unknown == 1
    asked = world.virtualtext.list_contacts
    world.virtualtext.fault("create", unknown(Cause.TIMEOUT), applied=True)

    def slow_list() -> Any:
        """While it is on its way, another worker settles the create, repeats it, and its answer is lost, too."""
        answer = asked()
        world.virtualtext.list_contacts = asked  # type: ignore[method-assign]
        with writing(world.engine) as db:
            db.execute(update(account_state).values(list_lease_until=None))
        assert world.push().unknown == 1
        return answer

    world.virtualtext.list_contacts = slow_list  # type: ignore[method-assign]
    world.push()
    world.push()
    assert world.virtualtext.phones() == Counter([ANNA])
    assert world.contact(ANNA).push_state == PushState.SYNCED


def test_of_two_lists_the_older_is_not_stored_over_the_newer(world: World) -> None:
    world.virtualtext.contacts = {"a": RemoteContact("a", ANNA, "Anna", "")}
    asked = world.virtualtext.list_contacts

    def overtaken() -> Any:
        older = asked()
        world.virtualtext.list_contacts = asked  # type: ignore[method-assign]
        world.virtualtext.contacts = {"b": RemoteContact("b", BORIS, "Boris", "")}
        with writing(world.engine) as db:
            db.execute(update(account_state).values(list_lease_until=None))
        assert read_list(world.runtime(), "main") is Listing.READ
        return older

    world.virtualtext.list_contacts = overtaken  # type: ignore[method-assign]
    assert read_list(world.runtime(), "main") is Listing.LATER
    assert [row.virtualtext_id for row in world.rows(remote_contact)] == ["b"]
