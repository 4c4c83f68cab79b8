"""All carriers by name: the modules of ``worker.carriers.providers``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from worker.carriers import providers
from worker.carriers.provider import Provider


def _load_providers() -> dict[str, Provider]:
    names = sorted(module.name for module in iter_modules(providers.__path__))
    return {name: import_module(f"{providers.__name__}.{name}").PROVIDER for name in names}


CARRIERS: Mapping[str, Provider] = _load_providers()
"""The name of a carrier, which is the name of its module -> the carrier."""
