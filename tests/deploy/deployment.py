"""Deploy the serveConfigV2 of a manifest on a Ray of its own, and say as JSON what came of it.

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
SECRETS = {"with a Secret": {"api-keys": KEY, "resume-key": "another secret"}, "without": {}}
START_TIMEOUT = 180.0
DIGITS = ROOT / "tests/data/digits.wav"


def adapted(config: Manifest, port: int) -> Manifest:
    """The config for this machine."""
    config["http_options"].update(host="127.0.0.1", port=port)
    (application,) = config["applications"]
    application["args"].update(default_model="demo", preload_models="demo", device="cpu")
    return config


def deploy(source: str, secret: dict[str, str]) -> dict[str, Any]:
    """Start, deploy, ask, stop."""
    service = rayservice(source)
    os.environ.update(
        environment(service, secret), RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0"
    )
    port = free_port()
    config = ServeDeploySchema(**adapted(serve_config(service), port))
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
            client = serve_start(http_options=config.http_options.model_dump())
            client.deploy_apps(config, _blocking=False)
            status = _settled()
            if status["status"] != "RUNNING":
                return {"status": status}
            return {"status": status, **_answers(f"http://127.0.0.1:{port}")}
        finally:
            serve.shutdown()
            ray.shutdown()


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
    outcome = deploy(sys.argv[1], SECRETS[sys.argv[2]])
    Path(sys.argv[3]).write_text(json.dumps(outcome))
