"""Vectorisation: a graph that was recorded for one element becomes one for all of them.

Every array that depends on the elements gets a leading axis more, the batch axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arrax.graph.errors import AxisError, bounded
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node, topological
from arrax.graph.primitive import NO_VMAP, bind
from arrax.prims import call
from arrax.prims.leaf import placeholder
from arrax.prims.reduce import reduce, sum_p
from arrax.prims.view import broadcast, move_axis, reshape
from arrax.transforms import trees
from arrax.transforms.snapshot import Snapshot
from arrax.transforms.tracing import Trace, named_like


def batch(outputs: Sequence[Node], batched: dict[int, Node], size: int) -> list[tuple[Node, bool]]:
    """Records the outputs for all elements; True for those that carry the batch axis.

    Args:
        batched: for the id of each node that stands for one element the node with all of them.
        size: how many they are.
    """
    known = dict(batched)
    groups: dict[int, tuple[list[Node], list[bool]]] = {}
    for node in topological(outputs, batched.keys()):
        if node.prim is call.custom_output_p:
            if id(node.inputs[1]) in groups:
                new, carries = (part[node.params[0]] for part in groups[id(node.inputs[1])])
                known[id(node)] = new if carries else broadcast(new, (size, *new.shape))
            continue
        flags = [id(i) in known for i in node.inputs]
        if not any(flags):
            continue
        inputs = [known.get(id(i), i) for i in node.inputs]
        if node.prim is call.custom_p:
            groups[id(node)] = _batch_group(node, inputs, flags, batched, size)
        elif node.prim is call.variable_p:
            known[id(node)] = inputs[0]
        elif node.prim.kind == "barrier":
            value = inputs[0] if flags[0] else broadcast(inputs[0], (size, *inputs[0].shape))
            known[id(node)] = bind(node.prim, (value, *inputs[1:]), node.params)
        elif node.prim.batch is NO_VMAP:
            raise ValueError(f"[vmap] expected operations that can be vectorised, got {node.prim.name}: loop over it")
        elif node.prim.batch is not None:
            known[id(node)] = node.prim.batch(node, inputs, flags)  # type: ignore[operator]
        else:
            known[id(node)] = bind(node.prim, tuple(_aligned(node, inputs, flags)), node.params)
    return [(known[id(n)], True) if id(n) in known else (n, False) for n in outputs]


def _aligned(node: Node, inputs: list[Node], flags: list[bool]) -> list[Node]:
    """Inputs of equal rank but for the batch axis, so that broadcasting pairs the axes as before."""
    if node.prim.kind != "pointwise":
        return inputs
    rank = node.ndim + 1
    return [
        reshape(x, (x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:])) if flag else x
        for x, flag in zip(inputs, flags, strict=True)
    ]


# --- functions with rules of their own --------------------------------------------------------------------------------
def _batch_group(
    group: Node, inputs: list[Node], flags: list[bool], outer: dict[int, Node], size: int
) -> tuple[list[Node], list[bool]]:
    """The outputs of a custom function, by its own rule or, bound to vectorised rules, by the derived one."""
    rules, count = group.params
    arguments, outputs = inputs[:count], inputs[count:]
    if rules.vmap is not None and any(flags[:count]):
        return rules.vmap(arguments, flags[:count])
    outputs = [x if f else broadcast(x, (size, *x.shape)) for x, f in zip(outputs, flags[count:], strict=True)]
    new = call.custom(_batched_rules(rules, flags[:count], outer, size), arguments, outputs)
    return new, [True] * len(new)


def _batched_rules(rules: call.Rules, flags: list[bool], outer: dict[int, Node], size: int) -> call.Rules:
    """The rules, applied to each element."""

    def for_each(
        rule: Callable[..., Sequence[Node | None]], groups: Sequence[tuple[Sequence[Node | None], Sequence[bool]]]
    ) -> list[Node | None]:
        """The rule's results for all elements; each group of arguments says which of them carry the batch axis."""
        mapping = dict(outer)
        stand_ins: list[list[Node | None]] = []
        for nodes, carry in groups:
            line: list[Node | None] = []
            for node, flag in zip(nodes, carry, strict=True):
                one = node
                if node is not None and flag:
                    one = Node(placeholder, (), (), node.shape[1:], node.dtype)
                    mapping[id(one)] = node
                line.append(one)
            stand_ins.append(line)
        with Trace():
            results = list(rule(*stand_ins))
            done = iter(batch([r for r in results if r is not None], mapping, size))
        full = [None if r is None else next(done) for r in results]
        return [None if r is None else r[0] if r[1] else broadcast(r[0], (size, *r[0].shape)) for r in full]

    def vjp(arguments: list[Node], cotangents: list[Node], outputs: list[Node]) -> list[Node | None]:
        every = [True] * len(outputs)
        results = for_each(rules.vjp, [(arguments, flags), (cotangents, every), (outputs, every)])  # type: ignore[arg-type]
        return [r if f or r is None else _sum_first(r) for r, f in zip(results, flags, strict=True)]

    def jvp(arguments: list[Node], tangents: list[Node | None]) -> list[Node | None]:
        return for_each(rules.jvp, [(arguments, flags), (tangents, flags)])  # type: ignore[arg-type]

    return call.Rules(vjp if rules.vjp else None, jvp if rules.jvp else None)


def _sum_first(a: Node) -> Node:
    return reshape(reduce(sum_p, a, (0,)), a.shape[1:])


# --- the public function ----------------------------------------------------------------------------------------------
def vmap(fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """A function that applies ``fun`` to all elements along an axis of its arguments at once.

    Args:
        fun: takes arrays, or trees of them, and returns arrays or a tree of them.
        in_axes: the axis of the arguments: an int for all of them, or a tree that is a prefix of the arguments; None in
            it for those that are the same for all elements.
        out_axes: where the axis shall be in the results; likewise.

    Returns:
        A function with ``fun``'s positional arguments.

    Raises:
        TypeError: if ``fun`` is no function; for keyword arguments.
        ValueError: for arguments or results that are no arrays, axes of different sizes, or axes that are no prefix.
        AxisError: for an axis that an array does not have.

    >>> import arrax.core as mx
    >>> mx.vmap(lambda x, y: x @ y, in_axes=(0, None))(mx.ones((3, 2)), mx.array([1.0, 2.0]))
    array([3, 3, 3], dtype=float32)
    """
    if not callable(fun):
        raise TypeError(f"[vmap] expected a function, got {type(fun).__name__}")
    if in_axes is None or out_axes is None:
        raise TypeError("[vmap] expected axes, got None for all of them: name an axis for some array")

    def mapped(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise TypeError(f"[vmap] expected positional arguments, got {sorted(kwargs)}: pass them by position")
        leaves = bounded("vmap", trees.only_arrays, args, "vmap")
        axes = _argument_axes(in_axes, args)
        size = _size(leaves, axes)
        with Snapshot(fun=fun), Trace():
            known: dict[int, Node] = {}
            fresh = []
            for leaf, axis in zip(leaves, axes, strict=True):
                node = leaf._node
                if axis is not None:
                    all_ = move_axis(node, axis % node.ndim, 0)
                    node = Node(placeholder, (), (), all_.shape[1:], all_.dtype)
                    known[id(node)] = all_
                fresh.append(wrap(node))
            supply = iter(fresh)
            result = fun(*trees.rebuild(lambda _: next(supply), args, keep_classes=True))
            outputs = bounded("vmap", trees.only_arrays, result, "vmap")
            alone = isinstance(result, Handle) and isinstance(out_axes, tuple) and len(out_axes) == 1
            out = trees.prefix(out_axes[0] if alone else out_axes, result, "vmap")
            nodes = [x._node for x in outputs]
            done = iter([_placed(n, f, a, size) for (n, f), a in zip(batch(nodes, known, size), out, strict=True)])
        return trees.refill(result, done)

    return named_like(fun, mapped)


def _argument_axes(in_axes: Any, args: tuple) -> list[int | None]:
    """One axis for each array. For a single argument the axes may be those of the argument or a list of one."""
    if len(args) != 1:
        return trees.prefix(in_axes, args, "vmap")
    if isinstance(in_axes, list | tuple) and len(in_axes) == 1:
        return trees.prefix(in_axes, args, "vmap")
    return trees.prefix(in_axes, args[0], "vmap")


def _size(leaves: list[Handle], axes: list[int | None]) -> int:
    sizes = []
    for leaf, axis in zip(leaves, axes, strict=True):
        if axis is None:
            continue
        shape = leaf._node.shape
        if not -len(shape) <= axis < len(shape):
            raise AxisError(f"[vmap] expected an axis of the array of shape {list(shape)}, got {axis}")
        sizes.append(shape[axis])
    if not sizes:
        raise ValueError("[vmap] expected an axis for at least one array, got None for all: name one in in_axes")
    for n in sizes:
        if n != sizes[0]:
            raise ValueError(f"[vmap] expected axes of one size, got {sizes[0]} and {n}: check in_axes")
    return sizes[0]


def _placed(node: Node, flag: bool, axis: int | None, size: int) -> Handle:
    """A result with its batch axis in the place that was asked for."""
    if axis is None and flag:
        raise ValueError(
            "[vmap] expected a result that is the same for all elements, got one that is not: name its axis"
        )
    full = node if flag else broadcast(node, (size, *node.shape))
    axis = -1 if axis is None else axis
    if not -full.ndim <= axis < full.ndim:
        raise AxisError(f"[vmap] expected an axis of a result of shape {list(full.shape)}, got {axis} in out_axes")
    return wrap(move_axis(full, 0, axis % full.ndim))
