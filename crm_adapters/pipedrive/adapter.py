"""The Pipedrive adapter.

It reads version 2 of the API, page by page in the order of ids, in a window of times of change. Pipedrive does not say
which records were deleted or merged away, so the engine compares the ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any

from config.fields import FieldMapping
from crm_adapters.base import (
    CONTACT,
    AdapterError,
    ApiVersion,
    CheckReport,
    CrmMessage,
    Cursor,
    CursorExpired,
    Limit,
    Page,
    RecordGone,
    Removals,
    SourceUnavailable,
    WakesOnEvents,
)
from crm_adapters.http import (
    DEAL,
    ApiField,
    ApiReply,
    Auth,
    Changes,
    ChangeWindow,
    CrmAdapter,
    HeaderAuth,
    HttpApi,
    cursor_batches,
    has_basic_credential,
    iso_time,
    items_of,
    kind_and_number,
    offset_batches,
    value_at,
)
from crm_adapters.http.scrub import spoken
from crm_adapters.http.waits import BUDGET_SECONDS
from crm_adapters.notes import is_note_of, note_of, note_title
from crm_adapters.oauth import ConnectsByOAuth, GrantAuth, OAuthApp, granted_address
from crm_adapters.pipedrive.options import DAILY_TOKENS, PipedriveOptions
from crm_adapters.pipedrive.records import ASKED_FOR, OBJECTS, change_of, described_fields, is_id

VERSION = ApiVersion("v2")
V1, V2 = "v1", "api/v2"
"""Version 2 has no notes, users or webhooks."""
OAUTH = "https://oauth.pipedrive.com/oauth"
LIST, ONE, WRITE = 10, 1, 5
"""What calls of version 2 cost, in Pipedrive's tokens. Those of version 1 cost twice as much."""
MOST_KEYS, MOST_IDS = 15, 100
"""The largest number of custom fields and of ids in a call."""
NEXT = "additional_data.next_cursor"
REMEDY = (
    "copy the API token of this user in Pipedrive (Personal preferences, API) into the options of this connection; an"
    " administrator can allow the API for the user"
)
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*", re.IGNORECASE)


class PipedriveAdapter(CrmAdapter, ConnectsByOAuth, WakesOnEvents):
    """Persons and deals of Pipedrive."""

    name, vendor = "pipedrive", "Pipedrive"
    summary = "Persons and deals of Pipedrive. Writes texts and opt-outs."
    Options = PipedriveOptions
    removals = Removals.UNSEEN
    page_size = 500
    usual = FieldMapping(
        phone=("phone_mobile", "phone", "phone_home", "phone_work", "phone_other"),
        full_name=("name",),
        email=("email",),
    )
    objects = OBJECTS
    limits = (Limit("", 20, timedelta(seconds=2), by_call=True), Limit("", DAILY_TOKENS, timedelta(days=1)))
    daily = "daily_tokens"
    most_ids = {"organizations": MOST_IDS, "persons": MOST_IDS}
    api_version = VERSION

    def open_api(self) -> HttpApi:
        """See ``CrmAdapter.open_api``. An app calls the company's own address, which comes with the token."""
        app, address = self.oauth(), self.options.api_url
        auth: Auth = HeaderAuth({"x-api-token": self.options.token or ""}, remedy=REMEDY)
        if app is not None:
            auth, address = GrantAuth(app, self.services), granted_address(self.services, "api_domain") or address
        return HttpApi("Pipedrive", address, auth, self.services, judge=_judge)

    def oauth(self) -> OAuthApp | None:
        """See ``ConnectsByOAuth.oauth``. The scopes are those that the app has in Pipedrive's Developer Hub."""
        options: PipedriveOptions = self.options
        return options.app("Pipedrive", f"{OAUTH}/authorize", f"{OAUTH}/token", pkce=False, client_auth="basic")

    def check(self) -> CheckReport:
        """See ``Adapter.check``."""
        company = " ".join(str(self._me().get("company_name") or "").split())
        for kind in self.read_kinds:
            self.api.get(f"{V2}/{OBJECTS[kind]}", {"limit": 1}, cost=LIST).items("data")
        read = " and ".join(OBJECTS[kind] for kind in self.read_kinds)
        return CheckReport(f"Pipedrive responds{f' ({company})' if company else ''}, and its {read} can be read")

    def read_fields(self, api: HttpApi, kind: str) -> list[ApiField]:
        """See ``CrmAdapter.read_fields``."""
        return described_fields(self._all(f"{V2}/{OBJECTS[kind].removesuffix('s')}Fields", api), kind)

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """See ``Adapter.pull``."""
        if not self._domain():
            self._me()
        yield from super().pull(cursor)

    def changes(self, kind: str, window: ChangeWindow) -> Iterator[tuple[Changes, ChangeWindow]]:
        """See ``CrmAdapter.changes``."""
        fields, references = self.used_fields(kind)
        query, start = _query(kind, fields, window), window.after
        for batch in cursor_batches(partial(self._list, kind, query), "data", NEXT, start=start):
            records = [one for one in batch.items if isinstance(one, Mapping)]
            names = self.lookups.names_for(references, records)
            where = f"of the page at {start or 'the start'}"
            changes = [
                change_of(kind, one, f"entry {number} {where}", fields, names)
                for number, one in enumerate(batch.items, 1)
            ]
            window = window.read(batch.reply, (one.get("update_time") for one in records), batch.next)
            yield changes, window
            start = batch.next

    def live_records(self, kind: str) -> Iterator[Changes]:
        """See ``CrmAdapter.live_records``. Pipedrive has no list of ids alone, so it costs as much as a listing."""
        for batch in cursor_batches(partial(self._list, kind, {}), "data", NEXT):
            yield [change_of(kind, one, "the list of ids", (), {}) for one in batch.items]

    def names(self, place: str, ids: Sequence[int]) -> dict[int, str]:
        """See ``CrmAdapter.names``."""
        if place == "users":
            items = self.api.get(f"{V1}/users", cost=2 * LIST).items("data")
        elif ids:
            query = {"ids": ",".join(map(str, ids)), "limit": MOST_IDS}
            items = self._page(f"{V2}/{place}", query, None).items("data")
        else:
            items = [*self._all(f"{V2}/{place}")]
        return {one["id"]: str(one["name"]) for one in items if is_id(value_at(one, "id")) and one.get("name")}

    def link(self, external_id: str) -> str:
        """See ``Adapter.link``."""
        kind, number = kind_and_number(external_id, self.kinds)
        page = OBJECTS[kind].removesuffix("s")
        return f"https://{self._domain()}.pipedrive.com/{page}/{number}" if self._domain() and number else ""

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:  # noqa: ARG002 - nothing is read from it
        """See ``WakesOnEvents.wakes``."""
        user, password = self.options.webhook_user, self.options.webhook_password
        return password is not None and has_basic_credential(headers.get("authorization", ""), user, password)

    def found(self, external_id: str) -> tuple[str, str]:
        """Return the kind and the number of a record. Raises RecordGone: Pipedrive answers for deleted ones, too."""
        kind, number = super().found(external_id)
        reply = self.api_for_texts.get(f"{V2}/{OBJECTS[kind]}/{number}", record=external_id, cost=ONE)
        if reply.mapping("data").get("is_deleted") is True:
            raise RecordGone(f"Pipedrive has no record {external_id} any more")
        return kind, number

    def log_text(self, kind: str, number: str, external_id: str, message: CrmMessage) -> None:
        """See ``CrmAdapter.log_text``. It is a note or an activity with a mark, which is looked for first."""
        about = {"person_id" if kind == CONTACT else "deal_id": int(number)}
        at = message.at.astimezone(UTC)
        if self.options.log_as == "note":
            if not any(is_note_of(one, message.id) for one in self._notes(about)):
                body = {"content": note_of(message), "add_time": f"{at:%Y-%m-%d %H:%M:%S}", **about}
                self.api_for_texts.write("POST", f"{V1}/notes", body, record=external_id, cost=2 * WRITE)
        elif not any(is_note_of(one, message.id) for one in self._activities(about)):
            who = {"participants": [{**about, "primary": True}]} if kind == CONTACT else about
            body = {"subject": note_title(message), "type": self.options.activity_type, "done": True, **who}
            body |= {"due_date": f"{at:%Y-%m-%d}", "due_time": f"{at:%H:%M:%S}", "note": note_of(message)}
            self.api_for_texts.write("POST", f"{V2}/activities", body, record=external_id, cost=WRITE)

    def write_field(self, kind: str, number: str, external_id: str, key: str, value: Any) -> None:
        """See ``CrmAdapter.write_field``."""
        body = {"custom_fields": {key: value}}
        self.api_for_texts.write("PATCH", f"{V2}/{OBJECTS[kind]}/{number}", body, record=external_id, cost=WRITE)

    def _me(self) -> Mapping[str, Any]:
        """Return the user of the credential, and remember the company's domain."""
        me = self.api.get(f"{V1}/users/me", cost=2 * ONE).mapping("data")
        self.services.memory["company_domain"] = str(me.get("company_domain") or "")
        return me

    def _domain(self) -> str:
        found = self.services.memory.get("company_domain")
        return found if isinstance(found, str) and _DOMAIN.fullmatch(found) else ""

    def _list(self, kind: str, query: Mapping[str, Any], token: str | None) -> ApiReply:
        return self._page(f"{V2}/{OBJECTS[kind]}", {"limit": self.page_size, "sort_by": "id", **query}, token)

    def _page(self, path: str, query: Mapping[str, Any], token: str | None, api: HttpApi | None = None) -> ApiReply:
        return (api or self.api).get(path, {"limit": 500, **query, "cursor": token}, cost=LIST)

    def _all(self, path: str, api: HttpApi | None = None) -> Iterator[Any]:
        return items_of(cursor_batches(partial(self._page, path, {}, api=api), "data", NEXT))

    def _activities(self, about: Mapping[str, int]) -> Iterator[Any]:
        query = {**about, "sort_by": "id", "sort_direction": "desc"}
        fetch = partial(self._page, f"{V2}/activities", query, api=self.api_for_texts)
        return (value_at(one, "note") for one in items_of(cursor_batches(fetch, "data", NEXT)))

    def _notes(self, about: Mapping[str, int]) -> Iterator[Any]:
        def fetch(offset: int) -> ApiReply:
            query = {**about, "sort": "id DESC", "start": offset, "limit": 500}
            reply = self.api_for_texts.get(f"{V1}/notes", query, cost=2 * LIST)
            # Version 1 writes an empty list as null.
            none = reply.at("success") is True and reply.at("data") is None
            return replace(reply, data={**reply.data, "data": []}) if none else reply

        more = "additional_data.pagination.more_items_in_collection"
        return (value_at(one, "content") for one in items_of(offset_batches(fetch, "data", more=more)))


def _query(kind: str, fields: Sequence[ApiField], window: ChangeWindow) -> dict[str, Any]:
    """Return which fields to send, and the bounds of an increment. A listing has none."""
    custom = [field.key for field in fields if field.within]
    optional = [field.key for field in fields if field.is_on_request and field.key in ASKED_FOR[kind]]
    query = {
        "custom_fields": ",".join(custom) if len(custom) <= MOST_KEYS and custom else None,  # else all come
        "include_fields": ",".join(optional) or None,
    }
    if window.since is None:
        return query
    # The upper bound is exclusive, and the fraction of its second is cut off.
    until = iso_time(window.until + timedelta(seconds=1))
    query |= {"updated_since": iso_time(window.since), "updated_until": until}
    return query | ({"status": "open,won,lost,deleted"} if kind == DEAL else {})


def _judge(reply: ApiReply) -> AdapterError | None:
    """Return Pipedrive's own errors."""
    said = spoken(reply.data, ())
    if reply.status == 400 and "cursor" in said.lower():
        return CursorExpired("Pipedrive no longer accepts the place where the run continues; everything is read again")
    left = reply.headers.get("x-ratelimit-remaining", "")
    if reply.status == 429 and left.isdecimal() and int(left) > 0:
        # The calls of these two seconds are not spent, so it is the budget of the day.
        return SourceUnavailable(
            "Pipedrive's daily budget of API tokens is spent, by this and other apps; the connection tries again in an"
            " hour. Sync less often, or set daily_tokens, so that all apps together stay below it",
            retry_after=BUDGET_SECONDS,
        )
    if reply.status < 300 and reply.at("success") is False:
        what = f" ({said})" if said else ""
        return SourceUnavailable(f"Pipedrive reports a failure of {reply.request}{what}; the next run tries again")
    return None
