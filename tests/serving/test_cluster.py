"""The two deployments on a real Ray: what only shows when replicas are processes."""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import ray
import websockets
from ray import serve

from tests.serving.conftest import APP, LATE_APP, Cluster
from tests.speech import DATA_DIR, TEXTS, language_of, speech
from whisper_service.errors import ModelUnavailable, UnknownLanguage, UnknownModel
from whisper_service.serving.remote_decoder import RemoteDecoder
from whisper_service.types import DecodeJob, DecodeOptions, Hypothesis

pytestmark = pytest.mark.ray

OPTIONS = DecodeOptions(temperatures=(0.0,))
SLOW = replace(OPTIONS, beam_size=5)
"""Takes some ten times as long."""


@pytest.fixture
def decoder(cluster: Cluster) -> RemoteDecoder:
    return RemoteDecoder(serve.get_deployment_handle("WhisperASR", APP), cluster.settings)


def job(name: str, options: DecodeOptions = OPTIONS) -> DecodeJob:
    return DecodeJob(speech(name), options)


def text(hypothesis: Hypothesis) -> str:
    return "".join(segment.text for segment in hypothesis.segments).strip()


async def test_a_window_is_decoded_through_the_handle(decoder: RemoteDecoder) -> None:
    hypothesis = await decoder.decode("demo", job("de_drei_vier"))
    assert (text(hypothesis), hypothesis.language) == ("drei vier", "de")
    detection = await decoder.detect_language("demo", speech("es_cinco_ocho"))
    assert detection.language == "es"


async def test_errors_of_the_tree_cross_as_they_are(
    cluster: Cluster, decoder: RemoteDecoder
) -> None:
    with pytest.raises(UnknownModel) as unknown:
        await decoder.decode("../etc/passwd", job("en_eight"))
    assert "demo" in unknown.value.details["allowed"]
    with pytest.raises(UnknownModel):
        await decoder.decode("", job("en_eight"))
    with pytest.raises(ModelUnavailable) as unavailable:
        await decoder.decode("tiny", job("en_eight"))
    assert unavailable.value.details["path"] == str(cluster.settings.weights_dir / "tiny.pt")
    with pytest.raises(UnknownLanguage) as language:
        await decoder.decode("demo", job("en_eight", replace(OPTIONS, language="xx")))
    assert language.value.details["param"] == "language"


async def test_concurrent_windows_are_not_mixed_up(decoder: RemoteDecoder) -> None:
    names = list(TEXTS) * 2
    hypotheses = await asyncio.gather(*(decoder.decode("demo", job(name)) for name in names))
    assert [text(hypothesis) for hypothesis in hypotheses] == [TEXTS[name] for name in names]


async def test_model_in_use_outlives_its_eviction_and_is_then_freed(
    decoder: RemoteDecoder,
) -> None:
    async with asyncio.TaskGroup() as group:
        in_use = await started(decoder, group)
        other = await decoder.decode("second", job("en_zero_one_two"))
    assert text(other) == "zero one two"
    assert [text(task.result()) for task in in_use] == ["four seven nine"] * len(in_use)
    loaded = {model.name for model in await decoder.models() if model.is_loaded}
    assert loaded == {"second"}


async def test_window_is_sent_again_when_its_replica_dies(
    decoder: RemoteDecoder, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = await started(decoder, group)
        ray.kill(asr_replica())
    assert [text(task.result()) for task in waiting] == ["four seven nine"] * len(waiting)
    assert "sending its work again" in caplog.text


async def test_cancelled_window_leaves_the_replica_in_order(decoder: RemoteDecoder) -> None:
    async with asyncio.TaskGroup() as group:
        for task in await started(decoder, group):
            task.cancel()
    assert text(await decoder.decode("demo", job("en_eight"))) == "eight"


async def test_ten_files_at_once_each_get_their_own_text(cluster: Cluster) -> None:
    names = list(TEXTS) * 2
    async with httpx.AsyncClient(base_url=cluster.url, timeout=60) as client:
        answers = await asyncio.gather(*(transcribe(client, name) for name in names))
    for name, answer in zip(names, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert (answer.json()["text"], answer.json()["language"]) == (
            TEXTS[name],
            language_of(name),
        )


async def test_ready_says_so(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/docs")).status_code == 200


async def test_service_without_its_model_runs_says_why_and_recovers(
    cluster: Cluster, demo_path: Path
) -> None:
    async with httpx.AsyncClient(base_url=f"{cluster.url}/late", timeout=60) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "late" in answer.json()["error"]["message"]
        assert answer.headers["Retry-After"]
        assert (await client.get("/healthz")).status_code == 200
        shutil.copy(demo_path, cluster.late_settings.weights_dir / "late.pt")
        decoder = RemoteDecoder(
            serve.get_deployment_handle("WhisperASR", LATE_APP), cluster.late_settings
        )
        assert text(await decoder.decode("late", job("en_eight"))) == "eight"
        assert (await client.get("/readyz")).status_code == 200


def test_a_callers_trace_goes_from_the_ingress_into_the_engine(cluster: Cluster) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    with (DATA_DIR / "en_eight.wav").open("rb") as file:
        answer = httpx.post(
            f"{cluster.url}/transcribe", headers=headers, files={"file": file}, timeout=60
        )
    assert answer.status_code == 200
    names = ["POST /transcribe", "WhisperASR.decode", "decode window", "queue", "encode", "decode"]
    spans = cluster.collector.trace(bytes.fromhex(trace_id), len(names))
    by_id = {span.span_id: span for span in spans}
    assert sorted(span.name for span in spans) == sorted(names)
    inner = [span for span in spans if span.name != names[0]]
    above = {span.name: by_id[span.parent_span_id].name for span in inner}
    assert above == {
        "WhisperASR.decode": "POST /transcribe",
        "decode window": "WhisperASR.decode",
        **dict.fromkeys(("queue", "encode", "decode"), "decode window"),
    }


def test_ingress_process_holds_no_torch(cluster: Cluster) -> None:
    service, asr = (mapped_files(f":{APP}:{name}") for name in ("WhisperService", "WhisperASR"))
    assert "libtorch" in asr
    assert "libtorch" not in service


async def test_stream_is_told_when_its_replica_is_taken_away(cluster: Cluster) -> None:
    url = cluster.url.replace("http", "ws") + "/late/stream"
    async with websockets.connect(url, compression=None) as socket:
        await socket.send(json.dumps({"vad": False}))
        assert json.loads(await socket.recv())["type"] == "ready"
        deletion = threading.Thread(target=serve.delete, args=(LATE_APP,))
        deletion.start()
        async with asyncio.timeout(30):
            with pytest.raises(websockets.ConnectionClosed):
                _ = [message async for message in socket]
        assert socket.close_code == 1012
    await asyncio.to_thread(deletion.join)


async def started(
    decoder: RemoteDecoder, group: asyncio.TaskGroup
) -> "list[asyncio.Task[Hypothesis]]":
    """Have slow windows accepted by the replica, some of them not even begun, and return them.

    A live window that was sent after them and answered before them says that they are there.
    """
    slow = replace(job("en_four_seven_nine", SLOW))
    tasks = [group.create_task(decoder.decode("demo", slow)) for _ in range(3)]
    await decoder.decode("demo", replace(job("en_eight"), priority="live"))
    return tasks


def asr_replica() -> ray.actor.ActorHandle:
    """The replica's actor; it can be killed as a crash would."""
    names = [
        actor["name"]
        for actor in ray.util.list_named_actors(all_namespaces=True)
        if f"{APP}#WhisperASR#" in actor["name"]
    ]
    assert len(names) == 1
    return ray.get_actor(names[0], namespace="serve")


async def transcribe(client: httpx.AsyncClient, name: str) -> httpx.Response:
    content = (DATA_DIR / f"{name}.wav").read_bytes()
    return await client.post("/transcribe", files={"file": (f"{name}.wav", content)})


def mapped_files(process_title: str) -> str:
    """What a replica's process has mapped, libraries among it."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc to look into another process")
    (folder,) = (p for p in processes() if process_title in (p / "cmdline").read_text())
    return (folder / "maps").read_text()


def processes() -> Iterator[Path]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            (folder / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        yield folder
