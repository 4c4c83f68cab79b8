"""``HttpApi`` on the wire: a scripted server answers, and the adapter gets data or an error for people."""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from crm_adapters.base import (
    AdapterError,
    CredentialsRejected,
    CursorExpired,
    RecordGone,
    SourceInvalid,
    SourceUnavailable,
)
from crm_adapters.http import (
    ApiReply,
    Auth,
    BasicAuth,
    BearerAuth,
    HeaderAuth,
    HttpApi,
    NoAuth,
    ParameterAuth,
    Signature,
    TimeLimits,
)
from crm_adapters.services import Limit, LocalServices
from tests.virtualtext.raw_server import (
    Behaviour,
    RawServer,
    Visit,
    answers,
    drips,
    http,
    resets_after_reading,
    stays_silent,
)

SECRET = "kL9/+xQ2v&8secret"
HTML = "<!DOCTYPE html><html><body>Log in</body></html>"


def body(value: Any) -> bytes:
    return http(200, json.dumps(value), "Content-Type: application/json")


def in_turn(*steps: bytes | Behaviour) -> Behaviour:
    """Each request of the server gets the next step; the last one stays."""

    def behave(visit: Visit) -> None:
        while True:
            step = steps[min(len(visit.server.requests), len(steps) - 1)]
            if callable(step):
                step(visit)
                return
            if visit.read_request() is None:
                return
            visit.sock.sendall(step)

    return behave


def api_of(server: RawServer, auth: Auth | None = None, **more: Any) -> HttpApi:
    services = more.pop("services", None) or LocalServices()
    return HttpApi("Acme", server.url + "/api", auth or BearerAuth(SecretStr(SECRET)), services, **more)


def outcome(behaviour: Behaviour, use: Callable[[HttpApi], Any], **more: Any) -> tuple[Any, list[bytes]]:
    """What ``use`` returns or raises, and the requests that the server got."""
    with RawServer(behaviour) as server:
        api = api_of(server, **more)
        try:
            return use(api), server.requests
        except AdapterError as error:
            return error, server.requests
        finally:
            api.close()


def get(api: HttpApi) -> Any:
    return api.get("contacts").data


def write(api: HttpApi) -> Any:
    return api.write("POST", "/notes", {"text": "Hello"}).data


def of_record(api: HttpApi) -> Any:
    return api.get("contacts/17", record="17").data


def timed(answer: bytes) -> bytes:
    """Put times into ``<date+SECONDS>`` and ``<epoch+SECONDS>``."""

    def written(match: re.Match[bytes]) -> bytes:
        moment = datetime.now(UTC) + timedelta(seconds=int(match[2]))
        text = format_datetime(moment, usegmt=True) if match[1] == b"date" else str(int(moment.timestamp()))
        return text.encode()

    return re.sub(rb"<(date|epoch)\+(\d+)>", written, answer)


REFUSED: list[tuple[str, bytes, type[AdapterError], str]] = [
    # what, answer, error, words of its text
    ("a refused token", http(401, '{"message": "expired"}'), CredentialsRejected, "status 401: expired"),
    ("a missing permission", http(403, '{"message": "scope missing"}'), CredentialsRejected, "permission"),
    ("a firewall", http(403, HTML, "Server: cloudflare"), SourceUnavailable, "firewall"),
    ("no such address", http(404, "{}"), SourceInvalid, "nothing at GET /api/contacts"),
    ("an unknown field", http(400, '{"message": "no field x"}'), SourceInvalid, "no field x"),
    ("a rule of the CRM", http(422, '{"errors": [{"detail": "rule 7"}]}'), SourceInvalid, "rule 7"),
    ("a plan that is too small", http(402, "{}"), SourceInvalid, "plan"),
    ("a list of errors", http(400, '[{"message": "bad", "errorCode": "X"}]'), SourceInvalid, "bad"),
    ("a proxy with a password", http(407, "{}"), SourceUnavailable, "proxy"),
    ("a server error", http(500, "{}"), SourceUnavailable, "status 500"),
    ("a gateway with a page", http(502, HTML), SourceUnavailable, "status 502"),
    ("Cloudflare", http(530, "error code: 1016"), SourceUnavailable, "copied whole"),
    ("a locked record", http(423, "{}"), SourceUnavailable, "status 423"),
    ("a login page", http(200, HTML), SourceUnavailable, "web page"),
    ("a login page with a comment", http(200, "<!-- x --><html>"), SourceUnavailable, "web page"),
    ("nothing", http(200, ""), SourceUnavailable, "without data"),
    ("null", http(200, "null"), SourceUnavailable, "without data"),
    ("text", http(200, "OK"), SourceUnavailable, "another format"),
    ("JSON that breaks off", http(200, '{"items": [1, 2'), SourceUnavailable, "breaks off"),
    ("JSON nested too deeply", http(200, "[" * 100_000), SourceUnavailable, "another format"),
    ("bytes", http(200, b"\xff\xfe\x00"), SourceUnavailable, "another format"),
    ("a body that breaks off", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", SourceUnavailable, "breaks off"),
    ("no HTTP", b"SSH-2.0-OpenSSH\r\n", SourceUnavailable, "closed the connection"),
    ("an early close", b"", SourceUnavailable, "closed the connection"),
    ("broken gzip", http(200, b"no gzip", "Content-Encoding: gzip"), SourceUnavailable, "breaks off"),
    ("another host", http(302, "", "Location: https://evil.test/x"), SourceInvalid, "https://evil.test"),
    ("a redirect to nowhere", http(301, ""), SourceInvalid, "redirects"),
]


@pytest.mark.parametrize(("answer", "kind", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_every_failed_answer_is_an_error_for_people(answer: bytes, kind: type[AdapterError], words: str) -> None:
    def behave(visit: Visit) -> None:
        visit.read_request()
        visit.sock.sendall(answer)

    error, _requests = outcome(behave, get)
    assert type(error) is kind
    assert "Acme" in str(error) or "proxy" in str(error)
    assert words in str(error)


WAITS: list[tuple[str, bytes, float, float]] = [
    # what, answer, the least and the longest wait
    ("seconds", http(429, "{}", "Retry-After: 120"), 120, 120),
    ("a date", http(429, "{}", "Retry-After: <date+120>"), 110, 121),
    ("a moment in place of seconds", http(429, "{}", "Retry-After: <epoch+90>"), 80, 91),
    ("milliseconds", http(429, "{}", "Retry-After-Ms: 45000"), 45, 45),
    ("a fraction", http(503, "{}", "Retry-After: 20.5"), 20.5, 20.5),
    ("no time", http(429, "{}"), 30, 30),
    ("nonsense", http(429, "{}", "Retry-After: soon"), 30, 30),
    ("a reset in seconds", http(429, "{}", "x-ratelimit-reset: 77"), 77, 77),
    ("a reset as a moment", http(429, "{}", "X-RateLimit-Reset: <epoch+77>"), 70, 78),
    ("a reset in milliseconds", http(429, "{}", "X-RateLimit-Reset: <epoch+77>000"), 70, 78),
    ("a reset as a date", http(429, "{}", "X-Rate-Limit-Reset: 2020-01-01T00:00:00Z"), 1, 1),
    ("the draft", http(429, "{}", "RateLimit-Reset: 12"), 12, 12),
    ("the newer draft", http(429, "{}", 'RateLimit: "burst";r=0;t=40, "daily";r=9;t=4000'), 40, 40),
    ("the newer draft, the day", http(429, "{}", 'RateLimit: "burst";r=5;t=40, "daily";r=0;t=4000'), 4000, 4000),
    ("the older draft", http(429, "{}", "RateLimit: limit=9, remaining=0, reset=15"), 15, 15),
    ("an interval", http(429, "{}", "X-HubSpot-RateLimit-Interval-Milliseconds: 11000"), 11, 11),
    ("a day's cap", http(403, '[{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "x"}]'), 3600, 3600),
    ("a day's cap with 429", http(429, '{"policyName": "DAILY", "message": "x"}'), 3600, 3600),
    ("a 403 without calls left", http(403, "{}", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 90"), 90, 90),
    ("a 403 of Google", http(403, '{"error": {"message": "Quota exceeded", "status": "x"}}'), 3600, 3600),
    ("a minute's quota", http(429, '{"error": {"message": "Quota exceeded for reads per minute"}}'), 30, 30),
    ("many digits", http(429, "{}", f"Retry-After: {'9' * 30}"), 86_400, 86_400),
    ("a year", http(429, "{}", "Retry-After: 31536000"), 86_400, 86_400),
    ("too early", http(425, "{}", "Retry-After: 60"), 60, 60),
    ("a slow request", http(408, "{}", "Retry-After: 60"), 60, 60),
]


@pytest.mark.parametrize(("answer", "least", "longest"), [row[1:] for row in WAITS], ids=[row[0] for row in WAITS])
def test_the_wait_that_a_crm_asks_for_is_obeyed(
    answer: bytes, least: float, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_adapters.http.api.LONGEST_PAUSE", 0.5)
    monkeypatch.setattr("crm_adapters.http.api.time.sleep", lambda _seconds: None)
    error, requests = outcome(answers(timed(answer)), get)
    assert len(requests) == 1, "the engine waits, not the adapter"
    assert type(error) is SourceUnavailable
    assert error.retry_after is not None
    assert least <= error.retry_after <= longest


@pytest.mark.parametrize("header", ["x-ratelimit-reset: 2", "RateLimit-Reset: 2", "RateLimit: limit=9, reset=2"])
def test_the_state_of_limits_beside_a_failure_is_no_wait(header: str) -> None:
    """Many APIs send it with every response, also when they are down."""
    error, _requests = outcome(answers(http(503, "{}", header)), get)
    assert isinstance(error, SourceUnavailable)
    assert error.retry_after is None


def test_an_absurd_wait_is_cut_and_named() -> None:
    error, _requests = outcome(answers(http(429, "{}", "Retry-After: 34560000")), get)
    assert "asks to wait 400 days, which is implausible: the connection tries again in 24 hours" in str(error)


PASSING: list[tuple[str, bytes | Behaviour]] = [
    ("500", http(500, "{}")),
    ("502", http(502, HTML)),
    ("429", http(429, "{}", "X-RateLimit-Reset-After: 0")),
    ("408", http(408, "{}")),
    ("reset", resets_after_reading),
    ("broken", http(200, '{"items": [')),
]


@pytest.mark.parametrize("step", [row[1] for row in PASSING], ids=[row[0] for row in PASSING])
def test_a_read_is_repeated_and_a_write_is_not(step: bytes | Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_adapters.http.api.time.sleep", lambda _seconds: None)
    data, requests = outcome(in_turn(step, step, body([1])), get)
    assert (data, len(requests)) == ([1], 3)
    error, requests = outcome(in_turn(step, step, step, body([1])), get)
    assert (type(error), len(requests)) == (SourceUnavailable, 3)
    data, requests = outcome(in_turn(step, body([1])), lambda api: api.search("find", {"a": 1}).data)
    assert (data, len(requests)) == ([1], 2)
    error, requests = outcome(in_turn(step, body([1])), write)
    assert (type(error), len(requests)) == (SourceUnavailable, 1)


def test_an_api_may_speak_something_else() -> None:
    def words(received: bytes) -> Any:
        if not re.fullmatch(rb"[a-z ]*", received):
            raise ValueError("not words")
        return {"words": received.decode().split()} if received else None

    def ask(api: HttpApi) -> Any:
        return api.search("book", b"<all/>", method="REPORT", headers={"Content-Type": "text/xml"}).items("words")

    data, (request,) = outcome(answers(http(207, "one two")), ask, parse=words)
    assert data == ["one", "two"]
    assert request.startswith(b"REPORT /api/book ")
    assert b"Content-Type: text/xml" in request
    assert request.endswith(b"<all/>")
    for reply, reason in ((http(200, "a=b"), "another format"), (http(200, HTML), "web page"), (http(200), "without")):
        error, requests = outcome(answers(reply), ask, parse=words)
        assert (type(error), len(requests)) == (SourceUnavailable, 1 if reason == "web page" else 3)
        assert reason in str(error)


def test_a_lost_write_is_unknown() -> None:
    error, _requests = outcome(resets_after_reading, write)
    assert "it is unknown if this was done" in str(error)


def test_a_silent_server_ends_the_call() -> None:
    error, requests = outcome(stays_silent, get, times=TimeLimits(read=0.1, call=0.25))
    assert "does not respond in time" in str(error)
    assert requests


@pytest.mark.parametrize(
    "drop",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), id="headers"),
        pytest.param((b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" "), id="body"),
        pytest.param((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"), id="chunks"),
        pytest.param((b"HTTP/1.1 20", b"0"), id="status line"),
    ],
)
def test_a_server_that_drips_ends_the_call(drop: tuple[bytes, bytes]) -> None:
    error, _requests = outcome(drips(*drop), get, times=TimeLimits(read=5, call=0.3))
    assert type(error) is SourceUnavailable
    assert "in time" in str(error) or "takes too long" in str(error) or "closed" in str(error)


def test_a_response_above_the_limit_is_refused() -> None:
    big = json.dumps("x" * 200_000).encode()
    zipped = gzip.compress(big)
    for answer in (http(200, big), http(200, zipped, "Content-Encoding: gzip")):
        error, requests = outcome(answers(answer), get, max_bytes=100_000)
        assert type(error) is SourceUnavailable
        assert "longer than" in str(error)
        assert len(requests) == 1
    data, _requests = outcome(answers(http(200, zipped, "Content-Encoding: gzip")), get)
    assert data == "x" * 200_000


AUTHS: list[tuple[Auth, str]] = [
    (BearerAuth(SecretStr(SECRET)), "authorization: bearer"),
    (BasicAuth(SecretStr("user-1"), SecretStr(SECRET)), "authorization: basic"),
    (HeaderAuth({"X-Api-Key": SecretStr(SECRET), "X-User": "ann"}), "x-api-key:"),
    (ParameterAuth("api_key", SecretStr(SECRET)), "api_key="),
]


@pytest.mark.parametrize(("auth", "sent"), AUTHS, ids=[type(auth).__name__ for auth, _sent in AUTHS])
def test_no_error_shows_a_secret(auth: Auth, sent: str) -> None:
    """Also when the server repeats the whole request in its answer, and when the connection fails."""

    def repeats_the_request(visit: Visit) -> None:
        while (request := visit.read_request()) is not None:
            said = f"{request.decode()} {SECRET} {auth.signature().secrets}"
            visit.sock.sendall(http(400, json.dumps({"message": said})))

    error, requests = outcome(repeats_the_request, get, auth=auth)
    assert sent in requests[0].decode().lower()
    lost, _requests = outcome(resets_after_reading, get, auth=auth)
    for one in (error, lost):
        text = "".join(traceback.format_exception(one)) + repr(one) + str(one.__context__) + str(one.__cause__)
        for secret in (SECRET, *auth.signature().secrets, quote(SECRET, safe="")):
            assert secret not in text
    assert SECRET not in repr(auth) + repr(auth.signature())


def test_a_secret_in_a_path_is_not_shown() -> None:
    for step in (http(404), http(503), resets_after_reading):
        error, _requests = outcome(in_turn(step), lambda api: api.get(f"hooks/{quote(SECRET, safe='')}"))
        assert "GET /api/hooks/(hidden)" in str(error)


def test_an_error_shows_no_personal_data() -> None:
    said = json.dumps({"message": "ann@example.test with +1 (415) 555-0101 exists,\nnumber 42 since 2026-11-28"})
    error, _requests = outcome(answers(http(409, said)), write)
    assert "(email) with (number) exists, number 42 since 2026-11-28" in str(error)


def test_a_credential_that_cannot_be_sent_is_refused_without_showing_it() -> None:
    for token in ("secret\u2028xyz", "secret\nxyz"):
        error, requests = outcome(answers(body([])), get, auth=HeaderAuth({"X-Key": SecretStr(token)}))
        assert type(error) is CredentialsRejected
        assert "secret" not in str(error)
        assert requests == []


class Renewed:
    """A credential that can be renewed once."""

    remedy = "run `vtsync connect acme` again"

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def signature(self) -> Signature:
        return Signature(headers={"Authorization": f"Bearer {self.tokens[0]}"}, secrets=tuple(self.tokens))

    def renew(self) -> bool:
        if len(self.tokens) == 1:
            return False
        self.tokens.pop(0)
        return True


@pytest.mark.parametrize("use", [get, write])
def test_a_refused_token_is_renewed_once(use: Callable[[HttpApi], Any]) -> None:
    refused = http(401, "{}")
    data, requests = outcome(in_turn(refused, body({"id": 1})), use, auth=Renewed("token-one", "token-two"))
    assert data == {"id": 1}
    assert [b"token-two" in request for request in requests] == [False, True]
    error, requests = outcome(answers(refused), use, auth=Renewed("token-one", "token-two", "token-three"))
    assert (type(error), len(requests)) == (CredentialsRejected, 2)
    assert "run `vtsync connect acme` again" in str(error)


@pytest.mark.parametrize("status", [204, 304, 404])
def test_an_empty_page_is_one_only_where_the_api_says_so(status: int) -> None:
    answer = f"HTTP/1.1 {status} Empty\r\nContent-Length: 0\r\n\r\n".encode()
    items, _requests = outcome(answers(answer), lambda api: api.get("contacts", empty=(204, 304, 404)).items("data"))
    assert items == []
    error, _requests = outcome(answers(answer), lambda api: api.get("contacts").items("data"))
    assert type(error) is SourceInvalid


def test_a_response_without_the_list_is_no_end_of_records() -> None:
    for answer in (b'{"error": "x", "code": 7}', b"[]", b"7", b'{"data": {"items": null}}'):
        error, _requests = outcome(answers(http(200, answer)), lambda api: api.get("contacts").items("data.items"))
        assert type(error) is SourceInvalid
        error, _requests = outcome(answers(http(200, answer)), lambda api: api.get("fields").mapping("data.items"))
        assert type(error) is SourceInvalid
        assert 'without an object at "data.items"' in str(error)
    error, _requests = outcome(
        answers(http(200, b'{"error": "x", "+1 415 555 0101": 7}')), lambda api: api.get("contacts").items("data")
    )
    assert "(it has error)" in str(error)
    found, _requests = outcome(
        answers(body({"data": {"a": {"type": "text"}}})), lambda api: api.get("fields").mapping("data")
    )
    assert found == {"a": {"type": "text"}}


@pytest.mark.parametrize("status", [404, 410])
def test_a_record_that_is_gone_is_named(status: int) -> None:
    error, _requests = outcome(answers(http(status, "{}")), of_record)
    assert type(error) is RecordGone
    assert "Acme has no record 17" in str(error)


def test_a_write_needs_no_body_in_the_answer() -> None:
    data, requests = outcome(answers(b"HTTP/1.1 204 Done\r\n\r\n"), write)
    assert data is None
    assert requests[0].endswith(b'{"text": "Hello"}')
    assert requests[0].startswith(b"POST /api/notes HTTP/1.1")


def test_a_redirect_on_the_same_host_is_followed_for_reads_only() -> None:
    moved = http(308, "", "Location: /new/place")
    data, requests = outcome(in_turn(moved, body([3])), get)
    assert data == [3]
    assert requests[1].startswith(b"GET /new/place ")
    assert b"Bearer" in requests[1]
    error, requests = outcome(in_turn(moved, body([3])), write)
    assert (type(error), len(requests)) == (SourceInvalid, 1)
    error, requests = outcome(answers(http(302, "", "Location: /api/again?x=1")), get)
    assert type(error) is SourceInvalid
    assert len(requests) <= 4


def test_no_request_leaves_for_another_host() -> None:
    with RawServer(answers(body([]))) as other:
        for address in (f"{other.url}/api/contacts", "https://evil.test/api", "http://[bad/"):
            error, requests = outcome(answers(body([])), lambda api, a=address: api.get(a))
            assert type(error) is SourceInvalid
            assert requests == []
        error, _requests = outcome(answers(http(302, "", f"Location: {other.url}/api/contacts")), get)
        assert type(error) is SourceInvalid
        assert other.requests == []


def test_netrc_and_cookies_are_not_used(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login other password other-password\n")
    monkeypatch.setenv("NETRC", str(netrc))
    answer = http(200, "[]", "Set-Cookie: sid=1; Path=/")

    def twice(api: HttpApi) -> Any:
        api.get("one")
        return api.get("two").data

    _data, requests = outcome(answers(answer), twice)
    assert all(b"Bearer" in request and b"Cookie" not in request for request in requests)
    _data, requests = outcome(answers(answer), twice, auth=NoAuth())
    assert not any(b"Authorization" in request for request in requests)


def test_the_vendors_own_rules_come_first() -> None:
    def judge(reply: ApiReply) -> AdapterError | None:
        if reply.at("error.code") == "EXPIRED_SYNC_TOKEN":
            return CursorExpired("Acme: the cursor is too old")
        if reply.status == 200 and reply.at("error"):
            return CredentialsRejected(f"Acme: {reply.at('error')}")
        return None

    error, _requests = outcome(answers(http(410, '{"error": {"code": "EXPIRED_SYNC_TOKEN"}}')), get, judge=judge)
    assert type(error) is CursorExpired
    said = body({"error": "token token-one of Ann is bad"})
    error, requests = outcome(answers(said), get, judge=judge, auth=Renewed("token-one"))
    assert str(error) == "Acme: token (hidden) of Ann is bad"
    data, requests = outcome(in_turn(said, body([1])), get, judge=judge, auth=Renewed("token-one", "token-two"))
    assert (data, len(requests)) == ([1], 2)


def test_every_request_is_paced() -> None:
    asked: list[tuple[str, int]] = []

    class Paced(LocalServices):
        def pace(self, name: str = "", cost: int = 1) -> None:
            asked.append((name, cost))
            super().pace(name, cost)

    services = Paced((Limit("search", 25, timedelta(days=1)),))
    use = lambda api: api.search("find", {}, limit="search", cost=10).data  # noqa: E731
    data, requests = outcome(in_turn(http(500), body([1])), use, services=services)
    assert (data, len(requests)) == ([1], 2)
    assert asked == [("search", 10)] * 2
    error, requests = outcome(answers(body([1])), use, services=services)
    assert type(error) is SourceUnavailable
    assert error.retry_after is not None
    assert error.retry_after > 80_000
    assert requests == []


def test_a_host_that_cannot_be_reached_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    api = HttpApi("Acme", f"http://127.0.0.1:{port}", NoAuth(), LocalServices())
    with pytest.raises(SourceUnavailable, match=rf"Acme at http://127\.0\.0\.1:{port}: it cannot be reached"):
        api.get("contacts")


def test_parameters_and_numbers() -> None:
    data, requests = outcome(
        answers(http(200, '{"a": NaN, "b": 1e999}')),
        lambda api: (
            api.get("contacts", {"since": "2026-01-01T00:00:00+02:00", "none": None, "ids": [1, 2], "a": True}).data
        ),
    )
    assert requests[0].startswith(b"GET /api/contacts?since=2026-01-01T00%3A00%3A00%2B02%3A00&ids=1&ids=2&a=true ")
    assert data["a"] is None


CERTIFICATE = Path(__file__).parents[1] / "virtualtext" / "tls" / "loopback.pem"  # for 127.0.0.1, trusted by nobody


@pytest.fixture
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("_plain_environment")
def test_certificates_are_verified_and_deadlines_hold_with_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    limits = TimeLimits(read=5, call=0.3)
    with RawServer(in_turn(body([1]), drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")), tls=context) as server:
        api = api_of(server, times=limits)
        with pytest.raises(SourceUnavailable, match="REQUESTS_CA_BUNDLE"):
            api.get("contacts")
        assert server.requests == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        assert api.get("contacts").data == [1]
        with pytest.raises(SourceUnavailable, match=r"time|too long"):
            api.get("contacts")
        api.close()


@pytest.mark.usefixtures("_plain_environment")
def test_a_proxy_of_the_environment_is_used_and_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> Any:
        api = HttpApi("Acme", "http://acme.invalid/api", NoAuth(), LocalServices())
        try:
            return api.get("contacts").data
        except AdapterError as error:
            return error

    with RawServer(in_turn(body([1]), http(407, "{}"))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://ann:proxy-secret@"))
        assert ask() == [1]
        assert proxy.requests[0].startswith(b"GET http://acme.invalid/api/contacts ")
        refused = ask()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTP_PROXY", f"http://ann:proxy-secret@127.0.0.1:{port}")
    for error in (refused, ask()):
        assert type(error) is SourceUnavailable
        assert "proxy of this machine" in str(error)
        assert "proxy-secret" not in "".join(traceback.format_exception(error))
