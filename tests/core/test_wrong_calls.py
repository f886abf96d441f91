"""Every public function is called with all kinds of wrong arguments: what it raises says so, in one short line.

What comes from inside of a function that has not looked at its arguments (AttributeError, KeyError, ZeroDivisionError,
RecursionError, a message with a whole array in it) is a fault, and so is a call that does not end.
"""

from __future__ import annotations

import enum
import inspect
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import arrax.core as mx
import arrax.nn as nn
import arrax.optimizers as optim
from arrax import utils

RIGHT = (TypeError, ValueError, IndexError, RuntimeError, OverflowError, MemoryError, OSError, StopIteration)
WRONG = (RecursionError,)  # although RuntimeErrors
MODULES = {
    "mx": mx, "mx.fast": mx.fast, "mx.fft": mx.fft, "mx.linalg": mx.linalg, "mx.random": mx.random, "nn": nn,
    "nn.init": nn.init, "nn.losses": nn.losses, "optim": optim, "utils": utils,
}  # fmt: skip
# They change the process, or make what nobody asks for twice.
LEFT_OUT = {"set_default_device", "set_default_stream", "set_memory_limit", "set_wired_limit", "set_cache_limit",
            "disable_compile", "export_to_dot", "new_stream", "new_thread_local_stream", "seed",
            "set_printoptions"}  # fmt: skip


OPERATORS = "add sub mul truediv floordiv mod pow matmul lt eq ne and or lshift getitem setitem radd format"


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for prefix, module in MODULES.items():
        for name in dir(module):
            value = getattr(module, name)
            own = str(getattr(value, "__module__", "")).startswith("arrax")
            standard = isinstance(value, ModuleType | enum.EnumMeta)
            if name[0] != "_" and own and callable(value) and not standard and name not in LEFT_OUT:
                yield f"{prefix}.{name}", value
    for name in dir(mx.array):
        if name[0] != "_" and callable(getattr(mx.array, name)):
            yield f"array.{name}", getattr(mx.array, name)
    for name in OPERATORS.split():
        yield f"array.__{name}__", getattr(mx.array, f"__{name}__")


def nested(levels: int) -> list:
    found: list = []
    for _ in range(levels):
        found = [found]
    return found


def cyclic() -> list:
    found: list = []
    found.append(found)
    return found


LARGE = mx.arange(2 * 4 * 5 * 8).reshape(2, 4, 5, 8) / 7
X = mx.arange(12.0).reshape(3, 4)
mx.eval(LARGE, X)
KINDS: dict[str, Any] = {
    "None": None, "True": True, "-1": -1, "0": 0, "2**31": 2**31, "-2**63 - 1": -(2**63) - 1, "10**30": 10**30,
    "1.5": 1.5, "nan": float("nan"), "inf": float("inf"), "1j": 1j, "''": "", "'abc'": "abc", "b'x'": b"x", "[]": [],
    "()": (), "{}": {}, "object": object(), "...": ..., "slice": slice(None, None, -1), "mx.float32": mx.float32,
    "ragged": [[1, 2], [3]], "dict": {"a": 1}, "function": lambda *a: None, "cyclic": cyclic(), "deep": nested(5000),
    "large": LARGE, "whole": mx.array([2, 0, 7]), "empty": mx.zeros((0, 3)), "complex": mx.ones((3, 4), mx.complex64),
    "list of arrays": [X, LARGE], "tree": {"w": [X, {"b": LARGE}]},
}  # fmt: skip


def fault(function: Callable[..., Any], args: tuple) -> str | None:
    try:
        found = function(*args)
        if inspect.isclass(function) and isinstance(found, nn.Module):
            found(X)
        elif inspect.isclass(function) and isinstance(found, optim.Optimizer):
            found.apply_gradients({"w": X}, {"w": LARGE})
    except WRONG as error:
        return repr(error)[:100]
    except RIGHT as error:
        text = str(error)
        if len(text) > 400 or "\n" in text:
            return f"{type(error).__name__} in many words: {text[:100]!r}"
    except Exception as error:
        return repr(error)[:100]
    return None


def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    before, state = signal.signal(signal.SIGALRM, stop), mx.random.state[0]
    found = []
    try:
        for name, function in functions():
            for kind, value in KINDS.items():
                for args in ((value,), (X, value), (value, X)):
                    signal.alarm(20)
                    try:
                        wrong = fault(function, args)
                    except KeyboardInterrupt:
                        wrong = "it does not end"
                    if wrong:
                        place = ", ".join(kind if a is value else "x" for a in args)
                        found.append(f"{name}({place}): {wrong}")
                        break
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        mx.random.state[0] = state
    assert not found, f"{len(found)} calls\n" + "\n".join(found)


def test_precision_of_printed_numbers():
    """`set_printoptions` changes the process: what it refuses leaves the precision as it was."""
    for wrong in (None, "3", {}, 1.5, 2**31, 10**30, -2, 2**20):
        with pytest.raises((TypeError, ValueError), match=r"\[set_printoptions\]"):
            mx.set_printoptions(wrong)
    assert mx.get_printoptions().precision == -1
