"""Users of the pages: passwords (Argon2id), roles, the second factor (TOTP), and limits for guesses."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from config.sign_in import ROLES, Role
from config.web import Web
from crm_adapters.base import SourceInvalid
from worker.contacts.sealing import MAKE_A_KEY, GrantCipher
from worker.core.backoff import Backoff
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import web_session, web_user

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from worker.runtime import Runtime

ROLE_HELP: dict[Role, str] = {
    "viewer": "sees states and counts, and the kinds of reasons; numbers and texts are masked",
    "operator": "sees everything, and decides: approve, cancel, retry, resolve, opt out, sync now, pause",
    "admin": "the same, and manages users and reads the audit trail",
}
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 200
FREE_FAILURES = 5
"""After this many failed attempts in a row, the next one must wait."""
_WAITS = Backoff(30, 900)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,79}")
_AT_ONCE = threading.BoundedSemaphore(2)
"""Checking a password takes 64 MB of memory on purpose."""
_IN_LINE = threading.BoundedSemaphore(6)
"""Those that are checked and those that wait for it. More are refused: each of them keeps a thread of the API."""
STEP_SECONDS = 30


class UserRefused(ValueError):
    """The user cannot be created or changed like this. The message says why."""


class SignInRefused(Exception):
    """Nobody was signed in. The message is for the person, and does not say which part was wrong.

    ``tried``: a password was checked. What was refused before that is not worth a line of the audit trail.
    """

    def __init__(self, message: str, *, tried: bool = True) -> None:
        super().__init__(message)
        self.tried = tried


WRONG = (
    "the name, the password or the code is wrong. After five wrong attempts in a row a name must wait, at most 15"
    " minutes; an admin can end the wait with a new password"
)
"""The same for each reason: otherwise it would tell which names exist."""


@dataclass(frozen=True, slots=True)
class WebPerson:
    """A user, without secrets."""

    name: str
    role: Role
    has_totp: bool
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    issuer: str | None = None
    """Who says who this is, see ``worker.identity``. None: the person has a password here."""
    subject: str | None = None

    def may(self, role: Role) -> bool:
        """Return True if the user has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


def require_passwords(web: Web) -> None:
    """Raise UserRefused if nobody could sign in with a password."""
    if not web.passwords:
        raise UserRefused(
            "web.passwords is false, so a user with a password could not sign in; people are created here"
            " when they first sign in elsewhere"
        )


def create_user(connection: Connection, name: str, role: Role, password: str, *, by: str, now: datetime) -> None:
    """Create a user. Raises UserRefused."""
    if not NAME.fullmatch(name):
        raise UserRefused("a name has 1 to 80 letters, digits and the characters . _ @ + -")
    _check_password(name, password)
    if connection.scalar(select(web_user.c.name).where(web_user.c.name == name)) is not None:
        raise UserRefused(f"there is a user {name} already")
    row = {"name": name, "role": role, "password_hash": _hash(password), "totp_step": 0, "failures": 0}
    connection.execute(insert(web_user).values(**row, created_at=now, created_by=by[:80]))


def find_user(connection: Connection, name: str) -> WebPerson | None:
    """Return the user of this name."""
    row = connection.execute(select(web_user).where(web_user.c.name == name)).first()
    return None if row is None else person_of(row)


def list_users(connection: Connection) -> list[WebPerson]:
    """Return all users by name."""
    return [person_of(row) for row in connection.execute(select(web_user).order_by(web_user.c.name))]


def set_password(connection: Connection, name: str, password: str) -> None:
    """Change the password, and end all sessions. Raises UserRefused."""
    _keep_elsewhere(connection, name, "has no password here")
    _check_password(name, password)
    _change(connection, name, password_hash=_hash(password), failures=0, failed_at=None)
    end_sessions(connection, name)


def set_role(connection: Connection, name: str, role: Role) -> None:
    """Change what the user may do. It holds from the next request on. Raises UserRefused."""
    _keep_elsewhere(connection, name, "gets the role there at each sign-in")
    _keep_an_admin(connection, name, still_one=role == "admin")
    _change(connection, name, role=role)


def set_disabled(connection: Connection, name: str, now: datetime | None) -> None:
    """Let the user no longer sign in (``now``), or again (None), and end all sessions. Raises UserRefused."""
    _keep_an_admin(connection, name, still_one=now is None)
    _change(connection, name, disabled_at=now, failures=0, failed_at=None)
    end_sessions(connection, name)


def set_totp(connection: Connection, name: str, sealed: bytes | None) -> None:
    """Store the second factor's sealed secret, or remove it. Raises UserRefused."""
    _keep_elsewhere(connection, name, "has no second factor here")
    _change(connection, name, totp=sealed, totp_step=0)


def sign_in(runtime: Runtime, name: str, password: str, code: str, address: str) -> WebPerson:
    """Return the user whose password and code these are. Raises SignInRefused."""
    now = utcnow()
    limit_attempts(runtime, address)
    if not runtime.settings.web.passwords:
        raise SignInRefused("nobody signs in with a password here (web.passwords = false)", tried=False)
    with reading(runtime.engine) as connection:
        row = connection.execute(select(web_user).where(web_user.c.name == name)).first()
    # A name that must wait takes as long as any other, and its attempt does not count.
    is_right = _matches("" if row is None or row.issuer is not None else row.password_hash, password[:LONGEST_PASSWORD])
    if row is not None and _wait(row, now):
        raise SignInRefused(WRONG)
    step = 0
    if is_right and row is not None and row.totp is not None:
        step = _step_of(runtime, row, code, now)
        is_right = step > 0
    with writing(runtime.engine) as connection:
        if row is None or not is_right or row.disabled_at is not None:
            failed = {"failures": web_user.c.failures + 1, "failed_at": now}
            connection.execute(update(web_user).where(web_user.c.name == name).values(**failed))
            signed_in = None
        else:
            # The step is compared again: of two requests with the same code, one signs in.
            fresh = update(web_user).where(web_user.c.name == name, (web_user.c.totp_step < step) | (step == 0))
            values = {"failures": 0, "failed_at": None} | ({"totp_step": step} if step else {})
            signed_in = connection.execute(fresh.values(**values).returning(web_user)).first()
    if signed_in is None:
        raise SignInRefused(WRONG)
    return person_of(signed_in)


def limit_attempts(runtime: Runtime, address: str) -> None:
    """Count one attempt to sign in from an address. Raises SignInRefused if there were too many."""
    if runtime.limiter.admit(f"sign-in:{_network(address)}", 30):
        raise SignInRefused("too many attempts from this address; wait a minute", tried=False)


def new_totp_secret() -> str:
    """Return a new secret for an authenticator app, in base32."""
    import pyotp

    return str(pyotp.random_base32())


def totp_link(name: str, secret: str) -> str:
    """Return the link that authenticator apps read."""
    import pyotp

    return str(pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="VirtualText CRM sync"))


def seal_totp(runtime: Runtime, secret: str) -> bytes:
    """Encrypt a secret for the store. Raises UserRefused if the configuration has no key."""
    try:
        return GrantCipher.of(runtime.settings).encrypt({"totp": secret})
    except SourceInvalid:
        raise UserRefused(f"a second factor cannot be stored without a key: {MAKE_A_KEY}") from None


def totp_step(secret: str, code: str, now: datetime) -> int:
    """Return the time step of a code, which may be one step early or late; 0 if it is wrong. Pure."""
    import pyotp

    digits = re.sub(r"\s", "", code)
    step = int(now.timestamp()) // STEP_SECONDS
    for near in (step, step - 1, step + 1):
        if re.fullmatch(r"[0-9]{6}", digits) and pyotp.utils.strings_equal(
            pyotp.TOTP(secret).generate_otp(near), digits
        ):
            return near
    return 0


def _step_of(runtime: Runtime, row: Row[Any], code: str, now: datetime) -> int:
    try:
        content = GrantCipher.of(runtime.settings).decrypt(row.totp)
    except SourceInvalid:
        content = None
    if content is None:
        raise SignInRefused(
            "your second factor cannot be read, because store.grant_key has changed or is missing; put the key back, or"
            f" run `vtsync users remove-second-factor {row.name}`"
        )
    step = totp_step(str(content["totp"]), code, now)
    return step if step > row.totp_step else 0


def _network(address: str) -> str:
    """Return what limits count as one address: anybody with IPv6 has billions of them. Pure."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address


def _wait(row: Row[Any], now: datetime) -> timedelta | None:
    """Return how long the next attempt must still wait; None: it may be made. Pure."""
    if row.failures < FREE_FAILURES or row.failed_at is None:
        return None
    until = row.failed_at + timedelta(seconds=_WAITS.seconds(row.failures - FREE_FAILURES + 1, 0.0))
    return until - now if now < until else None


def person_of(row: Row[Any]) -> WebPerson:
    """Return the user of a row."""
    return WebPerson(
        row.name,
        row.role,
        row.totp is not None,
        row.created_at,
        row.created_by,
        row.disabled_at,
        row.issuer,
        row.subject,
    )


def _check_password(name: str, password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UserRefused(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    if name.casefold() in password.casefold() or len(set(password)) < 5:
        raise UserRefused("this password is easy to guess; use several words, or a password manager")


def _keep_an_admin(connection: Connection, name: str, *, still_one: bool) -> None:
    others = select(web_user.c.name).where(
        web_user.c.role == "admin", web_user.c.disabled_at.is_(None), web_user.c.name != name
    )
    mine = connection.scalar(select(web_user.c.role).where(web_user.c.name == name))
    if mine == "admin" and not still_one and connection.scalar(others.limit(1)) is None:
        raise UserRefused(f"{name} is the only admin; make another user an admin first")


def _keep_elsewhere(connection: Connection, name: str, what: str) -> None:
    """Raise UserRefused if the user signs in elsewhere, so that this cannot be changed here."""
    issuer = connection.scalar(select(web_user.c.issuer).where(web_user.c.name == name))
    if issuer is not None:
        raise UserRefused(f"{name} signs in by {issuer} and {what}")


def _change(connection: Connection, name: str, **values: Any) -> None:
    if not connection.execute(update(web_user).where(web_user.c.name == name).values(**values)).rowcount:
        raise UserRefused(f"there is no user {name}; `vtsync users list` lists them")


def end_sessions(connection: Connection, name: str) -> None:
    """End all sessions of a user."""
    connection.execute(delete(web_session).where(web_session.c.name == name))


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody() -> str:
    """Return a hash that no password has, so that an unknown name takes as long as a known one."""
    return _hasher().hash("nobody has this password")


def _hash(password: str) -> str:
    # Nobody waits here for the passwords of others: the caller has a transaction open.
    return _hasher().hash(password)


def _matches(stored: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    if not _IN_LINE.acquire(blocking=False):
        raise SignInRefused("too many people sign in at this moment; try again in a few seconds", tried=False)
    try:
        with _AT_ONCE:
            return _hasher().verify(stored or _nobody(), password) and stored != ""
    except (VerificationError, InvalidHashError):
        return False
    finally:
        _IN_LINE.release()
