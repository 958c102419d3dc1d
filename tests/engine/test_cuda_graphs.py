"""Steps laid out and replayed as graphs: on a CPU with a recorder that just does the work again."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import whisper

from tests.engine.oracle import ONCE, spoken
from tests.engine.test_same_as_whisper import AUDIO, CASES
from whisper_service.engine.cuda_graphs import Shape, bucket
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.precision import EXACT
from whisper_service.engine.request import Request
from whisper_service.models.folder import ASSETS_DIR
from whisper_service.types import DecodeJob

pytestmark = pytest.mark.model


class Again:
    """A recorder without a GPU. `broken`: one whose device refuses."""

    def __init__(self, *, broken: bool = False) -> None:
        self.n_recorded = 0
        self.broken = broken

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.n_recorded += 1
        if self.broken:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        work()
        return work


def graphed(recorder: Again, n: int = 8) -> Engine:
    model = whisper.load_model(str(ASSETS_DIR / "demo.pt"), device="cpu").float().eval()
    return Engine("demo", model, EXACT, max_batch_size=n, recorder=recorder)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return graphed(Again())


JOBS = {name: case.job for name, case in CASES.items()}


def answers(engine: Engine, names: list[str]) -> dict[str, list[int]]:
    found = engine.decode([JOBS[name] for name in names])
    return {name: spoken(answer) for name, answer in zip(names, found, strict=True)}


def test_the_same_tokens_with_and_without_graphs_in_a_mixed_batch(
    demo: Engine, engine: Engine
) -> None:
    assert answers(engine, list(JOBS)) == answers(demo, list(JOBS))
    assert engine.graphs
    kinds = {(shape.n_queries, shape.is_plain) for shape in engine.graphs.shapes}
    assert {(5, False), (1, True)} <= kinds


def test_a_greedy_batch_is_one_row_a_slot_and_gathers_nothing(demo: Engine) -> None:
    names = [name for name in JOBS if name.startswith("greedy")]
    engine = graphed(Again())
    assert answers(engine, names) == answers(demo, names)
    assert engine.graphs
    assert {shape.is_plain for shape in engine.graphs.shapes} == {True}


def test_a_graph_is_recorded_once_for_each_shape() -> None:
    recorder = Again()
    engine = graphed(recorder)
    for _ in range(2):
        engine.decode([JOBS["greedy-en_eight"]] * 3)
    assert engine.graphs
    assert recorder.n_recorded == len(engine.graphs.shapes) <= 3
    assert all(shape.n_slots <= 4 and shape.n_positions == 64 for shape in engine.graphs.shapes)


def test_rows_are_the_same_with_holes_beside_them(demo: Engine, engine: Engine) -> None:
    """Jobs in the first and the last slot, while those between them are cancelled."""
    engine.reset()
    requests = [Request(JOBS["greedy-dense"]) for _ in range(6)]
    engine.admit(requests)
    for request in requests[1:5]:
        engine.cancel(request)
    while engine.n_jobs:
        engine.step()
    expected = answers(demo, ["greedy-dense"])["greedy-dense"]
    assert [spoken(requests[i].outcome) for i in (0, 5)] == [expected, expected]


def test_samples_are_those_of_a_decode_without_graphs(demo: Engine, engine: Engine) -> None:
    options = replace(ONCE, temperatures=(0.7,), best_of=5, max_tokens=30)
    job = DecodeJob(AUDIO["noise"], options)
    assert [spoken(a) for a in engine.decode([job, job])] == 2 * [spoken(demo.decode([job])[0])]


def test_more_beams_than_any_graph_has_are_decoded_all_the_same(
    demo: Engine, engine: Engine
) -> None:
    job = DecodeJob(AUDIO["en_eight"], replace(ONCE, beam_size=11))
    assert spoken(engine.decode([job])[0]) == spoken(demo.decode([job])[0])


def test_a_device_that_cannot_record_decodes_step_by_step(
    demo: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Again(broken=True)
    assert answers(graphed(recorder), ["beam5-dense"]) == answers(demo, ["beam5-dense"])
    assert recorder.n_recorded == 1
    assert "cannot record" in caplog.text


def test_slots_are_rounded_up_by_a_third_at_the_most() -> None:
    sizes = [bucket(n) for n in range(1, 257)]
    assert all(size >= n for n, size in enumerate(sizes, 1))
    assert sorted(set(sizes)) == [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256]


def test_a_batch_holds_no_more_windows_than_it_was_made_for() -> None:
    engine = graphed(Again(), n=1)
    engine.decode([JOBS["greedy-en_eight"]] * 3)
    assert engine.graphs
    assert {shape.n_slots for shape in engine.graphs.shapes} == {1}


def test_a_grid_has_a_place_for_each_query_of_each_slot() -> None:
    shape = Shape(n_slots=4, n_queries=5, n_positions=64, is_plain=False)
    assert (shape.n_rows, shape.n_best) == (20, 6)


@torch.inference_mode()
def test_masks_on_the_device_are_those_of_the_host(demo: Engine) -> None:
    filters, chance = demo.filters, np.random.default_rng(0)
    begin = filters.time_begin
    pasts = [
        (),
        (begin,),
        (begin, 400),
        (begin, 400, begin + 9),
        (begin, 400, begin + 9, begin + 9),
    ]
    constraints = [
        filters.constraints(
            past, max((t for t in past if t >= begin), default=None), is_timed=is_timed
        )
        for past in pasts
        for is_timed in (True, False)
    ]
    for scale in (0.1, 5.0):  # where timestamps win by their sum, and where words do
        logits = torch.tensor(chance.normal(0, scale, (len(constraints), filters.n_vocab))).float()
        masked = logits.clone()
        filters.mask(masked, torch.tensor([constraint.numbers for constraint in constraints]))
        filters.apply(logits, constraints)
        assert torch.equal(masked, logits)


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def on_gpu() -> Engine:
    return load_engine("demo", ASSETS_DIR, device="cuda", dtype="float32")


@pytest.mark.gpu
@gpu
def test_a_gpu_says_the_same_by_graphs(demo: Engine, on_gpu: Engine) -> None:
    names = [name for name in JOBS if "sampled" not in name]  # a GPU draws other numbers
    assert answers(on_gpu, names) == answers(demo, names)
    assert on_gpu.graphs
    assert on_gpu.graphs.shapes


@pytest.mark.gpu
@gpu
def test_a_gpu_says_the_same_alone_and_in_a_full_batch(on_gpu: Engine) -> None:
    names = ["greedy-dense", "greedy-noise", "beam5-dense", "prompt"]
    alone = {name: answers(on_gpu, [name])[name] for name in names}
    assert answers(on_gpu, [*names, *(n for n in JOBS if n not in names)]).items() >= alone.items()


@pytest.mark.gpu
@gpu
def test_a_step_on_a_gpu_waits_for_it_once(on_gpu: Engine) -> None:
    """CUDA reports every wait; the read of the tokens is the only one there may be."""
    on_gpu.reset()
    on_gpu.admit([Request(JOBS["greedy-dense"]) for _ in range(4)])
    for _ in range(3):  # the first records
        on_gpu.step()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as waits:
            on_gpu.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_gpu.reset()
    assert len(waits) == 1


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_on_a_gpu_says_the_words(demo: Engine, dtype: str) -> None:
    half = load_engine("demo", ASSETS_DIR, device="cuda", dtype=dtype)  # type: ignore[arg-type]
    names = [name for name in JOBS if name.startswith("greedy-") and "noise" not in name]
    same = [answers(half, [name]) == answers(demo, [name]) for name in names]
    assert sum(same) >= len(names) - 1
