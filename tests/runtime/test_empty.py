"""Arrays without elements through every family of operations: the same outcome as MLX's."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import mlx.core as mlx
import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as arrax

UNARY = (
    "abs arccos arccosh arcsin arcsinh arctan arctanh ceil conj cos cosh degrees erf erfinv exp expm1 floor imag "
    "isfinite isinf isnan isneginf isposinf log log10 log1p log2 logical_not nan_to_num negative radians real "
    "reciprocal round rsqrt sigmoid sign sin sinh sqrt square stop_gradient tan tanh"
)
BINARY = (
    "add arctan2 divide equal floor_divide greater greater_equal less less_equal logaddexp logical_and logical_or "
    "maximum minimum multiply not_equal power remainder subtract"
)
REDUCING = (
    "all any argmax argmin argsort cummax cummin cumprod cumsum logcumsumexp logsumexp max mean median min prod "
    "softmax sort std sum var"
)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2, 3)])
@pytest.mark.parametrize("name", UNARY.split())
def test_unary(name: str, shape: tuple[int, ...]) -> None:
    agree(lambda mx: getattr(mx, name)(mx.zeros(shape)))


@pytest.mark.parametrize("name", BINARY.split())
def test_binary(name: str) -> None:
    agree(lambda mx: getattr(mx, name)(mx.zeros((0,)), mx.zeros((0,))))
    agree(lambda mx: getattr(mx, name)(mx.zeros((3, 0)), 2.0))
    agree(lambda mx: getattr(mx, name)(mx.zeros((3, 0)), mx.ones((3, 1))))
    agree(lambda mx: getattr(mx, name)(mx.zeros((0, 1)), mx.ones((4,))))
    agree(lambda mx: getattr(mx, name)(mx.zeros((0,)), mx.zeros((3,))))


@pytest.mark.parametrize("name", REDUCING.split())
def test_reductions_and_scans(name: str) -> None:
    agree(lambda mx: getattr(mx, name)(mx.zeros((0,))))
    for shape in ((3, 0), (0, 3), (2, 0, 3)):
        for axis in range(len(shape)):
            agree(lambda mx: getattr(mx, name)(mx.zeros(shape), axis=axis))  # noqa: B023


def assigned(mx: ModuleType, shape: tuple[int, ...], index: Callable[[ModuleType], Any], value: Any) -> Any:
    a = mx.ones(shape)
    a[index(mx)] = value(mx) if callable(value) else value
    return a


def none(mx: ModuleType) -> Any:
    return mx.array([], dtype=mx.int32)


PROGRAMS: dict[str, Program] = {
    "reshape": lambda mx: mx.reshape(mx.zeros((0, 3)), (3, 0)),
    "reshape, free axis": lambda mx: mx.reshape(mx.zeros((0, 3)), (-1, 3)),
    "reshape, ambiguous": lambda mx: mx.reshape(mx.zeros((0, 3)), (-1, 0)),
    "reshape, to elements": lambda mx: mx.reshape(mx.zeros((0, 3)), (2,)),
    "flatten": lambda mx: mx.flatten(mx.zeros((2, 0, 3))),
    "unflatten": lambda mx: mx.unflatten(mx.zeros((0,)), 0, (0, 3)),
    "transpose": lambda mx: mx.zeros((2, 0, 3)).transpose(2, 0, 1),
    "moveaxis": lambda mx: mx.moveaxis(mx.zeros((0, 3)), 0, 1),
    "squeeze": lambda mx: mx.squeeze(mx.zeros((1, 0))),
    "expand_dims": lambda mx: mx.expand_dims(mx.zeros((0,)), 0),
    "broadcast of none": lambda mx: mx.broadcast_to(mx.zeros((1, 0)), (4, 0)),
    "broadcast to none": lambda mx: mx.broadcast_to(mx.ones((1, 3)), (0, 3)),
    "concatenate": lambda mx: mx.concatenate([mx.zeros((0,)), mx.ones(3), mx.zeros((0,))]),
    "concatenate, all empty": lambda mx: mx.concatenate([mx.zeros((0, 2)), mx.zeros((0, 2))], axis=1),
    "stack": lambda mx: mx.stack([mx.zeros((0,)), mx.zeros((0,))]),
    "split": lambda mx: mx.split(mx.zeros((4, 0)), 2),
    "tile": lambda mx: [mx.tile(mx.zeros((0,)), 3), mx.tile(mx.ones(3), 0)],
    "repeat": lambda mx: [mx.repeat(mx.zeros((0,)), 3), mx.repeat(mx.ones(3), 0)],
    "roll": lambda mx: mx.roll(mx.zeros((0,)), 2),
    "pad": lambda mx: mx.pad(mx.zeros((0, 2)), ((1, 0), (0, 1)), constant_values=5.0),
    "take": lambda mx: [mx.take(mx.ones((3, 2)), none(mx), axis=0), mx.take(mx.zeros((0,)), none(mx))],
    "take_along_axis": lambda mx: mx.take_along_axis(mx.zeros((0, 2)), mx.zeros((0, 2), dtype=mx.int32), axis=0),
    "put_along_axis": lambda mx: mx.put_along_axis(
        mx.zeros((0, 2)), mx.zeros((0, 2), dtype=mx.int32), mx.zeros((0, 2)), axis=0
    ),
    "gather": lambda mx: mx.ones((3, 2))[none(mx)],
    "slices": lambda mx: [mx.ones(3)[1:1], mx.ones(3)[5:], mx.zeros((0,))[::2], mx.zeros((0,))[::-1]],
    "new axes": lambda mx: [mx.zeros((0,))[None], mx.zeros((3, 0))[..., None], mx.zeros((3, 0))[1]],
    "assign a number": lambda mx: assigned(mx, (0,), lambda mx: slice(None), 1.0),
    "assign to no place": lambda mx: assigned(mx, (3,), lambda mx: slice(1, 1), lambda mx: mx.zeros((0,))),
    "assign at no index": lambda mx: assigned(mx, (3,), none, lambda mx: mx.zeros((0,))),
    "add at no index": lambda mx: mx.ones(3).at[none(mx)].add(mx.zeros((0,))),
    "matmul": lambda mx: [
        mx.zeros((3, 0)) @ mx.zeros((0, 4)),
        mx.zeros((0, 3)) @ mx.ones((3, 4)),
        mx.zeros((2, 0, 3)) @ mx.ones((3, 4)),
        mx.zeros((0,)) @ mx.zeros((0,)),
        mx.zeros((3, 0)) @ mx.zeros((0,)),
    ],
    "addmm": lambda mx: mx.addmm(mx.ones((3, 4)), mx.zeros((3, 0)), mx.zeros((0, 4))),
    "inner": lambda mx: mx.inner(mx.zeros((0,)), mx.zeros((0,))),
    "outer": lambda mx: mx.outer(mx.zeros((0,)), mx.ones(3)),
    "tensordot": lambda mx: mx.tensordot(mx.zeros((2, 0)), mx.zeros((0, 3)), 1),
    "where": lambda mx: mx.where(mx.zeros((0,)) > 0, mx.zeros((0,)), 1.0),
    "clip": lambda mx: mx.clip(mx.zeros((0,)), 0, 1),
    "topk": lambda mx: mx.topk(mx.zeros((3, 0)), 0),
    "partition": lambda mx: [mx.partition(mx.zeros((3, 0)), 0), mx.argpartition(mx.zeros((3, 0)), 0)],
    "creation": lambda mx: [mx.eye(0), mx.eye(0, 3), mx.tri(0), mx.linspace(0, 1, 0), mx.arange(0), mx.arange(5, 3)],
    "like": lambda mx: [mx.full((0, 2), 3.0), mx.ones_like(mx.zeros((0,))), mx.array([]), mx.array([[], []])],
    "triangles": lambda mx: [mx.tril(mx.zeros((0, 3))), mx.triu(mx.zeros((3, 0)))],
    "diagonals": lambda mx: [mx.diag(mx.zeros((0,))), mx.diagonal(mx.zeros((0, 3))), mx.trace(mx.zeros((0, 0)))],
    "meshgrid": lambda mx: mx.meshgrid(mx.zeros((0,)), mx.ones(2)),
    "random": lambda mx: [
        mx.random.normal((0, 3)),
        mx.random.uniform(shape=(0,)),
        mx.random.randint(0, 3, (0,)),
        mx.random.bernoulli(0.5, (0,)),
        mx.random.categorical(mx.zeros((0, 3))),
        mx.random.permutation(mx.zeros((0, 2))),
    ],
    "rms_norm": lambda mx: mx.fast.rms_norm(mx.zeros((0, 3)), mx.ones(3), 1e-5),
    "layer_norm": lambda mx: mx.fast.layer_norm(mx.zeros((0, 3)), None, None, 1e-5),
    "rope": lambda mx: mx.fast.rope(mx.zeros((1, 2, 0, 4)), 4, traditional=False, base=1e4, scale=1.0, offset=0),
    "attention": lambda mx: mx.fast.scaled_dot_product_attention(
        mx.zeros((1, 2, 0, 4)), mx.ones((1, 2, 3, 4)), mx.ones((1, 2, 3, 4)), scale=1.0
    ),
    "grad": lambda mx: mx.grad(lambda x: (x * x).sum())(mx.zeros((0,))),
    "vmap": lambda mx: [mx.vmap(lambda x: x * 2)(mx.zeros((0, 3))), mx.vmap(lambda x: x.sum())(mx.zeros((3, 0)))],
    "compile": lambda mx: mx.compile(lambda x: mx.exp(x) * 2)(mx.zeros((0,))),
    "to Python": lambda mx: [mx.zeros((2, 0)).tolist(), len(mx.zeros((0,))), list(mx.zeros((0,)))],
    "item": lambda mx: mx.zeros((0,)).item(),
    "bool": lambda mx: bool(mx.zeros((0,))),
    "repr": lambda mx: [repr(mx.zeros((0,))), repr(mx.zeros((2, 0))), str(mx.zeros((0,), dtype=mx.int8))],
    "comparison": lambda mx: [
        mx.array_equal(mx.zeros((0,)), mx.zeros((0,))),
        mx.allclose(mx.zeros((0,)), mx.zeros((0,))),
    ],
    "types": lambda mx: [mx.zeros((0,)).astype(mx.float16), mx.zeros((0,)).view(mx.int16)],
    "norm": lambda mx: mx.linalg.norm(mx.zeros((0,))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str) -> None:
    agree(PROGRAMS[name])


def test_beside_arrays_with_elements() -> None:
    """In a graph that is large enough to be compiled."""
    x = arrax.arange(1000).astype(arrax.float32)
    empty = arrax.exp(x[:0] + 1)
    together = arrax.concatenate([x, empty, x]) + empty.sum()
    assert together.shape == (2000,) and together[1999].item() == 999
    assert empty.tolist() == []
    assert math.isnan(arrax.mean(empty).item()) and math.isnan(mlx.mean(mlx.zeros((0,))).item())
