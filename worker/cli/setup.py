"""The commands to get going: init, check, schema, migrate, adapters, sandbox, demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import FAILED, USAGE, Json, app, fail, open_store_runtime, say, show_json, table, usage


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write the configuration.")] = Path("vtsync.toml"),
) -> None:
    """Write a commented starter configuration."""
    from config.errors import ConfigError
    from config.starter import write_starter

    try:
        write_starter(path)
    except ConfigError as error:
        usage(str(error))
    say(f"Wrote {path}. Next:")
    say("  1. put VTSYNC_UID and VTSYNC_TOKEN into .env beside it (never into the file itself)")
    say("  2. name your CRM under [connections], see `vtsync adapters`")
    say("  3. vtsync check     tries every credential and names every mistake")
    say("  4. vtsync plan      shows what a sync would do, without doing it")
    say("  5. vtsync up        runs it all")
    say("To try it without a VirtualText account: `vtsync sandbox` in another terminal.")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    what: str
    ok: bool
    detail: str


@app.command()
def check(
    offline: Annotated[
        bool, typer.Option("--offline", help="Only read the configuration; connect to nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Validate the configuration and try every credential."""
    from worker.doctor.configuration import sizes

    runtime = open_store_runtime(ensure_store=False)
    findings = [Finding("configuration", True, sizes(runtime.settings))]
    findings += [Finding("renamed key", True, note) for note in runtime.settings.notes]
    if not offline:
        from worker.doctor.checks import check_everything

        findings += [Finding(f.what, f.ok, f.detail) for f in check_everything(runtime)]
    if json:
        show_json(findings)
    else:
        for finding in findings:
            say(
                f"{'ok    ' if finding.ok else 'FAILED'} {finding.what}: {finding.detail}",
                None if finding.ok else "red",
            )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


@app.command()
def migrate() -> None:
    """Bring the store's tables to this version."""
    from sqlalchemy.exc import DBAPIError

    from worker.store.migrate import migrate as apply

    runtime = open_store_runtime(ensure_store=False)
    where = runtime.engine.url.render_as_string(hide_password=True)
    try:
        before, now = apply(runtime.engine)
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
        fail(f"the store {where} cannot be migrated ({reason}); start it, or correct store.url", FAILED)
    say(f"{where}: {'already at' if before == now else 'now at'} revision {now}")


@app.command()
def adapters(
    name: Annotated[str | None, typer.Argument(help="Show this one's options.")] = None, json: Json = False
) -> None:
    """List the CRM adapters, or one adapter's options."""
    from crm_adapters.registry import describe_adapters

    known = describe_adapters()
    chosen = [one for one in known if name in (None, one.name)]
    if not chosen:
        fail(f'there is no adapter "{name}"; there are: {", ".join(one.name for one in known)}', USAGE)
    if json:
        show_json(chosen)
        return
    table(["Adapter", "What it reads", "From"], ((a.name, a.summary, a.source) for a in chosen))
    if name is not None:
        table(
            ["Option", "Type", "Default", "Meaning"],
            ((o.name, o.type, o.default, o.description) for o in chosen[0].options),
        )
    else:
        say("`vtsync adapters NAME` shows an adapter's options.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from config.schema import json_schema

    show_json(json_schema())


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    api_port: Annotated[int, typer.Option(help="Port of the API and of the page that shows the phones.")] = 8700,
    create_port: Annotated[int, typer.Option(help="Port of the host that creates contacts.")] = 8701,
    any_credentials: Annotated[
        bool, typer.Option("--any-credentials", help="Accept every uid and token, and every number to send from.")
    ] = False,
    relay_url: Annotated[str, typer.Option(help="Where to post each message that is sent or received.")] = "",
) -> None:
    """Run a VirtualText of your own to try things against. It texts nobody."""
    from worker.sandbox import serve

    try:
        serve(host, api_port, create_port, any_credentials=any_credentials, relay_url=relay_url)
    except OSError as error:
        where = f"{host}:{api_port} and {host}:{create_port}"
        fail(f"cannot listen on {where} ({error.strerror}); choose others with --api-port and --create-port", FAILED)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's files, to look at them.")] = False,
) -> None:
    """Run the main job for real on this machine, against the sandbox: two CRMs, a worker, texts."""
    from worker.demo import run_demo

    raise typer.Exit(run_demo(keep=keep))
