"""Proxies and certificates: each client of HTTP says what is wrong and what to do. To add a mistake, add a row."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr
from requests.exceptions import InvalidSchema

from config.integrations import Subscriber
from crm_adapters.base import AdapterError, LocalServices
from crm_adapters.http import HttpApi, NoAuth
from crm_adapters.unreachable import explain_unreachable
from tests.virtualtext.raw_server import RawServer, answers, http
from worker.carriers.api import ask
from worker.carriers.provider import CarrierUnavailable
from worker.deliveries.outcome import RetryLater
from worker.deliveries.webhooks import WebhookSender
from worker.virtualtext.client import VirtualTextClient
from worker.virtualtext.outcomes import Cause, Endpoint, Status

CERTIFICATE = Path(__file__).parents[1] / "virtualtext" / "tls" / "loopback.pem"  # for 127.0.0.1, trusted by nobody
SECRET = "proxy-s3cret"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Machine:
    """This machine's network: servers that were started for a case, and the environment."""

    def __init__(self, stack: ExitStack, environment: pytest.MonkeyPatch, folder: Path) -> None:
        self._stack, self._environment, self.folder = stack, environment, folder

    def server(self, response: bytes, *, with_tls: bool = False) -> int:
        """Start a server that gives each request this response; its port."""
        context = None
        if with_tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(CERTIFICATE)
        return self._stack.enter_context(RawServer(answers(response), tls=context)).port

    def without_socks(self) -> None:
        """As in an installation of vtsync, where PySocks is missing; the browser of other tests brings it along."""

        def refuse(*_: object, **__: object) -> None:
            raise InvalidSchema("Missing dependencies for SOCKS support.")

        self._environment.setattr("requests.adapters.SOCKSProxyManager", refuse)

    def plain(self) -> int:
        """Start a server that takes the beginning of TLS for a bad request, as HTTP servers do; its port."""
        return self._stack.enter_context(RawServer(lambda visit: visit.sock.sendall(http(400, "no")))).port

    def proxy(self, response: bytes, variable: str = "HTTPS_PROXY") -> None:
        self.set(variable, f"http://ann:{SECRET}@127.0.0.1:{self.server(response)}")

    def set(self, variable: str, value: object) -> None:
        self._environment.setenv(variable, str(value))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with ExitStack() as stack:
        yield Machine(stack, monkeypatch, tmp_path)


# --- what is wrong: prepares the machine and returns the address to call


def tunnel_wants_login(machine: Machine) -> str:
    machine.proxy(http(407, "no"))
    return "https://api.invalid"


def request_wants_login(machine: Machine) -> str:
    machine.proxy(http(407, "{}"), "HTTP_PROXY")
    return "http://api.invalid"


def tunnel_is_refused(machine: Machine) -> str:
    machine.proxy(http(403, "no"))
    return "https://api.invalid"


def no_proxy_is_there(machine: Machine) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    machine.set("HTTPS_PROXY", f"http://ann:{SECRET}@127.0.0.1:{port}")
    return "https://api.invalid"


def proxy_name_is_unknown(machine: Machine) -> str:
    machine.set("HTTPS_PROXY", f"http://ann:{SECRET}@proxy.invalid:3128")
    return "https://api.invalid"


def proxy_speaks_no_tls(machine: Machine) -> str:
    machine.set("HTTPS_PROXY", f"https://ann:{SECRET}@127.0.0.1:{machine.plain()}")
    return "https://api.invalid"


def proxy_has_no_host(machine: Machine) -> str:
    machine.set("HTTPS_PROXY", "http://:3128")
    return "https://api.invalid"


def authority_is_unknown(machine: Machine) -> str:
    return f"https://127.0.0.1:{machine.server(http(200, '{}'), with_tls=True)}"


def proxy_speaks_socks(machine: Machine) -> str:
    machine.set("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    machine.without_socks()
    return "https://api.invalid"


def server_speaks_no_tls(machine: Machine) -> str:
    return f"https://127.0.0.1:{machine.plain()}"


def bundle_is_missing(machine: Machine) -> str:
    machine.set("REQUESTS_CA_BUNDLE", machine.folder / "nothing.pem")
    return authority_is_unknown(machine)


def bundle_has_no_certificate(machine: Machine) -> str:
    path = machine.folder / "empty.pem"
    path.write_text("this is no certificate\n")
    machine.set("REQUESTS_CA_BUNDLE", path)
    return authority_is_unknown(machine)


MISTAKES: dict[Callable[[Machine], str], str] = {
    tunnel_wants_login: "wants a login; write it into the variable HTTPS_PROXY",
    request_wants_login: "wants a login; write it into the variable HTTPS_PROXY (HTTP_PROXY for",
    tunnel_is_refused: "refuses to connect (HTTP 403); allow the host there, or name it in NO_PROXY",
    no_proxy_is_there: "the proxy of this machine cannot be reached; correct HTTPS_PROXY",
    proxy_name_is_unknown: "the proxy of this machine cannot be reached; correct HTTPS_PROXY",
    proxy_speaks_no_tls: "begin HTTPS_PROXY with http:// instead of https://",
    proxy_has_no_host: "write HTTPS_PROXY like http://HOST:PORT",
    authority_is_unknown: "set the variable REQUESTS_CA_BUNDLE to a file with its certificate",
    proxy_speaks_socks: "proxies that speak SOCKS cannot be used",
    server_speaks_no_tls: "it speaks no TLS on this port",
    bundle_is_missing: "the file that REQUESTS_CA_BUNDLE names",
    bundle_has_no_certificate: "the file that REQUESTS_CA_BUNDLE names",
}


# --- who calls: what it says


def virtualtext(url: str) -> str:
    with contextlib.closing(
        VirtualTextClient(Endpoint("uid-of-a-test", "token-of-a-test", url, url, 2.0, 2.0))
    ) as client:
        outcome = client.get_contact("c1")
    assert (outcome.status, outcome.cause) == (Status.NOT_DONE, Cause.UNREACHABLE)
    return outcome.detail


def adapter(url: str) -> str:
    api = HttpApi("Acme", url, NoAuth(), LocalServices())
    with contextlib.closing(api), pytest.raises(AdapterError) as error:
        api.get("contacts")
    assert "Acme" in str(error.value)
    return str(error.value)


def carrier(url: str) -> str:
    with requests.Session() as session, pytest.raises(CarrierUnavailable) as error:
        ask(session, f"{url}/messages")
    return str(error.value)


def webhook(url: str) -> str:
    subscriber = Subscriber.model_construct(url=f"{url}/events", secret=SecretStr("whsec_c2VjcmV0"))
    with WebhookSender() as sender:
        outcome = sender.post(subscriber, "event", "{}")
    assert isinstance(outcome, RetryLater)
    assert outcome.is_down
    return outcome.reason


@pytest.mark.parametrize("call", [virtualtext, adapter, carrier, webhook])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_network_is_explained(
    machine: Machine, mistake: Callable[[Machine], str], call: Callable[[str], str]
) -> None:
    said = call(mistake(machine))
    assert MISTAKES[mistake] in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10, "out of date"),
        (18, "REQUESTS_CA_BUNDLE"),
        (20, "REQUESTS_CA_BUNDLE"),
        (62, "for another host"),
        (64, "for another host"),
        (23, "not valid: certificate revoked"),
    ],
)
def test_what_is_wrong_with_a_certificate(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "certificate revoked"
    assert words in explain_unreachable(requests.exceptions.SSLError(error))


@pytest.mark.parametrize("error", [OSError("x"), ValueError(), TimeoutError("timed out"), ssl.SSLError(1, "bad mac")])
def test_other_errors_are_left_to_the_client(error: Exception) -> None:
    assert explain_unreachable(error) == ""


def test_a_bundle_that_was_corrected_is_used_without_a_restart(machine: Machine) -> None:
    url = bundle_is_missing(machine)
    with contextlib.closing(VirtualTextClient(Endpoint("uid-of-a-test", "token-of-a-test", url, url))) as client:
        assert "REQUESTS_CA_BUNDLE" in client.get_contact("c1").detail
        shutil.copy(CERTIFICATE, machine.folder / "nothing.pem")
        assert client.get_contact("c1").http_status == 200
