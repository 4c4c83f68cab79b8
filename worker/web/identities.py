"""Users who sign in elsewhere: found by issuer and subject, never by their name or email address.

A sign-in at an OpenID provider is one row, with the hash of a token that only the browser has. Its state, nonce and
verifier are made from the token, so nothing secret is stored. The row is deleted when the answer comes: no answer
works twice, or in another browser.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from config.web import Web
from worker.identity.person import PROXY, Identity
from worker.identity.provider import SignInSecrets
from worker.store.sql import insert
from worker.store.tables import web_sign_in, web_user
from worker.web.sessions import token_hash
from worker.web.users import NAME, SignInRefused, UserRefused, WebPerson, end_sessions, person_of

SIGN_IN_LASTS = timedelta(minutes=10)


def begin_sign_in(connection: Connection, now: datetime) -> str:
    """Store that a sign-in was begun and return its token. Those that are too old are deleted."""
    connection.execute(delete(web_sign_in).where(web_sign_in.c.expires_at < now))
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(connection, web_sign_in).values(token_hash=token_hash(token), expires_at=now + SIGN_IN_LASTS)
    )
    return token


def secrets_of(token: str) -> SignInSecrets:
    """Return what belongs to the sign-in of this token. Pure."""

    def derived(what: str) -> str:
        return hmac.new(token.encode("utf-8", "replace"), what.encode(), hashlib.sha256).hexdigest()

    return SignInSecrets(state=derived("state"), nonce=derived("nonce"), verifier=derived("verifier"))


def take_sign_in(connection: Connection, token: str, now: datetime) -> bool:
    """Use up a sign-in. False: it was never begun, is too old, or was used."""
    s = web_sign_in.c
    taken = delete(web_sign_in).where(s.token_hash == token_hash(token), s.expires_at >= now)
    return connection.execute(taken).rowcount == 1


def user_of_identity(connection: Connection, identity: Identity, now: datetime) -> WebPerson:
    """Return the user, who is created at the first sign-in and gets the role of this one. Raises SignInRefused."""
    u = web_user.c
    mine = update(web_user).where(u.issuer == identity.issuer, u.subject == identity.subject)
    mine_now = mine.values(role=identity.role).returning(web_user)
    found = connection.execute(mine_now).first()
    if found is None:
        row = {"name": _name(identity), "role": identity.role, "password_hash": "", "totp_step": 0, "failures": 0}
        row |= {"issuer": identity.issuer, "subject": identity.subject, "created_at": now, "created_by": "sign-in"}
        found = connection.execute(
            insert(connection, web_user).values(row).on_conflict_do_nothing().returning(web_user)
        ).first()
    # A second browser of the same person may have been faster.
    found = found or connection.execute(mine_now).first()
    if found is None:
        how = " --proxy" if identity.issuer == PROXY else ""
        raise SignInRefused(
            f"there is another user {_name(identity)} here already. If that is you, an admin can run"
            f" `vtsync users link {_name(identity)} SUBJECT{how}`; the audit trail has your SUBJECT"
        )
    if found.disabled_at is not None:
        raise SignInRefused(f"the user {found.name} is disabled here; an admin can enable it")
    return person_of(found)


def link_user(connection: Connection, name: str, issuer: str, subject: str) -> None:
    """Let a user sign in elsewhere from now on, and no longer with a password. Raises UserRefused."""
    u = web_user.c
    other = connection.scalar(select(u.name).where(u.issuer == issuer, u.subject == subject))
    if other is not None:
        raise UserRefused(f"{subject} of {issuer} is the user {other} already")
    values = {"issuer": issuer, "subject": subject, "password_hash": "", "totp": None, "failures": 0}
    if not connection.execute(update(web_user).where(u.name == name).values(**values)).rowcount:
        raise UserRefused(f"there is no user {name}; `vtsync users list` lists them")
    end_sessions(connection, name)


def way_is_open(web: Web, person: WebPerson, proxied: Identity | None) -> bool:
    """Return whether a session of this person still counts: the configuration has its way to sign in. Pure.

    ``proxied`` is whom the proxy names in this request. Its session counts only with the same person and role.
    """
    if person.issuer is None:
        return web.passwords
    if person.issuer == PROXY:
        return proxied is not None and (proxied.subject, proxied.role) == (person.subject, person.role)
    return web.oidc is not None and web.oidc.issuer == person.issuer


def _name(identity: Identity) -> str:
    """Return the name that the user has here."""
    for candidate in (identity.name, identity.subject):
        name = re.sub(r"[^A-Za-z0-9._@+-]+", "-", candidate).lstrip("._@+-")[:80]
        if NAME.fullmatch(name):
            return name
    return f"user-{hashlib.sha256(identity.subject.encode()).hexdigest()[:12]}"
