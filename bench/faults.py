"""Runs the full fault scenarios and prints their figures: ``python bench/faults.py [SCENARIO]`` (see ``--help``).

Exits with 1 if a promise is broken. Each scenario starts real processes and its own sandbox, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults import clocks, contact_list, echoes, hostile, scenarios
from tests.faults.chaos import chaos
from tests.faults.crowd import Crowd, Figures
from tests.faults.servers import Gate, OwnPostgres, OwnRedis, empty_redis, own_schema
from tests.harness import Fleet, fleet

CONTACTS, TEXTS, JOBS, KILLS = 20_000, 300, 300, 5
RECORDS, TWINS = 2_000, 15

RUNS: dict[str, Callable[[Fleet, argparse.Namespace], Figures]] = {
    "kill": lambda made, given: scenarios.kill(made, _crowd(given), KILLS, given.seed),
    "two": lambda made, given: scenarios.two(made, _crowd(given)),
    "dropped": lambda made, given: scenarios.dropped_answers(made, _crowd(given)),
    "stop": lambda made, given: scenarios.warm_stop(made, _crowd(given)),
    "interrupt": lambda made, given: scenarios.interrupted_sync(made, _crowd(given), signal.SIGTERM, "texts"),
    "rolling": lambda made, given: scenarios.rolling(made, Crowd(given.contacts, given.texts, jobs=given.jobs)),
    "stuck": lambda made, given: scenarios.stuck(made, _crowd(given)),
    "clocks": lambda made, given: clocks.apart(made, _crowd(given), (0.0, 300.0), -30.0),
    "jumps": lambda made, given: clocks.jumps(made, _crowd(given), {0: -3600.0, 1: -3600.0, 2: 3600.0}),
    "slices": lambda made, _: scenarios.sliced_import(made),
    "hostile": lambda made, _: hostile.hostile_rows(made),
    "list": lambda made, given: contact_list.failing_list(made, contact_list.ANSWERS[given.answer], given.contacts),
    "link": lambda made, given: contact_list.first_link_up(made, given.contacts, "file"),
    "records": lambda made, given: echoes.lost_records(made, RECORDS // 2, 2, 0.05, KILLS, given.seed),
    "twins": lambda made, _: echoes.twins(made, TWINS),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="?", default="all", choices=["all", "chaos", *RUNS])
    parser.add_argument("--contacts", type=int, default=CONTACTS, help="contacts to push (%(default)s)")
    parser.add_argument("--texts", type=int, default=TEXTS, help="texts to send besides (%(default)s)")
    parser.add_argument("--answer", default="403", choices=contact_list.ANSWERS, help="list: what it answers")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="seed for the times of kills")
    parser.add_argument("--postgres", metavar="URL", help="use this store instead of SQLite, in a temporary schema")
    parser.add_argument("--redis", metavar="URL", help="use this broker instead of files; ITS DATABASE IS EMPTIED")
    parser.add_argument(
        "--jobs", type=int, default=JOBS, help="chaos and rolling: jobs that a service sends (%(default)s)"
    )
    parser.add_argument(
        "--rabbitmq", metavar="URL", help="chaos: use this broker instead of a temporary Redis; GIVE IT ITS OWN VHOST"
    )
    given = parser.parse_args()
    if given.scenario == "chaos":
        return 0 if _chaos(given) else 1
    chosen = list(RUNS) if given.scenario == "all" else [given.scenario]
    kept = [_run(name, given) for name in chosen]  # all of them run, also after a failure
    return 0 if all(kept) else 1


def _run(name: str, given: argparse.Namespace) -> bool:
    """Run one scenario and print its figures. Return False if a promise is broken."""
    store, broker = "PostgreSQL" if given.postgres else "SQLite", "Redis" if given.redis else "files"
    print(f"\n{name} on {store} and {broker}, seed {given.seed}")
    began = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-faults-"))
        store_url = stack.enter_context(own_schema(given.postgres)) if given.postgres else None
        broker_url = stack.enter_context(empty_redis(given.redis)) if given.redis else None
        made = stack.enter_context(fleet(Path(folder), store=store_url, broker=broker_url))
        try:
            figures = RUNS[name](made, given)
        except AssertionError as error:
            print(f"  BROKEN: {error}", flush=True)
            return False
    _show(figures)
    print(f"  {'seconds in all':<38} {time.monotonic() - began:.0f}", flush=True)
    return True


def _show(figures: Figures) -> None:
    for what, figure in figures.items():
        print(f"  {what:<38} {figure:,}" if isinstance(figure, int) else f"  {what:<38} {figure}")


def _chaos(given: argparse.Namespace) -> bool:
    """Run four workers on a temporary broker and PostgreSQL, which are killed, too."""
    crowd = Crowd(given.contacts, given.texts, jobs=given.jobs)
    broker = "RabbitMQ" if given.rabbitmq else "Redis"
    print(f"\nchaos on PostgreSQL and {broker}: {crowd}, seed {given.seed}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-chaos-")))
        postgres = OwnPostgres(folder)
        queue = Gate(given.rabbitmq) if given.rabbitmq else OwnRedis(folder)
        for server in (queue, postgres):
            stack.callback(server.kill)
            server.start()
        made = stack.enter_context(fleet(folder, store=postgres.url, broker=queue.url))
        try:
            figures = chaos(made, crowd, [queue, postgres], workers=4, kills=KILLS * 2, seed=given.seed)
        except AssertionError as error:
            print(f"  BROKEN: {error}", *getattr(error, "__notes__", []), flush=True)
            return False
    _show(figures)
    return True


def _crowd(given: argparse.Namespace) -> Crowd:
    return Crowd(given.contacts, given.texts)


if __name__ == "__main__":
    sys.exit(main())
