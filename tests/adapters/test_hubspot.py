"""What the HubSpot adapter does beyond the promises of every adapter, against a HubSpot account on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.fields import FieldMapping
from crm_adapters.base import (
    AdapterError,
    ContactChange,
    CredentialsRejected,
    Cursor,
    CursorExpired,
    Limit,
    RecordGone,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
)
from crm_adapters.http import ApiField
from crm_adapters.http import epoch_milliseconds as milliseconds
from crm_adapters.hubspot import adapter as module
from crm_adapters.hubspot.adapter import HubSpotAdapter
from crm_adapters.hubspot.objects import VERSION
from crm_adapters.hubspot.options import HubSpotOptions
from crm_adapters.hubspot.properties import hubspot_property, merged_ids
from crm_adapters.hubspot.texts import communication
from crm_adapters.notes import is_note_of as is_body_of
from crm_adapters.notes import note_of as body_of
from crm_adapters.services import LocalGrant
from crm_adapters.testing.hooks import CountedServices
from crm_adapters.testing.samples import crm_message
from tests.adapters import hubspot_crm
from tests.adapters.hubspot_crm import SECRET, TOKEN, HubSpotAccount, prop, refused
from tests.adapters.test_conformance_hubspot import logged_texts

HubSpotProperty, opt_out_value = hubspot_property, ApiField.opt_out
RATE_LIMIT = {"status": "error", "errorType": "RATE_LIMIT"}
DAILY, ROLLING = {**RATE_LIMIT, "policyName": "DAILY"}, {**RATE_LIMIT, "policyName": "TEN_SECONDLY_ROLLING"}
INTERVAL = "X-HubSpot-RateLimit-Interval-Milliseconds"
NO_SCOPE = refused(403, "MISSING_SCOPES", "scopes are missing", requiredScopes=["crm.objects.contacts.read"])


@pytest.fixture
def account() -> Iterator[HubSpotAccount]:
    account = HubSpotAccount()
    account.serve()
    yield account
    account.stop()


class Opened:
    """Builds adapters for one account, and closes them."""

    def __init__(self, account: HubSpotAccount) -> None:
        self.account = account
        self.memory: dict[str, Any] = {}
        self._all: list[HubSpotAdapter] = []

    def __call__(
        self, *, wanted: Sequence[str] | None = (), grant: LocalGrant | None = None, **options: Any
    ) -> HubSpotAdapter:
        credential = {} if "client_id" in options else {"token": TOKEN}
        built = HubSpotOptions.model_validate({"api_url": self.account.url, **credential, **options})
        names = None if wanted is None else frozenset(wanted)
        services = CountedServices(HubSpotAdapter.limits, names, self.memory, grant)
        self._all.append(HubSpotAdapter(built, FieldMapping(), services=services))
        return self._all[-1]

    def close(self) -> None:
        for adapter in self._all:
            adapter.close()


@pytest.fixture
def opened(account: HubSpotAccount) -> Iterator[Opened]:
    opened = Opened(account)
    yield opened
    opened.close()


def run(adapter: HubSpotAdapter, cursor: Cursor | None = None) -> tuple[dict[str, ContactChange], Cursor]:
    """Return what a pull brings, by id, and its last cursor."""
    found: dict[str, ContactChange] = {}
    last: Cursor = {}
    for page in adapter.pull(cursor):
        assert page.cursor is not None
        last = page.cursor
        for change in page.changes:
            assert isinstance(change, ContactChange)
            found[change.external_id] = change
    return found, last


def person(account: HubSpotAccount, name: str = "Ann", at: datetime | None = None, **more: str) -> str:
    return account.write("contacts", {"firstname": name, "mobilephone": "+14155550100", **more}, None, at)


def people(account: HubSpotAccount, count: int, at: datetime | None = None) -> set[str]:
    return {person(account, f"Ann {number}", at) for number in range(count)}


def asked(account: HubSpotAccount, ending: str) -> list[Any]:
    return [body for _method, path, body in account.asked if path.endswith(ending)]


# Which properties are asked for


def test_only_what_the_configuration_uses_is_asked_for(account: HubSpotAccount, opened: Opened) -> None:
    person(account, "Ann", color="red", remark="secret")
    found, cursor = run(opened(wanted=["Favourite colour", "no such field"]))
    (change,) = found.values()
    used = {"color", "firstname", "lastname", "email", "phone", "mobilephone"}
    assert set(change.properties) == used
    sent = set(asked(account, "/objects/2026-09/contacts")[0]["properties"].split(","))
    assert sent == used | {"lastmodifieddate", "hs_merged_object_ids"}
    person(account, "Bob", color="blue")
    found, _ = run(opened(wanted=["Favourite colour"]), cursor)
    assert all(set(change.properties) == used for change in found.values())
    assert "remark" not in asked(account, "/search")[0]["properties"]


def test_names_that_are_too_long_for_an_address_are_sent_in_a_body(account: HubSpotAccount, opened: Opened) -> None:
    account.properties["contacts"] += [prop(f"a_rather_long_property_{n:04}", f"Long {n}") for n in range(700)]
    ids = people(account, 230)
    some = person(account, "Bob", a_rather_long_property_0699="here")
    account.asked.clear()
    found, _ = run(opened(wanted=None))
    assert set(found) == ids | {some}
    assert found[some].properties["a_rather_long_property_0699"] == "here"
    assert found[some].properties["a_rather_long_property_0698"] is None
    assert [len(body["inputs"]) for body in asked(account, "/batch/read")] == [100, 100, 31]


def test_a_record_that_is_deleted_before_it_is_read_is_left_out(
    account: HubSpotAccount, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_adapters.hubspot.objects.LONGEST_URL", 510)
    ids = people(account, 5)
    gone = min(ids)
    listed = HubSpotAccount._list

    def list_and_delete(self: HubSpotAccount, kind: str, query: dict[str, str]) -> Any:
        answer = listed(self, kind, query)
        self.delete("contacts", gone)
        return answer

    monkeypatch.setattr(HubSpotAccount, "_list", list_and_delete)
    assert set(run(opened())[0]) == ids - {gone}


def test_fields_have_types_labels_and_choices(opened: Opened) -> None:
    fields = {(field.kind, field.name): field for field in opened(deals=True).describe()}
    for name, kind, label, values in (
        ("firstname", "text", "First name", ()),
        ("mobilephone", "phone", "Mobile phone number", ()),
        ("email", "email", "Email", ()),
        ("no_sms", "boolean", "No texts", ()),
        ("color", "choice", "Favourite colour", ("red", "green", "blue")),
        ("visits", "number", "Visits", ()),
        ("signed_on", "date", "Signed on", ()),
        ("lastmodifieddate", "datetime", "Last modified", ()),
        ("hubspot_owner", "reference", "Contact owner", ()),
        ("hubspot_owner_id", "text", "", ()),
    ):
        field = fields["contact", name]
        assert (field.type, field.label, field.values) == (kind, label, values), name
    assert fields["deal", "dealstage"].values == ("New", "Won")
    assert fields["deal", "pipeline"].values == ("Sales",)


def test_owners_are_shown_by_name_also_former_ones(account: HubSpotAccount, opened: Opened) -> None:
    now, former, unknown, nobody = (person(account, hubspot_owner_id=number) for number in ("77", "78", "79", ""))
    found, cursor = run(opened(wanted=["Contact owner"]))
    shown = {key: (c.properties["hubspot_owner"], c.properties["hubspot_owner_id"]) for key, c in found.items()}
    assert shown == {
        now: ("Sam Seller", "77"),
        former: ("Former Friend", "78"),
        unknown: ("79", "79"),
        nobody: ("", ""),
    }
    account.asked.clear()
    run(opened(), cursor)
    assert asked(account, "/owners/2026-09") == [], "names that nobody uses are not asked for"


def test_several_owners_and_names_that_are_taken(account: HubSpotAccount, opened: Opened) -> None:
    account.properties["contacts"] += [
        prop("team", "Team", "enumeration", "checkbox", **hubspot_crm.OWNER),
        prop("coach", "Coach"),
        prop("coach_id", "Coach (user)", "enumeration", "select", **hubspot_crm.OWNER),
    ]
    known = person(account, team="77;78;79", coach="Carl", coach_id="77")
    found, _ = run(opened(wanted=["Team", "coach", "coach_id"]))
    shown = {name: found[known].properties[name] for name in ("team", "team_id", "coach", "coach_id")}
    assert shown == {"team": "Sam Seller;Former Friend;79", "team_id": "77;78;79", "coach": "Carl", "coach_id": "77"}


# What changed


def test_more_changes_than_a_search_returns_are_read(
    account: HubSpotAccount, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubspot_crm, "MOST_FOUND", 400)
    _, cursor = run(opened())
    ids = people(account, 650)
    found, _ = run(opened(), cursor)
    assert set(found) == ids
    searches = asked(account, "/search")
    assert {body["after"] for body in searches} == {"0"}
    windows = {
        (body["filterGroups"][0]["filters"][0]["value"], body["filterGroups"][0]["filters"][1]["value"])
        for body in searches
    }
    assert len(windows) == 1, "the bounds of a run stay the same"


def test_changes_that_the_search_shows_late_are_seen(account: HubSpotAccount, opened: Opened) -> None:
    _, cursor = run(opened())
    now = datetime.now(UTC)
    early, late = person(account, "early", now - timedelta(minutes=5)), person(account, "late", now)
    account.lag = timedelta(minutes=1)
    found, cursor = run(opened(), cursor)
    assert set(found) == {early}
    newer = person(account, "newer", now - timedelta(seconds=61))
    found, cursor = run(opened(), cursor)
    account.lag = timedelta(0)
    found, _ = run(opened(), cursor)
    assert {late, newer} <= set(found)


def test_a_search_in_another_order_stops_the_run(account: HubSpotAccount, opened: Opened) -> None:
    _, cursor = run(opened())
    people(account, 3)
    rows = [account.shown("contacts", row, []) for row in account.rows["contacts"].values()]
    account.answers.append((200, {"results": account.properties["contacts"]}))
    account.answers.append((200, {"total": 3, "results": rows[::-1]}))
    with pytest.raises(SourceInvalid, match="in the order of ids"):
        run(opened(), cursor)


def test_an_interrupted_listing_continues_with_deals(account: HubSpotAccount, opened: Opened) -> None:
    ids = people(account, 150)
    deals = {f"deal:{account.write('deals', {'dealname': f'Roof {n}'})}" for n in range(150)}
    cursor: Cursor | None = None
    seen: set[str] = set()
    for _run in range(5):
        page = next(opened(deals=True).pull(cursor))
        seen |= {change.external_id for change in page.changes if isinstance(change, ContactChange)}
        cursor = page.cursor
    assert seen == ids | deals


def test_a_foreign_cursor_starts_from_the_top(opened: Opened) -> None:
    for cursor in ({"after": "17"}, {"at": "contacts", "contacts": {"after": 3}}):
        with pytest.raises(CursorExpired):
            run(opened(), cursor)


def test_an_entry_that_is_no_record_stops_no_other(account: HubSpotAccount, opened: Opened) -> None:
    known = person(account)
    shown = account.shown("contacts", account.rows["contacts"][known], [])
    account.answers.append((200, {"portalId": 1, "uiDomain": "x.test"}))
    account.answers.append((200, {"results": account.properties["contacts"]}))
    account.answers.append((200, {"results": [None, {"id": "17"}, shown, {"id": {}, "properties": {}}]}))
    changes = [change for page in opened().pull(None) for change in page.changes]
    assert [c.external_id for c in changes if isinstance(c, ContactChange)] == [known]
    assert [c.key for c in changes if isinstance(c, UnreadableRecord)] == [
        "contacts page 1, entry 1", "17", "contacts page 1, entry 4"
    ]  # fmt: skip


# What was deleted and merged


def test_runs_of_one_page_each_reach_the_last_deletions(account: HubSpotAccount, opened: Opened) -> None:
    ids, deal = people(account, 5), account.write("deals", {"dealname": "Roof"})
    _, cursor = run(opened(deals=True))
    account.delete("contacts", min(ids))
    account.delete("deals", deal)
    gone: set[str] = set()
    for _run in range(8):
        page = next(opened(deals=True).pull(cursor))
        gone |= {change.external_id for change in page.changes if isinstance(change, ContactChange) and change.deleted}
        assert page.cursor is not None
        cursor = page.cursor
    assert gone == {min(ids), f"deal:{deal}"}


def test_deletions_are_reported_once_and_old_ones_are_not(account: HubSpotAccount, opened: Opened) -> None:
    first, second = person(account), person(account)
    account.delete("contacts", first)
    account.rows["contacts"][first].archived_at = datetime.now(UTC) - timedelta(hours=1)
    found, cursor = run(opened())
    assert set(found) == {second}
    account.delete("contacts", second)
    found, cursor = run(opened(), cursor)
    assert {key for key, change in found.items() if change.deleted} == {second}


def test_a_long_list_of_deleted_records_is_read_less_often(
    account: HubSpotAccount, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEW_PAGES", 1)
    _, cursor = run(opened())
    for number in people(account, 150):
        account.delete("contacts", number)
    found, cursor = run(opened(), cursor)
    assert sum(change.deleted for change in found.values()) == 150
    late = person(account)
    account.delete("contacts", late)
    account.asked.clear()
    found, cursor = run(opened(), cursor)
    assert asked(account, "/objects/2026-09/contacts") == []
    cursor = {**cursor, "next archived contacts": datetime.now(UTC).isoformat()}
    found, _ = run(opened(), cursor)
    assert found[late].deleted


def test_merged_records_name_the_survivor(account: HubSpotAccount, opened: Opened) -> None:
    one, other, beside = person(account, "Ann"), person(account, "Anne"), person(account, "Bob")
    _, cursor = run(opened())
    survivor = account.merge("contacts", one, other)
    found, _ = run(opened(), cursor)
    gone = {key: change.merged_into for key, change in found.items() if change.deleted}
    assert gone == {one: survivor, other: survivor}
    listed, _ = run(opened())
    assert {key for key, change in listed.items() if not change.deleted} == {survivor, beside}


def test_a_record_of_many_keeps_to_the_size_of_a_page(account: HubSpotAccount, opened: Opened) -> None:
    losers = [str(number) for number in range(1000, 1450)]
    long_ago = datetime.now(UTC) - timedelta(days=1)
    survivor = person(account, "Ann", long_ago, hs_merged_object_ids=";".join(losers))
    account.rows["contacts"][survivor].properties["hs_merged_object_ids"] += f";{survivor}"  # type: ignore[operator]
    newest = person(account)
    pages = list(opened().pull(None))
    assert max(len(page.changes) for page in pages) == HubSpotAdapter.page_size
    found = [change.external_id for page in pages for change in page.changes if isinstance(change, ContactChange)]
    assert sorted(found) == sorted([survivor, newest, *losers])
    again, _ = run(opened(), pages[0].cursor)
    assert set(again) == {survivor, newest, *losers}, "the first of several pages must not be the place to continue"


def test_ids_of_live_records(account: HubSpotAccount, opened: Opened) -> None:
    ids = people(account, 120)
    erased, deleted = person(account), person(account)
    deal = account.write("deals", {"dealname": "Roof"})
    account.erase("contacts", erased)
    account.delete("contacts", deleted)
    assert {one for some in opened(deals=True).live_ids() for one in some} == ids | {f"deal:{deal}"}
    assert {one for some in opened().live_ids() for one in some} == ids


@pytest.mark.parametrize(
    ("value", "ids"),
    [("17;23", ["17", "23"]), ("17", ["17"]), ("17; 17 ;x;", ["17"]), ("", []), (None, []), (17, []), ("\u0663", [])],
)
def test_ids_of_merged_records(value: Any, ids: list[str]) -> None:
    assert merged_ids(value) == ids


# Deals


def test_deals_belong_to_their_oldest_contact(account: HubSpotAccount, opened: Opened) -> None:
    older, newer = (account.write("contacts", {"firstname": "Ann"}, number) for number in ("999", "1000"))
    values = {"dealname": "Roof", "dealstage": "1002", "pipeline": "default", "amount": "12.50"}
    deal, lone = account.write("deals", values), account.write("deals", {"dealname": "None", "dealstage": "gone"})
    for contact in (newer, older):
        account.link("deals", deal, "contacts", contact)
    found, cursor = run(opened(deals=True, wanted=["Deal stage", "pipeline", "dealname"]))
    change = found[f"deal:{deal}"]
    assert (change.kind, change.person) == ("deal", older)
    assert change.properties == {
        "dealname": "Roof", "dealstage": "Won", "dealstage_id": "1002", "pipeline": "Sales", "pipeline_id": "default"
    }  # fmt: skip
    assert (found[f"deal:{lone}"].person, found[f"deal:{lone}"].properties["dealstage"]) == (None, "gone")
    account.write("deals", {"dealstage": "1001"}, deal)
    found, _ = run(opened(deals=True, wanted=["dealstage"]), cursor)
    assert (found[f"deal:{deal}"].properties["dealstage"], found[f"deal:{deal}"].person) == ("New", older)


def test_deals_are_not_read_unless_asked_for(account: HubSpotAccount, opened: Opened) -> None:
    account.write("deals", {"dealname": "Roof"})
    adapter = opened()
    found, cursor = run(adapter)
    run(adapter, cursor)
    adapter.check()
    assert found == {}
    assert not [path for _method, path, _body in account.asked if "deals" in path]


def test_a_deal_whose_contact_cannot_be_read_is_not_a_deal_without_one(account: HubSpotAccount, opened: Opened) -> None:
    account.write("deals", {"dealname": "Roof"})
    part = {"results": [], "errors": [{"category": "INTERNAL_ERROR", "message": "try later"}], "numErrors": 1}
    pages = opened(deals=True).pull(None)
    next(pages)
    deals = account.answer("GET", "/crm/objects/2026-09/deals", {}, None)
    account.answers.extend([(200, {"results": account.properties["deals"]}), deals, (207, part)])
    with pytest.raises(SourceUnavailable, match="only in part"):
        list(pages)


# Refusals


@pytest.mark.parametrize(
    ("answer", "error", "said", "wait"),
    [
        ((429, DAILY, {INTERVAL: "10000"}), SourceUnavailable, "in a day are spent", 3600),
        ((429, ROLLING, {"Retry-After": "90"}), SourceUnavailable, "too many", 90),
        ((429, ROLLING, {INTERVAL: "11000"}), SourceUnavailable, "too many", 11),
        ((429, ROLLING), SourceUnavailable, "too many", 30),
        ((530, {}), CredentialsRejected, "copy it again", None),
        ((401, {"message": "no"}), CredentialsRejected, "refuses the credential", None),
        (NO_SCOPE, CredentialsRejected, "crm.objects.contacts.read", None),
        ((502, {}), SourceUnavailable, "cannot respond", None),
    ],
)
def test_refusals(
    account: HubSpotAccount, opened: Opened, answer: Any, error: type[AdapterError], said: str, wait: float | None
) -> None:
    account.answers.extend([answer] * 9)
    with pytest.raises(error, match=said) as raised:
        opened().describe()
    assert getattr(raised.value, "retry_after", None) == wait
    assert "HubSpot" in str(raised.value)


def test_a_short_wait_is_waited_for(account: HubSpotAccount, opened: Opened) -> None:
    account.answers.append((429, ROLLING, {"Retry-After": "1"}))
    assert opened().describe()


def test_an_outage_after_a_good_run_is_not_the_credential(account: HubSpotAccount, opened: Opened) -> None:
    run(opened())
    account.answers.extend([(530, {})] * 9)
    with pytest.raises(SourceUnavailable):
        opened().describe()


def test_links_are_not_worth_an_error(account: HubSpotAccount, opened: Opened) -> None:
    known = person(account)
    account.missing_scopes["/account-info"] = "oauth"
    adapter = opened()
    assert "1 contacts" in adapter.check().summary
    assert set(run(adapter)[0]) == {known}
    assert adapter.link(known) == ""
    account.missing_scopes.clear()
    adapter = opened()
    assert "account 4711" in adapter.check().summary
    assert adapter.link(known) == f"https://app-eu1.hubspot.com/contacts/4711/record/0-1/{known}"
    assert adapter.link("deal:17") == "https://app-eu1.hubspot.com/contacts/4711/record/0-3/17"
    assert [adapter.link(strange) for strange in ("", "deal:", "../17", "deal:x")] == [""] * 4
    assert opened().link(known) == adapter.link(known), "the account is kept from run to run"


# Credentials


def test_a_token_that_dies_in_mid_run_is_renewed_once(account: HubSpotAccount, opened: Opened) -> None:
    ids = people(account, 250)
    soon = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
    grant = LocalGrant({"access_token": TOKEN, "refresh_token": account.refresh_token, "expires_at": soon})
    adapter = opened(client_id="app-1", client_secret=SECRET, grant=grant)
    pages = adapter.pull(None)
    seen = {change.external_id for change in next(pages).changes if isinstance(change, ContactChange)}
    account.token = "another-token"
    seen |= {change.external_id for page in pages for change in page.changes if isinstance(change, ContactChange)}
    assert seen == ids
    assert grant.values is not None
    assert (grant.values["access_token"], grant.values["refresh_token"]) == ("another-token", "refresh-1")


def test_a_fixed_token_that_dies_stops_the_connection(account: HubSpotAccount, opened: Opened) -> None:
    people(account, 250)
    pages = opened().pull(None)
    next(pages)
    account.token = "another"
    with pytest.raises(CredentialsRejected, match="refuses the credential"):
        list(pages)


def test_the_app_asks_for_the_scopes_that_are_used(opened: Opened) -> None:
    app = opened(client_id="app-1", client_secret=SECRET).oauth()
    with_deals = opened(client_id="app-1", client_secret=SECRET, deals=True).oauth()
    assert app is not None
    assert with_deals is not None
    link = app.authorize_link("state-1", "http://127.0.0.1:8912/connect/callback")
    assert link.startswith("https://app.hubspot.com/oauth/authorize?")
    assert "crm.objects.contacts.write" in link
    assert "deals" not in link
    assert {scope for scope in with_deals.scopes if "deals" in scope}
    assert opened(client_secret=SECRET).oauth() is None, "a fixed token needs no consent"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "needs one credential"),
        ({"token": "a", "client_id": "b", "client_secret": "c"}, "needs one credential"),
        ({"client_id": "b"}, "client_id needs client_secret"),
        ({"token": "Bearer a"}, "spaces"),
        ({"token": "a", "daily_calls": 0}, "daily_calls"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        HubSpotOptions.model_validate(options)


def test_the_daily_budget_is_an_option() -> None:
    options = HubSpotOptions.model_validate({"token": "a", "daily_calls": 500_000})
    budgets = [limit for limit in HubSpotAdapter.limits_for(options) if limit.is_budget]
    assert budgets == [Limit("", 500_000, timedelta(days=1))]
    assert len(HubSpotAdapter.limits_for(options)) == len(HubSpotAdapter.limits)


def test_the_version_is_written_once() -> None:
    texts = [path.read_text("utf-8") for path in Path(module.__file__).parent.glob("*.py")]
    assert sum(text.count(VERSION.name) for text in texts) == 1


# Writing


def test_a_text_about_a_deal_is_logged_there(account: HubSpotAccount, opened: Opened) -> None:
    deal = account.write("deals", {"dealname": "Roof"})
    adapter = opened(deals=True)
    for _time in range(2):
        adapter.log_message(f"deal:{deal}", crm_message(1))
    assert [one.id for one in logged_texts(account, "deals", deal)] == [crm_message(1).id]
    account.delete("deals", deal)
    with pytest.raises(RecordGone, match=f"deal:{deal}"):
        adapter.log_message(f"deal:{deal}", crm_message(2))


def test_an_old_text_is_found_behind_many_new_ones(account: HubSpotAccount, opened: Opened) -> None:
    known = person(account)
    account.links_in_a_page = 40
    adapter = opened()
    adapter.log_message(known, crm_message(1))
    for number in range(130):
        text = account.write("communications", {"hs_communication_body": f"<p>from another app {number}</p>",
                                                "hs_timestamp": "2026-03-02T12:00:00Z"})  # fmt: skip
        account.link("communications", text, "contacts", known)
    before = len(account.rows["communications"])
    adapter.log_message(known, crm_message(1))
    assert len(account.rows["communications"]) == before
    adapter.log_message(known, crm_message(2))
    assert len(account.rows["communications"]) == before + 1
    assert len(asked(account, "/communications/search")) == 2


def test_a_mark_is_that_of_the_adapter() -> None:
    own = crm_message(1, "[vtsync m00000002] is what I read in HubSpot")
    assert is_body_of(body_of(own), own.id)
    assert not is_body_of(body_of(own), "m00000002")
    assert not is_body_of(body_of(own), "m0000000")
    for other in (None, "", 17, "<p>Hello</p>", "[vtsync ]"):
        assert not is_body_of(other, own.id)


def test_the_time_of_a_text_is_the_same_when_it_is_searched_for() -> None:
    for microsecond in range(0, 1_000_000, 997):
        at = datetime(2026, 3, 1, 12, 30, 15, microsecond, tzinfo=UTC)
        sent = communication(replace(crm_message(1), at=at), "contacts", "17")["properties"]["hs_timestamp"]
        assert hubspot_crm.milliseconds(datetime.fromisoformat(sent)) == milliseconds(at)


def test_line_breaks_and_spaces_are_shown() -> None:
    assert "<p>a&nbsp; b<br>&nbsp;c<br>d</p>" in body_of(crm_message(1, "a  b\r\n c\nd"))


OPTIONS = {
    "two": (("yes", "Yes"), ("no", "No")),
    "german": (("ja", "Ja"), ("nein", "Nein")),
    "numbers": (("1", "Opted out"), ("0", "Active")),
    "one": (("blocked", "Blocked"),),
    "three": (("red", "Red"), ("green", "Green"), ("no", "No")),
}


@pytest.mark.parametrize(
    ("kind", "options", "yes", "no"),
    [
        ("boolean", "two", "true", "false"),
        ("number", "", "1", "0"),
        ("text", "", "yes", "no"),
        ("choice", "two", "yes", "no"),
        ("choice", "german", "ja", "nein"),
        ("choice", "numbers", "1", "0"),
        ("choice", "one", "blocked", ""),
        ("choice", "three", None, None),
        ("choice", "", None, None),
        ("date", "", None, None),
    ],
)
def test_opt_outs_fit_the_type_of_the_property(kind: str, options: str, yes: str | None, no: str | None) -> None:
    found = HubSpotProperty("sms_stop", "SMS stop", kind, OPTIONS.get(options, ()))
    if yes is None:
        with pytest.raises(SourceInvalid, match=r"sms_stop.*single checkbox"):
            opt_out_value(found, True)
    else:
        assert (opt_out_value(found, True), opt_out_value(found, False)) == (yes, no)


def test_opt_outs_are_written_by_label_and_never_guessed(account: HubSpotAccount, opened: Opened) -> None:
    known = person(account)
    adapter = opened()
    adapter.set_do_not_text(known, "Block", True)
    assert account.rows["contacts"][known].properties["block"] == "blocked"
    adapter.set_do_not_text(known, "block", False)
    assert account.rows["contacts"][known].properties["block"] is None
    with pytest.raises(SourceInvalid, match="did you mean no_sms"):
        adapter.set_do_not_text(known, "no_sm", True)
    with pytest.raises(SourceInvalid, match='"score" cannot be written'):
        adapter.set_do_not_text(known, "score", True)


def test_a_validation_rule_is_named_and_not_tried_again(account: HubSpotAccount, opened: Opened) -> None:
    known = person(account)
    account.rules = {"no_sms": "No texts may be set by managers only", "hs_timestamp": "The date must be in this year"}
    adapter = opened()
    with pytest.raises(SourceInvalid, match="not valid: no_sms: No texts may be set by managers only"):
        adapter.set_do_not_text(known, "no_sms", True)
    with pytest.raises(SourceInvalid, match="must be in this year"):
        adapter.log_message(known, crm_message(1))
    account.rules = {}
    account.answers.append(refused(400, "VALIDATION_ERROR", "A property is required", propertyName=["close_reason"]))
    with pytest.raises(SourceInvalid, match="is required propertyName: close_reason"):
        adapter.set_do_not_text(known, "no_sms", True)
    assert [method for method, _path, _body in account.asked].count("PATCH") == 2
    assert len(asked(account, "/objects/2026-09/communications")) == 1


# Webhooks

BODY = b'[{"objectId": 17}]'


def test_webhooks_sign_the_address_that_hubspot_calls(account: HubSpotAccount, opened: Opened) -> None:
    """HubSpot decodes some characters of the address before it signs."""
    called, signed = "https://a.example/crm/x/a%3Ab%2fc?d=%20", "https://a.example/crm/x/a:b/c?d=%20"
    headers = account.sign(signed, BODY)
    assert opened(client_secret=SECRET, webhook_url=called).wakes(headers, BODY)
    seen = {":method": "POST", ":url": called}
    assert opened(client_secret=SECRET).wakes({**headers, **seen}, BODY)
    assert not opened(client_secret=SECRET).wakes({**headers, **seen, ":url": "https://b.example/crm/x"}, BODY)
    assert not opened(client_secret=SECRET).wakes(headers, BODY)
    assert not opened().wakes({**headers, **seen}, BODY), "without the secret, nothing can be proved"


@pytest.mark.parametrize(("minutes", "wakes"), [(0, True), (-4, True), (-6, False), (6, False)])
def test_old_webhooks_do_not_count(account: HubSpotAccount, opened: Opened, minutes: int, wakes: bool) -> None:
    url = "https://a.example/crm/x/y"
    headers = account.sign(url, BODY, datetime.now(UTC) + timedelta(minutes=minutes))
    assert opened(client_secret=SECRET, webhook_url=url).wakes(headers, BODY) is wakes
