"""What each call puts on the wire, and what each thing a network can do comes to. Real sockets, loopback only."""

from __future__ import annotations

import gzip
import multiprocessing
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.virtualtext.raw_server import (
    Behaviour,
    RawServer,
    Visit,
    answers,
    answers_once,
    drips,
    http,
    resets_after_reading,
    resets_before_reading,
    stays_silent,
)
from worker.core import http as transport
from worker.virtualtext.client import VirtualTextClient, client_for
from worker.virtualtext.outcomes import Cause, ContactBody, Endpoint, MessageBody, Outcome, RemoteContact, Status

CERTIFICATE = Path(__file__).parent / "tls" / "loopback.pem"  # for 127.0.0.1 alone, trusted by nobody
TOKEN = "s3cr3t-t0ken"
ADA = ContactBody("+14155552671", "Ada Lovelace", "ada@example.com")
TEXT = MessageBody("+14155552671", "+14155552672", "Hi Ada")
CONTACT = (
    '{"id":"c1","fullName":"Ada Lovelace","phoneNumber":"+14155552671","email":"ada@example.com","last_message":"x"}'
)
SENT = http(200, '{"status":"true"}')

DONE, NOT_DONE, UNKNOWN = Status.DONE, Status.NOT_DONE, Status.UNKNOWN


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def client_of(
    url: str, *, create_url: str | None = None, connect: float = 5.0, read: float = 10.0, concurrency: int = 16
) -> VirtualTextClient:
    return VirtualTextClient(Endpoint("uid", TOKEN, url, create_url or url, connect, read, concurrency))


@contextmanager
def serving(behaviour: Behaviour, **options: float) -> Iterator[tuple[RawServer, VirtualTextClient]]:
    with RawServer(behaviour) as server:
        client = client_of(server.url, **options)  # type: ignore[arg-type]
        try:
            yield server, client
        finally:
            client.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# What goes over the wire


@pytest.mark.parametrize(
    ("call", "line", "body"),
    [
        (
            lambda client: client.create_contact(ADA),
            "POST /api/contacts",
            {"phoneNumber": "+14155552671", "fullName": "Ada Lovelace", "email": "ada@example.com"},
        ),
        (
            lambda client: client.update_contact("a/b?c", ContactBody("+14155552671", "", "")),
            "POST /api/contacts/a%2Fb%3Fc",
            {"phoneNumber": "+14155552671", "fullName": "", "email": ""},
        ),
        (lambda client: client.get_contact("é %2F"), "GET /api/contacts/%C3%A9%20%252F", None),
        (lambda client: client.list_contacts(), "GET /api/contacts", None),
        (
            lambda client: client.send_message(TEXT),
            "POST /api/send",
            {"to": "+14155552671", "from": "+14155552672", "message": "Hi Ada"},
        ),
        (
            lambda client: client.record_message(TEXT),
            "POST /api/send",
            {"to": "+14155552671", "from": "+14155552672", "message": "Hi Ada", "sendStatus": "sent"},
        ),
        (
            lambda client: client.register_relay("https://hooks.example/x"),
            "POST /api/users/uid/webhook",
            {"url": "https://hooks.example/x"},
        ),
    ],
)
def test_each_call_on_the_wire(
    call: Callable[[VirtualTextClient], Outcome[object]], line: str, body: dict[str, object] | None
) -> None:
    with serving(answers(http(200, CONTACT))) as (server, client):
        call(client)
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    assert first == f"{line} HTTP/1.1"
    assert f"Authorization: Bearer uid:{TOKEN}" in headers
    assert (orjson.loads(sent) if sent else None) == body
    assert ("Content-Type: application/json" in headers) == (body is not None)


def test_create_goes_to_its_own_host_and_base_paths_are_kept() -> None:
    with RawServer(answers(http(200, CONTACT))) as api, RawServer(answers(http(200, CONTACT))) as creating:
        client = client_of(api.url + "/v1/", create_url=creating.url)
        assert client.create_contact(ADA).value == RemoteContact(
            "c1", "+14155552671", "Ada Lovelace", "ada@example.com"
        )
        assert client.get_contact("c1").done
        client.close()
    assert creating.requests[0].startswith(b"POST /api/contacts ")
    assert api.requests[0].startswith(b"GET /v1/api/contacts/c1 ")


def test_health_sends_no_credentials_and_takes_a_warning_for_an_answer() -> None:
    with serving(answers(http(503, '{"status":"warn","version":"1"}'))) as (server, client):
        outcome = client.health()
    assert (outcome.status, outcome.value, outcome.http_status) == (DONE, "warn", 503)
    assert b"uthorization" not in server.requests[0]


_numbers = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
_messages = st.builds(
    MessageBody,
    to=_numbers,
    from_number=_numbers,
    text=st.text(st.characters(codec="utf-8"), max_size=200).filter(str.strip),
    media=st.lists(st.from_regex(r"https://[a-z]{1,9}\.example/[a-z]{0,9}", fullmatch=True), max_size=3).map(tuple),
)


def test_a_record_always_says_sent_and_a_send_never_does() -> None:
    with serving(answers(SENT)) as (server, client):

        @settings(max_examples=60)
        @given(_messages)
        def on_the_wire(message: MessageBody) -> None:
            assert client.send_message(message).done
            assert client.record_message(message).done
            sent, recorded = map(orjson.loads, server.bodies()[-2:])
            assert "sendStatus" not in sent
            assert recorded == {**sent, "sendStatus": "sent"}
            assert sent["message"] == message.text
            assert sent.get("media", []) == list(message.media)

        on_the_wire()


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.create_contact(ContactBody("415 555 2671", "", "")),
        lambda client: client.update_contact("c1", ContactBody("", "", "")),
        lambda client: client.update_contact("", ADA),
        lambda client: client.get_contact(".."),
        lambda client: client.send_message(MessageBody("+14155552671", "+14155552672", " \n")),
        lambda client: client.send_message(MessageBody("+1415555267१", "+14155552672", "x")),
        lambda client: client.record_message(MessageBody("+14155552671", "12345", "x")),
        lambda client: client.send_message(MessageBody("+14155552671", "+14155552672", "x", ("file:///x",))),
        lambda client: client.send_message(MessageBody("+14155552671", "+14155552672", "\ud83d")),
        lambda client: client.register_relay("hooks.example"),
    ],
)
def test_what_cannot_be_sent_is_our_bug_and_never_leaves(call: Callable[[VirtualTextClient], object]) -> None:
    with serving(answers(SENT)) as (server, client):
        with pytest.raises(ValueError) as error:
            call(client)
        assert server.connections == 0
    assert "5552671" not in str(error.value)


# What the network does


_CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"status":"tr'
_CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"status"\r\n8\r\n:"true"}\r\n0\r\n\r\n'


@pytest.mark.parametrize(
    ("behaviour", "status", "cause"),
    [
        pytest.param(answers(SENT), DONE, None, id="whole"),
        pytest.param(answers_once(b'HTTP/1.0 200 OK\r\n\r\n{"status":true}'), DONE, None, id="until it closes"),
        pytest.param(answers(_CHUNKED), DONE, None, id="chunked"),
        pytest.param(
            answers(http(200, gzip.compress(b'{"status":"true"}'), "Content-Encoding: gzip")), DONE, None, id="gzip"
        ),
        pytest.param(
            answers(http(200, gzip.compress(b" " * (8 << 20)), "Content-Encoding: gzip")),
            UNKNOWN,
            Cause.UNREADABLE,
            id="bomb",
        ),
        pytest.param(answers_once(_CUT), UNKNOWN, Cause.CONNECTION_LOST, id="truncated"),
        pytest.param(answers_once(_CHUNKED[:-9]), UNKNOWN, Cause.CONNECTION_LOST, id="chunks truncated"),
        pytest.param(answers_once(b"HTTP/1.1 200 OK\r\nConte"), UNKNOWN, Cause.UNREADABLE, id="head truncated"),
        pytest.param(resets_before_reading, UNKNOWN, Cause.CONNECTION_LOST, id="reset before reading"),
        pytest.param(resets_after_reading, UNKNOWN, Cause.CONNECTION_LOST, id="reset after reading"),
        pytest.param(answers_once(b""), UNKNOWN, Cause.CONNECTION_LOST, id="closed without an answer"),
        pytest.param(answers_once(b"\x16\x03\x01 what\r\n\r\n"), UNKNOWN, Cause.UNREADABLE, id="garbage"),
        pytest.param(answers(http(200, "<html>ok")), UNKNOWN, Cause.UNREADABLE, id="not JSON"),
        pytest.param(answers(http(200, b"x" * (2 << 20))), UNKNOWN, Cause.UNREADABLE, id="oversized"),
        pytest.param(
            answers(http(200, b"not gzip", "Content-Encoding: gzip")), UNKNOWN, Cause.UNREADABLE, id="broken gzip"
        ),
        pytest.param(answers(http(502, "<html>Bad Gateway")), UNKNOWN, Cause.GATEWAY, id="gateway"),
        pytest.param(answers(http(302, "", "Location: /x")), NOT_DONE, Cause.REDIRECTED, id="redirect"),
        pytest.param(
            answers_once(_CUT.replace(b"200 OK", b"401 No")), NOT_DONE, Cause.CREDENTIALS, id="refused, cut short"
        ),
        pytest.param(answers(http(413, b"x" * (2 << 20))), NOT_DONE, Cause.REJECTED, id="refused at length"),
    ],
)
def test_what_a_server_does(behaviour: Behaviour, status: Status, cause: Cause | None) -> None:
    with serving(behaviour) as (server, client):
        outcome = client.send_message(TEXT)
        assert (outcome.status, outcome.cause) == (status, cause)
        assert bool(outcome.detail) == (status is not DONE)
        assert server.connections == 1, "nothing may be tried twice"


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(stays_silent, id="silent"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"), id="drips a header"),
        pytest.param(drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="continues for ever"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"), id="drips a body"),
    ],
)
def test_no_server_holds_a_thread_for_ever(behaviour: Behaviour) -> None:
    with serving(behaviour, read=0.3) as (_, client):
        outcome = client.send_message(TEXT)
    assert (outcome.status, outcome.cause) == (UNKNOWN, Cause.TIMEOUT)


def test_pauses_count_together() -> None:
    def pauses(visit: Visit) -> None:
        visit.read_request()
        for part in (SENT[:20], SENT[20:]):
            visit.server.released.wait(0.3)
            visit.sock.sendall(part)
        visit.server.released.wait(30)

    with serving(pauses, read=0.5) as (_, client):
        outcome = client.send_message(TEXT)
    assert (outcome.status, outcome.cause) == (UNKNOWN, Cause.TIMEOUT)


@settings(max_examples=80)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=200).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail),
        st.binary(max_size=200).map(lambda tail: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + tail),
    )
)
def test_no_bytes_make_the_client_raise_or_believe_in_a_success(noise: bytes) -> None:
    with serving(answers_once(noise)) as (_, client):
        outcome = client.send_message(TEXT)
    assert outcome.status is not DONE


def test_a_refused_connection_and_an_unknown_name_were_never_asked() -> None:
    refused = client_of(f"http://127.0.0.1:{free_port()}").send_message(TEXT)
    assert (refused.status, refused.cause) == (NOT_DONE, Cause.UNREACHABLE)
    assert "refused" in refused.detail
    unresolved = client_of("http://x.invalid").send_message(TEXT)
    assert (unresolved.status, unresolved.cause) == (NOT_DONE, Cause.UNREACHABLE)
    assert "resolved" in unresolved.detail


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(answers_once(b""), id="closes"),
        pytest.param(lambda visit: visit.sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), id="speaks plain text"),
        pytest.param(resets_before_reading, id="resets"),
        pytest.param(lambda visit: visit.server.released.wait(30), id="stays silent"),
    ],
)
def test_a_connection_lost_within_the_tls_handshake_was_never_asked(behaviour: Behaviour) -> None:
    def behave(visit: Visit) -> None:
        visit.sock.recv(1, socket.MSG_PEEK)
        behaviour(visit)

    with RawServer(behave) as server:
        outcome = client_of(f"https://127.0.0.1:{server.port}", connect=0.6).send_message(TEXT)
    assert (outcome.status, outcome.cause) == (NOT_DONE, Cause.UNREACHABLE)


def test_a_certificate_must_be_trusted_and_the_environments_bundle_is(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    with RawServer(answers(SENT), tls=context) as server:
        distrusting = client_of(server.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        trusting = client_of(server.url)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        refused = distrusting.send_message(TEXT)
        assert (refused.status, refused.cause) == (NOT_DONE, Cause.UNREACHABLE)
        assert "certificate" in refused.detail
        assert server.requests == []
        assert trusting.send_message(TEXT).done
        assert trusting.record_message(TEXT).done
    assert server.connections == 2


def test_a_full_backlog_is_a_connect_time_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        outcome = client_of(f"http://127.0.0.1:{listener.getsockname()[1]}", connect=0.4).send_message(TEXT)
        for one in waiting:
            one.close()
    assert (outcome.status, outcome.cause) == (NOT_DONE, Cause.UNREACHABLE)
    assert "in time" in outcome.detail


def test_waiting_for_a_free_connection_ends_and_was_never_asked() -> None:
    with serving(stays_silent, concurrency=1, connect=0.2) as (server, client):
        first = threading.Thread(target=client.send_message, args=(TEXT,))
        first.start()
        while not server.requests:
            threading.Event().wait(0.005)
        outcome = client.send_message(TEXT)
        server.released.set()
        first.join()
    assert (outcome.status, outcome.cause) == (NOT_DONE, Cause.UNREACHABLE)
    assert len(server.requests) == 1


def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    with serving(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n{")) as (_, client):
        outcome = client.list_contacts()
    assert (outcome.cause, outcome.http_status) == (Cause.UNREADABLE, 200)
    assert "1,099,511,627,776 bytes" in outcome.detail


def test_a_long_list_arrives_whole_up_to_its_bound() -> None:
    entries = [{"id": f"c{number}", "phoneNumber": f"+1415{number:07}"} for number in range(60_000)]
    body = orjson.dumps({"contacts": entries})
    assert len(body) > 2 * transport.PIECE_BYTES
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:1_500_000], body[1_500_000:]))
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    for answer in (http(200, body), chunked):
        with serving(answers(answer), concurrency=1) as (_, client):
            contacts = client.list_contacts().value
            assert contacts is not None
            assert [contact.id for contact in contacts] == [entry["id"] for entry in entries]
            assert client.list_contacts(max_bytes=len(body)).done
            assert client.list_contacts(max_bytes=len(body) - 1).cause is Cause.UNREADABLE


# Connections


def test_connections_are_kept_and_given_up_before_a_server_would(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers(SENT)) as (server, client):
        assert all(client.send_message(TEXT).done for _ in range(3))
        assert server.connections == 1
        monkeypatch.setattr(transport, "MAX_IDLE_SECONDS", 0.0)
        assert client.send_message(TEXT).done
        assert server.connections == 2


@pytest.mark.parametrize("behaviour", [answers_once(SENT), answers_once(_CUT), answers(http(200, b"x" * (2 << 20)))])
def test_every_connection_goes_back_however_its_answer_ended(behaviour: Behaviour) -> None:
    with serving(behaviour, concurrency=1, connect=2.0) as (_, client):
        causes = {client.send_message(TEXT).cause for _ in range(4)}
    assert Cause.UNREACHABLE not in causes


def test_sixteen_threads_each_get_their_own_answer() -> None:
    def echo(visit: Visit) -> None:
        while (request := visit.read_request()) is not None:
            contact_id = request.split(b" ", 2)[1].rsplit(b"/", 1)[1]
            visit.sock.sendall(http(200, b'{"id":"%s","phoneNumber":"+14155552671"}' % contact_id))

    with serving(echo, concurrency=8) as (server, client), ThreadPoolExecutor(16) as threads:
        ids = [f"c{number}" for number in range(800)]
        outcomes = list(threads.map(client.get_contact, ids))
    assert [outcome.value and outcome.value.id for outcome in outcomes] == ids
    assert server.connections <= 8


def test_a_closed_client_says_so() -> None:
    with serving(answers(SENT)) as (_, client):
        client.close()
        outcome = client.send_message(TEXT)
    assert (outcome.status, outcome.cause) == (NOT_DONE, Cause.UNREACHABLE)


def _client_in_a_child(endpoint: Endpoint, inherited: int, pipe: object) -> None:
    client = client_for(endpoint)
    pipe.send((id(client) == inherited, client.send_message(TEXT).done))  # type: ignore[attr-defined]


def test_one_client_a_process_and_never_a_parents_sockets_in_a_child() -> None:
    with RawServer(answers(SENT)) as server:
        endpoint = Endpoint("uid", TOKEN, server.url, server.url)
        client = client_for(endpoint)
        assert client_for(Endpoint("uid", TOKEN, server.url, server.url)) is client
        assert client_for(Endpoint("uid", "another", server.url, server.url)) is not client
        assert client.send_message(TEXT).done
        fork = multiprocessing.get_context("fork")
        ours, theirs = fork.Pipe()
        child = fork.Process(target=_client_in_a_child, args=(endpoint, id(client), theirs))
        child.start()
        assert ours.poll(20)
        assert ours.recv() == (False, True)
        child.join()
        assert client.send_message(TEXT).done
        assert server.connections == 2


# The environment's proxies


def test_an_http_proxy_of_the_environment_is_used_and_no_proxy_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answers(SENT)) as proxy, RawServer(answers(SENT)) as direct:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        through, around = client_of("http://api.invalid/v1"), client_of(direct.url)
        monkeypatch.delenv("HTTP_PROXY")
        assert through.send_message(TEXT).done
        assert around.send_message(TEXT).done
    assert proxy.requests[0].startswith(b"POST http://api.invalid/v1/api/send HTTP/1.1")
    assert len(proxy.requests) == len(direct.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(answers_once(http(403, "no")), id="refuses"),
        pytest.param(answers_once(http(502, "<html>")), id="cannot reach it"),
        pytest.param(answers_once(b""), id="closes"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"), id="drips"),
    ],
)
def test_a_proxy_that_makes_no_tunnel_has_passed_nothing_on(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(behaviour) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        outcome = client_of("https://api.invalid", connect=0.6).send_message(TEXT)
    assert (outcome.status, outcome.cause) == (NOT_DONE, Cause.UNREACHABLE)
    assert proxy.requests[0].startswith(b"CONNECT api.invalid:443")
    assert TOKEN.encode() not in proxy.requests[0]


# Secrets


def test_the_token_is_shown_nowhere() -> None:
    with serving(lambda visit: visit.sock.sendall(http(400, visit.read_request() or b""))) as (_, client):
        echoed = client.send_message(TEXT)
        assert echoed.detail
        assert TOKEN not in repr(client) + repr(echoed)
    with pytest.raises(ValueError) as error:
        VirtualTextClient(Endpoint("uid", f"{TOKEN}\n", "http://127.0.0.1", "http://127.0.0.1"))
    assert TOKEN not in str(error.value)


def test_a_relay_url_is_a_secret_too() -> None:
    url = "https://hooks.example/relay/hush-hush"
    with serving(answers(http(400, f'{{"errors":["cannot reach {url}"]}}'))) as (_, client):
        outcome = client.register_relay(url)
    assert outcome.cause is Cause.REJECTED
    assert "hush" not in outcome.detail


def test_a_client_in_test_mode_writes_about_listed_numbers_only() -> None:
    """The last check, whatever its caller did: by name, so that a call that is added later must be sorted in, too."""
    person, other = "+14155552671", "+14155552672"

    def calls(client: VirtualTextClient, number: str) -> dict[str, Callable[[], Outcome[object]]]:
        contact, text = ContactBody(number, "Ada", ""), MessageBody(number, "+14155550100", "Hi")
        return {
            "create_contact": lambda: client.create_contact(contact),
            "update_contact": lambda: client.update_contact("c1", contact),
            "send_message": lambda: client.send_message(text),
            "record_message": lambda: client.record_message(text),
        }

    about_nobody = {"get_contact", "list_contacts", "health", "clock", "register_relay", "close"}
    methods = {name for name, one in vars(VirtualTextClient).items() if callable(one) and not name.startswith("_")}
    with RawServer(answers(SENT)) as server:
        client = VirtualTextClient(Endpoint("uid", TOKEN, server.url, server.url, only_numbers=frozenset({person})))
        assert methods == calls(client, other).keys() | about_nobody
        refused = [call() for call in calls(client, other).values()]
        assert {(one.status, one.cause) for one in refused} == {(NOT_DONE, Cause.TEST_MODE)}
        assert server.requests == []
        for call in calls(client, person).values():
            call()
        assert len(server.requests) == 4
