"""docker-compose.yml: what it starts exists, and each service has the rights, secrets and networks that it needs."""

from __future__ import annotations

import re
import shutil
import stat
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.errors import ConfigError
from config.load import load_scheduler, load_store, settings_from
from tests.deploy.files import (
    COMPOSE,
    DEPLOY,
    NEEDED,
    ROOT,
    ComposeSecrets,
    check_all_work_is_taken,
    check_command,
    check_health,
    make_secrets,
    seconds,
)

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"] == "virtualtext-crm-sync"}


@pytest.fixture
def secrets(tmp_path: Path) -> ComposeSecrets:
    return make_secrets(tmp_path)


def test_it_starts_commands_of_ours_which_take_all_work() -> None:
    for one in OURS.values():
        check_command(one["command"])
    check_all_work_is_taken([one["command"] for one in OURS.values()])


@pytest.mark.parametrize("name", ["worker", "worker-sync", "beat", "web"])
def test_it_asks_each_for_its_own_health_and_gives_it_time_to_stop(name: str) -> None:
    one = OURS[name]
    role = one["command"][0]
    check_health(one["healthcheck"]["test"], role)
    assert seconds(one.get("stop_grace_period", "10s")) >= NEEDED[role]
    assert one["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_rights(name: str) -> None:
    one = SERVICES[name]
    assert one["cap_drop"] == ["ALL"]
    assert "cap_add" not in one
    assert "privileged" not in one
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["read_only"] is (name != "rabbitmq")
    assert ("user" not in one) is (name not in ("redis", "postgres", "rabbitmq"))  # the others' images have one


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_lasts_is_limited_and_faces_this_machine_only(name: str) -> None:
    one = SERVICES[name]
    assert one["logging"]["options"]["max-size"]
    assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
    assert one["restart"] == ("no" if name == "migrate" else "unless-stopped")
    named = {volume.split(":")[0] for volume in one.get("volumes", []) if not volume.startswith("./")}
    assert named <= set(COMPOSE["volumes"])
    for volume in one.get("volumes", []):
        path = volume.split(":")[0]
        if path.startswith("./docs/"):
            assert (ROOT / path).is_file(), path


def test_without_a_profile_there_is_a_fleet() -> None:
    assert {name for name, one in SERVICES.items() if "profiles" not in one} == {
        "redis", "postgres", "migrate", "worker", "worker-sync", "beat",
    }  # fmt: skip


# --- images


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OURS])
def test_the_image_of_others_is_a_full_version_in_the_list(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image == COMPOSE["x-images"][name]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image), image


# --- secrets


NEEDED_SECRETS = {
    "redis": {"redis_users"},
    "postgres": {"postgres_password"},
    "migrate": {"store_url"},
    "beat": {"store_url", "broker_url"},
    "sandbox": set(),
    "rabbitmq": {"rabbitmq_users"},
    "flower": {"flower_broker_url", "flower_password"},
    "prometheus": set(),
    "alertmanager": {"alert_webhook_url"},
    "grafana": {"grafana_password"},
} | {key: set(COMPOSE["x-secrets"]) for key in ("worker", "worker-sync", "web")}


def secrets_of(one: dict[str, Any]) -> set[str]:
    return {given if isinstance(given, str) else given["source"] for given in one.get("secrets", [])}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_its_own_secrets_and_no_other(name: str) -> None:
    one = SERVICES[name]
    assert secrets_of(one) == NEEDED_SECRETS[name]
    assert "env_file" not in one
    for variable, value in (one.get("environment") or {}).items():
        secret_name = re.search(r"PASS|TOKEN|SECRET|KEY", variable)
        assert secret_name is None or str(value).startswith("/run/secrets/"), f"{variable} holds a secret"
    named = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(one)))
    assert named <= secrets_of(one)


def test_every_secret_is_a_file_that_the_script_makes_and_only_its_owner_reaches(secrets: ComposeSecrets) -> None:
    used = set(chain.from_iterable(map(secrets_of, SERVICES.values())))
    assert used == set(COMPOSE["secrets"])
    for name, one in COMPOSE["secrets"].items():
        assert one == {"file": f"./secrets/{name}"}
        # The user of a container is another one than the owner: the folder keeps others out, not the file.
        assert stat.S_IMODE((secrets.folder / name).stat().st_mode) == 0o644
    assert stat.S_IMODE(secrets.folder.stat().st_mode) == 0o700
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "secrets/" in ignored


def test_the_script_names_what_is_missing_and_changes_nothing_when_it_runs_again(
    tmp_path: Path, secrets: ComposeSecrets
) -> None:
    empty = {"virtualtext_uid", "virtualtext_token", "alert_webhook_url"}
    assert {line.rpartition("/")[2] for line in secrets.said.splitlines()} == empty
    assert {path.name for path in secrets.folder.iterdir() if not path.stat().st_size} == empty
    (secrets.folder / "virtualtext_uid").write_text("u\n")
    before = {path.name: path.read_text() for path in secrets.folder.iterdir()}
    (secrets.folder / "grafana_password").unlink()  # as after an upgrade that needs one more
    again = make_secrets(tmp_path)
    after = {path.name: path.read_text() for path in secrets.folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"grafana_password"}
    assert "virtualtext_uid" not in again.said


def test_a_password_that_exists_is_kept_in_its_url(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "postgres_password").write_text("of-an-older-fleet\n")
    assert ":of-an-older-fleet@postgres/" in make_secrets(tmp_path).read("store_url")


def test_no_two_secrets_are_alike(secrets: ComposeSecrets) -> None:
    words = re.findall(r"[0-9a-f]{48}", " ".join(path.read_text() for path in secrets.folder.iterdir()))
    assert len(set(words)) == 6  # PostgreSQL, two users of Redis, RabbitMQ, Flower, Grafana
    assert len(secrets.read("grant_key")) == 44


@pytest.fixture
def container(tmp_path: Path, secrets: ComposeSecrets) -> Path:
    """The configuration as a container sees it, with its secrets in another folder."""
    for name in ("virtualtext_uid", "virtualtext_token"):
        (secrets.folder / name).write_text("x\n")
    text = (DEPLOY / "compose" / "vtsync.toml").read_text()
    (tmp_path / "vtsync.toml").write_text(text.replace("/run/secrets", str(secrets.folder)))
    return tmp_path


def test_the_configuration_names_the_secrets_that_ours_get(container: Path, secrets: ComposeSecrets) -> None:
    text = (DEPLOY / "compose" / "vtsync.toml").read_text()
    assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(COMPOSE["x-secrets"])
    settings = settings_from(tomllib.loads((container / "vtsync.toml").read_text()), container)
    assert settings.database_url() == secrets.read("store_url")
    assert settings.broker.url is not None
    assert settings.broker.url.get_secret_value() == secrets.read("broker_url")


def test_the_migration_needs_the_store_s_secret_alone(container: Path, secrets: ComposeSecrets) -> None:
    given = secrets_of(OURS["migrate"])
    for path in secrets.folder.iterdir():
        if path.name not in given:
            path.unlink()
    assert load_store(container / "vtsync.toml").database_url() == secrets.read("store_url")
    shutil.rmtree(secrets.folder)
    with pytest.raises(ConfigError, match=r"store\.url"):
        load_store(container / "vtsync.toml")


def test_the_scheduler_needs_the_secrets_of_store_and_broker_alone(container: Path, secrets: ComposeSecrets) -> None:
    given = secrets_of(OURS["beat"])
    for path in secrets.folder.iterdir():
        if path.name not in given:
            path.unlink()
    settings = load_scheduler(container / "vtsync.toml")
    assert settings.database_url() == secrets.read("store_url")
    assert settings.broker.url is not None
    assert settings.broker.url.get_secret_value() == secrets.read("broker_url")
    assert not settings.accounts


# --- networks


CALLS = {
    "migrate": {"postgres"},
    "worker": {"postgres", "redis", "rabbitmq", "sandbox"},
    "worker-sync": {"postgres", "redis", "rabbitmq", "sandbox"},
    "beat": {"postgres", "redis", "rabbitmq"},
    "web": {"postgres", "redis", "rabbitmq"},
    "sandbox": {"web"},
    "flower": {"redis", "rabbitmq"},
    "prometheus": {"worker", "worker-sync", "beat", "alertmanager"},
    "grafana": {"prometheus"},
}
"""Who calls whom."""
MUST_NOT_REACH = {
    "flower": {"postgres"},
    "prometheus": {"postgres", "redis", "rabbitmq"},
    "alertmanager": {"postgres", "redis", "rabbitmq", "worker", "web"},
    "grafana": {"postgres", "redis", "rabbitmq", "worker", "web"},
    "sandbox": {"postgres", "redis", "rabbitmq"},
    "migrate": {"redis", "rabbitmq"},
    "redis": {"postgres"},
    "postgres": {"redis", "rabbitmq"},
}
CALLS_THE_INTERNET = {"worker", "worker-sync", "web", "sandbox", "alertmanager"}


def networks(name: str) -> set[str]:
    return set(SERVICES[name]["networks"])


def is_internal(network: str) -> bool:
    return bool((COMPOSE["networks"][network] or {}).get("internal"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_reaches_what_it_calls_and_no_data_that_is_not_its_own(name: str) -> None:
    for other in CALLS.get(name, ()):
        assert networks(name) & networks(other), f"{name} cannot reach {other}"
    for other in MUST_NOT_REACH.get(name, ()):
        assert not networks(name) & networks(other), f"{name} can reach {other}"


@pytest.mark.parametrize("name", SERVICES)
def test_only_who_calls_or_is_called_from_outside_has_a_way_out(name: str) -> None:
    has_way_out = not all(map(is_internal, networks(name)))
    called = bool(SERVICES[name].get("ports"))  # a port is published by a network that is not internal
    assert has_way_out == (name in CALLS_THE_INTERNET or called)


# --- monitoring


MONITORING = DEPLOY / "monitoring"


def test_prometheus_asks_where_the_workers_answer_and_tells_alertmanager() -> None:
    scraped = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    names = {name for one in job["dns_sd_configs"] for name in one["names"]}
    assert names == {name for name, one in OURS.items() if one["command"][0] in ("worker", "beat")}
    (told,) = scraped["alerting"]["alertmanagers"]
    assert told["static_configs"] == [{"targets": ["alertmanager:9093"]}]


def test_alertmanager_tells_somebody_of_every_alert() -> None:
    text = (MONITORING / "alertmanager.yml").read_text()
    configured = yaml.safe_load(text)
    receivers = {one["name"]: one for one in configured["receivers"]}
    routes = [configured["route"], *configured["route"].get("routes", [])]
    assert {route["receiver"] for route in routes if "receiver" in route} <= set(receivers)
    assert set(receivers[configured["route"]["receiver"]]) > {"name"}, "the default tells nobody"
    alerts = yaml.safe_load((ROOT / "docs" / "monitoring" / "alerts.yml").read_text())
    severities = {
        rule["labels"]["severity"] for group in alerts["groups"] for rule in group["rules"] if "alert" in rule
    }
    matched = {
        word for route in routes for matcher in route.get("matchers", []) for word in re.findall(r'"(\w+)"', matcher)
    }
    assert matched <= severities
    assert set(re.findall(r"^[^#]*/run/secrets/(\w+)", text, re.MULTILINE)) == secrets_of(SERVICES["alertmanager"])
