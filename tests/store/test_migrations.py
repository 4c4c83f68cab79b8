"""The migrations make exactly the tables that the models describe, on each kind of store."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from config.models import Settings, Store
from tests.conftest import STORE_KEY
from tests.services import postgres_url
from worker.contacts.linking import is_linked
from worker.core.content_cipher import ContentCipher
from worker.core.states import PauseKind
from worker.messages.consents import add_consent, consents_of
from worker.messages.forgotten import forgotten_numbers, is_anybody_forgotten, mark_forgotten
from worker.messages.short_ids import short_ids
from worker.store.content import rewrite_content
from worker.store.db import open_engine, reading, writing
from worker.store.event_numbers import events_with_number
from worker.store.ids import new_message_id
from worker.store.migrate import (
    MIGRATIONS,
    VERSION_TABLE,
    StoreOutdated,
    UnsuitableStore,
    ensure_current,
    ensure_writable,
    head,
    migrate,
)
from worker.store.number_keys import use_number_keys
from worker.store.pauses import all_pauses
from worker.store.tables import message


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A store without tables."""
    if request.param == "sqlite":
        engine = open_engine(f"sqlite:///{tmp_path / 'store.sqlite3'}")
        yield engine
        engine.dispose()
        return
    url = postgres_url()
    admin = create_engine(url)
    schema = f"migrations_{uuid.uuid4().hex[:12]}"
    with admin.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine = open_engine(f"{url}?options=-csearch_path%3D{schema}")
    yield engine
    engine.dispose()
    with admin.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


def test_migrated_tables_are_the_models(empty: Engine) -> None:
    assert migrate(empty) == (None, head())
    with reading(empty) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "version_table": VERSION_TABLE})
        assert compare_metadata(context, SQLModel.metadata) == []


def at_revision(engine: Engine, revision: str) -> None:
    """Migrate to an older version's tables."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_deliveries_of_the_version_before_are_kept_and_get_their_receivers(empty: Engine) -> None:
    at_revision(empty, "0005")
    put = text(
        "INSERT INTO forward (event_id, target, type, payload, created_at, state, due_at, attempts, last_error)"
        " VALUES (:event, :target, 't', '{}', '2026-01-01', 'due', '2026-01-01', 3, 'no answer')"
    )
    before = ["subscriber:shop", "crm:people:17", "crm:people:a:b"]
    with writing(empty) as connection:
        connection.execute(put, [{"event": "e1", "target": target} for target in before])
    migrate(empty)
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(put, {"event": "e2", "target": "crm:people:18"})
    with reading(empty) as connection:
        rows = connection.execute(text("SELECT id, target, receiver, attempts, last_error FROM forward ORDER BY id"))
        assert [tuple(row) for row in rows] == [
            (1, "subscriber:shop", "subscriber:shop", 3, "no answer"),
            (2, "crm:people:17", "crm:people", 3, "no answer"),
            (3, "crm:people:a:b", "crm:people", 3, "no answer"),
            (4, "crm:people:18", "crm:people", 3, "no answer"),
        ]
    with pytest.raises(IntegrityError), writing(empty) as connection:
        connection.execute(put, {"event": "e1", "target": "crm:people:17"})
    with reading(empty) as connection:
        indexes = {index["name"]: index["column_names"] for index in inspect(connection).get_indexes("forward")}
    assert indexes["ix_forward_due"] == ["state", "due_at"]
    assert indexes["ix_forward_receiver"] == ["receiver", "state", "due_at"]


def test_the_upgrade_plans_date_triggers_again_because_more_dates_can_be_read(empty: Engine) -> None:
    at_revision(empty, "0006")
    with writing(empty) as connection:
        put = (
            'INSERT INTO trigger_state ("trigger", connection, fingerprint, active_since) VALUES (:name, :crm, :f, :at)'
        )
        for name in ("reminder", "welcome"):
            connection.execute(text(put), {"name": name, "crm": "crm", "f": "f", "at": "2026-01-01 00:00:00+00:00"})
        plan = 'INSERT INTO date_plan ("trigger", connection, external_id, occurrence) VALUES (:name, :crm, :id, :day)'
        connection.execute(text(plan), {"name": "reminder", "crm": "crm", "id": "17", "day": "2027-03-04"})
    migrate(empty)
    with reading(empty) as connection:
        waiting = text('SELECT "trigger" FROM trigger_state WHERE active_since IS NULL')
        assert connection.scalars(waiting).all() == ["reminder"]


def test_an_adapter_knows_that_the_version_before_stored_records(empty: Engine) -> None:
    at_revision(empty, "0006")
    with writing(empty) as connection:
        connection.execute(text("INSERT INTO connection_state (connection) VALUES ('crm')"))
    migrate(empty)
    with reading(empty) as connection:
        memory = connection.scalars(text("SELECT memory FROM connection_state")).one()
    assert json.loads(memory) == {"upgraded": True}


def test_what_the_version_before_writes_is_no_test(empty: Engine) -> None:
    at_revision(empty, "0014")
    columns = (
        "id, account, kind, state, reason, to_number, from_number, text, media, segments, source, idempotency_key,"
    )
    columns += " payload_hash, created_at, due_at, attempts, body_hash, reference_code"
    values = (
        ":id, 'main', 'send', 'accepted', '', '+14155552671', '+14155550100', 'x', '[]', 1, 'http', :id, '', :at, :at"
    )
    put = text(f"INSERT INTO message ({columns}) VALUES ({values}, 1, '', '')")
    key = text(
        "INSERT INTO api_key (id, name, key_hash, scopes, accounts, created_at, created_by)"
        " VALUES (:id, 'shop', '', '[]', '[]', :at, 'ann')"
    )
    at = "2026-01-01 00:00:00+00:00"
    for number in ("1", "2"):  # before the upgrade, and after it by a process that is not restarted yet
        with writing(empty) as connection:
            connection.execute(put, {"id": number, "at": at})
            connection.execute(key, {"id": number, "at": at})
        migrate(empty)
    with reading(empty) as connection:
        for table in ("message", "api_key"):
            assert [bool(one) for one in connection.scalars(text(f"SELECT test FROM {table}"))] == [False, False]


def test_messages_of_the_version_before_are_found_by_the_end_of_their_id_and_that_version_works_on(
    empty: Engine,
) -> None:
    at_revision(empty, "0024")
    ids = [new_message_id() for _ in range(2)]
    names = (
        "account",
        "kind",
        "state",
        "reason",
        "to_number",
        "from_number",
        "text",
        "media",
        "source",
        "payload_hash",
    )
    names += ("body_hash", "reference_code")
    values = dict.fromkeys(names, "") | {"segments": 1, "attempts": 0, "created_at": "2026-01-01 00:00:00+00:00"}
    values["due_at"] = values["created_at"]
    listed = ", ".join(("id", "idempotency_key", *values))
    put = text(f"INSERT INTO message ({listed}) VALUES (:id, :id, {', '.join(f':{name}' for name in values)})")
    for one in ids:  # before the upgrade, and after it by a process that is not restarted yet
        with writing(empty) as connection:
            connection.execute(put, values | {"id": one})
        migrate(empty)
    with reading(empty) as connection:
        assert short_ids(connection, ids) == {one: one[-8:] for one in ids}


def put_version_table(engine: Engine, revision: str) -> None:
    """Alembic's default table, as earlier versions and other applications have it."""
    with writing(engine) as connection:
        key = "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
        connection.execute(text(f"CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, {key})"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


def tables(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(inspect(connection).get_table_names())


@pytest.mark.parametrize("revision", ["0005", "0008", head()])
def test_a_store_whose_revision_is_in_alembics_default_table_is_taken_over(empty: Engine, revision: str) -> None:
    at_revision(empty, revision)
    with writing(empty) as connection:
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        connection.execute(text("INSERT INTO connection_state (connection) VALUES ('crm')"))
    put_version_table(empty, revision)
    if empty.dialect.name == "postgresql":
        with pytest.raises(StoreOutdated, match="vtsync migrate"):
            ensure_current(empty)
    assert migrate(empty) == (revision, head())
    ensure_current(empty)
    assert VERSION_TABLE in tables(empty)
    assert "alembic_version" not in tables(empty)
    put_version_table(empty, "9b1c")  # another application may use the default now
    assert migrate(empty) == (head(), head())
    with reading(empty) as connection:
        assert connection.scalars(text("SELECT connection FROM connection_state")).all() == ["crm"]
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == ["9b1c"]


@pytest.mark.parametrize("revision", ["ae1027a6acf", "0003"])
def test_the_alembic_table_of_another_application_is_left_alone(empty: Engine, revision: str) -> None:
    put_version_table(empty, revision)
    assert migrate(empty) == (None, head())
    ensure_current(empty)
    with reading(empty) as connection:
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [revision]


def test_tables_of_another_application_with_our_names_are_refused_and_left_alone(empty: Engine) -> None:
    with writing(empty) as connection:
        connection.execute(text("CREATE TABLE message (id INTEGER, subject TEXT)"))
        connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    with pytest.raises(UnsuitableStore, match="message; give vtsync a database of its own"):
        migrate(empty)
    assert tables(empty) == {"message", "orders"}


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(encoding: str) -> None:
    name = f"vtsync_{uuid.uuid4().hex[:12]}"
    admin = create_engine(postgres_url(), isolation_level="AUTOCOMMIT")
    engine = open_engine(admin.url.set(database=name).render_as_string(hide_password=False))
    with admin.connect() as connection:
        made = f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        connection.execute(text(made))
        try:
            for use in (migrate, ensure_current):
                with pytest.raises(UnsuitableStore, match=f"{encoding}.*createdb --encoding=UTF8"):
                    use(engine)
        finally:
            engine.dispose()
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def test_a_store_that_takes_writes_is_writable_and_nothing_is_written(empty: Engine) -> None:
    migrate(empty)
    ensure_writable(empty)
    with reading(empty) as connection:
        assert connection.scalar(text("SELECT count(*) FROM heartbeat")) == 0


def test_an_account_of_the_version_before_that_has_contacts_is_linked_and_that_version_works_on(empty: Engine) -> None:
    at_revision(empty, "0008")
    state = "INSERT INTO account_state (account, stopped_reason, list_unavailable_at) VALUES (:name, '', '2026-01-01')"
    put = (
        "INSERT INTO contact (account, phone, full_name, email, wanted_hash, virtualtext_id, push_state, attempts,"
        " last_error, created_at) VALUES (:name, '+14155550101', '', '', :hash, :id, 'due', 0, '', '2026-01-01')"
    )
    with writing(empty) as connection:
        connection.execute(text(state), [{"name": name} for name in ("created", "empty")])
        connection.execute(text(put), {"name": "created", "hash": b"h", "id": "c1"})
        connection.execute(text(put), {"name": "empty", "hash": b"h", "id": None})
    migrate(empty)
    with writing(empty) as connection:
        connection.execute(text(state), {"name": "later"})
        connection.execute(text(put), {"name": "later", "hash": b"h", "id": "c2"})
    with reading(empty) as connection:
        assert {name: is_linked(connection, name) for name in ("created", "empty", "later", "unknown")} == {
            "created": True,
            "empty": False,
            "later": True,
            "unknown": False,
        }


def test_keys_keep_what_they_could_do_and_opt_outs_get_the_only_account_that_knows_the_number(empty: Engine) -> None:
    at_revision(empty, "0008")
    at = "2026-01-01 00:00:00+00:00"
    key = (
        "INSERT INTO api_key (id, name, key_hash, scopes, accounts, created_at, created_by)"
        " VALUES (:id, 'x', 'x', :scopes, '[]', :at, '')"
    )
    person = "INSERT INTO opt_out (phone, since, source, detail) VALUES (:phone, :at, 'relay', '')"
    reply = (
        "INSERT INTO inbound_message (id, account, from_number, to_number, text, media, keyword, received_at)"
        " VALUES (:id, :account, :phone, '', '', '[]', 'stop', :at)"
    )
    scopes = {
        "everything": ["messages:write", "messages:read", "opt-outs:write"],
        "reads": ["messages:read"],
        "nothing": [],
    }
    with writing(empty) as connection:
        for name, given in scopes.items():
            connection.execute(text(key), {"id": name, "scopes": json.dumps(given), "at": at})
        for phone in ("+1", "+2", "+3"):
            connection.execute(text(person), {"phone": phone, "at": at})
        for number, (account, phone) in enumerate([("a", "+1"), ("a", "+1"), ("a", "+2"), ("b", "+2")]):
            connection.execute(text(reply), {"id": str(number), "account": account, "phone": phone, "at": at})
    migrate(empty)
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(text(person), {"phone": "+4", "at": at})
    with reading(empty) as connection:
        found = {row.id: json.loads(row.scopes) for row in connection.execute(text("SELECT id, scopes FROM api_key"))}
        owners = {row.phone: row.account for row in connection.execute(text("SELECT phone, account FROM opt_out"))}
    assert found == {
        "everything": [*scopes["everything"], "opt-outs:lift", "messages:urgent"],
        "reads": ["messages:read"],
        "nothing": [],
    }
    assert owners == {"+1": "a", "+2": "", "+3": "", "+4": ""}


def test_reviews_that_are_open_get_their_proof_and_the_version_before_works_on(empty: Engine) -> None:
    at_revision(empty, "0014")
    put = text("INSERT INTO number_review (phone, since, excerpt) VALUES (:phone, '2026-01-01 00:00:00+00:00', 'hm')")
    with writing(empty) as connection:
        connection.execute(put, {"phone": "+1"})
    migrate(empty)
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(put, {"phone": "+2"})
    with reading(empty) as connection:
        proofs = connection.execute(text("SELECT phone, opened, detail, actor FROM review_event")).all()
        owners = connection.execute(text("SELECT phone, account FROM number_review ORDER BY phone")).all()
    assert [tuple(row) for row in proofs] == [("+1", True, "hm", "relay")]
    assert [tuple(row) for row in owners] == [("+1", ""), ("+2", "")]


def test_contacts_whose_id_was_given_up_after_one_check_get_it_back(empty: Engine) -> None:
    at_revision(empty, "0008")
    lost = "VirtualText does not know {} any more; looking the contact up again"
    rows = [
        # (id, state, error, id in VirtualText, history); then what the contact is afterwards
        (1, "unknown", "its VirtualText id is gone", None, [lost.format("old1"), lost.format("vt:1")], "due", "vt:1"),
        (2, "unknown", "its VirtualText id is gone", None, [], "unknown", None),
        (3, "unknown", "the response was lost", None, [lost.format("vt3")], "unknown", None),
        (4, "synced", "", "vt4", [lost.format("vt-old")], "synced", "vt4"),
        (5, "unknown", "its VirtualText id is gone", None, [lost.format("vt4")], "unknown", None),
    ]
    put = text(
        "INSERT INTO contact (id, account, phone, full_name, email, wanted_hash, push_state, virtualtext_id, attempts,"
        " last_error, created_at) VALUES (:id, 'main', :phone, '', '', :hash, :state, :found, 3, :error, '2026-01-01')"
    )
    told = text(
        "INSERT INTO contact_event (contact_id, at, kind, detail)"
        " VALUES (:contact, '2026-01-01', 'virtualtext_id_lost', :detail)"
    )
    with writing(empty) as connection:
        for key, state, error, found, history, *_ in rows:
            values = {"id": key, "phone": f"+1415555010{key}", "hash": b"h", "state": state, "found": found}
            connection.execute(put, {**values, "error": error})
            for detail in history:
                connection.execute(told, {"contact": key, "detail": detail})
    migrate(empty)
    with reading(empty) as connection:
        after = connection.execute(text("SELECT id, push_state, virtualtext_id FROM contact ORDER BY id")).all()
        counts = connection.execute(text("SELECT DISTINCT missing_checks, wrong_answers FROM contact")).all()
    assert [tuple(row) for row in after] == [(key, state, found) for key, *_, state, found in rows]
    assert [tuple(row) for row in counts] == [(0, 0)]
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        values = {"id": 9, "phone": "+14155550199", "hash": b"h", "state": "due", "found": None, "error": ""}
        connection.execute(put, values)


def test_a_store_of_the_version_before_gets_an_empty_ledger_and_nobody_is_forgotten(empty: Engine) -> None:
    at_revision(empty, "0014")
    at = "2026-01-01 00:00:00+00:00"
    proof = (
        "INSERT INTO opt_out_event (phone, at, opted_out, source, detail, actor)"
        " VALUES ('+14155552671', :at, :out, 'relay', 'wrote \"STOP\"', 'relay')"
    )
    person = (
        "INSERT INTO contact (id, account, phone, full_name, email, wanted_hash, push_state, attempts, last_error,"
        " created_at) VALUES (1, 'main', '+14155552671', 'Ann', '', :hash, 'synced', 0, '', :at)"
    )
    with writing(empty) as connection:
        connection.execute(text(proof), {"at": at, "out": True})
        connection.execute(text(person), {"at": at, "hash": b"h"})
    migrate(empty)
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(text(proof), {"at": at, "out": False})
    use_number_keys(empty, Settings(store=Store(grant_key=base64.b64encode(b"k" * 32).decode())))  # type: ignore[arg-type]
    with writing(empty) as connection:
        assert consents_of(connection, ["+14155552671"]) == {}
        assert not is_anybody_forgotten(connection)
        now = datetime(2026, 2, 1, tzinfo=UTC)
        add_consent(connection, "+14155552671", source="cli", words="asked", now=now, actor="ann")
        mark_forgotten(connection, "+14155552671", [("crm", "17")], opted_out=True, why="", actor="ann", now=now)
    with reading(empty) as connection:
        assert [one.words for one in consents_of(connection, ["+14155552671"])["+14155552671"]] == ["asked"]
        assert forgotten_numbers(connection, ["+14155552671", "+14155552672"]).keys() == {"+14155552671"}
        count = connection.scalar(text("SELECT count(*) FROM opt_out_event WHERE phone = '+14155552671'"))
        assert count == 2


def test_messages_whose_response_was_lost_before_the_upgrade_are_known_as_such(empty: Engine) -> None:
    at_revision(empty, "0008")
    put = text(
        "INSERT INTO message (id, account, kind, state, reason, to_number, from_number, text, media, segments, source,"
        " idempotency_key, payload_hash, created_at, due_at, attempts, attempted_at, body_hash, reference_code)"
        " VALUES (:id, 'main', :kind, :state, :reason, '+1', '+2', 'x', '[]', 1, 'http', :id, '', '2026-01-01',"
        " '2026-01-01', 1, :attempted_at, '', '')"
    )
    rows = [
        # (id, kind, state, reason, attempted, may have been carried out)
        ("a", "send", "unknown", "timeout: x", True, True),
        ("b", "send", "queued", "unreachable: x", True, False),
        ("c", "send", "queued", "resend: x", True, True),
        ("d", "record", "queued", "timeout: x", True, True),
        ("e", "record", "queued", "vanished: x", True, True),
        ("f", "record", "queued", "unreachable: x", True, False),
        ("g", "record", "queued", "", False, False),
        ("h", "send", "accepted", "", True, False),
    ]
    at = "2026-01-01 12:00:00"
    with writing(empty) as connection:
        for id_, kind, state, reason, attempted, _ in rows:
            values = {"id": id_, "kind": kind, "state": state, "reason": reason}
            connection.execute(put, values | {"attempted_at": at if attempted else None})
        event = text(
            "INSERT INTO message_event (message_id, at, to_state, reason, actor, attempt)"
            " VALUES ('c', :at, 'unknown', '', '', 1)"
        )
        connection.execute(event, {"at": at})
    migrate(empty)
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(put, {"id": "z", "kind": "send", "state": "queued", "reason": "", "attempted_at": None})
    with reading(empty) as connection:
        found = connection.execute(text("SELECT id FROM message WHERE unanswered_at IS NOT NULL ORDER BY id")).scalars()
        assert list(found) == [row[0] for row in rows if row[-1]]


def test_the_version_before_writes_texts_and_deliveries_after_the_upgrade_too(empty: Engine) -> None:
    at_revision(empty, "0014")
    text_of = text(
        "INSERT INTO message (id, account, kind, state, reason, to_number, from_number, text, media, segments, source,"
        " idempotency_key, payload_hash, created_at, due_at, attempts, body_hash, reference_code)"
        " VALUES (:id, 'main', 'send', 'queued', '', '+1', '+2', 'x', '[]', 1, 'http', :id, '', '2026-01-01',"
        " '2026-01-01', 0, '', '')"
    )
    put = text(
        "INSERT INTO forward (event_id, target, type, payload, created_at, state, due_at, attempts, last_error)"
        " VALUES (:event, 'subscriber:shop', 't', '{}', '2026-01-01', 'due', '2026-01-01', 3, '')"
    )
    with writing(empty) as connection:
        connection.execute(text_of, {"id": "before"})
        connection.execute(put, {"event": "before"})
    migrate(empty)
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(text_of, {"id": "meanwhile"})
        connection.execute(put, {"event": "meanwhile"})
    with reading(empty) as connection:
        texts = connection.execute(text("SELECT id, metadata, callback_url FROM message ORDER BY id")).all()
        forwards = connection.execute(text("SELECT event_id, url FROM forward ORDER BY event_id")).all()
    assert [tuple(row) for row in texts] == [("before", "{}", None), ("meanwhile", "{}", None)]
    assert [tuple(row) for row in forwards] == [("before", None), ("meanwhile", None)]


def test_migrating_again_changes_nothing(empty: Engine) -> None:
    migrate(empty)
    assert migrate(empty) == (head(), head())
    ensure_current(empty)


def test_several_processes_may_migrate_at_once(empty: Engine) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(empty)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ensure_current(empty)


def test_a_store_without_tables_is_made_where_it_is_a_file_and_reported_where_it_is_a_server(empty: Engine) -> None:
    if empty.dialect.name == "sqlite":
        ensure_current(empty)
        assert "contact" in inspect(empty).get_table_names()
    else:
        with pytest.raises(StoreOutdated, match="vtsync migrate"):
            ensure_current(empty)


def test_the_files_numbers_say_which_migration_is_the_last() -> None:
    from alembic.script import ScriptDirectory

    assert head() == ScriptDirectory(str(MIGRATIONS)).get_current_head()


def test_events_and_texts_of_the_version_before_are_found_and_encrypted(empty: Engine) -> None:
    at_revision(empty, "0014")
    put_event = text(
        "INSERT INTO inbox_event (source, name, received_at, payload, state, detail, attempts, due_at)"
        " VALUES ('relay', 'main', '2026-01-01', :payload, 'new', '', 0, '2026-01-01')"
    )
    put_text = text(
        "INSERT INTO message (id, account, kind, state, reason, to_number, from_number, text, media, segments, source,"
        " idempotency_key, payload_hash, body_hash, created_at, due_at, attempts, reference_code) VALUES (:id, 'main',"
        " 'send', 'held', 'approval: Ada', '+14155550101', '+14155550100', 'Hi Ada', '[]', 1, 'task', :id,"
        " '0123456789abcdef0123456789abcdef', '', '2026-01-01', '2026-01-01', 0, '')"
    )
    with writing(empty) as connection:
        connection.execute(put_event, {"payload": '{"to": "(415) 555-0101"}'})
        connection.execute(put_text, {"id": "m1"})
    migrate(empty)
    with writing(empty) as connection:  # as a process of the version before, which is not restarted yet
        connection.execute(put_event, {"payload": '{"to": "(415) 555-0202"}'})
        connection.execute(put_text, {"id": "m2"})
    empty.dispose()
    engine = open_engine(empty.url.render_as_string(hide_password=False), cipher=ContentCipher(STORE_KEY))
    ensure_current(engine)
    assert {one.table: one.rows for one in rewrite_content(engine)} == {"inbox_event": 2, "message": 2}
    with reading(engine) as connection:
        assert [row.payload for row in events_with_number(connection, "0101")] == ['{"to": "(415) 555-0101"}']
        rows = connection.execute(select(message.c.text, message.c.reason, message.c.payload_hash)).all()
        assert rows == [("Hi Ada", "approval: Ada", "0123456789abcdef0123456789abcdef")] * 2
        stored = repr(connection.execute(text("SELECT * FROM message")).all())
    engine.dispose()
    assert "Ada" not in stored
    assert "0123456789abcdef" not in stored


def test_an_alert_is_open_once_and_may_come_back_after_its_end(empty: Engine) -> None:
    at_revision(empty, "0023")
    with writing(empty) as connection:  # what was there stays
        connection.execute(text("INSERT INTO connection_state (connection) VALUES ('crm')"))
    migrate(empty)
    columns = "key, kind, urgent, found, remedy, since, seen_at, told_urgent, ended_at"
    put = text(f"INSERT INTO alert ({columns}) VALUES ('k', 'no_tick', false, '', '', :at, :at, false, :ended)")
    at = "2026-01-01 00:00:00+00:00"
    with writing(empty) as connection:
        for ended in (at, at, None):
            connection.execute(put, {"at": at, "ended": ended})
    with pytest.raises(IntegrityError), writing(empty) as connection:
        connection.execute(put, {"at": at, "ended": None})
    with reading(empty) as connection:
        assert connection.scalars(text("SELECT connection FROM connection_state")).all() == ["crm"]


def test_users_with_a_password_stay_and_one_person_of_an_issuer_is_one_user(empty: Engine) -> None:
    at_revision(empty, "0024")
    columns = "name, role, password_hash, totp_step, failures, created_at, created_by"
    put = text(f"INSERT INTO web_user ({columns}) VALUES (:name, 'admin', 'h', 0, 0, '2026-01-01', 'test')")
    with writing(empty) as connection:
        connection.execute(put, {"name": "ana"})
    migrate(empty)
    with writing(empty) as connection:  # as a process of the version before, which is not restarted yet
        connection.execute(put, {"name": "bo"})
    with reading(empty) as connection:
        found = connection.execute(text("SELECT name, password_hash, issuer, subject FROM web_user ORDER BY name"))
        assert [tuple(row) for row in found] == [("ana", "h", None, None), ("bo", "h", None, None)]
    same = text("UPDATE web_user SET issuer = 'https://login.example.com', subject = '17' WHERE name = :name")
    with writing(empty) as connection:
        connection.execute(same, {"name": "ana"})
    with pytest.raises(IntegrityError), writing(empty) as connection:
        connection.execute(same, {"name": "bo"})


def test_what_is_paused_is_paused_once_and_what_was_there_stays(empty: Engine) -> None:
    at_revision(empty, "0026")
    with writing(empty) as connection:
        connection.execute(text("INSERT INTO connection_state (connection) VALUES ('crm')"))
        connection.execute(
            text("INSERT INTO trigger_state (trigger, connection, fingerprint) VALUES ('t', 'crm', 'f')")
        )
    migrate(empty)
    columns = "(kind, name, since, actor, reason)"
    put = text(f"INSERT INTO pause {columns} VALUES (:kind, 'crm', '2026-01-01 00:00:00+00:00', 'ana', '')")
    with writing(empty) as connection:  # a trigger may have the name of a connection
        connection.execute(put, [{"kind": "connection"}, {"kind": "trigger"}])
    with pytest.raises(IntegrityError), writing(empty) as connection:
        connection.execute(put, {"kind": "trigger"})
    with reading(empty) as connection:
        assert connection.scalars(text("SELECT connection FROM connection_state")).all() == ["crm"]
        assert connection.scalars(text("SELECT fingerprint FROM trigger_state")).all() == ["f"]
        assert set(all_pauses(connection, PauseKind.TRIGGER)) == {"crm"}


def test_a_review_with_replies_to_two_accounts_belongs_to_neither_and_the_version_before_works_on(
    empty: Engine,
) -> None:
    at_revision(empty, "0027")
    earlier, begun, later = (f"2026-01-0{day} 00:00:00+00:00" for day in (1, 2, 3))
    columns = "phone, since, excerpt, account"
    put = text(f"INSERT INTO number_review ({columns}) VALUES (:phone, '{begun}', 'hm', 'main')")
    columns = "id, account, from_number, to_number, text, media, keyword, received_at"
    wrote = text(f"INSERT INTO inbound_message ({columns}) VALUES (:id, :account, :phone, '+9', '', '[]', :word, :at)")
    rows = [
        # (number, account, keyword, when); then the account of the review
        ("+1", "main", "review", later, "main"),
        ("+2", "other", "review", later, ""),
        ("+3", "other", "", later, "main"),
        ("+4", "other", "review", earlier, "main"),
    ]
    with writing(empty) as connection:
        for phone, account, word, at, _ in rows:
            connection.execute(put, {"phone": phone})
            values = {"id": phone, "account": account, "phone": phone, "word": word, "at": at}
            connection.execute(wrote, values)
    migrate(empty)
    proof = f"INSERT INTO review_event (phone, at, opened, detail, actor) VALUES ('+5', '{begun}', TRUE, 'hm', 'relay')"
    with writing(empty) as connection:  # as a worker of the version before, which is not restarted yet
        connection.execute(put, {"phone": "+5"})
        connection.execute(text(proof))
    with reading(empty) as connection:
        found = connection.execute(text("SELECT phone, account, last_at FROM number_review ORDER BY phone")).all()
        assert connection.scalars(text("SELECT account FROM review_event")).all() == [""], "it is not known"
    assert [tuple(row) for row in found] == [*((phone, then, None) for phone, *_, then in rows), ("+5", "main", None)]
