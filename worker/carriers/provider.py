"""What a carrier's module has to define: a ``Provider``, and the types that its functions take and return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from config.integrations import Carrier

if TYPE_CHECKING:
    import requests

CarrierStatus: TypeAlias = Literal["sent", "pending", "failed", "received", "other"]


class SignatureInvalid(Exception):
    """The request cannot be shown to come from the carrier. The message is for our log only."""


class CarrierUnavailable(Exception):
    """The carrier's API did not give an answer; the message says why."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as the carrier signed it. ``url`` is the one that the carrier knows; header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    form: tuple[tuple[str, str], ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class CarrierText:
    """One text of a carrier. ``text`` is None if the event does not contain it. Numbers are in the carrier's format.

    ``detail`` is the carrier's code of an error. ``channel`` is the name of a channel that is neither SMS nor MMS, such
    as WhatsApp; see ``worker.carriers.channels``.
    """

    id: str
    status: CarrierStatus
    to_number: str
    from_number: str
    text: str | None = None
    media: tuple[str, ...] = ()
    sent_at: datetime | None = None
    detail: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class OptOutCode:
    """What a carrier's code says about an opt-out of the receiver.

    ``source`` is where the carrier documents it. ``certain`` is False if the code has another meaning, too.
    """

    meaning: str
    source: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class CarrierOptOut:
    """A number that the carrier blocks because its owner wrote STOP. ``keyword``: the word, if the carrier says it."""

    number: str
    since: datetime | None = None
    keyword: str = ""


Verify: TypeAlias = Callable[[Carrier, SignedRequest], None]
"""Checks the signature of a request. Raises SignatureInvalid."""

Parse: TypeAlias = Callable[[Any], list[CarrierText]]
"""Reads the texts out of an event's JSON or form. Raises ValueError if it is not an event of the carrier."""

LookUp: TypeAlias = "Callable[[requests.Session, Carrier, str], CarrierText | None]"
"""Asks the carrier for the text with an id. Raises CarrierUnavailable."""

ListSent: TypeAlias = "Callable[[requests.Session, Carrier, datetime, datetime], Iterator[CarrierText]]"
"""Asks the carrier for the texts that were sent between two times. Raises CarrierUnavailable."""


ListOptOuts: TypeAlias = "Callable[[requests.Session, Carrier], Iterator[CarrierOptOut]]"
"""Asks the carrier for everybody who has opted out. Raises CarrierUnavailable."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One carrier. ``look_up`` and ``list_sent`` are None if its API never returns the content of a text."""

    verify: Verify
    parse: Parse
    needs: tuple[str, ...]
    """The keys of ``[carriers.NAME]`` that ``verify`` needs."""
    look_up: LookUp | None = None
    list_sent: ListSent | None = None
    list_needs: tuple[str, ...] = ()
    """The keys of ``[carriers.NAME]`` that ``list_sent`` needs."""
    opt_out_codes: Mapping[str, OptOutCode] = field(default_factory=dict)
    """The codes, as in ``CarrierText.detail``, of texts that were not sent because their receiver had opted out."""
    signs_fields: bool = False
    """The signature covers the fields of a form or a query instead of the body. Such events may come with GET."""
    challenge: str = ""
    """The ``WWW-Authenticate`` header of the answer to a request whose credentials are wrong."""
    list_opt_outs: ListOptOuts | None = None
    """None if its API has no list of opt-outs."""
