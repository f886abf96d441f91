"""Operands of different precision: whatever a call records, graph and kernels fit together in their types."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.differential import table_calls
from tests.differential.table import Entry, entries

import arrax.core as mx
from arrax.compiler.lower import Task
from arrax.compiler.pipeline import build
from arrax.compiler.verify import verify as verify_kernel
from arrax.graph.template import inlined
from arrax.graph.verify import verify as verify_graph
from arrax.runtime import executor

MAIN = ("float64", "float16", "bfloat16")
OTHERS = (*MAIN, *MAIN, "float32", "complex64", "int32", "uint8", "bool_", "uint64")


def mixed(main: str, choose: random.Random) -> dict[str, Any]:
    """Makers of arrays, half of them of one type."""

    def array(kind: str, shape: tuple[int, ...]) -> mx.array:
        dtype = main if choose.random() < 0.6 else choose.choice(OTHERS)
        if kind == "E":
            a = np.random.default_rng(0).normal(size=(*shape, *shape))
            values = a @ a.T + np.diag(1.0 + np.arange(*shape))
        else:
            values = np.asarray(table_calls.numbers(dtype, kind, shape))
        return mx.array(values).astype(getattr(mx, dtype))

    def maker(kind: str) -> Callable[..., mx.array]:
        return lambda *shape: array(kind, shape)

    names = {kind: maker(kind) for kind in "XYPUE"}
    names["T"] = lambda name, *shape: array("Y", shape)
    return {**table_calls.namespace(mx, main), **names, "D": getattr(mx, choose.choice(OTHERS))}


def verify(results: Any) -> None:
    """Makes the plan of what was recorded; what is in it is checked."""
    nodes, _ = inlined([x._node for x in table_calls.arrays(results)])
    nodes = [n for n in dict.fromkeys(nodes) if n.buffer is None and n.inputs]
    if not nodes:
        return
    order, _, _ = executor._linearise(nodes)
    verify_graph(order)
    if any(0 in n.shape for n in order):
        return
    for step in build(order, nodes).steps:
        if isinstance(step, Task):
            verify_kernel(step.kernel)


def check(entry: Entry, calls: list[str]) -> None:
    for call in calls:
        choose = random.Random(zlib.crc32(f"{entry.name} {call}".encode()))
        for main in MAIN:
            names = {**mixed(main, choose), "F": table_calls.function(mx, entry.name)}
            try:
                results = eval(call, names)
            except (ValueError, TypeError, IndexError, OverflowError, RuntimeError) as error:
                internal = "operands of one type" in str(error) or not str(error).strip()
                assert not internal, f"{entry.name} {main} {call}: {error}"
                continue
            verify(results)


@pytest.mark.parametrize("part", range(4))
def test_functions_of_mixed_operands(part: int) -> None:
    for entry in list(entries())[part::4]:
        check(entry, sorted(entry.calls, key=lambda c: zlib.crc32(c.encode()))[:2])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_all_calls_of_mixed_operands(part: int) -> None:
    for entry in list(entries())[part::8]:
        check(entry, list(entry.calls))
