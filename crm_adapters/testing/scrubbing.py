"""Replaces secrets and personal data in recorded exchanges, each value by the same substitute everywhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from config.redact import is_secret_name
from crm_adapters.base import Adapter, ContactChange
from crm_adapters.fields import fold, is_name_column
from crm_adapters.http.scrub import EMAIL, PHONE

PRIVATE = frozenset(
    """
    address address1 address2 street streetaddress zip zipcode postalcode birthday birthdate dateofbirth dob ssn taxid
    iban note notes comment comments
    """.split()
)
"""Fields whose values are replaced as a whole, in lower case and without punctuation."""

SUBSTITUTE = re.compile(r"person\d+@example\.test|\+?\(?1(?:[ ()./-]{0,2}5){3}[\d ()./-]*\d")
"""An email address or a phone number that a scrubber has made."""

_SHORTEST_WORD = 3  # shorter names are only replaced where they are the whole value
_LINK = re.compile(r"<([^<>]+)>")
_TIME_NUMBER = re.compile(r"1\d{9}(?:\d{3})?")


@dataclass
class PersonalData:
    """What the records of a run say about people. ``ids`` stay as they are, unless they are an email address
    or a phone number."""

    names: set[str] = field(default_factory=set)
    phones: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)

    def learn(self, adapter: Adapter, change: ContactChange) -> None:
        """Add the personal data of a record."""
        ids = (change.external_id, change.person, change.merged_into)
        self.ids.update(one for one in ids if one and not EMAIL.search(one) and not one.startswith("+"))
        fields = adapter.contact_fields(change.properties)
        self.phones.update(text for _name, text in fields.phones)
        found = [fields.full_name]
        for name, value in change.properties.items():
            if isinstance(value, str) and (is_name_column(name) or f"{name}_id" in change.properties):
                found.append(value)
        for text in found:
            self.names.update(part for part in (text.strip(), *text.split()) if part)


class Scrubber:
    """Replaces values. ``secrets`` and the keys of ``replace`` are literal text; ``private`` are names of fields."""

    def __init__(
        self,
        data: PersonalData,
        secrets: Iterable[str] = (),
        private: Iterable[str] = (),
        replace: Mapping[str, str] | None = None,
    ) -> None:
        self._ids = data.ids
        self._private = PRIVATE | {fold(name) for name in private}
        self._substitutes: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._numbers: set[str] = set()
        self._literal = dict(replace or {})
        self._literal |= {secret: self._numbered("hidden", secret) for secret in sorted(secrets) if len(secret) > 3}
        self._literal |= {phone: self._phone(phone) for phone in sorted(data.phones)}
        names = sorted(data.names - self._ids, key=lambda name: (-len(name), name))
        self._names = {name: self._numbered("Name", name, "Name {}") for name in names}
        self._words = _any_of((name for name in names if len(name) >= _SHORTEST_WORD), whole_words=True)
        self._text = _any_of(sorted(self._literal, key=len, reverse=True))

    def value(self, value: Any, name: str = "") -> Any:
        """Return JSON without secrets and personal data. ``name`` is the field that holds it."""
        if isinstance(value, Mapping):
            return {self.text(key): self.value(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, name) for item in value]
        if isinstance(value, str):
            return self._named(value, name)
        if isinstance(value, int) and not isinstance(value, bool) and str(value) in self._literal:
            return int(re.sub(r"\D", "", self._literal[str(value)]) or 0)
        return value

    def url(self, url: str) -> str:
        """Return an address with scrubbed values in its path and query."""
        parts = urlsplit(url)
        path = quote(self.text(unquote(parts.path)), safe="/:@!$&'()*+,;=~")
        query = urlencode(self.pairs(parse_qsl(parts.query, keep_blank_values=True)))
        return urlunsplit(parts._replace(path=path, query=query, fragment=""))

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the parameters of a query or a form, scrubbed."""
        return [(name, self._named(value, name)) for name, value in pairs]

    def header(self, value: str) -> str:
        """Return a header's value, scrubbed. It may hold addresses."""
        return self.text(_LINK.sub(lambda match: f"<{self.url(match[1])}>", value))

    def text(self, text: str) -> str:
        """Return a text, scrubbed."""
        if text in self._ids or (_TIME_NUMBER.fullmatch(text) and text not in self._literal):
            return text
        if text in self._names:
            return self._names[text]
        text = self._text(text, self._literal)
        text = EMAIL.sub(lambda match: self._numbered("email", match[0].casefold(), "person{}@example.test"), text)
        text = PHONE.sub(lambda match: match[0] if match[0] in self._ids else self._phone(match[0]), text)
        return self._words(text, self._names)

    def _named(self, value: str, name: str) -> str:
        if not value or value in self._ids:
            return value
        if is_secret_name(name):
            return self._numbered("hidden", value)
        if fold(name) in self._private:
            return self._numbered("private", value)
        if value.startswith(("http://", "https://")):
            return self.url(value)
        return self.text(value)

    def _phone(self, phone: str) -> str:
        """Return another number of the same length and with the same punctuation. Substitutes stay as they are."""
        if phone in self._numbers:
            return phone
        digits = re.sub(r"\D", "", phone)
        number = self._numbered("phone", digits, "{}").zfill(max(len(digits) - 4, 1))
        fake = iter(f"1555{number}"[: len(digits)])
        made = "".join(next(fake) if character.isdecimal() else character for character in phone)
        self._numbers.add(made)
        return made

    def _numbered(self, kind: str, value: str, form: str = "") -> str:
        key = f"{kind} {value}"
        if key not in self._substitutes:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._substitutes[key] = (form or f"{kind}-{{}}").format(self._counts[kind])
        return self._substitutes[key]


def _any_of(literals: Iterable[str], *, whole_words: bool = False) -> Callable[[str, Mapping[str, str]], str]:
    """Return a function that replaces each of the literals, the longest first."""
    joined = "|".join(re.escape(one) for one in literals)
    if not joined:
        return lambda text, _substitutes: text
    pattern = re.compile(rf"(?<!\w)(?:{joined})(?!\w)" if whole_words else joined)
    return lambda text, substitutes: pattern.sub(lambda match: substitutes[match[0]], text)
