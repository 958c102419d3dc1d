"""Numbers that stand in several manifests, and the sums they have to come to."""

import copy

import pytest

from tests.deploy.manifests import (
    DEPLOY,
    OVERLAYS,
    ROOT,
    Manifest,
    load,
    one,
    pod_specs,
    rayservice,
    render,
    serve_config,
)
from tests.deploy.sums import (
    GPU_NODES,
    ON_EKS,
    SERVICE_NODE,
    SYSTEM,
    Ask,
    GiB,
    MiB,
    asked,
    head,
    number,
    quota_table,
    ray_resources,
    room_table,
    workers,
)
from whisper_service.api.files.transcription import MAX_FFMPEG
from whisper_service.api.live.streams import MAX_CONTAINERS
from whisper_service.settings import Settings

SPOT_NOTICE = 120
RAY = 700 * MiB
"""Of a worker pod: the raylet, its agents, and the node's proxy."""
REPLICA = 402 * MiB
"""The most a WhisperService took while bodies of 300 MB came (docs/benchmarks.md)."""
FFMPEG = 55 * MiB
"""Of one process (docs/operations.md)."""


@pytest.fixture(params=ON_EKS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def service(overlay: str) -> Manifest:
    return rayservice(overlay)


@pytest.fixture(params=["file", *OVERLAYS])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def any_service(source: str) -> Manifest:
    return rayservice(source)


def deployment(service: Manifest, name: str) -> Manifest:
    (found,) = (d for d in _deployments(service) if d["name"] == name)
    return found


def _deployments(service: Manifest) -> list[Manifest]:
    deployments: list[Manifest] = serve_config(service)["applications"][0]["deployments"]
    return deployments


def settings(service: Manifest) -> Settings:
    return Settings(**serve_config(service)["applications"][0]["args"])


def seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


# --- room


def test_a_worker_fits_the_nodes_that_are_made_for_it(service: Manifest) -> None:
    groups = workers(service)
    assert asked(groups["cpu"]["template"]["spec"]).fits(SERVICE_NODE.room)
    for node in GPU_NODES:
        assert asked(groups["gpu"]["template"]["spec"]).fits(node.room), node.name


def test_heads_and_operators_fit_the_nodes_that_are_always_there(overlay: str) -> None:
    """The largest first, each on the first node with room, both heads of an upgrade among them."""
    (system,) = one(load(DEPLOY / "eks/cluster.yaml"), "ClusterConfig")["managedNodeGroups"]
    assert system["instanceType"] == SERVICE_NODE.name
    assert system["volumeSize"] * GiB == SERVICE_NODE.disk
    pods = [ask for number, ask in SYSTEM.values() for _ in range(number)]
    pods += 2 * [head(rayservice(overlay))]
    others = [m for m in render(overlay) if m["kind"] in ("Job", "StatefulSet")]
    pods += [asked(spec) for manifest in others for _, spec in pod_specs(manifest)]
    nodes = system["desiredCapacity"] * [Ask()]
    for pod in sorted(pods, key=lambda ask: -ask.cpu):
        at = next(i for i, taken in enumerate(nodes) if (taken + pod).fits(SERVICE_NODE.room))
        nodes[at] += pod


def test_disks_of_the_sums_are_those_of_the_nodes() -> None:
    node_class = one(load(DEPLOY / "eks/nodepools.yaml"), "EC2NodeClass")
    (disk,) = node_class["spec"]["blockDeviceMappings"]
    assert number(disk["ebs"]["volumeSize"]) == SERVICE_NODE.disk


def test_a_pod_asks_for_the_disk_that_its_volumes_may_fill(
    source: str, any_service: Manifest
) -> None:
    if source == "cpu":
        pytest.skip("a laptop's disk is what it is")
    for name, spec in pod_specs(any_service):
        volumes = [volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume]
        filled = sum(number(volume["sizeLimit"]) for volume in volumes)
        assert asked(spec).disk >= filled > 0, name


def test_a_replica_has_the_cores_that_ray_counts(source: str, any_service: Manifest) -> None:
    """Ray counts the limit unless told otherwise, and Kubernetes keeps the request."""
    if source == "cpu":
        pytest.skip("on a laptop replicas share cores")
    for group in workers(any_service).values():
        assert ray_resources(group)["CPU"] == asked(group["template"]["spec"]).cpu


def test_a_cpu_worker_has_memory_for_all_that_its_replicas_may_do(service: Manifest) -> None:
    group = workers(service)["cpu"]
    processes = MAX_FFMPEG + MAX_CONTAINERS
    n_replicas = deployment(service, "WhisperService")["max_replicas_per_node"]
    store = float(group["rayStartParams"]["object-store-memory"])
    needed = n_replicas * (REPLICA + processes * FFMPEG) + store + RAY
    resources = group["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert needed <= 0.95 * number(resources["limits"]["memory"]), "where Ray kills workers"


# --- scaling


def test_as_many_replicas_are_on_a_node_as_it_has_cores_for(
    source: str, any_service: Manifest
) -> None:
    if source == "cpu":
        pytest.skip("a laptop is one node")
    found = deployment(any_service, "WhisperService")
    cores = ray_resources(workers(any_service)["cpu"])["CPU"]
    assert found["max_replicas_per_node"] == cores / found["ray_actor_options"]["num_cpus"]


def test_an_update_of_all_replicas_has_a_core_to_begin_with(service: Manifest) -> None:
    """`max_surge_percent` is 100: Serve stops no old replica before a new one runs."""
    group, found = workers(service)["cpu"], deployment(service, "WhisperService")
    cores = group["maxReplicas"] * ray_resources(group)["CPU"]
    n_replicas = found["autoscaling_config"]["max_replicas"]
    assert cores >= (n_replicas + 1) * found["ray_actor_options"]["num_cpus"]


def test_replicas_that_may_be_asked_for_have_a_gpu(service: Manifest) -> None:
    group, found = workers(service)["gpu"], deployment(service, "WhisperASR")
    autoscaling = found["autoscaling_config"]
    for bound in ("min", "max"):
        gpus = group[f"{bound}Replicas"] * ray_resources(group)["GPU"]
        replicas = autoscaling[f"{bound}_replicas"] * found["ray_actor_options"]["num_gpus"]
        assert gpus == replicas


def test_node_pools_let_an_upgrade_have_both_clusters() -> None:
    pools = {m["metadata"]["name"]: m for m in load(DEPLOY / "eks/nodepools.yaml")}
    groups = workers(rayservice("gpu"))
    pool = pools["whisper-service"]["spec"]
    assert number(pool["limits"]["cpu"]) == 2 * groups["cpu"]["maxReplicas"] * SERVICE_NODE.vcpus
    spot = one(load(DEPLOY / "components/spot/nodepool.yaml"), "NodePool")
    for found in (pools["whisper-gpu"], spot):
        limit = found["spec"]["limits"]["nvidia.com/gpu"]
        assert limit == 2 * groups["gpu"]["maxReplicas"]


def test_with_one_gpu_no_upgrade_waits_for_a_second() -> None:
    service = rayservice("one-gpu")
    assert service["spec"]["upgradeStrategy"]["type"] == "None"
    assert workers(service)["gpu"]["maxReplicas"] == 1
    assert deployment(service, "WhisperASR")["autoscaling_config"]["max_replicas"] == 1
    for other in ("gpu", "ha", "spot"):
        assert rayservice(other)["spec"]["upgradeStrategy"]["type"] == "NewCluster"


@pytest.mark.parametrize(("overlay", "bound", "value"), [("one-gpu", "max", 1), ("spot", "min", 2)])
def test_an_overlay_changes_of_the_serve_config_what_it_says(
    overlay: str, bound: str, value: int
) -> None:
    """The string is written out anew in each, so nothing else may differ."""
    expected = copy.deepcopy(serve_config(rayservice("file")))
    (application,) = expected["applications"]
    (asr,) = (d for d in application["deployments"] if d["name"] == "WhisperASR")
    asr["autoscaling_config"][f"{bound}_replicas"] = value
    assert serve_config(rayservice(overlay)) == expected


def test_the_guide_tells_these_sums() -> None:
    guide = (ROOT / "docs/deploy-eks.md").read_text()
    assert room_table() in guide, "python -m tests.deploy.sums"
    assert quota_table() in guide, "python -m tests.deploy.sums"


# --- nodes that go


def test_no_worker_keeps_its_node_from_being_drained(overlay: str) -> None:
    """Karpenter evicts no pod with this annotation, also when a spot node is taken away."""
    assert "do-not-disrupt" not in str(render(overlay))


def test_nodes_are_given_their_drain() -> None:
    """Karpenter cuts a pod's grace period short where the node's own is less."""
    for pool in load(DEPLOY / "eks/nodepools.yaml"):
        if pool["kind"] != "NodePool":
            continue
        grace = seconds(pool["spec"]["template"]["spec"]["terminationGracePeriod"])
        for group in workers(rayservice("gpu")).values():
            assert grace > group["template"]["spec"]["terminationGracePeriodSeconds"]


def test_spot_workers_are_told_to_go_as_soon_as_the_notice_comes() -> None:
    """Karpenter deletes a pod so long before the node's end as its grace period is, whatever a
    disruption budget says; before that it evicts, which a budget may refuse."""
    pool = one(render("spot"), "NodePool")["spec"]["template"]["spec"]
    grace = seconds(pool["terminationGracePeriod"])
    group = workers(rayservice("spot"))["gpu"]
    assert grace <= SPOT_NOTICE
    assert grace <= group["template"]["spec"]["terminationGracePeriodSeconds"]
    assert group["minReplicas"] >= 2
    (capacity,) = (r for r in pool["requirements"] if r["key"] == "karpenter.sh/capacity-type")
    assert capacity["values"] == ["spot"]


def test_nodes_are_on_demand_unless_asked_otherwise() -> None:
    for pool in load(DEPLOY / "eks/nodepools.yaml"):
        if pool["kind"] == "NodePool":
            requirements = pool["spec"]["template"]["spec"]["requirements"]
            capacity = {r["key"]: r["values"] for r in requirements}
            assert capacity["karpenter.sh/capacity-type"] == ["on-demand"]


def test_a_budget_refuses_nobody_where_there_is_one_pod() -> None:
    budgets = [m for m in render("one-gpu") if m["kind"] == "PodDisruptionBudget"]
    assert "whisper-streaming-asr" not in {budget["metadata"]["name"] for budget in budgets}


def test_the_load_balancer_leaves_sockets_to_the_cluster_that_is_replaced(overlay: str) -> None:
    annotations = one(render(overlay), "Ingress")["metadata"]["annotations"]
    attributes = annotations["alb.ingress.kubernetes.io/target-group-attributes"].split(",")
    (delay,) = (a.split("=")[1] for a in attributes if a.startswith("deregistration_delay"))
    assert int(delay) == rayservice(overlay)["spec"]["rayClusterDeletionDelaySeconds"]


def test_host_and_zone_are_spread_over(service: Manifest) -> None:
    spread = workers(service)["cpu"]["template"]["spec"]["topologySpreadConstraints"]
    assert [(s["topologyKey"], s["whenUnsatisfiable"]) for s in spread] == [
        ("kubernetes.io/hostname", "DoNotSchedule"),
        ("topology.kubernetes.io/zone", "ScheduleAnyway"),
    ]
