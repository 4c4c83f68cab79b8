"""A value that is made of fields of a record: ``+{{ calling_code }}{{ phone }}``. Pure.

An expression is written like the text of a trigger, with the same fields, filters and limits. It reads one record, so
``old`` and ``contact`` do not exist in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from worker.triggers.context import text_context
from worker.triggers.templates import Template, TemplateProblem, compile_template, template_fields
from worker.triggers.values import property_named, scalar

_OTHER_VERSIONS = ("old", "contact")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. ``fields`` are the fields that it reads, as it names them, in order."""

    template: Template
    fields: tuple[str, ...]

    def value(self, record: Mapping[str, Any]) -> str:
        """Return the value for one record; "" if all of its fields are empty.

        Raises TemplateProblem if just some of the fields are, and have no default.
        """
        if all(self._is_empty(name, record) for name in self.fields):
            return ""
        return self.template.render(text_context(record, None, {}))

    def _is_empty(self, name: str, record: Mapping[str, Any]) -> bool:
        key = property_named(name, record)
        return key is None or scalar(record[key]) is None


@lru_cache(maxsize=256)
def compile_expression(source: str) -> Expression:
    """Compile and check an expression. Raises TemplateProblem with everything that is wrong."""
    template = compile_template(source)
    used = template_fields(source)
    roots = {name.replace("[", ".").split(".")[0] for name in template.fields}
    others = [name for name in _OTHER_VERSIONS if name in roots]
    if others:
        raise TemplateProblem(f"{' and '.join(others)} cannot be used here; name the fields of the record itself")
    if used.every:
        raise TemplateProblem("it must name the fields that it reads, such as {{ phone }}")
    if not used.names:
        raise TemplateProblem("it reads no field, so it would be the same for every record")
    return Expression(template, used.names)


def expression_problems(source: str) -> list[str]:
    """List what is wrong with an expression, as sentences."""
    try:
        compile_expression(source)
    except TemplateProblem as error:
        return list(error.problems)
    return []
