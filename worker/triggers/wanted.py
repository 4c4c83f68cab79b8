"""Which CRM fields the configuration of a connection uses. Pure.

The configuration may name a field exactly (``Order Status``), as a template does (``order_status``), or with other
case, spaces or punctuation. A field whose name is the same in any of these ways is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from config.connections import Connection
from config.fields import FieldMapping, is_expression
from config.models import Settings
from config.triggers import Trigger
from crm_adapters.base import CONTACT
from crm_adapters.fields import column_without_number, fold
from worker.triggers.conditions import condition_fields
from worker.triggers.kinds import kind_of
from worker.triggers.templates import FieldNames, template_fields
from worker.triggers.values import slug


@dataclass(frozen=True, slots=True)
class FieldUse:
    """A CRM field that the configuration names.

    ``where`` is the key, such as ``triggers.ready.condition``; ``kind`` is the kind of record that has the field.
    """

    field: str
    where: str
    kind: str = CONTACT


def field_uses(settings: Settings, connection: str) -> list[FieldUse]:
    """Return the fields that the connection and its enabled triggers name, in the order of the configuration.

    Raises TemplateProblem for a template or a condition that cannot be read.
    """
    found = {
        FieldUse(name, where, kind): None
        for where, kind, fields in _uses(settings, connection, switched_off=False)
        for name in fields.names
    }
    return list(found)


def wanted_fields(settings: Settings, connection: str) -> frozenset[str] | None:
    """Return every field name that the configuration of a connection uses; None if it may use any field.

    Triggers that are switched off count: switching one off or on does not change what is stored.
    Raises TemplateProblem for a template or a condition that cannot be read.
    """
    if settings.connections[connection].store_fields == "all":
        return None
    used = [fields for _where, _kind, fields in _uses(settings, connection, switched_off=True)]
    if any(fields.every for fields in used):
        return None
    return frozenset(name for fields in used for name in (*fields.names, *fields.assigned))


def is_wanted(name: str, wanted: frozenset[str] | None) -> bool:
    """Return True if a field with this name is one of ``wanted``, however it is spelt there.

    So is each column of a file that has the name of another one and a number: ``Do Not Text (2)``.
    """
    if wanted is None or name in wanted:
        return True
    bare = column_without_number(name)
    return any(key in _keys(wanted) for key in (slug(name), fold(name), slug(bare), fold(bare)))


@lru_cache(maxsize=1024)
def select_wanted(header: tuple[str, ...], wanted: frozenset[str] | None) -> tuple[str, ...]:
    """Return the fields of ``header`` that are wanted, in their order."""
    return tuple(name for name in header if is_wanted(name, wanted))


@lru_cache(maxsize=256)
def _keys(wanted: frozenset[str]) -> frozenset[str]:
    return frozenset(key for name in wanted for key in (slug(name), fold(name)) if key)


def _uses(settings: Settings, connection: str, *, switched_off: bool) -> Iterator[tuple[str, str, FieldNames]]:
    """Yield (key of the configuration, kind of record, fields)."""
    for where, fields in _uses_of_connection(settings.connections[connection]):
        yield f"connections.{connection}.{where}", CONTACT, fields
    for name, trigger in settings.triggers.items():
        if connection in trigger.connections and (trigger.enabled or switched_off):
            for where, fields in _uses_of_trigger(trigger):
                yield f"triggers.{name}.{where}", trigger.record, fields


def _uses_of_connection(connection: Connection) -> Iterator[tuple[str, FieldNames]]:
    for key in FieldMapping.model_fields:
        for entry in getattr(connection.fields, key):
            yield f"fields.{key}", template_fields(entry) if is_expression(entry) else FieldNames((entry,))
    for key, rule in (("consent", connection.consent), ("do_not_text", connection.do_not_text)):
        if rule is not None:
            yield f"{key}.field", FieldNames((rule.field,))


def _uses_of_trigger(trigger: Trigger) -> Iterator[tuple[str, FieldNames]]:
    yield from kind_of(trigger).reads().items()
    if trigger.only_if is not None:
        yield "only_if", condition_fields(trigger.only_if)
    yield "message", template_fields(trigger.message)
