"""The building blocks of transformers, as composites. Half precision is computed in float32 and rounded once."""

from __future__ import annotations

from arrax.graph.dtypes import bool_, float32, float64, int32
from arrax.graph.node import Node
from arrax.prims import pointwise as p
from arrax.prims.composite import composite
from arrax.prims.contract import matmul, swap_last
from arrax.prims.leaf import constant, iota
from arrax.prims.reduce import max_p, reduce, sum_p
from arrax.prims.view import concatenate, flip, reshape, slice_

# The lowest finite number: a row in which everything is masked has even weights instead of NaN.
_LOWEST = {float32: -3.4028234663852886e38, float64: -1.7976931348623157e308}


# --- normalisation ----------------------------------------------------------------------------------------------------
def _wide(x: Node) -> Node:
    return p.cast(x, x.dtype.compute if x.dtype.is_float else float32)


def _mean(a: Node) -> Node:
    """Over the last axis, which stays."""
    total = reduce(sum_p, a, (a.ndim - 1,))
    return p.mul(total, constant(1 / max(a.shape[-1], 1), a.dtype))


def _scaled(x: Node, mean_square: Node, eps: float) -> Node:
    return p.mul(x, p.rsqrt(p.add(mean_square, constant(eps, x.dtype))))


def _rms_norm(inputs: tuple[Node, ...], params: tuple) -> Node:
    x, *weight = inputs
    eps, dtype = params
    wide = _wide(x)
    y = _scaled(wide, _mean(p.square(wide)), eps)
    for w in weight:
        y = p.mul(y, p.cast(w, y.dtype))
    return p.cast(y, dtype)


# inputs: x, perhaps a weight. params: (eps, the result's type)
rms_norm_p = composite(
    "rms_norm", _rms_norm, samples=[(("f4:3,4",), (1e-5, float32)), (("f4:2,20", "f4:20"), (0.5, float32))]
)


def _layer_norm(inputs: tuple[Node, ...], params: tuple) -> Node:
    eps, dtype, weighted = params
    wide = _wide(inputs[0])
    centred = p.sub(wide, _mean(wide))
    y = _scaled(centred, _mean(p.square(centred)), eps)
    rest = list(inputs[1:])
    if weighted:
        y = p.mul(y, p.cast(rest.pop(0), y.dtype))
    for bias in rest:
        y = p.add(y, p.cast(bias, y.dtype))
    return p.cast(y, dtype)


# inputs: x, perhaps a weight, perhaps a bias. params: (eps, the result's type, whether there is a weight)
layer_norm_p = composite(
    "layer_norm",
    _layer_norm,
    samples=[
        (("f4:3,4",), (1e-5, float32, False)),
        (("f4:2,20", "f4:20", "f4:20"), (0.5, float32, True)),
        (("f4:20", "f4:20"), (0.5, float32, False)),
    ],
)


# --- rotary positions -------------------------------------------------------------------------------------------------
def _rotate(inputs: tuple[Node, ...], params: tuple) -> Node:
    """Pairs (x, y) become (x cos - y sin, y cos + x sin): the pair, and the pair the other way round with a sign."""
    node, cosine, sine = inputs
    dims, traditional = params
    rest, half = node.shape[:-1], dims // 2
    rotated = slice_(node, (*rest, dims), (0,) * node.ndim) if dims != node.shape[-1] else node
    pairs = p.cast(reshape(rotated, (*rest, half, 2) if traditional else (*rest, 2, half)), cosine.dtype)
    side = node.ndim if traditional else node.ndim - 1
    turned = p.add(p.mul(pairs, cosine), p.mul(flip(pairs, (side,)), sine))
    result = p.cast(reshape(turned, (*rest, dims)), node.dtype)
    if dims == node.shape[-1]:
        return result
    others = slice_(node, (*rest, node.shape[-1] - dims), (*(0,) * len(rest), dims))
    return concatenate([result, others], node.ndim - 1)


# inputs: x; the angles' cosines, and their sines with the sign of each half of a pair. params: (dims, traditional)
rotate_p = composite(
    "rotate",
    _rotate,
    samples=[
        (("f4:2,3,8", "f4:3,4,1", "f4:3,4,2"), (8, True)),
        (("f4:2,3,10", "f4:3,1,4", "f4:3,2,4"), (8, False)),
    ],
)


# --- attention --------------------------------------------------------------------------------------------------------
def _grouped(a: Node, heads: int, repeats: int) -> Node:
    """(B, N, ...) as (B, heads, repeats, ...); an axis N of size 1 becomes two of them."""
    head = (1, 1) if a.shape[1] == 1 else (heads, repeats)
    return reshape(a, (a.shape[0], *head, *a.shape[2:]))


def _attention(inputs: tuple[Node, ...], params: tuple) -> Node:
    scale, mask, sinks, dtype = params
    work = dtype.compute
    queries, keys, values = (p.cast(p.cast(x, dtype), work) for x in inputs[:3])
    rest = list(inputs[3:])
    batch, all_heads, length, _ = queries.shape
    heads, count = keys.shape[1:3]
    repeats = all_heads // heads
    if repeats > 1:
        queries = _grouped(queries, heads, repeats)
        keys, values = (reshape(x, (*x.shape[:2], 1, *x.shape[2:])) for x in (keys, values))
    scores = matmul(queries, swap_last(keys))
    scores = p.mul(scores, constant(scale, work))
    lowest = constant(_LOWEST[work], work)
    if mask == "causal":
        rows = p.add(iota((length, count), 0, int32), constant(count - length, int32))
        scores = p.where(p.greater_equal(rows, iota((length, count), 1, int32)), scores, lowest)
    elif mask:
        given = rest.pop(0)
        if repeats > 1 and given.ndim >= 3:
            given = _grouped(reshape(given, (*(1,) * (4 - given.ndim), *given.shape)), heads, repeats)
        if given.dtype is bool_:
            scores = p.where(given, scores, lowest)
        else:
            scores = p.add(scores, p.cast(given, work))
    sink = p.cast(reshape(rest.pop(0), (*scores.shape[1:-2], 1, 1)), work) if sinks else None
    result = p.cast(matmul(_softmax(scores, sink), values), dtype)
    return reshape(result, (batch, all_heads, length, result.shape[-1]))


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


# inputs: q, k, v, perhaps a mask, perhaps sinks; see `arrax.core.fast.scaled_dot_product_attention`.
# params: (scale, None or "causal" or "array", whether there are sinks, the result's type)
attention_p = composite(
    "attention",
    _attention,
    samples=[
        (("f4:1,2,3,4", "f4:1,2,5,4", "f4:1,2,5,4"), (0.5, None, False, float32)),
        (("f4:2,4,3,4", "f4:2,2,3,4", "f4:2,2,3,5"), (0.5, "causal", False, float32)),
        (("f4:1,4,1,4", "f4:1,2,9,4", "f4:1,2,9,4", "f4:4,1,9", "f4:4"), (0.5, "array", True, float32)),
    ],
)
