"""The adapter in the documentation is a whole one: it passes the conformance kit against a small HTTP server."""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from config.fields import FieldMapping
from crm_adapters.base import Adapter
from crm_adapters.testing import AdapterConformance, SampleContact

DOCUMENT = Path(__file__).parents[2] / "docs" / "adapters.md"


@dataclass
class Acme:
    """The CRM that the documented adapter reads."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: int = 0
    token: str = "acme-8c1d"
    url: str = ""

    def write(self, external_id: str, fields: dict[str, str], *, deleted: bool = False) -> None:
        self.changes += 1
        self.people[external_id] = {"id": external_id, "fields": fields, "deleted": deleted, "change": self.changes}

    def page(self, after: int, limit: int) -> dict[str, Any]:
        found = sorted((p for p in self.people.values() if p["change"] > after), key=lambda p: p["change"])
        return {"people": found[:limit], "total": len(self.people)}


def serve(acme: Acme) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == f"Bearer {acme.token}"
            query = {name: int(values[0]) for name, values in parse_qs(urlsplit(self.path).query).items()}
            body = json.dumps(acme.page(**query) if allowed else {}).encode()
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
        fields = {"Full Name": contact.full_name, "Mobile": contact.phone, "Email": contact.email}
        source.write(contact.external_id, fields)

    def delete(self, source: Acme, external_id: str) -> None:
        source.write(external_id, {}, deleted=True)

    def adapter(self, source: Acme) -> Adapter:
        options = self.plugin.AcmeOptions(url=source.url, token="acme-8c1d")
        built = self.plugin.AcmeAdapter(options, FieldMapping())
        assert isinstance(built, Adapter)
        return built

    def break_source(self, source: Acme) -> None:
        source.token = "another"

    def secrets(self, source: Acme) -> tuple[str, ...]:
        return ("acme-8c1d",)
