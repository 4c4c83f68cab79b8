"""The states of everything in the store. Pure values, so that decisions can name them without a database."""

from __future__ import annotations

from enum import StrEnum


class PushState(StrEnum):
    """The state of a contact: what VirtualText should hold compared with what was last pushed."""

    SYNCED = "synced"
    DUE = "due"
    CREATING = "creating"
    """A create may be in flight. If the lease ends in this state, the contact becomes unknown, never due."""
    UPDATING = "updating"
    """An update may be in flight. It can be repeated safely."""
    UNKNOWN = "unknown"
    """The response to a create was lost. It is looked up before anything else is tried."""
    REJECTED = "rejected"
    """VirtualText refused these values. It is tried again when they change, or by `vtsync retry`."""


class RunState(StrEnum):
    """The state of a sync run."""

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    FAILED = "failed"


class MessageState(StrEnum):
    """The state of a message. ``worker.messages.states`` lists the transitions between them."""

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
    SIMULATED = "simulated"
    """It would have been requested, and was not: the account is in test mode, or it was made with a test key."""


class MessageKind(StrEnum):
    """A text to send, or the record of a text that another system has sent."""

    SEND = "send"
    RECORD = "record"


class PauseKind(StrEnum):
    """What a person may pause: a connection is not read then, and the texts of a trigger are held."""

    CONNECTION = "connection"
    TRIGGER = "trigger"


class InboxState(StrEnum):
    """The state of an event from outside."""

    NEW = "new"
    DONE = "done"
    IGNORED = "ignored"
    """Understood, with nothing to do: a repetition, or a kind of event that is not used."""
    FAILED = "failed"
    """Kept for a person; ``detail`` says what is wrong with it."""


class DeliveryState(StrEnum):
    """The state of a delivery to a CRM record or a subscriber."""

    DUE = "due"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"
    """Given up; ``last_error`` says why. `vtsync forwards retry` tries again."""
