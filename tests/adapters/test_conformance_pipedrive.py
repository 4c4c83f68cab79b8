"""The Pipedrive adapter keeps the promises that every adapter makes: with notes and with activities."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.fields import FieldMapping
from crm_adapters.base import CrmMessage
from crm_adapters.pipedrive.adapter import PipedriveAdapter
from crm_adapters.pipedrive.options import PipedriveOptions
from crm_adapters.testing import AdapterConformance, SampleContact, WritesConformance
from crm_adapters.testing.samples import contacts
from tests.adapters.pipedrive_crm import DO_NOT_TEXT, Pipedrive


def person_of(contact: SampleContact) -> dict[str, Any]:
    phones = [{"value": contact.phone, "primary": True, "label": "mobile"}] if contact.phone else []
    emails = [{"value": contact.email, "primary": True, "label": "work"}] if contact.email else []
    return {"name": contact.full_name, "phones": phones, "emails": emails}


def message_of(body: str, at: datetime) -> CrmMessage:
    """Return the text that a note or an activity holds."""
    head, text, *media, mark = re.findall(r"<p>(.*?)</p>", body, re.DOTALL)
    what, sender, receiver = re.fullmatch(r"Text (received|sent) from (\S+) to (\S+)", unescape(head)).groups()  # type: ignore[union-attr]
    plain = unescape(text.replace("<br>", "\n")).replace("\xa0", " ")
    links = tuple(unescape(re.sub("<[^>]*>", "", one)) for one in media)
    message_id = mark.removeprefix("[vtsync ").removesuffix("]")
    return CrmMessage(message_id, "in" if what == "received" else "out", at, plain, links, sender, receiver)


class TestPipedrive(AdapterConformance, WritesConformance):
    """Persons and deals. Texts become notes."""

    flag = DO_NOT_TEXT
    labels: Mapping[str, str] = {DO_NOT_TEXT: "Do not text", "phone": "Phone"}
    references: Mapping[str, str] = {"owner": "Sam Seller"}
    events_sign_the_body = False
    large = 4000
    options: Mapping[str, Any] = {}
    lists_deleted = False

    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PipedriveAdapter, "page_size", 20)

    def make_source(self, folder: Path) -> Pipedrive:
        return Pipedrive(lists_deleted=self.lists_deleted)

    def make_large_source(self, folder: Path, count: int) -> Pipedrive:
        PipedriveAdapter.page_size = 500  # as it is outside of the tests
        source = self.make_source(folder)
        self.put_at(source, contacts(count), datetime.now(UTC))
        return source

    def close_source(self, source: Pipedrive) -> None:
        source.close()

    def put(self, source: Pipedrive, contact: SampleContact) -> str:
        return self.put_at(source, [contact], datetime.now(UTC))[0]

    def put_at(self, source: Pipedrive, contacts: Iterable[SampleContact], moment: datetime) -> list[str]:
        known = source.records["persons"]
        return [
            str(
                source.put(
                    "persons",
                    person_of(one),
                    number=int(one.external_id) if int(one.external_id) in known else 0,
                    at=moment,
                )
            )
            for one in contacts
        ]

    def put_deal(self, source: Pipedrive, person: str | None) -> str:
        deal = {"title": "Boat", "value": 12.5, "status": "open", "stage_id": 5}
        return f"deal:{source.put('deals', deal | {'person_id': int(person) if person else None})}"

    def delete(self, source: Pipedrive, external_id: str) -> None:
        objects = "deals" if external_id.startswith("deal:") else "persons"
        source.delete(objects, int(external_id.removeprefix("deal:")))

    def adapter(self, source: Pipedrive) -> PipedriveAdapter:
        options = PipedriveOptions(
            token=SecretStr("pd-51f9c0"),
            api_url=self.url(source),
            deals=True,
            webhook_password=SecretStr("hook-77aa"),
            **self.options,
        )
        return PipedriveAdapter(options, FieldMapping())

    def upstream(self, source: Pipedrive) -> str:
        return source.url

    def break_source(self, source: Pipedrive) -> None:
        source.token = "another"

    def secrets(self, source: Pipedrive) -> tuple[str, ...]:
        return ("pd-51f9c0", "hook-77aa")

    def event(self, source: Pipedrive) -> tuple[dict[str, str], bytes]:
        credential = base64.b64encode(b"vtsync:hook-77aa").decode()
        return {"authorization": f"Basic {credential}"}, b'{"meta": {"action": "change", "entity": "person"}}'

    def logged(self, source: Pipedrive, external_id: str) -> list[CrmMessage]:
        if not external_id.isdecimal():
            return []
        notes = [one for one in source.notes if one["person_id"] == int(external_id)]
        return [
            message_of(one["content"], datetime.fromisoformat(one["add_time"]).replace(tzinfo=UTC)) for one in notes
        ]

    def do_not_text(self, source: Pipedrive, external_id: str) -> bool | None:
        chosen = source.records["persons"][int(external_id)]["custom_fields"].get(DO_NOT_TEXT)
        return {31: True, 32: False, None: None}[chosen]


class TestPipedriveActivities(WritesConformance):
    """Texts become activities, and lists hold deleted records, too."""

    flag = DO_NOT_TEXT
    options: Mapping[str, Any] = {"log_as": "activity"}
    lists_deleted = True
    make_source, close_source, adapter = TestPipedrive.make_source, TestPipedrive.close_source, TestPipedrive.adapter
    put, put_at, delete, upstream = (
        TestPipedrive.put,
        TestPipedrive.put_at,
        TestPipedrive.delete,
        TestPipedrive.upstream,
    )
    break_source, secrets, do_not_text = TestPipedrive.break_source, TestPipedrive.secrets, TestPipedrive.do_not_text

    def logged(self, source: Pipedrive, external_id: str) -> list[CrmMessage]:
        found = [one for one in source.records["activities"].values() if str(one["person_id"]) == external_id]
        assert all(one["done"] is True for one in found)
        return [
            message_of(one["note"], datetime.fromisoformat(f"{one['due_date']}T{one['due_time']}+00:00"))
            for one in found
        ]
