"""PostgreSQL and Redis for one scenario, with nothing of another in them and nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kombu import Connection, pools

from tests.harness import until
from tests.services import REQUIRED
from worker.app import app
from worker.broker.settings import INTAKE, INTERNAL, OWN_INTAKE


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


@contextlib.contextmanager
def database_of_our_own(url: str) -> Iterator[str]:
    """One of the server's last databases, empty; other test processes, of any run on this machine, take others."""
    import redis

    def free() -> tuple[IO[str], int] | None:
        for number in range(10, 16):
            lock = (Path(tempfile.gettempdir()) / f"vtsync-test-redis-{number}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                return lock, number
        return None

    lock, number = until("a free database", free, seconds=100)
    with lock:
        own = f"{url.rsplit('/', 1)[0]}/{number}"
        redis.Redis.from_url(own).flushdb()
        yield own
        redis.Redis.from_url(own).flushdb()


class OwnRedis:
    """A Redis that keeps what it is told on disk, to be killed and started again."""

    def __init__(self, folder: Path, *settings: str, name: str = "redis") -> None:
        self._folder, self.port, self._settings = folder / name, free_port(), settings
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        keeps = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command = [redis_program(), *where, *keeps, *self._settings]  # the last word counts
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until("Redis", lambda: listens(self.port))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Gate:
    """Stands before a server that runs for others, too. Killed, it cuts every connection and takes no new one."""

    def __init__(self, url: str) -> None:
        there = urlsplit(url)
        self._server, self._port = (there.hostname or "127.0.0.1", there.port or 5672), free_port()
        login, at, _ = there.netloc.rpartition("@")
        self.url = there._replace(netloc=f"{login}{at}127.0.0.1:{self._port}").geturl()
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._take, args=(self._listener,), daemon=True).start()

    def kill(self) -> None:
        for one in (self._listener, *self._open):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._listener, self._open = None, []

    def _take(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(self._server)
                self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class OwnSentinel:
    """A Sentinel that watches one master and decides alone, after half a second. All passwords are ``password``."""

    def __init__(self, folder: Path, master: OwnRedis, name: str, password: str) -> None:
        self.port, self._file = free_port(), folder / "sentinel.conf"
        watched = f"""
port {self.port}
bind 127.0.0.1
requirepass {password}
sentinel sentinel-pass {password}
sentinel monitor {name} 127.0.0.1 {master.port} 1
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} 500
sentinel failover-timeout {name} 3000
"""
        self._file.write_text(watched, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([redis_program(), str(self._file), "--sentinel"], stdout=subprocess.DEVNULL)
        until("the Sentinel", lambda: listens(self.port))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def redis_program() -> str:
    """The server's path; without one the test is skipped, or fails where servers are demanded."""
    program = shutil.which("redis-server")
    if program is None:
        if REQUIRED:
            pytest.fail("there is no redis-server on this machine")
        pytest.skip("there is no redis-server to start and kill")
    return program


def own_authority(folder: Path) -> tuple[Path, Path, Path]:
    """Files of a certificate authority, and of the certificate and key for 127.0.0.1 that it signed."""
    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])  # noqa: E731

    def signed(subject: str, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("test authority"))
        made = made.public_key(public).serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        made = made.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return made.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    files = {
        "authority.pem": signed(
            "test authority", authority_key.public_key(), x509.BasicConstraints(ca=True, path_length=None)
        ),
        "server.pem": signed("127.0.0.1", key.public_key(), loopback),
        "server.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    for file, content in files.items():
        (folder / file).write_bytes(content)
    authority, certificate, private = (folder / file for file in files)
    return authority, certificate, private


class OwnPostgres:
    """A PostgreSQL cluster in a folder, to be killed and started again."""

    def __init__(self, folder: Path, max_connections: int = 300) -> None:
        self._folder, self.port, self._max_connections = folder / "postgres", free_port(), max_connections
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        found = shutil.which("initdb")
        self._programs = Path(found).resolve().parent if found else programs[-1]
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
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        options += f" -c max_connections={self._max_connections}"
        self._run("pg_ctl", "-D", self._folder / "data", "-w", "-l", self._folder / "log", "-o", options, "start")

    def kill(self) -> None:
        """As when the power goes: no connection ends properly, the next start replays the write-ahead log."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it was not running
            self._run("pg_ctl", "-D", self._folder / "data", "-w", "-m", "immediate", "stop")

    def standby(self, folder: Path) -> OwnPostgres:
        """A standby of this server, not started yet."""
        made = object.__new__(OwnPostgres)
        made.__dict__ |= self.__dict__ | {"_folder": folder / "standby", "port": free_port()}
        made._folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(made._folder, "postgres", "postgres")
        source = ["-h", "127.0.0.1", "-p", self.port, "-U", "vtsync", "-c", "fast", "-R"]
        self._run("pg_basebackup", *source, "-D", made._folder / "data")
        return made

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "-D", self._folder / "data", "-w", "promote")

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


class OwnPgBouncer:
    """A PgBouncer before a server of the test's own. ``settings`` are lines of its configuration."""

    def __init__(self, folder: Path, server: OwnPostgres, pool_mode: str, *settings: str) -> None:
        self.port, self._folder = free_port(), folder / f"pgbouncer-{uuid.uuid4().hex[:8]}"
        self._folder.mkdir(mode=0o755)
        (self._folder / "users.txt").write_text('"vtsync" ""\n', encoding="utf-8")
        lines = [
            "[databases]",
            f"postgres = host=127.0.0.1 port={server.port}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = trust",
            f"auth_file = {self._folder / 'users.txt'}",
            f"pool_mode = {pool_mode}",
            "default_pool_size = 5",
            *settings,
        ]
        (self._folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://vtsync@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        command = [_pgbouncer_program(), "-q", str(self._folder / "pgbouncer.ini")]
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(self._folder, "postgres", "postgres")
            command = ["runuser", "-u", "postgres", "--", *command]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        until("PgBouncer", lambda: listens(self.port))

    def kill(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _pgbouncer_program() -> str:
    """The pooler's path; without one the test is skipped, or fails where servers are demanded."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        if REQUIRED:
            pytest.fail("there is no pgbouncer on this machine")
        pytest.skip("there is no pgbouncer to start")
    return program


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def alone_on_rabbitmq(url: str) -> Iterator[None]:
    """The server's queues to ourselves: other test processes wait, and nothing is left in them."""
    with (Path(tempfile.gettempdir()) / "vtsync-test-rabbitmq.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _delete_queues(url)
        yield
        _delete_queues(url)


def _delete_queues(url: str) -> None:
    pools.reset()  # Kombu's pooled connections remember queues as declared
    if app.configured:  # the application in this process must not use the closed ones
        app.amqp._producer_pool = app._pool = None
    with Connection(url) as connection:
        for name in (INTAKE, OWN_INTAKE, *INTERNAL):
            connection.default_channel.queue_delete(name)
