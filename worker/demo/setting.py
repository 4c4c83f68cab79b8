"""The environment of the demo: its folder, its configuration, its processes, and queries for its results."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

from celery import Celery

from worker.core.isolated import isolated
from worker.core.private_files import private_file

CONFIGURATION = """\
data_dir = "data"
policy.quiet_hours = "none"  # so that the demo also works at night

[accounts.demo]
uid = "sandbox"
token = {{ env = "DEMO_TOKEN" }}
from_number = "+12025550100"
api_url = "{api_url}"
create_url = "{create_url}"

[connections.export]
adapter = "csv"
account = "demo"
default_region = "US"
options = {{ path = "export.csv", settle_seconds = 0 }}

[connections.customers]
adapter = "sql"
account = "demo"
default_region = "US"
options = {{ url = "sqlite:///{database}", table = "customers", updated_at = "updated_at", deleted = "is_deleted" }}

[triggers.welcome]
connections = ["export", "customers"]
on = "created"
message = "Hi {{{{ contact.first_name }}}}, welcome! Reply here any time."

[triggers.won]
connections = ["export"]
on = "changed"
field = "Lifecycle Stage"
to = "Won"
message = "Congratulations, {{{{ first_name }}}}! We will call you about the next steps."

[worker]
tick_every = "2s"
"""


class Setting:
    """The folder of the demo and everything in it."""

    token = "sandbox-token"  # noqa: S105 - the token of the sandbox is no secret

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "vtsync.toml"
        self.export = folder / "export.csv"
        self.database = folder / "crm.sqlite3"
        self.ready_file = folder / "sandbox.json"
        self.api_url = self.create_url = ""

    def connect(self, address: dict[str, Any]) -> None:
        """Store the URLs of the sandbox."""
        self.api_url, self.create_url = address["api_url"], address["create_url"]

    def configure(self) -> None:
        """Write the configuration, as a user does."""
        text = CONFIGURATION.format(api_url=self.api_url, create_url=self.create_url, database=self.database)
        self.configuration.write_text(text, encoding="utf-8")

    def keep_token(self) -> None:
        """Write the token of the sandbox where commands find it that are run later."""
        private_file(self.folder / ".env").write_text(f"DEMO_TOKEN={self.token}\n", encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Return the environment of the demo's processes, without the user's own settings."""
        mine = {key: value for key, value in os.environ.items() if not key.startswith("VTSYNC_")}
        return mine | {"VTSYNC_CONFIG": str(self.configuration), "DEMO_TOKEN": self.token}

    def sandbox_command(self) -> list[str]:
        """Return the command that starts the sandbox on free ports."""
        return isolated("worker.sandbox", "--api-port=0", "--create-port=0", f"--ready-file={self.ready_file}")

    def up_command(self) -> list[str]:
        """Return the command that starts worker and scheduler."""
        return isolated("vtsync", "up")

    def sandbox_address(self) -> dict[str, Any] | None:
        """Return the URLs of the sandbox once it listens."""
        try:
            address: dict[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return address

    def authorization(self) -> dict[str, str]:
        """Return the header for direct calls."""
        return {"Authorization": f"Bearer sandbox:{self.token}"}

    def plain_celery(self) -> Celery:
        """Return the Celery app of another service, which knows only the broker and the names of the tasks."""
        from worker.broker.settings import embedded_settings

        service = Celery("another-service")
        service.conf.update(embedded_settings(self.folder / "data"))
        return service

    def contacts_in_state(self, state: str) -> int:
        """Count the contacts with this push state in the store."""
        return self._count("SELECT count(*) FROM contact WHERE push_state = ?", state)

    def contacts_adopted(self) -> int:
        """Count the contacts that were found in VirtualText instead of created."""
        return self._count("SELECT count(DISTINCT contact_id) FROM contact_event WHERE kind = ?", "adopted")

    def messages(self, kind: str, state: str) -> int:
        """Count the messages of a kind with this state in the store."""
        return self._count("SELECT count(*) FROM message WHERE kind = ? AND state = ?", kind, state)

    def pushed_since(self, moment: datetime) -> tuple[int, int]:
        """Count the contacts created and updated in VirtualText since then."""
        since = moment.replace(tzinfo=None).isoformat(" ")
        pushed = "SELECT count(*) FROM contact WHERE pushed_at >= ? AND created_at"
        return self._count(f"{pushed} >= ?", since, since), self._count(f"{pushed} < ?", since, since)

    def _count(self, statement: str, *values: str) -> int:
        db = sqlite3.connect(f"file:{self.folder / 'data' / 'vtsync.sqlite3'}?mode=ro", uri=True, timeout=30)
        try:
            return int(db.execute(statement, values).fetchone()[0])
        finally:
            db.close()
