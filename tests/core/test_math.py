"""Pointwise functions: compared with MLX over all types and many shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import arrax.core as mx

EXPRESSIONS = """
mx.exp(2.0)
mx.exp(2)
mx.exp([1., 2.])
mx.exp(np.array([1., 2.]))
mx.add(1, 2)
mx.add(1, 2.5)
mx.add([1], a)
mx.add(a, [1])
mx.add(True, True)
mx.add(a, np.array([1., 2, 3]))
mx.add(np.float32(1), a)
a*np.float32(2)
a*np.float64(2.5)
a*np.int64(2)
a*np.array(2)
a*np.array([2])
u*np.int64(2)
u*np.array(2)
b*np.int64(2)
b+1
b+1.5
b*2
b-b
b-True
1-b
mx.exp(a)
mx.exp(b)
mx.floor(a)
mx.floor(b)
mx.floor(c)
mx.round(a)
mx.round(c)
mx.round(a, decimals=-1)
mx.round(f*1.234567, decimals=2)
mx.abs(b)
mx.abs(c)
mx.sign(b)
mx.sign(c)
mx.square(b)
mx.negative(b)
mx.sqrt(c)
mx.rsqrt(a)
mx.reciprocal(a)
mx.trunc(a)
mx.maximum(b, b)
mx.minimum(c, c)
c<c
c//c
c%c
mx.logical_and(a, b[:1])
mx.logical_not(a)
mx.isnan(a)
mx.isinf(c)
mx.isposinf(c)
mx.isposinf(mx.array([complex(inf, 0), complex(inf, -0.0), complex(0, inf), complex(inf, 1), complex(inf, nan)]))
mx.isneginf(mx.array([complex(-inf, 0), complex(0, -inf), complex(-inf, inf), complex(nan, -inf)]))
mx.isfinite(c)
mx.left_shift(b, b)
b<<b
~b
mx.bitwise_invert(b)
mx.clip(a, 0, 2)
mx.clip(a, 0.5, 2)
mx.clip(a, None, 2)
mx.clip(f, mx.array([1.5, 1.5]), None)
mx.where(b, 1, 2)
mx.where(a, 1.0, a)
mx.where(True, 1, 2.5)
mx.where(a, h[:1], f[:1])
mx.isclose(f, f)
mx.isclose(a, a)
mx.nan_to_num(a)
mx.nan_to_num(mx.array([inf, nan]))
mx.nan_to_num(mx.array([inf, nan], dtype=mx.float16))
mx.divmod(a, 2)
mx.divmod(f, 2)
mx.degrees(a)
mx.radians(a)
mx.power(a, b[:1])
mx.power(2, 3)
mx.power(2, -1)
mx.logaddexp(a, a)
mx.arctan2(a, a)
mx.sigmoid(a)
mx.erf(a)
mx.sin(c)
mx.log(c)
mx.conj(a)
mx.real(a)
mx.real(c)
mx.isneginf(a)
mx.positive(b)
mx.stop_gradient(a)
mx.empty_like(a).dtype
f.var(correction=1)
a.astype(mx.float16)
a.astype('float32')
c.astype(mx.float32)
mx.astype(a, mx.float32)
mx.isclose(mx.array([nan]), mx.array([nan]), equal_nan=True)
mx.stop_gradient(2)
h*70000
h*100000
h+1e10
mx.where(True, 2**40, a)
b & b
a & 1
a | True
a ^ 2
~a
a << 1
f & 1
~f
mx.round(mx.array([0.5, 1.5, 2.5, -0.5]))
mx.round(mx.array([12.0, 15.0]), -1)
mx.clip(mx.array([nan]), 0, 1)
mx.isclose(mx.array([inf, -inf, nan, 1.0]), mx.array([inf, inf, nan, 1.0 + 1e-6]))
mx.nan_to_num(mx.array([nan, inf, -inf]), 1, 2, 3)
mx.logaddexp(mx.array([-inf, inf, 0.0]), mx.array([-inf, inf, -inf]))
""".strip().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_agrees_with_mlx(agree: Callable[..., None], expression: str) -> None:
    agree(expression)


DTYPES = (
    *("bool_", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex64"),
)
INEXACT = (
    *("exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "sinh"),
    *("cosh", "tanh", "reciprocal"),
)
REAL = (
    *("expm1", "log2", "log10", "log1p", "sigmoid", "erf", "arctan", "arcsinh"),
    *("floor", "ceil", "trunc", "degrees", "radians", "isposinf", "isneginf", "nan_to_num"),
)
ANY = (
    *("abs", "sign", "square", "isnan", "isinf", "isfinite", "logical_not", "positive"),
    *("round", "conj", "real", "imag", "stop_gradient", "negative"),
)
DOMAINS = {"arcsin": "0.3", "arccos": "0.3", "arctanh": "0.3", "erfinv": "0.3", "arccosh": "1.7"}
SHAPES = ["[2]", "[[1, 2, 3], [3, 1, 2]]", "[]", "3"]
ARITHMETIC = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "logaddexp"),
    *("arctan2", "floor_divide", "remainder"),
)
COMPARISONS = (
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("logical_and", "logical_or", "logical_xor"),
)
BITS = ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift")
SCALARS = ["True", "2", "1.5", "2j", "3", "0.5"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!="]


def _real_only(function: str, *dtypes: str) -> bool:
    unordered = ("less", "less_equal", "greater", "greater_equal", "maximum", "minimum")
    refused = ("arctan2", "logaddexp", "floor_divide", "remainder", *BITS, *unordered)
    return "complex64" in dtypes and function in refused


def _double_complex(*dtypes: str) -> bool:
    """Whether the operands meet in complex128, which MLX does not have."""
    return {"float64", "complex64"} <= set(dtypes)


def _integral(left: str, right: str) -> bool:
    return mx.result_type(getattr(mx, left), getattr(mx, right)).is_integer or left == right == "bool_"


@pytest.mark.parametrize("function", INEXACT + REAL + ANY)
def test_functions_of_one_array(agree: Callable[..., None], function: str) -> None:
    for dtype, values in product(DTYPES, SHAPES):
        if dtype == "complex64" and (function in REAL or function == "tan"):
            continue
        if dtype == "float64" and function == "nan_to_num":
            continue
        agree(f"mx.{function}(mx.array({values}, dtype=mx.{dtype}))")
        if dtype.startswith(("float", "bfloat")):
            agree(f"mx.{function}(mx.array([0.25, 0.75, 1.5, 3.0, 0.0], dtype=mx.{dtype}))")


@pytest.mark.parametrize("function", DOMAINS)
def test_functions_on_a_part_of_the_line(agree: Callable[..., None], function: str) -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        agree(f"mx.{function}(mx.array([{DOMAINS[function]}, 1.0], dtype=mx.{dtype}))")


@pytest.mark.parametrize("function", ARITHMETIC + COMPARISONS + BITS)
def test_functions_of_two_arrays(agree: Callable[..., None], function: str) -> None:
    for left, right in product(DTYPES, DTYPES):
        if _real_only(function, left, right) or (function in BITS and not _integral(left, right)):
            continue
        if _double_complex(left, right):
            continue
        a, b = f"mx.array([1, 2, 3], dtype=mx.{left})", f"mx.array([[2], [1]], dtype=mx.{right})"
        agree(f"mx.{function}({a}, {b})")


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_with_scalars(agree: Callable[..., None], operator: str) -> None:
    for dtype, scalar in product(DTYPES, SCALARS):
        names = {"//": "floor_divide", "%": "remainder", "<": "less", "<=": "less", ">": "less", ">=": "less"}
        meeting = dtype, "complex64" if "j" in scalar else ""
        if _real_only(names.get(operator, ""), *meeting) or _double_complex(*meeting):
            continue
        array = f"mx.array([1, 2, 3], dtype=mx.{dtype})"
        agree(f"{array} {operator} {scalar}")
        agree(f"{scalar} {operator} {array}")


def test_shapes_that_do_not_broadcast(agree: Callable[..., None]) -> None:
    for function in ARITHMETIC + COMPARISONS:
        agree(f"mx.{function}(mx.zeros((2, 3)), mx.zeros((2,)))")


@pytest.mark.parametrize("exponent, name", [(2, "square"), (2.0, "square"), (0.5, "sqrt"), (3, "power")])
def test_powers_with_a_primitive_of_their_own(exponent: float, name: str) -> None:
    assert (mx.array([4.0]) ** exponent)._node.prim.name == name


def test_scalars_make_no_arrays() -> None:
    node = (mx.array([1.0], dtype=mx.float16) * 2)._node
    assert node.prim.name == "mul" and node.inputs[1].prim.name == "const" and node.dtype is mx.float16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("decimals", [5, 20, 38, 39, 60, 308, 309, 2**31 - 1])
def test_rounding_far_behind_and_before_the_point(dtype: str, decimals: int) -> None:
    """What has no decimals that far stays, what has no tens that far is zero; MLX gives no number there."""
    values = [0.0, 1.0, -3.5, math.inf, -math.inf] + ([] if dtype == "float16" else [2.0**110])
    x = mx.array(values).astype(getattr(mx, dtype))
    accuracy = {"float16": 2**-10, "bfloat16": 2**-7, "float64": 2**-52}.get(dtype, 2**-23)
    np.testing.assert_allclose(mx.round(x, decimals).tolist(), x.tolist(), rtol=accuracy)
    near = x[:3]
    assert mx.round(near, -decimals).tolist() == [0, 0, 0]
    assert mx.round(mx.array([125, -7]), -decimals).tolist() == [0, 0]
    if dtype != "complex64":
        assert mx.round(x[3:5], -decimals).tolist() == [math.inf, -math.inf]
