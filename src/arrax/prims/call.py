"""What the transforms record: calls of compiled functions, variables, and values with rules of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arrax.graph.dtypes import Dtype, bool_
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import NO_VMAP, NONDIFF, Primitive, register
from arrax.graph.template import Result, Template


def _first(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    return inputs[0].shape, inputs[0].dtype


def _no_value(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    return (), bool_


def _pass(params: tuple, shape: Shape, dtype: Dtype, a: Any, *others: Any) -> Any:
    return a


def _declare(name: str, kind: str, infer: Any, reference: Any, vjp: Any) -> Primitive:
    # The transforms never meet a call (while they trace, compiled functions are inlined) and treat aliases themselves.
    return register(Primitive(name, kind, infer, reference, vjp, NO_VMAP, samples=()))


call_p = _declare("call", "call", _no_value, lambda *a: None, NONDIFF)
result_p = _declare("result", "call", _no_value, lambda *a: None, NONDIFF)

# A node's value under a new identity: what a transform differentiates by.
variable_p = _declare("variable", "alias", _first, _pass, lambda n, g: (g,))

# A custom function's arguments and outputs. params: (rules, number of arguments)
custom_p = _declare("custom", "alias", _first, _pass, NONDIFF)

# One output of a custom function. inputs: the value, the node of ``custom_p``; params: (which,)
custom_output_p = _declare("custom_output", "alias", _first, _pass, NONDIFF)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a custom function puts in the place of the derived rules; None where it does not.

    Attributes:
        vjp: (arguments, cotangents, outputs) -> one cotangent or None per argument.
        jvp: (arguments, tangents or None) -> one tangent or None per output.
        vmap: (arguments, whether each carries a leading batch axis) -> (outputs, whether each carries one).
    """

    vjp: Callable[[list[Node], list[Node], list[Node]], Sequence[Node | None]] | None = None
    jvp: Callable[[list[Node], list[Node | None]], Sequence[Node | None]] | None = None
    vmap: Callable[[list[Node], list[bool]], tuple[list[Node], list[bool]]] | None = None


def call(template: Template, inputs: tuple[Node, ...]) -> list[Result]:
    """The results of a compiled function."""
    return template.call(call_p, result_p, inputs)


def variable(a: Node) -> Node:
    """A node of its own with the value of ``a``; it shares the data where ``a`` is evaluated."""
    return Node(variable_p, (a,), (), a.shape, a.dtype, a.buffer)


def custom(rules: Rules, arguments: Sequence[Node], outputs: Sequence[Node]) -> list[Node]:
    """The outputs, computed from the arguments, bound to the rules."""
    return outputs_of(Node(custom_p, (*arguments, *outputs), (rules, len(arguments)), (), bool_))


def outputs_of(group: Node) -> list[Node]:
    """The outputs of a custom function, bound to its rules."""
    outputs = group.inputs[group.params[1] :]
    return [Node(custom_output_p, (n, group), (i,), n.shape, n.dtype) for i, n in enumerate(outputs)]
