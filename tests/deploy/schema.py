"""KubeRay's own schema of a RayService: read for the tests, made anew from its definition.

    python -m tests.deploy.schema ray.io_rayservices.yaml

kuberay/README.md has its source and its licence.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import yaml

SCHEMA = Path(__file__).with_name("kuberay") / "rayservice.json.gz"


def rayservice_schema() -> Any:
    """The schema, every object of it closed: what the API server would drop is an error."""
    return _forbid_unknown(json.loads(gzip.decompress(SCHEMA.read_bytes())))


def reduce(definition: dict[str, Any]) -> bytes:
    """What is kept of a custom resource definition: version v1, without descriptions."""
    (version,) = (v for v in definition["spec"]["versions"] if v["name"] == "v1")
    schema = _without_descriptions(version["schema"]["openAPIV3Schema"])
    return gzip.compress(json.dumps(schema, separators=(",", ":")).encode(), 9, mtime=0)


def _without_descriptions(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_descriptions(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A property may be called so, too; what describes is a string.
    described = isinstance(schema.get("description"), str)
    kept = {key: value for key, value in schema.items() if not (described and key == "description")}
    return {key: _without_descriptions(value) for key, value in kept.items()}


def _forbid_unknown(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_forbid_unknown(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _forbid_unknown(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        closed["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if schema.get("x-kubernetes-int-or-string"):
        closed = {"type": ["integer", "string"]}
    return closed


if __name__ == "__main__":
    SCHEMA.write_bytes(reduce(yaml.safe_load(Path(sys.argv[1]).read_text())))
