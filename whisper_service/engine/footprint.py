"""What an engine takes of its device beside the weights, known before it is taken."""

import torch
from whisper.model import ModelDimensions

from whisper_service.engine import cache

LINES_PER_SLOT = 5
"""openai-whisper's command line decodes with five beams or five samples: all windows may."""
_SLOTS_FOR_LIVE = 4
"""One slot more for every so many, which only live jobs may take (`Scheduler`)."""
MAX_ENCODED = 16
"""Windows a GPU encodes at once: by then its products are as fast as they get."""
_USABLE = 0.9
"""Part of the free memory that may be planned with: the allocator's blocks never fit exactly."""


def n_slots(max_batch_size: int) -> int:
    """Slots for that many windows of files, and the live ones beside them."""
    return max_batch_size + -(-max_batch_size // _SLOTS_FOR_LIVE)


def n_bytes(dims: ModelDimensions, dtype: torch.dtype, max_batch_size: int) -> int:
    """Keys and values of all windows, and what a step and an encoder's call have at once."""
    slots = n_slots(max_batch_size)
    rows = slots * LINES_PER_SLOT
    stored = cache.n_bytes(dims, slots, rows + 1, dtype)
    # Logits as computed, in float32, their logarithms, and two masks and copies of them.
    step = rows * dims.n_vocab * (dtype.itemsize + 4 + 4 + 4)
    # A layer: the stream twice in float32; queries, keys, values; the hidden states twice.
    lanes = dims.n_audio_ctx * dims.n_audio_state * (2 * 4 + (1 + 3 + 2 * 4) * dtype.itemsize)
    mels = 2 * dims.n_audio_ctx * (dims.n_mels + dims.n_audio_state) * 4
    # One window's keys and values of all layers, on their way into its slot.
    window = 2 * dims.n_text_layer * dims.n_audio_ctx * dims.n_text_state * dtype.itemsize
    return int(stored + step + window + min(max_batch_size, MAX_ENCODED) * (lanes + mels))


def windows_that_fit(
    dims: ModelDimensions, dtype: torch.dtype, max_batch_size: int, free_bytes: int
) -> int:
    """The most windows, up to `max_batch_size`, that `free_bytes` have room for; 0 for none."""
    usable = int(_USABLE * free_bytes)
    fitting = (n for n in range(max_batch_size, 0, -1) if n_bytes(dims, dtype, n) <= usable)
    return next(fitting, 0)
