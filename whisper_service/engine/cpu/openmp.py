"""Runs compiled loops on torch's own threads: a second pool would fight with torch's for the cores,
since both wait for work by spinning.

numba compiles (openai-whisper depends on it), so no compiler has to be installed. A kernel is a C
function of one argument, an array of int64: the addresses of its tensors, then its sizes.
"""

# mypy: disable-error-code="untyped-decorator"
import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor

LOOP: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"},
    "error_model": "numpy",
}
"""Lets LLVM sum a product in any order. It assumes that no number is NaN or infinite, which holds
for any sound model; else the result is noise, not an exception, which no C function could raise."""
SIGNATURE = types.void(types.CPointer(types.int64))


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
        runtime.omp_get_thread_num.argtypes = runtime.omp_get_num_threads.argtypes = ()
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


@cache
def share() -> Any:
    """The compiled `share(n) -> first, last`: the calling thread's part of n items."""
    runtime = library()
    assert runtime is not None
    thread, n_threads = runtime.omp_get_thread_num, runtime.omp_get_num_threads

    @njit(**LOOP, inline="always")
    def _share(n: int) -> tuple[int, int]:
        return n * thread() // n_threads(), n * (thread() + 1) // n_threads()

    return _share


@cache
def in_order(*, is_bfloat16: bool) -> Any:
    """The compiled `in_order(bits)`: a number as an integer in the order of the numbers, and back.

    LLVM vectorises the search for an extreme of integers, but not of floats.
    """
    integer = np.int16 if is_bfloat16 else np.int32
    sign, size = integer(15 if is_bfloat16 else 31), np.iinfo(integer).max

    @njit(**LOOP, inline="always")
    def _in_order(bits: Any) -> Any:
        signed = integer(bits)
        return integer(signed ^ ((signed >> sign) & integer(size)))

    return _in_order


@njit(inline="always")
def load_bfloat16(bits: Any) -> Any:
    """-> float32"""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@njit(inline="always")
def load_float32(bits: Any) -> Any:
    """-> float32"""
    return np.uint32(bits).view(np.float32)


@njit(inline="always")
def store_bfloat16(value: Any) -> Any:
    """Round to the nearest, halves to even."""
    bits = np.float32(value).view(np.uint32)
    rounding = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16((bits + rounding) >> np.uint32(16))


@njit(inline="always")
def same(value: Any) -> Any:
    """Float32 as it is."""
    return value


@intrinsic
def pointer(context: Any, address: Any) -> tuple[Any, Callable[..., Any]]:
    """An int64 address as a pointer, for `carray`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), build
