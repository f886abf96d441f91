"""What must hold for the inputs and parameters of each primitive.

The functions of ``core`` record nothing else, so nodes are not checked as they are made. A graph that comes from a file
is: machine code trusts that a slice lies inside of its array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from arrax.graph.dtypes import Dtype, bool_
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import REGISTRY, Primitive

LARGEST = 1 << 56  # bytes of one array
RANK = 32
_HOW = ("set", "add", "mul", "max", "min")

Inputs = tuple[Node, ...]
Check = Callable[[Inputs, tuple], bool]


# --- parameters -------------------------------------------------------------------------------------------------------
def is_int(value: Any) -> bool:
    return type(value) is int


def is_shape(value: Any) -> bool:
    """Whether a value is a tuple of sizes."""
    return isinstance(value, tuple) and all(is_int(n) and n >= 0 for n in value)


def _ints(value: Any, n: int) -> bool:
    return isinstance(value, tuple) and len(value) == n and all(map(is_int, value))


def _axis(value: Any, a: Node) -> bool:
    return is_int(value) and 0 <= value < a.ndim


def _axes(value: Any, a: Node) -> bool:
    """Whether a value is a tuple of axes in order."""
    return isinstance(value, tuple) and all(_axis(i, a) for i in value) and list(value) == sorted(set(value))


def _without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def _region(outer: Shape, starts: Any, steps: Any, shape: Any) -> bool:
    """Whether the region that ``starts``, ``steps`` and ``shape`` describe lies inside."""
    n = len(outer)
    if not (is_shape(shape) and len(shape) == n and _ints(starts, n) and _ints(steps, n)):
        return False
    for size, start, step, count in zip(outer, starts, steps, shape, strict=True):
        if not step or start < 0:
            return False
        if count and not (start < size and 0 <= start + step * (count - 1) < size):
            return False
    return True


# --- primitives -------------------------------------------------------------------------------------------------------
def _plain(inputs: Inputs, params: tuple) -> bool:
    return params == ()


def _complex(inputs: Inputs, params: tuple) -> bool:
    return params == () and inputs[0].dtype.is_complex


def _reinterpret(inputs: Inputs, params: tuple) -> bool:
    (a,) = inputs
    if not _cast(inputs, params) or not a.ndim or bool_ in (a.dtype, params[0]):
        return False
    return a.shape[-1] * a.dtype.size % params[0].size == 0


def _gcd(inputs: Inputs, params: tuple) -> bool:
    a, b = inputs
    return params == () and a.dtype is b.dtype and a.dtype.is_integer and a.shape == b.shape


def _cast(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 1 and isinstance(params[0], Dtype)


def _reshape(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 1 and is_shape(params[0]) and math.prod(params[0]) == inputs[0].size


def _transpose(inputs: Inputs, params: tuple) -> bool:
    n = inputs[0].ndim
    return len(params) == 1 and _ints(params[0], n) and sorted(params[0]) == list(range(n))


def _broadcast(inputs: Inputs, params: tuple) -> bool:
    shape = inputs[0].shape
    if len(params) != 1 or not is_shape(params[0]) or len(params[0]) < len(shape):
        return False
    last = params[0][len(params[0]) - len(shape) :]
    return all(n in (1, m) for n, m in zip(shape, last, strict=True))


def _slice(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 3 and _region(inputs[0].shape, params[1], params[2], params[0])


def _slice_update(inputs: Inputs, params: tuple) -> bool:
    base, update = inputs
    return len(params) == 2 and base.dtype is update.dtype and _region(base.shape, *params, update.shape)


def _concatenate(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 1 and _axis(params[0], inputs[0]) and all(x.ndim == inputs[0].ndim for x in inputs)


def _as_strided(inputs: Inputs, params: tuple) -> bool:
    (a,) = inputs
    if not a.ndim or len(params) != 3 or not is_shape(params[0]):
        return False
    return _is_window(params[0], params[1], params[2], a.shape[0])


def _strided_update(inputs: Inputs, params: tuple) -> bool:
    base, update = inputs
    if base.ndim != 1 or base.dtype is not update.dtype or len(params) != 2:
        return False
    return _is_window(update.shape, params[0], params[1], base.size)


def _is_window(shape: Shape, strides: Any, offset: Any, length: int) -> bool:
    if not _ints(strides, len(shape)) or not is_int(offset):
        return False
    if 0 in shape:
        return True
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    first, last = offset + sum(min(r, 0) for r in reach), offset + sum(max(r, 0) for r in reach)
    return first >= 0 and last < length


def _take(inputs: Inputs, params: tuple) -> bool:
    a, index = inputs
    if not (index.dtype.is_integer and len(params) == 1 and _axis(params[0], a)):
        return False
    return a.shape[params[0]] > 0 or not index.size or 0 in _without(a.shape, params[0])


def _take_along(inputs: Inputs, params: tuple) -> bool:
    a, index = inputs
    if not (index.dtype.is_integer and a.ndim == index.ndim and len(params) == 1 and _axis(params[0], a)):
        return False
    (axis,) = params
    return _without(a.shape, axis) == _without(index.shape, axis) and (a.shape[axis] > 0 or not index.size)


def _scatter(inputs: Inputs, params: tuple) -> bool:
    base, index, update = inputs
    if not (index.dtype.is_integer and base.dtype is update.dtype and len(params) == 2):
        return False
    axis, how = params
    if how not in _HOW or not _axis(axis, base):
        return False
    return update.shape == (*base.shape[:axis], *index.shape, *base.shape[axis + 1 :])


def _scatter_along(inputs: Inputs, params: tuple) -> bool:
    base, index, update = inputs
    if not (index.dtype.is_integer and base.dtype is update.dtype and len(params) == 2 and base.ndim == index.ndim):
        return False
    axis, how = params
    if how not in _HOW or not _axis(axis, base) or update.shape != index.shape:
        return False
    return all(i == axis or n <= m for i, (n, m) in enumerate(zip(index.shape, base.shape, strict=True)))


def _scan(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 3 and _axis(params[0], inputs[0]) and all(isinstance(x, bool) for x in params[1:])


def _inexact_scan(inputs: Inputs, params: tuple) -> bool:
    return inputs[0].dtype.is_inexact and _scan(inputs, params)


def _reduce(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 1 and _axes(params[0], inputs[0])


def _extremum(inputs: Inputs, params: tuple) -> bool:
    if not _reduce(inputs, params):
        return False
    kept = [n for i, n in enumerate(inputs[0].shape) if i not in params[0]]
    return inputs[0].size > 0 or 0 in kept


def _arg(inputs: Inputs, params: tuple) -> bool:
    return _extremum(inputs, params) and len(params[0]) == 1


def _sort(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 1 and _axis(params[0], inputs[0])


def _iota(inputs: Inputs, params: tuple) -> bool:
    if len(params) != 3 or not is_shape(params[1]) or not isinstance(params[2], Dtype):
        return False
    return is_int(params[0]) and 0 <= params[0] < len(params[1])


def _random_bits(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 1 and is_int(params[0]) and params[0] >= 0


def _fft(inputs: Inputs, params: tuple) -> bool:
    (a,) = inputs
    if len(params) != 3 or not a.dtype.is_complex or not a.size or not isinstance(params[0], tuple):
        return False
    axes, inverse, scale = params
    distinct = all(_axis(i, a) for i in axes) and len(set(axes)) == len(axes)
    return distinct and isinstance(inverse, bool) and isinstance(scale, float)


def _rfft(inputs: Inputs, params: tuple) -> bool:
    (a,) = inputs
    real = a.dtype.is_float and a.size > 0
    return real and len(params) == 2 and _axis(params[0], a) and isinstance(params[1], float)


def _irfft(inputs: Inputs, params: tuple) -> bool:
    (a,) = inputs
    if len(params) != 3 or not a.dtype.is_complex or not a.size or not is_int(params[0]):
        return False
    return params[0] > 0 and _axis(params[1], a) and isinstance(params[2], float)


def _matrix(inputs: Inputs, params: tuple) -> bool:
    return params == () and inputs[0].ndim >= 2 and inputs[0].dtype.is_inexact


def _square(inputs: Inputs, params: tuple) -> bool:
    return _matrix(inputs, params) and inputs[0].shape[-1] == inputs[0].shape[-2]


def _solve(inputs: Inputs, params: tuple) -> bool:
    a, b = inputs
    return _square((a,), params) and b.ndim == a.ndim and b.shape[:-1] == a.shape[:-1] and a.dtype is b.dtype


def _hermitian(inputs: Inputs, params: tuple) -> bool:
    return len(params) == 1 and isinstance(params[0], bool) and _square(inputs, ())


# Number of inputs (None for one or more) and the check.
_RULES: dict[str, tuple[int | None, Check]] = {
    "cast": (1, _cast), "bitcast": (1, _cast), "reinterpret": (1, _reinterpret), "where": (3, _plain),
    "stop_gradient": (1, _plain), "barrier": (None, _plain),
    "real": (1, _complex), "imag": (1, _complex), "modulus": (1, _complex), "conj": (1, _plain),
    "reshape": (1, _reshape), "transpose": (1, _transpose), "broadcast": (1, _broadcast), "slice": (1, _slice),
    "slice_update": (2, _slice_update), "concatenate": (None, _concatenate), "as_strided": (1, _as_strided),
    "strided_update": (2, _strided_update),
    "take": (2, _take), "take_along": (2, _take_along), "scatter": (3, _scatter), "scatter_along": (3, _scatter_along),
    "sum": (1, _reduce), "contraction": (1, _reduce), "prod": (1, _reduce),
    "max": (1, _extremum), "min": (1, _extremum), "argmax": (1, _arg), "argmin": (1, _arg),
    "sort": (1, _sort), "argsort": (1, _sort), "matmul": (2, _plain),
    "cumsum": (1, _scan), "rounded_cumsum": (1, _scan), "cumprod": (1, _scan), "cummax": (1, _scan),
    "cummin": (1, _scan), "logcumsumexp": (1, _inexact_scan), "iota": (0, _iota), "random_bits": (1, _random_bits),
    "fft": (1, _fft), "rfft": (1, _rfft), "irfft": (1, _irfft),
    "inv": (1, _square), "solve": (2, _solve), "pinv": (1, _matrix), "det": (1, _square), "slogdet": (1, _square),
    "cholesky": (1, _square), "qr": (1, _matrix), "svd": (1, _matrix), "singular_values": (1, _matrix),
    "eigh": (1, _hermitian), "eigvalsh": (1, _hermitian), "eig": (1, _square), "lu": (1, _matrix),
    "symmetric_root": (1, _square), "gcd": (2, _gcd),
}  # fmt: skip

# What the samples' domains leave open.
_NOT_COMPLEX = {
    "floor", "ceil", "trunc", "floor_divide", "remainder", "logaddexp", "arctan2", "erf", "erfc", "erfinv", "lgamma",
    "digamma", "cbrt",
}  # fmt: skip
_NOT_BOOL = {"floor_divide", "remainder", "power", "left_shift", "right_shift"}


def _accepts(prim: Primitive, domain: str, dtype: Dtype) -> bool:
    if (dtype.is_complex and prim.name in _NOT_COMPLEX) or (dtype is bool_ and prim.name in _NOT_BOOL):
        return False
    if domain in ("a", "n") or prim.name == "power":
        return True
    return (dtype.is_integer or dtype is bool_) if domain == "i" else dtype.is_inexact


def _rule(prim: Primitive) -> tuple[int | None, Check] | None:
    found = _RULES.get(prim.name)
    if found is None and prim.kind == "pointwise" and prim.samples and isinstance(prim.samples[0], str):
        domain, arity = prim.samples
        return arity, lambda inputs, params: params == () and _accepts(prim, domain, inputs[0].dtype)
    return found


def is_portable(prim: Primitive) -> bool:
    """Whether there is a rule for the primitive, so that it may stand in a file."""
    return _rule(prim) is not None


def checked(prim: Primitive, inputs: Inputs, params: tuple) -> Node:
    """The node of a primitive on inputs, if both are what it takes.

    Raises ValueError where they are not, or where the result is larger than any memory.
    """
    rule = _rule(prim)
    if rule is None or REGISTRY.get(prim.name) is not prim:
        raise ValueError(f"[verify] expected a primitive that can stand in a file, got {prim.name}")
    arity, check = rule
    if len(inputs) != arity if arity is not None else not inputs:
        raise ValueError(f"[verify] expected {arity or 'some'} inputs of {prim.name}, got {len(inputs)}")
    try:
        if not check(inputs, params):
            raise ValueError("it does not take them")
        shape, dtype = prim.infer(inputs, params)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"[verify] expected inputs and parameters that {prim.name} takes, got {list(inputs)} and {params}: {error}"
        ) from None
    if len(shape) > RANK or math.prod(shape) * dtype.size > LARGEST:
        raise ValueError(f"[verify] expected a result that fits into memory, got {dtype.name}{list(shape)}")
    return Node(prim, inputs, params, shape, dtype)
