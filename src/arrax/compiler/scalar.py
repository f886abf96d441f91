"""Pointwise operations in terms of the kernel IR's own: the simple ones here, transcendental ones in `scalarmath`."""

from __future__ import annotations

from collections.abc import Callable

from arrax.compiler.kernel import ARITY, COMPARE, Value, bitcast, cast, const, eq, gt, lt, narrow, ne, op, select
from arrax.compiler.scalarmath import AS_IN_NUMPY, EXPANSIONS
from arrax.graph.dtypes import Dtype
from arrax.graph.primitive import Primitive


def _sign(x: Value) -> Value:
    return (
        select(gt(x, 0), const(1, x.dtype), select(lt(x, 0), const(-1, x.dtype), op("abs", x)))  # of -0: 0
        if x.dtype.is_signed
        else (select(gt(x, 0), const(1, x.dtype), x))
    )


def _maximum(a: Value, b: Value) -> Value:
    """NaN if either is."""
    if not a.dtype.is_float:
        return op("max", a, b)
    return select(gt(a, b) | ne(a, a), a, b)


def _minimum(a: Value, b: Value) -> Value:
    if not a.dtype.is_float:
        return op("min", a, b)
    return select(lt(a, b) | ne(a, a), a, b)


_EXPAND: dict[str, Callable[..., Value]] = {
    "sign": _sign,
    "square": lambda x: x * x,
    "maximum": _maximum,
    "minimum": _minimum,
}


# Of operands in half precision these have results in half precision: there is nothing to round.
EXACT = ("neg", "abs", "sign", "floor", "ceil", "rint", "trunc", "maximum", "minimum")


def emit(name: str, args: list[Value], dtype: Dtype) -> Value:
    """The value of a pointwise operation whose result has type ``dtype``.

    Half precision is widened, and the result rounded; what only moves it leaves its bits alone.
    """
    if name == "cast":
        return cast(args[0], dtype)
    if name == "bitcast":
        return bitcast(args[0], dtype)
    if name == "copy":
        return args[0]
    if name == "select":
        return select(*args)
    result = _arithmetic(name, [a.wide for a in args], dtype.compute)
    return narrow(result, dtype) if name in EXACT else cast(result, dtype)


def _arithmetic(name: str, args: list[Value], dtype: Dtype) -> Value:
    if name in ("floor", "ceil", "rint", "trunc") and not args[0].dtype.is_float:
        return args[0]
    if name == "abs" and not args[0].dtype.is_signed:
        return args[0]
    expand = _EXPAND.get(name) or (EXPANSIONS.get(name) if name not in ARITY else None)
    if expand is not None:
        return expand(*args)
    if name in COMPARE:
        return op(name, *args)
    return Value(name, tuple(args), dtype)


def combine(name: str, a: Value, b: Value) -> Value:
    """How two partial results of a reduction meet."""
    if name in ("add", "mul"):
        return Value(name, (a, b), a.dtype)
    if name == "rounded_add":
        return a + b
    if name in ("max", "min"):
        return (_maximum if name == "max" else _minimum)(b, a)
    if name == "set":
        return b
    return EXPANSIONS[name](a, b)


def meet(name: str, old: Value, new: Value) -> Value:
    """How a scattered value meets what is there; unlike in a reduction, a NaN that is there gives way, as in MLX."""
    if name in ("max", "min") and old.dtype.is_float:
        return select(gt(old, new) if name == "max" else lt(old, new), old, new)
    return combine(name, old, new)


def better(name: str, value: Value, best: Value, position: Value, best_position: Value) -> Value:
    """Whether a candidate for argmax/argmin beats the best so far: NaN beats all, then the first position."""
    beats = gt(value, best) if name == "argmax" else lt(value, best)
    same = eq(value, best)
    if value.dtype.is_float:
        value_nan, best_nan = ne(value, value), ne(best, best)
        both = value_nan & best_nan
        return (beats & ~best_nan) | (value_nan & ~best_nan) | ((same | both) & lt(position, best_position))
    return beats | (same & lt(position, best_position))


def has_equal_reference(prim: Primitive) -> bool:
    """Whether a primitive's reference in NumPy gives the bits that machine code gives, so that either may compute it.

    Transcendental functions are expanded here and NumPy has its own; products are added up in another order.
    """
    if prim.kind in ("pointwise", "reduce", "scan"):
        return prim.lower not in EXPANSIONS or prim.lower in AS_IN_NUMPY
    return prim.kind not in ("contract", "composite", "call")
