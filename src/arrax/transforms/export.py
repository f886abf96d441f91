"""Recorded functions that outlive the program: what is written to a file, and what calls it again.

A function is recorded on placeholders, once. Arrays that it uses besides its arguments become constants: those that
existed before are evaluated, what it computes from scalars alone is recorded like everything else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arrax.graph.dtypes import Dtype, bool_
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive
from arrax.graph.symbol import Rules, Symbol, Symbols
from arrax.graph.template import Result, Template, expand, inlined, needed
from arrax.prims.call import call
from arrax.prims.leaf import as_scalar, const, placeholder
from arrax.prims.validity import checked, is_portable
from arrax.runtime.executor import evaluate, tracing
from arrax.transforms.sizes import Formula, Size, matches, sizes_of
from arrax.transforms.tracing import Trace

Type = tuple[Shape, Dtype]
TEMPLATES = 64  # kinds of sizes that an imported function keeps


@dataclass(frozen=True, slots=True)
class Ruled:
    """A number that the function's rules compute: its position among them."""

    position: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One primitive of a recorded function.

    Attributes:
        prim: the primitive; ``const`` for a scalar.
        at: the inputs' positions, counting through the arguments, the constants and the operations.
        params: the parameters; numbers that depend on the arguments' sizes are formulas, or positions in the rules.
        type: the result's shape, for the sizes with which the function was recorded, and element type.
    """

    prim: Primitive
    at: tuple[int, ...]
    params: tuple
    type: Type


@dataclass(eq=False, slots=True)
class Function:
    """One recorded function.

    Attributes:
        inputs: the arguments' types; positional ones first.
        names: of the positional arguments, for calls that pass them by name; None where there is none.
        keywords: the names of the other arguments, in order.
        constants: nodes with data.
        program: the operations in order.
        results: positions of the results.
        sizes: which sizes of the arguments may differ from call to call, or the rules by which they do; None where none
            may.
    """

    inputs: list[Type]
    names: tuple[str | None, ...]
    keywords: tuple[str, ...]
    constants: list[Node]
    program: list[Operation]
    results: list[int]
    sizes: list[Size] | Rules | None = None
    _templates: OrderedDict[tuple, Template] = field(default_factory=OrderedDict)

    def values(self, arguments: Sequence[Node]) -> list[Node]:
        """The arguments, the constants and the operations on them, every node checked.

        Raises ValueError where a parameter does not fit the sizes of the inputs.
        """
        shapes = [n.shape for n in arguments]
        sizes = self.sizes.values(shapes) if isinstance(self.sizes, Rules) else sizes_of(self.sizes or (), shapes)
        if sizes is None:
            raise ValueError("sizes for which the rules hold")
        values = [*arguments, *self.constants]
        for operation in self.program:
            params = tuple([_resolved(p, sizes) for p in operation.params])
            if operation.prim is const:
                params = (as_scalar(params[0], operation.type[1]),)
                values.append(Node(const, (), params, (), operation.type[1]))
            else:
                values.append(checked(operation.prim, tuple([values[i] for i in operation.at]), params))
        return values

    def instantiate(self, arguments: Sequence[Node]) -> list[Node]:
        """The results on the given arguments; raises ValueError like ``values``."""
        values = self.values(arguments)
        return [values[i] for i in self.results]

    def __call__(self, arguments: Sequence[Node]) -> list[Node]:
        """Records a call."""
        if tracing.depth:  # a transform looks inside
            return self.instantiate(arguments)
        key = tuple([n.shape for n in arguments])
        template = self._templates.get(key)
        if template is None:
            placeholders = [Node(placeholder, (), (), n.shape, n.dtype) for n in arguments]
            template = self._templates[key] = Template(placeholders, self.instantiate(placeholders))
            if len(self._templates) > TEMPLATES:
                self._templates.popitem(last=False)
        else:
            self._templates.move_to_end(key)
        return list(call(template, tuple(arguments)))

    def arranged(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """The arguments of a call in the function's order; None if they are too few, too many or others."""
        if len(args) > len(self.names):
            return None
        rest = dict(kwargs)
        found = list(args)
        for name in self.names[len(args) :]:
            if name is None or name not in rest:
                return None
            found.append(rest.pop(name))
        return [*found, *(rest[k] for k in self.keywords)] if set(rest) == set(self.keywords) else None

    def accepts(self, types: Sequence[Type]) -> bool:
        """Whether arguments have the element types that it was recorded for, and the shapes, or at least the ranks."""
        return all(
            d is dtype and (len(s) == len(shape) if self.sizes is not None else s == shape)
            for (s, d), (shape, dtype) in zip(types, self.inputs, strict=True)
        )

    def fits(self, types: Sequence[Type]) -> bool:
        """Whether the sizes of arguments that it accepts are such that it can be called."""
        if isinstance(self.sizes, Rules):
            return self.sizes.values([s for s, _ in types]) is not None
        return self.sizes is None or matches(self.sizes, [s for s, _ in self.inputs], [s for s, _ in types])


def _resolved(value: Any, sizes: Sequence[int]) -> Any:
    if isinstance(value, tuple):
        return tuple([_resolved(v, sizes) for v in value])
    if isinstance(value, Ruled):
        return sizes[value.position]
    return value.value(sizes) if isinstance(value, Formula) else value


def record(
    fun: Callable[[list[Handle]], Sequence[Handle]],
    types: Sequence[Type],
    names: tuple[str | None, ...],
    keywords: tuple[str, ...],
    *,
    by_rules: bool = False,
) -> Function:
    """Records a function of arrays of the given types; or of any sizes, with rules for what depends on them.

    Raises ValueError where data are looked at, or where something cannot be written to a file.
    """
    begin = Node(placeholder, (), (), (), bool_).number
    with Symbols([s for s, _ in types] if by_rules else [], visible=True) as symbols:
        shapes: list[Any] = symbols.shapes if by_rules else [s for s, _ in types]
        placeholders = [Node(placeholder, (), (), s, d) for s, (_, d) in zip(shapes, types, strict=True)]
        with Trace():
            outputs = [a._node for a in fun([wrap(p) for p in placeholders])]
    evaluate(_from_outside(outputs, begin))
    targets = inlined(outputs)[0]
    position = {id(p): i for i, p in enumerate(placeholders)}
    order = [n for n in needed(targets) if id(n) not in position]
    constants = [n for n in order if n.buffer is not None]
    for node in (*constants, *(n for n in order if n.buffer is None)):
        position[id(node)] = len(position)
    program = [_operation(n, position) for n in order if n.buffer is None]
    results = [position[id(n)] for n in targets]
    rules = Rules(symbols.table, symbols.guards) if by_rules else None
    return Function(list(types), names, keywords, constants, program, results, rules)


def _from_outside(outputs: Sequence[Node], begin: int) -> list[Node]:
    """The nodes without data that were recorded before, as far as the function's own ones use them directly."""
    found = []
    seen: set[int] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if id(node) in seen or node.buffer is not None:
            continue
        seen.add(id(node))
        if node.number < begin:
            if node.prim is not const:
                found.append(node)
        elif type(node) is Result:
            stack.append(expand(node.inputs[0])[node.params[0]])  # type: ignore[arg-type]
        else:
            stack += node.inputs[:1] if node.prim.kind == "alias" else node.inputs
    return found


def _operation(node: Node, position: dict[int, int]) -> Operation:
    at = tuple([position[id(x)] for x in node.inputs])
    params = _ruled(node.params)
    shape = tuple([n.value if isinstance(n, Symbol) else n for n in node.shape])
    if node.prim is const:
        value = params[0] if isinstance(params[0], Ruled) else as_scalar(params[0], node.dtype)
        return Operation(const, (), (value,), (shape, node.dtype))
    if not is_portable(node.prim):
        raise ValueError(f"[export_function] expected operations that can be written to a file, got {node.prim.name}")
    return Operation(node.prim, at, params, (shape, node.dtype))


def _ruled(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple([_ruled(v) for v in value])
    return Ruled(value.position) if isinstance(value, Symbol) else value
