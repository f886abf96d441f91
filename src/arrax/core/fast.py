"""The building blocks of transformers, as compositions that the compiler turns into one kernel each.

Half precision is computed in float32 and rounded once, at the end.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import expect
from arrax.core.convert import array_node
from arrax.core.delta import gated_delta_update
from arrax.core.device import check_stream
from arrax.core.kernels import cuda_kernel, metal_kernel, precompiled_cuda_kernel
from arrax.graph.dtypes import Dtype, bool_, float32, float64, int32, promote
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims.contract import matmul, swap_last
from arrax.prims.gather import take_along
from arrax.prims.leaf import constant, iota
from arrax.prims.reduce import max_p, reduce, sum_p
from arrax.prims.view import concatenate, flip, reshape, slice_
from arrax.runtime.executor import evaluate

if TYPE_CHECKING:
    from arrax.core.array import array

__all__ = [
    "cross_entropy", "cuda_kernel", "gated_delta_update", "layer_norm", "metal_kernel", "precompiled_cuda_kernel",
    "rms_norm", "rope", "scaled_dot_product_attention",
]  # fmt: skip

_wrap: Callable[[Node], Any] = wrap
_KEPT = 1 << 20  # pairs, up to which a table of angles is kept in memory from one call to the next
# The lowest finite number: a row in which everything is masked has even weights instead of NaN.
_LOWEST = {float32: -3.4028234663852886e38, float64: -1.7976931348623157e308}


# --- normalisation ----------------------------------------------------------------------------------------------------
def _vector(op: str, name: str, value: Any, size: int) -> Node | None:
    """A weight or bias: None, or one number per element of the last axis."""
    if value is None:
        return None
    node = array_node(op, value)
    if node.shape != (size,):
        raise ValueError(f"[{op}] expected a {name} of shape [{size}], got {list(node.shape)}: one number per feature")
    return node


def _normalized(op: str, x: Any) -> tuple[Node, Node]:
    """An array to normalise along its last axis, and the same in the type of the computation."""
    node = array_node(op, x)
    if node.ndim < 1:
        raise ValueError(f"[{op}] expected at least one axis, got shape []: add one")
    if not node.dtype.is_float:
        raise ValueError(f"[{op}] expected a floating-point array, got {node.dtype.name}: cast it")
    return node, p.cast(node, node.dtype.compute)


def _eps(op: str, eps: Any, dtype: Dtype) -> Node:
    if not isinstance(eps, int | float):
        raise TypeError(f"[{op}] expected a float as eps, got {type(eps).__name__}: pass such as 1e-5")
    return constant(float(eps), dtype)


def _mean(a: Node) -> Node:
    """Over the last axis, which stays."""
    total = reduce(sum_p, a, (a.ndim - 1,))
    return p.mul(total, constant(1 / max(a.shape[-1], 1), a.dtype))


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
    node, wide = _normalized("rms_norm", x)
    w = _vector("rms_norm", "weight", weight, node.shape[-1])
    y = p.mul(wide, p.rsqrt(p.add(_mean(p.square(wide)), _eps("rms_norm", eps, wide.dtype))))
    dtype = node.dtype
    if w is not None:
        dtype = promote(dtype, w.dtype)
        y = p.mul(y, p.cast(w, y.dtype))
    return _wrap(p.cast(y, dtype))


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
    node, wide = _normalized("layer_norm", x)
    w = _vector("layer_norm", "weight", weight, node.shape[-1])
    b = _vector("layer_norm", "bias", bias, node.shape[-1])
    centred = p.sub(wide, _mean(wide))
    y = p.mul(centred, p.rsqrt(p.add(_mean(p.square(centred)), _eps("layer_norm", eps, wide.dtype))))
    dtype = node.dtype
    if w is not None:
        dtype = promote(dtype, w.dtype)
        dtype = dtype if b is None else promote(dtype, b.dtype)
        y = p.mul(y, p.cast(w, y.dtype))
    if b is not None:
        y = p.add(y, p.cast(b, y.dtype))
    return _wrap(p.cast(y, dtype))


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
    node, wide = _normalized(op, logits)
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
            raise error(f"[rope] expected an integer or an array as offset, got {offset!r}: pass an int") from None
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
    expect("rope", int, dims=dims)
    expect("rope", float, scale=scale)
    expect("rope", float | None, base=base)
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
        return _wrap(_rotate(node, dims, grid, traditional))
    if base is not None:
        steps = _powers(base, half, dtype)
    else:
        given = array_node("rope", freqs)
        if given.shape != (half,):
            raise ValueError(f"[rope] expected freqs of shape [{half}], got {list(given.shape)}: one per pair")
        steps = p.div(constant(1.0, dtype), p.cast(given, dtype))
    start = constant(start, dtype) if isinstance(start, float) else start
    return _wrap(_rotate(node, dims, _grid(length, half, start, float(scale), steps, traditional), traditional))


def _rotate(node: Node, dims: int, grid: tuple[Node, Node], traditional: bool) -> Node:
    """Pairs (x, y) become (x cos - y sin, y cos + x sin): the pair, and the pair the other way round with a sign."""
    rest, half = node.shape[:-1], dims // 2
    cosine, sine = grid
    rotated = slice_(node, (*rest, dims), (0,) * node.ndim) if dims != node.shape[-1] else node
    pairs = p.cast(reshape(rotated, (*rest, half, 2) if traditional else (*rest, 2, half)), cosine.dtype)
    side = node.ndim if traditional else node.ndim - 1
    turned = p.add(p.mul(pairs, cosine), p.mul(flip(pairs, (side,)), sine))
    result = p.cast(reshape(turned, (*rest, dims)), node.dtype)
    if dims == node.shape[-1]:
        return result
    others = slice_(node, (*rest, node.shape[-1] - dims), (*(0,) * len(rest), dims))
    return concatenate([result, others], node.ndim - 1)


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


def _grouped(a: Node, heads: int, repeats: int) -> Node:
    """(B, N, ...) as (B, heads, repeats, ...); an axis N of size 1 becomes two of them."""
    head = (1, 1) if a.shape[1] == 1 else (heads, repeats)
    return reshape(a, (a.shape[0], *head, *a.shape[2:]))


def _masked(scores: Node, mask: Any, dtype: Dtype, shape: Shape, heads: int, repeats: int) -> Node:
    """The scores where the mask is true, or plus the mask. ``shape`` is that of the scores with one axis of heads."""
    lowest = constant(_LOWEST[scores.dtype], scores.dtype)
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f"[{_ATTENTION}] expected the mask 'causal' or an array, got {mask!r}")
        length, keys = shape[2:]
        rows = p.add(iota((length, keys), 0, int32), constant(keys - length, int32))
        return p.where(p.greater_equal(rows, iota((length, keys), 1, int32)), scores, lowest)
    if not isinstance(mask, Handle):
        raise TypeError(f"[{_ATTENTION}] expected None, 'causal' or an array as mask, got {type(mask).__name__}")
    node = mask._node
    if node.ndim > 4 or broadcast_shapes(_ATTENTION, node.shape, shape) != shape:
        raise ValueError(f"[{_ATTENTION}] expected a mask that broadcasts to {list(shape)}, got {list(node.shape)}")
    if node.dtype is not bool_ and promote(node.dtype, dtype) is not dtype:
        raise ValueError(
            f"[{_ATTENTION}] expected a mask that promotes to {dtype.name}, got {node.dtype.name}: cast it"
        )
    if repeats > 1 and node.ndim >= 3:
        node = _grouped(reshape(node, (*(1,) * (4 - node.ndim), *node.shape)), heads, repeats)
    if node.dtype is bool_:
        return p.where(node, scores, lowest)
    return p.add(scores, p.cast(node, scores.dtype))


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
    expect("scaled_dot_product_attention", float, scale=scale)
    nodes = [array_node(_ATTENTION, x) for x in (q, k, v)]
    dtype = promote(promote(nodes[0].dtype, nodes[1].dtype), nodes[2].dtype)
    if not dtype.is_float:
        raise ValueError(f"[{_ATTENTION}] expected floating-point arrays, got {dtype.name}: cast them")
    _check_attention(*nodes)
    queries, keys, values = (p.cast(x, dtype) for x in nodes)
    heads, repeats = keys.shape[1], queries.shape[1] // keys.shape[1]
    shape = (*queries.shape[:3], keys.shape[2])
    if repeats > 1:
        queries = reshape(queries, (queries.shape[0], heads, repeats, *queries.shape[2:]))
        keys, values = (reshape(x, (*x.shape[:2], 1, *x.shape[2:])) for x in (keys, values))
    work = dtype.compute
    scores = matmul(p.cast(queries, work), swap_last(p.cast(keys, work)))
    scores = p.mul(scores, constant(float(scale), work))
    if mask is not None:
        scores = _masked(scores, mask, dtype, shape, heads, repeats)
    weights = p.cast(_softmax(scores, _sinks(sinks, dtype, shape[1], scores.shape)), dtype)
    result = matmul(weights, values)
    return _wrap(reshape(result, (*shape[:3], result.shape[-1])))


def _sinks(sinks: Any, dtype: Dtype, heads: int, scores: Shape) -> Node | None:
    if sinks is None:
        return None
    node = array_node(_ATTENTION, sinks)
    if node.shape != (heads,):
        raise ValueError(f"[{_ATTENTION}] expected sinks of shape [{heads}], got {list(node.shape)}: one per head")
    if promote(node.dtype, dtype) is not dtype:
        raise ValueError(
            f"[{_ATTENTION}] expected sinks that promote to {dtype.name}, got {node.dtype.name}: cast them"
        )
    return p.cast(reshape(node, (*scores[1:-2], 1, 1)), dtype.compute)


def _softmax(scores: Node, sinks: Node | None) -> Node:
    """Over the last axis; a sink takes part in the sum alone."""
    last = (scores.ndim - 1,)
    if not scores.shape[-1]:
        return scores
    most = reduce(max_p, scores, last)
    most = most if sinks is None else p.maximum(most, sinks)
    weights = p.exp(p.sub(scores, p.stop_gradient(most)))
    total = reduce(sum_p, weights, last)
    total = total if sinks is None else p.add(total, p.exp(p.sub(sinks, p.stop_gradient(most))))
    return p.div(weights, total)
