"""The request bodies and answers of ``/v1/connections``."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from worker.web.operating_schemas import OperatingBody, OperatingOut


class SyncBody(OperatingBody):
    """How to read a connection."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"full": False}]})

    full: bool = Field(False, strict=True, description="Read every record, not only changes.", examples=[False])
    accept_removals: bool = Field(
        False,
        strict=True,
        description="Accept that records are missing, although they are so many that the run would be refused.",
        examples=[False],
    )


class PauseState(OperatingOut):
    """Since when something is paused, by whom and why."""

    since: datetime
    actor: str = Field(description="Who paused it.", examples=["key shop"])
    reason: str = Field(examples=["the CRM is being moved"])


class ConnectionOut(OperatingOut):
    """A connection with its last and next run."""

    name: str = Field(examples=["crm"])
    account: str = Field(examples=["main"])
    adapter: str = Field(examples=["hubspot"])
    schedule: str = Field(description="`by hand` or `disabled` if no run starts by itself.", examples=["15m"])
    state: str = Field(description="Of the last run; `never run` before it.", examples=["done"])
    started_at: datetime | None
    seen: int = Field(examples=[1042])
    changed: int = Field(examples=[3])
    rejected_now: int = Field(description="Records that cannot be used as they are.", examples=[2])
    next_run_at: datetime | None
    error: str = Field(examples=[""])
    note: str = Field(description="Why no run starts at the moment; empty if one may.", examples=[""])
    budgets: list[str] = Field(description="What is left of the CRM's daily requests.", examples=[[]])
    pause: PauseState | None = Field(description="Null: it is not paused.")


class ConnectionList(OperatingOut):
    """The configured connections."""

    connections: list[ConnectionOut]


class RunOut(OperatingOut):
    """One run of a connection."""

    id: int = Field(examples=[318])
    state: str = Field(examples=["done"])
    started_at: datetime
    finished_at: datetime | None
    seen: int = Field(examples=[1042])
    unchanged: int = Field(examples=[1039])
    added: int = Field(examples=[1])
    changed: int = Field(examples=[2])
    removed: int = Field(examples=[0])
    rejected: int = Field(examples=[0])
    messages: int = Field(description="Texts that it made.", examples=[1])
    error: str = Field(examples=[""])


class RunList(OperatingOut):
    """Runs of a connection, newest first."""

    runs: list[RunOut]
    next: int | None = Field(description="The `before` of the next page; null on the last page.", examples=[None])


class RejectedOut(OperatingOut):
    """A CRM record that cannot be used as it is."""

    connection: str = Field(examples=["crm"])
    key: str = Field(description="Its id in the CRM.", examples=["1042"])
    where: str = Field(examples=["page 3"])
    reason: str = Field(examples=["has no phone number"])
    excerpt: str = Field(examples=[""])
    since: datetime
    link: str = Field(description="Its address in the CRM, if that is known.", examples=[""])


class RejectedList(OperatingOut):
    """Rejected records, oldest first."""

    rejected: list[RejectedOut]


class SyncAsked(OperatingOut):
    """A worker will read the connection."""

    connection: str = Field(examples=["crm"])
    full: bool = Field(examples=[False])


class UnreadValueOut(OperatingOut):
    """A value because of which a trigger does not text about a record."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])
    trigger: str = Field(examples=["reminder"])
    field: str = Field(examples=["visit"])
    value: str = Field(examples=["soon"])
    reason: str = Field(examples=["it is no date"])


class UnreadList(OperatingOut):
    """Records with values that triggers cannot read."""

    unread: list[UnreadValueOut]
