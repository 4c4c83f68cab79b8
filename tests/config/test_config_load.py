"""Where the configuration is found, what its environment is, and what its relative paths mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from config.errors import ConfigError
from config.fingerprint import fingerprint
from config.load import PATH_VARIABLE, load
from config.models import Account, Connection, Settings
from config.types import ConfigPath, DatabaseUrl

ACCOUNT = """
[accounts.main]
uid = { env = "VTSYNC_UID" }
token = { env = "VTSYNC_TOKEN" }
from_number = "+14155550100"
"""
CRM = ACCOUNT + '[connections.crm]\nadapter = "csv"\naccount = "main"\n'


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_argument_wins_over_the_variable_and_that_over_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "vtsync.toml", "policy.blast_limit = 1")
    assert load().policy.blast_limit == 1
    monkeypatch.setenv("VTSYNC_CONFIG", str(written(tmp_path / "etc" / "b.toml", "policy.blast_limit = 2")))
    assert load().policy.blast_limit == 2
    assert load(written(tmp_path / "c.toml", "policy.blast_limit = 3")).policy.blast_limit == 3


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(tmp_path / "vtsync.toml") in str(caught.value)
    assert "`vtsync init`" in str(caught.value)


def _folder(path: Path) -> None:
    path.mkdir()


def _latin(path: Path) -> None:
    path.write_bytes('data_dir = "caf\xe9"'.encode("latin-1"))


@pytest.mark.parametrize(("make", "words"), [(_folder, "cannot be read: Is a directory"), (_latin, "not UTF-8 text")])
def test_an_unreadable_file_says_why(make: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    make(tmp_path / "vtsync.toml")
    with pytest.raises(ConfigError, match=words):
        load()


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    written(tmp_path / "vtsync.toml", "\ufeffpolicy.blast_limit = 1")
    assert load().policy.blast_limit == 1


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credential set; whatever the test's .env files set is taken back afterwards."""
    for name in ("VTSYNC_UID", "VTSYNC_TOKEN"):
        monkeypatch.setenv(name, "")  # remembered, and so restored
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("unset")
def test_env_files_fill_in_what_the_environment_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(tmp_path / "etc" / "vtsync.toml", ACCOUNT)
    written(tmp_path / "etc" / ".env", "VTSYNC_UID=from-etc\nVTSYNC_TOKEN=from-etc\n")
    written(tmp_path / ".env", "VTSYNC_UID=from-here\n")
    monkeypatch.setenv("VTSYNC_TOKEN", "from-environment")
    account = load(config).accounts["main"]
    assert account.uid.get_secret_value() == "from-etc"
    assert account.token.get_secret_value() == "from-environment"


# how the file is named: as an argument, by the variable, by .env of the working directory, not at all
@pytest.mark.parametrize(
    ("how", "uid"), [("argument", "from-etc"), ("variable", "from-etc"), (".env", "from-here"), ("", "from-here")]
)
@pytest.mark.usefixtures("unset")
def test_env_of_the_working_directory_counts_only_if_nothing_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, uid: str
) -> None:
    monkeypatch.setenv(PATH_VARIABLE, "")
    monkeypatch.delenv(PATH_VARIABLE)
    config = written(tmp_path / "etc" / "vtsync.toml", ACCOUNT)
    written(tmp_path / "vtsync.toml", ACCOUNT)
    written(tmp_path / "etc" / ".env", "VTSYNC_UID=from-etc\nVTSYNC_TOKEN=t\n")
    named = f"{PATH_VARIABLE}={config}\n" if how == ".env" else ""
    written(tmp_path / ".env", f"VTSYNC_UID=from-here\nVTSYNC_TOKEN=t\n{named}")
    if how == "variable":
        monkeypatch.setenv(PATH_VARIABLE, str(config))
    load(config if how == "argument" else None)
    assert os.environ["VTSYNC_UID"] == uid


@pytest.mark.usefixtures("unset")
def test_the_env_file_beside_the_configuration_is_enough(tmp_path: Path) -> None:
    config = written(tmp_path / "etc" / "vtsync.toml", ACCOUNT)
    written(tmp_path / "etc" / ".env", "VTSYNC_UID=u\nVTSYNC_TOKEN=beside\n")
    assert load(config).accounts["main"].token.get_secret_value() == "beside"


@pytest.mark.usefixtures("unset")
def test_an_env_file_is_taken_literally(tmp_path: Path) -> None:
    written(tmp_path / "vtsync.toml", ACCOUNT)
    written(tmp_path / ".env", "VTSYNC_UID=u\nVTSYNC_TOKEN=a${HOME}b\n")
    assert load().accounts["main"].token.get_secret_value() == "a${HOME}b"


def test_an_empty_variable_is_not_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "vtsync.toml", ACCOUNT)
    monkeypatch.setenv("VTSYNC_TOKEN", " ")
    with pytest.raises(ConfigError, match="VTSYNC_TOKEN is set but empty"):
        load()


def test_an_unreadable_env_file_is_named(tmp_path: Path) -> None:
    written(tmp_path / "vtsync.toml", ACCOUNT)
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError) as caught:
        load()
    assert caught.value.problems[0].key == str(tmp_path / ".env")
    assert "not UTF-8" in str(caught.value)


def test_a_secret_file_is_relative_to_the_configuration(tmp_path: Path) -> None:
    config = written(
        tmp_path / "etc" / "vtsync.toml", ACCOUNT.replace('{ env = "VTSYNC_TOKEN" }', '{ file = "secrets/token" }')
    )
    written(tmp_path / "etc" / "secrets" / "token", "from-a-file\n")
    assert load(config).accounts["main"].token.get_secret_value() == "from-a-file"


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "it is empty"), (b"\xff\xfe", "not UTF-8 text"), (None, "No such file")]
)
def test_an_unusable_secret_file_says_why(content: bytes | None, words: str, tmp_path: Path) -> None:
    written(tmp_path / "vtsync.toml", ACCOUNT.replace('{ env = "VTSYNC_TOKEN" }', '{ file = "token" }'))
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load()


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("", "sqlite:///{folder}/.vtsync/vtsync.sqlite3"),
        ('data_dir = "state"', "sqlite:///{folder}/state/vtsync.sqlite3"),
        ('data_dir = "/var/lib/vtsync"', "sqlite:////var/lib/vtsync/vtsync.sqlite3"),
        ('store.url = "sqlite:///state/x.db"', "sqlite:///{folder}/state/x.db"),
        ('store.url = "sqlite:////var/x.db"', "sqlite:////var/x.db"),
        ('store.url = "sqlite:///x.db?timeout=5"', "sqlite:///{folder}/x.db?timeout=5"),
        ('store.url = "sqlite:///:memory:"', "sqlite:///:memory:"),
        ('store.url = "postgresql+psycopg://me@db/x"', "postgresql+psycopg://me@db/x"),
    ],
)
def test_paths_are_relative_to_the_file_wherever_the_worker_starts(line: str, url: str, tmp_path: Path) -> None:
    config = written(tmp_path / "etc" / "vtsync.toml", line)
    assert load(config).database_url() == url.format(folder=config.parent)


def test_the_default_folder_of_settings_built_in_code_is_the_working_directory(tmp_path: Path) -> None:
    assert Settings().database_url() == f"sqlite:///{tmp_path}/.vtsync/vtsync.sqlite3"


class SourceOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: ConfigPath
    url: DatabaseUrl | None = None


def test_adapter_options_start_from_the_file_too(tmp_path: Path) -> None:
    options = 'options = { path = "exports/*.csv", url = "sqlite:///crm.db" }'
    settings = load(written(tmp_path / "etc" / "vtsync.toml", CRM + options))
    validated = settings.adapter_options("crm", SourceOptions)
    assert validated.path == tmp_path / "etc" / "exports" / "*.csv"
    assert validated.url is not None
    assert validated.url.get_secret_value() == f"sqlite:///{tmp_path}/etc/crm.db"
    assert settings.model_copy().adapter_options("crm", SourceOptions) == validated


@pytest.mark.parametrize(
    "urls",
    [
        'api_url = "http://127.0.0.1:8080"\ncreate_url = "http://localhost:8080"\nread_timeout = 1',
        'api_url = "http://[::1]:8080/"\ncreate_url = "http://sandbox.localhost"\nread_timeout = 0.5',
        'api_url = "http://sandbox:8080"\ncreate_url = "http://sandbox:8080"\nallow_http = true',
        'api_url = "https://a.example.com"\ncreate_url = "https://b.example.com"\nread_timeout = 31',
    ],
)
def test_what_stays_on_this_machine_or_is_allowed_is_no_mistake(urls: str, tmp_path: Path) -> None:
    account = load(written(tmp_path / "vtsync.toml", ACCOUNT + urls)).accounts["main"]
    assert not account.api_url.endswith("/")


def test_one_text_stands_for_a_list(tmp_path: Path) -> None:
    text = CRM + 'fields.phone = "mobile"\n[triggers.t]\nconnections = "crm"\non = "changed"\nfield = "f"\nfrom = "a"\n'
    settings = load(written(tmp_path / "vtsync.toml", text + 'message = "Hi"'))
    assert settings.connections["crm"].fields.phone == ("mobile",)
    assert settings.triggers["t"].connections == ("crm",)
    assert (settings.triggers["t"].from_value, settings.triggers["t"].to_value) == ("a", None)


def test_loading_leaves_no_trace_in_the_environment_without_env_files(tmp_path: Path) -> None:
    before = dict(os.environ)
    load(written(tmp_path / "vtsync.toml", ACCOUNT))
    assert dict(os.environ) == before


BASE = {"adapter": "csv", "account": "main"}


@pytest.mark.parametrize(
    "change",
    [
        {"adapter": "sql"},
        {"account": "other"},
        {"default_region": "US"},
        {"clear_empty": True},
        {"priority": 1},
        {"fields": {"phone": "mobile"}},
        {"fields": {"full_name": ["first", "last"]}},
        {"fields": {"full_name": ["last", "first"]}},
    ],
)
def test_the_fingerprint_changes_with_what_a_record_becomes(change: dict[str, object]) -> None:
    assert fingerprint(Connection.model_validate(BASE | change)) != fingerprint(Connection.model_validate(BASE))


@pytest.mark.parametrize(
    "change", [{"schedule": "5m"}, {"options": {"token": "x"}}, {"max_missing_share": 0.5}, {"enabled": False}]
)
def test_the_fingerprint_ignores_the_rest(change: dict[str, object]) -> None:
    assert fingerprint(Connection.model_validate(BASE | change)) == fingerprint(Connection.model_validate(BASE))


def test_the_fingerprint_is_the_same_in_every_release() -> None:
    """Another value would make every fleet read every record again after an upgrade."""
    assert fingerprint(Connection.model_validate(BASE)) == "b815f5ff5979c055"


def test_code_may_give_secrets_as_they_are() -> None:
    account = Account.model_validate({"uid": "u", "token": "t", "from_number": "+14155550100"})
    assert account.token.get_secret_value() == "t"
