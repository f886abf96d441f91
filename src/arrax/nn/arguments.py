"""Arguments of layers and losses, checked and converted: integers may be NumPy's or arrays, everywhere."""

import operator
import reprlib
from typing import Any

import arrax.core as mx


class _Short(reprlib.Repr):
    """Deep and cyclic values as well."""

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, mx.array):
            return f"an array of {x.dtype} and shape {x.shape}"
        if isinstance(x, int) and x.bit_length() > 128:
            return f"an int of {x.bit_length()} bits"
        return super().repr1(x, level)


_short = _Short()
_short.maxlevel, _short.maxstring, _short.maxother = 3, 60, 60


def shown(value: Any) -> str:
    """A value in an error message: on one line, cut off, an array by its type and shape."""
    text = " ".join(_short.repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def integer(layer: str, name: str, value: Any, least: int = 0, wrong: type[Exception] = TypeError) -> int:
    """An integer from ``least`` on.

    Raises:
        TypeError: it is no integer; or what is ``wrong`` in MLX.
        ValueError: it is less.
    """
    try:
        n = int(operator.index(value))
    except TypeError:
        raise wrong(f"[{layer}] {name} must be an integer but is {shown(value)}.") from None
    if not least <= n < 1 << 31:
        raise ValueError(f"[{layer}] {name} must be at least {least} and less than 2**31 but is {shown(n)}.")
    return n


def number(layer: str, name: str, value: Any) -> float:
    """A number. Raises TypeError for what is none, ValueError for a word or one that is too large."""
    try:
        return float(value)
    except TypeError:
        raise TypeError(f"[{layer}] {name} must be a number but is {shown(value)}.") from None
    except (ValueError, OverflowError):
        raise ValueError(f"[{layer}] {name} must be a number but is {shown(value)}.") from None


def integers(
    layer: str, name: str, value: Any, n: int, least: int = 0, wrong: type[Exception] = TypeError
) -> tuple[int, ...]:
    """Integers from ``least`` on: ``n`` times one, or those of a sequence.

    Raises:
        TypeError: they are no integers; or what is ``wrong`` in MLX.
        ValueError: they are less.
    """
    if not isinstance(value, (list, tuple, range)) and getattr(value, "ndim", 0) != 1:
        return (integer(layer, name, value, least, wrong),) * n
    return tuple(integer(layer, name, v, least, wrong) for v in value)


def group_or_all(function: str, group: Any) -> Any:
    """A group of processes, all where it is None; raises TypeError for what is none."""
    if group is None:
        return mx.distributed.init()
    if not hasattr(group, "rank") or not hasattr(group, "size"):
        raise TypeError(f"[{function}] group must be a group of processes but is {shown(group)}.")
    return group


def arrays(function: str, **values: Any) -> None:
    """Raises TypeError where one of the named arguments is no array."""
    for name, value in values.items():
        if not isinstance(value, mx.array):
            raise TypeError(f"[{function}] {name} must be an array but is {shown(value)}.")
