"""A stand-in for Pipedrive: what the adapter uses of its versions 1 and 2, with Pipedrive's checks of parameters.

Times of change are kept exactly and shown in whole seconds. A deleted record stays, marked, and is in lists only if
``lists_deleted``: Pipedrive's documentation does not say. Calls cost tokens; ``daily_tokens`` is the budget.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DO_NOT_TEXT, STATION, TAGS = "d0" * 20, "57" * 20, "7a" * 20
PERSON_FIELDS: list[dict[str, Any]] = [
    {"field_code": "name", "field_name": "Name", "field_type": "varchar"},
    {"field_code": "phone", "field_name": "Phone", "field_type": "phone"},
    {"field_code": "email", "field_name": "Email", "field_type": "varchar"},
    {"field_code": "owner_id", "field_name": "Owner", "field_type": "user"},
    {"field_code": "org_id", "field_name": "Organization", "field_type": "org"},
    {
        "field_code": "label_ids",
        "field_name": "Labels",
        "field_type": "set",
        "options": [{"id": 1, "label": "Hot"}, {"id": 2, "label": "Warm"}],
    },
    {"field_code": "add_time", "field_name": "Person created", "field_type": "date"},
    {"field_code": "update_time", "field_name": "Update time", "field_type": "date"},
    {
        "field_code": "notes_count",
        "field_name": "Notes",
        "field_type": "int",
        "is_optional_response_field": True,
    },
    {
        "field_code": "score_of_tomorrow",
        "field_name": "Score",
        "field_type": "int",
        "is_optional_response_field": True,
    },
    {
        "field_code": DO_NOT_TEXT,
        "field_name": "Do not text",
        "field_type": "enum",
        "is_custom_field": True,
        "options": [{"id": 31, "label": "Yes"}, {"id": 32, "label": "No"}],
    },
    {"field_code": STATION, "field_name": "Station", "field_type": "varchar", "is_custom_field": True},
    {
        "field_code": TAGS,
        "field_name": "Tags",
        "field_type": "set",
        "is_custom_field": True,
        "options": [{"id": 41, "label": "Bike"}, {"id": 42, "label": "Car"}],
    },
]
DEAL_FIELDS: list[dict[str, Any]] = [
    {"field_code": "title", "field_name": "Title", "field_type": "varchar"},
    {"field_code": "value", "field_name": "Value", "field_type": "double"},
    {"field_code": "status", "field_name": "Status", "field_type": "status"},
    {"field_code": "stage_id", "field_name": "Stage", "field_type": "stage"},
    {"field_code": "person_id", "field_name": "Contact person", "field_type": "people"},
]
LISTED = {"limit", "cursor", "ids", "updated_since", "updated_until", "sort_by", "sort_direction"}
ALLOWED: dict[str, set[str]] = {
    "persons": LISTED | {"custom_fields", "include_fields"},
    "deals": LISTED | {"custom_fields", "include_fields", "status"},
    "organizations": LISTED,
    "activities": LISTED | {"person_id", "deal_id"},
    "stages": {"limit", "cursor"},
    "personFields": {"limit", "cursor"},
    "dealFields": {"limit", "cursor"},
}
CALLS = 20


class Refused(Exception):
    """A response with another status than 200."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.headers = dict(headers or {})


@dataclass
class Pipedrive:
    """One company."""

    token: str = "pd-51f9c0"
    lists_deleted: bool = False
    largest: int = 500
    daily_tokens: int = 10**9
    records: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    fields: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    refreshed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = {name: {} for name in ("persons", "deals", "organizations", "activities", "stages")}
        self.fields = {"personFields": PERSON_FIELDS, "dealFields": DEAL_FIELDS}
        self._ids = itertools.count(1)
        self.records["stages"] = {5: {"id": 5, "name": "Won over", "is_deleted": False}}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_PipedriveHandler,), {"crm": self}))
        server.daemon_threads = True
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, objects: str, values: Mapping[str, Any], *, number: int = 0, at: datetime | None = None) -> int:
        """Create a record, or change the one with this number."""
        number = number or next(self._ids)
        moment = at or datetime.now(UTC)
        before = self.records[objects].get(number, {"id": number, "add_time": moment, "is_deleted": False})
        if objects == "persons":
            before = {"custom_fields": {}, "owner_id": 7, "org_id": None, "label_ids": []} | before
        self.records[objects][number] = before | dict(values) | {"update_time": moment}
        return number

    def delete(self, objects: str, number: int) -> None:
        marks = {"is_deleted": True} | ({"status": "deleted"} if objects == "deals" else {})
        self.put(objects, marks, number=number)

    def merge(self, gone: int, stays: int) -> None:
        """Merge one person into another: no list or event of version 2 tells of it."""
        del self.records["persons"][gone]
        self.put("persons", {}, number=stays)

    def admit(self, token: str) -> None:
        """Raise Refused unless this is the token."""
        if token != self.token:
            raise Refused(401, "unauthorized access")

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any]:
        """Return the body of a response, or raise Refused."""
        self.calls.append((f"{method} {path}", query))
        version, _, rest = path.removeprefix("/api").removeprefix("/").partition("/")
        self._spend(method, version, one=bool(re.search(r"/\d+$|/me$", path)))
        objects, _, number = rest.partition("/")
        if version == "v1":
            return self._first_version(method, rest, query, body)
        if objects not in ALLOWED:
            raise Refused(404, "unknown method")
        if method == "POST":
            return self._added(objects, body)
        if number:
            return self._one(method, objects, number, body)
        if unknown := set(query) - ALLOWED[objects]:
            raise Refused(400, f"Parameter {min(unknown)} is not allowed")
        return self._page(objects, query)

    def _spend(self, method: str, version: str, *, one: bool) -> None:
        cost = (5 if method != "GET" else 1 if one else 10) * (2 if version == "v1" else 1)
        if self.tokens + cost > self.daily_tokens:
            # Of the two limits, only the one of two seconds has headers.
            raise Refused(429, "API request limit reached", {"x-ratelimit-remaining": "19", "x-ratelimit-reset": "2"})
        self.tokens += cost

    def _page(self, objects: str, query: dict[str, str]) -> dict[str, Any]:
        limit = int(query.get("limit", 100))
        if not 1 <= limit <= self.largest:
            raise Refused(400, f"limit must be less than or equal to {self.largest}")
        if set(filter(None, query.get("include_fields", "").split(","))) - {"notes_count", "open_deals_count"}:
            raise Refused(400, "include_fields must be one of notes_count, open_deals_count")
        if len(query.get("custom_fields", "").split(",")) > 15:
            raise Refused(400, "custom_fields must contain 15 keys at most")
        after = _decoded(query["cursor"]) if "cursor" in query else 0
        if objects.endswith("Fields"):
            if objects not in self.fields:
                raise Refused(500, "Internal error")
            found = [dict(one, id=number) for number, one in enumerate(self.fields[objects], 1)]
        else:
            found = list(self._filtered(objects, query))
            if query.get("sort_direction") == "desc":
                rest = [one for one in reversed(found) if not after or one["id"] < after]
                return self._listed(objects, rest, limit, query)
        return self._listed(objects, [one for one in found if one["id"] > after], limit, query)

    def _listed(self, objects: str, rest: list[dict[str, Any]], limit: int, query: dict[str, str]) -> dict[str, Any]:
        page = rest[:limit]
        following = _encoded(page[-1]["id"]) if len(rest) > limit else None
        shown = [self._shown(objects, one, query) for one in page]
        return {"success": True, "data": shown, "additional_data": {"next_cursor": following}}

    def _filtered(self, objects: str, query: dict[str, str]) -> Iterable[dict[str, Any]]:
        since, until = (_moment(query.get(name)) for name in ("updated_since", "updated_until"))
        ids = {int(one) for one in query["ids"].split(",")} if "ids" in query else None
        if ids is not None and len(ids) > 100:
            raise Refused(400, "ids must contain 100 ids at most")
        statuses = query["status"].split(",") if "status" in query else None
        for _number, one in sorted(self.records[objects].items()):
            if ids is not None and one["id"] not in ids:
                continue
            if (since and one["update_time"] < since) or (until and one["update_time"] >= until):
                continue
            if any(name in query and one.get(name) != int(query[name]) for name in ("person_id", "deal_id")):
                continue
            if one["is_deleted"] and not (self.lists_deleted or "deleted" in (statuses or ())):
                continue
            if statuses is not None and one["status"] not in statuses:
                continue
            yield one

    def _shown(self, objects: str, one: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        shown = {name: f"{v:%Y-%m-%dT%H:%M:%SZ}" if isinstance(v, datetime) else v for name, v in one.items()}
        if "custom_fields" in shown:
            asked = query.get("custom_fields")
            defined = {one["field_code"] for one in PERSON_FIELDS if one.get("is_custom_field")}
            keys = defined if asked is None else set(asked.split(",")) & defined
            shown["custom_fields"] = {key: one["custom_fields"].get(key) for key in sorted(keys)}
        if objects == "persons" and query.get("include_fields"):
            shown["notes_count"] = sum(note.get("person_id") == one["id"] for note in self.notes)
        return shown

    def _one(self, method: str, objects: str, number: str, body: Any) -> dict[str, Any]:
        if not number.isdecimal() or int(number) not in self.records[objects]:
            raise Refused(404, f"{objects} not found")
        one = self.records[objects][int(number)]
        if method == "PATCH":
            custom = one["custom_fields"] | body["custom_fields"]
            self.put(objects, {"custom_fields": custom}, number=int(number))
        return {"success": True, "data": self._shown(objects, self.records[objects][int(number)], {})}

    def _added(self, objects: str, body: dict[str, Any]) -> dict[str, Any]:
        if objects != "activities" or not body.get("subject") or "person_id" in body:
            raise Refused(400, "Validation failed")
        people = body.get("participants") or [{}]
        number = self.put(objects, {**body, "person_id": people[0].get("person_id")})
        return {"success": True, "data": {"id": number}}

    def _first_version(self, method: str, rest: str, query: dict[str, str], body: Any) -> dict[str, Any]:
        if rest == "users/me":
            me = {"id": 7, "name": "Sam Seller", "company_name": "Acme Ltd", "company_domain": "acme-12"}
            return {"success": True, "data": me}
        if rest == "users":
            return {"success": True, "data": [{"id": 7, "name": "Sam Seller"}, {"id": 8, "name": "Ola Norm"}]}
        if rest != "notes":
            raise Refused(404, "unknown method")
        if method == "POST":
            if not {"person_id", "deal_id"} & set(body) or not body.get("content"):
                raise Refused(400, "Note must be attached to something")
            self.notes.append({"id": len(self.notes) + 1, **body})
            return {"success": True, "data": self.notes[-1]}
        name = "person_id" if "person_id" in query else "deal_id"
        found = [one for one in reversed(self.notes) if one.get(name) == int(query[name])]
        start = int(query.get("start", 0))
        page = found[start : start + min(int(query["limit"]), self.largest)]
        more = len(found) > start + len(page)
        return {
            "success": True,
            "data": page or None,
            "additional_data": {"pagination": {"start": start, "more_items_in_collection": more}},
        }

    def granted(self, form: dict[str, str]) -> dict[str, Any]:
        """Answer at the address of OAuth tokens."""
        self.refreshed.append(form.get("grant_type", ""))
        return {"access_token": self.token, "refresh_token": "r-2", "expires_in": 3599, "api_domain": self.url}


def _encoded(number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"id": number}).encode()).decode()


def _decoded(cursor: str) -> int:
    try:
        return int(json.loads(base64.urlsafe_b64decode(cursor))["id"])
    except (ValueError, KeyError, TypeError):
        raise Refused(400, "Invalid cursor") from None


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


class _PipedriveHandler(BaseHTTPRequestHandler):
    crm: Pipedrive
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _handle(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        status, headers = (
            200,
            {"x-ratelimit-limit": str(CALLS), "x-ratelimit-remaining": "19", "x-ratelimit-reset": "2"},
        )
        try:
            if url.path == "/oauth/token":
                answer = self.crm.granted(dict(parse_qsl(raw.decode())))
            else:
                bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self.crm.admit(self.headers.get("x-api-token") or bearer)
                query = dict(parse_qsl(url.query))
                answer = self.crm.answer(self.command, url.path, query, json.loads(raw) if raw else None)
        except Refused as refused:
            status, headers = refused.status, headers | refused.headers
            answer = {
                "success": False,
                "error": str(refused),
                "error_info": "Please check developers.pipedrive.com for more information about Pipedrive API.",
            }
        body = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PATCH = _handle  # noqa: N815 - the names of http.server

    def log_message(self, *_args: Any) -> None:
        pass
