"""Texts are found over HTTP by the metadata that their caller gave them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.messages.conftest import number
from tests.web.conftest import Site

TEXT = {"account": "main", "to": number(0), "message": "hello"}
TWICE = "metadata names a key twice; a text has one value for each key"
MANY = "metadata names 6 keys, at most 5 are allowed"


def test_a_text_is_found_by_its_metadata_and_shown_with_it(site: Site) -> None:
    metadata = {"order": 17, "shop": "Köln & Co", "paid": True}
    made = site.http.post("/v1/messages", json=TEXT | {"metadata": metadata}).json()["id"]
    site.http.post("/v1/messages", json=TEXT | {"metadata": {"order": 18}})
    for wanted in ({"order": "17"}, {"shop": "Köln & Co"}, {"paid": "true", "order": "17"}):
        found = site.http.get("/v1/messages", params={f"metadata.{key}": one for key, one in wanted.items()}).json()
        assert [(one["id"], one["metadata"]) for one in found["messages"]] == [(made, metadata)]
    assert site.http.get(f"/v1/messages/{made}").json()["metadata"] == metadata
    assert site.http.get("/v1/messages", params={"metadata.order": "17", "state": "held"}).json()["messages"] == []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("metadata.a=1&metadata.a=2", TWICE),
        ("&".join(f"metadata.k{index}=1" for index in range(6)), MANY),
        ("metadata.a=%00", "metadata must not contain NUL characters"),
        ("metadata=1", '"metadata" is unknown; '),
        ("metadata.=1", '"metadata." is unknown; did you mean "metadata.KEY"?'),
        ("metdata.order=1", '"metdata.order" is unknown; '),
    ],
)
def test_a_filter_that_means_nothing_is_refused(site: Site, query: str, detail: str) -> None:
    answer = site.http.get(f"/v1/messages?{query}")
    (error,) = answer.json()["errors"]
    assert answer.status_code == 422
    assert error["detail"].startswith(detail)


def test_a_key_of_one_account_finds_only_its_own(site: Site) -> None:
    for account in ("main", "other"):
        site.http.post("/v1/messages", json=TEXT | {"account": account, "metadata": {"order": 17}})
    mine = site.headers("messages:read", accounts=("main",))
    found: dict[str, Any] = site.http.get("/v1/messages?metadata.order=17", headers=mine).json()
    assert [one["account"] for one in found["messages"]] == ["main"]


def test_only_the_list_of_messages_takes_the_filter(site: Site) -> None:
    assert site.http.get(f"/v1/contacts/{number(0)}?metadata.order=17").status_code == 422
