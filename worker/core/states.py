"""The states of everything that the store keeps. Pure values, so that decisions need no database to name them."""

from __future__ import annotations

from enum import StrEnum


class PushState(StrEnum):
    """Where a contact stands between what is wanted and what VirtualText was told."""

    SYNCED = "synced"
    DUE = "due"
    CREATING = "creating"
    """A create may be on the wire. A lease that runs out here means unknown, never due."""
    UPDATING = "updating"
    """An update may be on the wire. Repeating it is harmless."""
    UNKNOWN = "unknown"
    """A create whose answer was lost. Looked up before anything else is tried."""
    REJECTED = "rejected"
    """VirtualText refused these values. Tried again when they change, or by `vtsync retry`."""


class RunState(StrEnum):
    """How a sync run stands."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    FAILED = "failed"


class MessageState(StrEnum):
    """Where a message stands; the moves between them are in ``worker.messages.states``."""

    QUEUED = "queued"
    HELD = "held"
    DISPATCHING = "dispatching"
    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    DELIVERED = "delivered"
    FAILED = "failed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class MessageKind(StrEnum):
    """A text to send, or the record of one that another system sent already."""

    SEND = "send"
    RECORD = "record"


class InboxState(StrEnum):
    """How far an event from outside is worked through."""

    NEW = "new"
    DONE = "done"
    IGNORED = "ignored"
    """Understood, and nothing to do: a repetition, or of a kind that does not concern us."""
    FAILED = "failed"
    """Kept for a person: ``detail`` says what is wrong with it."""


class DeliveryState(StrEnum):
    """The state of a delivery to a CRM record or a subscriber."""

    DUE = "due"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"
    """Given up; ``last_error`` says why. `vtsync forwards retry` tries again."""
