"""A VirtualText to try things on: the documented calls on two real local ports, and what the platform was seen to do.

Nothing that it takes reaches a phone. ``Sandbox`` runs it beside a test, ``serve`` (or
``python -m worker.sandbox``) for people; its page shows the conversations as phones would.
"""

from __future__ import annotations

from worker.sandbox.faults import Fault, Injection
from worker.sandbox.log import LoggedRequest
from worker.sandbox.server import Sandbox, serve
from worker.sandbox.state import DEFAULT_ACCOUNT, Account, Message

__all__ = ["DEFAULT_ACCOUNT", "Account", "Fault", "Injection", "LoggedRequest", "Message", "Sandbox", "serve"]
