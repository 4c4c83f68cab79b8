"""The real servers that tests run on where they are reachable.

Without one its tests are skipped, saying so; with VTSYNC_REQUIRE_SERVICES=1 (as in CI) they fail instead.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
from fakeredis import FakeConnection, FakeServer
from redis import ConnectionPool

from config.models import Store

REQUIRED = os.environ.get("VTSYNC_REQUIRE_SERVICES") == "1"
REDISES = ("fakeredis", pytest.param("redis", marks=pytest.mark.redis))
"""What is kept in Redis is tested on both: fakeredis needs no server, and the server is what counts."""


def postgres_url() -> str:
    """A PostgreSQL in which schemas may be created: VTSYNC_TEST_POSTGRES, else the usual local one."""
    return _reachable("VTSYNC_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")


def redis_url() -> str:
    """A Redis whose database may be emptied: VTSYNC_TEST_REDIS, else database 9 of the usual local one."""
    return _reachable("VTSYNC_TEST_REDIS", "redis://127.0.0.1:6379/9")


def redis_of(kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of one of ``REDISES``. Every client of this process shares one new, empty fakeredis."""
    if kind == "redis":
        return redis_url()
    server = FakeServer()

    class FakePool(ConnectionPool):
        @classmethod
        def from_url(cls, url: str, **_options: Any) -> ConnectionPool:  # type: ignore[override]
            return ConnectionPool(connection_class=FakeConnection, server=server, db=int(urlsplit(url).path.strip("/")))

    monkeypatch.setattr("redis.ConnectionPool", FakePool)
    return "redis://fakeredis.invalid/0"


def rabbitmq_url() -> str:
    """A RabbitMQ: VTSYNC_TEST_RABBITMQ, else the usual local one."""
    return _reachable("VTSYNC_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


def mariadb_url() -> str:
    """A MariaDB or MySQL whose database may be filled: VTSYNC_TEST_MARIADB, else the usual local one."""
    return _reachable("VTSYNC_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/test")


def _reachable(variable: str, usual: str) -> str:
    url = os.environ.get(variable, usual)
    if _answers(url):
        return url
    message = f"no server answers at {urlsplit(url).hostname}:{urlsplit(url).port}; set {variable}"
    if REQUIRED:
        pytest.fail(message)
    pytest.skip(message)


@cache
def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=2):
            return True
    except OSError:
        return False


def store_at(url: str) -> Store:
    """The store of a test for a process that it starts, with the key that ``engine`` has put into the environment."""
    return Store(url=url, encryption_key=os.environ.get("TEST_STORE_KEY") or None)  # type: ignore[arg-type]
