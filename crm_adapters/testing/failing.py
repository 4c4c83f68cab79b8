"""Tests of what an adapter does when its CRM fails: it says so, in time, in words, and without secrets."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import gc
import inspect
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crm_adapters.base import Adapter, AdapterError, Cursor, ListsIds, SourceUnavailable
from crm_adapters.testing.assertions import (
    assert_for_people,
    assert_hidden,
    bounded,
    by_id,
    changes_of,
    ends_within,
    error_of,
    last_cursor,
    refusal_text,
    short_list,
    through_storage,
)
from crm_adapters.testing.clock import short_waits
from crm_adapters.testing.hooks import SPEAKS_HTTP, SPENT, AdapterHooks, FilledCrm, has_hook, only_if
from crm_adapters.testing.proxy import BUSY, HANGS, RETRY_AFTER, CrmFault, ScriptedProxy, faults

LONGEST_SLEEP = 60
"""Seconds that an adapter may wait by itself before it must report that the CRM is unavailable."""
OPENED = 10
EMPTY_LISTS = '{"data": [], "results": [], "people": [], "contacts": [], "items": [], "records": [], "total": 0}'
FILES = Path("/dev/fd")


class ReportsFailures(AdapterHooks):
    """The promises about errors, secrets, time-outs and ``close``."""

    def test_a_broken_source_is_an_adapter_error_for_people(self, tmp_path: Path) -> None:
        """The error's class says what the engine should do; its text names the source and the remedy."""
        with self._filled(tmp_path, 1) as crm:
            names = self.names_of(crm.source)
            self.break_source(crm.source)
            for what, use in _uses(crm.adapter).items():
                with short_waits():
                    try:
                        assert_for_people(error_of(use), names, ())
                    except AssertionError as complaint:
                        raise AssertionError(f"after the source broke, {what}: {complaint}") from complaint

    def test_a_source_that_breaks_during_a_pull_is_an_error(self, tmp_path: Path) -> None:
        """A pull ends without an error only if it listed every record. Otherwise the others would count as deleted."""
        with self._filled(tmp_path) as crm, short_waits():
            pages = bounded(crm.adapter.pull(None))
            listed = {change.external_id for change in changes_of([next(pages)])}
            self.break_source(crm.source)
            try:
                listed |= {change.external_id for change in changes_of(pages)}
            except AdapterError:
                return
            missing = crm.ids - listed
            assert not missing, (
                f"the source broke after the first page, and the pull ended without {len(missing)} records"
            )

    @SPEAKS_HTTP
    def test_each_failure_of_the_crm_is_told(self, tmp_path: Path) -> None:
        """Whichever request fails, and however, each call raises the error that fits, and no listing ends early."""
        with self._filled(tmp_path) as crm:
            for what, use in _uses(crm.adapter).items():
                self._assert_told(crm, what, use)

    @SPEAKS_HTTP
    def test_each_failure_of_the_next_pull_is_told(self, tmp_path: Path) -> None:
        """A pull after a cursor does not take a failure for "no changes"."""
        with self._filled(tmp_path) as crm:
            cursor = through_storage(last_cursor(crm.adapter.pull(None)))
            self._put(crm.source, crm.people[0])
            self._assert_told(crm, "the next pull", lambda: by_id(changes_of(crm.adapter.pull(cursor))))

    def _assert_told(self, crm: FilledCrm, what: str, use: Callable[[], object]) -> None:
        proxy, secrets, names = self._proxy(crm.source), self.secrets(crm.source), self.names_of(crm.source)
        before = len(proxy.requests)
        good = use()
        requests = len(proxy.requests) - before
        for fault in faults(secrets):
            for after in sorted({0, requests // 2, requests - 1}):
                for times in (1, None) if fault.name == "fails" else (None,):
                    proxy.fail(fault, after=after, times=times)
                    try:
                        _assert_fits(use, good, fault, names, secrets)
                    except AssertionError as complaint:
                        here = f"when the CRM {fault.name} at request {after + 1} of {requests}"
                        raise AssertionError(f"{here}, {what}: {complaint}") from complaint
                    finally:
                        proxy.repair()

    @SPEAKS_HTTP
    def test_a_silent_crm_is_not_waited_for(self, tmp_path: Path) -> None:
        """Each request has a time-out."""
        with self._filled(tmp_path) as crm, short_waits():
            proxy, names = self._proxy(crm.source), self.names_of(crm.source)
            for what, use in _uses(crm.adapter).items():
                for after in (0, 1) if what == "pull" else (0,):
                    proxy.fail(HANGS, after=after)
                    try:
                        error = ends_within(self.patience, lambda use=use: error_of(use), proxy.repair)  # type: ignore[misc]
                    except AssertionError as complaint:
                        raise AssertionError(f"when the CRM does not answer, {what}: {complaint}") from complaint
                    proxy.repair()
                    assert isinstance(error, SourceUnavailable), f"{what} raises {error!r}, not SourceUnavailable"
                    assert_for_people(error, names, ())

    @SPEAKS_HTTP
    def test_a_busy_crm_is_obeyed(self, tmp_path: Path) -> None:
        """The seconds of ``Retry-After`` become ``retry_after``, and the adapter does not sleep through them."""
        with self._filled(tmp_path, 3) as crm, short_waits() as waits:
            self._proxy(crm.source).fail(BUSY)
            error = error_of(lambda: list(crm.adapter.pull(None)))
        after = getattr(error, "retry_after", None)
        told = after is not None and RETRY_AFTER / 2 <= after <= RETRY_AFTER * 2
        assert told, f"the CRM asks to wait for {RETRY_AFTER} seconds, and retry_after is {after}"
        assert waits.slept <= LONGEST_SLEEP, (
            f"it sleeps for {waits.slept:g} seconds instead of raising SourceUnavailable"
        )

    @SPEAKS_HTTP
    def test_credentials_stay_with_their_host(self, tmp_path: Path) -> None:
        """A redirect to another host gets no credential, and its answer is not taken for the CRM's."""
        with self._filled(tmp_path) as crm, ScriptedProxy("http://localhost:9") as stranger, short_waits():
            secrets = self.secrets(crm.source)
            stranger.fail(CrmFault("answers", (AdapterError,), body=EMPTY_LISTS))
            for status in (302, 307):
                address = {"Location": f"http://localhost:{urlsplit(stranger.url).port}/?page=2"}
                self._proxy(crm.source).fail(CrmFault("redirects", (AdapterError,), status=status, headers=address))
                complaint = ""
                try:
                    assert_hidden(str(error_of(lambda: list(crm.adapter.pull(None)))), secrets)
                except AssertionError as told:
                    complaint = str(told)
                for heard in stranger.heard:
                    assert_hidden(heard, secrets)
                assert not complaint, f"when the CRM redirects to another host, {complaint}"

    @only_if(
        lambda _kit, facts: facts.is_http and bool(facts.adapter.limits), "it declares no limits of an API (`limits`)"
    )
    def test_requests_are_paced(self, tmp_path: Path) -> None:
        """Each request asks ``services.pace`` first, and a spent budget ends the run with its time to wait."""
        with self._filled(tmp_path) as crm:
            services = self._services(crm.source)
            with self._open(crm.source, services=services) as adapter:
                before = len(self._proxy(crm.source).requests)
                list(changes_of(adapter.pull(None)))
                requests = len(self._proxy(crm.source).requests) - before
            assert services.paced >= requests, f"{requests} requests asked services.pace {services.paced} times"
            with self._open(crm.source, services=self._services(crm.source, budget=1)) as adapter:
                error = error_of(lambda: list(adapter.pull(None)))
            after = getattr(error, "retry_after", None)
            assert after == SPENT, f"a spent budget asks to wait for {SPENT} seconds, and the pull raises {error!r}"

    @only_if(has_hook("secrets"), "its tests use no secret (hook `secrets`)")
    def test_secrets_are_never_shown(self, tmp_path: Path) -> None:
        """Secrets are in no repr, link, log, error or traceback, and not in the text that refuses an option."""
        with self._filled(tmp_path, 2) as crm, _logged() as logged, short_waits():
            adapter, secrets = crm.adapter, self.secrets(crm.source)
            shown = [repr(adapter), str(adapter), repr(adapter.options), str(adapter.options)]
            shown += [adapter.link(crm.people[0].external_id), adapter.check().summary, repr(adapter.describe())]
            shown += [repr(page) for page in bounded(adapter.pull(None))]
            shown += [refusal_text(type(adapter).Options, secret) for secret in secrets]
            if self._facts().is_http:
                for fault in faults(secrets):
                    self._proxy(crm.source).fail(fault)
                    shown += _errors_of(adapter)
                self._proxy(crm.source).repair()
            self.break_source(crm.source)
            shown += _errors_of(adapter)
        for text in (*shown, *logged):
            assert_hidden(text, secrets)

    def test_closing_is_harmless(self, tmp_path: Path) -> None:
        """``close`` works before the first pull, in the middle of one, and twice."""
        with self._filled(tmp_path, 3) as crm:
            unused = self.adapter(crm.source)
            unused.close()
            used = self.adapter(crm.source)
            pages = used.pull(None)
            next(pages)
            if inspect.isgenerator(pages):
                pages.close()
            used.close()
            used.close()

    @only_if(lambda _kit, _facts: FILES.is_dir(), "this system does not list the open files of a process")
    def test_closing_releases_everything(self, tmp_path: Path) -> None:
        """After ``close``, no file and no connection stays open."""
        with self._filled(tmp_path) as crm:
            kept = [self._run(crm.source)]
            gc.collect()
            before = _settled(_open_files)
            kept += [self._run(crm.source) for _number in range(OPENED)]
            left = _settled(_open_files) - before
            assert left < OPENED / 2, f"after {OPENED} runs, {left} more files or connections are open"
            assert len(kept) == OPENED + 1

    def _run(self, source: Any) -> Adapter:
        """Use an adapter until the middle of a pull, close it, and return it."""
        adapter = self.adapter(source)
        adapter.check()
        pages = adapter.pull(None)
        next(pages)
        if inspect.isgenerator(pages):
            pages.close()
        adapter.close()
        return adapter


def _uses(adapter: Adapter, cursor: Cursor | None = None) -> dict[str, Callable[[], Any]]:
    """Return the ways to use an adapter, by name. Each returns something that can be compared."""
    uses: dict[str, Callable[[], Any]] = {
        "check": lambda: adapter.check().summary,
        "describe": lambda: list(adapter.describe()),
        "pull": lambda: by_id(changes_of(adapter.pull(cursor))),
    }
    if isinstance(adapter, ListsIds):
        uses["live_ids"] = lambda: sorted(external_id for some in adapter.live_ids() for external_id in some)
    return uses


def _assert_fits(
    use: Callable[[], object], good: object, fault: CrmFault, names: tuple[str, ...], secrets: tuple[str, ...]
) -> None:
    """Fail unless ``use`` raises an error that fits the fault, or has all of what it returns without the fault."""
    with short_waits() as waits:
        try:
            result = use()
        except AdapterError as error:
            fits = isinstance(error, fault.means)
            wanted = short_list(kind.__name__ for kind in fault.means)
            assert fits, f"it raises {error!r}; what fits is {wanted}"  # noqa: PT017 - it may also return
            assert_for_people(error, names, secrets)
        except Exception as error:
            raise AssertionError(f"it raises {error!r}, which is not an AdapterError") from error
        else:
            assert result == good, "it ends without an error, and something is missing"
    assert waits.slept <= LONGEST_SLEEP, f"it sleeps for {waits.slept:g} seconds instead of raising SourceUnavailable"


def _errors_of(adapter: Adapter) -> list[str]:
    """Return the traceback of each way to use the adapter that fails."""
    shown = []
    for use in _uses(adapter).values():
        try:
            use()
        except Exception as error:  # noqa: BLE001 - another test judges the error
            shown.append("".join(traceback.format_exception(error)))
    return shown


def _open_files() -> int:
    return sum(1 for _file in FILES.iterdir())


def _settled(count: Callable[[], int]) -> int:
    """Return a count once it no longer changes: the other side of a connection closes a moment later."""
    counts = [count()]
    while len(counts) < 100 and len(set(counts[-5:])) + (len(counts) < 5) > 1:
        time.sleep(0.02)
        counts.append(count())
    return counts[-1]


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect what is logged, from INFO on."""
    texts: list[str] = []

    class Collects(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(self.format(record))

    root, handler = logging.getLogger(), Collects(logging.INFO)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield texts
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
