"""Which URLs are certainly not public, in all the spellings that clients understand. To try another one, add a row."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.types import NOT_A_URL, is_public, public_url_problem, read_address

PRIVATE = "is an address of this machine or of a private network"
UNKNOWN_NAME = "has a host name that only a private network knows"
LABEL = "has a host name without a domain, which only a private network knows"
PASSWORD = "has a user name or password in it"
NOT_PUBLIC: list[tuple[str, str]] = [
    ("http://127.0.0.1/a.png", PRIVATE),
    ("http://127.1/a.png", PRIVATE),
    ("http://2130706433/a.png", PRIVATE),
    ("http://0x7f000001/a.png", PRIVATE),
    ("http://0177.0.0.1/a.png", PRIVATE),
    ("http://169.254.169.254/latest/meta-data", PRIVATE),
    ("http://100.100.100.200/latest", PRIVATE),
    ("http://168.63.129.16/", PRIVATE),
    ("https://10.1.2.3/a.png", PRIVATE),
    ("https://192.168.1.10:8443/a.png", PRIVATE),
    ("https://172.16.0.1/a.png", PRIVATE),
    ("https://100.64.0.1/a.png", PRIVATE),
    ("http://0.0.0.0/a.png", PRIVATE),
    ("http://224.0.0.1/a.png", PRIVATE),
    ("http://[::1]/a.png", PRIVATE),
    ("http://[fd00:ec2::254]/a.png", PRIVATE),
    ("http://[fe80::1]/a.png", PRIVATE),
    ("http://[fec0::1]/a.png", PRIVATE),
    ("http://[::ffff:10.0.0.1]/a.png", PRIVATE),
    ("http://[64:ff9b::a00:1]/a.png", PRIVATE),
    ("http://[2002:a00:1::]/a.png", PRIVATE),
    ("http://\uff11\uff12\uff17.0.0.1/a.png", PRIVATE),
    ("http://localhost:8080/a.png", UNKNOWN_NAME),
    ("http://LocalHost./a.png", UNKNOWN_NAME),
    ("http://a.localhost/a.png", UNKNOWN_NAME),
    ("http://nas.local/a.png", UNKNOWN_NAME),
    ("http://metadata.google.internal/a.png", UNKNOWN_NAME),
    ("http://router.home.arpa/a.png", UNKNOWN_NAME),
    ("http://%6cocalhost/a.png", UNKNOWN_NAME),
    ("http://local\u200bhost/a.png", UNKNOWN_NAME),
    ("http://shop.default.svc/a.png", UNKNOWN_NAME),
    ("http://shop.service.consul/a.png", UNKNOWN_NAME),
    ("http://shop/a.png", LABEL),
    ("http://shop:8000/a.png", LABEL),
    ("https://user:hush@example.com/a.png", PASSWORD),
    ("https://user@127.0.0.1/a.png", PASSWORD),
    ("ftp://example.com/a.png", NOT_A_URL),
    ("//example.com/a.png", NOT_A_URL),
    ("https:///a.png", NOT_A_URL),
    ("https://", NOT_A_URL),
    ("", NOT_A_URL),
    ("https://example.com:0/", NOT_A_URL),
    ("https://example.com:99999/", NOT_A_URL),
    ("https://example.com:port/", NOT_A_URL),
    ("https://[::1/", NOT_A_URL),
    ("https://exa mple.com/", NOT_A_URL),
    ("http://example.com\\@127.0.0.1/", NOT_A_URL),
    ("http://example..com/", NOT_A_URL),
    ("http://.example.com/", NOT_A_URL),
    ("http://../", NOT_A_URL),
    ("http://example.com%00/", NOT_A_URL),
    ("http://256.1.1.1/", NOT_A_URL),
    ("http://1.2.3.4.5/", NOT_A_URL),
]
MAY_BE_PUBLIC = [
    "https://example.com",
    "https://example.com/a.png?x=y@z#1",
    "HTTPS://Example.COM:8443/a.png",
    "http://8.8.8.8/a.png",
    "http://134744072/a.png",
    "https://[2606:4700::1111]/a.png",
    "https://[::ffff:8.8.8.8]/a.png",
    "https://b\u00fccher.example.com/a.png",
    "https://xn--bcher-kva.example.com/a.png",
    "https://localhost.example.com/a.png",
    "https://internal.example.com/a.png",
    "https://10.example.com/a.png",
]


@pytest.mark.parametrize(("url", "problem"), NOT_PUBLIC)
def test_what_nobody_outside_can_fetch(url: str, problem: str) -> None:
    assert public_url_problem(url) == problem


@pytest.mark.parametrize("url", MAY_BE_PUBLIC)
def test_what_may_be_public(url: str) -> None:
    assert public_url_problem(url) is None


@given(st.ip_addresses(v=4), st.sampled_from(["{}", "0x{:x}", "0{:o}"]))
def test_an_address_is_the_same_in_each_spelling(address: object, spelling: str) -> None:
    assert read_address(spelling.format(int(address))) == address  # type: ignore[call-overload]
    inner = f"http://[::ffff:{address}]/"
    assert (public_url_problem(inner) is None) is is_public(ip_address(str(address)))


@given(st.text() | st.text().map("https://{}".format))
def test_any_text_gets_an_answer(url: str) -> None:
    public_url_problem(url)
