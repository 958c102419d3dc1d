"""Checkpoints as matrices to multiply with: what may be rounded, and what not."""

from pathlib import Path

import pytest
import torch
from whisper.model import Whisper

from whisper_service.engine.model import load_model
from whisper_service.engine.precision import EXACT, Precision
from whisper_service.engine.weights import decoder_weights
from whisper_service.models.weight_files import Weights

BFLOAT16 = Precision(torch.bfloat16)


@pytest.mark.parametrize("precision", [EXACT, BFLOAT16], ids=["float32", "bfloat16"])
def test_no_arithmetic_rounds_the_embedding(
    demo_path: Path, reference: Whisper, precision: Precision
) -> None:
    model = load_model("demo", Weights(demo_path), torch.device("cpu"), precision.dtype)
    embedding = decoder_weights(model, precision).embedding
    assert torch.equal(embedding.float(), reference.decoder.token_embedding.weight)


@pytest.mark.parametrize("precision", [EXACT, BFLOAT16], ids=["float32", "bfloat16"])
def test_an_exact_embedding_takes_no_more_memory_than_a_rounded_one(
    reference: Whisper, precision: Precision
) -> None:
    assert decoder_weights(reference, precision).embedding.itemsize == 2


def test_bfloat16_gives_the_highest_logit_as_float32_gives_it(reference: Whisper) -> None:
    states = reference.decoder.token_embedding.weight.detach()[::5000]
    exact = decoder_weights(reference, EXACT).vocabulary(states).amax(1)
    near = decoder_weights(reference, BFLOAT16).vocabulary(states).amax(1)
    torch.testing.assert_close(near, exact, atol=1e-3, rtol=0)
