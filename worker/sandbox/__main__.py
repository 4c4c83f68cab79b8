"""Runs the sandbox in the foreground: ``python -m worker.sandbox``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from worker.sandbox.server import serve
from worker.sandbox.state import DEFAULT_ACCOUNT, SandboxAccount


def account(text: str) -> SandboxAccount:
    """Read an account such as ``uid:token:+12025550100,+12025550101``. Raises ValueError."""
    uid, token, numbers = [*text.split(":", 2), ""][:3] if text.count(":") == 1 else text.split(":", 2)
    if not uid or not token:
        raise ValueError(text)
    return SandboxAccount(uid, token, tuple(filter(None, numbers.split(","))))


def main(arguments: list[str] | None = None) -> int:
    """Run the sandbox and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--api-port", type=int, default=8700, help="0 for a free one (%(default)s)")
    parser.add_argument("--create-port", type=int, default=8701, help="0 for a free one (%(default)s)")
    parser.add_argument(
        "--account",
        type=account,
        action="append",
        metavar="UID:TOKEN:NUMBER,...",
        help="an account and the numbers that it may send from; without numbers, any. May be repeated",
    )
    parser.add_argument("--any-credentials", action="store_true", help="accept every uid and token")
    parser.add_argument("--relay-url", default="", help="webhook for accounts that have not registered one")
    parser.add_argument("--list-limit", type=int, help="the contact list answers 408 for accounts with more contacts")
    parser.add_argument("--seed", type=int, default=0, help="seed for faults with a probability (%(default)s)")
    parser.add_argument("--ready-file", type=Path, help="write the URLs to this file, as JSON, once it listens")
    given = parser.parse_args(arguments)
    try:
        serve(
            given.host,
            given.api_port,
            given.create_port,
            given.account or (DEFAULT_ACCOUNT,),
            any_credentials=given.any_credentials,
            relay_url=given.relay_url,
            seed=given.seed,
            list_limit=given.list_limit,
            ready_file=given.ready_file,
        )
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
