"""Checks the store's server or file: version, speed, clock, connections, disk space."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from worker.core.clock import CLOCK
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.private_files import open_to_others
from worker.doctor import clocks
from worker.doctor.host import format_size, judge_data_files, judge_free_space
from worker.doctor.reach import store_unreachable
from worker.runtime import Runtime
from worker.store.db import is_postgres, reading
from worker.store.migrate import head, try_write

SLOW_SECONDS = 0.05
LONG_WAL = 1e9
POSTGRES_MINIMUM, POSTGRES_TESTED = 130000, 150000
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "glusterfs", "ceph")
EXTRA_CONNECTIONS = 6
"""Connections of a worker besides one per thread: for its heartbeat and the writers of a push."""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """The state of the server. ``version`` is PostgreSQL's number: 150004. ``processes`` is at least one."""

    version: int
    max_connections: int
    reserved: int
    in_use: int
    processes: int
    concurrency: int
    has_limits: bool = True
    """Whether our sessions have the time-outs for locks and idle transactions that we ask for."""


def check_store_server(runtime: Runtime) -> Iterator[Finding]:
    """Check the server or the file that holds the store. A write is tried first, on its own connection."""
    if (refused := _write(runtime)) is not None:
        yield refused
        return
    with reading(runtime.engine) as db:
        yield _speed(db)
        yield clocks.judge_own_clock(CLOCK.machine_is_ahead)
        if is_postgres(db):
            yield from judge_postgres(_facts(runtime, db))
            return
    path = Path(runtime.engine.url.database or "")
    wal = path.with_name(path.name + "-wal")
    yield from judge_sqlite(path, wal.stat().st_size if wal.exists() else 0, file_system(path))
    if path.is_file():
        yield judge_data_files(path, open_to_others(path))
        yield judge_free_space(path, shutil.disk_usage(path.parent).free)


def _write(runtime: Runtime) -> Finding | None:
    try:
        try_write(runtime.engine)
    except DBAPIError as error:
        return store_unreachable(runtime, error, "written")
    return None


def _speed(db: Connection) -> Finding:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        db.execute(text("SELECT 1"))
        times.append(time.perf_counter() - began)
    return judge_speed(statistics.median(times))


def judge_speed(seconds: float) -> Finding:
    """Judge whether the store answers fast enough. Pure."""
    found = f"at revision {head()}, a query takes {seconds * 1000:.1f} ms"
    if seconds < SLOW_SECONDS:
        return ok("store", found)
    return warning(
        FindingCode.STORE_SLOW,
        "store",
        found,
        "each text takes about ten queries, so a slow store limits how many texts are sent per second",
        "run the workers close to the store, and check its load",
    )


def _facts(runtime: Runtime, db: Connection) -> PostgresFacts:
    def setting(name: str) -> int:
        return int(db.execute(text("SELECT setting FROM pg_settings WHERE name = :name"), {"name": name}).scalar_one())

    in_use = db.execute(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    alive = db.execute(text("SELECT count(*) FROM heartbeat WHERE role <> 'tick'")).scalar_one()
    return PostgresFacts(
        setting("server_version_num"),
        setting("max_connections"),
        setting("superuser_reserved_connections"),
        in_use.scalar_one(),
        max(alive, 1),
        runtime.settings.worker.concurrency,
        all(setting(name) for name in ("lock_timeout", "idle_in_transaction_session_timeout")),
    )


def judge_postgres(facts: PostgresFacts) -> Iterator[Finding]:
    """Judge the version and the number of connections. Pure."""
    name = f"PostgreSQL {facts.version // 10000}"
    if facts.version < POSTGRES_TESTED:
        level = problem if facts.version < POSTGRES_MINIMUM else warning
        yield level(
            FindingCode.SERVER_UNSUPPORTED,
            "store",
            name,
            "vtsync is tested with PostgreSQL 15 and newer",
            "upgrade the server to a supported release",
        )
    else:
        yield ok("store", name)
    usable = facts.max_connections - facts.reserved
    needed = facts.processes * (facts.concurrency + EXTRA_CONNECTIONS)
    found = f"{facts.in_use} of {usable} connections in use; {facts.processes} processes may take {needed}"
    if needed > usable or facts.in_use > usable * 0.9:
        yield problem(
            FindingCode.CONNECTIONS_FEW,
            "store",
            found,
            "a worker that gets no connection does no work; its log says so",
            f"raise max_connections to {max(2 * needed, 100)}, lower worker.concurrency, or use fewer workers",
        )
    else:
        yield ok("store", found)
    if not facts.has_limits:
        yield warning(
            FindingCode.POOLER_TIME_OUTS,
            "store",
            "a pooler removes our time-outs for locks and idle transactions",
            "a lock that somebody has forgotten stops every worker, also one that is asked to stop",
            "ALTER ROLE the user of store.url SET lock_timeout = '20s', and"
            " idle_in_transaction_session_timeout = '60s'",
        )


def judge_sqlite(path: Path, wal_bytes: float, kind: str) -> Iterator[Finding]:
    """Judge the file's location and the size of its write-ahead log. Pure."""
    if any(kind.startswith(name) for name in NETWORK_FILE_SYSTEMS):
        yield problem(
            FindingCode.NETWORK_FILE_SYSTEM,
            "store",
            f"{path} is on a network file system ({kind})",
            "SQLite's locks do not work there: two machines would damage the file and send texts twice",
            "move data_dir to a local disk, or use PostgreSQL (store.url)",
        )
    if wal_bytes > LONG_WAL:
        yield warning(
            FindingCode.WRITE_AHEAD_LOG_LONG,
            "store",
            f"the write-ahead log of {path} has {format_size(wal_bytes)}",
            "some program keeps a transaction open; queries get slower and the disk fills up",
            "close other programs that have the file open, or restart the workers one by one",
        )
    else:
        yield ok("store", f"SQLite, write-ahead log {format_size(wal_bytes)}")


def file_system(path: Path) -> str:
    """Return the type of file system that holds ``path``; empty if this system does not say."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    absolute = path.absolute()
    holding = [(len(at), kind) for _device, at, kind, *_ in mounts if absolute.is_relative_to(at.replace("\\040", " "))]
    return max(holding, default=(0, ""))[1]
