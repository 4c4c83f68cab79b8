"""A change of the source's fields is no change of its records; only what the configuration uses is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from sqlalchemy import update

from config.fields import FieldMapping
from config.models import Policy
from config.triggers import ChangedTrigger, EnteredTrigger
from crm_adapters.base import CONTACT, ContactChange, CrmField, SourceInvalid, SourceUnavailable
from tests.contacts.conftest import World
from tests.fakes import LogSource, numbers
from worker.contacts.shape import Shape, ShapeWatch, carried_forward
from worker.core.states import RunState
from worker.messages.policy_facts import load_facts, state_after
from worker.policy.decide import decide
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, message

ANNA = numbers(1)[0]


def watch(
    before: Shape | None = None,
    wanted: Sequence[str] | None = ("status",),
    described: Sequence[str] = (),
    **mapping: Any,
) -> ShapeWatch:
    names = None if wanted is None else frozenset(wanted)
    fields = [CrmField(name) for name in described]
    return ShapeWatch(before or Shape(), names, FieldMapping(**mapping), lambda: fields)


def record(*names: str) -> dict[str, str]:
    return {name: f"the {name}" for name in names}


@pytest.mark.parametrize(
    ("header", "wanted", "stored"),
    [
        (("phone", "name", "status", "diagnosis", "ssn"), ("status",), ("phone", "name", "status")),
        (("Phone", "First Name", "Last Name", "E-Mail", "Notes"), (), ("Phone", "First Name", "Last Name", "E-Mail")),
        (("Phone", "Order Status", "Notes"), ("order_status",), ("Phone", "Order Status")),
        (("Phone", "DO NOT TEXT", "Notes"), ("do_not_text",), ("Phone", "DO NOT TEXT")),
        (("Phone", "DNT", "DNT (2)", "DNT2", "Note (2)"), ("dnt",), ("Phone", "DNT", "DNT (2)")),
        (("Phone", "Notes"), None, ("Phone", "Notes")),
        (("Phone 1 - Value", "Phone 1 - Label", "Age"), (), ("Phone 1 - Value", "Phone 1 - Label")),
    ],
)
def test_only_what_is_used_is_stored(
    header: Sequence[str], wanted: Sequence[str] | None, stored: Sequence[str]
) -> None:
    assert tuple(watch(wanted=wanted).project(record(*header), CONTACT)) == tuple(stored)


@pytest.mark.parametrize(
    ("before", "now"),
    [("Status", "Status:"), ("Status", "STATUS"), ("order status", "Order_Status"), ("Größe", "GRÖSSE")],
)
def test_a_header_that_is_spelt_otherwise_is_the_same_field(before: str, now: str) -> None:
    first = watch(wanted=(before,))
    first.project(record("phone", before), CONTACT)
    again = watch(first.result(), wanted=(before,))
    assert again.project({"phone": "1", now: "x"}, CONTACT) == {"phone": "1", before: "x"}


def test_two_fields_that_differ_only_in_punctuation_are_both_stored() -> None:
    seen = watch(wanted=("status",)).project({"phone": "1", "status": "a", "status ": "b"}, CONTACT)
    assert seen == {"phone": "1", "status": "a", "status ": "b"}


@pytest.mark.parametrize(
    ("before", "now", "gone"),
    [
        (("mobile", "phone", "name"), ("phone", "name"), "mobile"),
        (("phone", "first name", "last name"), ("phone", "last name"), "first name"),
        (("phone", "name", "email"), ("phone", "name"), "email"),
        (("phone", "name"), ("name",), "phone"),
    ],
)
def test_a_field_of_the_contact_that_vanishes_refuses_the_run(
    before: Sequence[str], now: Sequence[str], gone: str
) -> None:
    first = watch()
    first.project(record(*before), CONTACT)
    second = watch(first.result(), described=now)
    second.project(record(*now), CONTACT)
    with pytest.raises(SourceInvalid, match=f'the field "{gone}".*is not there any more.*There are: "{now[0]}"'):
        second.judge()
    sparse = watch(first.result(), described=before)
    sparse.project(record(*now), CONTACT)
    sparse.judge()  # the source has the field, and leaves it out while it is empty


def test_a_source_without_a_phone_is_refused_in_words() -> None:
    seen = watch(described=("id", "name", "contact no"))
    seen.project(record("id", "name", "contact no"), CONTACT)
    with pytest.raises(SourceInvalid, match=r'name it in the connection.s fields\.phone\. There are: "id", "name"'):
        seen.judge()


def test_names_that_the_source_does_not_have_are_remembered() -> None:
    seen = watch(wanted=("status", "DoNot Texxt", "sparse"), described=("phone", "status", "sparse"))
    seen.project(record("phone", "status"), CONTACT)
    assert seen.result().missing == ("DoNot Texxt",)
    assert Shape.load(seen.result().dump()) == seen.result()
    assert watch(seen.result()).result() == seen.result(), "a run without records says nothing about the fields"


@pytest.mark.parametrize(
    ("wanted", "stored"),
    [
        (("Sales person",), {"Sales person": "Jo"}),
        (("sales_person", "user_id"), {"user_id": "Jo", "sales_person": "Jo"}),
        (("user_id",), {"user_id": "Jo"}),
        (("Office",), {}),  # two fields have this label
        (("Stage",), {}),  # a field of another kind
    ],
)
def test_a_field_may_be_named_by_its_label(wanted: Sequence[str], stored: dict[str, str]) -> None:
    fields = [
        CrmField("phone"),
        CrmField("user_id", "Sales person"),
        CrmField("x1", "Office"),
        CrmField("x2", "Office"),
    ]
    fields.append(CrmField("s", "Stage", kind="deal"))
    found = ShapeWatch(Shape(), frozenset(wanted), FieldMapping(), lambda: fields)
    row = {"phone": "1", "user_id": "Jo", "x1": "a", "x2": "b", "s": "won"}
    assert found.project(row, CONTACT) == {"phone": "1", **stored}
    assert found.project(row, CONTACT) == {"phone": "1", **stored}
    labels = {name for name in stored if name not in row}
    assert found.labelled(row) == row | dict.fromkeys(labels, "Jo")


def test_a_field_that_is_not_there_keeps_its_value() -> None:
    old = {"phone": "1", "status": "open", "unused": "x"}
    assert carried_forward(old, {"phone": "2"}, lambda name: name == "status") == {"status": "open"}
    assert carried_forward(old, {"phone": "2", "status": None, "unused": ""}, lambda _: True) == {}


@pytest.fixture
def log(world: World) -> LogSource:
    source = LogSource()
    world.crm["crm"] = source  # type: ignore[assignment]
    return source


def stored(world: World, external_id: str = "1") -> Any:
    return orjson.loads(world.mapping(external_id).properties)


def test_whole_rows_are_not_kept_unless_asked_for(world: World, log: LogSource) -> None:
    log.put("1", ANNA, "Anna", ssn="078-05-1120", status="open")
    world.triggers["t"] = ChangedTrigger(connections="crm", on="changed", field="status", message="Hi {{ nickname }}")
    world.sync()
    assert stored(world) == {"phone": ANNA, "name": "Anna", "status": "open"}
    world.connections["crm"] = {"store_fields": "all"}
    world.sync()
    assert stored(world)["ssn"] == "078-05-1120"


def test_a_field_that_nobody_uses_changes_no_record(world: World, log: LogSource) -> None:
    log.put("1", ANNA, "Anna", seen_at="monday")
    world.sync()
    log.put("1", ANNA, "Anna", seen_at="tuesday")
    assert (world.sync().changed, world.mapping("1").revision) == (0, 1)


def test_a_column_that_comes_goes_and_is_respelt_texts_nobody(world: World, log: LogSource) -> None:
    world.triggers["changed"] = ChangedTrigger(connections="crm", on="changed", field="status", message="Changed")
    world.triggers["entered"] = EnteredTrigger(
        connections="crm", on="entered", condition="status != 'open'", message="Entered"
    )
    log.put("1", ANNA, "Anna")
    world.sync()
    log.put("1", ANNA, "Anna", status="done")  # the column appears
    world.sync()
    log.put("1", ANNA, "Anna", **{"Status:": "done"})  # it is respelt
    assert world.sync().changed == 0
    log.put("1", ANNA, "Anna")  # it is left out
    world.sync()
    assert stored(world)["status"] == "done"
    log.put("1", ANNA, "Anna", status="done")  # and back
    world.sync()
    assert world.messages() == []
    log.put("1", ANNA, "Anna", status="open")
    world.sync()
    assert [row.text for row in world.messages()] == ["Changed"]


def test_a_vanished_name_changes_nothing_in_virtualtext(world: World, log: LogSource) -> None:
    world.connections["crm"] = {"clear_empty": True}
    for index, phone in enumerate(numbers(4)):
        log.put(f"{index}", phone, f"Person {index}")
    world.sync()
    for change in list(log.live.values()):
        log.log.append(change._replace(properties={"phone": change.properties["phone"], "city": "Rome"}))
    report = world.sync()
    assert report.state is RunState.FAILED
    assert 'the field "name", which holds a name, is not there any more' in report.error
    assert world.contact(numbers(1)[0]).full_name == "Person 0"
    world.connections["crm"] |= {"fields": {"full_name": ["city"]}}
    assert world.sync().state is RunState.DONE
    assert world.contact(numbers(1)[0]).full_name == "Rome"


def test_the_missing_names_are_in_the_store_for_the_policy(world: World, log: LogSource) -> None:
    world.connections["crm"] = {"do_not_text": {"field": "DoNot Texxt"}}
    log.put("1", ANNA, "Anna", DoNotText="yes")
    world.sync()
    (state,) = world.rows(connection_state)
    assert Shape.load(state.shape).missing == ("DoNot Texxt",)


def test_labels_of_fields_work_everywhere(world: World, log: LogSource) -> None:
    log.labels = {"f1": "Cell of the client", "f2": "Do not text", "f3": "Stage"}
    world.connections["crm"] = {
        "fields": {"phone": "Cell of the client"},
        "do_not_text": {"field": "Do not text"},
    }
    world.triggers["t"] = ChangedTrigger(connections="crm", on="changed", field="Stage", message="Now {{ stage }}")
    world.policy = Policy(quiet_hours="none")
    for stage in ("new", "won"):
        log.log.append(ContactChange("1", {"f1": ANNA, "f2": "no", "f3": stage}))
        log.log.append(ContactChange("2", {"f1": numbers(2)[1], "f2": "yes", "f3": stage}))
        world.sync()
    assert stored(world) == {"Cell of the client": ANNA, "Do not text": "no", "Stage": "won"}
    sent = {row.external_id: (row.text, row.state) for row in world.rows(message)}
    assert sent == {"1": ("Now won", "queued"), "2": ("Now won", "suppressed")}


@pytest.mark.parametrize("error", [SourceUnavailable("down"), KeyError("x")])
def test_a_source_that_cannot_list_its_fields_fails_the_run_and_rejects_no_record(
    world: World, log: LogSource, error: Exception
) -> None:
    world.connections["crm"] = {"do_not_text": {"field": "Do not text"}}
    log.put("1", ANNA, "Anna")
    log.fails_to_describe = error
    report = world.sync()
    assert (report.state, report.rejected) == (RunState.FAILED, 0)


def test_a_permission_is_not_carried_over_to_a_record_without_the_field(world: World, log: LogSource) -> None:
    world.connections["crm"] = {
        "do_not_text": {"field": "dnc", "values": "Stop texts"},
        "consent": {"field": "agreed"},
    }
    log.put("1", ANNA, "Anna", dnc="Stop texts", agreed="no")
    log.put("2", numbers(2)[1], "Boris", dnc="fine", agreed="yes")
    world.sync()
    log.put("1", ANNA, "Ann")
    log.put("2", numbers(2)[1], "Bob")
    world.sync()
    assert stored(world) == {"phone": ANNA, "name": "Ann", "dnc": "Stop texts", "agreed": "no"}
    assert stored(world, "2") == {"phone": numbers(2)[1], "name": "Bob"}


def test_policy_fields_that_are_missing_are_noted_though_everything_is_stored(world: World, log: LogSource) -> None:
    world.connections["crm"] = {"store_fields": "all", "do_not_text": {"field": "dnc"}}
    log.put("1", ANNA, "Anna")
    assert any('the source has no field "dnc" now' in note for note in world.sync().notes)
    (state,) = world.rows(connection_state)
    assert orjson.loads(state.shape)["missing"] == ["dnc"]


def test_a_phone_that_vanishes_is_refused_until_somebody_decides() -> None:
    """The next run does not take the office number instead, only because the first one said so."""
    columns = FieldMapping()
    first = ShapeWatch(Shape(), frozenset(), columns, lambda: [])
    first.project({"mobile": "1", "phone": "2"}, CONTACT)
    first.judge()
    before = first.result()
    for _ in range(3):
        run = ShapeWatch(before, frozenset(), columns, lambda: [CrmField("phone")])
        run.project({"phone": "2"}, CONTACT)
        with pytest.raises(SourceInvalid, match='the field "mobile"'):
            run.judge()
        before = run.result(complete=False)
    sparse = ShapeWatch(before, frozenset(), columns, lambda: [CrmField("phone"), CrmField("mobile")])
    sparse.project({"phone": "2"}, CONTACT)
    sparse.judge()
    assert set(sparse.result().contact["phone"]) == {"mobile", "phone"}, "a sparse record forgets no field"


def test_two_kinds_with_the_same_header_are_both_seen() -> None:
    seen = watch(described=("phone",))
    for kind in ("deal", CONTACT):
        seen.project(record("phone", "name"), kind)
    seen.judge()
    assert seen.result().contact == {"phone": ("phone",), "full_name": ("name",)}


def test_a_run_that_is_not_complete_finds_no_missing_name_again() -> None:
    seen = watch(Shape(missing=("status", "gone from the configuration")), wanted=("status",))
    seen.project(record("phone", "status"), CONTACT)
    assert seen.result(complete=False).missing == ("status",)
    assert seen.result().missing == ()


@pytest.mark.parametrize("stored", ["{}", '{"fields": [], "contact": {}, "missing": [], "later": {"x": 1}}'])
def test_a_shape_of_another_version_can_be_read(stored: str) -> None:
    assert Shape.load(stored) == Shape()


def test_texts_held_for_a_vanished_policy_field_go_when_it_is_back(world: World, log: LogSource) -> None:
    world.connections["crm"] = {"do_not_text": {"field": "dnc"}}
    world.triggers["t"] = ChangedTrigger(connections="crm", on="changed", field="status", message="Hi")
    log.put("1", ANNA, "Anna", status="open", dnc="no")
    world.sync()
    log.put("1", ANNA, "Anna", status="done")
    world.sync()
    (text,) = world.rows(message)
    with writing(world.engine) as db:
        facts = load_facts(db, dict(text._mapping), world.runtime().settings, utcnow())
        db.execute(update(message).values(**state_after(decide(facts, utcnow()), utcnow())))
    assert world.rows(message)[0].reason.startswith("permission_unknown")
    log.page_size = 1
    log.put("1", ANNA, "Anna", status="done", dnc="no")
    log.put("2", numbers(2)[1], "Boris", status="done", dnc="no")
    log.error, log.error_after = SourceUnavailable("busy"), 1
    world.sync()
    assert world.rows(message)[0].state == "held", "the run is not complete"
    log.error = None
    world.sync()
    assert world.rows(message)[0].state == "queued"


def test_emails_that_are_left_out_are_in_the_notes(world: World, log: LogSource) -> None:
    log.put("1", ANNA, "Anna", email="a@example.org; b@example.org")
    log.put("2", numbers(2)[1], "Boris", email="boris at home")
    log.put("3", "", "Nobody", email="nobody at home")
    note = "the email of 2 records is not one email address, so it was left out: correct it in the CRM, for example "
    assert f"{note}in the record 1" in world.plan().notes
    assert f"{note}in the record 1" in world.sync().notes


def test_a_switch_between_all_fields_and_the_wanted_ones_texts_nobody(world: World, log: LogSource) -> None:
    world.triggers["changed"] = ChangedTrigger(connections="crm", on="changed", field="stage", message="Changed")
    world.triggers["entered"] = EnteredTrigger(connections="crm", on="entered", condition="stage == 'a'", message="In")
    log.put("1", ANNA, "Anna", Stage="a", ssn="078-05-1120")
    world.sync()
    for everything in (True, False, True, False):
        world.connections["crm"] = {"store_fields": "all"} if everything else {}
        assert (world.sync().changed, world.plan().texts) == (1, [])
        assert ("ssn" in stored(world)) is everything
    assert world.messages() == []
