"""Composites: operations that are recorded as one node, and opened by the compiler.

Most functions of the API record what they are composed of, so that transforms need no rules for them. Where no
transform looks, one node does: recording a node, and reading it at every evaluation, is what small operations cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import NO_VMAP, NONDIFF, Primitive, register

Body = Callable[[tuple[Node, ...], tuple], Node]


def _never(params: tuple, shape: Shape, dtype: Dtype, *arrays: Any) -> Any:
    raise AssertionError("[composite] the references open a composite")


def composite(name: str, body: Body, samples: Any) -> Primitive:
    """Declares what ``body`` composes from nodes and parameters.

    The parameters decide what is composed, up to the sizes of the inputs, where those are larger than a handful: one
    plan serves all of those.
    """

    def infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
        result = body(inputs, params)
        return result.shape, result.dtype

    return register(Primitive(name, "composite", infer, _never, NONDIFF, NO_VMAP, lower=body, samples=samples))
