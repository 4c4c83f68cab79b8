"""Everything that can be configured, as typed models. ``config.load`` turns a TOML file into a ``Settings``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StrictBool, StrictFloat, StrictInt, field_serializer

from config.fields import FieldMapping
from config.shown import without_secrets
from config.types import (
    E164,
    BrokerUrl,
    ConfigPath,
    Duration,
    FromFile,
    HttpUrl,
    Region,
    Schedule,
    StoreUrl,
    Token,
    Uid,
    one_or_many,
)

DEFAULT_API_URL = "https://public-api.virtualtext.com"
DEFAULT_CREATE_URL = "https://virtualtext-txb.textable.app"

Options = TypeVar("Options", bound=BaseModel)


class Model(BaseModel):
    """Base: immutable, an unknown key is an error, and validation errors never quote what was given."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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
    settle_after: Duration = Field(
        timedelta(seconds=60),
        description="How long after a lost create the contact list is asked for it; the list lags behind.",
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
    enabled: StrictBool = Field(True, description="`false`: not synced by schedule. It is still checked.")

    @field_serializer("options")
    def _options_without_secrets(self, options: dict[str, Any]) -> Any:
        return without_secrets(options)


class Trigger(Model):
    """A text that a change in the CRM calls for."""

    connections: Annotated[tuple[str, ...], one_or_many()] = Field(
        description="Names of connections it watches.", examples=["crm", ["crm", "shop"]]
    )
    on: Literal["created", "changed"] = Field(
        description="A record that is new, or a field that changes.", examples=["changed"]
    )
    field: str | None = Field(
        None, description="For `changed`, where it is required: the CRM field to watch.", examples=["status"]
    )
    from_value: str | None = Field(
        None, alias="from", description="For `changed`: only from this value.", examples=["Ordered"]
    )
    to_value: str | None = Field(None, alias="to", description="For `changed`: only to this value.", examples=["Ready"])
    message: str = Field(
        description="The text, a Liquid template over the CRM record's fields.",
        examples=["Hi {{ first_name }}, your order is ready."],
    )
    media: Annotated[tuple[HttpUrl, ...], one_or_many()] = Field(
        (), description="Public URLs of pictures to send.", examples=["https://example.com/map.png"]
    )
    from_number: E164 | None = Field(
        None, description="Send from this number instead of the account's.", examples=["+14155550101"]
    )
    expires_after: Duration | None = Field(
        None, description="Do not send later than this after the change.", examples=["4h"]
    )
    enabled: StrictBool = Field(True, description="`false`: sends nothing.")


class Policy(Model):
    """What keeps people from being texted by surprise."""

    blast_limit: StrictInt = Field(
        25,
        ge=0,
        le=1_000_000,
        description="When one sync would text more people than this, every text waits for approval.",
    )
    expires_after: Duration = Field(
        timedelta(hours=24), description="A text not sent by then is dropped, unless its trigger or job says otherwise."
    )


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
            "`redis://`, `rediss://`, `amqp://` or `amqps://` URL. Written out only if it holds no password. "
            "Left out: files in `data_dir`, for one machine."
        ),
        examples=["redis://127.0.0.1:6379/0"],
    )
    result_url: BrokerUrl | None = Field(
        None,
        description="Where task results are kept. Left out: the Redis broker itself, or files in `data_dir`.",
        examples=["redis://127.0.0.1:6379/1"],
    )


class WorkerSettings(Model):
    """One worker process."""

    concurrency: StrictInt = Field(8, ge=1, le=200, description="Tasks run at once, in threads.")
    sweep_every: Duration = Field(
        timedelta(seconds=10), description="How often due schedules and work that was left behind are looked for."
    )
    lease: Duration = Field(
        timedelta(seconds=30),
        description="A worker that has vanished in the middle of a sync is replaced after this long.",
    )
    time_limit: Duration = Field(
        timedelta(minutes=30), description="A task stops cleanly after this long and goes on in the next one."
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
    policy: Policy = Field(default_factory=Policy, description="What keeps people from being texted by surprise.")
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
