"""The `[connections.<name>]` tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, field_serializer

from config.base import Model
from config.fields import FieldMapping
from config.policy import PolicyOverride
from config.redact import redact_options
from config.types import E164, Duration, Region, Schedule, Secret, one_or_many


class PropertyRule(Model):
    """A CRM field, and the values of it that mean yes."""

    field: str = Field(description="The CRM field.", examples=["sms_consent"])
    values: Annotated[tuple[str, ...], one_or_many()] = Field(
        (),
        description=(
            "Values that mean yes; case and punctuation do not matter. If not set: for `consent` the words for yes, for"
            " `do_not_text` everything but the words for no (see `docs/policy.md`)."
        ),
        examples=["Do not contact"],
    )


class Connection(Model):
    """A CRM whose records are synced to one account."""

    adapter: str = Field(description="The name of the adapter. `vtsync adapters` lists them.", examples=["csv"])
    account: str = Field(description="The name of an account of this file.", examples=["main"])
    schedule: Schedule | None = Field(
        None,
        description=(
            '"15m", "1h", or a cron line such as "*/15 8-18 * * 1-5" (UTC). If not set: only synced by `vtsync sync`.'
        ),
        examples=["15m"],
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="The adapter's own options. `vtsync adapters NAME` lists them.",
        examples=[{"path": "contacts.csv"}],
    )
    fields: FieldMapping = Field(default_factory=FieldMapping, description="Which CRM fields hold what.")
    default_region: Region | None = Field(
        None,
        description="Country of phone numbers that are written without a country code, and of dates and amounts such "
        "as 03/04/2027 and 1,234. If not set: such phone numbers are rejected, and such dates and amounts are not "
        "read.",
        examples=["US"],
    )
    clear_empty: StrictBool = Field(
        False,
        description=(
            "When a CRM field is emptied, also empty the field in VirtualText. A field that is not there any more"
            " empties nothing, and what the CRM never held is kept."
        ),
    )
    priority: StrictInt = Field(
        100,
        ge=0,
        le=1_000_000,
        description="When several CRM records share a phone number, the connection with the lowest value wins.",
    )
    max_missing_share: StrictFloat = Field(
        0.2,
        ge=0,
        le=1,
        description="When more than this share of the records is suddenly missing, do not treat them as deleted.",
    )
    reconcile: Duration | Literal["never"] = Field(
        timedelta(days=1),
        description=(
            "If the CRM does not report deletions: how often to compare its records with the stored ones, or `never`."
        ),
        examples=["1d", "never"],
    )
    store_fields: Literal["wanted", "all"] = Field(
        "wanted",
        description="Store only the CRM fields that this file uses, or all of them.",
    )
    consent: PropertyRule | None = Field(
        None,
        description="Only text people whose CRM record says yes here. If the CRM does not have the field: texts wait.",
        examples=[{"field": "sms_consent"}],
    )
    do_not_text: PropertyRule | None = Field(
        None,
        description="Never text people whose CRM record says yes here. If the CRM does not have the field: texts wait.",
        examples=[{"field": "do_not_text"}],
    )
    owner_numbers: dict[str, E164] = Field(
        default_factory=dict,
        description="The number to send from, by the record's owner (see `fields.owner`).",
        examples=[{"Jane Doe": "+14155550101"}],
    )
    log_messages: StrictBool = Field(
        False, description="Write each text, sent or received, to its CRM record. Needs an adapter that can write."
    )
    report_opt_outs: StrictBool = Field(
        False,
        description="Write to the CRM record when a person opts out or in again. Needs an adapter that can write.",
    )
    shared_number: Literal["all", "none"] = Field(
        "all", description="When several records share a number, write to all of them or to none."
    )
    webhook_secret: Secret | None = Field(
        None,
        description=(
            "Last part of the URL at which the CRM reports changes, at least 24 characters; the sync is then due at"
            " once. See [connect.md](connect.md)."
        ),
        examples=[{"env": "VTSYNC_CRM_WEBHOOK_SECRET"}],
    )
    policy: PolicyOverride | None = Field(
        None,
        description=(
            "Keys of `[policy]` that are different for texts about the records of this connection. See"
            " [policy.md](policy.md)."
        ),
    )
    enabled: StrictBool = Field(True, description="`false`: do not sync by schedule. The connection is still checked.")

    @field_serializer("options")
    def _options_without_secrets(self, options: dict[str, Any]) -> Any:
        return redact_options(options)
