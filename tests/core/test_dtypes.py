"""Types, devices, evaluation: compared with MLX."""

from __future__ import annotations

from collections.abc import Callable

import pytest

EXPRESSIONS = """
mx.issubdtype(mx.float32, mx.floating)
mx.issubdtype(mx.float32, mx.float32)
mx.issubdtype(mx.floating, mx.inexact)
mx.issubdtype(mx.bool_, mx.number)
mx.issubdtype(mx.bool_, mx.generic)
mx.issubdtype(mx.inexact, mx.floating)
mx.issubdtype(1, mx.floating)
mx.finfo(mx.float32)
mx.finfo(mx.float16).eps
mx.finfo(mx.bfloat16).min
mx.finfo(mx.int32)
mx.iinfo(mx.int8)
mx.iinfo(mx.float32)
mx.finfo(mx.float32).smallest_normal
mx.finfo(mx.complex64)
mx.finfo(mx.float64).bits
mx.result_type(mx.int32, mx.float16)
mx.result_type(a, f)
mx.result_type()
mx.can_cast(mx.int32, mx.float32)
mx.can_cast(mx.float32, mx.int32)
mx.can_cast(a, mx.int64)
mx.isdtype(mx.float32, 'real floating')
mx.isdtype(mx.int32, ('integral', 'bool'))
mx.isdtype(mx.int32, 'x')
mx.isdtype(mx.float32, mx.float32)
mx.floating
mx.default_device()
mx.cpu
mx.Device(mx.cpu)
mx.Device(mx.cpu, 1)
mx.is_available(mx.gpu)
mx.device_count(mx.cpu)
mx.synchronize()
mx.cpu==mx.Device(mx.cpu)
mx.Device(mx.cpu)==mx.cpu
mx.eval(a, 1, 'x')
mx.eval([a, {'x':f}], None)
mx.eval(object())
mx.async_eval(a)
str(a)
mx.is_available(mx.cpu)
hash(mx.float32)==hash(mx.float32)
str(mx.zeros((2, 0, 3)))
str(mx.zeros((0, 0)))
np.array(a).dtype
np.from_dlpack(a)
mx.float32
mx.float32.size
mx.float32 == mx.int32
mx.float32 == 'float32'
mx.e, mx.pi, mx.inf, mx.nan, mx.newaxis, mx.euler_gamma
""".strip().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_agrees_with_mlx(agree: Callable[..., None], expression: str) -> None:
    agree(expression)
