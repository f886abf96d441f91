"""How MLX calls what primitives do: for pictures of graphs, and for programs that read exported functions.

MLX has two names for some of them: a picture tells `Sum` from `Max`, and an exported function calls both `Reduce`, with
a number for which reduction it is. Where MLX has a function but no primitive, the name is made after its manner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from arrax.graph.dtypes import Dtype, bool_

Shape = tuple[int, ...]

_SHOWN = {
    "argmax": "ArgReduce",
    "argmin": "ArgReduce",
    "arccos": "ArcCos",
    "arccosh": "ArcCosh",
    "arcsin": "ArcSin",
    "arcsinh": "ArcSinh",
    "arctan": "ArcTan",
    "arctan2": "ArcTan2",
    "arctanh": "ArcTanh",
    "argsort": "ArgSort",
    "attention": "ScaledDotProductAttention",
    "barrier": "Depends",
    "bitcast": "View",
    "bitwise_not": "BitwiseInvert",
    "cast": "AsType",
    "conj": "Conjugate",
    "cummax": "CumMax",
    "cummin": "CumMin",
    "cumprod": "CumProd",
    "cumsum": "CumSum",
    "div": "Divide",
    "eigvals": "Eig",
    "eigvalsh": "Eigh",
    "erfinv": "ErfInv",
    "fft": "FFT",
    "gcd": "GCD",
    "inv": "Inverse",
    "iota": "Arange",
    "irfft": "FFT",
    "layer_norm": "LayerNorm",
    "logaddexp": "LogAddExp",
    "logcumsumexp": "CumLogAddExp",
    "lu": "LUF",
    "modulus": "Abs",
    "mul": "Multiply",
    "neg": "Negative",
    "qr": "QRF",
    "quantized_few_rows": "QuantizedMatmul",
    "reinterpret": "View",
    "rfft": "FFT",
    "rms_norm": "RMSNorm",
    "rotate": "RoPE",
    "scatter_along": "ScatterAxis",
    "singular_values": "SVD",
    "strided_update": "SliceUpdate",
    "sub": "Subtract",
    "svd": "SVD",
    "take": "Gather",
    "take_along": "GatherAxis",
    "update_max": "Maximum",
    "update_min": "Minimum",
    "where": "Select",
}
# What an exported function calls them, and what tells them apart there.
_EXPORTED: dict[str, tuple[str, object]] = {
    "And": ("Reduce", 0),
    "Or": ("Reduce", 1),
    "Sum": ("Reduce", 2),
    "Prod": ("Reduce", 3),
    "Min": ("Reduce", 4),
    "Max": ("Reduce", 5),
    "CumMax": ("Scan", 0),
    "CumMin": ("Scan", 1),
    "CumSum": ("Scan", 2),
    "CumProd": ("Scan", 3),
    "CumLogAddExp": ("Scan", 4),
    "Sqrt": ("Sqrt", False),
    "Rsqrt": ("Sqrt", True),
    "Log2": ("Log", 0),
    "Log10": ("Log", 1),
    "Log": ("Log", 2),
    "BitwiseAnd": ("BitwiseBinary", 0),
    "BitwiseOr": ("BitwiseBinary", 1),
    "BitwiseXor": ("BitwiseBinary", 2),
    "LeftShift": ("BitwiseBinary", 3),
    "RightShift": ("BitwiseBinary", 4),
}
# A truth value is 0 or 1: these are what the others do with such.
_OF_TRUTH = {"min": "And", "max": "Or", "bitwise_and": "LogicalAnd", "bitwise_or": "LogicalOr"}


class Exported(NamedTuple):
    """An operation of an exported function in MLX's terms."""

    name: str
    arguments: list


def shown_name(name: str, params: tuple, inputs: Sequence[tuple[Shape, Dtype]], shape: Shape) -> str:
    """Return what MLX writes on the operation in a picture, given the primitive's name, and its inputs and result."""
    if name == "reshape":
        return _reshape_name(inputs[0][0], shape)
    if name in _OF_TRUTH and inputs[0][1] is bool_:
        return _OF_TRUTH[name]
    if name == "scatter" and params[-1] != "set":
        return f"Scatter {({'add': 'sum', 'mul': 'prod'}.get(params[-1], params[-1])).capitalize()}"
    return _SHOWN.get(name) or "".join(word.capitalize() for word in name.split("_"))


def exported(name: str, params: tuple, inputs: Sequence[tuple[Shape, Dtype]], shape: Shape) -> Exported:
    """Return the name and the arguments of an operation in an exported function; see `shown_name`."""
    shown = shown_name(name, params, inputs, shape).partition(" ")[0]
    common, which = _EXPORTED.get(shown, (shown, None))
    if shown == "ArgReduce":
        which = int(name == "argmax")
    return Exported(common, [*([] if which is None else [which]), *params])


def _reshape_name(before: Shape, after: Shape) -> str:
    """Tell what a reshape does to the axes, as MLX has primitives for the common cases."""
    if len(after) < len(before) and after == tuple(n for n in before if n != 1):
        return "Squeeze"
    if _without_ones(before) == _without_ones(after) and len(before) != len(after):
        return "Squeeze" if len(after) < len(before) else "ExpandDims"
    for longer, shorter, name in ((before, after, "Flatten"), (after, before, "Unflatten")):
        more = len(longer) - len(shorter)
        if more > 0 and any(
            longer[:i] == shorter[:i] and longer[i + more + 1 :] == shorter[i + 1 :] for i in range(len(shorter))
        ):
            return name
    return "Reshape"


def _without_ones(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)
