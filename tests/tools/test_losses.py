"""What training minimises is a number whatever the batch holds."""

import math

import pytest
import torch

from tools.demo_model.batches import IGNORED, Batch
from tools.demo_model.losses import losses
from tools.demo_model.network import DemoNetwork
from tools.demo_model.script import Task, Window, vocabulary, write_script

pytestmark = pytest.mark.model


def test_a_batch_of_silence_has_losses_and_gradients():
    n_frames = 50
    script = write_script(Window((), "en", n_frames * 320), Task())
    ids = vocabulary()
    targets = [IGNORED] * (len(script.tokens) - 1)
    targets[0], targets[-1] = ids.no_speech, ids.eot
    batch = Batch(
        mel=torch.zeros(1, 80, 2 * n_frames),
        first_frames=torch.zeros(1, dtype=torch.long),
        tokens=torch.tensor([script.tokens[:-1]]),
        targets=torch.tensor([targets]),
        spans=torch.tensor([script.spans[1:]]),
        frames=torch.full((1, n_frames), 0),
        previous=torch.full((1, n_frames), IGNORED),
    )
    network = DemoNetwork(torch.float32)
    total = losses(network(batch.mel, batch.first_frames, batch.tokens), batch).total()
    total.backward()
    assert math.isfinite(total.item())
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
