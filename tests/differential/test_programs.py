"""Random programs give the same bits however they are evaluated, and what MLX and NumPy give.

``make campaign`` runs others, as many as one likes.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from tests.differential import campaign, checks, minimise
from tests.differential.operations import OPERATIONS, grow
from tests.differential.programs import DATA, DTYPES, HALVES, Input, Program, Statement, data, make, statements_within
from tests.differential.ways import agree, difference, everything_compiled

import arrax.core as arrax

COUNT, CHUNK = 500, 50
SHORT = (2, 3, 4)  # statements: what is compiled for the first time takes its time


@pytest.mark.parametrize("first", range(0, COUNT, CHUNK))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + CHUNK):
        program = grow(seed, random.Random(seed).choice(SHORT))
        with everything_compiled():
            problem = checks.failure(program, checks.some_ways(seed, thorough=False))
        assert not problem, f"program {seed}: {problem}\n{minimise.as_test(program, problem, f'program_{seed}')}"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10_000, 11_000, CHUNK))
def test_many_random_programs(first: int) -> None:
    for seed in range(first, first + CHUNK):
        text = campaign.report(seed)
        assert not text, f"program {seed}:\n{text}"


@pytest.mark.parametrize("first", [5000, 5010])
def test_interpreted_programs(first: int) -> None:
    """The interpreter finds no access outside of a buffer, and no two iterations that meet at one element."""
    for seed in range(first, first + 10):
        program = grow(seed, 4)
        with everything_compiled():
            problem = checks.failure(program, ways=("unfused", "interpreted"))
        assert not problem, f"program {seed}: {problem}"


# --- the campaign itself ----------------------------------------------------------------------------------------------
PROGRAM = Program(
    (Input("a", "float32", (5, 3), 1), Input("b", "float32", (3,), 2)),
    (
        Statement("c", "mx.add({0}, {1})", ("a", "b"), "arithmetic", numpy=True),
        Statement("d", "mx.tanh({0})", ("c",), "function", numpy=True),
        Statement("e", "mx.sum({0}, 0)", ("d",), "reduction", oracle="sum"),
        Statement("f", "mx.abs({0})", ("b",), "simple_function"),
    ),
    ("e", "f"),
)


def wrong_tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    right = arrax.tanh
    monkeypatch.setattr(arrax, "tanh", lambda x: right(x) * (1 + 1e-4))


@pytest.mark.parametrize("mlx", [True, False])
def test_a_wrong_operation_is_found_and_reduced(monkeypatch: pytest.MonkeyPatch, mlx: bool) -> None:
    def fails(program: Program) -> str:
        return checks.failure(program, mlx=mlx)

    assert not fails(PROGRAM)
    wrong_tanh(monkeypatch)
    assert fails(PROGRAM).startswith("mlx: d" if mlx else "numpy: d")
    program, problem = minimise.reduced(PROGRAM, fails)
    assert [s.name for s in program.statements] == ["d"]
    assert "d = mx.tanh(" in minimise.as_test(program, problem, "found")


def test_what_depends_on_the_others_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is another one when it is computed with others."""
    right = arrax.abs
    calls: list[int] = []

    def other(x: arrax.array) -> arrax.array:
        calls.append(0)
        return right(x) + (1e-6 if len(calls) % 2 else 0)

    monkeypatch.setattr(arrax, "abs", other)
    assert "f: float32[3]: 3 of 3 differ" in checks.failure(PROGRAM)


def test_an_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: arrax.array) -> arrax.array:
        raise KeyError(3)

    monkeypatch.setattr(arrax, "abs", broken)
    assert checks.failure(PROGRAM).startswith("unfused: KeyError")


def test_a_crash_is_found_and_reduced() -> None:
    crash = Statement("g", "__import__('os')._exit(3)", ("c",), "crash")
    program = replace(PROGRAM, statements=(*PROGRAM.statements, crash), outputs=("e", "f", "g"))

    def fails(candidate: Program) -> str:
        return campaign._in_child(candidate, ("unfused", "fused"))

    assert not fails(PROGRAM)
    reduced, problem = minimise.reduced(program, fails, evaluating=False)
    assert reduced.outputs == ("g",) and problem.startswith("crash: ")


def test_a_test_that_is_printed_runs() -> None:
    elements = np.array([1.5, np.nan, -np.inf], np.float32)
    inputs = (PROGRAM.inputs[0], Input("b", "float32", (3,), elements=elements))
    text = minimise.as_test(Program(inputs, PROGRAM.statements, PROGRAM.outputs), "compiled: what it was", "it")
    space = {"agree": agree, "data": data, "np": np, "math": __import__("math")}
    exec(text, space)
    space["test_it"]()


def test_inexact_values_may_differ_as_much_as_is_stated() -> None:
    """What is not exact spreads to what is computed of it, as far as it goes."""
    statements = [
        Statement("c", "{0} + 1", ("a",), "x", ulps=4.0),
        Statement("d", "{0} * 100", ("c",), "x"),
        Statement("e", "{0} * 2", ("a",), "x"),
    ]
    program = Program((Input("a", "float32", (5,), 1),), tuple(statements), ("d", "e"))
    assert program.exact() == {"a", "e"}
    limit = checks._spread(program, "d")
    assert np.all(limit > 1e-5) and np.all(limit < 1e-1)
    assert np.all(checks._spread(program, "e") == 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", DATA)
def test_data(dtype: str, kind: str) -> None:
    a = data(dtype, (40, 5), 3, kind)
    assert a.shape == (40, 5) and a.dtype.name == dtype
    assert np.array_equal(np.ascontiguousarray(a).view(np.uint8), data(dtype, (40, 5), 3, kind).view(np.uint8))
    array = make(arrax, a, dtype)
    assert not difference(np.array(array) if dtype not in HALVES else a, a)
    if kind == "special" and "float" in dtype:
        assert np.isnan(a.astype(float)).any() and np.isinf(a.astype(float)).any()


def test_differences() -> None:
    a, zero = np.array([1.0, np.nan], np.float32), np.array([0.0, -0.0], np.float32)
    assert not difference(a, a.copy()) and "differ" in difference(a, a[::-1])
    assert difference(zero, zero[::-1]) and not difference(zero, zero[::-1], signs=False)
    assert not difference(a, a + np.float32(1e-3), 2e-3) and difference(a, a + np.float32(1e-3), 1e-4)
    assert "expected float64" in difference(a, a.astype(np.float64))


def test_programs_are_repeatable() -> None:
    assert grow(7).source() == grow(7).source()
    assert grow(7).source() != grow(8).source()


def test_all_is_met() -> None:
    """Each kind of statement occurs, each type, each kind of data."""
    programs = [grow(seed, 8) for seed in range(400)]
    statements = [s for p in programs for s in statements_within(p)]
    assert {o.name for o in OPERATIONS} - {s.kind for s in statements} == set()
    assert {i.dtype for p in programs for i in p.inputs} == set(DTYPES)
    assert {i.kind for p in programs for i in p.inputs} == set(DATA)
