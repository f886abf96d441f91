"""Rewriting of the graph before it is scheduled: matrix products in the form that the machine does best.

Products of half precision are done in float32. A product whose left operand has batch axes and whose right one has none
is one product of matrices. A product with a vector is a multiplication and a sum: the compiler of reductions makes it
run at the speed of memory, and what is done to the operands and to the result becomes part of it. Reductions and scans
along axes of size 1 are what they are of: loops that never turn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from arrax.graph.dtypes import float32
from arrax.graph.node import Node
from arrax.prims.contract import matmul, matmul_p, swap_last
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast, mul
from arrax.prims.reduce import initial, reduce, sum_p
from arrax.prims.view import broadcast, reshape, transpose_p


def _half(node: Node) -> Node | None:
    if node.dtype.compute is node.dtype:
        return None
    a, b = (cast(x, float32) for x in node.inputs)
    return cast(matmul(a, b), node.dtype)


def _unbatched(node: Node) -> Node | None:
    a, b = node.inputs
    if b.ndim > 2 or a.ndim <= 2:
        return None
    rows = math.prod(a.shape[:-1])
    return reshape(matmul(reshape(a, (rows, a.shape[-1])), b), node.shape)


def _vector(node: Node) -> Node | None:
    a, b = node.inputs
    if not node.dtype.is_float:
        return None
    if a.shape[-1] == 1:
        return mul(a, b)
    if node.shape[-2] == 1:
        product = mul(reshape(a, (*a.shape[:-2], a.shape[-1], 1)), b)
        return reduce(sum_p, product, (product.ndim - 2,))
    if node.shape[-1] == 1:
        product = mul(a, reshape(b, (*b.shape[:-2], 1, b.shape[-2])))
        return reduce(sum_p, product, (product.ndim - 1,))
    return None


def _no_reduction(node: Node) -> Node | None:
    a = node.inputs[0]
    if any(a.shape[i] != 1 for i in node.params[0]):
        return None
    return broadcast(constant(0, node.dtype), node.shape) if node.prim.lower in ("argmax", "argmin") else a


def _no_scan(node: Node) -> Node | None:
    axis, _, inclusive = node.params
    if node.shape[axis] != 1:
        return None
    how = "max" if node.prim.lower == "logaddexp" else node.prim.lower
    return node.inputs[0] if inclusive else broadcast(constant(initial(how, node.dtype), node.dtype), node.shape)


RULES: tuple[Callable[[Node], Node | None], ...] = (_half, _unbatched, _vector)


class Simplified:
    """The rewritten graph.

    Attributes:
        order: its nodes, inputs first.
        outputs: the nodes that stand for the asked ones.
        origin: for a copy of a node of the original graph, that node's position there.
        pinned: nodes that must be computed once: small operands that every element of a product uses.
    """

    def __init__(self, order: list[Node], outputs: list[Node]) -> None:
        self.order: list[Node] = []
        self.origin: dict[int, int] = {}
        self.pinned: set[int] = set()
        self._seen: set[int] = set()
        replaced: dict[int, Node] = {}
        uses = Counter(id(i) for node in order if node.buffer is None for i in node.inputs)
        uses.update(id(n) for n in outputs)
        for position, node in enumerate(order):
            if node.buffer is not None or not node.inputs:
                new = node
            else:
                inputs = tuple([replaced[id(i)] for i in node.inputs])
                same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
                new = node if same else Node(node.prim, inputs, node.params, node.shape, node.dtype)
                if new.prim is matmul_p:
                    new = self._product(new)
                elif new.prim is transpose_p and uses[id(node.inputs[0])] == 1:
                    new = self._transposed(new)
                elif new.prim.kind == "reduce":
                    new = _no_reduction(new) or new
                elif new.prim.kind == "scan":
                    new = _no_scan(new) or new
            self.origin.setdefault(id(new), position)  # a rule may give a node that was there before
            replaced[id(node)] = new
            self._add(new)
        self.outputs = [replaced[id(n)] for n in outputs]

    def _add(self, node: Node) -> None:
        """Appends a node behind the inputs that are new with it."""
        stack = [node]
        while stack:
            top = stack[-1]
            missing = [i for i in top.inputs if id(i) not in self._seen] if top.buffer is None else []
            if missing and id(top) not in self._seen:
                stack.extend(missing)
                continue
            stack.pop()
            if id(top) not in self._seen:
                self._seen.add(id(top))
                self.order.append(top)

    def _product(self, node: Node) -> Node:
        """Applies the rules to a product until none fits; they may nest in what a rule made."""
        if 1 in (node.shape[-2], node.shape[-1]):
            small = node.inputs[0] if node.shape[-2] == 1 else node.inputs[1]
            self.pinned.add(id(_source(small)))
        for rule in RULES:
            new = rule(node)
            if new is not None:
                return self._within(new)
        return node

    def _transposed(self, node: Node) -> Node:
        """A transposed product is the product of the transposed operands in the other order, written as wanted."""
        product, axes = node.inputs[0], node.params[0]
        swapped = (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2)
        if product.prim is not matmul_p or axes != swapped:
            return node
        a, b = product.inputs
        return matmul(swap_last(b), swap_last(a))

    def _within(self, node: Node) -> Node:
        """Rewrites the products just below what a rule made."""
        if node.prim is matmul_p:
            return self._product(node)
        if node.prim.name in ("cast", "reshape") and node.inputs[0].prim is matmul_p:
            inner = self._product(node.inputs[0])
            return Node(node.prim, (inner,), node.params, node.shape, node.dtype)
        return node


def _source(node: Node) -> Node:
    """What a chain of views shows."""
    while node.prim.kind == "view" and node.buffer is None:
        node = node.inputs[0]
    return node
