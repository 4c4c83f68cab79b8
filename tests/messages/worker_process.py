"""A worker process of its own: says "ready", waits for a line, delivers what is due, says how many were accepted."""

from __future__ import annotations

import sys

from config.models import Account, Policy, Settings
from tests.services import store_at
from worker.messages.delivery import deliver_due
from worker.runtime import Runtime


def settings(store_url: str, api_url: str, create_url: str) -> Settings:
    """The sandbox's own account."""
    account = Account(
        uid="sandbox",
        token="sandbox-token",
        from_number="+12025550100",
        api_url=api_url,
        create_url=create_url,
        concurrency=4,
    )
    return Settings(accounts={"main": account}, store=store_at(store_url), policy=Policy(quiet_hours="none"))


if __name__ == "__main__":
    runtime = Runtime(settings(*sys.argv[1:4]))
    with runtime.engine.connect():
        print("ready", flush=True)
    sys.stdin.readline()
    print(deliver_due(runtime).accepted, flush=True)
