"""Reads a claim by its path: claims may be nested, and their names may have dots. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Claims = Mapping[str, Any]
ELSEWHERE = "_claim_names"
"""Names the claims that the provider has left out, because they are too long for a token (OpenID Connect, 5.6.2)."""
EMAIL_VERIFIED = ("email_verified", "xms_edov")
"""The claims by which providers say that an email address is verified. The second one is of Microsoft Entra ID."""
YES = (True, "true", "1")
"""How providers write that it is: some with the word or a number."""


class ClaimUnclear(Exception):
    """The claims do not say what a path leads to. The message says why."""


def claim_at(claims: Claims, path: str) -> Any:
    """Return the value of a claim; None if it is not there. Raises ClaimUnclear.

    A dot in the path leads into a claim, or is a part of a name: ``resource_access.my.client.roles`` is the claim
    ``roles`` of ``my.client`` of ``resource_access``. If a path can be read in two ways, with two values, nothing is
    guessed.
    """
    values = list(_values(claims, path))
    if any(value != values[0] for value in values):
        raise ClaimUnclear(f"the claim {path} can be read in two ways, with different values")
    if is_left_out(claims, path):
        raise ClaimUnclear(f"the provider left out {path}, because your account has too many of them for a token")
    return values[0] if values else None


def is_left_out(claims: Claims, path: str) -> bool:
    """Return whether the provider says that a claim exists, but is not in the token."""
    elsewhere = claims.get(ELSEWHERE)
    if isinstance(elsewhere, Mapping) and any(one in elsewhere for one in beginnings(path)):
        return True
    # Microsoft Entra ID writes this in place of groups, where a token must be short.
    return path == "groups" and "groups" not in claims and claims.get("hasgroups") in (True, "true")


def _values(claims: Any, path: str) -> Iterator[Any]:
    if not isinstance(claims, Mapping):
        return
    if path in claims:
        yield claims[path]
    for name in beginnings(path)[1:]:
        yield from _values(claims.get(name), path[len(name) + 1 :])


def beginnings(path: str) -> list[str]:
    """Return the path and each part of it before a dot, the longest first."""
    return [path, *(path[:dot] for dot in range(len(path) - 1, 0, -1) if path[dot] == ".")]


def with_userinfo(id_token: Claims, userinfo: Claims) -> Claims:
    """Return the claims of both. Where they differ, the id_token counts.

    What one of them says about the email address does not make the address of the other verified.
    """
    if id_token.get("email") == userinfo.get("email"):
        return {**userinfo, **id_token}
    if "email" in id_token:
        return {**_without_yes(userinfo), **id_token}
    return {**userinfo, **_without_yes(id_token)}


def _without_yes(claims: Claims) -> Claims:
    """Leave out that an address is verified. That one is not verified stays: then none counts."""
    return {name: value for name, value in claims.items() if name not in EMAIL_VERIFIED or value not in YES}
