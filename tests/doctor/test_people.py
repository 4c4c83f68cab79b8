"""What `vtsync check` says about consents."""

from __future__ import annotations

import pytest

from config.models import Policy, PropertyRule
from tests.contacts.conftest import World, world
from worker.core.findings import Level
from worker.doctor.people import check_people, judge_consents
from worker.messages.decisions import opt_in_number
from worker.store.db import writing
from worker.store.models import utcnow

__all__ = ["world"]


@pytest.mark.parametrize(
    ("contacts", "without", "level", "found"),
    [
        (0, 0, Level.OK, "all 0 contacts have a consent"),
        (5, 0, Level.OK, "all 5 contacts have a consent"),
        (1, 1, Level.WARNING, "1 of 1 contact have no consent"),
        (1200, 1100, Level.WARNING, "1,100 of 1,200 contacts have no consent"),
    ],
)
def test_the_judgement(contacts: int, without: int, level: Level, found: str) -> None:
    finding = judge_consents("main", contacts, without)
    assert (finding.level, found in finding.found) == (level, True)


def test_contacts_without_a_consent_are_counted_where_it_is_required(world: World) -> None:
    world.connections["crm"] = {"consent": PropertyRule(field="sms")}
    for index, sms in enumerate(("yes", "no", "", "yes", "")):
        world.source.put(str(index), f"+1415555010{index}", "N", sms=sms)
    world.sync()
    assert list(check_people(world.runtime())) == []
    world.policy = Policy(consent="required")
    (finding,) = check_people(world.runtime())
    assert finding.found == "3 of 5 contacts have no consent on record"
    world.source.put("0", "+14155550100", "N", sms="no")
    world.sync()
    with writing(world.engine) as db:
        opt_in_number(db, "+14155550101", source="cli", detail="asked", actor="ann", now=utcnow())
        opt_in_number(db, "+14155550102", source="cli", detail="asked", actor="ann", now=utcnow())
    (finding,) = check_people(world.runtime())
    assert finding.found == "2 of 5 contacts have no consent on record"
