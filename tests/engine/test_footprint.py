"""What an engine takes is known before it takes it: held to what one takes that is full."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from whisper.model import ModelDimensions, Whisper

from whisper_service.engine import cache, engine, footprint
from whisper_service.engine.request import Request
from whisper_service.types import SAMPLE_RATE, DecodeJob, DecodeOptions

LARGE = ModelDimensions(80, 1500, 1280, 20, 32, 51865, 448, 1280, 20, 32)
TINY = ModelDimensions(80, 1500, 384, 6, 1, 51865, 448, 384, 6, 4)
DEEP = ModelDimensions(80, 1500, 128, 2, 1, 51865, 448, 128, 2, 32)
"""Narrow, with as many layers to decode as the large models have."""
GIB = 2**30


class Peak(TorchDispatchMode):
    """Bytes of the tensors that live at once, of those made inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0
        self._living: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {id_of(tensor) for tensor in tensors((args, kwargs or {}))}
        made = func(*args, **(kwargs or {}))
        for tensor in tensors(made):
            if (at := id_of(tensor)) not in given:  # no view of them, nor written into
                storage = tensor.untyped_storage()
                self._living[at] = StorageWeakRef(storage), storage.nbytes()
        self._living = {at: kept for at, kept in self._living.items() if not kept[0].expired()}
        self.n_bytes = max(self.n_bytes, sum(n for _, n in self._living.values()))
        return made


def tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def id_of(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@pytest.mark.parametrize(("dims", "n_windows"), [(TINY, 2), (DEEP, 1)], ids=["tiny", "deep"])
def test_a_full_batch_takes_no_more_and_not_much_less(
    monkeypatch: pytest.MonkeyPatch, dims: ModelDimensions, n_windows: int
) -> None:
    """Every slot with five beams, by torch's own attention, as on a GPU."""
    monkeypatch.setattr(engine, "compiled_attention", lambda cache: None)
    monkeypatch.setattr(engine, "key_panel", lambda *args: 0)
    torch.manual_seed(0)
    full = engine.Engine("full", Whisper(dims).eval(), max_batch_size=n_windows)
    audio = np.zeros(30 * SAMPLE_RATE, np.float32)
    job = DecodeJob(audio, DecodeOptions(language="en", beam_size=footprint.LINES_PER_SLOT))
    with Peak() as peak:
        for n in (n_windows, footprint.n_slots(n_windows) - n_windows):
            group = [Request(job) for _ in range(n)]
            assert full.has_room(*group)
            full.admit(group)
            full.step()
        full.step()
    assert full.n_rows == footprint.n_slots(n_windows) * footprint.LINES_PER_SLOT
    taken = full.cache_bytes + peak.n_bytes
    assert taken <= footprint.n_bytes(dims, torch.float32, n_windows) <= 1.5 * taken


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
