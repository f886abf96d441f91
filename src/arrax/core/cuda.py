"""NVIDIA's graphics processors, which are not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether CUDA can be used: no.

    >>> import arrax.core as mx
    >>> mx.cuda.is_available()
    False
    """
    return False
