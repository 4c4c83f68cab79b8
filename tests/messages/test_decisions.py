"""What people decide is conditional, and kept with who decided it and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, select

from config.models import Policy
from tests.messages.conftest import Outbox, number
from worker.core.states import MessageState
from worker.messages.decisions import NothingChosen, WrongState, approve, cancel, resolve, retry
from worker.messages.delivery import deliver_due
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.tables import message_event
from worker.virtualtext.outcomes import Cause, Outcome, Status

# On SQLite alone: test_policy_database asks the same statements of PostgreSQL.
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

S = MessageState
LOST: Any = Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT, detail="no answer")


def last_event(box: Outbox, message_id: str) -> Row[Any]:
    events = select(message_event).where(message_event.c.message_id == message_id).order_by(message_event.c.id.desc())
    with reading(box.engine) as connection:
        return connection.execute(events.limit(1)).one()


def lost(box: Outbox) -> str:
    box.client.answer = lambda body, call: LOST
    sent = box.send()
    deliver_due(box.runtime)
    assert box.state(sent) is S.UNKNOWN
    return sent


@pytest.mark.parametrize(
    ("verdict", "state", "code"),
    [("sent", S.CONFIRMED, "resolved"), ("resend", S.QUEUED, "resend"), ("drop", S.CANCELLED, "dropped")],
)
def test_an_unknown_text_is_settled_once_by_somebody(box: Outbox, verdict: Any, state: S, code: str) -> None:
    sent, before = lost(box), utcnow()
    resolve(box.runtime, sent, verdict, "ann")
    event = last_event(box, sent)
    assert (event.from_state, event.to_state, event.actor) == (S.UNKNOWN, state, "ann")
    assert event.reason.startswith(f"{code}: ann ")
    assert before <= event.at <= utcnow()
    for again in ("sent", "resend", "drop"):
        with pytest.raises(WrongState, match=f"is {state}; only an unknown one"):
            resolve(box.runtime, sent, again, "bob")  # type: ignore[arg-type]
    assert last_event(box, sent).actor == "ann"


def test_only_what_a_person_wants_again_is_sent_again(box: Outbox) -> None:
    dropped, resent = lost(box), lost(box)
    resolve(box.runtime, dropped, "drop", "ann")
    resolve(box.runtime, resent, "resend", "ann")
    before = len(box.client.sent)
    box.client.answer = lambda body, call: Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT)
    deliver_due(box.runtime)
    assert len(box.client.sent) == before + 1
    assert box.state(dropped) is S.CANCELLED


def test_a_resend_gets_new_time_when_it_has_expired_meanwhile(box: Outbox) -> None:
    sent = lost(box)
    box.change(sent, expires_at=utcnow() - timedelta(hours=1))
    resolve(box.runtime, sent, "resend", "ann")
    expires_at = box.row(sent).expires_at
    assert expires_at is not None
    assert expires_at > utcnow() + Policy().expires_after - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("decide", "before", "after", "code"),
    [
        (cancel, S.QUEUED, S.CANCELLED, "cancelled"),
        (cancel, S.HELD, S.CANCELLED, "cancelled"),
        (approve, S.HELD, S.QUEUED, "approved"),
    ],
)
def test_approving_and_cancelling_is_kept_with_who_did_it(
    box: Outbox, decide: Any, before: S, after: S, code: str
) -> None:
    mine, other = box.send(), box.send(number(1))
    box.change(state=before, reason="approval: too many")
    assert decide(box.runtime, message_ids=[mine], actor="ann") == 1
    assert decide(box.runtime, message_ids=[mine], actor="bob") == 0
    event = last_event(box, mine)
    assert (event.from_state, event.to_state, event.actor, event.reason) == (before, after, "ann", f"{code}: by ann")
    assert box.state(other) is before
    with pytest.raises(NothingChosen):
        decide(box.runtime, actor="ann")


@pytest.mark.parametrize("code", ["run", "review", "time_zone"])
def test_approving_does_not_release_what_waits_for_something_else(box: Outbox, code: str) -> None:
    held = box.send()
    box.change(held, state=S.HELD, reason=f"{code}: it waits")
    assert approve(box.runtime, message_ids=[held], actor="ann") == 0
    assert box.state(held) is S.HELD


def test_an_approved_text_keeps_the_time_that_it_was_to_go_at(box: Outbox) -> None:
    later = utcnow() + timedelta(hours=3)
    held = box.send(send_at=later)
    box.change(held, state=S.HELD, reason="approval: too many")
    approve(box.runtime, message_ids=[held], actor="ann")
    assert box.row(held).due_at == later


@pytest.mark.parametrize("state", [S.ACCEPTED, S.UNKNOWN, S.SUPPRESSED, S.EXPIRED, S.CANCELLED, S.DELIVERED])
def test_what_may_have_gone_or_must_not_go_is_never_retried(box: Outbox, state: S) -> None:
    sent = box.send()
    box.change(sent, state=state)
    assert retry(box.runtime, [sent], "ann") == 0
    assert box.state(sent) is state
