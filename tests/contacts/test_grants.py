"""Credentials that change: renewed once by the whole fleet, never stored in clear, never lost in silence."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import OperationalError

from crm_adapters.base import CredentialsRejected, SourceInvalid, SourceUnavailable
from tests.contacts import grant_process
from tests.contacts.grant_process import KEY, refresh, settings
from tests.contacts.token_server import TokenServer, token_server
from worker.contacts import grants
from worker.contacts.grants import (
    StoredGrant,
    delete_grant,
    encrypt_again,
    grant_states,
    save_grant,
)
from worker.contacts.sealing import GrantCipher
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import crm_grant

OTHER_KEY = "0jNYcO7TNGIBdoQNGYmGVGJ0QuVxXjEtAIEeAHBsWwg="
WORKERS = 8


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with token_server() as running:
        yield running


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def runtime_on(engine: Engine, keys: str = KEY) -> Runtime:
    return Runtime(settings(url_of(engine), keys), engine=engine)


def connect(engine: Engine, server: TokenServer, connection: str = "crm", keys: str = KEY) -> dict[str, Any]:
    """What `vtsync connect` leaves."""
    values = server.new_values()
    with writing(engine) as db:
        save_grant(db, connection, GrantCipher(keys).seal(connection, values), utcnow())
    return values


def grant_on(engine: Engine, keys: str = KEY) -> StoredGrant:
    return StoredGrant(runtime_on(engine, keys), "crm")


def row(engine: Engine) -> Any:
    with reading(engine) as db:
        return db.execute(select(crm_grant)).one()


def lease_ends(engine: Engine) -> None:
    with writing(engine) as db:
        db.execute(update(crm_grant).values(lease_until=utcnow() - timedelta(seconds=1)))


def test_eight_workers_renew_once(engine: Engine, server: TokenServer) -> None:
    before = connect(engine, server)
    together = multiprocessing.get_context("forkserver")
    together.set_forkserver_preload([grant_process.__name__])
    tokens, barrier = together.Queue(), together.Barrier(WORKERS)
    arguments = (url_of(engine), server.url, barrier, tokens)
    processes = [together.Process(target=grant_process.renew_with_others, args=arguments) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    got = [tokens.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert server.refreshed == [before["refresh_token"]]
    assert server.rejected == []
    stored = grant_on(engine).current()
    assert stored is not None
    assert got == [stored["access_token"]] * WORKERS
    found = row(engine)
    assert (found.renewing_since, found.lease_owner, found.lease_until) == (None, None, None)
    assert found.renewed_at is not None


@pytest.mark.parametrize("rotates", [True, False], ids=["the old token is dead", "the old token still works"])
def test_a_worker_is_killed_between_the_renewal_and_its_commit(
    engine: Engine, server: TokenServer, rotates: bool
) -> None:
    before = connect(engine, server)
    renewed, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        renewed.set()
        go_on.wait(30)

    server.before_answer = hold
    command = [sys.executable, "-m", grant_process.__name__, url_of(engine), server.url]
    with subprocess.Popen(command) as process:
        assert renewed.wait(30)
        process.kill()
    server.before_answer = lambda: None
    go_on.set()
    with reading(engine) as db:
        [state] = grant_states(db, utcnow())
    assert state.unfinished_since is None, "its lease is held: for all we know it still works"
    lease_ends(engine)
    with reading(engine) as db:
        [state] = grant_states(db, utcnow())
    assert state.unfinished_since is not None
    if rotates:
        with pytest.raises(CredentialsRejected, match=r"ended without a result.* run `vtsync connect crm`"):
            grant_on(engine).renewed(before, lambda used: rejecting(server, used))
        assert server.rejected == [before["refresh_token"]], "it was tried once"
        with reading(engine) as db:
            [state] = grant_states(db, utcnow())
        assert state.unfinished_since is not None, "it stays visible until somebody connects"
        connect(engine, server)
    else:
        server.valid.add(before["refresh_token"])
        grant_on(engine).renewed(before, lambda used: rejecting(server, used))
    with reading(engine) as db:
        [state] = grant_states(db, utcnow())
    assert state.unfinished_since is None


def rejecting(server: TokenServer, used: Any) -> dict[str, Any]:
    """Renew, with the error that adapters raise."""
    try:
        return refresh(server.url, used)
    except OSError:
        raise CredentialsRejected("Acme rejects the credential") from None


def test_a_plain_rejection_says_what_the_adapter_says(engine: Engine, server: TokenServer) -> None:
    before = connect(engine, server)
    server.valid.clear()
    with pytest.raises(CredentialsRejected) as caught:
        grant_on(engine).renewed(before, lambda used: rejecting(server, used))
    assert str(caught.value) == "Acme rejects the credential"
    assert (row(engine).renewing_since, row(engine).lease_owner) == (None, None)


def test_a_renewal_without_an_answer_is_tried_again_and_stays_announced(engine: Engine, server: TokenServer) -> None:
    before = connect(engine, server)

    def lost(_used: Any) -> dict[str, Any]:
        raise SourceUnavailable("no answer")

    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            grant_on(engine).renewed(before, lost)
        assert row(engine).renewing_since is not None
        assert row(engine).lease_owner is None
    values = grant_on(engine).renewed(before, lambda used: rejecting(server, used))
    assert values == grant_on(engine).current()
    assert row(engine).renewing_since is None


def test_whoever_comes_with_old_values_gets_the_new_ones(engine: Engine, server: TokenServer) -> None:
    before = connect(engine, server)
    first = grant_on(engine).renewed(before, lambda used: refresh(server.url, used))
    assert grant_on(engine).renewed(before, pytest.fail) == first
    assert len(server.refreshed) == 1


def test_values_are_as_they_are_stored(engine: Engine, server: TokenServer) -> None:
    """A time that an adapter adds becomes a text; the next renewal must find the same values."""
    before = connect(engine, server)
    first = grant_on(engine).renewed(before, lambda used: refresh(server.url, used) | {"expires_at": utcnow()})
    assert first == grant_on(engine).current()
    grant_on(engine).renewed(first, lambda used: refresh(server.url, used))
    assert len(server.refreshed) == 2


def test_a_store_that_is_down_for_a_moment_does_not_lose_the_new_credential(
    engine: Engine, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = connect(engine, server)
    grant = grant_on(engine)
    replace, failures = grant._replace, [1, 2]

    def sometimes(*values: Any) -> Any:
        if failures:
            failures.pop()
            raise OperationalError("UPDATE", {}, Exception("the connection is lost"))
        return replace(*values)

    monkeypatch.setattr(grant, "_replace", sometimes)
    values = grant.renewed(before, lambda used: refresh(server.url, used))
    assert values == grant_on(engine).current() != before
    monkeypatch.setattr(grants, "STORE_SECONDS", 0.0)
    failures.append(1)
    with pytest.raises(SourceUnavailable, match=r"cannot be reached.*run `vtsync connect crm`"):
        grant.renewed(values, lambda used: refresh(server.url, used))
    assert row(engine).renewing_since is not None


def test_a_worker_that_was_frozen_keeps_what_the_crm_gave_it(engine: Engine, server: TokenServer) -> None:
    """Another worker took over meanwhile and was rejected. Only the frozen one has the credential that works."""
    before = connect(engine, server)

    def frozen(used: Any) -> dict[str, Any]:
        new = refresh(server.url, used)
        lease_ends(engine)
        with pytest.raises(CredentialsRejected):
            grant_on(engine).renewed(before, lambda old: rejecting(server, old))
        return new

    values = grant_on(engine).renewed(before, frozen)
    assert values == grant_on(engine).current()
    assert (row(engine).renewing_since, row(engine).lease_owner) == (None, None)


def test_a_person_who_connects_meanwhile_wins(engine: Engine, server: TokenServer) -> None:
    before = connect(engine, server)
    given: list[dict[str, Any]] = []

    def slow(used: Any) -> dict[str, Any]:
        new = refresh(server.url, used)
        given.append(connect(engine, server))
        return new

    assert grant_on(engine).renewed(before, slow) == given[0] == grant_on(engine).current()


def test_who_waits_too_long_ends_the_run_and_not_the_connection(
    engine: Engine, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = connect(engine, server)
    monkeypatch.setattr(grants, "WAIT_SECONDS", 0.0)

    def meanwhile(used: Any) -> dict[str, Any]:
        with pytest.raises(SourceUnavailable) as caught:
            grant_on(engine).renewed(before, pytest.fail)
        assert "another worker is renewing" in str(caught.value)
        assert caught.value.retry_after
        return refresh(server.url, used)

    grant_on(engine).renewed(before, meanwhile)


def test_without_a_grant(engine: Engine) -> None:
    assert grant_on(engine).current() is None
    with pytest.raises(CredentialsRejected, match="run `vtsync connect crm`"):
        grant_on(engine).renewed({"refresh_token": "x"}, pytest.fail)
    with writing(engine) as db:
        assert not delete_grant(db, "crm")


def test_nothing_secret_is_in_the_store_or_in_what_is_printed(tmp_path: Path, server: TokenServer) -> None:
    from worker.store.migrate import migrate

    path = tmp_path / "store.sqlite3"
    runtime = Runtime(settings(f"sqlite:///{path}"))
    migrate(runtime.engine)
    before = connect(runtime.engine, server)
    grant = StoredGrant(runtime, "crm")
    after = dict(grant.renewed(before, lambda used: refresh(server.url, used)))
    errors: list[str] = []
    for keys in (OTHER_KEY, KEY):
        try:
            StoredGrant(Runtime(settings(f"sqlite:///{path}", keys)), "crm").renewed(after, failing)
        except (SourceInvalid, SourceUnavailable) as error:
            errors.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")
    assert len(errors) == 2
    files = [one.read_bytes() for one in tmp_path.iterdir()]
    secrets = [*(str(values[name]) for values in (before, after) for name in ("access_token", "refresh_token")), KEY]
    printed = [*errors, repr(grant), repr(runtime.settings), repr(GrantCipher(KEY)), repr(vars(grant))]
    assert files
    for secret in secrets:
        assert not any(secret.encode() in content for content in files)
        assert not any(secret in text for text in printed)
    runtime.engine.dispose()


def failing(_used: Any) -> dict[str, Any]:
    raise SourceUnavailable("no answer")


def test_a_row_of_another_connection_does_not_decrypt(engine: Engine, server: TokenServer) -> None:
    connect(engine, server, "other")
    with writing(engine) as db:
        db.execute(update(crm_grant).values(connection="crm"))
    with pytest.raises(SourceInvalid, match=r'"crm" does not decrypt.*vtsync connect crm'):
        grant_on(engine).current()


def test_keys_are_replaced_step_by_step(engine: Engine, server: TokenServer) -> None:
    before = connect(engine, server)
    both = f"{OTHER_KEY},{KEY}"
    assert grant_on(engine, both).current() == before
    with pytest.raises(SourceInvalid, match=r"does not decrypt with any key of store\.grant_key"):
        grant_on(engine, OTHER_KEY).current()
    assert list(encrypt_again(runtime_on(engine, both))) == [("crm", True)]
    assert list(encrypt_again(runtime_on(engine, both))) == [("crm", False)]
    assert grant_on(engine, OTHER_KEY).current() == before
    with pytest.raises(SourceInvalid):
        list(encrypt_again(runtime_on(engine, KEY)))


def test_a_renewal_encrypts_with_the_first_key(engine: Engine, server: TokenServer) -> None:
    before = connect(engine, server)
    after = grant_on(engine, f"{OTHER_KEY},{KEY}").renewed(before, lambda used: refresh(server.url, used))
    assert grant_on(engine, OTHER_KEY).current() == after


def test_without_a_key_nothing_is_stored(engine: Engine) -> None:
    from config.models import Settings

    with pytest.raises(SourceInvalid, match="openssl rand -base64 32"):
        GrantCipher.of(Settings())
