"""Reads a list of consents (CSV or Excel) and puts it into the ledger: `vtsync consents import`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from config.fields import FieldMapping
from crm_adapters.fields import ColumnFinder, clean_text, fold, read
from worker.contacts.contact_file import NamedRow, UnusableFile, table_rows
from worker.core.phones import PhoneProblem, parse_phone
from worker.core.progress import Progress, untold
from worker.messages.consents import LONGEST_WORDS, add_statements, consents_of
from worker.messages.opt_outs import opted_out
from worker.policy.answers import allows_texts
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.triggers.date_text import read_date

DATE_NAMES = ("givenat", "consentdate", "consentat", "dateofconsent", "optindate", "optinat", "optedinat", "date")
WORDS_NAMES = ("words", "how", "proof", "source", "consentsource", "optinsource", "detail", "note")
ANSWER_NAMES = ("consent", "smsconsent", "optin", "smsoptin", "optedin")
PORTION = 500


@dataclass(frozen=True, slots=True)
class ListedConsent:
    """One row of the list. ``given_at`` is None if the list does not say when."""

    phone: str
    given_at: datetime | None
    words: str


@dataclass(slots=True)
class ConsentList:
    """The rows of a list that can be used, and the others: (place, reason)."""

    consents: list[ListedConsent] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImportedConsents:
    """How many consents are new, how many were in the ledger before, and which numbers stay opted out."""

    added: int
    known: int
    opted_out: tuple[str, ...]


def read_consent_file(path: Path, region: str | None, now: datetime) -> ConsentList:
    """Read a list with a column for the number, and perhaps for the date, the words and the answer.

    ``region``: the country of numbers without a country code, and of dates such as 03/04/2027. Raises UnusableFile.
    """
    if not path.is_file():
        raise UnusableFile(f"there is no file {path}")
    return read_consents(table_rows(path), region, now)


def read_consents(rows: Iterable[NamedRow], region: str | None, now: datetime) -> ConsentList:
    """Separate the rows of a list that can be used from the others. Pure."""
    found, finder = ConsentList(), ColumnFinder(FieldMapping())
    for place, cells in rows:
        one = cells if isinstance(cells, str) else _consent(cells, finder, region, now)
        if isinstance(one, str):
            found.unusable.append((place, one))
        else:
            found.consents.append(one)
    return found


def import_consents(
    runtime: Runtime, listed: Sequence[ListedConsent], actor: str, progress: Progress = untold
) -> ImportedConsents:
    """Put consents into the ledger. A list that was imported before adds nothing. It lifts no opt-out."""
    added = known = 0
    out: set[str] = set()
    for part in _portions(listed):
        now = utcnow()
        with writing(runtime.engine) as connection:
            phones = {one.phone for one in part}
            out |= opted_out(connection, phones).keys()
            before = {
                (phone, one.given_at, one.words)
                for phone, several in consents_of(connection, phones).items()
                for one in several
                if one.source == "import"
            }
            new = [one for one in dict.fromkeys(part) if (one.phone, one.given_at, one.words) not in before]
            same = {"at": now, "kind": "consent", "answer": "yes", "source": "import", "actor": actor}
            add_statements(
                connection,
                [same | {"phone": one.phone, "given_at": one.given_at, "words": one.words} for one in new],
            )
        added, known = added + len(new), known + len(part) - len(new)
        progress(added + known, len(listed))
    return ImportedConsents(added, known, tuple(sorted(out)))


def _portions(listed: Iterable[ListedConsent]) -> Iterator[list[ListedConsent]]:
    everything = list(listed)
    for start in range(0, len(everything), PORTION):
        yield everything[start : start + PORTION]


def _consent(cells: Mapping[str, Any], finder: ColumnFinder, region: str | None, now: datetime) -> ListedConsent | str:
    """Return the consent of a row, or why it cannot be used."""
    fields = read(finder.of(cells), cells)
    if not fields.phones:
        return "it has no phone number"
    phone = parse_phone(fields.phones[0][1], region)
    if isinstance(phone, PhoneProblem):
        return f'its phone number "{fields.phones[0][1]}" {phone.reason}'
    column, answer = _named(cells, ANSWER_NAMES)
    if column and not allows_texts(answer):
        return f'its column "{column}" says "{answer}", which is no yes'
    column, date = _named(cells, DATE_NAMES)
    given_at = _moment(date, region) if date else None
    if date and given_at is None:
        return f'its column "{column}" has "{date}", which is no certain date; write it like 2027-04-03'
    if given_at is not None and given_at > now:
        return f'its column "{column}" has "{date}", which is in the future'
    words = _named(cells, WORDS_NAMES)[1]
    return ListedConsent(phone.e164, given_at, words.replace("\0", "")[:LONGEST_WORDS])


def _moment(text: str, region: str | None) -> datetime | None:
    found = read_date(text, region)
    if found is None:
        return None
    moment = found if isinstance(found, datetime) else datetime.combine(found, time())
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _named(cells: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, str]:
    """Return the first column with one of these names, and its text; ("", "") if there is none."""
    folded = {fold(name): name for name in reversed(list(cells))}
    column = next((folded[name] for name in names if name in folded), "")
    return column, clean_text(cells[column]) if column else ""
