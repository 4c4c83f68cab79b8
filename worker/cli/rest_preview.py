"""`vtsync adapters rest --try URL`: asks an API for one page, and prints how the rest adapter would read it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import typer

from worker.cli.common import FAILED, fail, say, show_json, table, usage, web_address
from worker.core.text import visible

if TYPE_CHECKING:
    from crm_adapters.http import Auth
    from crm_adapters.rest.explore import Understood

_TOKEN = "{token}"  # noqa: S105 - it stands for one


def preview_rest(url: str, headers: Sequence[str], token_env: str | None, *, json: bool) -> None:
    """Ask for one page and print what it shows, with options to copy."""
    from crm_adapters.base import AdapterError
    from crm_adapters.http import HttpApi
    from crm_adapters.rest.explore import UnsuitableResponse, understand
    from crm_adapters.rest.options import SECRET_HEADER, SECRET_PARAMETER
    from crm_adapters.rest.snippet import toml_snippet
    from crm_adapters.services import LocalServices

    parts = _parts(url)
    given = dict(map(_header, headers))
    auth, written, name = _credential(given, dict(parse_qsl(parts.query)), token_env)
    plain = {key: value for key, value in given.items() if _TOKEN not in value}
    query = {key: value for key, value in parse_qsl(parts.query, keep_blank_values=True) if value != _TOKEN}
    _refuse_secrets([key for key in plain if SECRET_HEADER.search(key)])
    _refuse_secrets([key for key in query if SECRET_PARAMETER.search(key)])
    host = parts.hostname or url
    api = HttpApi(host, f"{parts.scheme}://{parts.netloc}", auth, LocalServices(), headers=plain)
    asked = parts._replace(query="&".join(f"{key}={value}" for key, value in query.items())).geturl()
    try:
        found = understand(api.get(parts.path, query), asked)
    except (AdapterError, UnsuitableResponse) as problem:
        fail(f"{host} cannot be read like this. {problem}", FAILED)
    finally:
        api.close()
    toml = toml_snippet(found, "crm", written, plain)
    if json:
        show_json({"found": found, "configuration": toml})
        return
    _show(found)
    say()
    say("For the configuration file, then `vtsync check`:")
    say()
    typer.echo(visible(toml).rstrip("\n"))  # as it is: a line of a file must not be wrapped
    if not name:
        say()
        say("No credential was used. If the API needs one, call this again with --token-env.")


def _refuse_secrets(names: Sequence[str]) -> None:
    for name in names:
        usage(
            f"{name} looks like a credential, which a command line shows to others; put it into an environment"
            f" variable, and write {_TOKEN} in its place and --token-env with the variable's name"
        )


def _parts(url: str) -> Any:
    return urlsplit(web_address(url, "--try", "https://api.acme.example/v2/contacts?limit=10"))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        usage(f'--header takes "Name: value"; use "Name: {_TOKEN}" for the credential of --token-env')
    return name.strip(), value.strip()


def _credential(
    headers: Mapping[str, str], query: Mapping[str, str], token_env: str | None
) -> tuple[Auth, dict[str, Any], str]:
    """Return what signs the request, the same as options, and the name of the variable."""
    from pydantic import SecretStr

    from crm_adapters.http import BearerAuth, HeaderAuth, NoAuth, ParameterAuth

    if token_env is None:
        if any(_TOKEN in value for value in (*headers.values(), *query.values())):
            usage(f"{_TOKEN} needs --token-env, the environment variable with the credential")
        return NoAuth(), {}, ""
    secret = os.environ.get(token_env, "").strip()
    if not secret:
        usage(f"the environment variable {token_env} is not set; set it to the credential, without quotes")
    token = {"env": token_env}
    for name, value in headers.items():
        scheme, _, rest = value.partition(" ")
        if value == _TOKEN:
            return HeaderAuth({name: SecretStr(secret)}), {"kind": "header", "name": name, "token": token}, token_env
        if rest == _TOKEN and name.lower() == "authorization":
            written = {"kind": "bearer", "token": token} | ({} if scheme == "Bearer" else {"scheme": scheme})
            return BearerAuth(SecretStr(secret), scheme=scheme), written, token_env
    for name, value in query.items():
        if value == _TOKEN:
            written = {"kind": "parameter", "name": name, "token": token}
            return ParameterAuth(name, SecretStr(secret)), written, token_env
    return BearerAuth(SecretStr(secret)), {"kind": "bearer", "token": token}, token_env


def _show(found: Understood) -> None:
    from worker.doctor.fields import samples_of

    where = f'the list at "{found.records}"' if found.records else "a list"
    say(f'The response has {where} with {found.count} records. Each has an id in "{found.id}".')
    paging = found.paging
    told = ", ".join(f"{key} {value}" for key, value in paging.items() if key != "kind")
    say(
        "Paging: none was seen." if paging["kind"] == "none" else f"Paging: by {paging['kind']}{told and f' ({told})'}."
    )
    say(f'Time of change: "{found.changed}".' if found.changed else "Time of change: none was found.")
    for role in ("phone", "full_name", "email"):
        usual, guessed = found.roles.get(role, ()), found.columns.get(role, ())
        names = ", ".join(usual or guessed) or "not found"
        say(f"{role}: {names}{' (by its values)' if guessed and not usual else ''}")
    table(["Field", "Type", "Values"], ((one.name, one.type, ", ".join(samples_of(one))) for one in found.fields))
