"""Random weights of tiny's dimensions: nothing to recognise, so the numbers are compared."""

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from whisper_service.engine import attention, cache
from whisper_service.engine.decoder import Decoder
from whisper_service.engine.encoder import encode
from whisper_service.engine.precision import EXACT
from whisper_service.engine.weights import decoder_weights, encoder_weights

TINY = ModelDimensions(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4)
N_STEPS = 20


@pytest.fixture(scope="module")
def model() -> Whisper:
    torch.manual_seed(0)
    model = Whisper(TINY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


@pytest.fixture(scope="module")
def features(model: Whisper) -> torch.Tensor:
    with torch.inference_mode():
        return model.encoder(torch.randn(2, 80, 3000))


@torch.inference_mode()
def test_encoder(model: Whisper) -> None:
    mels = torch.randn(1, 80, 3000)
    ours = encode(encoder_weights(model, EXACT), mels)
    torch.testing.assert_close(ours, model.encoder(mels), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_prompt_and_steps(model: Whisper, features: torch.Tensor) -> None:
    """Two rows with prompts of different lengths, then forced tokens."""
    decoder = Decoder(decoder_weights(model, EXACT))
    tokens = torch.randint(0, 50000, (2, 30 + N_STEPS))
    starts = [3, 30]
    theirs = model.decoder(tokens, features)
    store = cache.allocate(TINY, 3, 4, torch.float32, torch.device("cpu"))
    slots, lines = [2, 0], [1, 3]
    decoder.write_cross_kv(store, features, slots)
    for row, start in enumerate(starts):
        states, _ = decoder.prefill(store, tokens[row, :start], lines[row], slots[row])
        torch.testing.assert_close(
            decoder.logits(states), theirs[row, :start], atol=1e-3, rtol=1e-3
        )
    for step in range(N_STEPS):
        positions = [start + step for start in starts]
        rows = attention.Rows(
            tokens=tokens[[0, 1], positions],
            positions=torch.tensor(positions),
            lines=torch.tensor(lines),
            slots=torch.tensor(slots),
            n_positions=max(positions) + 1,
            n_queries=1,
            queries=torch.zeros(2, dtype=torch.long),
        )
        ours = decoder.logits(decoder.step(store, rows))
        torch.testing.assert_close(ours, theirs[[0, 1], positions], atol=1e-3, rtol=1e-3)
