"""Products with a matrix kept in float16: float32's results, and each row for itself."""

import pytest
import torch
import torch.nn.functional as F

from whisper_service.engine.cpu import float16_linear, openmp
from whisper_service.engine.cpu.gemm import panel_width

WIDTH = 384

pytestmark = pytest.mark.skipif(openmp.library() is None, reason="torch has no GNU OpenMP here")


def matrix(n_out: int, *, is_half: bool = True) -> torch.Tensor:
    weight = torch.randn(n_out, WIDTH, generator=torch.Generator().manual_seed(1)) / WIDTH**0.5
    return weight.half().float() if is_half else weight


def rows(n_rows: int) -> torch.Tensor:
    return torch.randn(n_rows, WIDTH, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("is_half", [True, False])
@pytest.mark.parametrize("n_out", [1, panel_width(), 3 * panel_width() + 7])
@pytest.mark.parametrize("n_rows", [*range(1, 8), 1500])
def test_it_is_the_product(n_rows: int, n_out: int, is_half: bool) -> None:
    weight, bias, x = matrix(n_out, is_half=is_half), torch.arange(float(n_out)), rows(n_rows)
    exact = F.linear(x.double(), weight.double(), bias.double()).float()
    torch.testing.assert_close(float16_linear(weight, bias)(x), exact, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_row_is_the_same_to_the_last_bit_whatever_is_beside_it(n_threads: int) -> None:
    linear, x = float16_linear(matrix(100), None), rows(20)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    together = linear(x)
    torch.set_num_threads(before)
    assert torch.equal(together, torch.cat([linear(row[None]) for row in x]))


def test_half_the_memory_where_that_loses_nothing_and_only_there() -> None:
    assert float16_linear(matrix(64), None).panels.dtype == torch.float16
    assert float16_linear(matrix(64, is_half=False), None).panels.dtype == torch.float32


def test_batches_keep_their_shape_and_views_are_read_as_they_are() -> None:
    linear, x = float16_linear(matrix(64), None), rows(12)
    assert torch.equal(linear(x.view(3, 4, WIDTH)), linear(x).view(3, 4, 64))
    assert torch.equal(linear(x[::2]), linear(x)[::2])
