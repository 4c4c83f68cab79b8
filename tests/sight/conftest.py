"""The HTTP side's fixtures, and tasks over a store of theirs."""

from tests.web.conftest import engine, hinted, site

__all__ = ["engine", "hinted", "site"]
