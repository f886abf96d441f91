"""Choosing tokens by their logits."""

from __future__ import annotations

import arrax.core as mx


def sample(
    logits: mx.array, temperature: mx.array, top_p: mx.array, keys: mx.array, *, nucleus: bool = True
) -> mx.array:
    """Choose a token for each row.

    What a row gets depends on that row alone.

    Args:
        logits: shape (rows, vocabulary).
        temperature: shape (rows,): divides the logits; 0 takes the likeliest token.
        top_p: shape (rows,): take only the likeliest tokens that together have at least this probability.
        keys: shape (rows, 2): of the random numbers.
        nucleus: whether some `top_p` is less than 1: only then the tokens are sorted.

    Returns:
        The tokens, shape (rows,).

    >>> import arrax.core as mx
    >>> sample(mx.array([[0.1, 2.0, 1.0]]), mx.array([0.0]), mx.array([1.0]), mx.random.key(0)[None]).tolist()
    [1]
    """
    likeliest = mx.argmax(logits, axis=-1)
    sharpened = logits.astype(mx.float32) / mx.where(temperature > 0, temperature, 1.0)[:, None]
    drawn = _draw(sharpened, keys)
    if nucleus:
        order = mx.argsort(-sharpened, axis=-1)
        ordered = mx.take_along_axis(sharpened, order, axis=-1)
        probabilities = mx.softmax(ordered, axis=-1)
        before = mx.cumsum(probabilities, axis=-1) - probabilities  # of all that are likelier; the first always stays
        places = _draw(mx.where(before < top_p[:, None], ordered, -mx.inf), keys)
        within = mx.take_along_axis(order, places[:, None], axis=-1)[:, 0]
        drawn = mx.where(top_p < 1, within, drawn)
    return mx.where(temperature > 0, drawn, likeliest)


def _draw(logits: mx.array, keys: mx.array) -> mx.array:
    """Each row with its own key."""
    return mx.vmap(lambda row, key: mx.random.categorical(row, key=key))(logits, keys)
