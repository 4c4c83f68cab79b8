"""The values that the triggers of a configuration compare fields with: ``to = "Ready"``, ``total > 100``. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.models import Settings
from config.triggers import ChangedTrigger, DateTrigger, EnteredTrigger, Trigger
from worker.triggers.conditions import condition_comparisons
from worker.triggers.templates import template_comparisons


@dataclass(frozen=True, slots=True)
class ComparedField:
    """A field of the records of ``kind`` that a trigger compares with ``value``. ``where`` is the key that says so.

    ``ordered``: it asks which is larger or later. ``exact``: case matters. A date trigger has no ``value``: it reads a
    date.
    """

    field: str
    where: str
    kind: str
    value: str | int | float | None = None
    ordered: bool = False
    exact: bool = True


def compared_fields(settings: Settings, connection: str) -> list[ComparedField]:
    """Return what the enabled triggers of a connection compare, in the order of the configuration.

    Raises TemplateProblem for a template or a condition that cannot be read.
    """
    return [
        found
        for name, trigger in settings.triggers.items()
        if trigger.enabled and connection in trigger.connections
        for found in _of_trigger(f"triggers.{name}", trigger)
    ]


def _of_trigger(where: str, trigger: Trigger) -> Iterator[ComparedField]:
    if isinstance(trigger, DateTrigger):
        yield ComparedField(trigger.field, f"{where}.field", trigger.record)
    if isinstance(trigger, ChangedTrigger):
        for key, value in (("from", trigger.from_value), ("to", trigger.to_value)):
            if value:
                yield ComparedField(trigger.field, f"{where}.{key}", trigger.record, value, exact=False)
    condition = trigger.condition if isinstance(trigger, EnteredTrigger) else None
    for key, source in (("condition", condition), ("only_if", trigger.only_if)):
        for field, literal, ordered in condition_comparisons(source) if source is not None else ():
            yield ComparedField(field, f"{where}.{key}", trigger.record, literal, ordered)
    for field, literal, ordered in template_comparisons(trigger.message):
        yield ComparedField(field, f"{where}.message", trigger.record, literal, ordered)
