"""Every primitive's rules, on its declared samples: derivatives against finite differences, batching against a loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.specs import Case, all_cases, apply, node, numpy

from arrax.graph.node import Node
from arrax.graph.primitive import NO_VMAP, NONDIFF
from arrax.prims.leaf import placeholder
from arrax.prims.reduce import zeros_like
from arrax.transforms.grad import pullback
from arrax.transforms.jvp import pushforward
from arrax.transforms.tracing import Trace, variable
from arrax.transforms.vmap import batch

# their derivatives raise an error that says that there is none
RAISING = ("symmetric_root", "eig", "lu")
DIFFERENTIABLE = [
    c
    for c in all_cases(np.float64)
    if c.prim.vjp is not NONDIFF
    and c.prim.name not in ("stop_gradient", *RAISING)
    # a cast to or from integers is differentiated straight through, which no difference shows
    and not (c.prim.name == "cast" and (c.arrays[0].dtype.kind != "f" or c.params[0].name != "float64"))
    and any(a.dtype.kind in "fc" for a in c.arrays)
]
VECTORISABLE = [c for c in all_cases() if c.prim.batch is not NO_VMAP and c.arrays]
EPSILON = 1e-5

pytestmark = pytest.mark.usefixtures("references")


def inexact(case: Case) -> list[int]:
    return [i for i, a in enumerate(case.arrays) if a.dtype.kind in "fc"]


def random_like(rng: np.random.Generator, a: np.ndarray) -> np.ndarray:
    noise = rng.normal(size=a.shape)
    return (noise + 1j * rng.normal(size=a.shape) if a.dtype.kind == "c" else noise).astype(a.dtype)


def inner(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(np.real(np.conj(a.astype(np.complex128)) * b.astype(np.complex128))))


def value(case: Case, arrays: list[np.ndarray]) -> np.ndarray:
    return numpy(apply(case, [node(a) for a in arrays]))


def slope(f: Callable[[list[np.ndarray]], np.ndarray], arrays: list[np.ndarray], along: list[np.ndarray]) -> np.ndarray:
    """The derivative along a direction, by central differences; where both sides are the same infinity it is 0."""
    exact = all(a.dtype != np.complex64 for a in (*arrays, f(arrays)))
    h = EPSILON if exact else 2.0**-6
    up, down = (f([(a + s * d).astype(a.dtype) for a, d in zip(arrays, along, strict=True)]) for s in (h, -h))
    with np.errstate(invalid="ignore"):
        return np.where(up == down, 0, (up - down) / (2 * h))


def directions(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    return [random_like(rng, a) if a.dtype.kind in "fc" else np.zeros_like(a) for a in case.arrays]


def recorded_vjp(case: Case, arrays: list[np.ndarray], g: np.ndarray) -> list[np.ndarray]:
    with Trace():
        inputs = [variable(node(a)) for a in arrays]
        wanted = [inputs[i] for i in inexact(case)]
        parts = pullback([apply(case, inputs)], [node(g)], wanted)
        return [numpy(zeros_like(n) if p is None else p) for n, p in zip(wanted, parts, strict=True)]


differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda c: c.name)
# the complex ones are linear, and float32 has too few digits for differences of differences
twice = pytest.mark.parametrize(
    "case", [c for c in DIFFERENTIABLE if c.arrays[0].dtype != np.complex64], ids=lambda c: c.name
)


def close(a: object, b: object, case: Case) -> None:
    rough = case.prim.name == "rfft" or any(x.dtype == np.complex64 for x in case.arrays)
    np.testing.assert_allclose(a, b, rtol=1e-3 if rough else 2e-5, atol=1e-3 if rough else 1e-6)


@differentiable
def test_reverse_mode(case: Case) -> None:
    rng = np.random.default_rng(0)
    result = value(case, case.arrays)
    for _ in range(2):
        along = directions(case, rng)
        g = random_like(rng, result)
        parts = recorded_vjp(case, case.arrays, g)
        total = sum(inner(p, along[i]) for p, i in zip(parts, inexact(case), strict=True))
        for p, i in zip(parts, inexact(case), strict=True):
            assert p.shape == case.arrays[i].shape and p.dtype == case.arrays[i].dtype
        close(total, inner(g, slope(lambda x: value(case, x), case.arrays, along)), case)


@differentiable
def test_forward_mode(case: Case) -> None:
    along = directions(case, np.random.default_rng(1))
    with Trace():
        inputs = [variable(node(a)) for a in case.arrays]
        out = apply(case, inputs)
        chosen = inexact(case)
        tangent = pushforward([out], [inputs[i] for i in chosen], [node(along[i]) for i in chosen])[0]
        tangent = zeros_like(out) if tangent is None else tangent
    assert tangent.shape == out.shape and tangent.dtype is out.dtype
    close(numpy(tangent), slope(lambda x: value(case, x), case.arrays, along), case)


@twice
def test_second_order(case: Case) -> None:
    """The gradient of <w, vjp(x)(g)>, and the forward derivative of the vjp, against differences."""
    rng = np.random.default_rng(2)
    g = random_like(rng, value(case, case.arrays))
    along, chosen = directions(case, rng), inexact(case)
    weights = [random_like(rng, case.arrays[i]) for i in chosen]
    with Trace():
        outer = [variable(node(a)) for a in case.arrays]
        inputs = [variable(n) for n in outer]
        parts = pullback([apply(case, inputs)], [node(g)], [inputs[i] for i in chosen])
        pairs = [(p, node(w)) for p, w in zip(parts, weights, strict=True) if p is not None]
        wanted = [outer[i] for i in chosen]
        seconds = pullback([p for p, _ in pairs], [w for _, w in pairs], wanted)
        tangents = pushforward([p for p, _ in pairs], wanted, [node(along[i]) for i in chosen])
        reverse = sum(inner(numpy(s), along[i]) for s, i in zip(seconds, chosen, strict=True) if s is not None)
        forward = sum(inner(numpy(t), numpy(w)) for t, (_, w) in zip(tangents, pairs, strict=True) if t is not None)

    def firsts(arrays: list[np.ndarray]) -> np.ndarray:
        return np.array(sum(inner(p, w) for p, w in zip(recorded_vjp(case, arrays, g), weights, strict=True)))

    expected = float(slope(firsts, case.arrays, along))
    np.testing.assert_allclose([reverse, forward], [expected] * 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", VECTORISABLE, ids=lambda c: c.name)
def test_vectorised_equals_a_loop(case: Case) -> None:
    size, count = 3, len(case.arrays)
    masks = {(1 << count) - 1, *(1 << i for i in range(count)), *(((1 << count) - 1) ^ (1 << i) for i in range(count))}
    rng = np.random.default_rng(3)
    for mask in sorted(masks - {0}):
        stacks: list[np.ndarray] = []
        for i, a in enumerate(case.arrays):
            many = [a, *(rng.permutation(a.reshape(-1)).reshape(a.shape) for _ in range(size - 1))]
            stacks.append(np.stack(many) if mask >> i & 1 else a)
        inputs: list[Node] = []
        known = {}
        for i, stack in enumerate(stacks):
            n = node(stack)
            if mask >> i & 1:
                one = Node(placeholder, (), (), n.shape[1:], n.dtype)
                known[id(one)] = n
                inputs.append(one)
            else:
                inputs.append(n)
        with Trace():
            recorded = apply(case, inputs)
            ((result, batched),) = batch([recorded], known, size)
        loop = [value(case, [s[k] if mask >> i & 1 else s for i, s in enumerate(stacks)]) for k in range(size)]
        assert batched and result.shape == (size, *recorded.shape) and result.dtype is recorded.dtype
        np.testing.assert_allclose(numpy(result), np.stack(loop), rtol=1e-6)
