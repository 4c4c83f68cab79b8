"""Checks the parts of the file that only the adapters and the template engine understand.

This package knows neither: the caller hands in functions that do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from config.carriers import KnownCarriers, carrier_problems, no_carriers_known
from config.errors import ConfigError, Problem
from config.models import Settings
from config.problems import did_you_mean, dotted, problems_of
from config.redact import known_secrets, scrub, shown

OptionsModelOf = Callable[[str], type[BaseModel]]
"""An adapter's name to the model of its options. Raises LookupError for an unknown name (its text may list the known
ones), or any other error, with a text for the operator, for an adapter that is known but cannot be used here."""

CheckTemplate = Callable[[str], list[str]]
"""A template to what is wrong with it, a sentence each."""

AdapterNames = Callable[[], Iterable[str]]
"""Lists the adapters that exist, for the hint at a misspelt one."""


def no_template_problems(_template: str) -> list[str]:
    """Stands in where templates are not checked."""
    return []


CanWrite = Callable[[str], bool]
"""Whether an adapter writes to its CRM, by its name; unknown names are reported elsewhere."""


def always(_adapter: str) -> bool:
    """Stands in where that is not checked."""
    return True


@dataclass(frozen=True, slots=True)
class Checks:
    """What the caller knows and this package does not."""

    options_model_of: OptionsModelOf
    check_template: CheckTemplate = no_template_problems
    adapter_names: AdapterNames = tuple
    check_condition: CheckTemplate = no_template_problems
    can_write: CanWrite = always
    known_carriers: KnownCarriers = no_carriers_known


def validate_adapters(
    settings: Settings,
    options_model_of: OptionsModelOf,
    check_template: CheckTemplate = no_template_problems,
    adapter_names: AdapterNames = tuple,
) -> dict[str, BaseModel]:
    """The validated options of every connection. Raises ConfigError with everything that is wrong."""
    data = {
        "connections": {n: {"adapter": c.adapter, "options": c.options} for n, c in settings.connections.items()},
        "triggers": {name: {"message": trigger.message} for name, trigger in settings.triggers.items()},
    }
    checks = Checks(options_model_of, check_template, adapter_names)
    options, problems = check_with_adapters(data, checks, settings.file_context)
    if problems:
        raise ConfigError(without_known_secrets(problems, data))
    return options


def check_with_adapters(
    data: Mapping[str, Any], checks: Checks, context: object
) -> tuple[dict[str, BaseModel], list[Problem]]:
    """The good options and all problems in raw data. Values of the wrong type are left to the models."""
    found: dict[str, BaseModel] = {}
    problems: list[Problem] = []
    for name, connection in _tables(data, "connections"):
        checked = _check_options(name, connection, checks, context)
        if isinstance(checked, BaseModel):
            found[name] = checked
        else:
            problems.extend(checked)
        problems.extend(_cannot_write(name, connection, checks))
    for name, carrier in _tables(data, "carriers"):
        problems.extend(carrier_problems(name, carrier, checks.known_carriers))
    for name, trigger in _tables(data, "triggers"):
        message = trigger.get("message")
        if isinstance(message, str) and message.strip():
            key = dotted(["triggers", name, "message"])
            problems.extend(Problem(key, shown(message), text) for text in checks.check_template(message))
        for field in ("condition", "only_if"):
            condition = trigger.get(field)
            if isinstance(condition, str):
                key = dotted(["triggers", name, field])
                problems.extend(Problem(key, shown(condition), text) for text in checks.check_condition(condition))
    return found, problems


def without_known_secrets(problems: Iterable[Problem], data: object) -> list[Problem]:
    """The problems with every secret of the file taken out, also from texts that others wrote."""
    secrets = known_secrets(data)

    def clean(text: str) -> str:
        return scrub(text, secrets)

    return [
        Problem(p.key, None if p.value is None else clean(p.value), clean(p.message), clean(p.remedy)) for p in problems
    ]


def _tables(data: Mapping[str, Any], section: str) -> list[tuple[str, Mapping[str, Any]]]:
    tables = data.get(section)
    return [(n, t) for n, t in tables.items() if isinstance(t, dict)] if isinstance(tables, dict) else []


def _check_options(
    name: str, connection: Mapping[str, Any], checks: Checks, context: object
) -> BaseModel | list[Problem]:
    adapter, options = connection.get("adapter"), connection.get("options", {})
    if not isinstance(adapter, str):
        return []
    key = dotted(["connections", name, "adapter"])
    try:
        model = checks.options_model_of(adapter)
    except Exception as error:  # noqa: BLE001 - adapters are third-party code: what one raises is this key's problem
        return [_unusable_adapter(key, adapter, error, sorted(checks.adapter_names()))]
    if not isinstance(options, dict):
        return []
    try:
        return model.model_validate(options, context=context)
    except ValidationError as error:
        return problems_of(error, model, ["connections", name, "options"])


def _cannot_write(name: str, connection: Mapping[str, Any], checks: Checks) -> list[Problem]:
    """What is to be written to a CRM whose adapter only reads."""
    adapter = connection.get("adapter")
    wanted = [key for key in ("log_messages", "report_opt_outs") if connection.get(key) is True]
    if not wanted or not isinstance(adapter, str) or checks.can_write(adapter):
        return []
    words = f'cannot be: the adapter "{adapter}" only reads its CRM'
    able = [one for one in checks.adapter_names() if checks.can_write(one)]
    remedy = f"remove it; adapters that write: {', '.join(able)}" if able else "remove it"
    return [Problem(dotted(["connections", name, key]), "true", words, remedy) for key in wanted]


def _unusable_adapter(key: str, adapter: str, error: Exception, names: list[str]) -> Problem:
    if not isinstance(error, LookupError):
        return Problem(key, shown(adapter), f"cannot be used here: {error}")
    text = str(error.args[0]) if error.args else ""
    remedy = text if text not in ("", adapter) else "`vtsync adapters` lists them"
    return Problem(
        key,
        shown(adapter),
        "is not an adapter that is installed",
        did_you_mean(adapter, "adapters", names) if names else remedy,
    )
