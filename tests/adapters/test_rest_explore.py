"""What a response of an unknown API shows. tests/cli tries the options that are printed."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from crm_adapters.http import ApiReply
from crm_adapters.rest.explore import UnsuitableResponse, understand
from crm_adapters.rest.snippet import toml_snippet

PERSON = {"id": 1, "name": "Ann Lee", "phone": "+14155550100", "email": "ann@example.com"}
OTHER = {"id": 2, "name": "Bob Ray", "phone": "+14155550101", "email": "bob@example.com"}
ADDRESS = "https://api.acme.test/v2/contacts"


def reply(data: Any, headers: dict[str, str] | None = None, url: str = ADDRESS) -> ApiReply:
    return ApiReply("Acme", "GET /v2/contacts", 200, headers or {}, data, url)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"errors": [{"message": "no query"}]}, "GraphQL"),
        ({"data": {"errors": []}, "errors": ["x"]}, "errors and no records"),
        ([1, 2, 3], "single values"),
        ({"ids": ["a"]}, "single values"),
        ({"contacts": []}, 'The list at "contacts" is empty'),
        ([], "is empty"),
        (PERSON, "a single record"),
        ({}, "no fields"),
        ("hello", "a single value"),
        (None, "a single value"),
        ([{"name": "Ann", "phone": "+1"}], "no field that identifies"),
        ([{"id": 1}, {"id": 1}], "no field that identifies"),
        ([{"id": None}], "no field that identifies"),
    ],
    ids=str,
)
def test_an_unsuitable_response_is_explained(data: Any, said: str) -> None:
    with pytest.raises(UnsuitableResponse) as caught:
        understand(reply(data), ADDRESS)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("query", "data", "headers", "paging"),
    [
        ("", {"d": [PERSON], "next": "https://api.acme.test/v2/contacts?p=2"}, {}, {"kind": "link", "next": "next"}),
        ("", {"d": [PERSON]}, {"link": f'<{ADDRESS}?p=2>; rel="next"'}, {"kind": "link"}),
        ("?pageToken=x&limit=1", {"d": [PERSON], "nextPageToken": "y"}, {},
         {"kind": "cursor", "parameter": "pageToken", "next": "nextPageToken", "size": "limit"}),
        ("", {"d": [PERSON], "paging": {"next": {"after": "9"}}}, {},
         {"kind": "cursor", "parameter": "after", "next": "paging.next.after"}),
        ("", {"d": [PERSON], "pageInfo": {"hasNextPage": True, "endCursor": "e"}}, {},
         {"kind": "cursor", "parameter": "starting_after", "next": "pageInfo.endCursor",
          "more": "pageInfo.hasNextPage"}),
        ("?page=1&per_page=1", {"d": [PERSON], "meta": {"total_pages": 4}}, {},
         {"kind": "page", "parameter": "page", "last": "meta.total_pages", "size": "per_page"}),
        ("?offset=0&limit=1", {"d": [PERSON], "total": 9}, {},
         {"kind": "offset", "parameter": "offset", "total": "total", "size": "limit"}),
        ("", {"d": [PERSON], "total": 1}, {}, {"kind": "none"}),
    ],
    ids=["address", "header", "token", "guessed token", "flag and token", "page", "offset", "whole"],
)  # fmt: skip
def test_paging_is_recognised(query: str, data: Any, headers: dict[str, str], paging: dict[str, Any]) -> None:
    found = understand(reply(data, headers), ADDRESS + query)
    assert found.paging == paging
    assert found.url == "https://api.acme.test/v2"
    assert found.path == "contacts"
    assert found.params == {}


def test_guesses_have_a_comment() -> None:
    people = [{**PERSON, "id": number, "updated": "2026-01-01", "is_deleted": False} for number in range(30)]
    people[3].pop("email")
    found = understand(reply({"data": people}), ADDRESS)
    text = toml_snippet(found, "crm", {}, {})
    for said in ("Look up paging: nothing shows", "# omits_empty = true", '# deleted = { field = "is_deleted" }',
                 '# since = { parameter = "updated_since", field = "updated" }'):  # fmt: skip
        assert said in text, text
    assert tomllib.loads(text)["connections"]["crm"]["options"]["path"] == "contacts"


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        ({"id": 1, "details": {"cell": "+14155550100", "mail": "a@example.com"},
          "name": {"first": "A", "last": "B"}},
         {"phone": ("details.cell",), "email": ("details.mail",), "full_name": ("name.first", "name.last")}),
        ({"id": 1, "phoneNumbers": [{"number": "+14155550100", "type": "home"}], "name": "A B",
          "email": "a@example.com"},
         {"phone": ("phoneNumbers.number",)}),
        (PERSON, {}),
    ],
    ids=["nested", "list", "usual"],
)  # fmt: skip
def test_fields_without_usual_names_are_found_by_their_values(record: Any, columns: dict[str, tuple[str, ...]]) -> None:
    assert understand(reply([record]), ADDRESS).columns == columns
