"""Types for secrets: written as a reference to an environment variable or to a file."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from config.types.base import FromFile, in_folder, invalid_value

KEY_BYTES = 32
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_PARAMETERS = re.compile(r"passw|pwd|token|secret|api_?key", re.IGNORECASE)


def resolve_reference(reference: Mapping[Any, Any], context: object = None) -> str:
    """Return the secret that ``{ env = "NAME" }`` or ``{ file = "path" }`` points to. Raises PydanticCustomError."""
    if set(reference) == {"env"} and isinstance(reference["env"], str):
        return _from_environment(reference["env"])
    if set(reference) == {"file"} and isinstance(reference["file"], str):
        return _from_secret_file(reference["file"], context)
    raise invalid_value("is not a reference to a secret", 'write { env = "NAME" } or { file = "path" }')


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is not None and value.strip():
        return value.strip()
    # The operator may have written the secret in place of the variable's name: show only what looks like a name.
    if not _VARIABLE.fullmatch(name) or name != name.upper():
        raise invalid_value(
            "names an environment variable that is not set (its name is not shown: it may be the secret itself)",
            'write the variable\'s name, such as { env = "VTSYNC_TOKEN" }, and put the secret into the file .env',
        )
    state = "is not set" if value is None else "is set but empty"
    raise invalid_value(
        f"the environment variable {name} {state}",
        f"set it where the worker is started, or add the line {name}=... to the file .env next to the configuration",
    )


def _from_secret_file(name: str, context: object) -> str:
    path = in_folder(name, context)
    # A relative name may be the secret itself, written in the wrong place: show only the folder.
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
    raise invalid_value(
        f"the secret cannot be read from {where}: {why}", "put the secret, and nothing else, into that file"
    )


def holds_password(url: str) -> bool:
    """Return True if a URL holds a credential: a password before the ``@``, or a parameter such as ``password=``.

    Several URLs may be joined by ``;`` (Sentinels); one with a credential is enough.
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
    raise invalid_value("is not a reference to a secret", 'write { env = "NAME" } or { file = "path" }')


def _secret(value: object, info: ValidationInfo) -> object:
    """Validate like ``_by_reference``, but accept a URL without a password as plain text: it is not a secret."""
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
        raise invalid_value("has a colon in it", 'write only the part of the credential "uid:token" before the colon')
    return _header_text(value)


def _header_text(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if re.fullmatch(r"[!-~]+", text):
        return value
    raise invalid_value(
        "is empty" if not text else "has spaces, line breaks or characters that no token has",
        "copy it again, without quotes and without the word Bearer",
    )


def encryption_keys(text: str) -> list[str]:
    """Split the value of an ``EncryptionKey`` into its keys, in the alphabet that is safe in URLs. Raises ValueError.

    A key is 32 random bytes in base64, as `openssl rand -base64 32` writes them.
    """
    keys = [part.strip().replace("+", "-").replace("/", "_") for part in text.split(",")]
    try:
        sizes = [len(base64.b64decode(key, b"-_", validate=True)) for key in keys]
    except binascii.Error:
        sizes = []
    if set(sizes) != {KEY_BYTES}:
        raise ValueError(f"not {KEY_BYTES} bytes in base64")
    return keys


def _encryption_key(value: SecretStr) -> SecretStr:
    try:
        encryption_keys(value.get_secret_value())
    except ValueError:
        raise invalid_value(
            f"is not an encryption key: {KEY_BYTES} bytes in base64, or several such keys with commas between them",
            "make one:  openssl rand -base64 32",
        ) from None
    return value


def _reference_schema(key: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"type": "string"}},
        "required": [key],
        "additionalProperties": False,
    }


_REFERENCES = [_reference_schema("env"), _reference_schema("file")]
REFERENCE_ONLY = WithJsonSchema({"anyOf": _REFERENCES})
REFERENCE_OR_TEXT = WithJsonSchema({"anyOf": [{"type": "string"}, *_REFERENCES]})

Secret: TypeAlias = Annotated[SecretStr, BeforeValidator(_secret), REFERENCE_ONLY]
"""``{ env = "NAME" }`` or ``{ file = "path" }``. In a file, plain text is allowed only for a URL without a password."""

Uid: TypeAlias = Annotated[SecretStr, BeforeValidator(_reference), AfterValidator(_uid), REFERENCE_OR_TEXT]
"""The public half of a VirtualText credential. It may be written as plain text, and is never shown."""

Token: TypeAlias = Annotated[SecretStr, BeforeValidator(_by_reference), AfterValidator(_header_text), REFERENCE_ONLY]
"""The secret half of a VirtualText credential, or the token of another API: no spaces. A password is a ``Secret``."""

EncryptionKey: TypeAlias = Annotated[
    SecretStr, BeforeValidator(_by_reference), AfterValidator(_encryption_key), REFERENCE_ONLY
]
"""One or more keys, separated by commas: the first one encrypts, each of them decrypts."""
