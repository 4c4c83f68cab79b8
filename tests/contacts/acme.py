"""An adapter for tests: a CRM that reports changes with a signature."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr

from crm_adapters.base import (
    Adapter,
    CheckReport,
    ContactChange,
    CrmField,
    Cursor,
    Limit,
    Page,
    WakesOnEvents,
)
from crm_adapters.http import BearerAuth, HttpApi
from crm_adapters.oauth import ConnectsByOAuth, GrantAuth, OAuthApp

SIGNING_SECRET = "acme signs its events with this"
NAME = "acme"
ADDRESS = "tests.contacts.acme:AcmeAdapter"
CLOUD = "acme-cloud"
CLOUD_ADDRESS = "tests.contacts.acme:AcmeCloud"
CLIENT_SECRET = "the-client-secret-of-our-app"


class AcmeSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: str = ""
    token: SecretStr | None = None


def signature(body: bytes) -> str:
    return hmac.new(SIGNING_SECRET.encode(), body, hashlib.sha256).hexdigest()


class AcmeAdapter(Adapter, WakesOnEvents):
    name = NAME
    summary = "A CRM of the tests."
    Options = AcmeSettings
    limits = (
        Limit("", 1000, timedelta(seconds=10)),
        Limit("search", 4, timedelta(seconds=1)),
        Limit("", 10, timedelta(days=1)),
    )

    def check(self) -> CheckReport:
        self.services.pace()
        return CheckReport("Acme responds")

    def describe(self) -> Sequence[CrmField]:
        return []

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        yield Page([])

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        if body == b"raise":
            raise RuntimeError(f"an adapter that breaks its promise: {headers}")
        signed = f"{headers[':method']} {headers[':url']}".encode() + body if "x-acme-signs-url" in headers else body
        return hmac.compare_digest(headers.get("x-acme-signature", ""), signature(signed))


class AcmeCloud(AcmeAdapter, ConnectsByOAuth):
    """The same CRM as a service: a person agrees first, or the options have a token that does not change."""

    name = CLOUD

    def oauth(self) -> OAuthApp | None:
        if self.options.token is not None:
            return None
        url = self.options.url
        return OAuthApp("Acme", f"{url}/authorize", f"{url}/token", "client-1", SecretStr(CLIENT_SECRET))

    def check(self) -> CheckReport:
        self._people()
        return CheckReport("Acme responds")

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        yield Page([ContactChange(one["id"], one) for one in self._people()])

    def describe(self) -> Sequence[CrmField]:
        return [CrmField("phone"), CrmField("name")]

    def _people(self) -> Sequence[Any]:
        app = self.oauth()
        auth = BearerAuth(self.options.token) if app is None else GrantAuth(app, self.services)
        with closing(HttpApi("Acme", self.options.url, auth, self.services)) as api:
            return list(api.get("people").items("people"))
