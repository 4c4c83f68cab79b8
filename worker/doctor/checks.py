"""The list of all checks. `vtsync doctor` runs all of them; `vtsync check` and ``/health/fleet`` run some."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from worker.core.findings import Finding
from worker.doctor import (
    accounts,
    alerting,
    broker,
    configuration,
    connections,
    countries,
    credentials,
    encryption,
    exposure,
    fleet,
    host,
    people,
    queues,
    sharing,
    sign_in,
    store,
)
from worker.doctor.reach import reach_broker, reach_store
from worker.runtime import Runtime

MAX_SECONDS = 20.0
"""The time limit of a check. Checks that call VirtualText have the account's time-outs instead."""
SLACK_SECONDS = 5.0

Surface: TypeAlias = Literal["check", "health"]
Look: TypeAlias = Callable[[], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check. It runs only if the checks in ``needs`` found no problem.

    ``also`` names what runs it in addition to `vtsync doctor`: `vtsync check`, ``/health/fleet``.
    """

    what: str
    look: Look
    needs: tuple[str, ...] = ()
    also: tuple[Surface, ...] = ()
    seconds: float = field(default_factory=lambda: MAX_SECONDS)


def machine_checks(config_file: Path) -> list[Check]:
    """Return the checks of this machine, which need no configuration."""
    return [
        Check("packages", host.check_packages),
        Check("files", partial(host.check_files, config_file)),
        Check("data files", partial(host.check_data_files, config_file)),
        Check("disk", partial(host.check_data_dir, config_file)),
        Check("limits", host.check_limits),
    ]


def checks_for(runtime: Runtime, surface: Surface) -> list[Check]:
    """Return the checks of one surface."""
    return [check for check in runtime_checks(runtime, resume=surface == "check") if surface in check.also]


def runtime_checks(runtime: Runtime, *, resume: bool = False) -> list[Check]:
    """Return the checks of the configuration and of everything that it names, in order.

    ``resume``: an account whose credential works is called again, although it was stopped or paused.
    """
    settings = runtime.settings
    longest = {name: runtime.request_seconds(name) + SLACK_SECONDS for name in settings.accounts}
    return [
        Check("configuration", lambda: configuration.summarize(settings), also=("check",)),
        Check("test mode", lambda: accounts.judge_test_mode(settings), also=("check", "health")),
        Check("settings", lambda: configuration.check_settings(settings)),
        *(
            [Check("alerts", lambda: alerting.check_channels(settings), also=("check",))]
            if settings.alerts.channels
            else ()
        ),
        Check("relay secrets", lambda: exposure.check_relay_secrets(settings), also=("check",)),
        *(
            [Check("sign-in", lambda: sign_in.check_sign_in(settings), also=("check",))]
            if settings.web.oidc is not None or settings.web.proxy_sign_in is not None
            else ()
        ),
        *_server_checks(runtime),
        *(
            [Check("encryption", lambda: encryption.check_encryption(runtime), ("store",))]
            if settings.store.encryption_key is not None
            else ()
        ),
        Check("countries", lambda: countries.check_countries(runtime), ("store",), also=("check",)),
        Check("people", lambda: people.check_people(runtime), ("store",), also=("check",)),
        *(
            Check(
                f"account {name}",
                partial(credentials.check_account, runtime, name, resume=resume),
                ("store",),
                also=("check",),
                seconds=2 * seconds,
            )
            for name, seconds in longest.items()
        ),
        *(
            Check(
                f"clock of VirtualText for {name}",
                partial(credentials.check_account_clock, runtime, name),
                seconds=seconds,
            )
            for name, seconds in longest.items()
        ),
        *(
            Check(
                f"connection {name}",
                partial(credentials.check_connection, runtime, name),
                ("store",),
                also=("check",),
                seconds=3 * MAX_SECONDS,
            )
            for name in settings.connections
        ),
        *(
            Check(
                f"events of connection {name}", partial(connections.describe_webhook, settings, name), also=("check",)
            )
            for name, connection in settings.connections.items()
            if connection.webhook_secret is not None
        ),
        *_process_checks(runtime),
    ]


def fleet_checks(runtime: Runtime) -> list[Check]:
    """Return the checks that call nobody with a credential of an account or a connection."""
    return [*_server_checks(runtime), *_process_checks(runtime)]


def _server_checks(runtime: Runtime) -> list[Check]:
    return [
        Check("store", lambda: [reach_store(runtime, writable=True)], also=("check", "health")),
        Check("store's server", lambda: store.check_store_server(runtime), ("store",)),
        Check("broker", lambda: [reach_broker(runtime)], also=("check", "health")),
        Check("broker's server", lambda: broker.check_broker_server(runtime), ("broker",)),
        Check("other Redis servers", lambda: broker.check_other_redis(runtime)),
    ]


def _process_checks(runtime: Runtime) -> list[Check]:
    return [
        Check("store's history", lambda: fleet.check_history(runtime), ("store", "broker")),
        Check("fleet", lambda: fleet.check_fleet(runtime), ("store",), also=("health",)),
        Check("queues", lambda: queues.check_queues(runtime), ("store", "broker")),
        Check("shared queues", lambda: sharing.check_sharing(runtime), ("store", "broker")),
        Check("web", lambda: exposure.check_web(runtime), ("store",), also=("check",)),
    ]
