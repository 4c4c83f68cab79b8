"""A plan says exactly what the next sync does, and does nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from config.models import Policy, PropertyRule
from config.policy import PolicyOverride
from config.triggers import ChangedTrigger, CreatedTrigger, EnteredTrigger
from crm_adapters.base import ContactChange, CursorExpired, Removals, SourceUnavailable, UnreadableRecord
from tests.contacts.conftest import World
from tests.fakes import ListSource, LogSource, numbers
from worker.contacts.plan import Plan
from worker.core.states import MessageState, RunState
from worker.store.tables import contact, contact_mapping, message, rejected_record, sync_run, trigger_state

ANNA, BORIS = "+14155550101", "+14155550102"


def test_a_first_plan_tells_creates_and_adoptions_and_writes_nothing(world: World) -> None:
    world.virtualtext.create_contact(_body(ANNA, "Anna"))
    world.virtualtext.calls.clear()
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", BORIS, "Boris")
    world.source.put("3", "", "Nobody")
    plan = world.plan()
    assert [c.phone for c in plan.creates] == [BORIS]
    assert [c.phone for c in plan.adopts] == [ANNA]
    assert [r.key for r in plan.rejections] == ["3"]
    assert any("texts nobody" in note for note in plan.notes)
    assert world.virtualtext.calls == Counter(list=1)
    for table in (contact, contact_mapping, message, rejected_record, sync_run, trigger_state):
        assert world.rows(table) == []


def test_planned_texts_show_segments_and_whether_they_would_be_held(world: World) -> None:
    world.triggers = {
        "welcome": CreatedTrigger(connections=("crm",), on="created", message="Hi {{ name }} 🎉")  # type: ignore[call-arg]
    }
    world.policy = Policy(blast_limit=1, quiet_hours="none")
    world.source.put("0", numbers(1)[0], "First")
    world.sync()
    world.source.put("1", ANNA, "Anna")
    (text,) = world.plan().texts
    assert (text.phone, text.text, text.segments, text.encoding, text.held) == (ANNA, "Hi Anna 🎉", 1, "UCS-2", False)
    world.source.put("2", BORIS, "Boris")
    assert [t.held for t in world.plan().texts] == [True, True]


def test_a_plan_foresees_that_a_trigger_would_text_too_many_people_in_a_day(world: World) -> None:
    world.triggers = {
        "welcome": CreatedTrigger(connections=("crm",), on="created", message="Hi {{ name }}")  # type: ignore[call-arg]
    }
    world.policy = Policy(blast_limit=3, quiet_hours="none")
    phones = numbers(6)
    world.source.put("0", phones[0], "First")
    world.sync()
    for index in (1, 2):
        world.source.put(str(index), phones[index], "N")
    assert world.sync().held == 0
    world.source.put("3", phones[3], "N")
    assert [text.held for text in world.plan().texts] == [False]
    world.source.put("4", phones[4], "N")
    plan = world.plan()
    assert [text.held for text in plan.texts] == [True, True]
    assert any("would text 4 people in 24 hours, more than policy.blast_limit (3)" in note for note in plan.notes)
    report = world.sync()
    assert (report.messages, report.held) == (2, 2)
    assert "would text 4 people in 24 hours" in report.waits[0]


def test_a_plan_foresees_the_limit_of_each_trigger(world: World) -> None:
    """One trigger may text everybody, another nobody without approval; the sync does as was planned."""

    def welcome(limit: int, condition: str) -> CreatedTrigger:
        return CreatedTrigger(
            connections=("crm",), on="created", message="Hi {{ name }}", only_if=condition,
            policy=PolicyOverride(blast_limit=limit),
        )  # type: ignore[call-arg]  # fmt: skip

    world.triggers = {"many": welcome(9, "name == 'M'"), "few": welcome(1, "name == 'F'")}
    world.policy = Policy(blast_limit=3, quiet_hours="none")
    phones = numbers(8)
    world.source.put("0", phones[0], "First")
    world.sync()
    for index in range(1, 8):
        world.source.put(str(index), phones[index], "M" if index < 6 else "F")
    plan = world.plan()
    assert sorted((text.trigger, text.held) for text in plan.texts) == [("few", True)] * 2 + [("many", False)] * 5
    assert any(
        "2 people would be texted, more than triggers.few.policy.blast_limit (1): the texts of few" in note
        for note in plan.notes
    )
    report = world.sync()
    assert (report.messages, report.held) == (7, 2)
    assert {row.trigger for row in world.messages() if row.state == "held"} == {"few"}


def test_a_plan_and_its_sync_ask_the_record_for_consent_and_heed_re_entry(world: World) -> None:
    world.connections = {"crm": {"consent": PropertyRule(field="sms"), "do_not_text": PropertyRule(field="dnc")}}
    world.triggers = {
        "new": EnteredTrigger(connections="crm", on="entered", condition="vip", message="Hi", again="never")
    }  # type: ignore[arg-type]
    world.policy = Policy(quiet_hours="none", blast_limit=1)
    world.source.put("0", "+14155550100", "Zoe", sms="yes", vip="")
    world.sync()
    world.source.put("1", "+14155550101", "Anna", sms="yes", vip="1")
    world.source.put("2", "+14155550102", "Ben", sms="no", vip="1")
    world.source.put("3", "+14155550103", "Cleo", sms="yes", dnc="yes", vip="1")
    planned = {text.phone: text for text in world.plan().texts}
    world.sync()
    made = {row.to_number: row for row in world.messages()}
    assert {phone: row.state for phone, row in made.items()} == {
        "+14155550101": "queued",  # the others are no people that this sync would text
        "+14155550102": "suppressed",
        "+14155550103": "suppressed",
    }
    assert not any(text.held for text in planned.values())
    for phone, field in (("+14155550102", "sms"), ("+14155550103", "dnc")):
        assert f'the field "{field}" of the CRM record crm' in planned[phone].problem
        assert made[phone].reason.endswith(planned[phone].problem)
    for vip in ("", "2"):
        world.source.put("1", "+14155550101", "Anna", sms="yes", vip=vip)
        assert world.plan().texts == []
        world.sync()
    assert len(world.messages()) == 3


def test_a_plan_and_its_sync_say_which_texts_would_go_to_another_country(world: World) -> None:
    world.triggers = {
        "welcome": CreatedTrigger(connections=("crm",), on="created", message="Hi")  # type: ignore[call-arg]
    }
    world.policy = Policy(quiet_hours="none", blast_limit=1)
    world.source.put("0", numbers(1)[0], "First")
    world.sync()
    world.source.put("1", ANNA, "Anna")
    world.source.put("2", "+525512345678", "Benito")
    planned = {text.phone: text for text in world.plan().texts}
    world.sync()
    made = {row.to_number: row for row in world.messages()}
    assert {phone: row.state for phone, row in made.items()} == {ANNA: "queued", "+525512345678": "suppressed"}
    assert planned[ANNA].problem == ""
    assert "the number is in MX (+52)" in planned["+525512345678"].problem
    assert made["+525512345678"].reason == f"country: {planned['+525512345678'].problem}"
    assert "+525512345678" in {row.phone for row in world.rows(contact)}, "the contact is synced all the same"


def test_a_plan_says_that_missing_records_would_be_refused(world: World) -> None:
    for index, phone in enumerate(numbers(20)):
        world.source.put(f"{index}", phone)
    world.sync()
    world.source.records.clear()
    plan = world.plan()
    assert "all 20 known records" in plan.refused
    assert plan.removed == []


def test_an_unknown_connection_is_a_key_error(world: World) -> None:
    with pytest.raises(KeyError):
        world.plan("nothing")


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_go_exactly_as_planned(world: World, seed: int) -> None:
    rng = random.Random(seed)
    world.triggers = {
        "welcome": CreatedTrigger(connections=("crm",), on="created", message="Hi {{ name }}"),  # type: ignore[call-arg]
        "booked": ChangedTrigger.model_validate(
            {"connections": "crm", "on": "changed", "field": "stage", "message": "Now {{ stage }}"}
        ),
    }
    world.policy = Policy(blast_limit=3, quiet_hours="none")
    for _ in range(5):
        _change(rng, world.source)
        plan = world.plan()
        before = len(world.rows(message))
        world.virtualtext.bodies.clear()
        report, pushed = world.sync_and_push()
        assert (plan.seen, plan.unchanged) == (report.seen, report.unchanged)
        assert len(plan.rejections) == report.rejected
        assert len(plan.removed) == report.removed
        assert _bodies(plan) == Counter((call, b.phone, b.full_name, b.email) for call, b in world.virtualtext.bodies)
        assert pushed.rejected == pushed.unknown == 0
        _texts_as_planned(world, plan, before)


@pytest.mark.parametrize("seed", range(8))
def test_random_histories_of_people_and_deals_go_exactly_as_planned(world: World, seed: int) -> None:
    """An adapter that reports changes: with merges, expired cursors, fields and kinds that come and go, listings."""
    rng = random.Random(seed)
    log = LogSource(removals=rng.choice([Removals.REPORTED, Removals.UNSEEN]), page_size=rng.choice([1, 2, 5, 50]))
    world.crm["crm"] = log  # type: ignore[assignment]
    world.triggers = {
        "welcome": CreatedTrigger(connections="crm", on="created", message="Hi {{ name }}"),
        "opened": CreatedTrigger(connections="crm", record="deal", on="created", message="New {{ title }}"),
        "won": EnteredTrigger(
            connections="crm", record="deal", on="entered", condition="stage == 'c'", message="Won {{ title }}"
        ),
        "booked": ChangedTrigger(connections="crm", on="changed", field="stage", message="Now {{ stage }}"),
    }
    world.policy = Policy(blast_limit=rng.choice([1, 100]), quiet_hours="none")
    log.kinds = ("contact",) if rng.random() < 0.5 else log.kinds
    for number in range(8):
        _change_log(rng, log)
        if rng.random() < 0.2:
            log.kinds = ("contact", "deal")
        if rng.random() < 0.2:
            world.connections["crm"] = {"options": {"view": number}}
        log.error_after, error = 1_000_000, CursorExpired("old") if rng.random() < 0.2 else None
        log.error = error
        plan = world.plan()
        log.error = error
        before = len(world.rows(message))
        world.virtualtext.bodies.clear()
        report, _ = world.sync_and_push()
        assert report.state is RunState.REFUSED if plan.refused else report.state is RunState.DONE
        assert (plan.seen, plan.unchanged) == (report.seen, report.unchanged)
        assert len(plan.rejections) == report.rejected
        assert len(plan.removed) == report.removed
        assert _bodies(plan) == Counter((call, b.phone, b.full_name, b.email) for call, b in world.virtualtext.bodies)
        _texts_as_planned(world, plan, before)
        if rng.random() < 0.2:
            world.sync(full=True, accept_removals=True)
            world.push()
        log.error = None
    live = {row.external_id for row in world.rows(contact_mapping) if row.deleted_at is None}
    world.sync(full=True, accept_removals=True)
    assert {row.external_id for row in world.rows(contact_mapping) if row.deleted_at is None} == set(log.live)
    assert live >= set(log.live)


def _change_log(rng: random.Random, log: LogSource) -> None:
    phones = ["", "12", *numbers(6)]
    for _ in range(rng.randint(1, 6)):
        person, deal = str(rng.randint(1, 6)), f"deal:{rng.randint(1, 5)}"
        gone = rng.choice([person, deal])
        if rng.random() < 0.2 and log.removals is Removals.REPORTED:
            log.report_deleted(gone, rng.choice([None, str(rng.randint(1, 6))]) if gone == person else None)
        elif rng.random() < 0.1:
            log.vanish(gone)
        elif rng.random() < 0.5:
            stage = {} if rng.random() < 0.3 else {"stage": rng.choice("abc")}
            log.put_deal(deal, rng.choice([person, None, "nobody"]), title=deal, **stage)
        else:
            stage = {} if rng.random() < 0.3 else {"stage": rng.choice("abc")}
            log.put(person, rng.choice(phones), rng.choice(["", "Anna", "Boris", "Clara"]), **stage)


def test_a_plan_waits_as_long_as_the_sync_would(world: World) -> None:
    world.source.put("1", ANNA, "Anna")
    world.source.error = SourceUnavailable("100 of 100 calls are used", retry_after=3600)
    world.sync()
    world.source.error = None
    with pytest.raises(SourceUnavailable, match="100 of 100 calls are used"):
        world.plan()


def _texts_as_planned(world: World, plan: Plan, before: int) -> None:
    new = world.rows(message)[before:]
    assert Counter((t.phone, t.trigger) for t in plan.texts) == Counter((m.to_number, m.trigger) for m in new)
    going = [m for m in new if m.state != MessageState.SUPPRESSED]
    assert Counter(t.text for t in plan.texts if not t.problem) == Counter(m.text for m in going)
    assert {t.held for t in plan.texts if not t.problem} == {m.state == MessageState.HELD for m in going}


def _bodies(plan: Plan) -> Counter[tuple[str, str, str, str]]:
    planned = [("create", c) for c in plan.creates] + [("update", c) for c in plan.updates]
    return Counter((call, c.phone, c.full_name or c.phone, c.email) for call, c in planned)


def _change(rng: random.Random, source: ListSource) -> None:
    phones = ["", "12", *numbers(6)]
    for _ in range(rng.randint(1, 5)):
        identifier = str(rng.randint(1, 8))
        if rng.random() < 0.15:
            source.records.pop(identifier, None)
        else:
            name = rng.choice(["", "Anna", "Boris", "Clara"])
            source.put(identifier, rng.choice(phones), name, rng.choice(["", "a@example.org"]), stage=rng.choice("abc"))
    source.unreadable = [UnreadableRecord("odd", "it is odd", "line 9")] if rng.random() < 0.3 else []
    source.extra = [ContactChange("1", {"phone": ANNA, "name": "twice"})] if rng.random() < 0.2 else []


def _body(phone: str, name: str):  # type: ignore[no-untyped-def]
    from worker.virtualtext.outcomes import ContactBody

    return ContactBody(phone, name, "")
