"""The events that subscribers can ask for, and that ``worker.messages.events`` publishes."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """The public names of events. They are stable once released."""

    MESSAGE_RECEIVED = "message.received"
    MESSAGE_SENT = "message.sent"
    """VirtualText accepted the text, or showed it in its conversation."""
    MESSAGE_RECORDED = "message.recorded"
    """A text that another system sent is now in the conversation."""
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_FAILED = "message.failed"
    """The text was refused, or reported as not delivered."""
    MESSAGE_SUPPRESSED = "message.suppressed"
    """The policy ended it: opted out, no consent, a duplicate."""
    MESSAGE_EXPIRED = "message.expired"
    MESSAGE_SIMULATED = "message.simulated"
    """It would have been sent or recorded now; nothing was, because it is a test."""
    MESSAGE_UNKNOWN = "message.unknown"
    """It may or may not have been sent. A person or its echo resolves it."""
    CONTACT_OPTED_OUT = "contact.opted_out"
    CONTACT_OPTED_IN = "contact.opted_in"
    CONTACT_REVIEW_OPENED = "contact.review_opened"
    """The person may have asked not to be texted. Texts to the number wait until somebody has read the reply."""
    CONTACT_REVIEW_ENDED = "contact.review_ended"
    ALERT_RAISED = "alert.raised"
    """Something waits for a person, or does not work, see ``AlertKind``."""
    ALERT_ENDED = "alert.ended"
