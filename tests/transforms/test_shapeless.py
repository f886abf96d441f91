"""Functions that are compiled once for arguments of any sizes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from tests.transforms.oracle import agree

import arrax.core as mx
from arrax.graph.symbol import Symbol, Symbols, active
from arrax.transforms.compile import TRACES


def traced(m: ModuleType, f: Callable[..., Any], *calls: tuple) -> list:
    """The results of calls, and how often the function was traced after each."""
    count = [0]

    def counted(*args: Any) -> Any:
        count[0] += 1
        return f(*args)

    compiled = m.compile(counted, shapeless=True)
    return [(compiled(*args), count[0]) for args in calls]


def of(*shapes: tuple[int, ...]) -> Callable[[ModuleType], list[tuple]]:
    return lambda m: [(m.arange(1.0, 1.0 + m.zeros(s).size).reshape(s),) for s in shapes]


def pairs(*shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Callable[[ModuleType], list[tuple]]:
    return lambda m: [(of(a)(m)[0][0], of(b)(m)[0][0] + 2) for a, b in shapes]


Case = tuple[Callable[[ModuleType], Callable[..., Any]], Callable[[ModuleType], list[tuple]]]
VECTORS, TABLES = of((2,), (3,), (5,)), of((2, 3), (4, 5), (3, 2))  # MLX crashes when a size becomes 1

SAME: dict[str, Case] = {
    "pointwise": (lambda m: lambda a: m.exp(a) * 2, VECTORS),
    "ranks": (lambda m: lambda a: a * 2, of((2,), (2, 2), (3,), (), (3, 1))),
    "types": (lambda m: lambda a: a * 2, lambda m: [(m.ones(2),), (m.ones(3, m.int32),), (m.ones(4),)]),
    "constants": (lambda m: lambda a, k: a * k, lambda m: [(m.ones(2), 2), (m.ones(3), 2), (m.ones(3), 3)]),
    "structure": (
        lambda m: lambda d: sum(d.values()),
        lambda m: [({"a": m.ones(2)},), ({"a": m.ones(3)},), ({"b": m.ones(3)},)],
    ),
    "size of an argument": (lambda m: lambda a: a * a.shape[0], VECTORS),
    "number of elements": (lambda m: lambda a: a / a.size, VECTORS),
    "length": (lambda m: lambda a: a + len(a), VECTORS),
    "size in a function": (lambda m: m.compile(lambda a: a * a.shape[0]), VECTORS),
    "mean": (lambda m: lambda a: m.mean(a), TABLES),
    "mean along an axis": (lambda m: lambda a: a.mean(0, keepdims=True), TABLES),
    "var": (lambda m: lambda a: m.var(a, axis=1), of((2, 3), (4, 5))),
    "softmax": (lambda m: lambda a: m.softmax(a, axis=-1), TABLES),
    "sums": (lambda m: lambda a, b: a + b.sum(0, keepdims=True), pairs(((2, 2), (2, 2)), ((3, 3), (3, 3)))),
    "argsort": (lambda m: lambda a: m.argsort(-a, axis=0), TABLES),
    "cumsum": (lambda m: lambda a: m.cumsum(a, axis=1), TABLES),
    "reshape": (lambda m: lambda a: a.reshape(2, -1), of((2, 3), (4, 3))),
    "reshape by a size": (lambda m: lambda a: a.reshape(a.shape[0], -1), of((2, 3), (4, 3))),
    "flatten": (lambda m: lambda a: a.flatten(), TABLES),
    "transpose": (lambda m: lambda a: a.T, TABLES),
    "new axis": (lambda m: lambda a: a[:, None], VECTORS),
    "concatenate": (lambda m: lambda a, b: m.concatenate([a, b]), pairs(((2,), (3,)), ((3,), (5,)))),
    "stack": (lambda m: lambda a, b: m.stack([a, b]), pairs(((2,), (2,)), ((5,), (5,)))),
    "zeros_like": (lambda m: lambda a: m.zeros_like(a) + a, VECTORS),
    "broadcasting": (lambda m: lambda a, b: a * b, pairs(((2, 3), (2, 3)), ((1, 3), (2, 3)), ((2, 1), (1, 4)))),
    "broadcasting a captured one": (lambda m: (lambda c: lambda a: a + c)(m.ones(3)), of((3,), (1,))),
    "matmul": (lambda m: lambda a, b: a @ b, pairs(((2, 3), (3, 4)), ((4, 5), (5, 2)))),
    "einsum": (lambda m: lambda a, b: m.einsum("ij,jk->ik", a, b), pairs(((2, 3), (3, 4)), ((4, 5), (5, 2)))),
    "gradient": (lambda m: m.grad(lambda a: (a * a).mean()), TABLES),
    "vmap": (lambda m: m.vmap(lambda a: (a * a).sum()), TABLES),
    "attention": (
        lambda m: lambda q: m.fast.scaled_dot_product_attention(q, q, q, scale=1.0),
        of((1, 1, 2, 4), (1, 1, 3, 4)),
    ),
    "layer norm": (lambda m: lambda a: m.fast.layer_norm(a, None, None, 1e-5), of((2, 3), (4, 5))),
    "convolution": (lambda m: lambda a, w: m.conv1d(a, w), pairs(((1, 4, 1), (1, 2, 1)), ((1, 7, 1), (1, 2, 1)))),
    "wrong for other sizes": (lambda m: lambda a: a.reshape(3, 2), of((2, 3), (4, 3))),
}


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_oracle(name: str) -> None:
    """Values, and numbers of traces."""
    make, calls = SAME[name]
    agree(lambda m: traced(m, make(m), *calls(m)))


def state_of(m: ModuleType) -> list:
    state = {"s": m.ones(2)}

    def f(a):
        state["s"] = state["s"] + a
        return state["s"] * 2

    compiled = m.compile(f, inputs=state, outputs=state, shapeless=True)
    results = [compiled(m.ones(2)), state["s"]]
    state["s"] = m.zeros(3)
    return [*results, compiled(m.ones(3)), state]


def test_captured_state() -> None:
    agree(state_of)


# MLX refuses these, or reads what is not there.
BEYOND: dict[str, Case] = {
    "reductions": (lambda m: lambda a: (a.mean(0), a.var(1), a.max(1, keepdims=True)), of((2, 3), (1, 2), (3, 1))),
    "slices": (lambda m: lambda a: (a[1:], a[:-1], a[::2], a[::-1], a[-1], a[:, 1:2]), of((3, 4), (5, 6), (4, 2))),
    "split": (lambda m: lambda a: m.split(a, 2), of((2, 3), (6, 3))),
    "padding": (lambda m: lambda a: m.pad(a, 1), VECTORS),
    "median": (lambda m: lambda a: m.median(a), VECTORS),
    "triangle": (lambda m: lambda a: m.tril(a), TABLES),
    "tile": (lambda m: lambda a: m.tile(a, 2), VECTORS),
    "repeat": (lambda m: lambda a: m.repeat(a, 2, axis=0), TABLES),
    "roll": (lambda m: lambda a: m.roll(a, 1), VECTORS),
    "diagonal": (lambda m: lambda a: m.diag(a), VECTORS),
    "take": (lambda m: lambda a: a[m.array([0, -1])], TABLES),
    "squeeze": (lambda m: lambda a: a.squeeze(), of((1, 3), (2, 3), (1, 4))),
    "outer product": (lambda m: lambda a: m.outer(a, a), VECTORS),
    "fft": (lambda m: lambda a: m.abs(m.fft.fft(a)), VECTORS),
    "inverse": (lambda m: lambda a: m.linalg.inv(a @ a.T + m.eye(a.shape[0])), of((2, 2), (2, 3))),
    "recomputation": (lambda m: m.grad(m.checkpoint(lambda a: (m.sin(a) * a).sum())), VECTORS),
    "nothing": (lambda m: lambda a: m.softmax(a.sum(0)) + a, of((2, 3), (0, 3), (4, 3))),
    "strides": (lambda m: lambda a: m.conv1d(a, m.ones((2, 3, 1)), stride=2), of((1, 7, 1), (2, 8, 1), (1, 3, 1))),
    "added at": (lambda m: lambda a: a.at[m.array([0])].add(1.0), VECTORS),
    "assigned": (lambda m: lambda a: assigned(a), of((3,), (5,))),
}


def assigned(a: Any) -> Any:
    a[1:] = a[:-1] * 2
    return a


@pytest.mark.parametrize("name", BEYOND)
def test_right_for_other_sizes(name: str) -> None:
    make, calls = BEYOND[name]
    f = make(mx)
    compiled = mx.compile(f, shapeless=True)
    for (a,) in calls(mx):
        found, expected = compiled(a), f(mx.array(a))
        for x, y in zip(*(r if isinstance(r, tuple | list) else [r] for r in (found, expected)), strict=True):
            assert x.shape == y.shape and mx.allclose(x, y, rtol=1e-5, atol=1e-6).item()


def test_sizes_are_numbers_to_the_program() -> None:
    seen: list[Any] = []

    def f(a):
        seen.extend([*a.shape, a.size, a.nbytes, len(a), a.ndim, *(a * 2).T.shape, *mx.concatenate([a, a]).shape])
        return a

    mx.compile(f, shapeless=True)(mx.ones((2, 3)))
    assert seen == [2, 3, 6, 24, 2, 2, 3, 2, 4, 3] and all(type(n) is int for n in seen) and not active.traces


def test_an_error_ends_the_trace() -> None:
    f = mx.compile(lambda a: a @ mx.ones((7, 7)), shapeless=True)
    with pytest.raises(ValueError, match=r"matmul"):
        f(mx.ones((2, 3)))
    assert not active.traces and f(mx.ones((2, 7))).shape == (2, 7)


def test_traces_of_one_kind_are_bounded_and_kept() -> None:
    count = [0]

    def f(a):
        count[0] += 1
        return a.squeeze(0) if a._node.shape[0] == 1 else a.reshape(-1)

    compiled = mx.compile(f, shapeless=True)
    for n in (1, 2, 1, 3, 1, 2):
        assert compiled(mx.ones((n, 4))).shape == (4 * n,)
    assert count[0] == 2
    pinned = mx.compile(lambda a: count.append(1) or a * int(a._node.shape[0]), shapeless=True)
    for n in range(2, TRACES + 4):
        pinned(mx.ones(n))
    assert sum(count[1:]) == TRACES + 2
    pinned(mx.ones(2))
    assert sum(count[1:]) == TRACES + 3


def test_no_cycles_are_left_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        compiled = mx.compile(lambda a: a.reshape(-1) * a.size, shapeless=True)
        trace = weakref.ref(compiled(mx.ones((2, 3))))
        del compiled
        assert trace() is None and not any(isinstance(x, Symbols) for x in gc.get_objects())
    finally:
        gc.enable()


def test_symbols() -> None:
    with Symbols([(4, 6), (4,)]) as symbols:
        (a, b), (c,) = symbols.shapes
        assert isinstance(a * 2, Symbol) and a * 2 is a * 2 and a * 1 is a and a + 0 is a and 2 * a is not a * 2
        results = [a * b, b // 4, -(-b // 4), 1 / b, b**0.5, 7 - a, a % 3]
        assert [r.value for r in results] == [24, 1, 2, 1 / 6, 6**0.5, 3, 1] and not symbols.guards
        assert a == c and a != b and max(a, b) is b and bool(a)
    values = symbols.values([(5, 9), (5,)])
    assert values is not None and [values[r.position] for r in results] == [45, 2, 3, 1 / 9, 3.0, 2, 2]
    for other in ([(5, 9), (6,)], [(9, 5), (9,)], [(0, 9), (0,)]):
        assert symbols.values(other) is None
    assert f"{a}" == "4" and list(range(a)) == [0, 1, 2, 3] and hash(a) == hash(4)
