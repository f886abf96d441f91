"""Continue a text with a Llama whose weights `convert.py` made from PyTorch's.

An ordinary MLX program, after the page "LLM inference" of MLX's documentation: a model with its modules and names,
weights from an NPZ file, a tokenizer of SentencePiece.

    python -m arrax run examples/llama/llama.py llama-7B.npz tokenizer.model "Call me Ishmael."
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

Cache = tuple[mx.array, mx.array]  # keys and values, each (batch, heads, positions, head_dims)


# --- model ------------------------------------------------------------------------------------------------------------


class LlamaAttention(nn.Module):
    """Multi-head attention with rotary positions."""

    def __init__(self, dims: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        # The weights of Meta's checkpoints are in the order that rotates neighbouring features with each other.
        self.rope = nn.RoPE(dims // num_heads, traditional=True)
        self.query_proj = nn.Linear(dims, dims, bias=False)
        self.key_proj = nn.Linear(dims, dims, bias=False)
        self.value_proj = nn.Linear(dims, dims, bias=False)
        self.out_proj = nn.Linear(dims, dims, bias=False)

    def __call__(
        self,
        queries: mx.array,
        keys: mx.array,
        values: mx.array,
        mask: mx.array | None = None,
        cache: Cache | None = None,
    ) -> tuple[mx.array, Cache]:
        """Attend to `keys` and to those in the cache; return the result and the cache for the next call."""
        batch, length, dims = queries.shape
        q, k, v = (
            x.reshape(batch, x.shape[1], self.num_heads, -1).transpose(0, 2, 1, 3)
            for x in (self.query_proj(queries), self.key_proj(keys), self.value_proj(values))
        )
        offset = 0 if cache is None else cache[0].shape[2]
        q, k = self.rope(q, offset=offset), self.rope(k, offset=offset)
        if cache is not None:
            k, v = mx.concatenate([cache[0], k], axis=2), mx.concatenate([cache[1], v], axis=2)
        scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(2, 3)
        if mask is not None:
            scores = scores + mask
        attended = mx.softmax(scores, axis=-1) @ v
        return self.out_proj(attended.transpose(0, 2, 1, 3).reshape(batch, length, dims)), (k, v)


class LlamaEncoderLayer(nn.Module):
    """Attention and a SwiGLU feed-forward part, each behind an RMS norm and inside a residual connection."""

    def __init__(self, dims: int, mlp_dims: int, num_heads: int):
        super().__init__()
        self.attention = LlamaAttention(dims, num_heads)
        self.norm1 = nn.RMSNorm(dims)
        self.norm2 = nn.RMSNorm(dims)
        self.linear1 = nn.Linear(dims, mlp_dims, bias=False)
        self.linear2 = nn.Linear(dims, mlp_dims, bias=False)
        self.linear3 = nn.Linear(mlp_dims, dims, bias=False)

    def __call__(self, x: mx.array, mask: mx.array | None = None, cache: Cache | None = None) -> tuple[mx.array, Cache]:
        y = self.norm1(x)
        attended, cache = self.attention(y, y, y, mask, cache)
        x = x + attended
        y = self.norm2(x)
        return x + self.linear3(nn.silu(self.linear1(y)) * self.linear2(y)), cache


class Llama(nn.Module):
    """A decoder-only language model: (batch, length) token ids to (batch, length, vocab_size) logits."""

    def __init__(self, num_layers: int, vocab_size: int, dims: int, mlp_dims: int, num_heads: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dims)
        self.layers = [LlamaEncoderLayer(dims, mlp_dims, num_heads) for _ in range(num_layers)]
        self.norm = nn.RMSNorm(dims)
        self.out_proj = nn.Linear(dims, vocab_size, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        mask = self.causal_mask(x.shape[1])
        x = self.embedding(x)
        for layer in self.layers:
            x, _ = layer(x, mask)
        return self.out_proj(self.norm(x))

    def causal_mask(self, length: int) -> mx.array:
        """Return what is added to the scores of attention, so that no position sees a later one."""
        mask = nn.MultiHeadAttention.create_additive_causal_mask(length)
        return mask.astype(self.embedding.weight.dtype)

    def generate(self, x: mx.array, temp: float = 1.0) -> Iterator[mx.array]:
        """Continue the (batch, length) prompts `x`, for ever; temperature 0 takes the likeliest token.

        Yields:
            The next tokens, shape (batch,). They are not computed yet: evaluate each one, or several together.
        """
        mask: mx.array | None = self.causal_mask(x.shape[1])
        caches: list[Cache | None] = [None] * len(self.layers)
        while True:
            x = self.embedding(x)
            for i, layer in enumerate(self.layers):
                x, caches[i] = layer(x, mask, caches[i])
            logits = self.out_proj(self.norm(x[:, -1]))
            y = mx.random.categorical(logits / temp) if temp > 0 else mx.argmax(logits, axis=-1)
            yield y
            x, mask = y[:, None], None


def load_model(path: Path, num_heads: int | None = None) -> Llama:
    """Make the model that the weights in an NPZ file are of; heads have 128 features if no number is given."""
    weights = mx.load(str(path))
    try:
        vocab_size, dims = weights["embedding.weight"].shape
        mlp_dims, _ = weights["layers.0.linear1.weight"].shape
    except KeyError as error:
        raise SystemExit(f"{path} has no {error}: make it with convert.py") from None
    num_layers = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    num_heads = num_heads or max(1, dims // 128)
    if dims % num_heads or dims // num_heads % 2:
        raise SystemExit(f"the model's {dims} features must be --num-heads {num_heads} times an even number")

    model = Llama(num_layers, vocab_size, dims, mlp_dims, num_heads)
    expected = {name: value.shape for name, value in tree_flatten(model.parameters())}
    for name in sorted(expected.keys() | weights.keys()):
        found = weights[name].shape if name in weights else None
        if found != expected.get(name):
            raise SystemExit(f"{path}: {name} has shape {found}, the model's has {expected.get(name)}")
    model.update(tree_unflatten(list(weights.items())))
    mx.eval(model.parameters())
    return model


# --- text -------------------------------------------------------------------------------------------------------------


class SentencePiece:
    """The tokenizer that comes with Llama."""

    def __init__(self, path: str):
        if not Path(path).is_file():
            raise SystemExit(f"{path} does not exist; name a model of SentencePiece, or `bytes`")
        try:
            package = importlib.import_module("sentencepiece")
        except ImportError:
            raise SystemExit("SentencePiece is not installed: pip install sentencepiece") from None
        self._model = package.SentencePieceProcessor(model_file=path)
        self.end = self._model.eos_id()

    def encode(self, text: str) -> list[int]:
        start = self._model.bos_id()  # -1 if the model has none
        return [start] * (start >= 0) + self._model.encode(text)

    def decode(self, tokens: list[int]) -> str:
        """The text; a checkpoint may have more tokens than the tokenizer, which stand for nothing."""
        return self._model.decode([t for t in tokens if t < self._model.get_piece_size()])


class Bytes:
    """Each byte is a token, as in `llama_lm.py`."""

    end = -1

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: list[int]) -> str:
        return bytes(tokens).decode(errors="replace")


def write(model: Llama, tokenizer: SentencePiece | Bytes, options: argparse.Namespace) -> None:
    """Stream a continuation of the prompt to the terminal, then tell how long it took."""
    prompt = tokenizer.encode(options.prompt)
    if not prompt:
        raise SystemExit("the prompt is empty")
    tokens = list(prompt)
    shown = len(tokenizer.decode(prompt))
    start = time.perf_counter()
    after_prompt = start
    for token in islice(model.generate(mx.array([prompt]), options.temp), options.num_tokens):
        tokens.append(token.item())
        if len(tokens) == len(prompt) + 1:
            after_prompt = time.perf_counter()
        if tokens[-1] == tokenizer.end:
            break
        text = tokenizer.decode(tokens)
        if not text.endswith("\ufffd"):  # which stands for a part of a character
            print(text[shown:], end="", flush=True)
            shown = len(text)
    print(f"\n------\n[INFO] Prompt processing: {after_prompt - start:.3f} s")
    print(f"[INFO] Full generation: {time.perf_counter() - start:.3f} s")


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(
        prog="llama",
        description="Continue a text with a Llama.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("weights", type=Path, help="NPZ file that convert.py wrote")
    parser.add_argument("tokenizer", help="model of SentencePiece, or `bytes` for a model whose tokens are bytes")
    parser.add_argument("prompt", help="text to continue")
    parser.add_argument("--num-tokens", type=int, default=100, help="tokens to write")
    parser.add_argument("--num-heads", type=int, help="attention heads, by default one for 128 features")
    parser.add_argument("--temp", type=float, default=0.8, help="temperature; 0 takes the likeliest token each time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.num_tokens < 1 or options.temp < 0 or (options.num_heads is not None and options.num_heads < 1):
        parser.error("--num-tokens and --num-heads must be at least 1, --temp at least 0")
    if not options.weights.is_file():
        parser.error(f"{options.weights} does not exist; convert.py makes it from a .pth file")

    mx.random.seed(options.seed)
    tokenizer = Bytes() if options.tokenizer == "bytes" else SentencePiece(options.tokenizer)
    start = time.perf_counter()
    model = load_model(options.weights, options.num_heads)
    print(f"[INFO] Loading model from disk: {time.perf_counter() - start:.3f} s")
    with contextlib.suppress(EOFError):  # the end of the input is as good as a line of it
        input("Press enter to start generation\n------\n")
    write(model, tokenizer, options)


if __name__ == "__main__":
    main()
