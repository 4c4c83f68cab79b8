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
from typing import Any, ClassVar

from config.fields import FieldMapping
from crm_adapters.base import (
    CONTACT,
    Adapter,
    AdapterError,
    CheckReport,
    ContactChange,
    CredentialsRejected,
    CrmField,
    CrmMessage,
    Cursor,
    Limit,
    ListsIds,
    Page,
    RecordGone,
    Removals,
    Services,
    SourceInvalid,
    WakesOnEvents,
    WritesMessages,
)
from crm_adapters.clock import current_time
from crm_adapters.http import (
    DEAL,
    ApiField,
    ApiReply,
    Auth,
    BearerAuth,
    Changes,
    ChangeWindow,
    HttpApi,
    Lookups,
    first_state,
    ids_of,
    is_number,
    moment_of,
    numbered_id,
    quoted,
    read_stages,
    used_fields,
    value_at,
)
from crm_adapters.hubspot.objects import VERSION, HubSpotObjects, V
from crm_adapters.hubspot.options import DAILY_CALLS, HubSpotOptions
from crm_adapters.hubspot.properties import (
    CHANGED,
    KINDS,
    MERGED,
    PLACES,
    described_properties,
    internal,
    record_changes,
)
from crm_adapters.hubspot.rules import is_genuine, refusal
from crm_adapters.hubspot.texts import log_text
from crm_adapters.oauth import ConnectsByOAuth, GrantAuth, OAuthApp
from crm_adapters.opt_outs import opt_out_target

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
OBJECT_TYPES = {"contacts": "0-1", "deals": "0-3"}


class HubSpotAdapter(Adapter, ConnectsByOAuth, ListsIds, WakesOnEvents, WritesMessages):
    """Contacts and deals of HubSpot."""

    name = "hubspot"
    summary = "Contacts and deals of HubSpot; writes texts and opt-outs to it."
    Options = HubSpotOptions
    removals = Removals.REPORTED
    page_size = 200
    usual = FieldMapping(phone=("mobilephone", "phone"), full_name=("firstname", "lastname"), email=("email",))
    kinds = (CONTACT, DEAL)
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("", 100, timedelta(seconds=10)),
        Limit("search", 4, timedelta(seconds=1)),
        Limit("search", 300, timedelta(minutes=1)),
        Limit("", DAILY_CALLS, timedelta(days=1)),
    )
    api_version = VERSION

    def __init__(self, options: HubSpotOptions, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        app = self.oauth()
        auth: Auth = BearerAuth(options.token or "") if app is None else GrantAuth(app, self.services)
        self._api = HttpApi("HubSpot", options.api_url, auth, self.services, judge=self._judge)
        self._source, self._writing = HubSpotObjects(self._api), HubSpotObjects(self._api.for_texts())
        self._objects = ("contacts", "deals") if options.deals else ("contacts",)
        self._known: dict[str, list[ApiField]] = {}
        self._lookups = Lookups(self._source.names, shows_ids=True)

    @classmethod
    def limits_for(cls, options: HubSpotOptions) -> tuple[Limit, ...]:
        """See ``Adapter.limits_for``."""
        return (*cls.limits[:-1], replace(cls.limits[-1], amount=options.daily_calls))

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
        for objects in self._objects:
            reply = self._source.search(objects, [], ["hs_object_id"], limit=1)
            reply.items("results")
            counts.append(f"{reply.at('total', 'some')} {objects}")
        portal = self.services.memory.get("portal")
        return CheckReport(f"HubSpot responds{f' (account {portal})' if portal else ''}: {', '.join(counts)}")

    def describe(self) -> Sequence[CrmField]:
        """See ``Adapter.describe``."""
        fields = [one for objects in self._objects for one in self._fields(objects)]
        return [made for one in fields for made in self._with_choices(one).described()]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """See ``Adapter.pull``. Contacts come first, then deals, then what was deleted of them."""
        state = first_state(cursor, [*KINDS, *(ARCHIVED + objects for objects in KINDS)])
        if "portal" not in self.services.memory:
            self._remember_account()
        stages = {objects: partial(self._records, state, objects) for objects in self._objects}
        gone = [ARCHIVED + objects for objects in self._objects if ARCHIVED + objects in state]
        stages |= {stage: partial(self._archived, state, stage) for stage in gone}
        yield from read_stages(state, stages, self.page_size, overlap=OVERLAP)

    def live_ids(self) -> Iterator[Sequence[str]]:
        """See ``ListsIds.live_ids``."""
        for objects in self._objects:
            for batch in self._source.listed(objects):
                changes = (record_changes(objects, one, "the list of ids", (), {}, {}) for one in batch.items)
                yield ids_of(one for some in changes for one in some)

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        """See ``WakesOnEvents.wakes``."""
        options: HubSpotOptions = self.options
        url = options.webhook_url or headers.get(":url", "")
        return options.client_secret is not None and is_genuine(options.client_secret, url, headers, body)

    def link(self, external_id: str) -> str:
        """See ``Adapter.link``."""
        objects, number = internal(external_id)
        portal, domain = self.services.memory.get("portal"), self.services.memory.get("domain")
        if not (number and portal and domain):
            return ""
        return f"https://{domain}/contacts/{portal}/record/{OBJECT_TYPES[objects]}/{number}"

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        """See ``WritesMessages.log_message``."""
        log_text(self._writing, *self._found(external_id), external_id, message)

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        """See ``WritesMessages.set_do_not_text``."""
        objects, number = self._found(external_id)
        known = ((CrmField(one.key, one.label), one) for one in self._fields(objects, self._writing.api))
        target = opt_out_target("HubSpot", objects, field, known)
        body = {"properties": {target.key: target.opt_out(value)}}
        self._writing.api.write("PATCH", f"crm/objects/{V}/{objects}/{number}", body, record=external_id)

    def close(self) -> None:
        """See ``Adapter.close``."""
        self._api.close()

    def _records(
        self, state: dict[str, Any], objects: str, window: ChangeWindow
    ) -> Iterator[tuple[Changes, ChangeWindow]]:
        """Read all records, or those that changed."""
        mapping = self.fields.or_else(self.usual)
        fields, references = used_fields(self._fields(objects), self.services.wanted, mapping)
        names = [*dict.fromkeys([*(one.key for one in fields), CHANGED[objects], MERGED])]
        if window.since is None:
            batches = self._source.listed(objects, names, window.after)
        else:
            batches = self._source.changed(objects, names, window, window.since)
        for number, batch in enumerate(batches, 1):
            times = [value_at(item, f"properties.{CHANGED[objects]}") for item in batch.items]
            window = window.read(batch.reply, times, batch.next)
            if window.since is None:  # the next run reads what is deleted from now on in the list of archived records
                state.setdefault(ARCHIVED + objects, {"floor": window.until.isoformat()})
            labels = self._lookups.names_for(references, [one for one in batch.items if isinstance(one, Mapping)])
            ids = [one["id"] for one in batch.items if is_number(value_at(one, "id"))]
            people = self._source.people_of(ids) if objects == "deals" else {}
            found = (
                record_changes(objects, one, f"page {number}, entry {position}", fields, labels, people)
                for position, one in enumerate(batch.items, 1)
            )
            yield [change for changes in found for change in changes], window

    def _archived(
        self, state: dict[str, Any], stage: str, window: ChangeWindow
    ) -> Iterator[tuple[Changes, ChangeWindow]]:
        """Report the records that were deleted since the last run."""
        objects, later = stage.removeprefix(ARCHIVED), f"next {stage}"
        not_before = moment_of(state.get(later))
        if not_before is not None and current_time() < not_before:
            return
        for number, batch in enumerate(self._source.archived(objects, window.after), 1):
            times = [moment_of(value_at(item, "archivedAt")) for item in batch.items]
            gone = [
                ContactChange(numbered_id(KINDS[objects], item["id"]), {}, at, deleted=True, kind=KINDS[objects])
                for item, at in zip(batch.items, times, strict=True)
                if is_number(value_at(item, "id")) and (at is None or window.since is None or at >= window.since)
            ]
            window = window.read(batch.reply, times, batch.next)
            if window.is_complete and number > FEW_PAGES:
                state[later] = (current_time() + number * PAUSE_OF_A_PAGE).isoformat()
            yield gone, window

    def _fields(self, objects: str, api: HttpApi | None = None) -> list[ApiField]:
        """Return the properties that the account has for these objects. They are read once."""
        if objects not in self._known:
            items = (api or self._api).get(f"crm/properties/{V}/{objects}").items("results")
            self._known[objects] = described_properties(items, objects)
        return self._known[objects]

    def _with_choices(self, one: ApiField) -> ApiField:
        """Add the labels of the stages or pipelines that a property refers to."""
        labels = self._lookups.every(one.refers_to) if one.refers_to in PLACES else {}
        return replace(one, choices=one.choices or {name: name for name in labels.values() if name})

    def _found(self, external_id: str) -> tuple[str, str]:
        """Return the objects and the number of a record. Raises RecordGone."""
        objects, number = internal(external_id)
        if not number:
            raise RecordGone(f"HubSpot has no record {external_id}, because its ids are numbers; nothing was written")
        return objects, number

    def _remember_account(self) -> None:
        """Remember the account for links. If the credential may not read it, there are no links."""
        with suppress(CredentialsRejected, SourceInvalid):
            reply = self._api.get(f"account-info/{V}/details")
            portal, domain = reply.at("portalId"), reply.at("uiDomain")
            if isinstance(portal, int) and isinstance(domain, str):
                self.services.memory.update(portal=portal, domain=quoted(domain))

    def _judge(self, reply: ApiReply) -> AdapterError | None:
        return refusal(reply, worked_before="portal" in self.services.memory)
