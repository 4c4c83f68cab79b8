"""The decisions about a page of CRM changes, on plain data: who is bound to whom, what is wanted, what is rejected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_adapters.base import ContactChange
from worker.contacts.decide import ConnectionRules, PageDecision, PageState, decide_page
from worker.contacts.records import NormalisedRecord, digest_record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA, BORIS, CLARA = "+14155550101", "+14155550102", "+14155550103"


def rules_of(connection: str, priority: int, clear_empty: bool) -> ConnectionRules:
    return ConnectionRules(connection, "main", {connection: (priority, clear_empty)})


CRM = rules_of("crm", 100, False)


def record(
    external_id: str,
    phone: str | None = None,
    name: str = "",
    email: str = "",
    *,
    deleted: bool = False,
    at: int = 0,
    **properties: Any,
) -> NormalisedRecord:
    shown = {"phone": phone, "name": name, "email": email, **properties}
    updated = datetime(2026, 1, 1, 0, 0, at, tzinfo=UTC)
    change = ContactChange(external_id, {} if deleted else shown, updated_at=updated, deleted=deleted)
    problem = None if phone or deleted else ("no_phone", "it has no phone number; add one in the CRM")
    return NormalisedRecord(change, *digest_record(change, change.properties, b"salt"), phone, problem, name, email)


def run(state: PageState, *records: NormalisedRecord, rules: ConnectionRules = CRM) -> PageDecision:
    return decide_page(records, state, rules, NOW)


def test_a_new_record_makes_a_contact_and_counts_as_created() -> None:
    state = PageState()
    decision = run(state, record("1", ANNA, "Anna", "anna@example.org"))
    contact = state.by_phone[ANNA]
    assert (contact.phone, contact.full_name, contact.email) == (ANNA, "Anna", "anna@example.org")
    assert [(change.old, change.mapping.external_id) for change in decision.changes] == [(None, "1")]
    assert (decision.added, decision.changed, decision.removed) == (1, 0, [])


def test_two_records_on_one_phone_share_one_contact_and_each_is_new() -> None:
    state = PageState()
    decision = run(state, record("1", ANNA, "Anna"), record("2", ANNA, "", "anna@example.org"))
    assert len(state.by_phone) == 1
    assert (state.by_phone[ANNA].full_name, state.by_phone[ANNA].email) == ("Anna", "anna@example.org")
    new = [(change.mapping.external_id, change.of_known_person) for change in decision.changes]
    assert new == [("1", False), ("2", True)]


def test_the_newest_record_wins_and_the_order_of_arrival_does_not_matter() -> None:
    older, newer = record("1", ANNA, "Old", at=1), record("2", ANNA, "New", at=2)
    for order in ((older, newer), (newer, older)):
        state = PageState()
        run(state, *order)
        assert state.by_phone[ANNA].full_name == "New"


def test_the_connection_with_the_lowest_priority_value_wins_field_by_field() -> None:
    state = PageState()
    run(state, record("1", ANNA, "From the CRM", at=9), rules=rules_of("crm", 100, False))
    other = PageState(by_phone=state.by_phone)
    run(other, record("1", ANNA, "From billing", "", at=1), rules=rules_of("billing", 1, False))
    assert state.by_phone[ANNA].full_name == "From billing"


def test_an_emptied_field_keeps_its_value_unless_the_connection_clears() -> None:
    for clear, expected in ((False, "anna@example.org"), (True, "")):
        state = PageState()
        rules = rules_of("crm", 100, clear)
        run(state, record("1", ANNA, "Anna", "anna@example.org"), rules=rules)
        run(state, record("1", ANNA, "Anna", ""), rules=rules)
        assert state.by_phone[ANNA].email == expected


CLEARS = rules_of("crm", 100, True)


def test_clearing_never_empties_what_only_virtualtext_knew() -> None:
    state = PageState()
    run(state, record("1", ANNA), rules=CLEARS)
    contact = state.by_phone[ANNA]
    contact.full_name, contact.email = "Anna in VirtualText", "anna@example.org"  # as it was adopted
    run(state, record("1", ANNA, city="Rome"), rules=CLEARS)
    assert (contact.full_name, contact.email) == ("Anna in VirtualText", "anna@example.org")


def test_clearing_never_empties_what_a_record_of_another_connection_held() -> None:
    state = PageState()
    both = {"crm": (100, True), "billing": (200, False)}
    run(state, record("1", ANNA, "Anna"), rules=ConnectionRules("crm", "main", both))
    billing = PageState(by_phone=state.by_phone)
    for email in ("anna@example.org", ""):
        run(billing, record("b1", ANNA, "Anna", email), rules=ConnectionRules("billing", "main", both))
    assert state.by_phone[ANNA].email == "anna@example.org"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        # the versions of one record, as (fields, name, email); what VirtualText should have in the end
        ([({"name": "Anna", "mail": "a@b.c"}, "Anna", "a@b.c"), ({"name": "Anna", "mail": ""}, "Anna", "")], ""),
        ([({"name": "Anna", "mail": "a@b.c"}, "Anna", "a@b.c"), ({"name": "Anna"}, "Anna", "")], "a@b.c"),
        (
            [
                ({"name": "Anna", "mail": "a@b.c"}, "Anna", "a@b.c"),
                ({"name": "Anna"}, "Anna", ""),
                ({"name": "Ann"}, "Ann", ""),
            ],
            "a@b.c",
        ),
        (
            [
                ({"name": "Anna", "mail": "a@b.c"}, "Anna", "a@b.c"),
                ({"name": "Anna"}, "Anna", ""),
                ({"name": "Anna", "mail": ""}, "Anna", ""),
            ],
            "",
        ),
        ([({"mail": "", "mail2": "a@b.c"}, "Anna", "a@b.c"), ({"mail": ""}, "Anna", "")], "a@b.c"),
        ([({"mail": "a@b.c", "old": ""}, "Anna", "a@b.c"), ({"mail": ""}, "Anna", "")], ""),
        ([({"mail": "a@b.c"}, "Anna", "a@b.c"), ({"work_mail": "x@y.z"}, "Anna", "x@y.z")], "x@y.z"),
    ],
    ids=[
        "emptied",
        "the column vanished",
        "the column vanished, and then the name changes",
        "the column vanished and came back empty",
        "one of two columns vanished",
        "an empty column vanished",
        "the column was renamed",
    ],
)
def test_clearing_needs_a_field_that_is_there_and_empty(
    versions: list[tuple[dict[str, str], str, str]], expected: str
) -> None:
    state = PageState()
    for fields, name, email in versions:
        change = ContactChange("1", {"phone": ANNA, **fields})
        digest = digest_record(change, change.properties, b"salt")
        run(state, NormalisedRecord(change, *digest, ANNA, None, name, email), rules=CLEARS)
    assert state.by_phone[ANNA].email == expected


def test_a_changed_phone_renumbers_the_same_contact() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna"))
    contact = state.by_phone[ANNA]
    decision = run(state, record("1", BORIS, "Anna"))
    assert state.by_phone == {BORIS: contact}
    assert contact.phone == BORIS
    assert decision.moved_numbers == [(ANNA, BORIS, "1")]


def test_a_changed_phone_that_is_another_contacts_already_moves_the_record() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna"), record("2", BORIS, "Boris"))
    anna, boris = state.by_phone[ANNA], state.by_phone[BORIS]
    run(state, record("1", BORIS, "Anna", at=5))
    assert state.mappings["1"].contact is boris
    assert (anna.phone, boris.phone, boris.full_name) == (ANNA, BORIS, "Anna")
    assert anna.live == {}


def test_a_changed_phone_leaves_the_contact_to_the_records_that_still_have_it() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna", at=1), record("2", ANNA, "Shared", at=2))
    shared = state.by_phone[ANNA]
    run(state, record("2", CLARA, "Clara"))
    assert state.mappings["2"].contact is state.by_phone[CLARA] is not shared
    assert (shared.phone, shared.full_name) == (ANNA, "Anna")


def test_two_records_swap_their_numbers_in_one_page() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna"), record("2", BORIS, "Boris"))
    run(state, record("1", BORIS, "Anna", at=1), record("2", ANNA, "Boris", at=1))
    assert state.by_phone[BORIS].full_name == "Anna"
    assert state.by_phone[ANNA].full_name == "Boris"


def test_a_deleted_record_leaves_its_contact_as_it_is() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna", "anna@example.org"))
    decision = run(state, record("1", deleted=True))
    contact = state.by_phone[ANNA]
    assert (contact.full_name, contact.email, contact.live) == ("Anna", "anna@example.org", {})
    assert decision.removed == ["1"]
    assert decision.changes == []


def test_a_deleted_record_gives_way_to_the_others_on_its_phone() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Ann", at=1), record("2", ANNA, "Anna", at=2))
    run(state, record("2", deleted=True))
    assert state.by_phone[ANNA].full_name == "Ann"


def test_a_record_that_comes_back_is_bound_again_and_is_not_new() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna"))
    run(state, record("1", deleted=True))
    decision = run(state, record("1", ANNA, "Anna"))
    assert not state.mappings["1"].deleted
    assert [change.old is None for change in decision.changes] == [False]


def test_deleting_what_was_never_seen_does_nothing() -> None:
    assert run(PageState(), record("1", deleted=True)).mappings == {}


def test_a_record_without_a_phone_is_kept_and_rejected_with_a_reason() -> None:
    decision = run(PageState(), record("1", None, "Anna"))
    assert decision.rejections["1"].reason == "it has no phone number; add one in the CRM"
    assert decision.mappings["1"].contact is None


def test_a_rejected_record_that_becomes_good_is_cleared_and_counts_as_created() -> None:
    state = PageState()
    run(state, record("1", None, "Anna"))
    state.rejected.add("1")
    decision = run(state, record("1", ANNA, "Anna"))
    assert decision.cleared == {"1"}
    assert [change.old for change in decision.changes] == [None]


def test_a_good_record_that_loses_its_phone_keeps_its_contact_untouched() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna"))
    decision = run(state, record("1", None, "Someone else"))
    assert state.mappings["1"].contact is state.by_phone[ANNA]
    assert state.by_phone[ANNA].full_name == "Anna"
    assert "1" in decision.rejections
    assert decision.changes == []


def test_a_change_carries_the_old_and_the_new_properties() -> None:
    state = PageState()
    run(state, record("1", ANNA, "Anna", stage="lead"))
    (change,) = run(state, record("1", ANNA, "Anna", stage="customer")).changes
    assert change.old is not None
    assert (change.old["stage"], change.new["stage"], change.mapping.revision) == ("lead", "customer", 2)


_records = st.lists(
    st.builds(
        lambda external_id, phone, name, deleted, at: record(
            external_id, None if deleted else phone, name, deleted=deleted, at=at
        ),
        st.sampled_from("1234"),
        st.sampled_from([ANNA, BORIS, CLARA, None]),
        st.sampled_from(["", "Anna", "Boris"]),
        st.booleans(),
        st.integers(0, 59),
    ),
    max_size=25,
)


@given(_records)
@settings(max_examples=300)
def test_whatever_happens_every_live_record_speaks_for_the_contact_with_its_phone(
    history: list[NormalisedRecord],
) -> None:
    state = PageState()
    latest: dict[str, NormalisedRecord] = {}
    for one in history:
        run(state, one)
        latest[one.external_id] = one
    for external_id, last in latest.items():
        mapping = state.mappings.get(external_id)
        if last.phone is None:
            if mapping is not None and mapping.contact is not None:
                assert ("crm", external_id) not in mapping.contact.live
            continue
        assert mapping is not None
        assert mapping.contact is state.by_phone[last.phone]
        assert ("crm", external_id) in mapping.contact.live
    assert all(contact.phone == phone for phone, contact in state.by_phone.items())


@given(_records)
@settings(max_examples=100)
def test_pages_of_one_decide_the_same_as_one_page(history: list[NormalisedRecord]) -> None:
    together, apart = PageState(), PageState()
    run(together, *history)
    for one in history:
        run(apart, one)
    shown = [{p: (c.full_name, c.email, sorted(c.live)) for p, c in s.by_phone.items()} for s in (together, apart)]
    assert shown[0] == shown[1]
