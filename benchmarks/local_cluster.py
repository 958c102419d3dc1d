"""The manifest's application on a Ray cluster of several nodes, all of them on this machine.

A head without work, nodes for WhisperService and nodes with a GPU that is only counted, each with
a raylet and a proxy of its own. The proxies share one port, so the kernel plays the load balancer;
the config goes the way the operator sends it. What a laptop lacks is changed: the address, the
keys, the model, the device, and one core for each WhisperASR.
"""

import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import serve
from ray._common.utils import get_default_ray_temp_dir
from ray.cluster_utils import Cluster
from ray.serve._private.api import serve_start
from ray.serve._private.client import ServeControllerClient
from ray.serve.schema import ServeDeploySchema

from benchmarks.local_service import ROOT, free_port
from benchmarks.processes import family, holds_connection

Node = Any
"""ray._private.node.Node, which has no types."""
START_TIMEOUT = 180.0
_POLL = 0.1
_N_SERVICE = 2
_NODES: dict[str, dict[str, Any]] = {
    "service": {"num_cpus": 2, "labels": {"whisper-streaming/role": "service"}},
    "asr": {"num_cpus": 1, "num_gpus": 1, "labels": {"whisper-streaming/role": "asr"}},
}
"""A node for each kind of worker has room for one WhisperASR, or for two WhisperService."""


class LocalCluster:
    """A running cluster; `local_cluster` makes it."""

    def __init__(self, cluster: Cluster, config: dict[str, Any]) -> None:
        self._cluster = cluster
        self._config = config
        self.port = int(config["http_options"]["port"])
        self._nodes: dict[str, list[Node]] = {kind: [] for kind in _NODES}
        self._client: ServeControllerClient | None = None

    def add_node(self, kind: str) -> None:
        """Start one more node, as an autoscaler does."""
        resources = {**_NODES[kind], "object_store_memory": 100_000_000}
        self._nodes[kind].append(self._cluster.add_node(**resources))

    def start(self) -> None:
        """Connect, start Serve and deploy; raises RuntimeError if it comes to nothing."""
        ray.init(self._cluster.address, log_to_driver=False, logging_level=logging.WARNING)
        schema = ServeDeploySchema(**self._config)
        self._client = serve_start(
            http_options=schema.http_options.model_dump(), proxy_location=schema.proxy_location
        )
        self.deploy()
        self.wait_until(self.is_whole, START_TIMEOUT)

    def deploy(
        self, args: Mapping[str, Any] | None = None, **autoscaling: Mapping[str, Any]
    ) -> None:
        """Send the config again, with these arguments of the application and these options of the
        deployments' autoscaling changed for good."""
        (application,) = self._config["applications"]
        application["args"].update(args or {})
        for deployment in application["deployments"]:
            deployment["autoscaling_config"].update(autoscaling.get(deployment["name"], {}))
        assert self._client is not None
        self._client.deploy_apps(ServeDeploySchema(**self._config), _blocking=False)

    def replicas(self) -> dict[str, dict[str, int]]:
        """How many replicas of each deployment are in each state."""
        applications = serve.status().applications.values()
        return {
            name: {str(state): n for state, n in deployment.replica_states.items()}
            for application in applications
            for name, deployment in application.deployments.items()
        }

    def is_whole(self) -> bool:
        """Whether Serve says that all it wants runs: every replica, and every proxy but those that
        it takes away, on nodes whose last replica has gone."""
        status = serve.status()
        if any(
            application.status == "DEPLOY_FAILED" for application in status.applications.values()
        ):
            raise RuntimeError(f"the application could not be deployed: {status}")
        states = [set(states) for states in self.replicas().values()]
        return (
            bool(states)
            and all(application.status == "RUNNING" for application in status.applications.values())
            and all(found == {"RUNNING"} for found in states)
            and all(state in ("HEALTHY", "DRAINING") for state in status.proxies.values())
        )

    def wait_until(self, is_so: Callable[[], bool], timeout: float) -> float:
        """Return after how many seconds it was so; raises TimeoutError."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() - began > timeout:
                raise TimeoutError(f"not so after {timeout:g} s: {serve.status()}")
            time.sleep(_POLL)
        return time.monotonic() - began

    def processes(self, title: str) -> list[int]:
        """Processes of the cluster whose title has this in it, those of workers first."""
        return [
            pid
            for node in [*self._nodes["asr"], *self._nodes["service"], self._cluster.head_node]
            for pid, name in family(_raylet(node)).items()
            if title in name
        ]

    def has_connection(self, kind: str, port: int) -> bool:
        """Whether the proxy of a node of this kind has a client's connection from this port."""
        return any(
            holds_connection(pid, port)
            for node in self._nodes[kind]
            for pid in family(_raylet(node))
        )

    def kill_node(self, kind: str) -> None:
        """End all processes of a node at once, as a power cut or a reclaimed spot node does."""
        node = self._nodes[kind].pop()
        for pid in family(_raylet(node)):
            os.kill(pid, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def local_cluster(n_asr: int = 2) -> Iterator[LocalCluster]:
    """Serve on a head, two nodes for WhisperService and `n_asr` for WhisperASR, for a block.

    There are as many WhisperASR replicas as nodes for them, two WhisperService, and no autoscaling
    until `deploy` says so.
    """
    with open(ROOT / "whisper-rayservice.yaml", encoding="utf-8") as file:
        spec = yaml.safe_load(file)["spec"]
    os.environ.update(_environment(spec), RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    config = _for_here(yaml.safe_load(spec["serveConfigV2"]), n_asr)
    # Cluster writes its address there, and expects that some Ray has run on this machine before.
    Path(get_default_ray_temp_dir()).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        head = {"num_cpus": 0, "object_store_memory": 100_000_000, "include_dashboard": False}
        cluster = Cluster(
            initialize_head=True,
            head_node_args={**head, "temp_dir": folder, "dashboard_agent_listen_port": 0},
        )
        running = LocalCluster(cluster, config)
        try:
            for _ in range(_N_SERVICE):
                running.add_node("service")
            for _ in range(n_asr):
                running.add_node("asr")
            running.start()
            yield running
        finally:
            serve.shutdown()
            ray.shutdown()
            cluster.shutdown()


def _environment(spec: dict[str, Any]) -> dict[str, str]:
    """What the manifest gives every Ray container, but for its secrets."""
    (container,) = spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    return {**given, "WHISPER_REQUIRE_KEYS": "off"}


def _for_here(config: dict[str, Any], n_asr: int) -> dict[str, Any]:
    config["http_options"].update(host="127.0.0.1", port=free_port())
    (application,) = config["applications"]
    application["args"].update(default_model="demo", preload_models="demo", device="cpu")
    n_replicas = {"WhisperService": _N_SERVICE, "WhisperASR": n_asr}
    for deployment in application["deployments"]:
        n = n_replicas[deployment["name"]]
        deployment["autoscaling_config"].update(min_replicas=n, max_replicas=n)
        deployment["ray_actor_options"]["num_cpus"] = 1
    return dict(config)


def _raylet(node: Node) -> int:
    (raylet,) = node.all_processes["raylet"]
    return int(raylet.process.pid)
