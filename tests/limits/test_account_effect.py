"""What each answer of VirtualText means for its account, and that it is stored so: one table for all requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, select, update

from worker.limits.account_effect import (
    HALTING_CAUSES,
    NO_EFFECT,
    AccountEffect,
    RequestKind,
    account_effect,
    combined,
    counts_as_failure,
)
from worker.limits.account_gate import (
    apply_effect,
    begin_probe,
    clear_stop,
    may_call,
    open_breaker,
    pause_account,
    permitted,
    stop_account,
)
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import account_state
from worker.virtualtext.outcomes import Cause, Outcome, Status

KINDS: tuple[RequestKind, ...] = ("create", "update", "text", "list")
DONE = "done"
STOP_BY_CREDENTIALS = AccountEffect(stop="VirtualText refused the credentials (as told)")
STOP_BY_REDIRECT = AccountEffect(stop="VirtualText is not at the configured URL (as told)")
ASKED_TO_WAIT = AccountEffect(
    pause=timedelta(seconds=30), pause_reason="VirtualText asked to wait (as told)", lowers_rate=True
)
UNREACHABLE = AccountEffect(pause=timedelta(seconds=10), pause_reason="VirtualText could not be reached (as told)")
OPENS, WORKS = AccountEffect(opens_breaker="as told"), AccountEffect(works_again=True)

# The answer: (the account after it, and after it as the probe).
TABLE: dict[Cause | str, tuple[AccountEffect, AccountEffect]] = {
    DONE: (NO_EFFECT, WORKS),
    Cause.REJECTED: (NO_EFFECT, WORKS),
    Cause.OPTED_OUT: (NO_EFFECT, WORKS),
    Cause.CREDENTIALS: (STOP_BY_CREDENTIALS, STOP_BY_CREDENTIALS),
    Cause.REDIRECTED: (STOP_BY_REDIRECT, STOP_BY_REDIRECT),
    Cause.RATE_LIMITED: (ASKED_TO_WAIT, ASKED_TO_WAIT),
    Cause.UNREACHABLE: (UNREACHABLE, UNREACHABLE),
    Cause.TIMEOUT: (NO_EFFECT, OPENS),
    Cause.CONNECTION_LOST: (NO_EFFECT, OPENS),
    Cause.SERVER_ERROR: (NO_EFFECT, OPENS),
    Cause.GATEWAY: (NO_EFFECT, OPENS),
    Cause.UNREADABLE: (NO_EFFECT, NO_EFFECT),
    Cause.TEST_MODE: (NO_EFFECT, NO_EFFECT),
}


def answer(cause: Cause | str, http_status: int | None = None, **more: Any) -> Outcome[Any]:
    if not isinstance(cause, Cause):
        return Outcome(Status.DONE, http_status=200)
    return Outcome(Status.NOT_DONE, cause=cause, detail="as told", http_status=http_status, **more)


def test_the_table_names_every_cause() -> None:
    assert set(TABLE) == {DONE, *Cause}
    assert {cause for cause, (effect, _) in TABLE.items() if effect.stop or effect.pause} == HALTING_CAUSES


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cause", TABLE)
def test_an_answer_means_the_same_for_every_kind_of_request(cause: Cause | str, kind: RequestKind, probe: bool) -> None:
    assert account_effect(answer(cause), kind, probe=probe) == TABLE[cause][probe]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cause", TABLE)
def test_the_breaker_opens_for_failures_alone(cause: Cause | str, kind: RequestKind) -> None:
    effect = account_effect(answer(cause), kind, opens_breaker=True)
    assert bool(effect.opens_breaker) == answer(cause).failed


@pytest.mark.parametrize(
    ("cause", "kind", "http_status", "effect"),
    [
        (Cause.TIMEOUT, "list", 408, NO_EFFECT),  # the list is too large
        (Cause.TIMEOUT, "list", None, OPENS),
        (Cause.TIMEOUT, "text", 408, AccountEffect(opens_breaker="as told, HTTP 408")),
        (Cause.REJECTED, "update", 404, NO_EFFECT),  # the id is gone
        (Cause.REJECTED, "text", 404, NO_EFFECT),  # the URL is wrong
        (Cause.REJECTED, "create", 422, WORKS),
    ],
)
def test_some_probes_are_about_the_request_alone(
    cause: Cause, kind: RequestKind, http_status: int | None, effect: AccountEffect
) -> None:
    assert account_effect(answer(cause, http_status), kind, probe=True) == effect


DAY = 86_400.0
RETRY_AFTER: dict[str, tuple[float | None, float, bool, str]] = {
    # how long it asks to wait: seconds of the pause, whether one request follows it alone, how it is described
    "does not say": (None, 30, False, "VirtualText asked to wait (as told"),
    "at once, a date in the past, negative": (0.0, 1, False, "VirtualText asked to wait (as told"),
    "a negative number": (-5.0, 1, False, "VirtualText asked to wait (as told"),
    "two minutes": (120.0, 120, False, "VirtualText asked to wait (as told"),
    "a quarter of an hour": (900.0, 900, False, "VirtualText asked to wait (as told"),
    "a little longer": (901.0, 900, True, "VirtualText asked to wait for 15 minutes (as told"),
    "six hours": (DAY / 4, 900, True, "VirtualText asked to wait for 6 hours (as told"),
    "a day": (DAY, 900, True, "VirtualText asked to wait for a day or longer (as told"),
    "a year": (365 * DAY, 900, True, "after 15 minutes, one request finds out"),
    "beyond any calendar": (1e12, 900, True, "for a day or longer"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("asked", "seconds", "probe", "words"), RETRY_AFTER.values(), ids=RETRY_AFTER)
def test_a_429_pauses_as_long_as_told_within_reason(
    kind: RequestKind, asked: float | None, seconds: float, probe: bool, words: str
) -> None:
    told = account_effect(answer(Cause.RATE_LIMITED, 429, retry_after=asked, reference_code="r1"), kind)
    assert (told.pause, told.probe_after, told.lowers_rate) == (timedelta(seconds=seconds), probe, True)
    assert words in told.pause_reason
    assert "(as told, HTTP 429, reference r1)" in told.pause_reason


@pytest.mark.parametrize(
    ("cause", "kind", "counted"),
    [
        *((cause, kind, False) for cause in (DONE, Cause.REJECTED, Cause.OPTED_OUT) for kind in KINDS[:3]),
        *((cause, kind, None) for cause in (*sorted(HALTING_CAUSES), Cause.UNREADABLE) for kind in KINDS),
        *((cause, kind, True) for cause in (Cause.TIMEOUT, Cause.SERVER_ERROR) for kind in KINDS[:3]),
        (Cause.GATEWAY, "create", True),
        (Cause.GATEWAY, "text", True),
        (Cause.GATEWAY, "update", None),  # its id may be gone
        *((cause, "list", None) for cause in TABLE),
    ],
)
def test_what_the_failure_counter_counts(cause: Cause | str, kind: RequestKind, counted: bool | None) -> None:
    assert counts_as_failure(answer(cause), kind) is counted


def test_a_stop_outweighs_other_answers_of_a_batch_and_the_longest_pause_counts() -> None:
    long = account_effect(answer(Cause.RATE_LIMITED, retry_after=60.0), "create")
    assert combined([NO_EFFECT, UNREACHABLE, long, UNREACHABLE]) == long
    assert combined([long, STOP_BY_REDIRECT, OPENS]) == STOP_BY_REDIRECT
    assert combined([OPENS, UNREACHABLE]) == AccountEffect(
        pause=UNREACHABLE.pause, pause_reason=UNREACHABLE.pause_reason, opens_breaker="as told"
    )
    assert combined([]) == combined([NO_EFFECT]) == NO_EFFECT


def state(engine: Engine) -> Row[Any]:
    with reading(engine) as db:
        return db.execute(select(account_state)).one()


def apply(engine: Engine, cause: Cause | str, *, probe: bool = False, began: float = 0.0) -> None:
    now = utcnow()
    effect = account_effect(answer(cause), "text", probe=probe, opens_breaker=not probe)
    with writing(engine) as db:
        apply_effect(db, "main", effect, now, began_at=now + timedelta(seconds=began), probe=probe, rate=50.0)


def test_a_429_pauses_the_account_and_lowers_its_rate(engine: Engine) -> None:
    apply(engine, Cause.RATE_LIMITED)
    row = state(engine)
    assert timedelta(seconds=28) < row.paused_until - utcnow() <= timedelta(seconds=30)
    assert row.rate_ceiling == pytest.approx(35.0)


def test_failures_open_the_breaker_and_a_probe_that_fails_opens_it_for_longer(engine: Engine) -> None:
    apply(engine, Cause.SERVER_ERROR)
    apply(engine, Cause.SERVER_ERROR)  # was under way when it opened
    assert (state(engine).trips, "after the pause" in state(engine).pause_reason) == (1, True)
    apply(engine, Cause.SERVER_ERROR, probe=True)
    assert state(engine).trips == 2
    assert timedelta(seconds=28) < state(engine).paused_until - utcnow() <= timedelta(seconds=30)


@pytest.mark.parametrize(("cause", "ends"), [(DONE, True), (Cause.REJECTED, True), (Cause.UNREADABLE, False)])
def test_a_probe_that_is_served_ends_the_breaker(engine: Engine, cause: Cause | str, ends: bool) -> None:
    with writing(engine) as db:
        open_breaker(db, "main", utcnow(), "503", probe=False)
    apply(engine, cause, probe=True)
    assert (state(engine).trips, state(engine).paused_until is None) == ((0, True) if ends else (1, False))


def test_a_429_to_the_probe_keeps_the_breaker_and_the_pause(engine: Engine) -> None:
    with writing(engine) as db:
        open_breaker(db, "main", utcnow(), "503", probe=False)
    apply(engine, Cause.RATE_LIMITED, probe=True)
    assert state(engine).trips == 1
    assert state(engine).paused_until > utcnow() + timedelta(seconds=25)


@pytest.mark.parametrize(("began", "ends"), [(0.1, True), (-60.0, False)])
def test_a_probe_proves_nothing_about_a_stop_that_came_after_it_began(engine: Engine, began: float, ends: bool) -> None:
    with writing(engine) as db:
        stop_account(db, "main", "the credential is wrong", utcnow())
    apply(engine, DONE, probe=True, began=began)
    assert (state(engine).stopped_at is None) is ends


def test_a_short_pause_is_waited_for_and_a_long_one_is_not(engine: Engine) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        with writing(engine) as db:
            db.execute(update(account_state).values(paused_until=None))
        return True

    assert permitted(engine, "main", wait)
    apply(engine, Cause.UNREACHABLE)
    assert not permitted(engine, "main", wait)
    assert waits == []
    with writing(engine) as db:
        db.execute(update(account_state).values(paused_until=utcnow() + timedelta(seconds=1)))
    assert permitted(engine, "main", wait)
    assert len(waits) == 1


def test_of_several_workers_one_makes_the_probe(engine: Engine) -> None:
    with writing(engine) as db:
        open_breaker(db, "main", utcnow(), "503", probe=False)
        db.execute(update(account_state).values(paused_until=utcnow() - timedelta(seconds=1)))
        assert may_call(db, "main", utcnow()).probe
        assert begin_probe(db, "main", utcnow(), 60)
        assert not begin_probe(db, "main", utcnow(), 60)
        assert not may_call(db, "main", utcnow())


def test_after_a_pause_that_is_shorter_than_asked_for_one_request_goes_first(engine: Engine) -> None:
    effect = account_effect(answer(Cause.RATE_LIMITED, 429, retry_after=DAY), "text")
    with writing(engine) as db:
        apply_effect(db, "main", effect, utcnow(), began_at=utcnow(), rate=50.0)
        permit = may_call(db, "main", utcnow())
        assert (permit.allowed, "for a day or longer" in permit.reason) == (False, True)
        after = utcnow() + timedelta(minutes=15, seconds=1)
        permit = may_call(db, "main", after)
        assert (permit.allowed, permit.probe) == (True, True)
        assert begin_probe(db, "main", after, 60)
        apply_effect(db, "main", account_effect(answer(DONE), "text", probe=True), after, began_at=after, probe=True)
        permit = may_call(db, "main", after)
        assert (permit.allowed, permit.probe) == (True, False)


@pytest.mark.parametrize(
    ("minutes", "ends"), [(1, True), (15, True), (23 * 60, True), (3650 * 24 * 60, False)], ids=str
)
def test_a_person_ends_every_pause_that_virtualtext_asked_for_and_no_other(
    engine: Engine, minutes: int, ends: bool
) -> None:
    with writing(engine) as db:
        pause_account(db, "main", utcnow() + timedelta(minutes=minutes), "the reason", probe_after=not ends)
        assert clear_stop(db, "main") is True or ends is False
        assert may_call(db, "main", utcnow()).allowed is ends
    assert state(engine).pause_reason == ("" if ends else "the reason")
