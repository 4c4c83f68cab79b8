"""The rest adapter as an operator uses it: `vtsync adapters rest --try URL`, check, sync."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from config.fields import FieldMapping
from crm_adapters.rest.adapter import RestAdapter
from crm_adapters.rest.options import RestOptions
from crm_adapters.rest.snippet import WIDTH
from tests.adapters.rest_crms import KEY, CursorCrm, JsonCrm, LinkCrm, OffsetCrm
from tests.adapters.test_rest import AN_HOUR_AGO, fill, ids
from tests.cli.conftest import Shell


@pytest.fixture
def crms() -> Iterator[Any]:
    running: list[JsonCrm] = []

    def start(kind: type[JsonCrm]) -> JsonCrm:
        crm = kind()
        crm.serve()
        running.append(crm)
        fill(crm, 25)
        return crm

    yield start
    for crm in running:
        crm.stop()


@pytest.mark.parametrize(
    ("kind", "path", "headers"),
    [
        (OffsetCrm, "contacts?limit=7&offset=0&modified_from=2020-01-01T00:00:00Z", ["X-Api-Key: {token}"]),
        (OffsetCrm, "contacts?limit=7", ["X-Api-Key: {token}"]),
        (CursorCrm, "people?page_size=7&cursor=", []),
        (LinkCrm, "clients?per_page=7&since=1", ["Authorization: Basic {token}"]),
    ],
    ids=["offset", "offset guessed", "cursor", "link"],
)
def test_the_options_that_are_printed_read_everything(
    shell: Shell,
    crms: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[JsonCrm],
    path: str,
    headers: list[str],
) -> None:
    crm = crms(kind)
    secret = KEY if kind is not LinkCrm else "a2V5LTUxZTAtN2Q0NDo="
    monkeypatch.setenv("ACME_TOKEN", secret)
    more = [part for header in headers for part in ("--header", header)]
    shown = shell("adapters", "rest", "--try", f"{crm.url}/{path}", "--token-env", "ACME_TOKEN", *more)
    assert secret not in shown.output
    assert "+14155550001" not in shown.stdout
    assert "ann1@example.com" not in shown.stdout
    begins = shown.stdout.index("[connections.crm]")
    text = shown.stdout[begins:]
    assert max(map(len, text.splitlines())) <= WIDTH
    configured = tomllib.loads(text)["connections"]["crm"]
    options = RestOptions.model_validate(configured["options"])
    adapter = RestAdapter(options, FieldMapping.model_validate(configured.get("fields", {})))
    adapter.check()
    pages = list(adapter.pull(None))
    assert len(set(ids(pages))) == 25
    contact = adapter.contact_fields(pages[0].changes[0].properties)  # type: ignore[union-attr]
    assert contact.full_name == "Ann Lee0"
    assert contact.email == "ann0@example.com"
    assert contact.phones[0][1] == "+14155550000"
    if "since" in configured["options"]:
        crm.put("Zoe Quill", "+14155550199", "zoe@example.com", at=AN_HOUR_AGO + timedelta(minutes=30))
        assert "26" in ids(list(adapter.pull(pages[-1].cursor)))
    adapter.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rest", "--try", "acme"], 2, "is not a web address"),
        (["rest", "--try", "http://127.0.0.1:9/x"], 1, "127.0.0.1 cannot be read like this"),
        (["rest", "--try", "http://127.0.0.1:9/x", "--header", "nothing"], 2, 'takes "Name: value"'),
        (["rest", "--try", "http://127.0.0.1:9/x", "--header", "X-Key: {token}"], 2, "needs --token-env"),
        (["rest", "--try", "http://127.0.0.1:9/x", "--token-env", "NO_SUCH_ONE"], 2, "NO_SUCH_ONE is not set"),
        (
            ["rest", "--try", "http://127.0.0.1:9/x", "--header", "X-Api-Key: abc"],
            2,
            "X-Api-Key looks like a credential",
        ),
        (["rest", "--try", "http://127.0.0.1:9/x?api_key=abc"], 2, "api_key looks like a credential"),
        (["csv", "--try", "http://127.0.0.1:9/x"], 2, "only `vtsync adapters rest --try URL`"),
        (["rest", "--token-env", "X"], 2, "only `vtsync adapters rest --try URL`"),
    ],
)
def test_wrong_usage_is_explained(shell: Shell, arguments: list[str], code: int, said: str) -> None:
    assert said in shell("adapters", *arguments, code=code).stderr


def test_a_refused_credential_is_explained(shell: Shell, crms: Any) -> None:
    crm = crms(CursorCrm)
    assert "refuses the credential" in shell("adapters", "rest", "--try", f"{crm.url}/people", code=1).stderr


@pytest.mark.parametrize(
    ("record", "code", "said"), [("deal", 0, "1 connection, 1 trigger"), ("dael", 2, 'did you mean "deal"')]
)
def test_a_trigger_may_watch_the_records_that_the_options_name(shell: Shell, record: str, code: int, said: str) -> None:
    shell.configure(f"""
[connections.crm]
adapter = "rest"
account = "main"
[connections.crm.options]
url = "https://acme.example"
path = "people"
objects = {{ deal = {{ path = "deals", person = "contact.id" }} }}
[triggers.sold]
connections = "crm"
on = "created"
record = "{record}"
message = "Hello"
""")
    assert said in shell("check", "--offline", code=code).output


def test_a_json_api_is_synced(shell: Shell, crms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", KEY)
    crm = crms(OffsetCrm)
    shell.configure(f"""
[connections.crm]
adapter = "rest"
account = "main"
max_missing_share = 1.0
[connections.crm.options]
url = "{crm.url}"
path = "contacts"
records = "contacts"
omits_empty = true
page_size = 10
auth = {{ kind = "header", name = "X-Api-Key", token = {{ env = "ACME_TOKEN" }} }}
paging = {{ kind = "offset", size = "limit", total = "meta.total" }}
since = {{ parameter = "modified_from", field = "updatedAt" }}
deleted = {{ field = "archived", params = {{ archived = "true" }} }}
limits = [{{ amount = 1000, per = "1s" }}, {{ amount = 11, per = "1d" }}]
""")
    assert 'changes by "modified_from"' in shell("check").output

    def sync() -> dict[str, Any]:
        (report,) = shell.json("sync", "crm", "--no-push", "--no-texts")["syncs"]
        return {**report, "counts": (report["added"], report["unchanged"], report["removed"])}

    assert sync()["counts"] == (25, 0, 0)
    crm.put("Zoe Quill", "+12025550188", "zoe@example.com", at=AN_HOUR_AGO + timedelta(minutes=30))
    crm.delete(2)
    second = sync()
    assert second["counts"] == (1, 6, 1)
    assert second["notes"] == []
    crm.quirks.add("ignores the filter")
    third = sync()
    assert third["counts"] == (0, 26, 0)
    assert 'ignores "modified_from"' in third["notes"][0]
    assert "11 of 11 calls in 24h" in shell("sync", "crm", "--no-push", "--no-texts", code=1).output
