"""The commands for credentials that CRMs give us: connect, disconnect, grants rotate."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    USAGE,
    Json,
    app,
    chosen_connections,
    fail,
    local_time,
    open_store_runtime,
    say,
    show_done,
    show_findings,
    usage,
)
from worker.cli.group import Group

if TYPE_CHECKING:
    from worker.contacts.consent import Consent
    from worker.runtime import Runtime

grants = typer.Typer(
    cls=Group, no_args_is_help=True, help="Manage the stored credentials of `vtsync connect`.", rich_markup_mode=None
)
app.add_typer(grants, name="grants")

DEFAULT_REDIRECT = "http://127.0.0.1:8912/connect/callback"
LOOK_EVERY_SECONDS = 1.0


@app.command()
def connect(
    connection: Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection to give a credential to.")],
    redirect_url: Annotated[
        str | None,
        typer.Option(
            help=f"Where the CRM sends your browser afterwards, as registered there (default: {DEFAULT_REDIRECT})."
        ),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Let the running `vtsync web` take the answer, at web.public_url.")
    ] = False,
    paste: Annotated[
        bool, typer.Option("--paste", help="Paste the address or the code yourself, such as over SSH.")
    ] = False,
) -> None:
    """Let a person agree that a connection uses the CRM (OAuth). Stores the credential, then checks it."""
    from crm_adapters.base import AdapterError
    from worker.contacts.consent import begin_consent

    runtime = open_store_runtime()
    chosen_connections(runtime, [connection])
    redirect = _redirect(runtime, redirect_url, web)
    try:
        consent = begin_consent(runtime, connection, redirect)
        _finish(runtime, consent, paste=paste)
    except AdapterError as error:
        fail(f"{connection}: {error}", FAILED)
    say(f"{connection}: the credential is stored, encrypted.")
    _check(runtime, connection)


@app.command()
def disconnect(
    connection: Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection, also one removed earlier.")],
    json: Json = False,
) -> None:
    """Delete the stored credential of a connection."""
    from worker.contacts.grants import delete_grant
    from worker.store.db import writing

    runtime = open_store_runtime()
    with writing(runtime.engine) as db:
        deleted = delete_grant(db, connection)
    if not deleted:
        fail(f'there is no stored credential of connection "{connection}"', FAILED)
    said = f"{connection}: the credential is deleted here. To end its access, also remove the app in the CRM."
    show_done(json, {"connection": connection, "deleted": True}, said)


@grants.command("rotate")
def rotate(json: Json = False) -> None:
    """Encrypt all stored credentials with the first key of store.grant_key."""
    from crm_adapters.base import SourceInvalid
    from worker.contacts.grants import encrypt_again
    from worker.core.text import counted

    runtime = open_store_runtime()
    total = again = 0
    try:
        for _name, outdated in encrypt_again(runtime):
            total, again = total + 1, again + outdated
    except SourceInvalid as error:
        fail(str(error), FAILED)
    said = (
        f"{counted(again, 'credential')} encrypted again; all {total:,} now have the first key of store.grant_key."
        " You can remove the other keys."
        if total
        else "There are no stored credentials."
    )
    show_done(json, {"credentials": total, "encrypted_again": again}, said)


def _redirect(runtime: Runtime, given: str | None, web: bool) -> str:
    from worker.contacts.consent import CALLBACK_PATH

    if not web:
        return given or DEFAULT_REDIRECT
    public = runtime.settings.web.public_url
    if given is not None or public is None:
        usage("--web needs web.public_url in the configuration, and takes no --redirect-url")
    return f"{public.rstrip('/')}{CALLBACK_PATH}"


def _finish(runtime: Runtime, consent: Consent, *, paste: bool) -> None:
    """Wait for the CRM's answer, wherever it arrives, and store the credential."""
    from worker.contacts.consent import CONSENT_SECONDS, finish_consent, read_answer
    from worker.contacts.consent_listener import CallbackListener, is_here

    say(f"Open this link in a browser, log in to {consent.vendor}, and agree:")
    typer.echo(f"\n  {consent.link}\n")
    say(f"{consent.vendor} must know this redirect URL: {consent.redirect}")
    until = datetime.now(UTC) + timedelta(seconds=CONSENT_SECONDS)
    waits = f"until {local_time(until)} ({CONSENT_SECONDS // 60} minutes)"
    if paste:
        say(
            "After you have agreed, the browser shows a code, or a page that may not load. Copy the code, or the whole"
            f" address of that page. The link works {waits}."
        )
        finish_consent(runtime, read_answer(typer.prompt("Paste it here"), consent))
    elif is_here(consent.redirect):
        try:
            listener = CallbackListener(runtime, consent)
        except OSError as error:
            fail(
                f"cannot listen for the answer at {consent.redirect}: {error.strerror}; choose another address with"
                " --redirect-url, or run it with --paste",
                USAGE,
            )
        with listener:
            say(f"Waiting for your answer {waits}. If your browser is on another computer, run it with --paste.")
            if not listener.wait(CONSENT_SECONDS):
                fail("nobody has agreed in time; nothing was stored. Run the command again", FAILED)
    else:
        _wait_for_web(runtime, consent, waits)


def _wait_for_web(runtime: Runtime, consent: Consent, waits: str) -> None:
    from worker.contacts.consent import CONSENT_SECONDS, is_connected

    say(f"Waiting {waits} until `vtsync web` gets your answer. You may stop this command; the link works all the same.")
    deadline = time.monotonic() + CONSENT_SECONDS
    while not is_connected(runtime, consent):
        if time.monotonic() > deadline:
            fail("nobody has agreed in time; nothing was stored. Run the command again", FAILED)
        time.sleep(LOOK_EVERY_SECONDS)


def _check(runtime: Runtime, connection: str) -> None:
    from worker.core.findings import Level
    from worker.doctor.credentials import check_connection

    findings = list(check_connection(runtime, connection))
    show_findings(findings)
    if any(found.level is Level.PROBLEM for found in findings):
        raise typer.Exit(FAILED)
