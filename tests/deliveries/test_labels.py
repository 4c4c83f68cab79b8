"""An opt-out is written to the field that the configuration names, also by its label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from config.models import PropertyRule
from crm_adapters.base import Adapter, CheckReport, CrmField, CrmMessage, Cursor, Page, WritesMessages
from tests.deliveries.conftest import Outward, on_sqlite
from tests.inbox.conftest import THEM
from worker.deliveries.crm import write_event
from worker.deliveries.outcome import Delivered
from worker.deliveries.targets import Target


class LabelledCrm(Adapter, WritesMessages):
    """A CRM that shows its fields under labels, and remembers what is written."""

    def __init__(self) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.written: list[tuple[str, str, bool]] = []

    def check(self) -> CheckReport:
        return CheckReport("")

    def describe(self) -> Sequence[CrmField]:
        return [CrmField("f1", "Name"), CrmField("f2", "Do not text")]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        yield Page(())

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        raise AssertionError("nothing is logged here")

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        self.written.append((external_id, field, value))


@on_sqlite
@pytest.mark.parametrize(("named", "written"), [("Do not text", "f2"), ("f2", "f2"), ("other", "other")])
def test_an_opt_out_goes_to_the_field_itself(outward: Outward, named: str, written: str) -> None:
    people = outward.runtime.settings.connections["people"]
    people = people.model_copy(update={"do_not_text": PropertyRule(field=named)})
    outward.runtime.settings = outward.runtime.settings.model_copy(update={"connections": {"people": people}})
    crm = LabelledCrm()
    event: dict[str, Any] = {"type": "contact.opted_out", "data": {"phone": THEM}}
    done = write_event(outward.runtime, crm, Target.from_text("crm:people:1"), "e1", json.dumps(event))
    assert (done, crm.written) == (Delivered(), [("1", written, False)])
