"""The pure parts of ``crm_adapters.http``: paging, shapes of records, bounds of a run, times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_adapters.base import CrmField, CursorExpired, SourceInvalid
from crm_adapters.http import (
    ApiReply,
    BearerAuth,
    ChangeWindow,
    HttpApi,
    ParameterAuth,
    chosen_fields,
    cursor_batches,
    fill,
    flatten,
    iso_time,
    keyset_batches,
    link_batches,
    moment_of,
    number_batches,
    offset_batches,
    quoted,
    value_at,
)
from crm_adapters.services import LocalServices

PEOPLE = [{"id": f"{number:04d}"} for number in range(25)]


def reply(data: Any, url: str = "", **headers: str) -> ApiReply:
    return ApiReply("Acme", "GET /people", 200, {name.lower(): value for name, value in headers.items()}, data, url)


def api(auth: Any = None) -> HttpApi:
    return HttpApi("Acme", "https://acme.test/v1", auth or BearerAuth("token"), LocalServices())


def ids(batches: Iterator[Any]) -> list[str]:
    return [item["id"] for batch in batches for item in batch.items]


WHOLE = [person["id"] for person in PEOPLE]


def by_token(token: str | None) -> ApiReply:
    start = int(token or 0)
    more = {"after": str(start + 10)} if start + 10 < 25 else {}
    return reply({"results": PEOPLE[start : start + 10], "paging": {"next": more}})


def by_offset(offset: int) -> ApiReply:
    # The API cuts the page to 7, whatever is asked for.
    return reply({"results": PEOPLE[offset : offset + 7], "total": 25, "more": offset + 7 < 25})


def by_number(number: int) -> ApiReply:
    return reply({"results": PEOPLE[(number - 1) * 10 : number * 10], "pages": 3})


def by_clamped_number(number: int) -> ApiReply:
    # The API returns the last page again for numbers that are too high.
    return by_number(min(number, 3))


def by_id(last: str | None) -> ApiReply:
    return reply({"results": [person for person in PEOPLE if last is None or person["id"] > last][:10]})


def by_link(address: str | None) -> ApiReply:
    start = int((address or "=0").partition("=")[2])
    link = {"Link": f'</v1/people?start={start + 10}>; rel="next"'} if start + 10 < 25 else {}
    return reply({"results": PEOPLE[start : start + 10]}, "https://acme.test/v1/people", **link)


LISTS: dict[str, Any] = {
    "cursor": lambda start=None: cursor_batches(by_token, "results", "paging.next.after", start=start),
    "offset": lambda start=0: offset_batches(by_offset, "results", start=start),
    "offset with total": lambda start=0: offset_batches(by_offset, "results", total="total", start=start),
    "offset with flag": lambda start=0: offset_batches(by_offset, "results", more="more", start=start),
    "number": lambda start=1: number_batches(by_number, "results", start=start),
    "number with last": lambda start=1: number_batches(by_clamped_number, "results", last="pages", start=start),
    "keyset": lambda start=None: keyset_batches(by_id, "results", "id", start=start),
    "link": lambda start=None: link_batches(api(), by_link, "results", start=start),
}


@pytest.mark.parametrize("kind", LISTS)
def test_every_way_of_paging_reads_all_and_resumes_after_each_page(kind: str) -> None:
    whole = list(LISTS[kind]())
    assert ids(iter(whole)) == WHOLE
    assert whole[-1].next is None
    for index, batch in enumerate(whole[:-1]):
        assert json.loads(json.dumps(batch.next)) == batch.next
        rest = [item["id"] for one in whole[index + 1 :] for item in one.items]
        assert ids(LISTS[kind](batch.next)) == rest


def always(data: dict[str, Any], **headers: str) -> Any:
    return lambda _where: reply(data, "https://acme.test/v1/people", **headers)


SAME = {"results": PEOPLE[:2], "next": "x", "total": -1, "more": True}
ENDLESS: dict[str, Any] = {
    "cursor": lambda fetch: cursor_batches(fetch, "results", "next"),
    "offset": lambda fetch: offset_batches(fetch, "results", total="total"),
    "offset with flag": lambda fetch: offset_batches(fetch, "results", more="more"),
    "number": lambda fetch: number_batches(fetch, "results"),
    "keyset": lambda fetch: keyset_batches(fetch, "results", "id"),
    "link": lambda fetch: link_batches(api(), fetch, "results"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_page_that_comes_again_is_an_error(kind: str) -> None:
    fetch = always(SAME, Link='<https://acme.test/v1/people?page=1>; rel="next"')
    with pytest.raises(SourceInvalid, match="the same page"):
        list(ENDLESS[kind](fetch))


def test_pages_that_take_turns_are_an_error() -> None:
    turns = [{"results": PEOPLE[:2], "next": "b"}, {"results": PEOPLE[2:4], "next": "a"}]
    with pytest.raises(SourceInvalid, match="the same page"):
        list(cursor_batches(lambda token: reply(turns[token == "b"]), "results", "next"))


def test_empty_pages_with_a_next_token_are_read_on() -> None:
    steps = [{"results": [], "next": "1"}, {"results": PEOPLE[:2], "next": "2"}, {"results": []}]
    assert ids(cursor_batches(lambda token: reply(steps[int(token or 0)]), "results", "next")) == ["0000", "0001"]
    with pytest.raises(SourceInvalid, match="the same page"):
        list(cursor_batches(always({"results": [], "next": "1"}), "results", "next"))


def test_a_total_that_is_not_known_does_not_end_the_list() -> None:
    def fetch(offset: int) -> ApiReply:
        return reply({"results": PEOPLE[offset : offset + 7], "total": -1})

    assert ids(offset_batches(fetch, "results", total="total")) == WHOLE


def test_a_record_without_the_key_ends_no_keyset_silently() -> None:
    with pytest.raises(SourceInvalid, match='no "id"'):
        list(keyset_batches(always({"results": [{"name": "x"}]}), "results", "id"))


def test_a_link_to_another_host_is_refused_and_a_credential_is_not_stored() -> None:
    fetch = always({"results": PEOPLE[:1]}, Link='<https://evil.test/v1/people?page=2>; rel="next"')
    with pytest.raises(SourceInvalid, match=r"evil\.test"):
        list(link_batches(api(), fetch, "results"))
    keyed = api(ParameterAuth("api_key", "k-1"))
    page = reply({"next": "/v1/people?api_key=k-1&page=2"}, "https://acme.test/v1/people")
    assert keyed.next_link(page, "next") == "https://acme.test/v1/people?page=2"
    assert keyed.next_link(reply({"next": None}), "next") is None
    assert keyed.next_link(reply({"next": "http://acme.test/v1/people?page=2"}), "next") == (
        "https://acme.test/v1/people?page=2"
    )
    with pytest.raises(SourceInvalid):
        keyed.next_link(reply({"next": "http://acme.test:81/v1/people"}), "next")


RECORDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("scalars", {"a": 1, "b": "x", "c": True, "d": None, "e": 1.5}, {"a": 1, "b": "x", "c": True, "d": None, "e": 1.5}),
    ("an object", {"address": {"city": "Bonn", "geo": {"lat": 1}}}, {"address.city": "Bonn", "address.geo.lat": 1}),
    ("a reference", {"owner": {"id": 6, "name": "Ann"}}, {"owner": "Ann", "owner_id": 6}),
    ("an empty reference", {"owner": {"id": 6, "name": None}}, {"owner": None, "owner_id": 6}),
    ("a rich reference", {"o": {"id": 6, "name": "Ann", "mail": "a"}}, {"o": "Ann", "o_id": 6, "o.mail": "a"}),
    ("an id alone", {"owner": {"id": 6}}, {"owner.id": 6}),
    ("a pair", {"user": [6, "Ann"]}, {"user": "Ann", "user_id": 6}),
    ("two texts", {"tags": ["a", "b"]}, {"tags": "a;b"}),
    ("two numbers", {"n": [1, 2]}, {"n": "1;2"}),
    ("members of kinds", {"n": [True, None, 1.5, "x"]}, {"n": "true;1.5;x"}),
    ("nothing", {"tags": [], "m": {}}, {"tags": None}),
    (
        "values, the primary first",
        {"phones": [{"value": "1", "primary": False}, {"value": "2", "primary": True}]},
        {"phones": "2", "phones_2": "1"},
    ),
    ("references", {"d": [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]}, {"d": "x;y", "d_id": "1;2"}),
    ("a list in a list", {"d": [[1, 2], ["a"]]}, {"d": '[1, 2];["a"]'}),
    ("an own field counts", {"owner": {"id": 6, "name": "Ann"}, "owner_id": 9}, {"owner": "Ann", "owner_id": 9}),
    ("text no database stores", {"a\x00": "b\x00\ud800"}, {"a": "b?"}),
    ("no number", {"a": float("nan"), "b": float("inf")}, {"a": None, "b": None}),
]


@pytest.mark.parametrize(("record", "flat"), [row[1:] for row in RECORDS], ids=[row[0] for row in RECORDS])
def test_records_become_flat(record: dict[str, Any], flat: dict[str, Any]) -> None:
    assert flatten(record) == flat


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_any_record_becomes_scalars_that_are_stored_unchanged(record: dict[str, Any]) -> None:
    flat = flatten(record)
    assert all(value is None or isinstance(value, str | int | float) for value in flat.values())
    assert json.loads(json.dumps(flat, allow_nan=False)) == flat


def test_a_very_deep_record_is_cut_to_text() -> None:
    deep: Any = "x"
    for _ in range(60):
        deep = {"a": deep}
    (name,) = flatten(deep)
    assert name == "a.a.a.a.a.a.a.a.a"


def test_absent_fields_are_filled_and_present_ones_kept() -> None:
    assert fill({"a": 1}, ["b", "a"]) == {"a": 1, "b": None}


def test_fields_are_chosen_by_name_or_label() -> None:
    fields = [CrmField("c9f1", "Pet name"), CrmField("mobilephone", "Mobile"), CrmField("x")]
    assert chosen_fields(fields, frozenset({"pet_name", "MobilePhone"})) == fields[:2]
    assert chosen_fields(fields, None) == fields


PATHS: list[tuple[Any, str, Any]] = [
    ({"a": {"b": 1}}, "a.b", 1),
    ({"a": [{"b": 1}]}, "a.0.b", 1),
    ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
    ({"a": {"b.c": 1}}, "a.b.c", 1),
    ({"a": None}, "a", None),
    ({"a": 1}, "a.b", "none"),
    ({"a": [1]}, "a.1", "none"),
    ({"a": [1]}, "a.-1", "none"),
    ([1], "", [1]),
]


@pytest.mark.parametrize(("data", "path", "value"), PATHS)
def test_a_value_at_a_path(data: Any, path: str, value: Any) -> None:
    assert value_at(data, path, "none") == value


def test_a_part_of_a_path_stays_one() -> None:
    assert quoted("../a b?x=1#é") == "..%2Fa%20b%3Fx%3D1%23%C3%A9"


TIMES: list[tuple[Any, str | None]] = [
    ("2026-11-28T10:00:00Z", "2026-11-28T10:00:00Z"),
    ("2026-11-28T10:00:00.123456789+02:00", "2026-11-28T08:00:00Z"),
    ("2026-11-28 10:00:00", "2026-11-28T10:00:00Z"),
    ("2026-11-28T10:00:00+0200", "2026-11-28T08:00:00Z"),
    ("2026-11-28", "2026-11-28T00:00:00Z"),
    (1_795_860_000, "2026-11-28T10:00:00Z"),
    ("1795860000000", "2026-11-28T10:00:00Z"),
    ("soon", None),
    ("", None),
    (None, None),
    (True, None),
    (10**30, None),
    ("9" * 10_000, None),
]


@pytest.mark.parametrize(("value", "moment"), TIMES)
def test_times_of_apis(value: Any, moment: str | None) -> None:
    found = moment_of(value)
    assert (None if found is None else iso_time(found)) == moment


def test_times_for_a_query_are_cut_and_never_rounded_up() -> None:
    moment = datetime(2026, 11, 28, 10, 0, 59, 999_999, tzinfo=UTC)
    assert iso_time(moment) == "2026-11-28T10:00:59Z"
    assert iso_time(moment, 3) == "2026-11-28T10:00:59.999Z"
    assert iso_time(moment.astimezone(), 6) == "2026-11-28T10:00:59.999999Z"


START = datetime(2026, 11, 28, 10, tzinfo=UTC)
DATE = {"Date": "Sat, 28 Nov 2026 09:50:00 GMT"}  # the CRM's clock is ten minutes behind
SERVER = START - timedelta(minutes=10)


def after(window: ChangeWindow, *times: Any, more: str | None = None) -> ChangeWindow:
    return window.read(reply([], **DATE), times, more)


def stored(window: ChangeWindow) -> dict[str, Any]:
    return dict(json.loads(json.dumps(window.cursor())))


def resumed(window: ChangeWindow, later: timedelta = timedelta(hours=1)) -> ChangeWindow:
    return ChangeWindow.of(stored(window), now=START + later)


def test_a_listing_has_no_lower_bound_and_the_next_run_starts_at_the_newest_change() -> None:
    window = ChangeWindow.of(None, now=START)
    assert window.since is None
    newest = SERVER - timedelta(hours=3)
    following = resumed(after(window, iso_time(newest), "2020-01-01T00:00:00Z"))
    assert following.since == newest - timedelta(minutes=5)


def test_the_next_run_starts_no_later_than_this_one_started_by_the_crms_clock() -> None:
    """Else a record that changed behind the reader's back, while later ones were read, is never read again."""
    window = ChangeWindow.of(None, now=START)
    late = [iso_time(SERVER + timedelta(minutes=9)), "2099-01-01T00:00:00Z"]
    assert resumed(after(after(window, more="7"), *late)).since == SERVER - timedelta(minutes=5)


def test_an_interrupted_run_keeps_its_bounds() -> None:
    first = after(ChangeWindow.of({"floor": START.isoformat()}, now=START + timedelta(hours=2)), START, more="7")
    again = resumed(first, timedelta(days=1))
    assert (again.since, again.until, again.after) == (first.since, first.until, "7")
    assert not again.is_complete
    assert stored(after(again)) == stored(after(first))


def test_quiet_runs_do_not_move_back() -> None:
    window = after(ChangeWindow.of(None, now=START), iso_time(SERVER))
    for older in range(5):
        window = after(resumed(window), *[iso_time(SERVER - timedelta(minutes=4))] * older)
    assert stored(window) == {"floor": SERVER.isoformat()}


def test_an_empty_crm_starts_at_the_start_of_the_listing() -> None:
    assert resumed(after(ChangeWindow.of(None, now=START))).since == SERVER - timedelta(minutes=5)


@pytest.mark.parametrize("cursor", [{}, {"after": 3}, {"floor": "soon"}, {"floor": 7}, {"floor": None, "until": "x"}])
def test_a_foreign_cursor_has_expired(cursor: dict[str, Any]) -> None:
    with pytest.raises(CursorExpired):
        ChangeWindow.of(cursor)
