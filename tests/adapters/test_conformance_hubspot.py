"""The HubSpot adapter keeps the promises that every adapter makes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any, ClassVar

import pytest

from config.fields import FieldMapping
from crm_adapters.base import CrmMessage
from crm_adapters.hubspot import objects
from crm_adapters.hubspot.adapter import HubSpotAdapter
from crm_adapters.testing import AdapterConformance, SampleContact, WritesConformance
from crm_adapters.testing.hooks import Event
from crm_adapters.testing.samples import contacts
from tests.adapters.hubspot_crm import SECRET, TOKEN, HubSpotAccount

CALLED = "https://sync.example.com/crm/hubspot/secret"
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)


def person(contact: SampleContact) -> dict[str, str | None]:
    first, _space, last = contact.full_name.partition(" ")
    values = {"firstname": first, "lastname": last, "mobilephone": contact.phone, "email": contact.email}
    return {name: value or None for name, value in values.items()} | {"hubspot_owner_id": "77"}


def shown_text(html: str) -> str:
    """Return the text that a browser shows for a paragraph."""
    return unescape(html.replace("<br>", "\n")).replace("\xa0", " ")


def logged_texts(account: HubSpotAccount, kind: str, number: str) -> list[CrmMessage]:
    found = []
    for row in account.texts_of(kind, number):
        sent = row.properties
        assert (sent["hs_communication_channel_type"], sent["hs_communication_logged_from"]) == ("SMS", "CRM")
        who, text, *media, mark = _PARAGRAPH.findall(sent["hs_communication_body"] or "")
        way, sender, to = re.fullmatch(r"(\w+) from (\S+) to (\S+)", who).groups()  # type: ignore[union-attr]
        links = tuple(unescape(re.sub("<[^>]*>", "", link)) for link in media)
        at = datetime.fromisoformat(sent["hs_timestamp"] or "")
        direction = "in" if way == "Received" else "out"
        found.append(CrmMessage(mark[8:-1], direction, at, shown_text(text), links, sender, to))
    return found


class TestHubSpot(AdapterConformance, WritesConformance):
    flag = "no_sms"
    late_by = timedelta(minutes=9)
    labels: ClassVar[dict[str, str]] = {"mobilephone": "Mobile phone number", "hubspot_owner": "Contact owner"}
    references: ClassVar[dict[str, str]] = {"hubspot_owner": "Sam Seller"}
    large = 3_000

    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Read in small pages, which is faster: the tests need several."""
        monkeypatch.setattr(objects, "LISTED", 20)
        monkeypatch.setattr(objects, "FOUND", 40)
        monkeypatch.setattr(HubSpotAdapter, "page_size", 40)

    def make_source(self, folder: Path) -> HubSpotAccount:
        account = HubSpotAccount()
        account.serve()
        return account

    def make_large_source(self, folder: Path, count: int) -> HubSpotAccount:
        account = self.make_source(folder)
        self.put_all(account, contacts(count))
        return account

    def close_source(self, source: HubSpotAccount) -> None:
        source.stop()

    def put(self, source: HubSpotAccount, contact: SampleContact) -> str:
        return self.put_at(source, [contact], datetime.now(UTC))[0]

    def put_at(self, source: HubSpotAccount, contacts: Iterable[SampleContact], moment: datetime) -> list[str]:
        known = source.rows["contacts"]
        return [
            source.write("contacts", person(one), one.external_id if one.external_id in known else None, moment)
            for one in contacts
        ]

    def merge(self, source: HubSpotAccount, gone: str, stays: str) -> None:
        source.absorb("contacts", gone, stays)

    def put_deal(self, source: HubSpotAccount, person: str | None) -> str:
        number = source.write("deals", {"dealname": "A new roof", "dealstage": "1001", "pipeline": "default"})
        if person is not None:
            source.link("deals", number, "contacts", person)
        return f"deal:{number}"

    def delete(self, source: HubSpotAccount, external_id: str) -> None:
        kind = "deals" if external_id.startswith("deal:") else "contacts"
        source.delete(kind, external_id.removeprefix("deal:"))

    def upstream(self, source: HubSpotAccount) -> str:
        return source.url

    def adapter(self, source: HubSpotAccount) -> HubSpotAdapter:
        options: dict[str, Any] = {"token": TOKEN, "client_secret": SECRET, "deals": True}
        options |= {"api_url": self.url(source), "webhook_url": CALLED}
        return HubSpotAdapter(HubSpotAdapter.Options.model_validate(options), FieldMapping())

    def break_source(self, source: HubSpotAccount) -> None:
        source.token = "another"

    def secrets(self, source: HubSpotAccount) -> tuple[str, ...]:
        return (TOKEN, SECRET)

    def event(self, source: HubSpotAccount) -> Event:
        body = b'[{"subscriptionType": "contact.propertyChange", "objectId": 501}]'
        return source.sign(CALLED, body), body

    def logged(self, source: HubSpotAccount, external_id: str) -> list[CrmMessage]:
        return logged_texts(source, "contacts", external_id)

    def do_not_text(self, source: HubSpotAccount, external_id: str) -> bool | None:
        value = source.rows["contacts"][external_id].properties.get("no_sms")
        return None if value is None else value == "true"
