"""Value types of the configuration: each parses a TOML value or says what is allowed.

Some values mean something only together with the file that they are written in: paths are relative to its folder, and
a secret may not stand in it. ``FromFile`` is the validation context that says so; models built in code have none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from config.cron import cron_problem

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(s|m|h|d)")
_HOUR = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_PARAMETERS = re.compile(r"passw|pwd|token|secret|api_?key", re.IGNORECASE)
_SQLITE_FILE = re.compile(r"(?P<head>sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)(?P<path>[^?]+)(?P<query>\?.*)?")


@dataclass(frozen=True, slots=True)
class FromFile:
    """Validation context: the values were written in a configuration file in ``folder`` (absolute)."""

    folder: Path


def refusal(message: str, remedy: str) -> PydanticCustomError:
    """A validation error. ``message`` continues "this value ..."; ``remedy`` says what is allowed or what to do."""
    return PydanticCustomError("refused", "{message}; {remedy}", {"message": message, "remedy": remedy})


def in_folder(path: str | Path, context: object) -> Path:
    """``path`` with ``~`` expanded and, when it comes from a file, relative to that file's folder."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        raise refusal("begins with ~ but there is no such home folder", "write the whole path") from None
    return context.folder / expanded if isinstance(context, FromFile) else expanded


def resolve_reference(reference: Mapping[Any, Any], context: object = None) -> str:
    """The secret that ``{ env = "NAME" }`` or ``{ file = "path" }`` points to. Raises PydanticCustomError."""
    if set(reference) == {"env"} and isinstance(reference["env"], str):
        return _from_environment(reference["env"])
    if set(reference) == {"file"} and isinstance(reference["file"], str):
        return _from_secret_file(reference["file"], context)
    raise refusal("is not a reference to a secret", 'write { env = "NAME" } or { file = "path" }')


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is not None and value.strip():
        return value.strip()
    # Somebody may have put the secret itself where the variable's name belongs: show only what looks like a name.
    if not _VARIABLE.fullmatch(name) or name != name.upper():
        raise refusal(
            "names an environment variable that is not set (its name is not shown: it may be the secret itself)",
            'write the variable\'s name, such as { env = "VTSYNC_TOKEN" }, and put the secret into the file .env',
        )
    state = "is not set" if value is None else "is set but empty"
    raise refusal(
        f"the environment variable {name} {state}",
        f"set it where the worker is started, or add the line {name}=... to the file .env beside the configuration",
    )


def _from_secret_file(name: str, context: object) -> str:
    path = in_folder(name, context)
    # A relative name may be a secret put in the wrong place: only say where it was looked for.
    where = (
        str(path) if Path(name).is_absolute() else f"a file in {path.parent if '/' in name else path.absolute().parent}"
    )
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        why = error.strerror or "unknown error"
    except ValueError:
        why = "it is not UTF-8 text"
    else:
        if secret:
            return secret
        why = "it is empty"
    raise refusal(f"the secret cannot be read from {where}: {why}", "put the secret, and nothing else, into that file")


def holds_password(url: str) -> bool:
    """Whether a URL carries a credential: a password before the ``@``, or a parameter such as ``password=``.

    Of several with ``;`` between them (Sentinels), whether any does.
    """
    return any(_one_holds_password(part) for part in re.split(r";(?=\w+://)", url))


def _one_holds_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parameters = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return True
    user, at, _host = parts.netloc.rpartition("@")
    return bool(at and ":" in user) or any(_SECRET_PARAMETERS.search(name) for name, _value in parameters)


def _reference(value: object, info: ValidationInfo) -> object:
    if isinstance(value, SecretStr):
        return value
    if isinstance(value, dict):
        return resolve_reference(value, info.context)
    if isinstance(value, str):
        return value
    raise refusal("is not a reference to a secret", 'write { env = "NAME" } or { file = "path" }')


def _secret(value: object, info: ValidationInfo) -> object:
    """Like ``_by_reference``, but a URL that holds no password is no secret and may be written out."""
    if isinstance(value, str) and "://" in value and not holds_password(value):
        return value
    return _by_reference(value, info)


def _by_reference(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str) and isinstance(info.context, FromFile):
        what = "a URL with a password" if "://" in value else "a secret"
        raise PydanticCustomError(
            "literal_secret",
            '{what} is written in the file, where others can read and copy it; write {{ env = "NAME" }}',
            {"what": what},
        )
    return _reference(value, info)


def _uid(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if ":" in text:
        raise refusal("has a colon in it", 'of the credential "uid:token", this is the half before the colon only')
    return _header_text(value)


def _header_text(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if re.fullmatch(r"[!-~]+", text):
        return value
    raise refusal(
        "is empty" if not text else "has spaces, line breaks or letters in it that no VirtualText credential has",
        "copy it again, without quotes and without the word Bearer",
    )


def _database_url(value: SecretStr, info: ValidationInfo) -> SecretStr:
    url = value.get_secret_value()
    if "://" not in url:
        raise refusal("is not a database URL", 'write a URL such as "sqlite:///crm.sqlite3"')
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
    raise refusal(
        "is not a database that the store can use",
        f'write "sqlite:///file.sqlite3" or "postgresql+psycopg://user@host/database"{near}',
    )


def _broker_url(value: SecretStr) -> SecretStr:
    return _with_scheme(value, "is not a broker that can be used", "redis", "rediss", "sentinel", "amqp", "amqps")


def _redis_url(value: SecretStr) -> SecretStr:
    return _with_scheme(value, "is not a Redis", "redis", "rediss", "sentinel")


def _with_scheme(value: SecretStr, otherwise: str, *schemes: str) -> SecretStr:
    """One URL, or several servers' with ``;`` between them."""
    parts = value.get_secret_value().split(";")
    remedy = f"write a URL that begins with {', '.join(f'{scheme}://' for scheme in schemes[:-1])} or {schemes[-1]}://"
    if {part.strip().partition("://")[0] for part in parts} - set(schemes):
        raise refusal(otherwise, remedy)
    if len({part.strip().partition("://")[0] for part in parts}) > 1:
        raise refusal("names servers of different kinds", "write the same beginning for each of them")
    try:
        said = {key: text for part in parts for key, text in parse_qsl(urlsplit(part).query)}
        usable = all(urlsplit(part).port != 0 for part in parts)
    except ValueError:
        said, usable = {}, False
    if not usable:
        raise refusal("is not a URL", remedy)
    if said.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise refusal("says what ssl_cert_reqs cannot be", "write ssl_cert_reqs=required, or optional, or none")
    return value


def _e164(value: object) -> object:
    if isinstance(value, str) and _E164.fullmatch(value):
        return value
    raise refusal(
        "is not a phone number in E.164 form",
        'write "+" and digits with the country code and nothing between, such as "+14155552671"',
    )


def _http_url(value: object) -> object:
    remedy = 'write a URL such as "https://public-api.virtualtext.com"'
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise refusal("is not a web address", remedy)
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise refusal("is not a web address", remedy)
    if "@" in parts.netloc:
        raise refusal("holds a user name or password", "credentials do not belong into this URL; " + remedy)
    return value.rstrip("/")


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    remedy = 'write a number with its unit s, m, h or d, such as "90s", "15m", "24h" or "7d"'
    if match is None:
        raise refusal("is not a duration", remedy)
    seconds = float(match[1]) * timedelta(**{_UNITS[match[2]]: 1}).total_seconds()
    if not 1 <= seconds <= _LONGEST.total_seconds():
        raise refusal("is not a duration between one second and ten years", remedy)
    return timedelta(seconds=seconds)


def readable_duration(value: timedelta) -> str:
    """A duration as it is written in the file, in the largest unit that divides it: ``24h``, ``90s``."""
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds > size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def parse_duration(text: str) -> timedelta:
    """``"15m"`` to a timedelta. Raises ValueError (its text says what is allowed)."""
    parsed = _duration(text)
    assert isinstance(parsed, timedelta)  # noqa: S101 - _duration returns nothing else
    return parsed


def _keep(value: object) -> object:
    if value is None or (isinstance(value, str) and value.strip() == "keep"):
        return None
    try:
        return _duration(value)
    except PydanticCustomError:
        raise refusal("says not how long", 'write a duration such as "90d", or "keep" for ever') from None


def _offset(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(r"[+-]?0\s*[smhd]?", text):
        return timedelta(0)
    try:
        size = _duration(text.lstrip("+-"))
    except PydanticCustomError:
        raise refusal(
            "is not a distance in time", 'write a duration with its sign, such as "-24h" (before) or "+2d" (after)'
        ) from None
    assert isinstance(size, timedelta)  # noqa: S101 - _duration returns nothing else
    return -size if text.startswith("-") else size


def readable_offset(value: timedelta) -> str:
    """As it is written in the file: ``-24h``, ``+2d``, ``0s``."""
    if not value:
        return "0s"
    return ("-" if value < timedelta(0) else "+") + readable_duration(abs(value))


def _hour(value: object) -> object:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and _HOUR.fullmatch(value):
        return time.fromisoformat(value)
    raise refusal("is not a time of the day", 'write hours and minutes, such as "09:00" or "18:30"')


def _time_zone(value: object) -> object:
    if isinstance(value, str) and value in _zone_names():
        return value
    raise refusal("is not a time zone", 'write an IANA name such as "America/New_York" or "Europe/London"')


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _region(value: object) -> object:
    from phonenumbers import SUPPORTED_REGIONS

    if isinstance(value, str) and value in SUPPORTED_REGIONS:
        return value
    upper = value.upper() if isinstance(value, str) else ""
    near = {"UK": "GB"}.get(upper, upper)
    hint = f'did you mean "{near}"? ' if near in SUPPORTED_REGIONS else ""
    raise refusal("is not a country", hint + 'Write a two-letter country code in capitals, such as "US"')


def _schedule(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if len(text.split()) > 1 and not _DURATION.fullmatch(text):
        problem = cron_problem(text)
        if problem is None:
            return text
        raise refusal(problem, 'write five fields, such as "*/15 8-18 * * 1-5" (UTC), or a duration such as "15m"')
    if _DURATION.fullmatch(text):
        _duration(text)
        return text
    raise refusal(
        "is not a schedule", 'write a duration such as "15m", or a cron line such as "*/15 8-18 * * 1-5" (UTC)'
    )


def _path(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str | Path) and str(value).strip() and "\0" not in str(value):
        return in_folder(value, info.context)
    raise refusal("is not a path", 'write the path of a file or folder in quotes, such as "contacts.csv"')


def one_or_many() -> BeforeValidator:
    """Accept one string where a list is meant."""

    def as_list(value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    return BeforeValidator(as_list, json_schema_input_type=str | list[str])


def _reference_schema(key: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"type": "string"}},
        "required": [key],
        "additionalProperties": False,
    }


_REFERENCES = [_reference_schema("env"), _reference_schema("file")]
_REFERENCE_ONLY = WithJsonSchema({"anyOf": _REFERENCES})
_REFERENCE_OR_TEXT = WithJsonSchema({"anyOf": [{"type": "string"}, *_REFERENCES]})


def _text(pattern: str | None = None) -> WithJsonSchema:
    return WithJsonSchema({"type": "string"} | ({} if pattern is None else {"pattern": pattern}))


Secret: TypeAlias = Annotated[SecretStr, BeforeValidator(_secret), _REFERENCE_ONLY]
"""``{ env = "NAME" }`` or ``{ file = "path" }``. In a file, plain text is allowed only for a URL without a password."""

Uid: TypeAlias = Annotated[SecretStr, BeforeValidator(_reference), AfterValidator(_uid), _REFERENCE_OR_TEXT]
"""The public half of a VirtualText credential: may be written out, is never shown."""

Token: TypeAlias = Annotated[SecretStr, BeforeValidator(_by_reference), AfterValidator(_header_text), _REFERENCE_ONLY]
"""The secret half of a VirtualText credential."""

DatabaseUrl: TypeAlias = Annotated[
    SecretStr, BeforeValidator(_secret), AfterValidator(_database_url), _REFERENCE_OR_TEXT
]
"""A SQLAlchemy URL, by reference or, without a password, written out. SQLite paths start at the file's folder."""

StoreUrl: TypeAlias = Annotated[DatabaseUrl, AfterValidator(_store_url), _REFERENCE_OR_TEXT]
BrokerUrl: TypeAlias = Annotated[Secret, AfterValidator(_broker_url), _REFERENCE_OR_TEXT]
RedisUrl: TypeAlias = Annotated[Secret, AfterValidator(_redis_url), _REFERENCE_OR_TEXT]

ConfigPath: TypeAlias = Annotated[Path, BeforeValidator(_path), _text()]
"""A path (or a glob pattern). Relative ones are relative to the configuration file's folder; ``~`` is expanded."""

E164: TypeAlias = Annotated[str, BeforeValidator(_e164), _text(rf"^{_E164.pattern}$")]
HttpUrl: TypeAlias = Annotated[str, BeforeValidator(_http_url), _text("^https?://")]
Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(readable_duration, return_type=str, when_used="json"),
    _text(rf"^{_DURATION.pattern}$"),
]
Keep: TypeAlias = Annotated[
    timedelta | None,
    BeforeValidator(_keep),
    PlainSerializer(
        lambda value: "keep" if value is None else readable_duration(value), return_type=str, when_used="json"
    ),
    _text(rf"^(keep|{_DURATION.pattern})$"),
]
"""How long something is kept; None, written ``"keep"``: for ever."""

Offset: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_offset),
    PlainSerializer(readable_offset, return_type=str, when_used="json"),
    _text(r"^[+-]?[0-9.]+\s*(s|m|h|d)$"),
]
"""A distance in time with its sign; negative is before."""

Hour: TypeAlias = Annotated[
    time,
    BeforeValidator(_hour),
    PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str, when_used="json"),
    _text(rf"^{_HOUR.pattern}$"),
]
TimeZone: TypeAlias = Annotated[str, BeforeValidator(_time_zone), _text()]
Region: TypeAlias = Annotated[str, BeforeValidator(_region), _text("^[A-Z]{2}$")]
Schedule: TypeAlias = Annotated[str, BeforeValidator(_schedule), _text()]
