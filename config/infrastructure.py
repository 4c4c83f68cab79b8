"""The `[store]`, `[broker]` and `[worker]` tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictBool, StrictInt

from config.base import Model
from config.types import BrokerUrl, Duration, EncryptionKey, RedisUrl, StoreUrl, one_or_many


class Store(Model):
    """The database of the sync: which record is which contact, which texts are to be sent, and what was sent."""

    url: StoreUrl | None = Field(
        None,
        description=(
            "SQLAlchemy URL, `sqlite:///...` or `postgresql+psycopg://...`. Plain text only if it holds no password."
            " If not set: SQLite in `data_dir`."
        ),
        examples=[{"env": "VTSYNC_STORE_URL"}],
    )
    grant_key: EncryptionKey | None = Field(
        None,
        description=(
            "Encrypts the credentials that `vtsync connect` gets from CRMs. `openssl rand -base64 32` makes a key. Of"
            " several keys, with commas between them, the first encrypts and all decrypt. See [connect.md](connect.md)."
            " Keys for the hashes of forgotten numbers are derived from it, see [privacy.md](privacy.md)."
        ),
        examples=[{"env": "VTSYNC_GRANT_KEY"}],
    )
    encryption_key: EncryptionKey | None = Field(
        None,
        description=(
            "Encrypts texts, names, emails and CRM properties in the database. `openssl rand -base64 32` makes a key."
            " Of several keys, with commas between them, the first encrypts and all decrypt. Read"
            " [operations.md](operations.md#encryption-of-content) before you set it."
        ),
        examples=[{"env": "VTSYNC_STORE_KEY"}],
    )
    encrypt: StrictBool = Field(
        True,
        description=(
            "Whether `encryption_key` encrypts. Set it to false to switch encryption off: new rows are stored in clear,"
            " old ones are still read, and `vtsync encrypt` decrypts them."
        ),
    )


class Broker(Model):
    """The message broker that hands tasks to the workers."""

    url: BrokerUrl | None = Field(
        None,
        description=(
            "`redis://`, `rediss://`, `sentinel://`, `amqp://` or `amqps://` URL. Plain text only if it holds no"
            " password. If not set: files in `data_dir`, for one machine."
        ),
        examples=["redis://127.0.0.1:6379/0"],
    )
    result_url: RedisUrl | None = Field(
        None,
        description=(
            "The Redis that keeps task results. If not set: the Redis broker itself, or files in `data_dir`; with"
            " RabbitMQ, results go straight back to the caller."
        ),
        examples=["redis://127.0.0.1:6379/1"],
    )
    limits_url: RedisUrl | None = Field(
        None,
        description=(
            "The Redis that counts the fleet's requests for the rate limits. If not set: the broker, if it is Redis;"
            " otherwise each process counts its own requests."
        ),
    )
    celery_queue: StrictBool = Field(
        True,
        description=(
            "Take jobs from Celery's default queue, `celery`, as well as from `vtsync.intake`. Set it to false if"
            " another Celery application must share the RabbitMQ vhost or the Redis database; services then send to"
            " `vtsync.intake`."
        ),
    )
    take_back_after: Duration = Field(
        timedelta(seconds=30),
        description=(
            "With a Redis broker: give the jobs of a worker that was killed to others when it has shown no sign of life"
            " for this long. RabbitMQ does so at once, and files within seconds."
        ),
    )


QueueName: TypeAlias = Literal["intake", "sync", "push", "messages", "records", "inbox", "forward"]


class WorkerSettings(Model):
    """One worker process."""

    concurrency: StrictInt = Field(
        8, ge=1, le=200, description="Tasks that run at once, in threads. At least 6 threads are started."
    )
    tick_every: Duration = Field(
        timedelta(seconds=10),
        description="How often to look for schedules that are due and for work that was left behind.",
    )
    events: StrictBool = Field(
        False,
        description=(
            "Send task events to Celery monitors such as Flower, and accept their commands. Needs Redis or RabbitMQ."
        ),
    )
    lease: Duration = Field(
        timedelta(seconds=30),
        description=(
            "Replace a worker after this long if it has vanished or is stuck in the middle of a sync, or if its CRM"
            " has not responded for longer than `time_limit`."
        ),
    )
    time_limit: Duration = Field(
        timedelta(minutes=30), description="A task stops cleanly after this long and continues in a new task."
    )
    queues: Annotated[tuple[QueueName, ...], one_or_many()] = Field(
        (),
        description=(
            "Take only this work: `intake` (jobs of other services), `sync` (also retention), `push`, `messages`,"
            " `records`, `inbox`, `forward`. If not set: all of it. `vtsync worker --queues` overrides it."
        ),
        examples=[["messages", "intake"]],
    )
