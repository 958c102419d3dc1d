"""Dashboard and alerts: every query names a metric that is exported, and labels that it has."""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import yaml

from tests.deploy.manifests import DEPLOY, ROOT, load
from whisper_service.api.metrics import STREAM_MEASURES, UPLOAD_MEASURES
from whisper_service.serving.metrics import ENGINE_MEASURES, WINDOW

DASHBOARD = json.loads((DEPLOY / "grafana/whisper-streaming.json").read_text())
(RULES,) = load(DEPLOY / "monitoring/alerts.yaml")
ALERTS = [rule for group in RULES["spec"]["groups"] for rule in group["rules"]]

OURS = {
    measure.name: measure
    for measure in (*STREAM_MEASURES, *UPLOAD_MEASURES, WINDOW, *ENGINE_MEASURES)
}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SERVE_LABELS = {
    "application_status": {"application"},
    "autoscaling_desired_replicas": {"application", "deployment"},
    "autoscaling_target_replicas": {"application", "deployment"},
    "deployment_queued_queries": {"application", "deployment", "handle"},
    "deployment_replica_healthy": {"application", "deployment", "replica"},
    "health_check_failures_total": {"application", "deployment", "replica"},
    "num_http_requests_total": {"application", "method", "route", "status_code"},
    "replica_processing_queries": {"application", "deployment", "replica"},
}
"""Serve's own, as a running service exported them (Ray 2.60)."""
ALWAYS = {"le", "instance"}


def queries() -> Iterator[tuple[str, str]]:
    """Where a query is, and the query."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]


QUERIES = list(queries())


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_every_metric_exists(where: str, query: str) -> None:
    names = set(re.findall(r"\bray_\w+", query))
    assert names
    assert [name for name in names if not _exists(name)] == []


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_every_label_is_one_of_the_metrics(where: str, query: str) -> None:
    labels = set(re.findall(r"(\w+)\s*=~?\s*\"", query))
    for grouped in re.findall(r"\bby \(([^)]*)\)", query):
        labels |= {label.strip() for label in grouped.split(",")}
    for name in re.findall(r"\bray_\w+", query):
        assert labels <= _labels(name) | ALWAYS, name


def _exists(name: str) -> bool:
    plain = name.removeprefix("ray_")
    if plain.startswith("serve_"):
        return plain.removeprefix("serve_") in SERVE_LABELS
    if plain.startswith("node_"):
        return f'"{plain}"' in _ray_source("dashboard/modules/reporter/reporter_agent.py")
    return any(
        plain == measure.name + suffix
        for measure in OURS.values()
        for suffix in SUFFIXES[measure.kind]
    )


def _labels(name: str) -> set[str]:
    if name.startswith("ray_serve_"):
        return SERVE_LABELS[name.removeprefix("ray_serve_")]
    if name.startswith("ray_node_"):
        return set()
    return {"model", "application", "deployment", "replica"}


@pytest.mark.parametrize("name", SERVE_LABELS)
def test_serve_has_the_metric_by_that_name(name: str) -> None:
    literal = f"serve_{name}"
    if name == "num_http_requests_total":  # put together from the protocol's name
        literal = "serve_num_{protocol_name}_requests"
    assert literal in "".join(
        _ray_source(f"serve/_private/{file}.py")
        for file in (
            "application_state",
            "autoscaling_state",
            "deployment_state",
            "replica",
            "request_ingress_metrics",
            "router",
        )
    )


@functools.cache
def _ray_source(path: str) -> str:
    return (Path(ray.__file__).parent / path).read_text()


def test_every_alert_is_explained_where_operators_look() -> None:
    handbook = (ROOT / "docs/operations.md").read_text()
    explained = set(re.findall(r"^### (Whisper\w+)", handbook, re.M))
    assert explained == {alert["alert"] for alert in ALERTS}


def test_alerts_say_how_bad_it_is_and_what_it_is() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["annotations"]["summary"]


def test_panels_have_their_own_place_and_number() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(RULES["spec"]))
    done = subprocess.run(
        [promtool, "check", "rules", str(rules)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
