"""Runs a program on both implementations and compares; reduces one that disagrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import mlx.core as mlx
import numpy as np
from tests.differential.programs import Program

import arrax.core as arrax

EPSILON = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
NOISE = 4  # roundings that an operation may do
SAFETY = 24
# Errors that the disturbed programs do not show: those of the sums and products that only a derivative takes.
ROUNDINGS = {"grad": 4, "jvp": 4, "second": 16}
SMALLEST = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 1.6e-2}  # sums with 1 in half precision

Result = list[tuple[str, np.ndarray]]


def _plain(tree: Any, mx: Any) -> Result:
    """Arrays in any containers, in order: their types and values."""
    if isinstance(tree, mx.array):
        name = str(tree.dtype).split(".")[-1]
        wide = mx.issubdtype(tree.dtype, mx.floating)
        return [(name, np.array(tree.astype(mx.float32), np.float64) if wide else np.array(tree))]
    if isinstance(tree, dict):
        tree = [tree[k] for k in sorted(tree)]
    return [leaf for item in tree for leaf in _plain(item, mx)]


def _forward(program: Program, mx: Any, wrap: Any) -> Any:
    return program.function(wrap)(mx, *program.arrays(mx))


def _gradient(program: Program, mx: Any, wrap: Any) -> Any:
    """The derivatives of the sum of all floating point outputs with respect to all floating point inputs."""
    f = program.function(wrap)
    inputs = program.arrays(mx)
    numbers = [i for i, (_, dtype, _, _) in enumerate(program.inputs) if "float" in dtype]

    def total(*arrays: Any) -> Any:
        result = mx.array(0.0)
        for k, y in enumerate(f(mx, *arrays)):
            if mx.issubdtype(y.dtype, mx.floating):
                weights = (1 + 0.5 * mx.cos(mx.arange(y.size, dtype=mx.float32) + k)).reshape(y.shape)
                result = result + mx.sum(y.astype(mx.float32) * weights)
        return result

    return mx.grad(total, numbers)(*inputs)


def _batched(program: Program, mx: Any, wrap: Any) -> Any:
    """The program mapped over three values of every other input."""
    f = program.function(wrap)
    inputs = program.arrays(mx)
    axes: list[int | None] = [0 if i % 2 == 0 else None for i in range(len(inputs))]
    inputs = [
        mx.stack([a, mx.flip(a, tuple(range(a.ndim))) if a.ndim else a, a], 0) if axis == 0 else a
        for a, axis in zip(inputs, axes, strict=True)
    ]
    if mx is arrax:
        return mx.vmap(lambda *arrays: f(mx, *arrays), in_axes=tuple(axes))(*inputs)
    # MLX's own vmap updates the first batch entry only where an update is not batched: a loop is the oracle
    rows = [f(mx, *[a if axis is None else a[i] for a, axis in zip(inputs, axes, strict=True)]) for i in range(3)]
    return [mx.stack(list(outputs), 0) for outputs in zip(*rows, strict=True)]


def _compiled(program: Program, mx: Any, wrap: Any) -> Any:
    """The second call of the compiled program, with other data than the first."""
    f = program.function(wrap)
    inputs = program.arrays(mx)
    if mx is not arrax:
        return f(mx, *inputs)
    g = mx.compile(lambda *arrays: f(mx, *arrays))
    mx.eval(g(*[mx.zeros_like(a) for a in inputs]))
    return g(*inputs)


def _differential(program: Program, mx: Any, wrap: Any) -> Any:
    """The directional derivative along a fixed direction in all floating point inputs."""
    f = program.function(wrap)
    inputs = program.arrays(mx)
    numbers = [i for i, (_, dtype, _, _) in enumerate(program.inputs) if "float" in dtype]

    def g(*chosen: Any) -> Any:
        arrays = list(inputs)
        for i, a in zip(numbers, chosen, strict=True):
            arrays[i] = a
        return [y for y in f(mx, *arrays) if mx.issubdtype(y.dtype, mx.floating)]

    primals = [inputs[i] for i in numbers]
    tangents = [mx.cos(mx.arange(a.size, dtype=mx.float32)).reshape(a.shape).astype(a.dtype) for a in primals]
    return mx.jvp(g, primals, tangents)


def _second(program: Program, mx: Any, wrap: Any) -> Any:
    """The derivative of the sum of the squares of the derivatives."""
    f = program.function(wrap)
    inputs = program.arrays(mx)
    numbers = [i for i, (_, dtype, _, _) in enumerate(program.inputs) if dtype == "float32"]

    def total(*arrays: Any) -> Any:
        result = mx.array(0.0)
        for y in f(mx, *arrays):
            if mx.issubdtype(y.dtype, mx.floating):
                result = result + mx.mean(mx.square(y.astype(mx.float32)))
        return result

    def squares(*arrays: Any) -> Any:
        return sum(mx.sum(mx.square(g)) for g in mx.grad(total, numbers)(*arrays))

    return mx.grad(squares, numbers)(*inputs)


MODES: dict[str, Callable[[Program, Any, Any], Any]] = {
    "forward": _forward,
    "grad": _gradient,
    "vmap": _batched,
    "compile": _compiled,
    "jvp": _differential,
    "second": _second,
}


def _noise(seed: int) -> Callable[[int, Any, float], Any]:
    """Disturbs the oracle's inexact values by a few roundings, to see how much the result depends on them."""

    def wrap(number: int, value: Any, epsilon: float) -> Any:
        rng = np.random.default_rng(seed * 1009 + number)
        factors = 1 + NOISE * epsilon * rng.choice((-1, 1), value.shape)
        return (value.astype(mlx.float32) * mlx.array(factors.astype(np.float32))).astype(value.dtype)

    return wrap


def _one_by_one(number: int, value: Any, epsilon: float) -> Any:
    arrax.eval(value)
    return value


def discrepancy(program: Program, mode: str = "forward", unfused: bool = True) -> str | None:
    """What differs between the implementations; None where nothing does or where the oracle cannot do it."""
    if mode == "jvp" and any(f in program.source() for f in ("mx.max(", "mx.min(")):
        return None  # where several elements are the largest, MLX's jvp takes one of them, its vjp all
    run = MODES[mode]
    try:
        expected = _plain(run(program, mlx, None), mlx)
        disturbed = [_plain(run(program, mlx, _noise(seed)), mlx) for seed in (1, 2, 3)]
    except (ValueError, TypeError, IndexError, RuntimeError):
        return None
    ways = [("fused", None)]
    if unfused and mode == "forward":
        ways.append(("unfused", _one_by_one))
    for name, wrap in ways:
        try:
            results = run(_all_wrapped(program) if wrap else program, arrax, wrap)
            arrax.eval(results)  # all in one graph
            found = _plain(results, arrax)
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
        unseen = ROUNDINGS.get(mode, 0) * max((s.epsilon for s in program.steps), default=0.0)
        # half precision is rounded when it is stored: a value may be seen rounded here and not there
        rounding = 2 * max((s.rounding for s in program.steps), default=0.0)
        difference = _compare(found, expected, disturbed, unseen, rounding)
        if difference:
            return f"{name}: {difference}"
    return None


def _all_wrapped(program: Program) -> Program:
    return replace(program, steps=[replace(s, exact=False) for s in program.steps])


def _compare(found: Result, expected: Result, disturbed: list[Result], unseen: float, rounding: float) -> str | None:
    if len(found) != len(expected):
        return f"{len(found)} results, expected {len(expected)}"
    for k, ((found_type, a), (expected_type, b)) in enumerate(zip(found, expected, strict=True)):
        if found_type != expected_type:
            return f"output {k}: type {found_type}, expected {expected_type}"
        if a.shape != b.shape:
            return f"output {k}: shape {a.shape}, expected {b.shape}"
        if b.dtype.kind != "f":
            wrong = a != b
        else:
            spread = max(float(np.max(np.abs(r[k][1] - b), initial=0)) for r in disturbed)
            if not np.isfinite(spread) or not np.all(np.isfinite(b)):
                continue
            largest = float(np.max(np.abs(b), initial=0))
            relative = max(unseen, EPSILON[expected_type])
            tolerance = SAFETY * (spread + relative * largest) + SMALLEST[expected_type] + rounding
            wrong = ~(np.abs(a - b) <= tolerance)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            what = f"output {k} {expected_type}{list(b.shape)}"
            return f"{what}: {wrong.sum()} of {b.size} differ, at {at}: {a[at]}, expected {b[at]}"
    return None


def _smaller(program: Program) -> Iterator[Program]:
    """Programs with less in them: one output, a statement replaced by an input of its shape, fewer statements."""
    if len(program.outputs) > 1:
        for name in program.outputs:
            yield replace(program, outputs=[name]).used()
        for name in program.outputs:
            yield replace(program, outputs=[n for n in program.outputs if n != name]).used()
    for step in program.steps:
        if [step.name] != program.outputs:
            yield replace(program, outputs=[step.name]).used()
    values = _values(program)
    for step in program.steps:
        if step.name in program.outputs:
            continue
        dtype, shape = values[step.name]
        inputs = [*program.inputs, (step.name, dtype, shape, 7)]
        yield replace(program, inputs=inputs, steps=[s for s in program.steps if s is not step]).used()
    for name, dtype, *_ in program.inputs:
        if "bfloat" in dtype or "float16" in dtype:
            changed = [(n, "float32" if n == name else d, s, k) for n, d, s, k in program.inputs]
            yield replace(program, inputs=changed)


def _values(program: Program) -> dict[str, tuple[str, tuple[int, ...]]]:
    every = replace(program, outputs=[s.name for s in program.steps])
    results = _forward(every, mlx, None)
    return {s.name: (str(r.dtype).split(".")[-1], tuple(r.shape)) for s, r in zip(program.steps, results, strict=True)}


def reduced(program: Program, mode: str = "forward", unfused: bool = True, budget: int = 400) -> Program:
    """A smaller program that disagrees too."""
    again = True
    while again and budget > 0:
        again = False
        for candidate in _smaller(program):
            budget -= 1
            if candidate.steps and discrepancy(candidate, mode, unfused):
                program, again = candidate, True
                break
            if budget <= 0:
                break
    return program


def script(program: Program) -> str:
    """The program as a script that prints both results."""
    inputs = ", ".join(
        f"mx.array(data({d!r}, {s}, {k})).astype(mx.{d if d != 'bool' else 'bool_'})" for _, d, s, k in program.inputs
    )
    return "\n".join(
        [
            "import mlx.core as mlx, arrax.core as arrax",
            "from tests.differential.programs import data",
            program.source(),
            "for mx in (mlx, arrax):",
            f"    print(*program(mx, {inputs}))",
        ]
    )
