"""A store that cannot be used: every command says so in a sentence, with what to do. A row for each kind of fault."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.cli.conftest import Shell
from tests.faults.servers import OwnPostgres, free_port
from worker.runtime import current
from worker.store.db import open_engine
from worker.store.migrate import migrate

COMMANDS = (["check"], ["status"], ["sync"], ["explain", "+14155550101"], ["worker"], ["doctor"])
PASSWORD = "good-password-of-tests"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    """A PostgreSQL with a user without rights, and databases in every state."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("there is no PostgreSQL to start")
    # Not pytest's folder, which the user of PostgreSQL may be locked out of.
    folder = Path(tempfile.mkdtemp(prefix="vtsync-store-errors-"))
    made = OwnPostgres(folder)
    access = folder / "postgres" / "data" / "pg_hba.conf"
    access.write_text("host all vtsync 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    made.start()
    try:
        engine = create_engine(made.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'"))
            for name in ("empty", "locked", "old", "new", "tables", "rows"):
                connection.execute(text(f"CREATE DATABASE {name}"))
            connection.execute(text("REVOKE CONNECT ON DATABASE locked FROM PUBLIC"))
        engine.dispose()
        for name, change in {
            "old": "UPDATE vtsync_version SET version_num = '0003'",
            "new": "UPDATE vtsync_version SET version_num = '9999'",
            "tables": "SELECT 1",
            "rows": "GRANT SELECT ON vtsync_version, store_key TO guest",
        }.items():
            engine = open_engine(made.url.replace("/postgres", f"/{name}"))
            migrate(engine)
            with engine.begin() as connection:
                connection.execute(text(change))
            engine.dispose()
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)


FAULTS: dict[str, tuple[str, str, str]] = {
    # what: (the URL, what is said, what to do)
    "it is away": ("postgresql+psycopg://guest:{password}@127.0.0.1:{free}/x", "Connection refused", "start it, or"),
    "no such host": ("postgresql+psycopg://guest:{password}@nowhere.invalid/x", "nowhere.invalid", "correct the host"),
    "no tables": ("{guest}/empty", "has no tables yet", "run `vtsync migrate`"),
    "an older schema": ("{owner}/old", "is at revision 0003", "run `vtsync migrate`"),
    "a newer schema": ("{owner}/new", "is at revision 9999", "run the newer version of vtsync"),
    "a wrong password": ("{wrong}/empty", "password authentication failed", "correct the user and the password"),
    "no such database": ("{guest}/nothing", 'database "nothing" does not exist', "create the database"),
    "not allowed to connect": ("{guest}/locked", "permission denied for database", "GRANT CONNECT"),
    "not allowed to see the revision": ("{guest}/tables", "permission denied", "own the tables"),
    "an option that does not exist": ("{owner}/old?nonsense=1", "invalid connection option", "remove that option"),
    "a folder instead of a file": (
        "sqlite:///{folder}",
        "unable to open database file",
        "let this user write the file and its folder",
    ),
    "another kind of file": ("sqlite:///{folder}/text.txt", "file is not a database", "move that file away"),
    "a folder below a file": (  # the message of mkdir, "File exists", would not help
        "sqlite:///{folder}/text.txt/store.sqlite3",
        "this is a file, and no folder",
        "correct data_dir or store.url",
    ),
}


def configure(shell: Shell, server: OwnPostgres, url: str, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    there = f"127.0.0.1:{server.port}"
    (shell.folder / "text.txt").write_text("not a database, but a text of some length\n" * 50)
    known = {
        "free": free_port(),
        "password": PASSWORD,
        "guest": f"postgresql+psycopg://guest:{PASSWORD}@{there}",
        "wrong": f"postgresql+psycopg://guest:bad-{PASSWORD}@{there}",
        "owner": f"postgresql+psycopg://vtsync@{there}",
        "folder": shell.folder,
    }
    monkeypatch.setenv("STORE_URL", url.format(**known))
    shell.configure(f'[store]\nurl = {{ env = "STORE_URL" }}\n{more}')


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_cannot_be_used_is_explained(
    shell: Shell, server: OwnPostgres, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said, remedy = FAULTS[fault]
    configure(shell, server, url, monkeypatch)
    for command in COMMANDS:
        current._runtimes.clear()
        output = " ".join(shell(*command, code=1).output.split())
        assert said in output, (command, output)
        assert remedy in output, (command, output)
        assert PASSWORD not in output


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"no tables", "an older schema"}))
def test_a_store_that_cannot_be_migrated_is_explained(
    shell: Shell, server: OwnPostgres, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said, remedy = FAULTS[fault]
    configure(shell, server, url, monkeypatch)
    output = " ".join(shell("migrate", code=1).output.split())
    assert said in output
    assert remedy in output


@pytest.mark.parametrize("command", [one for one in COMMANDS if one[0] not in ("check", "doctor", "worker")])
def test_a_right_that_is_missing_in_the_middle_is_explained(
    shell: Shell, server: OwnPostgres, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = '[connections.crm]\nadapter = "csv"\naccount = "main"\noptions.path = "x.csv"'
    configure(shell, server, "{guest}/rows", monkeypatch, connection)
    (shell.folder / "x.csv").write_text("id,name,phone\n")
    output = shell(*command, code=1).output
    assert "the store refused or lost a request (permission denied for table" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("data_dir", ["text.txt/data", "/proc/nothing", "/dev/null/x"])
@pytest.mark.parametrize("command", [*COMMANDS, ["up"], ["beat"], ["web", "--port", "0"], ["migrate"], ["prune"]])
def test_a_data_folder_that_cannot_be_made(shell: Shell, data_dir: str, command: list[str]) -> None:
    (shell.folder / "text.txt").write_text("a file")
    configuration = (shell.folder / "vtsync.toml").read_text()
    (shell.folder / "vtsync.toml").write_text(f'data_dir = "{data_dir}"\n{configuration}')
    output = " ".join(shell(*command, code=1).output.split())
    assert "cannot be opened (" in output
    assert "make the folder writable for this user, or correct data_dir" in output
