"""The second step: what only adapters and the template engine can judge, reported together with the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from config.errors import ConfigError, ConfigProblem
from config.load import load
from config.types import ConfigPath, Secret
from tests.config.conftest import checks

CRM = """
[accounts.main]
uid = { env = "VTSYNC_UID" }
token = { env = "VTSYNC_TOKEN" }
from_number = "+14155550100"
[connections.crm]
adapter = "csv"
account = "main"
"""


class Paging(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(100, ge=1)


class CsvOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: ConfigPath = Field(description="The file.", examples=["contacts.csv"])
    password: Secret | None = None
    paging: Paging = Paging()
    delimiter: str = Field(",", max_length=1)


def options_model_of(name: str) -> type[BaseModel]:
    if name == "broken":
        raise ImportError("the package simple-salesforce is not installed; run `pip install ...`")
    return {"csv": CsvOptions}[name]


def template_problems(template: str) -> list[str]:
    return [f"{{{{ is closed {template.count('}}')} times"] if template.count("{{") != template.count("}}") else []


@pytest.fixture
def problems_of(tmp_path: Path) -> Callable[[str], dict[str, ConfigProblem]]:
    def run(text: str) -> dict[str, ConfigProblem]:
        path = tmp_path / "vtsync.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load(path, checks(options_model_of, template_problems, lambda: ["csv", "sql"]))
        return {problem.key: problem for problem in caught.value.problems}

    return run


ProblemsOf = Callable[[str], dict[str, ConfigProblem]]


@pytest.mark.parametrize(
    ("options", "key", "message", "remedy"),
    [
        ("", "path", "is missing", 'path = "contacts.csv"'),
        ('options = { path = "x", pth = 1 }', "pth", "not a key", 'did you mean "path"?'),
        ('options = { path = "x", zzzz = 1 }', "zzzz", "not a key", "allowed are: path, password, paging, delimiter"),
        ('options = { path = "x", delimiter = "||" }', "delimiter", "at most 1 character", ""),
        ("options = { path = 5 }", "path", "not a path", '"contacts.csv"'),
        ('options = { path = "x", paging = { size = 0 } }', "paging.size", "out of range", "from 1"),
        ('options = { path = "x", paging = { sise = 9 } }', "paging.sise", "not a key", '"size"'),
        ('options = { path = "x", password = "y" }', "password", "written in the file", "VTSYNC_OPTIONS_PASSWORD"),
        ('options = { path = "x", password = { env = "NOWHERE" } }', "password", "NOWHERE is not set", ".env"),
    ],
)
def test_options_are_checked_by_the_adapters_model(
    options: str, key: str, message: str, remedy: str, problems_of: ProblemsOf
) -> None:
    problems = problems_of(CRM + options)
    assert list(problems) == [f"connections.crm.options.{key}"]
    [problem] = problems.values()
    assert message in problem.message
    assert remedy in problem.remedy


def test_an_unknown_adapter_lists_the_known_ones(problems_of: ProblemsOf) -> None:
    problem = problems_of(CRM.replace('"csv"', '"cvs"'))["connections.crm.adapter"]
    assert problem.value == '"cvs"'
    assert problem.remedy == 'did you mean "csv"? The adapters are: csv, sql'


def test_an_adapter_that_cannot_be_used_says_why(problems_of: ProblemsOf) -> None:
    problem = problems_of(CRM.replace('"csv"', '"broken"'))["connections.crm.adapter"]
    assert "simple-salesforce is not installed" in problem.message


def test_a_registry_may_list_the_known_adapters_itself(tmp_path: Path) -> None:
    def registry(name: str) -> type[BaseModel]:
        raise LookupError("installed are: csv, sql")

    path = tmp_path / "vtsync.toml"
    path.write_text(CRM, encoding="utf-8")
    with pytest.raises(ConfigError, match="installed are: csv, sql"):
        load(path, checks(registry))


def test_templates_are_checked(problems_of: ProblemsOf) -> None:
    trigger = '[triggers.t]\nconnections = "crm"\non = "created"\nmessage = "Hi {{ name"\n'
    problem = problems_of(CRM + 'options = { path = "x" }\n' + trigger)["triggers.t.message"]
    assert (problem.value, problem.message) == ('"Hi {{ name"', "{{ is closed 0 times")


@pytest.mark.parametrize(
    ("adapter", "record", "message"),
    [
        ("csv", "contact", ""),
        ("csv", "deal", 'is no kind of record that the adapter "csv" of the connection crm reads'),
        ("nosuch", "deal", ""),  # which is reported itself
    ],
)
def test_a_trigger_watches_records_that_the_adapter_has(
    adapter: str, record: str, message: str, problems_of: ProblemsOf
) -> None:
    text = CRM.replace('"csv"', f'"{adapter}"') + 'options = { path = "x" }\n[triggers.t]\nconnections = "crm"\n'
    problems = problems_of(text + f'record = "{record}"\non = "new"\nmessage = "Hi"\n')
    found = problems.get("triggers.t.record")
    assert (found.message if found else "") == message


def test_both_steps_report_together(problems_of: ProblemsOf) -> None:
    text = CRM.replace('account = "main"', 'account = "man"') + "options = { path = 5 }\n"
    text += '[triggers.t]\nconnections = "crm"\non = "new"\nmessage = "Hi {{ name"\n[policy]\nblast_limit = -1'
    assert list(problems_of(text)) == [
        "triggers.t.on",
        "triggers.t.message",
        "policy.blast_limit",
        "connections.crm.account",
        "connections.crm.options.path",
    ]


def test_good_options_come_back_by_connection(tmp_path: Path) -> None:
    path = tmp_path / "vtsync.toml"
    path.write_text(CRM + 'options = { path = "x.csv" }', encoding="utf-8")
    settings = load(path)
    assert load(path, checks(options_model_of, template_problems)) == settings
    assert settings.adapter_options("crm", CsvOptions) == CsvOptions(path=tmp_path / "x.csv")
