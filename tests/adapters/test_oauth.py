"""OAuth on the wire: a token server that gives each refresh token once, and an API that knows the newest token only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import SecretStr

from crm_adapters.base import AdapterError, CredentialsRejected, SourceInvalid, SourceUnavailable
from crm_adapters.http import HttpApi, has_basic_credential, is_recent, is_signed, same_text
from crm_adapters.oauth import GrantAuth, OAuthApp, new_verifier
from crm_adapters.services import LocalGrant, LocalServices
from tests.virtualtext.raw_server import RawServer, Visit, http

CLIENT_SECRET = "client/secret+1"
REDIRECT = "http://127.0.0.1:8765/callback"


@dataclass
class TokenServer:
    """``/token`` and ``/api`` of a CRM. ``rotates``: a refresh token is dead after its use."""

    rotates: bool = True
    expires_in: Any = 1800
    answer: bytes | None = None  # in place of the next answer of /token
    number: int = 1
    challenge: str = ""
    forms: list[dict[str, str]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    @property
    def access(self) -> str:
        return f"access-token-{self.number}"

    @property
    def refresh(self) -> str:
        return f"refresh-token-{self.number if self.rotates else 1}"

    def __call__(self, visit: Visit) -> None:
        while (request := visit.read_request()) is not None:
            head, _, sent = request.decode().partition("\r\n\r\n")
            is_token = head.startswith("POST /token")
            visit.sock.sendall(self._token(head, sent) if is_token else self._api(head))
            if is_token and self.answer is not None:
                return  # it may break off

    def _api(self, head: str) -> bytes:
        return http(200, "[1]") if f"Bearer {self.access}\r\n" in f"{head}\r\n" else http(401, '{"message": "expired"}')

    def _token(self, head: str, sent: str) -> bytes:
        form = dict(parse_qsl(sent))
        self.forms.append(form)
        self.heads.append(head)
        if self.answer is not None:
            return self.answer
        basic = base64.b64encode(b"client-1:client%2Fsecret%2B1").decode()
        if form.get("client_secret") != CLIENT_SECRET and f"Basic {basic}" not in head:
            return http(401, '{"error": "invalid_client"}')
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
            return http(400, '{"error": "invalid_grant", "error_description": "expired refresh token"}')
        if form["grant_type"] == "authorization_code":
            given = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if form["code"] != "code-1" or base64.urlsafe_b64encode(given).decode().rstrip("=") != self.challenge:
                return http(400, '{"error": "invalid_grant"}')
        self.number += 1
        granted = {"access_token": self.access, "expires_in": self.expires_in, "instance_url": "https://eu.acme.test"}
        if self.rotates or form["grant_type"] == "authorization_code":
            granted["refresh_token"] = self.refresh
        return http(200, json.dumps({**granted, "id_token": "personal", "token_type": "bearer"}))


@contextmanager
def running(token_server: TokenServer, **more: Any) -> Iterator[tuple[OAuthApp, str]]:
    with RawServer(token_server) as server:
        app = OAuthApp(
            "Acme", server.url + "/login?tenant=7", server.url + "/token", "client-1", SecretStr(CLIENT_SECRET)
        )
        yield OAuthApp(**{**{name: getattr(app, name) for name in OAuthApp.__slots__}, **more}), server.url


def grant(number: int = 1, left: timedelta | None = timedelta(hours=1)) -> dict[str, Any]:
    expires = None if left is None else (datetime.now(UTC) + left).isoformat()
    return {
        "access_token": f"access-token-{number}",
        "refresh_token": f"refresh-token-{number}",
        "expires_at": expires,
        "instance_url": "https://eu.acme.test",
    }


def read(app: OAuthApp, url: str, stored: LocalGrant | None) -> Any:
    services = LocalServices(grant=stored)
    api = HttpApi("Acme", url, GrantAuth(app, services), services)
    try:
        return api.get("api").data
    except AdapterError as error:
        return error
    finally:
        api.close()


def test_the_link_has_everything_that_the_consent_needs() -> None:
    verifier = new_verifier()
    assert 43 <= len(verifier) <= 128
    with running(TokenServer(), scopes=("a", "b"), extra={"access_type": "offline"}) as (app, _url):
        query = dict(parse_qsl(urlsplit(app.authorize_link("state-1", REDIRECT, verifier)).query))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert query == {
        "tenant": "7",
        "access_type": "offline",
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": REDIRECT,
        "state": "state-1",
        "scope": "a b",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    assert CLIENT_SECRET not in repr(app)


@pytest.mark.parametrize("client_auth", ["form", "basic"])
def test_a_code_becomes_a_grant(client_auth: str) -> None:
    server = TokenServer()
    with running(server, client_auth=client_auth) as (app, _url):
        verifier = new_verifier()
        query = dict(parse_qsl(urlsplit(app.authorize_link("s", REDIRECT, verifier)).query))
        server.challenge = query["code_challenge"]
        values = app.exchange("code-1", REDIRECT, verifier)
        with pytest.raises(CredentialsRejected, match="used or too old"):
            app.exchange("code-2", REDIRECT, verifier)
        with pytest.raises(CredentialsRejected, match="used or too old"):
            app.exchange("code-1", REDIRECT, "another verifier")
    assert json.loads(json.dumps(values)) == values
    assert values["access_token"] == "access-token-2"
    assert values["refresh_token"] == "refresh-token-2"
    assert values["instance_url"] == "https://eu.acme.test"
    assert "id_token" not in values
    assert (
        timedelta(minutes=29)
        < datetime.fromisoformat(values["expires_at"]) - datetime.now(UTC)
        <= timedelta(minutes=30)
    )
    assert server.forms[0]["redirect_uri"] == REDIRECT
    assert ("client_secret" in server.forms[0]) == (client_auth == "form")


STATES: list[tuple[str, timedelta | None, int]] = [
    # what, time left, number of renewals
    ("fresh", timedelta(hours=1), 0),
    ("without a time", None, 0),
    ("expires soon", timedelta(minutes=4), 1),
    ("expired", timedelta(hours=-1), 1),
]


@pytest.mark.parametrize("rotates", [True, False])
@pytest.mark.parametrize(("left", "renewals"), [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_a_grant_is_renewed_before_it_expires(left: timedelta | None, renewals: int, rotates: bool) -> None:
    server = TokenServer(rotates=rotates)
    stored = LocalGrant(grant(left=left))
    with running(server) as (app, url):
        assert read(app, url, stored) == [1]
        assert read(app, url, stored) == [1]
    assert len(server.forms) == renewals
    values = stored.current()
    assert values is not None
    assert values["refresh_token"] == server.refresh
    assert values["instance_url"] == "https://eu.acme.test"


def test_a_token_that_dies_early_is_renewed_once() -> None:
    server = TokenServer(number=2)
    stored = LocalGrant({**grant(2), "access_token": "revoked"})
    with running(server) as (app, url):
        assert read(app, url, stored) == [1]
        assert len(server.forms) == 1
        server.number = 9  # the CRM has revoked everything
        error = read(app, url, stored)
    assert type(error) is CredentialsRejected
    assert "run `vtsync connect CONNECTION`" in str(error)
    assert len(server.forms) == 2


def test_another_workers_renewal_is_used() -> None:
    """The stored grant is newer than the one that the CRM refused: no request for a token."""
    server = TokenServer(number=2)
    stored = LocalGrant(grant(1))
    with running(server) as (app, url):
        services = LocalServices(grant=stored)
        auth = GrantAuth(app, services)
        auth.signature()
        stored.values = grant(2)
        assert auth.renew()
        assert auth.signature().headers == {"Authorization": "Bearer access-token-2"}
        assert read(app, url, stored) == [1]
    assert server.forms == []


REFUSALS: list[tuple[str, bytes, type[AdapterError], str]] = [
    ("a used grant", http(400, '{"error": "invalid_grant"}'), CredentialsRejected, "vtsync connect"),
    ("HubSpot's", http(400, '{"status": "BAD_REFRESH_TOKEN", "message": "x"}'), CredentialsRejected, "vtsync connect"),
    ("Zoho's, with 200", http(200, '{"error": "invalid_code"}'), CredentialsRejected, "vtsync connect"),
    ("a wrong secret", http(401, '{"error": "invalid_client"}'), CredentialsRejected, "client id and secret"),
    ("a wrong client", http(400, '{"error": "unauthorized_client"}'), CredentialsRejected, "client id and secret"),
    ("a scope", http(400, '{"error": "invalid_scope", "error_description": "no x"}'), SourceInvalid, "no x"),
    ("no token", http(200, "{}"), SourceInvalid, "without one"),
    ("no JSON", http(200, "<html>"), SourceUnavailable, "web page"),
    ("a server error", http(503, "{}", "Retry-After: 40"), SourceUnavailable, "status 503"),
    ("too many", http(429, '{"error": "slow_down"}'), SourceUnavailable, "too many requests"),
    ("busy, with 400", http(400, '{"error": "temporarily_unavailable"}'), SourceUnavailable, "temporarily_unavailable"),
    ("a redirect", http(302, "", "Location: https://evil.test/token"), SourceInvalid, "evil.test"),
    ("a lost answer", b"", SourceUnavailable, "it is unknown if this was done"),
]


@pytest.mark.parametrize(("answer", "kind", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_renewal_that_fails_says_what_to_do(answer: bytes, kind: type[AdapterError], words: str) -> None:
    def behave(visit: Visit) -> None:
        visit.read_request()
        visit.sock.sendall(answer)

    stored = LocalGrant(grant(left=timedelta(hours=-1)))
    with RawServer(behave) as server:
        app = OAuthApp("Acme", "https://acme.test", server.url + "/token", "client-1", SecretStr(CLIENT_SECRET))
        error = read(app, server.url, stored)
        assert len(server.requests) == 1
    assert type(error) is kind
    assert words in str(error)
    assert "Acme" in str(error)
    assert stored.current() is not None
    shown = "".join(traceback.format_exception(error)) + repr(error)
    for secret in (CLIENT_SECRET, "refresh-token-1", "access-token-1"):
        assert secret not in shown


def test_a_lost_renewal_is_tried_again_with_the_old_grant() -> None:
    """If the CRM did it, it refuses the old grant, and a person is asked; if not, the sync continues."""
    for was_done in (True, False):
        server = TokenServer(number=1)
        stored = LocalGrant(grant(left=timedelta(hours=-1)))
        with running(server) as (app, url):
            server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"
            lost = read(app, url, stored)
            assert type(lost) is SourceUnavailable
            assert "asks for `vtsync connect CONNECTION`" in str(lost)
            server.answer = None
            server.number += was_done
            then = read(app, url, stored)
        assert (then == [1]) != was_done
        assert not was_done or type(then) is CredentialsRejected


def test_a_token_that_still_works_is_used_while_the_login_is_down() -> None:
    server = TokenServer(answer=http(503, "{}"))
    with running(server) as (app, url):
        assert read(app, url, LocalGrant(grant(left=timedelta(minutes=2)))) == [1]
        assert type(read(app, url, LocalGrant(grant(left=timedelta(minutes=-2))))) is SourceUnavailable


@pytest.mark.parametrize("stored", [None, LocalGrant(), LocalGrant({"access_token": ""})])
def test_without_a_consent_nothing_is_sent(stored: LocalGrant | None) -> None:
    server = TokenServer()
    with running(server) as (app, url):
        error = read(app, url, stored)
    assert type(error) is CredentialsRejected
    assert "vtsync connect" in str(error)
    assert server.heads == []


def test_a_grant_without_a_refresh_token_ends_when_the_crm_says_so() -> None:
    with running(TokenServer(number=2)) as (app, url):
        error = read(app, url, LocalGrant({"access_token": "access-token-1", "expires_at": None}))
        assert "vtsync connect" in str(error)
        with pytest.raises(CredentialsRejected, match="cannot be renewed"):
            app.refresh({"access_token": "x"})


@pytest.mark.parametrize("expires_in", [None, "soon", -1, 0, 1e18, True])
def test_an_odd_lifetime_means_not_known(expires_in: Any) -> None:
    server = TokenServer(expires_in=expires_in)
    with running(server) as (app, _url):
        assert app.refresh(grant())["expires_at"] is None or expires_in is True


BODY = b'{"event": 1}'
HEX = hmac.new(b"key-1", BODY, "sha256").hexdigest()
BASE64 = base64.b64encode(hmac.new(b"key-1", BODY, "sha256").digest()).decode()
SHA1 = hmac.new(b"key-1", BODY, "sha1").hexdigest()

SIGNED: list[tuple[str, Callable[[], bool], bool]] = [
    ("hex", lambda: is_signed("key-1", BODY, HEX), True),
    ("hex in capitals", lambda: is_signed("key-1", BODY, HEX.upper()), True),
    ("with a prefix", lambda: is_signed("key-1", BODY, f"sha256={HEX}"), True),
    ("base64", lambda: is_signed(SecretStr("key-1"), BODY, BASE64, encoding="base64"), True),
    ("sha1", lambda: is_signed("key-1", BODY, SHA1, algorithm="sha1"), True),
    ("another body", lambda: is_signed("key-1", BODY + b" ", HEX), False),
    ("another key", lambda: is_signed("key-2", BODY, HEX), False),
    ("a beginning", lambda: is_signed("key-1", BODY, HEX[:20]), False),
    ("nothing", lambda: is_signed("key-1", BODY, ""), False),
    ("no key", lambda: is_signed("", BODY, hmac.new(b"", BODY, "sha256").hexdigest()), False),
    ("another encoding", lambda: is_signed("key-1", BODY, BASE64.swapcase(), encoding="base64"), False),
    ("not ASCII", lambda: is_signed("key-1", BODY, "\u00e9\ud800"), False),
    ("a password", lambda: has_basic_credential("Basic YW5uOnB3OjE=", "ann", "pw:1"), True),
    ("a small b", lambda: has_basic_credential("basic YW5uOnB3OjE=", "ann", SecretStr("pw:1")), True),
    ("another user", lambda: has_basic_credential("Basic YW5uOnB3OjE=", "bob", "pw:1"), False),
    ("a bearer", lambda: has_basic_credential("Bearer YW5uOnB3OjE=", "ann", "pw:1"), False),
    ("no base64", lambda: has_basic_credential("Basic !", "ann", "pw:1"), False),
    ("no text", lambda: has_basic_credential("Basic /////w==", "ann", "pw:1"), False),
    ("no password", lambda: has_basic_credential("Basic YW5uOg==", "ann", ""), False),
    ("the same", lambda: same_text("s-1", SecretStr("s-1")), True),
    ("a longer one", lambda: same_text("s-12", "s-1"), False),
    ("empty", lambda: same_text("", ""), False),
]


@pytest.mark.parametrize(("proof", "holds"), [row[1:] for row in SIGNED], ids=[row[0] for row in SIGNED])
def test_only_the_crm_can_prove_that_it_calls(proof: Callable[[], bool], holds: bool) -> None:
    assert proof() is holds


NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "recent"),
    [
        ("2026-11-28T09:56:00Z", True),
        ("2026-11-28T10:04:00Z", True),
        ("2026-11-28T09:54:00Z", False),
        ("2026-11-28T10:06:00Z", False),
        (str(int(NOW.timestamp())), True),
        (str(int(NOW.timestamp() * 1000)), True),
        (str(int(NOW.timestamp() - 301)), False),
        ("", False),
        ("soon", False),
        ("9" * 40, False),
    ],
)
def test_an_old_request_is_not_accepted_again(moment: str, recent: bool) -> None:
    assert is_recent(moment, now=NOW) is recent
