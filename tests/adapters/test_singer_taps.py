"""What taps write and do that a reader does not expect: each test runs a real program."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from config.fields import FieldMapping
from config.types import FromFile
from crm_adapters.base import (
    AdapterError,
    ContactChange,
    CredentialsRejected,
    CursorExpired,
    SourceIncomplete,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
)
from crm_adapters.services import LocalServices
from crm_adapters.singer import folder as folders
from crm_adapters.singer import process
from crm_adapters.singer.adapter import RENEWED, SingerAdapter
from crm_adapters.singer.catalog import Stream, StreamChoice, find_stream, flat_fields, selected
from crm_adapters.singer.options import SingerOptions
from crm_adapters.singer.words import TapWords
from tests.adapters.test_conformance_singer import TOKEN
from tests.adapters.test_singer import Make, alive, make, read  # noqa: F401 - make is a fixture
from tests.harness import until

BOOKMARK = {"bookmarks": {"contacts": "2026-03-07T00:00:00Z"}}


def message(kind: str, stream: str = "contacts", **more: Any) -> str:
    return json.dumps({"type": kind, "stream": stream, **more})


def schema(*names: str, stream: str = "contacts") -> str:
    properties = {name: {"type": ["null", "string"]} for name in names}
    return message("SCHEMA", stream, schema={"properties": properties}, key_properties=["id"])


def record(external_id: Any, stream: str = "contacts", **values: Any) -> str:
    return message("RECORD", stream, record={"id": external_id, **values})


def state(value: Any) -> str:
    return json.dumps({"type": "STATE", "value": value})


STATE = state({"bookmark": 1})
SCHEMA = schema("id", "mobile")


def says(make: Make, *lines: str, cursor: Any = None, **options: Any) -> tuple[list[Any], Any, AdapterError | None]:  # noqa: F811
    """Return the changes, the last cursor and the error of a tap that writes these lines."""
    config = {"says": lines} | options.pop("config", {})
    pages, error = read(make("says", config=config, **options), cursor)
    return [change for page in pages for change in page.changes], pages[-1].cursor if pages else None, error


# What a tap writes


@pytest.mark.parametrize(
    ("lines", "listed", "last"),
    [
        ([STATE, SCHEMA, record("1")], ["1"], {"bookmark": 1}),
        ([SCHEMA, record("1"), STATE, state({"bookmark": 2}), record("2")], ["1", "2"], {"bookmark": 2}),
        ([SCHEMA, record("1"), STATE, state({}), state(None), state([1])], ["1"], {"bookmark": 1}),
        ([record("1"), SCHEMA, record("2"), STATE], ["1", "2"], {"bookmark": 1}),
        ([record("1"), STATE], ["1"], {"bookmark": 1}),
        ([SCHEMA, record("1", "other"), schema("id", stream="other"), record("2")], ["2"], None),
        ([SCHEMA, record(7), record(8.0), record("x y/é")], ["7", "8", "x y/é"], None),
        ([SCHEMA, record("1"), record("1", mobile="+1")], ["1", "1"], None),
        (['{"type": ["STATE"]}', '{"type": "RECORD", "stream": ["contacts"]}', SCHEMA, record("1")], ["1"], None),
        ([SCHEMA, '{"type": "RECORD" and more', "RECORD", "null", "[" * 20_000, record("1")], ["1"], None),
        ([SCHEMA, record("1") + "\r", "", " " + record("2") + " "], ["1", "2"], None),
    ],
)
def test_what_is_written_is_read(
    make: Make,  # noqa: F811
    lines: list[str],
    listed: list[str],
    last: Any,
) -> None:
    changes, cursor, error = says(make, *lines)
    assert error is None
    assert [one.external_id for one in changes if isinstance(one, ContactChange)] == listed
    assert cursor == (None if last is None else {"state": last})


@pytest.mark.parametrize(
    ("line", "key", "reason"),
    [
        (record("1")[:-1], "", "no JSON"),
        (record("9", mobile="\udcff\udcfe").replace("\\udcff\\udcfe", "\udcff\udcfe"), "9", "not encoded in UTF-8"),
        (record("9").replace("}}", ', "n": ' + "1" * 5000 + "}}"), "9", "no JSON"),
        (record(None), "", "no usable value in id"),
        (record(""), "", "no usable value in id"),
        (record({"a": 1}), "", "no usable value in id"),
        (record(True), "", "no usable value in id"),
        (record(1).replace('"id": 1', '"id": NaN'), "", "no usable value in id"),
        (message("RECORD", record=[1]), "", "no object"),
        (message("RECORD"), "", "no object"),
    ],
)
def test_a_record_that_cannot_be_read_is_told(make: Make, line: str, key: str, reason: str) -> None:  # noqa: F811
    changes, _, error = says(make, SCHEMA, record("1"), line, record("2"))
    assert error is None
    assert [one.external_id for one in changes if isinstance(one, ContactChange)] == ["1", "2"]
    (odd,) = [one for one in changes if isinstance(one, UnreadableRecord)]
    assert reason in odd.reason
    again, _, _ = says(make, SCHEMA, line)
    assert again[0].key == odd.key, "the key does not depend on the position"
    assert odd.key == key or (not key and "without id" in odd.key)


def test_a_second_schema_counts_from_there_on(make: Make) -> None:  # noqa: F811
    changes, _, _ = says(make, SCHEMA, record("1"), schema("id", "email"), record("2"), schema(), record("3"))
    assert [set(one.properties) for one in changes] == [{"id", "mobile"}, {"id", "email"}, {"id", "email"}]


def test_records_before_their_schema_have_the_fields_of_the_catalog(make: Make) -> None:  # noqa: F811
    changes, _, _ = says(make, record("1", address=None, odd=None), SCHEMA)
    assert changes[0].properties.keys() >= {"id", "mobile", "email", "owner", "owner_id", "address.city", "odd"}
    assert "address" not in changes[0].properties, "an empty object is no field"


def test_an_object_of_unknown_fields_is_text(make: Make) -> None:  # noqa: F811
    changes, _, _ = says(make, schema("id", "extra"), record("1", extra={"a": 1}), record("2", extra={}), record("3"))
    assert [one.properties["extra"] for one in changes] == ['{"a": 1}', None, None]


def test_numbers_and_text_can_be_stored(make: Make) -> None:  # noqa: F811
    line = record("1").replace("}}", ', "a": NaN, "b": -Infinity, "c": 1.10, "d": "\\ud83d", "e": "a\\u0000b"}}')
    changes, _, _ = says(make, schema("id"), line)
    assert changes[0].properties == {"id": "1", "a": None, "b": None, "c": 1.1, "d": "?", "e": "ab"}


def test_streams_may_come_in_any_order(make: Make, tmp_path: Path) -> None:  # noqa: F811
    deals = schema("id", "title", "contact_id", stream="deals")
    second = record(6, "deals", contact_id=[{"id": 1.0}, 2])
    lines = [deals, record(5, "deals", contact_id=1), SCHEMA, record("1"), second]
    changes, _, error = says(make, *lines, belonging={"deals": {"kind": "deal", "person": "contact_id"}})
    assert error is None
    assert [(one.external_id, one.kind, one.person) for one in changes] == [
        ("deal:5", "deal", "1"),
        ("1", "contact", None),
        ("deal:6", "deal", "1"),
    ]


def test_a_listing_lacks_no_stream(make: Make) -> None:  # noqa: F811
    belonging = {"deals": {"kind": "deal", "person": "contact_id"}}
    _, _, error = says(make, SCHEMA, record("1"), schema("id", stream="others"), belonging=belonging)
    assert isinstance(error, SourceIncomplete)
    assert "its stream deals" in str(error)
    assert "it wrote others" in str(error)
    changes, cursor, error = says(make, SCHEMA, record("1"), belonging=belonging, cursor={"bookmark": 0})
    assert (len(changes), cursor, error) == (1, {"state": {"bookmark": 0}}, None), "a later run may begin in the middle"


def test_files_of_records_are_refused(make: Make) -> None:  # noqa: F811
    _, _, error = says(make, SCHEMA, message("BATCH", manifest=["file:///tmp/x"]))
    assert isinstance(error, SourceInvalid)
    assert "remove batch_config" in str(error)


def test_keys_and_other_fields_may_be_nested(make: Make) -> None:  # noqa: F811
    line = record("x", meta={"id": "m|1", "at": "2026-03-01T00:00:00Z", "gone": "yes"})
    changes, _, _ = says(make, SCHEMA, line, key=("meta.id", "id"), updated_at="meta.at", deleted="meta.gone")
    assert (changes[0].external_id, changes[0].deleted) == ("m\\|1|x", True)
    assert changes[0].updated_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_every_cursor_of_a_later_run_is_a_state(make: Make) -> None:  # noqa: F811
    lines = [SCHEMA, *(record(str(number)) for number in range(4)), STATE, *(record(str(n)) for n in range(4, 9))]
    pages, _ = read(make("says", config={"says": lines}), {"bookmark": 0})
    assert [page.cursor for page in pages] == [{"state": {"bookmark": n}} for n in (0, 1, 1, 1)]


def test_a_page_of_large_records_is_short(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("crm_adapters.singer.reading.PAGE_BYTES", 1000)
    lines = [SCHEMA, *(record(str(number), note="x" * 600) for number in range(4))]
    pages, _ = read(make("says", config={"says": lines}, page_size=100))
    assert [len(page.changes) for page in pages] == [2, 2]


def test_a_cursor_of_another_version_has_expired(make: Make) -> None:  # noqa: F811
    with pytest.raises(CursorExpired):
        next(make().pull({"floor": "2026-01-01"}))


# How a tap ends


@pytest.mark.parametrize(
    ("ends", "error", "words"),
    [
        ("signal 9", SourceUnavailable, "ended by the signal SIGKILL, perhaps because the memory was full"),
        ("signal 11", SourceUnavailable, "ended by the signal SIGSEGV"),
        ("talks much", SourceUnavailable, "HTTPError: 503 Server Error"),
        ("fails: INFO 401 records\nValueError: no such day", SourceUnavailable, "exit code 1"),
        ("fails: HTTPError: 401 Client Error", CredentialsRejected, "credentials are refused"),
        ("fails: Config is missing required keys: ['token']", SourceInvalid, "does not run with this configuration"),
        ("fails: ValueError: state is invalid: 'XX'", SourceUnavailable, "exit code 1"),
    ],
)
def test_how_a_run_fails(make: Make, ends: str, error: type[AdapterError], words: str) -> None:  # noqa: F811
    changes, _, found = says(make, SCHEMA, *(record(str(n)) for n in range(3)), STATE, config={"ends": ends})
    assert len(changes) == 3, "what was read before is kept"
    with pytest.raises(AdapterError, match=words) as caught:
        raise found or AssertionError("it did not fail")
    assert type(caught.value) is error
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("line", ["bookmark has expired", "EXPIRED_SYNC_TOKEN", "The sync token is no longer valid"])
def test_only_a_run_with_a_state_can_say_that_it_expired(make: Make, line: str) -> None:  # noqa: F811
    for cursor, error in ((None, SourceUnavailable), ({"bookmark": 1}, CursorExpired)):
        _, _, found = says(make, SCHEMA, config={"ends": f"fails: CRITICAL {line}"}, cursor=cursor)
        assert type(found) is error


def test_output_that_is_closed_early_is_read_and_the_end_waited_for(make: Make) -> None:  # noqa: F811
    for code, error in ((0, type(None)), (3, SourceUnavailable)):
        config = {"ends": "closes its output", "code": code}
        changes, _, found = says(make, SCHEMA, record("1"), record("2"), record("3"), STATE, config=config)
        assert (len(changes), type(found)) == (3, error)
    _, _, found = says(make, SCHEMA, config={"ends": "closes its output", "seconds": 60}, timeout="1s")
    assert "wrote nothing for 1 seconds" in str(found)


@pytest.mark.parametrize("ends", ["leaves a child", "leaves a child of another session"])
def test_a_child_that_keeps_the_output_open_is_not_waited_for(make: Make, tmp_path: Path, ends: str) -> None:  # noqa: F811
    pids = tmp_path / "pids"
    changes, _, error = says(make, SCHEMA, record("1"), config={"ends": ends, "pids": str(pids)}, timeout="60s")
    assert (len(changes), error) == (1, None)
    children = [int(pid) for pid in pids.read_text().split()]
    if ends == "leaves a child":
        until("the child is gone", lambda: not alive(children))
    else:
        os.kill(children[0], signal.SIGKILL)  # nothing can find it


def test_a_tap_that_ignores_sigterm_is_killed(
    make: Make,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "TERM_SECONDS", 0.2)
    pids = tmp_path / "pids"
    lines = [SCHEMA, *(record(str(number)) for number in range(3))]
    adapter = make("says", config={"says": lines, "ends": "ignores SIGTERM", "pids": str(pids)})
    pages = adapter.pull(None)
    assert len(list(islice(pages, 1))) == 1
    until("the tap runs", lambda: pids.exists() and pids.read_text())
    adapter.close()
    assert not alive([int(pid) for pid in pids.read_text().split()])
    with pytest.raises(SourceUnavailable, match="SIGKILL"):
        list(pages)


def test_an_end_that_nobody_saw_is_no_success(make: Make) -> None:  # noqa: F811
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        _, error = read(make(), BOOKMARK)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert isinstance(error, SourceUnavailable)
    assert "nobody knows" in str(error)


def test_the_time_of_a_busy_reader_does_not_count(make: Make) -> None:  # noqa: F811
    adapter = make("says", config={"says": [SCHEMA, *(record(str(n)) for n in range(20_000))]}, timeout="1s")
    pages = adapter.pull(None)
    next(pages)
    time.sleep(1.3)
    assert 3 + sum(len(page.changes) for page in pages) == 20_000


def test_a_quiet_tap_lets_the_engine_stop_the_run(
    make: Make,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "QUIET_SECONDS", 0.1)
    pids = tmp_path / "pids"
    pages = make("falls silent", config={"pids": str(pids)}).pull(None)
    assert not next(pages).changes
    pages.close()  # type: ignore[attr-defined]
    assert not alive([int(pid) for pid in pids.read_text().split()])


def test_a_configuration_that_the_tap_changes_is_told(make: Make) -> None:  # noqa: F811
    for ends, notes in (("changes its configuration", [RENEWED]), ("", None)):
        adapter = make("says", config={"says": [SCHEMA], "ends": ends})
        assert read(adapter)[1] is None
        assert adapter.services.memory.get("notes") == notes


# Before it runs


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/opt/taps/acme/bin/tap-acme"], "tap-acme"),
        (["/usr/bin/python3", "-I", "/opt/tap_acme.py", "--fast"], "tap_acme.py"),
        (["docker", "run", "tap-acme"], "docker"),
        (["python3"], "python3"),
    ],
)
def test_a_tap_has_a_name_for_people(make: Make, command: list[str], name: str) -> None:  # noqa: F811
    assert f"the tap {name}," in repr(make(tap=command))


def test_check_tries_the_credential(make: Make) -> None:  # noqa: F811
    with pytest.raises(CredentialsRejected):
        make("fails at its credentials").check()
    assert make("falls silent", config={"pids": os.devnull}).check().summary.endswith("reads contacts by id")
    assert make("says", config={"says": [SCHEMA]}).check().summary.endswith("none yet")
    with pytest.raises(SourceIncomplete):
        make("says nothing of its stream").check()


def test_a_run_discovers_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    started: list[Any] = []
    start = process.TapProcess.start

    def note(tap: process.TapProcess, flags: dict[str, Any]) -> None:
        started.append(list(flags))
        start(tap, flags)

    monkeypatch.setattr(process.TapProcess, "start", note)
    adapter = make()
    adapter.describe()
    read(adapter)
    assert started == [["--discover"], ["--catalog"]]


def test_what_a_killed_worker_left_behind_is_deleted(make: Make, tmp_path: Path, monkeypatch: Any) -> None:  # noqa: F811
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    in_use = folders.TapFolder()
    left = tmp_path / "vtsync-tap-left"
    left.mkdir()
    (left / "config.json").write_text("secret")
    (left / "lock").touch()
    tap = subprocess.Popen(["/bin/sleep", "60"], cwd=left, start_new_session=True)
    (left / "pid").write_text(str(tap.pid))
    stranger = tmp_path / "vtsync-tap-stranger"  # its tap has ended, and another program has its number
    stranger.mkdir()
    (stranger / "lock").touch()
    (stranger / "pid").write_text(str(os.getpid()))
    young = tmp_path / "vtsync-tap-young"  # another worker makes it at this moment
    young.mkdir()
    read(make())
    assert (left.exists(), stranger.exists(), young.exists(), in_use.path.exists()) == (False, False, True, True)
    assert tap.wait() == -signal.SIGKILL
    with (in_use.path / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    in_use.delete()
    assert sorted(path.name for path in tmp_path.glob("vtsync-tap-*")) == ["vtsync-tap-young"]


def test_discovery_may_print_other_things(tmp_path: Path) -> None:
    catalog = {"streams": [{"stream": "contacts", "key_properties": "id", "schema": {"properties": {"id": {}}}}]}
    tap = tmp_path / "tap.py"
    tap.write_text(f"print('INFO {{x}}'); print({json.dumps(catalog, indent=1)!r}); print('INFO done')")
    options = SingerOptions.model_validate({"tap": [sys.executable, "-I", "-S", str(tap)], "stream": "contacts"})
    adapter = SingerAdapter(options, FieldMapping(), services=LocalServices())
    assert [one.name for one in adapter.describe()] == ["id"]
    adapter.close()


ODD_STREAMS: list[Any] = [
    None,
    1,
    {},
    {"stream": None, "schema": None, "metadata": None},
    {"stream": "contacts", "schema": {"properties": [1]}, "key_properties": 5},
    {"stream": "contacts", "schema": {"properties": {"a": 1, "b": {"anyOf": 5}}}, "metadata": [1, {"breadcrumb": 1}]},
    {"stream": "contacts", "metadata": [{"breadcrumb": [[]], "metadata": 1}, {"breadcrumb": [], "metadata": {}}]},
]


def test_an_odd_catalog_is_read() -> None:
    made = selected({"streams": ODD_STREAMS}, {"contacts": StreamChoice(frozenset({"a"}))}, full=True)
    assert [one["metadata"][0]["metadata"]["selected"] for one in made["streams"]] == [False, False, True, True, True]
    assert [Stream(one).key for one in made["streams"]] == [()] * 5


def test_streams_with_one_name_are_told_apart() -> None:
    schema: Any = {"properties": {"id": {}}}
    streams = [
        {
            "stream": "people",
            "tap_stream_id": f"db-{place}-people",
            "key_properties": ["id"],
            "schema": schema,
            "metadata": [{"breadcrumb": [], "metadata": {"schema-name": place}}],
        }
        for place in ("public", "archive")
    ]
    with pytest.raises(SourceInvalid, match='name one of them by its full name: "db-public-people", "db-archive-'):
        find_stream({"streams": streams}, "people", "the tap")
    found = find_stream({"streams": streams}, "db-archive-people", "the tap")
    assert "archive-people" in found.spellings, "PipelineWise writes messages under this name"
    made = selected({"streams": streams}, {found.id: StreamChoice(None, "at")}, full=False)
    assert [one["metadata"][0]["metadata"]["selected"] for one in made["streams"]] == [False, True]
    assert made["streams"][1]["replication_key"] == "at"
    assert made["streams"][1]["metadata"][0]["metadata"]["replication-method"] == "INCREMENTAL"


def test_fields_that_the_tap_needs_are_always_selected() -> None:
    stream = {
        "stream": "contacts",
        "key_properties": ["id"],
        "schema": {"properties": {name: {} for name in ("id", "at", "auto", "note", "other")}},
        "metadata": [
            {"breadcrumb": [], "metadata": {"valid-replication-keys": ["at"]}},
            {"breadcrumb": ["properties", "auto"], "metadata": {"inclusion": "automatic"}},
        ],
    }
    (made,) = selected({"streams": [stream]}, {"contacts": StreamChoice({"note"})}, full=False)["streams"]
    chosen = {
        entry["breadcrumb"][1] for entry in made["metadata"] if entry["breadcrumb"] and entry["metadata"]["selected"]
    }
    assert chosen == {"id", "at", "auto", "note"}


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ({"a": {"type": "object", "properties": {"b": {}, "c": {"properties": {"d": {}}}}}}, ["a.b", "a.c.d"]),
        ({"a": {"anyOf": [{"type": "null"}, {"properties": {"b": {}}}]}}, ["a.b"]),
        ({"a": {"properties": {"id": {}, "name": {}, "b": {}}}}, ["a", "a_id", "a.b"]),
        ({"a": {"type": "array", "items": {"properties": {"value": {}, "primary": {}}}}}, ["a"]),
        ({"a": {"type": "array", "items": {"properties": {"id": {}, "name": {}}}}}, ["a", "a_id"]),
        ({"a": {"type": "array", "items": {"type": "string"}}}, ["a"]),
        ({"a.b": {}, "a": {"properties": {"b": {}}}}, ["a.b"]),
        ({"a": True}, ["a"]),
    ],
)
def test_fields_are_described_as_records_have_them(schema: dict[str, Any], names: list[str]) -> None:
    assert [one.name for one in flat_fields({"properties": schema})] == names


# Its options


def test_toml_times_are_written_as_taps_expect_them() -> None:
    config = {"start": datetime(2020, 1, 1, tzinfo=UTC), "day": date(2020, 1, 2), "local": datetime(2020, 1, 3)}  # noqa: DTZ001
    options = SingerOptions.model_validate({"tap": "tap-acme", "stream": "contacts", "config": config})
    assert json.loads(options.config.get_secret_value()) == {
        "start": "2020-01-01T00:00:00Z",
        "day": "2020-01-02",
        "local": "2020-01-03T00:00:00",
    }


def test_a_relative_program_is_beside_the_configuration(tmp_path: Path) -> None:
    context = FromFile(tmp_path)
    for given, wanted in {"./tap": f"{tmp_path}/tap", "tap": "tap", "/opt/tap": "/opt/tap"}.items():
        options = SingerOptions.model_validate({"tap": given, "stream": "contacts"}, context=context)
        assert options.tap == (wanted,)


@pytest.mark.parametrize(
    ("belonging", "words"),
    [
        ({"leads": {"kind": "contact", "person": "id"}}, "add a connection"),
        ({"a": {"kind": "deal", "person": "id"}, "b": {"kind": "deal", "person": "id"}}, "a kind of its own"),
    ],
)
def test_kinds_are_clear(belonging: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SingerOptions.model_validate({"tap": "tap-acme", "stream": "contacts", "belonging": belonging})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"key": "-----BEGIN-----\nMIIEvQIBADANBgkq\n-----END-----"}, "MIIEvQIBADANBgkq"),
        ({"account": json.dumps({"private_key": "s3cr3t-of-google"})}, "s3cr3t-of-google"),
        ({"list": [{"password": "s3cr3t-s3cr3t"}]}, "s3cr3t-s3cr3t"),
        ({"url": "postgresql://ann:s3cr3t-pw@db/crm"}, "s3cr3t-pw"),
    ],
)
def test_parts_of_secrets_are_hidden(config: Any, said: str) -> None:
    words = TapWords("the tap", config)
    words.hear(f"ERROR cannot log in with {said[:7]}".encode())
    words.hear(f"{said[7:]} today".encode())
    words.hear(b"")
    text = str(words.failure(1))
    assert "cannot log in" in text
    assert said not in text
