"""The text of a trigger: a Liquid template over one CRM record.

A text with a missing value is never sent: an empty or missing field is a TemplateProblem unless the template gives it a
default. ``problems`` finds everything that can be known in advance, when the configuration is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from worker.core.text import is_invisible
from worker.triggers.context import CONTACT_FIELDS
from worker.triggers.conversation import is_about_conversation
from worker.triggers.segments import LONGEST_TEXT
from worker.triggers.values import slug

if TYPE_CHECKING:
    from liquid import BoundTemplate
    from liquid.exceptions import LiquidError
    from liquid.static_analysis import TemplateAnalysis

    from worker.triggers.liquid_dialect import TextEnvironment

LONGEST_SOURCE = 5_000
"""Characters of a template: three times the longest text, and so few that any template renders quickly."""
_GROUPS = ("record", "old", "contact")

_TOO_LONG = f"the text is longer than {LONGEST_TEXT:,} characters; shorten it, or cut a field with | truncate: 100"
_TOO_DEEP = "the template is nested too deeply to be read; make it simpler"
_STRAY_BRACES = re.compile(r"\{\{|\}\}|\{%|%\}|\{\s*[\w. ]+\s*\}")


class TemplateProblem(ValueError):
    """A template that is wrong, or that this record cannot fill. ``problems`` are sentences for a person."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The fields of a record that an expression reads, as it names them.

    ``assigned`` are names that the expression also assigns: such a name is the field only where nothing was assigned.
    ``every``: it takes the whole record, or computes a name, so any field may be read.
    """

    names: tuple[str, ...] = ()
    assigned: tuple[str, ...] = ()
    every: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. ``fields`` are the values it uses, such as ``first_name`` and ``old.status``, in order."""

    source: str
    fields: tuple[str, ...] = field(compare=False)
    _bound: BoundTemplate = field(compare=False, repr=False)

    def render(self, context: Mapping[str, Any]) -> str:
        """Write the text for one record: trimmed, of 1 to 1,600 characters. Fast on any input.

        Raises TemplateProblem.
        """
        from liquid.exceptions import LiquidError

        try:
            text = self._bound.render(context).strip()
        except LiquidError as error:
            raise TemplateProblem(_explain(error, self.source)) from None
        except Exception as error:  # noqa: BLE001 - one odd record must not keep its whole connection from syncing
            raise TemplateProblem(f"the text cannot be written: {type(error).__name__}: {error}"[:200]) from None
        if is_invisible(text):
            raise TemplateProblem("the text is empty for this record")
        if len(text) > LONGEST_TEXT:
            raise TemplateProblem(_TOO_LONG)
        return text


@lru_cache(maxsize=256)
def compile_template(source: str) -> Template:
    """Compile and check a template. Raises TemplateProblem with everything that ``problems`` would list."""
    from liquid.exceptions import LiquidError

    if len(source) > LONGEST_SOURCE:
        raise TemplateProblem(f"the template has {len(source):,} characters, at most {LONGEST_SOURCE:,} are allowed")
    try:
        bound = _environment().from_string(source)
        analysis = bound.analyze()
    except LiquidError as error:
        raise TemplateProblem(_explain(error, source)) from None
    except RecursionError:
        raise TemplateProblem(_TOO_DEEP) from None
    found = _faults(source, bound, analysis)
    if found:
        raise TemplateProblem(*found)
    used = dict.fromkeys(str(variable) for group in analysis.globals.values() for variable in group)
    template = Template(source, tuple(used), bound)
    if not used:
        template.render({})  # it is the same for every record, so its problems show now
    return template


@lru_cache(maxsize=256)
def template_fields(source: str) -> FieldNames:
    """Return the fields that a template reads. Raises TemplateProblem if it cannot be read."""
    from liquid.exceptions import LiquidError

    try:
        return field_names(_environment().from_string(source).analyze())
    except LiquidError as error:
        raise TemplateProblem(_explain(error, source)) from None
    except RecursionError:
        raise TemplateProblem(_TOO_DEEP) from None


@lru_cache(maxsize=256)
def template_comparisons(source: str) -> tuple[tuple[str, str | int | float, bool], ...]:
    """Return what a template compares with a literal: (field, literal, if it asks which is larger or later).

    Raises TemplateProblem if it cannot be read.
    """
    template_fields(source)
    return field_comparisons(_environment().from_string(source))


def field_comparisons(template: BoundTemplate) -> tuple[tuple[str, str | int | float, bool], ...]:
    """Return which fields of the record a compiled template or condition compares with a literal, and how."""
    from worker.triggers.liquid_dialect import comparisons

    found = ((_field_of(path), value, ordered) for path, value, ordered in comparisons(template))
    return tuple((field, value, ordered) for field, value, ordered in found if field)


def field_names(analysis: TemplateAnalysis) -> FieldNames:
    """Return the fields that an analysed template or condition reads."""
    read = [_field_of(one.segments) for group in analysis.globals.values() for one in group]
    names = dict.fromkeys(name for name in read if name)
    maybe = [_field_of(one.segments) for group in analysis.variables.values() for one in group]
    assigned = dict.fromkeys(name for name in maybe if name and name not in names)
    return FieldNames(tuple(names), tuple(assigned), every=None in read)


def problems(source: str) -> list[str]:
    """List what is wrong with a template, as sentences with line numbers."""
    try:
        compile_template(source)
    except TemplateProblem as error:
        return list(error.problems)
    return []


@cache
def _environment() -> TextEnvironment:
    from worker.triggers.liquid_dialect import TextEnvironment

    return TextEnvironment()


def _faults(source: str, bound: BoundTemplate, analysis: TemplateAnalysis) -> list[str]:
    """List what would go wrong with every record, in the order of the source."""
    from worker.triggers.liquid_dialect import refused_expressions

    found = refused_expressions(bound)
    known = bound.env.filters
    for name, spans in analysis.filters.items():
        if name not in known:
            fault = f'there is no filter "{name}"; there are: {", ".join(sorted(known))}'
            found += [(span.index, fault) for span in spans]
    for group in analysis.globals.values():
        for variable in group:
            fault = _name_fault(variable.segments)
            if fault:
                found.append((variable.span.index, fault))
    found += _brace_faults(bound)
    return [_at(source, index, fault) for index, fault in sorted(found)]


def _field_of(path: Sequence[object]) -> str | None:
    """Return the field that a path names, "" if it is none of the record's, None if it may be any."""
    root, *rest = path
    if root == "contact" or is_about_conversation(path):
        return ""
    if root not in _GROUPS:
        return str(root)
    return rest[0] if rest and isinstance(rest[0], str) else None


def _name_fault(path: Sequence[object]) -> str:
    """Return why a path can never have a value, or ""."""
    names = [str(part) for part in path]
    root, rest = names[0], names[1:]
    if is_about_conversation(path):
        return f"{'.'.join(names)} is for only_if; a text is written when its trigger fires, and may go much later"
    if root == "contact" and rest and rest[0] not in CONTACT_FIELDS:
        return f"contact has no {rest[0]}; it has {', '.join(CONTACT_FIELDS)}"
    if root == "old" and rest and isinstance(path[1], str) and slug(rest[0]) != rest[0]:
        return f"old.{rest[0]} never has a value; fields are named in small letters: old.{slug(rest[0])}"
    if root not in _GROUPS and slug(root) != root:
        return f"{root} never has a value; fields are named in small letters: {slug(root)}"
    if root not in _GROUPS and rest:
        return f'{".".join(names)} never has a value; a field is one plain value, write {root} or record["..."]'
    return ""


def _brace_faults(bound: BoundTemplate) -> list[tuple[int, str]]:
    """Find fields that are written wrong, so that the customer would see the braces."""
    from worker.triggers.liquid_dialect import literals

    return [
        (index + match.start(), f'"{match[0]}" would be sent as it stands; a field is written {{{{ first_name }}}}')
        for index, text in literals(bound)
        for match in _STRAY_BRACES.finditer(text)
    ]


def _explain(error: LiquidError, source: str) -> str:
    from liquid.exceptions import LocalNamespaceLimitError, OutputStreamLimitError

    from worker.triggers.liquid_dialect import TAGS

    if isinstance(error, OutputStreamLimitError):
        return _TOO_LONG
    if isinstance(error, LocalNamespaceLimitError):
        return "the template puts too much into variables"
    if isinstance(error.__cause__, RecursionError):
        return _TOO_DEEP
    message = str(error.message)
    if message.startswith("unexpected tag '"):
        message += f"; a text can use: {', '.join(TAGS)}"
    index = -1 if error.token is None else error.token.start_index
    if message.endswith("found end of expression"):
        message = message.replace("end of expression", "the end")
        index = len(source) if index < 0 else index
    return _at(source, index, message)


def _at(source: str, index: int, message: str) -> str:
    return message if index < 0 else f"line {source.count(chr(10), 0, index) + 1}: {message}"
