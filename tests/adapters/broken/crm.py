"""A small CRM with an HTTP API: people and deals, with ids of its own and times in microseconds that it shows in
seconds.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "tok-3f9a-5d20"
EVENT_KEY = "whk-77c1-e0b4"

FIELDS = [
    *({"name": name, "label": name.title(), "type": kind, "kind": "contact"} for name, kind in (
        ("id", "number"), ("name", "text"), ("mobile", "phone"), ("email", "email"), ("owner", "reference"),
        ("owner_id", "number"), ("no_sms", "boolean"),
    )),
    *({"name": name, "label": name.title(), "type": kind, "kind": "deal"} for name, kind in (
        ("id", "number"), ("title", "text"), ("stage", "choice"),
    )),
]  # fmt: skip


@dataclass
class Row:
    """A record of a table."""

    id: int
    values: dict[str, Any]
    changed: datetime
    deleted: bool = False

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, **self.values, "changed": stamp(self.changed), "deleted": self.deleted}


@dataclass
class Crm:
    """The CRM's tables. ``generation`` changes when it forgets all cursors."""

    tables: dict[str, dict[int, Row]] = field(default_factory=lambda: {"people": {}, "deals": {}})
    texts: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    generation: int = 1
    token: str = TOKEN
    url: str = ""
    server: ThreadingHTTPServer | None = None

    def write(self, table: str, values: dict[str, Any], number: int | None = None, at: datetime | None = None) -> int:
        rows = self.tables[table]
        number = number or len(rows) + 1
        kept = rows[number].values if number in rows else {}
        rows[number] = Row(number, {**kept, **values}, at or datetime.now(UTC))
        return number

    def delete(self, table: str, number: int) -> None:
        row = self.tables[table][number]
        row.deleted, row.changed = True, datetime.now(UTC)

    def serve(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("CrmHandler", (_CrmHandler,), {"crm": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.server, self.url = server, f"http://127.0.0.1:{server.server_address[1]}/api"

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        if int(query.get("generation", self.generation)) != self.generation:
            return 410, {"error": "this cursor has expired"}
        match [part for part in path.split("/") if part][1:]:
            case ["status"]:
                times = [row.changed for rows in self.tables.values() for row in rows.values()]
                newest = stamp(max(times)) if times else None
                live = sum(not row.deleted for row in self.tables["people"].values())
                return 200, {"newest": newest, "people": live, "generation": self.generation}
            case ["fields"]:
                return 200, {"fields": FIELDS}
            case ["ids"]:
                rows = [(table, row) for table, rows in self.tables.items() for row in rows.values()]
                start, limit = int(query["start"]), int(query["limit"])
                some = [[table, row.id] for table, row in rows if not row.deleted]
                return 200, {"ids": some[start : start + limit]}
            case ["people" | "deals" as table]:
                return 200, {table: [row.shown() for row in self.found(table, query)]}
            case ["people", number, *rest]:
                row = self.tables["people"].get(int(number)) if number.isdigit() else None
                if row is None or row.deleted:
                    return 404, {"error": "no such person"}
                if rest:
                    self.texts.setdefault(body["id"], (row.id, body))
                else:
                    row.values["no_sms"], row.changed = body["no_sms"], datetime.now(UTC)
                return 200, {"ok": True}
        return 404, {"error": "no such address"}

    def found(self, table: str, query: dict[str, str]) -> Iterable[Row]:
        since, after = query.get("from"), int(query.get("after", 0))
        rows = [row for row in self.tables[table].values() if since or not row.deleted]
        if query.get("order") == "time":  # what textbooks ask for: after this time, and among equals after this id
            moment = datetime.fromisoformat(since or "0001-01-01T00:00:00+00:00")
            rows = sorted(
                (row for row in rows if (row.changed, row.id) > (moment, after)), key=lambda r: (r.changed, r.id)
            )
        elif since:
            rows = [row for row in rows if row.id > after and row.changed >= datetime.fromisoformat(since)]
        else:
            rows = [row for row in rows if row.id > after]
        start = int(query.get("offset", 0))
        return rows[start : start + int(query["limit"])]


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


class _CrmHandler(BaseHTTPRequestHandler):
    crm: Crm
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        address = urlsplit(self.path)
        status, answer = 401, {"error": "wrong token"}
        if self.headers["Authorization"] == f"Bearer {self.crm.token}":
            status, answer = self.crm.answer(self.command, address.path, dict(parse_qsl(address.query)), body)
        data = json.dumps(answer).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names are the server's

    def log_message(self, *_args: Any) -> None:
        pass


@contextlib.contextmanager
def running(crm: Crm) -> Iterator[Crm]:
    crm.serve()
    try:
        yield crm
    finally:
        crm.stop()
