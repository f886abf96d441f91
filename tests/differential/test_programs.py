"""Random programs: Arrax, fused and operation by operation, does what MLX does; so do derivatives and batching.

``ARRAX_PROGRAMS`` says how many programs the slow test runs (2,000 where it does not), ``ARRAX_FIRST`` from which on.
"""

from __future__ import annotations

import os
from collections import OrderedDict

import numpy as np
import pytest
from tests.differential import compare
from tests.differential.evaluators import by_interpreter, by_reference
from tests.differential.operations import grow
from tests.differential.programs import Program, Step

import arrax.core as arrax
from arrax.runtime import executor

CHUNK = 15
FAST = {"forward": 10, "grad": 5, "vmap": 5}  # chunks


@pytest.fixture(autouse=True)
def everything_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL", 0)
    monkeypatch.setattr(executor, "_bound", OrderedDict())


def check(seed: int, mode: str) -> None:
    program = grow(seed, smooth=mode != "forward")
    difference = compare.discrepancy(program, mode)
    if difference:
        smaller = compare.reduced(program, mode)
        raise AssertionError(f"{mode} of program {seed}: {difference}\nreduced:\n{compare.script(smaller)}")


@pytest.mark.parametrize(("mode", "chunk"), [(mode, i) for mode, count in FAST.items() for i in range(count)])
def test_random_programs(mode: str, chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        check(seed, mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", compare.MODES)
def test_many_random_programs(mode: str) -> None:
    first, count = int(os.environ.get("ARRAX_FIRST", "1000")), int(os.environ.get("ARRAX_PROGRAMS", "2000"))
    for seed in range(first, first + count):
        check(seed, mode)


@pytest.mark.parametrize("first", [5000, 5010])
def test_interpreted_programs(first: int) -> None:
    """The interpreter finds no access outside of a buffer, and no two iterations that meet at one element."""
    for seed in range(first, first + 10):
        program = grow(seed)
        results = program.function()(arrax, *program.arrays(arrax))
        nodes = [r._node for r in results if r._node.buffer is None and r._node.inputs]
        for found, expected in zip(by_interpreter(nodes), by_reference(nodes), strict=True):
            assert found.dtype == expected.dtype
            rough = found.dtype.itemsize == 2 and found.dtype.kind not in "iu"
            tolerance = (0.05 if rough else 1e-3) * max(
                1.0, float(np.max(np.abs(expected.astype(np.float64)), initial=0))
            )
            np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=0, atol=tolerance)


def test_a_wrong_operation_is_found_and_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(
        [("a", "float32", (5, 3), 1), ("b", "float32", (3,), 2)],
        [
            Step("c", ["c = mx.add(a, b)"], ["a", "b"], True),
            Step("d", ["d = mx.tanh(c)"], ["c"], False, 2.0**-24),
            Step("e", ["e = mx.sum(d, 0)"], ["d"], False, 2.0**-24),
        ],
        ["e"],
    )
    assert compare.discrepancy(program) is None
    right = arrax.tanh
    monkeypatch.setattr(arrax, "tanh", lambda x: right(x) * (1 + 1e-4))
    assert "differ" in str(compare.discrepancy(program))
    assert [s.name for s in compare.reduced(program).steps] == ["d"]
    assert "d = mx.tanh(c)" in compare.script(compare.reduced(program))


def test_programs_are_repeatable() -> None:
    assert grow(7).source() == grow(7).source()
    assert grow(7).source() != grow(8).source()
