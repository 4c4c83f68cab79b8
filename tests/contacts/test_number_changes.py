"""Somebody who opted out, or may have, is not texted under the new number that the CRM has for them."""

from __future__ import annotations

from sqlalchemy import select

from tests.contacts.conftest import World
from worker.messages.opt_outs import add_opt_out, open_review, open_reviews, opted_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import opt_out_event, public_event

ANNA, BORIS = "+14155550101", "+14155550102"


def test_a_sync_carries_opt_outs_and_reviews_to_a_changed_number(world: World) -> None:
    world.source.put("17", ANNA, "Anna")
    world.sync()
    with writing(world.engine) as db:
        add_opt_out(db, ANNA, source="relay", detail='wrote "STOP"', now=utcnow())
        open_review(db, ANNA, excerpt="please leave me alone", inbound_id=None, since=utcnow())
    world.source.put("17", BORIS, "Anna")
    world.sync()
    with reading(world.engine) as db:
        found = opted_out(db, [ANNA, BORIS])
        reviews = {one.phone: one.excerpt for one in open_reviews(db)}
        proofs = db.scalars(select(opt_out_event.c.phone).order_by(opt_out_event.c.id)).all()
        told = db.execute(select(public_event).order_by(public_event.c.id)).all()
    assert {phone: one.source for phone, one in found.items()} == {ANNA: "relay", BORIS: "number_changed"}
    assert "the CRM record crm 17 has a new number" in found[BORIS].detail
    assert ANNA in found[BORIS].detail
    assert reviews[BORIS].startswith("please leave me alone")
    assert list(proofs) == [ANNA, BORIS]
    assert [(row.type, row.phone, row.account) for row in told] == [
        ("contact.opted_out", ANNA, ""),
        ("contact.review_opened", ANNA, ""),
        ("contact.opted_out", BORIS, "main"),
        ("contact.review_opened", BORIS, "main"),
    ]
