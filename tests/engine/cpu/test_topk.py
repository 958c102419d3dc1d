"""The highest logits, found by blocks, are those that torch finds."""

import pytest
import torch

from whisper_service.engine.cpu import topk


@pytest.mark.parametrize("n_vocab", [51865, 51866, 640, 40])
@pytest.mark.parametrize("n", [1, 6])
def test_it_finds_what_topk_finds(n_vocab: int, n: int) -> None:
    logits = torch.randn(3, n_vocab, generator=torch.Generator().manual_seed(n))
    values, tokens = topk(logits, n)
    expected = logits.topk(n)
    assert torch.equal(values, expected.values)
    assert torch.equal(tokens, expected.indices)


def test_neighbours_and_the_last_tokens_are_found() -> None:
    logits = torch.full((2, 51865), float("-inf"))
    logits[0, [7, 6, 8, 51864]] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    logits[1, [51864, 51863, 0, 64]] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    _, tokens = topk(logits, 4)
    assert tokens.tolist() == [[7, 6, 8, 51864], [51864, 51863, 0, 64]]
