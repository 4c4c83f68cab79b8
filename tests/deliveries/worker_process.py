"""A worker process of its own: hands on what is due until it is killed. Arguments: store, CRM, webhook URL."""

from __future__ import annotations

import sys

from config.callbacks import Callbacks
from config.integrations import Subscriber
from config.models import Account, Connection, Settings
from tests.services import store_at
from worker.deliveries.run import run_deliveries
from worker.runtime import Runtime

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings(store_url: str, crm_url: str, webhook_url: str) -> Settings:
    """One connection that logs texts, one subscriber that hears all."""
    options = {"url": crm_url, "table": "people", "log_table": "texts"}
    return Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},
        connections={"people": Connection(adapter="sql", account="main", options=options, log_messages=True)},
        subscribers={"shop": Subscriber(url=webhook_url, secret=SECRET, events=("*",))},
        callbacks=Callbacks(secret=SECRET, allow_private=webhook_url.removesuffix("/hook")),
        store=store_at(store_url),
    )


if __name__ == "__main__":
    runtime = Runtime(settings(*sys.argv[1:4]))
    print("ready", flush=True)
    run_deliveries(runtime, 10_000)
