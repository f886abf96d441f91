"""Forward mode, derived from the reverse rules.

A reverse rule is linear in the cotangent u; the forward rule is its transpose, and the walk of ``grad`` transposes it:
the tangent of a node is the cotangent of u, when the rule's results receive the tangents of the node's inputs. Where
the rule scales u element by element, it is its own transpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arrax.graph.dtypes import bool_, float32
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node, topological
from arrax.graph.primitive import NONDIFF
from arrax.prims import call
from arrax.prims.leaf import constant
from arrax.prims.pointwise import add, cast
from arrax.prims.view import broadcast
from arrax.transforms.grad import no_derivative, nodes_of, output_nodes, partials, pullback
from arrax.transforms.tracing import Trace, unknown, variable


def pushforward(outputs: Sequence[Node], variables: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
    """Records the tangents of the outputs, given those of the variables; None stands for zero."""
    known: dict[int, Node | None] = {id(v): t for v, t in zip(variables, tangents, strict=True)}
    groups: dict[int, Sequence[Node | None]] = {}
    for node in topological(outputs, known.keys()):
        given = [known.get(id(i)) for i in node.inputs]
        if node.prim is call.custom_p:
            rules, count = node.params
            if rules.jvp is not None and any(t is not None for t in given[:count]):
                groups[id(node)] = rules.jvp(list(node.inputs[:count]), given[:count])
        elif node.prim is call.custom_output_p:
            group = node.inputs[1]
            if group.params[0].jvp is None:
                known[id(node)] = given[0]
            elif id(group) in groups:
                known[id(node)] = groups[id(group)][node.params[0]]
        elif node.prim.kind in ("gather", "scatter") and given[1] is not None:
            raise no_derivative(node, "JVP")
        elif node.prim.vjp is not NONDIFF and any(t is not None for t in given):
            known[id(node)] = _tangent(node, given)
    return [known.get(id(n)) for n in outputs]


def _tangent(node: Node, given: list[Node | None]) -> Node | None:
    if node.prim.kind == "pointwise" and all(
        t is None or i.dtype is node.dtype for i, t in zip(node.inputs, given, strict=True)
    ):
        rule: Any = node.prim.vjp
        parts = [rule(node, t)[i] for i, t in enumerate(given) if t is not None]
        total = _sum(parts)
        return total if total is None else broadcast(total, node.shape)
    u = unknown(node)
    pairs = [(p, t) for p, t in zip(partials(node, u), given, strict=True) if p is not None and t is not None]
    near = {id(node), *(id(i) for i in node.inputs)}
    return pullback([p for p, _ in pairs], [t for _, t in pairs], [u], near)[0]


def _sum(parts: Sequence[Node | None]) -> Node | None:
    total = None
    for part in parts:
        if part is not None:
            total = part if total is None else add(total, part)
    return total


def jvp(
    fun: Callable[..., Any], primals: Sequence[Handle], tangents: Sequence[Handle]
) -> tuple[list[Handle], list[Handle]]:
    """The product of the Jacobian of a function with a column vector.

    Args:
        fun: takes as many arrays as there are primals; returns one array or a list of them.
        primals: where the Jacobian is taken.
        tangents: the column vector: one array for each primal, of its shape.

    Returns:
        The outputs, and one array for each output.

    Raises:
        TypeError: for arguments that are no lists of arrays.
        ValueError: for tangents that do not fit the primals in number or shape.

    >>> import arrax.core as mx
    >>> mx.jvp(lambda x: x * x, [mx.array([1.0, 2.0])], [mx.array([1.0, 1.0])])
    ([array([1, 4], dtype=float32)], [array([2, 4], dtype=float32)])
    """
    inputs, given = nodes_of("jvp", "primals", primals), nodes_of("jvp", "tangents", tangents)
    if len(inputs) != len(given):
        raise ValueError(f"[jvp] expected one tangent per primal, {len(inputs)} in all, got {len(given)}")
    for n, t in zip(inputs, given, strict=True):
        if n.shape != t.shape:
            raise ValueError(f"[jvp] expected a tangent of the primal's shape {list(n.shape)}, got {list(t.shape)}")
    given = [cast(t, n.dtype) for n, t in zip(inputs, given, strict=True)]
    with Trace():
        variables = [variable(n) for n in inputs]
        outputs = output_nodes("jvp", fun(*(wrap(v) for v in variables)))
        results = pushforward(outputs, variables, given)
    return [wrap(n) for n in outputs], [_or_zeros(t, n) for t, n in zip(results, outputs, strict=True)]


def _or_zeros(t: Node | None, output: Node) -> Handle:
    # a tangent of truth values has no type of its own
    dtype = float32 if output.dtype is bool_ else output.dtype
    return wrap(broadcast(constant(0, dtype), output.shape) if t is None else t)
