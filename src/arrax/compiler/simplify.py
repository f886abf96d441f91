"""Rewriting of the graph before it is scheduled: matrix products in the form that the machine does best.

Products of half precision are done in float32. A product whose left operand has batch axes and whose right one has none
is one product of matrices. A product with a vector is a multiplication and a sum: the compiler of reductions makes it
run at the speed of memory, and what is done to the operands and to the result becomes part of it. Reductions and scans
along axes of size 1 are what they are of: loops that never turn. An array without elements is computed from nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from arrax.compiler.index import Place
from arrax.graph.dtypes import float32
from arrax.graph.node import Node
from arrax.graph.primitive import EXPENSIVE
from arrax.graph.template import Call, Result, opened
from arrax.prims.contract import matmul, matmul_p, swap_last
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast, mul
from arrax.prims.reduce import contraction_p, initial, reduce
from arrax.prims.view import broadcast, reshape, transpose, transpose_p

FEW = 8  # rows of a product for which reading the other operand takes most of the time; sizes that plans know


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
    if rows >= 2**31:  # more than the library counts
        return None
    return reshape(matmul(reshape(a, (rows, a.shape[-1])), b), node.shape)


def _vector(node: Node) -> Node | None:
    a, b = node.inputs
    if not node.dtype.is_float:
        return None
    if a.shape[-1] == 1:
        return mul(a, b)
    if node.shape[-2] == 1:
        product = mul(reshape(a, (*a.shape[:-2], a.shape[-1], 1)), b)
        return reduce(contraction_p, product, (product.ndim - 2,))
    if node.shape[-1] == 1:
        product = mul(a, reshape(b, (*b.shape[:-2], 1, b.shape[-2])))
        return reduce(contraction_p, product, (product.ndim - 1,))
    return None


def _few_rows(node: Node) -> Node | None:
    """A few vectors times a matrix that is stored column by column: each of its columns is read once for all."""
    a, b = node.inputs
    if not node.dtype.is_float or a.ndim != 2 or b.ndim != 2 or not 1 < a.shape[0] <= FEW:
        return None
    inner = b.inputs[0] if b.prim.name == "cast" and b.buffer is None else b
    if inner.prim is not transpose_p or inner.buffer is not None:
        return None
    columns = swap_last(b) if inner is b else cast(inner.inputs[0], b.dtype)
    product = mul(reshape(columns, (b.shape[1], 1, b.shape[0])), reshape(a, (1, *a.shape)))
    return transpose(reshape(reduce(contraction_p, product, (2,)), (b.shape[1], a.shape[0])), (1, 0))


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


RULES: tuple[Callable[[Node], Node | None], ...] = (_half, _unbatched, _vector, _few_rows)


class Simplified:
    """The rewritten graph.

    Attributes:
        order: its nodes, inputs first.
        outputs: the nodes that stand for the asked ones.
        origin: for a copy of a node of the original graph, where that one is: its position there, or, if it is a part
            of a call or a composite, that one's position and the part's number.
        parts: of calls and composites: what they are made of, and where those are.
        pinned: nodes that must be computed once: small operands that every element of a product uses.
    """

    def __init__(self, order: list[Node], outputs: list[Node]) -> None:
        self.order: list[Node] = []
        self.origin: dict[int, Place] = {}
        self.pinned: set[int] = set()
        self._seen: set[int] = set()
        self.parts: list[tuple[Place, Node]] = []
        self._replaced: dict[int, Node] = {}
        self._alike: dict[tuple, Node] = {}  # parts of composites and calls
        self._uses = Counter(id(i) for node in order if node.buffer is None for i in node.inputs)
        self._uses.update(id(n) for n in outputs)
        results: dict[int, list[Node]] = {}  # of calls
        wanted: dict[int, set[int]] = {}  # which of them
        for node in order:
            if type(node) is Result and node.buffer is None:
                wanted.setdefault(id(node.inputs[0]), set()).add(node.params[0])
        for position, node in enumerate(order):
            if node.buffer is not None or node.prim.kind not in ("composite", "call"):
                self._take(node, position)
            elif type(node) is Result:
                self._replaced[id(node)] = results[id(node.inputs[0])][node.params[0]]
            else:
                inner, found = opened(node, [self._replaced[id(i)] for i in node.inputs])
                self.parts.extend(((position, k), part) for k, part in enumerate(inner))
                live = _behind([found[i] for i in wanted.get(id(node), (0,))], inner)
                self._uses.update(id(i) for part in inner if id(part) in live for i in part.inputs)
                self._uses.update(id(n) for n in found)
                for k, part in enumerate(inner):
                    if id(part) in live:
                        self._take(part, (position, k))
                results[id(node)] = [self._replaced.get(id(n), n) for n in found]
                if type(node) is not Call:
                    (self._replaced[id(node)],) = results[id(node)]
        self.outputs = [self._replaced[id(n)] for n in outputs]

    def _take(self, node: Node, place: Place) -> None:
        """Enters a node, rewritten, into the order."""
        if node.buffer is not None or not node.inputs:
            new = node
        elif 0 in node.shape:
            new = broadcast(constant(0, node.dtype), node.shape)
        else:
            # an operand of a part of a call may be what has been put in the place of the call's own input
            inputs = tuple([self._replaced.get(id(i), i) for i in node.inputs])
            same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
            new = node if same else Node(node.prim, inputs, node.params, node.shape, node.dtype)
            if new.prim is matmul_p and new.dtype.is_float:
                new = self._product(new)
            elif new.prim is transpose_p and self._uses[id(node.inputs[0])] == 1:
                new = self._transposed(new)
            elif new.prim.kind == "reduce":
                new = _no_reduction(new) or new
            elif new.prim.kind == "scan":
                new = _no_scan(new) or new
        if not isinstance(place, int) and new.inputs and new.buffer is None and not new.prim.dynamic(new):
            # composites of one input often begin alike: queries, keys and values are products of the same rows.
            # (Numbers that another graph of this structure may have otherwise do not make parts alike.)
            new = self._alike.setdefault((new.prim, new.params, new.shape, new.dtype, *map(id, new.inputs)), new)
        self.origin.setdefault(id(new), place)  # a rule may give a node that was there before
        self._replaced[id(node)] = new
        self._add(new)

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
                if new.prim is not matmul_p and node.dtype.is_float:
                    self.pinned.update(id(_source(x)) for x in node.inputs if not _is_cheap(x))
                return self._within(new)
        return node

    def _transposed(self, node: Node) -> Node:
        """A transposed product is the product of the transposed operands in the other order, written as wanted."""
        product, axes = node.inputs[0], node.params[0]
        swapped = (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2)
        if product.prim is not matmul_p or product.dtype.is_complex or axes != swapped:
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


def _behind(results: list[Node], parts: list[Node]) -> set[int]:
    """The ids of the parts that the results need; inputs come before their users."""
    live = {id(n) for n in results}
    for part in reversed(parts):
        if id(part) in live:
            live.update(id(i) for i in part.inputs)
    return live


def _is_cheap(node: Node) -> bool:
    """Whether an operand of a product may be computed where it is read: costly work changes the order of its sums."""
    stack, cost = [node], 0
    for _ in range(4 * EXPENSIVE):
        if not stack:
            return True
        top = stack.pop()
        if top.buffer is None and top.prim.kind in ("pointwise", "source", "view", "gather"):
            cost += top.prim.cost
            stack.extend(top.inputs)
        if cost >= EXPENSIVE:
            return False
    return False


def _source(node: Node) -> Node:
    """What a chain of views shows."""
    while node.prim.kind == "view" and node.buffer is None:
        node = node.inputs[0]
    return node
