"""Programs that failed once, as `make campaign` printed them."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.differential.programs import data
from tests.differential.ways import agree


def test_gather_from_random_numbers() -> None:
    def program(mx: Any) -> Any:
        a = mx.random.normal((8, 16, 3), mx.float32, key=mx.random.key(342))
        return (a[0, mx.array([-11, -12, -10, -3, 10], mx.int32), -3:3],)

    agree(program)


def test_what_stands_beside_an_empty_array_is_compiled_like_anything_else() -> None:
    def program(mx: Any, a: Any) -> Any:
        b = mx.pad(a, [(0, 1), (0, 1)], mode="edge")  # concatenates slices, some of them empty
        return mx.cos(mx.arange(130, dtype=mx.float32)).reshape(65, 2) * mx.ones_like(b), mx.take(b, 64, axis=0)

    agree(program, data("float32", (64, 1), 988672, "plain"))


def test_sums_that_begin_with_a_negative_zero() -> None:
    def program(mx: Any, a: Any) -> Any:
        def f(x: Any) -> Any:
            return mx.clip(mx.sum(x, axis=0), -4, 4)

        results = [mx.cumsum(a, axis=1, reverse=r, inclusive=i) for r in (False, True) for i in (False, True)]
        return mx.vmap(f, in_axes=1)(a), mx.sum(a, axis=0), mx.sum(a, axis=1), *results

    for shape in ((1, 2), (1, 40), (2, 3)):
        agree(program, np.full(shape, -0.0, np.float32))
