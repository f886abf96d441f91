"""Random programs in MLX's API, as text that runs on any implementation, and their inputs.

A program is a function of ``mx`` and its inputs: a list of statements, each of which defines one variable, and the
variables that are returned. A statement may bring a function along, which a transform is applied to. Programs are plain
values: what makes one smaller makes another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = (*SIGNED, *UNSIGNED)
DTYPES = (*FLOATS, *INTEGERS, "bool", "complex64")
# What the elements of an input may be; "plain" are small numbers without anything special.
DATA = ("plain", "ties", "zeros", "equal", "special", "large", "tiny")


def numpy_type(dtype: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def _special(dtype: str, kind: str) -> list[float]:
    """The numbers that data of a kind are drawn from, or that replace some of them."""
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        low = [int(limits.min), int(limits.min) + 1] if limits.min else []
        return {"ties": [0, 1, 2], "zeros": [0, 0, 1]}.get(kind, [*low, int(limits.max), int(limits.max) - 1, 0, 1])
    limits = ml_dtypes.finfo(numpy_type("float32" if dtype == "complex64" else dtype))
    largest, smallest = float(limits.max), float(limits.smallest_normal)
    return {
        "ties": [-1.0, 0.0, 0.5, 1.0, 2.0],
        "zeros": [0.0, -0.0, 1.0],
        "special": [math.nan, math.inf, -math.inf, -0.0, 0.0, largest, -largest, smallest, smallest / 2],
        "large": [largest * f for f in (0.9, -0.9, 0.5, -0.3, 0.01)],
        "tiny": [smallest * f for f in (0.25, -0.5, 1.0, 2.0, -3.0)],
    }[kind]


def data(dtype: str, shape: Sequence[int], seed: int, kind: str = "plain") -> np.ndarray:
    """The elements of an input, of one of the kinds in ``DATA``."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < (1.0 if kind == "equal" else 0.5)
    if kind == "equal":
        return np.full(shape, data(dtype, (), seed), numpy_type(dtype))
    if dtype in INTEGERS:
        plain = rng.integers(0 if dtype in UNSIGNED else -9, 10, shape)
    elif dtype == "complex64":
        plain = (rng.integers(-40, 41, shape) + 1j * rng.integers(-40, 41, shape)) / 16
    else:
        plain = rng.integers(-60, 61, shape) / 16
    result = np.array(plain).astype(numpy_type(dtype))
    if kind == "plain" or (kind == "tiny" and dtype in INTEGERS):
        return result
    numbers = np.array(_special(dtype, kind), object).astype(numpy_type(dtype))
    chosen = rng.choice(numbers, shape) if numbers.dtype.kind != "V" else numbers[rng.integers(0, len(numbers), shape)]
    share = 0.2 if kind == "special" else 1.0
    return np.where(rng.random(shape) < share, chosen, result).astype(numpy_type(dtype)).reshape(shape)


def make(mx: Any, elements: np.ndarray, dtype: str) -> Any:
    """An array of an implementation, with the very bits of ``elements``."""
    if dtype == "bfloat16":
        return mx.array(np.ascontiguousarray(elements).view(np.uint16).reshape(elements.shape)).view(mx.bfloat16)
    return mx.array(elements, getattr(mx, "bool_" if dtype == "bool" else dtype))


def elements_of(mx: Any, array: Any) -> np.ndarray:
    """The elements of an implementation's array, of its own type."""
    if array.dtype == mx.bfloat16:
        return np.array(mx.contiguous(array).view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.array(array)


def dtype_of(array: Any) -> str:
    return str(array.dtype).split(".")[-1].removesuffix("_")


# --- what the programs call ------------------------------------------------------------------------------------------
def weighted(mx: Any, x: Any) -> Any:
    """A sum in which each element has a weight of its own, so that its derivative shows which is which."""
    return mx.sum(x.astype(mx.float32) * direction(mx, x).astype(mx.float32))


def direction(mx: Any, x: Any) -> Any:
    """Numbers between -1 and 1 in the shape and type of ``x``."""
    return mx.cos(mx.arange(x.size, dtype=mx.float32)).reshape(x.shape).astype(x.dtype)


# --- programs --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Input:
    """An argument: data of a kind, or the very ``elements``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    seed: int = 0
    kind: str = "plain"
    elements: np.ndarray | None = None

    def values(self) -> np.ndarray:
        if self.elements is not None:
            return self.elements
        return data(self.dtype, self.shape, self.seed, self.kind)

    def text(self) -> str:
        """The input as an argument of ``agree``."""
        if self.elements is None:
            return f'data("{self.dtype}", {self.shape}, {self.seed}, "{self.kind}")'
        bits = self.elements.astype(np.float32) if self.dtype == "bfloat16" else self.elements
        name = "ml_dtypes.bfloat16" if self.dtype == "bfloat16" else f'"{self.dtype}"'
        return f"np.array({bits.tolist()}, {name})".replace("nan", "math.nan").replace("inf", "math.inf")


@dataclass(frozen=True)
class Function:
    """A function that a statement applies a transform to; ``result`` is the text of what it returns."""

    name: str
    parameters: tuple[str, ...]
    statements: tuple[Statement, ...]
    result: str

    def lines(self) -> list[str]:
        inner = [line for s in self.statements for line in s.lines()]
        return [f"def {self.name}({', '.join(self.parameters)}):", *_indented([*inner, f"return {self.result}"])]


@dataclass(frozen=True)
class Statement:
    """The definition of one variable.

    Attributes:
        name: the variable.
        template: its definition, in which ``{0}`` is the first of ``uses``; several lines call the variable ``$``.
        uses: the variables that it needs.
        kind: the name of the operation that made it.
        ulps: how many units in the last place of its largest element the result depends on what else is computed with
            it; 0 where it does not at all.
        oracle: how near the result must be to that of others: see ``oracle.NEARNESS``; None where they do not say.
        numpy: whether the text means the same with NumPy's functions.
        function: what the text calls.
        alike: the text of another definition with the same result.
    """

    name: str
    template: str
    uses: tuple[str, ...]
    kind: str
    ulps: float = 0.0
    oracle: str | None = "near"
    numpy: bool = False
    function: Function | None = None
    alike: str | None = None

    def lines(self, template: str | None = None) -> list[str]:
        text = (template or self.template).format(*self.uses)
        lines = text.replace("$", self.name).split("\n") if "$" in text else [f"{self.name} = {text}"]
        return [*(self.function.lines() if self.function else ()), *lines]

    def run(self, mx: Any, values: dict[str, Any], template: str | None = None) -> Any:
        """What the statement computes from values of its variables."""
        space = {**namespace(mx), **{n: values[n] for n in self.uses}}
        exec("\n".join(self.lines(template)), space)
        return space[self.name]


@dataclass(frozen=True)
class Program:
    """Inputs, statements, and the variables that are returned."""

    inputs: tuple[Input, ...]
    statements: tuple[Statement, ...]
    outputs: tuple[str, ...]

    def source(self, after: str = "") -> str:
        """The program as a function; ``after(name, value)`` is put around each variable if it is given."""
        lines = []
        for s in self.statements:
            lines += s.lines()
            if after:
                lines.append(f'{s.name} = {after}("{s.name}", {s.name})')
        parameters = ", ".join(("mx", *(i.name for i in self.inputs)))
        returned = f"return {', '.join(self.outputs)},"
        return "\n".join([f"def program({parameters}):", *_indented([*lines, returned])])

    def function(self, after: Callable[[str, Any], Any] | None = None) -> Callable[..., Any]:
        """The program as a function of ``mx`` and arrays."""
        space = {**namespace(None), "after": after}
        exec(self.source("after" if after else ""), space)
        return space["program"]

    def arrays(self, mx: Any) -> list[Any]:
        return [make(mx, i.values(), i.dtype) for i in self.inputs]

    def used(self) -> Program:
        """The program without what its outputs do not depend on."""
        wanted, kept = set(self.outputs), []
        for s in reversed(self.statements):
            if s.name in wanted:
                wanted.update(s.uses)
                kept.append(s)
        return replace(self, inputs=tuple(i for i in self.inputs if i.name in wanted), statements=tuple(kept[::-1]))

    def exact(self) -> frozenset[str]:
        """The variables whose values do not depend on what is computed together."""
        exact = {i.name for i in self.inputs}
        for s in self.statements:
            if not s.ulps and exact.issuperset(s.uses):
                exact.add(s.name)
        return frozenset(exact)


def namespace(mx: Any) -> dict[str, Any]:
    """The names that the text of a statement may use, beside its variables."""
    return {"mx": mx, "weighted": weighted, "direction": direction, "math": math}


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def statements_within(program: Program) -> Iterator[Statement]:
    """All statements, those of functions as well."""
    pending = list(program.statements)
    while pending:
        s = pending.pop()
        yield s
        if s.function:
            pending += s.function.statements
