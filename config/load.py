"""Finds and reads the configuration file. All its problems are reported at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from config.adapter_options import AdapterChecks, adapter_problems
from config.checks import rule_problems
from config.errors import ConfigError, ConfigProblem
from config.last_good import LastGood, keep_last_good, recall_last_good
from config.models import Settings
from config.problems import problems_of
from config.redact import HIDDEN, is_secret_name, known_secrets, redact_secrets
from config.renamed import with_current_names
from config.types import FromFile, in_folder

DEFAULT_NAME = "vtsync.toml"
PATH_VARIABLE = "VTSYNC_CONFIG"

_LINE_AND_COLUMN = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")
_DATA_DIR = re.compile(r"""^\s*data_dir\s*=\s*(["'])([^"'\n]+)\1""", re.MULTILINE)
"""How the data folder is found in a file that is no valid TOML."""
_PEOPLE = frozenset({"accounts", "connections", "triggers", "carriers", "subscribers", "alerts"})
_KEYS_ON_LINE = re.compile(r"[\w.\"'-]+(?=\s*=)")


def load(path: Path | str | None = None, checks: AdapterChecks | None = None) -> Settings:
    """Read the settings from ``path`` (default: ``$VTSYNC_CONFIG``, else ``./vtsync.toml``).

    First read the file ``.env`` next to the configuration into the environment; a variable that is already set keeps
    its value. ``.env`` of the working directory is read only if nothing names the file. Raises ConfigError with every
    problem. Without ``checks``, adapter options and templates are not checked.
    """
    return _load(path, lambda data: data, checks)


def load_store(path: Path | str | None = None) -> Settings:
    """Read only ``data_dir`` and ``store.url``, like ``load``, and leave the rest of the settings at their defaults.

    A migration needs nothing else, so it runs without other secrets, and whatever is wrong elsewhere in the file.
    """
    return _load(path, _store_only, None)


def load_scheduler(path: Path | str | None = None) -> Settings:
    """Read what the scheduler needs, like ``load``: everything but the tables of people, texts and other systems.

    It only publishes ticks, so it runs without the secrets of these tables, and whatever is wrong in them.
    """
    return _load(path, _without_people, None)


def _load(
    path: Path | str | None, select: Callable[[dict[str, Any]], dict[str, Any]], checks: AdapterChecks | None
) -> Settings:
    if path is None and not os.environ.get(PATH_VARIABLE, "").strip():
        _load_environment(Path.cwd())  # it may name the file
    found = find_file(path)
    _load_environment(found.parent)
    try:
        data = select(_parsed(_text_of(found)))
        settings = settings_from(data, found.parent, checks)
    except ConfigError as error:
        raise ConfigError(error.problems, str(found)) from None
    if checks is not None:
        keep_last_good(found, data, settings.data_dir)
    return settings


def last_good(path: Path | str | None = None) -> LastGood | None:
    """Return the settings that were last in use, for a file that has a mistake now; None if none are kept."""
    found = find_file(path)
    with suppress(ConfigError):
        _load_environment(found.parent)
    return recall_last_good(found, data_dir_of(path))


def _store_only(data: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: data[key] for key in ("data_dir", "store") if key in data}
    if isinstance(store := kept.get("store"), dict):
        kept["store"] = {key: value for key, value in store.items() if key not in ("grant_key", "encryption_key")}
    return kept


def _without_people(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in _PEOPLE} | _store_only(data)


def settings_from(data: Mapping[str, Any], folder: Path, checks: AdapterChecks | None = None) -> Settings:
    """Build the settings from a file's parsed data, as if it were in ``folder``. Raises ConfigError."""
    current = with_current_names(data)
    context = FromFile(folder.absolute(), current.notes)
    problems = list(current.problems)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(current.data, context=context)
    except ValidationError as error:
        problems.extend(problems_of(error, Settings))
    problems.extend(rule_problems(current.data, context))
    if checks is not None:
        problems.extend(adapter_problems(current.data, checks, context))
    if settings is None or problems:
        secrets = known_secrets(data)
        as_written = (replace(problem, key=current.written.get(problem.key, problem.key)) for problem in problems)
        raise ConfigError(_without_secrets(problem, secrets) for problem in as_written)
    return settings


def _without_secrets(problem: ConfigProblem, secrets: Collection[str]) -> ConfigProblem:
    """Remove the file's secrets also from text that adapters and templates wrote."""
    value = None if problem.value is None else redact_secrets(problem.value, secrets)
    message, remedy = redact_secrets(problem.message, secrets), redact_secrets(problem.remedy, secrets)
    return replace(problem, value=value, message=message, remedy=remedy)


def find_file(path: Path | str | None = None) -> Path:
    """Return the absolute path of the configuration file to read. It need not exist."""
    return Path(path or os.environ.get(PATH_VARIABLE, "").strip() or DEFAULT_NAME).expanduser().absolute()


def data_dir_of(path: Path | str | None = None) -> Path:
    """Return the data folder that the configuration file names, absolute, even if the rest of the file is wrong."""
    found, text = find_file(path), ""
    try:
        text = found.read_text(encoding="utf-8-sig")
        named = tomllib.loads(text).get("data_dir")
    except (OSError, ValueError, RecursionError):
        line = _DATA_DIR.search(text)
        named = line[2] if line else None
    default: Path = Settings.model_fields["data_dir"].default
    return in_folder(named if isinstance(named, str) else default, FromFile(found.parent)).absolute()


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
            f"run `vtsync init` to write one, or set the variable {PATH_VARIABLE} to another file",
        )
    except OSError as error:
        _fail(f"cannot be read: {error.strerror}", "make it readable for this user")
    except ValueError:
        _fail("is not UTF-8 text", "save it as UTF-8")


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        _fail("nests tables or lists too deeply", "use fewer levels")
    except ValueError as error:  # tomllib raises plain ValueErrors too, for numbers of more than 4,300 digits
        _fail(*_syntax_problem(str(error), text.split("\n")))


def _syntax_problem(message: str, lines: list[str]) -> tuple[str, str]:
    match = _LINE_AND_COLUMN.search(message)
    if match is None:
        reason = re.sub(r"\s*\(at end of document\)$", ", and then the file ends", message)
        return (
            f"is not valid TOML: {reason}",
            "look for a quote or bracket that is not closed, or a number that is far too long",
        )
    line, column = int(match[1]), int(match[2])
    position = f"line {line}, column {column}"
    return f"is not valid TOML at {position}: {message[: match.start()]}", _redacted_line(lines, line - 1)


def _redacted_line(lines: list[str], index: int) -> str:
    """Return the line with its number, cut off where a secret may begin."""
    text = lines[index].rstrip() if index < len(lines) else ""
    keys = list(_KEYS_ON_LINE.finditer(text))
    cut = next((key.end() for key in keys if _names_secret(key[0])), None)
    if cut is None and keys and "://" in text:  # a URL may hold a password
        cut = keys[0].end()
    if cut is not None:
        text = f"{text[:cut]} = {HIDDEN}"
    elif not keys and not text.lstrip().startswith("["):  # may continue a secret from the line before
        text = HIDDEN
    return f"line {index + 1}:  {text[:120]}"


def _names_secret(key: str) -> bool:
    return any(is_secret_name(part.strip("\"' ")) for part in key.split("."))


def _fail(message: str, remedy: str, key: str = "") -> NoReturn:
    raise ConfigError([ConfigProblem(key, None, message, remedy)])
