"""On every kind of store: what is shown before a decision, what it may touch, and what the people of an account see."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from tests.messages.conftest import PAST, Outbox, number
from worker.core.shown import NotAsShown
from worker.core.states import MessageState
from worker.deliveries.listing import count_deliveries, find_deliveries, retry_deliveries
from worker.doctor.status import overview
from worker.messages.consents import add_consent, consents_known_to
from worker.messages.decisions import (
    approve,
    cancel,
    decide_review,
    resolve,
    retry,
    was_decided,
)
from worker.messages.explain import explain
from worker.messages.opt_outs import add_opt_out, last_review_end, open_review, open_reviews, opt_outs_after
from worker.messages.previews import WaitingApproval, preview, waiting_approvals
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.tables import contact, delivery

S = MessageState
HELD = {"state": S.HELD, "reason": "approval: 3 people", "batch_id": "b1"}


def held(box: Outbox, index: int = 0, **more: Any) -> str:
    return box.trigger_text("ready", number(index), key=new_message_id(), **(HELD | more))


def test_what_is_previewed_is_what_is_decided(box: Outbox) -> None:
    held(box), held(box), held(box, 1), held(box, 2, account="other")
    held(box, 3, reason="review: the reply may mean STOP"), held(box, 4, state=S.QUEUED, reason="")
    assert waiting_approvals(box.runtime) == [
        WaitingApproval("main", "b1", "ready", 3, 2),
        WaitingApproval("other", "b1", "ready", 1, 1),
    ]
    assert waiting_approvals(box.runtime, accounts=["other"]) == [WaitingApproval("other", "b1", "ready", 1, 1)]
    shown = preview(box.runtime, "approve", batch_id="b1", accounts=["main"], limit=2)
    assert (shown.texts, shown.people, [one.to_number for one in shown.messages]) == (3, 2, [number(1), number(0)])
    every = preview(box.runtime, "cancel", trigger="ready", limit=1)
    assert (every.texts, every.people) == (6, 5)
    with pytest.raises(NotAsShown, match="3 texts match now, and you were shown 2"):
        approve(box.runtime, batch_id="b1", accounts=["main"], shown=2, actor="ann")
    assert sum(state is S.HELD for state in box.states().values()) == 5, "nothing was done"
    assert shown.until is not None
    newer = held(box)
    seen: dict[str, Any] = {"accounts": ["main"], "shown": 3, "until": shown.until, "actor": "ann"}
    assert approve(box.runtime, batch_id="b1", **seen) == 3
    assert approve(box.runtime, batch_id="b1", **seen) == 0
    box.change(newer, state=S.QUEUED)
    with pytest.raises(NotAsShown):
        cancel(box.runtime, trigger="ready", shown=6, actor="ann")
    assert cancel(box.runtime, trigger="ready", test=True, actor="ann") == 0
    assert cancel(box.runtime, trigger="ready", shown=7, actor="ann") == 7


def test_it_is_known_which_decision_was_taken_last(box: Outbox) -> None:
    ids = [held(box, index) for index in range(3)]
    approve(box.runtime, message_ids=ids[:2], actor="ann")
    cancel(box.runtime, message_ids=ids[1:2], actor="bob")
    with reading(box.engine) as db:
        assert was_decided(db, ids, "approve") == {ids[0]}
        assert was_decided(db, ids, "cancel") == {ids[1]}
        assert was_decided(db, ids, "drop") == set()


def test_a_decision_about_the_texts_of_others_finds_nothing(box: Outbox) -> None:
    refused, lost = held(box, state=S.REJECTED), held(box, state=S.UNKNOWN)
    assert retry(box.runtime, [refused], "ann", accounts=["other"]) == 0
    assert retry(box.runtime, [refused], "ann", accounts=["main"], test=False) == 1
    with pytest.raises(LookupError):
        resolve(box.runtime, lost, "drop", "ann", accounts=["other"])
    resolve(box.runtime, lost, "drop", "ann", accounts=["main"])


def test_a_review_is_for_those_who_got_the_reply(box: Outbox) -> None:
    with writing(box.engine) as db:
        open_review(db, number(0), excerpt="stop it lol", inbound_id=None, since=PAST, account="main")
        open_review(db, number(1), excerpt="stop it", inbound_id=None, since=PAST, account="other")
    read = box.last_reply(number(0))
    with reading(box.engine) as db:
        assert [one.phone for one in open_reviews(db, ["main"])] == [number(0)]
        assert last_review_end(db, number(0)) is None
    with pytest.raises(LookupError):
        decide_review(box.runtime, number(1), "continue", "ann", last_at=read, only_of=["main"])
    with pytest.raises(LookupError):
        decide_review(box.runtime, number(1), "opt_out", "ann", only_of=["main"])
    decide_review(box.runtime, number(0), "opt_out", "ann", only_of=["main"])
    with reading(box.engine) as db:
        assert last_review_end(db, number(0)) == "ann read the reply: opted out"
        (out,) = opt_outs_after(db, "", 10)
    assert (out[0], out[1].account) == (number(0), "main")


def test_opt_outs_are_read_in_pages_and_by_account(box: Outbox) -> None:
    with writing(box.engine) as db:
        for index, account in enumerate(("main", "other", "", "other")):
            add_opt_out(db, number(index), source="cli", detail="asked", now=PAST, actor="ann", account=account)
        row = {"account": "main", "phone": number(3), "wanted_hash": b"1", "created_at": PAST}
        db.execute(insert(contact), row)
    with reading(box.engine) as db:
        assert [phone for phone, _ in opt_outs_after(db, number(0), 2)] == [number(1), number(2)]
        assert [phone for phone, _ in opt_outs_after(db, "", 9, ["main"])] == [number(0), number(3)]


def test_an_explanation_for_some_accounts_has_nothing_of_others(box: Outbox) -> None:
    own = held(box)
    held(box, account="other")
    with writing(box.engine) as db:
        add_opt_out(db, number(0), source="cli", detail="asked the other", now=PAST, actor="ann", account="other")
        for account in ("main", "other"):
            add_consent(db, number(0), source="http", words=account, now=PAST, actor="ann", account=account)
    found = explain(box.runtime, number(0), ["main"])
    assert [one.id for one in found.messages] == [own]
    assert found.opted_out is not None
    assert (found.opted_out.source, found.opted_out.detail, found.opt_out_history) == ("", "", ())
    assert [one.words for one in found.consents] == ["main"]
    assert (found.texts_last_24h, found.standings) == (None, ())
    whole = explain(box.runtime, number(0))
    assert (len(whole.messages), len(whole.consents), len(whole.opt_out_history)) == (2, 2, 1)
    with reading(box.engine) as db:
        assert len(consents_known_to(db, box.runtime.settings, number(0), ())) == 2


def test_deliveries_are_repeated_as_far_as_they_were_shown(box: Outbox) -> None:
    row = {"target": "subscriber:shop", "type": "message.sent", "payload": "{}", "created_at": PAST, "due_at": PAST}
    with writing(box.engine) as db:
        for state, target in (("failed", "crm:people:1"), ("failed", "crm:shop:2"), ("done", "crm:people:3")):
            db.execute(insert(delivery), row | {"event_id": new_message_id(), "state": state, "target": target})
    found = find_deliveries(box.runtime, receivers=["crm:people"], limit=9)
    assert [one.target for one in found] == ["crm:people:3", "crm:people:1"]
    assert find_deliveries(box.runtime, before=found[1].id) == []
    assert count_deliveries(box.runtime, receivers=["crm:people"]) == {"failed": 1, "due": 0}
    with pytest.raises(NotAsShown, match="2 deliveries match now, and you were shown 1"):
        retry_deliveries(box.runtime, failed_only=True, shown=1)
    assert retry_deliveries(box.runtime, failed_only=True, receivers=["crm:people"], shown=1) == 1
    assert count_deliveries(box.runtime) == {"failed": 1, "due": 1}


def test_the_status_of_some_accounts_counts_theirs(box: Outbox) -> None:
    held(box), held(box, 1, account="other"), held(box, 2, account="other", state=S.UNKNOWN)
    found = [one.found for one in overview(box.runtime, accounts=["main"]).attention]
    assert found == ["1 text of one sync waiting for approval"]
    assert "2 texts of one sync waiting for approval" in [one.found for one in overview(box.runtime).attention]
