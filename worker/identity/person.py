"""A person as a provider or a proxy names them, and the role that the configuration gives them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from config.sign_in import OidcSignIn, ProxySignIn, Role
from worker.identity.claims import EMAIL_VERIFIED, YES, Claims, ClaimUnclear, claim_at

PROXY = "proxy"
"""The issuer of those whom a proxy signs in. The issuers of OpenID Connect are addresses."""
LONGEST_SUBJECT = 255


class IdentityRefused(Exception):
    """This person is not let in. The message is for them. ``who`` is for the audit trail."""

    def __init__(self, message: str, who: str = "") -> None:
        super().__init__(message)
        self.who = who


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who has signed in elsewhere. ``issuer`` and ``subject`` say who it is; ``name`` is only shown."""

    issuer: str
    subject: str
    name: str
    role: Role


def identity_of_claims(oidc: OidcSignIn, claims: Claims) -> Identity:
    """Return whom the claims of a verified id_token name. Raises IdentityRefused."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or "\0" in subject:
        raise IdentityRefused("the provider did not say who you are; an admin must look at its settings")
    who = f"{oidc.issuer} {subject}"
    try:
        for claim, value in oidc.required_claims.items():
            if value not in _texts(claim_at(claims, claim)):
                raise IdentityRefused(
                    f'the claim {claim} of your account is not "{value}", which is required here', who
                )
        role = _role_of(oidc, claims, who)
    except ClaimUnclear as error:
        raise IdentityRefused(f"{error}; an admin must change the settings of the provider", who) from None
    names = [*_texts(claims.get("preferred_username")), *_texts(claims.get("upn")), _verified_email(oidc, claims)]
    names += _texts(claims.get("nickname"))
    return Identity(oidc.issuer, subject, next((name for name in names if name), subject), role)


def _role_of(oidc: OidcSignIn, claims: Claims, who: str) -> Role:
    """Return the role that the claims give. Raises IdentityRefused or ClaimUnclear."""
    email = _verified_email(oidc, claims)
    if not email and (oidc.email_domains or (oidc.role_claim == "email" and oidc.other_role is None)):
        raise IdentityRefused(_no_email(claims), who)
    if oidc.email_domains and email.rpartition("@")[2].lower() not in oidc.email_domains:
        domains = " or ".join(oidc.email_domains)
        raise IdentityRefused(f"your verified email address is not of {domains}, which is needed here", who)
    # Whoever may type an email address into their own profile must not choose their role with it.
    found = email if oidc.role_claim == "email" else claim_at(claims, oidc.role_claim)
    role = oidc.role_of(_texts(found))
    if role is None and found is None:
        raise IdentityRefused(
            f"the provider did not send the claim {oidc.role_claim}, which gives the role; an admin must let it send"
            " that claim, or correct role_claim, scopes or userinfo of web.oidc",
            who,
        )
    if role is None:
        raise IdentityRefused(_no_role(f"{oidc.role_claim} of your account"), who)
    return role


def identity_of_headers(proxy: ProxySignIn, users: Collection[bytes], groups: Collection[bytes]) -> Identity | None:
    """Return whom the headers of a trusted proxy name; None if it names nobody. Raises IdentityRefused.

    ``users`` and ``groups`` are all values of the two headers: two values would be one of the proxy, and one of the
    browser.
    """
    if not any(value.strip() for value in users):
        return None
    # Some servers join two headers with a comma.
    is_twice = len(users) > 1 or any(b"," in value for value in users)
    if is_twice or len(groups) > 1:
        header = proxy.user_header if is_twice else proxy.groups_header
        raise IdentityRefused(
            f"the header {header} is there twice, so the proxy does not replace what browsers send; an admin must"
            " correct the proxy"
        )
    user, *listed = [_header_text(value) for value in (*users, *groups)]
    if not 0 < len(user) <= LONGEST_SUBJECT:
        raise IdentityRefused(f"the header {proxy.user_header} has no name that can be used; an admin must look at it")
    keys = (
        [user]
        if proxy.groups_header is None
        else [one.strip() for text in listed for one in text.split(proxy.groups_separator)]
    )
    role = proxy.role_of([key for key in keys if key])
    if role is None:
        what = "name" if proxy.groups_header is None else "groups"
        raise IdentityRefused(_no_role(f"{what} of your account"), f"{PROXY} {user}")
    return Identity(PROXY, user, user, role)


def _no_role(what: str) -> str:
    return f"the {what} gives you no role here; ask an admin of these pages"


def _verified_email(oidc: OidcSignIn, claims: Claims) -> str:
    """Return the address of the account; "" if it has none that counts."""
    email = claims.get("email")
    said = [claims[name] for name in EMAIL_VERIFIED if name in claims]
    is_verified = all(one in YES for one in said) if said else oidc.trust_email
    return email if isinstance(email, str) and is_verified else ""


def _no_email(claims: Claims) -> str:
    if not isinstance(claims.get("email"), str):
        return "the provider did not send the email address of your account, which is needed here"
    if any(name in claims for name in EMAIL_VERIFIED):
        return "your account has no verified email address, which is needed here; verify it at the provider"
    return (
        "the provider does not say whether your email address is verified, which is needed here; an admin can let it"
        " send email_verified, or set web.oidc.trust_email"
    )


def _texts(value: Any) -> list[str]:
    """Return the texts of a claim, which may be one or a list."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _header_text(value: bytes) -> str:
    """Return a header's text; "" if it is no text that people can read."""
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""
