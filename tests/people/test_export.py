"""A copy of everything about a person; what a stranger can tell from it, and from ``explain``, alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import update

from config.models import PropertyRule
from config.triggers import CreatedTrigger
from tests.contacts.conftest import OURS
from tests.people.conftest import ANN, BEN, EMAIL, NAME, WORDS, Scene
from worker.cli import common
from worker.cli.explanation import show_explanation
from worker.cli.message_view import short_ids_of
from worker.messages.explain import explain
from worker.people.export import SCHEMA, export_person, is_known
from worker.people.registry import OWNED
from worker.store.db import writing
from worker.store.tables import inbox_event


def test_it_has_every_row_of_the_person_and_none_of_another(scene: Scene) -> None:
    scene.everything()
    found = json.loads(orjson.dumps(export_person(scene.runtime(), ANN)))  # it is JSON
    assert found["schema"] == SCHEMA
    sections = {one.section for one in OWNED} - {"text_history"}
    assert sections <= set(found)
    counts = {name: len(found[name]) for name in sections}
    assert counts == {
        "texts": 6,
        "replies": 3,
        "received_events": 3,
        "deliveries": 10,
        "public_events": 1,
        "reviews": 0,
        "review_history": 2,
        "text_metadata": 0,
        "consents": 1,
        "opt_outs": 1,
        "opt_out_history": 1,
        "planned_texts": 0,
        "rejected_records": 0,
        "virtualtext_contacts": 1,
        "contact_history": 0,
        "crm_records": 1,
        "record_history": 0,
        "contacts": 1,
    }
    (record,) = found["crm_records"]
    assert record["properties"] == {
        **{"phone": "(415) 555-2671", "name": NAME, "email": EMAIL},
        **{"sms": "Yes", "note": f"{NAME} likes {WORDS}"},
    }
    assert BEN not in json.dumps(found)
    assert "lease" not in json.dumps(found)


def test_an_export_of_some_accounts_has_their_part(scene: Scene) -> None:
    scene.everything()
    assert not is_known(export_person(scene.runtime(), ANN, ("other",)) | {"opted_out": False})
    mine = export_person(scene.runtime(), ANN, ("main",))
    assert (mine["accounts"], mine["may_be_texted"]) == (["main"], None)
    whole = export_person(scene.runtime(), ANN)
    for name in ("texts", "replies", "crm_records", "contacts", "opt_outs"):
        assert mine[name] == whole[name] != []
    for name in ("received_events", "deliveries", "opt_out_history", "reviews"):
        assert mine[name] == [], "whose they are is not stored"


def test_text_that_is_no_json_is_exported_as_it_is(scene: Scene) -> None:
    scene.writes(ANN, "Hello")
    with writing(scene.engine) as db:
        db.execute(update(inbox_event).values(payload="{broken"))
    assert [one["payload"] for one in export_person(scene.runtime(), ANN)["received_events"]] == ["{broken"]


@pytest.fixture
def audited(scene: Scene, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """The two outputs about a person with a history. What follows reads nothing else."""
    scene.connections["crm"] = {"consent": PropertyRule(field="sms_consent")}
    scene.triggers["welcome"] = CreatedTrigger(connections="crm", on="created", message="Welcome, {{ name }}!")
    scene.sync()
    scene.source.put("17", "(415) 555-2671", NAME, EMAIL, sms_consent="Opted in")
    scene.sync()
    scene.sends()
    scene.texts(ANN, "Your order is ready")
    scene.sends()
    scene.records(ANN, "Typed in another program")
    scene.writes(ANN, "When do you open?")
    scene.writes(ANN, "STOP")
    scene.texts(ANN, "Do not miss our sale")
    scene.sends()
    runtime = scene.runtime()
    exported = json.loads(orjson.dumps(export_person(runtime, ANN)))
    common.console.cache_clear()
    capsys.readouterr()
    found = explain(runtime, ANN)
    show_explanation(found, lambda *_: "", short_ids_of(runtime, [one.id for one in found.messages]))
    shown = " ".join(capsys.readouterr().out.split())
    common.console.cache_clear()
    return exported, shown


def test_a_stranger_can_tell_from_the_export(audited: tuple[dict[str, Any], str]) -> None:
    exported, _ = audited
    texts = {one["text"]: one for one in exported["texts"]}
    welcome, order = texts[f"Welcome, {NAME}!"], texts["Your order is ready"]
    sale, elsewhere = texts["Do not miss our sale"], texts["Typed in another program"]
    # Who texted this person?
    assert welcome["asked_by"] == "trigger welcome"
    assert order["asked_by"] == "the HTTP API (key shop)"
    assert (elsewhere["kind"], elsewhere["asked_by"]) == ("record", "a carrier (carrier)")
    assert {one["from_number"] for one in texts.values()} == {OURS}
    # Why, and by which rule?
    assert welcome["rule"] == {"connections": ["crm"], "on": "created", "message": "Welcome, {{ name }}!"}
    assert (welcome["connection"], welcome["external_id"]) == ("crm", "17")
    assert order["rule"] is None
    # With which consent?
    for one in (welcome, order):
        consent = one["consent"]
        assert (consent["source"], consent["connection"], consent["external_id"]) == ("crm", "crm", "17")
        assert (consent["field"], consent["words"], consent["answer"]) == ("sms_consent", "Opted in", "yes")
        assert datetime.fromisoformat(consent["at"]) <= datetime.now(UTC)
        assert one["state"] == "accepted"
        assert [step["to_state"] for step in one["history"]] == ["held", "queued", "dispatching", "accepted"] or [
            step["to_state"] for step in one["history"]
        ] == ["queued", "dispatching", "accepted"]
    # What did they answer?
    assert [(one["text"], one["keyword"]) for one in exported["replies"]] == [
        ("When do you open?", ""),
        ("STOP", "stop"),
    ]
    (proof,) = exported["opt_out_history"]
    assert (proof["source"], proof["detail"], proof["opted_out"]) == ("relay", 'wrote "STOP"', True)
    # What was not sent, and why?
    assert sale["state"] == "suppressed"
    assert "opted out" in sale["reason"]
    assert "the person asked for it by text" in exported["may_be_texted"]["main"]


def test_a_stranger_can_tell_from_explain(audited: tuple[dict[str, Any], str]) -> None:
    _, shown = audited
    for sentence in (
        f"accepted (trigger welcome, from {OURS})",
        f"accepted (http, from {OURS})",
        "(key shop)",
        "record ",
        "“Typed in another program”",
        'consent: yes, by crm 17, field "sms_consent": "Opted in"',
        'consent on record then: crm 17, field "sms_consent": "Opted in"',
        "they wrote to main on",
        "“When do you open?”",
        "read as STOP",
        'opted out (relay, relay): wrote "STOP"',
        "“Do not miss our sale”",
        "suppressed: opted_out:",
        "a text is not sent: +1415•••2671 opted out",
    ):
        assert sentence in shown, sentence
