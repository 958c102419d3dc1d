"""The sums behind docs/deploy-eks.md: what pods ask for, nodes have, and an account must allow.

    python -m tests.deploy.sums

Reads the rendered overlays. What nodes and DaemonSets take is of EKS's, Karpenter's and the
add-ons' own documents; no node was asked.
"""

from dataclasses import dataclass

from ray.autoscaler._private.kuberay.autoscaling_config import _get_ray_resources_from_group_spec

from tests.deploy.manifests import DEPLOY, Manifest, load, one, rayservice

ON_EKS = ("gpu", "ha", "spot", "one-gpu")
"""The overlays that run on the nodes of deploy/eks."""
IMAGE = 6.0
"""GiB the image takes on a node: torch with its CUDA 4.5, the rest of the packages 1.1, the system
0.3 (Debian's and Python's base, ffmpeg)."""
SIZES = {"": 1.0, "m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
MiB, GiB = SIZES["Mi"], SIZES["Gi"]


def number(quantity: str | float) -> float:
    """Cores or bytes of a Kubernetes quantity."""
    text = str(quantity)
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * SIZES[unit]


@dataclass(frozen=True, slots=True)
class Ask:
    """Cores, and bytes of memory and disk."""

    cpu: float = 0.0
    memory: float = 0.0
    disk: float = 0.0

    def __add__(self, other: "Ask") -> "Ask":
        return Ask(self.cpu + other.cpu, self.memory + other.memory, self.disk + other.disk)

    def fits(self, room: "Ask") -> bool:
        return self.cpu <= room.cpu and self.memory <= room.memory and self.disk <= room.disk


DAEMON_SETS = {
    "aws-node": Ask(0.05),  # the CNI and its agent for network policies, 25m each
    "kube-proxy": Ask(0.1),
    "ebs-csi-node": Ask(0.03, 120 * MiB),  # 10m and 40Mi for each of three containers
    "efs-csi-node": Ask(0.03, 120 * MiB),
    "eks-pod-identity-agent": Ask(),
    "nvidia-device-plugin": Ask(),
    "prometheus-node-exporter": Ask(),
}
"""Requests of what runs on every node; those without any still take some, of what is left over."""

SYSTEM = {
    "karpenter": (2, Ask(1.0, 1 * GiB)),  # as docs/deploy-eks.md installs it
    "coredns": (2, Ask(0.1, 70 * MiB)),
    "ebs-csi-controller": (2, Ask(0.06, 240 * MiB)),
    "efs-csi-controller": (2, Ask(0.06, 240 * MiB)),
    "kuberay-operator": (1, Ask(0.1, 512 * MiB)),
    "prometheus": (1, Ask(0.5, 2 * GiB)),  # asks for nothing; what it takes for this
}
"""Pods of the group `system` beside our heads and Redis: how many, and what each asks for."""


@dataclass(frozen=True, slots=True)
class Node:
    """An EC2 instance of four cores and 16 GiB as a node of EKS."""

    name: str
    n_gpus: int = 0
    vcpus: int = 4
    max_pods: int = 58  # four network interfaces of fifteen addresses
    disk: float = 100 * GiB

    @property
    def room(self) -> Ask:
        """What pods can ask for: less the kubelet's own share, its eviction thresholds, what
        Karpenter reckons the hypervisor takes (7.5 %), and the DaemonSets."""
        reserved = 0.06 + 0.01 + 2 * 0.005
        memory = 16 * GiB * (1 - 0.075) - (255 + 11 * self.max_pods + 100) * MiB
        taken = sum(DAEMON_SETS.values(), Ask())
        return Ask(
            self.vcpus - reserved - taken.cpu,
            memory - taken.memory,
            self.disk * 0.9 - 1 * GiB - 2 * IMAGE * GiB,  # both images of an upgrade
        )


SERVICE_NODE = Node("m7i.xlarge")
GPU_NODES = (Node("g6.xlarge", n_gpus=1), Node("g5.xlarge", n_gpus=1))


def asked(spec: Manifest) -> Ask:
    """What a pod's containers request."""
    requests = [container["resources"]["requests"] for container in spec["containers"]]
    return sum(
        (
            Ask(number(r["cpu"]), number(r["memory"]), number(r.get("ephemeral-storage", 0)))
            for r in requests
        ),
        Ask(),
    )


def head(service: Manifest) -> Ask:
    """The head's pod, with Ray's autoscaler in it."""
    cluster = service["spec"]["rayClusterConfig"]
    autoscaler = cluster["autoscalerOptions"]["resources"]["requests"]
    extra = Ask(number(autoscaler["cpu"]), number(autoscaler["memory"]))
    return asked(cluster["headGroupSpec"]["template"]["spec"]) + extra


def workers(service: Manifest) -> dict[str, Manifest]:
    """The worker groups by name."""
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return {group["groupName"]: group for group in groups}


def ray_resources(group: Manifest) -> dict[str, int]:
    """What Ray counts on a pod of a group, as its autoscaler reads it."""
    found: dict[str, int] = _get_ray_resources_from_group_spec(group, is_head=False)
    return found


@dataclass(frozen=True, slots=True)
class Need:
    """Nodes at one time."""

    when: str
    n_service: int
    n_gpu: int

    @property
    def row(self) -> str:
        (system,) = one(load(DEPLOY / "eks/cluster.yaml"), "ClusterConfig")["managedNodeGroups"]
        n_standard = self.n_service + system["desiredCapacity"]
        cells = self.when, self.n_service, self.n_gpu, 4 * n_standard, 4 * self.n_gpu
        return f"| {' | '.join(map(str, cells))} |"


def needs(overlay: str) -> list[Need]:
    """The nodes an overlay takes: at its least, at its most, and with a second cluster."""
    service = rayservice(overlay)
    groups = workers(service)
    least, most = (
        (groups["cpu"][bound], groups["gpu"][bound]) for bound in ("minReplicas", "maxReplicas")
    )
    found = [Need("without load", *least), Need("at the most", *most)]
    if service["spec"]["upgradeStrategy"]["type"] == "None":
        return found
    return [
        *found,
        Need("in an upgrade, without load", 2 * least[0], 2 * least[1]),
        Need("in an upgrade, at the most", 2 * most[0], 2 * most[1]),
    ]


def quota_table() -> str:
    """What an account must allow, by overlay, as Markdown."""
    lines = [
        f"| | CPU nodes ({SERVICE_NODE.name}) | GPU nodes ({GPU_NODES[0].name}) | vCPUs, Standard |"
        " vCPUs, G and VT |",
        "|---|---|---|---|---|",
    ]
    for overlay in ("gpu", "spot", "one-gpu"):
        name = "`gpu`, `ha`" if overlay == "gpu" else f"`{overlay}`"
        lines += [need.row.replace("| ", f"| {name} ", 1) for need in needs(overlay)]
    return "\n".join(lines)


def room_table() -> str:
    """What each pod asks for and what its node has left for it, as Markdown."""
    service = rayservice("gpu")
    groups = workers(service)
    pods = [("CPU worker", asked(groups["cpu"]["template"]["spec"]), SERVICE_NODE)]
    gpu = asked(groups["gpu"]["template"]["spec"])
    pods += [("GPU worker", gpu, node) for node in GPU_NODES]
    lines = [
        "| pod | node | cores asked, there | memory asked, there (GiB) | disk asked, there (GiB) |",
        "|---|---|---|---|---|",
    ]
    for name, ask, node in pods:
        room = node.room
        lines.append(
            f"| {name} | {node.name} | {ask.cpu:.1f}, {room.cpu:.2f}"
            f" | {ask.memory / GiB:.1f}, {room.memory / GiB:.1f}"
            f" | {ask.disk / GiB:.0f}, {room.disk / GiB:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(f"{room_table()}\n\n{quota_table()}")  # noqa: T201
