"""What is over goes after a while; what waits, what proves, and what prevents a second text stays."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, insert, select, update

from config.integrations import Carrier
from config.models import Account, Policy, Settings
from config.policy import PolicyOverride
from config.retention import Retention
from config.triggers import ChangedTrigger, CreatedTrigger, EnteredTrigger
from tests.contacts.conftest import FakeRuntime, World
from tests.messages.conftest import PAST, Outbox, crm_record_of, number
from worker.contacts.remote_list import read_list
from worker.core.states import MessageState
from worker.messages.decisions import retry
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import add_opt_out
from worker.messages.recording import record_due
from worker.messages.requests import IdempotencyConflict
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import (
    account_state,
    carrier_state,
    connection_state,
    contact,
    contact_event,
    contact_mapping,
    dead_letter,
    delivery,
    inbound_message,
    inbox_event,
    maintenance_lock,
    message,
    message_event,
    opt_out_event,
    record_change,
    sync_run,
)
from worker.upkeep import retention
from worker.upkeep.retention import AlreadyPruning, has_due, horizon, prune, what_would_go
from worker.web.audit import entries, note

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)


def later(days: float) -> Any:
    return utcnow() + days * DAY


def swept(box: Outbox, days: float) -> dict[str, int]:
    """What pruning takes ``days`` from now; the same as was announced."""
    now = later(days)
    announced = what_would_go(box.runtime, now)
    done = prune(box.runtime, now)
    # Jobs that go take their words and their history along, which are counted once only.
    assert {one.what for one in done if one.count} <= {one.what for one in announced if one.count}
    return {one.what: one.count for one in done if one.count}


def configure(box: Outbox, **values: Any) -> None:
    box.runtime.settings = box.runtime.settings.model_copy(update=values)


def put(box: Outbox, table: Any, *rows: dict[str, Any]) -> None:
    with writing(box.engine) as connection:
        connection.execute(insert(table), list(rows))


def count(box: Outbox, table: Any) -> int:
    with reading(box.engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_job_is_known_by_its_key_as_long_as_promised_and_gone_after(box: Outbox) -> None:
    first = box.send(idempotency_key="order-1")
    deliver_due(box.runtime, account="main")
    assert swept(box, 399) == {}
    assert box.enqueue(idempotency_key="order-1").duplicate
    with pytest.raises(IdempotencyConflict):
        box.send(text="something else", idempotency_key="order-1")
    assert swept(box, 401) == {"jobs and records with their keys": 1}
    assert (count(box, message), count(box, message_event)) == (0, 0)
    assert len(box.client.sent) == 1
    assert first


def test_a_job_without_its_words_is_still_known_by_its_key(box: Outbox) -> None:
    configure(box, retention=Retention(texts=timedelta(days=30)))
    first = box.send(idempotency_key="order-1")
    deliver_due(box.runtime, account="main")
    assert swept(box, 31) == {"texts whose content is removed": 1}
    assert (box.row(first).text, box.row(first).to_number) == ("", number(0))
    assert box.enqueue(idempotency_key="order-1").message_id == first
    with pytest.raises(IdempotencyConflict):
        box.send(text="something else", idempotency_key="order-1")
    assert swept(box, 31) == {}


@pytest.mark.parametrize(
    "waits", [MessageState.QUEUED, MessageState.HELD, MessageState.DISPATCHING, MessageState.UNKNOWN]
)
def test_what_waits_is_never_touched(box: Outbox, waits: MessageState) -> None:
    one = box.send()
    box.change(one, state=waits)
    before = box.row(one)
    assert swept(box, 3000) == {}
    assert box.row(one) == before


def test_a_text_that_is_due_late_is_young(box: Outbox) -> None:
    box.send(send_at=later(390), expires_at=later(395))
    box.change(state=MessageState.SUPPRESSED)
    assert swept(box, 401) == {"steps in the history of texts": 1}
    assert swept(box, 791) == {"jobs and records with their keys": 1}


def test_a_trigger_s_text_stays_without_its_words(box: Outbox) -> None:
    one = box.send()
    box.change(one, trigger="welcome", state=MessageState.DELIVERED, attempted_at=utcnow())
    assert swept(box, 3000) == {"texts whose content is removed": 1, "steps in the history of texts": 1}
    assert box.row(one).idempotency_key
    assert (box.row(one).text, box.row(one).media, box.row(one).state) == ("", "[]", "delivered")


@pytest.mark.parametrize("state", [MessageState.REJECTED, MessageState.FAILED])
def test_a_text_without_its_words_is_not_tried_again(box: Outbox, state: MessageState) -> None:
    one = box.send()
    box.change(one, trigger="welcome", state=state)
    assert retry(box.runtime, [one], actor="me") == 1
    box.change(one, state=state, text="", media="[]")
    assert retry(box.runtime, [one], actor="me") == 0
    assert box.state(one) == state


def test_kept_for_ever_is_for_ever(box: Outbox) -> None:
    configure(box, retention=Retention(texts=None, keys=None, history=None, events=None, runs=None))
    box.send()
    box.change(state=MessageState.DELIVERED)
    assert swept(box, 3649) == {}
    # The words of a job are in its row: it stays as long as they do.
    configure(box, retention=Retention(texts=None))
    assert swept(box, 3649) == {"steps in the history of texts": 1}


def test_a_carrier_s_record_outlives_the_list_that_brings_it_again(box: Outbox) -> None:
    configure(box, carriers={"twilio": Carrier(carrier="twilio", account="main", poll_every=timedelta(minutes=10))})
    put(box, carrier_state, {"name": "twilio", "polled_until": utcnow(), "last_error": "refused"})
    box.record("SM1")
    record_due(box.runtime, account="main")
    assert swept(box, 3000) == {"texts whose content is removed": 1, "steps in the history of texts": 3}
    assert box.record("SM1") in box.states()  # the list was last read when it was sent
    assert len(box.states()) == 1
    with writing(box.engine) as connection:
        connection.execute(update(carrier_state).values(polled_until=later(100)))
    assert swept(box, 3000) == {"jobs and records with their keys": 1}


def test_events_deliveries_and_runs_go_when_they_are_worked_off(box: Outbox) -> None:
    now = utcnow()
    event = {"source": "relay", "name": "main", "received_at": now, "payload": "{}", "attempts": 1, "due_at": now}
    put(box, inbox_event, *(event | {"state": state, "detail": ""} for state in ("new", "done", "ignored", "failed")))
    sent = {"target": "subscriber:a", "type": "t", "payload": "{}", "created_at": now, "due_at": now, "attempts": 1}
    put(
        box,
        delivery,
        *(
            sent | {"event_id": state, "state": state, "last_error": ""}
            for state in ("due", "sending", "done", "failed")
        ),
    )
    run = {"connection": "crm", "started_at": now, "finished_at": now, "batch_id": "b", "error": ""}
    counts = dict.fromkeys(("seen", "unchanged", "added", "changed", "removed", "rejected", "messages"), 0)
    put(
        box,
        sync_run,
        *(run | counts | {"id": n, "state": state} for n, state in enumerate(("done",) * 3 + ("failed",))),
    )
    put(box, connection_state, {"connection": "crm", "run_id": 1})
    assert swept(box, 31) == {"incoming events": 2, "deliveries to CRMs and services": 1}
    assert swept(box, 91) == {"sync runs": 2}
    with reading(box.engine) as connection:
        assert set(connection.scalars(select(sync_run.c.id))) == {1, 3}  # the open one and the last
        assert set(connection.scalars(select(inbox_event.c.state))) == {"new", "failed"}
        assert set(connection.scalars(select(delivery.c.state))) == {"due", "sending", "failed"}


def test_what_a_change_of_a_record_replaced_goes_with_the_history(box: Outbox) -> None:
    row = {"connection": "crm", "external_id": "1", "before": "{}"}
    with writing(box.engine) as connection:
        connection.execute(
            insert(record_change), [row | {"revision": 2, "at": later(-500)}, row | {"revision": 3, "at": later(-1)}]
        )
    assert swept(box, 0) == {"changes of CRM records": 1}
    with reading(box.engine) as connection:
        assert connection.scalars(select(record_change.c.revision)).all() == [3]


def test_dead_letters_go_when_they_have_not_come_again(box: Outbox) -> None:
    told = {"queue": "celery", "task": "", "message_id": "", "reason": "it is not JSON", "size": 1, "times": 2}
    days = {"old": 40, "again": 10}
    put(
        box,
        dead_letter,
        *(
            told | {"id": name, "first_at": utcnow() - timedelta(days=50), "last_at": utcnow() - timedelta(days=ago)}
            for name, ago in days.items()
        ),
    )
    assert swept(box, 0) == {"refused messages of the broker": 1}
    with reading(box.engine) as connection:
        assert connection.scalars(select(dead_letter.c.id)).all() == ["again"]


def test_the_audit_trail_is_kept_as_long_as_the_history(box: Outbox) -> None:
    now = utcnow()
    with writing(box.engine) as connection:
        for days in (1, 500):
            note(connection, "ana", "signed_in", now=now - timedelta(days=days))
    prune(box.runtime, now)
    with reading(box.engine) as connection:
        assert [one.at for one in entries(connection, limit=9)] == [now - timedelta(days=1)]


def test_replies_go_and_what_opt_outs_rest_on_stays(box: Outbox) -> None:
    reply = {"account": "main", "from_number": number(1), "to_number": "+14155550100", "received_at": utcnow()}
    put(
        box,
        inbound_message,
        *(reply | {"id": word, "text": word, "media": "[]", "keyword": word} for word in ("", "stop", "start", "help")),
    )
    with writing(box.engine) as connection:
        add_opt_out(connection, number(1), source="relay", detail="STOP", now=PAST, actor="relay")
    crm_record_of(box.engine, "crm", "1", number(1))
    with writing(box.engine) as connection:
        connection.execute(insert(contact_event).values(contact_id=1, at=utcnow(), kind="created", detail=""))
    assert swept(box, 401) == {"replies": 2, "steps in the history of contacts": 1}
    assert (count(box, inbound_message), count(box, opt_out_event)) == (2, 1)


def test_many_rows_go_in_portions(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PORTION", 3)
    for index in range(10):
        box.send(number(index))
    box.change(state=MessageState.DELIVERED)
    waits = box.send(number(11))
    assert swept(box, 401) == {"jobs and records with their keys": 10}
    assert list(box.states()) == [waits]


def test_a_stop_ends_it_after_a_portion_and_it_is_due_again(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PORTION", 3)
    monkeypatch.setattr(retention, "_pause", lambda stop: stop.set())
    for index in range(5):
        box.send(number(index))
    box.change(state=MessageState.DELIVERED)
    prune(box.runtime, later(401))
    assert len(box.states()) == 2
    with reading(box.engine) as connection:
        assert has_due(connection, utcnow())


def test_one_process_prunes_at_a_time_and_not_again_before_it_is_due(
    box: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.send()
    box.change(state=MessageState.DELIVERED)
    inside, go_on = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        inside.set()
        go_on.wait(10)

    monkeypatch.setattr(retention, "_pause", wait)
    now = later(401)
    first = threading.Thread(target=prune, args=(box.runtime, now))
    first.start()
    assert inside.wait(10)
    with pytest.raises(AlreadyPruning, match="right now"):
        prune(box.runtime, utcnow())  # as of the clock, since where this test's time is the lease has run out
    go_on.set()
    first.join()
    with reading(box.engine) as connection:
        assert not has_due(connection, utcnow())
        assert has_due(connection, later(1))
    with pytest.raises(AlreadyPruning):
        prune(box.runtime, utcnow(), only_if_due=True)


def test_who_was_taken_over_from_stops(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PORTION", 1)
    for index in range(3):
        box.send(number(index))
    box.change(state=MessageState.DELIVERED)

    def another_takes_over(_: object) -> None:
        with writing(box.engine) as connection:
            connection.execute(update(maintenance_lock).values(lease_owner="another"))

    monkeypatch.setattr(retention, "_pause", another_takes_over)
    with pytest.raises(AlreadyPruning, match="taken over the pruning"):
        prune(box.runtime, later(401))
    assert len(box.states()) == 2


@pytest.mark.parametrize("only_for_an_account", [False, True])
def test_nothing_goes_that_the_guard_against_duplicates_compares_with(only_for_an_account: bool) -> None:
    now, window = utcnow(), timedelta(days=100)
    general = {} if only_for_an_account else {"policy": Policy(duplicate_window=window)}
    own = PolicyOverride(duplicate_window=window) if only_for_an_account else None
    accounts = {"main": Account(uid="u", token="t", from_number="+14155550100", policy=own)}
    kept = Retention(texts=30 * DAY, keys=30 * DAY, history=30 * DAY)
    at = horizon(Settings(accounts=accounts, retention=kept, **general), None, now)
    assert at.texts is not None
    assert at.keys is not None
    assert at.texts < now - 100 * DAY
    assert at.keys < now - 100 * DAY


@pytest.mark.parametrize(("key", "value"), [("texts", "29d"), ("keys", "1d"), ("events", "6d"), ("runs", "never")])
def test_what_is_needed_cannot_be_configured_away(key: str, value: str) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate({key: value})
    assert Retention.model_validate({key: "keep"}).model_dump(mode="json")[key] == "keep"


KEPT_CONTACTS = Retention(contacts=timedelta(days=60))
LEFT = "contacts that left every CRM"


def with_retention(world: World, kept: Retention = KEPT_CONTACTS) -> FakeRuntime:
    runtime = world.runtime()
    runtime.settings = runtime.settings.model_copy(update={"retention": kept})
    return runtime


def goes(world: World, days: float, kept: Retention = KEPT_CONTACTS) -> dict[str, int]:
    return {one.what: one.count for one in prune(with_retention(world, kept), later(days)) if one.count}


def left_the_crm(world: World) -> None:
    """Anna was welcomed, then her record was deleted; Ben is still there."""
    world.triggers["welcome"] = CreatedTrigger(connections="crm", on="created", message="Hello")
    world.triggers["moved"] = ChangedTrigger(connections="crm", on="changed", field="city", message="Welcome there")
    world.source.put("2", number(2), "Ben", city="Rome")
    world.sync()
    world.source.put("1", number(1), "Anna", "anna@example.com", city="Oslo")
    world.sync()
    world.source.put("1", number(1), "Anna", "anna@example.com", city="Bern")
    world.sync_and_push()
    deliver_due(world.runtime())
    read_list(world.runtime(), "main")
    with writing(world.engine) as connection:
        add_opt_out(connection, number(3), source="cli", detail="", now=utcnow())
    del world.source.records["1"]
    world.sync(accept_removals=True)


def test_a_contact_that_left_every_crm_goes_and_is_not_welcomed_again(world: World) -> None:
    left_the_crm(world)
    before = [(row.id, row.idempotency_key, row.to_number) for row in world.messages()]
    assert len(before) == 2
    assert goes(world, 3000, Retention(texts=None, keys=None, history=None, events=None, runs=None)) == {}
    assert {row.phone for row in world.rows(contact)} == {number(1), number(2)}
    assert LEFT not in goes(world, 59)
    gone = goes(world, 61)
    assert gone[LEFT] == 1
    assert {row.phone for row in world.rows(contact)} == {number(2)}
    assert [(row.id, row.idempotency_key, row.to_number) for row in world.messages()] == before
    copy = world.mapping("1")
    assert (copy.properties, copy.full_name, copy.email, copy.record_hash, copy.contact_id) == ("{}", "", "", b"", None)
    assert not any("Anna" in str(row) for row in world.rows(contact_mapping))
    world.source.put("1", number(1), "Anna", "anna@example.com", city="Bern")
    assert world.plan().texts == []
    world.sync_and_push()
    assert len(world.messages()) == 2, "neither a second welcome, nor a text about the same city"
    assert world.contact(number(1)).virtualtext_id == world.virtualtext.by_phone(number(1)).id
    assert world.virtualtext.phones()[number(1)] == 1, "it was adopted, and not created twice"
    world.source.put("1", number(1), "Anna", "anna@example.com", city="Nice")
    world.sync()
    assert len(world.messages()) == 3, "what happens from now on has a key of its own"


@pytest.mark.parametrize(
    "why", ["a text waits", "its list cannot be read", "its list is old", "it is being written", "another record"]
)
def test_a_contact_stays_while_something_needs_it(world: World, why: str) -> None:
    left_the_crm(world)
    with writing(world.engine) as connection:
        if why == "a text waits":
            connection.execute(update(message).values(state=MessageState.HELD))
        elif why == "its list cannot be read":
            connection.execute(update(account_state).values(list_unavailable_at=utcnow()))
        elif why == "its list is old":
            connection.execute(update(account_state).values(listed_at=PAST))
        elif why == "it is being written":
            connection.execute(update(contact).values(push_state="unknown"))
        else:
            anna = connection.scalar(select(contact_mapping.c.contact_id).where(contact_mapping.c.external_id == "1"))
            connection.execute(update(contact_mapping).values(contact_id=anna))
    goes(world, 61)
    assert number(1) in {row.phone for row in world.rows(contact)}


def test_a_trigger_that_texts_once_about_a_record_does_so_once(world: World) -> None:
    world.triggers["vip"] = EnteredTrigger(
        connections="crm", on="entered", condition="vip", message="Hi", again="never"
    )
    world.source.put("1", number(1), "Anna", vip="")
    world.sync()
    world.source.put("1", number(1), "Anna", vip="1")
    world.sync_and_push()
    deliver_due(world.runtime())
    del world.source.records["1"]
    world.sync(accept_removals=True)
    read_list(world.runtime(), "main")
    assert goes(world, 61)[LEFT] == 1
    for vip in ("", "1"):
        world.source.put("1", number(1), "Anna", vip=vip)
        world.sync()
    assert len(world.messages()) == 1
