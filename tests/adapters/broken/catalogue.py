"""The list of all broken adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.adapters.broken.good import Good

Broken = TypeVar("Broken", bound=type[Good])


@dataclass(frozen=True)
class Caught:
    """A broken adapter, the test of the kit that fails for it, and a pattern of what the test says."""

    adapter: type[Good]
    test: str
    complaint: str

    @property
    def idea(self) -> str:
        return (self.adapter.__doc__ or "").strip()


CAUGHT: list[Caught] = []


def caught_by(test: str, complaint: str) -> Callable[[Broken], Broken]:
    """Register a broken adapter."""

    def register(adapter: Broken) -> Broken:
        CAUGHT.append(Caught(adapter, f"test_{test}", complaint))
        return adapter

    return register


def catalogue() -> list[Caught]:
    """Return all broken adapters, in the order of the modules."""
    from tests.adapters.broken import describing, failing, listing, resuming, roles, writing

    order = [module.__name__ for module in (describing, listing, resuming, failing, roles, writing)]
    return sorted(CAUGHT, key=lambda one: order.index(one.adapter.__module__))
