"""Half precision: layers and losses compute their statistics and sums in float32 and round the result once."""

import arrax.core as mx
from arrax.nn.arguments import arrays

_HALVES = (mx.float16, mx.bfloat16)


def wide(x: mx.array) -> mx.array:
    """The array in the type in which its squares and sums are computed. Raises TypeError for what is none."""
    arrays("nn", x=x)
    return x.astype(mx.float32) if x.dtype in _HALVES else x


def rounded(x: mx.array, *operands: mx.array) -> mx.array:
    """A result in half precision, if that is the type in which the operands meet."""
    dtype = mx.result_type(*operands)
    return x.astype(dtype) if dtype in _HALVES else x
