"""Programs that failed once, as `make campaign` printed them."""

from __future__ import annotations

from typing import Any

from tests.differential.ways import agree


def test_gather_from_random_numbers() -> None:
    def program(mx: Any) -> Any:
        a = mx.random.normal((8, 16, 3), mx.float32, key=mx.random.key(342))
        return (a[0, mx.array([-11, -12, -10, -3, 10], mx.int32), -3:3],)

    agree(program)
