"""Credentials that do not change. ``crm_adapters.oauth`` has those that do."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

REPLACE = "create a new credential in the CRM and put it into the options of this connection"


@dataclass(frozen=True, slots=True, repr=False)
class Signature:
    """What a credential adds to one request. ``secrets`` are removed from every message."""

    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class Auth(Protocol):
    """A credential for ``HttpApi``. ``remedy`` says what a person does when the CRM refuses it."""

    @property
    def remedy(self) -> str:
        """The part of the error message after "refuses the credential"."""

    def signature(self) -> Signature:
        """Return what to add to the next request. Raises AdapterError."""

    def renew(self) -> bool:
        """The CRM refused the last signature. Return True if there is a new one, so that a repeat may succeed."""


class _Fixed:
    """A credential that a person must replace."""

    remedy: str = REPLACE

    def renew(self) -> bool:
        return False


class NoAuth(_Fixed):
    """No credential."""

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        return Signature()


class HeaderAuth(_Fixed):
    """One or several headers: ``HeaderAuth({"x-api-token": options.token})``. Plain text is no secret."""

    def __init__(self, headers: Mapping[str, SecretStr | str], *, remedy: str = REPLACE) -> None:
        self.remedy = remedy
        self._headers = {name: plain(value) for name, value in headers.items()}
        self._secrets = tuple(plain(value) for value in headers.values() if isinstance(value, SecretStr))

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        return Signature(headers=self._headers, secrets=self._secrets)


class BearerAuth(_Fixed):
    """``Authorization: Bearer TOKEN``. ``scheme`` is the word before the token."""

    def __init__(self, token: SecretStr | str, *, scheme: str = "Bearer", remedy: str = REPLACE) -> None:
        self.remedy = remedy
        self._token = plain(token)
        self._scheme = scheme

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        return bearer(self._token, self._scheme)


class BasicAuth(_Fixed):
    """A user and a password, or a key in place of the user."""

    def __init__(self, user: SecretStr | str, password: SecretStr | str = "", *, remedy: str = REPLACE) -> None:
        self.remedy = remedy
        pair = f"{plain(user)}:{plain(password)}"
        self._encoded = b64encode(pair.encode()).decode()
        secret_user = (plain(user),) if isinstance(user, SecretStr) else ()
        self._secrets = (self._encoded, pair, plain(password), *secret_user)

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        return Signature(headers={"Authorization": f"Basic {self._encoded}"}, secrets=self._secrets)


class ParameterAuth(_Fixed):
    """A parameter of the query, for APIs that accept nothing else: it ends up in the logs of proxies."""

    def __init__(self, name: str, key: SecretStr | str, *, remedy: str = REPLACE) -> None:
        self.remedy = remedy
        self._parameters = {name: plain(key)}

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        return Signature(parameters=self._parameters, secrets=tuple(self._parameters.values()))


def bearer(token: str, scheme: str = "Bearer") -> Signature:
    """Return the signature of a bearer token."""
    return Signature(headers={"Authorization": f"{scheme} {token}"}, secrets=(token,))


def plain(value: SecretStr | str) -> str:
    """Return a secret's text, without spaces around it."""
    return (value.get_secret_value() if isinstance(value, SecretStr) else value).strip()
