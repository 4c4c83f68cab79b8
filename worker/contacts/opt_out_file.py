"""Reads a list of opt-outs of another system: CSV (any delimiter and encoding) or Excel, with or without a header.

Whoever must not be texted is not left out because a cell is not understood: an unreadable date or status makes an
opt-out as of now, and is named. Only a row without a usable phone number cannot become one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import chain
from pathlib import Path

from config.fields import FieldMapping
from crm_adapters.base import AdapterError
from crm_adapters.csv.files import find_files, open_export, readable
from crm_adapters.csv.layout import open_rows
from crm_adapters.csv.options import CsvOptions
from crm_adapters.csv.rows import Damage
from crm_adapters.csv.text import is_separator_line
from crm_adapters.fields import find_columns, fold
from worker.core.phones import Phone, parse_phone
from worker.core.times import plausible
from worker.policy.answers import Meaning, forbids_texts, meaning_of
from worker.triggers.date_text import read_date

LONGEST_CELL = 200
"""Characters of a reason that are kept."""

_PHONES = """
    to tonumber from fromnumber recipient destination destinationnumber address number msisdn customernumber endpoint
    subscriber phonee164 e164 optedoutnumber
""".split()
"""Names of the phone column in exports of texting services, beside the usual ones of CRMs."""
_DATES = """
    since optedoutat optoutat optedouton optoutdate dateoptedout optouttime optouttimestamp optedouttimestamp
    optoutdatetime unsubscribedat unsubscribedon unsubscribedate unsubscribeddate dateunsubscribed
    unsubscribetime revokedat stoppedat smsoptoutdate smsunsubscribedat smsconsenttimestamp smsconsentupdatedat
    consentupdatedat blockedat suppressedat
    date datetime timestamp time dateutc createdat datecreated creationdate created updatedat dateupdated lastupdated
    fecha dateheure data eventtime eventdate
""".split()
_SOURCES = "source optoutsource optedoutvia method optoutmethod channel via origin".split()
_REASONS = "reason optoutreason detail details keyword optoutkeyword note notes comment message body text".split()
_FLAGS = """
    optedout optout isoptedout smsoptout smsoptedout textoptout unsubscribed isunsubscribed smsunsubscribed donottext
    donotsms donotcontact blocked isblocked blacklisted suppressed stop stopped dnc dnt dnd
""".split()
"""Columns that say yes for an opt-out."""
_CONSENTS = """
    consent smsconsent smsmarketingconsent marketingconsent subscribed issubscribed smssubscribed optedin optin smsoptin
    acceptssms acceptssmsmarketing acceptsmarketing canreceivesms
""".split()
"""Columns that say no for an opt-out."""
_STATUSES = """
    status smsstatus subscriptionstatus smssubscriptionstatus optoutstatus optstatus state action event eventtype type
""".split()
_STARTS = frozenset({"start", "unstop", "resubscribe", "resubscribed", "optedbackin", "optinagain"})
_STOPS = frozenset(
    """
    stop stopall unsubscribe unsubscribed cancel end quit revoke optout optedout blocked suppressed revoked stopped
    """.split()
)


class UnusableOptOutFile(ValueError):
    """The file holds no list of opt-outs. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ListedOptOut:
    """One number of the list. ``since`` is None if the list does not say, or says nothing that can be understood."""

    place: str
    since: datetime | None
    source: str
    reason: str

    def as_detail(self, file: str) -> str:
        """Return what the proof says: where it stood, and what the file says about it."""
        parts = [f"{name} {text}" for name, text in (("source:", self.source), ("reason:", self.reason)) if text]
        return "; ".join([f"{file}, {self.place}", *parts])


@dataclass(slots=True)
class OptOutFile:
    """What a file says. ``unusable`` and ``doubtful`` rows: (place, why). ``opted_in``: numbers that may be texted."""

    opt_outs: dict[str, ListedOptOut] = field(default_factory=dict)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    doubtful: list[tuple[str, str]] = field(default_factory=list)
    opted_in: int = 0


@dataclass(frozen=True, slots=True)
class _Columns:
    phone: int
    date: int | None = None
    source: int | None = None
    reason: int | None = None
    flag: int | None = None
    consent: int | None = None
    status: int | None = None


def read_opt_out_file(path: Path, region: str | None, now: datetime, phone_column: str | None = None) -> OptOutFile:
    """Read a list. ``region`` is the country of numbers without a country code, and decides how dates are written.

    Raises UnusableOptOutFile.
    """
    if not path.is_file():
        raise UnusableOptOutFile(f"there is no file {path}")
    try:
        with readable():
            return _Reader(path, region, now, phone_column).read()
    except AdapterError as error:
        raise UnusableOptOutFile(str(error)) from error


class _Reader:
    def __init__(self, path: Path, region: str | None, now: datetime, phone_column: str | None) -> None:
        self._path, self._region, self._now, self._phone_column = path, region, now, phone_column
        self._region = region
        self._found = OptOutFile()
        self._outs: dict[str, list[ListedOptOut]] = defaultdict(list)
        self._ins: dict[str, list[datetime | None]] = defaultdict(list)

    def read(self) -> OptOutFile:
        (export,) = find_files((self._path.absolute(),))
        options = CsvOptions(path=(self._path.absolute(),), short_last_row=True)
        with open_export(export) as file:
            _encoding, _delimiter, rows = open_rows(file, export, options, {})
            unit = "row" if export.is_workbook else "line"
            filled = (
                (f"{unit} {last}", cells)
                for _first, last, cells in rows
                if isinstance(cells, Damage) or (any(cell.strip() for cell in cells) and not is_separator_line(cells))
            )
            columns, body = self._layout(filled)
            for place, cells in body:
                if isinstance(cells, Damage):
                    self._found.unusable.append((place, cells.reason))
                else:
                    self._row(place, cells, columns)
        for phone, listed in self._outs.items():
            self._decide(phone, listed, self._ins.pop(phone, []))
        self._found.opted_in += len(self._ins)
        return self._found

    def _layout(
        self, rows: Iterator[tuple[str, list[str] | Damage]]
    ) -> tuple[_Columns, Iterable[tuple[str, list[str] | Damage]]]:
        """Return the columns, and the rows after the header. A first row that holds a number is no header."""
        first = next(rows, None)
        if first is None or isinstance(first[1], Damage):
            raise UnusableOptOutFile(f"{self._path} has no rows that can be read; export it as CSV")
        place, cells = first[0], list(first[1])
        numbers = [at for at, cell in enumerate(cells) if isinstance(parse_phone(cell, self._region), Phone)]
        if numbers:
            dates = [at for at, cell in enumerate(cells) if read_date(cell, self._region) is not None]
            date = dates[0] if len(dates) == 1 and dates[0] != numbers[0] else None
            return _Columns(numbers[0], date), chain([(place, cells)], rows)
        return self._named(cells), rows

    def _named(self, header: Sequence[str]) -> _Columns:
        folded = [fold(name) for name in header]

        def find(names: Sequence[str]) -> int | None:
            return next((folded.index(name) for name in names if name in folded), None)

        return _Columns(
            self._find_phone(header, folded),
            find(_DATES),
            find(_SOURCES),
            find(_REASONS),
            find(_FLAGS),
            find(_CONSENTS),
            find(_STATUSES),
        )

    def _find_phone(self, header: Sequence[str], folded: Sequence[str]) -> int:
        shown = ", ".join(f'"{name.strip()}"' for name in header if name.strip())[:300]
        if self._phone_column is not None:
            if fold(self._phone_column) not in folded:
                raise UnusableOptOutFile(f'{self._path} has no column "{self._phone_column}"; it has {shown}')
            return folded.index(fold(self._phone_column))
        usual = find_columns(tuple(header), FieldMapping()).phones
        if usual:
            return list(header).index(usual[0])
        found = [name for name in _PHONES if name in folded]
        if len({"to", "tonumber"} & set(found)) and len({"from", "fromnumber"} & set(found)):
            raise UnusableOptOutFile(
                f"{self._path} has two columns of numbers, and it is not clear which one holds the people; name it with"
                f" --phone-column. There are {shown}"
            )
        if not found:
            raise UnusableOptOutFile(
                f"{self._path} has no column with a usual name for a phone number; name it with --phone-column. There"
                f" are {shown}"
            )
        return folded.index(found[0])

    def _row(self, place: str, cells: Sequence[str], columns: _Columns) -> None:
        def cell(column: int | None) -> str:
            # Not clean_text: "x" and "no" are answers here.
            return cells[column].strip() if column is not None and column < len(cells) else ""

        written = cell(columns.phone)
        phone = parse_phone(written, self._region)
        if not isinstance(phone, Phone):
            hint = "; name the country with --region" if self._region is None and "+" not in written else ""
            self._found.unusable.append((place, f'its phone number "{written[:40]}" {phone.reason}{hint}'))
            return
        since = self._since(place, cell(columns.date))
        readers = ((columns.flag, _flag), (columns.consent, _consent), (columns.status, _status))
        answers = {answer(cell(column)) for column, answer in readers if column is not None}
        if "in" in answers and "out" not in answers:
            self._ins[phone.e164].append(since)
            return
        if answers == {"?"}:
            value = cell(columns.status) or cell(columns.consent)
            self._found.doubtful.append((place, f'its status "{value[:40]}" is not known; it counts as opted out'))
        listed = ListedOptOut(place, since, cell(columns.source)[:LONGEST_CELL], cell(columns.reason)[:LONGEST_CELL])
        self._outs[phone.e164].append(listed)

    def _since(self, place: str, written: str) -> datetime | None:
        if not written:
            return None
        found = read_date(written, self._region)
        if found is not None:
            at = found if isinstance(found, datetime) else datetime.combine(found, time(0))
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
            if plausible(at) and at <= self._now + timedelta(days=1):
                return min(at, self._now)
        self._found.doubtful.append((place, f'its date "{written[:40]}" cannot be read; it counts as opted out now'))
        return None

    def _decide(self, phone: str, listed: Sequence[ListedOptOut], ins: Sequence[datetime | None]) -> None:
        """Keep the oldest opt-out after the last opt-in of the file. Without times, the opt-out counts."""
        last_in = max((at for at in ins if at is not None), default=None)
        counting = [one for one in listed if one.since is None or last_in is None or one.since >= last_in]
        if not counting:
            self._found.opted_in += 1
            return
        self._found.opt_outs[phone] = min(counting, key=lambda one: one.since or self._now)


def _flag(value: str) -> str:
    return "out" if forbids_texts(value) else "in"


def _consent(value: str) -> str:
    """Return "in" or "out"; "?" for a value that is not known."""
    meaning = meaning_of(value)
    if meaning in (Meaning.YES, Meaning.PERMISSION):
        return "in"
    return "out" if meaning in (Meaning.NO, Meaning.REFUSAL) else "?"


def _status(value: str) -> str:
    """Return "in" or "out"; "?" for a value that is not known."""
    word = fold(value)
    if word in _STARTS or meaning_of(value) is Meaning.PERMISSION:
        return "in"
    return "out" if not word or word in _STOPS or meaning_of(value) is Meaning.REFUSAL else "?"
