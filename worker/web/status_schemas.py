"""The answers of ``/v1/status`` and ``/v1/alerts``."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from worker.web.connection_schemas import ConnectionOut, PauseState
from worker.web.operating_schemas import EXAMPLE_BATCH, OperatingOut


class AttentionOut(OperatingOut):
    """Something that waits for a person, with the command to begin with."""

    what: str = Field(examples=["3 texts of one sync waiting for approval"])
    count: int = Field(examples=[3])
    oldest: datetime | None = Field(description="Since when the oldest waits, if that is known.")
    command: str = Field(examples=[f"vtsync approve {EXAMPLE_BATCH}"])
    code: str = Field(description="The stable name of what waits.", examples=["approval_needed"])
    docs: str = Field(description="The page that explains it.", examples=["docs/findings.md#approval_needed"])


class AccountOut(OperatingOut):
    """An account's contacts and messages by state."""

    name: str = Field(examples=["main"])
    contacts: dict[str, int] = Field(examples=[{"synced": 1040}])
    messages: dict[str, int] = Field(examples=[{"accepted": 310, "held": 3}])
    stopped: str = Field(description="Why it is stopped; empty if it is not.", examples=[""])
    paused_until: datetime | None
    pause_reason: str = Field(examples=[""])
    contact_list: str = Field(description="Why VirtualText's contact list cannot be read; or empty.", examples=[""])
    mode: str = Field(examples=["live"])


class JobsOut(OperatingOut):
    """Jobs in the broker; null where it does not tell, or cannot be used (`error`)."""

    waiting: int | None = Field(examples=[0])
    in_progress: int | None = Field(examples=[0])
    left_behind: int | None = Field(examples=[0])
    error: str = Field(examples=[""])


class UnusedFileOut(OperatingOut):
    """A changed configuration file that the running processes cannot use."""

    place: str = Field(examples=["/etc/vtsync/vtsync.toml on web-1"])
    problem: str = Field(examples=['there is no key "acounts"'])
    since: datetime


class StatusOut(OperatingOut):
    """What `vtsync status --json` says. A key for some accounts gets their part, without the fleet's."""

    connections: list[ConnectionOut]
    accounts: list[AccountOut]
    test_mode: list[str] = Field(description="A sentence for each account in test mode.", examples=[[]])
    attention: list[AttentionOut] = Field(description="What waits for a person.")
    configuration: list[UnusedFileOut]
    paused_triggers: dict[str, PauseState] = Field(description="The triggers that are paused.", examples=[{}])
    jobs: JobsOut | None = Field(description="Null for a key of some accounts.")


class AlertOut(OperatingOut):
    """An open alert."""

    kind: str = Field(examples=["approval_needed"])
    urgent: bool = Field(examples=[False])
    found: str = Field(examples=["3 texts of one sync waiting for approval"])
    remedy: str = Field(examples=[f"`vtsync approve {EXAMPLE_BATCH}`"])
    since: datetime
    told_at: datetime | None = Field(description="When the channels were told; null: not yet.")


class AlertList(OperatingOut):
    """The open alerts, oldest first."""

    alerts: list[AlertOut]
