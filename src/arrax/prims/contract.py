"""Matrix products."""

from __future__ import annotations

import math

import numpy as np

from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive, broadcast_shapes, register
from arrax.prims.reduce import sum_to
from arrax.prims.view import reshape, transpose


def _infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    a, b = inputs
    if a.dtype is not b.dtype:
        raise TypeError(f"[matmul] expected operands of one type, got {a.dtype.name} and {b.dtype.name}")
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"[matmul] expected shapes (..., M, K) and (..., K, N), got {list(a.shape)} and {list(b.shape)}"
        )
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    sizes = (a.shape[-2], b.shape[-1], a.shape[-1])
    if any(n >= 2**31 for n in sizes) and 1 not in sizes[:2]:
        raise ValueError(
            f"[matmul] expected matrices of fewer than 2**31 rows and columns, got {sizes[0]} by {sizes[2]} and "
            f"{sizes[2]} by {sizes[1]}: take them in parts"
        )
    return (*batch, a.shape[-2], b.shape[-1]), a.dtype


def _reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.itemsize == 2 and a.dtype.kind not in "iu":
        a, b = a.astype(np.float32), b.astype(np.float32)
    with np.errstate(all="ignore"):
        return np.matmul(a, b).astype(dtype.np)


def swap_last(a: Node) -> Node:
    return transpose(a, (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2))


def _vjp(n: Node, g: Node) -> tuple[Node, Node]:
    a, b = n.inputs
    da = sum_to(matmul(g, swap_last(b)), a.shape)
    if b.ndim == 2 and a.ndim > 2:  # all rows of all batches at once, instead of a sum of products
        rows = math.prod(a.shape[:-1])
        return da, matmul(swap_last(reshape(a, (rows, a.shape[-1]))), reshape(g, (rows, g.shape[-1])))
    return da, sum_to(matmul(swap_last(a), g), b.shape)


def _batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    """The batch axis joins the others; a lower rank is filled up behind it."""
    rank = max(x.ndim - (1 if f else 0) for x, f in zip(inputs, batched, strict=True))
    a, b = (
        reshape(x, (x.shape[0], *(1,) * (rank + 1 - x.ndim), *x.shape[1:])) if f else x
        for x, f in zip(inputs, batched, strict=True)
    )
    return matmul(a, b)


matmul_p = register(
    Primitive(
        "matmul",
        "contract",
        _infer,
        _reference,
        _vjp,
        _batch,
        samples=[
            (("f4:3,4", "f4:4,5"), ()),
            (("f4:2,3,4", "f4:4,5"), ()),
            (("f4:2,1,3,4", "f4:5,4,2"), ()),
            (("f4:1,4", "f4:4,3"), ()),
        ],
        cost=100,
    )
)


def matmul(a: Node, b: Node) -> Node:
    return Node(matmul_p, (a, b), (), *_infer((a, b), ()))
