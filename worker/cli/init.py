"""The command ``vtsync init``: from an export or a CRM to a configuration. Everything is tried on the way."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from worker.cli.common import FAILED, app, fail, phone_number, say, show_findings, table, usage
from worker.cli.questions import Questions

if TYPE_CHECKING:
    from config.draft import Draft
    from config.models import Settings
    from crm_adapters.base import CrmField
    from worker.runtime import Runtime

EXPORTS = ("*.csv", "*.tsv", "*.xlsx", "*.csv.gz", "*/*.csv", "*/*.xlsx")
PREVIEWED = 10
ROLES = (
    # role, what it is, the option
    ("phone", "the phone number", "--phone"),
    ("full_name", "the name", "--name"),
    ("email", "the email address", "--email"),
)
Names = Annotated[list[str] | None, typer.Option(metavar="FIELD", help="The CRM's field for it; repeatable.")]


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Where to write the configuration.")] = Path(
        "vtsync.toml"
    ),
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Read this export: CSV or Excel.", show_default=False)
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="NAME", help="Read this kind of CRM (`vtsync adapters`).")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="An option of the adapter; repeatable.")
    ] = None,
    sandbox: Annotated[
        bool | None,
        typer.Option("--sandbox/--account", help="Use the sandbox, or the account of VTSYNC_UID and VTSYNC_TOKEN."),
    ] = None,
    from_number: Annotated[
        str | None, typer.Option("--from", metavar="NUMBER", help="The VirtualText number that texts are sent from.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="US", help="The country of numbers that are written without a country code."),
    ] = None,
    phone: Names = None,
    name: Names = None,
    email: Names = None,
    do_not_text: Annotated[
        str | None, typer.Option("--do-not-text", metavar="FIELD", help="The field that says who must not be texted.")
    ] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", metavar="FIELD", help="The field that says who agreed to be texted.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take the options and what is proposed.")] = False,
) -> None:
    """Set up a CRM and an account, with everything tried on the way.

    Asks on a terminal. Elsewhere, options give the answers. Without any, it writes a commented file to begin with.
    """
    if path.exists():
        usage(f"{path} exists already and was not changed; remove it first, or name another path")
    given: dict[str, Sequence[str]] = {"phone": phone or (), "full_name": name or (), "email": email or ()}
    questions = Questions(takes_defaults=yes)
    if not (questions.asks or yes or csv or adapter):
        _write_starter(path)
        return
    draft = _source(questions, path, csv, adapter, option or ())
    draft = _account(questions, draft, sandbox, from_number)
    os.environ |= draft.secrets
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-init-")))
        fields = _described(_trial(draft, path, folder))
        for one in (*given["phone"], *given["full_name"], *given["email"], do_not_text, consent):
            if one is not None:
                _known(one, fields)
        draft = _region(questions, draft, region)
        draft = _mapping(questions, draft, fields, given)
        draft = _policy(questions, draft, fields, do_not_text, consent)
        runtime = _trial(draft, path, folder)
        _preview(stack, runtime, draft)
    if questions.asks and not questions.yes(f"Write {path}?", default=True):
        fail("nothing was written", FAILED)
    _write(path, draft)
    _say_next(path, draft)


def _write_starter(path: Path) -> None:
    from config.errors import ConfigError
    from config.starter import write_starter

    try:
        write_starter(path)
    except ConfigError as error:
        usage(str(error))
    say(f"Wrote {path}. Next:")
    say("  1. put VTSYNC_UID and VTSYNC_TOKEN into .env next to it (never into the file itself)", hang=5)
    say("  2. add your CRM under [connections]; `vtsync adapters` lists the kinds")
    say("  3. vtsync check     finds every mistake and tries every credential")
    say("  4. vtsync plan      shows what a sync would do, without doing it")
    say("  5. vtsync up        runs everything")
    say("If VirtualText cannot list an account's contacts, `vtsync status` asks before any is created: `vtsync link`.")
    say("To try it without a VirtualText account: `vtsync sandbox` in another terminal.")
    say("On a terminal, `vtsync init` asks for all of this. `vtsync init --csv FILE --sandbox --yes` needs no answers.")


# --- the CRM


def _source(questions: Questions, path: Path, csv: Path | None, adapter: str | None, options: Sequence[str]) -> Draft:
    from config.draft import Draft

    given = dict(_option(one) for one in options)
    if csv is not None:
        if not csv.is_file():
            usage(f"--csv: there is no file {csv}")
        return Draft("csv", {"path": _from(path, csv)} | given)
    if adapter is None:
        exports = sorted({file for pattern in EXPORTS for file in path.parent.glob(pattern) if file.is_file()})
        if exports:
            say("These files look like exports:")
        choices = [str(file.relative_to(path.parent)) for file in exports] + ["another kind of CRM"]
        flags = "--csv FILE or --adapter NAME"
        chosen = questions.choice("Which one has your contacts", flags, choices) if exports else 0
        if chosen < len(exports):
            return Draft("csv", {"path": choices[chosen]} | given)
        adapter = _chosen_adapter(questions)
    return _with_options(questions, adapter, given)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"\w+", name):
        usage(f'--option takes NAME=VALUE, not "{text}"')
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if re.fullmatch(r"0|[1-9][0-9]{0,8}", value) else value


def _from(path: Path, file: Path) -> str:
    """Return the path of a file as the configuration names it: relative to its own folder, if it is inside."""
    folder, absolute = path.absolute().parent, file.absolute()
    return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)


def _chosen_adapter(questions: Questions) -> str:
    from crm_adapters.registry import describe_adapters

    known = describe_adapters()
    choices = [f"{one.name:12} {one.summary}" for one in known]
    return known[questions.choice("Which kind of CRM", "--adapter NAME", choices, None)].name


def _with_options(questions: Questions, adapter: str, given: Mapping[str, Any]) -> Draft:
    """Ask for the options that the adapter needs. Secrets become environment variables."""
    from config.draft import Draft, EnvironmentVariable
    from crm_adapters.registry import describe_adapters

    found = next((one for one in describe_adapters() if one.name == adapter), None)
    if found is None:
        names = ", ".join(one.name for one in describe_adapters())
        usage(f'there is no adapter "{adapter}"; there are: {names}')
    options: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for one in found.options:
        is_needed = one.default == "required" or (one.name == "token" and "client_id" not in given)
        if one.name not in given and not is_needed:
            continue
        is_secret = "secret" in one.type or (one.name in ("token", "password", "url") and adapter != "rest")
        if one.name in given:
            value = given[one.name]
        else:
            say(f"{one.name}: {one.description}")
            value = questions.text(one.name, f"--option {one.name}=VALUE", hidden=is_secret)
        if not is_secret:
            options[one.name] = value
            continue
        variable = f"VTSYNC_CRM_{one.name.upper()}"
        options[one.name] = EnvironmentVariable(variable)
        secrets[variable] = str(value)
    unknown = given.keys() - {one.name for one in found.options}
    if unknown:
        names = ", ".join(sorted(unknown))
        usage(f"the adapter {adapter} has no option {names}; `vtsync adapters {adapter}` lists them")
    return Draft(adapter, options, secrets=secrets)


# --- the account


def _account(questions: Questions, draft: Draft, sandbox: bool | None, from_number: str | None) -> Draft:
    from config.draft import SANDBOX_TOKEN, SANDBOX_VARIABLE

    if sandbox is None:
        question = "Do you have a VirtualText account? Without one, the sandbox is used"
        sandbox = not questions.yes(question, default=False)
    if sandbox:
        return replace(draft, sandbox=True, secrets={**draft.secrets, SANDBOX_VARIABLE: SANDBOX_TOKEN})
    secrets = dict(draft.secrets)
    for variable, what in (("VTSYNC_UID", "the uid: the part of the API credential before the colon"),
                           ("VTSYNC_TOKEN", "the token: the part after the colon")):  # fmt: skip
        known = os.environ.get(variable)
        secrets[variable] = known or questions.text(
            f"{variable}, {what}", f"the environment variable {variable}", hidden=variable == "VTSYNC_TOKEN"
        )
    number = phone_number(from_number or questions.text("The number that texts are sent from", "--from NUMBER"))
    return replace(draft, sandbox=False, from_number=number, secrets=secrets)


# --- its fields


def _trial(draft: Draft, path: Path, folder: Path) -> Runtime:
    """Return a runtime for the draft, with a store of its own that is thrown away."""
    from worker.runtime import Runtime
    from worker.store.migrate import migrate

    data = {**draft.data(), "data_dir": str(folder)}
    runtime = Runtime(_settings(data, path.absolute().parent))
    migrate(runtime.engine)
    return runtime


def _settings(data: Mapping[str, Any], folder: Path) -> Settings:
    from config.errors import ConfigError
    from config.load import settings_from
    from worker.runtime.load import adapter_checks

    try:
        return settings_from(data, folder, adapter_checks())
    except ConfigError as error:
        fail(str(error), FAILED)


def _described(runtime: Runtime) -> Sequence[CrmField]:
    """Try the connection, and return its fields. Ends the command with what is wrong."""
    from crm_adapters.base import AdapterError
    from worker.contacts.services import open_adapter

    try:
        with closing(open_adapter(runtime, "crm")) as adapter:
            say(f"ok     {adapter.check().summary}", hang=7)
            return list(adapter.describe())
    except AdapterError as error:
        fail(f"the CRM cannot be read: {error}. Nothing was written", FAILED)


def _known(name: str, fields: Sequence[CrmField]) -> str:
    """Return the field's own name, or end the command with the nearest ones."""
    found = _find(name, fields)
    if found is None:
        _no_field(name, fields)
    return found


def _no_field(name: str, fields: Sequence[CrmField]) -> NoReturn:
    usage(_missing(name, fields))


def _missing(name: str, fields: Sequence[CrmField]) -> str:
    from crm_adapters.described import nearest_fields

    near = " or ".join(nearest_fields(name, fields))
    return f'the CRM has no field "{name}"; ' + (f"did you mean {near}?" if near else f"it has: {_listed(fields)}")


def _listed(fields: Sequence[CrmField]) -> str:
    names = [one.name for one in fields]
    return ", ".join(names[:30]) + (" ..." if len(names) > 30 else "")


def _find(name: str, fields: Sequence[CrmField]) -> str | None:
    from crm_adapters.described import find_field

    found = find_field(name, fields)
    return None if found is None else found.name


def _region(questions: Questions, draft: Draft, region: str | None) -> Draft:
    from worker.core.regions import region_of

    usual = re.match(r"[a-z]{2}_([A-Z]{2})\b", os.environ.get("LC_ALL") or os.environ.get("LANG") or "")
    chosen = region or questions.text(
        "The country of numbers that are written without a country code (two letters, empty for none)",
        "--region US",
        usual[1] if usual else "",
    )
    if not chosen:
        return draft
    found = region_of(chosen)
    if found is None:
        usage(f'"{chosen}" is not a country; write two letters, such as US')
    return replace(draft, region=found)


def _mapping(
    questions: Questions, draft: Draft, fields: Sequence[CrmField], given: Mapping[str, Sequence[str]]
) -> Draft:
    from config.fields import FieldMapping
    from crm_adapters.base import CONTACT
    from crm_adapters.registry import adapter_class
    from worker.doctor.fields import samples_of

    people = [one for one in fields if one.kind == CONTACT]
    proposed = dict(_proposed([one.name for one in people], adapter_class(draft.adapter).usual, FieldMapping()))
    used = {name: role for role, names in proposed.items() for name in names}
    table(
        ["Field", "Label", "Values", "Proposed for"],
        ((one.name, one.label, ", ".join(samples_of(one)), used.get(one.name, "").replace("_", " ")) for one in people),
        f"The CRM has {len(people)} fields for a person:",
    )
    chosen: dict[str, tuple[str, ...]] = {}
    for role, what, flag in ROLES:
        names = tuple(_known(name, people) for name in given[role])
        chosen[role] = names or _asked_names(questions, what, flag, proposed.get(role, ()), people, role == "phone")
    return replace(draft, fields={role: names for role, names in chosen.items() if names})


def _proposed(header: Sequence[str], usual: Any, nothing: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    from crm_adapters.fields import find_columns

    columns = find_columns(tuple(header), nothing.or_else(usual))
    yield "phone", columns.phones
    yield "full_name", columns.full_name or columns.name_parts or columns.bare_name
    yield "email", columns.emails


def _asked_names(
    questions: Questions, what: str, flag: str, proposed: Sequence[str], people: Sequence[CrmField], is_needed: bool
) -> tuple[str, ...]:
    """Return the fields for a role: those that are proposed, or what the person types, separated by commas."""
    if not questions.asks:
        if is_needed and not proposed:
            usage(f"no field looks like {what}; give {flag} FIELD. The CRM has: {_listed(people)}")
        return tuple(proposed)
    while True:
        answer = questions.text(f"Fields for {what}, best first", flag, ", ".join(proposed))
        names = [one.strip() for one in answer.split(",") if one.strip()]
        wrong = next((name for name in names if _find(name, people) is None), None)
        if wrong is None and (names or not is_needed):
            return tuple(found for name in names if (found := _find(name, people)) is not None)
        say(f"{what} is needed" if wrong is None else _missing(wrong, people), "yellow")


def _policy(
    questions: Questions, draft: Draft, fields: Sequence[CrmField], do_not_text: str | None, consent: str | None
) -> Draft:
    """Propose the fields that look as if they said who may be texted."""
    from crm_adapters.base import CONTACT
    from crm_adapters.policy_columns import PolicyColumn, is_about_texts, policy_column

    people = [one for one in fields if one.kind == CONTACT]
    chosen: dict[str, str] = {}
    for rule, kind, given, means in (
        ("do_not_text", PolicyColumn.DO_NOT_TEXT, do_not_text, "says who must not be texted"),
        ("consent", PolicyColumn.CONSENT, consent, "says who agreed to be texted"),
    ):
        alike = sorted((one for one in people if policy_column(one) is kind), key=lambda one: not is_about_texts(one))
        if given is not None:
            chosen[rule] = _known(given, people)
        elif alike and questions.yes(f'"{alike[0].name}" {means}. Heed it?', default=True):
            chosen[rule] = alike[0].name
            say(f'ok     {rule}: "{alike[0].name}" {means}', hang=7)
    return replace(draft, do_not_text=chosen.get("do_not_text", ""), consent=chosen.get("consent", ""))


# --- trying it, and writing it


def _preview(stack: ExitStack, runtime: Runtime, draft: Draft) -> None:
    """Try the account, compare the fields, and show the first contacts as VirtualText will see them."""
    from config.draft import SANDBOX_API, SANDBOX_CREATE
    from crm_adapters.base import AdapterError
    from worker.contacts.plan import plan_connection
    from worker.doctor.credentials import check_account, check_connection
    from worker.sandbox import Sandbox

    if draft.sandbox:
        ports = [int(url.rpartition(":")[2]) for url in (SANDBOX_API, SANDBOX_CREATE)]
        with suppress(OSError):  # one is running already
            stack.enter_context(Sandbox(api_port=ports[0], create_port=ports[1]))
    show_findings([*check_account(runtime, "main", resume=False), *check_connection(runtime, "crm")])
    try:
        plan = plan_connection(runtime, "crm")
    except AdapterError as error:
        fail(f"the CRM cannot be read: {error}. Nothing was written", FAILED)
    from worker.cli.contacts import show_plan

    show_plan(plan, PREVIEWED)


def _write(path: Path, draft: Draft) -> None:
    from dotenv import set_key

    from worker.core.private_files import private_file

    path.write_text(draft.text(), encoding="utf-8")
    env = path.parent / ".env"
    private_file(env)
    for variable, value in draft.secrets.items():
        set_key(env, variable, value, quote_mode="always")
    say(f"Wrote {path}, and {env} with {', '.join(draft.secrets)}.", "bold")


def _say_next(path: Path, draft: Draft) -> None:
    steps = [("vtsync sync", "does what is shown above")]
    if draft.sandbox:
        steps.insert(0, ("vtsync sandbox", "in another terminal: the stand-in for VirtualText, with a page of phones"))
    steps += [("vtsync up", "syncs on schedule"), ("vtsync check", "finds every mistake after a change of the file")]
    say("Next:")
    for number, (command, what) in enumerate(steps, 1):
        say(f"  {number}. {command:16} {what}", hang=22)
    if path.name != "vtsync.toml":
        say(f"Add --config {path} to each command, or set VTSYNC_CONFIG.")
    sys.stdout.flush()
