"""The one place where the configuration meets what it names: adapters and templates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.models import Settings


def load_settings(path: str | None = None) -> Settings:
    """Load and check the whole configuration, adapters' options and templates included.

    Raises config.errors.ConfigError with every problem at once.
    """
    from config.adapter_options import AdapterChecks
    from config.load import load
    from crm_adapters.registry import adapter_class, adapter_names
    from worker.triggers.templates import problems

    checks = AdapterChecks(
        options_model_of=lambda name: adapter_class(name).Options,
        check_template=problems,
        check_condition=_condition_problems,
        adapter_names=adapter_names,
        can_write=_can_write,
    )
    return load(Path(path) if path else None, checks)


def _condition_problems(condition: str) -> list[str]:
    from worker.triggers.conditions import problem  # loads the template engine

    found = problem(condition)
    return [found] if found else []


def _can_write(adapter: str) -> bool:
    from crm_adapters.base import WritesMessages
    from crm_adapters.registry import BrokenAdapter, UnknownAdapter, adapter_class

    try:
        return issubclass(adapter_class(adapter), WritesMessages)
    except (UnknownAdapter, BrokenAdapter):
        return True  # the name itself is the problem, and reported as such
