# ruff: noqa: E501 -- a line for each family of functions
"""One table of all public functions of MLX: how each is called to be compared.

A line of the table names functions, the element types they are tried with, how near the results must be, and either
a kind of function, which stands for a list of calls, or the calls themselves. In a call, ``F`` is the function, and
arrays are made by

================= ====================================================================================
``X(2, 3)``       an array of the type that is tried: small numbers of both signs
``Y(2, 3)``       another one, without zeros
``P(2, 3)``       positive numbers
``U(2, 3)``       numbers between -1 and 1 (integers: 0 and 1)
``S()``           the type's special numbers: limits, infinities, zeros of both signs, no number
``T("int8", 3)``  like ``Y``, of another type
``I(n, 2, 3)``    indices below ``n``, int32; ``B(2, 3)`` booleans
``E(3)``          a symmetric positive definite matrix; ``K()`` a random key; ``D`` the type itself
================= ====================================================================================

Results are compared exactly, nearly, as sums, loosely (matrix decompositions), but for signs or order, or only in
shape. Not in the table: reductions and scans of empty arrays, which MLX may never end, the smallest integer divided by
-1, which ends MLX's process, and divisions of integers by zero, which have no defined result.
"""

from __future__ import annotations

from typing import NamedTuple

BOOL = ("bool_",)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
GROUPS = {
    "all": (*BOOL, *INTEGERS, *FLOATS, "complex64"),
    "real": (*BOOL, *INTEGERS, *FLOATS),
    "float": FLOATS,
    "numeric": (*FLOATS, "complex64"),
    "integer": (*BOOL, *INTEGERS),
    "single": ("float32",),
    "solvable": ("float32", "float64"),
    "none": ("float32",),  # calls that make no array of the type
}

# Arrays of few shapes, some of them views: more shapes would be more kernels to compile, not more to find.
ARRAYS = (
    *("X()", "X(1)", "X(4)", "X(2, 3)", "X(3, 1, 5)"),
    *("X(3, 2).T", "X(4, 3)[::-2]", "X(2, 7)[:, 1::2]", "X(8)[::-2]", "X(5, 1, 3).transpose(2, 1, 0)"),
)
EMPTY = "X(0, 3)"
PAIRS = (
    *("X(2, 3), Y(2, 3)", "X(2, 3), Y(3)", "X(2, 1), Y(1, 3)", "X(), Y(4)", "X(4), Y()", "X(3, 1, 5), Y(2, 1)"),
    *("X(3, 2).T, Y(4, 3)[::-2]", "X(2, 7)[:, 1::2], Y(3)[::-1]", "X(2, 3), 2", "3, Y(2, 3)"),
    *("X(2, 3), 1.5", "0.5, Y(2, 3)", "X(2, 3), True", "X(0, 3), Y(3)", "X(2, 3), Y(4)", "X(2, 3), Y(2, 2)"),
    *(f"X(2, 3), T({t!r}, 3)" for t in GROUPS["all"]),
)


def _reductions(*, many: bool) -> tuple[str, ...]:
    several = ("axis=(0, -1)", "axis=[0, 1], keepdims=True", "axis=(1, 0)", "axis=(0, 0)") if many else ()
    calls = [f"F({a})" for a in ARRAYS]
    for a in ARRAYS[3:]:
        if a != "X(8)[::-2]":
            calls += [f"F({a}, {k})" for k in ("axis=0", "axis=-1", "axis=1, keepdims=True", *several)]
    return (*calls, "F(X(4), axis=0)", "F(X(4), 0, True)", "F(X(2, 3), axis=2)", "F(X(2, 3), keepdims=True)", "F(S())")


def _scans() -> tuple[str, ...]:
    ways = ("", ", reverse=True", ", inclusive=False", ", reverse=True, inclusive=False")
    places = (
        *("X(4)", "X(2, 3)", "X(2, 3), axis=0", "X(2, 3), axis=-1", "X(3, 1, 5), axis=1", "X(3, 1, 5), axis=2"),
        *("X(3, 2).T, axis=0", "X(4, 3)[::-2], axis=1", "X(2, 7)[:, 1::2], axis=1", "X()"),
    )
    return (*(f"F({p}{w})" for p in places for w in ways), "F(X(2, 3), axis=2)")


KINDS: dict[str, tuple[str, ...]] = {
    "unary": (*(f"F({a})" for a in (*ARRAYS, EMPTY)), "F(S())"),
    "plain unary": tuple(f"F({a})" for a in (*ARRAYS, EMPTY)),
    "unary in -1..1": tuple(f"F({a.replace('X', 'U')})" for a in ARRAYS) + ("F(S())",),
    "unary above 0": tuple(f"F({a.replace('X', 'P')})" for a in ARRAYS) + ("F(S())",),
    "binary": (*(f"F({p})" for p in PAIRS), "F(S()[:, None], S())"),
    # Without zeros and limits, which integers cannot be divided by.
    "division": tuple(f"F({p})" for p in PAIRS),
    "power": tuple(f"F({p.replace('Y', 'U')})" for p in PAIRS) + ("F(P(2, 3), 3)", "F(X(2, 3), 2)"),
    "shift": tuple(f"F({p.replace('Y', 'U').replace('T(', 'abs(T(').replace(', 3)', ', 3)')})" for p in PAIRS[:12]),
    "reversed": ("F(Y(2, 3), 3)", "F(Y(2, 3), True)", "F(Y(2, 3), 1.5)", "F(Y(3, 2).T, 2)", "F(Y(), 2)"),
    "reduction": _reductions(many=True),
    "position": _reductions(many=False),
    "scan": _scans(),
    "sort": (
        *("F(X(4))", "F(X(2, 3))", "F(X(2, 3), axis=0)", "F(X(2, 3), axis=None)", "F(X(3, 1, 5), axis=1)", "F(X(1))"),
        *("F(X(3, 2).T)", "F(X(4, 3)[::-2], axis=1)", "F(X(8)[::-2])", "F(X(2, 3), axis=2)", "F(X())", "F(X(40))"),
    ),
    "matrix": (
        *("F(E(3))", "F(E(1))", "F(E(4).T)", "F(E(6)[::2, ::2])", "F(mx.stack([E(2), E(2) * 2]))", "F(X(4))"),
        *("F(X(2, 3))", "F(E(2), stream=mx.cpu)"),
    ),
    "triangle": (
        *("F(E(3))", "F(E(3), upper=True)", "F(E(1))", "F(E(6)[::-2, ::-2])", "F(mx.stack([E(2), E(2) * 2]))"),
        *("F(X(4))", "F(X(2, 3))"),
    ),
    "dft": tuple(
        f"F({c})"
        for c in (
            *(
                "X(8)",
                "X(2, 3)",
                "X(3, 2).T",
                "X(4, 3)[::-2]",
                "X(2, 3), axis=0",
                "X(2, 3), n=5",
                "X(2, 8), n=4, axis=-1",
            ),
            *(
                "X(2, 3), norm='ortho'",
                "X(2, 6), norm='forward'",
                "X(2, 3), axis=2",
                "X(4), norm='a'",
                "X(3, 1, 5), axis=1",
            ),
            *("X()", "X(4), n=0", "X(16)"),
        )
    ),
    "dftn": tuple(
        f"F({c})"
        for c in (
            *("X(2, 8)", "X(3, 2).T", "X(3, 4, 5)", "X(4, 3)[::-2]", "X(3, 4, 5), axes=(0, 2)", "X(4, 6), s=(2, 5)"),
            *("X(4, 6), s=(2, 8), axes=(1, 0)", "X(4, 6), norm='ortho'", "X(4, 6), axes=[0, 1], norm='forward'"),
            *("X(2, 3), axes=(0, 2)", "X(2, 3), s=(2, 2), axes=(0,)", "X(2, 3), norm='a'", "X(4)"),
        )
    ),
}

TABLE = """
abs sign positive negative square logical_not isnan isinf isfinite isposinf isneginf | all | exact | unary
floor ceil trunc bitwise_invert real imag conj conjugate stop_gradient nan_to_num | all | exact | unary
sqrt rsqrt reciprocal exp expm1 erf sin cos tan arctan tanh arcsinh sinh cosh sigmoid | all | near | unary
atan asinh degrees radians | all | near | unary
log log2 log10 log1p | all | near | unary above 0
arccosh acosh | all | near | unary above 0
arcsin arccos arctanh erfinv asin acos atanh | all | near | unary in -1..1
round | all | near | unary
array.abs array.square array.conj array.__abs__ array.__pos__ array.__neg__ array.__invert__ | all | exact | unary
array.real array.imag | all | exact | plain unary
array.sqrt array.rsqrt array.reciprocal array.exp array.sin array.cos | all | near | unary
array.log array.log2 array.log10 array.log1p | all | near | unary above 0
array.round | all | near | F(X(2, 3)) ; F(X(3, 2).T, 1) ; F(X(4), decimals=-1) ; F(P(2, 3), decimals=2) ; F(S())
nan_to_num | all | exact | F(S(), nan=2.0) ; F(S(), 1.0, 2.0, -2.0) ; F(S(), posinf=3.0) ; F(2.5)
round | all | near | F(X(4), 1) ; F(X(4), decimals=-1) ; F(P(2, 3), decimals=2)

add subtract multiply maximum minimum | all | exact | binary
equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor | all | exact | binary
bitwise_and bitwise_or bitwise_xor | all | exact | binary
divide floor_divide remainder divmod | all | near | division
arctan2 atan2 logaddexp | all | near | binary
power pow | all | near | power
left_shift right_shift bitwise_left_shift bitwise_right_shift | all | exact | shift
isclose allclose | all | exact | binary
isclose allclose | all | exact | F(X(2, 3), X(2, 3)) ; F(X(3), X(3) + 1e-6) ; F(S(), S(), equal_nan=True)
isclose allclose | all | exact | F(X(3), X(3) * 1.01, rtol=0.1) ; F(X(3), X(3) + 1, 0.0, 0.5) ; F(X(3), X(3) + 1, atol=1.5)
array_equal | all | exact | F(X(2, 3), X(2, 3)) ; F(X(2, 3), Y(2, 3)) ; F(X(3), X(2)) ; F(S(), S()) ; F(S(), S(), equal_nan=True)
array_equal | all | exact | F(X(2, 3), T("int32", 2, 3)) ; F(X(3, 2).T, X(3, 2).T) ; F(X(0, 3), X(0, 3)) ; F(2, X())
array.__add__ array.__sub__ array.__mul__ | all | exact | binary
array.__eq__ array.__ne__ array.__lt__ array.__le__ array.__gt__ array.__ge__ | all | exact | binary
array.__and__ array.__or__ array.__xor__ | all | exact | binary
array.__truediv__ array.__floordiv__ array.__mod__ | all | near | division
array.__pow__ | all | near | power
array.__lshift__ array.__rshift__ | all | exact | shift
array.__radd__ array.__rsub__ array.__rmul__ array.__rpow__ | all | near | reversed
array.__rtruediv__ array.__rfloordiv__ array.__rmod__ | all | near | reversed
array.__iadd__ array.__isub__ array.__imul__ array.__iand__ array.__ior__ array.__ixor__ | all | exact | division
array.__itruediv__ array.__ifloordiv__ array.__imod__ | all | near | division
array.__ipow__ | all | near | power
array.__ilshift__ array.__irshift__ | all | exact | shift
array.__matmul__ array.__imatmul__ | all | sums | F(X(2, 3), Y(3, 3)) ; F(X(3, 2).T, Y(3, 3)[::-1]) ; F(X(3), Y(3)) ; F(X(2, 3), Y(2, 3)) ; F(X(2, 3), 2)
clip | all | exact | F(X(2, 3), 0, 2) ; F(X(2, 3), -1.5, None) ; F(X(3, 2).T, None, 2) ; F(X(2, 3), X(3), Y(2, 1)) ; F(S(), -1, 1)
clip | all | exact | F(X(2, 3), None, None) ; F(X(2, 3), X(4), 1) ; F(X(), 0, T("float32")) ; F(X(4, 3)[::-2], 0, 1)
where | all | exact | F(B(2, 3), X(2, 3), Y(2, 3)) ; F(B(3), X(2, 1), 2) ; F(X(2, 3), 1, 2.5) ; F(B(2, 3).T, X(3, 2), Y(2)) ; F(True, X(4), Y())
where | all | exact | F(B(3), X(3), T("int32", 3)) ; F(B(3), X(3), T("float16", 3)) ; F(B(3), X(2), Y(3)) ; F(B(0, 3), X(3), Y(0, 3))

all any array.all array.any | all | exact | reduction
max min minmax array.max array.min | all | exact | reduction
sum prod mean logsumexp array.sum array.prod array.mean array.logsumexp | all | sums | reduction
var std array.var array.std | all | sums | reduction
var std array.var array.std | all | sums | F(X(4), ddof=1) ; F(X(2, 3), 0, False, 1) ; F(X(2, 3), axis=1, correction=1) ; F(X(3), ddof=3)
sum prod | all | sums | F(X(4), axis=()) ; F(X(2, 3), ()) ; F(X(300) * 0 + 1) ; F(X(40, 3).T * 0 + 1, 1)
median | all | near | reduction
argmax argmin array.argmax array.argmin | all | exact | position
count_nonzero | all | exact | F(X(4)) ; F(X(2, 3)) ; F(X(2, 3), axis=0) ; F(X(3, 2).T, axis=(0, 1)) ; F(X(2, 3), axis=1, keepdims=True) ; F(S()) ; F(X(2, 3), axis=2)
softmax | all | near | F(X(4)) ; F(X(2, 3), axis=-1) ; F(X(2, 3), axis=0) ; F(X(3, 2).T, axis=(0, 1)) ; F(X(2, 3), axis=-1, precise=True) ; F(X()) ; F(X(2, 3), axis=2) ; F(X(4, 3)[::-2], 1)
cummax cummin array.cummax array.cummin | all | exact | scan
cumsum cumprod logcumsumexp cumulative_sum cumulative_prod | all | sums | scan
array.cumsum array.cumprod array.logcumsumexp | all | sums | scan
cumsum cumprod | all | sums | F(X(4), dtype=mx.float32) ; F(X(2, 3), 0, dtype=mx.int32) ; F(X(4), 0, dtype=D)
cumulative_sum cumulative_prod | all | sums | F(X(2, 3), axis=1, include_initial=True) ; F(X(4), include_initial=True, dtype=mx.float32)
diff | all | near | F(X(4)) ; F(X(2, 3)) ; F(X(2, 3), axis=0) ; F(X(8), n=3) ; F(X(3, 2).T, 1, -1) ; F(X(8)[::-2], 2) ; F(X(2, 3), n=0) ; F(X(2, 3), axis=2) ; F(X(4), n=-1) ; F(X(2), n=3) ; F(X())

sort argsort | all | exact | sort
partition argpartition | all | ordered | F(X(9), 0) ; F(X(9), 8) ; F(X(2, 1), 0, axis=-1) ; F(X(4), 9) ; F(X(2, 3), 0, axis=5)
topk | all | ordered | F(X(9), 1) ; F(X(2, 3), 1, axis=0) ; F(X(2, 3), 1, axis=None) ; F(X(3, 2).T, 1) ; F(X(4), 9) ; F(X(4, 3)[::-2], 1)
searchsorted | all | exact | F(mx.sort(X(5)), Y(3)) ; F(mx.sort(X(5)), Y(2, 2), side="right") ; F(mx.sort(X(8)[::2]), X(2, 3).T) ; F(mx.sort(X(5)), T("float32", 3)) ; F(X(2, 3), X(2)) ; F(X(3), X(3), side="a")
unique | all | exact | F(X(9), 9) ; F(X(2, 3), size=6) ; F(X(3, 2).T, 2) ; F(X(9), 9, fill_value=3) ; F(X(9), size=12, return_index=True, return_inverse=True, return_counts=True)

reshape | all | exact | F(X(2, 3), (3, 2)) ; F(X(3, 2).T, (6,)) ; F(X(4, 3)[::-2], (3, -1)) ; F(X(2, 3), (4,)) ; F(X(2, 3), (-1, -1)) ; F(X(), (1, 1)) ; F(X(0, 3), (3, 0)) ; F(X(2, 3), [6])
array.reshape | all | exact | F(X(2, 3), 3, 2) ; F(X(3, 2).T, -1) ; F(X(2, 3), (6, 1)) ; F(X(2, 3), [1, 6]) ; F(X(2, 3), 4)
flatten array.flatten | all | exact | F(X(2, 3)) ; F(X(3, 2).T) ; F(X(3, 1, 5), 1) ; F(X(3, 1, 5), 0, 1) ; F(X(3, 1, 5), start_axis=-2, end_axis=-1) ; F(X()) ; F(X(2, 3), 1, 0) ; F(X(2, 3), 3)
unflatten | all | exact | F(X(6), 0, (2, 3)) ; F(X(2, 6), -1, (3, -1)) ; F(X(6, 2).T, 1, (2, 3)) ; F(X(6), 0, (4, 2)) ; F(X(6), 1, (2, 3))
squeeze array.squeeze | all | exact | F(X(3, 1, 5)) ; F(X(3, 1, 5), 1) ; F(X(1)) ; F(X(1, 3, 1), axis=(0, -1)) ; F(X(2, 3), 0) ; F(X(1, 1), axis=[0, 0])
expand_dims | all | exact | F(X(2, 3), 0) ; F(X(3, 2).T, -1) ; F(X(2, 3), (0, 2)) ; F(X(), 0) ; F(X(2), 3) ; F(X(2), (0, 0))
flip | all | exact | F(X(4)) ; F(X(2, 3)) ; F(X(2, 3), 0) ; F(X(3, 2).T, axis=(0, 1)) ; F(X(4, 3)[::-2], [1]) ; F(X(2), 1) ; F(X())
unstack | all | exact | F(X(2, 3)) ; F(X(3, 2).T, axis=-1) ; F(X(3, 1, 5), axis=1) ; F(X(2), axis=1) ; F(X())
moveaxis swapaxes array.moveaxis array.swapaxes | all | exact | F(X(2, 3), 0, 1) ; F(X(3, 1, 5), 0, -1) ; F(X(3, 2).T, -1, 0) ; F(X(2, 3), 0, 2) ; F(X(4), 0, 0)
transpose permute_dims | all | exact | F(X(2, 3)) ; F(X(3, 1, 5)) ; F(X(3, 1, 5), (2, 0, 1)) ; F(X(4, 3)[::-2], axes=[1, 0]) ; F(X(2, 3), (0, 0)) ; F(X(2, 3), (0,)) ; F(X()) ; F(X(3, 1, 5), (-1, 0, 1))
array.transpose | all | exact | F(X(2, 3)) ; F(X(3, 1, 5), 2, 0, 1) ; F(X(3, 1, 5), (2, 0, 1)) ; F(X(3, 1, 5), [0, -1, 1]) ; F(X(2, 3), 0)
matrix_transpose array.mT | all | exact | F(X(2, 3)) ; F(X(3, 1, 5)) ; F(X(4, 3)[::-2]) ; F(X(4))
array.T | all | exact | F(X(2, 3)) ; F(X(3, 1, 5)) ; F(X(4)) ; F(X())
atleast_1d atleast_2d atleast_3d | all | exact | F(X()) ; F(X(4)) ; F(X(3, 2).T) ; F(X(3, 1, 5)) ; F(X(), X(2))
broadcast_to | all | exact | F(X(3), (2, 3)) ; F(X(2, 1), (2, 3)) ; F(X(), (2, 3)) ; F(2, (2,)) ; F(X(3, 1, 5), (3, 2, 5)) ; F(X(2), (3,)) ; F(X(2, 3), (3,)) ; F(X(3)[::-1], (2, 3))
broadcast_arrays | all | exact | F(X(3), Y(2, 1)) ; F(X(), Y(2), X(2, 1)) ; F(X(2), Y(3)) ; F(X(3))
concatenate concat | all | exact | F([X(2, 3), Y(2, 3)]) ; F([X(2, 3), X(3, 2).T], axis=1) ; F([X(2), T("int32", 2)]) ; F([X(2, 3), X(4)], axis=None) ; F([X(2, 3), X(2, 2)]) ; F([]) ; F([X()]) ; F([X(2, 3)], 2) ; F((X(0, 3), X(2, 3)))
stack | all | exact | F([X(2, 3), Y(2, 3)]) ; F([X(2, 3), X(3, 2).T], axis=-1) ; F([X(), Y()]) ; F([X(2), T("float32", 2)], 1) ; F([X(2), X(3)]) ; F([]) ; F([X(2)], axis=2)
split array.split | all | exact | F(X(6), 2) ; F(X(2, 6), 3, axis=1) ; F(X(6, 2).T, [1, 4], axis=1) ; F(X(8)[::-2], [2]) ; F(X(5), 2) ; F(X(6), [4, 2]) ; F(X(6), 2, 1) ; F(X(6), [0, 6, 9])
meshgrid | all | exact | F(X(2), Y(3)) ; F(X(2), Y(3), indexing="ij") ; F(X(2), Y(3), X(1), sparse=True) ; F(X(4)) ; F(X(2), Y(3), indexing="a") ; F(X(8)[::-2], X(3))
repeat | all | exact | F(X(2, 3), 2) ; F(X(2, 3), 3, axis=0) ; F(X(3, 2).T, 2, 1) ; F(X(2), 0) ; F(X(), 3) ; F(X(2), 2, axis=1) ; F(X(2), -1)
tile | all | exact | F(X(2, 3), 2) ; F(X(2, 3), (2, 1)) ; F(X(3, 2).T, (2, 1, 2)) ; F(X(), (2,)) ; F(X(2), ())
roll | all | exact | F(X(4), 1) ; F(X(2, 3), -2) ; F(X(2, 3), 1, 0) ; F(X(3, 2).T, (1, 2), (0, 1)) ; F(X(2, 3), 5, 1) ; F(X(2), 1, 1) ; F(X(2, 3), (1, 2), 0)
pad | all | exact | F(X(4), 1) ; F(X(2, 3), (1, 2)) ; F(X(3, 2).T, [(1, 0), (0, 2)], constant_values=3) ; F(X(2, 3), 1, "edge") ; F(X(4), 2, mode="reflect") ; F(X(4), 2, mode="symmetric") ; F(X(2), 1, "a") ; F(X(2), -1) ; F(X(), 1)
as_strided | all | exact | F(X(6), (2, 2), (3, 1)) ; F(X(6), (3, 2), (1, 2), 1) ; F(X(2, 3), (4,)) ; F(X(6), (3, 3), (1, 1))
astype array.astype | all | exact | F(X(4), mx.float32) ; F(X(3, 2).T, mx.bfloat16) ; F(X(4), mx.bool_) ; F(P(4), mx.uint8) ; F(X(4), mx.int32) ; F(X(2, 3), mx.complex64) ; F(X(2, 3), mx.float16) ; F(X(4), D) ; F(P(4), mx.int64) ; F(S(), mx.float32)
view array.view | all | exact | F(X(4), mx.uint8) ; F(X(2, 8), mx.uint16) ; F(X(2, 8), mx.int32) ; F(X(4, 8).T, mx.uint8) ; F(X(8), mx.uint64) ; F(X(2, 8), mx.bool_) ; F(X(3), mx.uint64) ; F(X(), mx.uint64)
contiguous | all | exact | F(X(3, 2).T) ; F(X(3, 2).T, True) ; F(X(4, 3)[::-2]) ; F(X())
diag array.diag | all | exact | F(X(4)) ; F(X(2, 3)) ; F(X(2), 1) ; F(X(3, 2).T, -1) ; F(X(2), k=-2) ; F(X()) ; F(X(2, 3, 1))
diagonal array.diagonal | all | exact | F(X(2, 3)) ; F(X(3, 2).T, 1) ; F(X(3, 4, 5), 0, 1, 2) ; F(X(3, 4, 5), offset=-1, axis1=2, axis2=0) ; F(X(4)) ; F(X(2, 3), 0, 0, 0) ; F(X(2, 3), 5)
trace | all | sums | F(X(2, 3)) ; F(X(3, 2).T, 1) ; F(X(3, 4, 5), 0, 1, 2) ; F(X(3, 3), dtype=mx.float32) ; F(X(3, 3), -1, dtype=D) ; F(X(4))
tril triu | all | exact | F(X(3, 3)) ; F(X(3, 2).T, 1) ; F(X(3, 4, 5), -1) ; F(X(4, 3)[::-2], k=2) ; F(X(4)) ; F(X())
take | all | exact | F(X(4), I(4, 3)) ; F(X(2, 3), I(6, 2, 2)) ; F(X(2, 3), I(3, 2), axis=1) ; F(X(3, 2).T, I(2, 5), 0) ; F(X(4), 2) ; F(X(4), -1) ; F(X(2, 3), -1, axis=0) ; F(X(4), I(4, 3) - 4) ; F(X(4, 3)[::-2], I(3, 2), axis=-1) ; F(X(2), I(2, 2), axis=1) ; F(X(4), T("float32", 2)) ; F(X(4), I(4, 0))
take_along_axis | all | exact | F(X(2, 3), I(3, 2, 2), axis=1) ; F(X(2, 3), I(2, 4, 3), axis=0) ; F(X(3, 2).T, I(3, 2, 2)) ; F(X(2, 3), I(6, 4), axis=None) ; F(X(2, 3), I(3, 2), axis=0) ; F(X(2, 3), T("float32", 2, 3), axis=0)
put_along_axis | all | exact | F(X(2, 3), I(1, 2, 1), X(2, 1), axis=1) ; F(X(3, 2).T, I(1, 1, 3), Y(1, 3), axis=0) ; F(X(4), I(1, 1), Y(1)) ; F(X(4), I(1, 1), T("float32", 1), axis=0) ; F(X(2, 3), I(1, 2, 1), X(3), axis=5)
slice | all | exact | F(X(4, 5), mx.array([1, 2]), (0, 1), (2, 3)) ; F(X(5, 4).T, mx.array([1]), (1,), (4, 2)) ; F(X(4), mx.array(1), (0,), (2,)) ; F(X(4), mx.array([1, 2]), (0,), (2,)) ; F(X(4), mx.array([1]), (0,), (5,)) ; F(X(4, 5), mx.array([1]), [0], [2, 5])
slice_update | all | exact | F(X(4, 5), Y(2, 3), mx.array([1, 2]), (0, 1)) ; F(X(5, 4).T, Y(4, 2), mx.array([1]), (1,)) ; F(X(4), Y(2), mx.array([1, 2]), (0,)) ; F(X(4), T("float32", 2), mx.array([1]), (0,)) ; F(X(4), Y(5), mx.array([0]), (0,))
kron | all | near | F(X(2), Y(3)) ; F(X(2, 3), Y(3, 2)) ; F(X(3, 2).T, Y(2)) ; F(X(), Y(2)) ; F(X(2), T("float32", 2))
depends | all | exact | F(X(2), Y(3)) ; F([X(2), X(2, 3)], [Y(2)]) ; F((X(2),), Y(2))
array.__getitem__ | all | exact | F(X(4), 1) ; F(X(2, 3), (1, -1)) ; F(X(3, 2).T, Ellipsis) ; F(X(4), None) ; F(X(8), cut(6, 0, -2)) ; F(X(2, 3), (cut(None), cut(None, None, -1))) ; F(X(4, 3), I(4, 2)) ; F(X(4, 3), (I(4, 2), I(3, 2))) ; F(X(4, 3), (cut(1, 3), I(3, 2))) ; F(X(4), 1.0) ; F(X(4, 3), (0, 0, 0)) ; F(X(4), 'a') ; F(X(), 0) ; F(X(4), cut(3, 1))
array.__setitem__ array.at | all | exact | F(X(4), 1, 2) ; F(X(2, 3), (1, -1), Y()) ; F(X(3, 2).T, Ellipsis, Y(3)) ; F(X(8), cut(6, 0, -2), Y(3)) ; F(X(4, 3), I(1, 1), Y(3)) ; F(X(4, 3), (cut(1, 3), 0), T("float32", 2)) ; F(X(4), cut(1, 3), Y(3)) ; F(X(4), 'a', 1) ; F(X(4, 3), (cut(None), 1), Y(4))
array.__len__ array.__iter__ | all | exact | F(X(4)) ; F(X(2, 3)) ; F(X(3, 2).T) ; F(X())
array.__bool__ array.__int__ array.__float__ array.__complex__ array.__index__ array.item | all | near | F(Y()) ; F(Y(1)) ; F(Y(1, 1)) ; F(X(2)) ; F(X()) ; F(X(4)[1])
array.tolist | all | near | F(X()) ; F(X(4)) ; F(X(3, 2).T) ; F(X(4, 3)[::-2]) ; F(X(3, 1, 5)) ; F(X(0, 3))
array.shape array.ndim array.size array.itemsize array.nbytes array.dtype | all | exact | F(X()) ; F(X(4)) ; F(X(3, 2).T) ; F(X(0, 3))
array.__repr__ array.__str__ | all | exact | F(X()) ; F(X(4)) ; F(X(3, 2).T) ; F(S()) ; F(X(2000)) ; F(X(3, 1, 5)) ; F(X(0, 3))
array.__copy__ array.__deepcopy__ array.__reduce__ | all | exact | F(X()) ; F(X(4)) ; F(X(3, 2).T) ; F(X(4, 3)[::-2])
array.__format__ | all | exact | F(Y(), '') ; F(X(4), '') ; F(X(4), '.2f')

array asarray | all | exact | F([1, 0, 1], dtype=D) ; F(1, dtype=D) ; F([[1.5, 0], [2, 1]], dtype=D) ; F(X(3, 2).T) ; F(X(4), dtype=mx.float32) ; F([X(3), Y(3)]) ; F(True) ; F([1, 2.5]) ; F([1j, 2]) ; F([]) ; F([[1, 2], [3]]) ; F("a") ; F((1, 2)) ; F(2**40)
asarray | all | exact | F(X(3), copy=True) ; F(X(3, 2).T, dtype=D)
arange | real | near | F(5, dtype=D) ; F(1, 9, 3, dtype=D) ; F(9, 1, -2, dtype=D) ; F(0, 5, 2, dtype=D)
arange | none | near | F(5) ; F(5.0) ; F(1, 5) ; F(0.5, 4, 0.75) ; F(5, 0, -1) ; F(5, 1) ; F(stop=3) ; F(0, 1, 0) ; F("a") ; F(-3) ; F(0, 0.35, 0.1)
linspace | numeric | near | F(0, 1, 5, dtype=D) ; F(-2.5, 4, 8, dtype=D) ; F(3, 3, 2, dtype=D) ; F(1, 0, 1, dtype=D) ; F(0, 1, num=4, endpoint=False, dtype=D)
linspace | none | near | F(0, 1) ; F(0, 1, 0) ; F(0, 10, 7, dtype=mx.int32) ; F(0, 1, -1) ; F(0, 1, 3, False)
zeros ones | all | exact | F((2, 3), dtype=D) ; F(4, D) ; F((), dtype=D) ; F((0, 3), D) ; F([2, 1], dtype=D) ; F(-1, D) ; F(2.5) ; F((2, -1))
zeros_like ones_like | all | exact | F(X(2, 3)) ; F(X(3, 2).T) ; F(X()) ; F(X(4), dtype=mx.int32) ; F(X(0, 3)) ; F(3)
empty empty_like | all | shape | F(X(2, 3).shape) if F is getattr(mx, 'empty') else F(X(2, 3))
full | all | exact | F((2, 3), 2, dtype=D) ; F(4, X()) ; F((2, 3), X(3)) ; F((), 1.5, D) ; F((2, 3), 2.5) ; F((2,), True) ; F((2, 3), X(2)) ; F((2, 3), X(3), mx.float32) ; F((2,), 1j)
full_like | all | exact | F(X(2, 3), 2) ; F(X(3, 2).T, 1.5) ; F(X(), Y()) ; F(X(2, 3), Y(3)) ; F(X(4), 2, dtype=mx.int32) ; F(X(4), Y(3))
eye | all | exact | F(3, dtype=D) ; F(3, 4, 1, D) ; F(2, 3, k=-1, dtype=D) ; F(0) ; F(-1) ; F(2, 2, 5)
tri | all | exact | F(3, dtype=D) ; F(3, 4, 1, D) ; F(2, 3, k=-1, dtype=D) ; F(3)
identity | all | exact | F(3, dtype=D) ; F(0, D) ; F(2)
hamming hanning blackman bartlett | none | near | F(5) ; F(1) ; F(0) ; F(8) ; F(-1) ; F(2.5)
from_dlpack | all | exact | F(np.arange(6, dtype=np.float32).reshape(2, 3).T) ; F(np.zeros(3, np.int8)) ; F(3)
to_fp8 | all | exact | F(X(4)) ; F(X(3, 2).T) ; F(P(2, 3) * 100) ; F(X(4) * 0.01)
from_fp8 | none | exact | F(mx.arange(0, 250, 3).astype(mx.uint8), D) ; F(mx.arange(9).astype(mx.uint8)) ; F(mx.arange(9).astype(mx.uint8), dtype=mx.float16) ; F(X(3))

matmul | all | sums | F(X(2, 3), Y(3, 4)) ; F(X(3), Y(3)) ; F(X(2, 3), Y(3)) ; F(X(3), Y(3, 4)) ; F(X(3, 2).T, Y(4, 3).T) ; F(X(2, 1, 2, 3), Y(5, 3, 2)) ; F(X(4, 3)[::-2], Y(3, 8)[:, ::2]) ; F(X(2, 3), Y(2, 3)) ; F(X(), Y(2)) ; F(X(2, 3), T("float32", 3, 2)) ; F(X(2, 3), T("int32", 3, 2)) ; F(X(0, 3), Y(3, 2))
addmm | all | sums | F(X(2, 4), X(2, 3), Y(3, 4)) ; F(X(4), X(2, 3), Y(3, 4), alpha=2.0, beta=0.5) ; F(X(), X(3, 2).T, Y(4, 3).T) ; F(X(2), X(2, 3), Y(3)) ; F(X(3), X(2, 3), Y(3, 4)) ; F(X(4), X(2, 3), T("float32", 3, 4))
inner | all | sums | F(X(3), Y(3)) ; F(X(2, 3), Y(4, 3)) ; F(X(3, 2).T, Y(3)) ; F(X(), Y(2)) ; F(X(2), Y(3))
outer | all | near | F(X(2), Y(3)) ; F(X(2, 3), Y(2)) ; F(X(), Y(2)) ; F(X(8)[::-2], Y(3, 2).T)
vecdot | all | sums | F(X(2, 3), Y(2, 3)) ; F(X(2, 3), Y(3)) ; F(X(3, 2), Y(3, 2), axis=0) ; F(X(3, 2).T, Y(2, 3)) ; F(X(2), Y(3)) ; F(X(2, 3), Y(2, 3), axis=2)
tensordot | all | sums | F(X(2, 3), Y(3, 4), 1) ; F(X(2, 3), Y(2, 3)) ; F(X(2, 3), Y(4, 2), axes=[[0], [1]]) ; F(X(3, 2).T, Y(3, 2), axes=[[0, 1], [1, 0]]) ; F(X(2), Y(3), 0) ; F(X(2, 3), Y(2, 4), 1)
einsum | all | sums | F("ij,jk->ik", X(2, 3), Y(3, 4)) ; F("ij->ji", X(2, 3)) ; F("ii->i", X(3, 3)) ; F("ij,ij->", X(2, 3), Y(2, 3)) ; F("ij,j", X(3, 2).T, Y(3)) ; F("i,j,k->kji", X(2), Y(3), X(2)) ; F("...i,i->...", X(2, 2, 3), Y(3)) ; F("ij->k", X(2, 3)) ; F("ij,jk", X(2, 3), Y(2, 3))
einsum_path | none | exact | F("ij,jk,kl->il", X(2, 3), X(3, 4), X(4, 2)) ; F("ij,jk", X(2, 3), X(3, 2)) ; F("i,i->", X(3), X(2))
block_masked_mm | solvable | sums | F(X(32, 64), Y(64, 32), 32) ; F(X(32, 64), Y(64, 32), 32, B(1, 1), B(1, 2), B(2, 1)) ; F(X(40, 40), Y(40, 40), 32, None, P(2, 2), P(2, 2)) ; F(X(2, 3), Y(3, 2), 7)
gather_mm | float | sums | F(X(3, 2, 4), Y(2, 4, 3), I(3, 5), I(2, 5)) ; F(X(3, 2, 4), Y(2, 4, 3), rhs_indices=I(2, 3)) ; F(X(2, 3, 4), Y(2, 4, 2))
segmented_mm | solvable | sums | F(X(4, 6), Y(6, 3), mx.array([[0, 2], [2, 6]])) ; F(X(6, 4).T, Y(6, 3), mx.array([[0, 0], [1, 5]])) ; F(X(4, 6), Y(5, 3), mx.array([[0, 2]]))
hadamard_transform | all | sums | F(X(4)) ; F(X(2, 8)) ; F(X(3, 12), 1.0) ; F(X(4, 2).T, scale=0.5) ; F(X(3)) ; F(X())
convolve | all | sums | F(X(8), Y(3)) ; F(X(3), Y(8), mode="same") ; F(X(8)[::-1], Y(4), "valid") ; F(X(2, 3), Y(2)) ; F(X(3), Y(2), "a")
conv1d | all | sums | F(X(2, 8, 2), Y(3, 3, 2)) ; F(X(2, 8, 2), Y(4, 3, 1), stride=2, padding=1, groups=2) ; F(X(2, 8, 2), Y(3, 2, 2), 1, 2, 2) ; F(X(8, 2, 2).swapaxes(0, 1), Y(3, 3, 2)) ; F(X(2, 8, 2), Y(3, 3, 3)) ; F(X(2, 8), Y(3, 3))
conv2d | float | sums | F(X(1, 5, 6, 2), Y(3, 2, 3, 2)) ; F(X(1, 5, 6, 2), Y(2, 2, 2, 1), (2, 1), (1, 0), groups=2) ; F(X(1, 6, 5, 2).swapaxes(1, 2), Y(3, 3, 3, 2), padding=1, dilation=2) ; F(X(1, 5, 6, 2), Y(3, 2, 3, 1))
conv3d | float | sums | F(X(1, 3, 4, 3, 2), Y(2, 2, 2, 2, 2)) ; F(X(1, 3, 4, 3, 2), Y(2, 2, 2, 2, 2), stride=(1, 2, 1), padding=1) ; F(X(1, 3, 4, 3), Y(2, 2, 2, 2))
conv_transpose1d | float | sums | F(X(2, 5, 2), Y(3, 3, 2)) ; F(X(2, 5, 2), Y(3, 3, 2), stride=2, padding=1, output_padding=1) ; F(X(2, 5, 2), Y(3, 2, 2), dilation=2) ; F(X(2, 5, 2), Y(3, 3, 3))
conv_transpose2d | float | sums | F(X(1, 4, 3, 2), Y(3, 2, 3, 2)) ; F(X(1, 4, 3, 2), Y(3, 2, 2, 2), (2, 1), (1, 0), 1, (1, 0)) ; F(X(1, 4, 3, 2), Y(2, 2, 2, 3))
conv_transpose3d | float | sums | F(X(1, 2, 3, 2, 2), Y(2, 2, 2, 2, 2)) ; F(X(1, 2, 3, 2, 2), Y(2, 2, 2, 2, 2), stride=2)
conv_general | float | sums | F(X(1, 8, 2), Y(3, 3, 2)) ; F(X(1, 8, 2), Y(3, 3, 2), padding=([1], [2]), kernel_dilation=2, input_dilation=2, flip=True) ; F(X(1, 5, 6, 2), Y(3, 2, 3, 2), stride=(1, 2)) ; F(X(1, 8, 2), Y(3, 3, 3))
quantize | float | exact | F(X(4, 64)) ; F(X(2, 64), 32, 8) ; F(X(64, 4).T, group_size=64, bits=2) ; F(X(4, 64), mode="mxfp4") ; F(X(4, 64), mode="nvfp4") ; F(X(4, 64), mode="mxfp8") ; F(X(4, 60)) ; F(X(4, 64), 7) ; F(X(64))
dequantize | float | sums | F(*mx.quantize(X(4, 64))) ; F(*mx.quantize(X(2, 64), 32, 8), 32, 8) ; F(*mx.quantize(X(4, 64), mode="mxfp4"), mode="mxfp4") ; F(X(4, 8), X(4, 1))
quantized_matmul | float | sums | F(X(2, 64), *mx.quantize(Y(3, 64))) ; F(X(2, 3), *mx.quantize(Y(3, 64), 32, 8), False, 32, 8) ; F(X(64, 2).T, *mx.quantize(Y(3, 64), mode="mxfp4"), mode="mxfp4") ; F(X(2, 32), *mx.quantize(Y(3, 64)))
gather_qmm | float | sums | F(X(3, 2, 64), *mx.quantize(Y(2, 4, 64)), None, I(2, 3)) ; F(X(3, 2, 64), *mx.quantize(Y(2, 4, 64)), I(3, 4), I(2, 4)) ; F(X(2, 64), *mx.quantize(Y(2, 4, 32)))
qqmm | single | sums | F(X(2, 64), *mx.quantize(Y(3, 64), mode="nvfp4")) ; F(X(2, 64), Y(3, 64), mode="mxfp8") ; F(X(2, 64), Y(3, 60))
gather_qqmm | single | sums | F(X(3, 2, 64), *mx.quantize(Y(2, 4, 64), mode="nvfp4"), None, I(2, 3))

broadcast_shapes | none | exact | F((2, 3), (3,)) ; F((2, 1), (1, 3), ()) ; F((2,), (3,)) ; F()
issubdtype | all | exact | F(D, mx.floating) ; F(D, mx.integer) ; F(D, mx.signedinteger) ; F(D, mx.inexact) ; F(D, D) ; F(mx.float32, D) ; F(D, mx.complexfloating) ; F(3, D)
isdtype | all | exact | F(D, "integral") ; F(D, ("bool", "real floating")) ; F(D, "numeric") ; F(D, "signed integer") ; F(D, "unsigned integer") ; F(D, "complex floating") ; F(D, D) ; F(D, "a")
result_type | all | exact | F(D) ; F(D, mx.int32) ; F(X(2), mx.float16) ; F(D, mx.uint8, X()) ; F(D, mx.int64) ; F(D, mx.bool_) ; F(D, mx.uint64) ; F(D, mx.complex64)
can_cast | all | exact | F(D, mx.int32) ; F(D, mx.float32) ; F(X(2), mx.float16) ; F(mx.int8, D) ; F(D, mx.complex64) ; F(mx.bool_, D)
finfo | all | exact | F(D).min ; F(D).max ; F(D).eps ; F(D).dtype
iinfo | all | exact | F(D).min ; F(D).max ; F(D).dtype

fast.rms_norm | float | near | F(X(2, 3), Y(3), 1e-5) ; F(X(3, 2).T, None, 1e-3) ; F(X(3, 1, 5), Y(5), 1e-5) ; F(X(2, 3), Y(4), 1e-5) ; F(X(2, 3), T("float32", 3), 1e-5)
fast.layer_norm | float | near | F(X(2, 3), Y(3), X(3), 1e-5) ; F(X(3, 2).T, None, None, 1e-3) ; F(X(3, 1, 5), Y(5), None, 1e-5) ; F(X(2, 3), Y(4), None, 1e-5)
fast.cross_entropy | float | near | F(X(2, 3), I(3, 2)) ; F(X(3, 2).T, I(3, 2)) ; F(X(2, 2, 5), I(5, 2, 2)) ; F(X(2, 3), I(3, 3))
fast.rope | float | near | F(X(1, 2, 4, 8), 8, traditional=False, base=10000.0, scale=1.0, offset=0) ; F(X(1, 2, 4, 8), 4, traditional=True, base=100.0, scale=0.5, offset=3) ; F(X(1, 4, 2, 8).swapaxes(1, 2), 8, traditional=False, base=None, scale=1.0, offset=mx.array(2), freqs=T("float32", 4)) ; F(X(2, 4, 8), 8, traditional=False, base=10000.0, scale=1.0, offset=1) ; F(X(4), 4, traditional=False, base=1.0, scale=1.0, offset=0)
fast.scaled_dot_product_attention | float | sums | F(X(1, 2, 4, 8), Y(1, 2, 4, 8), P(1, 2, 4, 8), scale=0.3) ; F(X(1, 4, 3, 8), Y(1, 2, 5, 8), P(1, 2, 5, 8), scale=0.3, mask="causal") ; F(X(1, 2, 4, 8), Y(1, 2, 4, 8), P(1, 2, 4, 8), scale=0.3, mask=B(4, 4)) ; F(X(1, 2, 4, 8), Y(1, 2, 4, 8), P(1, 2, 4, 8), scale=0.3, mask=X(1, 1, 4, 4), sinks=X(2)) ; F(X(1, 2, 4, 8), Y(1, 2, 4, 6), P(1, 2, 4, 8), scale=0.3) ; F(X(2, 4, 8), Y(2, 4, 8), X(2, 4, 8), scale=1.0)
random.key | none | exact | F(0) ; F(2**40 + 3) ; F(-1) ; F("a")
random.split | none | exact | F(K()) ; F(K(), 5) ; F(X(2))
random.uniform | all | near | F(0, 1, (2, 3), D, K()) ; F(shape=(4,), dtype=D, key=K()) ; F(T("float32", 3), 9, (2, 3), D, key=K())
random.normal | all | near | F((2, 3), D, key=K()) ; F((4,), D, 1.0, 2.0, K()) ; F(dtype=D, key=K())
random.randint | all | exact | F(0, 9, (2, 3), D, K()) ; F(1, T("int32", 3), (2, 3), D, key=K()) ; F(0, 5, dtype=D, key=K())
random.bernoulli | single | exact | F(key=K()) ; F(0.3, (2, 3), K()) ; F(U(2, 3), key=K()) ; F(U(3), (2, 3), K()) ; F(U(3), (2,), K())
random.truncated_normal | float | near | F(-1.0, 1.0, (2, 3), D, K()) ; F(T("float32", 3) - 9, 9.0, dtype=D, key=K())
random.gumbel | float | near | F((2, 3), D, K()) ; F(dtype=D, key=K())
random.laplace | float | near | F((2, 3), D, key=K()) ; F((4,), D, 1.0, 2.0, K())
random.categorical | float | exact | F(X(2, 3), key=K()) ; F(X(2, 3), axis=0, key=K()) ; F(X(2, 3), num_samples=4, key=K()) ; F(X(2, 3), -1, (5, 2), key=K()) ; F(X(3, 2).T, key=K()) ; F(X(2, 3), shape=(2,), num_samples=2, key=K())
random.permutation | all | exact | F(X(4), key=K()) ; F(X(3, 2).T, key=K()) ; F(X(2, 3), 1, K()) ; F(7, key=K())
random.multivariate_normal | single | loose | F(X(2), E(2), (5,), key=K()) ; F(X(3, 2), E(2), (4, 3), key=K()) ; F(X(3), E(2), key=K())

linalg.norm | all | sums | F(X(4)) ; F(X(2, 3)) ; F(X(2, 3), axis=1) ; F(X(3, 2).T, 1, axis=0, keepdims=True) ; F(X(2, 3), "fro") ; F(X(2, 3), float("inf")) ; F(X(4), 3) ; F(X(4), 0) ; F(X(2, 3), 1) ; F(X(2, 3), "nuc") ; F(X(2, 3), 2) ; F(X(4), "fro") ; F(X(2, 3), 3)
matrix_norm | solvable | sums | F(X(2, 3)) ; F(X(3, 2).T, ord=1) ; F(X(2, 3), keepdims=True) ; F(X(3, 4, 5), ord=float("inf")) ; F(X(2, 3), ord="nuc") ; F(X(4))
linalg.cross | all | near | F(X(3), Y(3)) ; F(X(2, 3), Y(3)) ; F(X(3, 2), Y(3, 2), axis=0) ; F(X(2), Y(2)) ; F(X(3, 2).T, Y(2, 3)) ; F(X(4), Y(4))
linalg.inv linalg.det linalg.slogdet linalg.pinv | all | loose | matrix
linalg.lu linalg.lu_factor | all | loose | matrix
linalg.qr | all | signs | matrix
linalg.eigvalsh | all | loose | matrix
linalg.eigh linalg.eig linalg.eigvals | all | signs | matrix
linalg.svd | all | signs | F(E(3)) ; F(X(2, 3)) ; F(X(3, 2).T, compute_uv=False) ; F(X(3, 2), False) ; F(mx.stack([E(2), E(2) * 2]), compute_uv=False) ; F(X(4))
linalg.cholesky linalg.cholesky_inv linalg.tri_inv | all | loose | triangle
linalg.solve | all | loose | F(E(3), X(3)) ; F(E(3), X(3, 2)) ; F(E(6)[::2, ::2], X(2, 3).T) ; F(mx.stack([E(2), E(2) * 2]), X(2, 2, 1)) ; F(E(3), X(2)) ; F(X(2, 3), X(2))
linalg.solve_triangular | all | loose | F(mx.tril(E(3)), X(3)) ; F(mx.triu(E(3)), X(3, 2), upper=True) ; F(mx.tril(E(6)[::2, ::2]), X(2, 3).T) ; F(X(2, 3), X(2))

fft.fft fft.ifft fft.rfft fft.irfft | all | sums | dft
fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2 fft.fftn fft.ifftn fft.rfftn fft.irfftn | all | sums | dftn
fft.fftshift fft.ifftshift | all | exact | F(X(4)) ; F(X(2, 3)) ; F(X(3, 2).T, axes=0) ; F(X(2, 3), (0, 1)) ; F(X(8)[::-2], [0]) ; F(X(2), 1)
fft.fftfreq fft.rfftfreq | none | near | F(5) ; F(8, 0.5) ; F(1, d=2.0) ; F(0)
fft.stft | single | sums | F(X(64), 16) ; F(X(2, 64), n_fft=16, hop_length=4) ; F(X(64), 16, 8, 12, center=False) ; F(X(64), 16, window=P(16), onesided=False) ; F(X(4), 16)
fft.istft | single | sums | F(mx.fft.stft(X(64), 16), 16) ; F(mx.fft.stft(X(64), 16, 4), 16, 4, length=50)
"""

# Functions whose results are no numbers to compare, by the file of this repository that tests them.
ELSEWHERE = {
    "tests/core/test_io.py": "load save savez savez_compressed save_safetensors",
    "tests/core/test_files_gguf.py": "save_gguf",
    "tests/core/test_export.py": "export_function import_function exporter export_to_dot FunctionExporter",
    "tests/transforms/test_grad.py": "grad value_and_grad vjp",
    "tests/transforms/test_jvp.py": "jvp",
    "tests/transforms/test_vmap.py": "vmap",
    "tests/transforms/test_compile.py": "compile disable_compile enable_compile",
    "tests/transforms/test_custom.py": "checkpoint custom_function",
    "tests/core/test_streams.py": "Device DeviceType Stream StreamContext ThreadLocalStream default_device default_stream "
    "set_default_device set_default_stream new_stream new_thread_local_stream new_thread_unsafe_stream stream "
    "synchronize clear_streams is_available device_count device_info",
    "tests/core/test_memory.py": "clear_cache get_active_memory get_array_buffer_size get_cache_memory get_memory_limit "
    "get_peak_memory reset_peak_memory set_cache_limit set_memory_limit set_wired_limit",
    "tests/core/test_array.py": "set_printoptions get_printoptions printoptions PrintOptions eval async_eval "
    "ArrayAt ArrayIterator array.__array__ array.__dlpack__ array.__dlpack_device__",
    "tests/core/test_array_api.py": "array.__array_namespace__",
    "tests/core/test_dtypes.py": "Dtype DtypeCategory",
    "tests/core/test_random.py": "random.seed",
    "tests/core/test_delta.py": "fast.gated_delta_update",
    "tests/core/test_names.py": "ArrayLike fast.metal_kernel fast.cuda_kernel fast.precompiled_cuda_kernel array.__div__ "
    "array.__rdiv__ array.__setstate__ array.__init__ array.__hash__ array.__bytes__ array.__getstate__",
}


class Entry(NamedTuple):
    """One line of the table for one function."""

    name: str
    dtypes: tuple[str, ...]
    tolerance: str
    calls: tuple[str, ...]


def entries() -> list[Entry]:
    """The table's lines, one for each function that they name."""
    result = []
    for line in TABLE.strip().splitlines():
        if line:
            names, group, tolerance, calls = line.split(" | ")
            listed = KINDS.get(calls) or tuple(calls.split(" ; "))
            result += [Entry(name, GROUPS[group], tolerance, listed) for name in names.split()]
    return result
