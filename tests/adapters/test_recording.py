"""Recordings: written from a CRM on the wire without a person's data, and replayed without the CRM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

from config.fields import FieldMapping
from crm_adapters.base import (
    Adapter,
    ApiVersion,
    CheckReport,
    ContactChange,
    CrmField,
    Cursor,
    Page,
    SourceUnavailable,
)
from crm_adapters.http import ApiReply, BearerAuth, ChangeWindow, HttpApi, flatten, iso_time, keyset_batches, quoted
from crm_adapters.testing import record_adapter, replay_adapter
from crm_adapters.testing.scrubbing import PersonalData, Scrubber
from tests.virtualtext.raw_server import RawServer, Visit, http

TOKEN = "token-4f7d9a"
OLD = datetime(2026, 3, 1, 8, tzinfo=UTC)
PERSONAL = [
    "ann",
    "Smith",
    '"Bo"',
    "+1 (415) 555-2671",
    "4155552672",
    "0151 2345678",
    "Main Street",
    "Olga Owner",
    "oo@",
]


def person(number: int, changed: datetime, **fields: Any) -> dict[str, Any]:
    return {"id": f"{number:03d}", "changed": iso_time(changed), "city": "Bonn", **fields}


@dataclass
class Crm:
    """Persons in the order of their ids, two a page, with links that name the host."""

    people: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    notes: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, visit: Visit) -> None:
        while (request := visit.read_request()) is not None:
            head, _, sent = request.decode().partition("\r\n\r\n")
            method, target, _ = head.split(" ", 2)
            url = urlsplit(unquote(target) if "?" not in target else target)
            answer = self._answer(method, url.path, dict(parse_qsl(url.query)), sent)
            visit.sock.sendall(
                http(200, json.dumps(answer), "Set-Cookie: sid=cookie-secret", "X-RateLimit-Remaining: 99", "Server: x")
            )

    def _answer(self, method: str, path: str, query: dict[str, str], sent: str) -> Any:
        if method == "POST":
            self.notes.append(json.loads(sent))
            return {"id": "n1", "text": json.loads(sent)["text"], "session_token": TOKEN}
        if path == "/fields":
            return {"fields": [{"name": "full_name", "label": "Full name"}, {"name": "mobile", "label": "Mobile"}]}
        found = [
            one
            for one in self.people
            if one["id"] > query.get("after", "") and query.get("since", "") <= one["changed"] < query.get("until", "9")
        ]
        return {"people": found[:2], "self": f"{self.url}/people", "api_key": "key-of-somebody"}


class CrmOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    token: SecretStr


class CrmAdapter(Adapter):
    name = "crm"
    summary = "A CRM."
    Options = CrmOptions
    page_size = 2
    api_version = ApiVersion("2026-09")
    upper = True  # the fields' spelling, for the tests
    extra_request = False
    overlap = timedelta(minutes=5)

    def __init__(self, options: Any, fields: FieldMapping) -> None:
        super().__init__(options, fields)
        self._api = HttpApi("Crm", options.url, BearerAuth(options.token), self.services)

    def check(self) -> CheckReport:
        self._api.get("people", {"limit": 1})
        return CheckReport("the CRM responds")

    def describe(self) -> list[CrmField]:
        return [CrmField(one["name"], one["label"]) for one in self._api.get("fields").items("fields")]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        window = ChangeWindow.of(cursor, self.overlap)
        for batch in keyset_batches(partial(self._people, window), "people", "id", start=window.after):
            window = window.read(batch.reply, [one["changed"] for one in batch.items], batch.next)
            yield Page([ContactChange(one["id"], self._properties(one)) for one in batch.items], window.cursor())

    def _properties(self, one: dict[str, Any]) -> dict[str, Any]:
        properties = flatten(one, without={"id"})
        return properties if self.upper else {name.lower(): value for name, value in properties.items()}

    def _people(self, window: ChangeWindow, last: str | None) -> ApiReply:
        bounds = {} if window.since is None else {"since": iso_time(window.since), "until": iso_time(window.until, 6)}
        if self.extra_request:
            self._api.get("people/count")
        return self._api.get("people", {"after": last, **bounds})

    def close(self) -> None:
        self._api.close()


class LaterAdapter(CrmAdapter):
    api_version = ApiVersion("2027-03")


class RenamingAdapter(CrmAdapter):
    upper = False


class CuriousAdapter(CrmAdapter):
    extra_request = True


class SwallowingAdapter(CuriousAdapter):
    """Hides every error, also that of an unexpected request."""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        try:
            yield from super().pull(cursor)
        except BaseException:
            raise SourceUnavailable("hidden") from None


class LazyAdapter(CrmAdapter):
    def check(self) -> CheckReport:
        return CheckReport("the CRM responds")


def adapter(url: str, kind: type[CrmAdapter] = CrmAdapter, token: str = TOKEN) -> CrmAdapter:
    return kind(CrmOptions(url=url, token=SecretStr(token)), FieldMapping())


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    recent = datetime.now(UTC) - timedelta(hours=1)
    crm = Crm(
        [
            person(1, OLD, full_name="Ann Smith", Mobile="+1 (415) 555-2671", email="ann.smith@corp.test"),
            person(2, OLD, full_name="Bo", Mobile="4155552672", street="12 Main Street"),
            person(
                3, recent, full_name=None, Mobile="", owner={"id": 6, "name": "Olga Owner", "email": "oo@corp.test"}
            ),
            person(
                4, OLD, full_name="Cy", Mobile="0151 2345678", bio="Ann Smith said: call 0151 2345678 or oo@corp.test"
            ),
            person(5, OLD, full_name="Di", Mobile=None),
            person(6, OLD, full_name="Ed", Mobile=None),
            person(7, OLD, full_name="Never read", Mobile=None),
        ]
    )
    path = tmp_path / "crm.json"
    with RawServer(crm) as server:
        crm.url = server.url
        record_adapter(lambda: adapter(server.url), path)
        assert server.url not in path.read_text()
    return path


def test_a_recording_has_no_secrets_and_no_personal_data(recorded: Path) -> None:
    text = recorded.read_text()
    for one in (*PERSONAL, TOKEN, "cookie-secret", "key-of-somebody", "127.0.0.1", "Authorization", "Bearer"):
        assert one.lower() not in text.lower(), one
    assert "Bonn" in text


def test_a_recording_replays_without_the_crm_with_any_token_and_host(recorded: Path) -> None:
    replay_adapter(lambda: adapter("https://another.test", token="any"), recorded)
    data = json.loads(recorded.read_text())
    assert data["api_version"] == "2026-09"
    names = [one["properties"]["full_name"] for one in data["results"]["listing"]]
    assert [one["external_id"] for one in data["results"]["listing"]] == ["001", "002", "003", "004", "005", "006"]
    assert len(set(names)) == 6
    assert data["results"]["listing"][2]["properties"]["owner_id"] == 6


CHANGED: list[tuple[type[CrmAdapter], str]] = [
    (LaterAdapter, "record it again"),
    (RenamingAdapter, "reads something else"),
    (CuriousAdapter, "/people/count"),
    (SwallowingAdapter, "/people/count"),
    (LazyAdapter, "no longer makes 1 recorded requests, such as GET /people\\?limit=1"),
]


@pytest.mark.parametrize(("kind", "words"), CHANGED, ids=[kind.__name__ for kind, _words in CHANGED])
def test_a_changed_adapter_fails(recorded: Path, kind: type[CrmAdapter], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        replay_adapter(lambda: adapter("https://crm.test", kind), recorded)


def test_an_unexpected_request_names_the_nearest_one(recorded: Path) -> None:
    def ask(built: Adapter) -> None:
        assert isinstance(built, CrmAdapter)
        built._api.get("people", {"limit": 2})

    with pytest.raises(AssertionError, match=r"most similar recorded one that is left: GET /people\?limit=1"):
        replay_adapter(lambda: adapter("https://crm.test"), recorded, steps=ask)


def test_results_can_be_updated_without_the_crm(recorded: Path) -> None:
    replay_adapter(lambda: adapter("https://crm.test", RenamingAdapter), recorded, update=True)
    replay_adapter(lambda: adapter("https://crm.test", RenamingAdapter), recorded)


class ImpatientAdapter(CrmAdapter):
    overlap = timedelta(minutes=1)


def test_the_time_of_a_run_may_differ_and_its_lower_bound_may_not(tmp_path: Path) -> None:
    path = tmp_path / "increment.json"
    with RawServer(Crm([person(number, OLD) for number in range(3)])) as server:
        record_adapter(lambda: adapter(server.url), path)
    queries = [dict(one["request"]["query"]) for one in json.loads(path.read_text())["exchanges"]]
    assert [query["since"] for query in queries if "until" in query] == ["2026-03-01T07:55:00Z"] * 3
    replay_adapter(lambda: adapter("https://crm.test"), path)
    with pytest.raises(AssertionError, match=r"was not recorded: GET /people\?since=2026-03-01T07:59:00Z"):
        replay_adapter(lambda: adapter("https://crm.test", ImpatientAdapter), path)


def test_an_id_that_is_an_email_address_is_replaced_and_still_found(tmp_path: Path) -> None:
    def by_id(built: Adapter) -> Any:
        assert isinstance(built, CrmAdapter)
        ids = [change.external_id for page in built.pull(None) for change in page.changes]
        return [built._api.get(f"people/{quoted(one)}").data for one in ids]

    path = tmp_path / "ids.json"
    people = [{**person(0, OLD), "id": "bea@corp.test"}, person(1, OLD)]
    with RawServer(Crm(people)) as server:
        record_adapter(lambda: adapter(server.url), path, steps=by_id)
    assert "bea" not in path.read_text()
    replay_adapter(lambda: adapter("https://crm.test"), path, steps=by_id)


def write_steps(built: Adapter) -> Any:
    assert isinstance(built, CrmAdapter)
    note = {"text": "Hello Ann", "from": "+49 151 7654321", "to": "Ann <ann@corp.test>", "at": "2026-03-01T08:00:00Z"}
    return built._api.write("POST", "notes", note).data


def test_writes_are_recorded_by_steps_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    with RawServer(Crm()) as server:
        record_adapter(lambda: adapter(server.url), path, steps=write_steps, replace={"Hello": "Goodbye"})
    text = path.read_text()
    assert "7654321" not in text
    assert "corp.test" not in text
    assert "Goodbye Ann" in text

    def says(greeting: str, **more: str) -> Any:
        def steps(built: Adapter) -> Any:
            assert isinstance(built, CrmAdapter)
            note = {"text": f"{greeting} Ann", "from": "+49 151 7654321", "to": "Ann <ann@corp.test>"}
            return built._api.write("POST", "notes", {**note, "at": "2026-03-01T08:00:00Z", **more}).data

        return steps

    replay_adapter(lambda: adapter("https://crm.test"), path, steps=says("Goodbye"))
    for wrong in (says("Bye"), says("Goodbye", at="2026-03-01T09:00:00Z"), says("Goodbye", extra="x")):
        with pytest.raises(AssertionError, match="was not recorded"):
            replay_adapter(lambda: adapter("https://crm.test"), path, steps=wrong)


def test_a_recording_that_does_not_replay_is_not_written(tmp_path: Path) -> None:
    calls: list[int] = []

    def unsteady(built: Adapter) -> Any:
        assert isinstance(built, CrmAdapter)
        calls.append(1)
        return built._api.get("people", {"limit": len(calls)}).data

    with RawServer(Crm()) as server, pytest.raises(AssertionError, match=r"GET /people\?limit=2"):
        record_adapter(lambda: adapter(server.url), tmp_path / "x.json", steps=unsteady)
    assert not (tmp_path / "x.json").exists()


SCRUBBED: list[tuple[str, Any, Any]] = [
    ("a phone in text", "call +49 151-2345678", "call +15 550-0000002"),
    ("an email", "to Bob@corp.test", "to person1@example.test"),
    ("a name in text", "Ann, Annette", "Name 2, Annette"),
    ("a full name", "Ann Lee", "Name 1"),
    ("an id", "4155550101", "4155550101"),
    ("a date", "2026-11-28T10:00:00Z", "2026-11-28T10:00:00Z"),
    ("an epoch", "1795860000000", "1795860000000"),
    ("a secret field", {"api_key": "x1", "n": 5}, {"api_key": "hidden-1", "n": 5}),
    ("a private field", {"Zip Code": "53111", "pet": "Rex"}, {"Zip Code": "private-1", "pet": "private-2"}),
    (
        "an address",
        "https://x.test/a/bob%40corp.test?q=bob@corp.test",
        "https://x.test/a/person1@example.test?q=person1%40example.test",
    ),
    ("a phone as a number", 4155550199, 1555000001),
    ("values that are no text", [None, True, 4, 1.5], [None, True, 4, 1.5]),
]


@pytest.mark.parametrize(("value", "scrubbed"), [row[1:] for row in SCRUBBED], ids=[row[0] for row in SCRUBBED])
def test_what_is_replaced(value: Any, scrubbed: Any) -> None:
    data = PersonalData(names={"Ann Lee", "Ann", "Lee"}, phones={"4155550199"}, ids={"4155550101"})
    assert Scrubber(data, private=("pet",)).value(value) == scrubbed
