"""The commands ``vtsync users``: who may sign in to the pages of ``vtsync web``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    Json,
    actor,
    ago,
    app,
    fail,
    open_store_runtime,
    say,
    show_done,
    show_json,
    table,
    usage,
)
from worker.cli.group import Group

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from config.sign_in import Role

users = typer.Typer(cls=Group, help="Manage who may sign in to the pages of `vtsync web`.", no_args_is_help=True)
app.add_typer(users, name="users")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")]
RoleOption = Annotated[str, typer.Option("--role", help="viewer, operator or admin.")]


@users.command()
def create(name: Name, role: RoleOption = "viewer", json: Json = False) -> None:
    """Create a user. Asks for a password, or reads one line from standard input."""
    from worker.store.models import utcnow
    from worker.web.users import create_user, require_passwords

    chosen = _role(role)
    with _refusing():
        require_passwords(open_store_runtime().settings.web)
    password = _password()
    with _changing("user_create", name, role) as connection:
        create_user(connection, name, chosen, password, by=actor(), now=utcnow())
    show_done(json, {"name": name, "role": role}, f"{name} may sign in at /ui of `vtsync web`, as {role}.")


@users.command("list")
def list_(json: Json = False) -> None:
    """List the users."""
    from worker.store.db import reading
    from worker.web.users import list_users

    runtime = open_store_runtime()
    with reading(runtime.engine) as connection:
        found = list_users(connection)
    if json:
        show_json(found)
        return
    table(
        ("Name", "Role", "Signs in by", "Second factor", "Created", "State"),
        (
            (
                one.name,
                one.role,
                one.issuer or "password",
                "yes" if one.has_totp else "no",
                ago(one.created_at),
                _state(one.disabled_at),
            )
            for one in found
        ),
    )
    if not found:
        say("Nobody may sign in. `vtsync users create NAME --role admin` creates the first user.")


@users.command()
def password(name: Name, json: Json = False) -> None:
    """Set a new password, and sign the user out everywhere."""
    from worker.web.users import set_password

    new = _password()
    with _changing("user_password", name) as connection:
        set_password(connection, name, new)
    show_done(json, {"name": name}, f"{name} has a new password and is signed out everywhere.")


@users.command()
def role(
    name: Name,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")],
    json: Json = False,
) -> None:
    """Change what a user may do."""
    from worker.web.users import set_role

    chosen = _role(role)
    with _changing("user_role", name, role) as connection:
        set_role(connection, name, chosen)
    show_done(json, {"name": name, "role": role}, f"{name} is {role} now.")


@users.command()
def disable(name: Name, json: Json = False) -> None:
    """Let a user no longer sign in, and sign them out everywhere."""
    from worker.store.models import utcnow
    from worker.web.users import set_disabled

    with _changing("user_disable", name) as connection:
        set_disabled(connection, name, utcnow())
    show_done(json, {"name": name, "disabled": True}, f"{name} can no longer sign in.")


@users.command()
def enable(name: Name, json: Json = False) -> None:
    """Let a disabled user sign in again."""
    from worker.web.users import set_disabled

    with _changing("user_enable", name) as connection:
        set_disabled(connection, name, None)
    show_done(json, {"name": name, "disabled": False}, f"{name} may sign in again.")


@users.command("remove-second-factor")
def remove_second_factor(name: Name, json: Json = False) -> None:
    """Remove the second factor of a user who has lost it."""
    from worker.web.users import set_totp

    with _changing("user_second_factor", name) as connection:
        set_totp(connection, name, None)
    said = f"{name} signs in with the password alone, until they set up another second factor."
    show_done(json, {"name": name, "has_totp": False}, said)


@users.command()
def link(
    name: Name,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Who it is there; the audit trail has it.")],
    proxy: Annotated[bool, typer.Option("--proxy", help="By the proxy, not by OpenID Connect.")] = False,
    json: Json = False,
) -> None:
    """Let a user sign in elsewhere from now on, and no longer with a password."""
    from worker.identity.person import PROXY
    from worker.web.identities import link_user

    web = open_store_runtime().settings.web
    if (web.proxy_sign_in if proxy else web.oidc) is None:
        usage(f"the configuration has no {'[web.proxy_sign_in]' if proxy else '[web.oidc]'}")
    issuer = PROXY if proxy or web.oidc is None else web.oidc.issuer
    with _changing("user_link", name, f"{issuer} {subject}") as connection:
        link_user(connection, name, issuer, subject)
    said = f"{name} signs in by {issuer} from now on, and is signed out everywhere."
    show_done(json, {"name": name, "issuer": issuer, "subject": subject}, said)


@contextmanager
def _refusing() -> Iterator[None]:
    """End the command with the reason if the change is refused."""
    from worker.web.users import UserRefused

    try:
        yield
    except UserRefused as error:
        fail(str(error), FAILED)


@contextmanager
def _changing(action: str, name: str, detail: str = "") -> Iterator[Connection]:
    """Change a user in one transaction with its line of the audit trail."""
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.web.audit import note

    runtime = open_store_runtime()
    with _refusing(), writing(runtime.engine) as connection:
        yield connection
        note(connection, actor(), action, now=utcnow(), about=name, detail=detail, address="command line")


def _role(text: str) -> Role:
    from config.sign_in import ROLES

    found = next((one for one in ROLES if one == text), None)
    if found is None:
        usage(f'there is no role "{text}"; there are: {", ".join(ROLES)}')
    return found


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    asked: Callable[..., str] = typer.prompt
    return asked("Password, at least 12 characters", hide_input=True, confirmation_prompt=True, err=True)


def _state(disabled_at: object) -> str:
    return "disabled" if disabled_at else ""
