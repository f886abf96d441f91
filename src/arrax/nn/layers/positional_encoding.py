"""Encodings of the positions in a sequence."""

import math

import arrax.core as mx
from arrax.nn.arguments import integer
from arrax.nn.layers.base import Module


class RoPE(Module):
    """Rotary positional encoding: rotates pairs of features by angles proportional to the position.

    The input has the shape ``(..., T, D)`` with at least three dimensions. Pair ``i`` turns by
    ``base ** (-2 * i / dims)`` from one position to the next.

    Args:
        dims: how many features to rotate; the others stay as they are.
        traditional: pair neighbouring features instead of features half of ``dims`` apart.
        base: the base of the angular frequencies.
        scale: multiplies the positions.
    """

    def __init__(self, dims: int, traditional: bool = False, base: float = 10000, scale: float = 1.0) -> None:
        super().__init__()
        self.dims = dims
        self.traditional = traditional
        self.base = base
        self.scale = scale

    def _extra_repr(self) -> str:
        return f"{self.dims}, traditional={self.traditional}"

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        return mx.fast.rope(x, self.dims, traditional=self.traditional, base=self.base, scale=self.scale, offset=offset)


class SinusoidalPositionalEncoding(Module):
    """Maps positions to sines and cosines of geometrically spaced frequencies.

    An input of the shape ``(...)`` gives an output of the shape ``(..., dims)``: the sines, then the cosines.

    Args:
        dims: the number of features, even.
        min_freq: the lowest angular frequency.
        max_freq: the highest angular frequency.
        scale: multiplies the result; ``sqrt(2 / dims)`` by default.
        cos_first: put the cosines before the sines.
        full_turns: the frequencies are in turns, not in radians.

    Raises:
        ValueError: ``dims`` is not positive and even.
    """

    def __init__(
        self,
        dims: int,
        min_freq: float = 0.0001,
        max_freq: float = 1,
        scale: float | None = None,
        cos_first: bool = False,
        full_turns: bool = False,
    ) -> None:
        super().__init__()
        dims = integer("SinusoidalPositionalEncoding", "dims", dims)
        if dims <= 0 or dims % 2:
            raise ValueError(f"[SinusoidalPositionalEncoding] dims must be positive and even but is {dims}.")
        frequencies = mx.exp(mx.linspace(math.log(max_freq), math.log(min_freq), dims // 2))
        # The underscore keeps them out of the parameters.
        self._sigmas = frequencies * (2 * math.pi) if full_turns else frequencies
        self.scale = math.sqrt(2 / dims) if scale is None else scale
        self.cos_first = cos_first

    def __call__(self, x: mx.array) -> mx.array:
        angles = x[..., None] * self._sigmas
        sines, cosines = mx.sin(angles), mx.cos(angles)
        y = mx.concatenate([cosines, sines] if self.cos_first else [sines, cosines], axis=-1)
        return y * self.scale if self.scale != 1 else y


class ALiBi(Module):
    """Attention with linear biases: lowers attention scores in proportion to the distance of query and key."""

    @staticmethod
    def create_alibi_matrix(
        q_sequence_length: int,
        k_sequence_length: int,
        num_heads: int,
        offset: int = 0,
        dtype: mx.Dtype = mx.float32,
    ) -> mx.array:
        """The biases, of the shape ``(1, num_heads, q_sequence_length - offset, k_sequence_length)``.

        Args:
            q_sequence_length: the position after the last query.
            k_sequence_length: the number of keys.
            num_heads: the number of heads.
            offset: the position of the first query.
            dtype: the dtype of the result.
        """
        queries = mx.arange(offset, q_sequence_length)
        keys = mx.arange(k_sequence_length)
        closeness = -mx.abs(queries[:, None] - keys[None, :])
        return closeness.astype(dtype)[None, None] * ALiBi.create_alibi_slope(num_heads, dtype)

    @staticmethod
    def create_alibi_slope(num_heads: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        """The slope of each head, of the shape ``(num_heads, 1, 1)``.

        For a power of two, head ``i`` has the slope ``2 ** (-8 * (i + 1) / num_heads)``. Otherwise the heads above the
        next lower power of two take every second slope of its double.
        """
        num_heads = integer("ALiBi", "num_heads", num_heads, least=1)
        lower = 1 << num_heads.bit_length() - 1
        exponents = [8 * (mx.arange(lower, dtype=mx.float64) + 1) / lower]
        exponents.append(4 * (2 * mx.arange(num_heads - lower, dtype=mx.float64) + 1) / lower)
        return mx.power(2.0, -mx.concatenate(exponents)).astype(dtype)[:, None, None]

    def __call__(self, attention_scores: mx.array, offset: int = 0, mask: mx.array | None = None) -> mx.array:
        """Add the biases, and ``mask`` if there is one, to scores of the shape ``(N, heads, queries, keys)``."""
        num_heads, num_queries, num_keys = attention_scores.shape[1], *attention_scores.shape[-2:]
        biases = self.create_alibi_matrix(num_queries + offset, num_keys, num_heads, offset, attention_scores.dtype)
        return attention_scores + (biases if mask is None else biases + mask)
