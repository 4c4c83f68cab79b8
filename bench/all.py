"""Runs the standard set of benchmarks and prints Markdown. It needs an idle machine, and 15 minutes (--full: 40).

    python bench/all.py [--postgres URL] [--redis URL] [--rabbitmq URL] [--full] [--only sync push ...] [--write]

Benchmarks of servers that are not given are skipped. ``--write`` puts the tables into docs/performance.md. ``--full``
adds 2 million rows, 100,000 contacts, and the peers, which are installed from the package index.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.results import machine  # noqa: E402
from config.generated_part import replace_part  # noqa: E402

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by bench/all.py -->", "<!-- end of the figures -->"
MILLION = "1000000"


def commands(options: argparse.Namespace) -> list[list[str]]:
    """Return the commands, in order."""
    store = ["--store", options.postgres] if options.postgres else None
    redis = ["--broker", options.redis] if options.redis else None
    rabbitmq = ["--broker", options.rabbitmq] if options.rabbitmq else None
    chosen: list[list[str] | None] = [
        ["start.py", *(redis or [])],
        ["latency.py", *(redis or []), *(store or [])],
        ["latency.py"],
        ["push.py", *(redis or []), *(store or [])],
        ["push.py"],
        rabbitmq and ["push.py", *rabbitmq, "--latency-ms", "50", "--concurrency", "100", "--rounds", "1"],
        ["sync.py", "--rows", MILLION],
        ["sync.py", "--rows", MILLION, "--adapter", "sql", "--rounds", "1"],
        store and ["sync.py", "--rows", MILLION, *store, "--rounds", "1"],
        ["encryption.py"],
        store and ["encryption.py", *store],
        ["pages.py"],
        store and ["pages.py", *store],
    ]
    if options.full:
        chosen += [
            ["sync.py", "--rows", "2000000", "--rounds", "1"],
            ["push.py", "--contacts", "100000", "--rounds", "1", *(redis or []), *(store or [])],
            ["peers.py"],
            ["peers.py", "--rows", "500", "--latency-ms", "20"],
        ]
    return [command for command in chosen if command and (not options.only or command[0][:-3] in options.only)]


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--postgres")
    made.add_argument("--redis", help="THE DATABASE IS EMPTIED, such as redis://127.0.0.1:6379/7")
    made.add_argument("--rabbitmq")
    made.add_argument("--full", action="store_true")
    made.add_argument("--only", nargs="+", metavar="NAME", help="start, latency, push, sync, encryption, pages, peers")
    made.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = made.parse_args()
    sections = [f"{time.strftime('%Y-%m-%d')}, {machine()}.\n"]
    for command in commands(options):
        shown = " ".join(["python", f"bench/{command[0]}", *map(nameless, command[1:])])
        print(f"\n$ {shown}", file=sys.stderr, flush=True)
        run = [sys.executable, str(ROOT / "bench" / command[0]), *command[1:], "--markdown"]
        table = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
        title, _, rest = table.partition("\n")
        sections.append(f"{title}\n\n`{shown}`\n{rest}")
    figures = "\n".join(sections)
    print(figures)
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(replace_part(text, BEGIN, END, f"\n{figures}"), encoding="utf-8")


def nameless(argument: str) -> str:
    """Replace the URL of a server by its scheme, for the document."""
    return argument.split(":", 1)[0].split("+")[0] + "://..." if "://" in argument else argument


if __name__ == "__main__":
    main()
