"""Checks the parts of the file that only the adapters and the template engine understand.

This package imports neither of them: the caller passes functions that use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from config.carriers import KnownCarriers, carrier_problems
from config.errors import ConfigProblem
from config.problems import did_you_mean, dotted, problems_of
from config.raw import Table, named_tables
from config.redact import redact_value


@dataclass(frozen=True, slots=True)
class AdapterChecks:
    """The caller's functions that judge adapters, templates and carriers."""

    options_model_of: Callable[[str], type[BaseModel]]
    """Returns the model of an adapter's options, by the adapter's name. Raises LookupError for an unknown name; any
    other error means that the adapter exists but cannot be used here. The error's text is shown to the operator."""

    check_template: Callable[[str], list[str]]
    """Returns what is wrong with a message template, one sentence each."""

    check_condition: Callable[[str], list[str]]
    """Returns what is wrong with a condition, one sentence each."""

    adapter_names: Callable[[], Iterable[str]]
    """Lists the adapters that exist, for the hint at a misspelt one."""

    can_write: Callable[[str], bool]
    """Returns True if the adapter of this name writes to its CRM, and for unknown names, which are reported anyway."""

    known_carriers: KnownCarriers
    """Returns all carriers by name. Called only if the file has a table of a carrier."""


def adapter_problems(data: Table, checks: AdapterChecks, context: object) -> Iterator[ConfigProblem]:
    """Yield every problem of adapters and templates in raw data. The models report values of the wrong type."""
    for name, connection in named_tables(data, "connections"):
        yield from _option_problems(name, connection, checks, context)
        yield from _write_problems(name, connection, checks)
    for name, carrier in named_tables(data, "carriers"):
        yield from carrier_problems(name, carrier, checks.known_carriers)
    for name, trigger in named_tables(data, "triggers"):
        for field, check in (
            ("message", checks.check_template),
            ("condition", checks.check_condition),
            ("only_if", checks.check_condition),
        ):
            text = trigger.get(field)
            if isinstance(text, str) and (field != "message" or text.strip()):
                key = dotted(["triggers", name, field])
                yield from (ConfigProblem(key, redact_value(text), found) for found in check(text))


def _option_problems(name: str, connection: Table, checks: AdapterChecks, context: object) -> list[ConfigProblem]:
    adapter, options = connection.get("adapter"), connection.get("options", {})
    if not isinstance(adapter, str):
        return []
    key = dotted(["connections", name, "adapter"])
    try:
        model = checks.options_model_of(adapter)
    except Exception as error:  # noqa: BLE001 - adapters are third-party code: report whatever they raise
        return [_unusable_adapter(key, adapter, error, sorted(checks.adapter_names()))]
    if not isinstance(options, dict):
        return []
    try:
        model.model_validate(options, context=context)
    except ValidationError as error:
        return problems_of(error, model, ["connections", name, "options"])
    return []


def _write_problems(name: str, connection: Table, checks: AdapterChecks) -> list[ConfigProblem]:
    """Return the settings that need to write to the CRM although the adapter only reads it."""
    adapter = connection.get("adapter")
    wanted = [key for key in ("log_messages", "report_opt_outs") if connection.get(key) is True]
    if not wanted or not isinstance(adapter, str) or checks.can_write(adapter):
        return []
    message = f'is not possible: the adapter "{adapter}" only reads its CRM'
    able = [one for one in checks.adapter_names() if checks.can_write(one)]
    remedy = f"remove it; adapters that write: {', '.join(able)}" if able else "remove it"
    return [ConfigProblem(dotted(["connections", name, key]), "true", message, remedy) for key in wanted]


def _unusable_adapter(key: str, adapter: str, error: Exception, names: list[str]) -> ConfigProblem:
    if not isinstance(error, LookupError):
        return ConfigProblem(key, redact_value(adapter), f"cannot be used here: {error}")
    text = str(error.args[0]) if error.args else ""
    remedy = text if text not in ("", adapter) else "`vtsync adapters` lists them"
    return ConfigProblem(
        key,
        redact_value(adapter),
        "is not an installed adapter",
        did_you_mean(adapter, "adapters", names) if names else remedy,
    )
