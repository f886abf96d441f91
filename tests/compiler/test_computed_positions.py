"""What is read, drawn and written at positions that are computed in the same kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import arrax.core as mx

Make = Callable[[Callable[[mx.array], mx.array]], mx.array]


def keep(x: mx.array) -> mx.array:
    return x


def evaluated(x: mx.array) -> mx.array:
    mx.eval(x)
    return x


# each gets ``done``, which leaves arrays as they are or evaluates them; sources have 40 rows of 3
SOURCES: dict[str, Make] = {
    "random": lambda done: done(mx.random.uniform(shape=(40, 3))),
    "random of keys": lambda done: mx.vmap(lambda k: mx.random.normal((3,), key=k))(
        mx.random.split(mx.random.key(1), 40)
    ),
    "iota": lambda done: done(mx.arange(120)).reshape(40, 3),
    "constant": lambda done: done(mx.full((40, 3), 2.5)),
    "gathered": lambda done: mx.random.uniform(shape=(9, 3))[done(mx.random.randint(0, 9, (40,)))],
}
POSITIONS: dict[str, Make] = {
    "random": lambda done: done(mx.random.randint(0, 40, (17,))),
    "argmax": lambda done: done(mx.argmax(mx.zeros((2, 40)), axis=-1)),
    "gathered": lambda done: mx.random.randint(0, 40, (30,))[done(mx.arange(30)[::-1] * 1)],
}


def scattered(a: mx.array, at: mx.array) -> mx.array:
    return a.at[at].add(1)


USES: dict[str, Callable[[mx.array, mx.array], mx.array]] = {
    "rows and their sum": lambda a, at: a[at] - a[at].sum(-1, keepdims=True),
    "elements": lambda a, at: a[at, at % 3],
    "scatter": scattered,
}


@pytest.mark.parametrize("source", SOURCES)
def test_reading_and_writing_at_computed_positions(source: str) -> None:
    """Nothing that is evaluated before makes a difference."""

    def results(done: Callable[[mx.array], mx.array]) -> list[mx.array]:
        found = []
        for position, use in itertools.product(POSITIONS, USES):
            mx.random.seed(5)
            found.append(USES[use](SOURCES[source](done), POSITIONS[position](done)))
            mx.eval(found[-1])
        return found

    for name, lazy, known in zip(itertools.product(POSITIONS, USES), results(keep), results(evaluated), strict=True):
        np.testing.assert_array_equal(np.array(lazy), np.array(known), str(name))


def test_positions_are_a_long_chain_of_operations() -> None:
    at = mx.array([1, 2, 3])
    for _ in range(1500):
        at = at + 1
    a = mx.arange(2000)
    assert a[at].tolist() == [1501, 1502, 1503]
    assert scattered(a, at)[1500:1505].tolist() == [1500, 1502, 1503, 1504, 1504]
