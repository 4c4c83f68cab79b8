"""The request bodies and answers of the routes for operating: decisions, reviews, connections, deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from worker.messages.decisions import DecisionAboutMany, ReviewVerdict, Verdict
from worker.messages.request_problems import MESSAGE_ID_PATTERN, NO_NUL_PATTERN, FieldProblem
from worker.web.schemas import MessageDetail, MessageOut, OptOutOut, ReplyOut

MOST_IDS = 1000
LARGEST_ROW_ID = 2**63 - 1
MOST_SHOWN = 10**9
_ID = "01931f6ac2d97b6aa1f2b3c4d5e6f708"
_BATCH = "01931f6ac2d97b6aa1f2b3c4d5e6f700"

MessageIds = Annotated[
    list[Annotated[str, Field(pattern=MESSAGE_ID_PATTERN)]],
    Field(min_length=1, max_length=MOST_IDS, description="Messages by their ids.", examples=[[_ID]]),
]
TriggerName = Annotated[
    str | None,
    Field(max_length=200, pattern=NO_NUL_PATTERN, description="All that wait of this trigger.", examples=["ready"]),
]
BatchId = Annotated[
    str | None,
    Field(max_length=200, pattern=NO_NUL_PATTERN, description="All that wait of this batch.", examples=[_BATCH]),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class DecideBody(_Body):
    """The messages to decide about: `ids`, or all that wait of a `batch`, of a `trigger`, or of both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"batch": _BATCH, "texts": 12, "until": _ID}]})

    ids: MessageIds | None = None
    batch: BatchId = None
    trigger: TriggerName = None
    texts: int | None = Field(
        None,
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="With `batch` or `trigger`: how many texts `GET /v1/messages:preview` showed. If more wait now,"
        " nothing is done (409).",
        examples=[12],
    )
    until: str | None = Field(
        None,
        pattern=MESSAGE_ID_PATTERN,
        description="With `texts`, unless they are 0: the `until` of the preview. Nothing newer is touched, so that"
        " repeating the request decides about nothing new.",
        examples=[_ID],
    )

    @model_validator(mode="after")
    def _names_something(self) -> DecideBody:
        if self.ids is None and not self.batch and not self.trigger:
            raise FieldProblem("ids", "is missing; name ids, a batch or a trigger")
        if self.ids is not None and (self.batch or self.trigger or self.texts is not None or self.until):
            raise FieldProblem("ids", "excludes batch, trigger, texts and until; name ids or a batch or trigger")
        if self.ids is None and self.texts is None:
            raise FieldProblem("texts", "is missing; say how many texts GET /v1/messages:preview showed")
        if self.texts and self.until is None:
            raise FieldProblem("until", "is missing; give the until of GET /v1/messages:preview")
        return self


class IdsBody(_Body):
    """Messages by their ids."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [_ID]}]})

    ids: MessageIds


class ResolveBody(_Body):
    """How an unknown text ended, as somebody found it in the conversation."""

    verdict: Verdict = Field(
        description="`sent`: it is there. `resend`: it is not; send it again. `drop`: it is not, and is not wanted any"
        " more.",
        examples=["sent"],
    )
    attempts: int | None = Field(
        None,
        ge=0,
        description="The `attempts` of the text when you looked at the conversation; needed for `resend`. If another"
        " attempt was made since, nothing is done.",
        examples=[1],
    )

    @model_validator(mode="after")
    def _require_attempts(self) -> Self:
        if self.verdict == "resend" and self.attempts is None:
            raise ValueError("resend needs `attempts`: the number that the text had when you looked")
        return self


class ReviewBody(_Body):
    """What a reply meant that may have meant STOP."""

    verdict: ReviewVerdict = Field(
        description="`continue`: the person did not mean STOP. `opt_out`: they did.", examples=["continue"]
    )
    last_at: AwareDatetime | None = Field(
        None,
        description="With `continue`: the `last_at` that `GET /v1/reviews` showed. If the person has written again"
        " since then, nothing is done (409).",
        examples=["2026-11-02T09:30:00Z"],
    )

    @model_validator(mode="after")
    def _names_what_was_read(self) -> ReviewBody:
        if self.verdict == "continue" and self.last_at is None:
            raise FieldProblem("last_at", "is missing; give the last_at of GET /v1/reviews")
        return self


class SyncBody(_Body):
    """How to read a connection."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"full": False}]})

    full: bool = Field(False, strict=True, description="Read every record, not only changes.", examples=[False])
    accept_removals: bool = Field(
        False,
        strict=True,
        description="Accept that records are missing, although they are so many that the run would be refused.",
        examples=[False],
    )


class RetryForwardsBody(_Body):
    """The deliveries to repeat: `ids`, or all to a `target`, all that `failed`, or both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"failed": True, "deliveries": 3}]})

    ids: (
        Annotated[
            list[Annotated[int, Field(ge=1, le=LARGEST_ROW_ID, strict=True)]],
            Field(min_length=1, max_length=MOST_IDS, description="Deliveries by their ids.", examples=[[17]]),
        ]
        | None
    ) = None
    target: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        pattern=NO_NUL_PATTERN,
        description="All to this receiver; `*` at the end stands for anything.",
        examples=["subscriber:shop"],
    )
    failed: bool = Field(
        False, strict=True, description="Only those that were given up, not those that wait.", examples=[True]
    )
    deliveries: int | None = Field(
        None,
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="With `target` or `failed`: how many `GET /v1/forwards` counted. If more match now, nothing is done"
        " (409).",
        examples=[3],
    )

    @model_validator(mode="after")
    def _names_something(self) -> RetryForwardsBody:
        if self.ids is None and not self.target and not self.failed:
            raise FieldProblem("ids", "is missing; name ids or a target, or set failed to true")
        if self.ids is not None and (self.target or self.failed or self.deliveries is not None):
            raise FieldProblem("ids", "excludes target, failed and deliveries")
        if self.ids is None and self.deliveries is None:
            raise FieldProblem("deliveries", "is missing; say how many GET /v1/forwards counted")
        return self


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ApprovalOut(_Out):
    """The texts of one trigger and one batch that wait for an approval."""

    account: str = Field(examples=["main"])
    batch: str | None = Field(description="The sync that made them.", examples=[_BATCH])
    trigger: str | None = Field(examples=["ready"])
    texts: int = Field(examples=[12])
    people: int = Field(examples=[11])


class ApprovalList(_Out):
    """What waits for an approval."""

    approvals: list[ApprovalOut]


class PreviewOut(_Out):
    """What a decision about all messages of a batch or trigger would touch."""

    decision: DecisionAboutMany = Field(examples=["approve"])
    texts: int = Field(description="How many; the `texts` of the decision.", examples=[12])
    people: int = Field(description="How many numbers they go to.", examples=[11])
    until: str | None = Field(description="The newest of them; the `until` of the decision.", examples=[_ID])
    messages: list[MessageOut] = Field(description="The newest of them, newest first.")


class DecidedOne(_Out):
    """What became of one id: 200 if the decision holds, 404 or 409 with the reason otherwise."""

    id: str = Field(examples=[_ID])
    status: int = Field(examples=[200])
    state: str | None = Field(description="Its state now.", examples=["queued"])
    detail: str = Field(description="Why nothing was done; empty if the decision holds.", examples=[""])


class DecidedOut(_Out):
    """How many messages were changed. Repeating a decision changes none and does no harm."""

    decided: int = Field(examples=[12])
    outcomes: list[DecidedOne] = Field(description="One for each of `ids`, in their order.")


class ReviewOut(_Out):
    """A number whose owner wrote something that may mean STOP. Its texts are held until somebody decides."""

    phone: str = Field(examples=["+14155552671"])
    since: datetime
    last_at: datetime = Field(description="When the newest such reply was noted. `continue` takes it.")
    excerpt: str = Field(description="What the person wrote last.", examples=["please stop it lol"])
    account: str = Field(description="To which account; empty: to several.", examples=["main"])


class ReviewList(_Out):
    """The numbers under review, oldest first."""

    reviews: list[ReviewOut]


class ReviewedOut(_Out):
    """A review that has ended."""

    phone: str = Field(examples=["+14155552671"])
    verdict: ReviewVerdict = Field(examples=["continue"])
    released: int = Field(description="Held texts that the policy decides about again.", examples=[1])
    opted_out: bool = Field(examples=[False])


class PauseState(_Out):
    """Since when something is paused, by whom and why."""

    since: datetime
    actor: str = Field(description="Who paused it.", examples=["key shop"])
    reason: str = Field(examples=["the CRM is being moved"])


class ConnectionOut(_Out):
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


class ConnectionList(_Out):
    """The configured connections."""

    connections: list[ConnectionOut]


class RunOut(_Out):
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


class RunList(_Out):
    """Runs of a connection, newest first."""

    runs: list[RunOut]
    next: int | None = Field(description="The `before` of the next page; null on the last page.", examples=[None])


class RejectedOut(_Out):
    """A CRM record that cannot be used as it is."""

    connection: str = Field(examples=["crm"])
    key: str = Field(description="Its id in the CRM.", examples=["1042"])
    where: str = Field(examples=["page 3"])
    reason: str = Field(examples=["has no phone number"])
    excerpt: str = Field(examples=[""])
    since: datetime
    link: str = Field(description="Its address in the CRM, if that is known.", examples=[""])


class RejectedList(_Out):
    """Rejected records, oldest first."""

    rejected: list[RejectedOut]


class SyncAsked(_Out):
    """A worker will read the connection."""

    connection: str = Field(examples=["crm"])
    full: bool = Field(examples=[False])


class ForwardOut(_Out):
    """One event on its way to a CRM record or a service."""

    id: int = Field(examples=[17])
    target: str = Field(examples=["subscriber:shop"])
    type: str = Field(examples=["message.received"])
    state: str = Field(description="`due`, `sending`, `done` or `failed` (given up).", examples=["failed"])
    attempts: int = Field(examples=[8])
    created_at: datetime
    due_at: datetime
    last_error: str = Field(examples=["HTTP 500"])


class ForwardList(_Out):
    """Deliveries, newest first, with how many of the target can be repeated."""

    forwards: list[ForwardOut]
    failed: int = Field(description="How many were given up.", examples=[3])
    due: int = Field(description="How many wait for an attempt.", examples=[0])
    next: int | None = Field(description="The `before` of the next page; null on the last page.", examples=[None])


class RetriedForward(_Out):
    """What became of one id: 200 if it is repeated, 404 or 409 with the reason otherwise."""

    id: int = Field(examples=[17])
    status: int = Field(examples=[200])
    state: str | None = Field(description="Its state now.", examples=["due"])
    detail: str = Field(description="Why it is not repeated; empty if it is.", examples=[""])


class RetriedForwards(_Out):
    """How many deliveries are repeated."""

    retried: int = Field(examples=[3])
    outcomes: list[RetriedForward] = Field(description="One for each of `ids`, in their order.")


class AttentionOut(_Out):
    """Something that waits for a person, with the command to begin with."""

    what: str = Field(examples=["3 texts of one sync waiting for approval"])
    count: int = Field(examples=[3])
    oldest: datetime | None = Field(description="Since when the oldest waits, if that is known.")
    command: str = Field(examples=[f"vtsync approve {_BATCH}"])
    code: str = Field(description="The stable name of what waits.", examples=["approval_needed"])
    docs: str = Field(description="The page that explains it.", examples=["docs/findings.md#approval_needed"])


class AccountOut(_Out):
    """An account's contacts and messages by state."""

    name: str = Field(examples=["main"])
    contacts: dict[str, int] = Field(examples=[{"synced": 1040}])
    messages: dict[str, int] = Field(examples=[{"accepted": 310, "held": 3}])
    stopped: str = Field(description="Why it is stopped; empty if it is not.", examples=[""])
    paused_until: datetime | None
    pause_reason: str = Field(examples=[""])
    contact_list: str = Field(description="Why VirtualText's contact list cannot be read; or empty.", examples=[""])
    mode: str = Field(examples=["live"])


class JobsOut(_Out):
    """Jobs in the broker; null where it does not tell, or cannot be used (`error`)."""

    waiting: int | None = Field(examples=[0])
    in_progress: int | None = Field(examples=[0])
    left_behind: int | None = Field(examples=[0])
    error: str = Field(examples=[""])


class UnusedFileOut(_Out):
    """A changed configuration file that the running processes cannot use."""

    place: str = Field(examples=["/etc/vtsync/vtsync.toml on web-1"])
    problem: str = Field(examples=['there is no key "acounts"'])
    since: datetime


class StatusOut(_Out):
    """What `vtsync status --json` says. A key for some accounts gets their part, without the fleet's."""

    connections: list[ConnectionOut]
    accounts: list[AccountOut]
    test_mode: list[str] = Field(description="A sentence for each account in test mode.", examples=[[]])
    attention: list[AttentionOut] = Field(description="What waits for a person.")
    configuration: list[UnusedFileOut]
    paused_triggers: dict[str, PauseState] = Field(description="The triggers that are paused.", examples=[{}])
    jobs: JobsOut | None = Field(description="Null for a key of some accounts.")


class ConsentOut(_Out):
    """One statement of the ledger: a CRM, the person or an import said if the person may be texted."""

    at: datetime = Field(description="When it became known.")
    given_at: datetime | None = Field(description="When it was said, if that is known and was earlier.")
    kind: str = Field(examples=["consent"])
    answer: str = Field(examples=["yes"])
    source: str = Field(examples=["http"])
    account: str = Field(examples=["main"])
    connection: str | None = Field(examples=[None])
    external_id: str | None = Field(examples=[None])
    field: str = Field(examples=[""])
    words: str = Field(examples=["signed up at the counter"])
    actor: str = Field(examples=["key shop"])


class ConsentsOut(_Out):
    """What the ledger has about a number, oldest first."""

    phone: str = Field(examples=["+14155552671"])
    consents: list[ConsentOut]


class ExplainedRecord(_Out):
    """A CRM record that has the number, or that a text to it was about."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])
    full_name: str = Field(examples=["Ada Lovelace"])
    first_seen_at: datetime
    changed_at: datetime
    deleted_at: datetime | None
    merged_into: str | None = Field(examples=[None])
    belongs: bool = Field(description="False: the record has another number now.", examples=[True])


class ContactEventOut(_Out):
    """Something that happened to a contact."""

    at: datetime
    kind: str = Field(examples=["created"])
    detail: str = Field(examples=[""])


class ExplainedContact(_Out):
    """The number as a contact of one account."""

    account: str = Field(examples=["main"])
    full_name: str = Field(examples=["Ada Lovelace"])
    email: str = Field(examples=["ada@example.com"])
    virtualtext_id: str | None = Field(examples=["5512"])
    push_state: str = Field(examples=["synced"])
    pushed_at: datetime | None
    next_attempt_at: datetime | None
    last_error: str = Field(examples=[""])
    records: list[ExplainedRecord]
    events: list[ContactEventOut]


class RejectionOut(_Out):
    """A record of this person that cannot be used as it is."""

    connection: str = Field(examples=["crm"])
    key: str = Field(examples=["1042"])
    reason: str = Field(examples=["has no phone number"])
    where: str = Field(examples=[""])
    since: datetime


class PlannedText(_Out):
    """A text about a date, which its trigger makes at `at` unless the record changes."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])
    trigger: str = Field(examples=["reminder"])
    at: datetime


class UnreadValueOut(_Out):
    """A value because of which a trigger does not text about a record."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])
    trigger: str = Field(examples=["reminder"])
    field: str = Field(examples=["visit"])
    value: str = Field(examples=["soon"])
    reason: str = Field(examples=["it is no date"])


class OptOutChangeOut(_Out):
    """One change of the number's opt-out."""

    at: datetime
    opted_out: bool = Field(examples=[True])
    source: str = Field(examples=["relay"])
    detail: str = Field(examples=['wrote "STOP"'])
    actor: str = Field(examples=["worker"])


class ReviewChangeOut(_Out):
    """The beginning or the end of a review."""

    at: datetime
    opened: bool = Field(examples=[True])
    detail: str = Field(examples=["please stop it lol"])
    actor: str = Field(examples=["relay"])


class StandingOut(_Out):
    """What the policy would decide now about a text of one account."""

    account: str = Field(examples=["main"])
    clocks: list[list[str]] = Field(
        description="Time zones with their local times.", examples=[[["America/New_York", "Mon 14:30"]]]
    )
    states: list[str] = Field(examples=[["NY"]])
    source: str = Field(description="How the time zone is known.", examples=["area code 212"])
    hours: str | None = Field(description="When texts may go; null: at any hour.", examples=["08:00 to 20:00"])
    open_now: bool = Field(examples=[True])
    opens_at: datetime | None
    obstacles: list[str] = Field(description="Why a text would never be sent.", examples=[[]])
    verdict: str = Field(description="What happens to a text that is made now.", examples=["a text is sent at once"])
    max_texts: int | None = Field(description="How many texts in 24 hours.", examples=[3])


class ExplainedOut(_Out):
    """What `vtsync explain` says: why this person did, or did not, get each text.

    For a key of some accounts, what is about all accounts is empty or null: histories of opt-outs and reviews,
    `texts_last_24h` and `standings`.
    """

    phone: str = Field(examples=["+14155552671"])
    known: bool = Field(description="False: nothing is known about the number.", examples=[True])
    opted_out: OptOutOut
    contacts: list[ExplainedContact]
    other_records: list[ExplainedRecord]
    rejections: list[RejectionOut]
    messages: list[MessageDetail]
    planned: list[PlannedText]
    unread: list[UnreadValueOut]
    opt_out_history: list[OptOutChangeOut]
    review_history: list[ReviewChangeOut]
    review_since: datetime | None = Field(description="Since when a reply waits for a decision.")
    texts_last_24h: int | None = Field(examples=[1])
    consents: list[ConsentOut]
    replies: list[ReplyOut]
    consent_of: dict[str, str] = Field(
        description="The consent that was on record when each message was decided, by its id.",
        examples=[{_ID: "by text (+14155552671)"}],
    )
    paused: list[tuple[str, str]] = Field(
        description="The connections and triggers of it that are paused; and since when, by whom and why.",
        examples=[[("trigger welcome", "paused since 2027-03-01 14:30 UTC by key shop (the link is wrong)")]],
    )
    standings: list[StandingOut]
