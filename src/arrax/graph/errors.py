"""Exceptions that are of two kinds: that of Python or of older programs, and that of MLX."""

from __future__ import annotations


class AxisError(ValueError, IndexError):
    """An axis that the array does not have: an IndexError, as in MLX, and a ValueError, as older programs expect."""


class PositionError(ValueError, IndexError):
    """A position that an axis does not have: an IndexError, as in Python, and a ValueError, as in MLX."""


class SizeError(OverflowError, ValueError):
    """An axis that is too long: MLX raises one or the other."""


class NoDerivativeError(ValueError, RuntimeError):
    """A derivative that does not exist: MLX raises a ValueError for indices, a RuntimeError for quantized data."""
