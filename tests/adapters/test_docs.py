"""The adapter in the documentation is a whole one: it passes the conformance kit against a small HTTP server."""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from config.fields import FieldMapping
from crm_adapters.base import Adapter
from crm_adapters.testing import AdapterConformance, SampleContact

DOCUMENT = Path(__file__).parents[2] / "docs" / "writing-adapters.md"


@dataclass
class Acme:
    """The CRM that the documented adapter reads. It leaves out empty fields."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: str = "acme-8c1d"
    url: str = ""

    def write(self, external_id: str, fields: dict[str, str], moment: datetime, *, deleted: bool = False) -> None:
        changed = moment.isoformat(timespec="microseconds")
        filled = {name: value for name, value in fields.items() if value}
        self.people[external_id] = {"id": external_id, "fields": filled, "deleted": deleted, "changed": changed}

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        found = [
            person
            for person in sorted(self.people.values(), key=lambda person: str(person["id"]))
            if person["id"] > query.get("after_id", "")
            and query.get("changed_from", "") <= person["changed"] <= query.get("changed_to", "9")
        ]
        return {"people": found[: int(query["limit"])], "total": len(self.people)}


FIELDS = [{"name": name, "label": name.title()} for name in ("name", "mobile", "email", "city")]


def serve(acme: Acme) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == f"Bearer {acme.token}"
            url = urlsplit(self.path)
            answer = {"fields": FIELDS} if url.path == "/v2/fields" else acme.page(dict(parse_qsl(url.query)))
            body = json.dumps(answer if allowed else {"message": "unknown token"}).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    acme.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server


class TestDocumentedAdapter(AdapterConformance):
    @pytest.fixture(autouse=True)
    def _server(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("plugin")
        (code,) = re.findall(r"```python\n(# vtsync_acme\.py\n.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
        (folder / "vtsync_acme.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "vtsync_acme", raising=False)
        self.plugin = importlib.import_module("vtsync_acme")
        self.acme = Acme()
        server = serve(self.acme)
        yield
        server.shutdown()
        server.server_close()

    def make_source(self, folder: Path) -> Acme:
        return self.acme

    def put(self, source: Acme, contact: SampleContact) -> None:
        self.put_at(source, [contact], datetime.now(UTC))

    def put_at(self, source: Acme, contacts: Iterable[SampleContact], moment: datetime) -> None:
        for one in contacts:
            fields = {"name": one.full_name, "mobile": one.phone, "email": one.email}
            source.write(one.external_id, fields, moment)

    def delete(self, source: Acme, external_id: str) -> None:
        source.write(external_id, {}, datetime.now(UTC), deleted=True)

    def adapter(self, source: Acme) -> Adapter:
        options = self.plugin.AcmeOptions(url=self.url(source), token="acme-8c1d")
        built = self.plugin.AcmeAdapter(options, FieldMapping())
        assert isinstance(built, Adapter)
        return built

    def upstream(self, source: Acme) -> str:
        return source.url

    def break_source(self, source: Acme) -> None:
        source.token = "another"

    def secrets(self, source: Acme) -> tuple[str, ...]:
        return ("acme-8c1d",)
