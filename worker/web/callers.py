"""Who called: the address of the connection, or what a trusted proxy says about it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope

from config.types import IpNetwork

Address = IPv4Address | IPv6Address


def caller_address(scope: Scope, proxies: Sequence[IpNetwork]) -> str:
    """Return the caller's IP address; empty where there is none, such as for a socket in the file system.

    ``X-Forwarded-For`` counts only if the connection comes from one of ``proxies`` (`web.trusted_proxies`). Each proxy
    adds the address that called it on the right. So the caller is the last address that is no trusted proxy: anybody
    could have invented what is left of it.
    """
    client = scope.get("client")
    address = _address(client[0]) if client else None
    for given in reversed(_forwarded_for(scope)):
        if address is None or not _is_one_of(address, proxies):
            break
        before = _address(given)
        if before is None:
            break
        address = before
    return "" if address is None else str(address)


def is_called_from(scope: Scope, networks: Sequence[IpNetwork]) -> bool:
    """Return whether the connection itself comes from one of these networks, whatever the request says."""
    client = scope.get("client")
    address = _address(client[0]) if client else None
    return address is not None and _is_one_of(address, networks)


def header_values(scope: Scope, header: str) -> list[bytes]:
    """Return all values of a header, as they came."""
    name = header.lower().encode()
    return [value for given, value in scope["headers"] if given == name]


def _forwarded_for(scope: Scope) -> list[str]:
    values = [value.decode("latin-1") for value in header_values(scope, "X-Forwarded-For")]
    return [one for value in values for one in value.split(",")]


def _address(text: str) -> Address | None:
    """Read an address, also with a port. An IPv4 address in IPv6 notation is the same as the IPv4 address."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _is_one_of(address: Address, networks: Sequence[IpNetwork]) -> bool:
    return any(address in network for network in networks)
