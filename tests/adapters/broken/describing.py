"""Broken adapters: what they say about themselves and their CRM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from crm_adapters.base import CheckReport, CrmField, Limit
from tests.adapters.broken.catalogue import caught_by
from tests.adapters.broken.crm import TOKEN
from tests.adapters.broken.good import AcmeOptions, Good


@caught_by("unknown_options_are_refused", "Options accepts an unknown key")
class AcceptsAnyOption(Good):
    """accepts misspelt options"""

    class Options(BaseModel):
        url: str = Field("", description="The address of the API.")
        token: SecretStr = Field(SecretStr(TOKEN), description="The API token.")


@caught_by("it_describes_itself", "the option pause needs a description")
class HasAnOptionWithoutMeaning(Good):
    """has an option without a description"""

    class Options(AcmeOptions):
        pause: float = 1.0


@caught_by("it_describes_itself", "written in lower case")
class ShoutsItsName(Good):
    """has a name with capitals"""

    name = "Acme"


@caught_by("it_describes_itself", "limits are above zero")
class AllowsNothing(Good):
    """declares a limit of zero"""

    limits = (Limit("", 0, Good.limits[0].per),)


@caught_by("check_reports_in_one_line", "the summary is one line")
class ChecksAtLength(Good):
    """reports several lines in check"""

    def check(self) -> CheckReport:
        return CheckReport("1. connected\n2. read")


@caught_by("check_reports_in_one_line", "ZeroDivisionError|division")
class CannotCheckAnEmptyCrm(Good):
    """fails in check when the CRM is empty"""

    def check(self) -> CheckReport:
        return CheckReport(f"one page is {100 // self.status()['people']} percent")


@caught_by("check_reads_little", "check reads .* bytes, a whole pull")
class ChecksByReadingEverything(Good):
    """reads every record in check"""

    def check(self) -> CheckReport:
        return CheckReport(f"{sum(len(page.changes) for page in self.pull(None))} records")


@caught_by("fields_are_described", "describe does not name no_sms")
class DescribesSomeFields(Good):
    """does not describe every field of a record"""

    def describe(self) -> Sequence[CrmField]:
        return [field for field in super().describe() if field.name != "no_sms"]


@caught_by("fields_are_described", "describe does not name .*title")
class ForgetsTheFieldsOfDeals(Good):
    """describes the fields of people only"""

    def describe(self) -> Sequence[CrmField]:
        return [field for field in super().describe() if field.kind == "contact"]


@caught_by("fields_are_described", "IndexError|out of range")
class DescribesByExample(Good):
    """fails in describe when the CRM is empty"""

    def describe(self) -> Sequence[CrmField]:
        first = self.rows({"table": "people", "after": 0, "from": None, "generation": 1})[0]
        return [CrmField(name) for name in first]


@caught_by("fields_are_described", "email is described twice")
class DescribesTwice(Good):
    """describes a field twice"""

    def describe(self) -> Sequence[CrmField]:
        return [*super().describe(), CrmField("email", "Email", "email")]


@caught_by("fields_are_described", "has the type 'varchar'")
class MakesUpTypes(Good):
    """describes types of its own"""

    def describe(self) -> Sequence[CrmField]:
        return [*super().describe(), CrmField("extra", "Extra", "varchar")]


@caught_by("fields_are_described", "the values of extra are a tuple of texts")
class DescribesValuesAsNumbers(Good):
    """describes choices that are not text"""

    def describe(self) -> Sequence[CrmField]:
        return [*super().describe(), CrmField("extra", "Extra", "choice", (1, 2))]  # type: ignore[arg-type]


@caught_by("fields_have_the_labels_of_the_crm", "no_sms is 'No_Sms' for people, and described as ''")
class KeepsTheLabelsToItself(Good):
    """describes fields without their labels"""

    def describe(self) -> Sequence[CrmField]:
        return [CrmField(field.name, "", field.type, kind=field.kind) for field in super().describe()]


@caught_by("links_are_addresses", "link raises ValueError")
class LinksToNumbersOnly(Good):
    """raises in link for a strange id"""

    def link(self, external_id: str) -> str:
        return f"https://acme.example/people/{int(external_id)}"


@caught_by("links_are_addresses", "needs quoting")
class LinksWithoutQuoting(Good):
    """puts the id into the link as it is"""

    def link(self, external_id: str) -> str:
        return f"https://acme.example/people/{external_id}"


@caught_by("links_are_addresses", "is no address")
class LinksToAPath(Good):
    """returns a path instead of an address"""

    def link(self, external_id: str) -> str:
        return f"/people/{super().link(external_id)[30:]}"


@caught_by("links_are_addresses", "two records have the link")
class LinksToTheFrontPage(Good):
    """links every record to the same page"""

    def link(self, external_id: str) -> str:
        return "https://acme.example/"


@caught_by("links_are_addresses", "link raises CredentialsRejected|link makes a request")
class AsksForLinks(Good):
    """makes a request for a link"""

    def link(self, external_id: str) -> str:
        self.status()
        return super().link(external_id)


@caught_by("secrets_are_never_shown", r"(?s)a secret can be read: .*input_value")
class ShowsRefusedOptions(Good):
    """shows the secret when it refuses an option"""

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid")
        url: str = Field("", description="The address of the API.")
        token: SecretStr = Field(SecretStr(TOKEN), description="The API token.")
        event_key: Any = Field(AcmeOptions().event_key, description="The key that signs events.")


@caught_by("secrets_are_never_shown", "a secret can be read")
class ShowsItsTokenInItsRepr(Good):
    """shows the secret in its repr"""

    def __repr__(self) -> str:
        return f"Acme({self.options.token.get_secret_value()})"


@caught_by("secrets_are_never_shown", "a secret can be read")
class LinksWithItsToken(Good):
    """puts the secret into links"""

    def link(self, external_id: str) -> str:
        return f"{super().link(external_id)}?token={self.options.token.get_secret_value()}"
