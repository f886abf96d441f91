"""Typical mistakes raise errors of the types that MLX raises, in one line of our form.

Every call of the table is right. Each of its arguments is replaced by wrong ones in turn; where MLX raises, so must we.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import mlx.core
import numpy as np
import pytest

import arrax.core

# Functions, and a call that works for each of them.
CALLS = """
abs arccos arccosh arcsin arcsinh arctan arctanh ceil conj cos cosh degrees erf erfinv exp expm1 floor imag | X(2,3)
isfinite isinf isnan isneginf isposinf log log1p log2 log10 logical_not negative radians real reciprocal | X(2,3)
round rsqrt sigmoid sign sin sinh sqrt square stop_gradient tan tanh trunc nan_to_num zeros_like ones_like | X(2,3)
bitwise_invert positive atleast_1d atleast_2d atleast_3d matrix_transpose | X(2,3)
add arctan2 divide divmod equal floor_divide greater greater_equal less less_equal logaddexp | X(2,3), X(2,3)
logical_and logical_or logical_xor maximum minimum multiply not_equal power remainder subtract | X(2,3), X(2,3)
isclose allclose array_equal | X(2,3), X(2,3)
bitwise_and bitwise_or bitwise_xor left_shift right_shift | I(2,3), I(2,3)
all any argmax argmin max mean min prod sum std var logsumexp median minmax | X(2,3), axis=1, keepdims=True
count_nonzero | X(2,3), axis=1, keepdims=True
softmax sort argsort flip unstack | X(2,3), axis=1
cummax cummin cumprod cumsum logcumsumexp | X(2,3), axis=1, reverse=False, inclusive=True
partition argpartition topk | X(2,3), 1, axis=1
expand_dims | X(2,3), 1
squeeze | X(2,1,3), axis=1
arange | 0, 5, 1, dtype=mx.int32
linspace | 0.0, 1.0, 5, dtype=mx.float32
zeros ones | (2,3), dtype=mx.float32
full | (2,3), 1.5, dtype=mx.float32
eye tri | 3, 4, k=1, dtype=mx.float32
identity | 3, dtype=mx.float32
tril triu | X(3,3), k=1
diag | X(3), k=1
diagonal | X(2,3), offset=0, axis1=0, axis2=1
trace | X(3,3), offset=0, axis1=0, axis2=1
hamming hanning blackman bartlett | 5
array asarray | [1.0,2.0], dtype=mx.float32
as_strided | X(6), shape=(2,2), strides=(2,1), offset=0
broadcast_to | X(3), (2,3)
broadcast_arrays inner | X(2,3), X(3)
broadcast_shapes | (2,3), (3,)
concatenate stack | [X(2,3),X(2,3)], axis=1
meshgrid | X(3), X(2), indexing="xy", sparse=False
split | X(4,6), 3, axis=1
moveaxis swapaxes | X(2,3), 0, 1
transpose permute_dims | X(2,3), axes=(1,0)
reshape | X(2,3), (3,2)
flatten | X(2,3,4), start_axis=1, end_axis=2
unflatten | X(2,6), 1, (2,3)
repeat | X(2,3), 2, axis=1
tile | X(2,3), (2,1)
roll | X(2,3), 1, 1
pad | X(2,3), ((1,1),(0,2)), mode="constant", constant_values=0
view | X(2,4), mx.int16
depends | [X(2)], [X(2)]
take | X(2,3), I(2), axis=1
take_along_axis | X(2,3), I(2,1), axis=1
put_along_axis | X(2,3), I(2,1), X(2,1), axis=1
slice | X(2,3), I(1), (0,), (1,3)
where | B(2,3), X(2,3), X(3)
clip | X(2,3), 0.0, 1.0
diff | X(2,3), n=1, axis=1
searchsorted | X(4), X(2), side="left"
unique | I(4), size=3
matmul | X(2,3), X(3,4)
addmm | X(4), X(2,3), X(3,4), alpha=1.0, beta=1.0
outer | X(2), X(3)
kron | X(2,2), X(2,2)
tensordot | X(2,3), X(3,4), axes=1
vecdot | X(2,3), X(2,3), axis=-1
einsum einsum_path | "ij,jk->ik", X(2,3), X(3,4)
conv1d | X(1,8,2), X(3,3,2), stride=1, padding=0, dilation=1, groups=1
conv2d conv_transpose2d | X(1,8,8,2), X(3,3,3,2), stride=1, padding=0, dilation=1, groups=1
conv3d | X(1,4,4,4,2), X(3,3,3,3,2), stride=1, padding=0, dilation=1, groups=1
conv_transpose1d | X(1,8,2), X(3,3,2), stride=1, padding=0, dilation=1, output_padding=0, groups=1
conv_general | X(1,8,2), X(3,3,2), stride=1, padding=0, kernel_dilation=1, input_dilation=1, groups=1, flip=False
convolve | X(8), X(3), mode="full"
quantize | X(4,64), group_size=64, bits=4, mode="affine"
dequantize | *Q(4,64), group_size=64, bits=4, mode="affine"
quantized_matmul | X(2,64), *Q(4,64), transpose=True, group_size=64, bits=4
gather_qmm | X(1,2,64), *Q(2,4,64), rhs_indices=I(1), group_size=64, bits=4
to_fp8 | X(4)
from_fp8 | X(4).astype(mx.uint8), dtype=mx.float32
block_masked_mm | X(32,32), X(32,32), 32, B(1,1)
gather_mm | X(2,2,3), X(2,3,2), I(1), I(1)
segmented_mm | X(2,4), X(4,3), I(1,2)
hadamard_transform | X(2,4), 1.0
astype | X(2,3), mx.int32
isdtype | mx.float32, "numeric"
issubdtype | mx.float32, mx.floating
result_type | X(2), mx.float32
can_cast | mx.int8, mx.int16
finfo | mx.float32
iinfo | mx.int8
default_stream stream new_stream is_available device_count device_info | mx.cpu
Device | mx.cpu, 0
linalg.cholesky linalg.cholesky_inv linalg.tri_inv | E(3), upper=False
linalg.inv linalg.eig linalg.eigvals linalg.lu linalg.lu_factor linalg.pinv linalg.qr linalg.det | E(3)
linalg.slogdet | E(3)
linalg.eigh linalg.eigvalsh | E(3), UPLO="L"
linalg.svd | E(3), compute_uv=True
linalg.solve | E(3), X(3)
linalg.solve_triangular | E(3), X(3), upper=True
linalg.norm | X(2,3), ord=2, axis=1, keepdims=False
linalg.cross | X(3), X(3), axis=-1
fft.fft fft.ifft fft.rfft fft.irfft | X(4,8), n=8, axis=1, norm="ortho"
fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2 fft.fftn fft.ifftn fft.rfftn fft.irfftn | X(4,8), s=(4,8), axes=(0,1)
fft.fftshift fft.ifftshift | X(4,8), axes=(0,1)
fft.fftfreq fft.rfftfreq | 8, d=1.0
random.bernoulli | 0.5, shape=(2,), key=K()
random.categorical | X(2,3), axis=-1, num_samples=2, key=K()
random.gumbel | shape=(2,), dtype=mx.float32, key=K()
random.laplace random.normal | (2,), dtype=mx.float32, loc=0.0, scale=1.0, key=K()
random.multivariate_normal | X(2), E(2), shape=(3,), key=K()
random.permutation | X(4), axis=0, key=K()
random.randint | 0, 5, shape=(2,), dtype=mx.int32, key=K()
random.split | K(), num=2
random.truncated_normal | 0.0, 1.0, shape=(2,), key=K()
random.uniform | 0.0, 1.0, shape=(2,), dtype=mx.float32, key=K()
fast.rms_norm | X(2,3), X(3), 1e-5
fast.layer_norm | X(2,3), X(3), X(3), 1e-5
fast.rope | X(1,2,4,8), 8, traditional=False, base=10000.0, scale=1.0, offset=0
fast.scaled_dot_product_attention | X(1,2,4,8), X(1,2,4,8), X(1,2,4,8), scale=0.3, mask=None
fast.cross_entropy | X(2,3), I(2)
distributed.all_sum distributed.all_gather distributed.all_max distributed.all_min distributed.sum_scatter | X(2)
from_dlpack | np.zeros(3)
"""

ARRAYS = ("'a'", "None", "{}", "X(7, 5)", "X(2, 2, 2)", "I(2, 3)", "C(2, 3)")
WORDS = ("'nonsense'", "3")
PLAIN = ("'a'", "None", "1.5", "9", "-9", "(0, 9)", "object()")
EXTRA = (
    "stream='a'",
    "stream=3",
    "stream=mx.gpu",
    "dtype='float32'",
    "dtype=np.float32",
    "axis=9",
    "axis='a'",
    "nonsense=1",
)
# How Python itself says that a call does not fit the signature.
CALL = re.compile(r"missing \d+ required|unexpected keyword|takes .* positional|multiple values|positional-only")

# MLX's messages where nothing looked at the argument before it was used, whose type says nothing.
ACCIDENTS = ("std::bad_cast", "SmallVector out of range.")
# Mistakes (their beginning) for which the types differ, and why.
DIFFERENT: dict[str, str] = {
    "mx.expm1(C(": "complex numbers are no mistake here",
    "mx.sigmoid(C(": "complex numbers are no mistake here",
    "mx.nan_to_num(C(": "complex numbers are no mistake here",
    "mx.linalg.lu(C(": "complex numbers are no mistake here",
    "mx.linalg.lu_factor(C(": "complex numbers are no mistake here",
    "mx.linalg.pinv(C(": "complex numbers are no mistake here",
    "mx.linalg.qr(C(": "complex numbers are no mistake here",
    "mx.arange(None": "None is what the argument is by default",
    "mx.linspace(0.0, 1.0, None": "None is what MLX's own signature allows",
    "mx.moveaxis(X(2, 3), (0, 9)": "several axes at once are no mistake here",
    "mx.moveaxis(X(2, 3), 0, (0, 9)": "several axes at once are no mistake here",
    "mx.as_strided(X(6), shape=(2, 2), strides=(2, 1), offset=-9": "MLX has no negative numbers there",
    "mx.unique(I(4), size=None": "the size may be left out",
    "mx.result_type(X(2), ": "Python scalars are no mistake here, as the array API standard wants it",
    "mx.broadcast_shapes()": "the shape of a scalar array, as the array API standard wants it",
    "mx.broadcast_shapes((2, 3)": "MLX raises ValueError for what is no shape, but TypeError everywhere else",
}


def namespace(mx: Any) -> dict[str, Any]:
    """What the calls can name: matrices of several types."""

    def maker(dtype: Any) -> Any:
        return lambda *shape: mx.array(np.random.RandomState(1).rand(*shape) + 0.1).astype(dtype)

    return {
        "mx": mx,
        "np": np,
        "X": maker(mx.float32),
        "B": maker(mx.bool_),
        "C": maker(mx.complex64),
        "I": lambda *shape: mx.ones(shape, mx.int32),
        "E": lambda n: mx.eye(n) * 2,
        "K": lambda: mx.random.key(0),
        "Q": lambda *shape: mx.quantize(maker(mx.float32)(*shape)),
    }


def calls() -> dict[str, str]:
    result = {}
    for line in CALLS.strip().splitlines():
        names, _, arguments = line.partition(" | ")
        result.update({name: arguments for name in names.split()})
    return result


def mistakes(name: str, arguments: str) -> list[str]:
    """Calls with one argument replaced or added."""
    call = ast.parse(f"f({arguments})", mode="eval").body
    assert isinstance(call, ast.Call)
    positional = [ast.unparse(a) for a in call.args]
    named = {str(k.arg): ast.unparse(k.value) for k in call.keywords}

    def write(p: list[str], n: dict[str, str], *more: str) -> str:
        return f"mx.{name}({', '.join([*p, *(f'{k}={v}' for k, v in n.items()), *more])})"

    result = [write([], {}), write([*positional, *["X(2)"] * 9], named)]
    for i, value in enumerate(positional):
        result += [write([*positional[:i], wrong, *positional[i + 1 :]], named) for wrong in wrongs(value)]
    for key, value in named.items():
        result += [write(positional, {**named, key: wrong}) for wrong in wrongs(value)]
    result += [write(positional, named, more) for more in EXTRA if more.partition("=")[0] not in named]
    return result


def wrongs(value: str) -> tuple[str, ...]:
    if value.startswith(("X", "I", "B", "E", "K", "*", "[")):
        return ARRAYS
    if value.startswith(("'", '"')):
        return WORDS
    return () if value in ("True", "False") else PLAIN  # flags are taken by their truth value, as usual in Python


OURS, ORACLE = namespace(arrax.core), namespace(mlx.core)


def outcome(mx: Any, names: dict[str, Any], expression: str) -> Exception | None:
    try:
        result = eval(expression, dict(names))
        arrays = result if isinstance(result, list | tuple) else [result]
        mx.eval([x for x in arrays if isinstance(x, mx.array)])
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("name", calls())
def test_mistakes(name: str) -> None:
    wrong = []
    for expression in mistakes(name, calls()[name]):
        theirs = outcome(mlx.core, ORACLE, expression)
        if theirs is None or any(expression.startswith(known) for known in DIFFERENT):
            continue
        ours = outcome(arrax.core, OURS, expression)
        message = str(ours)
        form = CALL.search(message) or (message.startswith("[") and "] expected " in message and "\n" not in message)
        wanted = (TypeError, ValueError) if str(theirs) in ACCIDENTS else type(theirs)
        if not isinstance(ours, wanted) or not form:
            wrong.append(f"{expression}: MLX raises {theirs!r:.120}, we {ours!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("known", DIFFERENT)
def test_what_differs_still_does(known: str) -> None:
    every = [e for name, arguments in calls().items() for e in mistakes(name, arguments) if e.startswith(known)]
    assert any(
        (theirs := outcome(mlx.core, ORACLE, e)) is not None
        and not isinstance(outcome(arrax.core, OURS, e), type(theirs))
        for e in every
    )


@pytest.mark.parametrize("operator", ["&", "|", "^", "<<", ">>", "@"])
@pytest.mark.parametrize("left", ["X(2, 3)", "I(2, 3)"])
@pytest.mark.parametrize("right", ["1.5", "X(2, 3)", "X(7, 5)", "'a'"])
def test_operators(operator: str, left: str, right: str) -> None:
    expression = f"{left} {operator} {right}"
    theirs = outcome(mlx.core, ORACLE, expression)
    assert theirs is not None
    assert isinstance(outcome(arrax.core, OURS, expression), type(theirs))
