"""Rules for how people sign in to the pages: a way must be left, a map of roles, and where a provider sends people."""

from __future__ import annotations

from collections.abc import Iterator

from config.errors import ConfigProblem
from config.raw import Table, section
from config.redact import redact_value

OPEN_TO_EVERYBODY = ("https://accounts.google.com",)
"""Issuers with whom anybody in the world can have an account."""


def sign_in_problems(web: Table) -> Iterator[ConfigProblem]:
    """Yield every broken rule about signing in of `[web]`."""
    ways = [name for name in ("oidc", "proxy_sign_in") if name in web]
    if web.get("passwords") is False and not ways:
        message = "leaves no way to sign in to the pages"
        yield ConfigProblem("web.passwords", "false", message, "add [web.oidc] or [web.proxy_sign_in], or remove it")
    for name in ways:
        table = section(web, name)
        if not table.get("roles") and "other_role" not in table:
            yield ConfigProblem(
                f"web.{name}.roles",
                None,
                "is missing: nobody would get a role, so nobody could sign in",
                'add  roles = { "name of a group" = "admin" }',
            )
    if "oidc" in ways and "public_url" not in web:
        yield ConfigProblem(
            "web.public_url",
            None,
            "is missing: the provider of web.oidc needs the address to which it sends people back",
            'add  public_url = "https://texts.example.com"  to [web]',
        )
    yield from _open_to_everybody(section(web, "oidc"))


def _open_to_everybody(oidc: Table) -> Iterator[ConfigProblem]:
    narrowed = oidc.get("required_claims") or oidc.get("email_domains")
    if oidc.get("issuer") in OPEN_TO_EVERYBODY and "other_role" in oidc and not narrowed:
        yield ConfigProblem(
            "web.oidc.other_role",
            redact_value(oidc["other_role"]),
            "would admit everybody who has an account with this provider",
            'add  required_claims = { hd = "example.com" }  with your domain, or remove other_role',
        )
