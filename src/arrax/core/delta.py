"""Linear attention with a gated delta rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops.shape import record_broadcast
from arrax.graph.dtypes import Dtype, bool_, float32, int32, promote, to_inexact
from arrax.graph.handle import wrap
from arrax.graph.node import Node, Shape
from arrax.prims import pointwise as p
from arrax.prims.contract import matmul, swap_last
from arrax.prims.leaf import constant, iota
from arrax.prims.linalg import identity, solve, triangle
from arrax.prims.scan import cumprod
from arrax.prims.view import broadcast, concatenate, reshape, slice_, slice_update, transpose

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap
_OP = "gated_delta_update"
_CHUNK = 64  # steps that are computed together


def _check(q: Node, k: Node, v: Node, gamma: Node, beta: Node) -> None:
    for name, x, rank in (("q", q, 4), ("k", k, 4), ("v", v, 4), ("gamma", gamma, 3), ("beta", beta, 3)):
        if x.ndim != rank:
            axes = "(B, T, H, D)" if rank == 4 else "(B, T, H)"
            raise ValueError(f"[{_OP}] expected {name} of shape {axes}, got {list(x.shape)}: reshape it")
    if q.shape != k.shape or v.shape[:2] != q.shape[:2] or not q.shape[1]:
        raise ValueError(
            f"[{_OP}] expected q and k of one shape (B, T, H, D) with T > 0, and v of shape (B, T, ...), got "
            f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)}: slice or broadcast them"
        )
    if not q.shape[2] or v.shape[2] % q.shape[2]:
        raise ValueError(f"[{_OP}] expected heads of v that are a multiple of k's, got {v.shape[2]} and {q.shape[2]}")
    for name, x in (("gamma", gamma), ("beta", beta)):
        if x.shape != v.shape[:3]:
            raise ValueError(
                f"[{_OP}] expected {name} of shape {list(v.shape[:3])}, got {list(x.shape)}: "
                "pass one number per step and head"
            )


def gated_delta_update(
    q: array,
    k: array,
    v: array,
    gamma: array,
    beta: array,
    initial_state: array | None = None,
    mask: array | None = None,
    stream: Any = None,
) -> list[array]:
    """Linear attention whose state, a matrix per head, forgets and is corrected at every step.

    With the state S (D_v x D_k) a step is ``S = gamma * S``, ``S = S + beta * outer(v - S @ k, k)``, ``y = S @ q``.
    Many steps are computed together: within a chunk the corrections are the solution of a triangular system.

    Args:
        q, k: shape (B, T, H_k, D_k).
        v: shape (B, T, H_v, D_v), where H_k divides H_v: consecutive heads share one of ``q`` and ``k``.
        gamma, beta: shape (B, T, H_v): how much of the state stays, and how far it is corrected.
        initial_state: shape (B, H_v, D_v, D_k); zeros by default.
        mask: shape (B, T): a step where it is false leaves the state as it is and gives zeros.
        stream: not used.

    Returns:
        The y of all steps, of shape (B, T, H_v, D_v) in the common type of ``q``, ``k`` and ``v``; and the last state,
        which is computed in float32 at least.

    Raises:
        ValueError: if the shapes do not fit.

    >>> import arrax.core as mx
    >>> x, one = mx.ones((1, 2, 1, 4)), mx.ones((1, 2, 1))
    >>> y, state = mx.fast.gated_delta_update(x / 2, x / 2, x, one, one)
    >>> y.shape, state.shape
    ((1, 2, 1, 4), (1, 1, 4, 4))
    """
    check_stream("gated_delta_update", stream)
    nodes = [array_node(_OP, x) for x in (q, k, v, gamma, beta)]
    _check(*nodes)
    dtype = to_inexact(promote(promote(nodes[0].dtype, nodes[1].dtype), nodes[2].dtype))
    start = None if initial_state is None else array_node(_OP, initial_state)
    work = float32
    for x in nodes if start is None else [*nodes, start]:
        work = promote(work, x.dtype)
    queries, keys, values, decay, rate = (p.cast(x, work) for x in nodes)
    steps, heads = values.shape[1:3]
    state_shape = (values.shape[0], heads, values.shape[3], keys.shape[3])
    start = constant(0, work) if start is None else p.cast(start, work)
    state = record_broadcast(_OP, start, state_shape)
    seen = None
    if mask is not None:
        seen = _seen(mask, values.shape)
        decay, rate = p.where(seen, decay, constant(1, work)), p.where(seen, rate, constant(0, work))
        keys, values = _only(seen, keys), _only(seen, values)
    per_head = values.shape[2] // keys.shape[2]
    rows = [_chunked(x, per_head if i < 2 else 1, 0.0) for i, x in enumerate((queries, keys, values))]
    columns = [_chunked(reshape(x, (*x.shape, 1)), 1, fill) for x, fill in ((decay, 1.0), (rate, 0.0))]
    y, state = _run(rows[0], rows[1], rows[2], columns[0], columns[1], state, work)
    y = slice_(y, (*y.shape[:2], steps, y.shape[3]), (0, 0, 0, 0))
    y = transpose(y, (0, 2, 1, 3))
    y = y if seen is None else _only(seen, y)
    return [_wrap(p.cast(y, dtype)), _wrap(state)]


def _seen(mask: Any, shape: Shape) -> Node:
    """The mask as booleans of shape (B, T, 1)."""
    node = array_node(_OP, mask)
    if node.ndim != 2:
        raise ValueError(f"[{_OP}] expected a mask of shape {list(shape[:2])}, got {list(node.shape)}: reshape it")
    node = record_broadcast(_OP, node, shape[:2])
    return reshape(p.cast(node, bool_), (*shape[:2], 1))


def _only(seen: Node, a: Node) -> Node:
    return p.where(reshape(seen, (*seen.shape, 1)), a, constant(0, a.dtype))


def _chunked(a: Node, repeats: int, fill: float) -> Node:
    """(B, T, H, D) as (B, H * repeats, chunks, steps, D), the steps filled up to whole chunks."""
    batch, steps, heads, size = a.shape
    chunk = min(steps, _CHUNK)
    count = -(-steps // chunk)
    if count * chunk != steps:
        whole = (batch, count * chunk, heads, size)
        a = slice_update(broadcast(constant(fill, a.dtype), whole), a, (0, 0, 0, 0))
    a = transpose(reshape(a, (batch, count, chunk, heads, size)), (0, 3, 1, 2, 4))
    if repeats > 1:
        a = broadcast(reshape(a, (batch, heads, 1, *a.shape[2:])), (batch, heads, repeats, *a.shape[2:]))
        a = reshape(a, (batch, heads * repeats, *a.shape[3:]))
    return a


def _run(q: Node, k: Node, v: Node, decay: Node, rate: Node, state: Node, work: Dtype) -> tuple[Node, Node]:
    """All chunks, one after another: y of shape (B, H, steps, D_v) and the last state.

    Within a chunk, with g_i the product of the decays up to step i and d_ij that of those from j + 1 to i, step i adds
    ``outer(u_i, k_i)`` to the state, where ``u_i + rate_i * sum_j<i d_ij (k_i . k_j) u_j = rate_i (v_i - g_i S k_i)``.
    Written as a product rather than as a quotient of the g, d_ij is exact for decays of zero too.
    """
    batch, heads, count, chunk, wide = v.shape
    since_start = cumprod(decay, 3, False, True)
    square = (chunk, chunk)
    later = p.greater(iota(square, 0, int32), iota(square, 1, int32))
    between = triangle(cumprod(p.where(later, decay, constant(1, work)), 3, False, True))
    right = concatenate([p.mul(rate, v), p.mul(p.mul(rate, since_start), k)], 4)
    if chunk > 1:
        system = p.mul(rate, p.mul(between, matmul(k, swap_last(k))))
        right = solve(p.add(triangle(system, strict=True), identity(chunk, work)), right)
    attention = p.mul(between, matmul(q, swap_last(k)))
    queries = p.mul(since_start, q)
    last = slice_(between, (batch, heads, count, 1, chunk), (0, 0, 0, chunk - 1, 0))
    keys = p.mul(k, swap_last(last))

    results = []
    for i in range(count):
        both, a, b, c = (_chunk_of(x, i) for x in (right, attention, queries, keys))
        from_state = slice_(both, (*both.shape[:-1], k.shape[4]), (0, 0, 0, wide))
        update = slice_(both, (*both.shape[:-1], wide), (0, 0, 0, 0))
        update = p.sub(update, matmul(from_state, swap_last(state)))
        results.append(p.add(matmul(b, swap_last(state)), matmul(a, update)))
        kept = _chunk_of(since_start, i)
        kept = slice_(kept, (batch, heads, 1, 1), (0, 0, chunk - 1, 0))
        state = p.add(p.mul(kept, state), matmul(swap_last(update), c))
    return results[0] if count == 1 else concatenate(results, 2), state


def _chunk_of(a: Node, i: int) -> Node:
    shape = (*a.shape[:2], *a.shape[3:])
    return reshape(slice_(a, (*a.shape[:2], 1, *a.shape[3:]), (0, 0, i, 0, 0)), shape)
