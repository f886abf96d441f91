"""Functions that were traced once for arguments of any sizes: a template for each kind of sizes that they meet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from arrax.graph.node import Node, Shape
from arrax.graph.primitive import bind
from arrax.graph.symbol import Symbol, Symbols
from arrax.graph.template import Template, needed, resolve
from arrax.prims.leaf import as_scalar, const
from arrax.transforms.tracing import unknown

TEMPLATES = 64


class Family:
    """What a trace on symbols recorded.

    Args:
        symbols: those of the trace.
        placeholders: its arguments, whose shapes are symbols.
        outputs: what it computed from them.
    """

    def __init__(self, symbols: Symbols, placeholders: Sequence[Node], outputs: Sequence[Node]) -> None:
        self._symbols = symbols
        self._templates: OrderedDict[tuple[Shape, ...], Template] = OrderedDict()
        self._constants: list[Node] = []
        self._program: list[tuple[Node, tuple[int, ...]]] = []
        targets = [resolve(n) for n in outputs]
        at = {id(n): i for i, n in enumerate(placeholders)}
        inside = set(at)
        body: list[Node] = []
        for node in needed(targets):
            if id(node) in at:
                continue
            inputs = [id(resolve(i)) for i in node.inputs] if node.buffer is None else []
            if not inside.isdisjoint(inputs) or _is_symbolic(node.params):
                inside.add(id(node))
                body.append(node)
        outer = [resolve(i) for node in body for i in node.inputs]
        for node in [*outer, *targets]:
            if id(node) not in inside and id(node) not in at:
                at[id(node)] = len(at)
                self._constants.append(node)
        for node in body:
            at[id(node)] = len(at)
            self._program.append((node, tuple([at[id(resolve(i))] for i in node.inputs])))
        self._results = [at[id(n)] for n in targets]

    def template(self, arguments: Sequence[Node]) -> Template | None:
        """The template for arguments like these; None where the trace does not hold for their sizes."""
        shapes = tuple([n.shape for n in arguments])
        found = self._templates.get(shapes)
        if found is None:
            numbers = self._symbols.values(shapes)
            if numbers is None:
                return None
            placeholders = [unknown(n) for n in arguments]
            values: list[Node] = [*placeholders, *self._constants]
            for node, at in self._program:
                params = _resolved(node.params, numbers)
                if node.prim is const:
                    values.append(Node(const, (), (as_scalar(params[0], node.dtype),), (), node.dtype))
                else:
                    values.append(bind(node.prim, tuple([values[i] for i in at]), params))
            found = self._templates[shapes] = Template(placeholders, [values[i] for i in self._results])
            if len(self._templates) > TEMPLATES:
                self._templates.popitem(last=False)
        return found


def _is_symbolic(params: Any) -> bool:
    if isinstance(params, tuple):
        return any(map(_is_symbolic, params))
    return type(params) is Symbol


def _resolved(params: Any, numbers: list[Any]) -> Any:
    if isinstance(params, tuple):
        return tuple([_resolved(p, numbers) for p in params])
    return numbers[params.position] if type(params) is Symbol else params
