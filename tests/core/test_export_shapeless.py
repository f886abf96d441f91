"""Exported functions for arguments of other sizes."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn
from arrax.transforms.sizes import fit

Shapes = Sequence[tuple[int, ...]]


def normal(*shape: int) -> mx.array:
    return mx.array(np.random.RandomState(sum(shape) + len(shape)).randn(*shape).astype(np.float32))


W, LINEAR, NORM = normal(3, 2), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), nn.LayerNorm(8)
ATTENTION, CONV = nn.MultiHeadAttention(16, 4), nn.Conv2d(3, 4, 3, padding=1)


def _attention(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=0.3, mask="causal")


# the function, the example's shapes, and shapes for which it must give what the function itself gives
FREE: dict[str, tuple[Callable[..., Any], Shapes, Sequence[Shapes]]] = {
    "abs": (mx.abs, [(1,)], [[(2,)], [(0,)], [(5000,)]]),
    "sum of two": (lambda x, y: x + y, [(2,), (2,)], [[(7,), (7,)], [(1,), (1,)]]),
    "broadcast": (lambda x, y: x + y, [(4, 3), (3,)], [[(6, 5), (5,)]]),
    "mean": (mx.mean, [(4, 3)], [[(6, 5)], [(1, 1)]]),
    "mean of an axis": (lambda x: x.mean(-1), [(4, 3)], [[(6, 5)], [(6, 1)], [(0, 5)]]),
    "deviation": (lambda x: x.std(axis=0, ddof=1), [(4, 3)], [[(6, 5)], [(2, 2)]]),
    "softmax": (lambda x: mx.softmax(x, -1), [(4, 3)], [[(6, 5)], [(1, 7)]]),
    "product": (lambda x, y: x @ y, [(8, 4, 3), (3, 2)], [[(9, 6, 5), (5, 7)]]),
    "product with weights": (lambda x: x @ W, [(4, 3)], [[(6, 3)], [(1, 3)], [(0, 3)]]),
    "flatten": (lambda x: x.flatten(1), [(2, 3, 4)], [[(4, 5, 6)]]),
    "reshape": (lambda x: x.reshape(-1, x.shape[-1]), [(2, 3, 4)], [[(4, 5, 6)]]),
    "heads": (lambda x: x.reshape(*x.shape[:2], 4, -1).transpose(0, 2, 1, 3), [(2, 3, 16)], [[(1, 7, 16)]]),
    "all but the last": (lambda x: x[:-1] * x[1:], [(4, 3)], [[(6, 5)], [(1, 5)]]),
    "every other": (lambda x: x[::2], [(4, 3)], [[(7, 5)], [(6, 5)]]),
    "last": (lambda x: x[-1], [(4, 3)], [[(6, 5)]]),
    "concatenation": (lambda x, y: mx.concatenate([x, y, x]), [(3,), (2,)], [[(5,), (1,)], [(0,), (2,)]]),
    "padding": (lambda x: mx.pad(x, (1, 2)), [(4,)], [[(6,)]]),
    "repetition": (lambda x: mx.tile(mx.repeat(x, 3), 2), [(4,)], [[(6,)]]),
    "positions": (lambda x: x + mx.arange(x.shape[0]), [(4,)], [[(6,)]]),
    "triangle": (mx.tril, [(4, 4)], [[(6, 6)]]),
    "size": (lambda x: x / x.size + math.sqrt(x.shape[0]), [(4, 3)], [[(6, 5)]]),
    "gradient": (mx.grad(lambda x: (x * x).mean()), [(4, 3)], [[(6, 5)]]),
    "norm of rows": (NORM, [(4, 8)], [[(1, 8)], [(9, 8)]]),
    "network": (LINEAR, [(4, 8)], [[(1, 8)], [(70, 8)]]),
    "self attention": (lambda x: ATTENTION(x, x, x), [(2, 5, 16)], [[(1, 7, 16)], [(3, 1, 16)]]),
    "cached keys": (_attention, [(1, 2, 3, 8), (1, 2, 4, 8), (1, 2, 4, 8)], [
        [(1, 2, 5, 8), (1, 2, 9, 8), (1, 2, 9, 8)], [(1, 2, 1, 8), (1, 2, 9, 8), (1, 2, 9, 8)],
    ]),
    "images": (CONV, [(2, 8, 9, 3)], [[(1, 12, 10, 3)]]),
    "compiled": (mx.compile(lambda x: mx.exp(x) * 2), [(4, 3)], [[(6, 5)]]),
    "rows of another number": (lambda x: x.reshape(2, -1), [(2, 3)], [[(4, 5)], [(1, 2)]]),
    "another shape of as many": (lambda x: x.reshape(3, 2), [(2, 3)], [[(1, 6)], [(6, 1)]]),
    "equal in the example": (
        lambda x, y: x + y, [(4, 4), (4, 4)], [[(4, 1), (1, 7)], [(3, 5), (3, 5)], [(0, 2), (1, 1)]],
    ),
    "square matrices": (lambda x, y: x @ y, [(4, 4), (4, 4)], [[(2, 3), (3, 5)], [(1, 7), (7, 7)]]),
    "square images": (CONV, [(3, 8, 8, 3)], [[(1, 12, 10, 3)], [(8, 5, 9, 3)]]),
    "strides": (nn.Conv2d(3, 4, 3, stride=2), [(2, 9, 9, 3)], [[(1, 12, 10, 3)], [(2, 3, 7, 3)]]),
    "strides and padding": (
        nn.Conv2d(3, 4, (3, 2), (2, 3), (1, 2)), [(2, 8, 8, 3)], [[(5, 11, 13, 3)], [(1, 4, 5, 3)]],
    ),
    "unpadded": (nn.Conv2d(3, 4, 5), [(2, 8, 8, 3)], [[(1, 12, 10, 3)], [(3, 5, 5, 3)]]),
    "dilation": (nn.Conv1d(3, 4, 3, dilation=2), [(2, 8, 3)], [[(1, 12, 3)], [(3, 5, 3)]]),
    "groups": (nn.Conv2d(4, 4, 3, groups=2), [(4, 6, 6, 4)], [[(1, 12, 10, 4)]]),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, stride=2), [(2, 4, 4, 3)], [[(1, 6, 5, 3)]]),
    "volumes": (nn.Conv3d(2, 3, 2, stride=2), [(2, 4, 4, 4, 2)], [[(1, 6, 5, 3, 2)]]),
    "pooling": (nn.MaxPool2d(2, 2), [(2, 8, 8, 3)], [[(1, 6, 10, 3)], [(3, 2, 4, 3)]]),
    "overlapping pooling": (nn.AvgPool2d(3, 2), [(2, 9, 9, 3)], [[(1, 5, 11, 3)], [(3, 8, 7, 3)]]),
    "kernels": (lambda x, w: mx.conv1d(x, w, stride=2), [(3, 9, 4), (4, 3, 4)], [[(1, 12, 2), (5, 4, 2)]]),
    "gradient of a convolution": (
        mx.grad(lambda x: (mx.conv2d(x, CONV.weight, stride=2) ** 2).sum()), [(2, 9, 9, 3)], [[(1, 12, 10, 3)]],
    ),
    "number of a size": (lambda x: x * (x.shape[0] % 7 + x.shape[1] // 2 - x.ndim), [(4, 4)], [[(9, 5)]]),
    "sorting": (lambda x: (mx.sort(x, -1), mx.argmax(x, -1)), [(4, 3)], [[(6, 5)]]),
}  # fmt: skip


def export(tmp_path: pathlib.Path, f: Callable[..., Any], shapes: Shapes) -> Callable[..., Any]:
    mx.export_function(tmp_path / "f", f, *(normal(*s) for s in shapes), shapeless=True)
    return mx.import_function(tmp_path / "f")


@pytest.mark.parametrize("name", FREE)
def test_other_sizes(name: str, tmp_path: pathlib.Path) -> None:
    f, example, others = FREE[name]
    g = export(tmp_path, f, example)
    for shapes in [example, *others]:
        args = [normal(*s) for s in shapes]
        expected = f(*args)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for x, y in zip(g(*args), expected, strict=True):
            assert x.shape == y.shape and x.dtype == y.dtype
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-5, atol=1e-5)


# what the function does depends on the size: calls with another one are refused, and with that one they work
FIXED: dict[str, tuple[Callable[..., Any], Shapes, Shapes]] = {
    "shape": (lambda x: x.reshape(3, 2), [(2, 3)], [(4, 5)]),
    "rows": (lambda x: x.reshape(2, -1), [(2, 3)], [(3, 5)]),
    "weights": (lambda x: x @ W, [(4, 3)], [(4, 5)]),
    "prefix": (lambda x: x[:128], [(4,)], [(200,)]),
    "loop": (lambda x: sum(x[i] for i in range(x.shape[0])), [(4,)], [(5,)]),
    "table": (lambda x: x + mx.array(list(range(x.shape[0]))), [(4,)], [(5,)]),
    "logarithm": (lambda x: x * math.log(x.shape[0]), [(4,)], [(5,)]),
    "branch": (lambda x: x * 2 if x.shape[0] > 3 else x * 3, [(4,)], [(2,)]),
    "divisor": (lambda x: x * math.gcd(x.shape[0], 12), [(4,)], [(6,)]),
    "equal ones": (lambda x, y: x + y, [(4,), (4,)], [(4,), (3,)]),
    "equal by a branch": (lambda x, y: x + y if x.shape == y.shape else x - y, [(4,), (4,)], [(4,), (1,)]),
    "rank": (lambda x: x + 1, [(4,)], [(4, 1)]),
    "type": (lambda x: x + 1, [(4,)], [(4,)]),
}


@pytest.mark.parametrize("name", FIXED)
def test_sizes_that_stay(name: str, tmp_path: pathlib.Path) -> None:
    f, example, shapes = FIXED[name]
    g = export(tmp_path, f, example)
    args = [normal(*s) for s in example]
    np.testing.assert_allclose(np.array(g(*args)[0]), np.array(f(*args)), rtol=1e-6)
    wrong = [normal(*s).astype(mx.float16) if name == "type" else normal(*s) for s in shapes]
    with pytest.raises(ValueError, match="exported for"):
        g(*wrong)


def test_the_smallest_size(tmp_path: pathlib.Path) -> None:
    g = export(tmp_path, lambda x: x[1:].max(), [(4,)])
    assert g(mx.array([3.0, 2.0]))[0].item() == 2
    with pytest.raises(ValueError, match=r"float32\[A\]"):
        g(mx.array([3.0]))


NUMBER_OF_SIZE: list[Callable[[int], float]] = [
    float, math.sqrt, math.log, math.sin, lambda n: 1 / n, lambda n: n % 3, lambda n: n // 3, lambda n: n**-1.5,
    lambda n: min(n, 500), lambda n: max(n, 10), lambda n: 2.0 ** -(n // 50), lambda n: 1 / (n * n + 1),
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBER_OF_SIZE)
def test_what_is_accepted_is_what_the_function_gives(number: Callable[[int], float], tmp_path: pathlib.Path) -> None:
    def f(x: mx.array) -> mx.array:
        return x * number(x.shape[0])

    g = export(tmp_path, f, [(6,)])
    for n in (1, 2, 3, 6, 11, 64, 1000, 20_000):
        try:
            found = g(mx.ones((n,)))[0]
        except ValueError:
            assert n != 6
            continue
        np.testing.assert_allclose(np.array(found), np.array(f(mx.ones((n,)))), rtol=1e-6)


def test_random_numbers_are_those_of_the_export(tmp_path: pathlib.Path) -> None:
    def f(x: mx.array) -> mx.array:
        return x + mx.random.uniform(shape=(3,), key=mx.random.key(0))

    g = export(tmp_path, f, [(3,)])
    np.testing.assert_array_equal(np.array(g(mx.zeros((3,)))[0]), np.array(f(mx.zeros((3,)))))


ROWS = [[5 + i, 18 + i] for i in range(10)] + [[47, 100], [161, 310], [1345, 2100], [2, 9], [3, 3]]
NUMBERS: dict[str, tuple[Callable[[int, int], Any], bool]] = {
    "a": (lambda a, b: a, True),
    "a - 1": (lambda a, b: a - 1, True),
    "a b": (lambda a, b: a * b, True),
    "a + b": (lambda a, b: a + b, True),
    "polynomial": (lambda a, b: 3 * a * b + 2 * a - b + 7, True),
    "half": (lambda a, b: a // 2, True),
    "convolution": (lambda a, b: (b + 2 - 3) // 2 + 1, True),
    "square": (lambda a, b: a * a, True),
    "one over": (lambda a, b: 1 / (a * b), True),
    "root": (lambda a, b: b**-0.5, True),
    "correction": (lambda a, b: 1 / (a * b - 1), True),
    "remainder": (lambda a, b: a % 5, False),
    "minimum": (lambda a, b: min(a, 128), False),
    "logarithm": (lambda a, b: math.log(a), False),
    "powers of two": (lambda a, b: 1 << a.bit_length(), False),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_formulas(name: str) -> None:
    f, exists = NUMBERS[name]
    found = fit([f(*row) for row in ROWS], ROWS)
    assert (found is not None) is exists
    if found is not None:
        for a in (1, 4, 99, 12345):
            for b in (2, 5, 1000):
                value = found.value([a, b])
                assert type(value) is type(f(a, b)) and value == pytest.approx(f(a, b), rel=1e-14)
