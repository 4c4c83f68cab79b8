"""The options of the singer adapter."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from config.redact import is_secret_name
from config.types import ConfigPath, Duration, FromFile, in_folder, invalid_value, one_or_many, resolve_reference
from crm_adapters.base import CONTACT

DELETED = ("_sdc_deleted_at", "IsDeleted", "is_deleted")
"""Where taps say that a record is deleted: the Singer SDK and several databases, Salesforce, Pipedrive."""


def _tap_config(value: object, info: ValidationInfo) -> object:
    """Resolve the references in a tap's configuration, and keep the whole of it secret."""
    if not isinstance(value, dict):
        return value
    resolved = _resolved(value, info)
    return SecretStr(json.dumps(resolved, default=_written))


def _written(value: object) -> str:
    """Write a TOML date or time as taps expect it: ``2020-01-01T00:00:00Z``."""
    text = value.isoformat() if isinstance(value, datetime | date | time) else str(value)
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _resolved(value: Any, info: ValidationInfo, name: str = "") -> Any:
    if isinstance(value, dict):
        if set(value) in ({"env"}, {"file"}):
            return resolve_reference(value, info.context)
        return {key: _resolved(item, info, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, info, name) for item in value]
    if isinstance(value, str) and value and is_secret_name(name) and isinstance(info.context, FromFile):
        message = f'has a secret in "{name}", where others can read and copy it'
        raise invalid_value(message, f'write {name} = {{ env = "NAME" }}')
    return value


TapConfig: TypeAlias = Annotated[
    SecretStr, BeforeValidator(_tap_config), WithJsonSchema({"type": "object", "additionalProperties": True})
]
"""A tap's configuration: a table. Secrets in it are references: ``{ env = "NAME" }`` or ``{ file = "path" }``."""


def _command(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """A relative path starts at the configuration file's folder, because the tap runs in a folder of its own."""
    if value and "/" in value[0]:
        return (str(in_folder(value[0], info.context)), *value[1:])
    return value


Command: TypeAlias = Annotated[tuple[str, ...], one_or_many(), AfterValidator(_command)]


class BelongingStream(BaseModel):
    """Another stream of the tap, whose records belong to people."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="What a record is, such as `deal`.", examples=["deal"])
    person: str = Field(description="The field with the id of the person's record.", examples=["contact_id"])
    key: Annotated[tuple[str, ...], one_or_many()] = Field(
        (), description="The fields that identify a record, if the tap does not say so."
    )
    replication_key: str | None = Field(None, description="As `replication_key` of the connection, for this stream.")

    @field_validator("kind")
    @classmethod
    def _is_no_person(cls, value: str) -> str:
        if value == CONTACT:
            raise invalid_value(f'cannot be "{CONTACT}"', "for a second stream of people, add a connection")
        return value


class SingerOptions(BaseModel):
    """Which tap to run, and which of its streams to read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tap: Command = Field(
        min_length=1,
        description="The command of the tap: the path of its program, or a list with arguments.",
        examples=["/opt/taps/hubspot/bin/tap-hubspot"],
    )
    config: TapConfig = Field(
        default_factory=lambda: SecretStr("{}"),
        description="The tap's own configuration, a table. Secrets in it are references.",
        examples=[{"access_token": {"env": "HUBSPOT_TOKEN"}, "start_date": "2020-01-01T00:00:00Z"}],
    )
    stream: str = Field(description="The stream whose records are people.", examples=["contacts"])
    belonging: dict[str, BelongingStream] = Field(
        default_factory=dict,
        description="Other streams, by name, whose records belong to people.",
        examples=[{"deals": {"kind": "deal", "person": "contact_id"}}],
    )
    replication: Literal["incremental", "full"] = Field(
        "incremental",
        description="`incremental`: the tap keeps a state and then writes only what changed. `full`: it writes "
        "everything in every run.",
    )
    replication_key: str | None = Field(
        None,
        description="The field by which the tap finds what changed, for taps that do not choose it themselves, such "
        'as those of databases. Not for `replication = "full"`.',
        examples=["updated_at"],
    )
    key: Annotated[tuple[str, ...], one_or_many()] = Field(
        (), description="The fields that identify a person's record, if the tap does not say so (`key_properties`)."
    )
    updated_at: str | None = Field(None, description="The field with the time of change, if there is one.")
    deleted: Annotated[tuple[str, ...], one_or_many()] = Field(
        DELETED, description="Fields that are filled, or true, when a record is deleted."
    )
    catalog: ConfigPath | None = Field(
        None,
        description="A catalog file, if the tap's own discovery is too slow. If not set: `--discover` in each run.",
    )
    catalog_flag: Literal["--catalog", "--properties"] = Field(
        "--catalog", description="How the tap takes its catalog. Old taps only know `--properties`."
    )
    environment: tuple[str, ...] = Field(
        (), description="Names of environment variables that the tap gets, besides PATH, HOME, proxies and the like."
    )
    timeout: Duration = Field(
        timedelta(minutes=10),
        description="Stop the tap when it writes nothing for this long, not even to its log.",
    )
    page_size: int = Field(1000, ge=1, le=10_000, description="Records per transaction.")

    @field_validator("belonging")
    @classmethod
    def _kinds_differ(cls, value: dict[str, BelongingStream]) -> dict[str, BelongingStream]:
        kinds = [one.kind for one in value.values()]
        if len(set(kinds)) < len(kinds):
            raise invalid_value("has two streams of the same kind", "give each stream a kind of its own")
        return value
