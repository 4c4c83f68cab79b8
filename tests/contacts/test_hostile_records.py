"""Nothing in one record stops another: a table of hostile records, through reading, deciding, storing and pushing.

Add the record that you met. All of them are synced in one run, each between two good ones.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from config.triggers import CreatedTrigger, DateTrigger
from crm_adapters.base import ContactChange, ContactFields, Properties, Removals, UnreadableRecord
from tests.contacts.conftest import World
from tests.fakes import FakeVirtualText, ListAdapter, numbers
from worker.contacts import pull_rows
from worker.contacts.decide import PageDecision
from worker.core.states import PushState, RunState
from worker.store.tables import contact
from worker.virtualtext.outcomes import ContactBody, Outcome, RemoteContact

GOOD, ALSO_GOOD, HOSTILE = numbers(3)
MEGABYTES = "x" * 3_000_000


class RaisesAsText:
    def __str__(self) -> str:
        raise RuntimeError("the secret is hunter2")

    __repr__ = __str__


class RaisesWhenStripped(str):
    __slots__ = ()

    def strip(self, *_: Any) -> str:
        raise RuntimeError("the secret is hunter2")


def cyclic() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["self"] = found
    return found


def nested(depth: int) -> Any:
    found: Any = "end"
    for _ in range(depth):
        found = [found]
    return found


def with_values(**values: Any) -> ContactChange:
    """A change whose id, and whose phone if it has none, the test fills in."""
    return ContactChange("hostile", {"phone": HOSTILE, "name": "H", "email": "", **values})


BAD_TIME: Any = datetime(2027, 1, 1)  # noqa: DTZ001 - that is what is wrong with it
HOSTILE_RECORDS: dict[str, Any] = {
    "huge int": with_values(phone=10**400),
    "int above 64 bits": with_values(age=2**70),
    "NaN": with_values(phone=float("nan")),
    "infinite": with_values(phone=float("inf"), age=float("-inf")),
    "lone surrogate": with_values(name="\ud800"),
    "lone surrogate in a name": with_values(**{"\udfff": "x"}),
    "NUL in the name": with_values(name="A\x00da"),
    "NUL in the email": with_values(email="ada@example.org\x00"),
    "NUL in the phone": with_values(phone="+1415\x005550002"),
    "NUL in a field": with_values(**{"fi\x00eld": "x\x00"}),
    "3 MB phone": with_values(phone=MEGABYTES),
    "3 MB name": with_values(name="\u00e9" * 3_000_000),
    "3 MB email": with_values(email=MEGABYTES + "@example.org"),
    "3 MB note": with_values(note=MEGABYTES, birthday=MEGABYTES),
    "3 MB field name": with_values(**{MEGABYTES: "x"}),
    "cyclic": with_values(more=cyclic()),
    "nested": with_values(more=nested(100)),
    "nested deeply": with_values(more=nested(100_000)),
    "phone is a list": with_values(phone=[HOSTILE]),
    "phone is a mapping": with_values(phone={"number": HOSTILE}),
    "phone is bytes": with_values(phone=HOSTILE.encode()),
    "phone raises as text": with_values(phone=RaisesAsText()),
    "name raises when stripped": with_values(name=RaisesWhenStripped("Ada")),
    "birthday is a mapping": with_values(birthday={"year": 1}),
    "birthday in the year 20000": with_values(birthday="20000-01-01"),
    "a set": with_values(tags={1, 2}),
    "keys that are no text": ContactChange("hostile", {1: 2, None: 3}),  # type: ignore[dict-item]
    "properties are a list": ContactChange("hostile", [1, 2]),  # type: ignore[arg-type]
    "properties are missing": ContactChange("hostile", None),  # type: ignore[arg-type]
    "id is a number": ContactChange(7, {"phone": HOSTILE}),  # type: ignore[arg-type]
    "id is empty": ContactChange("", {"phone": HOSTILE}),
    "id has NUL": ContactChange("a\x00b", {"phone": HOSTILE}),
    "id has a surrogate": ContactChange("\ud800", {"phone": HOSTILE}),
    "id of 3 MB": ContactChange(MEGABYTES, {"phone": HOSTILE}),
    "time without a zone": with_values()._replace(updated_at=BAD_TIME),
    "time is text": with_values()._replace(updated_at="yesterday"),
    "time at the end of times": with_values()._replace(updated_at=datetime.max.replace(tzinfo=UTC)),
    "where is no text": with_values(phone="1")._replace(where=RaisesAsText()),
    "where has NUL": with_values(phone="1")._replace(where="line\x00\ud800"),
    "kind is no text": with_values()._replace(kind=7),
    "person has NUL": with_values()._replace(kind="deal", person="a\x00b"),
    "person has a surrogate": with_values()._replace(kind="deal", person="\ud800"),
    "deleted into NUL": ContactChange("1", {}, deleted=True, merged_into="\x00"),
    "no change at all": None,
    "unreadable with NUL": UnreadableRecord("k\x00", "It is \x00 broken.", "line 1\x00", "\ud800"),
    "unreadable without texts": UnreadableRecord(None, RaisesAsText(), None, None),  # type: ignore[arg-type]
}


@pytest.fixture
def texting(world: World) -> World:
    """A world with triggers that read the hostile values, after its first sync."""
    world.triggers["hello"] = CreatedTrigger(
        connections="crm", on="created", only_if="age > 3 or note contains 'x' or true", message="Hi {{ name }}"
    )
    world.triggers["birthday"] = DateTrigger(
        connections="crm", on="date", field="birthday", at="10:00", every_year=True, message="Happy birthday {{ name }}"
    )
    world.source.removals = Removals.UNSEEN
    world.source.page_size = 10
    world.sync()
    return world


def test_hostile_records_stop_no_other(texting: World) -> None:
    good = numbers(len(HOSTILE_RECORDS) + 1, start=1000)
    phones = dict(zip(HOSTILE_RECORDS, numbers(len(HOSTILE_RECORDS), start=2000), strict=True))
    changes = []
    for phone, (name, change) in zip(good, HOSTILE_RECORDS.items(), strict=False):
        changes.append(ContactChange(f"good {phone}", {"phone": phone, "name": "Anna", "email": ""}))
        if isinstance(change, ContactChange) and change.external_id == "hostile":
            properties = change.properties
            if isinstance(properties, dict) and properties.get("phone") == HOSTILE:
                properties = {**properties, "phone": phones[name]}
            change = change._replace(external_id=name, properties=properties)
        changes.append(change)
    changes.append(ContactChange("last", {"phone": good[-1], "name": "Anna", "email": ""}))
    texting.source.extra = changes
    planned = texting.plan()
    report, _ = texting.sync_and_push()
    assert (report.state, report.seen) == (RunState.DONE, len(changes))
    assert set(good) <= set(texting.virtualtext.phones())
    assert set(good) <= {one.phone for one in planned.creates}
    assert set(good) <= {row.to_number for row in texting.messages()}
    assert {row.push_state for row in texting.rows(contact)} == {PushState.SYNCED}
    assert "hunter2" not in repr(texting.rejections())
    assert texting.sync().state == RunState.DONE, "the next run meets them again"

    usable = {row.phone for row in texting.rows(contact)} - set(good)
    named = [name for name, change in HOSTILE_RECORDS.items() if getattr(change, "external_id", "") == "hostile"]
    lost = [name for name in named if phones[name] not in usable and name not in texting.rejections()]
    assert lost == [], "each is a contact, or is named with its reason"
    others = len(HOSTILE_RECORDS) - len(named)
    assert len(texting.rejections()) >= others - 4, "some have no id, and share one line"


class RaisingAdapter(ListAdapter):
    """An adapter with a fault: it cannot read the contact of one record."""

    def contact_fields(self, properties: Properties) -> ContactFields:
        if properties["name"] == "Hostile":
            raise KeyError("the secret is hunter2")
        return super().contact_fields(properties)


def test_an_adapter_that_cannot_read_one_record_reads_the_others(
    texting: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    build: Callable[..., Any] = lambda *_: RaisingAdapter(texting.source)  # noqa: E731
    monkeypatch.setattr("worker.contacts.pull.build_adapter", build)
    texting.source.put("1", GOOD, "Anna")
    texting.source.put("2", HOSTILE, "Hostile")
    texting.source.put("3", ALSO_GOOD, "Boris")
    report, _ = texting.sync_and_push()
    assert (report.state, report.rejected) == (RunState.DONE, 1)
    assert set(texting.virtualtext.phones()) == {GOOD, ALSO_GOOD}
    assert texting.rejections()["2"].startswith("it could not be processed, unlike the other records (KeyError in ")
    assert "hunter2" not in texting.rejections()["2"]


@pytest.mark.parametrize("stage", ["decide", "store", "trigger"])
def test_a_record_that_fails_in_a_later_stage_is_rejected_alone(
    texting: World, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The good records of its page are stored once, with their texts."""

    def fails(target: str, is_hostile: Callable[..., bool]) -> None:
        module, _, name = target.rpartition(".")
        original = getattr(__import__(module, fromlist=[name]), name)

        def wrapped(*args: Any) -> Any:
            if is_hostile(*args):
                raise ZeroDivisionError("the secret is hunter2")
            return original(*args)

        monkeypatch.setattr(target, wrapped)

    if stage == "decide":
        fails("worker.contacts.decide._bind", lambda mapping, *_: mapping.external_id == "2")
    elif stage == "store":

        def holds_it(_db: Any, _name: str, _account: str, decision: PageDecision, _now: Any) -> bool:
            return "2" in decision.mappings

        assert callable(pull_rows.store_decision)
        fails("worker.contacts.pull_rows.store_decision", holds_it)
    else:
        fails("worker.contacts.trigger_watch.evaluate", lambda _rules, event, *_: event.external_id == "2")
    for external_id, phone in (("1", GOOD), ("2", HOSTILE), ("3", ALSO_GOOD)):
        texting.source.put(external_id, phone, f"Person {external_id}")
    planned = texting.plan()
    if stage != "store":  # a plan stores nothing
        assert [one.key for one in planned.rejections] == ["2"]
        assert {one.phone for one in planned.creates} == {one.phone for one in planned.texts} == {GOOD, ALSO_GOOD}
    report, _ = texting.sync_and_push()
    assert (report.state, report.seen, report.added, report.rejected) == (RunState.DONE, 3, 2, 1)
    assert set(texting.virtualtext.phones()) == {GOOD, ALSO_GOOD}
    assert sorted(row.to_number for row in texting.messages()) == [GOOD, ALSO_GOOD]
    assert "ZeroDivisionError" in texting.rejections()["2"]
    assert "hunter2" not in texting.rejections()["2"]


class RaisingVirtualText(FakeVirtualText):
    """A client that raises for one number."""

    error: Exception = ValueError("The number is not E.164.")

    def create_contact(self, body: ContactBody) -> Outcome[RemoteContact]:
        if body.phone == HOSTILE:
            raise self.error
        return super().create_contact(body)

    def update_contact(self, virtualtext_id: str, body: ContactBody) -> Outcome[RemoteContact]:
        if body.phone == HOSTILE:
            raise self.error
        return super().update_contact(virtualtext_id, body)


@pytest.mark.parametrize(
    ("error", "of_create", "of_update"),
    [
        (ValueError("The number is not E.164."), PushState.REJECTED, PushState.REJECTED),
        (RuntimeError("the secret is hunter2"), PushState.UNKNOWN, PushState.DUE),
    ],
)
def test_a_contact_whose_request_raises_stops_no_other(
    world: World, error: Exception, of_create: PushState, of_update: PushState
) -> None:
    world.virtualtext = client = RaisingVirtualText()
    client.error = error
    for external_id, phone in (("1", GOOD), ("2", HOSTILE), ("3", ALSO_GOOD)):
        world.source.put(external_id, phone, f"Person {external_id}")
    _, pushed = world.sync_and_push()
    assert pushed.created == 2
    assert world.contact(HOSTILE).push_state == of_create
    assert "hunter2" not in world.contact(HOSTILE).last_error
    assert {world.contact(phone).push_state for phone in (GOOD, ALSO_GOOD)} == {PushState.SYNCED}

    world.virtualtext = FakeVirtualText(client.contacts)
    world.everything_is_due()
    world.push()
    raises = RaisingVirtualText(client.contacts)
    raises.error = error
    world.virtualtext = raises
    if world.contact(HOSTILE).push_state == PushState.REJECTED:
        return
    for external_id in "123":
        world.source.records[external_id]["name"] = "New name"
    _, pushed = world.sync_and_push()
    assert pushed.updated == 2
    assert world.contact(HOSTILE).push_state == of_update


def test_a_result_that_cannot_be_stored_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    original = FakeVirtualText.create_contact

    def with_a_broken_id(self: FakeVirtualText, body: ContactBody) -> Outcome[RemoteContact]:
        outcome = original(self, body)
        if body.phone == HOSTILE and outcome.value is not None:
            broken: Any = {"not": "text"}
            return Outcome(outcome.status, RemoteContact(broken, body.phone), http_status=200)
        return outcome

    monkeypatch.setattr(FakeVirtualText, "create_contact", with_a_broken_id)
    for external_id, phone in (("1", GOOD), ("2", HOSTILE), ("3", ALSO_GOOD)):
        world.source.put(external_id, phone, f"Person {external_id}")
    world.sync_and_push()
    assert {world.contact(phone).push_state for phone in (GOOD, ALSO_GOOD)} == {PushState.SYNCED}
    assert world.contact(HOSTILE).push_state == PushState.UNKNOWN
