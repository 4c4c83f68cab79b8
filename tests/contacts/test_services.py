"""What adapters get: budgets in the store, rates of the fleet, memory, a grant."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from config.models import Account, Broker, Connection, Settings
from crm_adapters import registry
from crm_adapters.base import Limit, SourceInvalid, SourceUnavailable
from crm_adapters.services import LocalServices
from tests.contacts.acme import ADDRESS, CLOUD, CLOUD_ADDRESS, NAME
from tests.services import redis_url
from worker.contacts.budgets import budget_states, spend
from worker.contacts.services import (
    PACE_SECONDS,
    EngineServices,
    as_rate,
    connection_limits,
    engine_services,
    open_adapter,
)
from worker.limits import limiter
from worker.limits.limiter import LocalTurns
from worker.runtime import Runtime
from worker.runtime.runtime import StopSignal
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import crm_budget

NOW = utcnow()
DAY = Limit("", 10, timedelta(days=1))
API = {"url": "https://acme.test", "path": "people", "limits": [{"amount": 10, "per": "1d"}]}
SEARCHES = Limit("search", 3, timedelta(hours=1))


@pytest.fixture
def runtime(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setitem(registry.BUILT_IN, NAME, ADDRESS)
    monkeypatch.setitem(registry.BUILT_IN, CLOUD, CLOUD_ADDRESS)
    settings = Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},  # type: ignore[arg-type]
        connections={
            "crm": Connection(adapter=NAME, account="main"),
            "cloud": Connection(adapter=CLOUD, account="main"),
            "gone": Connection(adapter="not installed", account="main"),
            "api": Connection(adapter="rest", account="main", options=API),
            "wrong": Connection(adapter=NAME, account="main", options={"no": "such"}),
        },
    )
    return Runtime(settings, engine=engine)


# --- limits


def test_limits_may_depend_on_the_options(engine: Engine, runtime: Runtime) -> None:
    options = {"token": "t", "daily_calls": 500}
    connections = {**runtime.settings.connections, "hs": Connection(adapter="hubspot", account="main", options=options)}
    settings = runtime.settings.model_copy(update={"connections": connections})
    budgets = [limit for limit in connection_limits(settings, "hs") if limit.is_budget]
    assert budgets == [Limit("", 500, timedelta(days=1))]
    assert connection_limits(settings, "crm") == registry.adapter_class(NAME).limits
    for unusable in ("gone", "wrong"):
        assert connection_limits(settings, unusable) == ()
    services = engine_services(Runtime(settings, engine=engine), "hs")
    services.pace(cost=100)
    with pytest.raises(SourceUnavailable, match="100 of 500"):
        services.pace(cost=500)


# --- budgets


def test_a_budget_is_spent_and_full_again_when_its_window_ends(engine: Engine) -> None:
    with writing(engine) as db:
        for _ in range(5):
            spend(db, "crm", [DAY], 2, NOW)
        later = NOW + timedelta(hours=23)
        with pytest.raises(SourceUnavailable) as caught:
            spend(db, "crm", [DAY], 1, later)
        assert caught.value.retry_after == pytest.approx(3600, abs=1)
        assert '"crm" is spent: 10 of 10 calls in 24h are used' in str(caught.value)
        spend(db, "other", [DAY], 10, later)
        spend(db, "crm", [DAY], 1, NOW + timedelta(days=1))
        [state] = budget_states(db, "crm", [DAY], NOW + timedelta(days=1))
    assert (state.used, state.full_again_at) == (1, NOW + timedelta(days=2))


def test_a_call_counts_against_every_budget_or_none(engine: Engine) -> None:
    with writing(engine) as db:
        for _ in range(3):
            spend(db, "crm", [DAY, SEARCHES], 1, NOW)
    with pytest.raises(SourceUnavailable, match=r"3 of 3 calls of search in 60m"), writing(engine) as db:
        spend(db, "crm", [DAY, SEARCHES], 1, NOW)
    with reading(engine) as db:
        assert sorted(db.scalars(select(crm_budget.c.used))) == [3, 3]
        assert [state.used for state in budget_states(db, "crm", [DAY, SEARCHES], NOW)] == [3, 3]
        assert budget_states(db, "crm", [DAY, SEARCHES], NOW + timedelta(days=1)) == []


def test_two_limits_of_one_name_have_budgets_of_their_own(engine: Engine) -> None:
    month = Limit("", 100, timedelta(days=30))
    with writing(engine) as db:
        spend(db, "crm", [DAY, month], 4, NOW)
        spend(db, "crm", [DAY, month], 4, NOW + timedelta(days=1))
        found = budget_states(db, "crm", [DAY, month], NOW + timedelta(days=1))
    assert [state.used for state in found] == [4, 8]


def test_many_workers_do_not_spend_more_than_there_is(engine: Engine) -> None:
    refused = []

    def work() -> None:
        for _ in range(5):
            try:
                with writing(engine) as db:
                    spend(db, "crm", [DAY], 1, NOW)
            except SourceUnavailable:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 10
    with reading(engine) as db:
        assert db.scalars(select(crm_budget.c.used)).all() == [10]


# --- rates


@given(
    amount=st.integers(1, 400),
    seconds=st.sampled_from([1, 10, 60, 600]),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_window_has_more_calls_than_its_limit(amount: int, seconds: int, gaps: list[float]) -> None:
    """A caller that comes in bursts, and one that always comes as soon as it may."""
    rate = as_rate("crm", Limit("", amount, timedelta(seconds=seconds)), 1)
    for pauses in (gaps, [0.0] * min(2 * amount, 200)):
        turns, now, made = LocalTurns(), 1000.0, []
        for pause in pauses:
            now += pause
            with patch.object(limiter.time, "monotonic", lambda now=now: now):
                wait = turns.take([rate], 1e9)
            assert wait is not None
            now += wait
            made.append(now)
        for index, first in enumerate(made):
            assert sum(at < first + seconds - 1e-6 for at in made[index:]) <= amount


@pytest.mark.parametrize(("amount", "cost", "at_once"), [(100, 1, 20), (4, 1, 1), (1000, 100, 2), (10, 10, 1)])
def test_how_much_may_be_used_at_once(amount: int, cost: int, at_once: int) -> None:
    rate = as_rate("crm", Limit("", amount, timedelta(seconds=10)), cost)
    turns = LocalTurns()
    with patch.object(limiter.time, "monotonic", lambda: 1000.0):
        waits = [turns.take([rate], 1e9) for _ in range(at_once + 1)]
    assert waits[:at_once] == pytest.approx([0.0] * at_once, abs=1e-6)
    assert waits[-1] is not None
    assert waits[-1] > 0.01


@pytest.mark.parametrize(("by_call", "costs", "calls"), [(False, 10, 3), (True, 10, 30), (False, 1, 30)])
def test_a_limit_counts_calls_or_what_they_cost(runtime: Runtime, by_call: bool, costs: int, calls: int) -> None:
    limit = Limit("", 30, timedelta(days=1), by_call=by_call)
    for counting in (services(runtime, limit, connection=f"crm{by_call}{costs}"), LocalServices((limit,))):
        for _call in range(calls):
            counting.pace("any", costs)
        with pytest.raises(SourceUnavailable):
            counting.pace("any", costs)
    seconds = Limit("", 30, timedelta(seconds=10), by_call=by_call)
    assert as_rate("crm", seconds, costs).cost == (1 if by_call else costs)


def services(runtime: Runtime, *limits: Limit, connection: str = "crm") -> EngineServices:
    return EngineServices(runtime, connection, limits=limits)


def test_limits_of_other_calls_do_not_count(runtime: Runtime) -> None:
    slow = Limit("search", 1, timedelta(minutes=30))
    calls = services(runtime, slow)
    calls.pace("search")
    with pytest.raises(SourceUnavailable) as caught:
        calls.pace("search")
    assert caught.value.retry_after == PACE_SECONDS
    calls.pace()
    services(runtime, slow, connection="other").pace("search")


def test_a_spent_budget_ends_the_run(runtime: Runtime) -> None:
    calls = services(runtime, DAY)
    for _ in range(10):
        calls.pace()
    with pytest.raises(SourceUnavailable, match="is full again at"):
        calls.pace()


def test_a_process_that_stops_does_not_wait(runtime: Runtime) -> None:
    stop = StopSignal()
    calls = services(runtime.but(stop=stop), Limit("", 2, timedelta(minutes=1)))
    calls.pace()
    stop.set()
    with pytest.raises(SourceUnavailable) as caught:
        calls.pace()
    assert caught.value.retry_after == 0


@pytest.fixture
def on_redis(runtime: Runtime) -> list[Runtime]:
    settings = runtime.settings.model_copy(update={"broker": Broker(limits_url=redis_url())})  # type: ignore[arg-type]
    return [Runtime(settings, engine=runtime.engine) for _ in range(2)]


@pytest.mark.redis
def test_two_workers_share_a_rate(on_redis: list[Runtime]) -> None:
    limit, name = Limit("", 1, timedelta(minutes=30)), f"shared-{time.time_ns()}"
    services(on_redis[0], limit, connection=name).pace()
    with pytest.raises(SourceUnavailable):
        services(on_redis[1], limit, connection=name).pace()


# --- what an adapter is built with


def test_services_of_a_connection(runtime: Runtime) -> None:
    made = engine_services(runtime, "cloud", frozenset({"phone"}), '{"since": 5}')
    assert (made.wanted, made.memory) == (frozenset({"phone"}), {"since": 5})
    assert made.grant is not None
    assert engine_services(runtime, "crm").grant is None
    engine_services(runtime, "gone").pace()


def test_an_adapter_is_built_with_them(runtime: Runtime) -> None:
    adapter = open_adapter(runtime, "crm")
    adapter.check()
    adapter.close()
    with reading(runtime.engine) as db:
        assert db.scalars(select(crm_budget.c.used)).all() == [1], "its check was counted"
    with pytest.raises(SourceInvalid, match="do not fit"):
        open_adapter(runtime, "wrong")


def test_limits_may_come_from_the_options(runtime: Runtime) -> None:
    assert connection_limits(runtime.settings, "api") == (DAY,)
    assert connection_limits(runtime.settings, "gone") == ()
    assert connection_limits(runtime.settings, "wrong") == ()
    services = engine_services(runtime, "api")
    for _ in range(10):
        services.pace()
    with pytest.raises(SourceUnavailable, match="10 of 10"):
        services.pace()
