"""The address in the log is the caller's: what proxies say counts only if they are trusted."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from config.models import Web
from tests.web.conftest import Site
from worker.core.logs import set_up_logging
from worker.web.callers import caller_address

PROXIES = Web.model_validate({"trusted_proxies": ["10.0.0.0/8", "fd00::/8", "127.0.0.1"]}).trusted_proxies


@pytest.mark.parametrize(
    ("peer", "headers", "caller"),
    [
        # nothing was forwarded
        ("203.0.113.7", [], "203.0.113.7"),
        ("10.0.0.5", [], "10.0.0.5"),
        (None, [], ""),
        (None, ["203.0.113.7"], ""),
        # one proxy
        ("10.0.0.5", ["203.0.113.7"], "203.0.113.7"),
        ("fd00::1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.5", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.5", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.5", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.5", ["2001:db8::1"], "2001:db8::1"),
        # several proxies
        ("127.0.0.1", ["203.0.113.7, 10.0.0.5"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7", "10.0.0.5"], "203.0.113.7"),
        ("127.0.0.1", ["10.0.0.1, 10.0.0.5"], "10.0.0.1"),
        # invented by the caller
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.5", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.5", ["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.5", ["198.51.100.1\nlevel=critical, 203.0.113.7"], "203.0.113.7"),
        # not an address
        ("10.0.0.5", ["unknown"], "10.0.0.5"),
        ("10.0.0.5", [""], "10.0.0.5"),
        ("10.0.0.5", ["203.0.113.7, _hidden"], "10.0.0.5"),
        ("not-an-address", ["203.0.113.7"], ""),
    ],
)
def test_who_called(peer: str | None, headers: list[str], caller: str) -> None:
    scope = {
        "client": None if peer is None else (peer, 4711),
        "headers": [(b"x-forwarded-for", value.encode()) for value in headers],
    }
    assert caller_address(scope, PROXIES) == caller


def test_nobody_is_trusted_without_a_configuration() -> None:
    scope = {"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"203.0.113.7")]}
    assert caller_address(scope, Web().trusted_proxies) == "127.0.0.1"


@pytest.mark.parametrize("value", ["proxy.internal", "10.0.0.5/8", "*", [10], [""]])
def test_what_is_no_network_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="not an IP address or network"):
        Web.model_validate({"trusted_proxies": value})


@pytest.mark.parametrize(("trusted", "caller"), [((), "127.0.0.1"), (("127.0.0.1",), "203.0.113.7")])
def test_the_log_names_the_caller(
    site: Site, trusted: tuple[str, ...], caller: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging()
    web = Web.model_validate({"trusted_proxies": trusted})
    site.runtime.settings = site.runtime.settings.model_copy(update={"web": web})
    site.http._transport.client = ("127.0.0.1", 4711)  # type: ignore[attr-defined]
    site.http.get("/v1/messages", headers={"X-Forwarded-For": "203.0.113.7"})
    assert f"caller={caller}" in capsys.readouterr().err
