"""Generating tokens one at a time."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence

import arrax.core as mx
from arrax.llm.llama import Llama

PROMPT_CHUNK = 512  # tokens of a prompt that are evaluated at once: bounds the memory that attention takes


def sample(logits: mx.array, temperature: float, top_p: float, key: mx.array | None) -> mx.array:
    """Choose a token.

    Args:
        logits: shape (vocabulary,).
        temperature: divides the logits; 0 takes the likeliest token.
        top_p: take only the likeliest tokens that together have at least this probability.
        key: of the random numbers; not used with temperature 0.

    Returns:
        The token's id, a scalar.

    >>> import arrax.core as mx
    >>> sample(mx.array([0.1, 2.0, 1.0]), temperature=0.0, top_p=1.0, key=None).item()
    1
    """
    if temperature == 0:
        return mx.argmax(logits)
    logits = logits.astype(mx.float32) / temperature
    if top_p >= 1:
        return mx.random.categorical(logits, key=key)
    order = mx.argsort(-logits)
    logits = logits[order]
    probabilities = mx.softmax(logits)
    before = mx.cumsum(probabilities) - probabilities  # of all tokens that are likelier; the first one always stays
    place = mx.random.categorical(mx.where(before < top_p, logits, -mx.inf), key=key)
    return order[place]


def check_request(
    model: Llama, prompt: Sequence[int], max_tokens: int = 1, temperature: float = 0.0, top_p: float = 1.0
) -> None:
    """Check arguments of `generate`.

    Raises:
        ValueError: if the prompt is empty, has unknown tokens or is too long for the model, or a number is out of
            range.
    """
    vocabulary, context = model.config.vocab_size, model.config.context
    if not prompt:
        raise ValueError("[generate] expected a prompt of at least one token, got none")
    if not 0 <= min(prompt) <= max(prompt) < vocabulary:
        raise ValueError(f"[generate] expected tokens from 0 to {vocabulary - 1}, got {min(prompt)} to {max(prompt)}")
    if context is not None and len(prompt) >= context:
        raise ValueError(f"[generate] expected a prompt of less than {context} tokens, got {len(prompt)}: shorten it")
    if max_tokens < 1:
        raise ValueError(f"[generate] expected max_tokens of at least 1, got {max_tokens}")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"[generate] expected a temperature of at least 0, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"[generate] expected top_p above 0 and up to 1, got {top_p}")


def generate(
    model: Llama,
    prompt: Sequence[int],
    *,
    max_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    stop: Collection[int] = (),
) -> Iterator[int]:
    """Continue a prompt, token by token, up to the end of the model's context at most.

    Args:
        model: the model.
        prompt: token ids.
        max_tokens: the number of tokens after which to stop.
        temperature: divides the logits; 0 takes the likeliest token each time.
        top_p: sample among the likeliest tokens that together have at least this probability.
        seed: makes the result reproducible; None draws one.
        stop: tokens that end the text; they are not part of it.

    Raises:
        ValueError: if an argument is out of range, see `check_request`.
    """
    check_request(model, prompt, max_tokens, temperature, top_p)
    if model.config.context is not None:
        max_tokens = min(max_tokens, model.config.context - len(prompt))
    return _tokens(model, list(prompt), max_tokens, temperature, top_p, seed, frozenset(stop))


def _tokens(
    model: Llama,
    prompt: list[int],
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int | None,
    stop: frozenset[int],
) -> Iterator[int]:
    caches = model.make_caches()
    key = mx.random.key(secrets.randbits(32) if seed is None else seed)
    last = (len(prompt) - 1) // PROMPT_CHUNK * PROMPT_CHUNK
    for start in range(0, last, PROMPT_CHUNK):
        model.model(mx.array([prompt[start : start + PROMPT_CHUNK]]), caches)
        mx.eval([(cache.keys, cache.values) for cache in caches])
    tokens = mx.array([prompt[last:]])
    for _ in range(max_tokens):
        logits = model.logits(model.model(tokens, caches)[0, -1])
        key, subkey = mx.random.split(key)
        token = sample(logits, temperature, top_p, subkey)
        mx.eval(token, key, [(cache.keys, cache.values) for cache in caches])
        number = int(token.item())
        if number in stop:
            return
        yield number
        tokens = token.reshape(1, 1)
