"""Templates: recorded functions that a call stands for.

A compiled function is recorded once, on placeholders. Each call of it then is a single node; whoever needs to look
inside opens the call, which copies the template's operations onto the call's inputs: the compiler does so when it makes
a plan, the same way as with composites. Aliases are a kind of node that exists for the transforms alone: before
anything is evaluated they give way to the value that they stand for.
"""

from __future__ import annotations

import functools
import itertools
import operator
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arrax.graph.dtypes import Dtype, bool_
from arrax.graph.node import Exposed, Node, Shape, topological

if TYPE_CHECKING:
    from arrax.graph.primitive import Primitive


_next_number = itertools.count().__next__


@functools.lru_cache(maxsize=4096)
def number_of(program: tuple) -> int:
    """A number that equal programs have in common, and so one plan."""
    return _next_number()


class Call(Node):
    """One call of a template. It has no value itself; its results are nodes of the class ``Result``.

    Its inputs are the arguments and the template's constants. params: (the template's number,)

    Attributes:
        template: what is called.
        expansion: the template's outputs on the call's inputs, once ``expand`` has made them.
        results: weak references to the result nodes.
    """

    __slots__ = ("expansion", "results", "template")
    template: Template
    expansion: list[Node] | None
    results: list[weakref.ref[Result]]


class Result(Node):
    """One result of a call. params: (which,)"""

    __slots__ = ("__weakref__",)


def resolve(node: Node) -> Node:
    """The node whose value an alias stands for; the node itself where it is none."""
    while node.prim.kind == "alias" and node.buffer is None:
        node = node.inputs[0]
    return node


class Template:
    """A recorded function: what its outputs are, given nodes in the places of its placeholders.

    Operations that do not depend on the placeholders are shared by all calls.

    Attributes:
        used: which placeholders the outputs depend on, None where that is all of them. The others are left out.
        arity: how many those are.
        number: templates of one number do the same.
        types: shape and dtype of each output.
        constants: the nodes from outside that the function uses.
        program: the operations in order, as (prim, params, shape, dtype, positions of the inputs); positions count
            through the placeholders, the constants, and the operations.
        results: the outputs' positions.
        computes: for each output whether it is that of an operation, not a placeholder or a constant itself.
        needs: for each output which placeholders and constants it depends on, as bits at their positions.
        risks: for each output which operations that may fail it depends on, likewise.
        plans: by the results that are wanted, which inputs these need and the plan that the executor keeps for them.
    """

    __slots__ = (
        "arity",
        "computes",
        "constants",
        "needs",
        "number",
        "plans",
        "program",
        "results",
        "risks",
        "types",
        "used",
    )

    def __init__(self, placeholders: Sequence[Node], outputs: Sequence[Node]) -> None:
        self.types: list[tuple[Shape, Dtype]] = [(n.shape, n.dtype) for n in outputs]
        self.constants: list[Node] = []
        self.plans: dict[tuple[int, ...], tuple[tuple[int, ...], Any]] = {}
        self.program: list[tuple[Primitive, tuple, Shape, Dtype, tuple[int, ...]]] = []

        targets = [resolve(n) for n in outputs]
        order = needed(targets)
        inside = {id(n) for n in placeholders}
        uniform: set[int] = set()  # computed from one scalar for all elements, such as what an optimizer begins with
        body: dict[int, Node] = {}
        for node in order:
            inputs = [id(resolve(i)) for i in node.inputs]
            if id(node) not in inside and any(i in inside for i in inputs):
                inside.add(id(node))
                body[id(node)] = node
            elif node.prim.name == "const" or (node.prim.kind in ("view", "pointwise") and uniform.issuperset(inputs)):
                uniform.add(id(node))
        # that, and views of constants, are not kept as data: a transposed weight is the weight
        stack = [resolve(i) for node in body.values() for i in node.inputs]
        while stack:
            node = stack.pop()
            seen_through = node.prim.kind == "view" or id(node) in uniform
            if node.inputs and seen_through and node.buffer is None and id(node) not in inside:
                inside.add(id(node))
                body[id(node)] = node
                stack += [resolve(i) for i in node.inputs]
        parts = [n for n in order if id(n) in body]
        used = [resolve(i) for node in parts for i in node.inputs]
        needed_ids = {id(n) for n in (*used, *targets)}
        kept = [i for i, n in enumerate(placeholders) if id(n) in needed_ids]
        self.used = None if len(kept) == len(placeholders) else tuple(kept)
        self.arity = len(kept)
        position = {id(placeholders[k]): i for i, k in enumerate(kept)}
        for node in [*used, *targets]:
            if id(node) not in inside and id(node) not in position:
                position[id(node)] = self.arity + len(self.constants)
                self.constants.append(node)
        first = self.arity + len(self.constants)
        for i, node in enumerate(parts):
            position[id(node)] = first + i
            at = tuple(position[id(resolve(i))] for i in node.inputs)
            self.program.append((node.prim, node.params, node.shape, node.dtype, at))
        self.results = [position[id(n)] for n in targets]
        self.computes = [i >= first for i in self.results]
        self.number = number_of((self.arity, len(self.constants), tuple(self.program), tuple(self.results)))
        needs = [1 << i for i in range(first)]
        risks = [0] * first
        for i, (prim, *_, at) in enumerate(self.program):
            # what a library does row by row has no reason to fail
            need, risk = 0, 1 << i if prim.kind == "opaque" and prim.lower is None else 0
            for k in at:
                need |= needs[k]
                risk |= risks[k]
            needs.append(need)
            risks.append(risk)
        self.needs = [needs[i] for i in self.results]
        self.risks = [risks[i] for i in self.results]

    def instantiate(self, inputs: Sequence[Node]) -> list[Node]:
        """The outputs, with the given nodes in the places of the placeholders that are used."""
        return self.opened((*inputs, *self.constants))[1]

    def opened(self, inputs: Sequence[Node]) -> tuple[list[Node], list[Node]]:
        """The operations, and the outputs, on nodes in the places of the placeholders and of the constants."""
        values = list(inputs)
        append = values.append
        for prim, params, shape, dtype, at in self.program:
            append(Node(prim, tuple([values[i] for i in at]), params, shape, dtype))
        return values[len(inputs) :], [values[i] for i in self.results]

    def call(self, prim: Primitive, result_prim: Primitive, inputs: tuple[Node, ...]) -> list[Result]:
        """Records a call, on nodes for all placeholders: the results."""
        if self.used is not None:
            inputs = tuple([inputs[i] for i in self.used])
        call = Call(prim, (*inputs, *self.constants), (self.number,), (), bool_)
        call.template, call.expansion = self, None
        source = (call,)
        results = [Result(result_prim, source, (i,), s, d) for i, (s, d) in enumerate(self.types)]
        call.results = [weakref.ref(r) for r in results]
        return results


def expand(call: Call) -> list[Node]:
    """The outputs of the call's template on the call's inputs; the same nodes every time."""
    if call.expansion is None:
        call.expansion = call.template.opened(call.inputs)[1]
    return call.expansion


def opened(node: Node, inputs: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """What a call or a composite is made of, on inputs in the place of its own: all operations in order, the results.

    They are the same ones in the same order every time.
    """
    if isinstance(node, Call):
        return node.template.opened(inputs)
    result = node.prim.lower(tuple(inputs), node.params)
    return topological([result], [id(n) for n in inputs]), [result]


def needed(outputs: Sequence[Node]) -> list[Node]:
    """The nodes behind the outputs, inputs before users, seen through aliases; behind evaluated ones there are none."""
    order: list[Node] = []
    seen: set[int] = set()
    for output in outputs:
        if id(output) in seen:
            continue
        seen.add(id(output))
        stack = [(output, iter(output.inputs if output.buffer is None else ()))]
        while stack:
            node, rest = stack[-1]
            for child in rest:
                child = resolve(child)
                if id(child) not in seen:
                    seen.add(id(child))
                    stack.append((child, iter(child.inputs if child.buffer is None else ())))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


@functools.lru_cache(maxsize=4096)
def bits(mask: int) -> tuple[int, ...]:
    """The positions of the bits that are set."""
    return tuple([i for i in range(mask.bit_length()) if mask >> i & 1])


def is_at_hand(node: Node) -> bool:
    """Whether a value is there, or is one scalar, so that it makes no difference whether it is needed."""
    while node.buffer is None and node.prim.kind in ("view", "alias"):
        node = node.inputs[0]
    return node.buffer is not None or node.prim.name == "const"


def other_results(order: Sequence[Node]) -> tuple[list[Node], bool]:
    """Of the calls in a graph, the results that somebody holds, that are not part of it, and that come for little.

    They are to be evaluated with it, so that what they share is computed once. Second whether further ones are left,
    which need what the graph does not: what they would be computed from must not be overwritten then.
    """
    found: list[Node] = []
    left = False
    here: set[int] | None = None
    for call in order:
        if type(call) is not Call:
            continue
        here = here or {id(n) for n in order}
        held = [(i, r) for i, reference in enumerate(call.results) if (r := reference()) is not None]
        others = [(i, r) for i, r in held if r.buffer is None and id(r) not in here]
        if others:
            needs, risks = call.template.needs, call.template.risks
            need = functools.reduce(operator.or_, [needs[i] for i, r in held if id(r) in here], 0)
            risk = functools.reduce(operator.or_, [risks[i] for i, r in held if id(r) in here], 0)
            for i, result in others:
                if risks[i] & ~risk or not all(is_at_hand(call.inputs[k]) for k in bits(needs[i] & ~need)):
                    left = True
                else:
                    found.append(result)
    return found, left


def inlined(outputs: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """For each output a node of the same value behind which there are neither calls nor aliases.

    Nodes that have none behind them, and evaluated ones, stand for themselves. Second all nodes that were seen on the
    way and have inputs.
    """
    done: dict[int, Node] = {}
    seen: list[Node] = []
    for output in outputs:
        if id(output) in done:
            continue
        stack = [(output, _behind(output), 0)]
        while stack:
            node, behind, at = stack.pop()
            while at < len(behind) and id(behind[at]) in done:
                at += 1
            if at < len(behind):
                stack.append((node, behind, at + 1))
                stack.append((behind[at], _behind(behind[at]), 0))
                continue
            if not behind:
                done[id(node)] = node
                continue
            seen.append(node)
            if behind is node.inputs:
                inputs = tuple([done[id(i)] for i in behind])
                same = all(a is b for a, b in zip(inputs, behind, strict=True))
                same = same and type(node) is not Exposed  # what stands for another node is computed
                done[id(node)] = node if same else Node(node.prim, inputs, node.params, node.shape, node.dtype)
            else:
                done[id(node)] = done[id(behind[0])]
                if type(node) is Result:
                    seen.append(node.inputs[0])
    return [done[id(n)] for n in outputs], seen


def _behind(node: Node) -> tuple[Node, ...]:
    """What must be inlined before the node can be: its inputs, or the one node that replaces it."""
    if node.buffer is not None:
        return ()
    if type(node) is Result:
        return (expand(node.inputs[0])[node.params[0]],)  # type: ignore[arg-type]
    if node.prim.kind == "alias":
        return (node.inputs[0],)
    return node.inputs
