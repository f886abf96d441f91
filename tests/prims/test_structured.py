"""Primitives with a structure, at many shapes: NumPy reference, interpreted kernel IR and machine code agree."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from tests.differential.evaluators import by_machine
from tests.prims.agreement import agree
from tests.specs import node

from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node
from arrax.graph.primitive import REGISTRY, bind
from arrax.prims import contract, gather, leaf, pointwise, scan, view
from arrax.prims import reduce as reductions

SHAPES = [(1,), (17,), (127,), (3, 65), (65, 3), (1, 33), (33, 1), (5, 7, 16), (2, 1, 63), (3, 4, 2, 17)]
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}
TYPES = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16, dtypes.int32, dtypes.uint8, dtypes.int64)


def _data(shape: tuple[int, ...], dtype: Dtype, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype.is_integer:
        return rng.integers(0 if not dtype.is_signed else -9, 10, shape).astype(dtype.np)
    return rng.normal(size=shape).astype(dtype.np)


def _absolute(dtype: Dtype, count: int) -> float:
    """The error of a sum, relative to the largest result; integers are exact."""
    return EPSILON[dtype.name] * (2 + count**0.5) * 2 if dtype.is_float else 0


def _subsets(rank: int) -> list[tuple[int, ...]]:
    return [axes for k in range(1, rank + 1) for axes in itertools.combinations(range(rank), k)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "argmax", "argmin"])
def test_reductions(name: str, shape: tuple[int, ...]) -> None:
    prim = REGISTRY[name]
    for number, axes in enumerate(_subsets(len(shape))):
        if name.startswith("arg") and len(axes) > 1:
            continue
        dtype = TYPES[(number + len(shape)) % len(TYPES)]
        count = int(np.prod([shape[i] for i in axes]))
        values = _data(shape, dtype)
        if name == "prod" and dtype.is_float:
            values = (1 + 0.1 * values.astype(np.float64)).astype(dtype.np)
        absolute = _absolute(dtype, count) if name in ("sum", "prod") else 0
        alone = reductions.reduce(prim, node(values), axes)
        agree([alone], f"{name} {dtype.name} {shape} {axes}", absolute=absolute)
        # between other operations, with the operand used again
        a = node(values)
        inner = pointwise.sub(a, reductions.reduce(prim, pointwise.neg(a), axes)) if not name.startswith("arg") else a
        agree([inner], f"{name} {dtype.name} {shape} {axes} fused", absolute=_absolute(dtype, count))


@pytest.mark.parametrize("dtype", TYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["sum", "max", "argmin"])
def test_reductions_to_one_value(name: str, dtype: Dtype) -> None:
    """These are cut into parts; where there are few elements, most of the parts are empty."""
    for n in (1, 2, 63, 64, 65, 1000, 5003):
        a = node(_data((n,), dtype, n))
        agree([reductions.reduce(REGISTRY[name], a, (0,))], f"{name} {dtype.name} {n}", absolute=_absolute(dtype, n))
    a = node(_data((40, 51), dtype))
    if name != "argmin":
        agree([reductions.reduce(REGISTRY[name], a, (0, 1))], f"{name} {dtype.name}", absolute=_absolute(dtype, 2040))


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extrema_with_nan_and_ties(name: str) -> None:
    for n in (5, 64, 100):
        for places in ((), (0,), (n - 1,), (2, n // 2)):
            values = np.tile(np.array([1, 2, 2, -1, -1], np.float32), n)[: 3 * n].reshape(3, n)
            values[1, list(places)] = np.nan
            for axes in ((1,), (0,)):
                agree([reductions.reduce(REGISTRY[name], node(values), axes)], f"{name} {n} {places} {axes}")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
def test_scans(name: str, shape: tuple[int, ...]) -> None:
    prim = REGISTRY[name]
    for number, (axis, reverse, inclusive) in enumerate(
        itertools.product(range(len(shape)), (False, True), (False, True))
    ):
        dtype = TYPES[number % (4 if name == "logcumsumexp" else len(TYPES))]
        values = _data(shape, dtype)
        if name == "cumprod" and dtype.is_float:
            values = (1 + 0.1 * values.astype(np.float64)).astype(dtype.np)
        if name.startswith("cum") and dtype.is_integer and name == "cumprod":
            values = np.sign(values).astype(dtype.np)
        exact = name in ("cummax", "cummin")
        absolute = 0 if exact else 4 * _absolute(dtype, shape[axis])
        result = scan.scan(prim, node(values), axis, reverse, inclusive)
        if name == "logcumsumexp" and not inclusive:  # starts with -inf
            result = pointwise.exp(result)
        agree([result], f"{name} {dtype.name} {shape} {axis} {reverse} {inclusive}", absolute=absolute)


def _slice_cases(a: Node) -> list[Node]:
    results = [view.flip(a, axes) for axes in _subsets(a.ndim)]
    for step in (1, 2, 3, 7, -1, -2, -5):
        shape = tuple(-(-n // abs(step)) for n in a.shape)
        starts = tuple(n - 1 if step < 0 else 0 for n in a.shape)
        results.append(view.slice_(a, shape, starts, (step,) * a.ndim))
        if min(a.shape) > 1:
            shape = tuple(-(-(n - 1) // abs(step)) for n in a.shape)
            starts = tuple(n - 2 if step < 0 else 1 for n in a.shape)
            results.append(view.slice_(a, shape, starts, (step,) * a.ndim))
    return results


def _view_cases(a: Node) -> list[Node]:
    results = [view.transpose(a, axes) for axes in itertools.permutations(range(a.ndim))]
    results += [view.reshape(a, s) for s in ((a.size,), (1, a.size, 1), a.shape[::-1])]
    results += [view.reshape(view.transpose(a, tuple(reversed(range(a.ndim)))), (a.size,))]
    results.append(view.broadcast(a, (3, *(n if n > 1 else 5 for n in a.shape))))
    return results + _slice_cases(a)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_views(shape: tuple[int, ...]) -> None:
    """Alone, between pointwise operations, and one on the other: elements are copied to the bit."""
    a = node(_data(shape, dtypes.float32))
    agree(_view_cases(a), f"views of {shape}")
    agree([pointwise.neg(v) for v in _view_cases(pointwise.square(a))], f"views of {shape} between operations")
    for v in _view_cases(a)[1:4]:
        agree([pointwise.neg(w) for w in _view_cases(v)[:8]], f"views of views of {shape}")


@pytest.mark.parametrize("dtype", [dtypes.bfloat16, dtypes.uint8, dtypes.bool_, dtypes.int64], ids=lambda d: d.name)
def test_views_of_other_types(dtype: Dtype) -> None:
    for shape in ((17,), (5, 7, 16)):
        agree(_view_cases(node((_data(shape, dtypes.int32) > 0).astype(dtype.np))), f"views of {dtype.name} {shape}")


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 1], ids=str)
def test_joins(shape: tuple[int, ...]) -> None:
    a = node(_data(shape, dtypes.float32))
    for axis in range(len(shape)):
        other = tuple(n + 3 if i == axis else n for i, n in enumerate(shape))
        b = node(_data(other, dtypes.float32, 1))
        joined = view.concatenate([a, pointwise.neg(b), a], axis)
        agree([joined, pointwise.exp(joined)], f"concatenate {shape} {axis}", absolute=1e-6)
        starts = tuple(1 if n > 1 else 0 for n in other)
        for step in (1, 2, -1):
            region = tuple(max(1, -(-(n - s) // abs(step))) for n, s in zip(other, starts, strict=True))
            begin = starts if step > 0 else tuple(s + k - 1 for s, k in zip(starts, region, strict=True))
            update = node(_data(region, dtypes.float32, 2))
            agree([view.slice_update(b, update, begin, (step,) * len(shape))], f"slice_update {other} {step}")


def _positions(shape: tuple[int, ...], n: int, kind: type, distinct: bool = False) -> Node:
    rng = np.random.default_rng(1)
    if distinct:
        values = rng.permutation(n)[: int(np.prod(shape))].reshape(shape)
    else:
        values = rng.integers(0, n, shape)
    if kind in (np.int32, np.int64):
        values = np.where(rng.random(shape) < 0.3, values - n, values)
    return node(values.astype(kind))


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32, np.uint8], ids=lambda t: t.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gathers(shape: tuple[int, ...], kind: type) -> None:
    """Positions may count from the end, and are clamped where they lie outside."""
    a = node(_data(shape, dtypes.float32))
    for axis, n in enumerate(shape):
        for index in ((), (4,), (17,), (2, 3)):
            at = _positions(index, n, kind)
            agree(
                [gather.take(a, at, axis), pointwise.neg(gather.take(pointwise.square(a), at, axis))],
                f"take {shape} {axis} {index}",
            )
        for k in (1, 3):
            at = _positions(tuple(k if i == axis else m for i, m in enumerate(shape)), n, kind)
            agree([gather.take_along(a, at, axis)], f"take_along {shape} {axis}")
        far = node(np.array([0, 200, n, n + 1]).astype(kind))
        agree([gather.take(a, far, axis)], f"take outside {shape} {axis}")


@pytest.mark.parametrize("how", ["set", "add", "mul", "max", "min"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scatters(shape: tuple[int, ...], how: str) -> None:
    """Positions outside are left out; repeated ones combine."""
    for dtype in (dtypes.float32, dtypes.int32, dtypes.bfloat16):
        a = node(_data(shape, dtype))
        for axis, n in enumerate(shape):
            count = min(n, 4) if how == "set" else 9
            at = _positions((count,), n, np.int32, distinct=how == "set")
            rest = shape[:axis] + (count,) + shape[axis + 1 :]
            update = node(_data(rest, dtype, 3))
            absolute = _absolute(dtype, 64) if how in ("add", "mul") and dtype.is_float else 0
            agree(
                [gather.scatter(a, at, update, axis, how)],
                f"scatter {how} {dtype.name} {shape} {axis}",
                absolute=absolute,
            )
            far = node(np.array([n + 5, -n - 1, 0]).astype(np.int32))
            rest = shape[:axis] + (3,) + shape[axis + 1 :]
            result = gather.scatter(a, far, node(_data(rest, dtype, 4)), axis, how)
            agree([result], f"scatter outside {how} {shape} {axis}", absolute=absolute)
            line = tuple(count if i == axis else m for i, m in enumerate(shape))
            along = np.argsort(np.random.default_rng(5).random(shape), axis=axis).astype(np.int32)
            along = np.take(along, np.arange(min(count, n)), axis)
            line = along.shape
            result = gather.scatter_along(a, node(along), node(_data(line, dtype, 6)), axis, how)
            agree([result], f"scatter_along {how} {shape} {axis}", absolute=absolute)


def test_strided_windows() -> None:
    a = node(_data((200,), dtypes.float32))
    for shape, strides, offset in (
        ((5, 7), (7, 1), 3),
        ((10, 4), (2, 1), 0),
        ((3, 4), (0, 5), 9),
        ((4, 3), (-5, 1), 50),
        ((6,), (13,), 1),
    ):
        agree([gather.as_strided(a, shape, strides, offset)], f"as_strided {shape} {strides} {offset}")


def _swapped(a: Node) -> Node:
    return view.transpose(a, (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2))


PRODUCTS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 5), (5, 7)), ((1, 17), (17, 33)), ((65, 16), (16, 1)), ((64, 1), (1, 33)), ((2, 3, 5), (5, 4)),
    ((2, 3, 5), (2, 5, 4)),
    ((4, 1, 3, 5), (2, 5, 6)), ((1, 1), (1, 1)), ((40, 70), (70, 50)), ((3, 1, 8), (3, 8, 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    "dtype", [dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16], ids=lambda d: d.name
)
@pytest.mark.parametrize(("left", "right"), PRODUCTS, ids=str)
def test_products(left: tuple[int, ...], right: tuple[int, ...], dtype: Dtype) -> None:
    """Of arrays, of transposed, reversed and strided views, and of what was computed just before."""
    a, b = node(_data(left, dtype)), node(_data(right, dtype, 1))
    absolute = _absolute(dtype, left[-1])
    changes: list[Callable[[Node], Node]] = [
        lambda x: x,
        lambda x: _swapped(node(np.ascontiguousarray(np.swapaxes(_data(x.shape, dtype, 2), -1, -2)))),
        lambda x: view.flip(x, (x.ndim - 2,)),
        lambda x: view.flip(x, (x.ndim - 1,)),
        lambda x: view.slice_(
            node(_data((*x.shape[:-2], 2 * x.shape[-2], 3 * x.shape[-1]), dtype)),
            x.shape,
            (0,) * x.ndim,
            (*(1,) * (x.ndim - 2), 2, 3),
        ),
        lambda x: view.slice_(node(_data((*x.shape[:-1], x.shape[-1] + 2), dtype)), x.shape, (*(0,) * (x.ndim - 1), 1)),
        lambda x: pointwise.neg(x),
        lambda x: view.broadcast(node(_data((1, x.shape[-1]), dtype)), x.shape),
    ]
    for i, f in enumerate(changes):
        for j, g in enumerate(changes):
            if i == 0 or j == 0 or i == j:
                product = contract.matmul(f(a), g(b))
                agree([product], f"matmul {left} {right} {i} {j}", absolute=absolute)
    product = contract.matmul(a, b)
    agree(
        [pointwise.exp(pointwise.neg(pointwise.abs_(product))), product],
        f"matmul {left} {right} epilogue",
        absolute=4 * absolute,
    )


@pytest.mark.parametrize(
    "dtype", [dtypes.float32, dtypes.float16, dtypes.bfloat16, dtypes.float64], ids=lambda d: d.name
)
def test_nan_is_sorted_behind_everything(dtype: Dtype) -> None:
    values = np.array([3, np.nan, 1, -np.inf, np.nan, -1, np.inf, 0, -np.nan, 4]).astype(dtype.np)
    for name in ("sort", "argsort"):
        for shape, axis in (((10,), 0), ((5, 2), 0), ((2, 5), 1)):
            case = bind(REGISTRY[name], (node(values.reshape(shape)),), (axis,))
            agree([case], f"{name} {dtype.name} {shape}")
    found = by_machine([bind(REGISTRY["sort"], (node(values),), (0,))])[0].astype(np.float64)
    np.testing.assert_array_equal(found, [-np.inf, -1, 0, 1, 3, 4, np.inf, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 64, 127])
def test_sources(n: int) -> None:
    key = np.array([[1, 2], [3, 0xFFFFFFFF], [0, 0]], np.uint32)
    agree([leaf.random_bits(node(key), n), leaf.random_bits(node(key[0]), n)], f"random_bits {n}")
    for dtype in (dtypes.int32, dtypes.float32, dtypes.float16, dtypes.int64, dtypes.uint8):
        for shape, axis in (((n,), 0), ((3, n), 1), ((n, 5), 0)):
            line = leaf.iota(shape, axis, dtype)
            agree([line, pointwise.square(line)], f"iota {dtype.name} {shape} {axis}")


def test_half_types_are_what_numpy_takes_them_for() -> None:
    assert dtypes.bfloat16.np == ml_dtypes.bfloat16
