"""Why did this person get, or not get, this text? All of it, in order."""

from __future__ import annotations

from sqlalchemy import insert

from tests.messages.conftest import PAST, Outbox, number
from worker.core.states import MessageState, PushState
from worker.messages.delivery import deliver_due
from worker.messages.explain import explain
from worker.messages.opt_outs import add_opt_out
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import contact, contact_event, contact_mapping, rejected_record
from worker.virtualtext.outcomes import Cause, Outcome, Status


def crm(box: Outbox) -> None:
    values = {"account": "main", "full_name": "Ann", "email": "", "wanted_hash": b"1", "push_state": "synced"}
    more = {"attempts": 0, "last_error": "", "created_at": PAST}
    row = {
        "record_hash": b"1",
        "properties": "{}",
        "first_seen_at": PAST,
        "changed_at": PAST,
        "email": "",
        "revision": 1,
    }
    with writing(box.engine) as connection:
        for key, phone in ((1, number(0)), (2, number(1))):
            connection.execute(insert(contact).values(id=key, phone=phone, **values, **more))
        for external_id, key in (("a", 1), ("b", 1), ("c", 2)):
            mapping = {"connection": "crm", "external_id": external_id, "contact_id": key, "full_name": external_id}
            connection.execute(insert(contact_mapping).values(**row, **mapping))
        connection.execute(insert(contact_event).values(contact_id=1, at=PAST, kind="created", detail="from a"))
        for key in ("b", "z"):
            rejected = {"code": "no_phone", "reason": "it has no phone number", "where": "row 3", "excerpt": ""}
            times = {"since": PAST, "seen_at": PAST}
            connection.execute(insert(rejected_record).values(connection="crm", key=key, **rejected, **times))


def test_everything_about_a_number_in_order(box: Outbox) -> None:
    crm(box)
    moved = box.send(text="about somebody else's record now")
    box.change(moved, connection="crm", external_id="c")
    send = box.send(text="hello")
    box.send(number(1), "not about this number")
    box.client.answer = lambda body, call: Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT, detail="no answer")
    deliver_due(box.runtime)
    with writing(box.engine) as connection:
        add_opt_out(connection, number(0), source="relay", detail="STOP", now=utcnow())

    found = explain(box.runtime, number(0))

    assert found.known
    assert found.opted_out is not None
    assert found.opted_out.detail == "STOP"
    (one,) = found.contacts
    assert (one.full_name, one.push_state, one.events) == ("Ann", PushState.SYNCED, ((PAST, "created", "from a"),))
    assert [(record.external_id, record.belongs) for record in one.records] == [("a", True), ("b", True)]
    assert [(record.external_id, record.belongs) for record in found.other_records] == [("c", False)]
    assert [rejection.key for rejection in found.rejections] == ["b"]
    assert [message.id for message in found.messages] == [moved, send]
    assert found.messages[0].state is MessageState.SUPPRESSED
    assert [(step.before, step.after, step.attempt) for step in found.messages[1].steps] == [
        (None, "queued", 0),
        ("queued", "dispatching", 1),
        ("dispatching", "unknown", 1),
    ]
    assert "no answer" in found.messages[1].steps[-1].reason


def test_a_number_that_was_never_met(box: Outbox) -> None:
    found = explain(box.runtime, number(5))
    assert not found.known
    assert found.messages == ()
