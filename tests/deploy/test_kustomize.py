"""The other kinds: against Kubernetes' own schemas, and against each other."""

import pytest

from tests.deploy.manifests import DEPLOY, OVERLAYS, ROLE, Manifest, load, one, rayservice, render

kubernetes_validate = pytest.importorskip("kubernetes_validate")

VERSION = "1.33"
CUSTOM = {"RayService", "PodMonitor", "PrometheusRule"}
"""Kinds of operators; Kubernetes' own schemas do not have them."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_one_that_kubernetes_takes(overlay: str) -> None:
    for manifest in render(overlay):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_the_storage_class_is_the_one_the_models_ask_for() -> None:
    (storage,) = load(DEPLOY / "eks/storage-class.yaml")
    kubernetes_validate.validate(storage, VERSION, strict=True)
    claim = one(render("gpu"), "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == storage["metadata"]["name"]


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


def test_nodes_of_eks_have_the_label_and_taint_that_gpu_workers_look_for() -> None:
    (cluster,) = load(DEPLOY / "eks/cluster.yaml")
    (group,) = [group for group in cluster["managedNodeGroups"] if group["name"] == "gpu"]
    pool = load(DEPLOY / "eks/nodepool.yaml")[0]["spec"]["template"]
    groups = rayservice("gpu")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (worker,) = [g["template"]["spec"] for g in groups if g["groupName"] == "gpu"]
    for labels in (group["labels"], pool["metadata"]["labels"]):
        assert worker["nodeSelector"].items() <= labels.items()
    assert group["taints"] == pool["spec"]["taints"]
    assert group["taints"][0]["key"] == worker["tolerations"][0]["key"]


def policies(overlay: str) -> list[Manifest]:
    return [manifest for manifest in render(overlay) if manifest["kind"] == "NetworkPolicy"]
