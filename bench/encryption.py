"""Measures what encryption of the store costs: a first sync, an unchanged one, texts, and `vtsync encrypt`.

    python bench/encryption.py [--rows 100000] [--texts 2000] [--store postgresql+psycopg://...] [--rounds 3]

Each round does the same without and with a key, in turns, each in its own process and with an empty store. A figure is
the median of the rounds. Texts are queued and sent by a client that answers at once. ``--store`` uses
temporary schemas.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.results import parser, results
from bench.sync import alone, configure, make_csv, number, peak_mb, spent, sync


def send(texts: int) -> dict[str, Any]:
    """Queue texts, and send them with a client that answers at once."""
    from worker.core.logs import set_up_logging
    from worker.core.phones import Phone, parse_phone
    from worker.messages.delivery import deliver_due
    from worker.messages.outbox import enqueue_send
    from worker.messages.requests import SendRequest
    from worker.runtime import Runtime, open_runtime
    from worker.store.migrate import migrate
    from worker.virtualtext.outcomes import Outcome, Receipt, Status

    class Answers:
        def send_message(self, _body: object) -> Outcome[Receipt]:
            return Outcome(Status.DONE, Receipt())

    class AtOnce(Runtime):
        def client(self, account: str) -> Any:  # noqa: ARG002
            return Answers()

    set_up_logging("error")
    settings = open_runtime().settings
    policy = settings.policy.model_copy(update={"quiet_hours": "none"})
    quick = {name: one.model_copy(update={"texts_per_second": None}) for name, one in settings.accounts.items()}
    runtime = AtOnce(settings.model_copy(update={"policy": policy, "accounts": quick}))
    migrate(runtime.engine)
    began, used, memory = time.perf_counter(), time.process_time(), peak_mb()
    for index in range(texts):
        phone = parse_phone(number(index), "US")
        assert isinstance(phone, Phone)
        values = {"account": "main", "to": phone.e164, "message": f"Hi Ada {index}, your table is ready. Reply STOP."}
        enqueue_send(runtime, SendRequest.parse(values), source="task", actor="bench")
    queued = spent(began, used, memory)
    began, used = time.perf_counter(), time.process_time()
    sent = deliver_due(runtime, account="main")
    assert sent.accepted == texts, sent
    return {"queued": queued, "sent": spent(began, used, memory)}


def rewrite() -> dict[str, Any]:
    """Encrypt a store that is in clear."""
    from worker.runtime import open_runtime
    from worker.store.content import rewrite_content

    runtime = open_runtime()
    began, used, memory = time.perf_counter(), time.process_time(), peak_mb()
    rows: dict[str, int] = {}
    for one in rewrite_content(runtime.engine):
        rows[one.table] = max(rows.get(one.table, 0), one.rows)
    return {"rows": sum(rows.values())} | spent(began, used, memory)


def store_mb(data: Path, store: str | None) -> float:
    """Return the size of the database in MB."""
    if store is None:
        return sum(one.stat().st_size for one in data.glob("vtsync.sqlite3*")) / 1e6
    import psycopg

    with psycopg.connect(store.replace("+psycopg", "")) as server:
        (row,) = server.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        ).fetchall()
    return float(row[0]) / 1e6


def one_round(stack: ExitStack, folder: Path, options: Any, name: str, *, encrypted: bool) -> dict[str, Any]:
    from tests.faults.servers import own_schema  # not at the top, because the measured processes import this module

    store = stack.enter_context(own_schema(options.store)) if options.store else None
    configure(folder, "csv", store, encrypted=encrypted, data=name)
    found = {"first": alone(sync), "unchanged": alone(sync)}
    found["size"] = store_mb(folder / name, store)
    found |= alone(send, options.texts)
    if not encrypted:
        configure(folder, "csv", store, encrypted=True, data=name)
        found["rewrite"] = alone(rewrite)
    return found


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=100_000)
    made.add_argument("--texts", type=int, default=2000)
    made.add_argument("--store", help="a PostgreSQL database (default: a new SQLite file)")
    made.add_argument("--rounds", type=int, default=3)
    options = made.parse_args()
    kind = "PostgreSQL" if options.store else "SQLite"
    title = f"Encryption: {options.rows:,} rows from CSV, {options.texts:,} texts, store {kind}"
    with ExitStack() as stack, results(title, options) as found:
        folder = Path(tempfile.mkdtemp(prefix="vtsync-bench-"))
        stack.callback(shutil.rmtree, folder)
        make_csv(folder / "people.csv", options.rows)
        os.chdir(folder)
        sides: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for number_ in range(options.rounds):
            for encrypted in (False, True):
                name = f"data-{number_}-{encrypted}"
                sides[encrypted].append(one_round(stack, folder, options, name, encrypted=encrypted))

        def median(part: str, figure: str, *, encrypted: bool) -> float:
            return statistics.median(one[part][figure] for one in sides[encrypted])

        for what, part, count, unit in (
            ("first sync", "first", options.rows, "rows/s"),
            ("unchanged sync", "unchanged", options.rows, "rows/s"),
            ("texts queued", "queued", options.texts, "texts/s"),
            ("texts sent", "sent", options.texts, "texts/s"),
        ):
            for encrypted, label in ((False, "in clear"), (True, "encrypted")):
                cpu = median(part, "cpu", encrypted=encrypted) / count * 1e6
                seconds = median(part, "seconds", encrypted=encrypted)
                peak = median(part, "peak_mb", encrypted=encrypted)
                beside = f"{cpu:,.1f} us of CPU each, peak {peak:.0f} MB"
                found.add(f"{what}, {label}", count / seconds, unit, beside=beside)
        for encrypted, label in ((False, "in clear"), (True, "encrypted")):
            found.add(
                f"size of the database, {label}", statistics.median(one["size"] for one in sides[encrypted]), "MB"
            )
        done = [one["rewrite"] for one in sides[False]]
        rate = statistics.median(one["rows"] / one["seconds"] for one in done)
        peak = max(one["peak_mb"] for one in done)
        found.add("vtsync encrypt", rate, "rows/s", beside=f"{done[0]['rows']:,} rows, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
