"""Generating tokens one at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from arrax.llm.batch import Batch, Text
from arrax.llm.llama import Llama


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
    text = Text(prompt, max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed, stop=frozenset(stop))
    return _tokens(Batch(model), text)


def _tokens(batch: Batch, text: Text) -> Iterator[int]:
    while not batch.read(text):
        pass
    while text.token is not None:
        yield text.token
        if text.reason is not None:
            return
        batch.decode()
