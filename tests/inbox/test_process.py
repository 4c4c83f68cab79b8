"""The inbox: committed together, worked off once, whatever breaks."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import datetime

import orjson
import pytest
from sqlalchemy import Connection, Engine, insert, select, update

from tests.inbox.conftest import THEM, Inbox, inbound
from worker.core.states import InboxState
from worker.inbox.events import Apply, ClaimedEvent, Handled, Incoming, claim_events, store_events
from worker.inbox.intake import BATCH, BatchIntake, Overloaded
from worker.inbox.process import ATTEMPTS, RETRY_WAIT, InboxReport, process_due
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import consent_event, inbox_event, opt_out


def fill(engine: Engine, count: int, source: str = "relay") -> None:
    with writing(engine) as connection:
        store_events(connection, [Incoming(source, "main", f'{{"n": {n}}}', utcnow()) for n in range(count)])  # type: ignore[arg-type]


def test_workers_share_the_inbox_and_each_event_happens_once(inbox: Inbox) -> None:
    fill(inbox.engine, 500)
    seen: Counter[int] = Counter()

    def prepare(runtime: Runtime, event: ClaimedEvent) -> Apply:
        def apply(connection: Connection, now: datetime) -> Handled:
            row = {"phone": f"n{event.id}", "since": now, "source": "cli", "detail": ""}
            connection.execute(insert(opt_out).values(row))  # a second time would break the key
            seen[event.id] += 1
            return Handled(InboxState.DONE)

        return apply

    threads = [threading.Thread(target=process_due, args=(inbox.runtime, {"relay": prepare}, 10_000)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(inbox.engine) as connection:
        assert len(connection.execute(select(opt_out)).all()) == 500
    assert {event.state for event in inbox.events()} == {"done"}


def test_an_event_that_breaks_takes_no_other_along_and_is_given_up_with_a_reason(inbox: Inbox) -> None:
    fill(inbox.engine, 3)

    def prepare(runtime: Runtime, event: ClaimedEvent) -> Apply:
        def apply(connection: Connection, now: datetime) -> Handled:
            connection.execute(insert(opt_out).values(phone=f"n{event.id}", since=now, source="cli", detail=""))
            if event.id == 2:
                raise RuntimeError("with the text of somebody")
            return Handled(InboxState.DONE)

        return apply

    def go() -> InboxReport:
        with writing(inbox.engine) as connection:
            connection.execute(update(inbox_event).values(due_at=utcnow()))
        return process_due(inbox.runtime, {"relay": prepare}, 100)

    assert go() == InboxReport(done=2, waiting=1)
    with reading(inbox.engine) as connection:
        assert len(connection.execute(select(opt_out)).all()) == 2, "what it had done is taken back"
    for _ in range(ATTEMPTS - 2):
        assert go() == InboxReport(waiting=1)
    assert go() == InboxReport(failed=1)
    (failed,) = [event for event in inbox.events() if event.state == "failed"]
    assert "RuntimeError" in failed.detail
    assert "somebody" not in failed.detail


def test_a_damaged_event_fails_alone(inbox: Inbox) -> None:
    fill(inbox.engine, 3)
    with inbox.engine.begin() as connection:  # as it is stored
        connection.exec_driver_sql(f"UPDATE inbox_event SET payload = 'vts1.deadbeef.{'A' * 60}' WHERE id = 2")
    taken = {"relay": lambda *_: lambda *_: Handled(InboxState.DONE)}
    assert process_due(inbox.runtime, taken, 100) == InboxReport(done=2, waiting=1)
    for _ in range(ATTEMPTS - 1):
        with writing(inbox.engine) as connection:
            connection.execute(update(inbox_event).values(due_at=utcnow()))
        last = process_due(inbox.runtime, taken, 100)
    assert last == InboxReport(failed=1)


def test_a_lease_that_was_lost_leaves_nothing_behind(inbox: Inbox) -> None:
    fill(inbox.engine, 1)

    def prepare(runtime: Runtime, event: ClaimedEvent) -> Apply:
        with writing(inbox.engine) as connection:
            connection.execute(update(inbox_event).values(lease_owner="another"))

        def apply(connection: Connection, now: datetime) -> Handled:
            connection.execute(insert(opt_out).values(phone="n", since=now, source="cli", detail=""))
            return Handled(InboxState.DONE)

        return apply

    assert process_due(inbox.runtime, {"relay": prepare}, 100) == InboxReport()
    with reading(inbox.engine) as connection:
        assert connection.execute(select(opt_out)).all() == []


def test_what_the_store_refuses_fails_alone(inbox: Inbox) -> None:
    fill(inbox.engine, 3)

    def prepare(runtime: Runtime, event: ClaimedEvent) -> Apply:
        def apply(connection: Connection, now: datetime) -> Handled:
            phone = "twice" if event.id == 2 else f"n{event.id}"
            row = {"phone": phone, "since": now, "source": "cli", "detail": ""}
            for _ in range(2 if event.id == 2 else 1):  # the second is an IntegrityError
                connection.execute(insert(opt_out).values(row))
            return Handled(InboxState.DONE)

        return apply

    assert process_due(inbox.runtime, {"relay": prepare}, 100) == InboxReport(done=2, waiting=1)
    assert len(inbox.rows(opt_out)) == 2
    (waiting,) = [event for event in inbox.events() if event.state == "new"]
    assert "(IntegrityError)" in waiting.detail or "(UniqueViolation)" in waiting.detail


def test_workers_whose_events_cross_do_not_wait_for_each_other(
    inbox: Inbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of two portions come in opposite orders: locked as they come, PostgreSQL would end one of them."""
    numbers = [f"+1415555{2000 + n}" for n in range(20)]
    monkeypatch.setattr("worker.inbox.process.PORTION", 20)
    texts = [inbound(f"{n}", f"in{n}", FromNumber=numbers[n if n < 20 else 39 - n]) for n in range(40)]
    with writing(inbox.engine) as connection:
        store_events(connection, [Incoming("relay", "main", orjson.dumps(one).decode(), utcnow()) for one in texts])
    threads = [threading.Thread(target=inbox.process) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(event.state for event in inbox.events()) == {"done": 40}
    assert len(inbox.replies()) == 40
    assert "one by one" not in capsys.readouterr().out


def test_a_claim_that_ran_out_is_given_to_another(inbox: Inbox) -> None:
    fill(inbox.engine, 1)
    with writing(inbox.engine) as connection:
        assert len(claim_events(connection, utcnow(), 0, 10)) == 1
    with writing(inbox.engine) as connection:
        (again,) = claim_events(connection, utcnow(), 60, 10)
        assert again.attempts == 2
        assert claim_events(connection, utcnow(), 60, 10) == []


def test_waits_grow_and_are_bounded() -> None:
    waits = [RETRY_WAIT.seconds(attempt) for attempt in (1, 2, 3, 4, 5, 6, 50)]
    assert waits == [5, 20, 80, 320, 1280, 3600, 3600]


async def _put(inbox: Inbox, count: int) -> int:
    told: list[int] = []
    intake = BatchIntake(inbox.runtime, lambda: told.append(1))
    await intake.start()
    await asyncio.gather(*(intake.put(Incoming("relay", "main", "{}", utcnow())) for _ in range(count)))
    await intake.stop()
    return len(told)


def test_the_intake_commits_what_waits_together_and_tells_workers_of_all(inbox: Inbox) -> None:
    assert 1 <= asyncio.run(_put(inbox, 2000)) <= 2000 // BATCH
    assert len(inbox.events()) == 2000


def test_workers_are_told_of_an_event_that_came_right_after_they_were_told(inbox: Inbox) -> None:
    async def put() -> list[int]:
        told: list[int] = []
        intake = BatchIntake(inbox.runtime, lambda: told.append(len(inbox.events())))
        await intake.start()
        for _ in range(2):
            await intake.put(Incoming("relay", "main", "{}", utcnow()))
        while told[-1:] != [2]:
            await asyncio.sleep(0.01)
        await intake.stop()
        return told

    assert asyncio.run(put())[-1] == 2


def test_an_intake_that_ended_refuses(inbox: Inbox) -> None:
    async def put() -> None:
        intake = BatchIntake(inbox.runtime, lambda: None)
        await intake.start()
        await intake.stop()
        with pytest.raises(Overloaded):
            await intake.put(Incoming("relay", "main", "{}", utcnow()))

    asyncio.run(put())


def test_an_event_that_was_put_is_in_the_store(inbox: Inbox) -> None:
    async def put() -> int:
        intake = BatchIntake(inbox.runtime, lambda: None)
        await intake.start()
        await intake.put(Incoming("relay", "main", "{}", utcnow()))
        stored = len(await asyncio.to_thread(inbox.events))
        await intake.stop()
        return stored

    assert asyncio.run(put()) == 1


def test_a_store_that_is_away_is_told_to_whoever_waits(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OSError("the disk is full")

    async def put() -> None:
        intake = BatchIntake(inbox.runtime, lambda: None)
        await intake.start()
        with monkeypatch.context() as patch:
            patch.setattr("worker.inbox.intake.store_events", away)
            with pytest.raises(OSError, match="disk"):
                await intake.put(Incoming("relay", "main", "{}", utcnow()))
        await intake.put(Incoming("relay", "main", "{}", utcnow()))
        await intake.stop()

    asyncio.run(put())
    assert len(inbox.events()) == 1


def test_too_many_that_wait_are_refused(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.inbox.intake.MOST_WAITING", 2)

    async def put() -> list[object]:
        intake = BatchIntake(inbox.runtime, lambda: None)
        tasks = [asyncio.create_task(intake.put(Incoming("relay", "main", "{}", utcnow()))) for _ in range(3)]
        await asyncio.sleep(0)
        await intake.start()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await intake.stop()
        return list(results)

    assert [type(result) for result in asyncio.run(put())] == [type(None), type(None), Overloaded]


def test_replies_of_a_removed_account_are_kept(inbox: Inbox) -> None:
    with writing(inbox.engine) as connection:
        store_events(connection, [Incoming("relay", "gone", '{"x": 1}', utcnow())])
    assert inbox.process() == InboxReport(failed=1)
    assert "no longer has the account" in inbox.events()[0].detail
    assert inbox.comes(inbound()) == InboxReport(done=1)


@pytest.mark.parametrize(
    ("words", "consents"),
    [
        (["START"], 1),
        (["STOP", "START"], 1),
        (["STOP", "yes"], 1),
        (["yes"], 0),  # the answer to a question of ours
        (["STOP"], 0),
        (["Thank you"], 0),
        (["START", "unstop"], 2),
    ],
)
def test_who_writes_start_has_given_consent_with_these_words(inbox: Inbox, words: list[str], consents: int) -> None:
    for number_, one in enumerate(words):
        inbox.comes(inbound(one, f"m{number_}"))
    rows = inbox.rows(consent_event)
    assert len(rows) == consents
    for row in rows:
        assert (row.phone, row.answer, row.source, row.account, row.actor) == (THEM, "yes", "relay", "main", "relay")
        assert row.words in {f'wrote "{one}"' for one in words}
