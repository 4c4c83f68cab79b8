"""Sessions of the pages: a random token in a cookie, of which the store has only the hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from worker.store.tables import web_session
from worker.web.users import WebPerson, find_user

LONGEST = timedelta(days=7)
IDLE = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=1)
"""The time of the last request is stored about this often."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in. ``csrf`` proves that a form comes from our own pages."""

    person: WebPerson
    id: str
    csrf: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as its user sees it."""

    id: str
    name: str
    created_at: datetime
    seen_at: datetime
    address: str
    browser: str


def start_session(
    connection: Connection, name: str, *, address: str, browser: str, now: datetime, lasts: timedelta = LONGEST
) -> str:
    """Store a new session and return its token. Sessions that have ended are deleted."""
    connection.execute(delete(web_session).where(web_session.c.expires_at < now))
    token = secrets.token_urlsafe(32)
    printable = "".join(character for character in browser if character.isprintable())
    row = {"token_hash": token_hash(token), "name": name, "address": address[:64], "browser": printable[:200]}
    times = {"created_at": now, "seen_at": now, "expires_at": now + lasts}
    connection.execute(insert(web_session).values(**row, **times))
    return token


def find_session(connection: Connection, token: str, now: datetime) -> tuple[Session, bool] | None:
    """Return the session of a token, and if its last request is to be noted; None if it has ended."""
    s = web_session.c
    row = connection.execute(select(s.name, s.seen_at, s.expires_at).where(s.token_hash == token_hash(token))).first()
    if row is None or now >= row.expires_at or now - row.seen_at > IDLE:
        return None
    person = find_user(connection, row.name)
    if person is None or person.disabled_at is not None:
        return None
    csrf = hmac.new(token.encode(), b"a form of our own pages", hashlib.sha256).hexdigest()
    return Session(person, token_hash(token), csrf), now - row.seen_at >= SEEN_EVERY


def note_seen(connection: Connection, session: Session, now: datetime) -> None:
    """Store the time of the last request."""
    connection.execute(update(web_session).where(web_session.c.token_hash == session.id).values(seen_at=now))


def end_session(connection: Connection, session_id: str, name: str) -> bool:
    """End one session of this user. False: there was none."""
    s = web_session.c
    return connection.execute(delete(web_session).where(s.token_hash == session_id, s.name == name)).rowcount == 1


def sessions_of(connection: Connection, name: str | None = None) -> list[SessionInfo]:
    """Return the sessions of a user, or of all, newest first."""
    s = web_session.c
    chosen = select(s.token_hash, s.name, s.created_at, s.seen_at, s.address, s.browser).order_by(s.seen_at.desc())
    if name is not None:
        chosen = chosen.where(s.name == name)
    return [SessionInfo(*row) for row in connection.execute(chosen)]


def token_hash(token: str) -> str:
    """Return what is stored of a token that only a browser has."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
