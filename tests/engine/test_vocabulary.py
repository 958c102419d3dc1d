"""Coarse arithmetic does not decide between words that are close."""

import torch

from whisper_service.engine.vocabulary import Vocabulary

WIDTH, N_VOCAB, N_TIMES = 64, 2000, 101


def vocabulary(embedding: torch.Tensor, *, is_exact: bool) -> Vocabulary:
    coarse = embedding.bfloat16()
    return Vocabulary(
        project=lambda states: states @ coarse.T,
        dtype=torch.bfloat16,
        embedding=coarse,
        times=None if is_exact else coarse[-N_TIMES:].float(),
    )


def test_the_highest_logits_and_all_timestamps_are_taken_again() -> None:
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(N_VOCAB, WIDTH, generator=generator).bfloat16().float()
    states = 3 * torch.randn(20, WIDTH, generator=generator)
    exact = states @ embedding.T
    rough = vocabulary(embedding, is_exact=True)(states)
    refined = vocabulary(embedding, is_exact=False)(states)
    best = exact.topk(3)
    assert not torch.allclose(rough.gather(1, best.indices), best.values, atol=0.01)
    torch.testing.assert_close(refined.gather(1, best.indices), best.values, atol=1e-3, rtol=0)
    torch.testing.assert_close(refined[:, -N_TIMES:], exact[:, -N_TIMES:], atol=1e-3, rtol=0)
    assert torch.equal(refined.argmax(1), exact.argmax(1))
