"""The fault scenarios in full, with their figures: ``python bench/survival.py [kill|two|dropped|stop|hostile|all]``.

Exits 1 when a promise is broken. Each scenario starts real processes and a sandbox of its own, and leaves nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fleet import Fleet, fleet
from tests.survival import hostile, scenarios

CONTACTS, TEXTS = 20_000, 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="?", default="all", choices=["all", *RUNS])
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    parser.add_argument("--texts", type=int, default=TEXTS)
    parser.add_argument("--postgres", help="run on this store, such as postgresql+psycopg://postgres@127.0.0.1/test")
    parser.add_argument("--broker", help="run on this broker, such as redis://127.0.0.1:6379/7")
    given = parser.parse_args()
    failed = False
    for name in RUNS if given.scenario == "all" else [given.scenario]:
        failed |= not run(name, given)
    return int(failed)


def run(name: str, given: argparse.Namespace) -> bool:
    print(f"\n{name}: {given.contacts:,} contacts, {given.texts:,} texts")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vtsync-faults-") as folder, fleet(Path(folder), **engines(given)) as made:
        try:
            figures = RUNS[name](made, given)
        except AssertionError as error:
            print(f"  BROKEN: {error}")
            return False
    for what, figure in figures.items():
        print(f"  {what:<34} {figure}")
    print(f"  {'wall time in seconds':<34} {time.monotonic() - began:.0f}")
    return True


def engines(given: argparse.Namespace) -> dict[str, str]:
    chosen = {"broker": given.broker} if given.broker else {}
    if given.postgres:
        from sqlalchemy import create_engine, text

        schema = f"faults_{uuid.uuid4().hex[:8]}"
        with create_engine(given.postgres).begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        chosen["store"] = f"{given.postgres}?options=-csearch_path%3D{schema}"
    return chosen


RUNS: dict[str, Callable[[Fleet, argparse.Namespace], scenarios.Figures]] = {
    "kill": lambda made, given: scenarios.kill(made, given.contacts, given.texts, kills=5, seed=time.time_ns()),
    "two": lambda made, given: scenarios.two(made, given.contacts, given.texts),
    "dropped": lambda made, given: scenarios.dropped_answers(made, min(given.contacts, 5000), given.texts),
    "stop": lambda made, given: scenarios.warm_stop(made, min(given.contacts, 2000)),
    "hostile": lambda made, _: hostile.hostile_rows(made),
}

if __name__ == "__main__":
    sys.exit(main())
