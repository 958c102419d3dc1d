"""What an engine takes is known before it takes it."""

import torch
from whisper.model import ModelDimensions

from whisper_service.engine import cache, footprint

LARGE = ModelDimensions(80, 1500, 1280, 20, 32, 51865, 448, 1280, 20, 32)
TINY = ModelDimensions(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4)
GIB = 2**30


def test_it_is_at_least_what_the_cache_takes() -> None:
    slots = footprint.n_slots(2)
    store = cache.allocate(
        TINY, slots, slots * footprint.LINES_PER_SLOT + 1, torch.float32, torch.device("cpu")
    )
    assert store.n_bytes < footprint.n_bytes(TINY, torch.float32, 2)


def test_as_many_windows_as_fit_and_no_more_than_asked_for() -> None:
    half = torch.float16
    fitting = footprint.windows_that_fit(LARGE, half, 256, 40 * GIB)
    assert 16 < fitting < 128
    assert footprint.n_bytes(LARGE, half, fitting) <= 0.9 * 40 * GIB
    assert footprint.n_bytes(LARGE, half, fitting + 1) > 0.9 * 40 * GIB
    assert footprint.windows_that_fit(LARGE, half, 8, 40 * GIB) == 8
    assert footprint.windows_that_fit(LARGE, half, 8, GIB) == 0
