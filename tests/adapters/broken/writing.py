"""Broken adapters: what they write to the CRM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import requests

from crm_adapters.base import AdapterError, CrmMessage, RecordGone, SourceInvalid
from tests.adapters.broken.catalogue import caught_by
from tests.adapters.broken.good import Good

AS_IT_IS = "a_text_is_logged_as_it_is"


@caught_by(AS_IT_IS, "was logged instead of")
class CutsLongTexts(Good):
    """cuts long texts"""

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        super().log_message(external_id, replace(message, text=message.text[:160]))


@caught_by(AS_IT_IS, "was logged instead of")
class TidiesTexts(Good):
    """removes spaces from texts"""

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        super().log_message(external_id, replace(message, text=" ".join(message.text.split())))


@caught_by(AS_IT_IS, "was logged instead of")
class LogsAnswersAsSent(Good):
    """logs answers as texts that were sent"""

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        super().log_message(external_id, replace(message, direction="out"))


@caught_by(AS_IT_IS, "the text '' was not logged")
class SkipsEmptyTexts(Good):
    """does not log a text that has pictures only"""

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        if message.text:
            super().log_message(external_id, message)


@caught_by(AS_IT_IS, "the text 'Hello' was not logged")
class WritesToTheFirstRecord(Good):
    """logs to another record"""

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        super().log_message("2", message)


@caught_by("a_text_is_logged_once", "these were logged")
@caught_by("a_write_whose_answer_is_lost_is_repeated_safely", "these were logged")
class LogsTwice(Good):
    """logs a text again when it is called again"""

    def entry(self, message: CrmMessage) -> dict[str, Any]:
        return super().entry(message) | {"id": f"{message.id}-{uuid4()}"}


@caught_by("a_text_is_logged_once", "these were logged: m00000001, m00000001|these were logged")
class RemembersWhatItLogged(Good):
    """knows only in its own process what it has logged"""

    def entry(self, message: CrmMessage) -> dict[str, Any]:
        self.known = getattr(self, "known", {})
        return super().entry(message) | {"id": self.known.setdefault(message.id, f"{message.id}-{uuid4()}")}


@caught_by("opt_outs_are_written_and_taken_back", "after writing False the field is True")
class ForgetsOptIns(Good):
    """does not take an opt-out back"""

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        super().set_do_not_text(external_id, field, True)


@caught_by("opt_outs_are_written_and_taken_back", "another record was changed")
class OptsEverybodyOut(Good):
    """writes an opt-out to more than one record"""

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        for number in ("1", "2"):
            super().set_do_not_text(number, field, value)


@caught_by("opt_outs_are_read_back", "no_sms is 'no' after writing True")
class ReadsOptOutsWrongly(Good):
    """does not read an opt-out that it wrote"""

    def properties(self, row: Any) -> dict[str, Any]:
        return super().properties(row) | {"no_sms": "no"}


@caught_by("a_record_that_is_not_there_is_gone", "raises nothing")
class WritesToNobody(Good):
    """takes a write to a record that is gone for done"""

    def write(self, method: str, external_id: str, rest: str, body: dict[str, Any]) -> None:
        try:
            super().write(method, external_id, rest, body)
        except RecordGone:
            return


@caught_by("a_record_that_is_not_there_is_gone", "not RecordGone")
class BlamesTheConfiguration(Good):
    """takes a record that is gone for a mistake of the configuration"""

    def write(self, method: str, external_id: str, rest: str, body: dict[str, Any]) -> None:
        try:
            super().write(method, external_id, rest, body)
        except RecordGone as error:
            raise SourceInvalid(str(error)) from None


@caught_by("a_record_that_is_not_there_is_gone", "does not name the record")
class DoesNotNameTheRecord(Good):
    """does not say which record is gone"""

    def write(self, method: str, external_id: str, rest: str, body: dict[str, Any]) -> None:
        try:
            super().write(method, external_id, rest, body)
        except RecordGone:
            raise RecordGone("Acme has no such person; nothing was written") from None


@caught_by("writing_to_a_broken_source_is_an_adapter_error", "raises nothing")
@caught_by("each_failure_of_a_write_is_told", "raises nothing")
class WritesInSilence(Good):
    """takes a write that failed for done"""

    def write(self, method: str, external_id: str, rest: str, body: dict[str, Any]) -> None:
        try:
            super().write(method, external_id, rest, body)
        except RecordGone:
            raise
        except AdapterError:
            return


@caught_by("each_failure_of_a_write_is_told", "a secret can be read")
class QuotesTheAnswerToAWrite(Good):
    """quotes the CRM's error page after a write"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        write = answer.request.method != "GET" and answer.status_code != 404
        return type(error)(f"{error}: {answer.text}") if error is not None and write else error


@caught_by("each_failure_of_a_write_is_told", "it raises .*SourceInvalid")
class GivesUpAWriteInAnOutage(Good):
    """reports an outage during a write as a mistake of the configuration"""

    def error(self, answer: requests.Response) -> AdapterError | None:
        error = super().error(answer)
        if answer.request.method != "GET" and answer.status_code >= 429:
            raise SourceInvalid(str(error))
        return error
