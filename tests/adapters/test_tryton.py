"""A sync from a real Tryton: 1,000 parties, then changes of each kind.

It runs if VTSYNC_TEST_TRYTON names the folder of the programs of an environment with Tryton:

    python -m venv ~/tryton && ~/tryton/bin/pip install trytond trytond_party
    VTSYNC_TEST_TRYTON=~/tryton/bin pytest -s tests/adapters/test_tryton.py
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from pydantic import SecretStr

from config.fields import FieldMapping
from crm_adapters.base import AdapterError
from crm_adapters.http import HttpApi
from crm_adapters.services import LocalServices
from crm_adapters.testing import ScriptedProxy
from crm_adapters.testing.samples import contacts
from tests.adapters.real_systems import synced, with_adapter
from tests.adapters.tryton import TrytonAdapter, TrytonOptions, TrytonSession, address_of, call
from tests.harness import until

PROGRAMS = os.environ.get("VTSYNC_TEST_TRYTON", "")
PASSWORD = "a password: for/tests"
PEOPLE = 1000
CONNECTION = """
[connections.tryton]
adapter = "tryton"
account = "main"
default_region = "US"
options = {{ url = "{proxy.url}", database = "crm", user = "admin", password = {{ file = "password" }} }}
"""
SETTINGS = "[database]\nuri = sqlite://\npath = {folder}\n[web]\nlisten = 127.0.0.1:{port}\n"

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="VTSYNC_TEST_TRYTON does not name an installed Tryton")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tryton") / "crm.sqlite"


@pytest.fixture(scope="module")
def options(database: Path) -> Iterator[TrytonOptions]:
    """A new database on a server of its own."""
    folder = database.parent
    with closing(create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    settings = folder / "settings"
    settings.write_text(SETTINGS.format(folder=folder, port=port))
    database.touch()
    (folder / "password").write_text(PASSWORD)
    environment = os.environ | {"TRYTONPASSFILE": str(folder / "password")}
    admin = [f"{PROGRAMS}/trytond-admin", "-c", str(settings), "-d", "crm", "--email", "admin@example.com"]
    for more in (["--all", "-m"], ["-u", "party", "--activate-dependencies"]):
        subprocess.run([*admin, *more], env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    with closing(sqlite3.connect(database)) as db:  # only some may merge parties
        db.execute('INSERT INTO "res_user-res_group" ("user", "group") SELECT 1, id FROM res_group')
        db.commit()
    with (folder / "log").open("wb") as log:
        command = [f"{PROGRAMS}/trytond", "-c", str(settings), "-d", "crm"]
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    made = TrytonOptions(url=f"http://127.0.0.1:{port}", database="crm", user="admin", password=SecretStr(PASSWORD))
    try:
        until("Tryton", lambda: answers(made))
        yield made
    finally:
        server.kill()
        server.wait()


def spread(database: Path) -> None:
    """Let ten minutes lie between one party and the next: what changed shortly before a run is read twice."""
    with closing(sqlite3.connect(database, timeout=30)) as db:
        for table, number in (("party_party", "id"), ("party_contact_mechanism", "party")):
            ago = f"strftime('%Y-%m-%d %H:%M:%f', 'now', (-10 * {number}) || ' minutes')"
            db.execute(f"UPDATE {table} SET create_date = {ago}, write_date = {ago}")
        db.commit()


def answers(options: TrytonOptions) -> bool:
    with closing(TrytonAdapter(options, FieldMapping())) as adapter:
        try:
            return bool(adapter.check())
        except AdapterError:
            return False


class People:
    """Somebody who works in Tryton."""

    def __init__(self, options: TrytonOptions) -> None:
        services = LocalServices()
        self._api = HttpApi("Tryton", address_of(options), TrytonSession(options, services), services)

    def __call__(self, method: str, *params: Any) -> Any:
        told = call(self._api, method, *params, {}).data
        assert "result" in told, told
        return told["result"]

    def create(self, contacts: list[Any]) -> list[int]:
        made = [
            {
                "name": one.full_name,
                "contact_mechanisms": [
                    ["create", [{"type": "mobile", "value": one.phone}, {"type": "email", "value": one.email}]]
                ],
            }
            for one in contacts
        ]
        return list(self("model.party.party.create", made))

    def merge(self, gone: int, stays: int) -> None:
        session, *_state = self("wizard.party.replace.create")
        self("wizard.party.replace.execute", session, {"ask": {"source": gone, "destination": stays}}, "replace")


def test_a_sync_reads_what_changed_and_nothing_else(
    options: TrytonOptions, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, them = People(options), contacts(PEOPLE)
    ids = people.create(them)
    people("model.party.party.write", ids[60:64], {"name": "Ann Twice"})  # two people, each of them entered twice
    spread(database)
    (tmp_path / "password").write_text(PASSWORD)
    with (
        ScriptedProxy(options.url) as proxy,
        with_adapter(tmp_path, monkeypatch, "tryton", "tests.adapters.tryton:TrytonAdapter") as running,
    ):
        running.configure(CONNECTION.format(proxy=proxy))
        assert "Tryton responds" in running.run("check").output
        first = synced(running, proxy)
        assert (first["seen"], first["added"], first["created"]) == (PEOPLE, PEOPLE, PEOPLE)

        nothing = synced(running, proxy)
        assert (nothing["seen"], nothing["unchanged"]) == (1, 1)  # the newest change is read once more
        assert nothing["requests"] == 3  # the session, the page, and the end of the list

        for number in ids[:9]:
            people("model.party.party.write", [number], {"name": f"New {number}"})
        (mobile, *_more) = people("model.party.party.read", [ids[9]], ["contact_mechanisms"])[0]["contact_mechanisms"]
        people("model.party.contact_mechanism.write", [mobile], {"value": "+14155559999"})
        people("model.party.party.write", [ids[20]], {"active": False})
        people("model.party.party.delete", [ids[30]])
        people.merge(ids[60], ids[61])
        people.merge(ids[62], ids[63])
        some = synced(running, proxy)
        # The two that stay have the mobile number of those that were merged into them.
        assert (some["seen"], some["changed"], some["unchanged"], some["removed"]) == (15, 12, 0, 3)
        assert (some["updated"], some["requests"]) == (10, 3)
        merged = running.query("SELECT external_id, merged_into FROM contact_mapping WHERE merged_into IS NOT NULL")
        assert {(int(one), int(into)) for one, into in merged} == {(ids[60], ids[61]), (ids[62], ids[63])}
        known = {one["phoneNumber"]: one["fullName"] for one in running.sandbox.contacts()}
        assert [known[one.phone] for one in them[:9]] == [f"New {number}" for number in ids[:9]]
        assert known["+14155559999"] == them[9].full_name

        running.configure(CONNECTION.format(proxy=proxy) + 'reconcile = "1s"')
        compared = synced(running, proxy)
        assert (compared["removed"], compared["changed"], compared["rejected"]) == (1, 0, 0)
        assert compared["requests"] == 3 + 6  # the ids of all parties, 200 at a time
        gone = running.query("SELECT external_id FROM contact_mapping WHERE deleted_at IS NOT NULL ORDER BY id")
        assert [int(external_id) for (external_id,) in gone] == [ids[20], ids[30], ids[60], ids[62]]
