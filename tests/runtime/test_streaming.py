"""Stores past the caches: of whole cache lines, and of nothing else. (Elsewhere they end the process.)"""

from __future__ import annotations

from tests.runtime.conftest import Run

PROGRAM = """
import numpy as np
import arrax.core as mx
from arrax.runtime import cpu, plans

cpu.STREAM = 1 << 12  # small arrays are many bytes now
streamed = []
compiled = cpu.compiled

def spy(kernel):
    streamed.append(kernel.streaming)
    return compiled(kernel)

cpu.compiled = spy


def region(rows, columns, row, column):
    def place(x, base, factor):
        base[row : row + x.shape[0], column : column + x.shape[1]] = x * factor
        return base
    return (
        lambda x: place(x, mx.zeros((rows, columns)), 2),
        lambda x: place(x, np.zeros((rows, columns), np.float32), 2),
    )


def both(f):
    return f, f


def joined(columns):
    return (
        lambda x: mx.concatenate([x * 2, x[:, :columns] * 3], axis=1),
        lambda x: np.concatenate([x * 2, x[:, :columns] * 3], 1),
    )


def added(shape):
    def f(x):
        return mx.zeros(shape).at[mx.arange(x.shape[0]) * 2].add(x)
    def g(x):
        base = np.zeros(shape, np.float32)
        base[np.arange(x.shape[0]) * 2] += x
        return base
    return f, g


by_row = both(lambda x: x - x.max(axis=1, keepdims=True))
by_column = both(lambda x: x - x.max(axis=0, keepdims=True))
half = (lambda x: by_row[0](x).astype(mx.float16), lambda x: by_row[1](x).astype(np.float16))
double = (lambda x: by_row[0](x).astype(mx.float64) * 2, lambda x: by_row[1](x).astype(np.float64) * 2)
truth = both(lambda x: x > x.max(axis=1, keepdims=True) / 2)
heavy = (lambda x: mx.sin(x) > mx.cos(x), lambda x: np.sin(x) > np.cos(x))  # fewer elements at a time
scan = (lambda x: mx.cumsum(x, 0), lambda x: np.cumsum(x, 0))
turned = both(lambda x: x.T * 2)
sums = both(lambda x: x.sum(axis=1))
spread = (lambda x: mx.repeat(x * 2, 3, axis=1), lambda x: np.repeat(x * 2, 3, axis=1))

# what, shape, whether whole cache lines are written
CASES = [
    (both(lambda x: x * 2 + 1), (64, 1000), True),
    (both(lambda x: x * 2 + 1), (10_007,), True),
    (by_row, (96, 128), True), (by_row, (96, 130), False), (by_row, (96, 136), False),
    (by_column, (128, 96), True), (by_column, (128, 98), False),
    (half, (96, 128), True), (half, (96, 80), False),
    (double, (96, 128), True), (double, (96, 132), False),
    (truth, (96, 256), True), (truth, (96, 200), False),
    (heavy, (96, 256), False), (turned, (96, 128), True), (turned, (98, 128), False), (turned, (96, 130), True),
    (scan, (128, 128), True), (scan, (128, 130), False),
    (region(100, 128, 3, 16), (64, 64), True), (region(100, 128, 3, 5), (64, 64), False),
    (region(100, 130, 3, 16), (64, 64), False), (region(100, 136, 4, 16), (64, 64), False),
    (joined(30), (90, 128), None), (joined(61), (90, 131), None), (joined(64), (90, 64), True),
    (added((200, 70)), (90, 70), None), (added((200, 64)), (90, 64), None),
    (spread, (96, 100), None), (sums, (4000, 20), None), (sums, (5000, 9), None),
]  # fmt: skip

rng = np.random.default_rng(0)
for number, ((f, g), shape, whole) in enumerate(CASES):
    plans._plans.clear()  # what has been compiled for one of them serves others
    streamed.clear()
    x = rng.normal(size=shape).astype(np.float32)
    print(number, shape, flush=True)
    y = f(mx.array(x))
    mx.eval(y)
    np.testing.assert_allclose(np.array(y), g(x), rtol=1e-5, atol=1e-5)
    if whole is not None:
        assert (streamed[-1:] == [True]) == whole, (number, streamed)
print("right")
"""


def test_only_whole_cache_lines_are_streamed(run: Run) -> None:
    assert run(PROGRAM).endswith("right\n")
