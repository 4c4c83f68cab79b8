"""The adapter for JSON APIs: what it makes of odd APIs, and what it refuses. The promises of all adapters are tested
with the conformance kit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr, ValidationError

from config.errors import ConfigProblem
from config.fields import FieldMapping
from config.problems import problems_of
from config.types import FromFile
from crm_adapters.base import (
    Adapter,
    ContactChange,
    CredentialsRejected,
    CursorExpired,
    Limit,
    ListsIds,
    Page,
    Removals,
    SourceInvalid,
    UnreadableRecord,
)
from crm_adapters.rest.adapter import RestAdapter
from crm_adapters.rest.asking import written_time
from crm_adapters.rest.options import RestOptions
from crm_adapters.services import LocalServices
from tests.adapters.rest_crms import KEY, OPTIONS, CursorCrm, Heard, JsonCrm, LinkCrm, OffsetCrm, Stored

AN_HOUR_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
MINIMAL = {"url": "https://acme.test", "path": "contacts"}


class ScriptedCrm(JsonCrm):
    """Answers every request with ``data``, or with what a function makes of the request."""

    data: Any = ()
    headers: Any = {}

    def is_allowed(self, headers: Any) -> bool:
        return True

    def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
        return 200, self.headers, self.data(asked) if callable(self.data) else self.data


@pytest.fixture
def serve() -> Iterator[Any]:
    running: list[JsonCrm] = []

    def start(crm: JsonCrm) -> JsonCrm:
        crm.serve()
        running.append(crm)
        return crm

    yield start
    for crm in running:
        crm.stop()


def fill(crm: JsonCrm, count: int = 12, at: datetime = AN_HOUR_AGO) -> None:
    for number in range(count):
        crm.put(
            f"Ann Lee{number}", f"+1415555{number:04}", f"ann{number}@example.com", at=at + timedelta(minutes=number)
        )


def adapter_for(crm: JsonCrm, memory: dict[str, Any] | None = None, **options: Any) -> RestAdapter:
    base = OPTIONS.get(type(crm), {"path": "contacts", "name": "Scripted CRM"})
    chosen = RestOptions.model_validate({**base, "url": crm.url, "page_size": 5, **options})
    return RestAdapter(chosen, FieldMapping(), services=LocalServices(memory={} if memory is None else memory))


def changes(pages: list[Page]) -> list[ContactChange]:
    return [one for page in pages for one in page.changes if isinstance(one, ContactChange)]


def ids(pages: list[Page]) -> list[str]:
    return [one.external_id for one in changes(pages)]


# --- APIs that do not do as they are told


def test_a_filter_that_is_ignored_loses_nothing_and_is_told(serve: Any) -> None:
    crm = serve(OffsetCrm(quirks={"ignores the filter"}))
    fill(crm)
    memory: dict[str, Any] = {}
    first = list(adapter_for(crm, memory).pull(None))
    second = list(adapter_for(crm, memory).pull(first[-1].cursor))
    assert len(ids(second)) == 12
    (note,) = memory["notes"]
    assert 'Offset CRM contacts ignores "modified_from": 5 records are older' in note
    with pytest.raises(SourceInvalid, match='ignores "modified_from"'):
        adapter_for(crm).check()
    crm.quirks.clear()
    list(adapter_for(crm, memory).pull(second[-1].cursor))
    assert "notes" not in memory


def test_a_filter_that_finds_nothing_is_not_taken_for_no_changes(serve: Any) -> None:
    crm = serve(OffsetCrm(quirks={"finds nothing"}))
    fill(crm)
    memory: dict[str, Any] = {}
    cursor = list(adapter_for(crm, memory).pull(None))[-1].cursor
    with pytest.raises(CursorExpired, match='"modified_from" finds nothing'):
        list(adapter_for(crm, memory).pull(cursor))
    assert len(ids(list(adapter_for(crm, memory).pull(None)))) == 12
    assert "everything was read again" in memory["notes"][0]
    with pytest.raises(SourceInvalid, match="finds nothing since"):
        adapter_for(crm).check()


def test_a_filter_that_has_worked_may_find_nothing(serve: Any) -> None:
    crm = serve(OffsetCrm())
    fill(crm)
    memory: dict[str, Any] = {}
    cursor = list(adapter_for(crm, memory).pull(None))[-1].cursor
    cursor = list(adapter_for(crm, memory).pull(cursor))[-1].cursor
    crm.quirks.add("finds nothing")
    assert ids(list(adapter_for(crm, memory).pull(cursor))) == []


def test_no_change_is_believed_if_the_newest_record_is_gone(serve: Any) -> None:
    crm = serve(LinkCrm())
    fill(crm)
    memory: dict[str, Any] = {}
    cursor = list(adapter_for(crm, memory).pull(None))[-1].cursor
    for number in range(6, 13):
        del crm.people[number]
    assert ids(list(adapter_for(crm, memory).pull(cursor))) == []


@pytest.mark.parametrize("quirk", ["no total", "ignores the size"])
def test_every_record_is_listed_in_small_pages(serve: Any, quirk: str) -> None:
    crm = serve(OffsetCrm(quirks={quirk}))
    fill(crm)
    pages = list(adapter_for(crm).pull(None))
    assert ids(pages) == [str(number) for number in range(1, 13)]
    assert max(len(page.changes) for page in pages) == 5
    for page in pages[:-1]:
        seen = set(ids(pages[: pages.index(page) + 1]))
        assert seen | set(ids(list(adapter_for(crm).pull(page.cursor)))) == set(ids(pages))


def test_a_page_that_comes_again_ends_the_run(serve: Any) -> None:
    crm = serve(OffsetCrm(quirks={"repeats", "no total"}))
    fill(crm)
    with pytest.raises(SourceInvalid, match="sends the same page"):
        list(adapter_for(crm).pull(None))


@pytest.mark.parametrize("kind", [OffsetCrm, CursorCrm, LinkCrm])
def test_ties_on_the_last_second_are_all_read(serve: Any, kind: type[JsonCrm]) -> None:
    crm = serve(kind())
    for part in range(23):
        crm.put("Ann Lee", "+14155550100", "a@example.com", at=AN_HOUR_AGO + timedelta(microseconds=40_000 * part))
    memory: dict[str, Any] = {}
    cursor = list(adapter_for(crm, memory).pull(None))[-1].cursor
    crm.put("Zoe Quill", "+14155550101", "z@example.com", at=AN_HOUR_AGO + timedelta(microseconds=999_999))
    found = [one for one in ids(list(adapter_for(crm, memory).pull(cursor))) if not one.startswith("deal")]
    assert sorted(map(int, found)) == list(range(1, 25))


# --- paging that the options do not describe


@pytest.mark.parametrize(
    ("answer", "headers", "said"),
    [
        ({"data": [{"id": 1}], "next_cursor": "x7"}, {}, '"next_cursor" is not empty'),
        ({"data": [{"id": 1}], "paging": {"next": {"after": "2"}}}, {}, '"paging.next.after" is not empty'),
        ({"data": [{"id": 1}], "_links": {"next": {"href": "/c?p=2"}}}, {}, '"_links.next.href" is not empty'),
        ({"data": [{"id": 1}], "has_more": True}, {}, '"has_more" is true'),
        (
            {"data": [{"id": 1}], "pageInfo": {"hasNextPage": True, "endCursor": "e"}},
            {},
            '"pageInfo.hasNextPage" is true',
        ),
        ({"data": [{"id": 1}], "meta": {"total": 2}}, {}, '"meta.total" is 2'),
        ({"data": [{"id": 1}]}, {"Link": '</c?page=2>; rel="next"'}, 'the "Link" header'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_further_pages_are_not_overlooked(serve: Any, answer: Any, headers: dict[str, str], said: str) -> None:
    crm = serve(ScriptedCrm())
    crm.data, crm.headers = answer, headers
    for paging in ({"kind": "none"}, {"kind": "cursor", "parameter": "c", "next": "no.such.path"}):
        with pytest.raises(SourceInvalid, match="has more records than the 1 that it sent") as caught:
            list(adapter_for(crm, records="data", paging=paging).pull(None))
        assert said in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"id": 1}], "next_cursor": None, "has_more": False, "meta": {"total": 1}},
        {"data": [{"id": 1}], "pageInfo": {"hasNextPage": False, "endCursor": "e"}},
        {"data": [{"id": 1}], "meta": {"total": -1}, "next": ""},
        {"data": [], "meta": {"total": 0}},
    ],
)
def test_a_last_page_is_believed(serve: Any, answer: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = answer
    assert len(ids(list(adapter_for(crm, records="data").pull(None)))) == len(answer["data"])


def test_a_later_page_that_says_more_and_names_no_next_one_is_an_error(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = lambda asked: {"data": [{"id": len(crm.heard)}], "has_more": True, "next": None if asked.query else "b"}
    with pytest.raises(SourceInvalid, match="has more records than the 2 that it sent"):
        list(adapter_for(crm, records="data", paging={"kind": "cursor", "parameter": "c", "next": "next"}).pull(None))


def test_a_total_that_is_something_else_is_refused(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = {"data": [{"id": number} for number in range(4)], "pages": 3}
    with pytest.raises(SourceInvalid, match='"pages" is 3: it is not the number of all records'):
        list(adapter_for(crm, records="data", paging={"kind": "offset", "total": "pages"}).pull(None))


def test_a_flag_ends_a_list_that_names_a_next_page_all_the_same(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = lambda asked: (
        {"data": [{"id": 2}], "page": {"end": "b", "hasNextPage": False}}
        if asked.query.get("after") == "a"
        else {"data": [{"id": 1}], "page": {"end": "a", "hasNextPage": True}}
    )
    paging = {"kind": "cursor", "parameter": "after", "next": "page.end", "more": "page.hasNextPage"}
    assert ids(list(adapter_for(crm, records="data", paging=paging).pull(None))) == ["1", "2"]
    assert len(crm.heard) == 2


@pytest.mark.parametrize(
    ("paging", "asked"),
    [
        ({"kind": "page", "parameter": "p", "first": 0}, [{"p": "0"}, {"p": "1"}, {"p": "2"}]),
        (
            {"kind": "after_id", "parameter": "above", "size": "n"},
            [{"n": "2"}, {"n": "2", "above": "2"}, {"n": "2", "above": "3"}],
        ),
    ],
    ids=["page", "after_id"],
)
def test_pages_are_asked_for(serve: Any, paging: Any, asked: list[dict[str, str]]) -> None:
    crm = serve(ScriptedCrm())
    crm.data = lambda _asked: {1: [{"id": 1}, {"id": 2}], 2: [{"id": 3}]}.get(len(crm.heard), [])
    assert ids(list(adapter_for(crm, paging=paging, page_size=2).pull(None))) == ["1", "2", "3"]
    assert [one.query for one in crm.heard] == asked


# --- asking


def test_a_search_puts_its_parameters_into_the_body(serve: Any) -> None:
    crm = serve(CursorCrm())
    fill(crm)
    options = {
        "path": "people/search",
        "method": "POST",
        "body": {"filter": {"kind": "person"}},
        "params": {"sort.by": "id"},
        "since": {"parameter": "filter.updated_at.$gte", "until": "filter.updated_at.$lte", "field": "updated_at"},
        "objects": {},
        "deleted": None,
    }
    first = list(adapter_for(crm, **options).pull(None))
    assert len(ids(first)) == 12
    second = list(adapter_for(crm, **options).pull(first[-1].cursor))
    assert ids(second) == ["7", "8", "9", "10", "11", "12"]
    last = crm.heard[-1]
    assert last.query == {}
    assert last.body["filter"]["kind"] == "person"
    assert set(last.body["filter"]["updated_at"]) == {"$gte", "$lte"}
    assert last.body["sort"] == {"by": "id"}


@pytest.mark.parametrize(
    ("form", "zone", "written"),
    [
        ("iso", "UTC", "2026-11-28T23:30:59Z"),
        ("epoch", "UTC", 1795908659),
        ("epoch_ms", "UTC", 1795908659000),
        ("date", "UTC", "2026-11-28"),
        ("date", "Asia/Tokyo", "2026-11-29"),
        ("%Y-%m-%d %H:%M:%S", "America/New_York", "2026-11-28 18:30:59"),
    ],
)
def test_times_are_written_as_the_api_reads_them(form: str, zone: str, written: Any) -> None:
    moment = datetime(2026, 11, 28, 23, 30, 59, 999_999, tzinfo=UTC)
    assert written_time(moment, form, ZoneInfo(zone)) == written


def test_a_template_holds_both_bounds(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = [{"id": 1, "at": "2026-11-28T10:00:00"}]
    since = {"parameter": "filter", "field": "at", "template": 'at[gte]:"{since}",at[lte]:"{until}"', "overlap": "10m"}
    cursor = list(adapter_for(crm, since=since, timezone="America/New_York").pull(None))[-1].cursor
    list(adapter_for(crm, since=since, timezone="America/New_York").pull(cursor))
    assert crm.heard[0].query == {}
    assert crm.heard[1].query["filter"].startswith('at[gte]:"2026-11-28T14:50:00Z",at[lte]:"')


@pytest.mark.parametrize(
    ("auth", "headers", "query"),
    [
        ({"kind": "none"}, {}, {}),
        ({"kind": "bearer", "token": KEY}, {"Authorization": f"Bearer {KEY}"}, {}),
        ({"kind": "bearer", "token": KEY, "scheme": "Token"}, {"Authorization": f"Token {KEY}"}, {}),
        ({"kind": "header", "name": "X-Key", "token": KEY}, {"X-Key": KEY}, {}),
        ({"kind": "basic", "token": "u", "password": "p"}, {"Authorization": "Basic dTpw"}, {}),
        ({"kind": "parameter", "name": "key", "token": KEY}, {}, {"key": KEY}),
    ],
    ids=lambda value: value.get("kind", "") if isinstance(value, dict) else "",
)
def test_each_credential_is_sent(serve: Any, auth: Any, headers: dict[str, str], query: dict[str, str]) -> None:
    crm = serve(ScriptedCrm())
    crm.data = [{"id": 1}]
    list(adapter_for(crm, auth=auth, headers={"X-Version": "2"}).pull(None))
    (asked,) = crm.heard
    assert asked.query == query
    assert {"X-Version": "2", **headers}.items() <= asked.headers.items()
    assert ("Authorization" in asked.headers) == ("Authorization" in headers)


def test_a_second_secret_is_a_header_and_never_shown(serve: Any) -> None:
    class EchoCrm(ScriptedCrm):
        def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
            return 400, {}, {"message": f"bad key {asked.headers['X-System-Key']} with {asked.headers['X-Version']}"}

    crm = serve(EchoCrm())
    headers = {"X-System-Key": SecretStr("sys-4410-aa"), "X-Version": "2"}
    with pytest.raises(SourceInvalid) as caught:
        list(adapter_for(crm, auth={"kind": "basic", "token": KEY}, headers=headers).pull(None))
    assert "sys-4410-aa" not in str(caught.value)
    assert "with 2" in str(caught.value)


def test_client_credentials_give_a_token_that_is_renewed_when_it_is_refused(serve: Any) -> None:
    tokens: list[str] = []

    class TokenCrm(ScriptedCrm):
        def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
            if asked.path == "/token":
                tokens.append(f"tok-{len(tokens)}")
                return 200, {}, {"access_token": tokens[-1], "expires_in": 3600}
            is_last = asked.headers["Authorization"] == "Bearer tok-1"
            return (200, {}, [{"id": 1}]) if is_last else (401, {}, {"message": "expired"})

    crm = serve(TokenCrm())
    auth = {"kind": "client_credentials", "token_url": f"{crm.url}/token", "client_id": "app",
            "client_secret": "s3cr3t-9", "client_auth": "basic"}  # fmt: skip
    adapter = adapter_for(crm, auth=auth)
    assert ids(list(adapter.pull(None))) == ["1"]
    assert ids(list(adapter.pull(None))) == ["1"]
    assert tokens == ["tok-0", "tok-1"]
    assert "s3cr3t" not in repr(adapter.options)


def test_consent_is_asked_for_with_the_app_of_the_options() -> None:
    auth = {"kind": "oauth", "authorize_url": "https://acme.test/authorize", "token_url": "https://acme.test/token",
            "client_id": "app", "client_secret": "s3cr3t-9", "scopes": ["read"],
            "extra": {"access_type": "offline"}}  # fmt: skip
    adapter = RestAdapter(RestOptions.model_validate({**MINIMAL, "auth": auth}), FieldMapping())
    app = adapter.oauth()
    assert app is not None
    link = app.authorize_link("state", "http://127.0.0.1/back")
    assert link.startswith("https://acme.test/authorize?access_type=offline")
    assert "scope=read" in link
    with pytest.raises(CredentialsRejected, match="vtsync connect"):
        adapter.check()
    assert RestAdapter(RestOptions.model_validate(MINIMAL), FieldMapping()).oauth() is None


def test_client_credentials_that_are_refused_name_the_options(serve: Any) -> None:
    class RefusingCrm(ScriptedCrm):
        def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
            return 401, {}, {"error": "invalid_client"}

    crm = serve(RefusingCrm())
    auth = {
        "kind": "client_credentials",
        "token_url": f"{crm.url}/token",
        "client_id": "app",
        "client_secret": "s3cr3t-9",
    }
    with pytest.raises(CredentialsRejected, match="correct its client id and secret in the options") as caught:
        adapter_for(crm, auth=auth).check()
    assert "vtsync connect" not in str(caught.value)


def test_a_place_that_the_api_forgot_is_an_expired_cursor(serve: Any) -> None:
    class ForgetfulCrm(CursorCrm):
        def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
            if "forgets" in self.quirks and "cursor" in asked.query:
                return 400, {}, {"message": "unknown cursor"}
            return super().answer(asked)

    crm = serve(ForgetfulCrm())
    fill(crm)
    options = {**OPTIONS[CursorCrm]}
    first = next(iter(adapter_for(crm, **options).pull(None)))
    crm.quirks.add("forgets")
    with pytest.raises(CursorExpired, match="unknown cursor"):
        list(adapter_for(crm, **options).pull(first.cursor))


# --- records


def test_a_field_that_is_left_out_is_unknown_unless_the_api_omits_empty_ones(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = [{"id": 1, "phone": "+1", "dnt": "yes"}, {"id": 2, "phone": "+2"}]
    (_, strict) = changes(list(adapter_for(crm).pull(None)))
    assert "dnt" not in strict.properties
    (_, filled) = changes(list(adapter_for(crm, omits_empty=True).pull(None)))
    assert filled.properties["dnt"] is None


def test_a_field_that_vanished_is_unknown_after_the_next_listing(serve: Any) -> None:
    crm, memory = serve(ScriptedCrm()), {}
    crm.data = [{"id": 1, "dnt": "yes"}, {"id": 2}]
    adapter = adapter_for(crm, memory, omits_empty=True)
    list(adapter.pull(None))
    assert "dnt" in {field.name for field in adapter.describe()}
    crm.data = [{"id": 1, "do_not_text": "yes"}, {"id": 2}]
    list(adapter.pull(None))
    assert "dnt" not in {field.name for field in adapter.describe()}
    (_, second) = changes(list(adapter.pull(None)))
    assert "dnt" not in second.properties
    assert second.properties["do_not_text"] is None


def test_parts_of_an_empty_field_are_empty(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    full = {
        "id": 1,
        "address": {"city": "Bonn"},
        "owner": {"id": 3, "name": "Sam"},
        "phones": [{"value": "1"}, {"value": "2"}],
    }
    crm.data = [full, {"id": 2, "address": None, "owner": None, "phones": []}, {"id": 3, "address": {}, "owner": None}]
    (_, empty, unknown) = changes(list(adapter_for(crm).pull(None)))
    assert {name: empty.properties[name] for name in ("address.city", "owner_id", "phones_2")} == {
        "address.city": None, "owner_id": None, "phones_2": None,
    }  # fmt: skip
    assert "address.city" not in unknown.properties
    assert "phones" not in unknown.properties


def test_fields_and_references_get_names_of_their_own(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = [
        {"id": 1, "numbers": [{"number": "+1", "type": "cell"}], "rep": {"key": 3, "full": "Sam"}},
        {"id": 2, "numbers": [], "rep": None},
        {"id": 3},
    ]
    options = {"fields": {"mobile": "numbers.0.number"}, "references": {"agent": ["rep.full", "rep.key"]}}
    (full, empty, unknown) = changes(list(adapter_for(crm, **options).pull(None)))
    names = ("mobile", "agent", "agent_id")
    assert [full.properties[name] for name in names] == ["+1", "Sam", 3]
    assert [empty.properties[name] for name in names] == [None, None, None]
    assert not set(names) & set(unknown.properties)


@pytest.mark.parametrize(
    ("deleted", "value", "is_deleted"),
    [
        ({"field": "x"}, True, True),
        ({"field": "x"}, "2026-01-01T00:00:00Z", True),
        ({"field": "x"}, None, False),
        ({"field": "x"}, "no", False),
        ({"field": "x"}, {}, False),
        ({"field": "x", "values": ["Archived", "trash"]}, "archived", True),
        ({"field": "x", "values": "trash"}, "active", False),
        ({"field": "x", "values": [1]}, "1", True),
    ],
)
def test_deleted_records_are_marked(serve: Any, deleted: Any, value: Any, is_deleted: bool) -> None:
    crm = serve(ScriptedCrm())
    crm.data = [{"id": 1, "x": value}]
    (change,) = changes(list(adapter_for(crm, deleted=deleted).pull(None)))
    assert change.deleted is is_deleted


@pytest.mark.parametrize(
    ("item", "options", "said"),
    [
        ("garbage", {}, "no id"),
        ({"name": "Ann"}, {}, 'no id at "id"'),
        ({"id": True}, {}, "no id"),
        ({"id": "x" * 300}, {}, "longer than 255"),
        ({"id": 7}, {"deleted": {"field": "gone"}}, 'no field "gone"'),
    ],
)
def test_one_unreadable_record_stops_no_other(serve: Any, item: Any, options: Any, said: str) -> None:
    crm = serve(ScriptedCrm())
    crm.data = [{"id": 1, "gone": False}, item, {"id": 2, "gone": False}]
    pages = list(adapter_for(crm, **options).pull(None))
    (unread,) = [one for page in pages for one in page.changes if isinstance(one, UnreadableRecord)]
    assert said in unread.reason
    assert ids(pages) == ["1", "2"]


def test_unreadable_records_have_keys_of_their_own(serve: Any) -> None:
    crm = serve(ScriptedCrm())
    crm.data = [{"name": "Ann"}, {"name": "Bob"}, "garbage"]
    first, second = ({one.key for page in adapter_for(crm).pull(None) for one in page.changes} for _ in range(2))  # type: ignore[union-attr]
    assert len(first) == 3
    assert first == second


def test_only_people_have_a_page_in_the_crm() -> None:
    objects = {"deal": {"path": "deals", "person": "contact"}}
    options = {**MINIMAL, "objects": objects, "link": "https://acme.test/people/{id}"}
    adapter = RestAdapter(RestOptions.model_validate(options), FieldMapping())
    assert adapter.link("a/17") == "https://acme.test/people/a%2F17"
    assert adapter.link("deal-17") == ""


def test_a_deal_whose_person_is_not_where_the_options_say_is_unreadable(serve: Any) -> None:
    crm = serve(CursorCrm())
    crm.deals[1] = Stored(1, {"title": "A new roof", "person": 4}, AN_HOUR_AGO)
    (unread,) = [one for page in adapter_for(crm).pull(None) for one in page.changes]
    assert isinstance(unread, UnreadableRecord)
    assert unread.key == "deal-1"
    assert 'no field "contact.id"' in unread.reason


def test_a_list_of_deleted_records_is_read_before_the_changes(serve: Any) -> None:
    crm = serve(CursorCrm())
    fill(crm)
    memory: dict[str, Any] = {}
    cursor = list(adapter_for(crm, memory).pull(None))[-1].cursor
    assert not any(one.path.endswith("deleted") for one in crm.heard)
    crm.delete(3)
    found = changes(list(adapter_for(crm, memory).pull(cursor)))
    assert found[0].external_id == "3"
    assert found[0].deleted
    assert found[0].updated_at is not None
    assert {one.external_id for one in found[1:]} == {"7", "8", "9", "10", "11", "12"}


# --- what the options decide


@pytest.mark.parametrize(
    ("options", "removals", "lists_ids"),
    [
        ({}, Removals.ABSENT, False),
        ({"ids": {"path": "ids"}}, Removals.ABSENT, True),
        ({"since": {"parameter": "s", "field": "f"}}, Removals.UNSEEN, False),
        ({"since": {"parameter": "s", "field": "f"}, "ids": {"path": "ids"}}, Removals.UNSEEN, True),
        ({"since": {"parameter": "s", "field": "f"}, "deleted": {"field": "d"}}, Removals.REPORTED, False),
    ],
)
def test_options_decide_how_deletions_are_found(options: Any, removals: Removals, lists_ids: bool) -> None:
    adapter: Adapter = RestAdapter(RestOptions.model_validate({**MINIMAL, **options}), FieldMapping())
    assert adapter.removals is removals
    assert isinstance(adapter, ListsIds) is lists_ids


def test_without_a_filter_every_run_reads_everything(serve: Any) -> None:
    crm = serve(LinkCrm())
    fill(crm)
    pages = list(adapter_for(crm, since=None).pull(None))
    assert len(ids(pages)) == 12
    assert pages[-1].cursor is None
    assert len(ids(list(adapter_for(crm, since=None).pull(pages[0].cursor)))) == 7


def test_limits_and_kinds_come_from_the_options() -> None:
    deal = {"path": "deals", "person": "contact"}
    limits = [{"amount": 5, "per": "1s"}, {"amount": 1000, "per": "1d"}]
    options = {**MINIMAL, "limits": limits, "objects": {"deal": deal}}
    adapter = RestAdapter(RestOptions.model_validate(options), FieldMapping())
    assert adapter.limits == (Limit("", 5, timedelta(seconds=1)), Limit("", 1000, timedelta(days=1)))
    assert adapter.kinds == RestAdapter.kinds_for(options) == ("contact", "deal")


# --- mistakes in the options


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({"auth": {"kind": "barer"}}, "auth.kind", "bearer"),
        ({"auth": {"kind": "bearer"}}, "auth.token", 'is missing: kind = "bearer" needs it'),
        ({"auth": {"kind": "bearer", "token": "plain"}}, "auth.token", "written in the file"),
        ({"auth": {"kind": "none", "token": {"env": "X"}}}, "auth.token", 'does not apply to kind = "none"'),
        ({"paging": {"kind": "offset", "parametr": "o"}}, "paging.parametr", "not a key of this table"),
        ({"paging": {"kind": "cursor", "parameter": "c"}}, "paging.next", 'kind = "cursor" needs it'),
        ({"since": {"parameter": "s"}}, "since.field", "is missing"),
        ({"since": {"parameter": "s", "field": "f", "format": "unix"}}, "since.format", "not a format of times"),
        ({"since": {"parameter": "s", "field": "f", "template": "x"}}, "since", "needs {since}"),
        ({"since": {"parameter": "s", "field": "f", "format": "date", "until": "u"}}, "since", "until is not possible"),
        ({"deleted": {"field": "d", "path": "p"}}, "deleted", "either a field"),
        ({"deleted": {"path": "p"}}, "", "needs since"),
        ({"body": {"a": 1}}, "", 'needs method = "POST"'),
        ({"objects": {"Deal": {"path": "d", "person": "p"}}}, "objects", "small letters"),
        ({"objects": {"deal": {"path": "d"}}}, "objects.deal.person", "is missing"),
        ({"headers": {"X-Api-Key": "abc"}}, "headers", "looks like a credential"),
        ({"timezone": "Mars"}, "timezone", "not a time zone"),
        ({"link": "/contacts/{id}"}, "link", "not an address with {id}"),
        ({"url": "acme.test"}, "url", "not a web address"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_named_with_their_key(options: Any, key: str, said: str, tmp_path: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        RestOptions.model_validate({**MINIMAL, **options}, context=FromFile(tmp_path))
    found: list[ConfigProblem] = problems_of(caught.value, RestOptions)
    assert any(one.key == key and said in str(one) for one in found), [str(one) for one in found]
    assert "plain" not in "".join(map(str, found))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"records": "people"}, 'a list at "people"'),
        ({"id": "key"}, 'no id at "key"'),
        ({"id": "kind"}, "is not an id"),
        ({"since": {"parameter": "s", "field": "updated"}}, "similar fields: updated_at"),
        ({"since": {"parameter": "s", "field": "name"}}, "holds no time"),
        ({"deleted": {"field": "gone"}}, 'no record has "gone"'),
    ],
)
def test_check_names_what_is_not_where_it_should_be(serve: Any, options: Any, said: str) -> None:
    crm = serve(ScriptedCrm())
    people = [{"id": n, "kind": "x", "name": f"Ann {n}", "updated_at": "2026-01-01T00:00:00Z"} for n in range(3)]
    crm.data = {"data": people}
    with pytest.raises(SourceInvalid) as caught:
        adapter_for(crm, **{"records": "data", **options}).check()
    assert said in str(caught.value)


def test_check_says_what_was_understood(serve: Any) -> None:
    crm = serve(LinkCrm())
    fill(crm)
    said = adapter_for(crm).check().summary
    assert 'changes by "since"' in said
    assert 'phone "mobile"' in said
    assert 'email "email"' in said


# --- documentation

DOCUMENT = (Path(__file__).parents[2] / "docs" / "adapters" / "rest.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(\[connections\.\w+\]\n.*?)```", DOCUMENT, re.DOTALL))
def test_the_documented_connections_are_valid(block: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in re.findall(r'env = "(\w+)"', block):
        monkeypatch.setenv(name, "key-0000")
    for configured in tomllib.loads(block)["connections"].values():
        options = RestOptions.model_validate(configured["options"], context=FromFile(tmp_path))
        FieldMapping.model_validate(configured.get("fields", {}))
        assert options.since is not None


@pytest.mark.parametrize("key", sorted(RestOptions.model_fields))
def test_every_option_is_documented(key: str) -> None:
    assert re.search(rf"^\| (?:`\w+`, )*`{key}`", DOCUMENT, re.MULTILINE)
