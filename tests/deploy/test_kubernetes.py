"""docs/deploy/kubernetes.yaml: the pods, what they may do, and who may call whom."""

from __future__ import annotations

import re
import tomllib
from ipaddress import ip_address, ip_network
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import settings_from
from config.models import Settings
from tests.deploy.files import DEPLOY, NEEDED, check_all_work_is_taken, check_command, check_health, dockerfile

KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
WORKLOADS = {one["metadata"]["name"]: one for one in KUBERNETES if one["kind"] in ("Deployment", "Job")}
PODS = {name: one["spec"]["template"]["spec"] for name, one in WORKLOADS.items()}
LABELS = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in WORKLOADS.items()}
POLICIES = [one["spec"] for one in KUBERNETES if one["kind"] == "NetworkPolicy"]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("UID", "TOKEN", "STORE_URL", "BROKER_URL"):
        value = {"STORE_URL": "postgresql+psycopg://u:p@db/x", "BROKER_URL": "rediss://:p@redis/0"}.get(name, "x")
        monkeypatch.setenv(f"VTSYNC_{name}", value)
    (text,) = [one["data"]["vtsync.toml"] for one in KUBERNETES if one["kind"] == "ConfigMap"]
    return settings_from(tomllib.loads(text), Path("/etc/vtsync"))


def test_it_has_a_configuration_that_loads(settings: Settings) -> None:
    ports = {
        port["containerPort"] for pod in PODS.values() for one in pod["containers"] for port in one.get("ports", [])
    }
    assert {settings.metrics.port, settings.metrics.beat_port} <= ports
    mounted = {one["mountPath"] for pod in PODS.values() for one in pod["containers"][0]["volumeMounts"]}
    assert str(settings.data_dir) in mounted


def test_it_starts_commands_of_ours_which_take_all_work() -> None:
    commands = [pod["containers"][0]["args"] for pod in PODS.values()]
    for one in commands:
        check_command(one)
    check_all_work_is_taken(commands)
    assert {one[0] for one in commands} == {"migrate", "worker", "beat", "web"}


@pytest.mark.parametrize("name", PODS)
def test_pods_run_without_rights_and_with_limits(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["runAsUser"] == int(re.search(r"--uid (\d+)", dockerfile()).group(1))  # type: ignore[union-attr]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    for volume in pod["volumes"]:
        assert "configMap" in volume or volume["emptyDir"]["sizeLimit"]


NOT_NEEDED = {"vtsync-migrate": {"vtsync-broker", "vtsync-account"}, "vtsync-beat": {"vtsync-account"}}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_gets_its_own_secrets_and_no_other(name: str) -> None:
    needed = {"vtsync-store", "vtsync-broker", "vtsync-account"} - NOT_NEEDED.get(name, set())
    (container,) = PODS[name]["containers"]
    assert {one["secretRef"]["name"] for one in container["envFrom"]} == needed
    assert all("valueFrom" not in one for one in container["env"])
    text = (DEPLOY / "kubernetes.yaml").read_text()
    for secret in needed:
        assert f"create secret generic {secret} " in text


@pytest.mark.parametrize("name", [name for name in PODS if name != "vtsync-migrate"])
def test_pods_are_asked_for_their_health_and_have_time_to_stop(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    role = container["args"][0]
    for probe in ("startupProbe", "livenessProbe"):
        check_health(container[probe]["exec"]["command"], role)
    assert pod["terminationGracePeriodSeconds"] >= NEEDED[role]


def test_budgets_and_services_mean_pods_that_exist() -> None:
    for one in KUBERNETES:
        if one["kind"] == "PodDisruptionBudget":
            assert one["spec"]["selector"]["matchLabels"] in LABELS.values()
        if one["kind"] == "Service":
            assert one["spec"]["selector"] in LABELS.values()
        if one["kind"] == "Deployment":
            assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]


# --- network policies


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector selects a pod, for the operators that the file uses."""
    wanted = [(key, [value]) for key, value in selector.get("matchLabels", {}).items()]
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In"
        wanted.append((one["key"], one["values"]))
    return all(labels.get(key) in values for key, values in wanted)


def rules(name: str, direction: str) -> list[dict[str, Any]]:
    """What the policies allow a pod: `egress` or `ingress`."""
    mine = [one for one in POLICIES if selects(one["podSelector"], LABELS[name])]
    return list(chain.from_iterable(one.get(direction, []) for one in mine))


def may_call(name: str, address: str, port: int) -> bool:
    for rule in rules(name, "egress"):
        if port not in [one["port"] for one in rule["ports"]]:
            continue
        for peer in rule["to"]:
            block = peer.get("ipBlock")
            if block is not None and ip_address(address) in ip_network(block["cidr"]):
                return not any(ip_address(address) in ip_network(one) for one in block.get("except", []))
    return False


@pytest.mark.parametrize("name", PODS)
def test_what_no_policy_allows_is_denied_in_both_directions(name: str) -> None:
    denied = [one for one in POLICIES if selects(one["podSelector"], LABELS[name]) and len(one["policyTypes"]) == 2]
    assert any(not one.get("ingress") and not one.get("egress") for one in denied)


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize(
    ("address", "port", "who"),
    [
        ("10.1.2.3", 5432, "all"),
        ("10.1.2.3", 6379, "all"),
        ("203.0.113.7", 443, "callers"),
        ("2001:db8::7", 443, "callers"),
        ("203.0.113.7", 80, "none"),
        ("203.0.113.7", 5432, "none"),
        ("10.96.0.1", 443, "none"),  # the API of the cluster
        ("169.254.169.254", 80, "none"),  # metadata of the cloud, with its credentials
        ("169.254.169.254", 443, "none"),
        ("192.168.1.1", 443, "none"),
        ("fd00::1", 443, "none"),
    ],
)
def test_whom_a_pod_may_call(name: str, address: str, port: int, who: str) -> None:
    callers = {"vtsync-worker", "vtsync-worker-sync", "vtsync-web"}
    assert may_call(name, address, port) == (who == "all" or (who == "callers" and name in callers))


@pytest.mark.parametrize("name", PODS)
def test_who_may_call_a_pod(name: str) -> None:
    (container,) = PODS[name]["containers"]
    asked = {one["port"] for rule in rules(name, "ingress") for one in rule["ports"]}
    assert asked == {port["name"] for port in container.get("ports", [])}, "each port has its callers"
    assert all(rule["from"] for rule in rules(name, "ingress")), "an empty list would allow everybody"


def test_every_pod_asks_for_names() -> None:
    for name in PODS:
        assert {("UDP", 53), ("TCP", 53)} <= {
            (one["protocol"], one["port"]) for rule in rules(name, "egress") for one in rule["ports"]
        }
