"""A table: (a response, what the contact was before, what a look-up found) -> what the contact is afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import done, not_done, unknown
from worker.contacts.answers import WRONG_ANSWERS
from worker.contacts.merge import wanted_hash
from worker.contacts.push_outcome import ID_LOST, MISSING_CHECKS, NO_LOOK_UP, LookUp, open_question, push_result
from worker.contacts.push_rows import Push, PushResult
from worker.core.phones import same_number
from worker.core.states import PushState
from worker.virtualtext.outcomes import Cause, Outcome, RemoteContact

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANNA, BORIS = "+14155550101", "+14155550102"
EMAIL = "anna@example.org"
HASH, OLD_HASH = wanted_hash(ANNA, "Anna", EMAIL), wanted_hash(ANNA, "Old", EMAIL)

CREATE = Push(1, ANNA, "Anna", EMAIL, HASH, None, 1)
UPDATE = Push(1, ANNA, "Anna", EMAIL, HASH, "vt1", 1, pushed_hash=OLD_HASH)
NAMELESS = replace(CREATE, full_name="", email="", hash=wanted_hash(ANNA, "", ""))
LAST_CHECK = replace(UPDATE, missing_checks=MISSING_CHECKS - 1, missing_at=NOW - HOUR / 4)
LAST_TRY = {"wrong_answers": WRONG_ANSWERS - 1}

ANSWERED = done(RemoteContact("vt1", ANNA, "Anna", EMAIL))
BEFORE = done(RemoteContact("vt1", ANNA, "Old", EMAIL))
OF_BORIS = done(RemoteContact("vt1", BORIS, "Boris", ""))
OTHER_ID = done(RemoteContact("vt2", ANNA, "Anna", EMAIL))
NO_PHONE = done(RemoteContact("vt1", "", "Anna", EMAIL))
NO_CONTACT = unknown(Cause.UNREADABLE, 200)
BAD_GATEWAY = unknown(Cause.GATEWAY, 502)

MISSING = LookUp(by_id=BAD_GATEWAY, others_work=True)
MISSING_WITHOUT_LIST = replace(MISSING, list_unavailable=True)
OUTAGE = NO_LOOK_UP


@dataclass(frozen=True)
class After:
    """What must be true of a contact afterwards. ``said`` is a part of what people read about it."""

    state: PushState
    id: str | None
    said: str = ""
    event: str = ""
    more: tuple[tuple[str, Any], ...] = ()


def synced(event: str = "", **more: Any) -> After:
    return After(PushState.SYNCED, "vt1", "", event, tuple(more.items()))


def again(said: str = "", id: str | None = "vt1", event: str = "", **more: Any) -> After:
    return After(PushState.DUE, id, said, event, tuple(more.items()))


def lost(said: str, **more: Any) -> After:
    return After(PushState.UNKNOWN, None, said, "create_unknown", tuple(more.items()))


def for_a_person(said: str, id: str | None = "vt1") -> After:
    return After(PushState.REJECTED, id, said)


# Add a row: what the row is about: (the response, the contact before, what was looked up, the contact afterwards)
ROWS: dict[str, tuple[Outcome[RemoteContact], Push, LookUp, After]] = {
    # as asked for
    "create": (ANSWERED, CREATE, NO_LOOK_UP, synced(pushed_hash=HASH)),
    "update": (ANSWERED, UPDATE, NO_LOOK_UP, synced(pushed_hash=HASH)),
    "number without its country code": (
        done(RemoteContact("vt1", "(415) 555-0101", "Anna", EMAIL)), CREATE, NO_LOOK_UP, synced()
    ),
    "spaces and case": (done(RemoteContact("vt1", ANNA, " Anna ", EMAIL.upper())), UPDATE, NO_LOOK_UP, synced()),
    "number as the name": (done(RemoteContact("vt1", ANNA, ANNA)), NAMELESS, NO_LOOK_UP, synced(adopted=None)),
    "fields left out": (
        done(RemoteContact("vt1", ANNA, omitted=frozenset({"full_name", "email"}))), UPDATE, NO_LOOK_UP, synced()
    ),
    "success resets the counts": (
        ANSWERED, replace(UPDATE, missing_checks=3, missing_at=NOW, wrong_answers=2), NO_LOOK_UP,
        synced(missing_checks=0, missing_at=None, wrong_answers=0),
    ),
    # other fields than those that were sent
    "create answered with a contact of another name": (
        BEFORE, CREATE, NO_LOOK_UP,
        again("another name", event="fields_differ", followed_hash=HASH, pushed_hash=OLD_HASH, next_attempt_at=NOW),
    ),
    "update that leaves the old name": (BEFORE, UPDATE, NO_LOOK_UP, again("another name", followed_hash=HASH)),
    "name and email": (
        done(RemoteContact("vt1", ANNA, "Old", "old@example.org")), CREATE, NO_LOOK_UP, again("name and email")
    ),
    "other fields again after one more update": (
        BEFORE, replace(UPDATE, followed=True), NO_LOOK_UP, synced(pushed_hash=HASH, event="fields_kept")
    ),
    "create answered with what the CRM leaves empty": (
        BEFORE, NAMELESS, NO_LOOK_UP, synced(adopted=("Old", EMAIL), pushed_hash=OLD_HASH)
    ),
    # an answer about something else, to an update
    "update: another id": (OTHER_ID, UPDATE, LookUp(by_id=BEFORE), again("the contact vt2", wrong_answers=1)),
    "update: an id that no database can hold": (
        done(RemoteContact("a\x00b\ud800" * 1000, ANNA)), UPDATE, LookUp(by_id=BEFORE),
        again("the contact a b a b", wrong_answers=1),
    ),
    "update: another id, and carried out": (OTHER_ID, UPDATE, LookUp(by_id=ANSWERED), synced()),
    "update: another number, and not carried out": (
        OF_BORIS, UPDATE, LookUp(by_id=BEFORE), again("update 1 of 5", wrong_answers=1)
    ),
    "update: no contact in it": (NO_CONTACT, UPDATE, LookUp(by_id=BEFORE), again(wrong_answers=1)),
    "update: no number": (NO_PHONE, UPDATE, LookUp(by_id=BEFORE), again("without a number", wrong_answers=1)),
    "update: wrong the last time": (
        OTHER_ID, replace(UPDATE, **LAST_TRY), LookUp(by_id=BEFORE), for_a_person("vtsync retry --contacts")
    ),
    "update: wrong, and the look-up fails": (
        OTHER_ID, replace(UPDATE, **LAST_TRY), LookUp(by_id=BAD_GATEWAY), again("could not be looked up", **LAST_TRY)
    ),
    "update: wrong, and the look-up is wrong, too": (
        OTHER_ID, UPDATE, LookUp(by_id=OTHER_ID), again(wrong_answers=1)
    ),
    "update: the id is of somebody else now": (
        OF_BORIS, UPDATE, LookUp(by_id=OF_BORIS),
        again("+1415", None, "virtualtext_id_of_another", unusable_id="vt1", next_attempt_at=NOW, former_id=None),
    ),
    "update: the id is of somebody else again and again": (
        OF_BORIS, replace(UPDATE, **LAST_TRY), LookUp(by_id=OF_BORIS), for_a_person("vtsync retry --contacts", None)
    ),
    "update of the number, which is not carried out": (
        OTHER_ID, replace(UPDATE, pushed_hash=wanted_hash(BORIS, "Boris", "")), LookUp(by_id=OF_BORIS),
        again(wrong_answers=1),
    ),
    # an answer about something else, to a create
    "create: another number": (OF_BORIS, CREATE, LookUp(by_id=OF_BORIS), lost("with the number", wrong_answers=1)),
    "create: another number, but the id is right": (OF_BORIS, CREATE, LookUp(by_id=ANSWERED), synced()),
    "create: another number, and the look-up fails": (
        OF_BORIS, CREATE, LookUp(by_id=BAD_GATEWAY), lost("with the number", wrong_answers=1)
    ),
    "create: no number, but the id is right": (NO_PHONE, CREATE, LookUp(by_id=ANSWERED), synced()),
    "create: no contact in it": (NO_CONTACT, CREATE, NO_LOOK_UP, lost("responded to the create", wrong_answers=1)),
    "create: the id of another contact of ours": (
        ANSWERED, CREATE, LookUp(by_id=OF_BORIS, id_taken=True), lost("another number here", wrong_answers=1)
    ),
    "create: it was there, and another contact of ours has its id": (
        ANSWERED, CREATE, LookUp(by_id=ANSWERED, id_taken=True), again("create 1 of 5", None, wrong_answers=1)
    ),
    "create: the same for the last time": (
        ANSWERED, replace(CREATE, **LAST_TRY), LookUp(by_id=ANSWERED, id_taken=True), for_a_person("vt1", None)
    ),
    # an id that may be missing
    "outage of requests by id": (BAD_GATEWAY, LAST_CHECK, OUTAGE, again(missing_checks=4)),
    "outage in which other ids fail after it": (
        BAD_GATEWAY, LAST_CHECK, LookUp(by_id=BAD_GATEWAY), again("no request by id", missing_checks=4)
    ),
    "502 by chance": (BAD_GATEWAY, LAST_CHECK, LookUp(by_id=BEFORE), again(missing_checks=0)),
    "502 by chance, and carried out": (BAD_GATEWAY, LAST_CHECK, LookUp(by_id=ANSWERED), synced()),
    "502 for an id that is of somebody else now": (
        BAD_GATEWAY, UPDATE, LookUp(by_id=OF_BORIS), again("+1415", None, "virtualtext_id_of_another")
    ),
    "missing for the first time": (
        BAD_GATEWAY, UPDATE, MISSING_WITHOUT_LIST, again("check 1 of 5", missing_checks=1, missing_at=NOW)
    ),
    "missing again too soon to count": (
        BAD_GATEWAY, replace(LAST_CHECK, missing_at=NOW - HOUR / 5), MISSING_WITHOUT_LIST, again(missing_checks=4)
    ),
    "missing for the last time": (
        BAD_GATEWAY, LAST_CHECK, MISSING_WITHOUT_LIST,
        again("is gone", None, ID_LOST, former_id="vt1", next_attempt_at=NOW, missing_checks=0),
    ),
    "missing for the last time, while the list fails": (BAD_GATEWAY, LAST_CHECK, MISSING, again(missing_checks=5)),
    "missing twice as often, while the list fails": (
        BAD_GATEWAY, replace(LAST_CHECK, missing_checks=2 * MISSING_CHECKS - 1), MISSING,
        again("is gone", None, ID_LOST),
    ),
    "missing, and the list lacks it": (
        BAD_GATEWAY, UPDATE, replace(MISSING, listed=False), again("is gone", None, ID_LOST, former_id="vt1")
    ),
    "no id is served, and the list lacks it": (
        BAD_GATEWAY, UPDATE, LookUp(by_id=BAD_GATEWAY, listed=False), again("is gone", None, ID_LOST)
    ),
    "missing, and the list has it": (
        BAD_GATEWAY, LAST_CHECK, replace(MISSING, listed=True), again("list has its id", missing_checks=0)
    ),
    "404, which a wrong URL causes, too": (not_done(Cause.REJECTED, 404), LAST_CHECK, OUTAGE, again(missing_checks=4)),
    "404 for the last time": (
        not_done(Cause.REJECTED, 404), LAST_CHECK, MISSING_WITHOUT_LIST, again("", None, ID_LOST)
    ),
    "410": (not_done(Cause.REJECTED, 410), UPDATE, MISSING_WITHOUT_LIST, again(missing_checks=1)),
    "the id that was given up works again": (
        ANSWERED, replace(CREATE, former_id="vt1"), NO_LOOK_UP, synced(event="virtualtext_id_used_again")
    ),
    # no answer, and refusals
    "create: no answer": (unknown(Cause.TIMEOUT), CREATE, NO_LOOK_UP, lost("the response was lost")),
    "create: 502": (BAD_GATEWAY, CREATE, NO_LOOK_UP, lost("the response was lost")),
    "update: no answer": (unknown(Cause.TIMEOUT), LAST_CHECK, NO_LOOK_UP, again(missing_checks=4)),
    "update: 500": (unknown(Cause.SERVER_ERROR, 500), UPDATE, NO_LOOK_UP, again()),
    "refused": (not_done(Cause.REJECTED, 400), UPDATE, NO_LOOK_UP, for_a_person("rejected")),
    "create refused": (not_done(Cause.REJECTED, 400), CREATE, NO_LOOK_UP, for_a_person("rejected", None)),
    "credentials": (not_done(Cause.CREDENTIALS, 401), UPDATE, NO_LOOK_UP, again(next_attempt_at=NOW)),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_a_response_makes_of_a_contact(row: tuple[Outcome[RemoteContact], Push, LookUp, After]) -> None:
    outcome, before, found, expected = row
    result = push_result(before, outcome, NOW, found, HOUR)
    assert (result.state, result.virtualtext_id) == (expected.state, expected.id)
    assert expected.said in result.error
    assert result.error.isprintable()
    assert len(result.error) < 400
    if expected.event:
        assert result.event is not None
        assert result.event[0] == expected.event
    assert {name: getattr(result, name) for name, _ in expected.more} == dict(expected.more)


@pytest.mark.parametrize(
    ("written", "same"),
    [
        (ANNA, True),
        ("4155550101", True),
        ("(415) 555-0101", True),
        ("1 415 555 0101", True),
        ("001 415 555 0101", True),
        ("+1 (415) 555-0101", True),
        (BORIS, False),
        ("5550101", False),
        ("+4155550101", False),
        ("Anna 4155550101", False),
        ("", False),
    ],
)
def test_a_number_is_recognised_in_other_formats(written: str, same: bool) -> None:
    assert same_number(ANNA, written) is same


_contacts = st.builds(
    RemoteContact,
    st.sampled_from(["vt1", "vt2"]),
    st.sampled_from([ANNA, BORIS, ""]),
    st.sampled_from(["Anna", "Old", ANNA, ""]),
    st.sampled_from([EMAIL, ""]),
)
_outcomes = st.one_of(
    _contacts.map(done),
    st.sampled_from(Cause).map(unknown),
    st.sampled_from(Cause).map(not_done),
    st.sampled_from([404, 410]).map(lambda status: not_done(Cause.REJECTED, status)),
)
_pushes = st.builds(
    Push,
    st.just(1),
    st.just(ANNA),
    st.sampled_from(["Anna", ""]),
    st.just(EMAIL),
    st.just(HASH),
    st.sampled_from([None, "vt1"]),
    st.integers(1, 50),
    pushed_hash=st.sampled_from([None, OLD_HASH]),
    missing_checks=st.integers(0, MISSING_CHECKS),
    missing_at=st.sampled_from([None, NOW, NOW - HOUR]),
    former_id=st.sampled_from([None, "vt2"]),
    wrong_answers=st.integers(0, WRONG_ANSWERS),
    followed=st.booleans(),
)
_look_ups = st.builds(
    LookUp,
    by_id=st.none() | _outcomes,
    others_work=st.booleans(),
    listed=st.sampled_from([None, True, False]),
    list_unavailable=st.booleans(),
    id_taken=st.booleans(),
)


@given(_pushes, _outcomes, _look_ups)
def test_every_response_leaves_a_contact_in_a_state_that_goes_on_or_says_what_to_do(
    push: Push, outcome: Outcome[RemoteContact], found: LookUp
) -> None:
    if push.virtualtext_id is not None or not outcome.done:
        found = replace(found, id_taken=False)  # only a create is answered with a new id
    if not found.id_taken and open_question(push, outcome) is None:
        found = NO_LOOK_UP
    result = push_result(push, outcome, NOW, found, HOUR)
    assert result.state in (PushState.SYNCED, PushState.DUE, PushState.UNKNOWN, PushState.REJECTED)
    if result.state is PushState.SYNCED:
        assert result.virtualtext_id
        assert result.pushed_hash is not None
    else:
        assert result.error
    if result.state is PushState.DUE:
        assert result.next_attempt_at is not None
        assert NOW <= result.next_attempt_at <= NOW + HOUR
    if result.state is PushState.UNKNOWN:
        assert push.virtualtext_id is None, "only a create can be lost"
    _check_that_no_wrong_id_is_bound(push, outcome, found, result)
    if push.virtualtext_id and result.former_id:
        assert found.listed is False or (found.others_work and found.list_unavailable)


def _check_that_no_wrong_id_is_bound(
    push: Push, outcome: Outcome[RemoteContact], found: LookUp, result: PushResult
) -> None:
    if result.virtualtext_id is None or result.virtualtext_id == push.virtualtext_id:
        return
    shown = found.by_id.value if found.by_id is not None and found.by_id.done else None
    said = shown or outcome.value
    assert said is not None
    assert (said.id, same_number(push.phone, said.phone)) == (result.virtualtext_id, True)
    assert not found.id_taken
