"""WhisperASR's own rules, in this process: loading, readiness and health, without a cluster."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from whisper_service.api.log_context import SessionFilter
from whisper_service.engine.engine import Engine
from whisper_service.engine.request import Request
from whisper_service.errors import InternalError, ModelUnavailable, ServiceError, UnknownModel
from whisper_service.serving import asr as asr_module
from whisper_service.serving import health_probe, model_loader
from whisper_service.serving.answer import Answer
from whisper_service.serving.asr import WhisperASR
from whisper_service.serving.model_loader import ModelLoader
from whisper_service.settings import Settings
from whisper_service.types import DecodeJob, Hypothesis, ModelStatus

WAIT = 10.0
JOB = DecodeJob(np.zeros(100, np.float32))


class FakeEngine:
    """An engine that says its name, and can be made to fail or to stand still."""

    is_multilingual, n_parameters, encode_batch, n_rows, cache_bytes = False, 7, 1, 1, 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.fails = False
        self.warm_ups = 0
        self.requests: list[Request] = []

    def warm_up(self) -> None:
        self.warm_ups += 1
        self._work()

    def refuse(self, request: Request) -> bool:
        return False

    def has_room(self, *requests: Request) -> bool:
        return True

    def admit(self, requests: list[Request]) -> None:
        self.requests += requests

    def step(self) -> None:
        self._work()
        for request in self.requests:
            request.outcome = Hypothesis(self.name, 1.0)
        self.requests.clear()

    def reset(self) -> None:
        self.requests.clear()

    def _work(self) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT)
        if self.fails:
            raise ZeroDivisionError


class LocalLoader(ModelLoader):
    """A loader whose models are fakes; `load_gate` holds up their loads."""

    def __init__(self, *args: Any) -> None:
        self.engines: dict[str, FakeEngine] = {}
        self.load_gate = threading.Event()
        self.load_gate.set()
        self.loading = threading.Event()
        self.loads: list[str] = []
        super().__init__(*args)

    def _load_engine(self, name: str) -> Engine:
        self.loads.append(name)
        self.loading.set()
        assert self.load_gate.wait(WAIT)
        self.engines[name] = FakeEngine(name)
        return self.engines[name]  # type: ignore[return-value]


class LocalASR(WhisperASR):
    """WhisperASR with such a loader."""

    _loader: LocalLoader


@pytest.fixture(autouse=True)
def _no_multiplexer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a dict for Serve's cache."""

    def keep_all(
        load: Callable[[str], Awaitable[Any]], max_models: int
    ) -> Callable[[str], Awaitable[Any]]:
        cache: dict[str, Any] = {}

        async def get(name: str) -> Any:
            if name not in cache:
                cache[name] = await load(name)
            return cache[name]

        return get

    monkeypatch.setattr(model_loader, "_multiplexed", keep_all)
    monkeypatch.setattr(asr_module, "ModelLoader", LocalLoader)


Start = Callable[..., Awaitable[LocalASR]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a replica whose folder holds mine.pt and other.pt."""
    started = []
    for name in ("mine", "other"):
        (tmp_path / f"{name}.pt").touch()

    async def start(missing: dict[str, str] | None = None, **settings: Any) -> LocalASR:
        asr = LocalASR.__new__(LocalASR)
        base = {"model_dir": tmp_path, "default_model": "mine", "download_models": False}
        await asr.__init__(Settings(**{**base, **settings}), missing)  # type: ignore[misc]
        started.append(asr)
        return asr

    yield start
    for asr in started:
        for engine in asr._loader.engines.values():
            engine.gate.set()
        asr._worker.close(WAIT)
        asr._loader.close()


async def test_models_of_the_settings_are_loaded_and_have_decoded_before_it_is_ready(
    start: Start,
) -> None:
    asr = await start(preload_models="mine,other")
    assert asr._loader.loads == ["mine", "other"]
    assert [engine.warm_ups for engine in asr._loader.engines.values()] == [1, 1]
    assert await asr.check() is None


@pytest.mark.parametrize("device", ["auto", "cuda"])
async def test_a_gpu_whose_driver_is_too_old_is_refused_and_the_reason_told(
    start: Start, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12080).")

    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(asr_module, "_assigned_resources", lambda: {"CPU": 1.0, "GPU": 1.0})
    with pytest.raises(RuntimeError) as refusal:
        await start(device=device)
    assert "too old (found version 12080). torch" in str(refusal.value)
    assert "CUDA 13.0, which needs NVIDIA's driver 580 or newer" in str(refusal.value)
    assert "WHISPER_DEVICE=cpu" in str(refusal.value)


@pytest.mark.parametrize(("device", "n_gpus"), [("cpu", 1), ("auto", 0)])
async def test_who_asks_for_the_cpu_or_has_no_gpu_needs_no_driver(
    start: Start, monkeypatch: pytest.MonkeyPatch, device: str, n_gpus: int
) -> None:
    """Without one of its own it would see those of others."""

    def init() -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(asr_module, "_assigned_resources", lambda: {"GPU": n_gpus})
    asr = await start(device=device)
    assert await asr.check() is None
    assert asr._settings.device == "cpu"


@pytest.mark.parametrize(("num_cpus", "n_threads"), [(3.0, 3), (1.5, 2), (0.5, 1)])
async def test_decoding_uses_as_many_threads_as_the_replica_has_cores(
    start: Start, monkeypatch: pytest.MonkeyPatch, num_cpus: float, n_threads: int
) -> None:
    """Also where the decoding thread has been at work before: OpenMP counts for each thread."""
    monkeypatch.setattr(asr_module, "_assigned_resources", lambda: {"CPU": num_cpus})
    asr = await start(asr_num_cpus=7)  # what Ray has given counts
    await asyncio.wrap_future(asr._worker.call(lambda: torch.set_num_threads(2)))
    await asr.decode("other", JOB)
    assert await asyncio.wrap_future(asr._worker.call(torch.get_num_threads)) == n_threads


async def test_one_load_serves_all_who_wait_and_outlives_them(start: Start) -> None:
    asr = await start()
    asr._loader.load_gate.clear()
    asr._loader.loading.clear()
    impatient = asyncio.create_task(asr.decode("other", JOB))
    patient = asyncio.create_task(asr.decode("other", JOB))
    await asyncio.to_thread(asr._loader.loading.wait, WAIT)
    impatient.cancel()
    asr._loader.load_gate.set()
    assert await patient == Answer(Hypothesis("other", 1.0), "local")
    assert impatient.cancelled()
    assert asr._loader.loads == ["mine", "other"]


async def test_request_during_a_long_load_is_told_to_come_back(start: Start) -> None:
    asr = await start(decode_timeout=0.05)
    asr._loader.load_gate.clear()
    answer = await asr.decode("other", JOB)
    assert isinstance(answer, ModelUnavailable)
    assert "still being loaded" in answer.message
    assert answer.retry_after
    asr._loader.load_gate.set()
    await asyncio.gather(*asr._loader._loads.values())


async def test_name_that_cannot_be_had_loads_nothing(start: Start) -> None:
    asr = await start()
    assert isinstance(await asr.decode("nonsense", JOB), UnknownModel)
    assert isinstance(await asr.decode("tiny", JOB), ModelUnavailable)
    assert asr._loader.loads == ["mine"]


async def test_bug_is_answered_without_its_details(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    asr = await start()
    asr._loader.engines["mine"].fails = True
    answer = await asr.decode("mine", JOB)
    assert isinstance(answer, InternalError)
    assert "ZeroDivision" not in answer.message
    assert "ZeroDivisionError" in caplog.text


async def test_replica_without_weights_is_alive_and_says_why_it_is_not_ready(
    start: Start, tmp_path: Path
) -> None:
    asr = await start(default_model="tiny", demo_fallback=False)
    await asr.check_health()
    answer = await asr.check()
    assert answer is not None
    assert answer.http_status == 503
    assert str(tmp_path / "tiny.pt") in answer.message


async def test_demo_answers_in_place_of_a_default_that_cannot_be_had(
    start: Start, tmp_path: Path
) -> None:
    asr = await start(default_model="tiny")
    assert await asr.check() is None
    assert asr._loader.loads == ["demo"]
    demo = await status_of(asr, "demo")
    assert demo.stands_in_for == "tiny"
    assert str(tmp_path / "tiny.pt") in (demo.reason or "")


async def test_nothing_answers_for_a_default_that_does_not_exist(start: Start) -> None:
    asr = await start(default_model="nonsense")
    assert asr._loader.loads == []
    answer = await asr.check()
    assert answer is not None
    assert "no model 'nonsense'" in answer.message


async def test_a_first_load_may_take_longer_than_a_request_may(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_loader, "_LOAD_SHARE", 1e-9)
    asr = await start()
    assert asr._loader.loads == ["mine"]
    assert await asr.check() is None


async def test_the_default_is_asked_for_again_and_takes_its_place(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_loader, "_STAND_IN_RETRY", 0.01)
    asr = await start(default_model="tiny")
    (tmp_path / "tiny.pt").touch()
    assert asr._loader._second_try is not None
    await asyncio.wait_for(asr._loader._second_try, WAIT)
    assert asr._loader.loads == ["demo", "tiny"]
    assert (await status_of(asr, "demo")).stands_in_for is None


async def test_what_was_missing_a_moment_ago_is_not_waited_for_again(start: Start) -> None:
    asr = await start(missing={"mine": "Nobody has it."})
    assert asr._loader.loads == ["demo"]
    assert (await status_of(asr, "demo")).reason == "Nobody has it."


async def test_a_default_may_go_by_a_published_name(start: Start, tmp_path: Path) -> None:
    (tmp_path / "base.pt").touch()
    asr = await start(default_model="openai/whisper-base")
    assert asr._loader.loads == ["base"]


async def status_of(asr: LocalASR, name: str) -> ModelStatus:
    models = await asr.models()
    assert not isinstance(models, ServiceError)
    return next(status for status in models if status.name == name)


async def test_missing_model_is_tried_again_now_and_then(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asr = await start(default_model="late")
    assert await asr.check() is not None
    (asr._settings.weights_dir / "late.pt").touch()
    assert await asr.check() is not None
    monkeypatch.setattr(asr._loader, "_retry_at", 0.0)
    assert await asr.check() is None


async def test_list_of_models_says_what_is_loaded_and_what_it_knows_of_it(start: Start) -> None:
    asr = await start()
    models = await asr.models()
    assert not isinstance(models, ServiceError)
    by_name = {model.name: model for model in models}
    assert by_name["mine"].is_loaded
    assert (by_name["mine"].n_parameters, by_name["mine"].is_multilingual) == (7, False)
    assert not by_name["other"].is_loaded
    assert not by_name["tiny"].can_download


def probe_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_probe, "_PROBE_AFTER", 0.0)
    monkeypatch.setattr(health_probe, "_PROBE_REST", 0.0)


async def test_probes_of_a_slow_model_are_rare(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asr = await start()
    monkeypatch.setattr(health_probe, "_PROBE_AFTER", 0.0)
    monkeypatch.setattr(asr._probe, "_probe_took", 20.0)
    await asr.check_health()
    assert asr._loader.engines["mine"].warm_ups == 1


async def test_health_check_leaves_a_replica_alone_that_has_just_decoded(start: Start) -> None:
    asr = await start()
    await asr.check_health()
    assert asr._loader.engines["mine"].warm_ups == 1


async def test_health_check_of_an_idle_replica_decodes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asr = await start()
    probe_at_once(monkeypatch)
    await asr.check_health()
    assert asr._loader.engines["mine"].warm_ups == 2
    asr._loader.engines["mine"].fails = True
    with pytest.raises(InternalError):
        await asr.check_health()


async def test_busy_replica_is_healthy_until_one_step_takes_too_long(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asr = await start(decode_timeout=300)
    probe_at_once(monkeypatch)
    engine = asr._loader.engines["mine"]
    engine.entered.clear()
    engine.gate.clear()
    at_work = asyncio.create_task(asr.decode("mine", JOB))
    await asyncio.to_thread(engine.entered.wait, WAIT)
    await asr.check_health()
    monkeypatch.setattr(asr._worker, "_busy_since", time.monotonic() - 121)
    with pytest.raises(RuntimeError, match="has taken more than 120 s"):
        await asr.check_health()
    engine.gate.set()
    await at_work


async def test_a_stuck_probe_is_noticed_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    asr = await start(decode_timeout=300)
    probe_at_once(monkeypatch)
    monkeypatch.setattr(health_probe, "_PROBE_WAIT", 0.01)
    engine = asr._loader.engines["mine"]
    engine.entered.clear()
    engine.gate.clear()
    await asr.check_health()
    await asyncio.to_thread(engine.entered.wait, WAIT)
    monkeypatch.setattr(asr._worker, "_busy_since", time.monotonic() - 121)
    with pytest.raises(RuntimeError, match="has taken more than 120 s"):
        await asr.check_health()


async def test_slow_probe_does_not_hold_up_the_health_check(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asr = await start()
    probe_at_once(monkeypatch)
    monkeypatch.setattr(health_probe, "_PROBE_WAIT", 0.01)
    asr._loader.engines["mine"].gate.clear()
    await asr.check_health()
    await asr.check_health()
    asr._loader.engines["mine"].gate.set()
    assert asr._probe._probe is not None
    await asyncio.wrap_future(asr._probe._probe)
    assert asr._loader.engines["mine"].warm_ups == 2


async def test_dead_decoding_thread_is_unhealthy(start: Start) -> None:
    asr = await start()
    asr._worker.close(WAIT)
    with pytest.raises(RuntimeError, match="thread has ended"):
        await asr.check_health()


async def test_the_line_of_a_window_names_its_stream(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    asr = await start()
    caplog.handler.addFilter(SessionFilter())
    with caplog.at_level("DEBUG", logger="whisper_service"):
        await asr.decode("mine", replace(JOB, session_id="abc"))
    line = next(record for record in caplog.records if "of file audio" in record.message)
    assert line.session_id == "abc"


async def test_stats_count_windows_in_work_and_done(start: Start) -> None:
    asr = await start()
    await asr.decode("mine", JOB)
    engine = asr._loader.engines["mine"]
    engine.gate.clear()
    engine.entered.clear()
    working = asyncio.create_task(asr.decode("mine", JOB))
    assert await asyncio.to_thread(engine.entered.wait, WAIT)
    stats = await asr.stats()
    assert (stats.models, stats.windows_now) == (("mine",), 1)
    assert (stats.windows_done, len(stats.window_seconds)) == (1, 1)
    engine.gate.set()
    await working
    assert (await asr.stats()).windows_now == 0
