"""A real CardDAV server, Radicale, in a process of its own, and what its users do with an address book."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from xml.etree.ElementTree import Element, SubElement, tostring

from crm_adapters.testing import SampleContact
from tests.adapters.carddav import CARD, DAV
from tests.harness import until

USER, PASSWORD = "ann", "a password: for/tests"
SETTINGS = """
[server]
hosts = 127.0.0.1:{port}
[auth]
type = htpasswd
htpasswd_filename = {folder}/users
htpasswd_encryption = plain
delay = 0
[storage]
filesystem_folder = {folder}/collections
[logging]
level = critical
"""


def card(contact: SampleContact, **more: str) -> str:
    """A vCard as address books write it."""
    lines = {"UID": contact.external_id.removesuffix(".vcf"), "FN": contact.full_name, "N": contact.full_name}
    lines |= {"TEL;TYPE=CELL": contact.phone, "EMAIL;TYPE=HOME": contact.email} | more
    escaped = {name: re.sub(r"([\\,;])", r"\\\1", value) for name, value in lines.items()}
    shown = "".join(f"{name}:{value}\r\n" for name, value in escaped.items() if value or name in ("FN", "N"))
    return f"BEGIN:VCARD\r\nVERSION:3.0\r\n{shown}END:VCARD\r\n"


@dataclass(frozen=True, slots=True)
class AddressBook:
    """One address book. Cards have the file names that their users chose."""

    url: str
    folder: Path

    def create(self) -> None:
        root = Element(f"{DAV}mkcol")
        kinds = SubElement(SubElement(SubElement(root, f"{DAV}set"), f"{DAV}prop"), f"{DAV}resourcetype")
        SubElement(kinds, f"{DAV}collection")
        SubElement(kinds, f"{CARD}addressbook")
        self._ask("MKCOL", "", tostring(root))

    def fill(self, contacts: Iterable[SampleContact]) -> None:
        """Import cards, as a file with all of them. It replaces what was there; a card is named by its UID."""
        self._ask("PUT", "", "".join(map(card, contacts)).encode())

    def put(self, contact: SampleContact, **more: str) -> str:
        """Save a card, and return its file name."""
        name = contact.external_id.removesuffix(".vcf") + ".vcf"
        self._ask("PUT", name, card(contact, **more).encode())
        return name

    def delete(self, name: str) -> None:
        self._ask("DELETE", name)

    def move(self, name: str, to: AddressBook) -> None:
        self._ask("MOVE", name, headers={"Destination": to.url + name})

    def remove(self) -> None:
        self._ask("DELETE", "")

    def forget_tokens(self) -> None:
        """Lose the sync tokens, as the server does after a month or with its cache."""
        shutil.rmtree(self.folder / ".Radicale.cache")

    def _ask(self, method: str, name: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> None:
        credential = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        all_headers = {"Authorization": f"Basic {credential}", "Content-Type": "text/vcard"} | (headers or {})
        request = urllib.request.Request(self.url + name, body, all_headers, method=method)
        with urllib.request.urlopen(request, timeout=60):
            pass


@dataclass(frozen=True, slots=True)
class RadicaleServer:
    url: str
    folder: Path

    def book(self, name: str) -> AddressBook:
        """A new address book."""
        made = AddressBook(f"{self.url}/{USER}/{name}/", self.folder / "collections/collection-root" / USER / name)
        made.create()
        return made

    def responds(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/.web/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


@contextmanager
def radicale(folder: Path) -> Iterator[RadicaleServer]:
    with closing(create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    (folder / "users").write_text(f"{USER}:{PASSWORD}\n", encoding="utf-8")
    (folder / "settings").write_text(SETTINGS.format(port=port, folder=folder), encoding="utf-8")
    command = [sys.executable, "-m", "radicale", "--config", str(folder / "settings")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = RadicaleServer(f"http://127.0.0.1:{port}", folder)
        until("Radicale", server.responds)
        yield server
    finally:
        process.kill()
        process.wait()
