"""The highest logits of each row; on a CPU `Tensor.topk` takes many times as long."""

import torch
from torch import Tensor

_BLOCK = 64


def topk(logits: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Logits [R, V] -> values [R, n], best first, and their tokens int64 [R, n].

    The n highest are in the n blocks with the highest maxima, and maxima of blocks are cheap.
    """
    n_rows, n_vocab = logits.shape
    n_blocks = n_vocab // _BLOCK
    if logits.device.type != "cpu" or n_blocks < n:
        values, tokens = logits.topk(n)
        return values, tokens
    tail = n_blocks * _BLOCK
    blocks = logits[:, :tail].view(n_rows, n_blocks, _BLOCK)
    best = blocks.amax(-1).topk(n).indices[..., None]
    inside = blocks.gather(1, best.expand(-1, -1, _BLOCK)).flatten(1)
    found = torch.cat([inside, logits[:, tail:]], dim=1)
    values, places = found.topk(n)
    starts = (best * _BLOCK + torch.arange(_BLOCK)).flatten(1)
    rest = torch.arange(tail, n_vocab).expand(n_rows, -1)
    return values, torch.cat([starts, rest], dim=1).gather(1, places)
