"""The Llama family: decoders with RMS norms, rotary positions, grouped heads and SwiGLU.

Modules are named as in the checkpoints of Hugging Face, so that a parameter's path is its tensor's name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import arrax.core as mx
import arrax.nn as nn
from arrax.llm.config import Config, positive, wrong

CACHE_STEP = 256  # positions by which a cache grows


class Cache(Protocol):
    """What attention needs to know of the positions so far; `KVCache` tells more."""

    @property
    def length(self) -> int | mx.array:
        """How many there are, one number or one for each example."""

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Add some and return all."""

    def mask(self, length: int) -> str | mx.array | None:
        """Return which of all the last `length` ones see."""


class KVCache:
    """The keys and values of all positions so far, each in a buffer with room for more.

    Nobody else holds the buffers when the next ones are computed, so writing into them writes only the new positions.

    Attributes:
        length: the number of positions.
        keys: shape (batch, heads, room, head_dim), or None at first.
        values: the same for the values.
    """

    def __init__(self) -> None:
        self.length = 0
        self.keys: mx.array | None = None
        self.values: mx.array | None = None

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Add arrays of shape (batch, heads, positions, head_dim) and return all that there are."""
        start, stop = self.length, self.length + keys.shape[2]
        all_keys, all_values = _with_room(self.keys, keys, stop), _with_room(self.values, values, stop)
        all_keys[..., start:stop, :] = keys
        all_values[..., start:stop, :] = values
        self.keys, self.values, self.length = all_keys, all_values, stop
        return all_keys[..., :stop, :], all_values[..., :stop, :]

    def mask(self, length: int) -> str | mx.array | None:
        """Return which of all positions the `length` new ones see, for `mx.fast.scaled_dot_product_attention`."""
        return "causal" if length > 1 else None


def _with_room(buffer: mx.array | None, new: mx.array, length: int) -> mx.array:
    """The buffer, longer where it does not hold `length` positions."""
    present = 0 if buffer is None else buffer.shape[2]
    if buffer is not None and length <= present:
        return buffer
    room = -(-length // CACHE_STEP) * CACHE_STEP
    more = mx.zeros((*new.shape[:2], room - present, new.shape[3]), new.dtype)
    return more if buffer is None else mx.concatenate([buffer, more], axis=2)


class RotaryPositions:
    """Rotates the features of queries and keys; it has no parameters.

    Raises:
        ValueError: if the configuration asks for an unknown way of stretching positions, or lacks its numbers.
    """

    def __init__(self, config: Config) -> None:
        self.dims = config.head_dim
        self.base: float | None = config.rope_theta
        self.scale = 1.0
        self.periods: mx.array | None = None
        kind = config.rope.get("rope_type", config.rope.get("type", "default"))
        if kind == "linear":
            self.scale = 1.0 / positive(config.rope, "factor")
        elif kind == "llama3":
            self.base, self.periods = None, mx.array(_stretched_periods(config))
        elif kind != "default":
            raise wrong("rope_type", "default, linear or llama3", kind)

    def __call__(self, x: mx.array, offset: int | mx.array) -> mx.array:
        return mx.fast.rope(
            x, self.dims, traditional=False, base=self.base, scale=self.scale, offset=offset, freqs=self.periods
        )


def _stretched_periods(config: Config) -> list[float]:
    """Llama 3's periods in positions per radian: short waves stay, long ones are stretched, between them both mix."""
    factor, low, high, context = (
        positive(config.rope, name)
        for name in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    )
    if low >= high:
        raise wrong("low_freq_factor", f"less than high_freq_factor, which is {high}", low)
    periods = []
    for i in range(0, config.head_dim, 2):
        period = config.rope_theta ** (i / config.head_dim)
        waves = context / (2 * math.pi * period)  # how many of them the original context holds
        kept = min(1.0, max(0.0, (waves - low) / (high - low)))
        periods.append(period / (kept + (1 - kept) / factor))
    return periods


class Attention(nn.Module):
    """Causal attention where several heads of queries share one head of keys and values."""

    def __init__(self, config: Config, rope: RotaryPositions) -> None:
        super().__init__()
        width, groups = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self._rope = rope
        self._head_dim = config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, groups, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, groups, bias=config.attention_bias)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=config.output_bias)

    def __call__(self, x: mx.array, cache: Cache | None) -> mx.array:
        batch, length, _ = x.shape
        q, k, v = (
            project(x).reshape(batch, length, -1, self._head_dim).transpose(0, 2, 1, 3)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        offset = 0 if cache is None else cache.length
        q, k = self._rope(q, offset), self._rope(k, offset)
        mask: str | mx.array | None = "causal" if length > 1 else None
        if cache is not None:
            mask = cache.mask(length)
            k, v = cache.append(k, v)
        y = mx.fast.scaled_dot_product_attention(q, k, v, scale=self._head_dim**-0.5, mask=mask)
        return self.o_proj(y.transpose(0, 2, 1, 3).reshape(batch, length, -1))


class MLP(nn.Module):
    """The feed-forward part of a layer: SwiGLU."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and inside a residual connection."""

    def __init__(self, config: Config, rope: RotaryPositions) -> None:
        super().__init__()
        self.self_attn = Attention(config, rope)
        self.mlp = MLP(config)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def __call__(self, x: mx.array, cache: Cache | None) -> mx.array:
        x = x + self.self_attn(self.input_layernorm(x), cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """All but the output layer: (batch, length) token ids to (batch, length, hidden_size) vectors."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        rope = RotaryPositions(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [Layer(config, rope) for _ in range(config.num_hidden_layers)]
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def __call__(self, tokens: mx.array, caches: Sequence[Cache] | None = None) -> mx.array:
        x = self.embed_tokens(tokens)
        for i, layer in enumerate(self.layers):
            x = layer(x, None if caches is None else caches[i])
        return self.norm(x)


class Llama(nn.Module):
    """A language model: (batch, length) token ids to (batch, length, vocab_size) logits.

    With caches, one for each layer, the tokens follow those that the caches have seen.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def __call__(self, tokens: mx.array, caches: Sequence[Cache] | None = None) -> mx.array:
        return self.logits(self.model(tokens, caches))

    def logits(self, hidden: mx.array) -> mx.array:
        """The output layer alone, for vectors that `model` gave."""
        return self.lm_head(hidden) if "lm_head" in self else self.model.embed_tokens.as_linear(hidden)

    def make_caches(self) -> list[KVCache]:
        """Return an empty cache for each layer."""
        return [KVCache() for _ in self.model.layers]
