"""Compiles a loop over a tensor's numbers into a C function, once on a machine.

numba compiles (openai-whisper depends on it), so no compiler has to be installed, and keeps the
machine code in NUMBA_CACHE_DIR, beside the source, or in the user's cache, whichever can be
written first. A kernel takes one argument, an array of int64: the addresses of its tensors, then
its sizes. Beside globals it may close over plain numbers and numpy's types alone: functions are
not the same in the next process, which would compile anew.
"""

# mypy: disable-error-code="untyped-decorator"
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.caching import FunctionCache, NullCache
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from whisper_service.engine.cpu import openmp

LOOP: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"},
    "error_model": "numpy",
}
"""Lets LLVM sum a product in any order. It assumes that no number is NaN or infinite, which holds
for any sound model; else the result is noise, not an exception, which no C function could raise."""
_SIGNATURE = (types.CPointer(types.int64),), types.void
_INT16, _INT32 = ir.IntType(16), ir.IntType(32)


def kernel(function: Callable[[Any], None]) -> Any:
    """Compile a kernel for `openmp.run`, or load it."""
    assert openmp.library() is not None  # and LLVM knows its functions
    compiled: Any = CFunc(function, _SIGNATURE, locals={}, options=LOOP)
    compiled._cache = _code_cache(function)
    compiled.compile()
    return compiled


def keep_compiled(function: Any) -> None:
    """Keep the machine code of a function that numba compiles when it is first called."""
    function._cache = _code_cache(function.py_func)


class _CodeCache(FunctionCache):  # type: ignore[misc]
    """numba's, but a folder that is full or damaged costs only the time to compile."""

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        with suppress(Exception):
            yield


def _code_cache(function: Any) -> FunctionCache | NullCache:
    """The function's files, whose names tell all that its machine code follows from.

    numba would not see a change in another module, and two processes that begin at once could take
    the same file for different code.
    """
    variables = [cell.cell_contents for cell in function.__closure__ or ()]
    assert all(isinstance(variable, int | np.integer | type) for variable in variables)
    digest = sha256(repr((_surroundings(), variables)).encode()).hexdigest()
    function.__qualname__ += f"_{digest[:16]}"
    try:
        return _CodeCache(function)
    except RuntimeError:  # there is no folder that can be written
        return NullCache()


@cache
def _surroundings() -> tuple[Any, ...]:
    """Of any compiled function: the sources of this folder, the compiler, the processor."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    return (sources, numba.__version__, processor)


@intrinsic
def pointer(context: Any, address: Any) -> tuple[Any, Callable[..., Any]]:
    """An int64 address as a pointer, for `carray`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), build


@intrinsic
def load(context: Any, number: Any) -> tuple[Any, Callable[..., Any]]:
    """A tensor's number as float32: a float32, its bits in uint32, or a bfloat16's in uint16."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (bits,) = arguments
        if bits.type == _INT16:
            bits = builder.shl(builder.zext(bits, _INT32), _INT32(16))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(number), build


@intrinsic
def store(context: Any, value: Any, dtype: Any) -> tuple[Any, Callable[..., Any]]:
    """A float32 as a tensor's number: as it is, or in uint16 the bits of the nearest bfloat16, of
    two that are as near the even one."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if dtype.dtype == types.float32:
            return arguments[0]
        bits = builder.bitcast(arguments[0], _INT32)
        is_odd = builder.and_(builder.lshr(bits, _INT32(16)), _INT32(1))
        rounded = builder.add(bits, builder.add(is_odd, _INT32(0x7FFF)))
        return builder.trunc(builder.lshr(rounded, _INT32(16)), _INT16)

    return dtype.dtype(types.float32, dtype), build


@intrinsic
def in_order(context: Any, bits: Any) -> tuple[Any, Callable[..., Any]]:
    """A float's bits as an integer in the order of the floats, and back.

    LLVM vectorises the search for an extreme of integers, but not of floats.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (number,) = arguments
        size = number.type.width - 1
        sign = builder.ashr(number, number.type(size))
        return builder.xor(number, builder.and_(sign, number.type(2**size - 1)))

    return types.Integer.from_bitwidth(bits.bitwidth, signed=True)(bits), build
