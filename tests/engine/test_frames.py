"""The encoder's compiled attention against torch's."""

import pytest
import torch
import torch.nn.functional as F

from whisper_service.engine import compiled
from whisper_service.engine.frames import attend_frames
from whisper_service.engine.tile import panel_width

N_HEADS, DEPTH = 3, 64

pytestmark = [
    pytest.mark.skipif(compiled.openmp() is None, reason="torch has no GNU OpenMP here"),
    pytest.mark.skipif(DEPTH % panel_width() != 0, reason="a head is no whole number of panels"),
]


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_frames", [1, 47, 97, 1500])
def test_it_is_scaled_dot_product_attention(n_frames: int, n_threads: int) -> None:
    generator = torch.Generator().manual_seed(1)
    qkv = torch.randn(n_frames, 3 * N_HEADS * DEPTH, generator=generator)
    query, key, value = qkv.view(n_frames, 3, N_HEADS, DEPTH).double().permute(1, 2, 0, 3)
    exact = F.scaled_dot_product_attention(query, key, value).transpose(0, 1).flatten(1).float()
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    ours = attend_frames(qkv, N_HEADS)
    torch.set_num_threads(before)
    torch.testing.assert_close(ours, exact, atol=2e-5, rtol=1e-5)
