"""Dashboard, alerts and the table of metrics name exactly what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.core import metrics
from worker.monitoring.exposition import _Build, gauges
from worker.monitoring.state import AccountNow, FleetState
from worker.store.models import utcnow

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = DOCS / "monitoring" / "alerts.yml"
NAME = re.compile(r"\bvtsync_[a-z_]+[a-z]\b")
FULL = FleetState(
    at=utcnow(),
    messages={("main", "send", "queued"): 1},
    held={("main", "approval"): 1},
    lags={("vtsync.deliver_messages", "main"): 1.0},
    outbox_lag={"main": 1.0},
    contacts={("main", "due"): 1},
    contacts_lag={"main": 1.0},
    rejected={"crm": 1},
    last_success={"crm": utcnow()},
    next_run={"crm": utcnow()},
    accounts={"main": AccountNow(False, False, False, 5.0, "")},
    inbox={"new": 1},
    inbox_lag=1.0,
    forwards={"due": 1},
    forwards_lag=1.0,
    reviews=1,
    processes={"worker": 1},
    last_tick=utcnow(),
)


def families() -> dict[str, tuple[str, list[str]]]:
    """What there is, by name: its type and labels."""
    found: dict[str, tuple[str, list[str]]] = {}
    for family in (*gauges(FULL), *_Build("worker").collect()):
        assert family.samples, f"{family.name} has no sample"
        found[family.name] = (family.type, list(family.samples[0].labels))
    for collector in set(metrics.REGISTRY._names_to_collectors.values()):
        [family] = collector.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, list(collector._labelnames))  # type: ignore[attr-defined]
    found["vtsync_store_up"] = ("gauge", [])
    return found


def series() -> set[str]:
    """The names that a query may use."""
    names = set()
    for name, (kind, _) in families().items():
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


def test_the_table_has_every_metric_with_its_labels_and_no_other() -> None:
    rows = re.findall(r"^\| `(vtsync_\w+)` \| ([^|]*)\|", (DOCS / "monitoring.md").read_text(), re.MULTILINE)
    described = {name: re.findall(r"`(\w+)`", labels) for name, labels in rows}
    assert described == {name: labels for name, (_, labels) in families().items()}


def test_names_follow_prometheus() -> None:
    for name, (kind, labels) in families().items():
        assert name.startswith("vtsync_")
        assert name.endswith("_total") == (kind == "counter"), name
        assert not set(labels) & {"phone", "to_number", "message", "contact", "id", "external_id"}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def test_alerts_use_metrics_that_exist_and_say_what_to_do() -> None:
    for rule in rules():
        used = set(NAME.findall(rule["expr"]))
        assert used
        assert used <= series(), rule["alert"]
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_every_alert_is_in_the_document_with_its_severity() -> None:
    text = (DOCS / "monitoring.md").read_text()
    for severity in ("info", "warning", "critical"):
        [row] = re.findall(rf"^\| `{severity}`.*$", text, re.MULTILINE)
        assert set(re.findall(r"`(Vtsync\w+)`", row)) == {
            rule["alert"] for rule in rules() if rule["labels"]["severity"] == severity
        }


def test_commands_in_alerts_exist() -> None:
    from tests.test_project import COMMANDS

    named = re.findall(r"`vtsync ([a-z][a-z-]*)", ALERTS.read_text())
    assert named
    assert set(named) <= COMMANDS


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (of Prometheus) is not installed")
def test_alerts_fire_when_they_should() -> None:
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=ALERTS.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def dashboard() -> dict[str, Any]:
    return dict(json.loads((DOCS / "monitoring" / "grafana.json").read_text()))


def test_the_dashboard_uses_metrics_that_exist() -> None:
    process = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
    used: set[str] = set()
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            names = set(NAME.findall(target["expr"]))
            assert names, target["expr"]
            assert names <= series(), panel["title"]
            used |= names | {one for one in process if one in target["expr"]}
    assert used >= process
    shown = {re.sub(r"_(bucket|sum|count)$", "", one) for one in used}
    assert {name for name in families() if name not in shown} == set()


def test_the_dashboard_can_be_imported_anywhere() -> None:
    board = dashboard()
    assert board["id"] is None
    assert board["schemaVersion"] >= 39
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for one in ("account", "connection"):
        assert set(NAME.findall(variables[one]["definition"])) <= series()
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another"
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
