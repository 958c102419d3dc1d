"""Runs compiled loops on torch's own threads: a second pool would fight with torch's for the cores,
since both wait for work by spinning.
"""

# mypy: disable-error-code="untyped-decorator"
import ctypes
import os
import sys
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import binding
from numba import njit, types
from torch import Tensor


@cache
def library() -> ctypes.CDLL | None:
    """The OpenMP runtime torch has loaded; None where that is not GNU's."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        runtime = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        runtime.GOMP_parallel.argtypes = (
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_uint,
        )
        runtime.GOMP_parallel.restype = None
        for function in (runtime.omp_get_thread_num, runtime.omp_get_num_threads):
            address = ctypes.cast(function, ctypes.c_void_p).value
            binding.add_symbol(function.__name__, address)  # for `share`
    except (OSError, AttributeError):
        return None
    return runtime


def run(kernel: Any, tensors: tuple[Tensor, ...], sizes: tuple[int, ...]) -> None:
    """Call the kernel on each of torch's threads; each computes its `share`.

    The address of a tensor that is not contiguous goes among the sizes, with its stride.
    """
    assert all(tensor.is_contiguous() for tensor in tensors)
    arguments = np.array([*(tensor.data_ptr() for tensor in tensors), *sizes], dtype=np.int64)
    runtime = library()
    assert runtime is not None
    runtime.GOMP_parallel(kernel.address, arguments.ctypes.data, torch.get_num_threads(), 0)


_thread = types.ExternalFunction("omp_get_thread_num", types.int32())
_n_threads = types.ExternalFunction("omp_get_num_threads", types.int32())


@njit(inline="always")
def share(n: Any) -> Any:
    """The calling thread's part of n items: first, last."""
    return n * _thread() // _n_threads(), n * (_thread() + 1) // _n_threads()
