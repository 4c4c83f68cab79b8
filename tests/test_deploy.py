"""The files that run a fleet elsewhere: what they start exists, and their times and rights are right."""

from __future__ import annotations

import configparser
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import settings_from
from config.models import Settings
from tests.test_project import COMMANDS
from worker import cli
from worker.broker.settings import BY_NAME, celery_settings
from worker.fleet.processes import STOP_SECONDS
from worker.monitoring.pulse import ROLES
from worker.web.serve import STOP_SECONDS as WEB_STOP_SECONDS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"] == "virtualtext-crm-sync"}
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in KUBERNETES
    if one["kind"] in ("Deployment", "Job")
}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
NEEDED = {"worker": STOP_SECONDS, "web": WEB_STOP_SECONDS, "beat": 10.0}
"""Seconds that a process may take to stop."""


def check_command(arguments: list[str]) -> None:
    """It is one of ours, and its queues are."""
    assert arguments[0] in COMMANDS
    if "--queues" in arguments:
        assert set(arguments[arguments.index("--queues") + 1].split(",")) <= set(BY_NAME)


def check_all_work_is_taken(commands: list[list[str]]) -> None:
    """Between them the workers take every kind of work."""
    workers = [one for one in commands if one[0] == "worker"]
    taken = [set(one[one.index("--queues") + 1].split(",")) if "--queues" in one else set(BY_NAME) for one in workers]
    assert set().union(*taken) == set(BY_NAME)


def check_health(command: list[str], role: str) -> None:
    assert command[-4:] == ["vtsync", "health", "--role", role]
    assert role in ROLES
    assert command[0] in COMMANDS | {"vtsync", "CMD"}


def seconds(text: str) -> float:
    (number,) = re.fullmatch(r"(\d+)s", text).groups()  # type: ignore[union-attr]
    return float(number)


# --- compose


def test_compose_starts_commands_of_ours_which_take_all_work() -> None:
    for one in OURS.values():
        check_command(one["command"])
    check_all_work_is_taken([one["command"] for one in OURS.values()])


@pytest.mark.parametrize("name", ["worker", "worker-sync", "beat", "web"])
def test_compose_asks_each_for_its_own_health_and_gives_it_time_to_stop(name: str) -> None:
    one = OURS[name]
    role = one["command"][0]
    check_health(one["healthcheck"]["test"], role)
    assert seconds(one.get("stop_grace_period", "10s")) >= NEEDED[role]
    assert one["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("name", OURS)
def test_compose_gives_ours_no_rights(name: str) -> None:
    one = OURS[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in one  # the image's own


def test_compose_keeps_what_must_last_limits_the_rest_and_faces_this_machine_only() -> None:
    for name, one in COMPOSE["services"].items():
        assert one["logging"]["options"]["max-size"], name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name
        assert one["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        assert re.search(r":[\w.-]*\d", one["image"]) or name in OURS, f"the image of {name} is not pinned"
        named = {volume.split(":")[0] for volume in one.get("volumes", []) if not volume.startswith("./")}
        assert named <= set(COMPOSE["volumes"])
        for volume in one.get("volumes", []):
            path = volume.split(":")[0]
            if path.startswith("./docs/"):
                assert (ROOT / path).is_file(), path
    assert {name for name, one in COMPOSE["services"].items() if "profiles" not in one} == {
        "redis", "postgres", "migrate", "worker", "worker-sync", "beat",
    }  # fmt: skip


def test_prometheus_asks_where_the_workers_answer() -> None:
    scraped = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    names = {name for one in job["dns_sd_configs"] for name in one["names"]}
    assert names == {name for name, one in OURS.items() if one["command"][0] in ("worker", "beat")}


# --- Kubernetes


def test_kubernetes_has_a_configuration_that_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    import tomllib

    for name in ("UID", "TOKEN", "STORE_URL", "BROKER_URL"):
        value = {"STORE_URL": "postgresql+psycopg://u:p@db/x", "BROKER_URL": "rediss://:p@redis/0"}.get(name, "x")
        monkeypatch.setenv(f"VTSYNC_{name}", value)
    (text,) = [one["data"]["vtsync.toml"] for one in KUBERNETES if one["kind"] == "ConfigMap"]
    settings = settings_from(tomllib.loads(text), Path("/etc/vtsync"))
    ports = {
        port["containerPort"] for pod in PODS.values() for one in pod["containers"] for port in one.get("ports", [])
    }
    assert {settings.metrics.port, settings.metrics.beat_port} <= ports
    mounted = {one["mountPath"] for pod in PODS.values() for one in pod["containers"][0]["volumeMounts"]}
    assert str(settings.data_dir) in mounted


def test_kubernetes_starts_commands_of_ours_which_take_all_work() -> None:
    commands = [pod["containers"][0]["args"] for pod in PODS.values()]
    for one in commands:
        check_command(one)
    check_all_work_is_taken(commands)
    assert {one[0] for one in commands} == {"migrate", "worker", "beat", "web"}


@pytest.mark.parametrize("name", PODS)
def test_pods_run_without_rights_and_with_limits(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(re.search(r"--uid (\d+)", dockerfile()).group(1))  # type: ignore[union-attr]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]
    assert container["envFrom"] == [{"secretRef": {"name": "vtsync"}}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("name", [name for name in PODS if name != "vtsync-migrate"])
def test_pods_are_asked_for_their_health_and_have_time_to_stop(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    role = container["args"][0]
    for probe in ("startupProbe", "livenessProbe"):
        check_health(container[probe]["exec"]["command"], role)
    assert pod["terminationGracePeriodSeconds"] >= NEEDED[role]


def test_budgets_and_services_mean_pods_that_exist() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in KUBERNETES if one["kind"] == "Deployment"]
    for one in KUBERNETES:
        if one["kind"] == "PodDisruptionBudget":
            assert one["spec"]["selector"]["matchLabels"] in labels
        if one["kind"] == "Service":
            assert one["spec"]["selector"] in labels
        if one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]


# --- systemd


def unit(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=True, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(path.read_text())
    return parsed


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_commands_of_ours_without_rights(path: Path) -> None:
    service = unit(path)["Service"]
    program, command = service["ExecStart"].split()
    assert program == "/opt/vtsync/bin/vtsync"
    check_command([command])
    assert service["User"] == "vtsync"
    for key, value in {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "CapabilityBoundingSet": ""}.items():
        assert service[key] == value
    if command in NEEDED:
        assert service["Restart"] == "always"
        assert float(service["TimeoutStopSec"]) >= NEEDED[command]
        assert unit(path)["Install"]["WantedBy"] == "vtsync.target"


# --- the image


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_the_image_takes_hashed_packages_only_and_runs_without_rights() -> None:
    text = dockerfile()
    stages = text.split("\nFROM ")
    assert "USER vtsync" in stages[-1]
    assert all("--require-hashes" in line or "--no-deps" in line for line in text.splitlines() if "pip install" in line)
    assert 'CMD ["vtsync", "health"]' in text
    ignored = (ROOT / ".dockerignore").read_text()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in copied.split():
            assert f"!{name}\n" in ignored, f"{name} is copied, and .dockerignore leaves it out"
            assert (ROOT / name).exists()
    for lock in re.findall(r"LOCK=(\S+\.lock)", text):
        assert (ROOT / lock).is_file()


def test_the_lock_with_extras_has_the_extras_and_what_the_project_is_tested_with() -> None:
    def locked(name: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+==[^\\\n]+?) ?\\?$", (ROOT / name).read_text(), re.MULTILINE))

    extras = locked("requirements-otel-sentry.lock")
    assert extras <= locked("requirements-dev.lock")
    names = {line.split("==")[0] for line in extras}
    assert {line.split("==")[0] for line in locked("requirements.lock")} <= names
    assert {"sentry-sdk", "opentelemetry-sdk"} <= names


def test_the_first_process_of_a_container_stops_when_asked_even_while_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("sys.argv", ["vtsync", "--help"])
    try:
        with pytest.raises(SystemExit):
            cli.main()
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        with pytest.raises(SystemExit) as ended:
            handler(signal.SIGTERM, None)
        assert ended.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_is_given_to_stop_covers_what_the_worker_takes() -> None:
    soft = celery_settings(Settings())["worker_soft_shutdown_timeout"]
    assert soft < STOP_SECONDS
