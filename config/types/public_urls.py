"""Which URLs are certainly not public: only this machine, this network or nobody can fetch them. Asks no DNS server."""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator

from config.types.base import invalid_value
from config.types.urls import HttpUrl

NOT_PUBLIC_NAMES = frozenset(
    "localhost localdomain local internal intranet private corp home lan home.arpa test invalid onion alt svc consul"
    " docker".split()
)
"""Domains that the public DNS does not have (RFC 6761, 6762, 7686, 8375, 9476; ICANN keeps ``internal`` private).

``svc`` and ``consul`` are those of Kubernetes and Consul.
"""
METADATA_ADDRESSES = frozenset({ip_address("168.63.129.16")})
"""Cloud services that are reached through a public address, but only from their own machines (Azure)."""

NOT_A_URL = "is no http or https URL"

_URL = re.compile(r"https?://[^\s/\\]+(/\S*)?", re.IGNORECASE)
_NAT64 = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_PART = re.compile(r"0x[0-9a-f]*|0[0-7]*|[1-9][0-9]*")
"""A part of an IPv4 address as C libraries read it: hexadecimal, octal or decimal."""


def public_url_problem(url: str) -> str | None:
    """Return why nobody outside can fetch a URL, as "is ..." or "has ..."; None if it may be public. Pure."""
    if not _URL.fullmatch(url):
        return NOT_A_URL
    try:
        parts = urlsplit(url)
        host, port = host_of(parts), parts.port
    except ValueError:
        return NOT_A_URL
    if "@" in parts.netloc:
        return "has a user name or password in it"
    if not host or port == 0:
        return NOT_A_URL
    address = read_address(host)
    if address is not None:
        return None if is_public(address) else "is an address of this machine or of a private network"
    labels = host.split(".")
    if "" in labels or not host.isprintable():
        return NOT_A_URL
    if any(".".join(labels[-count:]) in NOT_PUBLIC_NAMES for count in (1, 2)):
        return "has a host name that only a private network knows"
    if len(labels) == 1:
        return "has a host name without a domain, which only a private network knows"
    if labels[-1].isdecimal():  # no such top-level domain, and no address
        return NOT_A_URL
    return None


def host_of(parts: SplitResult) -> str:
    """Return the host as clients read it: in small letters, without escapes, wide or invisible letters and a final dot.

    Raises ValueError for an IPv6 address that is none.
    """
    host = unicodedata.normalize("NFKC", unquote(parts.hostname or "").translate(_DOTS))
    return "".join(one for one in host if unicodedata.category(one) != "Cf").lower().removesuffix(".")


def read_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that clients connect to for ``host``, in all spellings of IPv4; None for a name."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    parts = host.split(".")
    if len(parts) > 4 or not all(_PART.fullmatch(part) for part in parts):
        return None
    numbers = [
        int(part[2:] or "0", 16) if part[:2] == "0x" else int(part, 8 if part[0] == "0" else 10) for part in parts
    ]
    *first, last = numbers
    if any(one > 255 for one in first) or last >= 256 ** (5 - len(numbers)):
        return None
    return IPv4Address(sum(one << (24 - 8 * place) for place, one in enumerate(first)) + last)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether the whole internet can reach an address, and the IPv4 address that it may stand for."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if any(address in network for network in _NAT64):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        elif inner is None and int(address) >> 32 == 0:  # "::7f00:1", the old form of an IPv4 address
            inner = IPv4Address(int(address))
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:  # "fec0::1", which Python counts as global
            return False
    return address.is_global and not address.is_multicast and address not in METADATA_ADDRESSES


def _public(url: str) -> str:
    problem = public_url_problem(url)
    if problem is not None:
        raise invalid_value(
            f"{problem}, so VirtualText cannot fetch it", 'write a public URL such as "https://example.com/map.png"'
        )
    return url


PublicUrl: TypeAlias = Annotated[HttpUrl, AfterValidator(_public)]
"""A URL that VirtualText fetches. ``vtsync check`` refuses what is certainly not public."""
