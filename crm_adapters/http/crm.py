"""``CrmAdapter``: the adapter of a CRM with persons and deals, which describes their fields and takes texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

from config.fields import FieldMapping
from crm_adapters.base import (
    CONTACT,
    Adapter,
    CrmField,
    CrmMessage,
    Cursor,
    Limit,
    ListsIds,
    Page,
    RecordGone,
    Services,
    WritesMessages,
)
from crm_adapters.http.api import HttpApi
from crm_adapters.http.changes import ChangeWindow
from crm_adapters.http.kinds import DEAL, ids_of, kind_and_number
from crm_adapters.http.lookups import Lookups
from crm_adapters.http.stages import Changes, Stage, first_state, read_stages
from crm_adapters.http.values import ApiField, used_fields
from crm_adapters.opt_outs import opt_out_target


class CrmAdapter(Adapter, ListsIds, WritesMessages):
    """What the adapters of such CRMs have in common. A subclass has the vendor's own addresses, fields and rules.

    ``vendor`` is the CRM's name in messages, ``objects`` what it calls the records of each kind. ``daily`` is the
    option with the budget of a day, which replaces the amount of the last of ``limits``. ``most_ids`` and ``shows_ids``
    are for ``Lookups``. If the option ``deals`` is off, only persons are read.
    """

    kinds = (CONTACT, DEAL)
    vendor: ClassVar[str]
    objects: ClassVar[Mapping[str, str]] = MappingProxyType({CONTACT: "contacts", DEAL: "deals"})
    daily: ClassVar[str]
    most_ids: ClassVar[Mapping[str, int]] = MappingProxyType({})
    shows_ids: ClassVar[bool] = False

    def __init__(self, options: Any, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        self.api = self.open_api()
        self.api_for_texts = self.api.for_texts()
        self.read_kinds = self.kinds if options.deals else (CONTACT,)
        self.lookups = Lookups(self.names, self.most_ids, self.shows_ids)
        self._fields: dict[str, Sequence[ApiField]] = {}

    @abstractmethod
    def open_api(self) -> HttpApi:
        """Return the API, with the credential of the options."""

    @abstractmethod
    def read_fields(self, api: HttpApi, kind: str) -> Sequence[ApiField]:
        """Return the fields that the CRM describes for records of this kind."""

    @abstractmethod
    def names(self, place: str, ids: Sequence[Any]) -> Mapping[Any, str]:
        """Return the names of what records refer to: ``fetch`` of ``Lookups``."""

    @abstractmethod
    def changes(self, kind: str, window: ChangeWindow) -> Iterator[tuple[Changes, ChangeWindow]]:
        """Read the records of a kind: all of them, or those that changed. See ``Stage``."""

    @abstractmethod
    def live_records(self, kind: str) -> Iterator[Changes]:
        """List all records of a kind, without their fields."""

    @abstractmethod
    def log_text(self, kind: str, number: str, external_id: str, message: CrmMessage) -> None:
        """Add a text to the history of this record, unless it is there."""

    @abstractmethod
    def write_field(self, kind: str, number: str, external_id: str, key: str, value: Any) -> None:
        """Change one field of this record."""

    @classmethod
    def limits_for(cls, options: Any) -> tuple[Limit, ...]:
        """See ``Adapter.limits_for``."""
        return (*cls.limits[:-1], replace(cls.limits[-1], amount=getattr(options, cls.daily)))

    def describe(self) -> Sequence[CrmField]:
        """See ``Adapter.describe``."""
        return [made for kind in self.read_kinds for one in self.fields_of(kind) for made in one.described()]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """See ``Adapter.pull``. Persons come first, then deals."""
        stages: dict[str, Stage] = {kind: partial(self.changes, kind) for kind in self.read_kinds}
        yield from read_stages(first_state(cursor, self.kinds), stages, self.page_size)

    def live_ids(self) -> Iterator[Sequence[str]]:
        """See ``ListsIds.live_ids``."""
        for kind in self.read_kinds:
            yield from map(ids_of, self.live_records(kind))

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        """See ``WritesMessages.log_message``."""
        self.log_text(*self.found(external_id), external_id, message)

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        """See ``WritesMessages.set_do_not_text``."""
        kind, number = self.found(external_id)
        known = ((made, one) for one in self.fields_of(kind, self.api_for_texts) for made in one.described())
        target = opt_out_target(self.vendor, self.objects[kind], field, known)
        self.write_field(kind, number, external_id, target.key, target.opt_out(value))

    def close(self) -> None:
        """See ``Adapter.close``."""
        self.api.close()

    def fields_of(self, kind: str, api: HttpApi | None = None) -> Sequence[ApiField]:
        """Return the fields of a kind. They are read once."""
        if kind not in self._fields:
            self._fields[kind] = self.read_fields(api or self.api, kind)
        return self._fields[kind]

    def used_fields(self, kind: str) -> tuple[list[ApiField], list[ApiField]]:
        """Return the fields to read, and those of them whose values are ids that need names."""
        return used_fields(self.fields_of(kind), self.services.wanted, self.fields.or_else(self.usual))

    def found(self, external_id: str) -> tuple[str, str]:
        """Return the kind and the number of a record. Raises RecordGone if there cannot be such a record."""
        kind, number = kind_and_number(external_id, self.kinds)
        if not number:
            raise RecordGone(f"{self.vendor} has no record {external_id}, because its ids are numbers")
        return kind, number
