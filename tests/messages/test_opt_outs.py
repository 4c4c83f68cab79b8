"""Opt-outs and reviews: one writer, a proof for each change, and a changed number in the CRM loses neither."""

from __future__ import annotations

import ast
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

import worker
from tests.messages.conftest import PAST, Outbox, number
from worker.core.states import MessageState
from worker.messages.decisions import OthersReply, ReplyNotAsShown, decide_review
from worker.messages.delivery import deliver_due
from worker.messages.explain import explain
from worker.messages.opt_outs import (
    NumberChange,
    add_opt_out,
    follow_numbers,
    open_review,
    open_reviews,
    opted_out,
    remove_opt_out,
)
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import number_review, opt_out_event, public_event, review_event

OLD, NEW, NEWER = number(0), number(1), number(2)


def opts_out(box: Outbox, phone: str) -> None:
    with writing(box.engine) as connection:
        add_opt_out(connection, phone, source="relay", detail='wrote "STOP"', now=utcnow(), actor="relay")


def may_opt_out(box: Outbox, phone: str, excerpt: str = "please leave me alone", *, account: str = "main") -> None:
    with writing(box.engine) as connection:
        open_review(connection, phone, excerpt=excerpt, inbound_id="i1", since=utcnow(), account=account)


def follow(box: Outbox, *changes: tuple[str, str]) -> list[str]:
    """Returns the statements that it took."""
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement.split(" ", 1)[0])

    with writing(box.engine) as connection:
        event.listen(box.engine, "before_cursor_execute", note)
        follow_numbers(connection, [NumberChange(*change, "crm 17") for change in changes], "main", utcnow())
        event.remove(box.engine, "before_cursor_execute", note)
    return statements


def out(box: Outbox) -> dict[str, str]:
    with reading(box.engine) as connection:
        return {phone: one.source for phone, one in opted_out(connection, [OLD, NEW, NEWER]).items()}


@pytest.mark.parametrize(
    ("known_through", "told_again", "owner"),
    [("main", None, "main"), ("main", "main", "main"), ("main", "other", ""), ("main", "", ""), ("", "main", "")],
)
def test_an_opt_out_belongs_to_the_account_that_alone_knows_of_it(
    box: Outbox, known_through: str, told_again: str | None, owner: str
) -> None:
    with writing(box.engine) as connection:
        for account in (known_through, told_again):
            if account is not None:
                add_opt_out(connection, OLD, source="relay", detail="", now=utcnow(), account=account)
        assert opted_out(connection, [OLD])[OLD].account == owner
        for stranger in {"main", "other"} - {owner}:
            assert not remove_opt_out(connection, OLD, source="http", detail="", now=utcnow(), only_of=[stranger])
        assert remove_opt_out(connection, OLD, source="http", detail="", now=utcnow(), only_of=[owner] if owner else [])


@pytest.mark.parametrize(("before", "after"), [("main", "main"), ("other", ""), ("", "")])
def test_a_new_number_makes_no_opt_out_of_another_account_ones_own(box: Outbox, before: str, after: str) -> None:
    with writing(box.engine) as connection:
        add_opt_out(connection, OLD, source="relay", detail="", now=utcnow(), account=before)
    follow(box, (OLD, NEW), (NEW, NEWER))  # records of the account "main"
    with reading(box.engine) as connection:
        assert {one.account for phone, one in opted_out(connection, [NEW, NEWER]).items()} == {after}


def proofs(box: Outbox) -> list[tuple[str, bool, str, str]]:
    rows = select(opt_out_event).order_by(opt_out_event.c.id)
    with reading(box.engine) as connection:
        return [(row.phone, row.opted_out, row.source, row.actor) for row in connection.execute(rows)]


def published(box: Outbox) -> list[tuple[str, str, str]]:
    rows = select(public_event).where(public_event.c.type.startswith("contact.")).order_by(public_event.c.id)
    with reading(box.engine) as connection:
        return [(row.type, row.phone, row.account) for row in connection.execute(rows)]


def reviews(box: Outbox) -> dict[str, str]:
    with reading(box.engine) as connection:
        return {one.phone: one.excerpt for one in open_reviews(connection)}


def test_an_opt_out_follows_a_changed_number_with_its_proof_and_its_event(box: Outbox) -> None:
    opts_out(box, OLD)
    follow(box, (OLD, NEW))
    assert out(box) == {OLD: "relay", NEW: "number_changed"}
    assert proofs(box)[1:] == [(NEW, True, "number_changed", "sync")]
    assert published(box)[1:] == [("contact.opted_out", NEW, "main")]
    with reading(box.engine) as connection:
        detail = opted_out(connection, [NEW])[NEW].detail
    assert detail.startswith(f"follows the opt-out of {OLD}: the CRM record crm 17 has a new number")
    assert f"vtsync opt-in {NEW} --why" in detail
    text = box.send(NEW)
    deliver_due(box.runtime)
    assert box.state(text) is MessageState.SUPPRESSED
    assert "vtsync opt-in NUMBER --why" in explain(box.runtime, NEW).standings[0].verdict


def test_a_review_follows_a_changed_number_with_what_was_written(box: Outbox) -> None:
    may_opt_out(box, OLD)
    follow(box, (OLD, NEW))
    assert reviews(box) == {
        OLD: "please leave me alone",
        NEW: f"please leave me alone (written from {OLD}, crm 17's number before)",
    }
    text = box.send(NEW)
    deliver_due(box.runtime)
    assert (box.state(text), box.row(text).reason.split(":")[0]) == (MessageState.HELD, "review")
    assert decide_review(box.runtime, NEW, "continue", "ann", last_at=box.last_reply(NEW)) == 1
    deliver_due(box.runtime)
    assert box.state(text) is MessageState.ACCEPTED
    assert set(reviews(box)) == {OLD}, "each number is decided for itself"
    followed = f"please leave me alone (written from {OLD}, crm 17's number before)"
    assert review_proofs(box) == [
        (OLD, True, "please leave me alone", "relay"),
        (NEW, True, followed, "sync"),
        (NEW, False, "ann read the reply: continue texting", "ann"),
    ]
    assert published(box) == [
        ("contact.review_opened", OLD, "main"),
        ("contact.review_opened", NEW, "main"),
        ("contact.review_ended", NEW, "main"),
    ]
    history = explain(box.runtime, NEW).review_history
    assert [(one.opened, one.detail) for one in history] == [
        (True, followed),
        (False, "ann read the reply: continue texting"),
    ]


def test_a_further_reply_is_shown_and_proven_and_announced_once(box: Outbox) -> None:
    may_opt_out(box, OLD)
    may_opt_out(box, OLD, "I mean it")
    assert reviews(box) == {OLD: "I mean it"}
    assert [detail for *_, detail, _ in review_proofs(box)] == ["please leave me alone", "I mean it"]
    assert published(box) == [("contact.review_opened", OLD, "main")]


LATER: dict[str, tuple[dict[str, Any], str]] = {
    # what comes after the reply that was shown: the difference to it, the account of the review then
    "another reply": ({}, "main"),
    "the same words": ({"excerpt": "stop it lol"}, "main"),
    "a reply that was processed late": ({"since": PAST - timedelta(days=1)}, "main"),
    "a reply to another account": ({"account": "other"}, ""),
    "a carrier's report for another account": ({"account": "other", "inbound_id": None, "excerpt": "(code 414)"}, ""),
    "a report of nobody's account": ({"account": "", "inbound_id": None}, ""),
}


@pytest.mark.parametrize("later", LATER)
def test_to_continue_is_about_what_was_shown(box: Outbox, later: str) -> None:
    reply = {"excerpt": "stop it lol", "inbound_id": "i1", "since": PAST, "account": "main"}
    differs, account = LATER[later]
    further = reply | {"excerpt": "leave me alone", "inbound_id": "i2"} | differs
    with writing(box.engine) as connection:
        open_review(connection, OLD, **reply)
    held = box.send(OLD)
    deliver_due(box.runtime)
    shown = box.last_reply(OLD)
    with writing(box.engine) as connection:
        open_review(connection, OLD, **further)
    with pytest.raises(ReplyNotAsShown, match="wrote again"):
        decide_review(box.runtime, OLD, "continue", "ann", last_at=shown)
    assert box.state(held) is MessageState.HELD
    with reading(box.engine) as connection:
        (review,) = open_reviews(connection)
        assert [one.phone for one in open_reviews(connection, ["main"])] == ([OLD] if account else [])
    assert (review.excerpt, review.since, review.account) == (further["excerpt"], PAST, account)
    if not account:
        with pytest.raises(OthersReply):
            decide_review(box.runtime, OLD, "continue", "ann", last_at=review.last_at, only_of=["main"])
        known = further["account"] != ""
        with reading(box.engine) as connection:
            assert [one.phone for one in open_reviews(connection, ["main", "other"])] == ([OLD] if known else [])
    assert decide_review(box.runtime, OLD, "continue", "ann", last_at=review.last_at) == 1
    assert reviews(box) == {}


def test_the_people_of_all_accounts_of_a_review_decide_about_it(box: Outbox) -> None:
    for account in ("main", "other", "main"):
        may_opt_out(box, OLD, account=account)
    may_opt_out(box, NEW)
    held = box.send(OLD)
    deliver_due(box.runtime)
    both, shown = ["main", "other"], box.last_reply(OLD)
    with reading(box.engine) as connection:
        assert [one.phone for one in open_reviews(connection, both)] == [OLD, NEW]
        assert [one.phone for one in open_reviews(connection, ["main", "third"])] == [NEW]
    may_opt_out(box, OLD, account="third")  # while they read
    with pytest.raises(OthersReply):
        decide_review(box.runtime, OLD, "continue", "ann", last_at=shown, only_of=both)
    assert box.state(held) is MessageState.HELD
    assert decide_review(box.runtime, OLD, "continue", "ann", last_at=box.last_reply(OLD)) == 1
    may_opt_out(box, OLD, account="other")  # the replies of a review that has ended do not count
    may_opt_out(box, OLD, account="main")
    with pytest.raises(ReplyNotAsShown):
        decide_review(box.runtime, OLD, "continue", "ann", last_at=shown, only_of=both)
    decide_review(box.runtime, OLD, "continue", "ann", last_at=box.last_reply(OLD), only_of=both)
    assert reviews(box).keys() == {NEW}


def test_a_review_that_began_after_the_one_that_was_shown_stays(box: Outbox) -> None:
    may_opt_out(box, OLD)
    shown = box.last_reply(OLD)
    decide_review(box.runtime, OLD, "continue", "ann", last_at=shown)
    with writing(box.engine) as connection:
        open_review(connection, OLD, excerpt="hm", inbound_id=None, since=PAST, account="main")
    with pytest.raises(ReplyNotAsShown):
        decide_review(box.runtime, OLD, "continue", "bob", last_at=shown)
    with pytest.raises(ValueError, match="needs the time"):
        decide_review(box.runtime, OLD, "continue", "bob")
    assert reviews(box) == {OLD: "hm"}


def test_a_reply_that_comes_while_somebody_decides_keeps_its_review(box: Outbox) -> None:
    may_opt_out(box, OLD)
    shown, outcome = box.last_reply(OLD), []

    def decide() -> None:
        try:
            outcome.append(decide_review(box.runtime, OLD, "continue", "ann", last_at=shown))
        except ReplyNotAsShown:
            outcome.append("not as shown")

    thread = threading.Thread(target=decide)
    with writing(box.engine) as connection:
        open_review(connection, OLD, excerpt="I mean it", inbound_id="i2", since=utcnow(), account="main")
        thread.start()
        thread.join(0.3)  # it waits for this transaction
        assert outcome == []
    thread.join(20)
    assert outcome == ["not as shown"]
    assert reviews(box) == {OLD: "I mean it"}


def test_the_people_of_one_account_may_always_stop_and_quote_no_text_to_another(box: Outbox) -> None:
    box.send(OLD)
    may_opt_out(box, OLD)
    with writing(box.engine) as connection:
        open_review(connection, OLD, excerpt="a secret", inbound_id=None, since=utcnow(), account="other")
    with pytest.raises(LookupError):
        decide_review(box.runtime, OLD, "opt_out", "ann", only_of=["third"])
    decide_review(box.runtime, OLD, "opt_out", "ann", only_of=["main"])
    with reading(box.engine) as connection:
        stored = opted_out(connection, [OLD])[OLD]
    assert (stored.detail, stored.account) == ("read as an opt-out", "")


@pytest.mark.parametrize(("before", "after"), [("main", "main"), ("other", ""), ("", "")])
def test_a_new_number_makes_no_review_of_another_account_ones_own(box: Outbox, before: str, after: str) -> None:
    with writing(box.engine) as connection:
        open_review(connection, OLD, excerpt="hm", inbound_id=None, since=utcnow(), account=before)
    follow(box, (OLD, NEW))  # a record of the account "main"
    with reading(box.engine) as connection:
        assert connection.scalar(select(number_review.c.account).where(number_review.c.phone == NEW)) == after


def review_proofs(box: Outbox) -> list[tuple[str, bool, str, str]]:
    with reading(box.engine) as connection:
        rows = connection.execute(select(review_event).order_by(review_event.c.id))
        return [(row.phone, row.opened, row.detail, row.actor) for row in rows]


@pytest.mark.parametrize("begin", [opts_out, may_opt_out])
def test_a_number_that_changes_twice_in_one_page_is_followed_to_its_end(box: Outbox, begin: Any) -> None:
    begin(box, OLD)
    follow(box, (OLD, NEW), (NEW, NEWER))
    assert set(out(box) or reviews(box)) == {OLD, NEW, NEWER}


def test_two_records_that_swap_their_numbers_are_both_out(box: Outbox) -> None:
    opts_out(box, OLD)
    follow(box, (OLD, NEW), (NEW, OLD))
    assert out(box) == {OLD: "relay", NEW: "number_changed"}


def test_what_the_new_number_has_already_stays_as_it_is(box: Outbox) -> None:
    for phone in (OLD, NEW):
        opts_out(box, phone)
        may_opt_out(box, phone, f"from {phone}")
    follow(box, (OLD, NEW))
    assert out(box) == {OLD: "relay", NEW: "relay"}
    assert reviews(box) == {OLD: f"from {OLD}", NEW: f"from {NEW}"}
    assert len(proofs(box)) == 2


def test_a_lifted_opt_out_stays_lifted_until_the_number_changes_again(box: Outbox) -> None:
    opts_out(box, OLD)
    follow(box, (OLD, NEW))
    with writing(box.engine) as connection:
        assert remove_opt_out(connection, NEW, source="cli", detail="asked in person", now=utcnow(), actor="ann")
    follow(box, (NEW, NEWER))
    assert out(box) == {OLD: "relay"}


def test_a_page_costs_two_queries_where_there_is_nothing_to_carry_and_none_where_no_number_changed(box: Outbox) -> None:
    assert follow(box) == []
    assert follow(box, *((number(n), number(n + 500)) for n in range(400))) == ["SELECT", "SELECT"]


def test_a_page_of_opt_outs_is_carried_in_bulk(box: Outbox) -> None:
    for n in range(50):
        opts_out(box, number(n))
        may_opt_out(box, number(n))
    assert len(follow(box, *((number(n), number(n + 500)) for n in range(50)))) <= 8
    assert len(proofs(box)) == len(reviews(box)) == len(review_proofs(box)) == 100
    assert len(published(box)) == 200


WRITERS = {"messages/opt_outs.py", "upkeep/retention.py", "store/models.py", "store/tables.py"}
OURS = {
    "opt_out",
    "opt_out_event",
    "number_review",
    "review_event",
    "OptOut",
    "OptOutEvent",
    "NumberReview",
    "ReviewEvent",
}
WRITES = {"insert", "plain_insert", "insert_many", "update", "delete"}
IN_SQL = re.compile(
    r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(opt_out|opt_out_event|number_review|review_event)\b", re.IGNORECASE
)


def writes(tree: ast.AST) -> list[int]:
    """The lines that write one of the three tables, with SQLAlchemy or in SQL."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and IN_SQL.search(node.value):
            found.append(node.lineno)
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        about = [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
        names = {getattr(one, "id", getattr(one, "attr", "")) for one in about}
        if (called in WRITES and names & OURS) or called in {"OptOut", "OptOutEvent", "NumberReview", "ReviewEvent"}:
            found.append(node.lineno)
    return found


def test_nothing_but_this_module_writes_opt_outs_their_proofs_and_reviews() -> None:
    root = Path(worker.__file__).parent
    lines = {
        f"{path.relative_to(root)}:{line}"
        for path in root.rglob("*.py")
        if str(path.relative_to(root)) not in WRITERS and "migrations" not in path.parts
        for line in writes(ast.parse(path.read_text("utf-8")))
    }
    assert lines == set()
    assert len(writes(ast.parse((root / "messages/opt_outs.py").read_text("utf-8")))) == 10, "the test sees writes"
