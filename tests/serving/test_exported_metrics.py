"""What a stream measures reaches the endpoint that Prometheus reads, on a real Ray."""

import asyncio
import re

import httpx
import pytest
import ray

from tests.end_to_end.spoken import pcm
from tests.end_to_end.stream_client import stream
from tests.serving.conftest import Cluster
from whisper_service.api import metrics

pytestmark = pytest.mark.ray

ALWAYS = (
    metrics.FIRST_PARTIAL,
    metrics.COMMIT,
    metrics.FINAL_LAG,
    metrics.LAG,
    metrics.SHOWN_WORDS,
    metrics.ACTIVE_STREAMS,
)
"""Measured of every stream with a few words; a count of what was revised or dropped begins with the
first."""
EXPORT_LIMIT_S = 90
"""Ray exports every ten seconds."""


async def test_latencies_of_a_stream_are_exported_for_its_model(cluster: Cluster) -> None:
    url = cluster.url.replace("http", "ws", 1)
    await stream(url, pcm("english"), language="en", partial_interval=0.3)
    wanted = {measure.name for measure in ALWAYS}
    async with asyncio.timeout(EXPORT_LIMIT_S):
        while not wanted <= await exported("demo"):  # noqa: ASYNC110
            await asyncio.sleep(1.0)


async def exported(model: str) -> set[str]:
    """Names of our figures that Ray's nodes export with this model, without Ray's additions."""
    found = set[str]()
    async with httpx.AsyncClient() as client:
        for node in ray.nodes():
            address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            text = (await client.get(address)).text
            lines = re.findall(rf'^ray_(whisper_\w+){{.*model="{model}"', text, re.MULTILINE)
            found |= {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in lines}
    return found
