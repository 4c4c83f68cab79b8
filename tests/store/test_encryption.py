"""Content in the store is encrypted if there is a key: what is stored, what can be asked, and keys that change."""

from __future__ import annotations

import base64
import contextlib
import copy
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, String, Table, bindparam, func, insert, select, text, update
from sqlalchemy.types import TypeDecorator

from tests.conftest import STORE_KEY, postgres_schema, sqlite_file
from worker.core.content_cipher import ContentCipher, ContentUnreadable, HashKey, KeyMissing
from worker.store import content, tables
from worker.store.db import open_engine, reading, writing
from worker.store.migrate import StoreOutdated, ensure_current, head
from worker.store.sealed import Sealed, both_forms, is_hash, is_hash_of
from worker.store.tables import contact, contact_mapping, heartbeat, message, number_review

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NEW_KEY = base64.b64encode(bytes(range(100, 132))).decode()
OTHER_KEY = base64.b64encode(b"o" * 32).decode()
OLD, NEW = ContentCipher(STORE_KEY), ContentCipher(f"{NEW_KEY},{STORE_KEY}")
FORGED = f"vts1.{OLD.key_id}.{'A' * 60}"

IN_CLEAR = {
    # Keys: what rows are found by, and what makes them unique.
    r"\w+\.(id|name|key|place)": "key",
    r"\w+\.(account|connection|external_id|person|merged_into|trigger|batch_id|run_id|message_id|inbound_id)": "key",
    r"\w+\.(virtualtext_id|former_id|virtualtext_message_id|carrier_message_id|reference_code|contact_id)": "key",
    r"\w+\.(phone|to_number|from_number|numbers)": "phone numbers are keys",
    r"message\.idempotency_key": "key; callers choose it, a date trigger's ends with the date",
    r"date_plan\.occurrence": "the date; it is part of the text's key",
    r"(forward|public_event)\.(event_id|target|receiver)": "key",
    # Codes and names of ours, and what operators write.
    r"\w+\.(state|push_state|kind|type|source|actor|code|keyword|carrier|role|version|schedule|fingerprint)": "code",
    r"\w+\.(lease_owner|list_lease_owner|from_state|to_state|receiver|linked_how|linked_by|created_by)": "name",
    r"message\.metadata|message_metadata\.value": "what callers search by",
    r"consent_event\.(field|answer)": "name of a field; code",
    r"forgotten\.(digest|subject|key_id)": "keyed hash",
    r"web_user\.(password_hash|issuer|subject)|web_session\.(address|browser)|web_\w+\.token_hash": "about staff",
    r"audit_event\.(action|about|address)": "what staff did; an id",
    r"message\.callback_url|forward\.url": "where callers are reached",
    r"api_key\..*|dead_letter\..*|configuration_problem\..*|heartbeat\..*|store_key\..*": "no content",
    r"alert\..*": "about the installation, with numbers masked",
    # About a source or an account, not about a person.
    r"account_state\..*|carrier_state\..*|crm_budget\..*": "about an account",
    r"connection_state\.(shape|waits_reason|stopped_reason)": "about a source",
}
"""The columns of text that are stored in clear, and why. A new column is either content or has a place here."""


def columns_of_text() -> Iterator[Any]:
    for one in vars(tables).values():
        if isinstance(one, Table):
            for column in one.c:
                inner = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
                if isinstance(inner, String) and not isinstance(column.type, Sealed):
                    yield column


def test_every_column_of_text_is_encrypted_or_is_in_clear_for_a_reason() -> None:
    unknown = [
        str(column) for column in columns_of_text() if not any(re.fullmatch(one, str(column)) for one in IN_CLEAR)
    ]
    assert unknown == [], "make it a SealedText, or say here why it is in clear"


def test_the_place_of_each_column_is_its_name() -> None:
    for one in content.content_tables():
        for name, type_ in one.types.items():
            if hasattr(type_, "place"):
                assert type_.place == f"{one.raw.name}.{name}"


# --- the cipher


TEXTS = ["Hi Ada", "", "[]", "{}", "vts1.", "vts1.=x", FORGED, f"approval: {FORGED}", "é😀", "x" * 5000, " ", "a: b: c"]


@pytest.mark.parametrize("cipher", [None, OLD, NEW, ContentCipher(STORE_KEY, seals=False)])
@pytest.mark.parametrize("type_", [message.c.text.type, message.c.reason.type])
def test_what_is_stored_is_read_as_it_was(type_: Sealed[str], cipher: ContentCipher | None) -> None:
    stored = type_.store_many(cipher, TEXTS)
    assert [type_.load(cipher, one) for one in stored if one is not None] == TEXTS


@given(st.text())
def test_no_text_is_taken_for_an_encrypted_one(given_text: str) -> None:
    type_: Any = message.c.text.type
    for text_ in (given_text, f"vts1.{given_text}", f"vts1.{OLD.key_id}.{given_text}"):
        (stored,) = type_.store_many(None, [text_])
        assert type_.load(None, stored) == text_


def test_the_same_text_is_stored_differently_each_time_and_shows_only_the_id_of_its_key() -> None:
    stored = OLD.seal("message.text", ["Hi Ada", "Hi Ada"])
    assert stored[0] != stored[1]
    for one in stored:
        assert one is not None
        assert one.startswith(f"vts1.{OLD.key_id}.")
        assert b"Ada" not in base64.b64decode(one.rpartition(".")[2])


def test_an_encrypted_value_counts_only_in_its_column_and_unchanged() -> None:
    (stored,) = OLD.seal("message.text", ["Hi Ada"])
    assert stored is not None
    changed = stored[:-6] + ("AAAA" if stored[-6:-2] != "AAAA" else "BBBB") + stored[-2:]
    for place, value in (("inbound_message.text", stored), ("message.text", changed)):
        with pytest.raises(ContentUnreadable, match="was changed, or moved"):
            OLD.open(place, OLD.key_id, value)


def test_a_missing_key_is_named_by_its_id_and_never_shown() -> None:
    (stored,) = OLD.seal("message.text", ["Hi Ada"])
    assert stored is not None
    with pytest.raises(KeyMissing) as caught:
        message.c.text.type.load(ContentCipher(NEW_KEY), stored)  # type: ignore[attr-defined]
    assert OLD.key_id in str(caught.value)
    assert STORE_KEY not in str(caught.value)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=20), st.binary(min_size=16, max_size=16)), max_size=9))
def test_equal_hashes_stay_equal_and_are_read_as_they_were(hashes: list[bytes | None]) -> None:
    if any(one is not None and len(one) == 17 for one in hashes):
        return  # a digest is never so long
    key = HashKey(b"k" * 32)
    sealed = key.seal(hashes)
    assert sealed == key.seal(hashes)
    assert key.open([one for one in sealed if one is not None]) == [one for one in hashes if one is not None]
    assert all(one is None or len(one) != 16 for one in sealed)


# --- what SQL may ask


REFUSED = {
    "equal": lambda: message.c.text == "Hi",
    "equal to a parameter": lambda: message.c.text == bindparam("text"),
    "equal to a column": lambda: message.c.text == message.c.media,
    "in": lambda: message.c.text.in_(["a"]),
    "like": lambda: message.c.text.like("%a%"),
    "contains": lambda: tables.inbox_event.c.payload.contains("415"),
    "begins": lambda: contact_mapping.c.properties.startswith("{"),
    "joined": lambda: message.c.text + "x",
    "joined after": lambda: "x" + message.c.text,
    "ordered": lambda: message.c.text < "x",
}
ALLOWED = {
    "empty": lambda: message.c.text == "",
    "not empty": lambda: message.c.media != "[]",
    "not there": lambda: message.c.text.is_(None),
    "the code of a reason": lambda: message.c.reason.startswith("approval:"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_sql_does_not_compare_content(case: str) -> None:
    with pytest.raises(TypeError, match="may be encrypted"):
        REFUSED[case]()


@pytest.mark.parametrize("case", ALLOWED)
def test_sql_may_ask_what_is_stored_in_clear(case: str, store: Store) -> None:
    store.text("Hi", reason="approval: because", media='["https://x.example/a.png"]')
    with reading(store.engine) as connection:
        expected = 0 if case in ("empty", "not there") else 1
        assert connection.scalar(select(func.count()).where(ALLOWED[case]())) == expected


# --- a store


class Store:
    """A store whose cipher can be replaced, as by a restart with another configuration."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.count = 0

    def restart(self, cipher: ContentCipher | None) -> None:
        """As a process that starts with these keys."""
        self.engine.dispose()
        if cipher is not None:
            cipher = copy.copy(cipher)
            cipher.is_open, cipher.hash_key = False, None
        self.engine = open_engine(self.engine.url.render_as_string(hide_password=False), cipher=cipher)

    def text(self, body: str, **more: Any) -> str:
        self.count += 1
        row = {
            "id": f"m{self.count}",
            "account": "main",
            "kind": "send",
            "to_number": "+14155550101",
            "from_number": "+14155550100",
            "text": body,
            "idempotency_key": f"k{self.count}",
            "payload_hash": f"{self.count:032x}",
            "created_at": NOW,
            "due_at": NOW,
        }
        with writing(self.engine) as connection:
            connection.execute(insert(message).values(row | more))
        return str(row["id"])

    def contact(self, name: str, wanted: bytes, pushed: bytes | None) -> None:
        row = {"account": "main", "phone": "+14155550101", "full_name": name, "wanted_hash": wanted}
        with writing(self.engine) as connection:
            connection.execute(insert(contact).values(row | {"pushed_hash": pushed, "created_at": NOW}))

    def raw(self, sql: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(sql)))

    def texts(self) -> list[str]:
        with reading(self.engine) as connection:
            return list(connection.scalars(select(message.c.text).order_by(message.c.id)))

    def text_of(self, id_: str) -> str:
        with reading(self.engine) as connection:
            return str(connection.scalar(select(message.c.text).where(message.c.id == id_)))

    def rewrite(self) -> dict[str, int]:
        done: dict[str, int] = {}
        for one in content.rewrite_content(self.engine):
            done[one.table] = max(done.get(one.table, 0), one.rows)
        return done

    def outdated(self) -> dict[str, tuple[int, int, int]]:
        with reading(self.engine) as connection:
            return {one.table: (one.rows, one.old_key, one.unknown_key) for one in content.count_outdated(connection)}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store without a key, at the newest revision."""
    opened = sqlite_file(tmp_path / "s.sqlite3") if request.param == "sqlite" else postgres_schema()
    with opened as engine:
        made = Store(engine)
        yield made
        made.engine.dispose()


def test_rows_from_before_are_read_and_vtsync_encrypt_encrypts_them(store: Store) -> None:
    store.text("Hi Ada", reason="approval: Ada may not want it")
    store.contact("Ada", b"w" * 16, b"w" * 16)
    store.restart(OLD)
    store.text("Hi Bob")
    assert store.texts() == ["Hi Ada", "Hi Bob"]
    assert store.outdated() == {"message": (1, 0, 0), "contact": (1, 0, 0)}
    assert store.rewrite() == {"message": 1, "contact": 1}
    assert (store.outdated(), store.rewrite(), store.texts()) == ({}, {}, ["Hi Ada", "Hi Bob"])
    [(reason, hash_)] = store.raw("SELECT reason, payload_hash FROM message WHERE id = 'm1'")
    assert reason.startswith(f"approval: vts1.{OLD.key_id}.")
    assert hash_ != f"{1:032x}"
    [(name, wanted, pushed)] = store.raw("SELECT full_name, wanted_hash, pushed_hash FROM contact")
    assert name.startswith("vts1.")
    assert bytes(wanted) == bytes(pushed) != b"w" * 16


def test_another_key_first_rewrites_the_rows_and_then_the_old_key_is_not_needed(store: Store) -> None:
    store.restart(OLD)
    store.text("Hi Ada")
    hash_before = store.raw("SELECT payload_hash FROM message")
    store.restart(NEW)
    store.text("Hi Bob")
    assert store.outdated() == {"message": (1, 1, 0)}
    store.rewrite()
    assert store.outdated() == {}
    assert store.raw("SELECT payload_hash FROM message WHERE id = 'm1'") == hash_before  # the key of hashes stays
    store.restart(ContentCipher(NEW_KEY))
    ensure_current_tables(store)
    assert store.texts() == ["Hi Ada", "Hi Bob"]


def test_switched_off_all_is_in_clear_again_and_no_key_is_needed(store: Store) -> None:
    store.restart(OLD)
    store.text("Hi Ada", reason="approval: Ada")
    store.contact("Ada", b"w" * 16, b"p" * 16)
    store.restart(ContentCipher(STORE_KEY, seals=False))
    store.text("Hi Bob")
    assert store.texts() == ["Hi Ada", "Hi Bob"]
    store.rewrite()
    assert store.outdated() == {}
    store.restart(None)
    ensure_current_tables(store)
    assert store.texts() == ["Hi Ada", "Hi Bob"]
    assert store.raw("SELECT reason, payload_hash FROM message WHERE id = 'm1'") == [("approval: Ada", f"{1:032x}")]
    [(wanted,)] = store.raw("SELECT wanted_hash FROM contact")
    assert bytes(wanted) == b"w" * 16
    store.restart(ContentCipher(OTHER_KEY))  # on again, with another key: the old one is not asked for
    store.text("Hi Eve")
    assert store.texts() == ["Hi Ada", "Hi Bob", "Hi Eve"]


def ensure_current_tables(store: Store) -> None:
    """As a process that starts. The tables were made without migrations, so their revision is noted first."""
    with writing(store.engine) as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS vtsync_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("DELETE FROM vtsync_version"))
        connection.execute(text("INSERT INTO vtsync_version VALUES (:head)"), {"head": head()})
    ensure_current(store.engine)


WITHOUT_KEY: dict[str, ContentCipher | None] = {
    "no key": None,
    "another key": ContentCipher(OTHER_KEY),
    "another key, switched off": ContentCipher(OTHER_KEY, seals=False),
}


@pytest.mark.parametrize("cipher", WITHOUT_KEY.values(), ids=WITHOUT_KEY)
def test_a_process_without_the_key_does_not_start_and_damages_nothing(
    store: Store, cipher: ContentCipher | None
) -> None:
    store.restart(OLD)
    store.text("Hi Ada")
    before = store.raw("SELECT * FROM message")
    store.restart(cipher)
    with pytest.raises(StoreOutdated, match=f"encrypted with the key {OLD.key_id}"):
        ensure_current(store.engine)
    with pytest.raises(KeyMissing, match=OLD.key_id):
        store.texts()
    assert store.raw("SELECT * FROM message") == before


def test_the_rows_of_a_key_that_was_taken_away_too_early_are_counted(store: Store) -> None:
    store.restart(OLD)
    store.text("Hi Ada")
    store.restart(NEW)
    store.rewrite()
    store.text("Hi Bob")
    with writing(store.engine) as connection:  # by a process that still had the old key first
        sealed = OLD.seal("message.text", ["Hi Eve"])[0]
        connection.execute(text("UPDATE message SET text = :text WHERE id = 'm2'"), {"text": sealed})
    store.restart(ContentCipher(NEW_KEY))
    assert store.outdated() == {"message": (1, 1, 1)}
    with pytest.raises(KeyMissing):
        store.rewrite()
    assert store.text_of("m1") == "Hi Ada"


def test_encryption_is_not_switched_on_beside_a_process_of_another_version(store: Store) -> None:
    row = {"id": "worker:old:1", "role": "worker", "version": "0.0.1", "started_at": NOW}
    with writing(store.engine) as connection:
        connection.execute(insert(heartbeat).values(row | {"seen_at": content.utcnow()}))
    store.restart(OLD)
    with pytest.raises(ContentUnreadable, match=r"while worker:old:1 runs vtsync 0\.0\.1"):
        store.text("Hi Ada")
    with pytest.raises(StoreOutdated, match="upgrade every process"):
        ensure_current(store.engine)
    store.restart(None)
    with writing(store.engine) as connection:
        connection.execute(update(heartbeat).values(seen_at=content.utcnow() - timedelta(minutes=2)))
    store.restart(OLD)
    store.text("Hi Ada")
    assert store.texts() == ["Hi Ada"]


# --- rewriting beside a fleet


def test_what_another_process_writes_meanwhile_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(3):
        store.text(f"Hi {index}")
    store.restart(OLD)
    change, changed = content._change, []

    def meanwhile(one: Any, cipher: ContentCipher, row: Any) -> dict[str, Any]:
        if one.raw.name == "message" and not changed:
            changed.append(row.id)
            with writing(store.engine) as connection:
                connection.execute(update(message).where(message.c.id == "m1").values(text="Changed"))
                connection.execute(message.delete().where(message.c.id == "m2"))
        return change(one, cipher, row)

    monkeypatch.setattr(content, "_change", meanwhile)
    store.rewrite()
    assert store.texts() == ["Changed", "Hi 2"]
    assert store.outdated() == {}


def test_an_interrupted_rewriting_goes_on_where_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PORTION", 2)
    for index in range(5):
        store.text(f"Hi {index}")
    store.restart(OLD)
    for one in content.rewrite_content(store.engine):
        if one.table == "message":
            break
    assert store.outdated() == {"message": (3, 0, 0)}
    assert store.rewrite() == {"message": 3}
    assert store.texts() == [f"Hi {index}" for index in range(5)]


@pytest.mark.parametrize("cipher", [OLD, ContentCipher(STORE_KEY, seals=False)], ids=["on", "off"])
def test_a_hash_is_found_in_both_forms(store: Store, cipher: ContentCipher) -> None:
    """While it is switched on or off, some rows have encrypted hashes and some do not."""
    store.restart(None if cipher.seals else ContentCipher(STORE_KEY))
    store.contact("Ada", b"w" * 16, b"p" * 16)
    id_ = store.text("Hi", body_hash="ab" * 16)
    cipher = ContentCipher(STORE_KEY, seals=cipher.seals)
    store.restart(cipher)
    c, m = contact.c, message.c
    with writing(store.engine) as connection:
        mine = update(contact).where(is_hash_of(c.wanted_hash, "hash")).values(last_error=bindparam("error"))
        for hash_, count in ((b"w" * 16, 1), (b"x" * 16, 0)):
            assert connection.execute(mine, both_forms("hash", hash_) | {"error": "e"}).rowcount == count
        found = select(m.id).where(is_hash(m.body_hash, "ab" * 16))
        assert connection.scalars(found).all() == [id_]
        assert not connection.scalars(select(m.id).where(is_hash(m.body_hash, "cd" * 16))).all()


# --- files


def test_nothing_of_a_row_remains_in_the_file_of_sqlite(tmp_path: Path) -> None:
    """Not in free pages, and not in the write-ahead log, once `vtsync encrypt --vacuum` has ended."""
    path = tmp_path / "s.sqlite3"
    with sqlite_file(path) as engine:
        store = Store(engine)
        for index in range(300):
            store.text(f"Body{index} of a text that is long enough to fill some pages")
        with writing(engine) as connection:
            connection.execute(insert(number_review).values(phone="+14155550101", since=NOW, excerpt="Excerpt"))
            connection.execute(number_review.delete())
        assert b"Body1 " in path.read_bytes() + path.with_name("s.sqlite3-wal").read_bytes()
        store.restart(OLD)
        store.rewrite()
        content.vacuum(store.engine)
        store.engine.dispose()
    found = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"Body" not in found
    assert b"Excerpt" not in found
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM message").fetchone() == (300,)
