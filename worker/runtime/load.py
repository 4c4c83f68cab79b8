"""Load the configuration, and check the adapters, templates and conditions that it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.adapter_options import AdapterChecks
    from config.carriers import CarrierNeeds
    from config.models import Settings


def load_settings(path: str | None = None) -> Settings:
    """Load and check the whole configuration, including the options of adapters and the templates.

    Raises config.errors.ConfigError with every problem at once.
    """
    from config.load import load

    return load(Path(path) if path else None, adapter_checks())


def adapter_checks() -> AdapterChecks:
    """Return the checks of adapters, templates and conditions, which ``config`` cannot import."""
    from config.adapter_options import AdapterChecks
    from crm_adapters.registry import adapter_class, adapter_names
    from worker.triggers.expressions import expression_problems
    from worker.triggers.templates import problems

    return AdapterChecks(
        options_model_of=lambda name: adapter_class(name).Options,
        check_template=problems,
        check_expression=expression_problems,
        check_condition=_condition_problems,
        check_only_if=_only_if_problems,
        adapter_names=adapter_names,
        can_write=_can_write,
        can_wake=_can_wake,
        kinds_of=_kinds_of,
        known_carriers=_known_carriers,
    )


def _condition_problems(condition: str) -> list[str]:
    from worker.triggers.conditions import asks_about_conversation

    if found := _only_if_problems(condition):
        return found
    if asks_about_conversation(condition):
        return ["a condition compares two versions of the record; ask about the conversation in only_if"]
    return []


def _only_if_problems(condition: str) -> list[str]:
    from worker.triggers.conditions import problem  # loads the template engine

    found = problem(condition)
    return [found] if found else []


def _can_write(adapter: str) -> bool:
    from crm_adapters.base import WritesMessages

    return _is_a(adapter, WritesMessages)


def _can_wake(adapter: str) -> bool:
    from crm_adapters.base import WakesOnEvents

    return _is_a(adapter, WakesOnEvents)


def _is_a(adapter: str, ability: type) -> bool:
    from crm_adapters.registry import BrokenAdapter, UnknownAdapter, adapter_class

    try:
        return issubclass(adapter_class(adapter), ability)
    except (UnknownAdapter, BrokenAdapter):
        return True  # the name itself is reported as the problem


def _kinds_of(adapter: str, options: Mapping[str, object]) -> tuple[str, ...]:
    from crm_adapters.registry import BrokenAdapter, UnknownAdapter, adapter_class

    try:
        return adapter_class(adapter).kinds_for(options)
    except (UnknownAdapter, BrokenAdapter):
        return ()  # the name itself is reported as the problem


def _known_carriers() -> Mapping[str, CarrierNeeds]:
    from config.carriers import CarrierNeeds
    from worker.carriers.registry import CARRIERS

    return {
        name: CarrierNeeds(carrier.needs, carrier.list_needs if carrier.list_sent is not None else None)
        for name, carrier in CARRIERS.items()
    }
