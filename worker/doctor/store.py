"""The store beyond being reached: its server, its file, its speed."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from worker.doctor import clocks
from worker.doctor.findings import Finding, ok, problem, size, warning
from worker.doctor.host import judge_room
from worker.runtime import Runtime
from worker.store.db import is_postgres, reading
from worker.store.migrate import head

SLOW_SECONDS = 0.05
LONG_WAL = 1e9
POSTGRES_OLDEST, POSTGRES_TESTED = 130000, 150000
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "glusterfs", "ceph")
CONNECTIONS_BESIDE = 6
"""Of a worker: its threads take one each while they work, its heart and a push's writers some more."""


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """Of the server. ``version`` as PostgreSQL numbers it: 150004. ``processes``: of the fleet, at least one."""

    version: int
    max_connections: int
    reserved: int
    in_use: int
    processes: int
    concurrency: int


def check_store(runtime: Runtime) -> Iterator[Finding]:
    """Everything that needs the store."""
    with reading(runtime.engine) as db:
        yield _speed(db)
        if is_postgres(db):
            asked = clocks.now()
            theirs = db.execute(text("SELECT clock_timestamp()")).scalar_one()
            yield clocks.judge_clock("the store", theirs, asked, clocks.now())
            yield from judge_postgres(_facts(runtime, db))
            return
    path = Path(runtime.engine.url.database or "")
    wal = path.with_name(path.name + "-wal")
    yield from judge_sqlite(path, wal.stat().st_size if wal.exists() else 0, file_system(path))
    if path.is_file():
        yield judge_room(path, shutil.disk_usage(path.parent).free)


def _speed(db: Connection) -> Finding:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        db.execute(text("SELECT 1"))
        times.append(time.perf_counter() - began)
    return judge_speed(statistics.median(times))


def judge_speed(seconds: float) -> Finding:
    """Whether a statement is answered fast enough. Pure."""
    found = f"at revision {head()}, a statement is answered in {seconds * 1000:.1f} ms"
    if seconds < SLOW_SECONDS:
        return ok("store", found)
    return warning(
        "store",
        found,
        "each text takes some ten statements, so the store decides how many a second can go",
        "run the workers near the store, and look at its load",
    )


def _facts(runtime: Runtime, db: Connection) -> PostgresFacts:
    def setting(name: str) -> int:
        return int(db.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one())

    in_use = db.execute(text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    alive = db.execute(text("SELECT count(*) FROM heartbeat WHERE role <> 'tick'")).scalar_one()
    return PostgresFacts(
        setting("server_version_num"),
        setting("max_connections"),
        setting("superuser_reserved_connections"),
        in_use.scalar_one(),
        max(alive, 1),
        runtime.settings.worker.concurrency,
    )


def judge_postgres(facts: PostgresFacts) -> Iterator[Finding]:
    """Version, and connections for the fleet. Pure."""
    name = f"PostgreSQL {facts.version // 10000}"
    if facts.version < POSTGRES_TESTED:
        level = problem if facts.version < POSTGRES_OLDEST else warning
        yield level(
            "store", name, "this is tested with PostgreSQL 15 and newer", "upgrade the server to a supported release"
        )
    else:
        yield ok("store", name)
    usable = facts.max_connections - facts.reserved
    needed = facts.processes * (facts.concurrency + CONNECTIONS_BESIDE)
    found = f"{facts.in_use} of {usable} connections in use; {facts.processes} processes may take {needed}"
    if needed > usable or facts.in_use > usable * 0.9:
        yield problem(
            "store",
            found,
            "a worker that gets no connection does nothing, and says so in its log",
            f"raise max_connections to {max(2 * needed, 100)}, lower worker.concurrency, or use fewer workers",
        )
    else:
        yield ok("store", found)


def judge_sqlite(path: Path, wal_bytes: float, kind: str) -> Iterator[Finding]:
    """A file: where it lies, and how long its write-ahead log is. Pure."""
    if any(kind.startswith(name) for name in NETWORK_FILE_SYSTEMS):
        yield problem(
            "store",
            f"{path} lies on a network file system ({kind})",
            "SQLite's locks do not work there: two machines would damage the file and text twice",
            "move data_dir to a local disk, or use PostgreSQL (store.url)",
        )
    if wal_bytes > LONG_WAL:
        yield warning(
            "store",
            f"the write-ahead log of {path} is {size(wal_bytes)} long",
            "something keeps a transaction open; reading gets slower and the disk fills",
            "look for a program that has the file open, or restart the workers one by one",
        )
    else:
        yield ok("store", f"SQLite, write-ahead log {size(wal_bytes)}")


def file_system(path: Path) -> str:
    """The kind of file system that ``path`` lies on, "" where this system does not say."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    absolute = path.absolute()
    holding = [(len(at), kind) for _device, at, kind, *_ in mounts if absolute.is_relative_to(at.replace("\\040", " "))]
    return max(holding, default=(0, ""))[1]
