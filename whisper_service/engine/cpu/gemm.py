"""A few rows times a panel of columns, in float32: the inner loop of matrix products on a CPU.

It is GotoBLAS's (Goto and van de Geijn 2008, doi:10.1145/1356052.1356053): a panel lies in memory
in the order in which it is read, and the sums stay in registers until they are whole. numba would
have to guess which numbers those are, so the loop is written in LLVM's instructions.
"""

# mypy: disable-error-code="untyped-decorator"
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from whisper_service.engine.cpu import openmp
from whisper_service.engine.cpu.processor import has_avx512

_VECTORS = 4
"""Registers side by side in a panel, so that one row alone has sums that wait for nothing."""
_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_BFLOAT16 = ir.IntType(16)
"""Its bits, which are the upper half of a float32's."""
_KINDS = {types.float32: _FLOAT, types.float16: ir.HalfType(), types.uint16: _BFLOAT16}


def beats_torch(*, has_many_rows: bool) -> bool:
    """Whether `multiply` is faster than torch's products: with few rows wherever it runs, with
    1,500 only without AVX512, for which torch's libraries have good loops."""
    return openmp.library() is not None and not (has_many_rows and has_avx512())


def panel_width() -> int:
    """Columns in a panel."""
    return _VECTORS * _lanes()


def most_rows() -> int:
    """Rows whose accumulators fit in the SIMD registers: 16 of AVX2, 32 of AVX512."""
    return 6 if has_avx512() else 3


def _lanes() -> int:
    """float32 numbers in a register."""
    return 16 if has_avx512() else 8


@intrinsic
def multiply(
    context: Any,
    number: Any,
    n: Any,
    x: Any,
    x_stride: Any,
    panel: Any,
    panel_stride: Any,
    n_in: Any,
    bias: Any,
    out: Any,
    out_stride: Any,
) -> tuple[Any, Callable[..., Any]]:
    """n rows of x, float32 [n, n_in], up to `most_rows()`, times the panel, [n_in, panel_width()],
    plus `bias`, float32 [panel_width()].

    `number` is the panel's type, np.float32, np.float16 or, for bfloat16, np.uint16. Addresses are
    int64; strides count numbers between rows. A row's result does not depend on n.
    """
    name = f"multiply_{number.dtype}"

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = builder.module.globals.get(name) or _define(
            builder.module, name, _KINDS[number.dtype], _lanes()
        )
        builder.call(function, arguments[1:])
        return context.get_dummy_value()

    return types.void(number, *[types.int64] * 9), build


def _define(module: Any, name: str, weight: Any, lanes: int) -> Any:
    """Write `multiply` as LLVM's instructions: a loop for each number of rows."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_INT64] * 9), name)
    function.linkage = "internal"
    entry, last = function.append_basic_block("entry"), function.append_basic_block("last")
    ir.IRBuilder(last).ret_void()
    builder = ir.IRBuilder(entry)
    switch = builder.switch(function.args[0], last)
    for n_rows in range(1, most_rows() + 1):
        block = function.append_basic_block(f"rows{n_rows}")
        switch.add_case(ir.Constant(_INT64, n_rows), block)
        _define_rows(function, block, last, n_rows, weight, lanes)
    return function


def _define_rows(
    function: Any, before: Any, after: Any, n_rows: int, weight: Any, lanes: int
) -> None:
    _, x, x_stride, weights, weights_stride, n_in, bias, out, out_stride = function.args
    vector = ir.VectorType(_FLOAT, lanes)
    multiply_add = f"llvm.fma.v{lanes}f32"
    fma = function.module.globals.get(multiply_add) or ir.Function(
        function.module, ir.FunctionType(vector, [vector] * 3), multiply_add
    )
    loop = function.append_basic_block(f"loop{n_rows}")
    end = function.append_basic_block(f"end{n_rows}")

    def at(builder: Any, address: Any, index: Any, kind: Any) -> Any:
        """The pointer to a number of that kind."""
        return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])

    def load(builder: Any, pointer: Any, kind: Any) -> Any:
        number = builder.load(builder.bitcast(pointer, ir.VectorType(kind, lanes).as_pointer()))
        number.align = 2 if kind is not _FLOAT else 4
        if kind is _FLOAT:
            return number
        if kind is not _BFLOAT16:
            return builder.fpext(number, vector)
        bits = builder.zext(number, ir.VectorType(_INT32, lanes))
        return builder.bitcast(builder.shl(bits, bits.type([16] * lanes)), vector)

    builder = ir.IRBuilder(before)
    starts = [builder.mul(_INT64(row), x_stride) for row in range(n_rows)]
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
    place = builder.mul(i, weights_stride)
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
    for row in range(n_rows):
        place = builder.mul(_INT64(row), out_stride)
        for v in range(_VECTORS):
            shift = load(builder, at(builder, bias, _INT64(v * lanes), _FLOAT), _FLOAT)
            target = at(builder, out, builder.add(place, _INT64(v * lanes)), _FLOAT)
            total = builder.fadd(added[row][v], shift)
            builder.store(total, builder.bitcast(target, vector.as_pointer())).align = 4
    builder.branch(after)
