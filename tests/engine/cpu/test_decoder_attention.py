"""The compiled attention against the plain one, over a cache of random numbers."""

from dataclasses import replace

import pytest
import torch
from whisper.model import ModelDimensions

from whisper_service.engine import attention, cache
from whisper_service.engine.attention import Attention
from whisper_service.engine.cpu import compiled_attention, key_panel

DIMS = ModelDimensions(80, 1500, 384, 6, 1, 51865, 448, 384, 6, 2)
N_ROWS = 5


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def store(request: pytest.FixtureRequest) -> cache.Cache:
    torch.manual_seed(0)
    device = torch.device("cpu")
    panel = key_panel(DIMS, request.param, device)
    store = cache.allocate(DIMS, 3, 7, request.param, device, panel=panel)
    store.keys.normal_()
    store.values.normal_()
    store.past.normal_()
    store.table.random_(0, 7)
    return store


@pytest.fixture
def compiled(store: cache.Cache) -> Attention:
    found = compiled_attention(store)
    if found is None:
        pytest.skip("torch has no GNU OpenMP here")
    return found


@pytest.fixture
def rows(store: cache.Cache) -> attention.Rows:
    """Two windows, of which one has three beams and one two."""
    rows = attention.Rows(
        tokens=torch.zeros(N_ROWS, dtype=torch.long),
        positions=torch.tensor([0, 7, 7, 7, 447]),
        lines=torch.tensor([6, 1, 2, 3, 0]),
        slots=torch.tensor([2, 0, 0, 0, 2]),
        n_positions=448,
        n_queries=3,
        queries=torch.tensor([0, 0, 1, 2, 1]),
    )
    store.table[rows.lines, rows.positions] = rows.lines.int()
    return rows


def tolerance(store: cache.Cache) -> float:
    """Two roundings to bfloat16 of numbers up to 2, or next to nothing."""
    return 2**-6 if store.values.dtype == torch.bfloat16 else 1e-5


@pytest.mark.parametrize("n_threads", [1, 2])
def test_audio(
    store: cache.Cache, compiled: Attention, rows: attention.Rows, n_threads: int
) -> None:
    query = torch.randn(N_ROWS, 384).to(store.values.dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    ours = compiled.audio(store, 1, query, rows)
    torch.set_num_threads(before)
    plain = attention.attend_audio(store, 1, query, rows)
    torch.testing.assert_close(ours, plain, atol=tolerance(store), rtol=0)


def test_a_window_is_heard_as_far_as_it_was_encoded(
    store: cache.Cache, compiled: Attention, rows: attention.Rows
) -> None:
    query = torch.randn(N_ROWS, 384).to(store.values.dtype)
    store.n_frames[0] = 700
    ours = compiled.audio(store, 1, query, rows)
    whole = attention.attend_audio(store, 1, query, rows)
    cut = replace(store, keys=store.keys[..., :700, :], values=store.values[..., :700, :])
    part = attention.attend_audio(cut, 1, query, rows)
    is_first = rows.slots == 0
    expected = torch.where(is_first[:, None], part, whole)
    torch.testing.assert_close(ours, expected, atol=tolerance(store), rtol=0)


def test_past(store: cache.Cache, compiled: Attention, rows: attention.Rows) -> None:
    qkv = torch.randn(N_ROWS, 3 * 384).to(store.past.dtype)
    plain = attention.attend_past(store, 1, qkv, rows)
    written = store.past.clone()
    store.past[1, :, rows.lines, rows.positions] = 0
    ours = compiled.past(store, 1, qkv, rows)
    torch.testing.assert_close(ours, plain, atol=tolerance(store), rtol=0)
    assert torch.equal(store.past, written)


def test_none_for_numbers_it_does_not_know() -> None:
    store = cache.allocate(DIMS, 1, 1, torch.float16, torch.device("cpu"))
    assert compiled_attention(store) is None


def test_a_row_is_the_same_alone_and_beside_any_number_of_beams(
    store: cache.Cache, compiled: Attention
) -> None:
    n = 2 * 6 + 1  # more than are computed at once
    query = torch.randn(n, 384).to(store.values.dtype)
    together = compiled.audio(store, 0, query, _beams(n))
    alone = [compiled.audio(store, 0, query[i : i + 1], _beams(1)) for i in range(n)]
    assert torch.equal(together, torch.cat(alone))


def _beams(n: int) -> attention.Rows:
    """Rows that hear the second window."""
    numbers = torch.arange(n)
    return attention.Rows(
        tokens=torch.zeros_like(numbers),
        positions=torch.zeros_like(numbers),
        lines=numbers,
        slots=torch.ones_like(numbers),
        n_positions=1,
        n_queries=n,
        queries=numbers,
    )


@pytest.mark.parametrize("n_frames", [1500, 700, 640, 3])
def test_a_window_comes_back_as_it_was_written(store: cache.Cache, n_frames: int) -> None:
    written = torch.randn(n_frames, 2, 2, 6, 64).to(store.values.dtype)
    store.write_window(1, written)
    for layer in range(2):
        keys, values = store.window(layer, 1)
        assert torch.equal(keys, written[:, layer, 0].transpose(0, 1))
        assert torch.equal(values, written[:, layer, 1].transpose(0, 1))
