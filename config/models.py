"""Everything that can be configured, as typed models. ``config.load`` turns a TOML file into a ``Settings``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, StrictBool, StrictFloat, StrictInt, field_serializer

from config.base import Model
from config.fields import FieldMapping
from config.integrations import Carrier, Metrics, Sentry, Subscriber, Web
from config.policy import Policy
from config.redact import without_secrets
from config.retention import Retention
from config.triggers import Trigger
from config.types import (
    E164,
    BrokerUrl,
    ConfigPath,
    Duration,
    FromFile,
    HttpUrl,
    RedisUrl,
    Region,
    Schedule,
    Secret,
    StoreUrl,
    TimeZone,
    Token,
    Uid,
    one_or_many,
)

DEFAULT_API_URL = "https://public-api.virtualtext.com"
DEFAULT_CREATE_URL = "https://virtualtext-txb.textable.app"

Options = TypeVar("Options", bound=BaseModel)


class Account(Model):
    """One VirtualText user: whose contacts are written and in whose name texts go out."""

    uid: Uid = Field(
        description="The account uid, the half before the colon of the API credential.",
        examples=[{"env": "VTSYNC_UID"}],
    )
    token: Token = Field(
        description="The access token, the half after the colon. Never written in the file itself.",
        examples=[{"env": "VTSYNC_TOKEN"}],
    )
    from_number: E164 = Field(
        description="The VirtualText number that texts are sent from, E.164.", examples=["+14155550100"]
    )
    api_url: HttpUrl = Field(
        DEFAULT_API_URL, description="Base URL of every call but create. Set it together with `create_url`."
    )
    create_url: HttpUrl = Field(DEFAULT_CREATE_URL, description="Base URL of create contact.")
    allow_http: StrictBool = Field(
        False, description="Accept `http://` base URLs that leave this machine, so that the token travels in clear."
    )
    connect_timeout: StrictFloat = Field(5.0, gt=0, le=60, description="Seconds to wait for a connection.")
    read_timeout: StrictFloat = Field(
        40.0,
        gt=0,
        le=300,
        description="Seconds to wait for an answer. The platform itself gives up after 30, so at least 31.",
    )
    concurrency: StrictInt = Field(16, ge=1, le=200, description="Requests in flight at once, a process.")
    max_in_flight: StrictInt | None = Field(
        None, ge=1, le=10_000, description="Requests in flight at once, the whole fleet. Left out: no limit."
    )
    requests_per_second: StrictFloat | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Requests a second, the whole fleet. Left out: as fast as it goes, until the platform answers 429.",
    )
    creates_per_second: StrictFloat | None = Field(
        None, gt=0, le=10_000, description="Contacts created a second, the whole fleet; they count as requests, too."
    )
    updates_per_second: StrictFloat | None = Field(
        None, gt=0, le=10_000, description="Contacts updated a second, likewise."
    )
    texts_per_second: StrictFloat | None = Field(
        None, gt=0, le=10_000, description="Texts sent or recorded a second, likewise."
    )
    settle_after: Duration = Field(
        timedelta(seconds=60),
        description="How long after a lost create the contact list is asked for it; the list lags behind.",
    )
    time_zone: TimeZone | None = Field(
        None,
        description="Where this account's people are, IANA name. Used where neither the CRM nor the number says more.",
        examples=["America/New_York"],
    )
    relay_secret: Secret | None = Field(
        None,
        description="Last part of the Relay URL, at least 24 characters. Left out: no Relay events are taken.",
        examples=[{"env": "VTSYNC_RELAY_SECRET"}],
    )


class PropertyRule(Model):
    """A CRM field, and the values of it that mean yes."""

    field: str = Field(description="The CRM field.", examples=["sms_consent"])
    values: Annotated[tuple[str, ...], one_or_many()] = Field(
        ("yes", "true", "1", "y", "on", "x"), description="Values that mean yes; upper and lower case are alike."
    )


class Connection(Model):
    """One CRM as one account sees it."""

    adapter: str = Field(description="The adapter's name, see `vtsync adapters`.", examples=["csv"])
    account: str = Field(description="The name of an account above.", examples=["main"])
    schedule: Schedule | None = Field(
        None,
        description='"15m", "1h", or a cron line such as "*/15 8-18 * * 1-5" (UTC). Left out: only by hand.',
        examples=["15m"],
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="The adapter's own options, see `vtsync adapters`.",
        examples=[{"path": "contacts.csv"}],
    )
    fields: FieldMapping = Field(default_factory=FieldMapping, description="Which CRM fields hold what.")
    default_region: Region | None = Field(
        None,
        description="Country of numbers written without a country code. Left out: such numbers are rejected.",
        examples=["US"],
    )
    clear_empty: StrictBool = Field(False, description="An emptied CRM field also empties it in VirtualText.")
    priority: StrictInt = Field(
        100,
        ge=0,
        le=1_000_000,
        description="Where several CRM records share one phone, the connection with the lowest value wins.",
    )
    max_missing_share: StrictFloat = Field(
        0.2,
        ge=0,
        le=1,
        description="Refuse to take records for deleted when more than this share of them is suddenly missing.",
    )
    consent: PropertyRule | None = Field(
        None, description="Only people whose CRM record says so may be texted.", examples=[{"field": "sms_consent"}]
    )
    do_not_text: PropertyRule | None = Field(
        None, description="People whose CRM record says so are never texted.", examples=[{"field": "do_not_text"}]
    )
    owner_numbers: dict[str, E164] = Field(
        default_factory=dict,
        description="Which number to send from, by the record's owner (see `fields.owner`).",
        examples=[{"Jane Doe": "+14155550101"}],
    )
    log_messages: StrictBool = Field(
        False, description="Write each text, sent and received, to its CRM record. The adapter must be able to."
    )
    report_opt_outs: StrictBool = Field(
        False, description="Tell the CRM record when its person opts out or in again. The adapter must be able to."
    )
    shared_number: Literal["all", "none"] = Field(
        "all", description="Where several records share a number: write to all of them, or to none."
    )
    enabled: StrictBool = Field(True, description="`false`: not synced by schedule. It is still checked.")

    @field_serializer("options")
    def _options_without_secrets(self, options: dict[str, Any]) -> Any:
        return without_secrets(options)


class Store(Model):
    """Where mappings and intents are kept."""

    url: StoreUrl | None = Field(
        None,
        description=(
            "SQLAlchemy URL, `sqlite:///...` or `postgresql+psycopg://...`. Written out only if it holds no password. "
            "Left out: SQLite in `data_dir`."
        ),
        examples=[{"env": "VTSYNC_STORE_URL"}],
    )


class Broker(Model):
    """How workers hear that there may be work."""

    url: BrokerUrl | None = Field(
        None,
        description=(
            "`redis://`, `rediss://`, `sentinel://`, `amqp://` or `amqps://` URL. Written out only if it holds no"
            " password. Left out: files in `data_dir`, for one machine."
        ),
        examples=["redis://127.0.0.1:6379/0"],
    )
    result_url: RedisUrl | None = Field(
        None,
        description=(
            "The Redis that task results are kept in. Left out: the Redis broker itself, or files in `data_dir`; with"
            " RabbitMQ they go back to who asked."
        ),
        examples=["redis://127.0.0.1:6379/1"],
    )
    limits_url: RedisUrl | None = Field(
        None,
        description=(
            "The Redis that the fleet counts its requests in. Left out: the broker, where it is Redis; else each"
            " process counts for itself."
        ),
    )


QueueName: TypeAlias = Literal["intake", "sync", "push", "messages", "records", "inbox", "forward"]


class WorkerSettings(Model):
    """One worker process."""

    concurrency: StrictInt = Field(8, ge=1, le=200, description="Tasks run at once, in threads; at least 6 are run.")
    sweep_every: Duration = Field(
        timedelta(seconds=10), description="How often due schedules and work that was left behind are looked for."
    )
    events: StrictBool = Field(
        False,
        description="Tell Celery's monitors, such as Flower, of every task, and obey them. Needs Redis or RabbitMQ.",
    )
    lease: Duration = Field(
        timedelta(seconds=30),
        description=(
            "A worker that has vanished or stands still in the middle of a sync is replaced after this long; one whose"
            " CRM says nothing for longer than `time_limit`, too."
        ),
    )
    time_limit: Duration = Field(
        timedelta(minutes=30), description="A task stops cleanly after this long and goes on in the next one."
    )
    queues: Annotated[tuple[QueueName, ...], one_or_many()] = Field(
        (),
        description=(
            "Take only this work: `intake` (jobs of services), `sync` (also pruning), `push`, `messages`, `records`,"
            " `inbox`, `forward`. Left out: all of it. `vtsync worker --queues` overrides it."
        ),
        examples=[["messages", "intake"]],
    )


class Settings(Model):
    """The whole configuration file."""

    data_dir: ConfigPath = Field(
        Path(".vtsync"),
        validate_default=True,
        description="Where the embedded store and broker keep their files. Relative to this file's folder.",
    )
    accounts: dict[str, Account] = Field(
        default_factory=dict, description="The VirtualText users, each `[accounts.<name>]`."
    )
    connections: dict[str, Connection] = Field(
        default_factory=dict, description="The CRMs, each `[connections.<name>]`."
    )
    triggers: dict[str, Trigger] = Field(
        default_factory=dict, description="The texts that CRM changes call for, each `[triggers.<name>]`."
    )
    carriers: dict[str, Carrier] = Field(
        default_factory=dict, description="Carrier accounts whose texts are recorded, each `[carriers.<name>]`."
    )
    subscribers: dict[str, Subscriber] = Field(
        default_factory=dict, description="Services that hear of texts, each `[subscribers.<name>]`."
    )
    policy: Policy = Field(default_factory=Policy, description="What keeps people from being texted by surprise.")
    web: Web = Field(default_factory=Web, description="The HTTP side, `vtsync web`.")
    retention: Retention = Field(default_factory=Retention, description="How long what is over is kept.")
    metrics: Metrics = Field(default_factory=Metrics, description="Where Prometheus may ask.")
    sentry: Sentry = Field(default_factory=Sentry, description="Error reports.")
    store: Store = Field(default_factory=Store, description="Where mappings and intents are kept.")
    broker: Broker = Field(default_factory=Broker, description="How workers hear that there may be work.")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="One worker process.")

    _file: FromFile | None = PrivateAttr(None)

    def model_post_init(self, context: Any) -> None:
        """Remember which folder relative paths in adapter options start from."""
        self._file = context if isinstance(context, FromFile) else None

    @property
    def file_context(self) -> FromFile | None:
        """The file that these settings come from; None for settings built in code."""
        return self._file

    def database_url(self) -> str:
        """The store's SQLAlchemy URL, with secrets."""
        if self.store.url is not None:
            return self.store.url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'vtsync.sqlite3').absolute()}"

    def adapter_options(self, connection: str, model: type[Options]) -> Options:
        """The connection's options as its adapter's model, paths and secrets resolved. Raises ValidationError."""
        return model.model_validate(self.connections[connection].options, context=self._file)
