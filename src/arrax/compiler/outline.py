"""What calls and composites are made of, but for their inputs: looked at whenever a graph of other sizes is bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from arrax.compiler.index import size_form
from arrax.graph.node import Node
from arrax.graph.template import number_of, opened
from arrax.prims.leaf import placeholder

OUTLINES = 1024


class Outline(NamedTuple):
    """A call or a composite on stand-ins for its inputs.

    Attributes:
        parts: its operations, in the order of ``opened``.
        number: outlines of one number are made of the same operations, up to the sizes that are not tiny.
        sizes: those of its operations, in order.
    """

    parts: list[Node]
    number: int
    sizes: tuple[int, ...]


_outlines: OrderedDict[tuple, Outline] = OrderedDict()


def outline(node: Node) -> Outline:
    """That of a node; the same one for nodes of the same parameters and types of inputs."""
    key = (node.prim, node.params, tuple([(n.shape, n.dtype) for n in node.inputs]))
    found = _outlines.get(key)
    if found is None:
        inputs = [Node(placeholder, (), (), n.shape, n.dtype) for n in node.inputs]
        found = _outlines[key] = _made_of(inputs, *opened(node, inputs))
        if len(_outlines) > OUTLINES:
            _outlines.popitem(last=False)
    else:
        _outlines.move_to_end(key)
    return found


def _made_of(inputs: Sequence[Node], parts: list[Node], results: Sequence[Node]) -> Outline:
    position = {id(n): i for i, n in enumerate((*inputs, *parts))}
    program = []
    for part in parts:
        form = tuple(map(size_form, part.shape))
        at = tuple([position[id(x)] for x in part.inputs])
        program.append((part.prim, part.prim.static(part), part.dtype, form, at))
    number = number_of((tuple(program), tuple([position[id(n)] for n in results])))
    return Outline(parts, number, tuple([n for part in parts for n in part.shape]))
