"""The whole configuration as typed models. ``config.load`` reads a TOML file into ``Settings``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, field_validator

from config.accounts import DEFAULT_API_URL, DEFAULT_CREATE_URL, Account
from config.alerts import Alerts
from config.base import Model
from config.callbacks import Callbacks
from config.connections import Connection, PropertyRule
from config.infrastructure import Broker, Store, WorkerSettings
from config.integrations import Carrier, Subscriber
from config.monitoring import Metrics, Sentry
from config.policy import Policy
from config.retention import Retention
from config.triggers import Trigger
from config.types import ConfigPath, FromFile, invalid_value, is_system_folder
from config.web import Web

__all__ = [
    "DEFAULT_API_URL",
    "DEFAULT_CREATE_URL",
    "Account",
    "Alerts",
    "Broker",
    "Callbacks",
    "Carrier",
    "Connection",
    "Metrics",
    "Policy",
    "PropertyRule",
    "Retention",
    "Sentry",
    "Settings",
    "Store",
    "Subscriber",
    "Trigger",
    "Web",
    "WorkerSettings",
]

Options = TypeVar("Options", bound=BaseModel)


class Settings(Model):
    """The whole configuration file."""

    data_dir: ConfigPath = Field(
        Path(".vtsync"),
        validate_default=True,
        description="The folder for the files of the embedded store and broker. Relative to this file's folder.",
    )

    accounts: dict[str, Account] = Field(
        default_factory=dict, description="The VirtualText users, one table `[accounts.<name>]` each."
    )
    connections: dict[str, Connection] = Field(
        default_factory=dict, description="The CRMs, one table `[connections.<name>]` each."
    )
    triggers: dict[str, Trigger] = Field(
        default_factory=dict, description="The texts to send on CRM changes, one table `[triggers.<name>]` each."
    )
    carriers: dict[str, Carrier] = Field(
        default_factory=dict,
        description="Carrier accounts whose texts are recorded, one table `[carriers.<name>]` each.",
    )
    subscribers: dict[str, Subscriber] = Field(
        default_factory=dict, description="Services that are notified of texts, one table `[subscribers.<name>]` each."
    )
    callbacks: Callbacks = Field(default_factory=Callbacks, description="Events of single texts to their callers.")
    alerts: Alerts = Field(default_factory=Alerts, description="Who is told when something waits or does not work.")
    policy: Policy = Field(default_factory=Policy, description="Rules that protect people from unwanted texts.")
    web: Web = Field(default_factory=Web, description="The HTTP server, `vtsync web`.")
    retention: Retention = Field(default_factory=Retention, description="How long finished data is kept.")
    metrics: Metrics = Field(default_factory=Metrics, description="Where Prometheus scrapes metrics.")
    sentry: Sentry = Field(default_factory=Sentry, description="Error reports to Sentry.")
    store: Store = Field(default_factory=Store, description="The database of the sync.")
    broker: Broker = Field(default_factory=Broker, description="The message broker.")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="One worker process.")

    _file: FromFile | None = PrivateAttr(None)

    @field_validator("data_dir")
    @classmethod
    def _is_its_own(cls, value: Path) -> Path:
        if is_system_folder(value):
            raise invalid_value("is a folder of the operating system", "name one that only vtsync uses")
        return value

    def model_post_init(self, context: Any) -> None:
        """Remember the file's folder: relative paths in adapter options start there."""
        self._file = context if isinstance(context, FromFile) else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the file for the operator, such as keys that have a new name."""
        return () if self._file is None else self._file.notes

    def database_url(self) -> str:
        """Return the store's SQLAlchemy URL, with secrets."""
        if self.store.url is not None:
            return self.store.url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'vtsync.sqlite3').absolute()}"

    def adapter_options(self, connection: str, model: type[Options]) -> Options:
        """Return the connection's options as ``model``, with paths and secrets resolved. Raises ValidationError."""
        return model.model_validate(self.connections[connection].options, context=self._file)
