"""Types for the URLs of web services, databases and brokers."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from config.types.base import FromFile, in_folder, invalid_value, text_schema
from config.types.secrets import REFERENCE_OR_TEXT, Secret

_SQLITE_FILE = re.compile(r"(?P<head>sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)(?P<path>[^?]+)(?P<query>\?.*)?")


def is_loopback(url: str) -> bool:
    """Return True if a URL stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _database_url(value: SecretStr, info: ValidationInfo) -> SecretStr:
    url = value.get_secret_value()
    if "://" not in url:
        raise invalid_value("is not a database URL", 'write a URL such as "sqlite:///crm.sqlite3"')
    match = _SQLITE_FILE.fullmatch(url)
    if match is None or not isinstance(info.context, FromFile):
        return value
    path = in_folder(match["path"], info.context)
    return SecretStr(f"{match['head']}{path}{match['query'] or ''}")


def _store_url(value: SecretStr) -> SecretStr:
    scheme = value.get_secret_value().partition("://")[0]
    if re.fullmatch(r"sqlite(\+\w+)?|postgresql\+psycopg", scheme):
        return value
    near = " (the driver is named after a plus sign)" if scheme.startswith("postgres") else ""
    raise invalid_value(
        "is not a database that the store can use",
        f'write "sqlite:///file.sqlite3" or "postgresql+psycopg://user@host/database"{near}',
    )


def _broker_url(value: SecretStr) -> SecretStr:
    return _with_scheme(value, "is not a broker that can be used", "redis", "rediss", "sentinel", "amqp", "amqps")


def _redis_url(value: SecretStr) -> SecretStr:
    return _with_scheme(value, "is not a Redis URL", "redis", "rediss", "sentinel")


def _with_scheme(value: SecretStr, otherwise: str, *schemes: str) -> SecretStr:
    """Check one URL, or the URLs of several servers with ``;`` between them."""
    parts = value.get_secret_value().split(";")
    remedy = f"write a URL that begins with {', '.join(f'{scheme}://' for scheme in schemes[:-1])} or {schemes[-1]}://"
    if {part.strip().partition("://")[0] for part in parts} - set(schemes):
        raise invalid_value(otherwise, remedy)
    if len({part.strip().partition("://")[0] for part in parts}) > 1:
        raise invalid_value(
            "names servers of different kinds", "begin all of them with the same scheme, such as redis://"
        )
    try:
        parameters = {key: text for part in parts for key, text in parse_qsl(urlsplit(part).query)}
        usable = all(urlsplit(part).port != 0 for part in parts)
    except ValueError:
        parameters, usable = {}, False
    if not usable:
        raise invalid_value("is not a URL", remedy)
    if parameters.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise invalid_value(
            "has an unknown value for ssl_cert_reqs", "write ssl_cert_reqs=required, or optional, or none"
        )
    _check_redis_database(parts, parameters)
    return value


def _check_redis_database(parts: list[str], parameters: dict[str, str]) -> None:
    """Check that the path and the parameter ``db`` do not name different databases, of which each library reads one."""
    if "db" not in parameters:
        return
    numbers = {path for part in parts if (path := urlsplit(part).path.strip("/"))} | {parameters["db"]}
    if len(numbers) > 1 or not parameters["db"].isdecimal():
        raise invalid_value("does not name one database", "write its number once, as in redis://host:6379/3")


def _http_url(value: object) -> object:
    remedy = 'write a URL such as "https://public-api.virtualtext.com"'
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise invalid_value("is not a web address", remedy)
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise invalid_value("is not a web address", remedy)
    if "@" in parts.netloc:
        raise invalid_value("holds a user name or password", "this URL must not hold credentials; " + remedy)
    return value.rstrip("/")


HttpUrl: TypeAlias = Annotated[str, BeforeValidator(_http_url), text_schema("^https?://")]
DatabaseUrl: TypeAlias = Annotated[Secret, AfterValidator(_database_url), REFERENCE_OR_TEXT]
"""A SQLAlchemy URL: a reference or, without a password, plain text. A relative SQLite path starts at the file's folder.
"""

StoreUrl: TypeAlias = Annotated[DatabaseUrl, AfterValidator(_store_url), REFERENCE_OR_TEXT]
BrokerUrl: TypeAlias = Annotated[Secret, AfterValidator(_broker_url), REFERENCE_OR_TEXT]
RedisUrl: TypeAlias = Annotated[Secret, AfterValidator(_redis_url), REFERENCE_OR_TEXT]
