"""The HTTP side's fixtures, and tasks over a store of theirs."""

from tests.messages.conftest import box, client
from tests.web.conftest import engine, hinted, site

__all__ = ["box", "client", "engine", "hinted", "site"]
