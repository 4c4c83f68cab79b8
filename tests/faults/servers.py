"""PostgreSQL and Redis for one scenario, with nothing of another in them and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.fleet import until


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


class OwnRedis:
    """A Redis that keeps what it is told on disk, to be killed and started again."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self._folder, self.port, self._settings = folder / "redis", free_port(), settings
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program, "there is no redis-server on this machine"
        keeps = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), *keeps]
        command += self._settings  # the last word counts
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until("Redis", lambda: listens(self.port))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class OwnPostgres:
    """A PostgreSQL cluster in a folder, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder / "postgres", free_port()
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        found = shutil.which("initdb")
        self._programs = Path(found).parent if found else programs[-1]
        self._folder.mkdir()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self._folder, "postgres", "postgres")
            for parent in (folder, *folder.parents):
                if not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._run("initdb", "-D", self._folder / "data", "-U", "vtsync", "-A", "trust", "-N")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://vtsync@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300"
        self._run("pg_ctl", "-D", self._folder / "data", "-w", "-l", self._folder / "log", "-o", options, "start")

    def kill(self) -> None:
        """As when the power goes: no connection ends properly, the next start replays the write-ahead log."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it was not running
            self._run("pg_ctl", "-D", self._folder / "data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
