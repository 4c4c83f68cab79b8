"""A stand-in for VirtualText: its documented API on two local ports, with the observed behaviour of the platform.

No text reaches a phone. ``Sandbox`` runs it inside a test, ``serve`` (or ``python -m worker.sandbox``) runs it for
people. Its page shows the conversations as a phone would.
"""

from __future__ import annotations

from worker.sandbox.faults import Fault, Injection
from worker.sandbox.log import LoggedRequest
from worker.sandbox.server import Sandbox, serve
from worker.sandbox.state import DEFAULT_ACCOUNT, SandboxAccount, SandboxMessage

__all__ = [
    "DEFAULT_ACCOUNT",
    "Fault",
    "Injection",
    "LoggedRequest",
    "Sandbox",
    "SandboxAccount",
    "SandboxMessage",
    "serve",
]
