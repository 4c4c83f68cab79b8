"""A forgotten person leaves no trace, does not come back by themselves, and stays opted out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from config.triggers import CreatedTrigger
from tests.fakes import LogSource
from tests.people.conftest import ANN, BEN, EMAIL, KEY, NAME, OTHER_KEY, WORDS, Scene
from worker.contacts.reader import PageReader
from worker.core.states import MessageState
from worker.doctor.people import check_people
from worker.messages.decisions import opt_in_number, remember_number
from worker.messages.forgotten import NoNumberKey, unfinished_erasures
from worker.messages.opt_out_lists import take_over
from worker.messages.opt_outs import NewOptOut
from worker.people import erase
from worker.people.erase import ForgetRefused, forget, rehearse_forget
from worker.people.export import export_person, is_known
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import contact_mapping, forgotten, message, opt_out, remote_contact, sync_run
from worker.upkeep.retention import prune


def forgets(scene: Scene, phone: str = ANN, why: str = "asked by letter") -> erase.Erased:
    return forget(scene.runtime(), phone, why=why, actor="operator")


def test_nothing_of_the_person_is_left_and_the_others_keep_theirs(scene: Scene) -> None:
    scene.everything()
    with writing(scene.engine) as db:
        db.execute(update(sync_run).values(error="the record of (415) 555-2671 is strange"))
    where = {trace.partition(".")[0] for trace in scene.traces()}
    assert where >= {
        "contact",
        "contact_mapping",
        "message",
        "inbound_message",
        "inbox_event",
        "forward",
        "public_event",
    }
    assert where >= {"opt_out", "opt_out_event", "consent_event", "remote_contact", "sync_run"}
    bens = export_person(scene.runtime(), BEN)
    planned = rehearse_forget(scene.runtime(), ANN)
    done = forgets(scene, why=f"{ANN} asked")
    assert done == planned
    assert done.rows["texts"] == 6
    assert done.opted_out
    assert scene.traces() == []
    assert {**export_person(scene.runtime(), BEN), "exported_at": ""} == {**bens, "exported_at": ""}
    assert {row.error for row in scene.rows(sync_run)} == {"the record of (forgotten) is strange"}
    assert {row.why for row in scene.rows(forgotten)} == {"(forgotten) asked"}


@pytest.mark.in_clear
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # of PostgreSQL, vacuum removes deleted rows
def test_the_file_of_the_embedded_store_does_not_have_it_either(scene: Scene) -> None:
    scene.everything()
    forgets(scene)
    base = Path(str(scene.engine.url.database))
    content = b"".join(path.read_bytes() for path in base.parent.glob(f"{base.name}*"))
    assert b"Hello Ben" in content
    for needle in (ANN, NAME, EMAIL, WORDS):
        assert needle.encode() not in content, needle


@pytest.mark.parametrize("survived", [0, 5, 10])
def test_what_was_interrupted_is_completed(scene: Scene, monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
    scene.everything()
    transactions = 0

    def killed(engine: Any) -> Any:
        nonlocal transactions
        transactions += 1
        if transactions > survived + 1:  # the mark, and some deletions
            raise SystemExit
        return writing(engine)

    monkeypatch.setattr(erase, "writing", killed)
    with pytest.raises(SystemExit):
        forgets(scene)
    monkeypatch.undo()
    monkeypatch.setattr("worker.contacts.pull.build_adapter", lambda *_: pytest.fail("no sync here"))
    assert scene.traces() != []
    with reading(scene.engine) as db:
        assert unfinished_erasures(db) == [ANN]
    if survived == 5:
        prune(scene.runtime(), utcnow())
    else:
        forgets(scene)
    assert scene.traces() == []
    with reading(scene.engine) as db:
        assert unfinished_erasures(db) == []


def test_the_next_syncs_reject_the_record_and_store_nothing_of_it(scene: Scene) -> None:
    scene.everything()
    forgets(scene)
    for full in (False, True, False):
        report = scene.sync(full=full)
        assert (report.added, report.messages) == (0, 0)
        assert scene.traces() == []
    assert "was forgotten on" in scene.rejections()["17"]
    assert "vtsync remember" in scene.rejections()["17"]
    assert [one.key for one in scene.plan().rejections if one.code == "forgotten"] == ["17"]
    del scene.source.records["17"]
    scene.sync()
    assert set(scene.rejections()) == {"18"}


def test_a_sync_that_had_read_the_record_before_does_not_bring_it_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.everything()
    scene.source.put("17", ANN, f"{NAME} the second", EMAIL, sms="Yes")
    read = PageReader.read

    def reads(reader: PageReader, page: Any) -> Any:
        found = read(reader, page)
        if any(one.phone == ANN for one in found.records):
            forgets(scene)
        return found

    monkeypatch.setattr(PageReader, "read", reads)
    scene.sync()
    assert scene.traces() == []
    assert set(scene.rejections()) == {"17", "18"}


def test_the_number_in_another_record_and_the_id_that_is_a_number(scene: Scene) -> None:
    scene.everything()
    forgets(scene)
    scene.source.put("19", ANN, "Annabel Quillfeather")
    scene.source.put("1-415-555-2671", ANN, "Annabel Quillfeather")
    scene.source.put("0", ANN, "Annabel Quillfeather")  # Ben's record until now
    scene.sync()
    assert scene.traces() == []
    rejected = scene.rejections()
    assert set(rejected) == {"0", "17", "18", "19", "a contact whose id is its number or email"}
    assert scene.mapping("0").full_name == "", "Ben's copy stays as it was, and nobody is texted about it"


def test_deals_of_a_forgotten_person_stay_away(scene: Scene) -> None:
    log = LogSource()
    scene.crm["crm"] = log  # type: ignore[assignment]
    scene.connections["crm"] = {"store_fields": "all"}
    log.put("ann", ANN, NAME)
    log.put_deal("deal:1", "ann", title=WORDS)
    scene.sync()
    assert {row.external_id for row in scene.rows(contact_mapping)} == {"ann", "deal:1"}
    forgets(scene)
    log.put_deal("deal:2", "ann", title=f"Again {WORDS}")
    scene.sync()
    scene.sync(full=True)
    assert scene.traces() == []
    assert set(scene.rejections()) == {"ann", "deal:1", "deal:2"}


def test_the_list_of_virtualtext_is_stored_without_the_number(scene: Scene) -> None:
    scene.everything()
    scene.push()
    forgets(scene)
    scene.source.put("20", "+14155552673", "Dora")
    scene.sync_and_push()
    assert ANN in scene.virtualtext.phones()
    assert scene.rows(remote_contact, remote_contact.c.phone == ANN) == []
    assert scene.traces() == []


def test_no_text_goes_to_the_number(scene: Scene) -> None:
    scene.source.put("17", ANN, NAME)
    scene.sync()
    forgets(scene)  # who had not opted out
    scene.policy = scene.policy.model_copy(update={"duplicate_window": scene.policy.release_jitter})
    asked = scene.texts(ANN, "Are you there?")
    scene.sends()
    assert scene.state(asked) == MessageState.SUPPRESSED
    (row,) = scene.rows(message)
    assert row.reason.startswith("opted_out: +1415•••2671 was forgotten on")
    assert scene.virtualtext.sent == []
    forgets(scene)
    assert scene.traces() == []


@pytest.mark.parametrize("opted_out", [True, False])
def test_a_remembered_person_comes_back_with_the_opt_out_and_without_a_welcome(scene: Scene, opted_out: bool) -> None:
    scene.triggers["welcome"] = CreatedTrigger(connections="crm", on="created", message="Hello {{ name }}")
    scene.sync()
    scene.source.put("17", ANN, NAME)
    scene.sync()
    scene.sends()
    if opted_out:
        scene.writes(ANN, "STOP")
    forgets(scene)
    assert remember_number(scene.runtime(), ANN, why="bought again", actor="operator")
    assert not remember_number(scene.runtime(), ANN, why="bought again", actor="operator")
    scene.source.put("21", "+14155552674", "Eve")
    scene.sync(full=True)
    assert scene.contact(ANN).full_name == NAME
    assert scene.rejections() == {}
    assert [row.to_number for row in scene.messages()] == ["+14155552674"]
    asked = scene.texts(ANN, "Your new order is ready")
    assert scene.state(asked) == ("suppressed" if opted_out else "queued")
    assert [row.source for row in scene.rows(opt_out)] == (["remembered"] if opted_out else [])


def test_an_opt_out_that_is_imported_meanwhile_holds_when_the_person_comes_back(scene: Scene) -> None:
    scene.everything()
    forgets(scene)
    with writing(scene.engine) as db:
        db.execute(update(forgotten).values(opted_out=False))  # they had not opted out then
    found = take_over(scene.engine, {ANN: NewOptOut("list.csv")}, source="import", actor="operator", dry_run=False)
    assert list(found.new) == [ANN]
    assert remember_number(scene.runtime(), ANN, why="bought again", actor="operator")
    assert scene.state(scene.texts(ANN, "Hello again")) == "suppressed"


@pytest.mark.parametrize("how", ["START", "opt-in"])
def test_the_person_and_an_opt_in_lift_it(scene: Scene, how: str) -> None:
    scene.writes(ANN, "STOP")
    forgets(scene)
    if how == "START":
        scene.writes(ANN, "START")
    else:
        with writing(scene.engine) as db:
            assert opt_in_number(db, ANN, source="cli", detail="asked in the shop", actor="operator", now=utcnow())
    assert scene.state(scene.texts(ANN, "Hello again")) == "queued"


def test_it_waits_until_a_text_has_been_sent(scene: Scene) -> None:
    scene.source.put("17", ANN, NAME)
    scene.sync()
    asked = scene.texts(ANN, WORDS)
    with writing(scene.engine) as db:
        db.execute(update(message).values(state=MessageState.DISPATCHING))
    with pytest.raises(ForgetRefused, match="being sent right now"):
        forgets(scene)
    assert scene.state(asked) == MessageState.DISPATCHING
    assert scene.rows(forgotten) == []


def test_without_a_key_nobody_is_forgotten_and_it_says_how_to_make_one(scene: Scene) -> None:
    scene.everything()
    scene.keys = None
    before = scene.traces()
    for call in (forgets, lambda scene: rehearse_forget(scene.runtime(), ANN)):
        with pytest.raises(NoNumberKey, match="openssl rand -base64 32"):
            call(scene)  # type: ignore[operator]
    assert scene.traces() == before


def test_an_old_key_behind_the_new_one_still_knows_them(scene: Scene) -> None:
    scene.everything()
    forgets(scene)
    scene.keys = f"{OTHER_KEY},{KEY}"
    scene.sync()
    assert scene.traces() == []
    assert scene.state(scene.texts(ANN, "Hello")) == "suppressed"
    forgets(scene)
    scene.keys = OTHER_KEY
    assert len({row.key_id for row in scene.rows(forgotten)}) == 2


def test_a_missing_key_stops_the_syncs_holds_the_texts_and_is_reported(scene: Scene) -> None:
    scene.everything()
    forgets(scene)
    for keys in (None, OTHER_KEY):
        scene.keys = keys
        report = scene.sync()
        assert report.state == "failed"
        assert "put that key back" in report.error
        held = scene.texts("+14155552679", f"Hello with {keys is None}")
        assert scene.state(held) == "held"
        (finding,) = check_people(scene.runtime())
        assert "put that key back" in finding.found
    assert not any("Quillfeather" in trace for trace in scene.traces())
    scene.keys = KEY
    assert scene.sync().ok
    assert list(check_people(scene.runtime())) == []


def test_a_number_that_nobody_knows_is_kept_away_all_the_same(scene: Scene) -> None:
    assert forgets(scene).rows == {}
    scene.source.put("17", ANN, NAME)
    scene.sync()
    assert scene.traces() == []
    assert set(scene.rejections()) == {"17"}


def test_other_people_s_rows_that_mention_the_number_are_named_and_stay(scene: Scene) -> None:
    scene.connections["crm"] = {"store_fields": "all"}
    scene.source.put("17", ANN, NAME)
    scene.source.put("22", BEN, "Ben", wife="(415) 555-2671")
    scene.sync()
    told = scene.texts(BEN, f"Your wife's number is {ANN}")
    done = forgets(scene)
    assert done.named == ("CRM record crm 22", f"message {told}")
    assert scene.mapping("22").properties != "{}"


def test_a_store_where_nobody_was_ever_forgotten_is_asked_once_a_page(scene: Scene) -> None:
    from sqlalchemy import event

    for index in range(9):
        scene.source.put(str(index), f"+1415555268{index}", "N")
    statements: list[str] = []
    event.listen(scene.engine, "before_cursor_execute", note := lambda *given: statements.append(given[2]))
    scene.sync()
    first = [one for one in statements if "forgotten" in one]
    statements.clear()
    scene.sync()
    again = [one for one in statements if "forgotten" in one]
    event.remove(scene.engine, "before_cursor_execute", note)
    assert len(first) == 1 + 2 * 3, "the key, and two for each of three pages"
    assert len(again) == 1, "unchanged pages ask nothing"


def test_a_person_who_is_not_known_has_an_empty_export(scene: Scene) -> None:
    assert not is_known(export_person(scene.runtime(), ANN))
