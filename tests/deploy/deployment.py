"""Deploy the serveConfigV2 of a manifest on a Ray of its own, without its Secret and with it, and
say as JSON what came of each.

A process of its own: the tests of serving/ have another Ray in theirs. What is changed of the
config is what a laptop has not: the address, a model whose weights have to be downloaded, and a
device for it. GPUs are counted only, as Ray does it.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import ray
from ray import serve
from ray.serve._private.api import serve_start
from ray.serve.schema import ServeDeploySchema

from benchmarks.local_service import free_port
from tests.deploy.manifests import ROLE, ROOT, Manifest, environment, rayservice, serve_config

KEY = "a key that only this test has"
SECRETS = {"without": {}, "with a Secret": {"api-keys": KEY, "resume-key": "another secret"}}
START_TIMEOUT = 180.0
DIGITS = ROOT / "tests/data/digits.wav"


def adapted(config: Manifest, port: int, variables: dict[str, str]) -> Manifest:
    """The config for this machine; the processes of the application have these variables too."""
    config["http_options"].update(host="127.0.0.1", port=port)
    (application,) = config["applications"]
    application["args"].update(default_model="demo", preload_models="demo", device="cpu")
    application["runtime_env"] = {"env_vars": variables}
    return config


def deploy(source: str) -> dict[str, Any]:
    """Start Ray with what every container has, deploy with each of `SECRETS`, stop."""
    service = rayservice(source)
    given = environment(service, SECRETS["without"])
    os.environ.update(given, RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        ray.init(
            address="local",
            num_cpus=16,
            num_gpus=4,
            labels={ROLE: "service"},
            include_dashboard=False,
            object_store_memory=150_000_000,
            log_to_driver=False,
            _temp_dir=folder,
        )
        try:
            outcomes = {}
            for name, secret in SECRETS.items():
                more = {k: v for k, v in environment(service, secret).items() if k not in given}
                config = adapted(serve_config(service), port, more)
                outcomes[name] = _outcome(ServeDeploySchema(**config), f"http://127.0.0.1:{port}")
            return outcomes
        finally:
            serve.shutdown()
            ray.shutdown()


def _outcome(config: ServeDeploySchema, url: str) -> dict[str, Any]:
    """Deploy, ask, and delete again."""
    client = serve_start(http_options=config.http_options.model_dump())
    client.deploy_apps(config, _blocking=False)
    status = _settled()
    outcome = {"status": status}
    if status["status"] == "RUNNING":
        outcome |= _answers(url)
    client.delete_apps([application.name for application in config.applications])
    return outcome


def _settled() -> dict[str, Any]:
    """Wait until the application runs or has failed; what Serve says of it."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        (status,) = serve.status().applications.values()
        if status.status in ("RUNNING", "DEPLOY_FAILED", "UNHEALTHY"):
            break
        time.sleep(0.5)
    replicas = {
        name: deployment.replica_states.get("RUNNING", 0)
        for name, deployment in status.deployments.items()
    }
    return {"status": status.status, "message": status.message, "replicas": replicas}


def _answers(url: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=url, timeout=60) as client, DIGITS.open("rb") as file:
        stranger = client.get("/models").status_code
        stats = client.get("/stats", headers=headers).json()
        answer = client.post("/transcribe", headers=headers, files={"file": file})
        return {
            "stranger": stranger,
            "access": stats["access"],
            "warnings": [warning["code"] for warning in stats["warnings"]],
            "code": answer.status_code,
            "answer": answer.json(),
        }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(deploy(sys.argv[1])))
