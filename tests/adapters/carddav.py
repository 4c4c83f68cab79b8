"""An adapter for address books on a CardDAV server (RFC 6352), as somebody outside of this project would write it.

The server speaks XML and tells changes by a sync token (RFC 6578). One request gets the addresses of all cards that
changed since a token, further ones get the cards themselves, some at a time. So memory holds the addresses of a
listing, and one page of cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError, SubElement, tostring

import vobject
from defusedxml.ElementTree import fromstring
from pydantic import BaseModel, ConfigDict, Field

from config.fields import FieldMapping
from config.types import HttpUrl, Secret
from crm_adapters.base import (
    Adapter,
    AdapterError,
    CheckReport,
    ContactChange,
    CrmField,
    Cursor,
    CursorExpired,
    Page,
    Removals,
    Services,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
)
from crm_adapters.http import ApiReply, BasicAuth, HttpApi

DAV, CARD = "{DAV:}", "{urn:ietf:params:xml:ns:carddav}"
FIELDS = [
    CrmField("name", "Name", "text"),
    CrmField("given_name", "Given name", "text"),
    CrmField("family_name", "Family name", "text"),
    CrmField("mobile", "Mobile", "phone"),
    CrmField("home", "Home phone", "phone"),
    CrmField("work", "Work phone", "phone"),
    CrmField("phone", "Other phone", "phone"),
    CrmField("fax", "Fax", "phone"),
    CrmField("email", "Email", "email"),
    CrmField("organization", "Organization", "text"),
    CrmField("title", "Title", "text"),
    CrmField("birthday", "Birthday", "date"),
    CrmField("city", "City", "text"),
    CrmField("country", "Country", "text"),
    CrmField("categories", "Categories", "text"),
    CrmField("note", "Note", "text"),
]
LINES = {
    "fn": "name",
    "org": "organization",
    "title": "title",
    "bday": "birthday",
    "categories": "categories",
    "note": "note",
}
PHONES = {"FAX": "fax", "CELL": "mobile", "HOME": "home", "WORK": "work"}
"""The TYPE of a phone number and its field; the first one that fits."""


class CardDavOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: HttpUrl = Field(description="The address of the address book, such as https://dav.example.test/ann/contacts/.")
    user: str = Field(description="The user who may read it.")
    password: Secret = Field(description="The user's password, or an app password.")


class CardDavAdapter(Adapter):
    """Cards of one address book. A card that is moved to another address book counts as deleted."""

    name: ClassVar[str] = "carddav"
    summary: ClassVar[str] = "An address book on a CardDAV server."
    Options: ClassVar[type[BaseModel]] = CardDavOptions
    removals: ClassVar[Removals] = Removals.REPORTED
    page_size: ClassVar[int] = 100
    usual: ClassVar[FieldMapping] = FieldMapping(
        phone=("mobile", "home", "work", "phone"), full_name=("name",), email=("email",)
    )

    options: CardDavOptions

    def __init__(self, options: CardDavOptions, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        auth = BasicAuth(self.options.user, self.options.password)
        self._api = HttpApi("CardDAV", self.options.url, auth, self.services, judge=judged, parse=multistatus)

    def check(self) -> CheckReport:
        (book, *_others) = self._ask("PROPFIND", _request("propfind", f"{DAV}resourcetype"), "0").items("responses")
        if not book["is_address_book"]:
            raise SourceInvalid("CardDAV: there is no address book at the address in `url`; copy it from your client")
        return CheckReport("CardDAV responds")

    def describe(self) -> Sequence[CrmField]:
        self.check()
        return FIELDS

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the cards that changed since a token.

        The cursor of an interrupted run is the token that it began with, the address of its last card, and the token
        for the next run: the one that came first, so that whatever changed meanwhile is read once more.
        """
        place = cursor or {"token": ""}
        if "until" in place:  # if it has expired, the rest would be read in vain
            self._ask("REPORT", _sync(place["until"]))
        found = self._ask("REPORT", _sync(place["token"]))
        changed = sorted(found.items("responses"), key=lambda one: str(one["href"]))
        following = place.get("until") or found.at("token")
        if not following or any(one["status"] == 507 for one in changed):
            raise SourceInvalid("CardDAV: this server tells its changes in parts or without a token, which is not read")
        left = [one for one in changed if one["href"] > place.get("after", "")]
        for start in range(0, len(left), self.page_size):
            some = left[start : start + self.page_size]
            after = some[-1]["href"]
            until = {"token": following}
            at = until if after == left[-1]["href"] else {"token": place["token"], "until": following, "after": after}
            yield Page([*self._changes(some, is_listing=not place["token"])], at)
        if not left:
            yield Page([], {"token": following})

    def close(self) -> None:
        self._api.close()

    def _changes(
        self, some: Sequence[dict[str, Any]], *, is_listing: bool
    ) -> Iterator[ContactChange | UnreadableRecord]:
        asked = [one["href"] for one in some if one["status"] != 404]
        cards = {one["href"]: one for one in self._cards(asked)} if asked else {}
        if missing := set(asked) - cards.keys():
            raise SourceUnavailable(
                f"CardDAV leaves out {len(missing)} of the {len(asked)} cards that were asked for; the next run tries"
                " again"
            )
        for one in some:
            external_id = card_id(one["href"])
            card = cards.get(one["href"], one)
            if card["status"] != 404:
                yield change_of(external_id, card["card"])
            elif not is_listing:
                yield ContactChange(external_id, {}, deleted=True)

    def _cards(self, hrefs: Sequence[str]) -> list[Any]:
        body = _request(f"{CARD}addressbook-multiget", f"{CARD}address-data")
        for href in hrefs:
            SubElement(body, f"{DAV}href").text = href
        return self._ask("REPORT", body).items("responses")

    def _ask(self, method: str, body: Element, depth: str = "1") -> ApiReply:
        headers = {"Content-Type": "application/xml; charset=utf-8", "Depth": depth}
        return self._api.search("", tostring(body), method=method, headers=headers)


def card_id(href: str) -> str:
    """The name of a card in its address book. Deletions tell no other id."""
    return unquote(href.rstrip("/").rpartition("/")[2])


def change_of(external_id: str, text: str | None) -> ContactChange | UnreadableRecord:
    where = f"card {external_id}"
    try:
        return ContactChange(external_id, properties_of(text or ""), where=where)
    except (vobject.base.VObjectError, ValueError, AttributeError, TypeError) as error:
        reason = f"This card cannot be read ({type(error).__name__}); open it in the address book and save it again"
        return UnreadableRecord(external_id, reason, where)


def properties_of(text: str) -> dict[str, Any]:
    """The fields of a vCard. Of several values of one field, the first counts, or the one that is preferred."""
    card = vobject.readOne(text)
    if card is None or card.name != "VCARD":
        raise ValueError("this is no card")
    found: dict[str, Any] = {field.name: None for field in FIELDS}
    for line in card.lines():
        name = line.name.lower()
        if name in LINES and not found[LINES[name]]:
            found[LINES[name]] = joined(line.value)
        elif name == "n":
            found |= {"given_name": joined(line.value.given), "family_name": joined(line.value.family)}
        elif name == "adr" and not found["city"]:
            found |= {"city": joined(line.value.city), "country": joined(line.value.country)}
        elif name in ("tel", "email"):
            kinds = {kind.upper() for kind in line.params.get("TYPE", ())}
            fits = (field for kind, field in PHONES.items() if kind in kinds)
            field = next(fits, "phone") if name == "tel" else "email"
            if not found[field] or "PREF" in kinds:
                found[field] = joined(line.value).removeprefix("tel:")
    return found


def joined(value: Any) -> str:
    return ";".join(map(str, value)) if isinstance(value, list) else str(value)


def multistatus(body: bytes) -> dict[str, Any] | None:
    """The parts of a WebDAV response that the adapter reads. Raises ValueError for anything else."""
    if not body.strip():
        return None
    try:
        root = fromstring(body)
    except ParseError as error:
        raise ValueError("not XML") from error
    if root.tag == f"{DAV}error":
        return {"condition": [one.tag.removeprefix(DAV) for one in root]}
    if root.tag != f"{DAV}multistatus":
        raise ValueError("not a response of WebDAV")
    return {"token": root.findtext(f"{DAV}sync-token"), "responses": [*map(_response, root.iter(f"{DAV}response"))]}


def judged(reply: ApiReply) -> AdapterError | None:
    if "valid-sync-token" in reply.at("condition", ()):
        return CursorExpired("CardDAV no longer knows the sync token; all cards are read again")
    return None


def _response(one: Element) -> dict[str, Any]:
    status = re.search(r" (\d{3})\b", one.findtext(f"{DAV}status") or " 200")
    return {
        "href": one.findtext(f"{DAV}href") or "",
        "status": int(status[1]) if status else 0,
        "card": one.findtext(f".//{CARD}address-data"),
        "is_address_book": one.find(f".//{DAV}resourcetype/{CARD}addressbook") is not None,
    }


def _request(name: str, *properties: str) -> Element:
    root = Element(name if name.startswith("{") else DAV + name)
    wanted = SubElement(root, f"{DAV}prop")
    for one in properties:
        SubElement(wanted, one)
    return root


def _sync(token: str) -> Element:
    root = _request("sync-collection", f"{DAV}getetag")
    SubElement(root, f"{DAV}sync-token").text = token
    SubElement(root, f"{DAV}sync-level").text = "1"
    return root
