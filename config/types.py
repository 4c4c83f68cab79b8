"""Value types of the configuration: each parses a TOML value or says, in a full sentence, what is allowed."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _secret(value: object) -> object:
    """``{ env = "NAME" }`` or ``{ file = "path" }`` to the secret itself; plain text stays as it is."""
    if isinstance(value, SecretStr | str):
        return value
    if isinstance(value, dict) and set(value) == {"env"}:
        name = str(value["env"])
        found = os.environ.get(name, "")
        if not found:
            raise PydanticCustomError(
                "secret_missing",
                "the environment variable {name} is not set; set it, or put it into the file .env",
                {"name": name},
            )
        return found
    if isinstance(value, dict) and set(value) == {"file"}:
        path = Path(str(value["file"]))
        try:
            return path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise PydanticCustomError(
                "secret_missing",
                "the secret file {path} cannot be read ({why})",
                {"path": str(path), "why": error.strerror or "unknown"},
            ) from None
    raise PydanticCustomError("secret_form", 'write { env = "NAME" } or { file = "path" }')


def _e164(value: object) -> object:
    if isinstance(value, str) and _E164.fullmatch(value):
        return value
    raise PydanticCustomError("e164", 'a phone number as "+" and digits with the country code, such as "+14155552671"')


def _http_url(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        return value.rstrip("/")
    raise PydanticCustomError("http_url", 'a URL such as "https://public-api.virtualtext.com"')


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("duration", 'a duration such as "90s", "15m", "24h" or "7d"')
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


def _region(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[A-Z]{2}", value):
        return value
    raise PydanticCustomError("region", 'a two-letter country code in capitals, such as "US"')


def _schedule(value: object) -> object:
    text = value.strip() if isinstance(value, str) else ""
    if _DURATION.fullmatch(text) or len(text.split()) == 5:
        return text
    raise PydanticCustomError("schedule", 'a duration such as "15m" or a cron line of five fields')


def one_or_many() -> BeforeValidator:
    """Accept one string where a list is meant."""

    def as_list(value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    return BeforeValidator(as_list)


Secret: TypeAlias = Annotated[SecretStr, BeforeValidator(_secret)]
E164: TypeAlias = Annotated[str, BeforeValidator(_e164)]
HttpUrl: TypeAlias = Annotated[str, BeforeValidator(_http_url)]
Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration)]
Region: TypeAlias = Annotated[str, BeforeValidator(_region)]
Schedule: TypeAlias = Annotated[str, BeforeValidator(_schedule)]
