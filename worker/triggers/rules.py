"""Configured triggers, compiled and ready to use. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from config.models import Settings
from config.triggers import Trigger
from worker.triggers.kinds import PlannedByDate, TriggerKind, kind_of
from worker.triggers.templates import Template, compile_template


@dataclass(frozen=True, slots=True)
class TextRule:
    """A configured trigger: its name and options, what sets it off, and its compiled message."""

    name: str
    options: Trigger
    kind: TriggerKind[Any]
    template: Template

    @property
    def fingerprint(self) -> str:
        """A hash of what the rule watches; see ``TriggerKind.fingerprint``."""
        return self.kind.fingerprint

    @property
    def planned_by_date(self) -> bool:
        """True if the rule fires at planned times, False if it fires on changes."""
        return isinstance(self.kind, PlannedByDate)

    def watches(self, connection: str, kind: str) -> bool:
        """Return True if the rule is about such records of the connection."""
        return connection in self.options.connections and kind == self.options.record

    @property
    def again(self) -> Literal["always", "never"] | timedelta:
        """When the same record may be texted again."""
        return self.options.again


def compile_rules(settings: Settings) -> dict[str, tuple[TextRule, ...]]:
    """Compile the enabled triggers, by connection and in the order of the configuration.

    Raises TemplateProblem for a message that is not a template.
    """
    rules: dict[str, tuple[TextRule, ...]] = {}
    for name, trigger in settings.triggers.items():
        if not trigger.enabled:
            continue
        rule = TextRule(name, trigger, kind_of(trigger), compile_template(trigger.message))
        for connection in dict.fromkeys(trigger.connections):
            rules[connection] = (*rules.get(connection, ()), rule)
    return rules
