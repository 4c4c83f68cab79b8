"""What the store holds about people: every table and column, in one place.

``find`` says which rows belong to a person, ``erase`` deletes them, ``export`` shows them, and docs/privacy.md is
partly generated from here. **A new column is one word, a new table one entry**; a test fails until it is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal, TypeAlias

from sqlalchemy import Table

from worker.store import tables as t


class Holds(StrEnum):
    """What a column can hold about a person."""

    IDENTITY = "identity"
    """Their number, name or email."""
    CONTENT = "content"
    """What was said, or what a CRM says about them."""
    LINK = "link"
    """An id by which they are found here, in the CRM or in VirtualText."""
    FACT = "fact"
    """What happened, and when: states, times, counts, rules."""
    WORK = "work"
    """How far the work on the row is. It is left out of exports."""
    STAFF = "staff"
    """A person who works with vtsync, not one who is texted."""
    NOTHING = "nothing"
    """Nothing about a person."""


Owner: TypeAlias = Literal[
    "phone", "contact", "message", "record", "message or reply", "phone or contact", "phone or record", "target"
]
"""How a row of a table belongs to a person, see ``find.belongs``."""


@dataclass(frozen=True)
class PersonalTable:
    """One table: which of its rows are about a person, and what happens to them.

    ``owner``: how rows belong to a person, by the columns ``by``; None: none do. ``mentions``: columns that may name
    the number of a person whom the row does not belong to; what is done about it is in ``on_mention``: the row is
    deleted, the number is replaced in it, or the row is named to a person, because it is about somebody else.
    ``section``: the part of an export that shows the rows. ``account``: the
    column that says whose rows they are, for keys of some accounts: "" if their owner decides, None if such keys do
    not get them.
    """

    table: Table
    about: str
    columns: dict[Holds, str]
    owner: Owner | None = None
    by: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    on_mention: Literal["delete", "replace", "name"] = "replace"
    section: str = ""
    account: str | None = None
    kept: str = "as long as vtsync is used"
    readers: str = "whoever can read the database"
    json: tuple[str, ...] = field(default=())
    """Columns that hold JSON as text."""

    @cached_property
    def holds(self) -> dict[str, Holds]:
        """What each column holds, by its name."""
        return {name: what for what, names in self.columns.items() for name in names.split()}


_WORK = "lease_owner lease_until"
_EXPLAIN = "`vtsync explain`, `vtsync export`; keys with `people:read`"
_MESSAGES = f"{_EXPLAIN} or `messages:read`; `vtsync messages`"
_CONTACTS = f"{_EXPLAIN} or `contacts:read`"

TABLES = (
    # Rows about people, in the order in which they are erased: what others are found by comes last.
    PersonalTable(
        t.delivery,
        "events on their way to CRMs and services, with the words of texts",
        {
            Holds.IDENTITY: "payload",
            Holds.LINK: "event_id target receiver",
            Holds.FACT: "id type created_at state due_at attempts last_error url",
            Holds.WORK: _WORK,
        },
        owner="target",
        by=("target",),
        mentions=("payload", "last_error"),
        on_mention="delete",
        section="deliveries",
        kept="`retention.events` after they were accepted; given up: until `vtsync forwards`",
        readers=f"{_EXPLAIN}; `vtsync forwards`; the receivers",
        json=("payload",),
    ),
    PersonalTable(
        t.public_event,
        "events that happened just now, until there is a delivery for each receiver",
        {Holds.IDENTITY: "phone payload", Holds.LINK: "id message_id", Holds.FACT: "type at account"},
        owner="phone",
        by=("phone",),
        mentions=("payload",),
        on_mention="delete",
        section="public_events",
        account="account",
        kept="seconds",
        readers=_EXPLAIN,
        json=("payload",),
    ),
    PersonalTable(
        t.inbox_event,
        "events of VirtualText's Relay and of carriers, as they came, without secrets",
        {
            Holds.IDENTITY: "payload numbers",
            Holds.CONTENT: "detail",
            Holds.LINK: "id message_id",
            Holds.FACT: "source name received_at state due_at attempts",
            Holds.WORK: _WORK,
        },
        owner="message or reply",
        by=("message_id",),
        mentions=("payload", "detail", "numbers"),
        on_mention="delete",
        section="received_events",
        kept="`retention.events` after they were processed; failed ones: until a person acts",
        readers=f"{_EXPLAIN}; `vtsync relay`",
        json=("payload",),
    ),
    PersonalTable(
        t.number_review,
        "replies that a person must read, because they may mean STOP",
        {
            Holds.IDENTITY: "phone",
            Holds.CONTENT: "excerpt",
            Holds.LINK: "inbound_id",
            Holds.FACT: "since last_at account",
        },
        owner="phone",
        by=("phone",),
        mentions=("excerpt",),
        section="reviews",
        kept="until `vtsync review`",
        readers=f"{_EXPLAIN}; `vtsync review`",
    ),
    PersonalTable(
        t.review_event,
        "the proof of each review: which reply it was about, who decided and when",
        {
            Holds.IDENTITY: "phone",
            Holds.CONTENT: "detail",
            Holds.LINK: "id",
            Holds.FACT: "at opened account",
            Holds.STAFF: "actor",
        },
        owner="phone",
        by=("phone",),
        mentions=("detail",),
        section="review_history",
        kept="as long as vtsync is used, as proof",
        readers=_EXPLAIN,
    ),
    PersonalTable(
        t.inbound_message,
        "texts that people sent us",
        {
            Holds.IDENTITY: "from_number",
            Holds.CONTENT: "text media",
            Holds.LINK: "id virtualtext_message_id",
            Holds.FACT: "account to_number keyword received_at",
        },
        owner="phone",
        by=("from_number",),
        section="replies",
        account="account",
        kept="`retention.texts`; STOP and START: as long as vtsync is used, as proof",
        readers=_CONTACTS,
        json=("media",),
    ),
    PersonalTable(
        t.message_event,
        "the history of texts: each change, with its reason and who made it",
        {
            Holds.CONTENT: "reason",
            Holds.LINK: "id message_id",
            Holds.FACT: "at from_state to_state attempt",
            Holds.STAFF: "actor",
        },
        owner="message",
        by=("message_id",),
        section="text_history",
        account="",
        kept="`retention.history`",
        readers=_MESSAGES,
    ),
    PersonalTable(
        t.message_metadata,
        "what other services gave to their texts, to find them by",
        {Holds.CONTENT: "value", Holds.LINK: "message_id", Holds.FACT: "key"},
        owner="message",
        by=("message_id",),
        section="text_metadata",
        account="",
        kept="as the content of the text",
        readers=_MESSAGES,
    ),
    PersonalTable(
        t.message,
        "texts to people, and records of texts that other systems sent",
        {
            Holds.IDENTITY: "to_number",
            Holds.CONTENT: "text media reason metadata",
            Holds.LINK: "id contact_id connection external_id batch_id idempotency_key virtualtext_message_id"
            " reference_code carrier_message_id",
            Holds.FACT: "account kind state from_number segments source trigger created_at due_at expires_at attempts"
            " attempted_at unanswered_at echoed_at carrier sent_at urgent approved_at test callback_url",
            Holds.WORK: f"payload_hash body_hash {_WORK}",
        },
        owner="phone or contact",
        by=("to_number", "contact_id"),
        mentions=("text",),
        on_mention="name",
        section="texts",
        account="account",
        kept="content: `retention.texts`; jobs and records: `retention.keys`; that a trigger has texted about a record:"
        " as long as vtsync is used, so that it does not text again",
        readers=_MESSAGES,
        json=("media", "metadata"),
    ),
    PersonalTable(
        t.consent_event,
        "the ledger of consents: what CRMs, people and imports said about texts",
        {
            Holds.IDENTITY: "phone",
            Holds.CONTENT: "words",
            Holds.LINK: "id connection external_id",
            Holds.FACT: "at given_at kind answer source account field",
            Holds.STAFF: "actor",
        },
        owner="phone or record",
        by=("phone", "connection", "external_id"),
        section="consents",
        account="account",
        kept="as long as vtsync is used, as proof",
        readers=_EXPLAIN,
    ),
    PersonalTable(
        t.opt_out_event,
        "the proof of each opt-out: who asked for it, when and how",
        {
            Holds.IDENTITY: "phone",
            Holds.CONTENT: "detail",
            Holds.LINK: "id",
            Holds.FACT: "at opted_out source",
            Holds.STAFF: "actor",
        },
        owner="phone",
        by=("phone",),
        mentions=("detail",),
        section="opt_out_history",
        kept="as long as vtsync is used, as proof",
        readers=_EXPLAIN,
    ),
    PersonalTable(
        t.opt_out,
        "numbers that must not be texted",
        {Holds.IDENTITY: "phone", Holds.CONTENT: "detail", Holds.FACT: "since source account"},
        owner="phone",
        by=("phone",),
        mentions=("detail",),
        section="opt_outs",
        account="account",
        kept="until the person opts in again",
        readers=f"{_CONTACTS}; `vtsync opt-outs`",
    ),
    PersonalTable(
        t.date_plan,
        "when a date trigger is due for a CRM record",
        {Holds.CONTENT: "occurrence", Holds.LINK: "id connection external_id", Holds.FACT: "trigger due_at"},
        owner="record",
        by=("connection", "external_id"),
        section="planned_texts",
        account="",
        kept="until the record's date changes or the record is gone",
        readers=_EXPLAIN,
    ),
    PersonalTable(
        t.record_change,
        "what the earlier versions of CRM records held, for `vtsync triggers backtest`",
        {Holds.CONTENT: "before", Holds.LINK: "id connection external_id", Holds.FACT: "revision at"},
        owner="record",
        by=("connection", "external_id"),
        mentions=("before",),
        on_mention="name",
        section="record_history",
        account="",
        kept="`retention.history`",
        readers=f"{_EXPLAIN}; `vtsync triggers backtest`",
        json=("before",),
    ),
    PersonalTable(
        t.rejected_record,
        "CRM records that cannot be used, with the reason and an excerpt",
        {
            Holds.IDENTITY: "excerpt",
            Holds.CONTENT: "reason",
            Holds.LINK: "id connection key where",
            Holds.FACT: "code since seen_at",
        },
        owner="record",
        by=("connection", "key"),
        mentions=("key", "where", "reason", "excerpt"),
        on_mention="delete",
        section="rejected_records",
        account="",
        kept="until the record can be used or is gone from the CRM",
        readers=f"{_EXPLAIN}; `vtsync status --rejected`",
    ),
    PersonalTable(
        t.remote_contact,
        "VirtualText's contact list, as it was last read",
        {
            Holds.IDENTITY: "phone full_name email",
            Holds.LINK: "virtualtext_id",
            Holds.FACT: "account listed_at",
        },
        owner="phone",
        by=("phone",),
        section="virtualtext_contacts",
        account="account",
        kept="until the list is read again",
        readers=_EXPLAIN,
    ),
    PersonalTable(
        t.contact_event,
        "the history of contacts: records that came and went, changed numbers",
        {Holds.CONTENT: "detail", Holds.LINK: "id contact_id", Holds.FACT: "at kind"},
        owner="contact",
        by=("contact_id",),
        mentions=("detail",),
        on_mention="delete",
        section="contact_history",
        account="",
        kept="`retention.history`",
        readers=_EXPLAIN,
    ),
    PersonalTable(
        t.contact_mapping,
        "copies of CRM records: the fields that the configuration uses, or all (`store_fields`)",
        {
            Holds.IDENTITY: "full_name email",
            Holds.CONTENT: "properties",
            Holds.LINK: "id connection external_id contact_id merged_into person",
            Holds.FACT: "updated_at revision first_seen_at changed_at deleted_at kind",
            Holds.WORK: "record_hash",
        },
        owner="contact",
        by=("contact_id",),
        mentions=("properties",),
        on_mention="name",
        section="crm_records",
        account="",
        kept="as long as the record is in the CRM; afterwards `retention.contacts`",
        readers=_CONTACTS,
        json=("properties",),
    ),
    PersonalTable(
        t.contact,
        "what VirtualText should hold about a number, and what it was last told",
        {
            Holds.IDENTITY: "phone full_name email",
            Holds.CONTENT: "last_error",
            Holds.LINK: "id virtualtext_id former_id",
            Holds.FACT: "account pushed_at push_state next_attempt_at attempts attempted_at created_at missing_checks"
            " missing_at wrong_answers",
            Holds.WORK: f"wanted_hash pushed_hash followed_hash {_WORK}",
        },
        owner="phone",
        by=("phone",),
        section="contacts",
        account="account",
        kept="as long as a CRM has the person; afterwards `retention.contacts`",
        readers=_CONTACTS,
    ),
    PersonalTable(
        t.forgotten,
        "keyed hashes of forgotten numbers and of their CRM records; the number itself only while it is being erased",
        {
            Holds.LINK: "digest subject key_id",
            Holds.IDENTITY: "phone",
            Holds.FACT: "kind at opted_out lifted_at",
            Holds.STAFF: "why actor",
        },
        kept="as long as vtsync is used",
    ),
    # Rows about the work. Their sentences may name a number, which is replaced when it is forgotten.
    PersonalTable(
        t.sync_run,
        "runs of connections, with counts",
        {
            Holds.CONTENT: "error",
            Holds.NOTHING: "id connection state started_at finished_at batch_id seen unchanged added changed removed"
            " rejected messages",
        },
        mentions=("error",),
        kept="`retention.runs`",
        readers="`vtsync status`",
    ),
    PersonalTable(
        t.connection_state,
        "how far a connection has been read; its position may be the id of the last record",
        {
            Holds.LINK: "cursor memory",
            Holds.CONTENT: "notes waits_reason stopped_reason",
            Holds.NOTHING: "connection baseline_at batch_id next_run_at schedule run_id fingerprint listing"
            f" confirmed_at started_at reconciled_at waits_until stopped_at shape {_WORK}",
        },
        mentions=("notes", "waits_reason", "stopped_reason"),
        kept="until the next run",
        readers="`vtsync status`",
    ),
    PersonalTable(
        t.account_state,
        "if an account works, and how it was linked",
        {
            Holds.CONTENT: "list_error stopped_reason pause_reason",
            Holds.STAFF: "linked_by",
            Holds.NOTHING: "account listed_at list_unavailable_at list_failures list_lease_owner list_lease_until"
            " linked_at linked_how stopped_at paused_until trips rate_ceiling rate_lowered_at",
        },
        mentions=("list_error", "stopped_reason", "pause_reason"),
        readers="`vtsync status`",
    ),
    PersonalTable(
        t.carrier_state,
        "how far a carrier's list has been read",
        {Holds.CONTENT: "last_error", Holds.NOTHING: f"name polled_until next_poll_at {_WORK}"},
        mentions=("last_error",),
        readers="`vtsync doctor`",
    ),
    PersonalTable(
        t.dead_letter,
        "refused messages of the broker, without their content; the id of the job is the sender's choice",
        {
            Holds.CONTENT: "reason",
            Holds.LINK: "message_id",
            Holds.NOTHING: "id queue task size first_at last_at times",
        },
        mentions=("message_id", "reason"),
        kept="`retention.events`",
        readers="`vtsync dead-letters`",
    ),
    PersonalTable(
        t.pause,
        "connections and triggers that are paused",
        {Holds.CONTENT: "reason", Holds.NOTHING: "kind name since", Holds.STAFF: "actor"},
        mentions=("reason",),
        kept="until the pause ends",
        readers="`vtsync status`, the pages",
    ),
    PersonalTable(
        t.audit_event,
        "who did or read what in the pages of `vtsync web`, which API key decided what, and who paused what",
        {
            Holds.IDENTITY: "about",
            Holds.CONTENT: "detail",
            Holds.FACT: "id at action",
            Holds.STAFF: "actor address",
        },
        mentions=("about", "detail"),
        kept="`retention.history`",
        readers="admins, on the page Audit",
    ),
    # Rows with nothing about the people who are texted.
    PersonalTable(
        t.web_user,
        "people who may sign in to the pages; passwords as hashes, second factors encrypted",
        {
            Holds.STAFF: "name role created_by issuer subject",
            Holds.NOTHING: "password_hash totp totp_step failures failed_at created_at disabled_at",
        },
        readers="`vtsync users list`, admins",
    ),
    PersonalTable(
        t.web_session,
        "browsers that are signed in to the pages",
        {
            Holds.STAFF: "name address browser",
            Holds.NOTHING: "token_hash created_at seen_at expires_at",
        },
        kept="until the session ends, at most 7 days",
        readers="the person, admins",
    ),
    PersonalTable(
        t.web_sign_in,
        "sign-ins that were begun at an OpenID provider",
        {Holds.NOTHING: "token_hash expires_at"},
        kept="ten minutes; deleted at the next sign-in",
    ),
    PersonalTable(
        t.store_key,
        "keys that the store itself needs, encrypted",
        {Holds.NOTHING: "name sealed rewritten_to rewritten_at"},
    ),
    PersonalTable(
        t.api_key,
        "keys of the HTTP API, as hashes",
        {
            Holds.STAFF: "name created_by",
            Holds.NOTHING: "id key_hash scopes accounts created_at revoked_at last_used_at test",
        },
        readers="`vtsync keys list`",
    ),
    PersonalTable(
        t.crm_grant,
        "credentials of CRMs, encrypted",
        {Holds.NOTHING: f"connection sealed connected_at renewed_at renewing_since {_WORK}"},
    ),
    PersonalTable(t.crm_budget, "calls of CRMs that were used", {Holds.NOTHING: "connection name since used"}),
    PersonalTable(
        t.trigger_state,
        "since when a trigger watches",
        {Holds.NOTHING: "trigger connection fingerprint active_since"},
    ),
    PersonalTable(
        t.heartbeat,
        "processes that are alive",
        {Holds.NOTHING: "id role version started_at seen_at clock_ahead"},
    ),
    PersonalTable(
        t.alert,
        "what waits for a person or does not work, without numbers and texts of people",
        {
            Holds.NOTHING: (
                "id key kind urgent found remedy since seen_at raised_at told_at told_urgent ended_at end_told_at"
            )
        },
        kept="`retention.events` after it ended",
        readers="`vtsync alerts list`, the channels of `[alerts]`, subscribers",
    ),
    PersonalTable(t.maintenance_lock, "when maintenance is due", {Holds.NOTHING: f"name next_run_at {_WORK}"}),
    PersonalTable(
        t.configuration_problem,
        "configuration files that cannot be used",
        {Holds.NOTHING: "place problem since seen_at"},
    ),
)
"""Every table. The test names a column that is not here, or that no longer exists."""

OWNED = tuple(one for one in TABLES if one.owner is not None)
"""The tables whose rows belong to people, in the order in which they are erased."""
