"""The other kinds: against Kubernetes' own schemas, and against each other."""

import re
import shutil
from pathlib import Path

import pytest

from tests.deploy.manifests import (
    DEPLOY,
    OVERLAYS,
    ROLE,
    ROOT,
    Manifest,
    load,
    one,
    rayservice,
    render,
)
from tests.deploy.sums import workers

kubernetes_validate = pytest.importorskip("kubernetes_validate")

VERSION = "1.35"
CUSTOM = {"NodePool", "RayService", "PodMonitor", "PrometheusRule"}
"""Kinds of operators; Kubernetes' own schemas do not have them."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_one_that_kubernetes_takes(overlay: str) -> None:
    for manifest in render(overlay):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, VERSION, strict=True)


CLUSTER_WIDE = {"Namespace", "NodePool"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_in_the_one_namespace(overlay: str) -> None:
    for manifest in render(overlay):
        expected = None if manifest["kind"] in CLUSTER_WIDE else "whisper"
        assert manifest["metadata"].get("namespace") == expected, manifest["metadata"]["name"]


def test_the_version_of_these_schemas_is_the_clusters() -> None:
    assert one(load(DEPLOY / "eks/cluster.yaml"), "ClusterConfig")["metadata"]["version"] == VERSION


def test_every_claim_finds_a_storage_class() -> None:
    """By its name, or as the default one; without one it would wait for ever."""
    classes = load(DEPLOY / "eks/storage-classes.yaml")
    for storage in classes:
        kubernetes_validate.validate(storage, VERSION, strict=True)
    key = "storageclass.kubernetes.io/is-default-class"
    default = [
        storage
        for storage in classes
        if storage["metadata"].get("annotations", {}).get(key) == "true"
    ]
    assert [storage["parameters"]["encrypted"] for storage in default] == ["true"]
    names = {storage["metadata"]["name"] for storage in classes}
    claims = [m for m in render("ha") if m["kind"] == "PersistentVolumeClaim"]
    claims += one(render("ha"), "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert len(claims) == 2
    for claim in claims:
        assert claim["spec"].get("storageClassName") in {*names, None}


def test_budgets_are_of_the_form_that_a_ray_cluster_allows() -> None:
    """RayCluster has no scale subresource: only minAvailable, as a number, is taken."""
    for manifest in render("gpu"):
        if manifest["kind"] == "PodDisruptionBudget":
            assert manifest["spec"]["minAvailable"] == 1
            assert "maxUnavailable" not in manifest["spec"]


def test_the_dashboard_and_control_plane_are_open_to_nobody_outside() -> None:
    """Of all policies, the only way in without a namespace or pod named is port 8000."""
    open_ports = [
        port["port"]
        for policy in policies("gpu")
        for rule in policy["spec"].get("ingress", [])
        if "from" not in rule
        for port in rule["ports"]
    ]
    assert open_ports == [8000]


def test_every_ray_pod_is_fenced_both_ways() -> None:
    (inside,) = [p for p in policies("gpu") if p["metadata"]["name"] == "whisper-streaming-inside"]
    assert inside["spec"]["policyTypes"] == ["Ingress", "Egress"]
    (expression,) = inside["spec"]["podSelector"]["matchExpressions"]
    cluster = rayservice("gpu")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    roles = {group["template"]["metadata"]["labels"][ROLE] for group in groups}
    assert roles == set(expression["values"])


def test_the_load_balancer_keeps_quiet_connections_less_long_than_we_do() -> None:
    ingress = one(render("gpu"), "Ingress")
    annotations = ingress["metadata"]["annotations"]
    attributes = dict(
        item.split("=")
        for item in annotations["alb.ingress.kubernetes.io/load-balancer-attributes"].split(",")
    )
    idle = int(attributes["idle_timeout.timeout_seconds"])
    assert f"keep_alive_timeout_s: {idle + 10}" in rayservice("gpu")["spec"]["serveConfigV2"]
    (rule,) = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "whisper-streaming-serve-svc", "port": {"number": 8000}}


def test_prometheus_asks_for_ports_that_pods_have() -> None:
    cluster = rayservice("gpu")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    ports = {
        port["name"]: port["containerPort"]
        for group in groups
        for port in group["template"]["spec"]["containers"][0]["ports"]
    }
    monitor = one(render("gpu"), "PodMonitor")
    asked = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    assert asked <= ports.keys()
    (metrics,) = [p for p in policies("gpu") if p["metadata"]["name"].endswith("-metrics")]
    allowed = {port["port"] for port in metrics["spec"]["ingress"][0]["ports"]}
    assert allowed == {ports[name] for name in asked}


def test_the_head_may_fail_with_the_ha_overlay() -> None:
    cluster = rayservice("ha")["spec"]["rayClusterConfig"]
    options = cluster["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == "redis://whisper-redis:6379"
    assert "externalStorageNamespace" not in options
    names = [m["metadata"]["name"] for m in render("ha") if m["kind"] == "PodDisruptionBudget"]
    assert "whisper-streaming-head" not in names


@pytest.mark.parametrize("first", ["../gpu", "../spot", "../one-gpu"])
@pytest.mark.parametrize("components", [(), ("ha",), ("ha", "spot")])
def test_the_overlay_that_the_guide_has_one_write_renders(
    tmp_path: Path, first: str, components: tuple[str, ...]
) -> None:
    if components and first != "../gpu":
        pytest.skip("components are for ../gpu")
    guide = (ROOT / "docs/deploy-eks.md").read_text()
    (mine,) = re.findall(r"^```yaml\n(.*?)^```", guide, re.M | re.S)
    assert "  - ../gpu " in mine
    mine = mine.replace("  - ../gpu ", f"  - {first} ")
    if components:
        mine += f"components: [{', '.join(f'../../components/{name}' for name in components)}]\n"
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, deploy)
    (deploy / "overlays/mine").mkdir()
    (deploy / "overlays/mine/kustomization.yaml").write_text(mine)
    rendered = render("mine", deploy)
    assert "your-registry" not in str(rendered)
    (rule,) = one(rendered, "Ingress")["spec"]["rules"]
    assert rule["host"] == "whisper.your-company.com"
    assert "example.com" not in str(rendered)
    for manifest in rendered:
        in_whisper = manifest["metadata"].get("namespace") == "whisper"
        assert in_whisper == (manifest["kind"] not in CLUSTER_WIDE)
    spec = one(rendered, "RayService")["spec"]
    assert ("gcsFaultToleranceOptions" in spec["rayClusterConfig"]) == ("ha" in components)


def test_nodes_have_the_labels_and_the_taint_that_workers_look_for() -> None:
    pools = {m["metadata"]["name"]: m for m in load(DEPLOY / "eks/nodepools.yaml")}
    spot = one(render("spot"), "NodePool")
    for group, pool in (
        ("cpu", pools["whisper-service"]),
        ("gpu", pools["whisper-gpu"]),
        ("gpu", spot),
    ):
        worker, template = workers(rayservice("gpu"))[group], pool["spec"]["template"]
        selector = worker["template"]["spec"]["nodeSelector"]
        assert selector.items() <= template["metadata"]["labels"].items()
        tolerated = {t["key"] for t in worker["template"]["spec"].get("tolerations", [])}
        assert tolerated == {taint["key"] for taint in template["spec"].get("taints", [])}
        reference = template["spec"]["nodeClassRef"]["name"]
        assert pools[reference]["kind"] == "EC2NodeClass"


def test_gpu_nodes_have_the_label_without_which_the_device_plugin_starts_nowhere() -> None:
    pools = [*load(DEPLOY / "eks/nodepools.yaml"), one(render("spot"), "NodePool")]
    for pool in pools:
        if pool["metadata"]["name"].startswith("whisper-gpu"):
            labels = pool["spec"]["template"]["metadata"]["labels"]
            assert labels["nvidia.com/gpu.present"] == "true"


def test_the_dashboards_token_outlives_a_cluster() -> None:
    """Without a name of ours the operator makes one for each RayCluster, and an upgrade another."""
    for overlay in ("gpu", "ha", "spot", "one-gpu"):
        options = rayservice(overlay)["spec"]["rayClusterConfig"]["authOptions"]
        assert options == {"mode": "token", "secretName": "whisper-streaming-ray"}
        guide = (ROOT / "docs/deploy-eks.md").read_text()
        assert "create secret generic whisper-streaming-ray --from-literal=auth_token" in guide
    assert "secretName" not in rayservice("file")["spec"]["rayClusterConfig"]["authOptions"]


def policies(overlay: str) -> list[Manifest]:
    return [manifest for manifest in render(overlay) if manifest["kind"] == "NetworkPolicy"]
