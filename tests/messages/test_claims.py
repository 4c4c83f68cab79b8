"""Nobody else works on what one has claimed, and a vanished worker's claims are settled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.messages.conftest import Outbox, number
from worker.core.states import MessageState
from worker.messages.claims import MessageClaim, claim_records, claim_sends, expire_leases, release_unstarted
from worker.store.db import writing
from worker.store.models import utcnow


def claim(box: Outbox, limit: int = 100, **more: object) -> MessageClaim:
    with writing(box.engine) as connection:
        return claim_sends(connection, utcnow(), 60, limit, account="main", **more)


def ids(claim: MessageClaim) -> list[str]:
    return [message_id for conversation in claim.conversations for message_id in conversation]


def test_a_claimed_message_is_nobody_elses(box: Outbox) -> None:
    sends = [box.send(number(i)) for i in range(3)]
    assert ids(claim(box, limit=2)) == sends[:2]  # oldest first
    assert ids(claim(box)) == sends[2:]
    assert ids(claim(box)) == []


def test_a_claim_leaves_the_message_queued_until_its_request(box: Outbox) -> None:
    send = box.send()
    claim(box)
    assert box.state(send) is MessageState.QUEUED


def test_a_claim_that_ran_out_or_was_given_back_can_be_taken_again(box: Outbox) -> None:
    send = box.send()
    claim(box)
    box.leases_run_out()
    second = claim(box)
    assert ids(second) == [send]
    with writing(box.engine) as connection:
        assert release_unstarted(connection, second.lease.owner) == 1
    assert ids(claim(box)) == [send]


def test_only_what_is_due_is_claimed(box: Outbox) -> None:
    box.send(number(1), send_at=utcnow() + timedelta(hours=1))
    box.record("SM1")
    due = box.send(number(2))
    assert ids(claim(box)) == [due]


def test_only_the_messages_that_were_named(box: Outbox) -> None:
    sends = [box.send(number(i)) for i in range(3)]
    assert ids(claim(box, message_ids=[sends[1], "0" * 32])) == [sends[1]]


def test_a_conversation_keeps_its_order_within_a_claim(box: Outbox) -> None:
    first, other, second = box.send(number(1), "one"), box.send(number(2)), box.send(number(1), "two")
    assert set(claim(box).conversations) == {(first, second), (other,)}


def test_many_workers_share_the_work_without_overlap(box: Outbox) -> None:
    sends = [box.send(number(i)) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: claim(box, limit=7), range(8)))
    claimed = [message_id for one in claims for message_id in ids(one)]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) | set(ids(claim(box))) == set(sends)


@pytest.mark.parametrize(("kind", "after"), [("send", MessageState.UNKNOWN), ("record", MessageState.QUEUED)])
def test_what_a_vanished_worker_had_on_the_wire(box: Outbox, kind: str, after: MessageState) -> None:
    one = box.send() if kind == "send" else box.record("SM1")
    now = utcnow()
    started = now - timedelta(minutes=2)
    box.change(one, state="dispatching", lease_owner="gone", lease_until=now, attempted_at=started, attempts=1)
    with writing(box.engine) as connection:
        unknown = expire_leases(connection, now)
    assert box.state(one) is after
    assert box.row(one).lease_owner is None
    assert [moved.id for moved in unknown] == ([one] if kind == "send" else [])
    if kind == "send":
        reason = box.row(one).reason
        assert f"at {started:%H:%M:%S} UTC vanished" in reason
        assert f"vtsync resolve {one} --sent" in reason


def test_a_damaged_row_of_a_vanished_worker_does_not_stop_the_others(box: Outbox) -> None:
    damaged, other = box.send(number(1)), box.send(number(2))
    now = utcnow()
    box.change(damaged, state="dispatching", lease_owner="gone", lease_until=now, attempted_at=None)
    box.change(other, state="dispatching", lease_owner="gone", lease_until=now, attempted_at=now)
    with writing(box.engine) as connection:
        expire_leases(connection, now)
    assert box.state(damaged) is box.state(other) is MessageState.UNKNOWN
    assert "at an unknown time" in box.row(damaged).reason


def test_a_request_that_is_still_running_is_left_alone(box: Outbox) -> None:
    send = box.send()
    box.change(send, state="dispatching", lease_owner="busy", lease_until=utcnow() + timedelta(seconds=30))
    with writing(box.engine) as connection:
        assert expire_leases(connection, utcnow()) == []
    assert box.state(send) is MessageState.DISPATCHING


def test_one_record_of_a_conversation_at_a_time_oldest_text_first(box: Outbox) -> None:
    now = utcnow()
    later = box.record("SM2", sent_at=now - timedelta(minutes=1))
    earlier = box.record("SM1", sent_at=now - timedelta(minutes=2))
    other = box.record("SM3", number(1))

    def claim_ids() -> list[str]:
        with writing(box.engine) as connection:
            return ids(claim_records(connection, utcnow(), 60, 100, account="main"))

    assert set(claim_ids()) == {earlier, other}
    assert claim_ids() == []
    box.change(earlier, state="dispatching")
    assert claim_ids() == []
    box.change(earlier, state="queued", lease_owner=None, lease_until=None, due_at=now + timedelta(hours=1))
    assert claim_ids() == []  # it backs off, and what came after it waits
    box.change(earlier, state="rejected")
    assert claim_ids() == [later]
    box.change(earlier, state="queued", due_at=now)  # a person's retry meets the later one in work
    assert claim_ids() == []
