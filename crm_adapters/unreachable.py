"""Explains why a connection was not made: a proxy, a certificate, an authority. For every request that leaves vtsync.

Imports nothing of ours, so that every client of HTTP can use it. No sentence repeats an address: it may hold a secret.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Any

PROXY_LOGIN = (
    "the proxy of this machine wants a login; write it into the variable HTTPS_PROXY (HTTP_PROXY for http://"
    " addresses), like http://USER:PASSWORD@HOST:PORT"
)
"""What a 407 means, as a response or as the end of a tunnel."""

_UNKNOWN_AUTHORITY = (
    "its certificate is signed by an authority that this machine does not know; if it is your own, such as that of a"
    " proxy that inspects TLS, set the variable REQUESTS_CA_BUNDLE to a file with its certificate"
)
_WRONG_NAME = "its certificate is for another host; correct the address"
_OUT_OF_DATE = "its certificate is out of date; its operator must renew it, if this machine's clock is right"
_BY_VERIFY_CODE = {
    9: _OUT_OF_DATE,
    10: _OUT_OF_DATE,
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: _WRONG_NAME,
    64: _WRONG_NAME,
}
"""OpenSSL's X509_V_ERR codes."""

_NO_BUNDLE = re.compile(r"Could not find a suitable TLS CA certificate bundle")
_BAD_BUNDLE = ("NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE")
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_SOCKS = re.compile(r"Missing dependencies for SOCKS support")
_PLAIN_PROXY = re.compile(r"proxy appears to only use HTTP and not HTTPS")


def explain_unreachable(error: BaseException) -> str:
    """Say what keeps this machine from connecting and what to do; "" if it is neither a proxy nor a certificate."""
    chain = list(causes_of(error))
    text = "\n".join(map(str, chain))
    if _NO_BUNDLE.search(text) or any(getattr(one, "reason", None) in _BAD_BUNDLE for one in chain):
        return "the file that REQUESTS_CA_BUNDLE names has no certificates that can be read; correct the variable"
    if _SOCKS.search(text):
        return "proxies that speak SOCKS cannot be used; name one that speaks HTTP in HTTPS_PROXY"
    if any(type(one).__name__ in ("InvalidProxyURL", "ProxySchemeUnknown") for one in chain):
        return "the address of the proxy cannot be used; write HTTPS_PROXY like http://HOST:PORT"
    if any(type(one).__name__ == "ProxyError" for one in chain):
        return _explain_proxy(text)
    return next(filter(None, map(_explain_tls, chain)), "")


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and the errors inside it, which urllib3 keeps in ``args`` or as the cause."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        inner: Any = next((one for one in following.args if isinstance(one, BaseException)), None)
        following = inner or following.__cause__ or following.__context__


def _explain_proxy(text: str) -> str:
    if _PLAIN_PROXY.search(text):
        return "the proxy of this machine speaks no TLS; begin HTTPS_PROXY with http:// instead of https://"
    tunnel = _TUNNEL.search(text)
    if tunnel is None:
        return (
            "the proxy of this machine cannot be reached; correct HTTPS_PROXY (HTTP_PROXY for http:// addresses), or"
            " name the host in NO_PROXY"
        )
    if tunnel[1] == "407":
        return PROXY_LOGIN
    return (
        f"the proxy of this machine refuses to connect (HTTP {tunnel[1]}); allow the host there, or name it in NO_PROXY"
    )


def _explain_tls(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, f"its certificate is not valid: {error.verify_message}")
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in (
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
    ):
        return "it speaks no TLS on this port; correct the address, or begin it with http:// if that is meant"
    return ""
