"""Every primitive: NumPy reference, interpreted kernel IR and machine code agree."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from tests.differential.evaluators import by_machine, by_reference
from tests.prims.agreement import agree, assert_within, is_float
from tests.specs import Case, all_cases, apply, node, special

from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype
from arrax.graph.primitive import REGISTRY, Primitive, bind
from arrax.runtime import executor

HALVES = (dtypes.float16, dtypes.bfloat16)
FLOATS = (dtypes.float32, dtypes.float64, *HALVES)
INTEGERS = tuple(d for d in dtypes.ALL if d.is_integer)
POINTWISE = [p for p in REGISTRY.values() if p.kind == "pointwise" and p.samples and isinstance(p.samples[0], str)]

# Results that IEEE 754 or the integers determine; all others may be off by TRANSCENDENTAL.
EXACT = {
    "add", "sub", "mul", "div", "neg", "abs", "sign", "square", "sqrt", "maximum", "minimum", "floor", "ceil", "round",
    "trunc", "update_max", "update_min",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "bitwise_and", "bitwise_or", "bitwise_xor",
    "bitwise_not", "left_shift", "right_shift", "where",
}  # fmt: skip
TRANSCENDENTAL = 4
SORTING = ("sort", "argsort")


def _types(prim: Primitive) -> tuple[Dtype, ...]:
    domain = prim.samples[0]
    if domain == "a":
        return (*FLOATS, *INTEGERS, dtypes.bool_)
    if domain in ("n", "where"):
        return (*FLOATS, *INTEGERS)
    return {"i": INTEGERS, "b": (dtypes.bool_,)}.get(domain, FLOATS)


def _edges(dtype: Dtype) -> np.ndarray:
    if dtype is dtypes.bool_:
        return np.array([False, True])
    if dtype.is_integer:
        limits = np.iinfo(dtype.np)
        return np.array(
            [limits.min, limits.min + 1, limits.max, limits.max - 1, 0, 1, 2, 3, 5, 7, 8, 31, 63, 64, 100], dtype.np
        )
    limits = np.finfo(dtype.np) if dtype is not dtypes.bfloat16 else ml_dtypes.finfo(dtype.np)
    tiny, least, largest, epsilon = (float(x) for x in (limits.tiny, limits.smallest_subnormal, limits.max, limits.eps))
    positive = [
        0.0,
        1,
        0.5,
        1.5,
        2,
        2.5,
        3,
        7.25,
        100,
        0.1,
        1e-3,
        1 + epsilon,
        1 - epsilon / 2,
        tiny,
        least,
        3 * least,
        largest,
        np.inf,
    ]
    return np.array([s * x for x in positive for s in (1, -1)] + [np.nan]).astype(dtype.np)


def _values(dtype: Dtype, count: int, rng: np.random.Generator) -> np.ndarray:
    if dtype is dtypes.bool_:
        return rng.integers(0, 2, count).astype(bool)
    if dtype.is_integer:
        limits = np.iinfo(dtype.np)
        wide = rng.integers(limits.min, limits.max, count, dtype=dtype.np, endpoint=True)
        return np.where(rng.random(count) < 0.5, wide, rng.integers(0, 20, count).astype(dtype.np)).astype(dtype.np)
    return (rng.normal(size=count) * 2.0 ** rng.integers(-6, 4, count)).astype(dtype.np)


def _operands(prim: Primitive, dtype: Dtype, rng: np.random.Generator) -> list[np.ndarray]:
    """Edge cases against each other, then random numbers: an odd number of elements."""
    edges = _edges(dtype)
    _, arity = prim.samples
    if prim.samples[0] == "where":
        lines = [rng.integers(0, 2, 127).astype(bool)] + [_values(dtype, 127, rng) for _ in range(2)]
        return lines
    if arity == 1:
        lines = [edges]
    else:
        lines = [m.reshape(-1) for m in np.meshgrid(edges, edges, indexing="ij")]
    extra = 65 + (lines[0].size + 65 + 1) % 2
    return [np.concatenate([line, _values(dtype, extra, rng)]) for line in lines]


def _limit(prim: Primitive, dtype: Dtype) -> float:
    if prim.name in EXACT or not dtype.is_float:
        return 0
    return 1 if dtype in HALVES else TRANSCENDENTAL


def _defined(prim: Primitive, operands: list[np.ndarray]) -> list[np.ndarray]:
    """Leaves out what has no agreed result: quotients that floats cannot hold, angles beyond a reduction's reach."""
    keep = np.ones(operands[0].shape, bool)
    if is_float(operands[0].dtype):
        wide = [x.astype(np.float64) for x in operands]
        with np.errstate(all="ignore"):
            if prim.name in ("floor_divide", "remainder"):
                ratio = np.abs(wide[0] / wide[1])
                keep = np.isfinite(ratio) & (ratio < 2.0**7) & (ratio > 2.0**-7)
            if prim.name in ("sin", "cos", "tan"):
                keep = ~(np.isfinite(wide[0]) & (np.abs(wide[0]) > 1e5))
            if prim.name == "logaddexp":  # near a zero of the result its last places are the operands'
                keep = ~(np.abs(np.logaddexp(*wide)) < np.abs(np.maximum(*wide)) / 2)
            if prim.name in ("lgamma", "digamma"):  # as near the zeros of these, but for those of lgamma at 1 and 2
                value = prim.reference((), operands[0].shape, dtypes.float64, wide[0])
                keep = ~(np.abs(value) < 0.25) | ((prim.name == "lgamma") & (wide[0] > 0))
    return [x[keep] for x in operands]


@pytest.mark.parametrize("prim", POINTWISE, ids=lambda p: p.name)
def test_pointwise_on_all_types(prim: Primitive) -> None:
    rng = np.random.default_rng(3)
    for dtype in _types(prim):
        operands = _defined(prim, _operands(prim, dtype, rng))
        agree([bind(prim, tuple(node(x) for x in operands))], f"{prim.name} {dtype.name}", limit=_limit(prim, dtype))


@pytest.mark.parametrize("prim", POINTWISE, ids=lambda p: p.name)
def test_pointwise_at_odd_sizes(prim: Primitive) -> None:
    """An element's value does not depend on where it stands in a vector, nor on what is broadcast."""
    rng = np.random.default_rng(4)
    dtype = _types(prim)[0]
    operands = [np.resize(x, 3 * 127) for x in _defined(prim, _operands(prim, dtype, rng))]
    (whole,) = by_machine([bind(prim, tuple(node(x) for x in operands))])
    for n in (1, 15, 16, 17, 63, 64, 65, 127):
        (part,) = by_machine([bind(prim, tuple(node(x[:n]) for x in operands))])
        assert_within(part, whole[:n], 0, f"{prim.name} of {n}")
        (rows,) = by_machine([bind(prim, tuple(node(x[: 3 * n].reshape(3, n)) for x in operands))])
        assert_within(rows, whole[: 3 * n].reshape(3, n), 0, f"{prim.name} of 3 x {n}")
    if len(operands) == 2:
        a, b = (np.resize(_values(dtype, 128, rng), 3 * 127) for _ in operands)
        off = 1e-6 if prim.name == "logaddexp" else 0  # its zeros have no relative precision
        for n in (1, 17, 65):
            shapes = [((3, n), (n,)), ((3, 1), (1, n)), ((), (n,)), ((n, 1), (3,)), ((1, 3, 1), (n, 1, 2))]
            for left, right in shapes:
                pair = [x[: int(np.prod(s))].reshape(s) for x, s in ((a, left), (b, right))]
                if prim.name == "power":
                    pair = [np.abs(x) for x in pair]
                result = bind(prim, tuple(node(x) for x in pair))
                agree([result], f"{prim.name} {left} {right}", limit=_limit(prim, dtype), absolute=off)


@pytest.mark.parametrize("prim", POINTWISE, ids=lambda p: p.name)
def test_pointwise_of_nothing(prim: Primitive) -> None:
    dtype = _types(prim)[0]
    operands = [
        np.zeros((3, 0), bool if prim.samples[0] == "where" and i == 0 else dtype.np) for i in range(prim.samples[1])
    ]
    result = bind(prim, tuple(node(x) for x in operands))
    executor.evaluate([result])
    assert executor.to_numpy(result).shape == (3, 0)


# Samples without floats are the same for all of them; a bitcast's other type fits float32.
SAMPLES = [
    (case, floats)
    for floats in FLOATS
    for case in all_cases(floats.np)
    if case.prim not in POINTWISE
    and (floats is dtypes.float32 or (case.prim.name != "bitcast" and any(is_float(a.dtype) for a in case.arrays)))
]


@pytest.mark.parametrize(("case", "floats"), SAMPLES, ids=lambda x: x.name)
def test_declared_samples(case: Case, floats: Dtype) -> None:
    result = apply(case, [node(a) for a in case.arrays])
    epsilon = max(2.0 ** -{"float16": 10, "bfloat16": 7, "float64": 52}.get(d.name, 23) for d in (floats, result.dtype))
    sums = case.prim.kind in ("reduce", "scan", "contract", "scatter", "opaque", "composite")
    agree([result], case.name, absolute=16 * epsilon if sums else 0)


SPECIAL = [
    (case, how)
    for sample in all_cases()
    if sample.prim.kind in ("reduce", "scan", "scatter") or sample.prim.name in SORTING
    for how, case in special(sample)
]


@pytest.mark.parametrize(("case", "how"), SPECIAL, ids=lambda x: getattr(x, "name", x))
def test_ties_and_no_numbers(case: Case, how: str) -> None:
    """Which of equal elements counts, and what no number does to the others."""
    exact = case.prim.name != "logcumsumexp"
    agree([apply(case, [node(a) for a in case.arrays])], f"{case.name}, {how}", limit=0 if exact else TRANSCENDENTAL)


def _cast_values(source: Dtype, rng: np.random.Generator) -> np.ndarray:
    values = np.concatenate([_edges(source), _values(source, 64, rng)])
    if source.is_float:
        near = np.array(
            [127.5, 128, 255.5, 256, -128.5, 32767.5, 65535.5, 2.0**31, -(2.0**31), 2.0**32, 2.0**63, 2.0**64, -0.5]
        )
        with np.errstate(over="ignore"):
            values = np.concatenate([values, near.astype(source.np)])
    return values


@pytest.mark.parametrize("source", [d for d in dtypes.ALL if not d.is_complex], ids=lambda d: d.name)
def test_casts(source: Dtype) -> None:
    """Between all types: truncated to integers, rounded to floats."""
    rng = np.random.default_rng(5)
    values = _cast_values(source, rng)
    for target in dtypes.ALL:
        if not target.is_complex and target is not source:
            agree([bind(REGISTRY["cast"], (node(values),), (target,))], f"cast {source.name} to {target.name}")


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d.size > 1 and not d.is_complex], ids=lambda d: d.name)
def test_bitcasts(dtype: Dtype) -> None:
    values = node(_cast_values(dtype, np.random.default_rng(6)))
    for target in dtypes.ALL:
        if target.size == dtype.size and target is not dtype:
            result = bind(REGISTRY["bitcast"], (values,), (target,))
            assert by_machine([result])[0].tobytes() == by_reference([result])[0].tobytes(), (dtype, target)


def test_all_primitives_have_samples() -> None:
    silent = {p.name for p in REGISTRY.values() if not p.samples and p.kind not in ("leaf", "call", "alias")}
    assert not silent


def test_the_comparison_sees_differences() -> None:
    a = np.array([1.0, np.nan, 0.0], np.float32)
    assert_within(a, a.copy(), 0, "equal")
    for other in ([np.nextafter(np.float32(1), np.float32(2)), np.nan, 0], [1, 0, 0], [1, np.nan, 1e-45]):
        with pytest.raises(AssertionError, match="differ"):
            assert_within(a, np.array(other, np.float32), 0, "different")
