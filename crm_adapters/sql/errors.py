"""Turns a database's errors into AdapterErrors. Shortens the text, which may hold a statement or the password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from crm_adapters.base import AdapterError, CredentialsRejected, SourceInvalid, SourceUnavailable

_REFUSED = ("password authentication failed", "access denied", "login failed", "no password supplied", "authentication")
_INVALID = (
    "no such table",
    "no such column",
    "does not exist",
    "unknown column",
    "unknown table",
    "unknown database",
    "syntax error",
)
_TEXT = 200


@contextmanager
def explained(where: str, password: str | None) -> Iterator[None]:
    """Turn the database's errors into AdapterErrors. ``where`` names the database without secrets."""
    try:
        yield
    except AdapterError:
        raise
    except ModuleNotFoundError as error:
        raise SourceInvalid(
            f'the database {where} needs the Python package "{error.name}"; install it in the environment of vtsync'
        ) from None
    except (exc.ArgumentError, exc.NoSuchModuleError) as error:
        raise SourceInvalid(f"the url of the database cannot be used ({_safe(error, password)})") from None
    except exc.NoSuchTableError as error:
        raise SourceInvalid(f'{where} has no table "{_safe(error, password)}"; correct the option table') from None
    except exc.DBAPIError as error:
        raise _classified(where, error, password) from None
    except exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise SourceInvalid(f"{where} cannot be used ({_safe(cause, password)}); correct the options") from None


def _classified(where: str, error: exc.DBAPIError, password: str | None) -> AdapterError:
    text = _safe(error.orig or error, password)
    lower = text.casefold()
    if any(word in lower for word in _REFUSED):
        return CredentialsRejected(f"{where} refuses the credential ({text}); correct the option url")
    if any(word in lower for word in _INVALID) or isinstance(error, exc.ProgrammingError | exc.DataError):
        return SourceInvalid(f"{where} does not have what the options name ({text}); correct the options")
    return SourceUnavailable(f"{where} cannot be used at the moment ({text}); the next run tries again")


def _safe(error: BaseException, password: str | None) -> str:
    """Return the first line of a driver's message, shortened and without the password."""
    lines = str(error).strip().splitlines()
    text = (lines[0] if lines else type(error).__name__)[:_TEXT]
    return text.replace(password, "***") if password else text
