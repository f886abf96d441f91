"""Choosing among elements: where, clip, nan_to_num."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import as_number
from arrax.core.convert import array_node, as_node, pair
from arrax.core.device import check_stream
from arrax.core.ops.math import FLOAT, as_bool, maximum, minimum, record_isnan
from arrax.graph.dtypes import Dtype
from arrax.graph.handle import wrap
from arrax.prims import gather
from arrax.prims import pointwise as p
from arrax.prims.leaf import constant
from arrax.runtime.executor import from_numpy_array, to_numpy

if TYPE_CHECKING:
    from arrax.core.array import array


def where(
    condition: array | bool, x: array | float | None = None, y: array | float | None = None, /, *, stream: Any = None
) -> Any:
    """``x`` where the condition is not 0, ``y`` elsewhere; all three broadcast.

    The condition alone gives the positions where it is not 0, as int32 and an array for each axis; it is evaluated.

    >>> import arrax.core as mx
    >>> mx.where(mx.array([True, False]), 1.0, mx.array([2, 3]))
    array([1, 3], dtype=float32)
    >>> mx.where(mx.array([5, 0, 7]))
    (array([0, 2], dtype=int32),)
    """
    check_stream("where", stream)
    if x is None and y is None:
        known = np.atleast_1d(to_numpy(as_node("where", condition)))
        found = zip(np.nonzero(known), known.shape, strict=True)
        return tuple(wrap(from_numpy_array(i.astype(gather.position_type(n).np))) for i, n in found)
    return wrap(p.where(as_bool(as_node("where", condition)), *pair("where", x, y)))


def clip(
    a: array,
    /,
    min: array | float | None = None,
    max: array | float | None = None,
    *,
    a_min: array | float | None = None,
    a_max: array | float | None = None,
    stream: Any = None,
) -> array:
    """Elements below ``min`` or above ``max`` replaced by those; a bound that is None bounds nothing.

    ``a_min`` and ``a_max`` are MLX's names of the bounds.

    >>> import arrax.core as mx
    >>> mx.clip(mx.array([-1.0, 0.5, 2.0]), 0, 1)
    array([0, 0.5, 1], dtype=float32)
    """
    check_stream("clip", stream)
    low, high = a_min if min is None else min, a_max if max is None else max
    result = wrap(array_node("clip", a))
    if low is not None:
        result = maximum(result, low)
    if high is not None:
        result = minimum(result, high)
    return result


def nan_to_num(
    a: array | float,
    nan: float = 0,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    stream: Any = None,
) -> array:
    """NaN and infinities replaced, by default with 0 and the largest finite numbers of the type."""
    check_stream("nan_to_num", stream)
    nan = as_number("nan_to_num", nan, "nan")
    posinf = posinf if posinf is None else as_number("nan_to_num", posinf, "posinf")
    neginf = neginf if neginf is None else as_number("nan_to_num", neginf, "neginf")
    node = as_node("nan_to_num", a)
    dtype = node.dtype
    if dtype.category < FLOAT:
        return wrap(node)
    largest = float(_largest(dtype))
    for test, value in (
        (record_isnan(node), nan),
        (p.equal(node, constant(math.inf, dtype)), largest if posinf is None else posinf),
        (p.equal(node, constant(-math.inf, dtype)), -largest if neginf is None else neginf),
    ):
        node = p.where(test, constant(value, dtype), node)
    return wrap(node)


def _largest(dtype: Dtype) -> float:
    if dtype.name == "bfloat16":
        return (2 - 2**-7) * 2.0**127
    return float(np.finfo(dtype.np).max)
