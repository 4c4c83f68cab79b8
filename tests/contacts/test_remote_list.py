"""VirtualText's contact list is an optimisation: whatever its answer is, contacts are created, once, and none in an
outage. A row of ``ANSWERS`` is one answer of the list.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.contacts.conftest import World
from tests.fakes import done, not_done, numbers, unknown
from worker.contacts.linking import link_without_list
from worker.contacts.list_answer import LIST_TRIES, ListAnswer, judge_list, list_answer, needs_proof
from worker.contacts.remote_list import Listing, ListState, read_list
from worker.limits.account_gate import clear_stop
from worker.limits.account_proof import AccountProof, prove_account
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import account_state
from worker.virtualtext.outcomes import Cause, Outcome

ANNA, BORIS = "+14155550101", "+14155550102"
DAY = 86_400.0

# The answer: (its kind, the try with which it is given up while other calls work, and while none does; 0: never).
ANSWERS: dict[str, tuple[Outcome[Any], ListAnswer, int, int]] = {
    "a list": (done([]), ListAnswer.READ, 0, 0),
    "408": (unknown(Cause.TIMEOUT, 408), ListAnswer.TOO_LARGE, 1, 1),
    "401": (not_done(Cause.CREDENTIALS, 401), ListAnswer.REFUSED, LIST_TRIES, 0),
    "403": (not_done(Cause.CREDENTIALS, 403), ListAnswer.REFUSED, LIST_TRIES, 0),
    "400, must be admin": (not_done(Cause.CREDENTIALS, 400), ListAnswer.REFUSED, LIST_TRIES, 0),
    "302": (not_done(Cause.REDIRECTED, 302), ListAnswer.REFUSED, LIST_TRIES, 0),
    "400": (not_done(Cause.REJECTED, 400), ListAnswer.FAILED, LIST_TRIES, 0),
    "404": (not_done(Cause.REJECTED, 404), ListAnswer.FAILED, LIST_TRIES, 0),
    "405": (not_done(Cause.REJECTED, 405), ListAnswer.FAILED, LIST_TRIES, 0),
    "429": (not_done(Cause.RATE_LIMITED, 429), ListAnswer.FAILED, LIST_TRIES, LIST_TRIES),
    "429 for a day": (not_done(Cause.RATE_LIMITED, 429, retry_after=DAY), ListAnswer.FAILED, LIST_TRIES, LIST_TRIES),
    "451": (not_done(Cause.OPTED_OUT, 451), ListAnswer.FAILED, LIST_TRIES, 0),
    "500": (unknown(Cause.SERVER_ERROR, 500), ListAnswer.FAILED, LIST_TRIES, 0),
    "502 with HTML": (unknown(Cause.GATEWAY, 502), ListAnswer.FAILED, LIST_TRIES, 0),
    "504": (unknown(Cause.GATEWAY, 504), ListAnswer.FAILED, LIST_TRIES, 0),
    "no answer in time": (unknown(Cause.TIMEOUT), ListAnswer.FAILED, LIST_TRIES, 0),
    "a cut body": (unknown(Cause.CONNECTION_LOST, 200), ListAnswer.FAILED, LIST_TRIES, 0),
    "a dropped connection": (unknown(Cause.CONNECTION_LOST), ListAnswer.FAILED, LIST_TRIES, 0),
    "broken JSON, or too large": (unknown(Cause.UNREADABLE, 200), ListAnswer.FAILED, LIST_TRIES, 0),
    "no connection": (not_done(Cause.UNREACHABLE), ListAnswer.OUTAGE, 0, 0),
}
WORKS = AccountProof(True, done(None))
REFUSED = AccountProof(False, not_done(Cause.CREDENTIALS, 401))
# A call by id that shows nothing: it neither works nor is refused.
UNCLEAR: dict[str, Outcome[Any]] = {
    "no answer in time": unknown(Cause.TIMEOUT),
    "a dropped connection": unknown(Cause.CONNECTION_LOST),
    "no connection": not_done(Cause.UNREACHABLE),
    "429": not_done(Cause.RATE_LIMITED, 429),
    "500": unknown(Cause.SERVER_ERROR, 500),
    "502: an outage, or the contact is gone": unknown(Cause.GATEWAY, 502),
    "404: the contact is gone": not_done(Cause.REJECTED, 404),
    "broken JSON": unknown(Cause.UNREADABLE, 200),
}
FAILING = {name: row for name, row in ANSWERS.items() if row[2] and row[0].http_status != 408}


def test_the_table_names_every_cause() -> None:
    assert {outcome.cause for outcome, *_ in ANSWERS.values()} == {None, *Cause} - {Cause.TEST_MODE}  # of sends only


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize(("outcome", "kind", "given_up", "given_up_in_an_outage"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_given_up_after_its_tries(
    outcome: Outcome[Any], kind: ListAnswer, given_up: int, given_up_in_an_outage: int, works: bool
) -> None:
    assert list_answer(outcome) is kind
    tries = []
    for failures in range(1, LIST_TRIES + 3):
        shown = WORKS if works else REFUSED
        proof = shown if needs_proof(outcome, failures, probe=False) else None
        if judge_list(outcome, failures, proof=proof, probe=False).unavailable:
            tries.append(failures)
    expected = given_up if works else given_up_in_an_outage
    assert tries == (list(range(expected, LIST_TRIES + 3)) if expected else [])


@pytest.mark.parametrize(("outcome", "kind"), [row[:2] for row in ANSWERS.values()], ids=ANSWERS)
def test_a_list_that_is_refused_alone_never_stops_the_account_and_as_the_probe_proves_that_it_works(
    outcome: Outcome[Any], kind: ListAnswer
) -> None:
    alone = judge_list(outcome, 1, proof=WORKS, probe=True).effect
    assert not alone.stop
    assert not alone.opens_breaker
    if needs_proof(outcome, 1, probe=True):
        assert alone.works_again
    both = judge_list(outcome, 1, proof=REFUSED, probe=False).effect
    assert bool(both.stop) is (kind is ListAnswer.REFUSED)


@pytest.mark.parametrize("shown", UNCLEAR.values(), ids=UNCLEAR)
@pytest.mark.parametrize("outcome", [row[0] for row in ANSWERS.values()], ids=ANSWERS)
def test_a_call_by_id_that_shows_nothing_neither_stops_the_account_nor_gives_the_list_up(
    outcome: Outcome[Any], shown: Outcome[Any]
) -> None:
    if not needs_proof(outcome, LIST_TRIES, probe=False):
        return
    for probe in (False, True):
        verdict = judge_list(outcome, LIST_TRIES, proof=AccountProof(False, shown), probe=probe)
        assert (verdict.unavailable, verdict.failed, verdict.effect.stop) == (False, True, "")
    if list_answer(outcome) is ListAnswer.REFUSED:
        assert not verdict.effect.works_again
        assert (verdict.effect.pause is not None) is (shown.cause in (Cause.UNREACHABLE, Cause.RATE_LIMITED))


def people(world: World, count: int) -> list[str]:
    phones = list(numbers(count))
    for index, phone in enumerate(phones):
        world.source.put(f"{index}", phone, f"Person {index}")
    world.sync()
    return phones


def half_a_minute_passes(world: World) -> None:
    """Long enough for the next try of the list, and a person has ended the account's pause."""
    past = utcnow() - timedelta(seconds=1)
    with writing(world.engine) as db:
        held = account_state.c.list_lease_until.is_not(None)
        db.execute(update(account_state).where(held).values(list_lease_until=past))
        clear_stop(db, "main")


def a_day_passes(world: World) -> None:
    with writing(world.engine) as db:
        db.execute(update(account_state).values(list_unavailable_at=utcnow() - timedelta(days=1, minutes=1)))


def account(world: World) -> Any:
    (row,) = world.rows(account_state)
    return row


@pytest.mark.parametrize("outcome", [row[0] for row in FAILING.values()], ids=FAILING)
def test_a_list_that_fails_for_days_lets_contacts_be_created_once_after_its_tries(
    world: World, outcome: Outcome[Any]
) -> None:
    phones = people(world, 12)
    link_without_list(world.runtime(), "main", "me")
    world.virtualtext.fault("list", outcome, times=100)
    for _ in range(LIST_TRIES - 1):
        assert world.push().deferred
        assert world.push().deferred  # a moment later: it is not asked for again
        assert account(world).stopped_at is None
        half_a_minute_passes(world)
    assert (world.virtualtext.calls["list"], len(world.virtualtext.contacts)) == (LIST_TRIES - 1, 0)
    world.push()
    half_a_minute_passes(world)
    world.push()
    assert world.virtualtext.phones() == Counter(phones)
    assert world.virtualtext.calls["list"] == LIST_TRIES
    assert str(outcome.cause) in account(world).list_error
    a_day_passes(world)  # it is asked for once more, and nothing waits for it
    world.source.put("new", BORIS, "Boris")
    world.sync()
    world.push()
    half_a_minute_passes(world)
    world.push()
    assert world.virtualtext.phones() == Counter([*phones, BORIS])
    assert world.virtualtext.calls["list"] == LIST_TRIES + 1


def test_a_list_that_works_again_is_used_again(world: World) -> None:
    people(world, 2)
    link_without_list(world.runtime(), "main", "me")
    world.virtualtext.fault("list", unknown(Cause.SERVER_ERROR, 500), times=LIST_TRIES)
    for _ in range(LIST_TRIES):
        world.push()
        half_a_minute_passes(world)
    a_day_passes(world)
    boris = world.virtualtext.create_contact(_body(BORIS)).value
    world.source.put("new", BORIS, "Boris")
    world.sync()
    assert world.push().adopted == 1
    assert (world.contact(BORIS).virtualtext_id, account(world).list_failures) == (boris.id, 0)
    assert account(world).list_unavailable_at is None


@pytest.mark.parametrize("outcome", [row[0] for row in FAILING.values() if not row[3]], ids=str)
def test_in_an_outage_the_list_is_never_given_up_and_nothing_is_created(world: World, outcome: Outcome[Any]) -> None:
    people(world, 3)
    link_without_list(world.runtime(), "main", "me")
    world.virtualtext.fault("list", outcome, times=100)
    world.virtualtext.get_contact = lambda _: unknown(Cause.GATEWAY, 502)  # type: ignore[method-assign]
    world.virtualtext.health = lambda: unknown(Cause.GATEWAY, 502)  # type: ignore[method-assign]
    for _ in range(LIST_TRIES + 2):
        assert world.push().deferred
        half_a_minute_passes(world)
    assert (world.virtualtext.calls["create"], account(world).list_unavailable_at) == (0, None)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_of_other_calls_too_stops_the_account_at_the_first_try(world: World, status: int) -> None:
    people(world, 3)
    refused = not_done(Cause.CREDENTIALS, status)
    world.virtualtext.fault("list", refused, times=100)
    world.virtualtext.get_contact = lambda _: refused  # type: ignore[method-assign]
    assert "is stopped" in world.push().deferred
    assert (world.virtualtext.calls["list"], world.virtualtext.calls["create"]) == (1, 0)


def test_a_refusal_of_the_create_stops_the_account_as_ever(world: World) -> None:
    people(world, 3)
    link_without_list(world.runtime(), "main", "me")
    refused = not_done(Cause.CREDENTIALS, 403)
    world.virtualtext.fault("list", refused, times=100)
    world.virtualtext.fault("create", refused, times=100)
    for _ in range(LIST_TRIES):
        world.push()
        if account(world).stopped_at is None:
            half_a_minute_passes(world)
    assert account(world).stopped_at is not None
    assert world.virtualtext.calls["list"] == LIST_TRIES


def test_an_older_list_is_used_until_the_list_is_given_up(world: World) -> None:
    people(world, 2)
    world.push()
    with writing(world.engine) as db:
        db.execute(update(account_state).values(listed_at=utcnow() - timedelta(hours=2)))
    world.virtualtext.fault("list", not_done(Cause.CREDENTIALS, 403), times=100)
    world.source.put("new", BORIS, "Boris")
    world.sync()
    assert world.push().created == 1
    assert account(world).stopped_at is None


def test_a_contact_that_the_store_cannot_hold_does_not_hide_the_others(world: World) -> None:
    anna = world.virtualtext.create_contact(_body(ANNA)).value
    listed = [
        done(
            [
                _remote("a\0b", BORIS),
                _remote("x" * 3000, BORIS),
                _remote("i", "+1" * 3000),
                _remote(anna.id, ANNA, "A\0"),
            ]
        )
    ]
    world.virtualtext.list_contacts = lambda: listed[0]  # type: ignore[method-assign]
    world.source.put("1", ANNA, "Anna")
    world.sync()
    assert world.push().adopted == 1
    assert world.contact(ANNA).virtualtext_id == anna.id


@pytest.mark.parametrize(
    ("known", "answers", "healthy", "works", "asked"),
    [
        (["a"], {"a": done(None)}, True, True, 1),
        (["a", "b"], {"a": unknown(Cause.GATEWAY, 502), "b": done(None)}, True, True, 2),
        (["a", "b"], {"a": not_done(Cause.REJECTED, 404), "b": done(None)}, True, True, 2),
        (["a", "b"], {}, True, False, 2),  # all gone, or an outage: not proven
        (["a", "b"], {"a": not_done(Cause.CREDENTIALS, 401)}, True, False, 1),
        (["a"], {"a": unknown(Cause.SERVER_ERROR, 500)}, True, False, 1),
        ([], {}, True, True, 1),  # an unknown id answers as an outage does, so the health decides
        ([], {}, False, False, 1),
        ([], {"vtsync-check": not_done(Cause.REJECTED, 404)}, False, True, 1),
        ([], {"vtsync-check": not_done(Cause.CREDENTIALS, 401)}, True, False, 1),
        ([], {"vtsync-check": not_done(Cause.UNREACHABLE)}, True, False, 1),
        ([], {"vtsync-check": not_done(Cause.RATE_LIMITED, 429)}, True, False, 1),
    ],
)
def test_what_proves_that_an_account_works(
    known: list[str], answers: dict[str, Outcome[Any]], healthy: bool, works: bool, asked: int
) -> None:
    calls: list[str] = []

    class Client:
        def get_contact(self, virtualtext_id: str) -> Outcome[Any]:
            calls.append(virtualtext_id)
            return answers.get(virtualtext_id, unknown(Cause.GATEWAY, 502))

        def health(self) -> Outcome[str]:
            return done("pass" if healthy else "fail")

    proof = prove_account(Client(), known)  # type: ignore[arg-type]
    assert (proof.works, len(calls)) == (works, asked)


@pytest.mark.parametrize(
    ("failures", "hours"), [(0, 24), (LIST_TRIES, 1), (LIST_TRIES + 1, 2), (LIST_TRIES + 4, 16), (LIST_TRIES + 9, 24)]
)
def test_a_list_that_failed_is_asked_for_again_sooner_than_one_that_is_too_large(failures: int, hours: int) -> None:
    now = utcnow()
    state = ListState(unavailable_at=now, failures=failures)
    assert state.is_unavailable(now + timedelta(hours=hours, seconds=-1))
    assert not state.is_unavailable(now + timedelta(hours=hours, seconds=1))


def test_two_workers_do_not_count_one_failure_twice(world: World) -> None:
    people(world, 1)
    world.virtualtext.fault("list", unknown(Cause.SERVER_ERROR, 500), times=10)
    assert [read_list(world.runtime(), "main") for _ in range(5)] == [Listing.LATER] * 5
    assert (world.virtualtext.calls["list"], account(world).list_failures) == (1, 1)


def _body(phone: str) -> Any:
    from worker.virtualtext.outcomes import ContactBody

    return ContactBody(phone, "", "")


def _remote(virtualtext_id: str, phone: str, name: str = "") -> Any:
    from worker.virtualtext.outcomes import RemoteContact

    return RemoteContact(virtualtext_id, phone, name)
