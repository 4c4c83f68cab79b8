"""Opt-outs as values of a field of the CRM: which field it is, and what to write to it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from crm_adapters.base import CrmField, SourceInvalid
from crm_adapters.described import find_field, nearest_fields
from crm_adapters.sql.values import is_true

Known = TypeVar("Known")
Flag: TypeAlias = bool | int | str | None


def opt_out_target(vendor: str, objects: str, name: str, fields: Iterable[tuple[CrmField, Known]]) -> Known:
    """Return what the adapter knows of the field that ``name`` means, by its name or its label.

    ``fields`` are pairs of a field and what the adapter knows of it. Raises SourceInvalid.
    """
    known = dict(fields)
    found = find_field(name, [*known])
    if found is not None:
        return known[found]
    near = " or ".join(nearest_fields(name, [*known]))
    hint = f"did you mean {near}?" if near else "create it, or name another one in do_not_text"
    raise SourceInvalid(f'{vendor} has no field "{name}" of {objects} to write opt-outs to; {hint}')


@dataclass(frozen=True, slots=True)
class OptOutRule:
    """What a field holds if a person must not be texted.

    ========================= ==================================================================
    ``type`` of the field     the flag
    ========================= ==================================================================
    ``boolean``               True or False
    ``number``                1 or 0
    ``text``                  ``yes`` or ``no``
    ``choice``                the choice that means yes or no; None if there is no choice for no
    ========================= ==================================================================

    ``choices`` are values and their labels. ``write`` turns the flag into what the API wants. For errors: ``title`` is
    the name of the field, ``fitting`` a kind of field that holds opt-outs, ``locked`` why this field is never written.
    """

    title: str
    type: str
    fitting: str
    choices: Mapping[str, str] = field(default_factory=dict)
    locked: str = ""
    write: Callable[[Flag], Any] = field(default=lambda flag: flag, repr=False)

    def written(self, value: bool) -> Any:
        """Return what to write for "must not be texted", or for the opposite. Raises SourceInvalid."""
        if self.locked:
            raise SourceInvalid(f"{self.title} {self.locked}")
        flags: dict[str, Flag] = {"boolean": value, "number": int(value), "text": "yes" if value else "no"}
        if self.type in flags:
            return self.write(flags[self.type])
        no = [one for one, label in self.choices.items() if not (is_true(one) and is_true(label or one))]
        yes = [one for one in self.choices if one not in no]
        if self.type == "choice" and len(yes) == 1 and len(no) <= 1:
            return self.write(yes[0] if value else next(iter(no), None))
        shown = ", ".join([label or one for one, label in self.choices.items()][:8]) or f"its type is {self.type}"
        raise SourceInvalid(
            f"{self.title} cannot hold an opt-out, because it is not clear which value means yes ({shown}); name"
            f" {self.fitting} in do_not_text"
        )
