"""Three CRMs with JSON APIs of different manner. All store microseconds, and show seconds."""

from __future__ import annotations

import contextlib
import json
import threading
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

KEY = "key-51e0-7d44"


@dataclass
class Stored:
    """A record of a CRM."""

    id: int
    values: dict[str, Any]
    changed: datetime
    deleted: bool = False

    @property
    def shown(self) -> str:
        return f"{self.changed.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Heard:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass
class JsonCrm(ABC):
    """People and deals. ``answer`` is the API. ``quirks`` are the ways in which it does not do as it is told."""

    people: dict[int, Stored] = field(default_factory=dict)
    deals: dict[int, Stored] = field(default_factory=dict)
    quirks: set[str] = field(default_factory=set)
    heard: list[Heard] = field(default_factory=list)
    key: str = KEY
    url: str = ""
    server: ThreadingHTTPServer | None = None

    base: ClassVar[str] = ""

    def put(self, name: str, phone: str, email: str, number: int | None = None, at: datetime | None = None) -> int:
        number = number or len(self.people) + 1
        values = {"name": name, "phone": phone, "email": email}
        self.people[number] = Stored(number, values, at or datetime.now(UTC))
        return number

    def delete(self, number: int) -> None:
        row = self.people[number]
        row.deleted, row.changed = True, datetime.now(UTC)

    def live(self) -> list[Stored]:
        return [row for row in self.people.values() if not row.deleted]

    def serve(self) -> None:
        handler = type("RestHandler", (_JsonHandler,), {"crm": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}{self.base}"

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @abstractmethod
    def is_allowed(self, headers: Mapping[str, str]) -> bool: ...

    @abstractmethod
    def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]: ...


def since(rows: list[Stored], text: str | None) -> list[Stored]:
    """The rows that changed at this time or later."""
    if text is None:
        return rows
    moment = datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else datetime.fromisoformat(text)
    return [row for row in rows if row.changed >= moment]


class OffsetCrm(JsonCrm):
    """Offsets and a total. Leaves out empty fields. Shows archived people only if asked to."""

    base = "/v1"

    def is_allowed(self, headers: Mapping[str, str]) -> bool:
        return headers.get("X-Api-Key") == self.key

    def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
        if asked.path != "/v1/contacts":
            return 404, {}, {"message": "no such address"}
        rows = list(self.people.values()) if asked.query.get("archived") == "true" else self.live()
        if "ignores the filter" not in self.quirks:
            rows = since(rows, asked.query.get("modified_from"))
        if "finds nothing" in self.quirks and "modified_from" in asked.query:
            rows = []
        offset = 0 if "repeats" in self.quirks else int(asked.query.get("offset", 0))
        size = 1000 if "ignores the size" in self.quirks else int(asked.query.get("limit", 10))
        some = rows[offset : offset + size]
        total = -1 if "no total" in self.quirks else len(rows)
        return 200, {}, {"contacts": list(map(self.shown, some)), "meta": {"total": total, "offset": offset}}

    def shown(self, row: Stored) -> dict[str, Any]:
        values = row.values
        phones = [{"value": values["phone"], "primary": True}] if values["phone"] else []
        shown = {"id": row.id, "fullName": values["name"], "phone": phones, "email": values["email"]}
        filled = {name: value for name, value in shown.items() if value}
        return filled | {"updatedAt": row.shown} | ({"archived": True} if row.deleted else {})


class CursorCrm(JsonCrm):
    """A token in the body, and a period of changes. Lists deleted people apart. Has deals."""

    def is_allowed(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") == f"Bearer {self.key}"

    def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
        match asked.path:
            case "/people":
                return 200, {}, self.page(self.live(), asked.query, self.person)
            case "/people/search" if asked.method == "POST":
                bounds = asked.body.get("filter", {}).get("updated_at", {})
                flat = {"updated_since": bounds.get("$gte"), "updated_until": bounds.get("$lte"), **asked.body}
                return 200, {}, self.page(self.live(), flat, self.person)
            case "/people/deleted":
                rows = since([row for row in self.people.values() if row.deleted], asked.query.get("since"))
                gone = [{"person_id": row.id, "deleted_at": row.shown, "updated_at": row.shown} for row in rows]
                return 200, {}, {"data": {"people": gone}, "paging": {"next": None}}
            case "/deals":
                deals = [row for row in self.deals.values() if not row.deleted]
                return 200, {}, self.page(deals, asked.query, self.deal)
            case "/deals/deleted":
                rows = since([row for row in self.deals.values() if row.deleted], asked.query.get("since"))
                gone = [{"deal_id": row.id, "updated_at": row.shown} for row in rows]
                return 200, {}, {"data": {"people": gone}, "paging": {"next": None}}
        return 404, {}, {"message": "no such address"}

    def page(self, rows: list[Stored], query: Mapping[str, Any], shown: Any) -> dict[str, Any]:
        rows = since(rows, query.get("updated_since"))
        if until := query.get("updated_until"):
            rows = [row for row in rows if row.changed <= datetime.fromisoformat(until)]
        after, size = int(query.get("cursor") or 0), int(query.get("page_size") or 10)
        rows = sorted((row for row in rows if row.id > after), key=lambda row: row.id)
        following = str(rows[size - 1].id) if len(rows) > size else None
        return {"data": {"people": list(map(shown, rows[:size]))}, "paging": {"next": following}}

    def person(self, row: Stored) -> dict[str, Any]:
        values = {name: value or None for name, value in row.values.items()}
        owner = {"id": 7, "name": "Sam Seller"}
        return {"id": row.id, "name": values["name"], "mobile": values["phone"], "email": values["email"],
                "updated_at": row.shown, "owner": owner}  # fmt: skip

    def deal(self, row: Stored) -> dict[str, Any]:
        return {"id": row.id, "updated_at": row.shown, **row.values}


class LinkCrm(JsonCrm):
    """A ``Link`` header and times as seconds since 1970. An empty page is a 404. Does not tell of deletions."""

    base = "/api"

    def is_allowed(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") == f"Basic {b64encode(f'{self.key}:'.encode()).decode()}"

    def answer(self, asked: Heard) -> tuple[int, dict[str, str], Any]:
        query = asked.query
        rows = sorted(since(self.live(), query.get("since")), key=lambda row: row.id)
        after, size = int(query.get("from", 0)), int(query.get("per_page", 10))
        rows = [row for row in rows if row.id > after]
        if not rows:
            return 404, {}, {"message": "nothing found"}
        more = {}
        if len(rows) > size:
            following = urlencode(query | {"from": rows[size - 1].id})
            more["Link"] = f'<{self.url.removesuffix("/api")}{asked.path}?{following}>; rel="next"'
        if asked.path == "/api/clients/ids":
            return 200, more, [row.id for row in rows[:size]]
        if asked.path != "/api/clients":
            return 400, {}, {"message": "no such address"}
        return 200, more, list(map(self.shown, rows[:size]))

    def shown(self, row: Stored) -> dict[str, Any]:
        values = row.values
        first, _, last = values["name"].partition(" ")
        return {
            "id": row.id,
            "name": {"first": first, "last": last},
            "contact": {"cell": values["phone"], "email": values["email"]},
            "agent": {"key": 3, "full": "Sam Seller"},
            "changed": int(row.changed.timestamp()),
        }


class _JsonHandler(BaseHTTPRequestHandler):
    crm: JsonCrm
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def _answer(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        body = json.loads(text) if text.startswith("{") else dict(parse_qsl(text))
        address = urlsplit(self.path)
        asked = Heard(self.command, address.path, dict(parse_qsl(address.query)), dict(self.headers.items()), body)
        self.crm.heard.append(asked)
        status, headers, answer = 401, {}, {"message": "wrong key"}
        if self.crm.is_allowed(asked.headers):
            status, headers, answer = self.crm.answer(asked)
        data = json.dumps(answer).encode()
        self.send_response_only(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    do_GET = do_POST = _answer  # noqa: N815 - the names are the server's

    def log_message(self, *_args: Any) -> None:
        pass


OPTIONS: dict[type[JsonCrm], dict[str, Any]] = {
    OffsetCrm: {
        "name": "Offset CRM",
        "path": "contacts",
        "records": "contacts",
        "auth": {"kind": "header", "name": "X-Api-Key", "token": KEY},
        "paging": {"kind": "offset", "size": "limit", "total": "meta.total"},
        "since": {"parameter": "modified_from", "field": "updatedAt"},
        "deleted": {"field": "archived", "params": {"archived": "true"}},
        "omits_empty": True,
        "limits": [{"amount": 10000, "per": "1s"}],
    },
    CursorCrm: {
        "name": "Cursor CRM",
        "path": "people",
        "records": "data.people",
        "auth": {"kind": "bearer", "token": KEY},
        "paging": {"kind": "cursor", "parameter": "cursor", "next": "paging.next", "size": "page_size"},
        "since": {"parameter": "updated_since", "until": "updated_until", "field": "updated_at"},
        "deleted": {"path": "people/deleted", "records": "data.people", "id": "person_id", "since": "since"},
        "link": "https://cursor.example/people/{id}",
        "objects": {
            "deal": {
                "path": "deals",
                "records": "data.people",
                "person": "contact.id",
                "since": {"parameter": "updated_since", "field": "updated_at"},
                "deleted": {"path": "deals/deleted", "records": "data.people", "id": "deal_id", "since": "since"},
            }
        },
    },
    LinkCrm: {
        "name": "Link CRM",
        "path": "clients",
        "auth": {"kind": "basic", "token": KEY},
        "paging": {"kind": "link", "size": "per_page"},
        "since": {"parameter": "since", "field": "changed", "format": "epoch"},
        "ids": {"path": "clients/ids", "id": ""},
        "empty": [404],
        "fields": {"mobile": "contact.cell", "email": "contact.email", "first name": "name.first",
                   "last name": "name.last"},
        "references": {"agent": ["agent.full", "agent.key"]},
    },
}  # fmt: skip
"""The options that describe each of them."""
