"""The commands for the rights of people: export, forget, remember, consents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import (
    FAILED,
    USAGE,
    Json,
    Number,
    actor,
    app,
    complain,
    confirm,
    fail,
    json_text,
    local_time,
    open_store_runtime,
    say,
    show_done,
    show_json,
    table,
    typed_number,
    usage,
)
from worker.cli.group import Group
from worker.cli.progress import progress
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.people.erase import Erased
    from worker.runtime import Runtime

SHOWN_ROWS = 20

consents = typer.Typer(cls=Group, no_args_is_help=True, help="Import consents to texts.", rich_markup_mode=None)
app.add_typer(consents, name="consents")


@app.command()
def export(
    number: Number,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write to a file that only you can read.")
    ] = None,
) -> None:
    """Print everything that is stored about one person, as JSON."""
    from worker.people.export import export_person, is_known

    runtime = open_store_runtime()
    phone = typed_number(runtime, number)
    found = export_person(runtime, phone)
    if to is None:
        show_json(found)
    else:
        _write_private(to, json_text(found))
        say(f"What is stored about {phone} is in {to}, which only you can read.")
    if not is_known(found):
        complain(f"nothing is stored about {phone}")
        raise typer.Exit(FAILED)


def _write_private(path: Path, text: str) -> None:
    from worker.core.private_files import private_file

    if not path.parent.is_dir():
        usage(f"--to: there is no folder {path.parent}")
    private_file(path).write_text(text, encoding="utf-8")


@app.command()
def forget(
    number: Number,
    why: Annotated[
        str, typer.Option("--why", help="Who asked, without the person's name; stored with the hash.")
    ] = "the person asked",
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
    json: Json = False,
) -> None:
    """Erase everything about one person. Only a keyed hash of the number stays, so that they do not come back.

    It shows what will be deleted, and asks.
    """
    from worker.messages.forgotten import NoNumberKey
    from worker.people.erase import ForgetRefused, rehearse_forget
    from worker.people.erase import forget as erase

    runtime = open_store_runtime()
    phone = typed_number(runtime, number)
    try:
        if not yes:
            _show_erased(rehearse_forget(runtime, phone), "will be deleted", complain)
            confirm(f"Delete all of it? This cannot be undone. `vtsync export {phone}` makes a copy.", yes=yes)
        done = erase(runtime, phone, why=why, actor=actor())
    except NoNumberKey as error:
        fail(str(error), USAGE)
    except ForgetRefused as error:
        fail(str(error), FAILED)
    if json:
        show_json(done)
        return
    _show_erased(done, "were deleted", say)
    say(f"{phone} is forgotten: no account texts it, and CRM records with it are rejected.")
    say(f'If they become a customer again: `vtsync remember {phone} --why "..."`. This could not be erased:')
    for place in done.not_erased:
        say(f"  - {place}", hang=4)


def _show_erased(found: Erased, what: str, show: Any) -> None:
    rows = sum(found.rows.values()) + found.mentions
    show(f"{found.phone}: {counted(rows, 'row')} {what}.")
    for section, count in found.rows.items():
        show(f"  {section.replace('_', ' ')}: {count:,}")
    if found.mentions:
        show(f"  rows that mention the number: {found.mentions:,}")
    if found.named:
        show(f"  rows about other people that mention the number, and stay: {', '.join(found.named[:SHOWN_ROWS])}")
    if found.opted_out:
        show("  it has opted out; the opt-out holds")
    if found.other_numbers:
        show(f"  texts to earlier numbers are among them; forget these, too: {', '.join(found.other_numbers)}")


@app.command()
def remember(
    number: Number,
    why: Annotated[str, typer.Option("--why", help="Why the person is known again; stored as proof.")],
    json: Json = False,
) -> None:
    """Let a person who was forgotten come back from the CRM. An opt-out from before holds."""
    from worker.messages.decisions import remember_number

    runtime = open_store_runtime()
    phone = typed_number(runtime, number)
    if not why.strip():
        usage("say with --why why the person is known again; it is stored as proof")
    if not remember_number(runtime, phone, why=why, actor=actor()):
        fail(f"{phone} was not forgotten, or with a key that store.grant_key does not have now", FAILED)
    said = f"{phone} may come back. `vtsync sync --full` reads its CRM records, and sends no texts about the past."
    show_done(json, {"phone": phone, "remembered": True}, said)


@consents.command("import")
def import_list(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Excel: phone, and perhaps date, how, consent.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what cannot be used.")] = False,
    json: Json = False,
) -> None:
    """Put a list of consents on record, such as those that a form or another system collected. It lifts no opt-out."""
    from worker.contacts.contact_file import UnusableFile
    from worker.core.clock import utcnow
    from worker.people.consent_file import import_consents, read_consent_file

    runtime = open_store_runtime()
    try:
        listed = read_consent_file(file, _region(runtime), utcnow())
    except UnusableFile as error:
        fail(str(error), FAILED)
    with progress(f"{file}: importing consents") as report:
        done = import_consents(runtime, [] if dry_run else listed.consents, actor(), report)
    if json:
        show_json({"read": len(listed.consents), "unusable": listed.unusable, "done": done})
    else:
        unusable = counted(len(listed.unusable), "row")
        say(f"{counted(len(listed.consents), 'consent')} read from {file}; {unusable} cannot be used")
        if not dry_run:
            say(f"  {done.added:,} are new on record, {done.known:,} were on record before")
        if done.opted_out:
            say(f"  {counted(len(done.opted_out), 'number')} among them opted out, and stay so", "yellow")
        table(["Where", "Why it cannot be used"], listed.unusable[:SHOWN_ROWS])
    if listed.unusable:
        raise typer.Exit(FAILED)


@consents.command("show")
def show_ledger(number: Number, json: Json = False) -> None:
    """Show what the ledger has about one number, oldest first."""
    from worker.messages.consents import consents_of
    from worker.store.db import reading

    runtime = open_store_runtime(shows=True)
    phone = typed_number(runtime, number)
    with reading(runtime.engine) as connection:
        found = consents_of(connection, [phone]).get(phone, ())
    if json:
        show_json(found)
        return
    if not found:
        say(f"No consent of {phone} is on record.")
    table(
        ["At", "Rule", "Answer", "Who said so"],
        ((local_time(one.since), one.kind.replace("_", " "), one.answer, str(one)) for one in found),
    )


def _region(runtime: Runtime) -> str | None:
    """Return the country of numbers without a country code, if all accounts and connections have the same."""
    from worker.policy.countries import own_regions

    regions = own_regions(runtime.settings)
    return regions[0] if len(regions) == 1 else None
