"""What the CRM says of the person behind a number: all of their records are heard."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import insert, select, update

from config.fields import FieldMapping
from config.models import Account, Connection, PropertyRule, Settings
from tests.messages.conftest import PAST, Outbox, crm_record_of, number
from worker.core.states import MessageState
from worker.messages import holds
from worker.messages.delivery import deliver_due
from worker.messages.holds import reconsider
from worker.messages.people import Recipient, recipient_of
from worker.messages.permission import missing_policy_fields
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import connection_state, contact, contact_mapping, rejected_record

# On SQLite alone: test_policy_database asks the same statements of PostgreSQL.
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

FIELDS = FieldMapping(time_zone=("Time Zone",), state=("billing_state", "state"), postal_code=("zip",))


def configure(box: Outbox, **rules: PropertyRule) -> Settings:
    """Two connections of the account, of which ``shop`` asks for nothing."""
    crm = Connection(adapter="csv", account="main", fields=FIELDS, **rules)  # type: ignore[arg-type]
    connections = {"crm": crm, "shop": Connection(adapter="csv", account="main")}
    box.runtime.settings = box.runtime.settings.model_copy(update={"connections": connections})
    return box.runtime.settings


def person(box: Outbox) -> Recipient:
    with reading(box.engine) as connection:
        return recipient_of(connection, box.runtime.settings, number(0))


def record(box: Outbox, connection: str, key: str, /, **properties: Any) -> None:
    """A CRM record with this number. All of them belong to one contact."""
    known: dict[str, Any] = {"properties": orjson.dumps(properties).decode()}
    with reading(box.engine) as db:
        contact_id = db.scalar(select(contact.c.id).where(contact.c.phone == number(0)))
    if contact_id is None:
        crm_record_of(box.engine, connection, key, number(0), **known)
        return
    row = {"connection": connection, "external_id": key, "contact_id": contact_id, "record_hash": b"1", "revision": 1}
    more = {"first_seen_at": PAST, "changed_at": PAST, "full_name": "", "email": ""}
    with writing(box.engine) as db:
        db.execute(insert(contact_mapping).values(row | more | known))


def change(box: Outbox, key: str, **values: Any) -> None:
    with writing(box.engine) as db:
        db.execute(update(contact_mapping).where(contact_mapping.c.external_id == key).values(**values))


@ON_SQLITE
def test_any_live_record_may_say_do_not_text(box: Outbox) -> None:
    configure(box, do_not_text=PropertyRule(field="dnc"))
    record(box, "shop", "1", dnc="yes")  # it is not asked
    assert person(box).do_not_text == ""
    record(box, "crm", "2", dnc="yes")
    change(box, "2", deleted_at=utcnow())
    assert person(box).do_not_text == ""
    record(box, "crm", "3", dnc="no")
    assert person(box).permission_unknown(box.runtime.settings, None) == ""
    record(box, "crm", "4", DNC="Yes")
    assert person(box).do_not_text == 'the field "dnc" of the CRM record crm 4'
    text = box.send()
    assert box.state(text) is MessageState.SUPPRESSED
    assert box.row(text).reason.startswith("do_not_text: the field")


@ON_SQLITE
def test_consent_is_that_of_the_record_that_the_text_is_about(box: Outbox) -> None:
    settings = configure(box, consent=PropertyRule(field="sms_consent"))
    record(box, "crm", "1", sms_consent="no")
    record(box, "crm", "2", sms_consent="yes")
    record(box, "shop", "3")
    found = person(box)
    assert found.no_consent(settings, ("crm", "1")) == 'the field "sms_consent" of the CRM record crm 1'
    assert found.no_consent(settings, ("crm", "2")) == ""
    assert found.no_consent(settings, ("shop", "3")) == ""  # nothing is asked there
    assert found.no_consent(settings, None) == ""  # some record of theirs says yes


@ON_SQLITE
def test_a_job_to_somebody_whose_records_all_say_no_is_not_sent(box: Outbox) -> None:
    settings = configure(box, consent=PropertyRule(field="sms_consent"))
    record(box, "crm", "1", sms_consent="no")
    record(box, "crm", "2", sms_consent=None)
    words = 'the field "sms_consent" of the CRM record crm 1 (nor do 1 more records)'
    assert person(box).no_consent(settings, None) == words
    text = box.send()
    assert box.row(text).reason == f"no_consent: {words} does not say that this person may be texted"


# What is not known.

RULES = {"do_not_text": PropertyRule(field="dnc"), "consent": PropertyRule(field="sms_consent")}

# What the record has, what its source lacks now, if it is unreadable, and what happens to a text to its person.
NOT_KNOWN: list[tuple[dict[str, Any], list[str], bool, str]] = [
    ({"dnc": "no", "sms_consent": "yes"}, [], False, "accepted"),
    ({"DNC": "", "SMS-Consent": "ja"}, [], False, "accepted"),
    # a field that the record came without
    ({"sms_consent": "yes"}, [], False, 'came without the field "dnc" (connections.crm.do_not_text.field)'),
    ({"dnc": "no"}, [], False, 'came without the field "sms_consent" (connections.crm.consent.field)'),
    ({}, [], False, 'came without the field "dnc"'),
    # several fields have the name, as in a file with two columns of one name: each of them counts
    ({"dnc": "", "dnc (2)": "yes", "sms_consent": "yes"}, [], False, "do_not_text: "),
    ({"DNC": "no", "d-n-c": "Ja", "sms_consent": "yes"}, [], False, "do_not_text: "),
    ({"dnc": "no", "dnc (2)": "", "sms_consent": "yes", "sms_consent (2)": ""}, [], False, "accepted"),
    ({"dnc": "no", "sms_consent": "yes", "SMS Consent (2)": "no"}, [], False, "no_consent: "),
    ({"dnc": "no", "dnc2": "yes", "sms_consent": "yes"}, [], False, "accepted"),
    # a field that the source does not have any more: the last values are kept
    ({"dnc": "no", "sms_consent": "yes"}, ["dnc"], False, 'the source has no field "dnc" now'),
    ({"dnc": "no", "sms_consent": "yes"}, ["DNC"], False, 'the source has no field "dnc" now'),
    ({"dnc": "no", "sms_consent": "yes"}, ["sms_consent"], False, 'the source has no field "sms_consent" now'),
    ({"dnc": "no", "sms_consent": "yes"}, ["status"], False, "accepted"),
    ({"dnc": "yes", "sms_consent": "yes"}, ["dnc"], False, "do_not_text: "),
    ({"dnc": "no", "sms_consent": "no"}, ["sms_consent"], False, "no_consent: "),
    ({"dnc": "no", "sms_consent": ""}, ["sms_consent"], False, "no_consent: "),
    # a record whose latest version cannot be read
    ({"dnc": "no", "sms_consent": "yes"}, [], True, "the CRM record crm 1 cannot be read now"),
    ({"dnc": "yes", "sms_consent": "yes"}, [], True, "do_not_text: "),
    ({"dnc": "no", "sms_consent": "no"}, [], True, "no_consent: "),
    # a value that nobody knows
    ({"dnc": "vielleicht", "sms_consent": "yes"}, [], False, '("vielleicht" is no known word for no; if it allows'),
    ({"dnc": "no", "sms_consent": "vielleicht"}, [], False, "no_consent: "),
]


@ON_SQLITE
@pytest.mark.parametrize(("properties", "missing", "unreadable", "expected"), NOT_KNOWN)
def test_what_is_not_known_holds_a_text(
    box: Outbox, properties: dict[str, Any], missing: list[str], unreadable: bool, expected: str
) -> None:
    configure(box, **RULES)
    record(box, "crm", "1", **properties)
    now = utcnow()
    with writing(box.engine) as db:
        db.execute(insert(connection_state).values(connection="crm", shape=orjson.dumps({"missing": missing}).decode()))
        if unreadable:
            row = {"connection": "crm", "key": "1", "code": "unreadable", "reason": "", "since": now, "seen_at": now}
            db.execute(insert(rejected_record).values(row))
    text = box.send()
    deliver_due(box.runtime)
    assert expected in f"{box.state(text)} {box.row(text).reason}"
    going = expected == "accepted"
    ended = expected.endswith(": ") or "vielleicht" in str(properties)
    states = {True: MessageState.ACCEPTED, False: MessageState.SUPPRESSED if ended else MessageState.HELD}
    assert box.state(text) is states[going]
    assert len(box.client.sent) == going


@ON_SQLITE
def test_a_held_text_goes_when_the_field_is_back(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "_reconsidered", {})
    configure(box, **RULES)
    record(box, "crm", "1", sms_consent="yes")
    text = box.send()
    deliver_due(box.runtime)
    assert box.row(text).reason.startswith("permission_unknown: ")
    assert reconsider(box.runtime) == 1
    deliver_due(box.runtime)
    assert box.state(text) is MessageState.HELD  # nothing has changed
    change(box, "1", properties='{"dnc": "no", "sms_consent": "yes"}')
    monkeypatch.setattr(holds, "_reconsidered", {})
    assert reconsider(box.runtime) == 1
    deliver_due(box.runtime)
    assert box.state(text) is MessageState.ACCEPTED


@ON_SQLITE
def test_a_known_consent_is_enough_for_a_text_about_no_record(box: Outbox) -> None:
    settings = configure(box, consent=PropertyRule(field="sms_consent"))
    record(box, "crm", "1")
    record(box, "crm", "2", sms_consent="yes")
    found = person(box)
    assert found.permission_unknown(settings, None) == ""
    assert "crm 1 came without" in found.permission_unknown(settings, ("crm", "1"))
    assert found.permission_unknown(settings, ("crm", "2")) == ""
    assert found.permission_unknown(settings, ("shop", "3")) == ""


@ON_SQLITE
def test_a_number_without_a_record_is_not_asked_about(box: Outbox) -> None:
    configure(box, **RULES)
    assert box.state(box.send()) is MessageState.QUEUED


@ON_SQLITE
def test_only_the_records_of_people_say_who_may_be_texted(box: Outbox) -> None:
    settings = configure(box, **RULES)
    record(box, "crm", "1", dnc="no", sms_consent="yes")
    record(box, "crm", "deal-7", dnc="yes", state="won")
    change(box, "deal-7", kind="deal", person="1")
    found = person(box)
    assert (found.do_not_text, found.permission_unknown(settings, ("crm", "deal-7"))) == ("", "")
    assert found.no_consent(settings, ("crm", "deal-7")) == ""
    assert [place.state for place in found.places] == [""]
    change(box, "1", properties='{"dnc": "no", "sms_consent": "no"}')
    assert "crm 1" in person(box).no_consent(settings, ("crm", "deal-7"))
    change(box, "1", deleted_at=utcnow())
    assert "the CRM record crm 1, which must give consent" in person(box).permission_unknown(
        settings, ("crm", "deal-7")
    )


def test_the_fields_that_are_missing_are_named() -> None:
    account = Account(uid="u", token="secret", from_number="+14155550199")  # type: ignore[arg-type]
    connections = {"crm": Connection(adapter="csv", account="main", **RULES)}  # type: ignore[arg-type]
    settings = Settings(accounts={"main": account}, connections=connections)
    assert missing_policy_fields(settings, "crm", {}) == []
    assert missing_policy_fields(settings, "crm", {"missing": ["status"]}) == []
    first, second = missing_policy_fields(settings, "crm", {"missing": ["DNC", "sms_consent"]})
    assert 'no field "dnc" now (connections.crm.do_not_text.field)' in first
    assert 'no field "sms_consent" now (connections.crm.consent.field)' in second
    assert all("`vtsync fields crm`" in sentence for sentence in (first, second))


@ON_SQLITE
def test_consent_that_is_taken_back_while_a_text_waits_stops_it(box: Outbox) -> None:
    configure(box, consent=PropertyRule(field="sms_consent"))
    record(box, "crm", "1", sms_consent="yes")
    text = box.send()
    assert box.state(text) is MessageState.QUEUED
    change(box, "1", properties='{"sms_consent": "no"}')
    deliver_due(box.runtime)
    assert box.state(text) is MessageState.SUPPRESSED
    assert box.client.sent == []


@ON_SQLITE
def test_a_number_that_no_record_has_is_not_asked_for_consent(box: Outbox) -> None:
    settings = configure(box, consent=PropertyRule(field="sms_consent"))
    assert person(box) == Recipient((), "", ())
    assert person(box).no_consent(settings, None) == ""


@ON_SQLITE
def test_all_places_are_told_and_records_of_unknown_connections_are_not(box: Outbox) -> None:
    configure(box)
    record(box, "crm", "1", **{"Time Zone": "America/Denver", "State": "CO"})
    record(box, "crm", "2", billing_state="TX", state="CO", zip=33101)
    record(box, "gone", "3", state="FL")
    places = person(box).places
    assert [(one.time_zone, one.state, one.postal_code) for one in places] == [
        ("America/Denver", "CO", ""),
        ("", "TX", "33101"),
    ]


@ON_SQLITE
def test_records_of_another_account_are_heard_too(box: Outbox) -> None:
    configure(box, do_not_text=PropertyRule(field="dnc"))
    other = Account(uid="u2", token="secret", from_number="+14155550199")
    settings = box.runtime.settings
    elsewhere = settings.connections["crm"].model_copy(update={"account": "other"})
    box.runtime.settings = settings.model_copy(
        update={
            "accounts": {**settings.accounts, "other": other},
            "connections": {**settings.connections, "theirs": elsewhere},
        }
    )
    crm_record_of(box.engine, "theirs", "9", number(0), properties='{"dnc": "yes"}')
    assert "theirs 9" in person(box).do_not_text
