"""The building blocks of transformers, which the compiler turns into one kernel each where it can."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_number
from arrax.core.convert import array_node
from arrax.core.delta import gated_delta_update
from arrax.core.device import check_stream
from arrax.core.kernels import cuda_kernel, metal_kernel, precompiled_cuda_kernel
from arrax.graph.dtypes import Dtype, bool_, float32, promote
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims.blocks import attention_p, layer_norm_p, rms_norm_p, rotate_p
from arrax.prims.gather import take_along
from arrax.prims.leaf import constant, iota
from arrax.prims.reduce import max_p, reduce, sum_p
from arrax.prims.view import reshape
from arrax.runtime.executor import evaluate
from arrax.transforms.tracing import record

if TYPE_CHECKING:
    from arrax.core.array import array

__all__ = [
    "cross_entropy", "cuda_kernel", "gated_delta_update", "layer_norm", "metal_kernel", "precompiled_cuda_kernel",
    "rms_norm", "rope", "scaled_dot_product_attention",
]  # fmt: skip

_wrap: Callable[[Node], Any] = wrap
_KEPT = 1 << 20  # pairs, up to which a table of angles is kept in memory from one call to the next


# --- normalisation ----------------------------------------------------------------------------------------------------
def _vector(op: str, name: str, value: Any, size: int) -> Node | None:
    """A weight or bias: None, or one number per element of the last axis."""
    if value is None:
        return None
    node = array_node(op, value)
    if node.shape != (size,):
        raise ValueError(f"[{op}] expected a {name} of shape [{size}], got {list(node.shape)}: one number per feature")
    return node


def _normalized(op: str, x: Any) -> Node:
    """An array to normalise along its last axis."""
    node = array_node(op, x)
    if node.ndim < 1:
        raise ValueError(f"[{op}] expected at least one axis, got shape []: add one")
    return node


def _normal_type(op: str, *operands: Node | None) -> Dtype:
    """The common type of an array to normalise and its weights, which has to be floating point."""
    dtype = functools.reduce(promote, [node.dtype for node in operands if node is not None])
    if not dtype.is_float:
        raise ValueError(f"[{op}] expected a floating-point array, got {dtype.name}: cast it")
    return dtype


def _eps(op: str, eps: Any) -> float:
    return float(as_number(op, eps, "eps"))


def rms_norm(x: array, weight: array | None, eps: float, *, stream: Any = None) -> array:
    """``x`` divided by the root mean square of its last axis, times ``weight``.

    Args:
        x: shape (..., n), floating point.
        weight: shape (n,), or None for no scaling.
        eps: added to the mean square.
        stream: not used.

    Raises:
        ValueError: if the shapes do not fit or ``x`` is not floating point.

    >>> import arrax.core as mx
    >>> mx.fast.rms_norm(mx.array([3.0, 3.0]), None, 0.0).tolist()
    [1.0, 1.0]
    """
    check_stream("rms_norm", stream)
    node = _normalized("rms_norm", x)
    w = _vector("rms_norm", "weight", weight, node.shape[-1])
    dtype = _normal_type("rms_norm", node, w)
    inputs = (node,) if w is None else (node, w)
    return _wrap(record(rms_norm_p, inputs, (_eps("rms_norm", eps), dtype), node.shape, dtype))


def layer_norm(x: array, weight: array | None, bias: array | None, eps: float, *, stream: Any = None) -> array:
    """``x`` moved and scaled to mean 0 and variance 1 along its last axis, times ``weight``, plus ``bias``.

    Args:
        x: shape (..., n), floating point.
        weight: shape (n,), or None for no scaling.
        bias: shape (n,), or None for no translation.
        eps: added to the variance.
        stream: not used.

    Raises:
        ValueError: if the shapes do not fit or ``x`` is not floating point.

    >>> import arrax.core as mx
    >>> mx.fast.layer_norm(mx.array([1.0, 3.0]), None, None, 0.0).tolist()
    [-1.0, 1.0]
    """
    check_stream("layer_norm", stream)
    node = _normalized("layer_norm", x)
    w = _vector("layer_norm", "weight", weight, node.shape[-1])
    b = _vector("layer_norm", "bias", bias, node.shape[-1])
    dtype = _normal_type("layer_norm", node, w, None if w is None else b)
    inputs = tuple([n for n in (node, w, b) if n is not None])
    params = (_eps("layer_norm", eps), dtype, w is not None)
    return _wrap(record(layer_norm_p, inputs, params, node.shape, dtype))


# --- loss -------------------------------------------------------------------------------------------------------------
def cross_entropy(logits: array, targets: array, *, stream: Any = None) -> array:
    """The negative logarithms of the targets' probabilities, computed in float32.

    Args:
        logits: shape (..., n), floating point: the logarithms of probabilities, not normalised.
        targets: shape (...), the classes, integers from 0 to n - 1.
        stream: not used.

    Returns:
        float32, with the shape of ``targets``.

    Raises:
        ValueError: if the shapes or types do not fit.

    >>> import arrax.core as mx
    >>> mx.fast.cross_entropy(mx.array([[0.0, 1000.0]]), mx.array([1])).tolist()
    [0.0]
    """
    check_stream("cross_entropy", stream)
    op = "cross_entropy"
    node = _normalized(op, logits)
    wide = p.cast(node, _normal_type(op, node).compute)
    wanted = array_node(op, targets)
    if not wanted.dtype.is_integer:
        raise ValueError(f"[{op}] expected integers as targets, got {wanted.dtype.name}: cast them")
    if wanted.shape != node.shape[:-1] or not node.shape[-1]:
        raise ValueError(
            f"[{op}] expected logits of shape (..., n) and targets (...), "
            f"got {list(node.shape)} and {list(wanted.shape)}: reshape the targets"
        )
    last = (node.ndim - 1,)
    shifted = p.sub(wide, p.stop_gradient(reduce(max_p, wide, last)))
    at_target = take_along(shifted, reshape(wanted, (*wanted.shape, 1)), node.ndim - 1)
    loss = p.sub(p.log(reduce(sum_p, p.exp(shifted), last)), at_target)
    return _wrap(p.cast(reshape(loss, wanted.shape), float32))


# --- rotary positions -------------------------------------------------------------------------------------------------
def _start(a: Node, offset: Any, dtype: Dtype) -> Node | float:
    """Where the positions begin: a number, or an array with shape (), (1, ..., 1) or (B, 1, ..., 1)."""
    if not isinstance(offset, Handle):
        try:
            return float(operator.index(offset))
        except TypeError:
            error = TypeError if offset is None else ValueError
            raise error(f"[rope] expected an integer or an array as offset, got {shown(offset)}: pass an int") from None
    start = offset._node
    if not start.dtype.is_integer:
        raise ValueError(f"[rope] expected an integer offset, got {start.dtype.name}: cast it")
    if start.shape not in ((), (1,), a.shape[:1]):
        raise ValueError(
            f"[rope] expected an offset of shape [] or [{a.shape[0]}], got {list(start.shape)}: one per example"
        )
    return p.cast(reshape(start, (*start.shape, *(1,) * (a.ndim - 1))) if start.ndim else start, dtype)


def _grid(length: int, half: int, start: Node, scale: float, steps: Node, traditional: bool) -> tuple[Node, Node]:
    """The cosines of all angles, and their sines with the sign of each half of a pair."""
    dtype = steps.dtype
    positions = p.mul(p.add(iota((length, 1), 0, dtype), start), constant(scale, dtype))
    angles = p.mul(positions, steps)
    grid = (*angles.shape, 1) if traditional else (*angles.shape[:-1], 1, half)
    sign = p.sub(p.mul(iota((2,) if traditional else (2, 1), 0, dtype), constant(2.0, dtype)), constant(1.0, dtype))
    return reshape(p.cos(angles), grid), p.mul(reshape(p.sin(angles), grid), sign)


def _powers(base: float, half: int, dtype: Dtype) -> Node:
    return p.exp(p.mul(iota((half,), 0, dtype), constant(-math.log(base) / half, dtype)))


@functools.lru_cache(maxsize=8)
def _shared_grid(
    length: int, half: int, start: float, scale: float, base: float, dtype: Dtype, traditional: bool
) -> tuple[Node, Node]:
    """All layers of a model turn their queries and keys by the same angles: they are computed once for all."""
    grid = _grid(length, half, constant(start, dtype), scale, _powers(base, half, dtype), traditional)
    if length * half <= _KEPT:
        evaluate(list(grid))
    return grid


def rope(
    a: array,
    dims: int,
    *,
    traditional: bool,
    base: float | None,
    scale: float,
    offset: int | array,
    freqs: array | None = None,
    stream: Any = None,
) -> array:
    """Rotates pairs of features by an angle that grows with the position: rotary positional encoding.

    Pair number i of a row at position t turns by ``(offset + t) * scale * base ** (-2 * i / dims)``.

    Args:
        a: shape (B, ..., T, D), floating point.
        dims: how many features are rotated, an even number; the others are copied.
        traditional: whether a pair is two neighbours; else it is one feature out of each half.
        base: of the angular frequencies; None where ``freqs`` are given.
        scale: of the positions.
        offset: the first position, one or one for each of the B examples.
        freqs: shape (dims / 2,): what positions are divided by, instead of powers of ``base``.
        stream: not used.

    Raises:
        ValueError: if shapes or types do not fit, or not exactly one of ``base`` and ``freqs`` is given.

    >>> import arrax.core as mx
    >>> x = mx.ones((1, 2, 4))
    >>> y = mx.fast.rope(x, 4, traditional=False, base=10000.0, scale=1.0, offset=0)
    >>> y[0, 0].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    check_stream("rope", stream)
    dims, scale = as_int("rope", dims, "dims"), as_number("rope", scale, "scale")
    base = base if base is None else as_number("rope", base, "base")
    node = array_node("rope", a)
    if node.ndim < 3:
        raise ValueError(f"[rope] expected shape (B, ..., T, D), got {list(node.shape)}: add axes")
    if not node.dtype.is_float:
        raise ValueError(f"[rope] expected a floating-point array, got {node.dtype.name}: cast it")
    if not 0 < dims <= node.shape[-1] or dims % 2:
        raise ValueError(f"[rope] expected dims even, from 2 to {node.shape[-1]}, got {dims}: change dims")
    if (base is None) == (freqs is None):
        raise ValueError(f"[rope] expected either base or freqs, got {'neither' if base is None else 'both'}: pass one")
    half, dtype, length = dims // 2, node.dtype.compute, node.shape[-2]
    start = _start(node, offset, dtype)
    if base is not None and isinstance(start, float):
        grid = _shared_grid(length, half, start, float(scale), float(base), dtype, bool(traditional))
        return _rotated(node, dims, grid, traditional)
    if base is not None:
        steps = _powers(base, half, dtype)
    else:
        given = array_node("rope", freqs)
        if given.shape != (half,):
            raise ValueError(f"[rope] expected freqs of shape [{half}], got {list(given.shape)}: one per pair")
        steps = p.div(constant(1.0, dtype), p.cast(given, dtype))
    start = constant(start, dtype) if isinstance(start, float) else start
    return _rotated(node, dims, _grid(length, half, start, float(scale), steps, traditional), traditional)


def _rotated(node: Node, dims: int, grid: tuple[Node, Node], traditional: bool) -> Any:
    return _wrap(record(rotate_p, (node, *grid), (dims, bool(traditional)), node.shape, node.dtype))


# --- attention --------------------------------------------------------------------------------------------------------
_ATTENTION = "scaled_dot_product_attention"


def _check_attention(q: Node, k: Node, v: Node) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 4:
            raise ValueError(f"[{_ATTENTION}] expected {name} of shape (B, N, T, D), got {list(x.shape)}: add axes")
    if not k.shape[0] == v.shape[0] == q.shape[0]:
        raise ValueError(
            f"[{_ATTENTION}] expected one batch size, got {q.shape[0]}, {k.shape[0]} and {v.shape[0]}: broadcast first"
        )
    if q.shape[3] != k.shape[3]:
        raise ValueError(f"[{_ATTENTION}] expected q and k with one last axis, got {q.shape[3]} and {k.shape[3]}")
    if k.shape[1:3] != v.shape[1:3]:
        raise ValueError(
            f"[{_ATTENTION}] expected k and v with the same heads and length, got {list(k.shape)} and {list(v.shape)}"
        )
    if not k.shape[1] or q.shape[1] % k.shape[1]:
        raise ValueError(
            f"[{_ATTENTION}] expected heads of q that are a multiple of k's, got {q.shape[1]} and {k.shape[1]}"
        )


def _mask(mask: Any, dtype: Dtype, shape: Shape) -> Node:
    """A mask for scores of a shape with one axis of heads."""
    if not isinstance(mask, Handle):
        raise TypeError(f"[{_ATTENTION}] expected None, 'causal' or an array as mask, got {type(mask).__name__}")
    node = mask._node
    if node.ndim > 4 or broadcast_shapes(_ATTENTION, node.shape, shape) != shape:
        raise ValueError(f"[{_ATTENTION}] expected a mask that broadcasts to {list(shape)}, got {list(node.shape)}")
    if node.dtype is not bool_ and promote(node.dtype, dtype) is not dtype:
        raise ValueError(
            f"[{_ATTENTION}] expected a mask that promotes to {dtype.name}, got {node.dtype.name}: cast it"
        )
    return node


def scaled_dot_product_attention(
    q: array,
    k: array,
    v: array,
    *,
    scale: float,
    mask: str | array | None = None,
    sinks: array | None = None,
    force_fused: bool = False,
    stream: Any = None,
) -> array:
    """Attention: ``softmax(scale * q @ k.T + mask) @ v`` for every head.

    With fewer heads in ``k`` and ``v`` than in ``q``, consecutive heads of ``q`` share one of theirs, without copies.
    The softmax is computed in float32 for half precision.

    Args:
        q: shape (B, N, T, D).
        k: shape (B, M, S, D), where M divides N.
        v: shape (B, M, S, E).
        scale: of the products, usually ``D ** -0.5``.
        mask: None; "causal": the last query sees all keys, the one before it all but one ...; an array that broadcasts
            to (B, N, T, S), of booleans (true: seen) or of numbers to add.
        sinks: shape (N,): logits of keys without values, one for every head.
        force_fused: accepted for compatibility; there is one implementation.
        stream: not used.

    Returns:
        Shape (B, N, T, E).

    Raises:
        ValueError: if shapes or types do not fit.

    >>> import arrax.core as mx
    >>> x = mx.ones((1, 2, 3, 4))
    >>> mx.fast.scaled_dot_product_attention(x, x, x, scale=0.5, mask="causal").shape
    (1, 2, 3, 4)
    """
    check_stream("scaled_dot_product_attention", stream)
    scale = as_number(_ATTENTION, scale, "scale")
    nodes = [array_node(_ATTENTION, x) for x in (q, k, v)]
    dtype = promote(promote(nodes[0].dtype, nodes[1].dtype), nodes[2].dtype)
    if not dtype.is_float:
        raise ValueError(f"[{_ATTENTION}] expected floating-point arrays, got {dtype.name}: cast them")
    _check_attention(*nodes)
    queries, keys, values = nodes
    shape = (*queries.shape[:3], keys.shape[2])
    how = None
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f"[{_ATTENTION}] expected the mask 'causal' or an array, got {shown(mask)}")
        how = mask
    elif mask is not None:
        how = "array"
        nodes.append(_mask(mask, dtype, shape))
    if sinks is not None:
        nodes.append(_sinks(sinks, dtype, shape[1]))
    params = (float(scale), how, sinks is not None, dtype)
    return _wrap(record(attention_p, tuple(nodes), params, (*shape[:3], values.shape[3]), dtype))


def _sinks(sinks: Any, dtype: Dtype, heads: int) -> Node:
    node = array_node(_ATTENTION, sinks)
    if node.shape != (heads,):
        raise ValueError(f"[{_ATTENTION}] expected sinks of shape [{heads}], got {list(node.shape)}: one per head")
    if promote(node.dtype, dtype) is not dtype:
        raise ValueError(
            f"[{_ATTENTION}] expected sinks that promote to {dtype.name}, got {node.dtype.name}: cast them"
        )
    return node
