"""The kernel IR's interpreter: the meaning of operations, loops and registers, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from arrax.compiler.interp import run
from arrax.compiler.kernel import (
    INDEX,
    Buffer,
    Kernel,
    Loop,
    Register,
    Reset,
    Statement,
    Store,
    Update,
    Value,
    bitcast,
    cast,
    const,
    fma,
    load,
    lt,
    op,
    read,
    select,
    var,
)
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype, bool_, float16, float32, float64, int8, int32, int64, uint8, uint32, uint64

NAN, INF = math.nan, math.inf


def compute(value: Any, *operands: tuple[Dtype, Sequence[Any]], result: Dtype) -> list[Any]:
    """Runs ``value(loads...)`` over arrays in a vector loop."""
    arrays = [np.array(items).astype(d.np) for d, items in operands]
    i, p = var("i"), var("p")
    inputs = [Buffer(f"b{k}", d) for k, (d, _) in enumerate(operands)]
    out = Buffer("out", result, written=True)
    size = arrays[0].size
    body: list[Statement] = [Store(out, i, value(*(load(b, i) for b in inputs)))]
    loop = Loop(i, const(0, INDEX), const(size, INDEX), "vector", body, 16)
    kernel = Kernel("k", [*inputs, out], [], [], [Loop(p, const(0, INDEX), const(1, INDEX), "parallel", [loop])])
    found = np.zeros(size, result.np)
    run(kernel, [*arrays, found], [], [], 1)
    return found.tolist()


def same(found: list[Any], expected: list[Any]) -> None:
    np.testing.assert_array_equal(np.array(found), np.array(expected))
    assert [math.copysign(1, x) for x in found if x == 0] == [math.copysign(1, x) for x in expected if x == 0]


def test_integers_wrap_and_never_trap() -> None:
    low = -(2**31)
    a, b = (int32, [7, -7, 7, -7, low, 5, low]), (int32, [2, 2, -2, -2, -1, 0, 0])
    same(compute(lambda x, y: op("div", x, y), a, b, result=int32), [3, -3, -3, 3, low, 0, 0])
    same(compute(lambda x, y: op("rem", x, y), a, b, result=int32), [1, -1, 1, -1, 0, 0, 0])
    same(compute(lambda x: op("neg", x), (int8, [-128, 5]), result=int8), [-128, -5])
    same(compute(lambda x, y: x * y, (uint8, [200, 16]), (uint8, [2, 16]), result=uint8), [144, 0])
    same(compute(lambda x: op("abs", x), (int8, [-128, -3]), result=int8), [-128, 3])


def test_shifts_beyond_the_width() -> None:
    by = (int32, [0, 1, 31, 32, 100, -1])
    same(compute(lambda x, y: x << y, (int32, [1] * 6), by, result=int32), [1, 2, -(2**31), 0, 0, 0])
    same(compute(lambda x, y: x >> y, (int32, [-8] * 6), by, result=int32), [-8, -4, -1, -1, -1, -1])
    big = 2**64 - 1
    same(compute(lambda x, y: x >> y, (uint64, [big] * 3), (uint64, [0, 63, 64]), result=uint64), [big, 1, 0])


def test_comparisons_and_extrema_with_nan() -> None:
    a, b = (float32, [1, NAN, 2, NAN]), (float32, [2, 1, NAN, NAN])
    same(compute(lambda x, y: op("min", x, y), a, b, result=float32), [1, 1, NAN, NAN])
    same(compute(lambda x, y: op("max", x, y), a, b, result=float32), [2, 1, NAN, NAN])
    for name, expected in (("lt", [1, 0, 0, 0]), ("ge", [0, 0, 0, 0]), ("ne", [1, 1, 1, 1]), ("eq", [0, 0, 0, 0])):
        same(compute(lambda x, y, n=name: op(n, x, y), a, b, result=bool_), expected)


def test_fma_rounds_once() -> None:
    e = 2.0**-23
    args = [(float32, [1 + e]), (float32, [1 + e]), (float32, [-(1 + 2 * e)])]
    same(compute(fma, *args, result=float32), [e * e])
    e = 2.0**-52
    args = [(float64, [1 + e, INF, 1e308]), (float64, [1 + e, 1, 10]), (float64, [-(1 + 2 * e), 1, 1])]
    same(compute(fma, *args, result=float64), [e * e, INF, INF])


def test_casts() -> None:
    x = (float32, [1.9, -1.9, 300, -300, NAN, INF, -INF, 2.0**31])
    same(compute(lambda v: cast(v, int8), x, result=int8), [1, -1, 44, -44, 0, 0, 0, 0])
    same(compute(lambda v: cast(v, uint8), x, result=uint8), [1, 255, 44, 212, 0, 0, 0, 0])
    same(compute(lambda v: cast(v, uint32), x, result=uint32), [1, 2**32 - 1, 300, 2**32 - 300, 0, 0, 0, 2**31])
    least = [-(2**63), -(2**63), -(2**63), 0, 0, 0, 0, 0]
    x = (float64, [1e30, NAN, -1e30, 0.5, -0.5, 0, 0, 0])
    same(compute(lambda v: cast(v, int64), x, result=int64), least)
    same(compute(lambda v: cast(v, bool_), (float32, [0.0, -0.0, NAN, 1e-45]), result=bool_), [0, 0, 1, 1])
    same(compute(lambda v: cast(v, int8), (int32, [300, -129]), result=int8), [44, 127])
    # half precision is reached from single precision: this one is rounded twice
    twice = 1 + 2.0**-11 + 2.0**-26
    same(compute(lambda v: cast(v, float16), (float64, [twice]), result=float16), [1.0])
    same(compute(lambda v: bitcast(v, uint32), (float32, [1.0, -0.0]), result=uint32), [0x3F800000, 0x80000000])


def test_rounding_and_signs() -> None:
    x = (float32, [0.5, 1.5, 2.5, -0.5, -1.5, 0.0])
    same(compute(lambda v: op("rint", v), x, result=float32), [0, 2, 2, -0.0, -2, 0])
    same(compute(lambda v: op("trunc", v), x, result=float32), [0, 1, 2, -0.0, -1, 0])
    same(compute(lambda v: op("neg", v), (float32, [0.0, NAN]), result=float32)[:1], [-0.0])
    same(compute(lambda v, w: op("copysign", v, w), (float32, [1, 2]), (float32, [-0.0, 3]), result=float32), [-1, 2])


def test_truth_values() -> None:
    a, b = (bool_, [1, 1, 0, 0]), (bool_, [1, 0, 1, 0])
    for name, expected in (("add", [1, 1, 1, 0]), ("mul", [1, 0, 0, 0]), ("sub", [0, 1, 1, 0]), ("max", [1, 1, 1, 0])):
        same(compute(lambda x, y, n=name: op(n, x, y), a, b, result=bool_), expected)
    same(compute(lambda x: op("not", x), a, result=bool_), [0, 0, 1, 1])


def reduction(how: str, init: Any, values: np.ndarray, kind: str = "vector") -> np.ndarray:
    """Reduces each row of ``values`` with a register."""
    rows, columns = values.shape
    p, j = var("p"), var("j")
    a, out = Buffer("a", float32), Buffer("out", float32, written=True)
    where = Buffer("where", int64, written=True)
    index = Register("i0", INDEX, "index", 2**62) if how.startswith("arg") else None
    r = Register("r0", float32, how, init, index)
    update = Update(r, load(a, p * columns + j), j if index else None)
    body: list[Statement] = [
        Reset(r),
        Loop(j, const(0, INDEX), const(columns, INDEX), kind, [update], 4),
        Store(out, p, read(r)),
    ]
    buffers = [a, out]
    if index:
        body[:0] = [Reset(index)]
        body.append(Store(where, p, read(index)))
        buffers.append(where)
    kernel = Kernel("k", buffers, [], [], [Loop(p, const(0, INDEX), const(rows, INDEX), "parallel", body)])
    arrays = [values.reshape(-1).copy(), np.zeros(rows, np.float32)] + ([np.zeros(rows, np.int64)] if index else [])
    run(kernel, arrays, [], [], rows)
    return arrays[-1]


@pytest.mark.parametrize("kind", ["vector", "serial"])
@pytest.mark.parametrize("columns", [1, 2, 5, 7, 64, 100])
def test_registers_are_combined_over_the_lanes(kind: str, columns: int) -> None:
    values = np.random.default_rng(0).integers(-9, 10, (3, columns)).astype(np.float32)
    same(reduction("add", 0, values, kind).tolist(), values.sum(1).tolist())
    same(reduction("max", -INF, values, kind).tolist(), values.max(1).tolist())
    same(reduction("argmin", INF, values, kind).tolist(), values.argmin(1).tolist())
    values[1, columns // 2] = NAN
    same(reduction("min", INF, values, kind).tolist(), values.min(1).tolist())
    same(reduction("argmax", -INF, values, kind).tolist(), values.argmax(1).tolist())


def scatter(body: Any, n: int, written: bool = True, size: int = 4) -> np.ndarray:
    """Runs ``body(buffer, p)`` in n iterations of a parallel loop on a buffer of 4 elements."""
    b, p = Buffer("b", float32, written=written), var("p")
    kernel = Kernel("k", [b], [], [], [Loop(p, const(0, INDEX), const(n, INDEX), "parallel", body(b, p))])
    array = np.zeros(size, np.float32)
    run(kernel, [array], [], [], n)
    return array


def test_a_load_sees_what_was_stored_before_it() -> None:
    def body(b: Buffer, p: Value) -> list[Statement]:
        there = load(b, p)
        return [Store(b, p, const(1, float32)), Store(b, p, there + 1), Store(b, p, there + 1)]

    assert scatter(body, 4).tolist() == [3, 3, 3, 3]


def test_a_condition_guards_a_store() -> None:
    def body(b: Buffer, p: Value) -> list[Statement]:
        return [Store(b, p, const(1, float32), lt(p, 2))]

    assert scatter(body, 9).tolist() == [1, 1, 0, 0]


def test_what_is_refused() -> None:
    zero, one = const(0, INDEX), const(1, float32)
    with pytest.raises(AssertionError, match="outside"):
        scatter(lambda b, p: [Store(b, p, one)], 5)
    with pytest.raises(AssertionError, match="outside"):
        scatter(lambda b, p: [Store(b, p, load(b, p - 1))], 2)
    with pytest.raises(AssertionError, match="two iterations meet"):
        scatter(lambda b, p: [Store(b, zero, one)], 2)
    with pytest.raises(AssertionError, match="another iteration wrote"):
        scatter(lambda b, p: [Store(b, p, load(b, zero))], 2)
    with pytest.raises(AssertionError, match="two iterations meet"):  # read first, written by another one later
        scatter(lambda b, p: [Store(b, p, load(b, select(lt(p, 1), const(1, INDEX), p)))], 2)
    with pytest.raises(AssertionError, match="not declared"):
        scatter(lambda b, p: [Store(b, p, one)], 1, written=False)
    with pytest.raises(AssertionError, match="before it is reset"):
        scatter(lambda b, p: [Store(b, p, read(Register("r", float32, "add", 0)))], 1)
    i = var("i")
    with pytest.raises(AssertionError, match="lanes write different values"):
        scatter(lambda b, p: [Loop(i, zero, const(3, INDEX), "vector", [Store(b, zero, cast(i, float32))])], 1)
    with pytest.raises(AssertionError, match="has no value here"):
        scatter(lambda b, p: [Store(b, p, cast(var("unknown"), float32))], 1)


def test_arguments_and_scalars() -> None:
    n, s = Value("arg", (), INDEX, "n0"), Value("scalar", (), float32, "s0")
    b, p = Buffer("b", float32, written=True), var("p")
    kernel = Kernel(
        "k", [b], [s], [n], [Loop(p, const(0, INDEX), n, "parallel", [Store(b, n - 1 - p, s * cast(p, float32))])]
    )
    array = np.zeros(3, np.float32)
    run(kernel, [array], [0.5], [3], 3)
    assert array.tolist() == [1, 0.5, 0]


def test_every_type_can_be_moved() -> None:
    for dtype in dtypes.ALL:
        if not dtype.is_complex:
            same([float(x) for x in compute(lambda v: v, (dtype, [0, 1]), result=dtype)], [0, 1])
