"""Credentials of connections that change, such as OAuth tokens: stored encrypted, renewed by one worker at a time.

Some CRMs invalidate a refresh token as soon as it is used. So a renewal is announced in the store before it is
requested (``renewing_since``), and its result is committed before anybody uses it. If a worker is killed in between,
the new credential is lost and the old one may be invalid: the next worker tries the old one once more, and if the CRM
rejects it, a person has to run `vtsync connect` again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, delete, func, select, update

from crm_adapters.base import CredentialsRejected, SourceUnavailable
from crm_adapters.services import Values
from worker.contacts.sealing import GrantCipher
from worker.core.backoff import Backoff
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, reading, writing
from worker.store.leases import Lease, LeaseColumns, new_lease
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import crm_grant

GRANT_LEASE = LeaseColumns(crm_grant)
LEASE_SECONDS = 120.0
"""Longer than a renewal may take. After that, another worker may try."""
WAIT_SECONDS = 60.0
"""How long a worker waits for the renewal of another one."""
STORE_SECONDS = 60.0
"""How long to try to store a renewed credential. If it is lost, a person has to connect again."""
LOOK_AGAIN = Backoff(0.05, 1.0)

log = structlog.get_logger(__name__)
g = crm_grant.c


class _Stored(NamedTuple):
    """What renewals read of a row."""

    sealed: bytes
    renewing_since: datetime | None


@dataclass(frozen=True, slots=True)
class _Renewal:
    """The right to renew. ``unfinished_since`` is when an earlier renewal began whose result was not stored."""

    lease: Lease
    unfinished_since: datetime | None


class StoredGrant:
    """The grant of one connection. See ``crm_adapters.services.Grant``. Safe in any number of workers at once."""

    def __init__(self, runtime: Runtime, connection: str) -> None:
        self._runtime = runtime
        self._connection = connection
        self._this = g.connection == connection

    def current(self) -> Values | None:
        """Return the stored values; None before `vtsync connect`. Raises SourceInvalid if they cannot be decrypted."""
        with reading(self._runtime.engine) as db:
            row = self._row(db)
        return None if row is None else self._values(row)

    def renewed(self, used: Values, renew: Callable[[Values], Values]) -> Values:
        """Replace the values ``used``, or return the ones with which another worker has replaced them.

        Raises what ``renew`` raises, CredentialsRejected if there is no grant any more, and SourceUnavailable if
        another worker does not finish.
        """
        used = dict(used)
        renewal = self._begin(used)
        if not isinstance(renewal, _Renewal):
            return renewal
        try:
            values = dict(renew(used))
        except CredentialsRejected as error:
            self._give_back(renewal, {} if renewal.unfinished_since else {"renewing_since": None})
            if renewal.unfinished_since is None:
                raise
            raise CredentialsRejected(
                f"{error}. An earlier renewal, at {renewal.unfinished_since:%Y-%m-%d %H:%M} UTC, ended without a"
                f" result, so the credential is probably used up: run `vtsync connect {self._connection}`"
            ) from error
        except BaseException:  # the CRM may have renewed it: it stays announced until a renewal succeeds
            self._give_back(renewal, {})
            raise
        return self._keep(used, values)

    def _begin(self, used: dict[str, Any]) -> _Renewal | Values:
        """Take the lease and announce the renewal; or return the values of another worker that has renewed."""
        deadline = time.monotonic() + WAIT_SECONDS
        attempt = 0
        while True:
            with reading(self._runtime.engine) as db:  # most of those that wait need not write
                newer = self._newer(self._row(db), used)
            if newer is not None:
                return newer
            now = utcnow()
            lease = new_lease(now, LEASE_SECONDS)
            with writing(self._runtime.engine) as db:
                # Locked: otherwise another worker could commit its renewal between this look and the taking.
                row = self._row(db, lock=True)
                newer = self._newer(row, used)
                if newer is not None:
                    return newer
                began = func.coalesce(g.renewing_since, now)
                if row is not None and GRANT_LEASE.take(db, lease, now, self._this, renewing_since=began):
                    return _Renewal(lease, row.renewing_since)
            attempt += 1
            if time.monotonic() > deadline or not self._runtime.stop.wait(LOOK_AGAIN.seconds(attempt)):
                raise SourceUnavailable(
                    f'another worker is renewing the credential of connection "{self._connection}"; the next run tries'
                    " again",
                    retry_after=LEASE_SECONDS - WAIT_SECONDS,
                )

    def _keep(self, used: dict[str, Any], values: dict[str, Any]) -> Values:
        """Commit the new values, even if the store cannot be reached for a moment."""
        deadline = time.monotonic() + STORE_SECONDS
        attempt = 0
        while True:
            try:
                return self._replace(used, values)
            except STORE_AWAY as error:
                attempt += 1
                if time.monotonic() > deadline:
                    raise SourceUnavailable(
                        f'the credential of connection "{self._connection}" was renewed, but the store cannot be'
                        f" reached ({type(error).__name__}), so the new one is lost; if the CRM rejects the old one,"
                        f" run `vtsync connect {self._connection}`"
                    ) from error
                time.sleep(LOOK_AGAIN.seconds(attempt))

    def _replace(self, used: dict[str, Any], values: dict[str, Any]) -> Values:
        """Store the values unless somebody else has replaced ``used``.

        The owner of the lease does not matter: after a long pause of this process another worker may have it, but what
        the CRM has answered to us is valid as long as nothing newer is stored.
        """
        with writing(self._runtime.engine) as db:
            newer = self._newer(self._row(db, lock=True), used)
            if newer is not None:
                return newer
            sealed = self._cipher.seal(self._connection, values)
            _set(db, self._connection, sealed=sealed, renewed_at=utcnow())
        log.info("the credential was renewed", connection=self._connection)
        # As everybody else reads it: ``used`` is compared with it at the next renewal.
        return self._cipher.unseal(self._connection, sealed)

    def _give_back(self, renewal: _Renewal, values: dict[str, Any]) -> None:
        # If the store cannot be reached, the lease ends by itself.
        with contextlib.suppress(*STORE_AWAY), writing(self._runtime.engine) as db:
            GRANT_LEASE.release(db, renewal.lease.owner, self._this, **values)

    def _newer(self, row: _Stored | None, used: dict[str, Any]) -> Values | None:
        """Return the stored values if they are not ``used``. Raises CredentialsRejected if there are none."""
        if row is None:
            raise CredentialsRejected(not_connected(self._connection))
        values = self._values(row)
        return None if values == used else values

    def _row(self, db: Connection, *, lock: bool = False) -> _Stored | None:
        columns = select(g.sealed, g.renewing_since).where(self._this)
        row = db.execute(columns.with_for_update() if lock else columns).first()
        return None if row is None else _Stored(*row)

    def _values(self, row: _Stored) -> dict[str, Any]:
        return self._cipher.unseal(self._connection, row.sealed)

    @property
    def _cipher(self) -> GrantCipher:
        return GrantCipher.of(self._runtime.settings)


@dataclass(frozen=True, slots=True)
class GrantState:
    """A stored grant, without its values. ``unfinished_since``: a renewal began then, and nobody works on it now."""

    connection: str
    connected_at: datetime
    renewed_at: datetime | None
    unfinished_since: datetime | None


def not_connected(connection: str) -> str:
    """Say that a connection has no credential yet, and what to do."""
    return f'connection "{connection}" has no credential yet; run `vtsync connect {connection}`'


def grant_states(db: Connection, now: datetime) -> list[GrantState]:
    """Return all stored grants, also those of connections that are no longer configured."""
    rows = db.execute(select(crm_grant, GRANT_LEASE.is_free(now).label("free")).order_by(g.connection))
    return [
        GrantState(row.connection, row.connected_at, row.renewed_at, row.renewing_since if row.free else None)
        for row in rows
    ]


def save_grant(db: Connection, connection: str, sealed: bytes, now: datetime) -> None:
    """Store the grant that a person has just given. It replaces an earlier one, and ends what happened to that."""
    fresh = {"sealed": sealed, "connected_at": now, "renewed_at": None, "renewing_since": None}
    statement = insert(db, crm_grant).values(connection=connection, **fresh)
    db.execute(statement.on_conflict_do_update(index_elements=["connection"], set_={**fresh, **GRANT_LEASE.released}))


def delete_grant(db: Connection, connection: str) -> bool:
    """Delete a grant. Return False if there is none."""
    return db.execute(delete(crm_grant).where(g.connection == connection)).rowcount == 1


def encrypt_again(runtime: Runtime) -> Iterator[tuple[str, bool]]:
    """Encrypt every grant with the first key. Yield each connection, and True if its grant had another key.

    Raises SourceInvalid at the first grant that no key decrypts.
    """
    cipher = GrantCipher.of(runtime.settings)
    with reading(runtime.engine) as db:
        names = list(db.scalars(select(g.connection).order_by(g.connection)))
    for name in names:
        with writing(runtime.engine) as db:
            sealed = db.scalar(select(g.sealed).where(g.connection == name).with_for_update())
            if sealed is None:  # it was deleted meanwhile
                continue
            values, outdated = cipher.unseal(name, sealed), not cipher.is_current(sealed)
            if outdated:
                db.execute(update(crm_grant).where(g.connection == name).values(sealed=cipher.seal(name, values)))
        yield name, outdated


def _set(db: Connection, connection: str, **values: Any) -> None:
    """Store the result of a renewal, which ends its announcement and its lease."""
    done = {"renewing_since": None, **GRANT_LEASE.released, **values}
    db.execute(update(crm_grant).where(g.connection == connection).values(done))
