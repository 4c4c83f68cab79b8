"""Broken adapters: what they do when the CRM fails, and what they leave open."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from crm_adapters.base import (
    AdapterError,
    CheckReport,
    CredentialsRejected,
    CrmField,
    Cursor,
    Page,
    SourceInvalid,
    SourceUnavailable,
)
from tests.adapters.broken.catalogue import caught_by
from tests.adapters.broken.good import Good

PEOPLE = "a_broken_source_is_an_adapter_error_for_people"
TOLD = "each_failure_of_the_crm_is_told"


@caught_by(PEOPLE, "is not an AdapterError")
class LetsForeignErrorsThrough(Good):
    """lets the errors of a library through"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        answer.raise_for_status()
        return super().error(answer)


@caught_by(PEOPLE, "names none of acme")
class DoesNotNameItself(Good):
    """does not say in an error which source failed"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        return error and type(error)("The token is refused; create a new one")


@caught_by(PEOPLE, "does not say what to do")
class NamesNoRemedy(Good):
    """does not say in an error what to do"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        return error and type(error)("Acme refuses the token")


@caught_by(PEOPLE, "raise the subclass")
class RaisesTheBaseClass(Good):
    """raises AdapterError itself"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        return error and AdapterError(str(error))


@caught_by(PEOPLE, "after the source broke, check: it raises nothing")
class ChecksNothing(Good):
    """does not try the credential in check"""

    def check(self) -> CheckReport:
        return CheckReport("Acme is configured")


@caught_by(PEOPLE, "after the source broke, describe: it raises nothing")
class DescribesFromMemory(Good):
    """describes no fields when the CRM is down"""

    def describe(self) -> list[CrmField]:
        try:
            return list(super().describe())
        except AdapterError:
            return []


@caught_by("a_source_that_breaks_during_a_pull_is_an_error", "the pull ended without 11 records")
@caught_by(TOLD, "it ends without an error, and something is missing")
class SwallowsAFailureDuringAPull(Good):
    """ends a pull in which a page fails as if it were complete"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        pages = super().pull(cursor)
        yield next(pages)
        try:
            yield from pages
        except AdapterError:
            return


@caught_by(TOLD, "it ends without an error, and something is missing")
class SkipsAFailingPage(Good):
    """leaves out a page that fails once and continues with the next"""

    def rows(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            return super().rows(run)
        except SourceUnavailable:
            return super().rows({**run, "after": run["after"] + self.page_size})


@caught_by("each_failure_of_the_next_pull_is_told", "refuses the credential .* it ends without an error")
class TakesAnExpiredTokenForNoChanges(Good):
    """takes a refused token for "no changes" after the first run"""

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        try:
            yield from super().pull(cursor)
        except CredentialsRejected:
            if cursor is None:
                raise


@caught_by(TOLD, "with an error and status 200 .* it ends without an error")
class TakesAnErrorForAnEmptyPage(Good):
    """takes an error with status 200 for an empty page"""

    def decoded(self, answer: requests.Response) -> Any:
        try:
            return super().decoded(answer)
        except SourceUnavailable:
            if not answer.text.startswith('{"error"'):
                raise
            return answer.json()

    def listed(self, answer: Any, name: str) -> list[Any]:
        return answer.get(name, [])  # type: ignore[no-any-return]

    def status(self, generation: int | None = None) -> Any:
        return {"newest": None, "people": 0, "generation": 1} | super().status(generation)


@caught_by(TOLD, "answers with nothing .* it ends without an error")
class TakesNothingForAnEmptyPage(Good):
    """takes an answer without content for an empty page"""

    def decoded(self, answer: requests.Response) -> Any:
        return super().decoded(answer) if answer.content else {"people": [], "deals": [], "ids": [], "fields": []}


@caught_by(TOLD, "is not an AdapterError")
class TrustsJson(Good):
    """lets the error of a JSON parser through"""

    def decoded(self, answer: requests.Response) -> Any:
        return answer.json()


@caught_by(TOLD, "refuses the credential .* what fits is CredentialsRejected")
class RepeatsARefusedCredential(Good):
    """reports a refused credential as an outage, to be tried again without end"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        return SourceUnavailable(str(error)) if isinstance(error, CredentialsRejected) else error


@caught_by(TOLD, "what fits is SourceUnavailable")
class StopsForAnOutage(Good):
    """reports an outage as a mistake of the configuration, which waits for a person"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        return SourceInvalid(str(error)) if answer.status_code >= 500 else error


@caught_by(TOLD, "a secret can be read")
@caught_by("secrets_are_never_shown", "a secret can be read")
class QuotesTheAnswer(Good):
    """quotes the CRM's error page, which holds the secret"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        return error and type(error)(f"{error}: {answer.text}")


@caught_by("secrets_are_never_shown", r"(?s)a secret can be read")
class ShowsItsTokenInTheCause(Good):
    """shows the secret in the cause of an error"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        if error is not None:
            raise error from ConnectionError(f"GET /?token={self.options.token.get_secret_value()}")
        return None


@caught_by("secrets_are_never_shown", "a secret can be read")
class LogsItsToken(Good):
    """logs the secret"""

    def check(self) -> CheckReport:
        logging.getLogger("acme").warning("asking with %s", self.options.token.get_secret_value())
        return super().check()


@caught_by("secrets_are_never_shown", "a secret can be read")
class ReportsItsToken(Good):
    """shows the secret in the report of check"""

    def check(self) -> CheckReport:
        return CheckReport(f"{super().check().summary}, with {self.options.token.get_secret_value()}")


@caught_by("a_silent_crm_is_not_waited_for", "it waits for more than 1.5 seconds")
class HasNoTimeOut(Good):
    """has no time-out"""

    timeout = None


@caught_by("a_silent_crm_is_not_waited_for", "it waits for more than 1.5 seconds")
class HasNoTimeOutForReading(Good):
    """has a time-out for connecting only"""

    timeout = (5, None)


@caught_by("a_busy_crm_is_obeyed", "retry_after is None")
class IgnoresRetryAfter(Good):
    """does not pass on how long the CRM asks to wait"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        return SourceUnavailable(str(error)) if isinstance(error, SourceUnavailable) else error


@caught_by("a_busy_crm_is_obeyed", "it sleeps for")
@caught_by(TOLD, "it sleeps for")
class SleepsAsLongAsItIsAsked(Good):
    """sleeps as long as the CRM asks, and holds its worker meanwhile"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        if isinstance(error, SourceUnavailable) and error.retry_after:
            time.sleep(error.retry_after)
        return error


@caught_by("requests_are_paced", "requests asked services.pace 0 times")
class RushesAhead(Good):
    """does not ask for its turn before a request"""

    def ask(self, method: str, path: str, query: Mapping[str, Any], body: Any = None) -> tuple[int, Any]:
        pace, self.services.pace = self.services.pace, lambda name="", cost=1: None  # type: ignore[method-assign]
        try:
            return super().ask(method, path, query, body)
        finally:
            self.services.pace = pace  # type: ignore[method-assign]


@caught_by("requests_are_paced", "a spent budget asks to wait")
class TranslatesASpentBudget(Good):
    """loses the time to wait of a spent budget"""

    def ask(self, method: str, path: str, query: Mapping[str, Any], body: Any = None) -> tuple[int, Any]:
        try:
            return super().ask(method, path, query, body)
        except SourceUnavailable as error:
            raise SourceUnavailable(str(error)) from None


@caught_by("credentials_stay_with_their_host", "a secret can be read")
class FollowsRedirectsWithItsToken(Good):
    """sends the secret to the host of a redirect"""

    redirects = True

    def ask(self, method: str, path: str, query: Mapping[str, Any], body: Any = None) -> tuple[int, Any]:
        self.session.headers["X-Token"] = self.options.token.get_secret_value()
        return super().ask(method, path, query, body)


@caught_by("credentials_stay_with_their_host", "when the CRM redirects to another host, it raises nothing")
class BelievesEveryHost(Good):
    """takes the answer of another host for the CRM's"""

    redirects = True

    def status(self, generation: int | None = None) -> Any:
        return {"newest": None, "people": 0, "generation": 1} | super().status(generation)

    def listed(self, answer: Any, name: str) -> list[Any]:
        return answer.get(name, [])  # type: ignore[no-any-return]


@caught_by("closing_is_harmless", "session")
class ClosesOnlyOnce(Good):
    """cannot be closed twice"""

    def close(self) -> None:
        super().close()
        del self.session


@caught_by("closing_is_harmless", "opened")
class ClosesWhatItNeverOpened(Good):
    """cannot be closed before its first use"""

    def ask(self, method: str, path: str, query: Mapping[str, Any], body: Any = None) -> tuple[int, Any]:
        self.opened = True
        return super().ask(method, path, query, body)

    def close(self) -> None:
        assert self.opened
        super().close()


@caught_by("closing_releases_everything", "more files or connections are open")
class LeavesItsConnectionOpen(Good):
    """does not close its connection"""

    def close(self) -> None:
        pass


@caught_by("closing_releases_everything", "more files or connections are open")
class LeavesAFileOpen(Good):
    """does not close a file"""

    def check(self) -> CheckReport:
        self.file = open(__file__)  # noqa: PTH123, SIM115 - that is its fault
        return super().check()
