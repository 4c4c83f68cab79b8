"""A configuration that ``vtsync init`` puts together from answers: as data to try it, and as a commented file. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config.problems import in_toml

SANDBOX_UID, SANDBOX_TOKEN, SANDBOX_NUMBER = "sandbox", "sandbox-token", "+12025550100"
SANDBOX_API, SANDBOX_CREATE = "http://127.0.0.1:8700", "http://127.0.0.1:8701"
SANDBOX_VARIABLE = "VTSYNC_SANDBOX_TOKEN"
"""What `vtsync sandbox` accepts, and where it listens, by default."""


@dataclass(frozen=True, slots=True)
class EnvironmentVariable:
    """A secret: the file names the variable, and ``.env`` has the value."""

    name: str


@dataclass(frozen=True, slots=True)
class Draft:
    """The answers. ``fields`` are the names of the CRM's fields by role: ``phone``, ``full_name``, ``email`` ...

    ``secrets`` are the values of environment variables.
    """

    adapter: str
    options: Mapping[str, Any]
    sandbox: bool = True
    from_number: str = SANDBOX_NUMBER
    region: str = ""
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    do_not_text: str = ""
    consent: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def data(self) -> dict[str, Any]:
        """Return the configuration as the file would be read."""
        account: dict[str, Any] = {
            "uid": SANDBOX_UID if self.sandbox else {"env": "VTSYNC_UID"},
            "token": {"env": SANDBOX_VARIABLE if self.sandbox else "VTSYNC_TOKEN"},
            "from_number": self.from_number,
        }
        if self.sandbox:
            account |= {"api_url": SANDBOX_API, "create_url": SANDBOX_CREATE}
        connection: dict[str, Any] = {"adapter": self.adapter, "account": "main", "schedule": "15m"}
        if self.region:
            connection["default_region"] = self.region
        connection["options"] = {
            name: {"env": value.name} if isinstance(value, EnvironmentVariable) else value
            for name, value in self.options.items()
        }
        if self.fields:
            connection["fields"] = {role: list(names) for role, names in self.fields.items()}
        for rule in ("do_not_text", "consent"):
            if name := getattr(self, rule):
                connection[rule] = {"field": name}
        return {"accounts": {"main": account}, "connections": {"crm": connection}}

    def text(self) -> str:
        """Return the file, with comments."""
        data = self.data()
        account, connection = data["accounts"]["main"], dict(data["connections"]["crm"])
        options, fields = connection.pop("options"), connection.pop("fields", {})
        lines = [
            "# Written by `vtsync init`. docs/configuration.md explains every key; `vtsync check` finds every mistake.",
            "# Secrets are in .env next to this file. Never commit that file.",
            "",
            "[accounts.main]",
            *_lines(account),
            *(_SANDBOX_NOTE if self.sandbox else ()),
            "",
            "[connections.crm]",
            *_lines(connection),
            "",
            "[connections.crm.options]",
            *_lines(options),
        ]
        if fields:
            lines += ["", "# The CRM's fields, best first.", "[connections.crm.fields]", *_lines(fields)]
        return "\n".join([*lines, *_TRIGGER_NOTE]) + "\n"


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {in_toml(value)}" for key, value in table.items()]


_SANDBOX_NOTE = (
    "# This is `vtsync sandbox`. For VirtualText, delete the two addresses, set uid, token and from_number, and name",
    "# another data_dir, so that nothing of the sandbox is taken for VirtualText's.",
)
_TRIGGER_NOTE = (
    "",
    "# A text on a change in the CRM. A new trigger never texts anybody about what was already true.",
    "# [triggers.welcome]",
    '# connections = "crm"',
    '# on = "created"',
    '# message = "Hi {{ contact.first_name }}, thanks for signing up. Reply STOP to opt out."',
)
