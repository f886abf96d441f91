"""The verifier of recorded graphs."""

from __future__ import annotations

import numpy as np
import pytest
from tests.specs import all_cases, apply, node

from arrax.graph import dtypes
from arrax.graph.node import Node, topological
from arrax.graph.verify import verify
from arrax.prims import pointwise, reduce, view


def _graph() -> tuple[Node, Node, Node]:
    a = node(np.ones((2, 3), np.float32))
    b = pointwise.exp(a)
    return a, b, view.reshape(pointwise.add(b, a), (3, 2))


def test_what_the_functions_record_is_right() -> None:
    verify(topological([_graph()[2]]))
    for case in all_cases():
        verify(topological([apply(case, [node(a) for a in case.arrays])]))


def test_shape_and_type_are_inferred_again() -> None:
    a, b, _ = _graph()
    with pytest.raises(AssertionError, match="has shape"):
        verify([a, Node(b.prim, (a,), (), (2, 4), a.dtype)])
    with pytest.raises(AssertionError, match="has type"):
        verify([a, Node(b.prim, (a,), (), a.shape, dtypes.int32)])
    with pytest.raises(AssertionError, match="has shape"):
        verify([a, Node(reduce.sum_p, (a,), ((1,),), (2,), a.dtype)])


def test_order_and_cycles() -> None:
    a, b, c = _graph()
    with pytest.raises(AssertionError, match="before its input"):
        verify([b, a])
    with pytest.raises(AssertionError, match="twice"):
        verify([a, a])
    b.inputs = (c,)
    with pytest.raises(AssertionError, match="before its input"):
        verify(topological([c]))


def test_parameters_are_hashable() -> None:
    a, _, _ = _graph()
    with pytest.raises(AssertionError, match="hashed"):
        verify([a, Node(view.reshape_p, (a,), ([3, 2],), (3, 2), a.dtype)])
