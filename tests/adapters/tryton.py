"""An adapter for parties of Tryton, as somebody outside of this project would write it.

Tryton speaks JSON-RPC: every request is a POST to one address, errors have status 200, and a session replaces the
password. It does not report deletions. The phone numbers of a party are records of their own, with their own time of
change. Tested with Tryton 8.2.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

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
    ListsIds,
    Page,
    Removals,
    Services,
    SourceInvalid,
)
from crm_adapters.http import (
    ApiReply,
    ChangeWindow,
    HttpApi,
    NoAuth,
    Signature,
    flatten,
    keyset_batches,
    quoted,
)

FIELDS = ["name", "code", "lang", "mobile", "phone", "email", "website"]
ALSO_READ = ["active", "replaced_by", "lang.rec_name", "write_date", "contact_mechanisms.write_date"]
TYPES = {"char": "text", "many2one": "reference"}


class TrytonOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: HttpUrl = Field(description="The address of the server, such as https://tryton.example.test.")
    database: str = Field(description="The name of the database.")
    user: str = Field(description="A user who may read parties.")
    password: Secret = Field(description="The user's password.")


class TrytonSession:
    """A credential that the server gives for a password, and takes back after some time without requests."""

    remedy = "put the user's password into the options of this connection"

    def __init__(self, options: TrytonOptions, services: Services) -> None:
        self._options = options
        self._login = HttpApi("Tryton", address_of(options), NoAuth(), services, judge=judged)
        self._token = ""

    def signature(self) -> Signature:
        password = self._options.password.get_secret_value()
        if not self._token:
            reply = call(self._login, "common.db.login", self._options.user, {"password": password})
            number, key, *_more = reply.items("result")
            self._token = b64encode(f"{self._options.user}:{number}:{key}".encode()).decode()
        return Signature({"Authorization": f"Session {self._token}"}, secrets=(self._token, password))

    def renew(self) -> bool:
        self._token = ""
        return True

    def close(self) -> None:
        self._login.close()


class TrytonAdapter(Adapter, ListsIds):
    """Parties that are active. One that is archived counts as deleted, one that was replaced as merged."""

    name: ClassVar[str] = "tryton"
    summary: ClassVar[str] = "Parties of Tryton."
    Options: ClassVar[type[BaseModel]] = TrytonOptions
    removals: ClassVar[Removals] = Removals.UNSEEN
    page_size: ClassVar[int] = 200
    usual: ClassVar[FieldMapping] = FieldMapping(phone=("mobile", "phone"), full_name=("name",), email=("email",))

    options: TrytonOptions

    def __init__(self, options: TrytonOptions, fields: FieldMapping, *, services: Services | None = None) -> None:
        super().__init__(options, fields, services=services)
        self._session = TrytonSession(options, self.services)
        self._api = HttpApi("Tryton", address_of(options), self._session, self.services, judge=judged)

    def check(self) -> CheckReport:
        count = call(self._api, "model.party.party.search_count", [], {}).at("result")
        if not isinstance(count, int):
            raise SourceInvalid("Tryton does not tell the number of its parties; check `url` and `database`")
        return CheckReport(f"Tryton responds, {count} parties")

    def describe(self) -> Sequence[CrmField]:
        known = call(self._api, "model.party.party.fields_get", FIELDS, 0, {}).mapping("result")
        found = [
            CrmField(name, field["string"], TYPES.get(field["type"], ""))
            for name, field in known.items()
            if name in FIELDS
        ]
        return [*found, CrmField("lang_id")]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        window = ChangeWindow.of(cursor)
        for batch in keyset_batches(partial(self._parties, window), "result", "id", start=window.after):
            window = window.read(batch.reply, (time for party in batch.items for time in times_of(party)), batch.next)
            yield Page([change_of(party) for party in batch.items], window.cursor())

    def live_ids(self) -> Iterator[Sequence[str]]:
        for batch in keyset_batches(partial(self._search, [], ["id"]), "result", "id"):
            yield [str(party["id"]) for party in batch.items]

    def link(self, external_id: str) -> str:
        return f"{self.options.url}/#{quoted(self.options.database)}/model/party.party/{quoted(external_id)}"

    def close(self) -> None:
        self._api.close()
        self._session.close()

    def _parties(self, window: ChangeWindow, last: int | None) -> ApiReply:
        domain: list[Any] = []
        if window.since is not None:
            since = tryton_time(window.since)
            places = ("write_date", "create_date", "contact_mechanisms.write_date", "contact_mechanisms.create_date")
            domain = [["OR", *([place, ">=", since] for place in places)]]
        return self._search(domain, [*FIELDS, *ALSO_READ], last, archived=window.since is not None)

    def _search(self, domain: list[Any], names: list[str], last: int | None, archived: bool = False) -> ApiReply:
        """Archived parties are asked for in the context: a condition on `active` does not reach into an OR."""
        bounds = [*domain, ["id", ">", last or 0]]
        more = (0, self.page_size, [["id", "ASC"]], names, {"active_test": not archived})
        return call(self._api, "model.party.party.search_read", bounds, *more)


def address_of(options: TrytonOptions) -> str:
    return f"{options.url}/{quoted(options.database)}/rpc/"


def call(api: HttpApi, method: str, *params: Any) -> ApiReply:
    return api.search("", {"id": 1, "method": method, "params": params})


def judged(reply: ApiReply) -> AdapterError | None:
    if reply.status == 200 and reply.at("error") is not None:
        return SourceInvalid(
            f"Tryton refuses the request ({reply.at('error.0', 'an error')}); check the options of this connection, and"
            " whether the module `party` is active"
        )
    return None


def change_of(party: dict[str, Any]) -> ContactChange:
    """A party as a record. A reference has its label in an object whose name ends with a dot."""
    made: dict[str, Any] = {name: party[name] for name in FIELDS}
    made |= {"lang": (party["lang."] or {}).get("rec_name"), "lang_id": party["lang"]}
    replaced = party["replaced_by"]
    return ContactChange(
        str(party["id"]),
        flatten(made),
        updated_at=moment_of_json(party["write_date"]),
        deleted=not party["active"],
        merged_into=None if replaced is None else str(replaced),
    )


def times_of(party: dict[str, Any]) -> Iterator[datetime | None]:
    """The times of change of a party and of its phone numbers and addresses of email."""
    for one in (party, *party["contact_mechanisms."]):
        yield moment_of_json(one["write_date"])


PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


def tryton_time(moment: datetime) -> dict[str, Any]:
    utc = moment.astimezone(UTC)
    return {"__class__": "datetime"} | {part: getattr(utc, part) for part in PARTS}


def moment_of_json(value: dict[str, Any] | None) -> datetime | None:
    return None if value is None else datetime(*(value[part] for part in PARTS), tzinfo=UTC)
