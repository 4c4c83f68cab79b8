"""`vtsync reconcile opt-outs`: what each system can be asked, and what follows."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.conftest import Shell, sandbox, shell
from worker.deliveries.run import run_deliveries
from worker.runtime import open_runtime

__all__ = ["sandbox", "shell"]

ANNA, BEN, CAT = "+14155550101", "+14155550102", "+14155550103"
CRM = """
[connections.people]
adapter = "sql"
account = "main"
options = {{ url = "sqlite:///{crm}", table = "people" }}
do_not_text = {{ field = "dnt" }}
report_opt_outs = {told}
"""
TELNYX = """
[carriers.tx]
carrier = "telnyx"
account = "main"
public_key = "x"
api_url = "{url}"
{token}
"""
TWILIO = """
[carriers.tw]
carrier = "twilio"
account = "main"
account_id = "AC1"
auth_token = {{ env = "CLI_TOKEN" }}
"""


def results(shell: Shell, *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    return {one["system"]: one for one in shell.json("reconcile", "opt-outs", *options, code=code)}


def opted_out(shell: Shell) -> dict[str, str]:
    return {one["phone"]: one["source"] for one in shell.json("opt-outs")}


def announced() -> list[tuple[str, str]]:
    with sqlite3.connect(".vtsync/vtsync.sqlite3") as store:
        return store.execute("SELECT type, phone FROM public_event ORDER BY at, id").fetchall()


# --- VirtualText


def test_a_list_without_flags_is_said_to_show_nothing(shell: Shell) -> None:
    shell.sandbox.seed_contacts([(ANNA, "Anna", "")])
    shell.sandbox.opt_out(ANNA)
    found = results(shell)["VirtualText, account main"]
    assert (found["asked"], found["failed"], found["differences"]) == (False, False, 0)
    assert "does not show who has opted out" in found["result"]
    assert opted_out(shell) == {}


def test_what_the_list_shows_is_added_once(shell: Shell) -> None:
    shell.sandbox.behaviour.opt_out_flags = True
    shell.sandbox.seed_contacts([(ANNA, "Anna", ""), (BEN, "Ben", "")])
    shell.sandbox.opt_out(ANNA)
    tried = results(shell, "--dry-run")["VirtualText, account main"]
    assert "1 opt-out listed, 0 known; 1 would be added" in tried["result"]
    assert opted_out(shell) == {}
    done = results(shell)["VirtualText, account main"]
    assert (done["differences"], opted_out(shell)) == (1, {ANNA: "virtualtext_list"})
    assert announced() == [("contact.opted_out", ANNA)]
    assert "1 opt-out listed, 1 known" in shell("reconcile", "opt-outs").stdout
    assert len(announced()) == 1


def test_who_opted_in_here_again_is_not_opted_out_by_an_old_flag(shell: Shell) -> None:
    shell.sandbox.behaviour.opt_out_flags = True
    shell.sandbox.seed_contacts([(ANNA, "Anna", "")])
    shell.sandbox.opt_out(ANNA)
    shell("opt-out", ANNA)
    shell("opt-in", ANNA, "--why", "asked in person")
    found = results(shell)["VirtualText, account main"]
    assert f"1 person opted in here later, which counts ({ANNA})" in found["result"]
    assert opted_out(shell) == {}


def test_a_list_that_cannot_be_read_is_a_failure(shell: Shell) -> None:
    shell.sandbox.behaviour.list_timeout = True
    found = results(shell, code=1)["VirtualText, account main"]
    assert (found["asked"], found["failed"]) == (False, True)
    assert "could not be read" in found["result"]


# --- carriers


@dataclass
class Telnyx:
    """Telnyx's list of opt-outs, two on a page."""

    url: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def telnyx() -> Iterator[Telnyx]:
    made = Telnyx()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers["Authorization"]))
            page = len(made.asked)
            rows = made.rows[2 * page - 2 : 2 * page]
            meta = {"total_pages": -(-len(made.rows) // 2), "page_number": page, "page_size": 2}
            body = orjson.dumps({"data": rows, "meta": meta})
            self.send_response(made.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def row(number: str, at: str | None = "2025-04-28 12:00:38.631252+00:00") -> dict[str, Any]:
    """As in Telnyx's documentation."""
    return {"from": "+12025550100", "to": number, "messaging_profile_id": "p", "keyword": "STOP", "created_at": at}


def test_a_carriers_list_is_read_to_its_end(shell: Shell, telnyx: Telnyx) -> None:
    shell.configure(TELNYX.format(url=telnyx.url, token='auth_token = { env = "CLI_TOKEN" }'))
    telnyx.rows = [row(ANNA), row(BEN, None), row("262966"), row(CAT), row(ANNA, "2024-01-01 00:00:00+00:00")]
    shell("opt-out", CAT)
    found = results(shell)["carrier tx (telnyx)"]
    assert "3 opt-outs listed, 1 known; 2 added" in found["result"]
    assert "1 entry without a phone number" in found["result"]
    assert opted_out(shell) == {ANNA: "carrier", BEN: "carrier", CAT: "cli"}
    since = {one["phone"]: one["since"][:10] for one in shell.json("opt-outs")}
    assert (since[ANNA], since[CAT]) == ("2024-01-01", "2025-04-28"), "the older date counts"
    assert [path for path, _token in telnyx.asked] == [
        f"/messaging_optouts?page%5Bnumber%5D={page}&page%5Bsize%5D=250" for page in (1, 2, 3)
    ]
    assert {token for _path, token in telnyx.asked} == {"Bearer sandbox-token"}


@pytest.mark.parametrize(
    ("status", "token", "said", "failed"),
    [
        (401, 'auth_token = { env = "CLI_TOKEN" }', "refused the credential", True),
        (500, 'auth_token = { env = "CLI_TOKEN" }', "answered HTTP 500; nothing was compared", True),
        (200, "", "set carriers.tx.auth_token", False),
    ],
)
def test_a_carrier_that_does_not_answer_is_named(
    shell: Shell, telnyx: Telnyx, status: int, token: str, said: str, failed: bool
) -> None:
    shell.configure(TELNYX.format(url=telnyx.url, token=token))
    telnyx.status, telnyx.rows = status, [row(ANNA)]
    found = results(shell, code=int(failed))["carrier tx (telnyx)"]
    assert said in found["result"]
    assert (found["asked"], found["failed"], opted_out(shell)) == (False, failed, {})


def test_a_carrier_without_a_list_is_named(shell: Shell) -> None:
    shell.configure(TWILIO.format())
    found = results(shell)["carrier tw (twilio)"]
    assert (found["asked"], found["failed"]) == (False, False)
    assert "no list of opt-outs" in found["result"]


# --- CRM records


def crm(shell: Shell, *rows: tuple[int, str, str | None], told: str = "true") -> Path:
    path = shell.folder / "crm.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, mobile TEXT, dnt TEXT)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", rows)
    shell.configure(CRM.format(crm=path, told=told))
    shell("sync")
    return path


def flags(path: Path) -> list[str | None]:
    with sqlite3.connect(path) as connection:
        return [flag for (flag,) in connection.execute("SELECT dnt FROM people ORDER BY id")]


def lose_deliveries() -> None:
    """As if the deliveries had been given up long ago and pruned."""
    with sqlite3.connect(".vtsync/vtsync.sqlite3") as store:
        store.execute("DELETE FROM public_event")
        store.execute("DELETE FROM forward")


def test_a_record_that_does_not_show_the_opt_out_is_written_again(shell: Shell) -> None:
    path = crm(shell, (1, ANNA, "no"), (2, BEN, "no"), (3, CAT, "yes"))
    for phone in (ANNA, CAT):
        shell("opt-out", phone)
    lose_deliveries()
    tried = results(shell, "--dry-run")["connection people"]
    assert tried["result"] == "2 records of opted-out people: 1 shows it, 1 does not and would be written again (1)"
    assert flags(path) == ["no", "no", "yes"]
    done = results(shell)["connection people"]
    assert (done["differences"], "1 does not and is written again (1)" in done["result"]) == (1, True)
    again = results(shell)["connection people"]
    assert (again["differences"], "1 is written now" in again["result"]) == (0, True)
    run_deliveries(open_runtime(), 100)
    assert flags(path) == ["yes", "no", "yes"]
    assert "1 is written now, or after the last sync" in results(shell)["connection people"]["result"]
    shell("sync", "--full")
    assert results(shell)["connection people"]["result"] == "2 records of opted-out people: 2 show it"


def test_a_crm_that_is_not_told_is_named(shell: Shell) -> None:
    crm(shell, (1, ANNA, "no"), told="false")
    shell("opt-out", ANNA)
    found = results(shell)["connection people"]
    assert (found["asked"], found["result"]) == (
        False,
        "1 record of opted-out people; the CRM is not told, because report_opt_outs is off",
    )
