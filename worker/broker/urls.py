"""What the URL of a broker says: where its servers are, and how TLS and Sentinel are spoken there.

Parameters behind the "?", taken out before Celery and the Redis client see the URL:

* TLS, of ``rediss://``, ``amqps://`` and, with ``tls=true``, ``sentinel://``: ``ssl_ca_certs`` (a file; left out: the
  system's authorities), ``ssl_certfile`` and ``ssl_keyfile`` (who we are), ``ssl_cert_reqs`` (``required`` unless it is
  given: Kombu alone would check nothing), ``ssl_check_hostname``.
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
    """``url`` is what is left for the libraries. ``tls`` holds Redis's words for it, None: it is not spoken."""

    url: str
    scheme: str
    tls: dict[str, Any] | None
    master_name: str = ""
    sentinel_login: dict[str, str] = field(default_factory=dict)

    @property
    def is_redis(self) -> bool:
        """Whether a Redis is behind it."""
        return self.scheme in REDIS_SCHEMES

    def amqp_tls(self) -> dict[str, Any]:
        """The same in the AMQP client's words."""
        said = {key.removeprefix("ssl_"): value for key, value in (self.tls or {}).items()}
        checks = said.pop("check_hostname", True)
        said["cert_reqs"] = ssl.VerifyMode[f"CERT_{said['cert_reqs'].upper()}"]
        return said | ({"server_hostname": None} if checks else {})  # None: the one that is connected to

    def sentinel_options(self, socket: dict[str, Any]) -> dict[str, Any]:
        """How the Sentinels themselves are called: the Redis client's arguments."""
        return socket | self.sentinel_login | ({} if self.tls is None else {"ssl": True, **self.tls})


def read_broker_url(text: str) -> BrokerUrl:
    """Take a URL, or several with ``;`` between them, apart."""
    parts = [urlsplit(part.strip()) for part in text.split(";") if part.strip()]
    said = {key: value for part in parts for key, value in parse_qsl(part.query)}
    left = urlencode({key: value for key, value in said.items() if key not in (*_TLS, *_OF_SENTINEL)})
    scheme, path = parts[0].scheme, next((part.path for part in parts if part.path), "")
    login = next((part.netloc.rpartition("@")[0] for part in parts if "@" in part.netloc), "")
    places = [part.netloc.rpartition("@")[2] for part in parts]
    # Every part says all of it: the libraries go on from any of them.
    url = ";".join(
        f"{scheme}://{login}{'@' if login else ''}{place}{path}{'?' if left else ''}{left}" for place in places
    )
    speaks_tls = scheme in ("rediss", "amqps") or said.get("tls") == "true"
    return BrokerUrl(
        url,
        scheme,
        _tls(said) if speaks_tls else None,
        said.get("master_name", "mymaster"),
        {key: said[f"sentinel_{key}"] for key in ("username", "password") if f"sentinel_{key}" in said},
    )


def _tls(said: dict[str, str]) -> dict[str, Any]:
    tls: dict[str, Any] = {key: said[key] for key in _TLS if key in said}
    tls.setdefault("ssl_cert_reqs", "required")
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"] != "false"
    return tls


def redis_pool(address: BrokerUrl, socket: dict[str, Any]) -> ConnectionPool:
    """Connections to a Redis; through Sentinels always to the one that is the master now.

    ``socket``: time-outs and the like, as the Redis client takes them.
    """
    from redis import ConnectionPool
    from redis.sentinel import Sentinel

    if address.scheme != "sentinel":
        return ConnectionPool.from_url(address.url, **socket, **(address.tls or {}))
    first, *_ = parts = [urlsplit(part) for part in address.url.split(";")]
    login = {"username": first.username, "password": first.password}
    options = {key: unquote(value) for key, value in login.items() if value} | {"db": int(first.path.strip("/") or 0)}
    tls = {} if address.tls is None else {"ssl": True, **address.tls}
    places = [(part.hostname, part.port or SENTINEL_PORT) for part in parts]
    sentinels: Any = Sentinel(places, sentinel_kwargs=address.sentinel_options(socket))  # type: ignore[no-untyped-call]
    pool: ConnectionPool = sentinels.master_for(address.master_name, **socket, **options, **tls).connection_pool
    return pool
