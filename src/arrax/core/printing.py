"""Arrays as text."""

from __future__ import annotations

import reprlib
from array import array as machine_array
from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.core.arguments import as_int
from arrax.graph.dtypes import Dtype, bfloat16, bool_

_EDGE = 3  # how many elements are shown at both ends of a long axis
DIGITS = 1100  # more than a float64 has behind its point


_repr_machine_array = reprlib.Repr.repr_array


def _repr_array(self: reprlib.Repr, x: Any, level: int) -> str:
    """What `reprlib`, and so pytest, calls for every type of the name ``array``."""
    return _repr_machine_array(self, x, level) if isinstance(x, machine_array) else self.repr_instance(x, level)


reprlib.Repr.repr_array = _repr_array  # type: ignore[method-assign]


class PrintOptions:
    """How numbers are printed.

    Attributes:
        precision: digits after the point; -1 for six significant digits.
    """

    def __init__(self, precision: int = -1) -> None:
        self.precision = precision


_options = PrintOptions()


def set_printoptions(precision: int = -1) -> None:
    """Sets how many digits follow the point when numbers are printed; -1 for six significant digits.

    Raises:
        TypeError: for what is no int.
        ValueError: below -1, and for more digits than any number has.
    """
    precision = as_int("set_printoptions", precision, "precision")
    if not -1 <= precision <= DIGITS:
        raise ValueError(f"[set_printoptions] expected a precision of -1 to {DIGITS}, got {precision}: choose another")
    _options.precision = precision


def get_printoptions() -> PrintOptions:
    """The options now in force (a copy)."""
    return PrintOptions(_options.precision)


class _PrintOptionsContext:
    def __init__(self, options: PrintOptions) -> None:
        self._inside = options

    def __enter__(self) -> _PrintOptionsContext:
        self._outside = get_printoptions()
        set_printoptions(self._inside.precision)
        return self

    def __exit__(self, *args: object) -> None:
        set_printoptions(self._outside.precision)


def printoptions(precision: int = -1) -> _PrintOptionsContext:
    """A context in which numbers are printed with the given precision.

    >>> import arrax.core as mx
    >>> with mx.printoptions(precision=2):
    ...     print(mx.array([1.2345]))
    array([1.23], dtype=float32)
    """
    return _PrintOptionsContext(PrintOptions(precision))


def _real(value: float) -> str:
    if value != value:
        return "nan"
    return f"{value:g}" if _options.precision < 0 else f"{value:.{_options.precision}f}"


def _complex(value: complex) -> str:
    return f"{_real(value.real)}{'' if value.imag < 0 else '+'}{_real(value.imag)}j"


def _formatter(dtype: Dtype) -> Callable[[Any], str]:
    if dtype.is_complex:
        return _complex
    return _real if dtype.is_float else str


def _lines(values: np.ndarray, fmt: Callable[[Any], str], indent: str) -> str:
    n = values.shape[0]
    shown = range(n) if n <= 2 * _EDGE else [*range(_EDGE), None, *range(n - _EDGE, n)]
    if values.ndim == 1:
        return "[" + ", ".join("..." if i is None else fmt(values[i].item()) for i in shown) + "]"
    rows = ("..." if i is None else _lines(values[i], fmt, indent + " ") for i in shown)
    return "[" + f",\n{indent} ".join(rows) + "]"


def to_text(values: np.ndarray, dtype: Dtype) -> str:
    """The text of an array: long axes abbreviated, the type at the end.

    >>> import arrax.core as mx
    >>> mx.arange(100)
    array([0, 1, 2, ..., 97, 98, 99], dtype=int32)
    """
    if dtype is bfloat16:
        values = values.astype(np.float32)
    fmt = _formatter(dtype) if dtype is not bool_ else str
    body = fmt(values.item()) if values.ndim == 0 else _lines(values, fmt, " " * len("array("))
    return f"array({body}, dtype={dtype.name})"
