"""Checks the parts of the file that only the adapters and the template engine understand.

This package imports neither of them: the caller passes functions that use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from config.carriers import KnownCarriers, carrier_problems
from config.errors import ConfigProblem
from config.fields import EXPRESSIONS, is_expression
from config.problems import did_you_mean, dotted, problems_of
from config.raw import Table, named_tables
from config.redact import HIDDEN, redact_value


@dataclass(frozen=True, slots=True)
class AdapterChecks:
    """The caller's functions that judge adapters, templates and carriers."""

    options_model_of: Callable[[str], type[BaseModel]]
    """Returns the model of an adapter's options, by the adapter's name. Raises LookupError for an unknown name; any
    other error means that the adapter exists but cannot be used here. The error's text is shown to the operator."""

    check_template: Callable[[str], list[str]]
    """Returns what is wrong with a message template, one sentence each."""

    check_expression: Callable[[str], list[str]]
    """Returns what is wrong with an expression of a field mapping, one sentence each."""

    check_condition: Callable[[str], list[str]]
    """Returns what is wrong with a condition over a record's fields, one sentence each."""

    check_only_if: Callable[[str], list[str]]
    """Returns what is wrong with a condition over a record's fields and the conversation, one sentence each."""

    adapter_names: Callable[[], Iterable[str]]
    """Lists the adapters that exist, for the hint at a misspelt one."""

    can_write: Callable[[str], bool]
    """Returns True if the adapter of this name writes to its CRM, and for unknown names, which are reported anyway."""

    can_wake: Callable[[str], bool]
    """Returns True if the adapter of this name accepts events of its CRM, and for unknown names."""

    kinds_of: Callable[[str, Mapping[str, object]], tuple[str, ...]]
    """Returns the kinds of record that the adapter of this name reads with these options; nothing for unknown names."""

    known_carriers: KnownCarriers
    """Returns all carriers by name. Called only if the file has a table of a carrier."""


def adapter_problems(data: Table, checks: AdapterChecks, context: object) -> Iterator[ConfigProblem]:
    """Yield every problem of adapters and templates in raw data. The models report values of the wrong type."""
    for name, connection in named_tables(data, "connections"):
        yield from _option_problems(name, connection, checks, context)
        yield from _write_problems(name, connection, checks)
        yield from _expression_problems(name, connection, checks)
        yield from _webhook_problems(name, connection, checks)
    for name, carrier in named_tables(data, "carriers"):
        yield from carrier_problems(name, carrier, checks.known_carriers)
    for name, trigger in named_tables(data, "triggers"):
        yield from _record_problems(name, trigger, dict(named_tables(data, "connections")), checks)
        for field, check in (
            ("message", checks.check_template),
            ("condition", checks.check_condition),
            ("only_if", checks.check_only_if),
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


def _record_problems(
    name: str, trigger: Table, connections: Mapping[str, Table], checks: AdapterChecks
) -> Iterator[ConfigProblem]:
    """Yield a problem for each connection that has no records of the kind that the trigger watches."""
    record, watched = trigger.get("record"), trigger.get("connections")
    for connection in watched if isinstance(watched, list) else [watched]:
        configured = connections.get(connection, {}) if isinstance(connection, str) else {}
        adapter, options = configured.get("adapter"), configured.get("options")
        given = options if isinstance(options, dict) else {}
        kinds = checks.kinds_of(adapter, given) if isinstance(adapter, str) else ()
        if isinstance(record, str) and kinds and record not in kinds:
            message = f'is no kind of record that the adapter "{adapter}" of the connection {connection} reads'
            remedy = did_you_mean(record, "kinds", kinds)
            yield ConfigProblem(dotted(["triggers", name, "record"]), redact_value(record), message, remedy)


def _expression_problems(name: str, connection: Table, checks: AdapterChecks) -> Iterator[ConfigProblem]:
    """Yield the broken expressions of a field mapping, and those of keys that take only names."""
    mapping = connection.get("fields")
    for field, entries in mapping.items() if isinstance(mapping, dict) else ():
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str) or not is_expression(entry):
                continue
            key = dotted(["connections", name, "fields", field])
            if field not in EXPRESSIONS:
                only = f"only {', '.join(EXPRESSIONS)} can be expressions; write the name of a field"
                yield ConfigProblem(key, redact_value(entry), only)
                continue
            yield from (ConfigProblem(key, redact_value(entry), found) for found in checks.check_expression(entry))


def _webhook_problems(name: str, connection: Table, checks: AdapterChecks) -> Iterator[ConfigProblem]:
    adapter = connection.get("adapter")
    if "webhook_secret" in connection and isinstance(adapter, str) and not checks.can_wake(adapter):
        message = f'is not possible: the adapter "{adapter}" accepts no events of its CRM'
        remedy = "remove it, and set a schedule"
        yield ConfigProblem(dotted(["connections", name, "webhook_secret"]), HIDDEN, message, remedy)


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
