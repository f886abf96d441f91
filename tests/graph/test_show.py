"""Graphs as text and as pictures."""

from __future__ import annotations

import re

import numpy as np

from arrax.graph import show
from arrax.graph.dtypes import float16, float32
from arrax.graph.node import Node, topological
from arrax.prims.leaf import constant
from arrax.prims.pointwise import add, cast, mul, sin
from arrax.prims.reduce import reduce, sum_p
from arrax.prims.view import broadcast
from arrax.runtime.executor import from_numpy_array


def graph() -> list[Node]:
    x = from_numpy_array(np.ones((2, 3), np.float32))
    y = mul(sin(x), broadcast(constant(2.0, float32), (2, 3)))
    return topological([cast(reduce(sum_p, add(y, y), (1,)), float16)])


def test_text() -> None:
    assert show.text(graph()).splitlines() == [
        "%0  float32[2, 3]  data",
        "%1  float32[2, 3]  sin(%0)",
        "%2  float32[]      const(2.0)",
        "%3  float32[2, 3]  broadcast(%2; (2, 3))",
        "%4  float32[2, 3]  mul(%1, %3)",
        "%5  float32[2, 3]  add(%4, %4)",
        "%6  float32[2, 1]  sum(%5; (1,))",
        "%7  float16[2, 1]  cast(%6; float16)",
    ]
    assert show.text([]) == ""


def test_inputs_that_are_left_out() -> None:
    assert show.text(graph()[-1:]) == "%0  float16[2, 1]  cast(?; float16)"


def test_long_parameters_are_cut() -> None:
    x = Node(sin(constant(1.0, float32)).prim, (), ("x" * 1000,), (), float32)
    assert len(show.text([x])) < 100


def test_pictures() -> None:
    nodes = graph()
    source = show.dot(nodes)
    assert source.startswith("digraph {") and source.endswith("}")
    assert set(re.findall(r'"(%\d)" -> "(%\d)"', source)) == {
        ("%0", "%1"), ("%1", "%4"), ("%2", "%3"), ("%3", "%4"), ("%4", "%5"), ("%5", "%6"), ("%6", "%7"),
    }  # fmt: skip
    assert '"%6" [label="%6 sum\\n(1,)\\nfloat32[2, 1]"]' in source
    assert source.count("style=rounded") == 2  # the data and the constant


def test_frames() -> None:
    nodes = graph()
    source = show.dot(nodes, {'a "frame"': nodes[1:4], "another": [nodes[3], nodes[4]]})
    assert source.count("subgraph cluster_") == 2
    assert 'label="a \\"frame\\""' in source
    assert all(source.count(f'"%{i}" [label') == 1 for i in range(len(nodes)))  # each in one place
