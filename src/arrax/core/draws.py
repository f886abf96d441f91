"""The steps from uniform numbers to samples, as nodes."""

from __future__ import annotations

import math

from arrax.core.ops.standard import nextafter
from arrax.graph.dtypes import uint32
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import bind, broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims.reduce import max_p, reduce, sum_p
from arrax.prims.scan import rounded_cumsum_p
from arrax.prims.view import reshape, slice_


def between(op: str, u: Node, low: Node, high: Node) -> Node:
    """Uniform numbers from [0, 1) moved to [low, high)."""
    width = p.sub(high, low)
    if broadcast_shapes(op, u.shape, width.shape) != u.shape:
        raise ValueError(
            f"[{op}] expected bounds that broadcast to shape {list(u.shape)}, got {list(width.shape)}: pass shape"
        )
    return p.add(p.mul(width, u), low)


def under(x: Node, low: Node, high: Node) -> Node:
    """Numbers in [low, high]; those that were rounded to the upper bound are the largest below it, if it is above."""
    fixed = p.stop_gradient(high)
    below = nextafter(wrap(fixed), -math.inf)._node
    rounded_up = p.bitwise_and(p.greater_equal(x, fixed), p.greater(fixed, p.stop_gradient(low)))
    return p.where(rounded_up, below, x)


def by_cumulative_distribution(logits: Node, u: Node) -> Node:
    """For each uniform number the first position up to which lies more than that part of the distribution."""
    most = reduce(max_p, logits, (0,))
    # those that are the largest weigh 1, infinite ones too
    weights = p.where(p.equal(logits, most), p.scalar(1, logits), p.exp(p.sub(logits, most)))
    upto = bind(rounded_cumsum_p, (weights,), (0, False, True))
    total = slice_(upto, (1,), (logits.size - 1,))
    part = p.mul(reshape(u, (u.size, 1)), total)
    # a part that rounds to the whole ends in the last position that has any weight
    passed = p.bitwise_and(p.less_equal(upto, part), p.less(upto, total))
    return reshape(reduce(sum_p, p.cast(passed, uint32), (1,)), u.shape)
