"""The singer adapter and what taps do wrong: each test runs a real program."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
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
    Page,
    Removals,
    SourceIncomplete,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
)
from crm_adapters.services import LocalServices
from crm_adapters.singer.adapter import SingerAdapter
from crm_adapters.singer.options import SingerOptions
from crm_adapters.testing.samples import contact
from tests.adapters.test_conformance_singer import TAP, TOKEN, row_of, write
from tests.harness import until

Make = Callable[..., SingerAdapter]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A tap over eight people, which does something wrong."""
    made: list[SingerAdapter] = []
    path = tmp_path / "people.jsonl"
    write(path, [{**row_of(contact(number)), "changed": f"2026-03-0{number + 1}T00:00:00Z"} for number in range(8)])

    def build(does: str = "", wanted: frozenset[str] | None = None, **options: Any) -> SingerAdapter:
        config = {"path": str(path), "does": does, "token": TOKEN} | options.pop("config", {})
        chosen = SingerOptions(**{"tap": TAP, "config": config, "stream": "contacts", "page_size": 3} | options)
        made.append(SingerAdapter(chosen, FieldMapping(), services=LocalServices(wanted=wanted)))
        return made[-1]

    yield build
    for adapter in made:
        adapter.close()


def ids(pages: list[Page]) -> list[str]:
    return [change.external_id for page in pages for change in page.changes if isinstance(change, ContactChange)]


def read(adapter: SingerAdapter, state: Any = None) -> tuple[list[Page], AdapterError | None]:
    pages: list[Page] = []
    try:
        for page in adapter.pull(None if state is None else {"state": state}):
            pages.append(page)  # noqa: PERF402 - pages before an error count
    except AdapterError as error:
        return pages, error
    return pages, None


STATE = {"bookmarks": {"contacts": "2026-03-07T00:00:00Z"}}


def test_a_listing_has_a_cursor_only_at_its_end(make: Make) -> None:
    pages, error = read(make())
    assert error is None
    assert len(ids(pages)) == 8
    assert [page.cursor for page in pages] == [
        None,
        None,
        {"state": {"bookmarks": {"contacts": "2026-03-08T00:00:00Z"}}},
    ]


def test_a_later_run_starts_at_the_state_and_repeats_the_last_row(make: Make) -> None:
    pages, _ = read(make(), STATE)
    assert ids(pages) == ["1006", "1007"]


@pytest.mark.parametrize(
    ("does", "error", "words"),
    [
        ("says nothing of its stream", SourceIncomplete, 'set catalog_flag = "--properties"'),
        ("has no key", SourceInvalid, "name the field in key"),
        ("fails after a state", SourceUnavailable, 'exit code 1.*It said: "CRITICAL server error'),
        ("fails at its credentials", CredentialsRejected, r"credentials are refused.*401 Unauthorized for \(email\)"),
        ("cannot discover", SourceInvalid, "gives no JSON object"),
    ],
)
def test_a_run_that_is_not_whole_is_an_error_in_words(
    make: Make, does: str, error: type[AdapterError], words: str
) -> None:
    _, found = read(make(does))
    assert type(found) is error
    with pytest.raises(error, match=words):
        raise found
    assert TOKEN not in str(found)


def test_a_failure_after_a_state_keeps_that_state(make: Make) -> None:
    first = {"bookmarks": {"contacts": "2026-03-01T00:00:00Z"}}
    pages, error = read(make("fails after a state", config={"after": 7}), first)
    assert isinstance(error, SourceUnavailable)
    assert [page.cursor for page in pages] == [
        {"state": {"bookmarks": {"contacts": "2026-03-02T00:00:00Z"}}},
        {"state": {"bookmarks": {"contacts": "2026-03-05T00:00:00Z"}}},
    ], "the state of a page is one that was written after all its records"
    assert ids(pages) == ["1000", "1001", "1002", "1003", "1004", "1005"]


@pytest.mark.parametrize("does", ["writes an empty state first", "writes no state", "writes progress markers"])
def test_a_state_that_cannot_be_used_leaves_the_old_one(make: Make, does: str) -> None:
    pages, error = read(make(does), STATE)
    kept = pages[-1].cursor
    assert error is None
    assert kept is not None
    if does == "writes an empty state first":
        assert kept == {"state": {"bookmarks": {"contacts": "2026-03-08T00:00:00Z"}}}
    else:
        assert kept == {"state": STATE}


def test_other_output_is_skipped(make: Make) -> None:
    pages, error = read(make("prints other things"))
    assert (error, len(ids(pages))) == (None, 8)


def test_a_line_without_end_is_one_unreadable_record(make: Make) -> None:
    pages, error = read(make("writes a line without end"))
    odd = [change for page in pages for change in page.changes if isinstance(change, UnreadableRecord)]
    assert (error, len(ids(pages)), len(odd)) == (None, 8, 1)
    assert "more than 8,388,608 bytes" in odd[0].reason


def test_a_version_deletes_nothing_by_itself(make: Make) -> None:
    pages, error = read(make("activates a version"))
    assert (error, len(ids(pages))) == (None, 8)


def test_a_record_that_is_marked_is_deleted(make: Make, tmp_path: Path) -> None:
    row = row_of(contact(1)) | {"is_deleted": True}
    write(tmp_path / "people.jsonl", [row, row_of(contact(2))])
    pages, _ = read(make())
    changes = [change for page in pages for change in page.changes if isinstance(change, ContactChange)]
    assert {one.external_id: one.deleted for one in changes} == {"1001": True, "1002": False}


def test_deals_belong_to_people(make: Make, tmp_path: Path) -> None:
    deals = [
        {"id": 5, "title": "Roof", "contact_id": "1001", "changed": "2026-03-01T00:00:00Z"},
        {"id": 6, "title": "Door", "contact_id": None, "changed": "2026-03-01T00:00:00Z"},
    ]
    write(tmp_path / "deals.jsonl", deals)
    adapter = make(
        config={"deals": str(tmp_path / "deals.jsonl")}, belonging={"deals": {"kind": "deal", "person": "contact_id"}}
    )
    pages, _ = read(adapter)
    found = [change for page in pages for change in page.changes if isinstance(change, ContactChange)]
    assert [(one.external_id, one.kind, one.person) for one in found if one.kind == "deal"] == [
        ("deal:5", "deal", "1001"),
        ("deal:6", "deal", None),
    ]
    assert adapter.kinds == ("contact", "deal")
    assert ("title", "text", "deal") in {(one.name, one.type, one.kind) for one in adapter.describe()}


def test_the_tap_gets_the_wanted_fields_and_few_variables(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSYNC_TOKEN", "our-own-secret")
    monkeypatch.setenv("TAP_REGION", "eu")
    kept = tmp_path / "kept.json"
    adapter = make("keeps what it gets", frozenset({"note"}), config={"kept": str(kept)}, environment=("TAP_REGION",))
    pages, _ = read(adapter)
    found = json.loads(kept.read_text())
    (stream,) = [one for one in found["catalog"]["streams"] if one["schema"]["selected"]]
    selected = {
        entry["breadcrumb"][1] for entry in stream["metadata"] if entry["breadcrumb"] and entry["metadata"]["selected"]
    }
    assert selected == {"id", "full_name", "mobile", "email", "note", "is_deleted"}
    assert found["environment"]["TAP_REGION"] == "eu"
    assert "our-own-secret" not in found["environment"].values()
    assert not Path(found["folder"]).exists(), "the files of the tap are deleted with it"
    assert set(next(iter(pages[0].changes)).properties) >= {"note"}  # type: ignore[union-attr]


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
                found.append(pid)
    return found


def test_a_silent_tap_is_stopped_with_all_that_it_started(make: Make, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    _, error = read(make("falls silent", timeout="1s", config={"pids": str(pids)}))
    assert isinstance(error, SourceUnavailable)
    assert "wrote nothing for 1 seconds" in str(error)
    until("the tap is gone", lambda: not alive([int(pid) for pid in pids.read_text().split()]))


def test_closing_stops_the_tap(make: Make, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    adapter = make("falls silent", page_size=1, config={"pids": str(pids)})
    pages = adapter.pull(None)
    assert len(list(islice(pages, 1))) == 1
    until("the tap runs", lambda: pids.exists() and len(pids.read_text().split()) == 2)
    adapter.close()
    until("the tap is gone", lambda: not alive([int(pid) for pid in pids.read_text().split()]))


def test_a_program_that_is_not_there_is_said(make: Make) -> None:
    with pytest.raises(SourceInvalid, match=r"the tap tap-acme cannot be started .*; install it"):
        make(tap=("/nowhere/tap-acme",)).check()


def test_a_stream_that_is_not_there_names_those_that_are(make: Make) -> None:
    with pytest.raises(SourceInvalid, match='has no stream "people"; there are: contacts, deals'):
        make(stream="people").check()


def test_a_tap_that_writes_everything_lists_in_every_run(make: Make) -> None:
    assert make(replication="full").removals is Removals.ABSENT
    assert make().removals is Removals.UNSEEN


def test_a_secret_in_the_configuration_must_be_a_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = FromFile(tmp_path)
    literal = {"tap": "tap-acme", "stream": "contacts", "config": {"auth": {"api_key": "s3cr3t-s3cr3t"}}}
    with pytest.raises(ValueError, match='write api_key = \\{ env = "NAME" \\}') as caught:
        SingerOptions.model_validate(literal, context=context)
    assert "s3cr3t" not in str(caught.value)
    monkeypatch.setenv("ACME_KEY", "s3cr3t-s3cr3t")
    good = literal | {"config": {"auth": {"api_key": {"env": "ACME_KEY"}}, "start_date": "2020-01-01"}}
    options = SingerOptions.model_validate(good, context=context)
    assert json.loads(options.config.get_secret_value()) == {
        "auth": {"api_key": "s3cr3t-s3cr3t"},
        "start_date": "2020-01-01",
    }
    assert "s3cr3t" not in repr(options)


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"belonging": {"deals": {"kind": "deal", "person": "contact_id"}}}, ("contact", "deal")),
        ({"belonging": {"deals": "deal"}}, ("contact",)),
        ({"belonging": 1}, ("contact",)),
        ({}, ("contact",)),
    ],
)
def test_triggers_may_watch_the_kinds_of_the_options(options: dict[str, Any], kinds: tuple[str, ...]) -> None:
    assert SingerAdapter.kinds_for(options) == kinds
