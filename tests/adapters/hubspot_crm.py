"""A HubSpot account on this machine: its pages, limits, errors and oddities, as far as the adapter meets them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "pat-na1-3f9a5d20-77c1"
SECRET = "app-secret-e0b4-19ad"
LISTED, FOUND, MOST_FOUND, LONGEST_URL = 100, 200, 10_000, 15_000
CHANGED = {"contacts": "lastmodifieddate", "deals": "hs_lastmodifieddate", "communications": "hs_lastmodifieddate"}
ASSOCIATED = {81: "contacts", 85: "deals"}
ALWAYS = ("hs_object_id", "createdate")

Answer = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]


def prop(name: str, label: str, kind: str = "string", shown: str = "text", **more: Any) -> dict[str, Any]:
    return {"name": name, "label": label, "type": kind, "fieldType": shown, "options": [], **more}


def choices(*values: str) -> list[dict[str, Any]]:
    return [{"value": value.lower(), "label": value, "hidden": False} for value in values]


OWNER = {"referencedObjectType": "OWNER", "externalOptions": True}
CONTACT_PROPERTIES = [
    prop("firstname", "First name"),
    prop("lastname", "Last name"),
    prop("email", "Email"),
    prop("phone", "Phone number", "string", "phonenumber"),
    prop("mobilephone", "Mobile phone number", "string", "phonenumber"),
    prop("hubspot_owner_id", "Contact owner", "enumeration", "select", **OWNER),
    prop("no_sms", "No texts", "bool", "booleancheckbox", options=choices("True", "False")),
    prop("texting", "Texting", "enumeration", "select", options=choices("Yes", "No")),
    prop("block", "Block", "enumeration", "checkbox", options=choices("Blocked")),
    prop("color", "Favourite colour", "enumeration", "select", options=choices("Red", "Green", "Blue")),
    prop("visits", "Visits", "number", "number"),
    prop("remark", "Remark"),
    prop("score", "Score", "number", "calculation_score", modificationMetadata={"readOnlyValue": True}),
    prop("signed_on", "Signed on", "date", "date"),
    prop("lastmodifieddate", "Last modified", "datetime", "date"),
    prop("hs_merged_object_ids", "Merged records", "enumeration", "checkbox"),
    prop("hs_object_id", "Record ID", "number", "number"),
    prop("createdate", "Create date", "datetime", "date"),
]
DEAL_PROPERTIES = [
    prop("dealname", "Deal name"),
    prop("dealstage", "Deal stage", "enumeration", "radio"),
    prop("pipeline", "Pipeline", "enumeration", "select"),
    prop("amount", "Amount", "number", "number"),
    prop("hs_is_closed_won", "Is closed won", "bool", "booleancheckbox"),
    prop("hs_lastmodifieddate", "Last modified", "datetime", "date"),
    prop("hs_merged_object_ids", "Merged records", "enumeration", "checkbox"),
    prop("hs_object_id", "Record ID", "number", "number"),
]
OWNERS = [
    {"id": "77", "firstName": "Sam", "lastName": "Seller", "email": "sam@example.com", "archived": False},
    {"id": "78", "firstName": "Former", "lastName": "Friend", "email": "former@example.com", "archived": True},
]
PIPELINES = [
    {
        "id": "default",
        "label": "Sales",
        "stages": [{"id": "1001", "label": "New"}, {"id": "1002", "label": "Won"}],
    }
]


@dataclass
class Row:
    """A record. HubSpot stores times in milliseconds."""

    id: str
    properties: dict[str, str | None]
    changed: datetime
    archived_at: datetime | None = None


@dataclass
class HubSpotAccount:
    """The account. ``answers`` are given first, before anything is looked at."""

    rows: dict[str, dict[str, Row]] = field(default_factory=lambda: {"contacts": {}, "deals": {}, "communications": {}})
    links: set[tuple[str, str, str, str]] = field(default_factory=set)
    """(kind, id, kind, id), in both directions."""
    properties: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"contacts": list(CONTACT_PROPERTIES), "deals": list(DEAL_PROPERTIES)}
    )
    rules: dict[str, str] = field(default_factory=dict)
    """Validation rules of the account's admin: property -> message."""
    missing_scopes: dict[str, str] = field(default_factory=dict)
    """Beginning of a path -> the scope that the credential lacks."""
    token: str = TOKEN
    refresh_token: str = "refresh-1"
    lag: timedelta = timedelta(0)
    """How late the search shows changes."""
    links_in_a_page: int = 500
    answers: deque[Answer] = field(default_factory=deque)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""
    server: ThreadingHTTPServer | None = None
    last_id: int = 99_900

    # What people do in HubSpot

    def write(
        self, kind: str, properties: Mapping[str, str | None], number: str | None = None, at: datetime | None = None
    ) -> str:
        if number is None:
            self.last_id += 1 if self.last_id % 13 else 991  # ids have gaps, and become longer
            number = str(self.last_id)
        row = self.rows[kind].get(number)
        moment = in_milliseconds(at or datetime.now(UTC))
        kept = {} if row is None else row.properties
        self.rows[kind][number] = Row(number, {**kept, **properties}, moment, None)
        return number

    def delete(self, kind: str, number: str) -> None:
        """Archive a record. Its time of change stays as it is."""
        self.rows[kind][number].archived_at = datetime.now(UTC)

    def erase(self, kind: str, number: str) -> None:
        """Delete a record permanently: no list has it."""
        del self.rows[kind][number]

    def merge(self, kind: str, one: str, other: str) -> str:
        """Merge two records into a new one, as HubSpot does since 2025."""
        first, second = self.rows[kind].pop(one), self.rows[kind].pop(other)
        filled = {name: value for name, value in first.properties.items() if value}
        return self.write(kind, {**second.properties, **filled, "hs_merged_object_ids": f"{one};{other}"})

    def absorb(self, kind: str, gone: str, stays: str) -> None:
        """Merge a record into another one, which keeps its id, as HubSpot did before."""
        del self.rows[kind][gone]
        before = self.rows[kind][stays].properties.get("hs_merged_object_ids")
        self.write(kind, {"hs_merged_object_ids": ";".join(filter(None, [before, gone]))}, stays)

    def link(self, kind: str, number: str, other_kind: str, other: str) -> None:
        self.links |= {(kind, number, other_kind, other), (other_kind, other, kind, number)}

    def texts_of(self, kind: str, number: str) -> list[Row]:
        found = [other for a, b, c, other in self.links if (a, b, c) == (kind, number, "communications")]
        return [self.rows["communications"][one] for one in sorted(found, key=int)]

    def sign(self, url: str, body: bytes, at: datetime | None = None, secret: str = SECRET) -> dict[str, str]:
        """Return the headers of a webhook."""
        stamp = str(int((at or datetime.now(UTC)).timestamp() * 1000))
        digest = hmac.new(secret.encode(), f"POST{url}".encode() + body + stamp.encode(), hashlib.sha256).digest()
        return {"x-hubspot-request-timestamp": stamp, "x-hubspot-signature-v3": base64.b64encode(digest).decode()}

    # What the API answers

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        for beginning, scope in self.missing_scopes.items():
            if path.startswith(beginning):
                return refused(403, "MISSING_SCOPES", "the required scopes are missing", requiredScopes=[scope])
        match [method, *path.strip("/").split("/")]:
            case ["GET", "account-info", "2026-09", "details"]:
                return 200, {"portalId": 4711, "uiDomain": "app-eu1.hubspot.com", "timeZone": "Europe/Berlin"}
            case ["GET", "crm", "properties", "2026-09", kind]:
                return 200, {"results": self.properties[kind]}
            case ["GET", "crm", "owners", "2026-09"]:
                return 200, {"results": [one for one in OWNERS if str(one["archived"]).lower() == query["archived"]]}
            case ["GET", "crm", "pipelines", "2026-09", "deals"]:
                return 200, {"results": PIPELINES}
            case ["POST", "crm", "associations", "2026-09", kind, other, "batch", "read"]:
                return self._associations(kind, other, body)
            case [_, "crm", "objects", "2026-09", kind, *rest] if kind in self.rows:
                return self._objects(method, kind, rest, query, body)
        return refused(404, "OBJECT_NOT_FOUND", "nothing here")

    def _objects(self, method: str, kind: str, rest: list[str], query: dict[str, str], body: Any) -> Answer:
        match [method, *rest]:
            case ["GET"]:
                return self._list(kind, query)
            case ["POST", "search"]:
                return self._search(kind, body)
            case ["POST", "batch", "read"]:
                return self._batch(kind, body)
            case ["POST"]:
                return self._create(kind, body)
            case ["GET" | "PATCH", number]:
                row = self.rows[kind].get(number)
                if row is None or row.archived_at is not None:
                    return refused(404, "OBJECT_NOT_FOUND", "resource not found")
                return self._update(kind, row, body) if method == "PATCH" else self._one(kind, row, query)
        return refused(405, "VALIDATION_ERROR", "method not allowed")

    def _list(self, kind: str, query: dict[str, str]) -> Answer:
        limit, after = int(query.get("limit", "10")), int(query.get("after", "0"))
        if limit > LISTED:
            return refused(400, "VALIDATION_ERROR", f"limit must be at most {LISTED}")
        archived = query.get("archived") == "true"
        rows = [row for row in self._sorted(kind) if (row.archived_at is not None) == archived and int(row.id) > after]
        names = query.get("properties", "").split(",")
        answer: dict[str, Any] = {"results": [self.shown(kind, row, names) for row in rows[:limit]]}
        if len(rows) > limit:
            answer["paging"] = {"next": {"after": rows[limit - 1].id, "link": f"{self.url}/crm/?after=1"}}
        return 200, answer

    def _search(self, kind: str, body: Any) -> Answer:
        lacking = {"after", "filterGroups", "limit", "properties", "sorts"} - set(body)
        if lacking or body["limit"] > FOUND or int(body["after"] or 0) + body["limit"] > MOST_FOUND:
            return refused(400, "VALIDATION_ERROR", f"the search is not valid {sorted(lacking)}")
        if body["sorts"] != ["hs_object_id"]:
            return refused(400, "VALIDATION_ERROR", "this stand-in sorts by id only")
        known = datetime.now(UTC) - self.lag
        rows = [row for row in self._sorted(kind) if row.archived_at is None and row.changed <= known]
        groups = [group["filters"] for group in body["filterGroups"]]
        found = [row for row in rows if not groups or any(all(self._fits(kind, row, f) for f in g) for g in groups)]
        page = found[int(body["after"]) :][: body["limit"]]
        return 200, {"total": len(found), "results": [self.shown(kind, row, body["properties"]) for row in page]}

    def _fits(self, kind: str, row: Row, condition: dict[str, str]) -> bool:
        name, operator, value = condition["propertyName"], condition["operator"], condition["value"]
        if name.startswith("associations."):
            return (kind, row.id, f"{name.removeprefix('associations.')}s", value) in self.links
        if name == CHANGED[kind]:
            own = milliseconds(row.changed)
        elif name == "hs_timestamp":
            own = milliseconds(datetime.fromisoformat(row.properties["hs_timestamp"] or ""))
        else:
            own = int(row.id) if name == "hs_object_id" else int(row.properties.get(name) or 0)
        wanted = int(value)
        return {"GTE": own >= wanted, "LTE": own <= wanted, "EQ": own == wanted, "GT": own > wanted}[operator]

    def _batch(self, kind: str, body: Any) -> Answer:
        ids = [one["id"] for one in body["inputs"]]
        if len(ids) > LISTED:
            return refused(400, "VALIDATION_ERROR", f"at most {LISTED} inputs")
        rows = [row for one in ids if (row := self.rows[kind].get(one)) is not None and row.archived_at is None]
        answer: dict[str, Any] = {
            "status": "COMPLETE",
            "results": [self.shown(kind, row, body["properties"]) for row in rows],
        }
        gone = sorted(set(ids) - {row.id for row in rows})
        if not gone:
            return 200, answer
        errors = [{"category": "OBJECT_NOT_FOUND", "message": "Could not get some objects", "context": {"ids": gone}}]
        return 207, answer | {"errors": errors, "numErrors": 1}

    def _associations(self, kind: str, other: str, body: Any) -> Answer:
        results, errors = [], []
        for one in body["inputs"]:
            start = int(one.get("after", "0"))
            found = sorted((d for a, b, c, d in self.links if (a, b, c) == (kind, one["id"], other)), key=int)
            if not found:
                text = f"No {other} is associated with {kind} {one['id']}."
                code = "crm.associations.NO_ASSOCIATIONS_FOUND"
                errors.append({"category": "OBJECT_NOT_FOUND", "subCategory": code, "message": text})
                continue
            page = found[start : start + self.links_in_a_page]
            types = [{"category": "HUBSPOT_DEFINED", "typeId": 3, "label": None}]
            to = [{"toObjectId": number, "associationTypes": types} for number in page]
            entry: dict[str, Any] = {"from": {"id": one["id"]}, "to": to}
            if start + len(page) < len(found):
                entry["paging"] = {"next": {"after": str(start + len(page))}}
            results.append(entry)
        answer = {"status": "COMPLETE", "results": results}
        return (207, answer | {"errors": errors, "numErrors": len(errors)}) if errors else (200, answer)

    def _one(self, kind: str, row: Row, query: dict[str, str]) -> Answer:
        shown = self.shown(kind, row, query.get("properties", "").split(","))
        other = query.get("associations", "")
        found = sorted((d for a, b, c, d in self.links if (a, b, c) == (kind, row.id, other)), key=int)
        if found:
            page = found[: self.links_in_a_page]
            entry: dict[str, Any] = {"results": [{"id": one, "type": f"{kind}_to_{other}"} for one in page]}
            if len(page) < len(found):
                entry["paging"] = {"next": {"after": "opaque"}}
            shown["associations"] = {other: entry}
        return 200, shown

    def _create(self, kind: str, body: Any) -> Answer:
        for one in body["associations"]:
            kind_of_other = ASSOCIATED[one["types"][0]["associationTypeId"]]
            other = self.rows[kind_of_other].get(one["to"]["id"])
            if other is None or other.archived_at is not None:
                return refused(400, "VALIDATION_ERROR", "One or more associations are not valid")
        if (error := self._broken_rule(body)) is not None:
            return error
        number = self.write(kind, body["properties"])
        for one in body["associations"]:
            self.link(kind, number, ASSOCIATED[one["types"][0]["associationTypeId"]], one["to"]["id"])
        return 201, self.shown(kind, self.rows[kind][number], [])

    def _update(self, kind: str, row: Row, body: Any) -> Answer:
        if (error := self._broken_rule(body)) is not None:
            return error
        self.write(kind, {name: value or None for name, value in body["properties"].items()}, row.id)
        return 200, self.shown(kind, self.rows[kind][row.id], [])

    def _broken_rule(self, body: Any) -> Answer | None:
        broken = [(name, self.rules[name]) for name in body["properties"] if name in self.rules]
        found = [{"isValid": False, "message": rule, "error": "INVALID", "name": name} for name, rule in broken]
        text = f"Property values were not valid: {json.dumps(found)}"
        return refused(400, "VALIDATION_ERROR", text) if broken else None

    def _sorted(self, kind: str) -> list[Row]:
        return sorted(self.rows[kind].values(), key=lambda row: int(row.id))

    def shown(self, kind: str, row: Row, names: list[str]) -> dict[str, Any]:
        """Return a record: the properties that were asked for (empty: null) and some that always come."""
        own = {**row.properties, "hs_object_id": row.id, CHANGED[kind]: stamp(row.changed)}
        known = {one["name"] for one in self.properties.get(kind, ())} | set(own)
        sent = {name: own.get(name) for name in (*names, *ALWAYS, CHANGED[kind]) if name in known}
        shown: dict[str, Any] = {"id": row.id, "properties": sent, "updatedAt": stamp(row.changed), "archived": False}
        shown["createdAt"] = stamp(row.changed)
        return shown | ({"archived": True, "archivedAt": stamp(row.archived_at)} if row.archived_at else {})

    def issue_token(self, form: dict[str, str]) -> Answer:
        if form.get("client_secret") != SECRET:
            return 401, {"status": "BAD_CLIENT_SECRET", "error": "invalid_client", "message": "client secret mismatch"}
        if form.get("refresh_token") != self.refresh_token:
            return 400, {"status": "BAD_REFRESH_TOKEN", "error": "invalid_grant", "message": "unknown refresh token"}
        return 200, {"access_token": self.token, "expires_in": 1800, "token_type": "bearer"}

    def serve(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubSpotHandler", (_HubSpotHandler,), {"account": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.server, self.url = server, f"http://127.0.0.1:{server.server_address[1]}"

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def refused(status: int, category: str, message: str, **context: list[str]) -> tuple[int, dict[str, Any]]:
    answer = {"status": "error", "message": message, "correlationId": "aeb5f871", "category": category}
    errors = {"errors": [{"message": message, "context": context}]} if context else {}
    return status, {**answer, **errors}


def in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _HubSpotHandler(BaseHTTPRequestHandler):
    account: HubSpotAccount
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        status, answer, *headers = self._given(address.path, dict(parse_qsl(address.query)), sent)
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (headers[0] if headers else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _given(self, path: str, query: dict[str, str], sent: bytes) -> Answer:
        if path == "/oauth/2026-09/token":
            return self.account.issue_token(dict(parse_qsl(sent.decode())))
        body = json.loads(sent or b"null")
        self.account.asked.append((self.command, path, body if body is not None else query))
        if self.account.answers:
            return self.account.answers.popleft()
        if len(self.path) > LONGEST_URL:
            return 414, {"message": "URI too long"}
        if self.headers["Authorization"] != f"Bearer {self.account.token}":
            return refused(401, "EXPIRED_AUTHENTICATION", "the token has expired")
        return self.account.answer(self.command, path, query, body)

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names are the server's

    def log_message(self, *_args: Any) -> None:
        pass
