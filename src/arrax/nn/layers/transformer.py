"""Attention and Transformers. Sequences have the shape ``(N, L, D)``."""

import math
from collections.abc import Callable
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import integer
from arrax.nn.layers.activations import relu
from arrax.nn.layers.base import Module
from arrax.nn.layers.dropout import Dropout
from arrax.nn.layers.linear import Linear
from arrax.nn.layers.normalization import LayerNorm
from arrax.nn.utils import checkpoint as checkpointed

Activation = Callable[[Any], Any]


class MultiHeadAttention(Module):
    """Attention with several heads and linear projections of queries, keys, values and outputs.

    Args:
        dims: the size of the model, and of all inputs and outputs for which no other is given.
        num_heads: the number of heads, a divisor of ``dims``.
        query_input_dims: the number of features of the queries; ``dims`` by default.
        key_input_dims: the number of features of the keys; ``dims`` by default.
        value_input_dims: the number of features of the values; that of the keys by default.
        value_dims: the number of features of the projected values; ``dims`` by default.
        value_output_dims: the number of output features; ``dims`` by default.
        bias: whether the projections add a bias.

    Raises:
        ValueError: ``dims`` is not a multiple of ``num_heads``.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        query_input_dims: int | None = None,
        key_input_dims: int | None = None,
        value_input_dims: int | None = None,
        value_dims: int | None = None,
        value_output_dims: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        dims = integer("MultiHeadAttention", "dims", dims, least=1)
        num_heads = integer("MultiHeadAttention", "num_heads", num_heads, least=1)
        if dims % num_heads:
            raise ValueError(f"[MultiHeadAttention] dims must be a multiple of num_heads ({num_heads}) but is {dims}.")
        query_input_dims = query_input_dims or dims
        key_input_dims = key_input_dims or dims
        value_input_dims = value_input_dims or key_input_dims
        value_dims = value_dims or dims
        value_output_dims = value_output_dims or dims
        self.num_heads = num_heads
        self.query_proj = Linear(query_input_dims, dims, bias=bias)
        self.key_proj = Linear(key_input_dims, dims, bias=bias)
        self.value_proj = Linear(value_input_dims, value_dims, bias=bias)
        self.out_proj = Linear(value_dims, value_output_dims, bias=bias)

    def __call__(self, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None = None) -> mx.array:
        """Attend.

        Args:
            queries: an array of the shape ``(N, L, query_input_dims)``.
            keys: an array of the shape ``(N, S, key_input_dims)``.
            values: an array of the shape ``(N, S, value_input_dims)``.
            mask: added to the scores, or boolean and true where to attend; broadcast to ``(N, heads, L, S)``.

        Returns:
            An array of the shape ``(N, L, value_output_dims)``.
        """
        queries = self._split_heads(self.query_proj(queries))
        keys = self._split_heads(self.key_proj(keys))
        values = self._split_heads(self.value_proj(values))
        scale = 1 / math.sqrt(queries.shape[-1])
        y = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
        return self.out_proj(mx.flatten(y.transpose(0, 2, 1, 3), -2, -1))

    def _split_heads(self, x: mx.array) -> mx.array:
        return mx.unflatten(x, -1, (self.num_heads, -1)).transpose(0, 2, 1, 3)

    @staticmethod
    def create_additive_causal_mask(N: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        """A mask of the shape ``(N, N)``: zero up to the diagonal and the lowest finite value of ``dtype`` above it."""
        positions = mx.arange(N)
        above = positions[:, None] < positions[None]
        return above.astype(dtype) * mx.finfo(dtype).min


class TransformerEncoderLayer(Module):
    """Self-attention and a network of two linear layers, each with a residual connection and a normalization.

    Args:
        dims: the number of features.
        num_heads: the number of heads.
        mlp_dims: the number of hidden features of the network; four times ``dims`` by default.
        dropout: the probability to drop a value.
        activation: the activation function of the network.
        norm_first: normalize before attention and network, not after the residual connection.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        mlp_dims = mlp_dims or 4 * dims
        self.attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        if self.norm_first:
            x = x + self._attend(self.ln1(x), mask)
            return x + self._transform(self.ln2(x))
        x = self.ln1(x + self._attend(x, mask))
        return self.ln2(x + self._transform(x))

    def _attend(self, x: mx.array, mask: mx.array | None) -> mx.array:
        return self.dropout1(self.attention(x, x, x, mask))

    def _transform(self, x: mx.array) -> mx.array:
        return self.linear2(self.dropout2(self.activation(self.linear1(x))))


class TransformerEncoder(Module):
    """A stack of :class:`TransformerEncoderLayer` and a final normalization.

    Args:
        num_layers: the number of layers.
        dims: the number of features.
        num_heads: the number of heads.
        mlp_dims: the number of hidden features of the networks; four times ``dims`` by default.
        dropout: the probability to drop a value.
        activation: the activation function of the networks.
        norm_first: normalize before attention and network, not after the residual connection.
        checkpoint: recompute the layers for the gradient instead of keeping what is inside them.
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.layers = [
            TransformerEncoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        for layer in self.layers:
            x = (checkpointed(layer) if self.checkpoint else layer)(x, mask)
        return self.ln(x)


class TransformerDecoderLayer(Module):
    """Self-attention, attention to a memory and a network, each with a residual connection and a normalization.

    Args:
        dims: the number of features.
        num_heads: the number of heads.
        mlp_dims: the number of hidden features of the network; four times ``dims`` by default.
        dropout: the probability to drop a value.
        activation: the activation function of the network.
        norm_first: normalize before attention and network, not after the residual connection.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        mlp_dims = mlp_dims or 4 * dims
        self.self_attention = MultiHeadAttention(dims, num_heads)
        self.cross_attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.ln3 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(
        self, x: mx.array, memory: mx.array, x_mask: mx.array | None, memory_mask: mx.array | None
    ) -> mx.array:
        if self.norm_first:
            x = x + self._attend(self.ln1(x), x_mask)
            x = x + self._recall(self.ln2(x), memory, memory_mask)
            return x + self._transform(self.ln3(x))
        x = self.ln1(x + self._attend(x, x_mask))
        x = self.ln2(x + self._recall(x, memory, memory_mask))
        return self.ln3(x + self._transform(x))

    def _attend(self, x: mx.array, mask: mx.array | None) -> mx.array:
        return self.dropout1(self.self_attention(x, x, x, mask))

    def _recall(self, x: mx.array, memory: mx.array, mask: mx.array | None) -> mx.array:
        return self.dropout2(self.cross_attention(x, memory, memory, mask))

    def _transform(self, x: mx.array) -> mx.array:
        return self.linear2(self.dropout3(self.activation(self.linear1(x))))


class TransformerDecoder(Module):
    """A stack of :class:`TransformerDecoderLayer` and a final normalization.

    Args:
        num_layers: the number of layers.
        dims: the number of features.
        num_heads: the number of heads.
        mlp_dims: the number of hidden features of the networks; four times ``dims`` by default.
        dropout: the probability to drop a value.
        activation: the activation function of the networks.
        norm_first: normalize before attention and network, not after the residual connection.
        checkpoint: recompute the layers for the gradient instead of keeping what is inside them.
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.layers = [
            TransformerDecoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(
        self, x: mx.array, memory: mx.array, x_mask: mx.array | None, memory_mask: mx.array | None
    ) -> mx.array:
        for layer in self.layers:
            x = (checkpointed(layer) if self.checkpoint else layer)(x, memory, x_mask, memory_mask)
        return self.ln(x)


class Transformer(Module):
    """An encoder, and a decoder that attends to its output.

    Args:
        dims: the number of features.
        num_heads: the number of heads.
        num_encoder_layers: the number of layers of the encoder.
        num_decoder_layers: the number of layers of the decoder.
        mlp_dims: the number of hidden features of the networks; four times ``dims`` by default.
        dropout: the probability to drop a value.
        activation: the activation function of the networks.
        custom_encoder: a module to use as the encoder.
        custom_decoder: a module to use as the decoder.
        norm_first: normalize before attention and network, not after the residual connection.
        checkpoint: recompute the layers for the gradient instead of keeping what is inside them.
    """

    def __init__(
        self,
        dims: int = 512,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Activation = relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        options = (dims, num_heads, mlp_dims, dropout, activation, norm_first, checkpoint)
        # A module without state is an empty dict and as such false, hence the comparison with None.
        self.encoder = TransformerEncoder(num_encoder_layers, *options) if custom_encoder is None else custom_encoder
        self.decoder = TransformerDecoder(num_decoder_layers, *options) if custom_decoder is None else custom_decoder

    def __call__(
        self,
        src: mx.array,
        tgt: mx.array,
        src_mask: mx.array | None,
        tgt_mask: mx.array | None,
        memory_mask: mx.array | None,
    ) -> mx.array:
        memory = self.encoder(src, src_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask)
