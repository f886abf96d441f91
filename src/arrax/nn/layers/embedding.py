"""The lookup table for tokens."""

import math

import arrax.core as mx
from arrax.nn.arguments import integer
from arrax.nn.layers.base import Module
from arrax.nn.layers.quantized import QuantizedEmbedding


class Embedding(Module):
    """A table of vectors, one for each token.

    ``weight`` has the shape ``(num_embeddings, dims)`` and begins with normally distributed values of variance
    ``1 / dims``.

    Args:
        num_embeddings: the number of tokens.
        dims: the size of a vector.

    >>> import arrax.core as mx
    >>> import arrax.nn as nn
    >>> nn.Embedding(10, 4)(mx.array([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(self, num_embeddings: int, dims: int) -> None:
        super().__init__()
        scale = math.sqrt(1 / integer("Embedding", "dims", dims, least=1))
        self.weight = mx.random.normal(shape=(num_embeddings, dims), scale=scale)

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"

    def __call__(self, x: mx.array) -> mx.array:
        return self["weight"][x]

    def as_linear(self, x: mx.array) -> mx.array:
        """``x @ weight.T``: the table as an output layer, from vectors to one value for each token."""
        return x @ self["weight"].T

    def to_quantized(
        self,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        quantize_input: bool = False,
    ) -> QuantizedEmbedding:
        """A :class:`QuantizedEmbedding` with the same table.

        Args:
            group_size: the number of values that share a scale.
            bits: the number of bits of a value.
            mode: how to quantize, see :func:`arrax.core.quantize`.
            quantize_input: must be False: tokens are not quantized.

        Raises:
            ValueError: ``quantize_input`` is set.
        """
        if quantize_input:
            raise ValueError("[Embedding] quantize_input=True is for linear layers only.")
        return QuantizedEmbedding.from_embedding(self, group_size, bits, mode=mode)
