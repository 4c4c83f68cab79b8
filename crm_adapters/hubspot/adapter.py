"""The HubSpot adapter.

A listing reads HubSpot's list of records. An increment searches for what changed in a window of time, and then reads
the list of archived records: these are the deleted ones, which HubSpot keeps for 90 days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import (
    CONTACT,
    AdapterError,
    CheckReport,
    ContactChange,
    CredentialsRejected,
    CrmField,
    CrmMessage,
    Cursor,
    Limit,
    Page,
    Removals,
    SourceInvalid,
    WakesOnEvents,
)
from crm_adapters.clock import current_time
from crm_adapters.http import (
    DEAL,
    ApiField,
    ApiReply,
    BearerAuth,
    Changes,
    ChangeWindow,
    CrmAdapter,
    HttpApi,
    first_state,
    is_number,
    kind_and_number,
    moment_of,
    numbered_id,
    quoted,
    read_stages,
    value_at,
)
from crm_adapters.hubspot.objects import VERSION, HubSpotObjects, V
from crm_adapters.hubspot.options import DAILY_CALLS, HubSpotOptions
from crm_adapters.hubspot.properties import CHANGED, MERGED, PLACES, described_properties, record_changes
from crm_adapters.hubspot.rules import is_genuine, refusal
from crm_adapters.hubspot.texts import log_text
from crm_adapters.oauth import ConnectsByOAuth, GrantAuth, OAuthApp

OVERLAP = timedelta(minutes=10)
"""HubSpot's search shows changes late: within seconds, and within minutes after an import."""
FEW_PAGES, PAUSE_OF_A_PAGE = 10, timedelta(seconds=6)
"""A longer list of archived records is read less often: these calls may be a sixtieth of what the rate limit allows."""
ARCHIVED = "archived "
SCOPES = (
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.owners.read",
    "crm.schemas.contacts.read",
)
DEAL_SCOPES = ("crm.objects.deals.read", "crm.objects.deals.write", "crm.schemas.deals.read")
OBJECT_TYPES = {CONTACT: "0-1", DEAL: "0-3"}


class HubSpotAdapter(CrmAdapter, ConnectsByOAuth, WakesOnEvents):
    """Contacts and deals of HubSpot."""

    name, vendor = "hubspot", "HubSpot"
    summary = "Contacts and deals of HubSpot; writes texts and opt-outs to it."
    Options = HubSpotOptions
    removals = Removals.REPORTED
    page_size = 200
    usual = FieldMapping(phone=("mobilephone", "phone"), full_name=("firstname", "lastname"), email=("email",))
    limits = (
        Limit("", 100, timedelta(seconds=10)),
        Limit("search", 4, timedelta(seconds=1)),
        Limit("search", 300, timedelta(minutes=1)),
        Limit("", DAILY_CALLS, timedelta(days=1)),
    )
    daily = "daily_calls"
    shows_ids = True
    api_version = VERSION

    def open_api(self) -> HttpApi:
        """See ``CrmAdapter.open_api``."""
        app = self.oauth()
        auth = BearerAuth(self.options.token or "") if app is None else GrantAuth(app, self.services)
        return HttpApi("HubSpot", self.options.api_url, auth, self.services, judge=self._judge)

    def oauth(self) -> OAuthApp | None:
        """See ``ConnectsByOAuth.oauth``."""
        options: HubSpotOptions = self.options
        scopes = (*SCOPES, *(DEAL_SCOPES if options.deals else ()))
        urls = "https://app.hubspot.com/oauth/authorize", f"{options.api_url}/oauth/{V}/token"
        return options.app("HubSpot", *urls, scopes=scopes, pkce=False)  # HubSpot has PKCE for other kinds of apps only

    def check(self) -> CheckReport:
        """See ``Adapter.check``."""
        self._remember_account()
        counts = []
        for kind in self.read_kinds:
            reply = self._source.search(self.objects[kind], [], ["hs_object_id"], limit=1)
            reply.items("results")
            counts.append(f"{reply.at('total', 'some')} {self.objects[kind]}")
        portal = self.services.memory.get("portal")
        return CheckReport(f"HubSpot responds{f' (account {portal})' if portal else ''}: {', '.join(counts)}")

    def read_fields(self, api: HttpApi, kind: str) -> list[ApiField]:
        """See ``CrmAdapter.read_fields``."""
        return described_properties(
            api.get(f"crm/properties/{V}/{self.objects[kind]}").items("results"), self.objects[kind]
        )

    def describe(self) -> Sequence[CrmField]:
        """See ``Adapter.describe``. Stages and pipelines are choices, too."""
        fields = [self._with_choices(one) for kind in self.read_kinds for one in self.fields_of(kind)]
        return [made for one in fields for made in one.described()]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """See ``Adapter.pull``. Contacts come first, then deals, then what was deleted of them."""
        known = self.objects.values()
        state = first_state(cursor, [*known, *(ARCHIVED + one for one in known)])
        if "portal" not in self.services.memory:
            self._remember_account()
        stages = {self.objects[kind]: partial(self._changes, state, kind) for kind in self.read_kinds}
        gone = {ARCHIVED + self.objects[kind]: partial(self._archived, state, kind) for kind in self.read_kinds}
        stages |= {stage: read for stage, read in gone.items() if stage in state}
        yield from read_stages(state, stages, self.page_size, overlap=OVERLAP)

    def changes(self, kind: str, window: ChangeWindow) -> Iterator[tuple[Changes, ChangeWindow]]:
        """See ``CrmAdapter.changes``."""
        objects = self.objects[kind]
        fields, references = self.used_fields(kind)
        names = [*dict.fromkeys([*(one.key for one in fields), CHANGED[objects], MERGED])]
        if window.since is None:
            batches = self._source.listed(objects, names, window.after)
        else:
            batches = self._source.changed(objects, names, window, window.since)
        for number, batch in enumerate(batches, 1):
            times = [value_at(item, f"properties.{CHANGED[objects]}") for item in batch.items]
            window = window.read(batch.reply, times, batch.next)
            labels = self.lookups.names_for(references, [one for one in batch.items if isinstance(one, Mapping)])
            ids = [one["id"] for one in batch.items if is_number(value_at(one, "id"))]
            people = self._source.people_of(ids) if kind == DEAL else {}
            found = (
                record_changes(objects, one, f"page {number}, entry {position}", fields, labels, people)
                for position, one in enumerate(batch.items, 1)
            )
            yield [change for changes in found for change in changes], window

    def live_records(self, kind: str) -> Iterator[Changes]:
        """See ``CrmAdapter.live_records``."""
        for batch in self._source.listed(self.objects[kind]):
            found = (record_changes(self.objects[kind], one, "the list of ids", (), {}, {}) for one in batch.items)
            yield [change for changes in found for change in changes]

    def names(self, place: str, ids: Sequence[Any]) -> Mapping[str, str]:  # noqa: ARG002 - all are asked for at once
        """See ``CrmAdapter.names``."""
        return self._source.names(place)

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        """See ``WakesOnEvents.wakes``."""
        options: HubSpotOptions = self.options
        url = options.webhook_url or headers.get(":url", "")
        return options.client_secret is not None and is_genuine(options.client_secret, url, headers, body)

    def link(self, external_id: str) -> str:
        """See ``Adapter.link``."""
        kind, number = kind_and_number(external_id, self.kinds)
        portal, domain = self.services.memory.get("portal"), self.services.memory.get("domain")
        if not (number and portal and domain):
            return ""
        return f"https://{domain}/contacts/{portal}/record/{OBJECT_TYPES[kind]}/{number}"

    def log_text(self, kind: str, number: str, external_id: str, message: CrmMessage) -> None:
        """See ``CrmAdapter.log_text``."""
        log_text(HubSpotObjects(self.api_for_texts), self.objects[kind], number, external_id, message)

    def write_field(self, kind: str, number: str, external_id: str, key: str, value: Any) -> None:
        """See ``CrmAdapter.write_field``."""
        path = f"crm/objects/{V}/{self.objects[kind]}/{number}"
        self.api_for_texts.write("PATCH", path, {"properties": {key: value}}, record=external_id)

    @property
    def _source(self) -> HubSpotObjects:
        return HubSpotObjects(self.api)

    def _changes(
        self, state: dict[str, Any], kind: str, window: ChangeWindow
    ) -> Iterator[tuple[Changes, ChangeWindow]]:
        """Read records. The run after a listing reads what was deleted since then, in the list of archived ones."""
        for changes, after in self.changes(kind, window):
            if after.since is None:
                state.setdefault(ARCHIVED + self.objects[kind], {"floor": after.until.isoformat()})
            yield changes, after

    def _archived(
        self, state: dict[str, Any], kind: str, window: ChangeWindow
    ) -> Iterator[tuple[Changes, ChangeWindow]]:
        """Report the records that were deleted since the last run."""
        later = f"next {ARCHIVED}{self.objects[kind]}"
        not_before = moment_of(state.get(later))
        if not_before is not None and current_time() < not_before:
            return
        for number, batch in enumerate(self._source.archived(self.objects[kind], window.after), 1):
            times = [moment_of(value_at(item, "archivedAt")) for item in batch.items]
            gone = [
                ContactChange(numbered_id(kind, item["id"]), {}, at, deleted=True, kind=kind)
                for item, at in zip(batch.items, times, strict=True)
                if is_number(value_at(item, "id")) and (at is None or window.since is None or at >= window.since)
            ]
            window = window.read(batch.reply, times, batch.next)
            if window.is_complete and number > FEW_PAGES:
                state[later] = (current_time() + number * PAUSE_OF_A_PAGE).isoformat()
            yield gone, window

    def _with_choices(self, one: ApiField) -> ApiField:
        """Add the labels of the stages or pipelines that a property refers to."""
        labels = self.lookups.every(one.refers_to) if one.refers_to in PLACES else {}
        return replace(one, choices=one.choices or {name: name for name in labels.values() if name})

    def _remember_account(self) -> None:
        """Remember the account for links. If the credential may not read it, there are no links."""
        with suppress(CredentialsRejected, SourceInvalid):
            reply = self.api.get(f"account-info/{V}/details")
            portal, domain = reply.at("portalId"), reply.at("uiDomain")
            if isinstance(portal, int) and isinstance(domain, str):
                self.services.memory.update(portal=portal, domain=quoted(domain))

    def _judge(self, reply: ApiReply) -> AdapterError | None:
        return refusal(reply, worked_before="portal" in self.services.memory)
