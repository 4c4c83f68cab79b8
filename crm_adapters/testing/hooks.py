"""The hooks of the conformance tests."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import pytest

from config.fields import FieldMapping
from crm_adapters.base import Adapter, ContactChange, Cursor, Page, Services, SourceUnavailable
from crm_adapters.services import LocalServices
from crm_adapters.testing.assertions import bounded, changes_of, through_storage
from crm_adapters.testing.proxy import ScriptedProxy
from crm_adapters.testing.samples import SampleContact, contact, contacts

SPENT = 7777
"""Seconds to wait when a test's budget is spent."""

Event: TypeAlias = tuple[Mapping[str, str], bytes]
"""The headers and the body of a request that a CRM sends when something changed."""


@dataclass
class CountedServices(LocalServices):
    """Services that count the calls, and refuse them once ``budget`` is spent."""

    paced: int = 0
    budget: int | None = None

    def pace(self, name: str = "", cost: int = 1) -> None:  # noqa: ARG002 - it counts calls
        """Count the call. Raises SourceUnavailable when the budget is spent."""
        if self.budget is not None and self.paced >= self.budget:
            raise SourceUnavailable("the budget of this test is spent; the next run tries again", retry_after=SPENT)
        self.paced += 1


@dataclass
class FilledCrm:
    """A CRM with people in it, and an adapter that reads it. ``people`` have the ids that the CRM gave them."""

    source: Any
    adapter: Adapter
    people: list[SampleContact] = field(default_factory=list)

    @property
    def ids(self) -> set[str]:
        """The ids of all people."""
        return {one.external_id for one in self.people}


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What decides which promises a class of hooks can test."""

    cls: type[Adapter]
    adapter: Adapter
    is_http: bool


class AdapterHooks(ABC):
    """The hooks that an adapter's test class fills in, and helpers of the tests.

    ``put`` and its variants return the id that the CRM chose (None: the id of the sample). A sample whose id the CRM
    has already returned is an update of that record.
    """

    repeats: ClassVar[bool] = False
    """Set to True if the CRM itself lists a record twice in one complete pull."""
    pages_shift: ClassVar[bool] = False
    """Set to True if the CRM only counts positions, so that a deletion during a pull moves records to other pages."""
    clock_of_the_crm: ClassVar[bool] = False
    """Set to True if the adapter takes the time from the CRM and not from this machine."""
    late_by: ClassVar[timedelta] = timedelta(seconds=2)
    """How long after its own time a change may be committed. The next pull must still see it."""
    patience: ClassVar[float] = 15.0
    """Seconds in which a call must end when the CRM does not answer. Time-outs are shortened meanwhile."""
    large: ClassVar[int] = 200_000
    """The number of records that ``make_large_source`` is asked for."""
    labels: ClassVar[Mapping[str, str]] = {}
    """What the CRM calls some fields for people, by the name of the field. ``describe`` must know it."""
    references: ClassVar[Mapping[str, str]] = {}
    """Fields of people that point to another record, and the label that each shows in every record of the tests."""
    events_sign_the_body: ClassVar[bool] = True
    """Set to False if the CRM's events carry a password instead of a signature over the body."""

    @abstractmethod
    def make_source(self, folder: Path) -> Any:
        """Return an empty CRM. ``folder`` is an empty folder to use freely."""

    def close_source(self, source: Any) -> None:  # noqa: B027 - most sources need nothing
        """Stop what ``make_source`` started."""

    @abstractmethod
    def put(self, source: Any, contact: SampleContact) -> str | None:
        """Create the record, or overwrite the record with this id. Return its id."""

    def put_all(self, source: Any, contacts: Iterable[SampleContact]) -> Sequence[str] | None:
        """Create many records and return their ids in order. Override it if one at a time is slow."""
        return [self.put(source, one) or one.external_id for one in contacts]

    def put_at(self, source: Any, contacts: Iterable[SampleContact], moment: datetime) -> Sequence[str] | None:  # noqa: ARG002 - see below
        """Create the records as changed at this moment. Override it if a test can choose the time of change."""
        return self.put_all(source, contacts)

    @abstractmethod
    def delete(self, source: Any, external_id: str) -> None:
        """Remove the record."""

    @abstractmethod
    def adapter(self, source: Any) -> Adapter:
        """Return a new adapter that reads this source. If it speaks HTTP, give it ``self.url(source)``."""

    @abstractmethod
    def break_source(self, source: Any) -> None:
        """Make every later reading fail: remove the file, stop the server, revoke the token."""

    def upstream(self, source: Any) -> str:  # noqa: ARG002 - for those that override it
        """Return the address of the CRM or of the fake one, if the adapter speaks HTTP.

        The tests put a proxy in front of it, which fails in many ways. ``url`` is the proxy's address.
        """
        return ""

    def secrets(self, source: Any) -> tuple[str, ...]:  # noqa: ARG002 - for those that override it
        """Return the secrets in the adapter's options. They must never be shown."""
        return ()

    def names_of(self, source: Any) -> tuple[str, ...]:
        """Return the names of this source. Every error must contain one of them, in upper or lower case."""
        return (self.adapter(source).name,)

    def adapter_with(self, source: Any, fields: FieldMapping | None, services: Services) -> Adapter:
        """Return an adapter as the engine builds it. Override it if the class takes other arguments."""
        built = self.adapter(source)
        built.close()
        return type(built)(built.options, built.fields if fields is None else fields, services=services)

    def make_large_source(self, folder: Path, count: int) -> Any:
        """Return a CRM with this many records. Override it to test that memory is flat; it should take a second."""
        raise NotImplementedError

    def put_unreadable(self, source: Any) -> None:
        """Create a record that cannot be read at all, between the others. The proxy does so for HTTP adapters."""
        raise NotImplementedError

    def expire(self, source: Any) -> None:
        """Make the CRM refuse every cursor that it has given so far. Override it if cursors can expire."""
        raise NotImplementedError

    def merge(self, source: Any, gone: str, stays: str) -> None:
        """Merge one person into another. Override it if the CRM tells the adapter of it."""
        raise NotImplementedError

    def put_deal(self, source: Any, person: str | None) -> str:
        """Create a record that belongs to this person, or to nobody, and return its external id.

        Override it if the adapter has ``kinds`` besides contacts.
        """
        raise NotImplementedError

    def event(self, source: Any) -> Event:
        """Return a genuine event of the CRM, with the names of headers in lower case.

        Override it if the adapter is a ``WakesOnEvents``.
        """
        raise NotImplementedError

    def url(self, source: Any) -> str:
        """Return the address at which ``adapter`` reads this source: that of the proxy in front of ``upstream``."""
        return self._proxy(source).url

    def _proxy(self, source: Any) -> ScriptedProxy:
        proxies: dict[int, ScriptedProxy] = self.__dict__.setdefault("_proxies", {})
        if id(source) not in proxies:
            proxies[id(source)] = ScriptedProxy(self.upstream(source))
        return proxies[id(source)]

    @classmethod
    def _has(cls, hook: str) -> bool:
        """Return True if the class fills in an optional hook."""
        return getattr(cls, hook) is not getattr(AdapterHooks, hook)

    def _facts(self) -> AdapterFacts:
        """Return what the adapter is like. It is the same for all tests of a class."""
        facts = type(self).__dict__.get("_known_facts")
        if facts is None:
            with tempfile.TemporaryDirectory() as folder, self._source(Path(folder)) as source:
                adapter = self.adapter(source)
                adapter.close()
                facts = AdapterFacts(type(adapter), adapter, bool(self.upstream(source)))
            type(self)._known_facts = facts  # type: ignore[attr-defined]
        return cast(AdapterFacts, facts)

    @contextmanager
    def _source(self, folder: Path) -> Iterator[Any]:
        source = self.make_source(folder)
        try:
            yield source
        finally:
            self._close(source)

    def _close(self, source: Any) -> None:
        proxy = self.__dict__.get("_proxies", {}).pop(id(source), None)
        if proxy is not None:
            proxy.close()
        self._memories.pop(id(source), None)
        self.close_source(source)

    @contextmanager
    def _filled(self, folder: Path, count: int | None = None, *, at: datetime | None = None) -> Iterator[FilledCrm]:
        """Make a CRM with this many people (None: three pages and one), changed at this time (None: now)."""
        with self._source(folder) as source, self._open(source) as adapter:
            wanted = contacts(3 * adapter.page_size + 1 if count is None else count)
            yield FilledCrm(source, adapter, self._put_all(source, wanted, at) if wanted else [])

    def _put(self, source: Any, one: SampleContact) -> SampleContact:
        """Create or overwrite a person and return it with its id in the CRM."""
        return replace(one, external_id=self.put(source, one) or one.external_id)

    def _put_all(self, source: Any, wanted: Sequence[SampleContact], at: datetime | None = None) -> list[SampleContact]:
        ids = self.put_all(source, wanted) if at is None else self.put_at(source, wanted, at)
        given = ids or [one.external_id for one in wanted]
        return [replace(one, external_id=external_id) for one, external_id in zip(wanted, given, strict=True)]

    @contextmanager
    def _open(
        self, source: Any, fields: FieldMapping | None = None, services: CountedServices | None = None
    ) -> Iterator[Adapter]:
        """Build an adapter for one run, as the engine does, with the memory of the last run."""
        adapter = self.adapter_with(source, fields, self._services(source) if services is None else services)
        self._memories[id(source)] = adapter.services.memory
        try:
            yield adapter
        finally:
            adapter.close()

    def _services(
        self, source: Any, wanted: frozenset[str] | None = None, budget: int | None = None
    ) -> CountedServices:
        own = self.adapter(source)
        own.close()
        memory: Any = {}
        with suppress(TypeError, ValueError):  # a test of its own finds what is not JSON
            memory = json.loads(json.dumps(dict(self._memories.get(id(source), {}))))
        return CountedServices(own.limits, wanted, memory, own.services.grant, budget=budget)

    @property
    def _memories(self) -> dict[int, Any]:
        """What the last adapter of each source remembers."""
        memories: dict[int, Any] = self.__dict__.setdefault("_memories_of", {})
        return memories

    def _assert_seen_after(self, source: Any, cursor: Cursor | None, moment: datetime, what: str) -> None:
        (new,) = self._put_all(source, [contact(7)], moment)
        seen = {change.external_id for change in self._pull(source, cursor)}
        assert new.external_id in seen, f"{what} is lost"

    def _first_page(self, source: Any, cursor: Cursor | None) -> tuple[list[ContactChange], Cursor | None]:
        """Return the first page of a run and its cursor. Pages without a cursor cannot end a run: return all."""
        with self._open(source) as adapter:
            pages = bounded(adapter.pull(through_storage(cursor)))
            first = next(pages, Page((), cursor))
            if first.cursor is None:
                return list(changes_of(chain([first], pages))), None
            return list(changes_of([first])), first.cursor

    def _pull(self, source: Any, cursor: Cursor | None) -> list[ContactChange]:
        """Return all changes after a stored cursor, read by a new adapter."""
        with self._open(source) as adapter:
            return list(changes_of(adapter.pull(through_storage(cursor))))


Test = TypeVar("Test", bound=Callable[..., None])
Condition: TypeAlias = Callable[[Any, AdapterFacts], bool]


def only_if(condition: Condition, reason: str) -> Callable[[Test], Test]:
    """Skip a test, with this reason, unless the condition holds. ``report`` shows the reason, too."""

    def decorate(test: Test) -> Test:
        @wraps(test)
        def run(self: Any, tmp_path: Path) -> None:
            if why := reason_against(self, test.__name__):
                pytest.skip(why)
            test(self, tmp_path)

        run.conditions = [(condition, reason), *getattr(test, "conditions", [])]  # type: ignore[attr-defined]
        return cast(Test, run)

    return decorate


def reason_against(hooks: Any, test: str) -> str:
    """Return why a test does not apply to these hooks; "" if it does."""
    conditions = getattr(getattr(type(hooks), test), "conditions", [])
    return next((reason for condition, reason in conditions if not condition(hooks, hooks._facts())), "")


def has_hook(*hooks: str) -> Condition:
    """Return a condition: the class fills in one of these hooks."""
    return lambda kit, _facts: any(kit._has(hook) for hook in hooks)


def is_a(role: type) -> Condition:
    """Return a condition: the adapter is also this."""
    return lambda _kit, facts: issubclass(facts.cls, role)


SPEAKS_HTTP = only_if(lambda _kit, facts: facts.is_http, "it does not speak HTTP (hook `upstream`)")
