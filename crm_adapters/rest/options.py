"""The options of the adapter for JSON APIs: where its lists are, and how they tell pages, changes and deletions.

A *path* names a value in JSON, such as ``paging.next`` or ``phones.0.number``; "" is the whole document.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StrictBool, StrictInt, field_validator, model_validator

from config.base import Model
from config.types import Duration, HttpUrl, TimeZone, Token, invalid_value, one_or_many

TIME_FORMATS = ("iso", "epoch", "epoch_ms", "date")
_KIND = re.compile("[a-z][a-z0-9_]*")
SECRET_HEADER = re.compile("key|token|secret|password|authorization|cookie", re.IGNORECASE)
"""Headers that hold a credential."""
SECRET_PARAMETER = re.compile(r"(?:api|access|auth|private)[_-]?(?:key|token)|secret|passw", re.IGNORECASE)
"""Parameters of an address that hold a credential."""


def _time_format(text: str) -> str:
    if text in TIME_FORMATS:
        return text
    if "%" in text:
        return text
    raise invalid_value("is not a format of times", 'write iso, epoch, epoch_ms, date, or a pattern: "%Y-%m-%d %H:%M"')


Parameters: TypeAlias = dict[str, str | int | float | bool]
Scalars: TypeAlias = tuple[str | bool | int | float, ...]


class NoCredential(Model):
    """An API that needs no credential."""

    kind: Literal["none"] = Field(description="No credential.", examples=["none"])


class BearerToken(Model):
    """A token in the Authorization header."""

    kind: Literal["bearer"] = Field(description="`Authorization: Bearer TOKEN`.", examples=["bearer"])
    token: Token = Field(description="The token.", examples=[{"env": "ACME_TOKEN"}])
    scheme: str = Field("Bearer", description="The word before the token.", examples=["Token"])


class HeaderKey(Model):
    """A key in a header of its own."""

    kind: Literal["header"] = Field(description="A header with a key.", examples=["header"])
    name: str = Field(min_length=1, description="The name of the header.", examples=["X-Api-Key"])
    token: Token = Field(description="The key.", examples=[{"env": "ACME_TOKEN"}])


class UserPassword(Model):
    """Basic authentication."""

    kind: Literal["basic"] = Field(description="A user and a password (basic authentication).", examples=["basic"])
    token: Token = Field(description="The user; many APIs take the key here.", examples=[{"env": "ACME_KEY"}])
    password: Token | None = Field(None, description="The password.", examples=[{"env": "ACME_PASSWORD"}])


class ParameterKey(Model):
    """A key in the address."""

    kind: Literal["parameter"] = Field(
        description="A key in the address; use it only if the API accepts nothing else.", examples=["parameter"]
    )
    name: str = Field(min_length=1, description="The name of the parameter.", examples=["api_key"])
    token: Token = Field(description="The key.", examples=[{"env": "ACME_TOKEN"}])


class ClientCredentials(Model):
    """OAuth 2 without a person: the client's own id and secret give a token."""

    kind: Literal["client_credentials"] = Field(
        description="OAuth 2 with the client's own id and secret.", examples=["client_credentials"]
    )
    token_url: HttpUrl = Field(description="Where the token comes from.", examples=["https://acme.example/token"])
    client_id: str = Field(min_length=1, description="The client id.", examples=["vtsync"])
    client_secret: Token = Field(description="The client secret.", examples=[{"env": "ACME_SECRET"}])
    scopes: tuple[str, ...] = Field((), description="The scopes to ask for.", examples=[["contacts.read"]])
    client_auth: Literal["form", "basic"] = Field("form", description="How the secret is sent.")


class PersonsConsent(Model):
    """OAuth 2 with the consent of a person."""

    kind: Literal["oauth"] = Field(
        description="OAuth 2 with a person's consent: run `vtsync connect CONNECTION`.", examples=["oauth"]
    )
    authorize_url: HttpUrl = Field(
        description="Where the person consents.", examples=["https://acme.example/authorize"]
    )
    token_url: HttpUrl = Field(description="Where the token comes from.", examples=["https://acme.example/token"])
    client_id: str = Field(min_length=1, description="The client id of your app.", examples=["vtsync"])
    client_secret: Token = Field(description="The client secret of your app.", examples=[{"env": "ACME_SECRET"}])
    scopes: tuple[str, ...] = Field((), description="The scopes to ask for.", examples=[["contacts.read"]])
    client_auth: Literal["form", "basic"] = Field("form", description="How the secret is sent.")
    extra: dict[str, str] = Field(
        default_factory=dict,
        description="Further parameters of the consent's address.",
        examples=[{"access_type": "offline"}],
    )


Credential: TypeAlias = Annotated[
    NoCredential | BearerToken | HeaderKey | UserPassword | ParameterKey | ClientCredentials | PersonsConsent,
    Field(discriminator="kind"),
]


class _Sized(Model):
    size: str | None = Field(
        None, min_length=1, description="The parameter with the number of records of a page.", examples=["limit"]
    )


class OnePage(Model):
    """A list that comes whole."""

    kind: Literal["none"] = Field(description="One response has all records.", examples=["none"])

    @property
    def size(self) -> None:
        """No parameter asks for the size."""
        return


class OffsetPaging(_Sized):
    """Pages by the number of records before them."""

    kind: Literal["offset"] = Field(description="By the number of records before the page.", examples=["offset"])
    parameter: str = Field("offset", min_length=1, description="The parameter with that number.")
    total: str = Field("", description="The path of the number of all records.", examples=["meta.total"])
    more: str = Field("", description="The path of a flag that there are more pages.", examples=["has_more"])


class NumberPaging(_Sized):
    """Pages by number."""

    kind: Literal["page"] = Field(description="By the number of the page.", examples=["page"])
    parameter: str = Field("page", min_length=1, description="The parameter with that number.")
    first: StrictInt = Field(1, ge=0, description="The number of the first page.")
    last: str = Field("", description="The path of the number of the last page.", examples=["meta.total_pages"])
    more: str = Field("", description="The path of a flag that there are more pages.", examples=["has_more"])


class CursorPaging(_Sized):
    """Pages by a token that each response has for the next one."""

    kind: Literal["cursor"] = Field(description="By a token in the body for the next page.", examples=["cursor"])
    parameter: str = Field(min_length=1, description="The parameter that takes the token.", examples=["cursor"])
    next: str = Field(min_length=1, description="The path of the token.", examples=["paging.next"])
    more: str = Field("", description="The path of a flag that there are more pages.", examples=["has_more"])


class LinkPaging(_Sized):
    """Pages by the address of the next one."""

    kind: Literal["link"] = Field(description="By the address of the next page.", examples=["link"])
    next: str = Field("", description="The path of the address; if not set: the `Link` header.", examples=["next"])


class KeysetPaging(_Sized):
    """Pages in the order of ids, each after the last id of the one before."""

    kind: Literal["after_id"] = Field(
        description="In the order of ids, after the last id of the page before.", examples=["after_id"]
    )
    parameter: str = Field(min_length=1, description="The parameter that takes the last id.", examples=["id_greater"])


Paging: TypeAlias = Annotated[
    OnePage | OffsetPaging | NumberPaging | CursorPaging | LinkPaging | KeysetPaging, Field(discriminator="kind")
]


class ChangesFilter(Model):
    """How to ask for the records that changed since a moment. The filter must include that moment, or nearly so."""

    parameter: str = Field(
        min_length=1, description="The parameter with the moment.", examples=["updated_since", "filters[updated_after]"]
    )
    field: str = Field(min_length=1, description="The path of the time of change in a record.", examples=["updated_at"])
    format: Annotated[str, AfterValidator(_time_format)] = Field(
        "iso",
        description=(
            "How the moment is written: `iso` (UTC), `epoch`, `epoch_ms`, `date`, or a pattern such as"
            ' "%Y-%m-%d %H:%M:%S" (in `timezone`).'
        ),
    )
    template: str | None = Field(
        None,
        description="The parameter's value, with `{since}` (and `{until}`) in it, if it is more than the moment.",
        examples=['updatedAt[gte]:"{since}"'],
    )
    until: str | None = Field(
        None, min_length=1, description="The parameter with the end of the period, if there is one."
    )
    params: Parameters = Field(
        default_factory=dict, description="Further parameters when asking for changes.", examples=[{"sort": "id"}]
    )
    overlap: Duration = Field(
        timedelta(minutes=5), description="How late a change may become visible so that the next run still sees it."
    )

    @model_validator(mode="after")
    def _fits(self) -> ChangesFilter:
        if self.template is not None and "{since}" not in self.template:
            raise ValueError("template needs {since} in it")
        if self.until is not None and self.format == "date":
            raise ValueError('until is not possible with format = "date": changes of the last day would be left out')
        return self


class IdsOptions(Model):
    """A list that is read for its ids only."""

    path: str = Field(description="The list's path below `url`.", examples=["contacts/ids"])
    params: Parameters = Field(default_factory=dict, description="Further parameters.", examples=[{"fields": "id"}])
    records: str = Field("", description="The path of the list in the response.", examples=["data"])
    id: str = Field("id", description='The path of the id; "": the list holds the ids themselves.')


class DeletedOptions(Model):
    """How the API tells of deletions: by a field of the record, or by a list of deleted records."""

    field: str | None = Field(None, min_length=1, description="The path of the field that marks a deleted record.")
    values: Annotated[Scalars, one_or_many()] = Field(
        (),
        description="Its values that mean deleted. If not set: everything but empty, no, zero and the like.",
        examples=["archived"],
    )
    path: str | None = Field(None, min_length=1, description="Or the path of a list of deleted records.")
    params: Parameters = Field(
        default_factory=dict,
        description="Further parameters of that list, or to see marked records when asking for changes.",
        examples=[{"include": "deleted"}],
    )
    records: str = Field("", description="The path of the list in its response.", examples=["data"])
    id: str = Field("id", description='The path of the id in it; "": the list holds the ids themselves.')
    since: str | None = Field(
        None, min_length=1, description="The parameter with the moment since when, in the format of `since`."
    )

    @model_validator(mode="after")
    def _one_way(self) -> DeletedOptions:
        if (self.field is None) == (self.path is None):
            raise ValueError("name either a field of the record, or the path of a list")
        return self


class ListOptions(Model):
    """A list of records, and what its records are like."""

    path: str = Field(description="The list's path below `url`.", examples=["contacts"])
    method: Literal["GET", "POST"] = Field(
        "GET", description="`POST` for a search: all parameters then go into the JSON body. A dot leads into a table."
    )
    params: Parameters = Field(
        default_factory=dict, description="Parameters of each request.", examples=[{"sort": "id"}]
    )
    body: dict[str, Any] = Field(default_factory=dict, description="With POST: the body, besides the parameters.")
    records: str = Field("", description="The path of the list in the response.", examples=["data.contacts"])
    id: str = Field("id", min_length=1, description="The path of a record's id.", examples=["id"])
    since: ChangesFilter | None = Field(
        None,
        description="How to ask for changes. If not set: every run reads every record.",
        examples=[{"parameter": "updated_since", "field": "updated_at"}],
    )
    deleted: DeletedOptions | None = Field(
        None, description="How the API tells of deletions.", examples=[{"field": "is_deleted"}]
    )
    ids: IdsOptions | None = Field(
        None,
        description="A cheap list of all ids, to find deletions that the API does not tell of.",
        examples=[{"path": "contacts", "params": {"fields": "id"}}],
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Fields with names of your own, and their paths. All others keep their names.",
        examples=[{"mobile": "phones.0.number"}],
    )
    references: dict[str, tuple[str, str]] = Field(
        default_factory=dict,
        description="Fields that point to other records, with the paths of the label and of the id.",
        examples=[{"owner": ["owner.full_name", "owner.key"]}],
    )
    omits_empty: StrictBool = Field(
        False,
        description=(
            "`true`: the API leaves out empty fields, so a field that a record lacks is empty. Otherwise it is unknown,"
            " and a rule that needs it holds texts back."
        ),
    )

    @model_validator(mode="after")
    def _is_searchable(self) -> ListOptions:
        if self.body and self.method == "GET":
            raise ValueError('a body needs method = "POST"')
        if self.deleted is not None and self.deleted.path is not None and self.since is None:
            raise ValueError("deleted.path needs since: without it, every run reads every record")
        return self


class ObjectOptions(ListOptions):
    """A list of records that belong to people, such as deals or appointments."""

    person: str = Field(min_length=1, description="The path of the person's id in a record.", examples=["contact.id"])


class RateLimitOptions(Model):
    """A limit of the API. Over an hour or longer, it is a budget: when it is spent, the connection waits."""

    amount: StrictInt = Field(ge=1, description="The number of requests.", examples=[100])
    per: Duration = Field(description="In how long.", examples=["1m", "1d"])


class RestOptions(ListOptions):
    """A JSON API."""

    url: HttpUrl = Field(description="The address of the API.", examples=["https://api.acme.example/v2"])
    name: str | None = Field(
        None, min_length=1, description="What the CRM is called in messages. If not set: its host.", examples=["Acme"]
    )
    headers: dict[str, str | Token] = Field(
        default_factory=dict,
        description="Headers of each request. A second secret, beside `auth`, is a reference.",
        examples=[{"X-Version": "2", "X-System-Key": {"env": "ACME_SYSTEM_KEY"}}],
    )
    auth: Credential = Field(
        NoCredential(kind="none"),
        description="The credential.",
        examples=[{"kind": "bearer", "token": {"env": "ACME_TOKEN"}}],
    )
    paging: Paging = Field(
        OnePage(kind="none"),
        description="How lists are cut into pages.",
        examples=[{"kind": "offset", "size": "limit", "total": "meta.total"}],
    )
    page_size: StrictInt = Field(100, ge=1, le=10_000, description="The number of records of a page.")
    empty: tuple[Annotated[StrictInt, Field(ge=200, le=499)], ...] = Field(
        (), description="Statuses that mean an empty page in this API.", examples=[[204, 404]]
    )
    limits: tuple[RateLimitOptions, ...] = Field(
        (),
        description="How many requests the API allows.",
        examples=[[{"amount": 5, "per": "1s"}, {"amount": 10000, "per": "1d"}]],
    )
    timezone: TimeZone = Field("UTC", description="The time zone of times that are written without one.")
    link: str = Field(
        "",
        description="The address of a person's page in the CRM, with `{id}` in it.",
        examples=["https://acme.example/contacts/{id}"],
    )
    objects: dict[str, ObjectOptions] = Field(
        default_factory=dict,
        description="Lists of records that belong to people, by their kind, such as `deal`.",
    )

    @field_validator("objects")
    @classmethod
    def _are_kinds(cls, value: dict[str, ObjectOptions]) -> dict[str, ObjectOptions]:
        for kind in value:
            if not _KIND.fullmatch(kind) or kind == "contact":
                raise ValueError("a kind is written in small letters, such as deal, and contact is the list itself")
        return value

    @field_validator("headers")
    @classmethod
    def _hold_no_secret(cls, value: dict[str, str | SecretStr]) -> dict[str, str | SecretStr]:
        for name, text in value.items():
            if isinstance(text, str) and SECRET_HEADER.search(name):
                raise invalid_value(
                    f"has a header {name} that looks like a credential",
                    'write it under auth, or as a reference: { env = "NAME" }',
                )
        return value

    @field_validator("link")
    @classmethod
    def _is_a_link(cls, value: str) -> str:
        if value and (not value.startswith(("https://", "http://")) or "{id}" not in value):
            raise ValueError('is not an address with {id} in it, such as "https://acme.example/contacts/{id}"')
        return value

    @property
    def vendor(self) -> str:
        """What the CRM is called in messages."""
        return self.name or urlsplit(self.url).hostname or "the API"

    @property
    def lists(self) -> dict[str, ListOptions]:
        """The lists by the kind of their records."""
        return {"contact": self, **self.objects}
