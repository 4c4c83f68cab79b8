"""Broker URLs: the servers, and the options for TLS and Sentinel.

Parameters after the "?", removed before Celery and the Redis client see the URL:

* TLS, for ``rediss://``, ``amqps://`` and, with ``tls=true``, ``sentinel://``: ``ssl_ca_certs`` (a file; default: the
  system's authorities), ``ssl_certfile`` and ``ssl_keyfile`` (our own certificate), ``ssl_cert_reqs`` (default
  ``required``; Kombu alone would check nothing), ``ssl_check_hostname``.
* Sentinel, ``sentinel://a:26379/0;sentinel://b:26379/0``: ``master_name`` (``mymaster``), ``sentinel_username`` and
  ``sentinel_password``. User and password before the ``@`` are those of Redis itself.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from redis import ConnectionPool

SENTINEL_PORT = 26379
REDIS_SCHEMES = ("redis", "rediss", "sentinel")

_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_OF_SENTINEL = ("master_name", "sentinel_username", "sentinel_password", "tls")


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A parsed URL. ``url`` is for the libraries, ``tls`` holds the Redis client's TLS options; None: no TLS."""

    url: str
    scheme: str
    tls: dict[str, Any] | None
    master_name: str = ""
    sentinel_login: dict[str, str] = field(default_factory=dict)

    @property
    def is_redis(self) -> bool:
        """True if this is a Redis."""
        return self.scheme in REDIS_SCHEMES

    def amqp_tls(self) -> dict[str, Any]:
        """Return the TLS options in the names of the AMQP client."""
        options = {key.removeprefix("ssl_"): value for key, value in (self.tls or {}).items()}
        checks = options.pop("check_hostname", True)
        options["cert_reqs"] = ssl.VerifyMode[f"CERT_{options['cert_reqs'].upper()}"]
        return options | ({"server_hostname": None} if checks else {})  # None: the host of the connection

    def sentinel_options(self, socket: dict[str, Any]) -> dict[str, Any]:
        """Return the Redis client's arguments for connections to the Sentinels themselves."""
        return socket | self.sentinel_login | ({} if self.tls is None else {"ssl": True, **self.tls})


def read_broker_url(text: str) -> BrokerUrl:
    """Parse a URL, or several with ``;`` between them."""
    parts = [urlsplit(part.strip()) for part in text.split(";") if part.strip()]
    given = {key: value for part in parts for key, value in parse_qsl(part.query)}
    scheme, path = parts[0].scheme, next((part.path for part in parts if part.path), "")
    if scheme in REDIS_SCHEMES and "db" in given:  # Kombu reads the number only from the path
        path = f"/{given.pop('db')}"
    left = urlencode({key: value for key, value in given.items() if key not in (*_TLS, *_OF_SENTINEL)})
    login = next((part.netloc.rpartition("@")[0] for part in parts if "@" in part.netloc), "")
    hosts = [part.netloc.rpartition("@")[2] for part in parts]
    # Every part has login, path and parameters, because the libraries may continue with any of them.
    url = ";".join(f"{scheme}://{login}{'@' if login else ''}{host}{path}{'?' if left else ''}{left}" for host in hosts)
    has_tls = scheme in ("rediss", "amqps") or given.get("tls") == "true"
    return BrokerUrl(
        url,
        scheme,
        _tls(given) if has_tls else None,
        given.get("master_name", "mymaster"),
        {key: given[f"sentinel_{key}"] for key in ("username", "password") if f"sentinel_{key}" in given},
    )


def _tls(given: dict[str, str]) -> dict[str, Any]:
    tls: dict[str, Any] = {key: given[key] for key in _TLS if key in given}
    tls.setdefault("ssl_cert_reqs", "required")
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"] != "false"
    return tls


def redis_pool(address: BrokerUrl, socket: dict[str, Any]) -> ConnectionPool:
    """Return a pool of connections to a Redis; with Sentinels, to the current master.

    ``socket``: time-outs and similar options of the Redis client.
    """
    from redis import ConnectionPool
    from redis.sentinel import Sentinel

    if address.scheme != "sentinel":
        return ConnectionPool.from_url(address.url, **socket, **(address.tls or {}))
    first, *_ = parts = [urlsplit(part) for part in address.url.split(";")]
    login = {"username": first.username, "password": first.password}
    options = {key: unquote(value) for key, value in login.items() if value} | {"db": int(first.path.strip("/") or 0)}
    tls = {} if address.tls is None else {"ssl": True, **address.tls}
    hosts = [(part.hostname, part.port or SENTINEL_PORT) for part in parts]
    sentinels: Any = Sentinel(hosts, sentinel_kwargs=address.sentinel_options(socket))  # type: ignore[no-untyped-call]
    pool: ConnectionPool = sentinels.master_for(address.master_name, **socket, **options, **tls).connection_pool
    return pool
