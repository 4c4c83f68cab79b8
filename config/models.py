"""Everything that can be configured, as typed models. ``config.load`` turns a TOML file into a ``Settings``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from config.fields import FieldMapping
from config.types import Duration, E164, HttpUrl, Region, Schedule, Secret, one_or_many


class Model(BaseModel):
    """Base: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Account(Model):
    """One VirtualText user: whose contacts are written and in whose name texts go out."""

    uid: Secret = Field(description="The account uid, the half before the colon of the API credential.")
    token: Secret = Field(description="The access token, the half after the colon.")
    from_number: E164 = Field(description="The VirtualText number that texts are sent from, E.164.")
    api_url: HttpUrl = Field("https://public-api.virtualtext.com", description="Base URL of every call but create.")
    create_url: HttpUrl = Field("https://virtualtext-txb.textable.app", description="Base URL of create contact.")
    connect_timeout: float = Field(5.0, gt=0, le=60, description="Seconds to wait for a connection.")
    read_timeout: float = Field(
        40.0, gt=0, le=300, description="Seconds to wait for an answer. The platform gives up after 30; stay above."
    )
    concurrency: int = Field(16, ge=1, le=200, description="Requests in flight at once, a process.")
    settle_after: Duration = Field(
        timedelta(seconds=60),
        description="How long after a lost create the contact list is asked for it; the list lags behind.",
    )


class Connection(Model):
    """One CRM as one account sees it."""

    adapter: str = Field(description="The adapter's name, see `vtsync adapters`.")
    account: str = Field(description="The name of an account above.")
    schedule: Schedule | None = Field(
        None, description='"15m", "1h", or a cron line such as "*/15 8-18 * * 1-5" (UTC). Left out: only by hand.'
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The adapter's own options.")
    fields: FieldMapping = Field(default_factory=FieldMapping, description="Which CRM fields hold what.")
    default_region: Region | None = Field(
        None, description='Country of numbers written without a country code, such as "US". Left out: rejected.'
    )
    clear_empty: bool = Field(False, description="An emptied CRM field also empties it in VirtualText.")
    priority: int = Field(
        100, description="Where several CRM records share one phone, the connection with the lowest value wins."
    )
    max_missing_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Refuse to take records for deleted when more than this share of them is suddenly missing.",
    )
    enabled: bool = True


class Trigger(Model):
    """A text that a change in the CRM calls for."""

    connections: Annotated[tuple[str, ...], one_or_many()] = Field(description="Names of connections it watches.")
    on: Literal["created", "changed"] = Field(description="A record that is new, or a field that changes.")
    field: str | None = Field(None, description="For `changed`: the CRM field to watch.")
    from_value: str | None = Field(None, alias="from", description="For `changed`: only from this value.")
    to_value: str | None = Field(None, alias="to", description="For `changed`: only to this value.")
    message: str = Field(description="The text, a Liquid template over the CRM record's fields.")
    media: Annotated[tuple[HttpUrl, ...], one_or_many()] = Field((), description="Public URLs of pictures to send.")
    from_number: E164 | None = Field(None, description="Send from this number instead of the account's.")
    expires_after: Duration | None = Field(None, description="Do not send later than this after the change.")
    enabled: bool = True


class Policy(Model):
    """What keeps people from being texted by surprise."""

    blast_limit: int = Field(
        25, ge=0, description="When one sync would text more people than this, every text waits for approval."
    )
    expires_after: Duration = Field(
        timedelta(hours=24), description="A text not sent by then is dropped, unless its trigger or job says otherwise."
    )


class Store(Model):
    """Where mappings and intents are kept."""

    url: Secret | None = Field(
        None, description="SQLAlchemy URL: sqlite:///... or postgresql+psycopg://... Left out: SQLite in data_dir."
    )


class Broker(Model):
    """How workers hear that there may be work."""

    url: Secret | None = Field(
        None, description="redis://, rediss:// or amqp:// URL. Left out: files in data_dir, for one machine."
    )
    result_url: Secret | None = Field(
        None, description="Where task results are kept. Left out: the Redis broker itself, or files in data_dir."
    )


class WorkerSettings(Model):
    """One worker process."""

    concurrency: int = Field(8, ge=1, le=200, description="Tasks run at once, in threads.")
    sweep_every: Duration = Field(
        timedelta(seconds=10), description="How often due schedules and work that was left behind are looked for."
    )
    lease: Duration = Field(
        timedelta(seconds=30), description="A worker that has vanished in the middle of a sync is replaced after this long."
    )
    time_limit: Duration = Field(
        timedelta(minutes=30), description="A task stops cleanly after this long and goes on in the next one."
    )


class Settings(Model):
    """The whole configuration file."""

    data_dir: Path = Field(Path(".vtsync"), description="Where the embedded store and broker keep their files.")
    accounts: dict[str, Account] = Field(default_factory=dict)
    connections: dict[str, Connection] = Field(default_factory=dict)
    triggers: dict[str, Trigger] = Field(default_factory=dict)
    policy: Policy = Field(default_factory=Policy)
    store: Store = Field(default_factory=Store)
    broker: Broker = Field(default_factory=Broker)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)

    def database_url(self) -> str:
        """The store's SQLAlchemy URL, with secrets."""
        if self.store.url is not None:
            return self.store.url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'vtsync.sqlite3').absolute()}"
