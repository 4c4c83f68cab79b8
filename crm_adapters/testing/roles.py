"""Tests of what only some adapters do: list ids, verify events, read records that belong to a person."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crm_adapters.base import CONTACT, Adapter, AdapterError, ContactChange, ListsIds, Removals, WakesOnEvents
from crm_adapters.testing.assertions import changes_of, last_cursor, short_list
from crm_adapters.testing.clock import short_waits
from crm_adapters.testing.hooks import AdapterHooks, is_a, only_if

LISTS_IDS = only_if(is_a(ListsIds), "it does not list ids alone (`ListsIds`)")
WAKES = only_if(is_a(WakesOnEvents), "its CRM does not call us (`WakesOnEvents`)")
HAS_DEALS = only_if(lambda _kit, facts: facts.adapter.kinds != (CONTACT,), "it reads people only (`kinds`)")


class KeepsItsRoles(AdapterHooks):
    """The promises of ``ListsIds`` and ``WakesOnEvents``, and about records of a person."""

    @LISTS_IDS
    def test_live_ids_are_those_of_a_pull(self, tmp_path: Path) -> None:
        """``live_ids`` lists the ids of all live records, in several parts, and not those that were deleted."""
        with self._filled(tmp_path) as crm:
            if self._has("put_deal"):
                self.put_deal(crm.source, crm.people[0].external_id)
            for what in ("before", "after"):
                if what == "after":
                    self.delete(crm.source, crm.people[1].external_id)
                live = {change.external_id for change in self._pull(crm.source, None) if not change.deleted}
                parts = _ids(crm.adapter)
                assert isinstance(parts, Iterator), "live_ids yields its parts"
                ids = [external_id for some in parts for external_id in some]
                missing, more = live - set(ids), set(ids) - live
                assert not missing, f"{what} a deletion, live_ids leaves out {short_list(missing)}"
                assert not more, f"{what} a deletion, live_ids lists {short_list(more)}, which pull does not"

    @LISTS_IDS
    def test_live_ids_that_break_off_are_an_error(self, tmp_path: Path) -> None:
        """``live_ids`` ends without an error only if it is complete: what it leaves out is removed."""
        with self._filled(tmp_path) as crm, short_waits():
            ids = iter(_ids(crm.adapter))
            listed = set(next(ids))
            self.break_source(crm.source)
            try:
                listed |= {external_id for some in ids for external_id in some}
            except AdapterError:
                return
            missing = crm.ids - listed
            assert not missing, f"the source broke after the first part, and live_ids ended without {len(missing)} ids"

    @WAKES
    def test_only_genuine_events_wake(self, tmp_path: Path) -> None:
        """``wakes`` accepts an event of the CRM, and nothing that was changed, cut or made up."""
        assert self._has("event"), "the adapter is a WakesOnEvents: fill in the hook event"
        with self._filled(tmp_path, 1) as crm:
            headers, body = self.event(crm.source)
            assert all(name == name.lower() for name in headers), "event returns names of headers in lower case"
            wakes = _waker(crm.adapter)
            assert wakes(headers, body) is True, "a genuine event is not recognised, or the result is not True"
            assert wakes({}, body) is False, "an event without headers is accepted, or the result is not False"
            if self.events_sign_the_body:
                for what, other in (("empty", b""), ("longer", body + b" "), ("different", body[::-1] + b"1")):
                    assert wakes(headers, other) is False, f"an event with the signature of another body ({what}) wakes"
            for name in headers:
                if wakes(_without(headers, name), body):
                    continue  # this header says nothing about who sent it
                for wrong in _forgeries(headers[name]):
                    accepted = wakes({**headers, name: wrong}, body)
                    assert accepted is False, f"an event wakes with {len(wrong)} wrong characters in {name}"

    @WAKES
    def test_no_event_raises(self, tmp_path: Path) -> None:
        """``wakes`` answers anything that a stranger sends, without a request to the CRM."""
        with self._filled(tmp_path, 1) as crm:
            headers, body = self.event(crm.source) if self._has("event") else ({}, b"{}")
            self.break_source(crm.source)
            wakes = _waker(crm.adapter)
            for odd in (b"", b"\xff\x00", b"[]", b"{", b"null", b"1" * 100_000):
                wakes(headers, odd)
                wakes({}, odd)
            for name in headers:
                for value in ("", " ", "=", "\u00e4", "t=,v1=", "0" * 10_000, "-1", "sha256=", "Basic !"):
                    wakes({**headers, name: value}, body)

    @HAS_DEALS
    def test_records_of_a_person_name_the_person(self, tmp_path: Path) -> None:
        """A deal names its person, has no phone or email of its own, and shares its id with no other record."""
        assert self._has("put_deal"), "the adapter has kinds besides contacts: fill in the hook put_deal"
        with self._filled(tmp_path, 3) as crm:
            owner = crm.people[1].external_id
            deal, lone = self.put_deal(crm.source, owner), self.put_deal(crm.source, None)
            changes = list(changes_of(crm.adapter.pull(None)))
            twice = [external_id for external_id, n in Counter(c.external_id for c in changes).items() if n > 1]
            assert not twice, f"records of different kinds have the same id: {short_list(twice)}"
            found = {change.external_id: change for change in changes}
            for external_id, person in ((deal, owner), (lone, None)):
                _assert_belongs(crm.adapter, found, external_id, person)
            for one in crm.people:
                assert found[one.external_id].kind == CONTACT, f"{one.external_id} is a person"
                assert found[one.external_id].person is None, f"the person {one.external_id} belongs to a person"

    @HAS_DEALS
    def test_changes_of_deals_are_seen(self, tmp_path: Path) -> None:
        """The next pull sees a new deal and a deleted one, and a resumed pull leaves none out."""
        assert self._has("put_deal"), "the adapter has kinds besides contacts: fill in the hook put_deal"
        with self._filled(tmp_path) as crm:
            owner = crm.people[0].external_id
            old = self.put_deal(crm.source, owner)
            pages = list(crm.adapter.pull(None))
            for page in pages[:-1]:
                seen = {c.external_id for p in pages[: pages.index(page) + 1] for c in changes_of([p])}
                rest = {change.external_id for change in self._pull(crm.source, page.cursor)}
                assert old in seen | rest, f"resuming after page {pages.index(page) + 1} loses {old}"
            cursor = last_cursor(crm.adapter.pull(None))
            new = self.put_deal(crm.source, owner)
            self.delete(crm.source, old)
            found = {change.external_id: change for change in self._pull(crm.source, cursor)}
            assert new in found, f"the new record {new} was not seen"
            if crm.adapter.removals is Removals.REPORTED:
                assert old in found, f"{old} was deleted and not reported"
                assert found[old].deleted, f"{old} was deleted and not reported"
            live = {change.external_id for change in self._pull(crm.source, None) if not change.deleted}
            assert old not in live, f"{old} was deleted and is still listed"


def _assert_belongs(adapter: Adapter, found: Mapping[str, ContactChange], external_id: str, person: str | None) -> None:
    assert external_id in found, f"{external_id} is not listed"
    change = found[external_id]
    assert change.kind != CONTACT, f"{external_id} is listed as a person"
    assert change.person == person, f"{external_id} belongs to {person}, and names {change.person}"
    fields = adapter.contact_fields(change.properties)
    assert not fields.phones, f"{external_id} has the phone of its person, not {fields.phones}"
    assert not fields.email, f"{external_id} has the email of its person, not {fields.email}"


def _ids(adapter: Any) -> Any:
    assert isinstance(adapter, ListsIds)
    return adapter.live_ids()


def _waker(adapter: Any) -> Any:
    """Return ``adapter.wakes``, which fails the test when it raises."""

    def wakes(headers: Mapping[str, str], body: bytes) -> Any:
        try:
            return adapter.wakes(headers, body)
        except Exception as error:
            raise AssertionError(f"wakes raises {error!r} for {dict(headers)} and {body[:60]!r}") from error

    return wakes


def _without(headers: Mapping[str, str], name: str) -> dict[str, str]:
    return {other: value for other, value in headers.items() if other != name}


def _forgeries(value: str) -> Iterator[str]:
    """Yield values that look like this one."""
    other = "0" if value[-1:] != "0" else "1"
    yield from ("", value[:-1], value[: len(value) // 2], value[:1], value + other, value[:-1] + other)
    yield other * len(value)
