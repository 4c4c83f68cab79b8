"""PostgreSQL and Redis for one scenario, with nothing of another in them and nothing left behind."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator


@contextlib.contextmanager
def own_schema(url: str) -> Iterator[str]:
    """The store's URL for a schema that is gone afterwards."""
    from sqlalchemy import NullPool, create_engine, text

    schema = f"faults_{uuid.uuid4().hex[:12]}"
    admin = create_engine(url, poolclass=NullPool)
    with admin.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
    finally:
        with admin.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


@contextlib.contextmanager
def empty_redis(url: str) -> Iterator[str]:
    """The same URL; everything in its database is removed before and after."""
    import redis

    with redis.Redis.from_url(url) as client:
        client.flushdb()
        try:
            yield url
        finally:
            client.flushdb()
