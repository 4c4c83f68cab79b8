"""An adapter that keeps every promise, in small methods that the broken ones override, and the hooks to test both."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from config.fields import FieldMapping
from crm_adapters.base import (
    CONTACT,
    Adapter,
    AdapterError,
    ApiVersion,
    CheckReport,
    ContactChange,
    CredentialsRejected,
    CrmField,
    CrmMessage,
    Cursor,
    CursorExpired,
    Limit,
    ListsIds,
    Page,
    RecordGone,
    Removals,
    Services,
    SourceInvalid,
    SourceUnavailable,
    UnreadableRecord,
    WakesOnEvents,
    WritesMessages,
)
from crm_adapters.testing import AdapterConformance, SampleContact, WritesConformance
from crm_adapters.testing.hooks import Event
from tests.adapters.broken.crm import EVENT_KEY, TOKEN, Crm

TABLES = ("people", "deals")
OVERLAP = timedelta(seconds=10)


class AcmeOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    url: str = Field("", description="The address of the API.")
    token: SecretStr = Field(SecretStr(TOKEN), description="The API token.")
    event_key: SecretStr = Field(SecretStr(EVENT_KEY), description="The key that signs events.")


class Good(Adapter, WritesMessages, ListsIds, WakesOnEvents):
    """Reads each table by id, above a fixed and inclusive bound of time that the CRM gave at the start of the run."""

    name = "acme"
    summary = "A small CRM."
    Options = AcmeOptions
    removals = Removals.REPORTED
    page_size = 5
    kinds = (CONTACT, "deal")
    limits = (Limit("", 1000, timedelta(seconds=1)),)
    api_version = ApiVersion("2026-09", date(2028, 3, 1))

    timeout: ClassVar[Any] = (5, 30)
    redirects: ClassVar[bool] = False

    def __init__(self, options: Any, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        self.session = requests.Session()

    def check(self) -> CheckReport:
        return CheckReport(f"Acme answers, {self.status()['people']} people")

    def describe(self) -> Sequence[CrmField]:
        rows = self.listed(self.get("fields"), "fields")
        return [CrmField(row["name"], row["label"], row["type"], kind=row["kind"]) for row in rows]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        run = dict(cursor) if cursor and "table" in cursor else self.new_run(cursor)
        for table in TABLES[TABLES.index(run["table"]) :]:
            if table != run["table"]:
                run |= {"table": table, "after": 0}
            while rows := self.rows(run):
                run |= self.position(rows)
                yield self.page(run, rows)
        yield Page((), self.end(run))

    def new_run(self, cursor: Cursor | None) -> dict[str, Any]:
        if cursor is None:
            status = self.status()
            return self.run_with(status, None, status["generation"])
        return self.run_with(self.status(cursor["generation"]), cursor["from"], cursor["generation"])

    def run_with(self, status: Any, since: str | None, generation: int) -> dict[str, Any]:
        following = status["newest"] and self.bound(status["newest"])
        return {"table": "people", "after": 0, "from": since, "next": following, "generation": generation}

    def bound(self, newest: str) -> str:
        return (datetime.fromisoformat(newest) - OVERLAP).isoformat()

    def rows(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.listed(self.get(run["table"], self.query(run)), run["table"])

    def query(self, run: Mapping[str, Any]) -> dict[str, Any]:
        query = {"after": run["after"], "limit": self.page_size, "generation": run["generation"]}
        return query | ({"from": run["from"]} if run["from"] else {})

    def position(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"after": rows[-1]["id"]}

    def page(self, run: dict[str, Any], rows: list[dict[str, Any]]) -> Page:
        return Page([self.record(run["table"], row) for row in rows], dict(run))

    def end(self, run: Mapping[str, Any]) -> Cursor:
        return {"from": run["next"], "generation": run["generation"]}

    def record(self, table: str, row: Any) -> ContactChange | UnreadableRecord:
        try:
            return self.person(row) if table == "people" else self.deal(row)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"The values of this record cannot be read ({type(error).__name__}); look at it in Acme"
            return UnreadableRecord(f"{table} {row.get('id')}", reason, f"{table} {row.get('id')}")

    def person(self, row: Mapping[str, Any]) -> ContactChange:
        changed = datetime.fromisoformat(row["changed"])
        survivor = None if row["merged"] is None else str(row["merged"])
        return ContactChange(str(row["id"]), self.properties(row), changed, row["deleted"], survivor)

    def properties(self, row: Mapping[str, Any]) -> dict[str, Any]:
        names = ("id", "name", "mobile", "email", "no_sms")
        owner = row["owner"]
        return {name: text(row[name]) for name in names} | {"owner": owner["label"], "owner_id": owner["id"]}

    def deal(self, row: Mapping[str, Any]) -> ContactChange:
        properties = {name: text(row[name]) for name in ("id", "title", "stage")}
        person = None if row["person"] is None else str(row["person"])
        changed = datetime.fromisoformat(row["changed"])
        external_id = self.deal_id(row)
        return ContactChange(external_id, properties, changed, row["deleted"], kind="deal", person=person)

    def deal_id(self, row: Mapping[str, Any]) -> str:
        return f"deal-{row['id']}"

    def live_ids(self) -> Iterator[Sequence[str]]:
        start = 0
        while rows := self.listed(self.get("ids", {"start": start, "limit": self.page_size}), "ids"):
            start += len(rows)
            yield [f"deal-{number}" if table == "deals" else str(number) for table, number in rows]

    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        return hmac.compare_digest(headers.get("x-signature", "").encode(), self.signature(body).encode())

    def signature(self, body: bytes) -> str:
        return hmac.new(self.options.event_key.get_secret_value().encode(), body, hashlib.sha256).hexdigest()

    def link(self, external_id: str) -> str:
        return f"https://acme.example/people/{quote(external_id, safe='')}"

    def log_message(self, external_id: str, message: CrmMessage) -> None:
        self.write("POST", external_id, "/texts", self.entry(message))

    def entry(self, message: CrmMessage) -> dict[str, Any]:
        names = ("id", "direction", "text", "media", "from_number", "to_number")
        return {name: getattr(message, name) for name in names} | {"at": message.at.isoformat()}

    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        self.write("PATCH", external_id, "", {field: value})

    def write(self, method: str, external_id: str, rest: str, body: dict[str, Any]) -> None:
        status, _answer = self.ask(method, f"people/{quote(external_id, safe='')}{rest}", {}, body)
        if status == 404:
            raise RecordGone(f"Acme has no person {external_id}; nothing was written")

    def status(self, generation: int | None = None) -> Any:
        return self.get("status", {} if generation is None else {"generation": generation})

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.ask("GET", path, query or {})[1]

    def listed(self, answer: Any, name: str) -> list[Any]:
        rows = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise SourceInvalid(f"Acme answers without {name}; check the address of the API")
        return rows

    def ask(self, method: str, path: str, query: Mapping[str, Any], body: Any = None) -> tuple[int, Any]:
        self.services.pace()
        try:
            answer = self.session.request(
                method,
                f"{self.options.url}/{path}",
                params={**query},
                json=body,
                headers={"Authorization": f"Bearer {self.options.token.get_secret_value()}"},
                timeout=self.timeout,
                allow_redirects=self.redirects,
            )
        except requests.RequestException as error:
            raise self.unreachable(error) from None
        error = self.error(answer)
        if error is not None and not (error.__class__ is SourceInvalid and method != "GET"):
            raise error
        return answer.status_code, self.decoded(answer)

    def unreachable(self, error: Exception) -> AdapterError:
        return SourceUnavailable(f"Acme cannot be reached ({type(error).__name__}); the next run tries again")

    def error(self, answer: requests.Response) -> AdapterError | None:
        status = answer.status_code
        if status in (401, 403):
            return CredentialsRejected("Acme refuses the token; create a new one and put it into the configuration")
        if status == 410:
            return CursorExpired("Acme does not know this cursor any more; the next run starts from the top")
        if status == 429 or status >= 500:
            after = answer.headers.get("Retry-After", "")
            wait = float(after) if after.isdigit() else None
            return SourceUnavailable(f"Acme answers with status {status}; the next run tries again", wait)
        return SourceInvalid(f"Acme answers with status {status}; check the address") if status != 200 else None

    def decoded(self, answer: requests.Response) -> Any:
        try:
            decoded = answer.json()
        except ValueError:
            raise SourceUnavailable("Acme answers with something that is not JSON; the next run tries again") from None
        if answer.status_code == 200 and "error" in decoded:
            raise SourceUnavailable("Acme answers with an error; the next run tries again")
        return decoded

    def close(self) -> None:
        self.session.close()


class GoodByItsClock(Good):
    """Takes the next bound from this machine's clock at the start of the run. That is safe, too."""

    def run_with(self, status: Any, since: str | None, generation: int) -> dict[str, Any]:
        run = super().run_with(status, since, generation)
        return run | {"next": (datetime.now(UTC) - OVERLAP).isoformat()}


def text(value: Any) -> Any:
    """Return a scalar. Raises TypeError for anything else."""
    if isinstance(value, list | dict):
        raise TypeError("a scalar is needed")
    return value


class Kit(AdapterConformance, WritesConformance):
    """The hooks for the CRM of these tests. ``reads`` is the adapter that is tested."""

    reads: ClassVar[type[Good]] = Good
    flag = "no_sms"
    late_by = timedelta(seconds=5)
    large = 5_000
    references = {"owner": "Sam Seller"}
    labels = {"no_sms": "No_Sms"}

    def make_source(self, folder: Path) -> Crm:
        crm = Crm()
        crm.serve()
        return crm

    def close_source(self, source: Crm) -> None:
        source.stop()

    def make_large_source(self, folder: Path, count: int) -> Crm:
        self.reads = type("WithLargePages", (self.reads,), {"page_size": 50})  # type: ignore[misc]
        source = self.make_source(folder)
        for number in range(count):
            source.write("people", person(SampleContact("", f"+1415555{number:07}", f"Ann Lee{number}", "a@b.example")))
        return source

    def put(self, source: Crm, contact: SampleContact) -> str:
        return self.write(source, contact, None)

    def put_at(self, source: Crm, contacts: Iterable[SampleContact], moment: datetime) -> list[str]:
        return [self.write(source, one, moment) for one in contacts]

    def write(self, source: Crm, contact: SampleContact, moment: datetime | None) -> str:
        known = contact.external_id.isdigit() and int(contact.external_id) in source.tables["people"]
        return str(source.write("people", person(contact), int(contact.external_id) if known else None, moment))

    def merge(self, source: Crm, gone: str, stays: str) -> None:
        source.tables["people"][int(gone)].values["merged"] = int(stays)
        source.delete("people", int(gone))

    def put_deal(self, source: Crm, person: str | None) -> str:
        values = {"title": "A new roof", "stage": "open", "person": None if person is None else int(person)}
        return f"deal-{source.write('deals', values)}"

    def delete(self, source: Crm, external_id: str) -> None:
        kind, _dash, number = external_id.rpartition("-")
        source.delete("deals" if kind else "people", int(number))

    def upstream(self, source: Crm) -> str:
        return source.url

    def adapter(self, source: Crm) -> Good:
        return self.reads(self.reads.Options(url=self.url(source)), FieldMapping())

    def break_source(self, source: Crm) -> None:
        source.token = "another"

    def expire(self, source: Crm) -> None:
        source.generation += 1

    def secrets(self, source: Crm) -> tuple[str, ...]:
        return (TOKEN, EVENT_KEY)

    def event(self, source: Crm) -> Event:
        body = b'{"changed": [1, 2]}'
        signature = hmac.new(EVENT_KEY.encode(), body, hashlib.sha256).hexdigest()
        return {"content-type": "application/json", "x-signature": signature}, body

    def logged(self, source: Crm, external_id: str) -> list[CrmMessage]:
        found = [entry for person, entry in source.texts.values() if str(person) == external_id]
        return [
            CrmMessage(**{**entry, "at": datetime.fromisoformat(entry["at"]), "media": tuple(entry["media"])})
            for entry in found
        ]

    def do_not_text(self, source: Crm, external_id: str) -> bool | None:
        value: bool | None = source.tables["people"][int(external_id)].values["no_sms"]
        return value


def person(contact: SampleContact) -> dict[str, Any]:
    owner = {"id": 3, "label": "Sam Seller"}
    values = {"name": contact.full_name, "mobile": contact.phone, "email": contact.email}
    return {name: value or None for name, value in values.items()} | {"owner": owner, "no_sms": None, "merged": None}


def kit(adapter: type[Good], patience: float = Kit.patience) -> Kit:
    return type("TestedKit", (Kit,), {"reads": adapter, "patience": patience})()
