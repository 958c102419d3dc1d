"""Projections in float32 over a matrix kept in float16, which is what OpenAI's checkpoints hold.

Nothing is rounded: a float16 becomes the same number in float32 while it is read, and a step of
the decoder, which reads every matrix for a few rows, reads half the bytes. A row's result is the
same to the last bit whatever rows are beside it. A matrix that float16 does not hold is kept in
float32.

The loop is GotoBLAS's inner kernel (Goto and van de Geijn 2008, doi:10.1145/1356052.1356053): a
panel of columns lies in memory as it is read, sums stay in registers. torch's own product, MKL's,
takes no such path on processors of other makers: tiny's vocabulary times one row took 11 ms on two
AMD cores, this 1.3.
"""

# mypy: disable-error-code="untyped-decorator"
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from llvmlite import ir
from numba import carray, cfunc, types
from numba.extending import intrinsic
from torch import Tensor

from whisper_service.engine import compiled
from whisper_service.engine.compiled import LOOP, SIGNATURE, pointer
from whisper_service.engine.precision import has_avx512

_VECTORS = 4
"""Registers side by side in a panel: one row alone waits for no sum."""
_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True, slots=True)
class Narrow:
    """A projection [n_in] -> [n_out] of float32 rows."""

    panels: Tensor
    """float16 or float32 [n_panels, n_in, panel_width()], padded with zero columns."""
    bias: Tensor
    """float32 [n_panels * panel_width()]."""
    n_out: int

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        out = torch.empty(len(rows), self.n_out)
        compiled.run(
            _kernel(self.panels.dtype == torch.float16),
            (rows, self.panels, self.bias, out),
            (len(rows), rows.shape[1], self.n_out),
        )
        return out.view(*x.shape[:-1], self.n_out)


def narrow(weight: Tensor, bias: Tensor | None) -> Narrow:
    """Lay out a float matrix [n_out, n_in]."""
    n_out, n_in = weight.shape
    missing = -n_out % panel_width()
    padded = F.pad(lossless_half(weight), (0, 0, 0, missing))
    panels = padded.view(-1, panel_width(), n_in).transpose(1, 2).contiguous()
    shifts = torch.zeros(n_out) if bias is None else bias.float()
    return Narrow(panels, F.pad(shifts, (0, missing)), n_out)


def lossless_half(weight: Tensor) -> Tensor:
    """`weight` in float16 where that holds the same numbers, else in float32."""
    half = weight.half()
    return half if torch.equal(half.float(), weight.float()) else weight.float()


@cache
def panel_width() -> int:
    """Columns in a panel."""
    return _VECTORS * _lanes()


def _lanes() -> int:
    """float32 numbers in a register."""
    return 16 if has_avx512() else 8


def _most_rows() -> int:
    """Whose sums, with a vector of weights and a number of each, fit the 16 or 32 registers."""
    return 3 if _lanes() == 8 else 6


@cache
def _kernel(is_half: bool) -> Any:
    width, most = panel_width(), _most_rows()
    number = np.uint16 if is_half else np.float32
    size = np.int64(np.dtype(number).itemsize)
    tile = _tile(is_half, _lanes())
    share = compiled.share()

    @cfunc(SIGNATURE, **LOOP)
    def project(arguments: Any) -> None:
        p = carray(arguments, (7,), np.int64)
        x, panels, biases, out, n_rows, n_in, n_out = p[0], p[1], p[2], p[3], p[4], p[5], p[6]
        results = carray(pointer(out), (n_rows, n_out), np.float32)
        edge = np.empty((most, width), np.float32)
        first, last = share((n_out + width - 1) // width)
        for panel in range(first, last):
            column = panel * width
            weights, bias = panels + column * n_in * size, biases + column * 4
            n_columns = min(width, n_out - column)
            row = 0
            while row < n_rows:
                n = min(most, n_rows - row)
                if n_columns == width:
                    tile(
                        n,
                        x + row * n_in * 4,
                        weights,
                        bias,
                        n_in,
                        out + (row * n_out + column) * 4,
                        n_out,
                    )
                else:
                    tile(n, x + row * n_in * 4, weights, bias, n_in, edge.ctypes.data, width)
                    for i in range(n):
                        for j in range(n_columns):
                            results[row + i, column + j] = edge[i, j]
                row += n

    return project


def _tile(is_half: bool, lanes: int) -> Any:
    """The compiled `tile(n, x, weights, bias, n_in, out, n_out)`: n rows times a panel.

    Addresses are int64; rows of x are n_in numbers apart, those of `out` n_out. LLVM would have to
    guess which numbers stay in registers, so that is said vector by vector.
    """
    name = f"narrow_{'half' if is_half else 'single'}_{lanes}"

    @intrinsic
    def tile(
        context: Any, n: Any, x: Any, weights: Any, bias: Any, n_in: Any, out: Any, n_out: Any
    ) -> tuple[Any, Callable[..., Any]]:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = builder.module.globals.get(name) or _define(
                builder.module, name, ir.HalfType() if is_half else _FLOAT, lanes
            )
            builder.call(function, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), build

    return tile


def _define(module: Any, name: str, weight: Any, lanes: int) -> Any:
    """Write `tile` as LLVM's instructions: a loop for each number of rows."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_INT64] * 7), name)
    function.linkage = "internal"
    entry, last = function.append_basic_block("entry"), function.append_basic_block("last")
    ir.IRBuilder(last).ret_void()
    builder = ir.IRBuilder(entry)
    switch = builder.switch(function.args[0], last)
    for n_rows in range(1, _most_rows() + 1):
        block = function.append_basic_block(f"rows{n_rows}")
        switch.add_case(ir.Constant(_INT64, n_rows), block)
        _define_rows(function, block, last, n_rows, weight, lanes)
    return function


def _define_rows(
    function: Any, before: Any, after: Any, n_rows: int, weight: Any, lanes: int
) -> None:
    _, x, weights, bias, n_in, out, n_out = function.args
    vector = ir.VectorType(_FLOAT, lanes)
    multiply_add = f"llvm.fma.v{lanes}f32"
    fma = function.module.globals.get(multiply_add) or ir.Function(
        function.module, ir.FunctionType(vector, [vector] * 3), multiply_add
    )
    loop = function.append_basic_block(f"loop{n_rows}")
    end = function.append_basic_block(f"end{n_rows}")

    def at(builder: Any, address: Any, index: Any, kind: Any) -> Any:
        """The pointer to a float (or weight) of that index."""
        pointer = builder.inttoptr(address, (weight if kind is weight else _FLOAT).as_pointer())
        return builder.gep(pointer, [index])

    def load(builder: Any, pointer: Any, kind: Any) -> Any:
        number = builder.load(builder.bitcast(pointer, ir.VectorType(kind, lanes).as_pointer()))
        number.align = 2 if kind is not _FLOAT else 4
        return number if kind is _FLOAT else builder.fpext(number, vector)

    builder = ir.IRBuilder(before)
    starts = [builder.mul(ir.Constant(_INT64, row), n_in) for row in range(n_rows)]
    zero = ir.Constant(vector, [0.0] * lanes)
    builder.branch(loop)

    builder = ir.IRBuilder(loop)
    i = builder.phi(_INT64)
    sums = [[builder.phi(vector) for _ in range(_VECTORS)] for _ in range(n_rows)]
    numbers = []
    for start in starts:
        number = builder.load(at(builder, x, builder.add(start, i), _FLOAT))
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, _INT32(0))
        spread = ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes)
        numbers.append(builder.shuffle_vector(one, one, spread))
    place = builder.mul(i, _INT64(_VECTORS * lanes))
    added: list[list[Any]] = [[] for _ in range(n_rows)]
    for v in range(_VECTORS):
        index = builder.add(place, _INT64(v * lanes))
        values = load(builder, at(builder, weights, index, weight), weight)
        for row in range(n_rows):
            added[row].append(builder.call(fma, [numbers[row], values, sums[row][v]]))
    following = builder.add(i, _INT64(1))
    builder.cbranch(builder.icmp_signed("<", following, n_in), loop, end)
    i.add_incoming(_INT64(0), before)
    i.add_incoming(following, loop)
    for row in range(n_rows):
        for v in range(_VECTORS):
            sums[row][v].add_incoming(zero, before)
            sums[row][v].add_incoming(added[row][v], loop)

    builder = ir.IRBuilder(end)
    for v in range(_VECTORS):
        shift = load(builder, at(builder, bias, _INT64(v * lanes), _FLOAT), _FLOAT)
        for row in range(n_rows):
            start = builder.mul(_INT64(row), n_out)
            target = at(builder, out, builder.add(start, _INT64(v * lanes)), _FLOAT)
            store = builder.store(
                builder.fadd(added[row][v], shift), builder.bitcast(target, vector.as_pointer())
            )
            store.align = 4
    builder.branch(after)
