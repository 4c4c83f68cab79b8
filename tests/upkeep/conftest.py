"""The outbox and the world of the other suites, for what keeps their rows in order."""

from tests.contacts.conftest import world
from tests.messages.conftest import box, client

__all__ = ["box", "client", "world"]
