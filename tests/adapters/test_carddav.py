"""An adapter for an API that is not JSON, written outside of this project, against a real CardDAV server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.fields import FieldMapping
from crm_adapters.base import SourceInvalid
from crm_adapters.testing import AdapterConformance, SampleContact, ScriptedProxy
from crm_adapters.testing.samples import contact, contacts
from tests.adapters.real_systems import synced, with_adapter
from tests.harness import Fleet

pytest.importorskip("radicale", reason="Radicale, a CardDAV server, is not installed")

from tests.adapters.carddav import CardDavAdapter, CardDavOptions, properties_of
from tests.adapters.radicale_server import PASSWORD, USER, AddressBook, RadicaleServer, radicale

PEOPLE = int(os.environ.get("VTSYNC_TEST_CARDS", "60"))
"""How many people the address book of the sync has. ``pytest -s`` shows what each run took."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RadicaleServer]:
    with radicale(tmp_path_factory.mktemp("radicale")) as running:
        yield running


def adapter_of(url: str) -> CardDavAdapter:
    options = CardDavOptions(url=url, user=USER, password=SecretStr(PASSWORD))
    return CardDavAdapter(options, FieldMapping())


class TestCardDav(AdapterConformance):
    labels = {"mobile": "Mobile"}
    numbers = count()

    @pytest.fixture(autouse=True)
    def _server(self, server: RadicaleServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        monkeypatch.setattr(CardDavAdapter, "page_size", 3)

    def make_source(self, folder: Path) -> AddressBook:
        return self.server.book(f"book{next(self.numbers)}")

    def put(self, source: AddressBook, contact: SampleContact) -> str:
        return source.put(contact)

    def put_all(self, source: AddressBook, contacts: Iterable[SampleContact]) -> list[str]:
        everyone = list(contacts)
        if any(source.folder.glob("*.vcf")):
            return [self.put(source, one) for one in everyone]
        source.fill(everyone)
        return [f"{one.external_id}.vcf" for one in everyone]

    def delete(self, source: AddressBook, external_id: str) -> None:
        source.delete(external_id)

    def adapter(self, source: AddressBook) -> CardDavAdapter:
        return adapter_of(self.url(source))

    def upstream(self, source: AddressBook) -> str:
        return source.url

    def break_source(self, source: AddressBook) -> None:
        source.remove()

    def secrets(self, source: AddressBook) -> tuple[str, ...]:
        return (PASSWORD,)

    def put_unreadable(self, source: AddressBook) -> None:
        source.put(replace(contact(90), full_name="Odd"))
        self._proxy(source).edit(lambda body: body.replace(b"FN:Odd", b"FN;:Odd\r\nBEGIN:"))

    def expire(self, source: AddressBook) -> None:
        source.forget_tokens()
        source.put(contact(95))  # with the same cards, the same token would be known again


LINES = {
    "TEL;TYPE=CELL,PREF:1": {"mobile": "1"},
    "TEL;TYPE=WORK;TYPE=FAX:1": {"fax": "1"},
    "TEL:1": {"phone": "1"},
    "TEL;TYPE=CELL:1\r\nTEL;TYPE=CELL:2": {"mobile": "1"},
    "TEL;TYPE=CELL:1\r\nTEL;TYPE=CELL,PREF:2": {"mobile": "2"},
    "TEL;TYPE=CELL;VALUE=uri:tel:+1": {"mobile": "+1"},
    "item1.EMAIL:ann@example.com": {"email": "ann@example.com"},
    "N:Lee;Ann,Maria;;;": {"family_name": "Lee", "given_name": "Ann;Maria"},
    "ORG:Corp;Sales": {"organization": "Corp;Sales"},
    "CATEGORIES:a,b": {"categories": "a;b"},
    "ADR;TYPE=HOME:;;Street 1;Bonn;;53111;Germany": {"city": "Bonn", "country": "Germany"},
    "NOTE:one\\, two\\nthree": {"note": "one, two\nthree"},
    "X-OTHER:1": {},
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_a_card_are_fields(line: str) -> None:
    found = properties_of(f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ann\r\n{line}\r\nEND:VCARD\r\n")
    assert {name: value for name, value in found.items() if value and name != "name"} == LINES[line]


@pytest.mark.parametrize(
    ("address", "said"), [("/", "no address book"), (f"/{USER}/", "no address book"), (f"/{USER}/x/", "nothing at")]
)
def test_another_address_is_refused(server: RadicaleServer, address: str, said: str) -> None:
    adapter = adapter_of(server.url + address)
    with pytest.raises(SourceInvalid, match=said):
        adapter.check()
    adapter.close()


def test_changes_in_parts_are_refused(server: RadicaleServer) -> None:
    book = server.book("parts")
    book.put(contact(1))
    with ScriptedProxy(book.url) as proxy:
        proxy.edit(
            lambda body: body.replace(b"<propstat>", b"<status>HTTP/1.1 507 Insufficient Storage</status><propstat>")
        )
        adapter = adapter_of(proxy.url)
        with pytest.raises(SourceInvalid, match="in parts"):
            list(adapter.pull(None))
        adapter.close()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    (tmp_path / "password").write_text(PASSWORD)
    with with_adapter(tmp_path, monkeypatch, "carddav", "tests.adapters.carddav:CardDavAdapter") as running:
        yield running


def test_a_sync_reads_what_changed_and_nothing_else(server: RadicaleServer, made: Fleet) -> None:
    book, archive = server.book("people"), server.book("archive")
    people = contacts(PEOPLE)
    book.fill(people)
    with ScriptedProxy(book.url) as proxy:
        made.configure(
            f"""
[connections.cards]
adapter = "carddav"
account = "main"
default_region = "US"
options = {{ url = "{proxy.url}", user = "{USER}", password = {{ file = "password" }} }}
"""
        )
        first = synced(made, proxy)
        assert (first["seen"], first["added"], first["created"]) == (PEOPLE, PEOPLE, PEOPLE)
        assert first["requests"] == 1 + -(-PEOPLE // CardDavAdapter.page_size)

        nothing = synced(made, proxy)
        assert (nothing["seen"], nothing["requests"]) == (0, 1)

        changed = [replace(one, full_name=f"New {one.full_name}") for one in people[:10]]
        merged = [replace(one, email=f"merged-{one.email}") for one in people[10:12]]
        for one in (*changed, *merged):
            book.put(one)
        for gone in people[20:22]:  # their cards were merged into those of two others
            book.delete(f"{gone.external_id}.vcf")
        book.delete(f"{people[30].external_id}.vcf")
        book.move(f"{people[40].external_id}.vcf", archive)
        some = synced(made, proxy)
        assert (some["seen"], some["changed"], some["removed"], some["unchanged"]) == (16, 12, 4, 0)
        assert (some["updated"], some["requests"]) == (12, 2)
        assert some["bytes"] < first["bytes"] / 2

        known = {one["phoneNumber"]: one for one in made.sandbox.contacts()}
        for one in changed:
            assert known[one.phone]["fullName"] == one.full_name
        for one in merged:
            assert known[one.phone]["email"] == one.email
        assert len(known) == PEOPLE  # a contact outlives its record

        book.forget_tokens()
        book.put(replace(people[50], full_name="Last"))
        again = synced(made, proxy)
        assert (again["seen"], again["changed"], again["removed"]) == (PEOPLE - 4, 1, 0)
