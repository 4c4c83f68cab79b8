"""Finds and reads the configuration file. All that is wrong with it is reported at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from config.adapter_options import (
    AdapterNames,
    CanWrite,
    Checks,
    CheckTemplate,
    OptionsModelOf,
    always,
    check_with_adapters,
    no_template_problems,
    without_known_secrets,
)
from config.carriers import KnownCarriers, no_carriers_known
from config.checks import broken_rules
from config.errors import ConfigError, Problem
from config.models import Settings
from config.problems import problems_of
from config.redact import HIDDEN, is_secret_name
from config.types import FromFile, in_folder

DEFAULT_NAME = "vtsync.toml"
PATH_VARIABLE = "VTSYNC_CONFIG"

_LINE_AND_COLUMN = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")
_KEYS_ON_LINE = re.compile(r"[\w.\"'-]+(?=\s*=)")


def load(path: Path | str | None = None) -> Settings:
    """The settings in ``path`` (left out: in ``$VTSYNC_CONFIG``, else ``./vtsync.toml``).

    The files ``.env`` in the working directory and beside the configuration are read into the environment first; a
    variable that is already set keeps its value. Raises ConfigError with every problem. Adapter options are kept as
    written: ``load_all`` checks those too.
    """
    return _load(path, None)


def load_all(
    path: Path | str | None,
    options_model_of: OptionsModelOf,
    check_template: CheckTemplate = no_template_problems,
    adapter_names: AdapterNames = tuple,
    check_condition: CheckTemplate = no_template_problems,
    can_write: CanWrite = always,
    known_carriers: KnownCarriers = no_carriers_known,
) -> Settings:
    """Like ``load``, with the adapters' options and the templates checked too (see ``validate_adapters``).

    Raises ConfigError with every problem of all of them.
    """
    checks = Checks(options_model_of, check_template, adapter_names, check_condition, can_write, known_carriers)
    return _load(path, checks)


def find_file(path: Path | str | None = None) -> Path:
    """The configuration file to read, absolute; it need not exist."""
    return Path(path or os.environ.get(PATH_VARIABLE, "").strip() or DEFAULT_NAME).expanduser().absolute()


def data_dir_of(path: Path | str | None = None) -> Path:
    """The data folder that the configuration file names, absolute, whatever may be wrong with the rest of the file."""
    found = find_file(path)
    try:
        named = tomllib.loads(found.read_text(encoding="utf-8-sig")).get("data_dir")
    except (OSError, ValueError, RecursionError):
        named = None
    default: Path = Settings.model_fields["data_dir"].default
    return in_folder(named if isinstance(named, str) else default, FromFile(found.parent)).absolute()


def settings_from(data: Mapping[str, Any], folder: Path) -> Settings:
    """Settings from a file's parsed data, as if it stood in ``folder``. Raises ConfigError with every problem."""
    return _settings_from(data, folder, None)


def _settings_from(data: Mapping[str, Any], folder: Path, checks: Checks | None) -> Settings:
    context = FromFile(folder.absolute())
    problems: list[Problem] = []
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(data, context=context)
    except ValidationError as error:
        problems.extend(problems_of(error, Settings))
    problems.extend(broken_rules(data, context))
    if checks is not None:
        problems.extend(check_with_adapters(data, checks, context)[1])
    if settings is None or problems:
        raise ConfigError(without_known_secrets(problems, data))
    return settings


def _load(path: Path | str | None, checks: Checks | None) -> Settings:
    _load_environment(Path.cwd())
    found = find_file(path)
    _load_environment(found.parent)
    try:
        return _settings_from(_parsed(_text_of(found)), found.parent, checks)
    except ConfigError as error:
        raise ConfigError(error.problems, str(found)) from None


def _load_environment(folder: Path) -> None:
    from dotenv import load_dotenv

    file = folder / ".env"
    try:
        load_dotenv(file, override=False, interpolate=False)  # a secret may hold ${
    except OSError as error:
        _fail(f"cannot be read: {error.strerror}", "make it readable for this user, or remove it", str(file))
    except ValueError:
        _fail("is not UTF-8 text", "save it as UTF-8, one NAME=value a line", str(file))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        _fail(
            "does not exist",
            f"run `vtsync init` to write a commented one, or name another file in the variable {PATH_VARIABLE}",
        )
    except OSError as error:
        _fail(f"cannot be read: {error.strerror}", "make it a file that this user can read")
    except ValueError:
        _fail("is not UTF-8 text", "save it as UTF-8")


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        _fail("nests tables or lists too deeply", "write it flatter")
    except ValueError as error:  # tomllib raises plain ValueErrors too, for numbers of more than 4,300 digits
        _fail(*_syntax_problem(str(error), text.split("\n")))


def _syntax_problem(message: str, lines: list[str]) -> tuple[str, str]:
    match = _LINE_AND_COLUMN.search(message)
    if match is None:
        reason = re.sub(r"\s*\(at end of document\)$", ", and then the file ends", message)
        return (
            f"is not valid TOML: {reason}",
            "look for a quote or bracket that is never closed, or a number far too long",
        )
    line, column = int(match[1]), int(match[2])
    place = f"line {line}, column {column}"
    return f"is not valid TOML at {place}: {message[: match.start()]}", _shown_line(lines, line - 1)


def _shown_line(lines: list[str], index: int) -> str:
    """The line itself with its number, cut off where a secret may begin."""
    text = lines[index].rstrip() if index < len(lines) else ""
    keys = list(_KEYS_ON_LINE.finditer(text))
    cut = next((key.end() for key in keys if _names_secret(key[0])), None)
    if cut is None and keys and "://" in text:  # a URL may hold a password
        cut = keys[0].end()
    if cut is not None:
        text = f"{text[:cut]} = {HIDDEN}"
    elif not keys and not text.lstrip().startswith("["):  # may go on with the secret of the line before
        text = HIDDEN
    return f"line {index + 1}:  {text[:120]}"


def _names_secret(key: str) -> bool:
    return any(is_secret_name(part.strip("\"' ")) for part in key.split("."))


def _fail(message: str, remedy: str, key: str = "") -> NoReturn:
    raise ConfigError([Problem(key, None, message, remedy)])
