"""Random programs in MLX's API, as text that runs on any implementation.

A program is grown operation by operation. Its values are computed while it grows (by the oracle), so that only
operations are chosen that are defined, stay in range and are well conditioned: a value is *exact* as long as all its
digits are certain in every order of evaluation, and only exact values are compared, rounded, or turned into indices.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import mlx.core as mlx
import numpy as np

SIZES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 65, 100)
FLOATS = ("float32", "float16", "bfloat16")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
DIGITS = {"float32": 24, "float16": 11, "bfloat16": 8}
SUMS = ("sum", "mean", "var", "norm", "softmax", " @ ", "addmm", "dot", "inner")
LARGEST = 6000  # elements of a value
BOUND = 1e4  # magnitude of an inexact value


@dataclass
class Value:
    """A value of a program, as the oracle computes it.

    Attributes:
        name: the variable.
        array: its value; float64 for floats.
        dtype: the name of its type.
        grain: for floats that are exact, a number that all of them are multiples of; otherwise None.
    """

    name: str
    array: np.ndarray
    dtype: str
    grain: float | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_integer(self) -> bool:
        return "int" in self.dtype

    @property
    def is_exact(self) -> bool:
        return not self.is_float or self.grain is not None


@dataclass
class Step:
    """One statement: ``name`` is defined by ``lines`` from other variables."""

    name: str
    lines: list[str]
    uses: list[str]
    exact: bool
    epsilon: float = 0.0  # half the distance of neighbouring numbers in the coarsest type involved
    rounding: float = 0.0  # what rounding changes the value by, if it is of half precision


@dataclass
class Program:
    """Inputs (variable, type, shape, seed), statements and the variables that are returned."""

    inputs: list[tuple[str, str, tuple[int, ...], int]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def source(self, wrap: str = "") -> str:
        """The program as a function of its inputs; ``wrap(number, value, epsilon)`` is applied to inexact values."""
        lines = [f"def program(mx, {', '.join(n for n, *_ in self.inputs)}):"]
        for k, step in enumerate(self.steps):
            lines += [f"    {line}" for line in step.lines]
            if wrap and not step.exact:
                lines.append(f"    {step.name} = {wrap}({k}, {step.name}, {step.epsilon})")
        return "\n".join([*lines, f"    return {', '.join(self.outputs)},"])

    def function(self, wrap: Callable[[int, Any, float], Any] | None = None) -> Callable[..., Any]:
        space: dict[str, Any] = {"wrap": wrap}
        exec(self.source("wrap" if wrap else ""), space)
        return space["program"]

    def arrays(self, mx: ModuleType) -> list[Any]:
        return [
            mx.array(data(d, s, seed)).astype(getattr(mx, d if d != "bool" else "bool_"))
            for _, d, s, seed in self.inputs
        ]

    def used(self) -> Program:
        """The program without what its outputs do not depend on."""
        wanted = set(self.outputs)
        steps = []
        for step in reversed(self.steps):
            if step.name in wanted:
                wanted.update(step.uses)
                steps.append(step)
        return Program([i for i in self.inputs if i[0] in wanted], steps[::-1], self.outputs)


def data(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The elements of an input: small multiples of 1/4, small integers, or truth values."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in UNSIGNED:
        return rng.integers(0, 9, shape).astype(dtype)
    if dtype in SIGNED:
        return rng.integers(-6, 7, shape).astype(dtype)
    return (rng.integers(-12, 13, shape) / 4).astype(np.float32)


def _numpy(a: Any) -> np.ndarray:
    """An array of the oracle's in float64 if it is of floats."""
    if mlx.issubdtype(a.dtype, mlx.floating):
        return np.array(a.astype(mlx.float32), dtype=np.float64)
    return np.array(a)


class Rejected(Exception):
    """The operation that was tried is not defined or not well conditioned here."""


class Grower:
    """Grows one program. ``rng`` decides everything."""

    def __init__(self, rng: random.Random, *, smooth: bool = False, sizes: Sequence[int] = SIZES) -> None:
        self.rng = rng
        self.sizes = sizes
        self.smooth = smooth  # only operations whose derivative both implementations have
        self.program = Program()
        self.values: list[Value] = []
        self.live: dict[str, Any] = {}
        self.fresh = 0

    # --- choices ------------------------------------------------------------------------------------------------------
    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, items: Sequence[Any]) -> Any:
        if not items:
            raise Rejected
        return items[self.rng.randrange(len(items))]

    def value(self, accept: Callable[[Value], bool] = lambda v: True) -> Value:
        """One of the values so far; recent ones are likelier."""
        fitting = [v for v in self.values if accept(v)]
        if not fitting:
            raise Rejected
        return self.pick(fitting[-4:]) if self.chance(0.6) else self.pick(fitting)

    def float_value(self) -> Value:
        return self.value(lambda v: v.is_float)

    def partner(self, a: Value, accept: Callable[[Value], bool] = lambda v: True) -> Value:
        """A value whose shape broadcasts with that of ``a``."""

        def fits(v: Value) -> bool:
            try:
                return accept(v) and math.prod(np.broadcast_shapes(a.shape, v.shape)) <= LARGEST
            except ValueError:
                return False

        if self.chance(0.2):
            shape = tuple(n if self.chance(0.7) else 1 for n in a.shape)[self.rng.randrange(a.ndim + 1) :]
            v = self.new_input(a.dtype, shape)
            if accept(v):
                return v
        return self.value(fits)

    def axis(self, a: Value) -> int:
        if not a.ndim:
            raise Rejected
        return self.rng.randrange(-a.ndim, a.ndim)

    def axes(self, a: Value) -> tuple[int, ...]:
        count = self.rng.randint(1, a.ndim) if a.ndim else 0
        return tuple(self.rng.sample(range(a.ndim), count))

    def shape(self) -> tuple[int, ...]:
        while True:
            shape = tuple(self.pick(self.sizes) for _ in range(self.pick((0, 1, 1, 2, 2, 2, 3, 3, 4))))
            if math.prod(shape) <= LARGEST // 2:
                return shape

    # --- growth -------------------------------------------------------------------------------------------------------
    def name(self) -> str:
        self.fresh += 1
        return f"v{self.fresh}"

    def new_input(self, dtype: str, shape: tuple[int, ...]) -> Value:
        if math.prod(shape) > LARGEST:
            raise Rejected
        name = self.name()
        self.program.inputs.append((name, dtype, shape, self.rng.randrange(1 << 30)))
        self.live[name] = Program([self.program.inputs[-1]]).arrays(mlx)[0]
        exact = 0.25 if dtype in FLOATS else None
        self.values.append(Value(name, _numpy(self.live[name]), dtype, exact))
        return self.values[-1]

    def add(self, lines: str | list[str], uses: list[Value], grain: float | None = None) -> Value:
        """Appends a statement, in which ``{}`` stand for ``uses`` and ``$`` for the new variable."""
        name = self.name()
        lines = [lines] if isinstance(lines, str) else lines
        if len(lines) == 1 and not lines[0].startswith("$ ="):
            lines = [f"$ = {lines[0]}"]
        text = [line.format(*[v.name for v in uses]).replace("$", name) for line in lines]
        space = {"mx": mlx, **{v.name: self.live[v.name] for v in uses}}
        # views and copies: an in-place update must not change its operand's variable
        try:
            exec("\n".join(text), space)
            result = space[name]
            if not 0 < result.size <= LARGEST:
                raise Rejected
            array = _numpy(result)
        except (ValueError, TypeError, IndexError, RuntimeError, OverflowError) as error:
            raise Rejected(str(error)) from error
        dtype = str(result.dtype).split(".")[-1]
        if dtype not in (*FLOATS, *SIGNED, *UNSIGNED, "bool"):
            raise Rejected
        largest = float(np.max(np.abs(array.astype(np.float64))))
        if not np.isfinite(largest) or largest > (BOUND if dtype in FLOATS else 1 << 20):
            raise Rejected
        if grain is not None and (dtype not in FLOATS or largest / grain > 1 << (DIGITS[dtype] - 1)):
            grain = None
        if dtype in FLOATS and grain is None and largest > 100 and dtype != "float32":
            raise Rejected
        value = Value(name, array, dtype, grain)
        self.live[name] = result
        self.values.append(value)
        epsilon = max((2.0 ** -DIGITS[v.dtype] for v in (value, *uses) if v.is_float), default=0.0)
        # the oracle's sums may be off by a rounding per element, all in one direction
        rounding = epsilon * largest if dtype in FLOATS[1:] else 0.0
        epsilon *= 1 + max((v.array.size // 64 for v in uses), default=0) * any(f in text[0] for f in SUMS)
        self.program.steps.append(Step(name, text, [v.name for v in uses], value.is_exact, epsilon, rounding))
        return value

    def grow(self, length: int, operations: Sequence[Callable[[Grower], None]]) -> Program:
        """A program of at most so many statements."""
        kinds = (
            (*FLOATS[:1] * 6, *FLOATS[1:])
            if self.smooth
            else (*FLOATS[:1] * 8, *FLOATS[1:], "int32", "int32", "bool", self.pick(SIGNED), self.pick(UNSIGNED))
        )
        for i in range(self.rng.randint(1, 3)):
            self.new_input("float32" if i == 0 else self.pick(kinds), self.shape())
        tries = 0
        while len(self.program.steps) < length and tries < 20 * length:
            tries += 1
            before = len(self.values), len(self.program.inputs), len(self.program.steps)
            try:
                self.pick(operations)(self)
            except Rejected:
                del self.values[before[0] :], self.program.inputs[before[1] :], self.program.steps[before[2] :]
        steps = self.program.steps
        names = [s.name for s in steps]
        if not names:
            raise Rejected
        used = {u for s in steps for u in s.uses}
        outputs = [n for n in reversed(names) if n not in used or self.chance(0.1)]
        self.program.outputs = outputs[:4]
        return self.program.used()
