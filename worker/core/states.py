"""The states of all rows of the store. Plain values, so that decisions can use them without a database."""

from __future__ import annotations

from enum import StrEnum


class PushState(StrEnum):
    """The state of a contact: does VirtualText have what the CRM has?"""

    SYNCED = "synced"
    DUE = "due"
    CREATING = "creating"
    """A create may be in flight. When a lease expires in this state, the contact becomes unknown, never due."""
    UPDATING = "updating"
    """An update may be in flight. Repeating it is harmless."""
    UNKNOWN = "unknown"
    """The response to a create was lost. The contact is looked up before anything else is tried."""
    REJECTED = "rejected"
    """VirtualText refused these values. They are sent again when they change, or by `vtsync retry`."""


class RunState(StrEnum):
    """The state of a sync run."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    FAILED = "failed"


class MessageState(StrEnum):
    """The state of a message. The transitions are in ``worker.messages.states``."""

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
    """A text to send, or a text to record that another system already sent."""

    SEND = "send"
    RECORD = "record"


class InboxState(StrEnum):
    """The state of an incoming event."""

    NEW = "new"
    DONE = "done"
    IGNORED = "ignored"
    """Understood, but there is nothing to do: it is a repetition, or of a kind that is not used."""
    FAILED = "failed"
    """Kept for a person to look at: ``detail`` says what is wrong."""


class ForwardState(StrEnum):
    """The state of a delivery to a CRM or a subscriber."""

    DUE = "due"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"
    """Given up; ``last_error`` says why. `vtsync forwards retry` tries again."""
