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
from worker.messages.delivery import deliver_due
from worker.messages.people import Recipient, recipient_of, says_yes
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import contact, contact_mapping

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


@pytest.mark.parametrize(
    ("value", "yes"),
    [
        *((value, True) for value in ("yes", " YES ", "true", True, 1, 1.0, "1", "on", ["no", "yes"], ("x",))),
        *((value, False) for value in ("no", "", None, False, 0, "maybe", "yes please", [], {"a": "yes"}, [["yes"]])),
    ],
)
def test_what_means_yes(value: object, yes: bool) -> None:
    assert says_yes(PropertyRule(field="sms_consent"), {"SMS Consent": value}) is yes


def test_a_missing_field_is_no_yes() -> None:
    assert not says_yes(PropertyRule(field="sms_consent"), {"email_consent": "yes"})
    assert says_yes(PropertyRule(field="status", values=("Opted In",)), {"status": "opted in"})


@ON_SQLITE
def test_any_live_record_may_say_do_not_text(box: Outbox) -> None:
    configure(box, do_not_text=PropertyRule(field="dnc"))
    record(box, "shop", "1", dnc="yes")  # it is not asked
    assert person(box).do_not_text == ""
    record(box, "crm", "2", dnc="yes")
    change(box, "2", deleted_at=utcnow())
    assert person(box).do_not_text == ""
    record(box, "crm", "3", dnc="no")
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
    record(box, "crm", "2")
    words = 'the field "sms_consent" of the CRM record crm 1 (nor do 1 more records)'
    assert person(box).no_consent(settings, None) == words
    text = box.send()
    assert box.row(text).reason == f"no_consent: {words} does not say that this person may be texted"


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
